"""Rows of results.json, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators.discrimination import COMBINED, OWN
from prm_jax.data import triples
from prm_jax.lab import columns
from prm_jax.ops import intervals
from prm_jax.ops.margins import correct

Row = dict[str, Any]
_FEW = 3  # policies that make no interval
_OURS = {'polar_gain': OWN, 'combined_gain': COMBINED}
FROM = f'{OWN} from '  # of one that was trained on the other texts named


def discrimination(rows: Sequence[Row]) -> list[Row]:
  """Returns the mean accuracy over policies, and its gaps to ours.

  Policies weigh the same; intervals are over families of policies and prompts.

  Args:
    rows: one a triple, with margins by method; methods that are compared are
      of the same triples.
  """
  table = []
  for (data, split), mine in columns.grouped(rows, 'data', 'split').items():
    told = _by_method(mine)
    for method, own in told.items():
      row = {'data': data, 'split': split, 'method': method, **own.counts()}
      row |= {'triples': len(own.right), **own.mean('accuracy')}
      for column, best in _OURS.items():
        if best in told and method != best:
          row |= told[best].mean(column, less=own.right)
      table.append(row)
  return table


def policies(rows: Sequence[Row]) -> list[Row]:
  """Returns each held-out policy's accuracy by method, policies as rows."""
  held = [row for row in rows if row['split'] == 'held_out_policies']
  table: list[Row] = []
  for (data, policy), mine in columns.grouped(held, 'data', 'policy').items():
    right = {m: float(t.right.mean()) for m, t in _by_method(mine).items()}
    table.append({'data': data, 'policy': policy, **right})
  return sorted(table, key=lambda r: (r['data'], -r.get(OWN, 0), r['policy']))


def transfer(rows: Sequence[Row]) -> list[Row]:
  """Returns discriminators on data that they were not trained on."""
  table = []
  for (data, split), mine in columns.grouped(rows, 'data', 'split').items():
    for method, told in _by_method(mine).items():
      if method.startswith(FROM):
        row = {'trained_on': method.removeprefix(FROM), 'tested_on': data}
        row |= {'split': split, **told.counts(), **told.mean('accuracy')}
        table.append(row | told.mean('over_chance', less=0.5))
  return table


def ablation(rows: Sequence[Row]) -> list[Row]:
  """Returns accuracy on judged pairs, and the gap to the full method.

  AlpacaEval's prompts weigh the same, and intervals are over prompts and the
  families of the two policies; of LLMBar they are over pairs (the folds'
  models averaged first).
  """
  table = []
  for key, mine in columns.grouped(rows, 'data', 'rankings').items():
    full = [row for row in mine if row['pretrained'] and row['reference']]
    for (arm,), runs in columns.grouped(mine, 'arm').items():
      row = dict(zip(('data', 'rankings', 'arm'), (*key, arm), strict=True))
      row['units'] = len({run['unit'] for run in runs})
      row |= {'pairs': len(runs), **_judged('accuracy', runs)}
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
  unit = np.array([row['unit'] for row in rows])
  if 'policies' not in rows[0]:
    means = [right[unit == one].mean() for one in np.unique(unit)]
    return {'resampled': 'pairs', **columns.mean(name, means)}
  family = _families([row['policies'] for row in rows])
  return {
    'resampled': 'prompts and families of policies',
    'families': len(np.unique(family)),
    **_mean(name, right, unit, intervals.crossing(unit, family)),
  }


def _mean(name: str, right, unit, shared: intervals.Crossing) -> Row:
  """Returns the mean of right ones `[n]`, units `[n]` weighing the same.

  Its interval ends where an accuracy, or a gap of two, does.
  """
  _, place, size = np.unique(unit, return_inverse=True, return_counts=True)
  weight = 1 / size[place]
  mean = intervals.crossed(right * weight, weight, shared)
  least = 0.0 if name == 'accuracy' else -1.0
  return columns.crossed(name, mean, least=least, most=1.0)


def _families(names: Any) -> np.ndarray:
  """Returns the family of every policy, in the shape of the names."""
  known, place = np.unique(names, return_inverse=True)
  return triples.families(known.tolist())[place].reshape(np.shape(names))


class _Told(NamedTuple):
  """Whose triples on which prompts were told apart, all `[n]`."""

  policy: np.ndarray
  prompt: np.ndarray
  right: np.ndarray

  def counts(self) -> Row:
    """Returns what intervals are over."""
    return {
      'policies': len(np.unique(self.policy)),
      'families': len(np.unique(_families(self.policy))),
      'prompts': len(np.unique(self.prompt)),
      'resampled': 'families of policies and prompts',
    }

  def mean(self, name: str, less: Any = 0.0) -> Row:
    """Returns the mean over policies, others' right ones `[n]` taken off."""
    shared = intervals.crossing(_families(self.policy), self.prompt)
    return _mean(name, self.right - less, self.policy, shared)


def _by_method(rows: Sequence[Row]) -> dict[str, _Told]:
  """Returns method -> what it told apart, the same triples side by side."""
  found: dict[str, list[Any]] = {}
  for row in rows:
    for method, margin in row['margins'].items():
      one = row['policy'], row['prompt'], margin
      found.setdefault(method, []).append(one)
  told = {}
  for method, every in found.items():
    policy, prompt, margin = map(np.array, zip(*sorted(every), strict=True))
    told[method] = _Told(policy, prompt, correct(margin))
  return told


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
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
      f'  over {other["method"]}: {_points(other, "polar_gain", "+")}'
      for other in groups[row['data'], row['split']]
      if 'polar_gain' in other and not other['method'].startswith(FROM)
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


def _points(row: Row, name: str, sign: str = '') -> str:
  text = f'{100 * row[name]:{sign}.1f}'
  low, high = row[f'{name}_low'], row[f'{name}_high']
  if low is None or high is None:
    return f'{text} %'
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}] %'
