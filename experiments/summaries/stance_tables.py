"""Rows of results.json on stances of people, and on what is served of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import measured
from experiments.summaries import stances
from prm_jax.audits import echo_chamber, sycophancy
from prm_jax.lab import columns, units
from prm_jax.ops import intervals, opinions

Row = dict[str, Any]
Made = Mapping[str, Sequence[units.Unit]]  # label -> a unit of each seed
STRATA: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
  'all': np.ones_like,
  'lovers': np.asarray,
  'others': np.logical_not,
}
MOST = 3.0  # utility of an answer


def _cells(made, name: str) -> list[measured.Cell]:
  return [
    measured.Cell(
      unit.record['seed'],
      unit.arrays['person'],
      unit.arrays[name].astype(float),
    )
    for unit in made
    if name in unit.arrays
  ]


def sycophancy_rows(
  world: str,
  made: Made,
  ways: Iterable[str] = tuple(stances.SAID),
  most: float = MOST,
) -> list[Row]:
  """Returns how far what is served follows what people say they think.

  `gap`: how much more of a stance people are served than their twins who say
  the opposite, in either direction half of it; `flagged_seeds` in which it is
  shown. `false`: P(agrees) where the person is wrong, a middle answer counting
  half, and `false_more` than by the frozen aggregate. `variance`: of stances
  between people that does not hang on single questions, and more of it than
  by the aggregate, whose stances differ by what people's opinions are about.
  `fit`: the utility of
  what is served over the aggregate's, `fit_lost` what a safeguard takes of it,
  `fit_kept` the share that is left. `carried`: summaries that say the opinion.

  Args:
    world: of the units.
    made: of every method, the aggregate among them.
    ways: in which opinions are said.
    most: utility of an answer, 0 being the least.
  """
  base = made[stances.AGGREGATE]
  rows = []
  for label, some in made.items():
    for said in ways:
      for guard in stances.GUARDS:
        start = f'{said}|{guard}'
        if f'{start}|gap' not in some[0].arrays:
          continue
        row: Row = {'world': world, 'method': label}
        row |= {'said': said, 'safeguard': guard}
        row |= _stances(some, base, start, said)
        if label != stances.AGGREGATE:
          row |= _fits(some, base, said, guard, most)
        carried = _cells(some, f'{said}|carried')
        if carried:
          row |= measured.mean('carried', carried)
        people = sum(len(unit.arrays['person']) for unit in some)
        rows.append({**row, 'people': people, 'seeds': len(some)})
  return rows


def _stances(some, base, start: str, said: str) -> Row:
  gap, false = (_cells(some, f'{start}|{name}') for name in ('gap', 'false'))
  row = measured.mean('gap', gap, least=-1.0)
  row['flagged_seeds'] = sum(
    sycophancy.flag(cell.value).flagged for cell in gap
  )
  row |= measured.mean('false', false)
  row |= measured.gain('false_more', false, _cells(base, f'{said}|none|false'))
  row |= columns.mean('variance', [_variance(unit, start) for unit in some])
  seeds = {u.record['seed']: _variance(u, f'{said}|none') for u in base}
  more = [
    _variance(unit, start) - seeds[unit.record['seed']]
    for unit in some
    if unit.record['seed'] in seeds
  ]
  return row | columns.mean('variance_more', more)


def _variance(unit: units.Unit, start: str) -> float:
  """Returns the variance of stances that both halves of questions share."""
  one, other = (
    jnp.asarray(unit.arrays[f'{start}|{half}']) for half in ('one', 'other')
  )
  return float(opinions.split_half_variance(one, other))


def _fits(some, base, said: str, guard: str, most: float) -> Row:
  mine, bare = (_cells(some, f'{said}|{name}|fit') for name in (guard, 'none'))
  plain = _cells(base, f'{said}|none|fit')
  row = measured.gain('fit', mine, plain, most=most)
  if guard == 'none':
    return row
  row |= measured.gain('fit_lost', bare, mine, most=most)
  known = {cell.seed: cell for cell in plain}
  kept, whole = (
    np.array([cell.less(known[cell.seed]).value.mean() for cell in each])
    for each in (mine, bare)
  )
  return row | columns.interval('fit_kept', intervals.ratio(kept, whole))


def echo_rows(world: str, made: Made, most: float = MOST) -> list[Row]:
  """Returns what the closed loop did to people.

  `polarization`: variance of opinions at the end, and `more` than by the
  aggregate on the same people; `own_side`: how far people have moved to the
  side on which they were; `cross_cutting`: of what was served with a stance,
  the share that disagrees with the opinion at the start; `variance` of stances
  served between people, of odd and even rounds; `fit`: utility of what was
  served.

  Args:
    world: of the units.
    made: of every method, the aggregate among them.
    most: utility of an answer, 0 being the least.
  """
  base = made[stances.AGGREGATE]
  rows = []
  for label, some in made.items():
    for guard in stances.GUARDS:
      if f'loop|{guard}|opinion' not in some[0].arrays:
        continue
      for who, chosen in STRATA.items():
        row: Row = {'world': world, 'method': label, 'safeguard': guard}
        row |= {'people_who': who, **_of_stratum(some, guard, chosen, most)}
        if label != stances.AGGREGATE:
          seeds = {unit.record['seed']: unit for unit in base}
          more = [
            polarization(unit, guard, chosen)
            - polarization(seeds[unit.record['seed']], 'none', chosen)
            for unit in some
            if unit.record['seed'] in seeds
          ]
          row |= columns.mean('more', more)
        rows.append({**row, 'seeds': len(some)})
  return rows


def polarization(unit: units.Unit, guard: str, chosen: Callable) -> float:
  """Returns the variance of opinions after the loop, NaN of nobody.

  Args:
    unit: of a seed.
    guard: of `stances.GUARDS`.
    chosen: of `STRATA`.
  """
  rows = np.asarray(chosen(unit.arrays['loves']), bool)
  end = unit.arrays[f'loop|{guard}|opinion'][-1][rows]
  if not len(end):
    return float('nan')
  return float(opinions.polarization(jnp.asarray(end))) / len(end)


def _of_stratum(some, guard: str, chosen, most: float) -> Row:
  found: dict[str, list[measured.Cell]] = {
    'own_side': [],
    'cross_cutting': [],
    'fit': [],
  }
  variance, spread = [], []
  for unit in some:
    arrays = unit.arrays
    rows = np.asarray(chosen(arrays['loves']), bool)
    opinion, stance, fit = (
      arrays[f'loop|{guard}|{name}'][:, rows]
      for name in ('opinion', 'stance', 'utility')
    )
    start = arrays['start'][rows]
    values = {
      'own_side': np.sign(start) * (opinion[-1] - start),
      'cross_cutting': np.asarray(
        opinions.cross_cutting(jnp.asarray(start), jnp.asarray(stance.T))
      ),
      'fit': fit.mean(0),
    }
    for name, value in values.items():
      cell = measured.Cell(unit.record['seed'], arrays['person'][rows], value)
      found[name].append(cell)
    counts = np.ones(stance.shape, bool)
    variance.append(echo_chamber.over_rounds(stance, counts))
    spread.append(polarization(unit, guard, chosen))
  row = columns.mean('polarization', spread)
  row |= measured.mean('own_side', found['own_side'], least=-2.0, most=2.0)
  cross = measured.finite(found['cross_cutting'])
  row |= measured.mean('cross_cutting', cross)
  row |= columns.mean('variance', variance)
  return row | measured.mean('fit', found['fit'], most=most)
