"""Episodes: some of a person's answers are known, others are to be predicted.

What amortised and meta-learned methods are trained on. A batch is P episodes
of `context + targets` answers, each of one person.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.systems import base_rewards, objectives, optimizers, states

_WINDOW = 4  # rows looked at for each that is drawn


class Size(NamedTuple):
  """Of a batch: people, and rows of context and of targets for each."""

  people: int = 32
  context: int = 50
  targets: int = 8


class Order(NamedTuple):
  """Who has which rows.

  Attributes:
    rows: `[n]` the rows that train, by person and shuffled; then the others.
    start: `[U + 1]` where each person's begin.
  """

  rows: types.Array
  start: types.Array


class Constants(NamedTuple):
  """Of learners that train on episodes.

  Attributes:
    examples: judgements that train.
    order: who has which rows.
  """

  examples: types.Array
  order: Order


class Episodes(NamedTuple):
  """P episodes; the inputs' index is `[P, N + T, 2]`, context first.

  Attributes:
    label: `[P, N + T]`.
    known: `[P, N]` 1 for an answer that is known, 0 for padding.
    wanted: `[P, T]` weight of an answer to predict, 0 for padding.
    mask: `[P]` 0 for padding.
    example_id: `[P]` the first target's, -1 if there is none.
  """

  label: types.ArrayLike
  known: types.ArrayLike
  wanted: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike


def blank(spec: types.Spec) -> Constants:
  """Returns constants of the shapes that `begin` fills.

  Args:
    spec: with the number of judgements.
  """
  order = Order(
    jnp.zeros(spec.judgements, jnp.int32), jnp.zeros(spec.people + 1, jnp.int32)
  )
  return Constants(jnp.ones(()), order)


def begin(state: types.TrainState, data: types.Data) -> Constants:
  """Returns who has which of the training rows, found on the host."""
  user, mask = (np.asarray(data.judgements.user), data.judgements.mask)
  trains = np.flatnonzero(np.asarray(mask) > 0)
  seed = np.asarray(jax.random.key_data(jax.random.fold_in(state.key, 2)))
  # Only rows that train are shuffled: others change nothing.
  shuffled = np.random.default_rng(seed.tolist()).permutation(trains)
  order = shuffled[np.argsort(user[shuffled], kind='stable')]
  order = np.concatenate([order, np.flatnonzero(np.asarray(mask) <= 0)])
  count = np.bincount(user[trains], minlength=data.people)
  start = np.concatenate([[0], np.cumsum(count)])
  return Constants(
    objectives.examples(data.judgements),
    Order(jnp.asarray(order, jnp.int32), jnp.asarray(start, jnp.int32)),
  )


def start_at_bases(
  state: types.TrainState, data: types.Data
) -> types.TrainState:
  """Returns the state whose basis is the aggregate's and the SVD's.

  The SVD's are scaled so that training pairs differ by 1 in the mean square.
  """
  basis = _bases(
    jax.random.fold_in(state.key, 1),
    data.features(state.params['reward']),
    data.judgements,
    data.index,
    state.hyper,
    people=data.people,
    dim=state.params['reward']['basis'].shape[1],
  )
  reward = {**state.params['reward'], 'basis': basis}
  return states.with_reward(state, reward)


@functools.partial(jax.jit, static_argnames=('people', 'dim'))
def _bases(key, features, judgements, index, hyper, *, people, dim):
  """Returns the bases `[D, J]`; see `start_at_bases`."""
  weight, others, _ = base_rewards.start(
    key, features, judgements, index, hyper, people=people, dim=dim
  )
  encoded = features @ others
  gap = encoded[index[:, 0]] - encoded[index[:, 1]]
  mask = jnp.asarray(judgements.mask)[:, None]
  size = jnp.sqrt(jnp.sum(mask * gap**2, 0) / (mask.sum() + 1e-6))
  return jnp.concatenate([weight[:, None], others / (size + 1e-6)], 1)


def collect(
  size: Size, key: types.Key, state: types.TrainState, batch: types.Batch
) -> tuple[types.Batch, dict]:
  """Returns a batch of P episodes drawn from all rows.

  People come up in proportion to their answers, so that every answer weighs
  the same. How many are known is drawn log-uniformly from none to
  `size.context`.

  Raises:
    ValueError: nobody has an answer.
  """
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
  order, start = (np.asarray(leaf) for leaf in state.constants.order)
  total = start[-1]
  if not total:
    raise ValueError('no judgement trains: every mask is 0')
  drawn = rng.integers(0, total, size.people)
  person = np.searchsorted(start, drawn, side='right') - 1
  count = (start[person + 1] - start[person])[:, None]
  length = size.context + size.targets
  # A window of the person's shuffled rows, and a random part of it in front.
  width = _WINDOW * length
  window = np.where(
    np.arange(width) < count, rng.random((len(drawn), width)), 2
  )
  place = np.argsort(window, axis=1)[:, :length]
  offset = rng.integers(0, np.maximum(count, 1))
  index = order[start[person][:, None] + (place + offset) % count]
  # Half a person's rows at least are left for the context, one for targets.
  targets = np.minimum(size.targets, (count + 1) // 2)
  most = np.minimum(size.context, count - targets)
  shown = np.floor((most + 1.0) ** rng.random(count.shape)) - 1.0
  column = np.arange(length)[None]
  wanted = column >= size.context
  present = np.where(wanted, column - size.context < targets, column < shown)
  # Targets take the window's first rows, and the context those after them.
  source = np.where(wanted, column - size.context, column + targets)
  index = np.take_along_axis(index, source % length, 1)
  rows = jax.tree.map(lambda leaf: np.asarray(leaf)[index], batch.rows)
  N = size.context
  asked = present[:, N:]
  episodes = Episodes(
    label=rows.label,
    known=present[:, :N].astype(np.float32),
    wanted=np.where(asked, rows.mask[:, N:], 0.0).astype(np.float32),
    mask=np.ones(len(index), np.float32),
    example_id=np.where(asked[:, 0], rows.example_id[:, N], -1).astype(
      np.int32
    ),
  )
  pairs = np.asarray(batch.inputs.index)[index]
  return types.Batch(episodes, batch.inputs._replace(index=pairs)), {}


class Episode(NamedTuple):
  """A batch, taken apart.

  Attributes:
    known: evidence of every person, leaves `[P, N, ...]`.
    targets: encoded texts to score, `[P, T, 2, J]`.
    label: `[P, T]`; mask: `[P, T]` 1 for a target that is there.
    key: `[P]` keys of each person's noise.
  """

  known: types.Pair
  targets: types.Array
  label: types.Array
  mask: types.Array
  key: types.Array


def episode(
  encoded: types.Array, state: types.TrainState, rows: Episodes
) -> Episode:
  """Returns the episodes of a batch that `collect` made.

  Args:
    encoded: `[P, N + T, 2, J]` of its texts.
    state: whose key and step give the noise.
    rows: of the batch.
  """
  label, is_known = jnp.asarray(rows.label), jnp.asarray(rows.known)
  N = is_known.shape[1]
  context = types.Pair(encoded[:, :N], label[:, :N], is_known)
  key = jax.random.fold_in(jax.random.fold_in(state.key, 3), state.step)
  return Episode(
    context,
    encoded[:, N:],
    label[:, N:],
    jnp.asarray(rows.wanted),
    jax.vmap(jax.random.fold_in, (None, 0))(key, rows.example_id + 1),
  )


def term(
  values: types.Array, mask: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns the term whose mean is over targets, of `[P, T]` each."""
  return jnp.sum(mask * values, 1), mask.sum(1)


def phase(
  size: Size,
  objective: types.Objective,
  begin: Callable[[types.TrainState, types.Data], types.TrainState],
  *,
  learning_rate: float,
  steps: int,
  whole: bool = False,
) -> types.Phase:
  """Returns the phase that trains on episodes.

  Args:
    size: of a batch.
    objective: on the rows that `collect` makes.
    begin: fills the state's constants, as `begin` makes them.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    whole: see `types.Phase`.
  """
  return types.Phase(
    'episodes',
    begin=begin,
    objective=objective,
    optimizer=optimizers.adam(learning_rate, steps),
    steps=steps,
    whole=whole,
    collect=functools.partial(collect, size),
  )
