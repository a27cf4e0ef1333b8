"""The population's Gaussian prior, estimated from people's answers."""

import functools

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.systems import inference, likelihoods, states
from prm_jax.users import gaussian

_EM_STEPS = 6
_EM_NEWTON = 6  # from the prior's mean, enough for a moment of the population


@functools.partial(jax.jit, static_argnames='head')
def _em_group(prior, encoded, judgements, index, group, head, told):
  evidence = inference.group_evidence(
    encoded, judgements, index, group, head, told
  )
  fit = functools.partial(gaussian.posterior, iterations=_EM_NEWTON)
  posterior = jax.vmap(fit, (None, 0))(prior, evidence)
  weight = jnp.asarray(group.people >= 0, jnp.float32)
  return bayes.population_moments(prior, posterior, weight)


def estimate_prior(
  prior: bayes.GaussianPrior,
  encoded: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  *,
  steps: int = _EM_STEPS,
  shrinkage: float = 1.0,
  head: types.Head | None = None,
  told: likelihoods.Told | None = None,
) -> bayes.GaussianPrior:
  """Returns the empirical-Bayes prior of the people who answered.

  Args:
    prior: to start from.
    encoded: `[M, J]` encoded texts.
    judgements: that train.
    index: `[N, 2]` into the texts.
    steps: of expectation maximisation.
    shrinkage: pseudo-people who keep the old covariance.
    head: what the labels are for; Bradley-Terry choices if None.
    told: what the head reads beside the encoded texts.
  """
  said, where = jax.tree.map(jnp.asarray, (judgements, index))
  groups = list(inference.group_people(judgements, width=encoded.shape[-1]))
  if not groups:
    return prior
  for _ in range(steps):
    moments = [
      _em_group(prior, encoded, said, where, g, head, told) for g in groups
    ]
    total = jax.tree.map(lambda *leaves: sum(leaves), *moments)
    prior = bayes.empirical_prior(prior, total, shrinkage=shrinkage)
  return prior


def prior_phase(head: types.Head | None = None) -> types.Phase:
  """Returns the phase that estimates the population's Gaussian prior.

  Args:
    head: what the labels are for; Bradley-Terry choices if None.
  """

  def begin(state, data):
    prior = estimate_prior(
      state.params['user'],
      data.encoded(state.params['reward']),
      data.judgements,
      data.index,
      head=head,
      told=likelihoods.of_state(head, state, data),
    )
    return states.with_user(state, prior)

  return types.Phase('prior', begin=begin)
