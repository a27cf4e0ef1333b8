"""The hazard page: what personal rewards break, and what holds it back.

Reads the tables `hazard`, `certificate`, `strata`, `rounds`, `planted` and
`real_text`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns
from prm_jax.report import figures, kinds, page, tables

_FRONTIER = 6  # safeguards from which a method's frontier is drawn
_LINE = 3  # rows from which any other picture is
# Safeguards of the picture that carries the answer.
_ANSWER = (
  'none',
  'shrinkage',
  'trust_region',
  'residual',
  'projection',
  'truth_floor',
  'bridging',
  'matching',
)
# Column -> label of the axis.
_HAZARDS = {
  'stance_variance': 'variance of served stance',
  'agreement_false_worst_decile_added': 'agreement on false, worst tenth, '
  'added',
}
READING = (
  (
    'Fit gain',
    'Mean true utility of taste of what is served, less that under '
    'the frozen aggregate, in logits. The wish to be agreed with is not '
    'counted as taste.',
  ),
  (
    'Equal divergence',
    'Every method and safeguard is served at the same mean '
    'KL to the base policy, because a hotter policy has more of everything.',
  ),
  (
    'Stance variance',
    'Systematic: covariance of what people are served on two '
    'halves of the contested prompts. One model for everyone has none.',
  ),
  (
    'Agreement on false statements',
    'Probability that a person who is wrong on a question of fact is told that '
    'they are right. Worst tenth: chosen on one half of the prompts, measured '
    'on the other.',
  ),
  (
    'Stance-flip gap',
    'How much more of a side a person is served than their '
    'twin of the opposite opinion, or than they would be if their prompt said '
    'the opposite.',
  ),
  (
    'Polarisation',
    'Mean squared distance of opinions from their mean after the closed loop.',
  ),
  (
    'Removed',
    '1 - added(safeguarded) / added(personal), both against the '
    'frozen aggregate, with the interval of the ratio over paired seeds. '
    'Where nothing is shown to be added there is no ratio.',
  ),
  (
    'Carried, plain',
    'Carried: strengths found on some candidates and applied '
    'to others. Plain: held to what the aggregate serves to who does not say '
    'their stance.',
  ),
)


# -------------------------------------------------------------------- figures


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figures with their headings."""
  hazard = tables.rows_of(results, 'hazard')
  bare = [row for row in hazard if row['safeguard'] == 'none']
  return [
    {
      'title': 'Personal fit against each hazard',
      'note': 'Up is worse, right is better. Crosses are 95 % intervals over '
      'seeds. The aggregate is at zero.',
      'pictures': _scatters(hazard, ('method', 'loving_fraction'), _FRONTIER),
    },
    {
      'title': 'Methods without a safeguard',
      'note': 'The same axes, by method.',
      'pictures': _scatters(bare, ('loving_fraction',), _LINE),
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


def _loving(share: float) -> str:
  return f'{share:.0%} love agreement'


def _scatters(
  rows: Sequence[tables.Row], groups: Sequence[str], least: int
) -> list[figures.Picture]:
  """Draws groups of at least so many rows, each hazard in a picture."""
  by = 'safeguard' if 'method' in groups else 'method'
  return [
    _scatter(', '.join((*map(tables.word, method), _loving(q))), some, name, by)
    for (*method, q), some in sorted(columns.grouped(rows, *groups).items())
    if len(some) >= least
    for name in _HAZARDS
  ]


def _answer(results: Mapping[str, Any]) -> figures.Picture:
  """Draws what a few safeguards keep and what they let through."""
  rows = {
    row['safeguard']: row
    for row in tables.rows_of(results, 'hazard')
    if (row['method'], row['loving_fraction']) == ('hierarchical', 0.1)
  }
  return _scatter(
    'A tenth of people love agreement',
    [rows[name] for name in _ANSWER if name in rows],
    'agreement_false_worst_decile_added',
    'safeguard',
  )


def _scatter(
  heading: str, rows: Sequence[tables.Row], hazard: str, by: str
) -> figures.Picture:
  return kinds.scatter(
    heading,
    rows,
    [tables.word(row[by]) for row in rows],
    kinds.Axis('fit_gain', 'fit gain over the aggregate (logits)'),
    kinds.Axis(hazard, _HAZARDS[hazard]),
  )


def _rounds(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  """Draws opinions; with a safeguard only where a frontier is drawn too."""
  shown = {}
  for i, row in enumerate(rows):
    arm = row['method'], row['safeguard']
    if arm[1] == 'none' or arm == ('hierarchical', 'matching'):
      shown[i] = ' + '.join(tables.word(n) for n in arm if n != 'none')
  return kinds.curves(
    [rows[i] for i in shown],
    [_loving(rows[i]['loving_fraction']) for i in shown],
    list(shown.values()),
    kinds.Axis('round', 'round'),
    kinds.Axis('polarization', 'variance of opinions'),
  )


def _certificates(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  """Curves over the detector's accuracy, and over the key's error."""
  plain = {'safeguard': 'matching', 'serve': 'tilt', 'correlation': 0.3}
  plain |= {'text': False, 'stated': 0.0}
  shown = [
    row for row in rows if plain.items() <= row.items() and row['loving'] > 0.02
  ]
  pictures = []
  for (q,), mine in sorted(columns.grouped(shown, 'loving').items()):
    for axis, fixed, at, label in (
      ('accuracy', 'key_error', 0.05, 'accuracy of the stance detector'),
      ('key_error', 'accuracy', 0.8, 'error of the answer key'),
    ):
      line = [row for row in mine if row[fixed] == at]
      if len(line) >= _LINE:
        heading = f'{_loving(q)}, {fixed.replace("_", " ")} {at}'
        pictures.append(_kept(heading, line, kinds.Axis(axis, label)))
  return pictures


def _kept(heading, rows, x: kinds.Axis) -> figures.Picture:
  series = {}
  for name, column in (
    ('fit kept', 'fit_kept'),
    ('stance variance removed', 'stance_variance_removed'),
    ('agreement removed', 'agreement_false_worst_removed'),
  ):
    known = [row for row in rows if np.isfinite(tables.number(row, column))]
    if known:
      series[name] = known, kinds.Axis(column, 'share')
  return kinds.lines(heading, series, x, 'share', limits=(-0.1, 1.05), at=0.8)


# -------------------------------------------------------------------- tables

TABLES: dict[str, tables.Spec | None] = {
  'certificate': tables.Spec(
    'Certificate',
    'Asked for: lower limits of 0.8. Length and confidence are standard '
    'deviations away from the aggregate, before and after.',
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
        'number',
        'agreement_false_worst_added_before',
      ),
      'of it removed': ('number', 'agreement_false_worst_removed'),
      'agreement before': ('points', 'agreement_false_before'),
      'agreement after': ('points', 'agreement_false_after'),
      'length before': ('number', 'length_before'),
      'length after': ('number', 'length_after'),
      'confidence before': ('number', 'confidence_before'),
      'confidence after': ('number', 'confidence_after'),
      'truth before': ('number', 'truth_before'),
      'truth after': ('number', 'truth_after'),
      'per-prompt variance after': (
        'number',
        'stance_variance_per_prompt_after',
      ),
      'verdict': ('text', 'verdict'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'hazard': tables.Spec(
    'Hazards',
    'Means with 95 % intervals over seeds. Agreement and truth are in points.',
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
      'variance in the loop': ('number', 'stance_variance_in_loop'),
      'polarisation': ('number', 'polarization'),
      'polarisation added': ('number', 'polarization_added'),
      'exposure (bits)': ('number', 'exposure_entropy_bits'),
      'truth in the loop': ('points', 'truthfulness_in_loop'),
      'KL (nats)': ('number', 'divergence_nats'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'strata': tables.Spec(
    'By stratum',
    'Who loves agreement, and who does not.',
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
  ),
  'planted': tables.Spec(
    'Planted faults',
    'How often the audit flags a reward whose fault is known, in percent of '
    'seeds; blind spots are planted to be missed.',
    {
      'reward': ('text', 'fault'),
      'a fault': ('text', 'is_fault'),
      'measure': ('text', 'measure'),
      'detector': ('text', 'detector_accuracy'),
      'flagged': ('points', 'flagged'),
      'seeds': ('count', 'seeds'),
    },
  ),
  'real_text': tables.Spec(
    'Real text',
    'Persona statements, political questions and crowd workers; see the '
    "study's README for what each can show.",
    {
      'material': ('text', 'material'),
      'method': ('word', 'method'),
      'quantity': ('text', 'quantity'),
      'value': ('number', 'value'),
      'n': ('count', 'n'),
      'over': ('text', 'unit'),
    },
  ),
  'rounds': None,
}
PAGE = page.Page(TABLES, sections, READING, _answer)
