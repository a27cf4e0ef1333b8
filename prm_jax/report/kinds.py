"""Kinds of pictures that any table can be drawn as, with their intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.report import figures, tables

Rows = Sequence[tables.Row]
_MOST = 8  # lines of one picture


class Axis(NamedTuple):
  """What stands along an axis.

  Attributes:
    column: of the rows; with `_low` and `_high` beside it its interval.
    label: in words, with its unit.
    scale: 100 for shares that are shown in percent.
  """

  column: str
  label: str
  scale: float = 1.0

  def of(self, row: tables.Row) -> np.ndarray:
    """Returns the value and the ends of its interval, `[3]`."""
    return self.scale * np.array(tables.interval(row, self.column))


def lines(
  heading: str,
  series: Mapping[str, tuple[Rows, Axis]],
  x: Axis,
  label: str,
  *,
  limits: tuple[float, float] | None = None,
  at: float | None = None,
  marks: bool = True,
  logarithmic: bool = False,
) -> figures.Picture:
  """Draws lines with their bands.

  Args:
    heading: of the picture.
    series: name -> rows, and what of them is drawn.
    x: what is along the picture.
    label: of what is drawn, with its unit.
    limits: of the upright axis.
    at: where a dashed line is drawn across.
    marks: whether to mark every row.
    logarithmic: both axes.
  """
  figure, axes = figures.panel((heading, '', ''))
  words = []
  for i, (name, (rows, y)) in enumerate(series.items()):
    rows = sorted(rows, key=lambda row: tables.number(row, x.column))
    across = [x.of(row)[0] for row in rows]
    value, low, high = np.array([y.of(row) for row in rows]).T
    look = figures.style(i)
    axes.plot(
      across,
      value,
      color=look.color,
      label=name,
      ms=4,
      marker=look.marker if marks else None,
    )
    axes.fill_between(across, low, high, color=look.color, alpha=0.15, lw=0)
    words.append(
      f'{name} {value[0]:.3g} at {across[0]:.3g}, {value[-1]:.3g} at '
      f'{across[-1]:.3g}'
    )
  if at is not None:
    axes.axhline(at, color='0.4', linestyle='--', linewidth=0.8)
  if limits:
    axes.set_ylim(*limits)
  if logarithmic:
    axes.set_xscale('log')
    axes.set_yscale('log')
  axes.set_xlabel(x.label)
  axes.set_ylabel(label)
  alt = f'{label} by {x.label}; {heading}. {"; ".join(words)}.'
  return figures.draw(figure, alt)


def curves(
  rows: Rows,
  groups: Sequence[str],
  names: Sequence[str],
  x: Axis,
  y: Axis,
  *,
  limits: tuple[float, float] | None = None,
) -> list[figures.Picture]:
  """Draws a value along another, a few lines a picture.

  Args:
    rows: of one table.
    groups: of each row, the picture's heading.
    names: of each row, its line.
    x: what is along the picture.
    y: what is drawn.
    limits: of the upright axis.
  """
  pictures = []
  for group in dict.fromkeys(groups):
    members: dict[str, list[tables.Row]] = {}
    for row, other, name in zip(rows, groups, names, strict=True):
      if other == group:
        members.setdefault(name, []).append(row)
    for first in range(0, len(members), _MOST):
      some = list(members.items())[first : first + _MOST]
      pictures.append(
        lines(
          group,
          {name: (line, y) for name, line in some},
          x,
          y.label,
          limits=limits,
        )
      )
  return pictures


def scatter(
  heading: str, rows: Rows, names: Sequence[str], x: Axis, y: Axis
) -> figures.Picture:
  """Draws one mark a row, with its intervals along both axes."""
  figure, axes = figures.panel((heading, '', ''))
  words = []
  for i, (row, name) in enumerate(zip(rows, names, strict=True)):
    look = figures.style(i)
    across, up = x.of(row), y.of(row)
    axes.errorbar(
      across[0],
      up[0],
      xerr=figures.arms(tuple(across)),
      yerr=figures.arms(tuple(up)),
      color=look.color,
      marker=look.marker,
      ms=6,
      lw=0.8,
      label=name,
    )
    words.append(f'{name} {across[0]:.3g} and {up[0]:.3g}')
  axes.axhline(0, color='0.4', linewidth=0.8)
  axes.set_xlabel(x.label)
  axes.set_ylabel(y.label)
  alt = f'{x.label} and {y.label}; {heading}. {"; ".join(words)}.'
  return figures.draw(figure, alt)


def bars(
  heading: str,
  rows: Rows,
  names: Sequence[str],
  x: Axis,
  *,
  at: float,
  ours: Sequence[bool],
) -> figures.Picture:
  """Draws one mark with its interval a row, from the top down.

  Args:
    heading: of the picture.
    rows: from the top.
    names: of the rows.
    x: what is drawn.
    at: where a dashed line stands.
    ours: which rows look unlike the others.
  """
  figure, axes = figures.panel((heading, '', ''))
  words = []
  for place, (row, name, own) in enumerate(zip(rows, names, ours, strict=True)):
    value = x.of(row)
    look = figures.style(0 if own else 1)
    axes.errorbar(
      value[0],
      -place,
      xerr=figures.arms(tuple(value)),
      color=look.color,
      marker=look.marker,
      ms=6,
      lw=1,
    )
    words.append(f'{name} {value[0]:.1f}')
  axes.set_yticks(-np.arange(len(rows)), names)
  axes.axvline(at, color='0.4', linestyle='--', linewidth=0.8)
  axes.set_xlabel(x.label)
  return figures.draw(figure, f'{x.label}; {heading}. {"; ".join(words)}.')


def grouped(
  heading: str, rows: Rows, groups: Sequence[str], names: Sequence[str], x: Axis
) -> figures.Picture:
  """Draws marks with their intervals under each other, group by group.

  Args:
    heading: of the picture.
    rows: one a mark.
    groups: of each row, what it stands beside; from the top.
    names: of each row, its look and its place in a group.
    x: what is drawn; a line stands at 0.
  """
  figure, axes = figures.panel((heading, '', ''))
  each, series = list(dict.fromkeys(groups)), list(dict.fromkeys(names))
  words = []
  for i, name in enumerate(series):
    look = figures.style(i)
    some = [
      (row, group)
      for row, group, other in zip(rows, groups, names, strict=True)
      if other == name
    ]
    value = np.array([x.of(row) for row, _ in some])
    place = np.array([each.index(group) for _, group in some])
    axes.errorbar(
      value[:, 0],
      -place - 0.8 * ((i + 0.5) / len(series) - 0.5),
      xerr=np.hstack([figures.arms(tuple(limits)) for limits in value]),
      color=look.color,
      marker=look.marker,
      linestyle='none',
      ms=4,
      lw=1,
      label=name,
    )
    words += [
      f'{group}, {name} {figure_[0]:.1f}'
      for (_, group), figure_ in zip(some, value, strict=True)
    ]
  axes.set_yticks(-np.arange(len(each)), each)
  axes.axvline(0, color='0.4', linestyle='--', linewidth=0.8)
  axes.set_xlabel(x.label)
  return figures.draw(figure, f'{x.label}; {heading}. {"; ".join(words)}.')


def compared(
  heading: str, rows: Rows, names: Mapping[str, str], x: Axis, *, base: str
) -> list[figures.Picture]:
  """Draws some methods beside one of them; nothing where that has no row.

  Args:
    heading: of the picture.
    rows: one a `method`.
    names: method -> its name, in order from the top; of those with a row.
    x: what is drawn.
    base: the method at whose value a dashed line stands.
  """
  by_method = {row['method']: row for row in rows}
  shown = [name for name in names if name in by_method]
  if base not in shown:
    return []
  picture = bars(
    heading,
    [by_method[name] for name in shown],
    [names[name] for name in shown],
    x,
    at=x.of(by_method[base])[0],
    ours=[name != base for name in shown],
  )
  return [picture]


def training(
  rows: Rows,
  drawn: Sequence[tuple[str, str, Axis]],
  group: Callable[[tables.Row], str],
) -> list[dict[str, Any]]:
  """Returns sections of figures along training, of methods by `method`.

  Args:
    rows: with `step`, over seeds.
    drawn: heading, note and figure of each; left out where no row has it.
    group: of a row, its picture's heading.
  """
  sections = []
  for heading, note, y in drawn:
    known = [row for row in rows if row.get(y.column) is not None]
    if known:
      pictures = curves(
        known,
        list(map(group, known)),
        [tables.word(row['method']) for row in known],
        Axis('step', 'updates'),
        y,
        limits=(-3, 103),
      )
      note = f'{note} Bands are 95 % intervals over seeds.'
      sections.append({'title': heading, 'note': note, 'pictures': pictures})
  return sections


def by_answers(
  rows: Rows, drawn: Sequence[tuple[str, Axis]]
) -> list[dict[str, Any]]:
  """Returns sections of figures along a person's answers.

  Args:
    rows: with `data`, `features`, `method`, `answers` and `acquisition`, by
      which questions were chosen: each is a line, but 'none'.
    drawn: heading and figure of each.
  """
  asked = [row for row in rows if row['acquisition'] != 'none']
  groups = [
    ', '.join(
      (tables.place(row['data'], row['features']), tables.word(row['method']))
    )
    for row in asked
  ]
  names = [tables.word(row['acquisition']) for row in asked]
  x = Axis('answers', 'answers of the person')
  return [
    {
      'title': heading,
      'note': 'Bands are 95 % intervals over people.',
      'pictures': curves(asked, groups, names, x, y),
    }
    for heading, y in drawn
  ]
