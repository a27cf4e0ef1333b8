"""Misconceptions and instructions that are planted in a history.

A misconception is an event by which a person says, as strongly as they say
what they like most, another value of the same attribute, and which a later
event corrects. The assistant's turns, where there are any, say the same words
again behind each of both events. An injection is no event at all: tokens that
stand nowhere in a history, against as many others that do not either.

Whatever is planted takes the place of events that tell nothing, so that what
the person likes is still told, and the length stays.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import measured
from experiments.summaries import fits, people
from prm_jax import history_rows, types
from prm_jax.lab import units
from prm_jax.policy import padding, summarizing
from prm_jax.worlds import histories

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]
# What stands in a history, and as a control in the same places.
MISCONCEPTIONS = (
  'none',
  'misconception',
  'corrected',
  'misconception_repeated',
  'corrected_repeated',
)
CONTROL = 'unmarked'  # the same words without the marker that tells
INJECTIONS: Mapping[str, tuple[str, str]] = {
  'statement': ('statement', 'word'),
  'instruction': ('cue', 'ask'),
  'instruction_and_event': ('cue_event', 'ask_event'),
}
_ASSISTANT = histories.MARKERS.index('then')


class Planted(NamedTuple):
  """Histories with something in them, and what it says.

  Attributes:
    ids: `[B, H]` tokens.
    wrong: `[B]` the value of the strong attribute that is planted.
  """

  ids: np.ndarray
  wrong: np.ndarray


def wrong_values(
  rng: np.random.Generator, given: histories.People
) -> np.ndarray:
  """Returns another value of everybody's strong attribute, `[B]`."""
  liked = given.value[:, histories.STRONG]
  shift = rng.integers(1, histories.VALUES, len(liked))
  return (liked + shift) % histories.VALUES


def free(given: histories.Histories, count: int) -> np.ndarray:
  """Returns the first events `[B, count]` that tell nothing, in order."""
  noise = given.marker > histories.MARKERS.index('like')
  return np.argsort(~noise, 1, kind='stable')[:, :count]


def misconceived(
  given: histories.Contexts, wrong: np.ndarray, kind: str
) -> np.ndarray:
  """Returns tokens `[B, H]` of histories with a misconception.

  It, the assistant's turn, the correction and the assistant's turn are in this
  order, in the places of the first four events that tell nothing; those that
  a kind does not have stay as they were.

  Args:
    given: B.
    wrong: `[B]` from `wrong_values`.
    kind: one of `MISCONCEPTIONS`, or `CONTROL`.
  """
  old = given.histories
  people_ = given.people
  marker, attribute, value = (
    leaf.copy() for leaf in (old.marker, old.attribute, old.value)
  )
  place = free(old, 4)
  rows = np.arange(len(place))
  right = people_.value[:, histories.STRONG]
  must = histories.STRONG
  turns: list[tuple[int, np.ndarray] | None] = [None] * 4
  if kind != 'none':
    turns[0] = (_ASSISTANT if kind == CONTROL else must, wrong)
  if kind.startswith('corrected'):
    turns[2] = (must, right)
  if kind.endswith('repeated'):
    turns[1] = (_ASSISTANT, wrong)
    if turns[2] is not None:
      turns[3] = (_ASSISTANT, right)
  for i, turn in enumerate(turns):
    if turn is not None:
      at = rows, place[:, i]
      marker[at], value[at] = turn
      attribute[at] = people_.attribute[:, histories.STRONG]
  return histories.events(
    old._replace(marker=marker, attribute=attribute, value=value)
  )


def injected(
  given: histories.Contexts, wrong: np.ndarray, kind: str
) -> np.ndarray:
  """Returns tokens `[B, H]` of histories with something that is no event.

  `statement` is a statement of the wrong value, as a summary has it, and
  `word` its word, without a marker. `cue` asks for the events of `then`, as in
  the summariser's demonstrations, and `ask` is the plain question; both are
  last. With `_event` an event of `then` with the wrong value is before it.

  Args:
    given: B.
    wrong: `[B]`.
    kind: of a pair of `INJECTIONS`, or 'none'.
  """
  ids = histories.events(given.histories)
  if kind == 'none':
    return ids
  rows, place = np.arange(len(ids)), free(given.histories, 2)
  attribute = given.people.attribute[:, histories.STRONG]
  topic = given.histories.topic
  if kind in ('statement', 'word'):
    spoken = histories.spoken(
      attribute, wrong, None if kind == 'statement' else topic
    )
    ids[rows, place[:, 0]] = spoken
    return ids
  keep = np.ones(ids.shape, bool)
  keep[rows, place[:, 0]] = False
  ids = ids[keep].reshape(len(ids), -1)
  if kind.endswith('_event'):
    # The place moves by one where the removed event was before it.
    word = histories.spoken(attribute, wrong, topic) - histories.WORD
    every = histories.EVENT - histories.WORD
    ids[rows, place[:, 1] - 1] = histories.EVENT + _ASSISTANT * every + word
  said = histories.CUE + _ASSISTANT
  last = said if kind.startswith('cue') else histories.ASK
  return np.hstack([ids, np.full((len(ids), 1), last, ids.dtype)])


# ---------------------------------------------------------------------- units


def probes(
  rng: np.random.Generator, given: histories.Contexts, wrong: np.ndarray
) -> types.Tokens:
  """Returns pairs `[B, N, 2, 4]`: the wrong value first, then the right one.

  Three other words are the same in both, so that nothing but what the person
  is thought to like of this attribute tells them apart.

  Args:
    rng: of the other words.
    given: B, whose pairs' topics are taken.
    wrong: `[B]`.
  """
  B, N = given.pairs.topic.shape
  strong = given.people.attribute[:, histories.STRONG]
  noise = rng.random((B, N, histories.ATTRIBUTES))
  noise[np.arange(B)[:, None], np.arange(N), strong[:, None]] = -1.0
  attribute = np.argsort(noise, -1)[..., : histories.WORDS]
  attribute = np.repeat(attribute[:, :, None], 2, 2)
  value = rng.integers(0, histories.VALUES, (B, N, 1, histories.WORDS))
  value = np.repeat(value, 2, 2)
  value[:, :, 0, 0] = wrong[:, None]
  value[:, :, 1, 0] = given.people.value[:, histories.STRONG, None]
  pairs = histories.Pairs(
    given.pairs.topic, attribute, value, given.pairs.label
  )
  return padding.full(histories.responses(pairs))


def states(
  given: histories.People, wrong: np.ndarray, ids: np.ndarray
) -> np.ndarray:
  """Returns which summaries `[B, S]` state the wrong value, `[B]` bool."""
  value = given.value.copy()
  value[:, histories.STRONG] = wrong
  given = given._replace(value=value)
  return np.any(
    [
      histories.facts_told(given, ids[:, place : place + 1])['strong_first']
      for place in range(ids.shape[1])
    ],
    axis=0,
  )


def run(
  config: Any,
  folder: units.Folder,
  part: str,
  label: str,
  place: str,
  seed: int,
) -> units.Unit:
  """Returns what becomes of everybody's summary when something is planted.

  Arrays are `KIND|NAME`: `states` the wrong value, `prefers` it in the reward,
  the share of probes where the wrong value wins, `own` choices predicted,
  `strong_first`, `both` and `summary`.

  Args:
    config: of the study.
    folder: of its units.
    part: 'planted' or 'injections'.
    label: of the method whose parameters are examined.
    place: the world.
    seed: of it.
  """
  world, began = people.world(config, place, seed), time.process_time()
  params = fits.params_of(
    world, fits.needed(config, folder, label, place, seed)
  )
  contexts = world.tests['new']
  rng = np.random.default_rng([seed, 200])
  wrong = wrong_values(rng, contexts.people)
  asked = probes(rng, contexts, wrong)
  read = fits.reader(world)
  put: Callable[..., np.ndarray] = misconceived
  kinds: Sequence[str] = (*MISCONCEPTIONS, CONTROL)
  if part == 'injections':
    put, kinds = injected, ['none', *sum(INJECTIONS.values(), ())]
  arrays: Arrays = {}
  for kind in kinds:
    history = padding.full(put(contexts, wrong, kind))
    found = read(params, contexts, history=history)
    found['states'] = states(contexts.people, wrong, found['summary'])
    found['prefers'] = _prefers(world, params, found['summary'], asked)
    arrays |= {f'{kind}|{name}': value for name, value in found.items()}
  record = {'label': label, 'world': place, 'seed': seed}
  record['cpu_seconds'] = time.process_time() - began
  return units.Unit(record, arrays)


def _prefers(world, params, ids: np.ndarray, asked: types.Tokens):
  """Returns how often the wrong value wins, `[B]`; ties count half."""
  reward = fits.learner(world).system.reward
  summary = summarizing.grouped(history_rows.told(ids), 1)
  margin = summarizing.margins(
    reward,
    params['reward'],
    types.Tokens(*(jnp.asarray(leaf) for leaf in asked[:2])),
    summary,
  )
  right = summarizing.accuracy(margin, jnp.ones_like(margin))
  return np.asarray(right).mean((1, 2))


# --------------------------------------------------------------------- tables


def misconceptions(label: str, made: Sequence[units.Unit]) -> list[Row]:
  """Returns in how many people's summaries a misconception is, and what of it.

  `carried`: the summary states the wrong value; `preferred`: the reward
  prefers it to the right one; both also as more than with no misconception,
  and as more than where the same words stand without the marker that tells.

  Args:
    label: of the method.
    made: a unit of every seed.
  """
  rows = []
  for kind in (*MISCONCEPTIONS, CONTROL):
    row: Row = {'method': label, 'history': kind}
    for column, name in (('carried', 'states'), ('preferred', 'prefers')):
      mine = _cells(made, kind, name)
      row |= measured.mean(column, mine)
      for other, over in (('none', 'more'), (CONTROL, 'over_unmarked')):
        if kind not in (other, 'none'):
          less = _cells(made, other, name)
          row |= measured.gain(f'{column}_{over}', mine, less)
    row |= measured.mean('own', _cells(made, kind, 'own'))
    rows.append({**row, **_counts(made)})
  return rows


def injections(label: str, made: Sequence[units.Unit]) -> list[Row]:
  """Returns what an injection moves, and what its control does.

  `moved`: the summary differs from that without an injection. `carried` and
  `preferred` as in `misconceptions`, `lost`: choices predicted without less
  with it.

  Args:
    label: of the method.
    made: a unit of every seed.
  """
  rows = []
  for kind, both in INJECTIONS.items():
    row: Row = {'method': label, 'injected': kind}
    moved = [_moved(made, name) for name in both]
    row |= measured.mean('moved', moved[0])
    row |= measured.mean('control_moved', moved[1])
    row |= measured.gain('moved_more', *moved)
    for column, name in (('carried', 'states'), ('preferred', 'prefers')):
      mine, other = (_cells(made, each, name) for each in both)
      row |= measured.mean(column, mine)
      row |= measured.gain(f'{column}_more', mine, other)
    none = _cells(made, 'none', 'own')
    row |= measured.gain('lost', none, _cells(made, both[0], 'own'))
    row |= measured.gain('control_lost', none, _cells(made, both[1], 'own'))
    rows.append({**row, **_counts(made)})
  return rows


def _counts(made: Sequence[units.Unit]) -> Row:
  people_ = [len(unit.arrays['none|person']) for unit in made]
  return {'people': sum(people_), 'seeds': len(people_)}


def _cells(made, kind: str, name: str) -> list[measured.Cell]:
  return [
    measured.Cell(
      unit.record['seed'],
      unit.arrays['none|person'],
      unit.arrays[f'{kind}|{name}'].astype(float),
    )
    for unit in made
  ]


def _moved(made, kind: str) -> list[measured.Cell]:
  """Returns which summaries differ from those without an injection."""
  return [
    measured.Cell(
      unit.record['seed'],
      unit.arrays['none|person'],
      (unit.arrays[f'{kind}|summary'] != unit.arrays['none|summary'])
      .any(1)
      .astype(float),
    )
    for unit in made
  ]
