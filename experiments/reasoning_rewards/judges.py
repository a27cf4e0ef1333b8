"""Judges that write a chain: taught, stopped early, asked, and read."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import judging_tasks, types
from prm_jax.data import pipelines
from prm_jax.lab import curves, units
from prm_jax.learners import imitation
from prm_jax.models import constraints, decoder
from prm_jax.policy import demonstrations, logprobs, padding, rollouts, tasks
from prm_jax.runtime import train, trees
from prm_jax.worlds import judging, judging_traces

Row = dict[str, Any]
ROWS = 512  # written or read at once: one program, whatever is judged
_KEYS = 0x5EED


def sizes(node: Any, **changed: Any) -> decoder.DecoderConfig:
  """Returns the sizes of a judge, from scratch over the world's tokens."""
  return decoder.DecoderConfig(
    vocab_size=len(judging.TOKENS),
    rope_theta=100.0,
    tie_word_embeddings=False,
    **{**dict(node), **changed},
  )


# ------------------------------------------------------------------- training


def fitted(
  learner: types.Learner,
  params: types.PyTree | None,
  seed: int,
  *,
  problems: np.ndarray | None = None,
  batch: int = 0,
  every: int = 0,
  examine: Callable[[types.PyTree], dict[str, float]] | None = None,
) -> tuple[types.PyTree, list[Row]]:
  """Returns what a learner of one phase makes of a judge, and its curve.

  Args:
    learner: of the judge.
    params: to start from; drawn if None.
    seed: of draws and order.
    problems: rows of the task; the learner reads none if None.
    batch: problems of a step; all of them, if any, if 0.
    every: steps between two examinations, and of a row of the curve.
    examine: what is measured.
  """
  curve = curves.Curve()
  rows = tasks.problems(np.zeros(1, int) if problems is None else problems)
  options: Row = {'log_every': every or learner.phases[0].steps}
  if batch:
    options['batches'] = pipelines.batches(rows, batch_size=batch, seed=seed)
  if params is not None:
    options['given'] = curves.start_from(learner, params)
  if examine:
    learner = curves.watched(learner, every, examine)
  key = jax.random.fold_in(jax.random.key(seed), _KEYS)
  state = train.fit(
    learner, rows, key=key, spec=types.Spec(1, 1), writer=curve, **options
  )
  return jax.device_get(state.params['policy']), curve.rows


def taught(
  shown: demonstrations.Shown,
  config: decoder.DecoderConfig,
  node: Any,
  seed: int,
  *,
  stop: int | None = None,
  every: int = 0,
  start: types.PyTree | None = None,
) -> tuple[dict[int, types.PyTree], list[Row]]:
  """Returns a judge after some numbers of updates on right traces.

  Args:
    shown: right traces.
    config: sizes.
    node: `steps`, `rate`, `warm_up` and `gap` of distillation.
    seed: of start and order.
    stop: after so many updates, of the same schedule.
    every: updates after which the judge is kept; the last one always is.
    start: judge to go on from; drawn if None.
  """
  learner = imitation.imitation(
    shown=shown,
    config=config,
    steps=node.steps,
    learning_rate=node.rate,
    warm_up=node.warm_up,
    last=0.05,
    optimizer='muon',
    gap=node.gap,
  )
  stop = stop or node.steps
  phase = learner.phases[0]._replace(steps=stop)
  learner = learner._replace(phases=(phase,))
  kept: dict[int, types.PyTree] = {}

  def keep(params):
    kept[len(kept) * every] = jax.device_get(params)
    return {}

  params, curve = fitted(
    learner, start, seed, every=every, examine=keep if every else None
  )
  kept.pop(0, None)
  return {**kept, stop: params}, curve


def weak(
  kept: dict[int, types.PyTree],
  verdict: Callable[[types.PyTree], float],
  aim: float,
) -> tuple[int, dict[int, float]]:
  """Returns the updates whose verdicts are nearest to `aim`, and all looked at.

  Halves the interval: verdicts are taken to become better with updates.

  Args:
    kept: updates -> judge.
    verdict: share of right ones, of problems to choose on.
    aim: share that is wanted.
  """
  steps, seen = sorted(kept), {}

  def look(place):
    if steps[place] not in seen:
      seen[steps[place]] = verdict(kept[steps[place]])
    return seen[steps[place]]

  low, high = 0, len(steps) - 1
  while low < high:
    middle = (low + high) // 2
    if look(middle) < aim:
      low = middle + 1
    else:
      high = middle
  for place in range(max(low - 1, 0), min(low + 2, len(steps))):
    look(place)
  return min(seen, key=lambda step: abs(seen[step] - aim)), seen


def arrays(params: types.PyTree, name: str) -> dict[str, np.ndarray]:
  """Returns a judge's parameters as arrays of a unit, under a name."""
  leaves = trees.flat(params, name)
  return {path: np.asarray(leaf) for path, leaf in leaves.items()}


def read(
  unit: units.Unit, config: decoder.DecoderConfig, name: str
) -> types.PyTree:
  """Returns a judge that `arrays` put into a unit."""
  model: Any = decoder.Decoder(config)
  ids = jnp.zeros((1, 2), jnp.int32)

  def init():
    return model.init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))

  leaves = jax.tree.map(jnp.asarray, unit.part(name).arrays)
  return trees.put(jax.eval_shape(init), leaves)


def made(folder: units.Folder, name: str, make: units.Make) -> units.Unit:
  """Returns a unit that another one needs.

  Raises:
    BusyError: another process is making it.
  """
  if not folder.make(name, make, wait=False):
    raise units.BusyError(name)
  return folder.read(name)


# -------------------------------------------------------------------- judging


def blocks(count: int, rows: int = ROWS) -> Iterator[tuple[int, np.ndarray]]:
  """Yields places of so many rows, the last again where there are less."""
  for first in range(0, count, rows):
    yield first, np.minimum(np.arange(first, first + rows), count - 1)


def written(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  task: tasks.Task,
  rows: np.ndarray,
  *,
  temperature: float = 1.0,
  constraint: constraints.Constraint | None = None,
) -> np.ndarray:
  """Returns what a judge writes on rows of a task, `[B, N]` token ids.

  Args:
    key: of the draws.
    config: of the judge.
    params: of the judge.
    task: what is judged.
    rows: `[B]`; one may be there many times.
    temperature: of the draws; 0 is greedy.
    constraint: of the task's rows.
  """
  found = []
  for first, place in blocks(len(rows)):
    held = None if constraint is None else constraint.take(rows[place])
    answers = rollouts.write(
      jax.random.fold_in(key, first),
      config,
      params,
      task.prompts(rows[place]),
      task,
      temperature=temperature,
      constraint=held,
    ).tokens
    found.append(np.where(answers.mask > 0, answers.ids, judging.PAD))
  return np.concatenate(found)[: len(rows)]


def told(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  task: tasks.Task,
  rows: np.ndarray,
  ids: np.ndarray,
) -> np.ndarray:
  """Returns log-probabilities `[B, N, V]` of every token of traces `[B, N]`."""
  tell = logprobs.teller(config, ids.shape[1])
  found = []
  for _, place in blocks(len(rows)):
    seen = padding.follow(task.prompts(rows[place]), judging.texts(ids[place]))
    found.append(np.asarray(tell(params, *seen)))
  return np.concatenate(found)[: len(rows)]


class Judged(NamedTuple):
  """What a judge says of B rows.

  Attributes:
    grades: how right its traces are.
    verdict: `[B]` 0 or 1; -1 where it says none.
    margin: `[B]` log-odds of verdict 1 over 0 behind its own chain; NaN where
      it says none.
    tokens: `[B]` that were written.
  """

  grades: judging_traces.Grades
  verdict: np.ndarray
  margin: np.ndarray
  tokens: np.ndarray


def judged(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  given: judging.Judgements,
  *,
  count: int = 1,
  **options: Any,
) -> tuple[Judged, np.ndarray]:
  """Returns what a judge says of every row `count` times, and its traces.

  Args:
    key: of the draws.
    config: of the judge.
    params: of the judge.
    given: rows to judge.
    count: texts of a row, side by side: B is their number.
    **options: of `written`.
  """
  task = judging_tasks.judgements(given)
  rows = np.repeat(np.arange(len(given.right)), count)
  ids = written(key, config, params, task, rows, **options)
  return said(config, params, task, given.take(rows), rows, ids), ids


def said(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  task: tasks.Task,
  given: judging.Judgements,
  rows: np.ndarray,
  ids: np.ndarray,
) -> Judged:
  """Returns what traces `[B, N]` say of rows `[B]`, which `given` repeats."""
  solutions = given.written.shape[1]
  parsed = judging_traces.parse(
    ids, given.problems.operator.shape[1], solutions
  )
  log = told(config, params, task, rows, ids)
  first = judging.VERDICTS[solutions]
  # The verdict stands `solutions` + 1 behind the arrow.
  place = (ids == judging.ARROW).argmax(1) + solutions + 1
  place = np.minimum(place, ids.shape[1] - 1)
  at = log[np.arange(len(ids)), place]
  margin = np.where(parsed.whole, at[:, first + 1] - at[:, first], np.nan)
  return Judged(
    judging_traces.grade(given, ids),
    parsed.verdict,
    margin.astype(np.float32),
    (ids != judging.PAD).sum(1),
  )


def preferred(score: np.ndarray) -> np.ndarray:
  """Returns which pairs are judged right, `[B / 2]`: 1, 0, or 1/2 for ties.

  Args:
    score: `[B, ...]` of solutions, the right one of each pair first; where one
      has none, NaN, the pair is a tie.
  """
  gap = score[::2] - score[1::2]
  return np.where(np.isnan(gap), 0.5, 0.5 + 0.5 * np.sign(gap))


def forced(
  config: decoder.DecoderConfig, params: types.PyTree, given: judging.Judgements
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns how right each next token is where all before it are right.

  Returns:
    `[B, N]` 1 or 0; `[B, N]` the token's place, into `judging_traces.ROLES`;
    `[B, N]` its step, 0 the first.
  """
  ids = judging.traces(given)
  task = judging_tasks.judgements(given)
  log = told(config, params, task, np.arange(len(ids)), ids)
  role = judging_traces.roles(ids, given.written.shape[1])
  step = np.broadcast_to((np.arange(ids.shape[1]) - 1) // 3, ids.shape)
  return (log.argmax(-1) == ids).astype(np.float32), role, step
