"""From units of predictions to the tables of results.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.audits import leaks
from prm_jax.lab import columns, fitting, units
from prm_jax.ops import intervals, margins, statistics

TRAITS = 'traits'  # a method, and what another stands on: each one's habits
SHARED = 'shared_habits'  # a method: habits that everybody has


class Cell(NamedTuple):
  """One problem's predictions, as they lie on disk.

  Attributes:
    data: name; features: 'text', 'levels' or 'identity'; seed.
    arrays: `predictions` keys -> `[B]`, and for each split `S`: `S#label`,
      `S#user`, `S#oracle`, `S#prompt`, and `S#unit` `[B, 2]`, the debates,
      jokes or prompts of both texts; `judgements` `[U]` in training.
    record: of the problem; under `methods` choices, scores and times of each.
  """

  data: str
  features: str
  seed: int
  user_ids: np.ndarray
  prompt_ids: np.ndarray
  unit_names: np.ndarray
  arrays: Mapping[str, np.ndarray]
  record: dict[str, Any]


Key = tuple[str, str]  # data and features
# A person's training judgements, for the gain by how much is known of them.
_BANDS = ((1, 10), (10, 50), (50, 200), (200, 10**9))


def read(folder: units.Folder, name: str, methods: Sequence[str]) -> Cell:
  """Returns a problem's cell: its rows, and what every method said of them.

  Args:
    folder: of units.
    name: of the problem.
    methods: of which there are units, `NAME.METHOD`.
  """
  record, arrays = folder.read(name)
  record['methods'] = {}
  for method in methods:
    made = folder.read(f'{name}.{method}')
    record['methods'][method] = made.record
    for key, array in made.arrays.items():
      if '|' in key:  # a prediction; the others are of the fit
        arrays[f'{method}|{key}'] = array
  return Cell(
    data=record['data'],
    features=record['features'],
    seed=record['seed'],
    user_ids=arrays.pop('user_ids'),
    prompt_ids=arrays.pop('prompt_ids'),
    unit_names=arrays.pop('unit_names'),
    arrays=arrays,
    record=record,
  )


def group(loaded: Sequence[Cell]) -> dict[Key, list[Cell]]:
  """Returns the cells of each data set and kind of features."""
  groups: dict[Key, list[Cell]] = {}
  for cell in loaded:
    groups.setdefault((cell.data, cell.features), []).append(cell)
  return groups


def predictions(group_: Sequence[Cell]) -> list[str]:
  """Returns the keys of predictions that every table goes over."""
  keys = {key for cell in group_ for key in cell.arrays if '|' in key}
  return sorted(keys)


def runs(group_: Sequence[Cell], key: str) -> list[statistics.Run]:
  """Returns one run a seed, folds put together; see `paired_runs`."""
  return paired_runs(group_, key, key)[0]


def paired_runs(
  group_: Sequence[Cell], key: str, other: str
) -> tuple[list[statistics.Run], list[statistics.Run]]:
  """Returns two predictions of the same rows, one run a seed.

  Folds of a seed are put together. Rows where either prediction is not known
  (NaN) are left out.

  Args:
    group_: cells of one data set.
    key: `method|split|answers|variant`.
    other: of the other prediction; `SPLIT#oracle` is the true probability.
  """
  split = key.split('|')[1]
  by_seed: dict[int, list[tuple[np.ndarray, ...]]] = {}
  for cell in group_:
    if key not in cell.arrays or other not in cell.arrays:
      continue  # with one new person, say, there is nobody to swap with
    second = cell.arrays[other]
    first = cell.arrays[key]
    known = np.isfinite(first) & np.isfinite(second)
    known &= cell.arrays[f'{split}#label'] != 0.5
    person = cell.user_ids[cell.arrays[f'{split}#user']]
    label = cell.arrays[f'{split}#label']
    unit = cell.unit_names[cell.arrays[f'{split}#unit']]
    by_seed.setdefault(cell.seed, []).append(
      tuple(a[known] for a in (first, label, person, unit, second))
    )
  firsts, seconds = [], []
  name = group_[0].record['units']
  for parts in by_seed.values():
    p, label, person, unit, q = map(np.concatenate, zip(*parts, strict=True))
    if len(p):
      units = statistics.Units(name, unit)
      firsts.append(statistics.Run(p, label, person, units))
      seconds.append(statistics.Run(q, label, person, units))
  return firsts, seconds


def named(key: Key, name: str) -> dict[str, Any]:
  """Returns the columns that name a prediction."""
  method, split, answers, _ = name.split('|')
  return {
    'data': key[0],
    'features': key[1],
    'method': method,
    'split': split,
    'answers': answers if answers == 'all' else int(answers),
  }


def accuracy_table(groups: Mapping[Key, list[Cell]], replicates: int):
  """Returns a row for each data set, method, split and number of answers."""
  rows = []
  for key, group_ in groups.items():
    for name in predictions(group_):
      if name.split('|')[3]:
        continue
      known = runs(group_, name)
      if known:
        summary = statistics.summarize(known, replicates=replicates)
        rows.append({**named(key, name), **summary})
  return rows


def gain_tables(groups: Mapping[Key, list[Cell]], replicates: int):
  """Returns the gains over the aggregate, and their spread over people.

  Where cells hold methods with people's habits beside them (the variant
  `traits`), gains beyond the aggregate with these habits follow; and each
  one's habits are set against those that everybody shares.
  """
  gains, people = [], []
  for key, group_ in groups.items():
    for name in predictions(group_):
      method, split, answers, variant = name.split('|')
      if method in (fitting.BASELINE, fitting.MAJORITY):
        continue
      if variant not in ('', TRAITS):
        continue
      baselines = [TRAITS if variant else fitting.BASELINE]
      if method == TRAITS:
        baselines.append(SHARED)
      for baseline in baselines:
        paired = paired_runs(group_, name, f'{baseline}|{split}|{answers}|')
        if paired[0]:
          base = gain_base(group_, key, name) | {'baseline': baseline}
          row = gained(paired, replicates)
          gains.append({**base, 'judgements': 'all', **row})
      if not paired[0]:
        continue
      if base['role'] == 'personal' and not variant:
        quantile = np.linspace(0, 1, 101)
        _, personal = statistics.person_gain(*paired)
        people += [
          {**named(key, name), 'quantile': round(q, 2), 'gain': value}
          for q, value in zip(
            quantile.tolist(),
            np.quantile(personal, quantile).tolist(),
            strict=True,
          )
        ]
  return gains, people


def gains_by_judgements(
  groups: Mapping[Key, list[Cell]], splits: Sequence[str], replicates: int
) -> Iterator[dict[str, Any]]:
  """Yields the gain for people with few and with many training judgements.

  Args:
    groups: of cells.
    splits: of people who were seen.
    replicates: of the bootstrap over people.
  """
  for key, group_ in groups.items():
    count: dict[str, int] = {}
    for cell in group_:
      known = zip(cell.user_ids, cell.arrays['judgements'], strict=True)
      for person, judged in known:
        count[person] = max(count.get(person, 0), int(judged))
    for name in predictions(group_):
      method, split, answers, variant = name.split('|')
      if split not in splits or variant not in ('', TRAITS):
        continue
      if method == fitting.MAJORITY:
        continue
      base = gain_base(group_, key, name)
      if base['role'] != 'personal':
        continue
      baseline = TRAITS if variant else fitting.BASELINE
      base['baseline'] = baseline
      paired = paired_runs(group_, name, f'{baseline}|{split}|{answers}|')
      yield from _by_judgements(paired, count, base, replicates)


def _by_judgements(paired, count, base, replicates):
  for low, high in (*_BANDS, (50, 10**9)):
    inside = [
      np.array([low <= count[p] < high for p in run.person], bool)
      for run in paired[0]
    ]
    cut = [
      [
        run.take(chosen)
        for run, chosen in zip(side, inside, strict=True)
        if chosen.any()
      ]
      for side in paired
    ]
    if cut[0]:
      label = f'{low}+' if high == 10**9 else f'{low}-{high - 1}'
      yield {**base, 'judgements': label, **gained(cut, replicates)}


def gain_base(group_: Sequence[Cell], key: Key, name: str) -> dict[str, Any]:
  """Returns the columns that name a gain."""
  method = name.split('|')[0]
  role = next(
    cell.record['methods'][method]['role']
    for cell in group_
    if method in cell.record['methods']
  )
  return {**named(key, name), 'role': role, 'baseline': fitting.BASELINE}


def gained(paired, replicates: int) -> dict[str, Any]:
  """Returns a gain with its intervals, over people alone beside the others.

  Args:
    paired: from `paired_runs`.
    replicates: of the bootstrap over people.
  """
  row = statistics.paired_gain(*paired, replicates=replicates)
  if row['resampled'] == 'people':
    return row
  alone = statistics.paired_gain(
    *([run._replace(units=None) for run in side] for side in paired),
    replicates=replicates,
  )
  return row | {
    'gain_people_low': alone['gain_low'],
    'gain_people_high': alone['gain_high'],
  }


def control_table(groups: Mapping[Key, list[Cell]], replicates: int):
  """Returns the controls of personal methods and of the data."""
  rows = []
  for key, group_ in groups.items():
    names = predictions(group_)
    for name in names:
      method, split, answers, variant = name.split('|')
      plain = f'{method}|{split}|{answers}|'
      base = named(key, name)
      paired = paired_runs(group_, plain if variant else name, name)
      if not paired[0]:
        continue  # nobody said which of two is better
      if variant in ('swapped', 'population'):
        control = {
          'swapped': 'swapped_people',
          'population': 'population_coefficients',
        }[variant]
        row = statistics.paired_gain(*paired, replicates=replicates)
        rows.append(_control(base, control, 'accuracy difference', row, 'gain'))
      elif variant == 'flipped':
        rows.append(_flips(base, paired, replicates))
      elif variant == 'exchanged':
        gap = max(
          np.abs(np.asarray(run.probability) + other.probability - 1).max()
          for run, other in zip(*paired, strict=True)
        )
        known = {'people': None, 'pairs': None, 'value': float(gap)}
        rows.append(_control(base, 'exchange', 'largest gap', known, 'value'))
      elif method in (fitting.LENGTH, fitting.MAJORITY):
        row = statistics.summarize(paired[0], replicates=replicates)
        rows.append(_control(base, method, 'accuracy', row, 'accuracy'))
  return rows


def probes(
  problem: fitting.Problem, chosen: np.ndarray
) -> list[dict[str, Any]]:
  """Returns what format alone can tell of some judgements, a row a probe.

  Args:
    problem: whose texts are looked at.
    chosen: numbers of strict judgements.
  """
  judged = problem.judged.take(chosen)
  return leaks.rows(
    problem.texts,
    judged.inputs.index,
    judged.rows.label > 0.5,
    seed=problem.seed,
  )


def _control(base, control, quantity, row, name):
  return {
    **base,
    'control': control,
    'quantity': quantity,
    'value': row[name],
    'value_low': row.get(f'{name}_low'),
    'value_high': row.get(f'{name}_high'),
    'people': row['people'],
    'units': row.get('units'),
    'resampled': row.get('resampled'),
    'pairs': row['pairs'],
  }


def _flips(base, paired, replicates):
  """Returns the share of predictions that reversed answers turn round."""
  # As a run whose label is always 1 and whose choice is 1 where it turned.
  turned = [
    statistics.Run(
      ((run.probability > 0.5) != (other.probability > 0.5)).astype(float),
      np.ones(len(run.label)),
      run.person,
      run.units,
    )
    for run, other in zip(*paired, strict=True)
  ]
  row = statistics.summarize(turned, replicates=replicates)
  return _control(base, 'label_flip', 'share flipped', row, 'accuracy')


def recovery_table(groups: Mapping[Key, list[Cell]]) -> list[dict[str, Any]]:
  """Returns (accuracy - 0.5) / (oracle - 0.5) where the truth is known."""
  rows = []
  for key, group_ in groups.items():
    for name in predictions(group_):
      method, split, _, variant = name.split('|')
      if variant or method == fitting.MAJORITY:
        continue
      paired = paired_runs(group_, name, f'{split}#oracle')
      if paired[0]:
        rows.append({**named(key, name), **recovered(*paired)})
  return rows


def recovered(
  method: Sequence[statistics.Run], oracle: Sequence[statistics.Run]
) -> dict[str, Any]:
  """Returns (accuracy - 0.5) / (oracle - 0.5), over people and units.

  Args:
    method: predictions with their units, one run a seed.
    oracle: the true probabilities of the same rows.
  """
  mine, best = (
    margins.correct(
      np.concatenate([margins.margin(r.probability, r.label) for r in runs])
    )
    for runs in (method, oracle)
  )
  units_ = [run.units for run in method if run.units is not None]
  shared = intervals.crossing(
    np.concatenate([run.person for run in method]),
    np.concatenate([u.of for u in units_]),
  )
  ratio = intervals.crossed(mine - 0.5, best - 0.5, shared)
  return {
    'resampled': f'people and {units_[0].name}',
    'people': ratio.first,
    'units': ratio.second,
    'pairs': round(len(mine) / len(method)),
    'seeds': len(method),
    'accuracy': float(mine.mean()),
    'oracle': float(best.mean()),
    **columns.interval('ratio', ratio),
  }


def calibration_table(groups: Mapping[Key, list[Cell]]):
  """Returns confidence and accuracy by bin, for people with all answers."""
  rows = []
  for key, group_ in groups.items():
    for name in predictions(group_):
      method, _, answers, variant = name.split('|')
      if variant or answers != 'all' or method == fitting.MAJORITY:
        continue
      known = runs(group_, name)
      rows += [
        {**named(key, name), **row} for row in statistics.calibration(known)
      ]
  return rows


def choice_table(loaded: Sequence[Cell]) -> list[dict[str, Any]]:
  """Returns what every search chose, and what it cost."""
  return [
    {
      'data': cell.data,
      'features': cell.features,
      **{k: cell.record[k] for k in ('regime', 'fold') if k in cell.record},
      'seed': cell.seed,
      'method': method,
      'configurations': max(1, len(record['scores'])),
      'choice': json.dumps(record['choice'], sort_keys=True),
      'search_seconds': record['search_seconds'],
      'fit_seconds': record['fit_seconds'],
      'active_units': record.get('active_units'),
      'kl_nats': record.get('kl'),
    }
    for cell in loaded
    for method, record in cell.record['methods'].items()
    if 'choice' in record
  ]


def prediction_lines(groups: Mapping[Key, list[Cell]]) -> Iterator[str]:
  """Yields one JSON line for every prediction that a table counts."""
  for key, group_ in groups.items():
    for cell in group_:
      for name in predictions([cell]):
        if name.split('|')[3]:
          continue
        head = json.dumps({**named(key, name), 'seed': cell.seed})[:-1]
        split = name.split('|')[1]
        users = cell.user_ids[cell.arrays[f'{split}#user']]
        prompts = cell.prompt_ids[cell.arrays[f'{split}#prompt']]
        for user, prompt, p, label in zip(
          users.tolist(),
          prompts.tolist(),
          cell.arrays[name].tolist(),
          cell.arrays[f'{split}#label'].tolist(),
          strict=True,
        ):
          if p == p:  # not NaN
            yield (
              f'{head}, "user_id": {json.dumps(user)}, "prompt_id": '
              f'{json.dumps(prompt)}, "probability": {p:.4f}, '
              f'"label": {label:g}}}\n'
            )
