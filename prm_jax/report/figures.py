"""Figures of the page, as SVG text; one panel each, to be read on a phone."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prm_jax.report import tables

# Okabe and Ito: told apart with any colour vision. Markers differ as well.
_COLORS = (
  '#000000',
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#56B4E9',
  '#E69F00',
  '#7F7F7F',
)
_MARKERS = 'osD^vPX*'
_INCHES = (4.6, 3.9)
_LEGEND_ROW = 0.2  # inches
_LEGEND_LETTERS = 56  # of two names side by side
STYLE: Any = {
  'font.size': 10,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'grid.alpha': 0.3,
  'axes.titlesize': 10,
  'text.parse_math': False,  # a dollar sign is a dollar sign
  'svg.hashsalt': 'prm_jax',  # the same numbers give the same file
}

Group = tuple[str, ...]  # data, features and split
Row = tables.Row


class Picture(NamedTuple):
  """A figure with the words that replace it for who cannot see it."""

  svg: str
  alt: str

  @property
  def uri(self) -> str:
    """The figure as the source of an `<img>`."""
    code = base64.b64encode(self.svg.encode()).decode()
    return f'data:image/svg+xml;base64,{code}'


class Style(NamedTuple):
  """How a method looks in every figure of a page."""

  color: str
  marker: str


def styles(results: Mapping[str, Any]) -> dict[str, Style]:
  """Returns the look of every method, the aggregates first."""
  names = {
    str(row.get('method'))
    for name in ('accuracy', 'gain', 'person_gain', 'calibration')
    for row in tables.rows_of(results, name)
  }
  ordered = sorted(names, key=lambda n: (not n.startswith('aggregate'), n))
  return {name: style(i) for i, name in enumerate(ordered)}


def style(i: int) -> Style:
  """Returns the i-th look; where colours come again, markers have moved on."""
  marker = (i + i // len(_COLORS)) % len(_MARKERS)
  return Style(_COLORS[i % len(_COLORS)], _MARKERS[marker])


def answers_pictures(
  results: Mapping[str, Any], look: Mapping[str, Style] | None = None
) -> list[Picture]:
  """Returns accuracy against the number of answers, a picture a group."""
  look = look or styles(results)
  pictures = []
  for group, rows in grouped(tables.rows_of(results, 'accuracy')).items():
    asked = [r.get('answers') for r in rows]
    ticks: list[Any] = sorted({a for a in asked if isinstance(a, int)})
    if len(ticks) < 2:
      continue
    if 'all' in asked:
      ticks.append('all')
    pictures.append(_answers_picture(group, rows, ticks, look))
  return pictures


def gain_pictures(
  results: Mapping[str, Any], look: Mapping[str, Style] | None = None
) -> list[Picture]:
  """Returns the gain of each person, sorted, a picture a group."""
  look = look or styles(results)
  pictures = []
  known = most_answers(tables.rows_of(results, 'person_gain'))
  for group, rows in grouped(known).items():
    figure, axes = panel(group)
    words = []
    for method, lines in _by_method(rows).items():
      name = tables.word(method)
      x, y = _columns(lines, 'quantile', 'gain')
      axes.step(x, y, color=look[method].color, label=name, where='mid')
      above, below = np.mean(y > 0), np.mean(y < 0)
      words.append(
        f'{name}: {above:.0%} of people gain, {below:.0%} lose, median '
        f'{np.median(y):+.1f} points'
      )
    axes.axhline(0, color='0.4', linewidth=0.8)
    axes.set_xlabel('people, from largest loss to largest gain (%)')
    axes.set_ylabel("gain over everyone's model (points)")
    alt = f'Gain of each person, sorted; {title(group)}. {"; ".join(words)}.'
    pictures.append(draw(figure, alt))
  return pictures


def calibration_pictures(
  results: Mapping[str, Any], look: Mapping[str, Style] | None = None
) -> list[Picture]:
  """Returns accuracy against confidence, a picture a group."""
  look = look or styles(results)
  pictures = []
  known = most_answers(tables.rows_of(results, 'calibration'))
  for group, rows in grouped(known).items():
    figure, axes = panel(group)
    axes.plot([50, 100], [50, 100], color='0.6', linestyle='--', linewidth=1)
    words = []
    for method, lines in _by_method(rows).items():
      name = tables.word(method)
      x, y = _columns(lines, 'confidence', 'accuracy')
      pairs = np.array([tables.number(line, 'pairs') for line in lines])
      color, marker = look[method]
      axes.plot(x, y, color=color, linewidth=1, alpha=0.6)
      size = 8 + 40 * pairs / max(pairs.max(), 1)
      axes.scatter(x, y, size, color=color, marker=marker, label=name)
      gap = np.average(np.abs(x - y), weights=pairs)
      words.append(f'{name}: mean gap {gap:.1f} points')
    axes.set_xlabel('confidence (%)')
    axes.set_ylabel('accuracy (%)')
    alt = f'Calibration; {title(group)}. {"; ".join(words)}.'
    pictures.append(draw(figure, alt))
  return pictures


def grouped(rows: Sequence[Row]) -> dict[Group, list[Row]]:
  """Returns rows by data, features and split, in order of appearance."""
  groups: dict[Group, list[Row]] = {}
  for row in rows:
    key = tuple(str(row.get(k, '')) for k in ('data', 'features', 'split'))
    groups.setdefault(key, []).append(row)
  return groups


def title(group: Group) -> str:
  """Returns the words for data, features and split."""
  data, features, split = group
  shown = tables.place(data, features)
  return f'{shown}, {tables.word(split)}' if split else shown


def answer_rank(row: Row) -> float:
  """Returns how many answers a row stands for; 'all' is more than any."""
  answers = row.get('answers', 'all')
  return float(answers) if isinstance(answers, int) else math.inf


def most_answers(rows: Sequence[Row]) -> list[Row]:
  """Returns, of each group and method, the rows with the most answers."""
  best: dict[tuple, float] = {}
  keyed = []
  for group, members in grouped(rows).items():
    for row in members:
      key = (*group, row.get('method'), row.get('baseline'))
      best[key] = max(best.get(key, 0), answer_rank(row))
      keyed.append((key, row))
  return [row for key, row in keyed if answer_rank(row) == best[key]]


# ------------------------------------------------------------------- drawing


def _answers_picture(
  group: Group,
  rows: Sequence[Row],
  ticks: Sequence[Any],
  look: Mapping[str, Style],
) -> Picture:
  figure, axes = panel(group)
  words = []
  for method, lines in _by_method(rows).items():
    color, marker = look[method]
    name = tables.word(method)
    lines = sorted(lines, key=answer_rank)
    place = [ticks.index(line.get('answers', 'all')) for line in lines]
    y, low, high = (
      np.array([100 * tables.number(line, column) for line in lines])
      for column in ('accuracy', 'accuracy_low', 'accuracy_high')
    )
    if len(lines) == 1:  # does not depend on answers
      axes.axhline(y[0], color=color, linestyle=':', label=name)
      words.append(f'{name}: {y[0]:.1f}')
      continue
    axes.plot(place, y, color=color, marker=marker, ms=5, label=name)
    axes.fill_between(place, low, high, color=color, alpha=0.15, lw=0)
    words.append(
      f'{name}: {y[0]:.1f} at {ticks[place[0]]}, '
      f'{y[-1]:.1f} at {ticks[place[-1]]} answers'
    )
  axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
  axes.set_xlabel('answers known of the person')
  axes.set_ylabel('accuracy (%)')
  alt = (
    f'Accuracy in percent by number of answers; {title(group)}. '
    f'{"; ".join(words)}.'
  )
  return draw(figure, alt)


def panel(group: Group) -> tuple[Figure, Axes]:
  """Returns an empty figure under the heading of a group."""
  data, features, split = group
  shown = tables.place(data, features)
  lines = f'{shown}\n{tables.word(split)}' if split else shown
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=_INCHES, layout='constrained')
    axes = figure.add_subplot()
    figure.suptitle(lines, x=0.02, ha='left', fontsize=STYLE['font.size'])
  return figure, axes


def draw(figure: Figure, alt: str) -> Picture:
  """Returns a figure with its legend below, as a picture."""
  names = [
    name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]
  ]
  half = (len(names) + 1) // 2
  wide = sum(
    max(map(len, column), default=0) for column in (names[:half], names[half:])
  )
  columns = 2 if wide <= _LEGEND_LETTERS else 1
  # The legend takes its room from the figure, not from the axes.
  lines = -(-len(names) // columns)
  extra = max(0, lines - 2) * _LEGEND_ROW
  figure.set_size_inches(_INCHES[0], _INCHES[1] + extra)
  with matplotlib.rc_context(STYLE):
    if names:
      figure.legend(
        loc='outside lower center', ncols=columns, frameon=False, fontsize=9
      )
  return Picture(svg(figure), alt)


def svg(figure: Figure) -> str:
  """Returns a figure as SVG; the same figure gives the same text."""
  buffer = io.StringIO()
  with matplotlib.rc_context(STYLE):
    figure.savefig(buffer, format='svg', metadata={'Date': None})
  return buffer.getvalue()


def arms(found: tuple[float, float, float]) -> np.ndarray:
  """Returns the lengths `[2, 1]` of an interval's arms; 0 where it has none."""
  value, low, high = found
  lengths = np.array([[value - low], [high - value]])
  return np.where(np.isfinite(lengths), lengths, 0.0)


def _by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
  methods: dict[str, list[Row]] = {}
  for row in rows:
    methods.setdefault(str(row.get('method')), []).append(row)
  return methods


def _columns(
  rows: Sequence[Row], first: str, second: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns two columns of rows in percent, sorted by the first."""
  pairs = sorted(
    (100 * tables.number(row, first), 100 * tables.number(row, second))
    for row in rows
  )
  x, y = np.array(pairs).T
  return x, y
