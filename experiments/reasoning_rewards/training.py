"""What a weak judge learns from being right: reinforcement and imitation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.reasoning_rewards import judges, measured, problems, reasoning
from prm_jax import judging_tasks, types
from prm_jax.lab import columns, curves, units
from prm_jax.policy import tasks
from prm_jax.worlds import judging, judging_traces

Row = dict[str, Any]
# Methods that differ in one thing alone, and start from the same judge: is
# rejected or not, are there hints, are both orders rewarded together, are both
# solutions of a problem.
AGAINST = (
  ('rejective', 'rejective_nothing'),
  ('rejective_hinted', 'rejective_unhinted'),
  ('grpo_consistent', 'grpo_pairs'),
  ('grpo_ordered', 'grpo'),
)
# Rewards of single solutions, and the same of pairs.
FORMS = (('grpo', 'grpo_pairs'), ('grpo_ordered', 'grpo_pairs'))


class Method(NamedTuple):
  """What a judge learns from, beside the options of its learner.

  Attributes:
    start: one of `reasoning.STARTS`, whose weak judge is trained.
    rows: problems of a step; all are looked at once where it is 0.
    twos: whether rows are drawn in twos: both orders of a pair, or the right
      and the wrong solution of a problem.
    reward: 'verdict', 'consistent', 'ordered', see `judging_tasks`, or 'none':
      everything counts as right.
    hints: whether unsolved problems are asked once more with a hint.
    problems: rows that are trained on; all if 0.
  """

  start: str = 'start'
  rows: int = 0
  twos: bool = False
  reward: str = 'verdict'
  hints: bool = False
  problems: int = 0


def run(config: Any, folder: units.Folder, label: str, seed: int) -> units.Unit:
  """Returns what a seed's weak judge says before and after training.

  Both are drawn at temperature 1 on the same tests. Arrays are `before|NAME`
  and `after|NAME`, by pair.

  Args:
    config: of the study.
    folder: where judges are kept.
    label: of the method, a node of `config.training.methods`.
    seed: of the world.
  """
  node = config.training.methods[label].to_dict()
  method = Method(**node.pop('method'))
  steps = node.pop('steps')
  form = reasoning.STARTS[method.start].form
  sizes = judges.sizes(config.judge)
  world = problems.world(config.problems, seed)
  given = problems.trained(world, seed, form)
  if method.problems:
    given = problems.spread(given, method.problems)
  if form == problems.PAIRWISE and method.twos:
    given = judging.both_orders(given)
  parts: Row = {'task': _task(method, given, node), 'config': sizes}
  if method.hints:
    parts['hints'] = judging_tasks.hints(given)
  if node['kind'] == 'rejective':
    parts['weigh'] = judging_traces.weights
  start = reasoning.of_seed(config, folder, seed, 'weak', method.start)
  rows = np.arange(len(given.right))
  params, curve = judges.fitted(
    curves.learner(node, steps, **parts),
    start,
    seed,
    problems=rows.reshape(-1, 2) if method.twos else rows,
    batch=method.rows // 2 if method.twos else method.rows,
    every=max(steps // config.training.windows, 1),
  )
  return units.Unit(
    {'seed': seed, 'method': label, 'form': form, 'curve': curve},
    compared(config, world, form, seed, start, params),
  )


def _task(method: Method, given: judging.Judgements, node: Row) -> tasks.Task:
  """Returns what is judged, and how that is rewarded."""
  if method.reward == 'consistent':
    return judging_tasks.consistent(given, samples=node['samples'])
  if method.reward == 'ordered':
    return judging_tasks.ordered(given, samples=node['samples'])
  task = judging_tasks.judgements(given)
  if method.reward == 'none':
    return task._replace(verify=_all_right)
  return task


def _all_right(problem: np.ndarray, answers: types.Tokens) -> np.ndarray:
  del answers
  return np.ones(len(problem), np.float32)


def compared(
  config: Any,
  world: problems.World,
  form: str,
  seed: int,
  start: types.PyTree,
  params: types.PyTree,
) -> dict[str, np.ndarray]:
  """Returns what judges before and after training say of the same tests."""
  sizes = judges.sizes(config.judge)
  given = problems.held_out(
    world,
    seed,
    *config.problems.lengths,
    form=form,
    count=config.training.tested,
  )
  outcomes = _alone if form == problems.POINTWISE else _together
  arrays = measured.rows_of(given, 2 if form == problems.POINTWISE else 1)
  for name, judge in (('before', start), ('after', params)):
    found = outcomes(jax.random.key(seed), sizes, judge, given)
    arrays |= {f'{name}|{key}': value for key, value in found.items()}
  return arrays


def _alone(key, sizes, params, given: judging.Judgements):
  """Returns outcomes of single solutions, `[P, 2]`: the right one first."""
  said, _ = judges.judged(key, sizes, params, given)
  return {
    name: getattr(said.grades, name).reshape(-1, 2)
    for name in ('verdict', 'chain', 'whole')
  }


def _together(key, sizes, params, given: judging.Judgements):
  """Returns outcomes of pairs, `[P, 2]`: as given, and the other way round.

  `flips` is `[P]`: the order decides, which of two texts that say something
  prefer the same place. `both` is `[P]`: right in both orders.
  """
  said, other = (
    judges.judged(jax.random.fold_in(key, i), sizes, params, rows)[0]
    for i, rows in enumerate((given, judging.swapped(given)))
  )
  both = {
    name: np.stack([getattr(said.grades, name), getattr(other.grades, name)], 1)
    for name in ('verdict', 'chain', 'whole')
  }
  whole = both['whole'].all(1)
  return {
    **both,
    'flips': np.where(whole, said.verdict == other.verdict, np.nan),
    'both': both['verdict'].min(1),
  }


# ---------------------------------------------------------------------- tables


def _cells(made, name: str, place: int | None = None) -> list[measured.Cell]:
  """Returns an outcome of every seed; `place` is of the two texts of a pair."""

  def value(arrays):
    found = arrays[name]
    return found if place is None or found.ndim == 1 else found[:, place]

  some = measured.cells(made, value)
  return measured.finite(some)


def table(made: Sequence[units.Unit]) -> list[Row]:
  """Returns outcomes before and after training, and what it adds.

  Gains are paired by problem; where an outcome is not there both times (a
  text that says nothing has no order that decides), the row is left out.
  """
  rows = []
  for (method, form), some in units.grouped(made, 'method', 'form').items():
    row: Row = {'method': method, 'form': form}
    names = [
      name.removeprefix('before|')
      for name in some[0].arrays
      if name.startswith('before|')
    ]
    for name in names:
      for when in ('before', 'after'):
        row |= measured.mean(f'{name}_{when}', _cells(some, f'{when}|{name}'))
      gains = measured.finite(_gains(some, name))
      row |= measured.mean(f'{name}_gain', gains, least=-1.0)
    rows.append({**row, **measured.counts(some)})
  return rows


def _gains(made, name: str) -> list[measured.Cell]:
  """Returns after less before; NaN where either is not there."""
  return measured.cells(
    made, lambda arrays: arrays[f'after|{name}'] - arrays[f'before|{name}']
  )


def against(made: Sequence[units.Unit]) -> list[Row]:
  """Returns what one method adds less what another does, of `AGAINST`.

  After less before of the one, minus the same of the other, of seeds that both
  have: they start from one judge and are asked the same problems, and rows are
  paired by both.
  """
  rows = []
  for method, other, some, base in _twos(made, AGAINST):
    row: Row = {'method': method, 'over': other, 'form': some[0].record['form']}
    for name in _OUTCOMES:
      if f'after|{name}' in some[0].arrays:
        row |= measured.gain(
          f'{name}_gain', _gains(some, name), _gains(base, name), most=2.0
        )
    rows.append({**row, **measured.counts(some)})
  return rows


_OUTCOMES = ('verdict', 'chain', 'whole', 'flips', 'both')


def _twos(made, names: Sequence[tuple[str, str]]):
  """Yields two methods and their units, of seeds that both have."""
  by: dict[str, dict[int, units.Unit]] = {}
  for unit in made:
    by.setdefault(unit.record['method'], {})[unit.record['seed']] = unit
  for method, other in names:
    mine, base = by.get(method, {}), by.get(other, {})
    seeds = [seed for seed in mine if seed in base]
    if seeds:
      yield (
        method,
        other,
        [mine[seed] for seed in seeds],
        [base[seed] for seed in seeds],
      )


def loophole(made: Sequence[units.Unit]) -> list[Row]:
  """Returns how often a verdict is right whose chain is wrong, by form.

  Of single solutions `right` and `wrong` ones apart: a judge that errs says
  that a solution is wrong. Of pairs both together. The change is of texts that
  are not the same, whose chains are wrong before and after.
  """
  rows = []
  for (method, form), some in units.grouped(made, 'method', 'form').items():
    parts = _SOLUTIONS if form == problems.POINTWISE else {'all': None}
    for solution, place in parts.items():
      row: Row = {'method': method, 'form': form, 'solution': solution}
      cells = {when: _lucky(some, when, place) for when in ('before', 'after')}
      for when, each in cells.items():
        row |= measured.mean(f'lucky_{when}', each)
      row |= measured.apart('lucky_gain', cells['after'], cells['before'])
      rows.append({**row, **measured.counts(some)})
  return rows


_SOLUTIONS: dict[str, int | None] = {'all': None, 'right': 0, 'wrong': 1}


def loophole_against(made: Sequence[units.Unit]) -> list[Row]:
  """Returns by how much luck of single solutions exceeds that of pairs.

  Differences of what `loophole` has, of `FORMS`, on the same problems.
  """
  rows = []
  for method, other, some, base in _twos(made, FORMS):
    for solution, place in _SOLUTIONS.items():
      row: Row = {'method': method, 'over': other, 'solution': solution}
      for when in ('before', 'after'):
        row |= measured.apart(
          f'lucky_{when}', _lucky(some, when, place), _lucky(base, when, None)
        )
      rows.append({**row, **measured.counts(some)})
  return rows


def _lucky(made, when: str, place: int | None) -> list[measured.Cell]:
  """Returns verdicts of whole texts whose chain is wrong."""

  def value(arrays):
    chain, whole = arrays[f'{when}|chain'], arrays[f'{when}|whole']
    counts = (chain == 0) & (whole == 1)
    found = np.where(counts, arrays[f'{when}|verdict'], np.nan)
    return found if place is None else found[:, place]

  some = measured.cells(made, value)
  return measured.finite(some)


def curves_of(made: Sequence[units.Unit]) -> list[Row]:
  """Returns the reward along the updates, of each method."""
  rows = []
  for (method,), some in units.grouped(made, 'method').items():
    windows = [unit.record['curve'] for unit in some]
    for at in zip(*windows, strict=True):
      if 'reward' not in at[0]:
        continue
      row: Row = {'method': method, 'step': at[0]['step'], 'seeds': len(some)}
      row |= columns.mean('reward', [window['reward'] for window in at])
      rows.append(row)
  return rows
