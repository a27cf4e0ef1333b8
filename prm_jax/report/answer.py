"""What the numbers say, in three sentences.

Whether a personal model helps, whom and after how many answers, and what to
trust it for.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prm_jax.report import phrases, tables, verdicts
from prm_jax.report.details import alarms

Row = tables.Row
Comparison = verdicts.Comparison

_EVERYONE = 'one model for everyone'
_HABITS = "that model with each person's habits"
_OPENINGS = {
  'personal': 'It helps',
  'no gain beyond traits': 'It helps, but with no gain beyond habits (side, '
  'length, ties)',
  'not personal': 'There is a gain, but it is not personal',
  'not shown': 'There is a gain, but it is not shown to be personal',
  'untested': 'There is a gain, and whether it is personal was not fully '
  'tested',
  'none': 'No gain is shown',
  'loss': 'It is worse',
  'unknown': 'Nothing can be said',
}
_SEEN = ' by people who were seen'
_SURFACES = ('new_prompts', 'new_topics', 'new_lexicon')


def plain_answer(results: Mapping[str, Any]) -> list[str]:
  """Returns three sentences, then warnings.

  Does it help; for whom and after how many answers; what to trust it for.

  Args:
    results: the content of results.json; reads its tables `gain`, whose rows
      have the method's `role`, `controls` and `accuracy`. Where a search
      chose a method, the sentences are about that method alone.
  """
  rows = verdicts.headline(verdicts.personal_rows(results))
  found = verdicts.comparisons(results, rows)
  if not found:
    return [
      'These results compare no personal model with one model for everyone.'
    ]
  sets = verdicts.by_set(found)
  if len(sets) == 1:
    helps = _helps(verdicts.primary(found), len(found))
  else:
    helps = _helps_on(sets)
  warnings = alarms(tables.rows_of(results, 'controls'))
  return [
    helps,
    _for_whom(rows, found),
    _trust(results, found, bool(warnings)),
    *warnings,
  ]


# ------------------------------------------------------------- does it help


def _helps(found: Sequence[Comparison], total: int) -> str:
  """Returns the first sentence about one data set, on its first split."""
  if len(found) > 1:
    return _helps_of(found, total)
  (one,) = found
  row = one.row
  opening = _OPENINGS[one.kind]
  if one.kind in ('none', 'loss') and one.personality == 'not personal':
    opening += ', and what it says is not personal'
  method = tables.word(row.get('method'))
  who = f'the personal model ({method})'
  if one.kind == 'unknown':
    why = 'nothing varies from person to person'
    if tables.number(row, 'people') < 2:
      why = 'there is one person alone'
    return f'{opening} of {who} against {_EVERYONE}: {why}.'
  start = f'{opening}: {phrases.on(row)}, {who}'
  if one.kind not in verdicts.GAINS:
    text = (
      f'{start} differs from {_EVERYONE} by {phrases.by(row)} '
      f'({phrases.counted(row)})'
    )
    detectable = tables.number(row, 'smallest_detectable_gain')
    if one.kind == 'none' and math.isfinite(detectable):
      text += (
        f'; a gain of {phrases.points(detectable)} points would likely have '
        'been seen'
      )
    return f'{text}.'
  value, between = phrases.told(row)
  text = (
    f'{start} is right {value} points more often than {_EVERYONE} {between} '
    f'({phrases.counted(row)})'
  )
  if one.beyond is not None:
    value, between = phrases.told(one.beyond)
    if verdicts.shown(one.beyond):
      text += f', and {value} {between} more than {_HABITS}'
    else:
      text += (
        f', and {phrases.sign(one.beyond)}{value} {between} against {_HABITS}'
      )
  if one.kind in ('not personal', 'not shown'):
    text += _failing(one)
  elif one.kind == 'personal':
    text += '; the gain is personal'
  return f'{text}.'


def _helps_of(found: Sequence[Comparison], total: int) -> str:
  """Returns the first sentence about several methods on one data set."""
  usual = _usual(found)
  members = [one for one in found if one.kind == usual]
  best = max(members, key=verdicts.gain)
  opening = _OPENINGS[usual] if _most(found) == usual else 'Methods differ'
  show = 'shows' if len(members) == 1 else 'show'
  return (
    f'{opening}: {phrases.on(best.row)}, {len(members)} of {len(found)} '
    f'personal methods {show} {verdicts.KINDS[usual]} over {_EVERYONE}, at '
    f'most {phrases.by(best.row)} ({tables.word(best.row.get("method"))}; '
    f'{phrases.counted(best.row)}); of {total} comparisons '
    f'{total * 0.025:.1f} would gain by chance.'
  )


def _helps_on(sets: Mapping[str, Sequence[Comparison]]) -> str:
  """Returns the first sentence about several data sets."""
  by_kind: dict[str, list[str]] = {}
  for name, members in sets.items():
    by_kind.setdefault(_most(members), []).append(name)
  good = by_kind.pop('personal', [])
  text = (
    f'On {len(good)} of {len(sets)} data sets most comparisons show '
    f'{verdicts.KINDS["personal"]}'
  )
  if good:
    best = [
      max(verdicts.primary(sets[name]), key=verdicts.gain) for name in good
    ]
    low, high = min(best, key=verdicts.gain), max(best, key=verdicts.gain)
    text += ', by the best method '
    if low is not high:
      text += f'from {phrases.by(low.row)} on {low.where} to '
    text += f'{phrases.by(high.row)} on {high.where}'
  for kind, names in by_kind.items():
    said = _MOSTLY.get(kind, verdicts.KINDS.get(kind))
    text += f'; on {phrases.some(names)} {said}'
  total = sum(map(len, sets.values()))
  return (
    f'{text}. Of {total} comparisons {total * 0.025:.1f} would gain by chance.'
  )


_MIXED = 'mixed'
_MOSTLY = {'none': 'none is shown', _MIXED: 'they differ'}


def _most(found: Sequence[Comparison]) -> str:
  """Returns the kind of more than half of comparisons, or that they differ."""
  kind = _usual(found)
  many = sum(one.kind == kind for one in found)
  return kind if 2 * many > len(found) else _MIXED


def _usual(found: Sequence[Comparison]) -> str:
  kinds = [one.kind for one in found]
  return max(verdicts.KINDS, key=kinds.count)


def _failing(one: Comparison) -> str:
  """Returns which controls do as well, or may."""
  failing = {
    name: row
    for name, row in one.tests.items()
    if not verdicts.shown(row, 'value')
  }
  said = ' and '.join(
    f'{phrases.by(row, "value")} with {tables.word(name)}'
    for name, row in failing.items()
  )
  unsure = '' if one.kind == 'not personal' else ', too unsure to tell'
  return f'; it loses {said}{unsure}'


# ------------------------------------------ for whom, after how many answers


def _for_whom(rows: Sequence[Row], found: Sequence[Comparison]) -> str:
  """Returns the second sentence."""
  if len(verdicts.by_set(found)) > 1:
    return phrases.capital(f'{_new_people_on(rows)}; {_new_prompts_on(found)}.')
  parts = [_new_people(rows, found), *_elsewhere(found)]
  return phrases.capital(f'{"; ".join(parts)}.')


def _new_people(rows: Sequence[Row], found: Sequence[Comparison]) -> str:
  """Returns from how many answers on new people of one data set gain."""
  methods = _by_method(rows)
  if not methods:
    return 'new people were not tested'
  starts = [verdicts.first_answers(lines) for lines in methods.values()]
  last = [one for one in found if one.row.get('split') == verdicts.NEW_PEOPLE]
  best = max(last, key=verdicts.gain)
  answers = best.row.get('answers', 'all')
  known = sorted(s for s in starts if s is not None)
  at = (
    f'{phrases.by(best.row)}{phrases.with_answers(answers)}, '
    f'{phrases.counted(best.row)}'
  )
  if 2 * len(known) <= len(methods):
    if best.kind in verdicts.GAINS and len(methods) == 1:  # of 'all' alone
      return f'new people gain ({at}){_not_theirs(best)}'
    if known:
      of = f'{len(known)} of {len(methods)} methods gain'
      return f'for new people {of} (at most {at})'
    return f'for new people no gain is shown ({at})'
  # From here on more than half of all methods gain.
  first = known[len(methods) // 2]
  most = '' if len(methods) == 1 else ' by most methods'
  if first == 0:
    return (
      f'new people gain{most} before they answer anything, so not by what they '
      f'said ({at})'
    )
  several = '' if first == answers else ' on'
  start = f'from {first} answer{"" if first == 1 else "s"}{several}'
  return f'new people gain{most} {start} ({at}){_not_theirs(best)}'


def _not_theirs(one: Comparison) -> str:
  return {
    'not personal': ', which is not personal',
    'not shown': ', which is not shown to be personal',
    'no gain beyond traits': ', no more than by their habits',
  }.get(one.kind, '')


def _elsewhere(found: Sequence[Comparison]) -> list[str]:
  """Returns what is shown on other prompts, topics and people."""
  primary = verdicts.primary(found)[0].row.get('split')
  said, surfaces = [], False
  for split in verdicts.SPLITS:
    here = [one for one in found if one.row.get('split') == split]
    surfaces |= bool(here) and split in _SURFACES
    if not here or split in (primary, 'new_pairs', verdicts.NEW_PEOPLE):
      continue
    gaining = [one for one in here if one.kind in verdicts.GAINS]
    best = max(here, key=verdicts.gain)
    if len(here) > 1:
      said.append(
        f'{phrases.on(best.row)} {len(gaining)} of {len(here)} methods gain, '
        f'at most {phrases.by(best.row)}'
      )
    elif gaining:
      gained = f'it gains {phrases.by(best.row)}{_not_theirs(best)}'
      said.append(f'{phrases.on(best.row)} {gained}')
    else:
      worse = 'it is worse' if best.kind == 'loss' else 'no gain is shown'
      said.append(f'{phrases.on(best.row)} {worse} ({phrases.by(best.row)})')
  return said if surfaces else [*said, 'new prompts were not tested']


def _new_people_on(rows: Sequence[Row]) -> str:
  """Returns on which data sets new people gain, and after how many answers."""
  firsts: dict[str, int | None] = {}
  for name in dict.fromkeys(map(verdicts.where, rows)):
    methods = _by_method([row for row in rows if verdicts.where(row) == name])
    if not methods:
      continue
    starts = [verdicts.first_answers(lines) for lines in methods.values()]
    known = sorted(s for s in starts if s is not None)
    many = 2 * len(known) > len(methods)
    firsts[name] = known[len(methods) // 2] if many else None
  if not firsts:
    return 'new people were not tested'
  gaining = {name: n for name, n in firsts.items() if n is not None}
  text = (
    f'new people gain by most methods on {len(gaining)} of {len(firsts)} data '
    'sets'
  )
  if gaining:
    low, high = (f(gaining, key=lambda n: gaining[n]) for f in (min, max))
    text += f', after {gaining[low]} answer{"" if gaining[low] == 1 else "s"}'
    if gaining[low] != gaining[high]:
      text += f' on {low} to {gaining[high]} on {high}'
    if not gaining[low]:
      text += ' (with none, not by what they said)'
  return text


def _new_prompts_on(found: Sequence[Comparison]) -> str:
  sets = verdicts.by_set([o for o in found if o.row.get('split') in _SURFACES])
  if not sets:
    return 'new prompts were not tested'
  gaining = [
    name
    for name, members in sets.items()
    if 2 * sum(o.kind in verdicts.GAINS for o in members) > len(members)
  ]
  text = (
    f'on new prompts or topics most methods gain on {len(gaining)} of '
    f'{len(sets)}'
  )
  lost = [name for name in sets if name not in gaining]
  return f'{text}, not on {phrases.some(lost)}' if lost else text


def _by_method(rows: Sequence[Row]) -> dict[tuple, list[Row]]:
  """Returns the gains of new people over everyone's model, by method."""
  methods: dict[tuple, list[Row]] = {}
  for row in verdicts.over_everyone(rows):
    if row.get('split') == verdicts.NEW_PEOPLE:
      methods.setdefault((row.get('method'),), []).append(row)
  return methods


# ------------------------------------------------------ what to trust it for


def _trust(
  results: Mapping[str, Any], found: Sequence[Comparison], warned: bool
) -> str:
  """Returns the third sentence."""
  sets = len(verdicts.by_set(found))
  text = _carried(found, sets)
  if warned:
    text = 'trust nothing of this before the warnings below are understood'
  gaps = _calibration(results, found)
  if gaps:
    text += (
      f'; its probabilities are off by {phrases.span(gaps)} points on average'
    )
  first = verdicts.primary(found) if sets == 1 else found
  small = [tables.number(one.row, 'smallest_detectable_gain') for one in first]
  small = [value for value in small if math.isfinite(value)]
  if small:
    text += f'; gains under {phrases.span(small)} points could have been missed'
  if any(one.row.get('coverage') for one in found):
    text += '; with so few people or prompts, intervals are approximate'
  return phrases.capital(f'{text}.')


def _carried(found: Sequence[Comparison], sets: int) -> str:
  """Returns for what most comparisons show a gain that is personal."""
  carried: list[str] = []
  tested = [str(one.row.get('split')) for one in found]
  for split in dict.fromkeys([*verdicts.SPLITS, *tested]):
    here = verdicts.by_set(
      [one for one in found if one.row.get('split') == split]
    )
    good = sum(
      2 * sum(one.kind == 'personal' for one in members) > len(members)
      for members in here.values()
    )
    if good:
      on = phrases.on_split(split)
      if sets > 1:
        of = '' if carried else ' data sets'
        on = f'{on.removesuffix(_SEEN)} ({good} of {len(here)}{of})'
      carried.append(on)
  if not carried:
    return f'trust it no further than {_EVERYONE}'
  return f'trust it {phrases.listed(carried)}'


def _calibration(
  results: Mapping[str, Any], found: Sequence[Comparison]
) -> list[float]:
  """Returns the calibration errors of the methods of a headline."""
  first = verdicts.primary(found)
  wanted = {
    (
      one.where,
      one.row.get('method'),
      one.row.get('split'),
      one.row.get('answers', 'all'),
    )
    for one in (first if len(verdicts.by_set(found)) == 1 else found)
  }
  errors = [
    tables.number(row, 'ece')
    for row in tables.rows_of(results, 'accuracy')
    if (
      verdicts.where(row),
      row.get('method'),
      row.get('split'),
      row.get('answers', 'all'),
    )
    in wanted
  ]
  return [value for value in errors if math.isfinite(value)]
