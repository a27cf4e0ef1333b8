"""Rows of results.json, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import combination
from experiments.policy_discriminators.discrimination import OWN
from prm_jax.data import triples
from prm_jax.lab import columns
from prm_jax.ops import intervals

Row = dict[str, Any]
_FEW = 3  # policies that make no interval


def transferred(source: str) -> str:
  """Returns the label of a discriminator that was trained on other texts."""
  return f'polar from {source}'


def discrimination(rows: Sequence[Row]) -> list[Row]:
  """Returns the mean accuracy over policies, and its gaps to ours.

  Policies weigh the same; intervals are over families of policies and prompts.

  Args:
    rows: one a policy, method, data, split and fold.
  """
  table = []
  ours = {'polar_gain': OWN, 'combined_gain': combination.NAME}
  for (data, split), mine in columns.grouped(rows, 'data', 'split').items():
    sums = {
      method: _Sums.of(runs)
      for (method,), runs in columns.grouped(mine, 'method').items()
    }
    for method, own in sums.items():
      row = {
        'data': data,
        'split': split,
        'method': method,
        **own.counts(),
        'triples': int(own.triples.sum()),
        **own.mean('accuracy'),
      }
      for column, best in ours.items():
        if best in sums and method != best:
          row |= sums[best].less(own.right).mean(column)
      table.append(row)
  return table


def policies(rows: Sequence[Row]) -> list[Row]:
  """Returns each held-out policy's accuracy by method, policies as rows."""
  table: dict[Any, Row] = {}
  held_out = [row for row in rows if row['split'] == 'held_out_policies']
  for (data, policy, method), mine in columns.grouped(
    sorted(held_out, key=lambda row: (row['data'], row['policy'])),
    'data',
    'policy',
    'method',
  ).items():
    weight = [row['triples'] for row in mine]
    value = np.average([row['accuracy'] for row in mine], weights=weight)
    row = table.setdefault((data, policy), {'data': data, 'policy': policy})
    row[method] = float(value)
  return sorted(table.values(), key=lambda r: (r['data'], -(r.get(OWN) or 0)))


def transfer(rows: Sequence[Row]) -> list[Row]:
  """Returns discriminators on data that they were not trained on."""
  table = []
  for (data, split), mine in columns.grouped(rows, 'data', 'split').items():
    moved = [row for row in mine if row['trained_on']]
    for (source,), runs in columns.grouped(moved, 'trained_on').items():
      sums = _Sums.of(runs)
      table.append(
        {
          'trained_on': source,
          'tested_on': data,
          'split': split,
          **sums.counts(),
          **sums.mean('accuracy'),
          **sums.less(sums.triples / 2).mean('over_chance'),
        }
      )
  return table


def ablation(rows: Sequence[Row]) -> list[Row]:
  """Returns accuracy on judged pairs, and the gap to the full method.

  AlpacaEval's prompts weigh the same, and intervals are over prompts and the
  families of the two policies; of LLMBar they are over pairs (the folds'
  models averaged first).
  """
  table = []
  for (data, rankings), mine in columns.grouped(
    rows, 'data', 'rankings'
  ).items():
    full = [row for row in mine if row['pretrained'] and row['reference']]
    for (arm,), runs in columns.grouped(mine, 'arm').items():
      row = {
        'data': data,
        'rankings': rankings,
        'arm': arm,
        'units': len({run['unit'] for run in runs}),
        'pairs': len(runs),
        **_judged('accuracy', runs),
      }
      if full and runs != full:
        # Every arm is tested on the same pairs, in the same order.
        gap = [
          {**run, 'right': best['right'] - run['right']}
          for best, run in zip(full, runs, strict=True)
        ]
        row |= _judged('full_method_gain', gap)
      table.append(row)
  return table


def _judged(name: str, rows: Sequence[Row]) -> Row:
  """Returns the mean of `right`, units weighing the same."""
  right = np.array([row['right'] for row in rows])
  _, unit, size = np.unique(
    [row['unit'] for row in rows], return_inverse=True, return_counts=True
  )
  if 'policies' not in rows[0]:
    means = np.bincount(unit, right) / size
    return {'resampled': 'pairs', **columns.mean(name, means)}
  family = _families([row['policies'] for row in rows])
  count = 1 / size[unit]
  shared = intervals.crossing(unit, family)
  mean = intervals.crossed(right * count, count, shared)
  return {
    'resampled': 'prompts and families of policies',
    'families': mean.second,
    **columns.crossed(name, mean, **_limits(name)),
  }


def _limits(name: str) -> dict[str, float]:
  """Returns what an accuracy, or a gap of two, can be."""
  return {'least': 0.0 if name == 'accuracy' else -1.0, 'most': 1.0}


def _families(names: Any) -> np.ndarray:
  """Returns the family of every policy, in the shape of the names."""
  known, place = np.unique(names, return_inverse=True)
  return triples.families(known.tolist())[place].reshape(np.shape(names))


class _Sums(NamedTuple):
  """How often each policy was told apart on each prompt.

  Attributes:
    policy, prompt: names `[n]`; right, triples: sums `[n]`.
  """

  policy: np.ndarray
  prompt: np.ndarray
  right: np.ndarray
  triples: np.ndarray

  @classmethod
  def of(cls, rows: Sequence[Row]) -> '_Sums':
    """Returns one method's sums over folds."""
    sums: dict[tuple[str, str], np.ndarray] = {}
    for row in rows:
      for prompt, pair in row['prompts'].items():
        key = (row['policy'], prompt)
        sums[key] = sums.get(key, np.zeros(2)) + np.array(pair)
    keys = sorted(sums)
    policy, prompt = map(np.array, zip(*keys, strict=True))
    right, count = np.stack([sums[key] for key in keys]).T
    return cls(policy, prompt, right, count)

  def less(self, right: np.ndarray) -> '_Sums':
    """Returns this with others' right ones taken off, `[n]`."""
    return self._replace(right=self.right - right)

  def counts(self) -> Row:
    """Returns what intervals are over."""
    return {
      'policies': len(np.unique(self.policy)),
      'families': len(np.unique(_families(self.policy))),
      'prompts': len(np.unique(self.prompt)),
      'resampled': 'families of policies and prompts',
    }

  def mean(self, name: str) -> Row:
    """Returns the mean over policies, with its interval where there is one."""
    _, policy = np.unique(self.policy, return_inverse=True)
    size = np.bincount(policy, self.triples)[policy]
    shared = intervals.crossing(_families(self.policy), self.prompt)
    mean = intervals.crossed(self.right / size, self.triples / size, shared)
    return columns.crossed(name, mean, **_limits(name))


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  moved = {transferred(row['trained_on']) for row in made['transfer']}
  groups = columns.grouped(made['discrimination'], 'data', 'split')
  for row in made['discrimination']:
    if row['method'] != OWN or row['policies'] < _FEW:
      continue
    lines.append(
      f'{row["data"]}, {row["split"].replace("_", " ")}: '
      f'{_points(row, "accuracy")} of {row["triples"]} triples of '
      f'{row["policies"]} policies are told apart.'
    )
    lines += [
      f'  over {other["method"]}: {_points(other, "polar_gain", True)}'
      for other in groups[row['data'], row['split']]
      if 'polar_gain' in other and other['method'] not in moved
    ]
  lines += [
    f'{row["data"]}, {row["arm"]}, fine-tuned on {row["rankings"]} rankings: '
    f'{_points(row, "accuracy")} of {row["pairs"]} pairs.'
    for row in made['ablation']
  ]
  lines += [
    f'Held-out loss against {row["of"]}: exponent {row["exponent"]:.4f} '
    f'[{row["exponent_low"]:.4f}, {row["exponent_high"]:.4f}], R^2 '
    f'{row["r_squared"]:.3f}; published {row["published_exponent"]}.'
    for row in made['scaling_fits']
  ]
  lines += [
    f'Fine-tuned on {row["method"]} ({row["references"]} references): the KL '
    f'to the target falls by {_points(row, "kl_fall")}.'
    for row in made['enumerable']
    if row['optimizer'] == 'policy_gradient'
  ]
  return lines


def _points(row: Row, name: str, signed: bool = False) -> str:
  sign = '+' if signed else ''
  text = f'{100 * row[name]:{sign}.1f}'
  low, high = row[f'{name}_low'], row[f'{name}_high']
  if low is None or high is None:
    return f'{text} %'
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}] %'
