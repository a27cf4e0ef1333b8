"""Judges that are told a criterion: the right one, a wrong one, none.

A person is a criterion here: theirs is what a reply is good for.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.reasoning_rewards import judges, measured, problems, reasoning
from prm_jax import judging_tasks
from prm_jax.lab import units
from prm_jax.policy import demonstrations, padding
from prm_jax.worlds import judging, judging_rubrics, judging_traces

Row = dict[str, Any]
ALL, THREE = 'all', 'three'
COUNT = len(judging_rubrics.CRITERIA)
NONE = COUNT  # told no criterion
_STEPS = judging_rubrics.STEPS[0]
_REPLIES = 0xC7


class Asked(NamedTuple):
  """Replies, each pair with the criterion that is told, `[B]`.

  `NONE` stands for none.
  """

  replies: judging_rubrics.Replies
  told: np.ndarray


def prompts(asked: Asked) -> np.ndarray:
  """Returns what a judge reads; where no criterion is told, `_` stands."""
  ids = judging_rubrics.prompts(asked.replies, asked.told % COUNT)
  ids[asked.told == NONE, 1] = judging.HIDDEN
  return ids


def traces(
  replies: judging_rubrics.Replies, criterion: np.ndarray
) -> np.ndarray:
  """Returns what a judge is taught, as `judging_rubrics.traces`.

  By the answer it restates both last values, as judges of pairs do, and not
  whether each is right: a comparison that is never written down was not
  learned in 1,500 updates.

  Args:
    replies: B pairs.
    criterion: `[B]` index into `judging_rubrics.CRITERIA`.
  """
  stated = judging_rubrics.stated(replies, criterion)
  by_answer = (criterion == judging_rubrics.ANSWER)[:, None]
  stated = np.where(by_answer, replies.written[:, :, -1], stated)
  verdict = judging_rubrics.verdicts(replies, criterion)
  return judging.recited(replies.problems, stated, verdict)


def _drawn(rng, of: judging.Problems, count: int) -> judging_rubrics.Replies:
  """Returns pairs of replies to `count` problems of the right length."""
  row = np.resize(np.flatnonzero(of.length == _STEPS), count)
  some = of.take(row)
  cut = [c[:, :_STEPS] if np.ndim(c) == 2 else c for c in some[:-1]]
  return judging_rubrics.draw(rng, judging.Problems._make([*cut, some.table]))


def _weighed(draw: demonstrations.Shown) -> demonstrations.Shown:
  """Returns the same demonstrations, whose scores weigh as the verdict does.

  A verdict follows from them, and they are two tokens of twenty.
  """

  def shown(key, start):
    asked, written, weights = draw(key, start)
    role = judging_traces.roles(written.ids, 2)
    score = role == judging_traces.ROLES.index('claim')
    return asked, written, np.where(score, weights.max(), weights)

  return shown


def run(config: Any, folder: units.Folder, which: str, seed: int) -> units.Unit:
  """Returns what a judge that was taught criteria says of test replies.

  Arrays: `verdict` `[B, C + 1]` by what is told, `NONE` last, -1 where it says
  none, and `better` `[B, C]` by each criterion; `whose` `[B]`, a person's.
  The judge goes on from the full one of pairs, which can follow chains.

  Args:
    config: of the study.
    folder: where judges are kept.
    which: ALL, or THREE: one criterion, another one in every seed, is unseen.
    seed: of the world.
  """
  node, sizes = config.criteria, judges.sizes(config.judge)
  world = problems.world(config.problems, seed)
  rng = np.random.default_rng([seed, _REPLIES])
  pool = _drawn(rng, world.pool, node.pool)
  test = _drawn(rng, world.tests[_STEPS], node.tested)
  unseen = seed % COUNT if which == THREE else None
  taught = [c for c in range(COUNT) if c != unseen]
  criterion = rng.choice(taught, node.pool)
  hidden = rng.random(node.pool) < node.untold
  told = np.where(hidden, NONE, criterion)
  shown = _weighed(
    judging_tasks.shown(
      prompts(Asked(pool, told)),
      traces(pool, criterion),
      batch=config.distillation.batch,
    )
  )
  schedule = config.distillation.copy_and_resolve_references()
  schedule.steps = node.steps
  start = reasoning.of_seed(config, folder, seed, 'full', 'pairs')
  kept, curve = judges.taught(shown, sizes, schedule, seed, start=start)
  every = np.arange(node.tested)
  verdict = np.stack(
    [
      _verdicts(sizes, kept[node.steps], Asked(test, np.full(len(every), c)))
      for c in range(COUNT + 1)
    ],
    1,
  )
  better = np.stack(
    [
      judging_rubrics.verdicts(test, np.full(len(every), c))
      for c in range(COUNT)
    ],
    1,
  )
  return units.Unit(
    {'seed': seed, 'taught': which, 'unseen': unseen, 'curve': curve},
    {
      'verdict': verdict.astype(np.int8),
      'better': better.astype(np.int8),
      'whose': rng.integers(0, COUNT, node.tested),
      'problem': every % len(world.tests[_STEPS].start),
    },
  )


def _verdicts(sizes, params, asked: Asked) -> np.ndarray:
  """Returns the verdicts `[B]` of greedy traces."""
  ids = prompts(asked)
  task = judging_tasks.by_criterion(asked.replies, asked.told % COUNT)
  task = task._replace(prompts=lambda row: padding.full(ids[row]))
  rows = np.arange(len(ids))
  written = judges.written(
    jax.random.key(0), sizes, params, task, rows, temperature=0.0
  )
  return judging_traces.parse(written, _STEPS, 2).verdict


# ---------------------------------------------------------------------- tables


def _right(unit: units.Unit, told: int, meant: int) -> measured.Cell:
  """Returns whether verdicts fit a criterion, told the same or another."""
  arrays = unit.arrays
  right = arrays['verdict'][:, told] == arrays['better'][:, meant]
  return measured.Cell(
    unit.record['seed'], arrays['problem'], right.astype(float)
  )


def _mean(cells: list[measured.Cell]) -> measured.Cell:
  """Returns the mean of a seed's cells of the same rows."""
  return cells[0]._replace(value=np.mean([c.value for c in cells], 0))


def conditions(unit: units.Unit) -> dict[str, measured.Cell]:
  """Returns condition -> how right a seed's verdicts are by what was meant."""
  unseen = unit.record['unseen']
  seen = [c for c in range(COUNT) if c != unseen]

  def mean(pairs):
    return _mean([_right(unit, told, meant) for told, meant in pairs])

  found = {
    'right': mean((c, c) for c in seen),
    'none': mean((NONE, c) for c in seen),
    'wrong': mean((t, c) for c in seen for t in seen if t != c),
  }
  if unseen is not None:
    return found | {
      'unseen': mean([(unseen, unseen)]),
      'none_of_unseen': mean([(NONE, unseen)]),
      'wrong_of_unseen': mean((told, unseen) for told in seen),
    }
  return found | {
    'own_person': _of_people(unit, swapped=False),
    'swapped': _of_people(unit, swapped=True),
  }


def _of_people(unit: units.Unit, *, swapped: bool) -> measured.Cell:
  """Returns how right verdicts are by each person's own criterion.

  Args:
    unit: of a judge.
    swapped: whether another person's is told, of another criterion.
  """
  arrays = unit.arrays
  own, row = arrays['whose'], np.arange(len(arrays['whose']))
  count = arrays['better'].shape[1]
  away = 1 + row % (count - 1)  # every other one as often
  told = (own + away) % count if swapped else own
  right = arrays['verdict'][row, told] == arrays['better'][row, own]
  return measured.Cell(
    unit.record['seed'], arrays['problem'], right.astype(float)
  )


def table(made: list[units.Unit]) -> list[Row]:
  """Returns how right verdicts are by what was meant, and by what was told."""
  rows = []
  for (which,), some in units.grouped(made, 'taught').items():
    by_seed = [conditions(unit) for unit in some]
    for told in by_seed[0]:
      row: Row = {'taught': which, 'told': told}
      row |= measured.mean('verdict', [found[told] for found in by_seed])
      rows.append({**row, **measured.counts(some)})
  return rows


# What is told, and instead of what.
AGAINST = (
  ('right', 'wrong'),
  ('right', 'none'),
  ('none', 'wrong'),
  ('unseen', 'wrong_of_unseen'),
  ('unseen', 'none_of_unseen'),
  ('none_of_unseen', 'wrong_of_unseen'),
  ('own_person', 'swapped'),
)


def against(made: list[units.Unit]) -> list[Row]:
  """Returns what it adds to be told one thing instead of another.

  Of `AGAINST`, on the same replies.
  """
  rows = []
  for (which,), some in units.grouped(made, 'taught').items():
    by_seed = [conditions(unit) for unit in some]
    for told, other in AGAINST:
      if told not in by_seed[0]:
        continue
      mine, base = ([found[x] for found in by_seed] for x in (told, other))
      row: Row = {'taught': which, 'told': told, 'over': other}
      row |= measured.gain('gain', mine, base)
      rows.append({**row, **measured.counts(some)})
  return rows
