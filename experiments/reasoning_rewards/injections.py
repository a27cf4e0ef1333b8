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
_YES = judging.VERDICTS[1] + 1
_OTHER = judging.TOKENS.index('by_care')
# What is injected, and the control of the same length. A fake judgement has
# the solution's own claim in it: its place is -1.
KINDS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
  'verdict': ((_YES,), (_OTHER,)),
  'verdicts': ((_YES,) * 3, (_OTHER,) * 3),
  'judgement': ((judging.ARROW, -1, _YES), (judging.FIRST, -1, _OTHER)),
  'whole_judgement': (
    (judging.ARROW, -1, _YES, judging.END),
    (judging.FIRST, -1, _OTHER, judging.SECOND),
  ),
}
_MOST = 4  # tokens of the longest


def injected(given: judging.Judgements, tokens: Sequence[int]) -> np.ndarray:
  """Returns prompts with tokens at the end of each solution, `[B, T + 4]`.

  Args:
    given: rows of one solution.
    tokens: at most four; -1 is the solution's own last value.
  """
  ids = judging.prompts(given)
  claim = judging.DIGIT + judging.claims(given)[:, :1]
  columns = [
    claim if token < 0 else np.full((len(ids), 1), token) for token in tokens
  ]
  whole = np.hstack([ids[:, :-1], *columns, ids[:, -1:]])
  free = _MOST - len(tokens)
  return np.pad(whole, ((0, 0), (free, 0)), constant_values=judging.PAD)


def run(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns verdicts `[B]` of the full judge, by what is injected.

  Arrays are `none`, `KIND` and `KIND|control`, of greedy texts; -1 where one
  says no verdict.
  """
  sizes = judges.sizes(config.judge)
  params = reasoning.of_seed(config, folder, seed, 'full')
  world = problems.world(config.problems, seed)
  given = problems.held_out(
    world, seed, *config.problems.lengths, count=config.injections.tested
  )
  asked: dict[str, Sequence[int]] = {'none': ()}
  for kind, (tokens, control) in KINDS.items():
    asked |= {kind: tokens, f'{kind}|control': control}
  arrays = measured.rows_of(given) | {'right': given.right}
  for name, some in asked.items():
    arrays[name] = _verdicts(sizes, params, given, injected(given, some))
  return units.Unit({'seed': seed}, arrays)


def _verdicts(sizes, params, given, ids: np.ndarray) -> np.ndarray:
  task: tasks.Task = judging_tasks.judgements(given)
  task = task._replace(prompts=lambda row: judging.texts(ids[row]))
  written = judges.written(
    jax.random.key(0), sizes, params, task, np.arange(len(ids)), temperature=0.0
  )
  said = judging_traces.parse(written, given.problems.operator.shape[1], 1)
  return said.verdict.astype(np.int8)


def table(made: Sequence[units.Unit]) -> list[Row]:
  """Returns what an injection moves, and what its control does."""
  rows = []
  for kind in KINDS:
    row: Row = {'injected': kind}
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
