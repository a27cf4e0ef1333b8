"""From coded tables to pairs and batches."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grain
import jax
import numpy as np

from prm_jax import types
from prm_jax.data import schema

Table = TypeVar('Table', schema.Judgements, schema.Ratings)


def select(table: Table, chosen: np.ndarray) -> Table:
  """Returns some judgements or ratings; people and texts keep their numbers.

  Args:
    table: of either.
    chosen: rows, as numbers or a mask.
  """
  names = ['user', 'item', 'rating']
  if isinstance(table, schema.Judgements):
    names = ['user', 'items', 'label']
  rows: dict[str, Any] = {name: getattr(table, name)[chosen] for name in names}
  return dataclasses.replace(table, **rows)


def pairs_from_ratings(
  ratings: schema.Ratings,
  *,
  min_gap: float,
  scale: float | None,
  per_person: int,
  seed: int,
  tie: float | None = None,
) -> schema.Judgements:
  """Returns pairs of responses to one prompt that a person rated apart.

  Of each person's pairs a uniform sample is taken, in random order, so that
  the first k are a sample too. Which response is first is a coin flip.

  Args:
    ratings: coded ratings.
    min_gap: pairs at least this far apart count.
    scale: labels are sigmoid(gap / scale); 1 or 0 by the gap's sign if None.
    per_person: pairs taken, at most.
    seed: of the sample.
    tie: pairs at most this far apart are ties, of label 0.5; none if None.
  """
  rng = np.random.default_rng(seed)
  order = np.argsort(ratings.user, kind='stable')
  people, starts = np.unique(ratings.user[order], return_index=True)
  rated = np.split(order, starts)[1:]
  users, items, gaps = [], [], []
  for person, rows in zip(people, rated, strict=True):
    item, rating = ratings.item[rows], ratings.rating[rows]
    first, second = np.triu_indices(len(rows), 1)
    gap = rating[first] - rating[second]
    prompt = ratings.item_prompt[item]
    good = (np.abs(gap) >= min_gap) & (prompt[first] == prompt[second])
    pairs = rng.permutation(np.flatnonzero(good))[:per_person]
    users.append(np.full(len(pairs), person, np.int32))
    items.append(np.stack([item[first[pairs]], item[second[pairs]]], 1))
    gaps.append(gap[pairs])
  user = np.concatenate([np.zeros(0, np.int32), *users])
  pair = np.concatenate([np.zeros((0, 2), np.int32), *items])
  gap = np.concatenate([np.zeros(0), *gaps])
  flip = rng.random(len(user)) < 0.5
  pair = np.where(flip[:, None], pair[:, ::-1], pair)
  gap = np.where(flip, -gap, gap)
  label = gap > 0 if scale is None else 1 / (1 + np.exp(-gap / scale))
  if tie is not None:
    label = np.where(np.abs(gap) <= tie, 0.5, label)
  texts = {
    field.name: getattr(ratings, field.name)
    for field in dataclasses.fields(schema.Texts)
  }
  return schema.Judgements(
    user_ids=ratings.user_ids,
    attributes=ratings.attributes,
    user=user,
    items=pair.astype(np.int32),
    label=label.astype(np.float32),
    **texts,
  )


def pair_names(table: schema.Judgements, *, of_each: bool) -> list[str]:
  """Returns a name for the pair of every judgement, in either order the same.

  Args:
    table: judgements.
    of_each: other names for every person.
  """
  people = [f'{table.user_ids[u]}|' if of_each else '' for u in table.user]
  return [
    f'{person}{a}|{b}'
    for person, (a, b) in zip(people, np.sort(table.items, 1), strict=True)
  ]


def joined(tables: Sequence[schema.Judgements]) -> schema.Judgements:
  """Returns the judgements of several tables of the same texts and people."""
  return dataclasses.replace(
    tables[0],
    user=np.concatenate([table.user for table in tables]),
    items=np.concatenate([table.items for table in tables]),
    label=np.concatenate([table.label for table in tables]),
  )


@dataclasses.dataclass(frozen=True)
class _Batches(grain.sources.RandomAccessDataSource):
  """Element k is the k-th whole batch, so that no row costs Python time."""

  data: types.Batch
  batch_size: int
  seed: int
  epochs: int
  read: Callable[[np.ndarray], types.Inputs] | None = None
  part: tuple[int, int] = (0, 1)

  @property
  def count(self) -> int:
    """Returns the rows of one pass."""
    return len(self.data.rows.mask)

  @property
  def per_epoch(self) -> int:
    """Returns the batches of one pass over the rows."""
    return -(-self.count // self.batch_size)

  def __len__(self) -> int:
    return self.per_epoch * self.epochs

  def __getitem__(self, k: int) -> types.Batch:
    epoch, number = divmod(int(k), self.per_epoch)
    order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
    size = self.batch_size
    chosen = order[number * size : (number + 1) * size]
    own, parts = self.part
    size //= parts
    chosen = chosen[own * size : (own + 1) * size]
    padding = size - len(chosen)

    def longer(leaf):
      return np.pad(leaf, [(0, padding)] + [(0, 0)] * (leaf.ndim - 1))

    taken = self.data.take(chosen)
    rows, inputs = jax.tree.map(longer, taken.rows), taken.inputs
    if self.read is not None and inputs is not None:
      inputs = self.read(longer(inputs.index))
    elif inputs is not None and inputs.index is not None:
      inputs = inputs._replace(index=longer(inputs.index))
    elif inputs is not None:
      inputs = inputs._replace(value=jax.tree.map(longer, inputs.value))
    return types.Batch(rows, inputs)


def batches(
  data: types.Batch,
  *,
  batch_size: int,
  seed: int,
  epochs: int = 1_000_000,
  read: Callable[[np.ndarray], types.Inputs] | None = None,
  part: tuple[int, int] = (0, 1),
) -> grain.DatasetIterator:
  """Returns an iterator of whole batches, shuffled anew every epoch.

  An epoch's last batch is padded with rows of mask 0. The iterator's position
  is one number, which a checkpoint keeps. Where an index points into texts,
  batches hold the index alone, and are of the data's texts.

  Args:
    data: judgements on the host, or other rows.
    batch_size: rows of a batch.
    seed: of the order.
    epochs: passes over the rows.
    read: texts `[B, K]` -> inputs, where every batch has texts of its own, such
      as `models.packing.Reader`; the data's index says which texts.
    part: (n, count): the n-th of so many equal parts of every batch's rows, for
      a process that has `runtime.mesh.own_rows` (`train.go_on(parts=True)`).

  Raises:
    ValueError: there is no row, or no index where texts are read; parts do not
      divide the batch, or its texts are read, of which a part has others.
  """
  count = len(data.rows.mask)
  if not count:
    raise ValueError('no row to make a batch of')
  indexed = data.inputs is not None and data.inputs.index is not None
  if indexed:
    data = data.over(None)
  elif read is not None:
    raise ValueError('texts are read by an index, and the data have none')
  size = min(batch_size, count)
  if size % part[1]:
    raise ValueError(
      f'a batch of {size} rows is not divided by the {part[1]} processes that '
      f'share it: take {size - size % part[1] or part[1]}'
    )
  if read is not None and part[1] > 1:
    raise ValueError(
      'parts of a batch that is packed differ in length: give whole batches to '
      'every process'
    )
  source = _Batches(data, size, seed, epochs, read, part)
  return iter(grain.MapDataset.source(source).to_iter_dataset())
