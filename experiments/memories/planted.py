"""A misconception in a person's history, and what becomes of its correction.

In one event, or in every fourth, a person's text has a word that they do not
prefer, of one attribute; correction is the preferred word in the event behind.
The control has the same wrong words in what was rejected: what another wrote.

Nothing else is changed, so that texts of all kinds differ in single words.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.memories import audited, fits, tables
from experiments.reasoning_rewards import measured
from prm_jax import memory_rows
from prm_jax.lab import units
from prm_jax.worlds import personal_histories as histories

Row = dict[str, Any]
NONE, CONTROL = 'none', "another's"
# History -> how often the wrong word is said, and whether it is corrected.
HISTORIES: dict[str, tuple[str, bool]] = {
  NONE: ('', False),
  'misconception': ('once', False),
  'corrected': ('once', True),
  'misconception_repeated': ('often', False),
  'corrected_repeated': ('often', True),
  CONTROL: ('often', False),
}
_BEHIND = 2  # events behind the last that is tampered with
_EVERY = 4  # of events, one is where it is often


def places(events: int, said: str) -> np.ndarray:
  """Returns which events are tampered with, in order of time.

  Args:
    events: E of a person.
    said: 'once', 'often', or '' for none.
  """
  if not said:
    return np.zeros(0, int)
  last = max(events - 1 - _BEHIND, 0)
  if said == 'once':
    return np.array([last])
  return np.arange(last % _EVERY, last + 1, _EVERY)


def wrong_values(
  rng: np.random.Generator, liked: np.ndarray, about: np.ndarray
) -> np.ndarray:
  """Returns values that nobody of them prefers, `[U, N]`.

  Args:
    rng: of the draw; of a person always the same step away.
    liked: `[U, N, A]` what is preferred.
    about: `[U]` the attribute.
  """
  own = np.take_along_axis(liked, about[:, None, None], -1)[..., 0]
  shift = rng.integers(1, histories.VALUES, (len(about), 1))
  return (own + shift) % histories.VALUES


def misconceived(
  rng: np.random.Generator, given: histories.Pairs, about: np.ndarray, kind: str
) -> histories.Pairs:
  """Returns events with a misconception.

  Args:
    rng: of the wrong values.
    given: E of everybody.
    about: `[U]` the attribute.
    kind: one of `HISTORIES`.
  """
  said, corrected = HISTORIES[kind]
  wrong = wrong_values(rng, given.liked, about)
  at = places(given.topic.shape[1], said)
  text = int(kind == CONTROL)
  found = audited.worded(given, about, at, wrong[:, at], text=text)
  if corrected:
    right = np.take_along_axis(given.liked, about[:, None, None], -1)[..., 0]
    at = np.minimum(at + 1, given.topic.shape[1] - 1)
    found = audited.worded(found, about, at, right[:, at])
  return found


def probes(
  rng: np.random.Generator, queries: histories.Pairs, about: np.ndarray
) -> tuple[histories.Pairs, np.ndarray]:
  """Returns pairs that differ in one word, the wrong one first, and it.

  Args:
    rng: of all other words, and of the wrong values.
    queries: Q of everybody.
    about: `[U]` the attribute.
  """
  wrong = wrong_values(rng, queries.liked, about)
  value = rng.integers(0, histories.VALUES, queries.value.shape)
  value[:, :, 1] = value[:, :, 0]
  row, query = np.arange(len(about))[:, None], np.arange(value.shape[1])
  right = np.take_along_axis(queries.liked, about[:, None, None], -1)[..., 0]
  value[row, query, 0, about[:, None]] = wrong
  value[row, query, 1, about[:, None]] = right
  return queries._replace(value=value), wrong


def carried(
  ids: np.ndarray, mask: np.ndarray, about: np.ndarray, wrong: np.ndarray
) -> np.ndarray:
  """Returns of what is told of an attribute the share that is wrong, `[U]`.

  NaN of whom nothing is told about it.

  Args:
    ids: `[U, Q, P]` words of events and statements.
    mask: of the same shape.
    about: `[U]` the attribute.
    wrong: `[U, Q]`.
  """
  facts = histories.ATTRIBUTES * histories.VALUES
  event, statement = ids - histories.WORD, ids - histories.STATEMENT
  fact = np.where(event >= 0, event % facts, statement)
  told = (mask > 0) & (fact >= 0)
  told &= fact // histories.VALUES == about[:, None, None]
  false = told & (fact % histories.VALUES == wrong[..., None])
  count = told.sum((1, 2))
  share = false.sum((1, 2)) / np.maximum(count, 1)
  return np.where(count > 0, share, np.nan)


def run(config: Any, folder: units.Folder, place: str, seed: int) -> units.Unit:
  """Returns what becomes of everybody when something is planted.

  Arrays `HISTORY|NODE|NAME`, `[U]` each: `prefers` the wrong word, the share
  of probes where it wins; `carried`, see there, where words are told; `right`,
  how often the person is predicted. And `person`.

  Args:
    config: of the study.
    folder: of its units.
    place: the world.
    seed: of it.

  Raises:
    BusyError: another process is making what it needs.
  """
  subject = audited.subject(config, folder, place, seed)
  began = time.process_time()
  given, about = subject.given, subject.about

  def rng():  # the same wrong values everywhere
    return np.random.default_rng([seed, 401])

  asked, wrong = probes(rng(), given.queries, about)
  sides = memory_rows.texts(asked), memory_rows.texts(given.queries)
  arrays: dict[str, np.ndarray] = {'person': np.arange(len(about))}
  wanted = config.planted.nodes
  for kind in HISTORIES:
    events = misconceived(rng(), given.events, about, kind)
    memories = subject.memories(events, wanted)
    for node in wanted:
      start = f'{kind}|{node}'
      told = subject.told(memories, node, given.queries)
      for name, texts in zip(('prefers', 'right'), sides, strict=True):
        found = subject.scores(memories, node, told, texts)
        arrays[f'{start}|{name}'] = fits.right(found)
      if told.ids.shape[-1]:
        ids, mask = np.asarray(told.ids), np.asarray(told.mask)
        arrays[f'{start}|carried'] = carried(ids, mask, about, wrong)
  record = {'world': place, 'seed': seed}
  record['cpu_seconds'] = time.process_time() - began
  return units.Unit(record, arrays)


def rows(world: str, made: Sequence[units.Unit]) -> list[Row]:
  """Returns how far a misconception is carried, and preferred.

  `carried`: of what is told of the attribute, the share that is wrong;
  `preferred`: how often the wrong word wins; both also as more than in the
  history as it was, and as over the control. `lost`: of people predicted.

  Args:
    world: of the units.
    made: of every seed.
  """
  found = []
  names = [name.split('|') for name in made[0].arrays if '|' in name]
  for node in dict.fromkeys(name[1] for name in names):
    for kind in HISTORIES:
      row: Row = {'world': world, 'method': node, 'history': kind}
      for column, name in (('carried', 'carried'), ('preferred', 'prefers')):
        if f'{kind}|{node}|{name}' not in made[0].arrays:
          continue
        mine, none, control = (
          tables.cells(made, f'{which}|{node}|{name}')
          for which in (kind, NONE, CONTROL)
        )
        row |= measured.mean(column, measured.finite(mine))
        if kind != NONE:
          row |= measured.gain(f'{column}_more', mine, none)
        if kind not in (NONE, CONTROL):
          row |= measured.gain(f'{column}_over_control', mine, control)
      mine, none = (
        tables.cells(made, f'{which}|{node}|right') for which in (kind, NONE)
      )
      row |= measured.mean('right', mine)
      if kind != NONE:
        row |= measured.gain('lost', none, mine)
      found.append({**row, **tables.counts(made)})
  return found
