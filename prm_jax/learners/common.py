"""What every learner starts from and shares."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.learners import inference
from prm_jax.ops import bayes, factorization
from prm_jax.users import bank as banks

_EM_STEPS = 6
_EM_NEWTON = 6  # from the prior's mean, enough for a moment of the population


def new_state(
  system: types.System,
  key: types.Key,
  spec: types.Spec,
  *,
  blank_rows: types.PyTree = (),
  hyper: Mapping[str, float],
) -> types.TrainState:
  """Returns the state before the first phase.

  Args:
    system: reward and user model.
    key: the run's seed.
    spec: sizes.
    blank_rows: free parameters of a person of whom nothing is known.
    hyper: numeric hyper-parameters.
  """
  reward_key, user_key = jax.random.split(jax.random.fold_in(key, 0))
  params = {
    'reward': system.reward.init(reward_key, spec),
    'user': system.user.init(user_key, spec),
  }
  return types.TrainState(
    step=jnp.int32(0),
    phase=jnp.int32(0),
    params=params,
    opt_state=(),
    # Beliefs are made when somebody is remembered: fitting infers.
    bank=banks.empty_bank(spec.people, blank_rows, ()),
    hyper={name: jnp.float32(value) for name, value in hyper.items()},
    key=key,
  )


def adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """Returns Adam with a cosine decay to 1 % over `steps`."""
  return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, 0.01))


def examples(rows: types.Rows) -> types.Array:
  """Returns the number of judgements that count, at least 1."""
  return jnp.maximum(jnp.sum(jnp.asarray(rows.mask)), 1.0)


@jax.jit
def aggregate_weight(batch: types.Batch, ridge: types.Array) -> types.Array:
  """Returns the weight `[D]` of the linear Bradley-Terry model of everybody.

      argmin_w  sum_n mask_n NLL(label_n | w . (x_a - x_b)) + ridge |w|^2 / 2

  The objective is convex, so Newton solves it exactly: it is the posterior
  mode of one person who gave every answer.

  Args:
    batch: feature table `[M, D]` and judgements.
    ridge: prior precision, in answers.
  """
  table, rows = jnp.asarray(batch.table), batch.rows
  difference = table[rows.items[:, 0]] - table[rows.items[:, 1]]
  prior = bayes.isotropic_prior(
    jnp.zeros(table.shape[1]), 1.0 / jnp.sqrt(ridge)
  )
  label, mask = jnp.asarray(rows.label), jnp.asarray(rows.mask)
  return bayes.posterior_mode(prior, difference, label, mask)


def spread_bases(
  key: types.Key, weight: types.Array, dim: int, spread: float
) -> types.Array:
  """Returns base rewards `[D, dim]` at random around the aggregate's.

  Args:
    key: the run's seed.
    weight: `[D]` of the aggregate.
    dim: how many.
    spread: of the noise, relative to the aggregate's norm.
  """
  D = weight.shape[0]
  noise = jax.random.normal(jax.random.fold_in(key, 1), (D, dim))
  size = jnp.linalg.norm(weight) + 1.0
  return weight[:, None] + spread * size * noise / jnp.sqrt(D)


def svd_bases(
  key: types.Key,
  batch: types.Batch,
  weight: types.Array,
  *,
  people: int,
  rank: int,
  ridge: types.Array,
) -> tuple[types.Array, types.Array]:
  """Returns personal base rewards `[D, rank]` and coefficients `[U, rank]`.

  The weighted low-rank factorisation of the preference matrix's logits, less
  the aggregate's margins, regressed on the features.

  Args:
    key: of the factorisation's start.
    batch: feature table and judgements.
    weight: `[D]` of the aggregate.
    people: U.
    rank: how many.
    ridge: of the regression, in answers.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358, algorithm 1.
  """
  rows = jax.tree.map(jnp.asarray, batch.rows)
  table = jnp.asarray(batch.table)
  if not rank:
    return jnp.zeros((table.shape[1], 0)), jnp.zeros((people, 0))
  matrix = factorization.preference_matrix(rows)
  score = table @ weight
  margin = score[matrix.items[:, 0]] - score[matrix.items[:, 1]]
  residual = matrix._replace(logit=matrix.logit - margin[matrix.pair])
  personal, pair = factorization.weighted_als(
    key, residual, people=people, rank=rank
  )
  # A person's column has variance 1, as the coefficients' prior says.
  scale = jnp.sqrt(jnp.mean(personal**2, 0)) + 1e-6
  answers = jax.ops.segment_sum(
    matrix.weight, matrix.pair, matrix.items.shape[0]
  )
  bases = factorization.regress_basis(
    table, matrix.items, pair * scale, answers, ridge=ridge
  )
  return bases, personal / scale


@jax.jit
def _em_group(prior, encoded, rows, group):
  evidence = inference.group_evidence(encoded, rows, group)
  difference = evidence.encoded[:, :, 0] - evidence.encoded[:, :, 1]
  fit = functools.partial(bayes.laplace, iterations=_EM_NEWTON)
  posterior = jax.vmap(fit, (None, 0, 0, 0))(
    prior, difference, evidence.label, evidence.mask
  )
  weight = jnp.asarray(group.people >= 0, jnp.float32)
  return bayes.population_moments(prior, posterior, weight)


def estimate_prior(
  prior: bayes.GaussianPrior,
  encoded: types.Array,
  rows: types.Rows,
  *,
  steps: int = _EM_STEPS,
  shrinkage: float = 1.0,
) -> bayes.GaussianPrior:
  """Returns the empirical-Bayes prior of the people who answered.

  Args:
    prior: to start from.
    encoded: `[M, J]` encoded texts.
    rows: training judgements.
    steps: of expectation maximisation.
    shrinkage: pseudo-people who keep the old covariance.
  """
  device_rows = jax.tree.map(jnp.asarray, rows)
  groups = list(inference.group_people(rows, width=encoded.shape[-1]))
  if not groups:
    return prior
  for _ in range(steps):
    moments = [_em_group(prior, encoded, device_rows, g) for g in groups]
    total = jax.tree.map(lambda *leaves: sum(leaves), *moments)
    prior = bayes.empirical_prior(prior, total, shrinkage=shrinkage)
  return prior


def prior_phase(system: types.System) -> types.Phase:
  """Returns the phase that estimates the population's Gaussian prior."""
  encode = jax.jit(system.reward.encode)

  def begin(state, batch):
    encoded = encode(state.params['reward'], jnp.asarray(batch.table))
    prior = estimate_prior(state.params['user'], encoded, batch.rows)
    return with_user(state, prior)

  return types.Phase('prior', begin=begin)


def with_reward(
  state: types.TrainState, reward: types.PyTree
) -> types.TrainState:
  """Returns the state with other reward parameters."""
  return state._replace(params={**state.params, 'reward': reward})


def with_user(state: types.TrainState, user: types.PyTree) -> types.TrainState:
  """Returns the state with other parameters of the user model."""
  return state._replace(params={**state.params, 'user': user})


def margins(
  encoded: types.Array, weights: types.Array, rows: types.Rows
) -> types.Array:
  """Returns the score differences `[B]` of the rows.

  Args:
    encoded: `[M, J]` encoded texts.
    weights: `[U, J]` of every person.
    rows: judgements.
  """
  a, b = encoded[rows.items[:, 0]], encoded[rows.items[:, 1]]
  return jnp.sum((a - b) * weights[rows.user], axis=-1)
