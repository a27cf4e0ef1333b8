"""Histories of real people, made of PrefEval, UKPConvArg1 and LLMFAO.

Histories can say what a person believes: they are made from the source each
time, kept nowhere, and never printed.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prm_jax.data import load, schema, splits, user_histories
from prm_jax.data.builders.prefeval import prefeval_dataset_builder
from prm_jax.data.builders.ukp_convarg import written_reasons

KINDS = ('statement', 'choice', 'turn')  # in which PrefEval says a preference
_LEAST_FOLDS = 3  # one to train on, one to choose on, one that is new
_DAY = 86_400.0


def read(
  name: str, data_dir: str | Path | None = None, **options: Any
) -> user_histories.Histories:
  """Returns the histories of a data set.

  Args:
    name: 'prefeval', 'ukp_convarg' or 'llmfao'.
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.
    **options: of `of_preferences`, `of_reasons` or `of_judgements`.

  Raises:
    ValueError: the name is unknown, or the source is missing or malformed.
  """
  if name not in _SOURCES:
    raise ValueError(f'no histories of {name!r}: one of {sorted(_SOURCES)}')
  return _SOURCES[name](load.data_folder(data_dir), **options)


def of_preferences(
  source: prefeval_dataset_builder.StatedPreferences,
  *,
  preferences: int = 1,
  kinds: Sequence[str] = KINDS,
  by_topic: bool = False,
  folds: int = 5,
  salt: str = '',
) -> user_histories.Histories:
  """Returns people with stated preferences, and questions that test them.

  Rows that share a text, directly or through others, are in one fold, and a
  person is made of rows of one fold: new people have new preferences and new
  questions, and there are no seen people with new ones. A question is three
  pairs: the answer that follows the preference against each of the others.

  Args:
    source: n preferences.
    preferences: how many a person has, at least. Nobody has seen to it that
      two of them agree.
    kinds: of `KINDS`, in the order in which every preference is told. Turns
      share small talk, which makes folds unequal.
    by_topic: whole topics are in one fold, and so are topics that share a
      text. Words that a topic's better answers have are then new, too.
    folds: how many.
    salt: gives other people, folds and sides.

  Raises:
    ValueError: a kind is unknown or none is given, or there are fewer than
      three folds, or too few rows for them.
  """
  unknown = set(kinds) - set(KINDS)
  if unknown or not kinds:
    raise ValueError(f'kinds {tuple(kinds)}: some of {KINDS}')
  if preferences < 1:
    raise ValueError(f'preferences: {preferences} are too few')
  names = [
    f'{topic}/{number}'
    for topic, number in zip(source.topics, source.numbers, strict=True)
  ]
  texts = [_texts(source, row, kinds) for row in range(len(names))]
  if by_topic:
    for shared, topic in zip(texts, source.topics, strict=True):
      shared.append(f'topic {topic}')
  group = splits.linked(texts)
  fold = _folds([str(g) for g in group], folds, salt)
  order = np.argsort(splits.bucket(names, f'{salt} order', 1 << 62))
  people, person_fold = list[np.ndarray](), list[int]()
  for number in range(folds):
    rows = order[fold[order] == number]
    count = max(1, len(rows) // preferences)
    people += [rows[person::count] for person in range(count)]
    person_fold += [number] * count
  events, pairs, left_out = [], [], 0
  for rows in people:
    asked = tuple(
      pair for row in rows for pair in _question(source, row, names, salt)
    )
    own, fewer = _told(source, rows, names, kinds, asked)
    events.append(own)
    pairs.append(asked)
    left_out += fewer
  notes = f'{left_out} choices show an answer that is asked about and are left'
  return user_histories.Histories(
    user_ids=['+'.join(names[row] for row in rows) for rows in people],
    events=events,
    pairs=pairs,
    person_fold=np.array(person_fold),
    question_fold=dict(zip(names, fold.tolist(), strict=True)),
    timed=False,
    notes=(f'{notes} out',) if left_out else (),
  )


def _texts(source: Any, row: int, kinds: Sequence[str]) -> list[str]:
  """Returns what must not be in training and test at once."""
  texts = [source.questions[row], *source.options[row]]
  if 'statement' in kinds:
    texts.append(source.preferences[row])
  if 'choice' in kinds:
    texts += [source.choice_queries[row], *source.choice_options[row]]
    texts += [source.choice_offers[row], source.choice_said[row]]
  if 'turn' in kinds:
    texts += [turn.said for turn in source.turns[row]]
  return texts


def _question(
  source: Any, row: int, names: Sequence[str], salt: str
) -> list[user_histories.AskedPair]:
  """Returns three pairs, each with the better answer on any side."""
  name = names[row]
  follows, *others = source.options[row]
  side = splits.bucket([f'{name} {i}' for i in range(len(others))], salt, 2)
  pairs = []
  for first, other in zip(side, others, strict=True):
    texts = (follows, other) if first else (other, follows)
    pair = user_histories.AskedPair(
      name, name, 0.0, source.questions[row], *texts, float(first), name
    )
    pairs.append(pair)
  return pairs


def _told(
  source: Any,
  rows: Iterable[int],
  names: Sequence[str],
  kinds: Sequence[str],
  asked: Sequence[user_histories.AskedPair],
) -> tuple[tuple[user_histories.TextEvent, ...], int]:
  """Returns what tells the preferences, and how many choices are left out.

  A choice between answers of which one is asked about would give it away.
  """
  shown = {splits.plain(text) for pair in asked for text in pair[4:6]}
  shown |= {splits.plain(pair.prompt) for pair in asked}
  events, left_out = list[user_histories.TextEvent](), 0
  for row in rows:
    known: dict[str, list[dict[str, Any]]] = {
      'statement': [{'said': source.preferences[row]}],
      'turn': [
        {'said': turn.said, 'reply': turn.answered}
        for turn in source.turns[row]
      ],
      'choice': [
        {
          'prompt': source.choice_queries[row],
          'shown': (source.choice_offers[row],),
          'said': source.choice_said[row],
          'reply': source.choice_replies[row],
        }
      ],
    }
    offered = [source.choice_queries[row], *source.choice_options[row]]
    if not shown.isdisjoint(splits.plain(text) for text in offered):
      left_out += 'choice' in kinds
      known['choice'] = []
    for kind in kinds:
      for fields in known[kind]:
        event = user_histories.TextEvent(
          kind, '', len(events), preference=names[row]
        )
        events.append(event._replace(**fields))
  return tuple(events), left_out


def of_reasons(
  rows: Sequence[written_reasons.Reasoned],
  *,
  people_folds: int = 5,
  folds: int = 7,
  salt: str = '',
) -> user_histories.Histories:
  """Returns workers' judgements with their reasons, by time.

  Everything about one debate, both sides of it, is one name; a judgement of
  an argument with itself is left out.

  Args:
    rows: in any order.
    people_folds: of people, by hash.
    folds: of debates, near-equal in judgements.
    salt: gives other folds.

  Raises:
    ValueError: there are fewer than three folds of either, or too few debates.
  """
  kept = [
    row for row in rows if row.judgement.response_a != row.judgement.response_b
  ]
  started: dict[str, Any] = {}
  for row in kept:
    user = row.judgement.user_id
    started[user] = min(started.get(user, row.time), row.time)
  coded = [
    (
      row.judgement,
      (row.time - started[row.judgement.user_id]).total_seconds() / _DAY,
      row.reason,
    )
    for row in kept
  ]
  return _of_judgements(
    sorted(coded, key=lambda one: one[1]),
    kind='judgement',
    people_folds=people_folds,
    folds=folds,
    salt=salt,
    timed=True,
    same=len(rows) - len(kept),
  )


def of_judgements(
  judged: schema.Judgements,
  *,
  people_folds: int = 5,
  folds: int = 4,
  salt: str = '',
) -> user_histories.Histories:
  """Returns people's choices without reasons or times, in the rows' order.

  Everything about one topic is one name, and so are topics that share a
  response with a word in it.

  Args:
    judged: of people, such as 'llmfao', whose topics are its prompts.
    people_folds: of people, by hash.
    folds: of topics, near-equal in judgements.
    salt: gives other folds.

  Raises:
    ValueError: there are fewer than three folds of either, or too few topics.
  """
  place = collections.Counter[int]()
  coded = []
  for user, (a, b), label in zip(
    judged.user, judged.items, judged.label, strict=True
  ):
    prompt = judged.item_prompt[a]
    row = schema.Judgement(
      user_id=judged.user_ids[user],
      prompt_id=judged.prompt_ids[prompt],
      prompt=judged.prompts[prompt],
      response_a=judged.texts[a],
      response_b=judged.texts[b],
      label=float(label),
      topic=judged.topics[prompt],
    )
    coded.append((row, float(place[user]), ''))
    place[user] += 1
  return _of_judgements(
    coded,
    kind='choice',
    people_folds=people_folds,
    folds=folds,
    salt=salt,
    timed=False,
  )


def _of_judgements(
  rows: Sequence[tuple[schema.Judgement, float, str]],
  *,
  kind: str,
  people_folds: int,
  folds: int,
  salt: str,
  timed: bool,
  same: int = 0,
) -> user_histories.Histories:
  """Returns histories of judgements, with times and reasons, in order."""
  group = splits.linked(
    [
      (f'topic {row.topic}', row.prompt, row.response_a, row.response_b)
      for row, _, _ in rows
    ]
  )
  about: dict[int, str] = {}
  for (row, _, _), g in zip(rows, group.tolist(), strict=True):
    about.setdefault(g, row.topic)
  fold = _folds([about[g] for g in group.tolist()], folds, salt)
  if people_folds < _LEAST_FOLDS:
    raise ValueError(f'people_folds: {people_folds}, fewer than {_LEAST_FOLDS}')
  events = collections.defaultdict[str, list[user_histories.TextEvent]](list)
  pairs = collections.defaultdict[str, list[user_histories.AskedPair]](list)
  question_fold = {}
  for (row, time, reason), g, f in zip(
    rows, group.tolist(), fold.tolist(), strict=True
  ):
    name, texts = about[g], (row.response_a, row.response_b)
    question_fold[name] = f
    events[row.user_id].append(
      user_histories.TextEvent(
        kind, name, time, reason, row.prompt, texts, row.label
      )
    )
    question = f'{row.user_id} {len(pairs[row.user_id])}'
    pairs[row.user_id].append(
      user_histories.AskedPair(
        name, question, time, row.prompt, *texts, row.label
      )
    )
  note = f'{same} rows compare a response with itself and are left out'
  return user_histories.Histories(
    user_ids=list(events),
    events=[tuple(one) for one in events.values()],
    pairs=[tuple(one) for one in pairs.values()],
    person_fold=splits.bucket(list(events), f'{salt} person', people_folds),
    question_fold=question_fold,
    timed=timed,
    notes=(note,) if same else (),
  )


def _folds(names: Sequence[str], count: int, salt: str) -> np.ndarray:
  if count < _LEAST_FOLDS:
    raise ValueError(f'folds: {count}, fewer than {_LEAST_FOLDS}')
  return splits.folds(names, count, salt)


_SOURCES: dict[str, Callable[..., user_histories.Histories]] = {
  'prefeval': lambda folder, **options: of_preferences(
    load.stated_preferences(folder), **options
  ),
  'ukp_convarg': lambda folder, **options: of_reasons(
    written_reasons.read(folder), **options
  ),
  'llmfao': lambda folder, **options: of_judgements(
    load.judgements('llmfao', data_dir=folder), **options
  ),
}
