"""Personal weights on the features themselves, under an estimated prior.

The full-rank limit of PReF: no basis is learned, everybody has D coefficients,
and the population's mean and covariance do all the sharing.
"""

from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.systems import base_rewards, priors, states
from prm_jax.users import gaussian


def hierarchical(
  *, ridge: float = 10.0, spread: float = 0.1, capacity: int = 50
) -> types.Learner:
  """Returns hierarchical Bradley-Terry on all D features.

  Args:
    ridge: of the aggregate that gives the prior's first mean, in answers.
    spread: standard deviation of people around it, before it is estimated.
    capacity: answers kept of a person.
  """
  system = types.System(
    factorized.identity(), gaussian.gaussian(capacity=capacity)
  )

  def begin(state, data):
    features = data.features(state.params['reward'])
    weight = base_rewards.aggregate_weight(
      features, data.judgements, data.index, state.hyper['ridge']
    )
    prior = bayes.isotropic_prior(weight, state.hyper['spread'])
    return states.with_user(state, prior)

  def init(key, spec):
    hyper = {'ridge': ridge, 'spread': spread}
    return states.new_state(system, key, spec, hyper=hyper)

  phases = (types.Phase('start', begin=begin), priors.prior_phase())
  return types.Learner(phases, init, system)
