"""From predictions to shares of the oracle, and what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from configs.wording import BASELINE
from experiments.wording import templates, trained, words
from prm_jax.lab import columns, rows, study, units
from prm_jax.ops import intervals, margins

SHARED, NEW_WORDING = words.SHARED, words.NEW_WORDING


class Moved:
  """Which judgements of new wording are right under other templates."""

  def __init__(
    self,
    config,
    folder: units.Folder,
    cells: Sequence[rows.Cell],
    texts: Mapping[int, Sequence[str]],
  ):
    """Draws templates, the same for every seed, feature set and method."""
    self._known = templates.markers(NEW_WORDING)
    self._draws = list(templates.redrawn(self._known, config.bootstrap, 0))
    self._folder, self._cells = folder, cells
    self._present = {
      seed: templates.counts(some, self._known) for seed, some in texts.items()
    }
    self._made: dict[str, np.ndarray | None] = {}

  def share(self, method: str, oracle: float) -> np.ndarray | None:
    """Returns a method's share of the oracle under every draw, `[draws]`.

    Args:
      method: a feature set's and a learner's name.
      oracle: accuracy of the true probabilities on the same judgements.
    """
    if method not in self._made:
      self._made[method] = self._accuracy(method)
    accuracy = self._made[method]
    return None if accuracy is None else (accuracy - 0.5) / (oracle - 0.5)

  def _accuracy(self, method: str) -> np.ndarray | None:
    right = []
    for cell in self._cells:
      name = f'{cell.data}-{cell.features}-seed{cell.seed}-fold0.{method}'
      arrays = self._folder.read(name).arrays
      if 'score' not in arrays:
        return None
      label = cell.arrays[f'{NEW_WORDING}#label']
      found = templates.correct(
        arrays['margin'],
        label,
        cell.arrays[f'{NEW_WORDING}#user'],
        arrays['items'],
        self._present[cell.seed],
        arrays['score'],
        self._draws,
      )
      right.append(found[:, label != 0.5])
    return np.concatenate(right, 1).mean(1)

  def error(self, values: np.ndarray) -> float:
    """Returns the standard error over templates of what `share` returned."""
    return float(np.std(values) / np.sqrt(self._known.share))

  @property
  def degrees(self) -> int:
    """Returns the degrees of freedom that templates leave."""
    return self._known.count - len(np.unique(self._known.stratum))


def shares(cells: Sequence[rows.Cell], moved: Moved) -> list[study.Row]:
  """Returns each method's share of the oracle, on both kinds of wording."""
  (group,) = rows.group(cells).values()
  found = []
  for method in _methods(cells):
    for split in words.SPLITS:
      key = f'{method}|{split}|all|'
      paired = rows.paired_runs(group, key, f'{split}#oracle')
      row = rows.recovered(*paired)
      mine, best, shared = _rows_of(*paired)
      ratio = intervals.crossed(mine - 0.5, best - 0.5, shared)
      over = None
      if split == NEW_WORDING:
        over = moved.share(method, row['oracle'])
      found.append(
        _named(method, split)
        | {name: row[name] for name in ('accuracy', 'oracle', 'people')}
        | {'prompts': row['units'], 'pairs': row['pairs']}
        | {'seeds': row['seeds']}
        | _interval('share', ratio, over, moved)
        | {f'share_seed{s}': value for s, value in _by_seed(*paired).items()}
      )
  return found


def differences(
  config, cells: Sequence[rows.Cell], moved: Moved
) -> list[study.Row]:
  """Returns each feature set's share less another's, on the same rows.

  Those are less the encoder's; what was trained is also less its own frozen
  reading, less the head that trained alone, and less the frozen set that it is
  read beside.
  """
  frozen, beside = config.adapting.frozen, config.adapting.beside
  pairs = [(name, BASELINE) for name in _methods(cells)]
  pairs += [('adapted-pref', frozen), ('adapted_beside-pref', beside)]
  pairs += [('frozen_head-pref', frozen), ('adapted_head-pref', 'frozen_head')]
  (group,) = rows.group(cells).values()
  found = []
  for method, baseline in pairs:
    arm, learner = method.split('-')
    other = f'{baseline}-{learner}'
    if arm == baseline:
      continue
    for split in words.SPLITS:
      key = f'{method}|{split}|all|'
      mine, best, shared = _rows_of(
        *rows.paired_runs(group, key, f'{split}#oracle')
      )
      theirs, _, _ = _rows_of(
        *rows.paired_runs(group, f'{other}|{split}|all|', f'{split}#oracle')
      )
      gap = intervals.crossed(mine - theirs, best - 0.5, shared)
      over = None
      if split == NEW_WORDING:
        oracle = float(best.mean())
        one, two = moved.share(method, oracle), moved.share(other, oracle)
        over = None if one is None or two is None else one - two
      found.append(
        _named(method, split)
        | {'baseline': baseline, 'people': gap.first, 'prompts': gap.second}
        | {'seeds': len(cells)}
        | _interval('difference', gap, over, moved)
      )
  return found


def training(made: Sequence[Mapping[str, Any]]) -> list[study.Row]:
  """Returns what each seed's training came to, from `trained.unit`."""
  return [
    {
      'set': arm,
      'seed': record['seed'],
      'before': record[arm]['validation_nats'][0],
      'best': min(record[arm]['validation_nats']),
      **{
        name: record[arm][name]
        for name in ('steps', 'kept_step', 'tokens', 'cpu_seconds')
      },
    }
    for record in made
    for arm in trained.HEADS
  ]


def _interval(
  name: str, value: intervals.Crossed, over: np.ndarray | None, moved: Moved
) -> study.Row:
  """Returns a quantity's columns, over people, prompts, and templates if any.

  `NAME_people_low` and `_high` are over people and prompts alone.
  """
  alone = columns.crossed(name, value)
  if over is None:
    return alone | {'resampled': 'people and prompts'}
  error = moved.error(over)
  width = stats.t.ppf(0.975, min(value.degrees, moved.degrees)) * np.hypot(
    value.standard_error, error
  )
  limits = value.value, value.value - width, value.value + width
  return {
    **columns.interval(name, limits),
    f'{name}_people_low': alone[f'{name}_low'],
    f'{name}_people_high': alone[f'{name}_high'],
    'templates_standard_error': error,
    'templates_mean': float(np.mean(over)),
    'resampled': 'people, prompts and templates',
  }


def _rows_of(mine, best):
  """Returns who is right, the oracle likewise, `[n]`; and what rows share."""
  right, true = (
    margins.correct(
      np.concatenate([margins.margin(r.probability, r.label) for r in runs])
    )
    for runs in (mine, best)
  )
  shared = intervals.crossing(
    np.concatenate([run.person for run in mine]),
    np.concatenate([run.units.of for run in mine]),
  )
  return right, true, shared


def _by_seed(mine, best) -> dict[int, float]:
  """Returns the share of the oracle of each seed, by its place."""
  found = {}
  for place, (one, other) in enumerate(zip(mine, best, strict=True)):
    right, true = (
      margins.correct(margins.margin(run.probability, run.label)).mean()
      for run in (one, other)
    )
    found[place] = float((right - 0.5) / (true - 0.5))
  return found


def _methods(cells: Sequence[rows.Cell]) -> list[str]:
  return list(cells[0].record['methods'])


def _named(method: str, split: str) -> study.Row:
  arm, learner = method.split('-')
  return {'set': arm, 'method': learner, 'split': split}


def costs(
  cells: Sequence[rows.Cell], read: Sequence[Mapping[str, Any]]
) -> list[study.Row]:
  """Returns what each feature set cost, all seeds together."""
  found = []
  # Fits alone of what was trained, beside what `training` says.
  read = [*read, *({'set': arm, 'layers': None} for arm in trained.ARMS)]
  for (arm,), some in columns.grouped(read, 'set').items():
    fits = [
      cell.record['methods'][name]['cpu_seconds']
      for cell in cells
      for name in _methods(cells)
      if name.split('-')[0] == arm
    ]
    found.append(
      {
        'set': arm,
        'layers': some[0]['layers'],
        **{
          name: sum(row.get(name, 0) for row in some)
          for name in ('new_units', 'new_tokens')
        },
        'read_cpu_seconds': round(
          sum(row.get('cpu_seconds', 0.0) for row in some), 1
        ),
        'fit_cpu_seconds': round(sum(fits), 1),
        'configurations': 1 if arm in trained.HEADS else 2,
      }
    )
  return found


def bars(
  wanted: Mapping[str, float],
  found: Sequence[study.Row],
  gaps: Sequence[study.Row],
) -> list[study.Row]:
  """Returns what had to be shown of frozen last tokens, and whether it was."""
  made = []

  def bar(arm, name, value, least):
    met = value is not None and value >= least
    made.append(
      {'set': arm, 'bar': name, 'least': least, 'value': value}
      | {'met': 'yes' if met else 'no'}
    )

  for row in found:
    if row['method'] == 'pref' and row['set'].startswith('last'):
      what = f'share of the oracle, {words.SPLITS[row["split"]]}'
      bar(row['set'], what, row['share'], wanted[row['split']])
  for row in gaps:
    if (row['set'], row['split']) == ('adapted', SHARED) and (
      row['baseline'] != BASELINE
    ):
      what = f'share less {row["baseline"]}, {words.SPLITS[SHARED]}'
      bar('adapted', what, row['difference'], wanted['adapted'])
    last = row['method'] == 'pref' and row['set'].startswith('last')
    if last and row['split'] == NEW_WORDING:
      what = 'share less MiniLM, new wording'
      bar(row['set'], what, row['difference'], wanted['gain'])
      low = row['difference_low']
      bar(row['set'], f'{what}: lower limit', low, wanted['low'])
  return made


def answer(made: study.Tables) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  said = []
  for arm, called in words.ARMS.items():
    some = {
      row['split']: row
      for row in made['shares']
      if row['set'] == arm and row['method'] == 'pref'
    }
    if not some:
      continue
    text = (
      f'{called}: personal models (PReF) keep {_percent(some[NEW_WORDING])} of '
      f"the oracle's gain over chance on new wording, and "
      f'{_percent(some[SHARED])} on the wording of training'
    )
    gap = [
      row
      for row in made['differences']
      if row['set'] == arm
      and row['method'] == 'pref'
      and row['split'] == NEW_WORDING
      and row['baseline'] == BASELINE
    ]
    if gap:
      text += (
        f'; on new wording {100 * gap[0]["difference"]:+.1f} '
        f'[{_limit(gap[0]["difference_low"])}, '
        f'{_limit(gap[0]["difference_high"])}] points against MiniLM'
      )
    said.append(f'{text}.')
  said += _gained(made['differences'])
  missed = [row for row in made['bars'] if row['met'] == 'no']
  if missed:
    said.append(
      'Not shown: '
      + '; '.join(f'{row["set"]}, {row["bar"]}' for row in missed)
      + '.'
    )
  elif made['bars']:
    said.append('Everything that had to be shown is shown.')
  return said


def _gained(gaps: Sequence[study.Row]) -> list[str]:
  """Returns what training the layers changed, in a sentence."""
  some = {
    row['split']: row
    for row in gaps
    if row['set'] == 'adapted' and row['baseline'] != BASELINE
  }
  if not some:
    return []
  said = [
    f'{100 * row["difference"]:+.1f} [{_limit(row["difference_low"])}, '
    f'{_limit(row["difference_high"])}] on {words.SPLITS[split]}'
    for split, row in some.items()
  ]
  return [
    'Training the two highest layers changes the share of the oracle, in '
    f'points over the same layers frozen: {"; ".join(said)}.'
  ]


def _percent(row: study.Row) -> str:
  return columns.percent(row, 'share')


def _limit(value: float | None) -> str:
  return 'unknown' if value is None else f'{100 * value:+.1f}'
