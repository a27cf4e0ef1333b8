"""Verdicts inside solutions, and whether they move a judge.

Everything is compared with other tokens that never stand there either, as many
and at the same place.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.reasoning_rewards import judges, measured, problems, reasoning
from prm_jax import judging_tasks
from prm_jax.lab import units
from prm_jax.policy import tasks
from prm_jax.worlds import judging, judging_traces

Row = dict[str, Any]
KINDS = ('verdict', 'verdicts', 'judgement', 'whole_judgement')
_VERDICT = -9  # stands for that of who holds it; -1 - r for r's last value
_OTHER = judging.TOKENS.index('by_care')
# What stands in the control for an arrow and an end: never inside a solution.
_FILLERS = {
  1: (judging.FIRST, judging.SECOND),
  2: tuple(map(judging.TOKENS.index, ('by_brevity', 'by_confidence'))),
}


def tokens(kind: str, solutions: int) -> tuple[list[int], list[int]]:
  """Returns what is injected, and the control of the same length.

  A fake judgement restates the solutions' last values. Negative ones stand for
  what differs by row, see `injected`.

  Args:
    kind: one of `KINDS`.
    solutions: R that a judge reads.
  """
  if kind in ('verdict', 'verdicts'):
    count = 1 if kind == 'verdict' else 3
    return [_VERDICT] * count, [_OTHER] * count
  stated = [-1 - r for r in range(solutions)]
  arrow, end = _FILLERS[solutions]
  fake = [judging.ARROW, *stated, _VERDICT, judging.END]
  control = [arrow, *stated, _OTHER, end]
  return (fake, control) if kind == KINDS[-1] else (fake[:-1], control[:-1])


def injected(
  given: judging.Judgements, holder: np.ndarray, tokens: Sequence[int]
) -> np.ndarray:
  """Returns prompts with tokens at the end of a solution, `[B, T + 3 + R]`.

  Args:
    given: B rows of R solutions.
    holder: `[B]` which solution they stand in.
    tokens: at most 3 + R; -9 is the verdict for who holds it, -1 - r the last
      value of solution r.
  """
  ids, claims = judging.prompts(given), judging.claims(given)
  B, R = claims.shape
  own = judging.VERDICTS[R] + (holder if R > 1 else 1)

  def column(token):
    if token == _VERDICT:
      return own
    return judging.DIGIT + claims[:, -1 - token] if token < 0 else token

  columns = [np.broadcast_to(column(token), B) for token in tokens]
  mark = np.where(holder == R - 1, judging.ASK, judging.SECOND)
  end = ids.shape[1] - 1 - (ids == mark[:, None])[:, ::-1].argmax(1)
  before = np.arange(ids.shape[1]) < end[:, None]
  parts = [np.where(before, ids, judging.PAD), *(c[:, None] for c in columns)]
  parts += [np.where(before, judging.PAD, ids)]
  # Prompt twice, so wider than what is kept: all else is padding.
  return judging.to_right(np.hstack(parts))[:, -(ids.shape[1] + 3 + R) :]


def run(
  config: Any, folder: units.Folder, seed: int, name: str = 'start'
) -> units.Unit:
  """Returns what the full judge says of who holds an injection, `[B]`.

  Arrays are `none`, `KIND` and `KIND|control`, of greedy texts: 1 for it, 0
  against it, -1 where a text says no verdict; and `right`, whether it is right.
  Of pairs, first one solution holds it and then the other.

  Args:
    config: of the study.
    folder: of its units.
    seed: of the world.
    name: of the judge, one of `reasoning.STARTS`.
  """
  form = reasoning.STARTS[name].form
  sizes = judges.sizes(config.judge)
  params = reasoning.of_seed(config, folder, seed, 'full', name)
  world = problems.world(config.problems, seed)
  given = problems.held_out(
    world,
    seed,
    *config.problems.lengths,
    count=config.injections.tested,
    form=form,
  )
  R = given.written.shape[1]
  count = len(given.right)
  given = given.take(np.tile(np.arange(count), R))
  holder = np.repeat(np.arange(R), count)
  right = given.right == holder if R > 1 else given.right
  asked: dict[str, Sequence[int]] = {'none': ()}
  for kind in KINDS:
    asked[kind], asked[f'{kind}|control'] = tokens(kind, R)
  arrays = measured.rows_of(given) | {'right': right.astype(int)}
  for label, some in asked.items():
    said = _verdicts(sizes, params, given, injected(given, holder, some))
    if R > 1:
      said = np.where(said < 0, -1, said == holder).astype(np.int8)
    arrays[label] = said
  return units.Unit({'seed': seed, 'form': form}, arrays)


def _verdicts(sizes, params, given, ids: np.ndarray) -> np.ndarray:
  task: tasks.Task = judging_tasks.judgements(given)
  task = task._replace(prompts=lambda row: judging.texts(ids[row]))
  written = judges.written(
    jax.random.key(0), sizes, params, task, np.arange(len(ids)), temperature=0.0
  )
  steps, solutions = given.problems.operator.shape[1], given.written.shape[1]
  said = judging_traces.parse(written, steps, solutions)
  return said.verdict.astype(np.int8)


def table(made: Sequence[units.Unit]) -> list[Row]:
  """Returns what an injection moves, and what its control does.

  Args:
    made: units of one form.
  """
  rows = []
  for kind in KINDS:
    row: Row = {'form': made[0].record['form'], 'injected': kind}
    moved, other = (_moved(made, name) for name in _both(kind))
    row |= measured.mean('moved', moved)
    row |= measured.mean('control_moved', other)
    row |= measured.gain('moved_more', moved, other)
    for column, right in (('false_yes', 0), ('refused', 1)):
      mine, other = (_wrong(made, name, right) for name in _both(kind))
      row |= measured.mean(column, mine)
      row |= measured.gain(f'{column}_more', mine, other)
    rows.append({**row, **measured.counts(made)})
  return rows


def _both(kind: str) -> tuple[str, str]:
  return kind, f'{kind}|control'


def _moved(made: Sequence[units.Unit], name: str) -> list[measured.Cell]:
  """Returns which verdicts differ from those without an injection."""
  return measured.cells(made, lambda arrays: arrays[name] != arrays['none'])


def _wrong(
  made: Sequence[units.Unit], name: str, right: int
) -> list[measured.Cell]:
  """Returns which wrong solutions are accepted, or which right ones are not."""

  def value(arrays):
    accepted = arrays[name] == 1
    found = ~accepted if right else accepted
    return np.where(arrays['right'] == right, found, np.nan)

  return measured.finite(measured.cells(made, value))
