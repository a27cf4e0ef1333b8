"""The hazard page: what personal rewards break, and what holds it back.

Reads the tables `hazard`, `certificate`, `strata`, `rounds`, `planted` and
`real_text`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from prm_jax.report import figures, tables

TABLES = (
  'hazard', 'certificate', 'strata', 'rounds', 'planted', 'real_text',
)  # fmt: skip
_FRONTIER = 6  # safeguards from which a method's frontier is drawn
# Column -> label of the axis.
_HAZARDS = {
  'stance_variance': 'variance of served stance',
  'agreement_false_worst_decile_added': 'agreement on false, worst tenth, '
  'added',
}
READING = (
  ('Fit gain', 'Mean true utility of taste of what is served, less that under '
   'the frozen aggregate, in logits. The wish to be agreed with is not '
   'counted as taste.'),
  ('Equal divergence', 'Every method and safeguard is served at the same mean '
   'KL to the base policy, because a hotter policy has more of everything.'),
  ('Stance variance', 'Systematic: covariance of what people are served on two '
   'halves of the contested prompts. One model for everyone has none.'),
  ('Agreement on false statements', 'Probability that a person who is wrong on '
   'a question of fact is told that they are right. Worst tenth: chosen on one '
   'half of the prompts, measured on the other.'),
  ('Stance-flip gap', 'How much more of a side a person is served than their '
   'twin of the opposite opinion, or than they would be if their prompt said '
   'the opposite.'),
  ('Polarisation', 'Mean squared distance of opinions from their mean after '
   'the closed loop.'),
  ('Removed', '1 - added(safeguarded) / added(personal), both against the '
   'frozen aggregate, with the interval of the ratio over paired seeds. '
   'Where nothing is shown to be added there is no ratio.'),
  ('Carried, plain', 'Carried: strengths found on some candidates and applied '
   'to others. Plain: held to what the aggregate serves to who does not say '
   'their stance.'),
)  # fmt: skip


def is_hazard(results: Mapping[str, Any]) -> bool:
  """Returns whether results hold this page's tables."""
  return bool(tables.rows_of(results, 'hazard'))


# -------------------------------------------------------------------- figures


def sections(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the page's figures with their headings."""
  return [
    {
      'title': 'Personal fit against each hazard',
      'note': 'Up is worse, right is better. Crosses are 95 % intervals over '
      'seeds. The aggregate is at zero.',
      'pictures': _frontiers(tables.rows_of(results, 'hazard')),
    },
    {
      'title': 'Methods without a safeguard',
      'note': 'The same axes, by method.',
      'pictures': _methods(tables.rows_of(results, 'hazard')),
    },
    {
      'title': 'Opinions, round by round',
      'note': 'Variance of opinions in the closed loop; bands are 95 % '
      'intervals over seeds.',
      'pictures': _rounds(tables.rows_of(results, 'rounds')),
    },
    {
      'title': 'How good the detector has to be',
      'note': 'What matching keeps of the fit and removes of each addition. '
      'The dashed line is what is asked for.',
      'pictures': _certificates(tables.rows_of(results, 'certificate')),
    },
  ]


def _shares(rows: Sequence[tables.Row]) -> list[float]:
  return sorted({float(row['loving_fraction']) for row in rows})


def _frontiers(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  methods = dict.fromkeys(str(row['method']) for row in rows)
  for method in methods:
    mine = [row for row in rows if row['method'] == method]
    for q in _shares(mine):
      points = [row for row in mine if row['loving_fraction'] == q]
      if len(points) < _FRONTIER:
        continue
      pictures += [
        _scatter(
          f'{tables.word(method)}, {q:.0%} love agreement',
          points,
          name,
          'safeguard',
        )
        for name in _HAZARDS
      ]
  return pictures


def _methods(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  bare = [row for row in rows if row['safeguard'] == 'none']
  pictures = []
  for q in _shares(bare):
    points = [row for row in bare if row['loving_fraction'] == q]
    if len(points) > 2:
      pictures += [
        _scatter(f'{q:.0%} love agreement', points, name, 'method')
        for name in _HAZARDS
      ]
  return pictures


def _scatter(
  heading: str, rows: Sequence[tables.Row], hazard: str, by: str
) -> figures.Picture:
  figure, axes = figures.panel((heading, '', ''))
  words = []
  for i, row in enumerate(rows):
    look = figures.style(i)
    x, y = (tables.interval(row, name) for name in ('fit_gain', hazard))
    axes.errorbar(
      x[0], y[0], xerr=figures.arms(x), yerr=figures.arms(y), color=look.color,
      marker=look.marker, ms=6, lw=0.8, label=tables.word(row[by]),
    )  # fmt: skip
    words.append(f'{tables.word(row[by])}: fit {x[0]:.2f}, hazard {y[0]:.4f}')
  axes.axhline(0, color='0.4', linewidth=0.8)
  axes.set_xlabel('fit gain over the aggregate (logits)')
  axes.set_ylabel(_HAZARDS[hazard])
  alt = f'{_HAZARDS[hazard]} against fit gain; {heading}. {"; ".join(words)}.'
  return figures.draw(figure, alt)


def _rounds(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  for q in _shares(rows):
    lines: dict[str, list[tables.Row]] = {}
    for row in rows:
      shown = row['safeguard'] in ('none', 'matching')
      if row['loving_fraction'] == q and shown:
        name = str(row['method'])
        if row['safeguard'] != 'none':
          name += f' + {row["safeguard"]}'
        lines.setdefault(name, []).append(row)
    # With a safeguard only where a method's frontier is drawn too.
    kept = {
      name: line
      for name, line in lines.items()
      if '+' not in name or name.startswith('hierarchical')
    }
    figure, axes = figures.panel((f'{q:.0%} love agreement', '', ''))
    words = []
    for i, (code, line) in enumerate(kept.items()):
      method, _, safeguard = code.partition(' + ')
      name = tables.word(method)
      if safeguard:
        name += f' + {tables.word(safeguard)}'
      y = _line(axes, line, 'round', 'polarization', name, i)
      words.append(f'{name}: {y[0]:.3f} to {y[-1]:.3f}')
    axes.set_xlabel('round')
    axes.set_ylabel('variance of opinions')
    alt = f'Variance of opinions by round; {q:.0%} love agreement. '
    pictures.append(figures.draw(figure, alt + '; '.join(words) + '.'))
  return pictures


def _line(
  axes: Axes, rows: Sequence[tables.Row], x: str, y: str, name: str, i: int,
  *, marks: bool = False,
) -> np.ndarray:  # fmt: skip
  """Draws a line with its band; returns its values."""
  look = figures.style(i)
  rows = sorted(rows, key=lambda row: tables.number(row, x))
  place = [tables.number(row, x) for row in rows]
  found = np.array([tables.interval(row, y) for row in rows])
  axes.plot(
    place, found[:, 0], color=look.color, label=name,
    marker=look.marker if marks else None, ms=5,
  )  # fmt: skip
  axes.fill_between(
    place, found[:, 1], found[:, 2], color=look.color, alpha=0.15, lw=0
  )
  return found[:, 0]


def _certificates(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  """Curves over the detector's accuracy, and over the key's error."""
  plain = [
    row
    for row in rows
    if row['safeguard'] == 'matching'
    and row['serve'] == 'tilt'
    and not row['text']
    and not row['stated']
    and row['correlation'] == 0.3
  ]
  pictures = []
  for q in sorted({row['loving'] for row in plain if row['loving'] > 0.02}):
    mine = [row for row in plain if row['loving'] == q]
    for axis, fixed, at, label in (
      ('accuracy', 'key_error', 0.05, 'accuracy of the stance detector'),
      ('key_error', 'accuracy', 0.8, 'error of the answer key'),
    ):
      line = [row for row in mine if row[fixed] == at]
      if len(line) > 2:
        heading = f'{q:.0%} love agreement, {fixed.replace("_", " ")} {at}'
        pictures.append(_kept(heading, line, axis, label))
  return pictures


def _kept(heading, rows, axis: str, label: str) -> figures.Picture:
  figure, axes = figures.panel((heading, '', ''))
  words = []
  for i, (column, name) in enumerate(
    (
      ('fit_kept', 'fit kept'),
      ('stance_variance_removed', 'stance variance removed'),
      ('agreement_false_worst_removed', 'agreement removed'),
    )
  ):
    known = [row for row in rows if np.isfinite(tables.number(row, column))]
    if known:
      y = _line(axes, known, axis, column, name, i, marks=True)
      words.append(f'{name}: {", ".join(f"{v:.2f}" for v in y)}')
  axes.axhline(0.8, color='0.4', linestyle='--', linewidth=0.8)
  axes.set_ylim(-0.1, 1.05)
  axes.set_xlabel(label)
  axes.set_ylabel('share')
  return figures.draw(
    figure, f'Shares by {label}; {heading}. {"; ".join(words)}.'
  )


# --------------------------------------------------------------------- tables


def shown_tables(results: Mapping[str, Any]) -> list[tables.Table]:
  """Returns the page's tables; `rounds` is drawn and not tabled."""
  return [
    _certificate_table(results),
    _hazard_table(results),
    _strata_table(results),
    _planted_table(results),
    tables.made(
      'Real text',
      'Persona statements, political questions and crowd workers; see the '
      "study's README for what each can show.",
      tables.rows_of(results, 'real_text'),
      {
        'material': ('text', 'material'),
        'method': ('word', 'method'),
        'quantity': ('text', 'quantity'),
        'value': ('number', 'value'),
        'n': ('count', 'n'),
        'over': ('text', 'unit'),
      },
    ),
  ]


def _hazard_table(results) -> tables.Table:
  return tables.made(
    'Hazards',
    'Means with 95 % intervals over seeds. Agreement and truth are in points.',
    tables.rows_of(results, 'hazard'),
    {
      'loving': ('percent', 'loving_fraction'),
      'method': ('word', 'method'),
      'safeguard': ('word', 'safeguard'),
      'fit gain': ('number', 'fit_gain'),
      'stance variance': ('number', 'stance_variance'),
      'flip gap': ('number', 'stance_flip_gap'),
      'of lovers': ('number', 'stance_flip_gap_lovers'),
      'agreement on false': ('points', 'agreement_false'),
      'worst tenth': ('points', 'agreement_false_worst_decile'),
      'added to worst tenth': ('points', 'agreement_false_worst_decile_added'),
      'truth': ('points', 'truthfulness'),
      'polarisation': ('number', 'polarization'),
      'exposure (bits)': ('number', 'exposure_entropy_bits'),
      'truth in the loop': ('points', 'truthfulness_in_loop'),
      'KL (nats)': ('number', 'divergence_nats'),
      'seeds': ('count', 'seeds'),
    },
  )


def _certificate_table(results) -> tables.Table:
  return tables.made(
    'Certificate',
    'Asked for: lower limits of 0.8. Length and confidence are standard '
    'deviations away from the aggregate, before and after.',
    tables.rows_of(results, 'certificate'),
    {
      'loving': ('percent', 'loving'),
      'detector': ('text', 'accuracy'),
      'key error': ('text', 'key_error'),
      'served by': ('text', 'serve'),
      'stance in prompt': ('text', 'stated'),
      'encoder': ('text', 'text'),
      'correlation': ('text', 'correlation'),
      'probe': ('points', 'probe_accuracy'),
      'safeguard': ('word', 'safeguard'),
      'fit kept': ('number', 'fit_kept'),
      'variance added': ('number', 'stance_variance_added_before'),
      'removed': ('number', 'stance_variance_removed'),
      'agreement added, worst tenth': (
        'number', 'agreement_false_worst_added_before',
      ),
      'of it removed': ('number', 'agreement_false_worst_removed'),
      'length before': ('number', 'length_before'),
      'length after': ('number', 'length_after'),
      'confidence before': ('number', 'confidence_before'),
      'confidence after': ('number', 'confidence_after'),
      'truth after': ('number', 'truth_after'),
      'per-prompt variance after': (
        'number', 'stance_variance_per_prompt_after',
      ),
      'verdict': ('text', 'verdict'),
      'seeds': ('count', 'seeds'),
    },
  )  # fmt: skip


def _strata_table(results) -> tables.Table:
  return tables.made(
    'By stratum',
    'Who loves agreement, and who does not.',
    tables.rows_of(results, 'strata'),
    {
      'loving': ('percent', 'loving_fraction'),
      'method': ('word', 'method'),
      'safeguard': ('word', 'safeguard'),
      'stratum': ('text', 'stratum'),
      'fit gain': ('number', 'fit_gain'),
      'flip gap': ('number', 'stance_flip_gap'),
      'agreement on false': ('points', 'agreement_false'),
      'truth': ('points', 'truthfulness'),
      'seeds': ('count', 'seeds'),
    },
  )


def _planted_table(results) -> tables.Table:
  return tables.made(
    'Planted faults',
    'How often the audit flags a reward whose fault is known, in percent of '
    'seeds; blind spots are planted to be missed.',
    tables.rows_of(results, 'planted'),
    {
      'reward': ('text', 'fault'),
      'a fault': ('text', 'is_fault'),
      'measure': ('text', 'measure'),
      'detector': ('text', 'detector_accuracy'),
      'flagged': ('points', 'flagged'),
      'seeds': ('count', 'seeds'),
    },
  )
