"""The one picture that carries the answer: gains with their intervals."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prm_jax.report import figures, tables, verdicts

Comparison = verdicts.Comparison
Row = tables.Row

_EVERYONE = 'over one model for everyone'
_HABITS = "over that model with each person's habits"
_MOST = 60  # marks of one picture; with more, the first split alone is drawn
_SAID = 24  # marks whose numbers the alternative text says one by one
_STEP, _LINE = 0.16, 0.17  # inches from mark to mark, line to line
_WITHIN, _BETWEEN = 0.6, 0.7  # steps from split to split, more between data
_WRAP = 18  # letters of a label on a narrow page
_WIDE, _NARROW = 8.4, 3.4  # inches
_SMALL = 10  # letters of the wide picture, points; the narrow is shown smaller


class Lead(NamedTuple):
  """A picture for wide pages and for narrow ones, with words below it."""

  wide: figures.Picture
  narrow: figures.Picture
  caption: str


class _Mark(NamedTuple):
  """One gain: where it stands, whose it is and whether it is filled."""

  group: tuple[str, str]  # data set and split, in words
  name: str  # of the legend
  row: Row
  filled: bool


def lead(results: Mapping[str, Any]) -> Lead | None:
  """Returns the gains of a headline, None where nothing is compared.

  Rows are data sets and splits; a mark is filled where the gain is shown to
  be personal. Of one data set, the gain of new people by number of answers
  stands beside them.

  Args:
    results: the content of results.json.
  """
  rows = verdicts.headline(verdicts.personal_rows(results))
  found = [
    one
    for one in verdicts.comparisons(results, rows)
    if math.isfinite(tables.number(one.row, 'gain'))
  ]
  if not found:
    return None
  marks = _marks(found)
  curve = _curve(rows) if len({one.where for one in found}) == 1 else {}
  names = list(dict.fromkeys([*(mark.name for mark in marks), *curve]))
  known = {tables.word(m): s for m, s in figures.styles(results).items()}
  look = {  # black is the zero line
    name: known.get(name) or figures.style(i + 1)
    for i, name in enumerate(names)
  }
  alt = _alt(marks, curve)
  wide, narrow = (
    figures.Picture(_draw(marks, curve, look, width), alt)
    for width in (_WIDE, _NARROW)
  )
  return Lead(wide, narrow, _caption(marks, curve))


# -------------------------------------------------------------------- content


def _marks(found: Sequence[Comparison]) -> list[_Mark]:
  """Returns what is drawn, in groups, the order of data sets kept."""
  alone = len({(one.where, one.row.get('method')) for one in found}) == len(
    {one.where for one in found}
  )
  if not alone and len(found) > _MOST:
    first = {}
    for where in dict.fromkeys(one.where for one in found):
      splits = {one.row.get('split') for one in found if one.where == where}
      first[where] = _sorted(splits)[0]
    found = [one for one in found if one.row.get('split') == first[one.where]]
  order = _sorted({one.row.get('split') for one in found})
  sets = list(dict.fromkeys(one.where for one in found))
  found = sorted(
    found, key=lambda o: (sets.index(o.where), order.index(o.row.get('split')))
  )
  marks = []
  for one in found:
    group = (one.where, _split(one.row))
    name = _EVERYONE if alone else tables.word(one.row.get('method'))
    marks.append(_Mark(group, name, one.row, one.kind == 'personal'))
    if alone and one.beyond is not None:
      good = one.personality == 'personal' and verdicts.shown(one.beyond)
      marks.append(_Mark(group, _HABITS, one.beyond, good))
  return marks


def _sorted(splits) -> list[Any]:
  """Returns splits in the order in which they are asked."""
  known = [split for split in verdicts.SPLITS if split in splits]
  return known + sorted(map(str, set(splits) - set(known)))


def _split(row: Row) -> str:
  answers = row.get('answers', 'all')
  known = '' if answers == 'all' else f', {answers} answers'
  return f'{tables.word(row.get("split"))}{known}'


def _curve(rows: Sequence[Row]) -> dict[str, list[Row]]:
  """Returns new people's gains by number of answers, by name."""
  methods = dict.fromkeys(str(row.get('method')) for row in rows)
  lines: dict[str, list[Row]] = {}
  for row in verdicts.counted(rows):
    if row.get('split') != verdicts.NEW_PEOPLE:
      continue
    habits = row.get('baseline') == verdicts.TRAITS
    if len(methods) > 1:
      if habits:
        continue
      name = tables.word(row.get('method'))
    else:
      name = _HABITS if habits else _EVERYONE
    lines.setdefault(name, []).append(row)
  return {
    name: sorted(line, key=figures.answer_rank)
    for name, line in lines.items()
    if len(line) > 1
  }


def _alt(marks: Sequence[_Mark], curve: Mapping[str, list[Row]]) -> str:
  words = ['Gain in points, with 95 % intervals.']
  for group in dict.fromkeys(mark.group for mark in marks):
    members = [mark for mark in marks if mark.group == group]
    if len(marks) <= _SAID:
      said = '; '.join(
        f'{mark.name} {tables.points(mark.row, "gain", signed=True)}'
        f'{", personal" if mark.filled else ""}'
        for mark in members
      )
    else:
      values = [100 * tables.number(mark.row, 'gain') for mark in members]
      personal = sum(mark.filled for mark in members)
      said = (
        f'{min(values):+.1f} to {max(values):+.1f}, {personal} of '
        f'{len(members)} personal'
      )
    words.append(f'{", ".join(group)}: {said}.')
  for name, line in curve.items():
    said = ', '.join(
      f'{tables.points(row, "gain", signed=True)} with {row["answers"]}'
      for row in (line if len(curve) < 3 else (line[0], line[-1]))
    )
    words.append(f'New people by number of answers, {name}: {said}.')
  return ' '.join(words)


def _caption(marks: Sequence[_Mark], curve: Mapping[str, list[Row]]) -> str:
  rows = [mark.row for mark in marks]
  over = list(dict.fromkeys(str(r.get('resampled') or 'people') for r in rows))
  text = (
    f'Points of accuracy that personal models gain, with 95 % intervals over '
    f'{_over(over)} ({_span(rows, "people", "people")}'
    f'{_span(rows, "units", _units(over), ", ")}'
    f'{_span(rows, "pairs", "judgements", ", ")}). Filled: shown to be '
    'personal; hollow: not shown.'
  )
  if len({mark.name for mark in marks} & {_EVERYONE, _HABITS}) == 0:
    text += ' Each mark is a method, over one model for everyone.'
  if any(row.get('gain_people_low') is not None for row in rows):
    text += ' Small strokes: intervals over people alone.'
  if curve:
    text += ' Answers: how many a new person has given; bands are intervals.'
  return text


def _over(over: Sequence[str]) -> str:
  first = 'people and '
  if len(over) > 1 and all(text.startswith(first) for text in over):
    *others, last = (text.removeprefix(first) for text in over)
    return f'{first}{", ".join(others)} or {last}'
  return ' or '.join(over)


def _units(over: Sequence[str]) -> str:
  names = {text.rpartition(' and ')[2] for text in over if ' and ' in text}
  return names.pop() if len(names) == 1 else 'prompts or items'


def _span(rows: Sequence[Row], name: str, unit: str, before: str = '') -> str:
  values = [tables.number(row, name) for row in rows]
  values = [value for value in values if math.isfinite(value)]
  if not values:
    return ''
  low, high = f'{min(values):,.0f}', f'{max(values):,.0f}'
  return f'{before}{low if low == high else f"{low} to {high}"} {unit}'


# -------------------------------------------------------------------- drawing


def _draw(
  marks: Sequence[_Mark],
  curve: Mapping[str, list[Row]],
  look: Mapping[str, figures.Style],
  width: float,
) -> str:
  """Returns SVG: panels beside each other if wide, else below each other."""
  narrow = width < 6
  groups = list(dict.fromkeys(mark.group for mark in marks))
  end = _places(marks, groups, _labels(groups, narrow))[1]
  tall = _STEP * end + 0.7
  rows = -(-len(look) // (1 if narrow else 2))
  legend = 0.22 * rows + 0.1
  with matplotlib.rc_context({**figures.STYLE, 'font.size': _SMALL}):
    if curve and narrow:
      figure = Figure((width, tall + 2.6 + legend), layout='constrained')
      upper, lower = figure.subplots(2, 1, height_ratios=(tall, 2.6))
    elif curve:
      tall = max(tall, 2.9)
      figure = Figure((width, tall + legend), layout='constrained')
      upper, lower = figure.subplots(1, 2, width_ratios=(1.1, 1))
    else:
      figure = Figure((width, tall + legend), layout='constrained')
      upper, lower = figure.subplots(), None
    _forest(upper, marks, groups, look, narrow)
    if lower is not None:
      _by_answers(lower, curve, look)
    handles = [
      matplotlib.lines.Line2D(
        [], [], color=style.color, marker=style.marker, ms=6, label=name
      )
      for name, style in look.items()
    ]
    figure.legend(
      handles=handles,
      loc='outside lower center',
      frameon=False,
      ncols=1 if narrow else 2,
      fontsize=_SMALL,
    )
    return figures.svg(figure)


def _labels(groups: Sequence[tuple[str, str]], narrow: bool) -> list[str]:
  """Returns the groups' names; a data set is named where it begins.

  One that stands alone is not named.
  """
  named, before = [], None
  alone = len({where for where, _ in groups}) == 1
  for where, split in groups:
    parts = [split] if alone or where == before else [f'{where}:', split]
    if narrow:
      parts = [line for part in parts for line in textwrap.wrap(part, _WRAP)]
    named.append('\n'.join(parts))
    before = where
  return named


def _places(
  marks: Sequence[_Mark], groups: Sequence[tuple[str, str]], names: list[str]
) -> tuple[list[list[float]], float]:
  """Returns where each group's marks stand, in steps, and where they end."""
  places, at, before = [], 0.0, groups[0][0]
  for group, name in zip(groups, names, strict=True):
    count = sum(mark.group == group for mark in marks)
    room = max(count, _LINE * (1 + name.count('\n')) / _STEP)
    at += _BETWEEN if group[0] != before else 0.0
    first = at + (room - count) / 2
    places.append([first + i for i in range(count)])
    at += room + _WITHIN
    before = group[0]
  return places, at


def _forest(
  axes: Axes,
  marks: Sequence[_Mark],
  groups: Sequence[tuple[str, str]],
  look: Mapping[str, figures.Style],
  narrow: bool,
) -> None:
  """Draws marks from the top down, with room between groups."""
  names = _labels(groups, narrow)
  places, end = _places(marks, groups, names)
  for group, line in zip(groups, places, strict=True):
    members = [mark for mark in marks if mark.group == group]
    for mark, place in zip(members, line, strict=True):
      _mark(axes, mark, -place, look[mark.name])
  middle = [-sum(line) / len(line) for line in places]
  axes.axvline(0, color='black', linewidth=1, zorder=1)
  axes.set_yticks(middle, names, fontsize=_SMALL)
  axes.tick_params(axis='y', length=0)
  axes.grid(visible=False, axis='y')
  axes.set_ylim(0.6 - end, 0.8)
  axes.set_xlabel('gain (points)')


def _mark(axes: Axes, mark: _Mark, at: float, look: figures.Style) -> None:
  found = tables.interval(mark.row, 'gain')
  axes.errorbar(
    100 * found[0],
    at,
    xerr=100 * figures.arms(found),
    color=look.color,
    fmt='none',
    lw=1.6,
  )
  ends = [
    100 * tables.number(mark.row, f'gain_people_{end}')
    for end in ('low', 'high')
  ]
  axes.plot(ends, [at, at], '|', color=look.color, ms=7, mew=1)
  axes.plot(
    100 * found[0],
    at,
    look.marker,
    color=look.color,
    ms=6,
    zorder=4,
    markerfacecolor=look.color if mark.filled else 'white',
  )


def _by_answers(
  axes: Axes, curve: Mapping[str, list[Row]], look: Mapping[str, figures.Style]
) -> None:
  ticks = sorted({row['answers'] for line in curve.values() for row in line})
  for name, line in curve.items():
    found = 100 * np.array([tables.interval(row, 'gain') for row in line])
    x = [ticks.index(row['answers']) for row in line]
    color, marker = look[name]
    axes.plot(x, found[:, 0], color=color, marker=marker, ms=5, lw=1.2)
    axes.fill_between(
      x, found[:, 1], found[:, 2], color=color, alpha=0.15, lw=0
    )
  axes.axhline(0, color='black', linewidth=1)
  axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
  axes.set_xlabel('answers of a new person')
  axes.set_ylabel('gain (points)')
