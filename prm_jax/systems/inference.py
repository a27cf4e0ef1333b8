"""Beliefs of many people from their judgements, and what they predict."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import reading
from prm_jax.systems import likelihoods

_FLOATS = 1 << 25  # of gathered evidence held at once
_FEW = 1 << 15  # of all evidence, padded, that is one group


class Group(NamedTuple):
  """People with similar numbers of answers, padded to the same N.

  Attributes:
    people: `[P]` rows of the user bank; -1 is padding.
    rows: `[P, N]` indices of their judgements, in order.
    mask: `[P, N]` 1 for a judgement, 0 for padding.
  """

  people: np.ndarray
  rows: np.ndarray
  mask: np.ndarray


def group_people(
  rows: types.Judgements, *, limit: int | None = None, width: int = 1
) -> Iterator[Group]:
  """Yields people with their unmasked judgements, in order of row.

  N is a power of four and P a power of two, so that few shapes are compiled
  however the data are split.

  Args:
    rows: judgements on the host.
    limit: at most this many, the first, of each person.
    width: floats an encoded answer takes, to bound memory.
  """
  used = np.flatnonzero(np.asarray(rows.mask) > 0)
  user = np.asarray(rows.user)[used]
  used = used[np.argsort(user, kind='stable')]
  people, start, count = np.unique(
    np.asarray(rows.user)[used], return_index=True, return_counts=True
  )
  if limit is not None:
    count = np.minimum(count, limit)
  if not people.size or not count.max():
    return
  # The smallest power of four that holds the count, 4 at least.
  size = 4 ** np.maximum(1, np.ceil(np.log(count) / np.log(4) - 1e-9))
  if people.size * size.max() * width <= _FEW:
    size[:] = size.max()  # padding costs less than compiling once more
  for N in np.unique(size).astype(int):
    chunk = max(1, _FLOATS // (2 * N * width))
    members = np.flatnonzero(size == N)
    for first in range(0, members.size, chunk):
      chosen = members[first : first + chunk]
      P = 1 << int(np.ceil(np.log2(chosen.size)))
      offset = np.arange(N)
      mask = offset < count[chosen, None]
      index = used[np.minimum(start[chosen, None] + offset, used.size - 1)]
      pad = ((0, P - chosen.size), (0, 0))
      yield Group(
        np.pad(people[chosen], pad[0], constant_values=-1).astype(np.int32),
        np.pad(np.where(mask, index, 0), pad).astype(np.int32),
        np.pad(mask, pad).astype(np.float32),
      )


def group_evidence(
  encoded: types.PyTree,
  judgements: types.Judgements,
  index: types.ArrayLike,
  group: Group,
  head: types.Head | None = None,
  told: likelihoods.Told | None = None,
) -> types.Pair | types.Said:
  """Returns the group's evidence, leaves `[P, N, ...]`.

  Args:
    encoded: `[M, J]` encoded texts.
    judgements: of everybody.
    index: `[B, K]` into the texts; references, beyond two, are no answer.
    group: whose.
    head: what the labels are for; Bradley-Terry choices if None.
    told: what the head reads beside the encoded texts.
  """
  rows = group.rows
  if told is not None:
    assert head is not None
    chosen = jnp.asarray(index)[rows]
    return types.Said(
      jax.tree.map(lambda leaf: leaf[chosen], encoded),
      told.outputs[chosen],
      (chosen >= 0).astype(jnp.float32),
      jax.tree.map(lambda leaf: leaf[rows], told.own),
      jnp.asarray(judgements.label)[rows],
      jnp.asarray(group.mask) * jnp.asarray(judgements.mask)[rows],
      head,
    )
  chosen = jnp.asarray(index)[rows][..., :2]
  return types.Pair(
    encoded=jax.tree.map(lambda leaf: leaf[chosen], encoded),
    label=jnp.asarray(judgements.label)[group.rows],
    mask=jnp.asarray(group.mask) * jnp.asarray(judgements.mask)[group.rows],
  )


@functools.lru_cache(maxsize=64)
def _jitted(system: types.System):
  """The compiled encoder, inference and prediction of a system."""
  reward, user = system.reward, system.user

  def encode(params, value):
    return reward.encode(params, reward.features(params, types.Inputs(value)))

  def infer(key, params, encoded, judgements, index, group, told):
    evidence = group_evidence(
      encoded, judgements, index, group, system.head, told
    )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, group.people)
    if user.settle is None:
      return jax.vmap(user.infer, (0, None, 0))(keys, params, evidence)
    # States alone: what is written about them is written on the host.
    update = jax.vmap(user.update, (0, None, None, 0))
    return update(keys, params, user.prior(params), evidence)[0]

  def probability(params, contexts, encoded, person, index):
    chosen = jax.tree.map(lambda leaf: leaf[person], contexts)
    pair = jax.tree.map(lambda leaf: leaf[index[:, :2]], encoded)
    return choices.pair_probability(reward.score(params, pair, chosen))

  def blank(params):
    return user.context(params, user.prior(params))

  return tuple(jax.jit(f) for f in (encode, infer, probability, blank))


@functools.lru_cache(maxsize=64)
def _reader(system: types.System):
  """The compiled features and encodings of a system's reward."""

  def read(params, value):
    return reading.read(system.reward, params, types.Inputs(value))

  return jax.jit(read)


def encode(
  system: types.System, params: types.PyTree, value: types.PyTree
) -> types.PyTree:
  """Returns encoded texts `[M, J]` of what a reward reads of each.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    value: leaves `[M, ...]`, as in `types.Inputs`.
  """
  return _jitted(system)[0](params['reward'], value)


def infer(
  system: types.System,
  params: types.PyTree,
  data: types.Batch,
  *,
  key: types.Key,
  people: int,
  limit: int | None = None,
  free: types.PyTree = None,
) -> types.PyTree:
  """Returns everybody's contexts `[U, ...]` from their unmasked judgements.

  A person without answers gets the prior's context.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    data: judgements, and the texts that they point into.
    key: for user models that draw.
    people: U.
    limit: use at most this many of each person's answers, the first.
    free: people's free parameters `[U, ...]`, of which those of a head are
      read; everybody's if None.
  """
  told = None
  if system.head is None:
    encoded = encode(system, params, data.inputs.value)
  else:  # which reads features, too: texts are read once
    features, encoded = _reader(system)(params['reward'], data.inputs.value)
    told = likelihoods.told(system.head, params, features, data.rows.user, free)
  return infer_encoded(
    system,
    params['user'],
    encoded,
    data.rows,
    data.inputs.index,
    key=key,
    people=people,
    limit=limit,
    told=told,
  )


def infer_encoded(
  system: types.System,
  user: types.PyTree,
  encoded: types.PyTree,
  judgements: types.Judgements,
  index: types.ArrayLike,
  *,
  key: types.Key,
  people: int,
  limit: int | None = None,
  told: likelihoods.Told | None = None,
) -> types.PyTree:
  """Returns everybody's contexts `[U, ...]`; see `infer`.

  Args:
    system: reward and user model.
    user: params of the user model.
    encoded: texts `[M, J]`.
    judgements: of everybody.
    index: `[B, K]` into the texts.
    key: for user models that draw.
    people: U.
    limit: use at most this many of each person's answers, the first.
    told: what the system's head reads beside the encoded texts.
  """
  _, infer_group, _, blank = _jitted(system)
  contexts = jax.tree.map(
    lambda leaf: np.repeat(np.asarray(leaf)[None], people, 0), blank(user)
  )
  said, where = jax.tree.map(jnp.asarray, (judgements, index))
  width = jax.tree.leaves(encoded)[0].shape[-1]
  for group in group_people(judgements, limit=limit, width=width):
    fitted = infer_group(key, user, encoded, said, where, group, told)
    real = group.people >= 0
    fitted = jax.tree.map(lambda leaf: np.asarray(leaf)[real], fitted)  # noqa: B023
    if system.user.settle is not None:
      settled = system.user.settle(key, user, fitted)
      fitted = jax.vmap(system.user.context, (None, 0))(user, settled)
    for leaf, new in zip(
      jax.tree.leaves(contexts), jax.tree.leaves(fitted), strict=True
    ):
      leaf[group.people[real]] = np.asarray(new)
  return contexts


def predict(
  system: types.System,
  params: types.PyTree,
  contexts: types.PyTree,
  data: types.Batch,
  *,
  key: types.Key | None = None,
  free: types.PyTree = None,
) -> np.ndarray:
  """Returns the probability `[B]` that each row's first text is preferred.

  Or, where the system has a head that predicts something else, that.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    contexts: of every person, `[U, ...]`, as `infer` returns them.
    data: judgements, and the texts that they point into; labels are not read.
    key: for rewards that deliberate: they write before they score.
    free: people's free parameters `[U, ...]`, of which those of the head are
      read; everybody's if None.

  Raises:
    ValueError: a reward deliberates, and there is no key.
  """
  if system.reward.deliberate is not None:
    return _deliberated(system, params, contexts, data, key)
  if system.head is not None:
    return np.asarray(_said(system)(params, contexts, data, free))
  _, _, probability, _ = _jitted(system)
  encoded = encode(system, params, data.inputs.value)
  leaves = jax.tree.leaves(contexts)
  people = len(leaves[0]) if leaves else 1
  width = sum(np.size(leaf) for leaf in leaves) // people
  # Contexts are gathered for every row: a block of rows at a time.
  block = max(1, _FLOATS // max(width, 1))
  person, index = np.asarray(data.rows.user), np.asarray(data.inputs.index)
  count = len(person)
  if count <= block:
    return np.asarray(
      probability(params['reward'], contexts, encoded, person, index)
    )
  contexts = jax.tree.map(jnp.asarray, contexts)
  blocks = []
  for first in range(0, count, block):
    rows = np.minimum(np.arange(first, first + block), count - 1)
    blocks.append(
      probability(
        params['reward'], contexts, encoded, person[rows], index[rows]
      )
    )
  return np.concatenate(blocks)[:count]


@functools.lru_cache(maxsize=64)
def _said(system: types.System):
  """The compiled predictions of a system with a head."""
  head = system.head
  assert head is not None

  def predict(params, contexts, data, free):
    user = data.rows.user
    own = likelihoods.rows(head, params[likelihoods.FREE], free, user)
    chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf)[user], contexts)
    read = likelihoods.seen(system, params, chosen, data.inputs)
    return head.predict(own, read)

  return jax.jit(predict)


def margins(
  reward: types.RewardModel,
  params: types.PyTree,
  data: types.Batch,
  *,
  block: int | None = None,
) -> np.ndarray:
  """Returns score(first) - score(second) `[B]`, given a row's further texts.

  Args:
    reward: whose context is `users.references.References`.
    params: of the reward.
    data: rows of a pair and its references, and the texts that they point into.
    block: rows at once, where what is read of a text is large; all if None.
  """
  index = np.asarray(data.inputs.index)
  count = len(index)
  value = jax.tree.map(jnp.asarray, data.inputs.value)
  parts = [np.zeros(0, np.float32)]
  size = block or max(count, 1)
  for first in range(0, count, size):
    rows = np.arange(first, first + size)
    chosen = index[np.minimum(rows, count - 1)]
    parts.append(_compared(reward)(params, types.Inputs(value, chosen)))
  return np.concatenate(parts)[:count]


@functools.lru_cache(maxsize=64)
def _compared(reward: types.RewardModel):
  """The compiled margins of a reward."""

  def margin(params, inputs):
    encoded = reading.encoded(reward, params, inputs)
    return reading.margins(reward, params, encoded)

  return jax.jit(margin)


def _deliberated(system, params, contexts, data, key) -> np.ndarray:
  """Returns probabilities `[B]` by a reward that writes before it scores."""
  if key is None:
    raise ValueError('the reward deliberates, which takes a key: give one')
  reward, person = system.reward, np.asarray(data.rows.user)
  chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf)[person], contexts)
  index = data.inputs.index
  inputs = data.inputs
  if index is not None:
    inputs = inputs._replace(index=np.asarray(index)[:, :2])
  inputs = reward.deliberate(key, params['reward'], inputs, chosen)
  pair = reading.encoded(reward, params['reward'], inputs)
  output = reward.score(params['reward'], pair, chosen)
  return np.asarray(choices.pair_probability(output))
