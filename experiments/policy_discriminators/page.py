"""The page of policy discriminators: who wrote it, and what for."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.policy_discriminators.discrimination import OWN
from prm_jax.lab import columns
from prm_jax.report import figures, kinds, page, tables

_ACCURACY = kinds.Axis('accuracy', 'accuracy (%)', 100)
_FALL = kinds.Axis('kl_fall', 'fall of the KL to the target (%)', 100)
_LOSS = kinds.Axis('loss', 'held-out loss (nats)')
_SIZES = {
  'parameters': kinds.Axis('parameters', 'parameters'),
  'compute': kinds.Axis('compute_flops', 'compute (FLOPs)'),
}


def sections(results: Mapping[str, Any]) -> list[page.Section]:
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
      'logarithmic, and the power law that is fitted.',
      'pictures': _scaling(results),
    },
    {
      'title': 'A policy that moves to its target',
      'note': 'Exact KL to the target after fine-tuning, as a share of that '
      'before; bars are 95 % intervals over seeds. Half is asked for.',
      'pictures': _falls(tables.rows_of(results, 'enumerable')),
    },
  ]


def _methods(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  """Returns every method's accuracy: first of what people read, best first."""
  rows, pictures = sorted(rows, key=lambda r: r['data'] != 'alpaca_eval'), []
  for key, mine in columns.grouped(rows, 'data', 'split').items():
    if len(mine) < 3:
      continue
    best = sorted(mine, key=lambda row: -row['accuracy'])
    names = [tables.word(row['method']) for row in best]
    ours = [row['method'].startswith(OWN) for row in best]
    heading = ', '.join(map(tables.word, key))
    picture = kinds.bars(heading, best, names, _ACCURACY, at=50, ours=ours)
    pictures.append(picture)
  return pictures


def _policies(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  for (data,), mine in columns.grouped(rows, 'data').items():
    # The table is sorted: the best is the first.
    placed = [
      {**row, 'place': place} for place, row in enumerate(mine) if row.get(OWN)
    ]
    if placed:
      ends = f'{placed[0]["policy"]} to {placed[-1]["policy"]}'
      series = {
        tables.word(method): (placed, kinds.Axis(method, '', 100))
        for method in (OWN, 'length')
      }
      x = kinds.Axis('place', f'held-out policies, {ends}')
      heading, label = tables.word(data), _ACCURACY.label
      pictures.append(kinds.lines(heading, series, x, label, at=50))
  return pictures


def _scaling(results: Mapping[str, Any]) -> list[figures.Picture]:
  rows, pictures = tables.rows_of(results, 'scaling'), []
  last = max((row['steps'] for row in rows), default=0)
  for law in tables.rows_of(results, 'scaling_fits'):
    x, exponent = _SIZES[law['of']], law['exponent']
    shown = [r for r in rows if law['of'] == 'compute' or r['steps'] == last]
    sizes = [row[x.column] for row in shown]
    ends = [
      {x.column: size, 'loss': law['coefficient'] * size**exponent}
      for size in (min(sizes), max(sizes))
    ]
    series = {
      f'width {width}': (mine, _LOSS)
      for (width,), mine in columns.grouped(shown, 'width').items()
    }
    series['power law'] = ends, _LOSS
    heading = f'exponent {exponent:.3f}, R squared {law["r_squared"]:.2f}'
    picture = kinds.lines(heading, series, x, _LOSS.label, logarithmic=True)
    pictures.append(picture)
  return pictures


def _falls(rows: Sequence[tables.Row]) -> list[figures.Picture]:
  pictures = []
  for (optimizer,), mine in columns.grouped(rows, 'optimizer').items():
    names = [
      f'{tables.word(r["method"])}, {r["references"]} refs' for r in mine
    ]
    ours = [row['method'] == 'discriminator' for row in mine]
    heading = tables.word(optimizer)
    pictures.append(kinds.bars(heading, mine, names, _FALL, at=50, ours=ours))
  return pictures


_OVER = {
  'families': ('count', 'families'),
  'prompts': ('count', 'prompts'),
  'resampled': ('text', 'resampled'),
  'coverage': ('text', 'coverage'),
}


_TABLES = {
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
  'scaling': tables.Spec(
    'Losses by size',
    'Of unseen policies, in nats, along training; chance is 0.693.',
    {
      'parameters': ('count', 'parameters'),
      'layers': ('count', 'layers'),
      'steps': ('count', 'steps'),
      'compute (FLOPs)': ('text', 'compute_flops'),
      'loss': ('text', 'loss'),
      'standard error': ('text', 'loss_error'),
      'seed': ('count', 'seed'),
    },
  ),
}
PAGE = page.Page(_TABLES, sections)
