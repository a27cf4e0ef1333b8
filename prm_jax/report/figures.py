"""Figures of a study, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prm_jax.report import answer

# Colour-blind safe (Okabe and Ito 2008), one for each method everywhere.
COLOURS = {
  'aggregate': '#555555',
  'aggregate_mlp': '#999999',
  'pref': '#0072B2',
  'lore': '#D55E00',
  'hierarchical': '#009E73',
  'length_only': '#CC79A7',
}
_OTHER = '#E69F00'

Row = Mapping[str, Any]


def learning_curves(rows: Sequence[Row]) -> bytes | None:
  """Returns accuracy of new people against answers; None without any.

  Args:
    rows: of `tables.accuracy`.
  """
  rows = [
    row
    for row in rows
    if row['split'] == 'new_people' and row['method'] in COLOURS
  ]
  panels = _panels(rows)
  if not panels:
    return None
  figure, axes = _grid(len(panels))
  for axis, (title, chosen) in zip(axes, panels.items(), strict=False):
    for method, line in _by_method(chosen).items():
      line = sorted(line, key=lambda row: int(row['answers']))
      x = np.arange(len(line))
      y, low, high = (
        [100 * row[name] for row in line]
        for name in ('accuracy', 'accuracy_low', 'accuracy_high')
      )
      colour = COLOURS[method]
      axis.plot(x, y, marker='o', markersize=3, color=colour, label=method)
      axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
      axis.set_xticks(x, [str(row['answers']) for row in line])
    axis.set(title=title, xlabel='answers of a new person')
    axis.set_ylabel('accuracy, %')
  return _png(figure)


def person_gains(rows: Sequence[Row]) -> bytes | None:
  """Returns each person's gain, sorted; None without any.

  Args:
    rows: of `tables.person_gain`, quantiles over people.
  """
  chosen = [row for row in rows if row['answers'] == 'all']
  panels = _panels(
    [r for r in chosen if r['split'] != 'new_lexicon'], split=True
  )
  if not panels:
    return None
  figure, axes = _grid(len(panels))
  for axis, (title, chosen) in zip(axes, panels.items(), strict=False):
    for method, line in _by_method(chosen).items():
      axis.plot(
        [100 * row['quantile'] for row in line],
        [100 * row['gain'] for row in line],
        color=COLOURS.get(method, _OTHER),
        label=method,
      )
    axis.axhline(0, color='black', linewidth=0.7)
    axis.set(title=title, xlabel='people, sorted, %')
    axis.set_ylabel('gain, points')
  return _png(figure)


def calibration(rows: Sequence[Row]) -> bytes | None:
  """Returns accuracy against confidence; None without any.

  Args:
    rows: of `tables.calibration`.
  """
  rows = [r for r in rows if r['method'] in COLOURS and r['pairs'] >= 30]
  panels = _panels([r for r in rows if r['split'] != 'new_lexicon'], split=True)
  if not panels:
    return None
  figure, axes = _grid(len(panels))
  for axis, (title, chosen) in zip(axes, panels.items(), strict=False):
    axis.plot([50, 100], [50, 100], color='black', linewidth=0.7)
    for method, line in _by_method(chosen).items():
      axis.plot(
        [100 * row['confidence'] for row in line],
        [100 * row['accuracy'] for row in line],
        marker='o',
        markersize=3,
        color=COLOURS[method],
        label=method,
      )
    axis.set(title=title, xlabel='confidence, %')
    axis.set_ylabel('accuracy, %')
  return _png(figure)


def _panels(rows: Sequence[Row], split: bool = False) -> dict[str, list[Row]]:
  panels: dict[str, list[Row]] = {}
  for row in rows:
    title = answer.label(row)
    if split:
      title += f'\n{row["split"].replace("_", " ")}'
    panels.setdefault(title, []).append(row)
  return panels


def _by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
  lines: dict[str, list[Row]] = {}
  for row in rows:
    lines.setdefault(row['method'], []).append(row)
  order = list(COLOURS)
  return dict(
    sorted(
      lines.items(),
      key=lambda item: order.index(item[0]) if item[0] in order else 99,
    )
  )


def _grid(count: int):
  columns = min(3, count)
  rows = -(-count // columns)
  figure = Figure(figsize=(4.2 * columns, 3.3 * rows), layout='constrained')
  FigureCanvasAgg(figure)
  axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
  for axis in axes[count:]:
    axis.set_visible(False)
  for axis in axes[:count]:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(alpha=0.25)
    axis.title.set_size(10)
  return figure, axes


def _png(figure: Figure) -> bytes:
  handles, labels = [], []
  for axis in figure.axes:
    for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
      if text not in labels:
        handles.append(handle)
        labels.append(text)
  figure.legend(
    handles, labels, loc='outside lower center', ncols=6, frameon=False
  )
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', dpi=110)
  return buffer.getvalue()
