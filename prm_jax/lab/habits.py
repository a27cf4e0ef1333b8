"""People's habits as a baseline of their own, and methods beside them.

Side, length and ties of a person are learned on top of the aggregate, whose
margins are cross-fitted so that habits are not explained away by its
overfitting. A method's own margins and the habits' are then added, with
weights chosen on validation rows: a gain of that sum over the aggregate with
habits is a gain beyond habits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.lab import fitting, rows, units
from prm_jax.ops import bayes, intervals, traits
from prm_jax.systems import inference

NAMES = ('side', 'length', 'ties')
SHARED = rows.SHARED
_PEOPLE, _ROWS = 512, 256  # that the population's habits are estimated from
_WEIGHT = 0.5  # standard deviation of a weight about 1 before validation
_CLIP = 1e-6

_infer = jax.jit(jax.vmap(traits.infer, (None, 0, 0, 0, 0)))
_estimate = jax.jit(traits.estimate)


def unit(
  problem: fitting.Problem,
  protocol: fitting.Protocol,
  choice: fitting.Choice,
  folds: np.ndarray,
  *,
  people: int,
  sets: fitting.FeatureSets,
) -> units.Unit:
  """Returns what the aggregate with everybody's habits predicts.

  Arrays are `SPLIT|ANSWERS|` probabilities; `...|shared_habits` those with
  the population's habits for everybody; `...|offset` what habits add to a
  margin, and `...|width` of ties; `validate_offset`, `validate_label` of the
  rows of `fitting.Searched.validate`, and `validate`, the aggregate's.

  Args:
    problem: the split data.
    protocol: what is asked.
    choice: of the aggregate.
    folds: `[n]` of training rows, for the aggregate's cross-fit.
    people: that searches look at.
    sets: the problem's features.
  """
  own, out = _aggregate(problem, choice, folds, sets)
  training = problem.split == fitting.TRAIN
  known = _Known(problem, sets, np.where(training, out, own))
  population = known.population(training)
  chosen = _validation(problem, people)
  offset = np.zeros(len(chosen))
  for round_ in np.unique(problem.inner[chosen]):
    here = problem.inner[chosen] == round_
    said = (problem.inner >= fitting.FIT) & (problem.inner != round_)
    offset[here], _ = known.of(population, said, chosen[here])
  arrays: dict[str, np.ndarray] = {
    'validate': _sigmoid(out[chosen]),
    'validate_offset': offset,
    'validate_label': np.asarray(problem.judged.rows.label)[chosen],
  }
  weights = _weights(arrays['validate'], arrays)
  for split, index in problem.index(protocol).items():
    new = split.startswith(fitting.NEW_PEOPLE)
    for answers in protocol.answers if new else ('all',):
      said = training
      if isinstance(answers, int):
        said = _first(problem, answers)
      offset, width = known.of(population, said, index)
      shared = known.shared(population, index)
      for variant, values in {
        '': _sigmoid(weights @ np.stack([own[index], offset])),
        SHARED: _sigmoid(weights @ np.stack([own[index], shared])),
        'offset': offset,
        'width': width,
      }.items():
        arrays[f'{split}|{answers}|{variant}'] = values.astype(np.float32)
  mean, variance = (np.asarray(leaf).tolist() for leaf in population)
  record = {
    'role': 'control',
    'choice': dict(choice),
    'scores': [],
    'search_seconds': 0.0,
    'fit_seconds': 0.0,
    'mean': dict(zip(NAMES, mean, strict=True)),
    'variance': dict(zip(NAMES, variance, strict=True)),
    'people': int(np.unique(problem.judged.rows.user[training]).size),
  }
  return units.Unit(record, arrays)


def beside(
  arrays: Mapping[str, np.ndarray], habits: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns a method's predictions with everybody's habits beside it.

  Args:
    arrays: of the method's unit.
    habits: of the habits' unit.

  Returns:
    `SPLIT|ANSWERS|traits` -> probabilities; none without validation rows.
  """
  if 'validate' not in arrays:
    return {}
  weights = _weights(arrays['validate'], habits)
  found = {}
  for key, p in arrays.items():
    if key.endswith('|') and f'{key}offset' in habits:
      both = np.stack([_logit(p), habits[f'{key}offset']])
      found[f'{key}{rows.TRAITS}'] = _sigmoid(weights @ both)
  return found


def tie_table(
  groups: Mapping[rows.Key, list[rows.Cell]],
) -> list[dict[str, Any]]:
  """Returns how well choices and ties are predicted, in nats and Brier scores.

  The aggregate with the population's width; with each person's habits; and
  every method with habits beside it. Nothing where nobody ties.
  """
  found = []
  for key, cells in groups.items():
    splits = {
      (split, answers)
      for cell in cells
      for method, split, answers, variant in (
        name.split('|') for name in rows.predictions([cell])
      )
      if method == rows.TRAITS and variant == 'width'
    }
    for split, answers in sorted(splits):
      for method in cells[0].record['methods']:
        row = _ties(cells, method, split, answers)
        if row is not None:
          name = f'{method}|{split}|{answers}|'
          found.append({**rows.named(key, name), **row})
  return found


def trait_table(
  groups: Mapping[rows.Key, list[rows.Cell]],
) -> list[dict[str, Any]]:
  """Returns how far people differ in their habits, cells averaged.

  In logits: for the side of the first answer; for one standard deviation more
  of log length; and for a tie between equals against a choice.
  """
  found = []
  for (data, _), cells in groups.items():
    known = [
      cell.record['methods'][rows.TRAITS]
      for cell in cells
      if rows.TRAITS in cell.record['methods']
    ]
    tied = any(
      (array == 0.5).any()
      for cell in cells
      for key, array in cell.arrays.items()
      if key.endswith('#label')
    )
    names = NAMES if tied else NAMES[:-1]
    for name in names if known else ():
      found.append(
        {
          'data': data,
          'trait': name,
          'mean': float(np.mean([r['mean'][name] for r in known])),
          'spread': float(np.mean([r['variance'][name] ** 0.5 for r in known])),
          'people': round(float(np.mean([r['people'] for r in known]))),
          'unit': 'logits',
        }
      )
  return found


# ------------------------------------------------------------------- beliefs


class _Known:
  """Habits of people from rows of a problem."""

  def __init__(self, problem, sets, margin: np.ndarray):
    self._problem = problem
    items = problem.judged.inputs.index
    length = sets['length'][:, 0]
    self._longer = (length[items[:, 0]] - length[items[:, 1]]).astype(
      np.float32
    )
    self._design = np.stack([np.ones_like(self._longer), self._longer], 1)
    self._margin = margin.astype(np.float32)
    label = np.asarray(problem.judged.rows.label)
    self._label = np.where(label == 0.5, 0.5, label > 0.5).astype(np.float32)

  def _given(self, index):
    return self._design[index], self._margin[index], self._label[index]

  def population(self, said: np.ndarray) -> traits.Population:
    """Returns the habits of those whose rows `[n]` these are."""
    user = np.asarray(self._problem.judged.rows.user)
    people = np.unique(user[said])
    rng = np.random.default_rng(self._problem.seed)
    people = np.sort(rng.permutation(people)[:_PEOPLE])
    index = np.zeros((_PEOPLE, _ROWS), np.int64)
    mask = np.zeros((_PEOPLE, _ROWS), np.float32)
    mine = np.flatnonzero(said & np.isin(user, people))
    mine = mine[np.argsort(user[mine], kind='stable')]
    for row, own in enumerate(
      np.split(mine, np.flatnonzero(np.diff(user[mine])) + 1)
    ):
      own = rng.permutation(own)[:_ROWS]
      index[row, : len(own)], mask[row, : len(own)] = own, 1
    wide = 1 << int(max(mask.sum(1).max(), 4) - 1).bit_length()
    tall = 1 << max(len(people) - 1, 1).bit_length()
    index, mask = index[:tall, :wide], mask[:tall, :wide]
    return _estimate(*self._given(index), mask)

  def shared(
    self, population: traits.Population, asked: np.ndarray
  ) -> np.ndarray:
    """Returns what the habits that everybody shares add to margins `[B]`."""
    return self._design[asked] @ np.asarray(population.mean)[:2]

  def of(
    self, population: traits.Population, said: np.ndarray, asked: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns what habits add to margins, and widths of ties, `[B]` each.

    Args:
      population: prior.
      said: `[n]` True for the rows that are known.
      asked: B rows.
    """
    judged = self._problem.judged.rows
    people = len(self._problem.user_ids)
    mode = np.tile(np.asarray(population.mean), (people, 1))
    given = judged._replace(mask=said.astype(np.float32))
    for group in inference.group_people(given):
      found = _infer(population, *self._given(group.rows), group.mask)
      real = group.people >= 0
      mode[group.people[real]] = np.asarray(found.mode)[real]
    mine = mode[np.asarray(judged.user)[asked]]
    return (self._design[asked] * mine[:, :2]).sum(1), mine[:, 2]


def _aggregate(problem, choice, folds, sets) -> tuple[np.ndarray, np.ndarray]:
  """Returns the aggregate's margins `[n]`, as fitted and cross-fitted."""
  node = {'kind': fitting.BASELINE}

  def said(training: types.Batch) -> np.ndarray:
    fitted = fitting.Fitted.fit(node, choice, problem, training, sets)
    nobody = fitted.contexts(problem.judged.masked(np.zeros(len(folds))))
    return _logit(fitted.predict(nobody, problem.judged))

  own = said(problem.training)
  out = own.copy()
  mask = np.asarray(problem.training.rows.mask) > 0
  for fold in np.unique(folds[mask]):
    if (mask & (folds != fold)).any():
      here = folds == fold
      out[here] = said(problem.judged.masked(mask & ~here))[here]
  return own, out


def _validation(problem: fitting.Problem, people: int) -> np.ndarray:
  """Returns the rows that searches are scored on."""
  inside = fitting.searched_rows(problem, people)
  role = problem.inner[inside] >= fitting.VALIDATE
  return inside[role & problem.strict[inside]]


def _first(problem: fitting.Problem, answers: int) -> np.ndarray:
  """Returns `[n]` the calibration rows before answer number `answers + 1`.

  Ties between these are known, too, and are not counted.
  """
  user = np.asarray(problem.judged.rows.user)
  given = problem.split == fitting.CALIBRATION
  order = np.argsort(user, kind='stable')
  counts = (given & problem.strict)[order].astype(int)
  total = np.cumsum(counts) - counts
  start = np.flatnonzero(np.diff(user[order], prepend=-1))
  before = np.zeros(len(user), int)
  size = np.diff([*start, len(user)])
  before[order] = total - np.repeat(total[start], size)
  return given & (before < answers)


def _weights(p: np.ndarray, habits: Mapping[str, np.ndarray]) -> np.ndarray:
  """Returns the weights of a method's margins and of habits' offsets."""
  label = habits['validate_label'] > 0.5
  both = np.stack([_logit(p), habits['validate_offset']], 1)
  prior = bayes.isotropic_prior(jnp.ones(2), _WEIGHT)
  pad = (1 << max(len(label) - 1, 1).bit_length()) - len(label)
  found = bayes.laplace(
    prior,
    jnp.asarray(np.pad(both, ((0, pad), (0, 0))), jnp.float32),
    jnp.asarray(np.pad(label.astype(np.float32), (0, pad))),
    jnp.asarray(np.pad(np.ones(len(label), np.float32), (0, pad))),
  )
  return np.maximum(np.asarray(bayes.coefficients(prior, found)), 0.0)


def _ties(cells: Sequence[rows.Cell], method, split, answers):
  """Returns a method's scores of choices and ties, None if there are none."""
  plain = method == fitting.BASELINE
  variant = '' if method in (fitting.BASELINE, rows.TRAITS) else rows.TRAITS
  key = f'{method}|{split}|{answers}|{variant}'
  parts = []
  for cell in cells:
    if key not in cell.arrays:
      continue
    width = cell.arrays[f'{rows.TRAITS}|{split}|{answers}|width']
    if plain:
      mean = cell.record['methods'][rows.TRAITS]['mean']['ties']
      width = np.full_like(width, mean)
    p, label = cell.arrays[key], cell.arrays[f'{split}#label']
    log_p = np.asarray(traits.log_probability(_logit(p), width), np.float64)
    hit = np.eye(3)[np.round(2 * (1 - label)).astype(int)]
    parts.append(
      (
        -(hit * log_p).sum(1),
        ((np.exp(log_p) - hit) ** 2).sum(1),
        label == 0.5,
        cell.user_ids[cell.arrays[f'{split}#user']],
        cell.unit_names[cell.arrays[f'{split}#unit']],
      )
    )
  if not parts:
    return None
  loss, brier, tie, person, unit_of = map(
    np.concatenate, zip(*parts, strict=True)
  )
  if not tie.any() or tie.all():
    return None
  _, number = np.unique(person, return_inverse=True)
  shared = intervals.crossing(number, unit_of)
  row: dict[str, Any] = {}
  for name, values in (('log_loss', loss), ('brier', brier)):
    one = intervals.crossed(values, np.ones(len(values)), shared)
    row |= {name: one.value, f'{name}_low': one.low, f'{name}_high': one.high}
  return row | {
    'tie_share': float(tie.mean()),
    'judgements': len(tie),
    'people': shared.first[1],
    'units': shared.second[1],
    'resampled': f'people and {cells[0].record["units"]}',
  }


def _logit(p: np.ndarray) -> np.ndarray:
  p = np.clip(np.asarray(p, np.float64), _CLIP, 1 - _CLIP)
  return np.log(p) - np.log1p(-p)


def _sigmoid(margin: np.ndarray) -> np.ndarray:
  return (1 / (1 + np.exp(-np.clip(margin, -500, 500)))).astype(np.float32)
