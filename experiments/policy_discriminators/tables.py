"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import combination
from prm_jax.data import triples
from prm_jax.ops import intervals

Row = dict[str, Any]
_FEW = 3  # policies that make no interval


def discrimination(rows: Sequence[Row]) -> list[Row]:
  """Returns the mean accuracy over policies, and its gaps to ours.

  Policies weigh the same; intervals are over families of policies and prompts.

  Args:
    rows: one a policy, method, data, split and fold.
  """
  table = []
  for (data, split), mine in _grouped(rows, 'data', 'split').items():
    known = _by_method(mine)
    ours = {'polar_gain': 'polar', 'combined_gain': combination.NAME}
    for method, told in known.items():
      row = {
        'data': data,
        'split': split,
        'method': method,
        **told.counts(),
        'triples': sum(r['triples'] for r in mine if r['method'] == method),
      }
      _add_crossed(row, 'accuracy', told)
      for column, own in ours.items():
        if own in known and method != own:
          _add_crossed(row, column, known[own].less(told))
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
    for method, told in _by_method(mine).items():
      if not method.startswith('polar from '):
        continue
      row = {
        'trained_on': method.removeprefix('polar from '),
        'tested_on': data,
        'split': split,
        **told.counts(),
      }
      _add_crossed(row, 'accuracy', told)
      half = told._replace(right=told.triples / 2)
      _add_crossed(row, 'over_chance', told.less(half))
      table.append(row)
  return table


def ablation(rows: Sequence[Row]) -> list[Row]:
  """Returns accuracy on judged pairs, and the gap to the full method.

  AlpacaEval's prompts weigh the same, and intervals are over prompts and the
  families of the two policies; of LLMBar they are over pairs (the folds'
  models averaged first).
  """
  table = []
  for (data, rankings), mine in _grouped(rows, 'data', 'rankings').items():
    arms = _grouped(mine, 'arm')
    full = arms.get(('pretrained, reference',), [])
    for (arm,), these in arms.items():
      row = {
        'data': data,
        'rankings': rankings,
        'arm': arm,
        'units': len({r['unit'] for r in these}),
        'pairs': len(these),
      }
      _add_judged(row, 'accuracy', these)
      if full and these is not full:
        # Every arm is tested on the same pairs, in the same order.
        gap = [
          {**one, 'right': best['right'] - one['right']}
          for best, one in zip(full, these, strict=True)
        ]
        _add_judged(row, 'full_method_gain', gap)
      table.append(row)
  return table


def _add_judged(row: Row, name: str, rows: Sequence[Row]) -> None:
  """Adds the mean of `right`, units weighing the same."""
  right = np.array([r['right'] for r in rows])
  _, unit, size = np.unique(
    [r['unit'] for r in rows], return_inverse=True, return_counts=True
  )
  if 'policies' not in rows[0]:
    row['resampled'] = 'pairs'
    _add(row, name, (np.bincount(unit, right) / size).tolist())
    return
  names = sorted({policy for r in rows for policy in r['policies']})
  family = dict(zip(names, triples.families(names).tolist(), strict=True))
  pair = [[family[policy] for policy in r['policies']] for r in rows]
  row['resampled'] = 'prompts and families of policies'
  count = 1 / size[unit]
  found = intervals.crossed(
    right * count, count, intervals.crossing(unit, np.array(pair))
  )
  row['families'] = found.second
  _add_interval(row, name, found)


class _Told(NamedTuple):
  """How often each policy was told apart on each prompt.

  Attributes:
    policy, prompt: names `[n]`; right, triples: sums `[n]`.
  """

  policy: np.ndarray
  prompt: np.ndarray
  right: np.ndarray
  triples: np.ndarray

  def less(self, other: '_Told') -> '_Told':
    """Returns this with the other's right ones taken off."""
    return self._replace(right=self.right - other.right)

  def counts(self) -> Row:
    """Returns what intervals are over."""
    names = np.unique(self.policy)
    return {
      'policies': len(names),
      'families': len(np.unique(triples.families(names.tolist()))),
      'prompts': len(np.unique(self.prompt)),
      'resampled': 'families of policies and prompts',
    }


def _by_method(rows: Sequence[Row]) -> dict[str, _Told]:
  """Returns every method's sums; methods have the same policies and prompts."""
  found = {}
  for (method,), mine in _grouped(rows, 'method').items():
    sums: dict[tuple[str, str], np.ndarray] = {}
    for row in mine:
      for prompt, pair in row['prompts'].items():
        key = (row['policy'], prompt)
        sums[key] = sums.get(key, np.zeros(2)) + np.array(pair)
    keys = sorted(sums)
    policy, prompt = map(np.array, zip(*keys, strict=True))
    right, count = np.stack([sums[key] for key in keys]).T
    found[method] = _Told(policy, prompt, right, count)
  return found


def _add_crossed(row: Row, name: str, told: _Told) -> None:
  """Adds the mean over policies, with its interval where there is one."""
  names, policy = np.unique(told.policy, return_inverse=True)
  size = np.bincount(policy, told.triples)[policy]
  family = triples.families(names.tolist())[policy]
  found = intervals.crossed(
    told.right / size,
    told.triples / size,
    intervals.crossing(family, told.prompt),
  )
  _add_interval(row, name, found)


def _add_interval(row: Row, name: str, found: intervals.Crossed) -> None:
  if min(found.first, found.second) < intervals.FEW:
    row['coverage'] = intervals.FEW_COVERAGE
  known = np.isfinite(found.low)
  # A symmetric interval may leave what an accuracy, or a gap of two, can be.
  limits = (0.0, 1.0) if name == 'accuracy' else (-1.0, 1.0)
  low, high = np.clip((found.low, found.high), *limits).tolist()
  row[name] = found.value
  row[f'{name}_low'] = low if known else None
  row[f'{name}_high'] = high if known else None


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
