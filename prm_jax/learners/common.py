"""What every learner starts from and shares."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.learners import inference
from prm_jax.ops import bayes, factorization, pairs
from prm_jax.rewards import backbone as trunks
from prm_jax.users import bank as banks

_EM_STEPS = 6
_EM_NEWTON = 6  # from the prior's mean, enough for a moment of the population


class Examples(NamedTuple):
  """Constants of learners whose penalties are scaled to one example.

  Attributes:
    examples: judgements that train.
  """

  examples: types.Array


class Anchored(NamedTuple):
  """Constants of learners that stay near the aggregate.

  Attributes:
    examples: judgements that train.
    aggregate: `[D]` the aggregate's weight.
  """

  examples: types.Array
  aggregate: types.Array


def new_state(
  system: types.System,
  key: types.Key,
  spec: types.Spec,
  *,
  blank: types.PyTree = (),
  constants: types.PyTree = (),
  hyper: Mapping[str, float],
) -> types.TrainState:
  """Returns the state before the first phase.

  Args:
    system: reward and user model.
    key: the run's seed.
    spec: sizes.
    blank: free parameters of a person of whom nothing is known.
    constants: the learner's own, of the structure that they keep.
    hyper: searched numbers.
  """
  reward_key, user_key = jax.random.split(jax.random.fold_in(key, 0))
  params = {
    'reward': system.reward.init(reward_key, spec),
    'user': system.user.init(user_key, spec),
  }
  # Beliefs are made when somebody is remembered: fitting infers.
  people = banks.empty(spec.people, blank, ())
  return state_of(key, params, people, constants=constants, hyper=hyper)


def state_of(
  key: types.Key,
  params: types.PyTree,
  people: types.People,
  *,
  constants: types.PyTree = (),
  hyper: Mapping[str, float] | None = None,
) -> types.TrainState:
  """Returns the state of these parameters and people before any step.

  Args:
    key: the run's seed.
    params: shared parameters.
    people: what is kept of each person.
    constants: the learner's own.
    hyper: searched numbers.
  """
  return types.TrainState(
    step=jnp.int32(0),
    round=jnp.int32(0),
    phase=jnp.int32(0),
    params=params,
    people=people,
    key=key,
    opt_state={},
    constants=constants,
    average=(),
    hyper={name: jnp.float32(v) for name, v in (hyper or {}).items()},
  )


def adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """Returns Adam with a cosine decay to 1 % over `steps`."""
  return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, 0.01))


def people_adam(
  learning_rate: float, steps: int
) -> optax.GradientTransformationExtraArgs:
  """Returns the Adam of one person, at the rate of the phase's step.

  Everybody counts their own steps for the bias of the moments, and the rate's
  cosine is the phase's: who comes late moves as far at first as who was there
  from the start, times the schedule.

  Args:
    learning_rate: of the first step.
    steps: of the phase, over which the rate decays to 1 %.
  """
  rate = optax.cosine_decay_schedule(learning_rate, steps, 0.01)
  inner = optax.scale_by_adam()

  def update(gradient, state, params=None, *, step, **_):
    change, state = inner.update(gradient, state, params)
    return jax.tree.map(lambda leaf: -rate(step) * leaf, change), state

  return optax.GradientTransformationExtraArgs(inner.init, update)


def by_path(
  optimizers: Mapping[str, optax.GradientTransformation],
) -> optax.GradientTransformation:
  """Returns one optimiser of parts of the parameters that have each their own.

  Args:
    optimizers: whole components of paths, as in `Phase.train`, -> optimiser;
      the first that fits a leaf is its own. A leaf that none fits is an error.
  """

  def label(path, leaf):
    del leaf
    name = '/' + jax.tree_util.keystr(path, simple=True, separator='/') + '/'
    for part in optimizers:
      if f'/{part}/' in name or not part:
        return part
    raise ValueError(f'no optimizer for {name[1:-1]!r}: {sorted(optimizers)}')

  return optax.partition(
    dict(optimizers),
    lambda params: jax.tree_util.tree_map_with_path(label, params),
  )


def trained(backbone: Any, learning_rate: float, steps: int) -> dict[str, Any]:
  """Returns optimiser and `train` of a phase, as `types.Phase` takes them.

  Args:
    backbone: `rewards.backbone.Backbone`, plain data, or None. A frozen one
      does not train; an adapter or a whole one has a rate of its own.
    learning_rate: of everything else; Adam, decayed to 1 %.
    steps: of the phase.
  """
  if backbone is None:
    return {'optimizer': adam(learning_rate, steps)}
  trunk = trunks.given(backbone)
  if trunk.trains == 'frozen':
    return {'optimizer': adam(learning_rate, steps), 'train': '-backbone'}
  part = 'backbone' if trunk.trains == 'whole' else 'adapter'
  optimizer = by_path({
    part: adam(trunk.learning_rate, steps), '': adam(learning_rate, steps),
  })  # fmt: skip
  train = '' if trunk.trains == 'whole' else '-backbone'
  return {'optimizer': optimizer, 'train': train}


def mean(values: types.Array) -> tuple[types.Array, types.Array]:
  """Returns the term whose mean over rows is that of `values` `[B]`."""
  return values, jnp.ones_like(values)


def examples(judgements: types.Judgements) -> types.Array:
  """Returns the number of judgements that count, at least 1."""
  return jnp.maximum(jnp.sum(jnp.asarray(judgements.mask)), 1.0)


def margins(pair: types.Array, weights: types.Array) -> types.Array:
  """Returns the score differences `[B]` of encoded pairs.

  Args:
    pair: `[B, 2, J]`.
    weights: `[B, J]` of each row's person.
  """
  return jnp.sum((pair[:, 0] - pair[:, 1]) * weights, axis=-1)


def charged(
  people: types.Present,
  user: types.Array,
  free: types.Array,
  penalty: types.Array,
) -> tuple[types.Array, tuple[types.Array, types.Array]]:
  """Returns each row's free parameters, and the term that charges for them.

      sum_u penalty_u / examples

  Every row of a person carries penalty_u / n_u, n_u the weight of their rows
  in the whole data: all rows give the sum, a batch an unbiased estimate, and
  who is absent is not charged.

  Args:
    people: of the batch.
    user: `[B]` rows of these people.
    free: `[P, J]` free parameters.
    penalty: `[P]` nats.

  Returns:
    `[B, J]`, and the term.
  """
  share = penalty / jnp.maximum(people.weight, 1e-6)
  # Looked up together: each lookup's gradient is a scatter over the rows.
  both = jnp.concatenate([free, share[:, None]], 1)[user]
  return both[:, :-1], mean(both[:, -1])


@jax.jit
def aggregate_weight(
  features: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  ridge: types.Array,
) -> types.Array:
  """Returns the weight `[D]` of the linear Bradley-Terry model of everybody.

      argmin_w  sum_n mask_n NLL(label_n | w . (x_a - x_b)) + ridge |w|^2 / 2

  The objective is convex, so Newton solves it exactly: it is the posterior
  mode of one person who gave every answer.

  Args:
    features: `[M, D]`.
    judgements: of everybody, `[N]`.
    index: `[N, 2]` the two texts of each.
    ridge: prior precision, in answers.
  """
  said = jax.tree.map(jnp.asarray, judgements)
  return bayes.pooled_mode(features, index, said.label, said.mask, ridge=ridge)


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


@functools.partial(jax.jit, static_argnames=('people', 'rank'))
def svd_bases(
  key: types.Key,
  features: types.Array,
  judgements: types.Judgements,
  index: types.ArrayLike,
  weight: types.Array,
  ridge: types.Array,
  *,
  people: int,
  rank: int,
) -> tuple[types.Array, types.Array]:
  """Returns personal base rewards `[D, rank]` and coefficients `[U, rank]`.

  The weighted low-rank factorisation of the preference matrix's logits, less
  the aggregate's margins, regressed on the features.

  Args:
    key: of the factorisation's start.
    features: `[M, D]`.
    judgements: of everybody, `[N]`.
    index: `[N, 2]` the two texts of each.
    weight: `[D]` of the aggregate.
    ridge: of the regression, in answers.
    people: U.
    rank: how many.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358, algorithm 1.
  """
  if not rank:
    return jnp.zeros((features.shape[1], 0)), jnp.zeros((people, 0))
  matrix = factorization.preference_matrix(judgements, index)
  margin = pairs.margins(features, matrix.items, weight)
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
    features, matrix.items, pair * scale, answers, ridge=ridge
  )
  return bases, personal / scale


@jax.jit
def _em_group(prior, encoded, judgements, index, group):
  evidence = inference.group_evidence(encoded, judgements, index, group)
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
  judgements: types.Judgements,
  index: types.ArrayLike,
  *,
  steps: int = _EM_STEPS,
  shrinkage: float = 1.0,
) -> bayes.GaussianPrior:
  """Returns the empirical-Bayes prior of the people who answered.

  Args:
    prior: to start from.
    encoded: `[M, J]` encoded texts.
    judgements: that train.
    index: `[N, 2]` into the texts.
    steps: of expectation maximisation.
    shrinkage: pseudo-people who keep the old covariance.
  """
  said, where = jax.tree.map(jnp.asarray, (judgements, index))
  groups = list(inference.group_people(judgements, width=encoded.shape[-1]))
  if not groups:
    return prior
  for _ in range(steps):
    moments = [_em_group(prior, encoded, said, where, g) for g in groups]
    total = jax.tree.map(lambda *leaves: sum(leaves), *moments)
    prior = bayes.empirical_prior(prior, total, shrinkage=shrinkage)
  return prior


def prior_phase() -> types.Phase:
  """Returns the phase that estimates the population's Gaussian prior."""

  def begin(state, data):
    prior = estimate_prior(
      state.params['user'], data.encoded(state.params['reward']),
      data.judgements, data.index,
    )  # fmt: skip
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


def with_free(state: types.TrainState, free: types.PyTree) -> types.TrainState:
  """Returns the state with other free parameters of people."""
  return state._replace(people=state.people._replace(free=free))


def averaged(state: types.TrainState) -> types.PyTree:
  """Returns parameters, those with a moving average replaced by it."""
  return jax.tree.map(
    lambda mean, now: now if mean is None else mean,
    state.average, state.params, is_leaf=lambda leaf: leaf is None,
  )  # fmt: skip
