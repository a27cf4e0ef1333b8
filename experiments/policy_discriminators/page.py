"""The page of policy discriminators: who wrote it, and what for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prm_jax.report import figures, kinds, page, tables


def sections(results: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the page's figures with their headings."""
  return [
    {
      'title': 'Policies told apart',
      'note': 'Share of triples in which the answer by the policy of the '
      'reference scores higher. Bars are 95 % intervals over families of '
      'policies and prompts; the dashed line is chance.',
      'pictures': _methods(tables.rows_of(results, 'discrimination')),
    },
    {
      'title': 'Each held-out policy',
      'note': 'Policies sorted by the discriminator; the closeness in length '
      'beside it.',
      'pictures': _policies(tables.rows_of(results, 'policies')),
    },
    {
      'title': 'Scaling',
      'note': 'Loss on policies that were not trained on, both axes '
      'logarithmic. The line is the power law that is fitted.',
      'pictures': _scaling(results),
    },
    {
      'title': 'A policy that moves to its target',
      'note': 'Exact KL to the target after fine-tuning, as a share of that '
      'before; bars are 95 % intervals over seeds. Half is asked for.',
      'pictures': _falls(tables.rows_of(results, 'enumerable')),
    },
  ]


def _bars(heading, rows, named, axis: kinds.Axis) -> figures.Picture:
  ours = [name.lower().startswith(('polar', 'discr')) for name in named]
  return kinds.bars(heading, rows, named, axis, at=50, ours=ours)


def _methods(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  groups = dict.fromkeys((str(r['data']), str(r['split'])) for r in rows)
  for data, split in groups:
    mine = [r for r in rows if (r['data'], r['split']) == (data, split)]
    if len(mine) < 3:
      continue
    mine.sort(key=lambda row: -tables.number(row, 'accuracy'))
    heading = f'{tables.word(data)}, {tables.word(split)}'
    named = [tables.word(row['method']) for row in mine]
    axis = kinds.Axis('accuracy', 'accuracy (%)', 100)
    pictures.append(_bars(heading, mine, named, axis))
  return pictures


def _policies(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  for data in dict.fromkeys(str(row['data']) for row in rows):
    mine = [row for row in rows if row['data'] == data and row.get('polar')]
    if not mine:
      continue
    mine.sort(key=lambda row: tables.number(row, 'polar'))
    figure, axes = figures.panel((data, '', ''))
    place = np.arange(len(mine))
    for i, method in enumerate(('polar', 'length')):
      look = figures.style(i)
      value = [100 * tables.number(row, method) for row in mine]
      axes.plot(
        place,
        value,
        look.marker,
        color=look.color,
        ms=4,
        label=tables.word(method),
      )
    axes.axhline(50, color='0.4', linestyle='--', linewidth=0.8)
    axes.set_xlabel('held-out policy, sorted')
    axes.set_ylabel('accuracy (%)')
    ends = ', '.join(
      f'{row["policy"]} {100 * tables.number(row, "polar"):.0f}'
      for row in (mine[0], mine[-1])
    )
    pictures.append(
      figures.draw(
        figure, f'Accuracy of each policy; {tables.word(data)}. {ends}.'
      )
    )
  return pictures


def _scaling(results: Mapping[str, Any]) -> list[figures.Picture]:
  rows = tables.rows_of(results, 'scaling')
  laws = {row['of']: row for row in tables.rows_of(results, 'scaling_fits')}
  pictures: list[figures.Picture] = []
  if not rows or not laws:
    return pictures
  last = max(row['steps'] for row in rows)
  final = [row for row in rows if row['steps'] == last]
  for of, column, label in (
    ('parameters', 'parameters', 'parameters'),
    ('compute', 'compute_flops', 'compute (FLOPs)'),
  ):
    if of not in laws:
      continue
    law = laws[of]
    figure, axes = figures.panel((f'loss against {of}', '', ''))
    shown = final if of == 'parameters' else rows
    for i, width in enumerate(sorted({row['width'] for row in shown})):
      look = figures.style(i)
      mine = [row for row in shown if row['width'] == width]
      axes.plot(
        [row[column] for row in mine], [row['loss'] for row in mine],
        marker=look.marker, color=look.color, ms=5, lw=0.8,
        label=f'width {width}',
      )  # fmt: skip
    ends = np.array(
      [min(r[column] for r in shown), max(r[column] for r in shown)]
    )
    axes.plot(
      ends, law['coefficient'] * ends ** law['exponent'], '--', color='0.4',
      lw=0.8,
    )  # fmt: skip
    axes.set_xscale('log')
    axes.set_yscale('log')
    axes.set_xlabel(label)
    axes.set_ylabel('held-out loss (nats)')
    alt = (
      f'Held-out loss against {of}: exponent {law["exponent"]:.3f}, R squared '
      f'{law["r_squared"]:.2f}.'
    )
    pictures.append(figures.draw(figure, alt))
  return pictures


def _falls(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  for optimizer in dict.fromkeys(str(row['optimizer']) for row in rows):
    mine = [row for row in rows if row['optimizer'] == optimizer]
    named = [
      f'{tables.word(row["method"])}, {row["references"]} refs' for row in mine
    ]
    axis = kinds.Axis('kl_fall', 'fall of the KL to the target (%)', 100)
    pictures.append(_bars(tables.word(optimizer), mine, named, axis))
  return pictures


_OVER = {
  'families': ('count', 'families'),
  'prompts': ('count', 'prompts'),
  'resampled': ('text', 'resampled'),
  'coverage': ('text', 'coverage'),
}


TABLES: dict[str, tables.Spec | None] = {
  'discrimination': tables.Spec(
    'Policies told apart',
    'Accuracy in percent, and the discriminator less each method, with 95 % '
    'intervals over what is resampled.',
    {
      'data': ('word', 'data'),
      'split': ('word', 'split'),
      'method': ('word', 'method'),
      'accuracy': ('points', 'accuracy'),
      'polar less it': ('points', 'polar_gain'),
      'polar and similarities less it': ('points', 'combined_gain'),
      'policies': ('count', 'policies'),
      'triples': ('count', 'triples'),
      **_OVER,
    },
  ),
  'transfer': tables.Spec(
    'Transfer',
    'Discriminators on texts of another kind; policies unseen.',
    {
      'trained on': ('word', 'trained_on'),
      'tested on': ('word', 'tested_on'),
      'split': ('word', 'split'),
      'accuracy': ('points', 'accuracy'),
      'policies': ('count', 'policies'),
      **_OVER,
    },
  ),
  'ablation': tables.Spec(
    'Ablation',
    'Fine-tuned on the same rankings. Accuracy in percent on held-out '
    "policies' pairs, and the full method less each arm.",
    {
      'data': ('word', 'data'),
      'rankings': ('count', 'rankings'),
      'arm': ('word', 'arm'),
      'accuracy': ('points', 'accuracy'),
      'full method less it': ('points', 'full_method_gain'),
      'prompts or pairs': ('count', 'units'),
      **_OVER,
    },
  ),
  'scaling_fits': tables.Spec(
    'Power laws',
    'Loss = coefficient size ^ exponent.',
    {
      'of': ('text', 'of'),
      'exponent': ('number', 'exponent'),
      'published': ('text', 'published_exponent'),
      'R squared': ('text', 'r_squared'),
      'points': ('count', 'points'),
    },
  ),
  'enumerable': tables.Spec(
    'A policy that moves to its target',
    'Exact KL(policy | target) in nats before and after, and its fall in '
    'percent.',
    {
      'reward': ('word', 'method'),
      'references': ('count', 'references'),
      'optimizer': ('word', 'optimizer'),
      'before': ('text', 'kl_before_nats'),
      'after': ('number', 'kl_after_nats'),
      'fall': ('points', 'kl_fall'),
      'seeds': ('count', 'n'),
    },
  ),
  'policies': tables.Spec('Each held-out policy'),
  'scaling': None,
}
PAGE = page.Page(TABLES, sections)
