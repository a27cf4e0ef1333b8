"""Pep: a world model of preferences, and Bayes about a person, without steps.

What the population's preferences have to do with each other is learned once,
in closed form; a person is then asked, and inferred, without any training.
"""

import functools

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.systems import base_rewards, priors, states
from prm_jax.users import gaussian


def pep(
  *,
  dim: int = 6,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  capacity: int = 50,
) -> types.Learner:
  """Returns Pep with J = `dim` latent coefficients of a person.

  Two phases, neither of which takes a gradient step. `world`: the aggregate,
  and the low-rank factors of what people say beyond it, regressed on the
  features. `prior`: mean m and covariance S of the people's coefficients, by
  expectation maximisation. Then, of anybody,

      p(z | answers) ~ N(z; m, S) prod_n sigma(y_n z . W^T (x_a - x_b))

  Questions are chosen by `ops.profiles.profile_gain` (the acquisition
  'profile' of `elicitation.loop`).

  Args:
    dim: J, the aggregate's base reward included.
    ridge: of the aggregate, in answers.
    basis_ridge: of the personal base rewards, in answers.
    capacity: answers kept of a person.

  References:
    Bose et al. 2026 (Pep), arXiv:2602.15012.

  Notes:
    The paper's: a world model of how preferences correlate, learned offline
    with latent embeddings of users and a simple belief (linear, in one of its
    forms), no training online, and questions by information gain about the
    profile. Ours: a dimension of the profile is an answer to a pair of texts,
    not a named criterion with a weight from 1 to 5; people's profiles are
    incomplete, and what is missing is left out; the latent model is PReF's
    start (the residual matrix's factors) with an estimated Gaussian prior.
    The released code counts co-occurring criteria instead. The closest method
    that fits our data, not a reproduction: its numbers are not comparable.
  """
  system = types.System(
    factorized.factorized(dim=dim),
    gaussian.gaussian(dim=dim, capacity=capacity),
  )
  first = jnp.eye(dim)[0]

  def init(key, spec):
    hyper = {'ridge': ridge, 'basis_ridge': basis_ridge}
    state = states.new_state(system, key, spec, hyper=hyper)
    return states.with_user(state, bayes.isotropic_prior(first, 1.0))

  def begin(state, data):
    basis = _world(
      jax.random.fold_in(state.key, 1),
      data.features(state.params['reward']),
      data.judgements,
      data.index,
      state.hyper,
      people=data.people,
      dim=dim,
    )
    return states.with_reward(state, {**state.params['reward'], 'basis': basis})

  phases = (types.Phase('world', begin=begin), priors.prior_phase())
  return types.Learner(phases, init, system)


@functools.partial(jax.jit, static_argnames=('people', 'dim'))
def _world(key, features, judgements, index, hyper, *, people, dim):
  """Returns the aggregate's and the latent dimensions' bases `[D, J]`."""
  weight, others, _ = base_rewards.start(
    key, features, judgements, index, hyper, people=people, dim=dim
  )
  return jnp.concatenate([weight[:, None], others], 1)
