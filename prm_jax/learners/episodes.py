"""Episodes: some of a person's answers are known, others are to be predicted.

What amortised and meta-learned methods are trained on. An episode is
`context + targets` rows of one person; a batch is P episodes, one after the
other. Rows of context have mask 0, for nothing is predicted there; rows that
a person does not have carry `example_id` -1.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.learners import common

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


def begin(state: types.TrainState, batch: types.Batch) -> types.TrainState:
  """Returns the state with the `Order` of the rows in `frozen`, on the host."""
  rows = jax.tree.map(np.asarray, batch.rows)
  trains = np.flatnonzero(rows.mask > 0)
  people = state.bank.ids.shape[0]
  seed = np.asarray(jax.random.key_data(jax.random.fold_in(state.key, 2)))
  # Only rows that train are shuffled: others change nothing.
  shuffled = np.random.default_rng(seed.tolist()).permutation(trains)
  order = shuffled[np.argsort(rows.user[shuffled], kind='stable')]
  order = np.concatenate([order, np.flatnonzero(rows.mask <= 0)])
  count = np.bincount(rows.user[trains], minlength=people)
  start = np.concatenate([[0], np.cumsum(count)])
  return state._replace(
    frozen=Order(jnp.asarray(order, jnp.int32), jnp.asarray(start, jnp.int32)),
    hyper={**state.hyper, 'examples': common.examples(batch.rows)},
  )


@jax.jit
def start_at_bases(
  state: types.TrainState, batch: types.Batch
) -> types.TrainState:
  """Returns the state whose basis is the aggregate's and the SVD's.

  The SVD's are scaled so that training pairs differ by 1 in the mean square.
  """
  people, dim = len(state.bank.ids), state.params['reward']['basis'].shape[1]
  weight = common.aggregate_weight(batch, state.hyper['ridge'])
  others, _ = common.svd_bases(
    jax.random.fold_in(state.key, 1), batch, weight, people=people,
    rank=dim - 1, ridge=state.hyper['basis_ridge'],
  )  # fmt: skip
  encoded = batch.table @ others
  items = batch.rows.items
  gap = encoded[items[:, 0]] - encoded[items[:, 1]]
  mask = jnp.asarray(batch.rows.mask)[:, None]
  size = jnp.sqrt(jnp.sum(mask * gap**2, 0) / (mask.sum() + 1e-6))
  basis = jnp.concatenate([weight[:, None], others / (size + 1e-6)], 1)
  reward = {**state.params['reward'], 'basis': basis}
  return common.with_reward(state, reward)


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
  order, start = (np.asarray(leaf) for leaf in state.frozen)
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
  known = np.floor((most + 1.0) ** rng.random(count.shape)) - 1.0
  column = np.arange(length)[None]
  wanted = column >= size.context
  there = np.where(wanted, column - size.context < targets, column < known)
  # Targets take the window's first rows, and the context those after them.
  source = np.where(wanted, column - size.context, column + targets)
  index = np.take_along_axis(index, source % length, 1)
  rows = jax.tree.map(lambda leaf: np.asarray(leaf)[index.ravel()], batch.rows)
  there, wanted = there.ravel(), np.broadcast_to(wanted, there.shape).ravel()
  rows = rows._replace(
    mask=np.where(there & wanted, rows.mask, 0.0).astype(np.float32),
    example_id=np.where(there, rows.example_id, -1).astype(np.int32),
  )
  return batch._replace(rows=rows), {}


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
  size: Size, encoded: types.Array, state: types.TrainState, rows: types.Rows
) -> Episode:
  """Returns the episodes of a batch that `collect` made.

  Args:
    size: as in `collect`; the number of people is read off the rows.
    encoded: `[M, J]` encoded texts.
    state: whose key and step give the noise.
    rows: of the batch.
  """
  length, N = size.context + size.targets, size.context

  def fold(leaf):
    return leaf.reshape(-1, length, *leaf.shape[1:])

  folded = jax.tree.map(lambda leaf: fold(jnp.asarray(leaf)), rows)
  pairs = encoded[folded.items]
  there = (folded.example_id >= 0).astype(jnp.float32)
  known = types.Pair(pairs[:, :N], folded.label[:, :N], there[:, :N])
  key = jax.random.fold_in(jax.random.fold_in(state.key, 3), state.step)
  return Episode(
    known,
    pairs[:, N:],
    folded.label[:, N:],
    folded.mask[:, N:],
    jax.vmap(jax.random.fold_in, (None, 0))(key, folded.example_id[:, N] + 1),
  )


def per_example(size: Size, values: types.Array) -> types.Array:
  """Returns `[B]` of `[P, T]`: zero for the rows of context."""
  return jnp.pad(values, ((0, 0), (size.context, 0))).ravel()


def phase(
  size: Size,
  objective: types.Objective,
  *,
  learning_rate: float,
  steps: int,
  name: str = 'episodes',
) -> types.Phase:
  """Returns the phase that trains on episodes.

  Args:
    size: of a batch.
    objective: on the rows that `collect` makes.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    name: for logs.
  """
  sampler: Callable[..., Any] = functools.partial(collect, size)
  return types.Phase(
    name,
    begin=begin,
    objective=objective,
    optimizer=common.adam(learning_rate, steps),
    steps=steps,
    collect=sampler,
  )
