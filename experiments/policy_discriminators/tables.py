"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.policy_discriminators import combination
from prm_jax.ops import intervals

Row = dict[str, Any]
_FEW = 3  # policies that make no interval


def discrimination(rows: Sequence[Row]) -> list[Row]:
  """Returns the mean accuracy over policies, and its gaps to ours.

  Args:
    rows: one a policy, method, data, split and fold.
  """
  table = []
  for (data, split), mine in _grouped(rows, 'data', 'split').items():
    known = _by_policy(mine)
    ours = {
      'polar_gain': ('polar', known.get('polar', {})),
      'combined_gain': (combination.NAME, known.get(combination.NAME, {})),
    }
    for method, accuracy in known.items():
      row = {
        'data': data,
        'split': split,
        'method': method,
        'policies': len(accuracy),
        'triples': sum(r['triples'] for r in mine if r['method'] == method),
      }
      _add(row, 'accuracy', list(accuracy.values()))
      for column, (own, mean) in ours.items():
        if mean and method != own:
          gap = [mean[p] - accuracy[p] for p in accuracy if p in mean]
          _add(row, column, gap)
      table.append(row)
  return table


def policies(rows: Sequence[Row]) -> list[Row]:
  """Returns each held-out policy's accuracy by method, policies as rows."""
  table = []
  for (data, split), mine in _grouped(rows, 'data', 'split').items():
    if split != 'held_out_policies':
      continue
    known = _by_policy(mine)
    for policy in sorted({row['policy'] for row in mine}):
      row: Row = {'data': data, 'policy': policy}
      for method, accuracy in known.items():
        row[method] = accuracy.get(policy)
      table.append(row)
  return sorted(table, key=lambda r: (r['data'], -(r.get('polar') or 0)))


def transfer(rows: Sequence[Row]) -> list[Row]:
  """Returns discriminators on data that they were not trained on."""
  table = []
  for (data, split), mine in _grouped(rows, 'data', 'split').items():
    for method, accuracy in _by_policy(mine).items():
      if not method.startswith('polar from '):
        continue
      row = {
        'trained_on': method.removeprefix('polar from '),
        'tested_on': data,
        'split': split,
        'policies': len(accuracy),
      }
      _add(row, 'accuracy', list(accuracy.values()))
      chance = [value - 0.5 for value in accuracy.values()]
      _add(row, 'over_chance', chance)
      table.append(row)
  return table


def ablation(rows: Sequence[Row]) -> list[Row]:
  """Returns accuracy on judged pairs, and the gap to the full method.

  Intervals are over prompts of AlpacaEval (a prompt's pairs averaged first),
  and over pairs of LLMBar (the folds' models averaged first).
  """
  table = []
  grouped = _grouped(rows, 'data', 'rankings')
  for (data, rankings), mine in grouped.items():
    known: dict[str, dict[int, float]] = {}
    for (arm, unit), these in _grouped(mine, 'arm', 'unit').items():
      mean = float(np.mean([row['right'] for row in these]))
      known.setdefault(arm, {})[unit] = mean
    full = known.get('pretrained, reference', {})
    for arm, right in known.items():
      row = {
        'data': data,
        'rankings': rankings,
        'arm': arm,
        'units': len(right),
        'pairs': sum(r['arm'] == arm for r in mine),
      }
      _add(row, 'accuracy', list(right.values()))
      if full and arm != 'pretrained, reference':
        gap = [full[u] - right[u] for u in right if u in full]
        _add(row, 'full_method_gain', gap)
      table.append(row)
  return table


def _by_policy(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
  """Returns method -> policy -> accuracy, folds averaged."""
  found: dict[str, dict[str, float]] = {}
  for (method, policy), mine in _grouped(rows, 'method', 'policy').items():
    weight = [row['triples'] for row in mine]
    value = np.average([row['accuracy'] for row in mine], weights=weight)
    found.setdefault(method, {})[policy] = float(value)
  return found


def _grouped(rows: Sequence[Row], *names: str) -> dict[tuple, list[Row]]:
  found: dict[tuple, list[Row]] = {}
  for row in rows:
    found.setdefault(tuple(row[name] for name in names), []).append(row)
  return found


def _add(row: Row, name: str, values: Sequence[float]) -> None:
  """Adds a mean, with Student's interval where there are enough values."""
  if len(values) < _FEW:
    row[name] = float(np.mean(values))
    row[f'{name}_low'] = row[f'{name}_high'] = None
    return
  found = intervals.mean(values)
  row[name], row[f'{name}_low'] = found.value, found.low
  row[f'{name}_high'] = found.high


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['discrimination']:
    if row['method'] == 'polar' and row['policies'] >= _FEW:
      lines.append(
        f'{row["data"]}, {row["split"].replace("_", " ")}: '
        f'{_points(row, "accuracy")} of {row["triples"]} triples of '
        f'{row["policies"]} policies are told apart.'
      )
      for other in made['discrimination']:
        same = all(other[k] == row[k] for k in ('data', 'split'))
        if same and 'polar_gain' in other and ' from ' not in other['method']:
          lines.append(
            f'  over {other["method"]}: {_points(other, "polar_gain", True)}'
          )
  for row in made['ablation']:
    lines.append(
      f'{row["data"]}, {row["arm"]}, fine-tuned on {row["rankings"]} '
      f'rankings: {_points(row, "accuracy")} of {row["pairs"]} pairs.'
    )
  for row in made['scaling_fits']:
    lines.append(
      f'Held-out loss against {row["of"]}: exponent {row["exponent"]:.4f} '
      f'[{row["exponent_low"]:.4f}, {row["exponent_high"]:.4f}], R^2 '
      f'{row["r_squared"]:.3f}; published {row["published_exponent"]}.'
    )
  for row in made['enumerable']:
    if row['optimizer'] == 'policy_gradient':
      lines.append(
        f'Fine-tuned on {row["method"]} ({row["references"]} references): the '
        f'KL to the target falls by {_points(row, "kl_fall")}.'
      )
  return lines


def _points(row: Row, name: str, signed: bool = False) -> str:
  sign = '+' if signed else ''
  text = f'{100 * row[name]:{sign}.1f}'
  low, high = row.get(f'{name}_low'), row.get(f'{name}_high')
  if low is None or high is None:
    return f'{text} %'
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}] %'
