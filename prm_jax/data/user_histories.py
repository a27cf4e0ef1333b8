"""Real people's histories in words, and pairs that they judge after them.

A history is what a person said, chose, or judged and why, oldest first. What
is to be predicted are pairs about something else. `split` holds out people and
questions at once, so that no text that is asked about stands in training.
`history_sources` makes them of real data.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from prm_jax.data import splits

TRAIN, VALIDATION = 'train', 'validation'
SEEN, NEW = 'new_prompts', 'new_people_new_prompts'
# (person, question), each 0 in training, 1 in validation, 2 held out.
_PARTS = {(0, 0): TRAIN, (1, 1): VALIDATION, (0, 2): SEEN, (2, 2): NEW}
_CHOSE = {1.0: 'Chose A1', 0.0: 'Chose A2', 0.5: 'Chose neither'}


class TextEvent(NamedTuple):
  """Something that a person said, chose or judged.

  Attributes:
    kind: 'statement', 'turn', 'choice' or 'judgement'.
    about: name of the question that it answers; empty for none. No pair about
      it is asked after this event.
    time: days since the person's first event; where the source knows no time,
      the event's place.
    said: the person's own words: a statement, or a reason.
    prompt: what was asked.
    shown: what could be chosen.
    label: probability that the first of two was preferred, or None.
    reply: what an assistant answered.
    preference: name of the preference that it tells, where one is known.
  """

  kind: str
  about: str
  time: float
  said: str = ''
  prompt: str = ''
  shown: tuple[str, ...] = ()
  label: float | None = None
  reply: str = ''
  preference: str = ''


class AskedPair(NamedTuple):
  """Two responses, and which of them a person prefers.

  Attributes:
    about: name of what is asked about; a person's pairs of one name follow
      one history.
    question: name of the question; several pairs may make one.
    time: as the events'.
    prompt, first, second: texts.
    label: probability that the first is preferred: 1, 0, 0.5 for a tie.
    preference: name of the preference that decides, where one is known.
  """

  about: str
  question: str
  time: float
  prompt: str
  first: str
  second: str
  label: float
  preference: str = ''


class Episode(NamedTuple):
  """A person's history, oldest first, and the pairs asked after it."""

  user: int
  events: tuple[TextEvent, ...]
  pairs: tuple[AskedPair, ...]


@dataclasses.dataclass(frozen=True, repr=False)  # nobody's words in a log
class Histories:
  """What U people said and judged.

  Attributes:
    user_ids: U names.
    events: of each, oldest first.
    pairs: of each.
    person_fold: `[U]` int fold of each.
    question_fold: name -> fold of everything that is asked about.
    timed: events and pairs have times; else any event is a pair's past.
    notes: what was done to the rows, a sentence each.
  """

  user_ids: list[str]
  events: list[tuple[TextEvent, ...]]
  pairs: list[tuple[AskedPair, ...]]
  person_fold: np.ndarray
  question_fold: dict[str, int]
  timed: bool
  notes: tuple[str, ...] = ()


class SharedTexts(NamedTuple):
  """How many texts of a part are known already.

  Attributes:
    training: of them stand in training, in a history or a pair.
    history: of them stand in the history before them.
    told: texts of the histories stand in training. That is no leak where
      people judge the same texts; PrefEval's people share none.
  """

  training: int
  history: int
  told: int


def written(event: TextEvent, *, replies: bool = False) -> str:
  """Returns an event as a reader sees it.

  Args:
    event: with the two texts that could be chosen as A1 and A2, as reasons
      call them.
    replies: with what an assistant answered.

  Examples:
    >>> event = TextEvent('judgement', 'tea', 0.0, 'It is short.', 'Tea?',
    ...                   ('Yes.', 'Yes, for it is hot.'), 1.0)
    >>> print(written(event))
    Tea?
    A1: Yes.
    A2: Yes, for it is hot.
    Chose A1: It is short.
  """
  lines = [event.prompt] if event.prompt else []
  if event.label is None:
    lines += event.shown
    lines += [event.said] if event.said else []
  else:
    lines += [f'A{i}: {text}' for i, text in enumerate(event.shown, 1)]
    likely = f'Chose A1 with probability {event.label:g}'
    chose = _CHOSE.get(event.label, likely)
    lines.append(f'{chose}: {event.said}' if event.said else f'{chose}.')
  if replies and event.reply:
    lines.append(f'Assistant: {event.reply}')
  return '\n'.join(lines)


# ---------------------------------------------------------------------- splits


def split(
  histories: Histories,
  fold: int,
  *,
  part: int | None = None,
  least: int = 1,
  most: int | None = None,
) -> dict[str, list[Episode]]:
  """Returns episodes of training, validation and held-out people.

  The next folds, of people and of questions, are for validation. A pair's
  history has no event about the same name, and no later one. In training, no
  event is about what is held out; in validation, none about what is new.

  Args:
    histories: of U people.
    fold: of questions that are new.
    part: of people that are new; `fold`, if None, over their number.
    least: events that a history has; pairs with a shorter one are left out.
    most: events that are kept of a history, the latest ones; all if None.

  Returns:
    'train'; 'validation': other people and questions; 'new_prompts': the
    people of training, new questions; 'new_people_new_prompts'. Other
    people's answers to new questions are nowhere. A part may be empty but for
    training and the last: PrefEval's has no seen people with new questions.

  Raises:
    ValueError: a number is out of range, or one of those two is empty.
  """
  people_folds = int(histories.person_fold.max()) + 1
  folds = max(histories.question_fold.values()) + 1
  part = fold % people_folds if part is None else part
  if not (0 <= fold < folds and 0 <= part < people_folds):
    raise ValueError(
      f'fold {fold} of {folds}, part {part} of {people_folds}: out of range'
    )
  if least < 0 or (most is not None and most < max(least, 1)):
    raise ValueError(f'least {least}, most {most}: no history has such a size')
  question = {
    name: _role(f, fold, folds) for name, f in histories.question_fold.items()
  }
  parts: dict[str, list[Episode]] = {name: [] for name in _PARTS.values()}
  for user, person_fold in enumerate(histories.person_fold.tolist()):
    person = _role(person_fold, part, people_folds)
    for episode in _episodes(histories, user, question, most):
      role = question[episode.pairs[0].about]
      name = _PARTS.get((person, role))
      if name and len(episode.events) >= least:
        parts[name].append(episode)
  for name in (TRAIN, NEW):
    if not parts[name]:
      raise ValueError(
        f'{name} is empty: fold {fold}, part {part} and histories of at least '
        f'{least} events leave nobody'
      )
  return parts


def _role(number: int, new: int, count: int) -> int:
  """Returns 2 for the new fold, 1 for the next, 0 for the others."""
  return {new: 2, (new + 1) % count: 1}.get(number, 0)


def _episodes(
  histories: Histories, user: int, question: dict[str, int], most: int | None
) -> list[Episode]:
  """Returns a person's episodes; pairs of one history and role are in one."""
  events = histories.events[user]
  named: dict[str, list[AskedPair]] = {}
  for pair in histories.pairs[user]:
    named.setdefault(pair.about, []).append(pair)
  found: dict[tuple[int, tuple[int, ...]], list[AskedPair]] = {}
  for about, pairs in named.items():
    start, role = min(pair.time for pair in pairs), question[about]
    past = [
      row
      for row, event in enumerate(events)
      if event.about != about
      and not (histories.timed and event.time >= start)
      and question.get(event.about, 0) <= role
    ]
    kept = tuple(past if most is None else past[-most:])
    found.setdefault((role, kept), []).extend(pairs)
  return [
    Episode(user, tuple(events[row] for row in kept), tuple(pairs))
    for (_, kept), pairs in found.items()
  ]


def shared_texts(parts: dict[str, list[Episode]]) -> dict[str, SharedTexts]:
  """Returns how many asked texts of each held-out part are known already.

  Texts are compared as a reader sees them (`splits.plain`); one without a word
  is none. Paraphrases are not found.

  Args:
    parts: of `split`.
  """
  cache: dict[str, str] = {}  # texts stand in many episodes

  def words(texts: Iterable[str]) -> set[str]:
    known = set(texts)
    for text in known - cache.keys():
      cache[text] = splits.plain(text)
    return {cache[text] for text in known} - {''}

  def in_history(episode):
    return words(
      text
      for event in episode.events
      for text in (event.prompt, event.said, *event.shown)
    )

  def in_pairs(episode):
    return words(text for pair in episode.pairs for text in pair[3:6])

  training = set[str]()
  for episode in parts[TRAIN]:
    training |= in_history(episode) | in_pairs(episode)
  found = {}
  for name, episodes in parts.items():
    if name != TRAIN:
      asked = [(in_pairs(one), in_history(one)) for one in episodes]
      found[name] = SharedTexts(
        training=len(set[str]().union(*(a for a, _ in asked)) & training),
        history=sum(len(pairs & history) for pairs, history in asked),
        told=len(set[str]().union(*(h for _, h in asked)) & training),
      )
  return found


# -------------------------------------------------------------------- controls


def swapped(episodes: Sequence[Episode], *, seed: int) -> list[Episode]:
  """Returns the episodes, each after another person's history.

  It is the history that another person had before the same questions, where
  there is one; nobody keeps their own. What it says of the questions that are
  asked is left out.

  Args:
    episodes: of one part.
    seed: of who is given whose.

  Raises:
    ValueError: all are one person's.
  """
  if len({episode.user for episode in episodes}) < 2:
    raise ValueError('histories are swapped among two people or more')
  order = np.random.default_rng([seed, 3]).permutation(len(episodes))
  alike = collections.defaultdict[frozenset[str], list[int]](list)
  for row in order.tolist():
    alike[_abouts(episodes[row])].append(row)
  groups, others = list[list[int]](), list[int]()
  for rows in alike.values():
    shared = len({episodes[row].user for row in rows}) > 1
    groups.append(rows) if shared else others.extend(rows)
  found = list(episodes)
  for rows, givers in [*((g, g) for g in groups), (others, order.tolist())]:
    for row in rows:
      giver = _next(episodes, row, givers)
      events = _without(episodes[giver].events, episodes[row])
      found[row] = episodes[row]._replace(events=events)
  return found


def _next(episodes: Sequence[Episode], row: int, givers: list[int]) -> int:
  """Returns the first of the givers after a row that is another person's."""
  start = givers.index(row)
  for giver in givers[start + 1 :] + givers[:start]:
    if episodes[giver].user != episodes[row].user:
      return giver
  raise AssertionError('there are two people')


def population(
  episodes: Sequence[Episode], known: Sequence[Episode], *, seed: int
) -> list[Episode]:
  """Returns the episodes, each after a history that is nobody's.

  As many events as the person's own history has, each of a person of
  training, and of as many of them as there are.

  Args:
    episodes: of one part.
    known: those of training.
    seed: of the draw.

  Raises:
    ValueError: nobody of training has an event that a person could be given.
  """
  rng = np.random.default_rng([seed, 4])
  pool: dict[int, dict[TextEvent, None]] = {}
  for episode in known:
    pool.setdefault(episode.user, {}).update(dict.fromkeys(episode.events))
  lists = {user: list(events) for user, events in pool.items() if events}
  found = []
  for episode in episodes:
    given = {
      user: kept
      for user, own in lists.items()
      if user != episode.user and (kept := _without(own, episode))
    }
    if episode.events and not given:
      raise ValueError('no event of training can be given to this person')
    events = list[TextEvent]()
    while missing := len(episode.events) - len(events):
      for user in rng.permutation(list(given))[:missing].tolist():
        own = given[user]
        events.append(own[int(rng.integers(len(own)))])
    found.append(episode._replace(events=tuple(events)))
  return found


def option_only(episodes: Sequence[Episode]) -> list[Episode]:
  """Returns the episodes without history and prompt.

  What a reward learns of these is how preferred answers are written, whoever
  asks. PrefEval's answers tell most of their labels so: no figure on it says
  anything of a person but beside this one.

  Args:
    episodes: of one part.
  """
  return [
    episode._replace(
      events=(), pairs=tuple(pair._replace(prompt='') for pair in episode.pairs)
    )
    for episode in episodes
  ]


def _abouts(episode: Episode) -> frozenset[str]:
  return frozenset(pair.about for pair in episode.pairs)


def _without(
  events: Iterable[TextEvent], episode: Episode
) -> tuple[TextEvent, ...]:
  asked = _abouts(episode)
  return tuple(event for event in events if event.about not in asked)
