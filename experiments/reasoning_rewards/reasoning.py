"""Judges that write a chain: how they are taught, and what they get right."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.reasoning_rewards import judges, measured, problems
from prm_jax import judging_tasks, types
from prm_jax.lab import units
from prm_jax.models import constraints, decoder
from prm_jax.worlds import judging, judging_grammar, judging_traces

Row = dict[str, Any]
_STEPS = ('label', 'operation', 'value')  # roles that every step has
_TRAINED = 4  # steps of the longest chain in training


class Start(NamedTuple):
  """A kind of judges to start from.

  Attributes:
    form: of what is judged.
    hinted: share of what it was taught whose prompt gives the verdict away, so
      that it can make use of hints.
  """

  form: str
  hinted: float = 0.0


# Name of the units -> what they are.
STARTS = {
  'start': Start(problems.POINTWISE),
  'pairs': Start(problems.PAIRWISE),
  'hinted': Start(problems.POINTWISE, 0.2),
}


def start(config: Any, name: str, seed: int) -> units.Unit:
  """Returns a seed's judges of one of `STARTS`, `full` and `weak`.

  The weak one is that of the same run whose single verdicts, drawn at
  temperature 1, are nearest to `aim` on problems to choose on.
  """
  form, hinted = STARTS[name]
  sizes, node = judges.sizes(config.judge), config.distillation
  world = problems.world(config.problems, seed)
  # The right and the wrong solution of a problem are shown together.
  shown = judging_tasks.traces(
    problems.trained(world, seed, form),
    batch=node.batch,
    side_by_side=2 if form == problems.POINTWISE else 1,
    hinted=hinted,
  )
  kept, curve = judges.taught(shown, sizes, node, seed, every=node.every)
  verdict = verdicts(sizes, problems.chosen(world, seed, form))
  step, seen = judges.weak(kept, verdict, node.aim)
  record = {
    'seed': seed,
    'start': name,
    'weak_step': step,
    'weak_validation': seen[step],
    'validation': sorted(seen.items()),
    'curve': curve,
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(kept[step])),
  }
  return units.Unit(
    record,
    judges.arrays(kept[node.steps], 'full') | judges.arrays(kept[step], 'weak'),
  )


def verdicts(sizes: decoder.DecoderConfig, given: judging.Judgements):
  """Returns `params -> share` of right verdicts, drawn at temperature 1."""
  task = judging_tasks.judgements(given)
  rows = np.arange(len(given.right))

  def verdict(params):
    ids = judges.written(jax.random.key(0), sizes, params, task, rows)
    return float(judging_traces.grade(given, ids).verdict.mean())

  return verdict


def needed(
  config: Any, folder: units.Folder, name: str, seed: int
) -> units.Unit:
  """Returns the unit of a seed's judges; see `start`."""
  return judges.made(
    folder, f'{name}-{seed}', lambda: start(config, name, seed)
  )


def of_seed(
  config: Any, folder: units.Folder, seed: int, which: str, name: str = 'start'
) -> types.PyTree:
  """Returns a seed's judge, `full` or `weak`, of one of `STARTS`."""
  unit = needed(config, folder, name, seed)
  return judges.read(unit, judges.sizes(config.judge), which)


def examined(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns what the full judge says of all tests, greedily.

  Arrays are by pair, the right solution's first where there are two; `forced`
  in the record is by part of the trace.
  """
  sizes = judges.sizes(config.judge)
  params = of_seed(config, folder, seed, 'full')
  world = problems.world(config.problems, seed)
  arrays: dict[str, np.ndarray] = {}
  forced: list[Row] = []
  for lengths in (config.problems.lengths, config.problems.beyond):
    if not lengths:
      continue
    given = problems.held_out(world, seed, *lengths)
    said, _ = judges.judged(
      jax.random.key(0), sizes, params, given, temperature=0.0
    )
    for key, value in outcomes(given, said).items():
      before = [arrays[key]] if key in arrays else []
      arrays[key] = np.concatenate([*before, value])
    forced += _parts(sizes, params, given)
  return units.Unit({'seed': seed, 'forced': forced}, arrays)


def constrained(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns what the full judge says where its traces are held to the problem.

  Of problems that are longer than all in training; see `judging_grammar`.
  """
  sizes = judges.sizes(config.judge)
  params = of_seed(config, folder, seed, 'full')
  world = problems.world(config.problems, seed)
  given = problems.held_out(world, seed, *config.problems.beyond)
  held = constraints.Constraint(
    judging_grammar.allow, judging_grammar.frame(given.problems, 1)
  )
  said, _ = judges.judged(
    jax.random.key(0), sizes, params, given, temperature=0.0, constraint=held
  )
  return units.Unit({'seed': seed}, outcomes(given, said))


def outcomes(
  given: judging.Judgements, said: judges.Judged
) -> dict[str, np.ndarray]:
  """Returns outcomes by pair, of rows right and wrong in turn."""

  def both(values):
    return values.reshape(-1, 2).astype(np.float32)

  return {
    **measured.rows_of(given, 2),
    'pair': judges.preferred(said.margin).astype(np.float32),
    'tokens': both(said.tokens),
    **{
      name: both(getattr(said.grades, name))
      for name in ('verdict', 'chain', 'copied', 'whole')
    },
  }


def _parts(sizes, params, given) -> list[Row]:
  """Returns how often each part of a right trace is continued rightly."""
  right, role, step = judges.forced(sizes, params, given)
  length, rows = given.problems.length, []
  for K in np.unique(length):
    for number, name in enumerate(judging_traces.ROLES[1:], 1):
      place = (length[:, None] == K) & (role == number)
      parts = {'all': place}
      if name in _STEPS:  # those beyond the steps of training apart
        late = step >= _TRAINED
        parts = {'1-4': place & ~late, '5+': place & late}
      rows += [
        {
          'steps': int(K),
          'role': name,
          'part': part,
          'right': _share(right, at),
        }
        for part, at in parts.items()
        if at.any()
      ]
  return rows


def _share(right: np.ndarray, place: np.ndarray) -> float:
  return float(right[place].mean())
