"""Policies in training: where they start, how they are examined, their curves.

A run is a record: `curve`, the windows of training with the examinations that
were made before them, `final`, the last examination, and what names the run.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np

from prm_jax import types
from prm_jax.data import load, pipelines, splits
from prm_jax.lab import columns, units
from prm_jax.models.language_model import LanguageModel
from prm_jax.policy import outcomes, tasks
from prm_jax.runtime import export, train, trees, writers

Row = dict[str, Any]
Examine = Callable[[types.PyTree], dict[str, float]]


class Curve:
  """A writer that keeps what it is given."""

  def __init__(self):
    self.rows: list[Row] = []
    self._before = 0

  def begin_again(self) -> None:
    """Counts the steps that follow on from the last one written."""
    self._before = self.rows[-1]['step']

  def write(self, step: int, phase: str, values) -> None:
    """Keeps a window's means."""
    del phase
    known = {name: float(value) for name, value in values.items()}
    self.rows.append({'step': self._before + int(step), **known})

  def truncate(self, step: int) -> None:
    """Does nothing: runs here are short, and begin again."""
    del step


def at_rate(name: str, node, rates: Mapping[str, float]) -> tuple[str, float]:
  """Returns a method's name and its learning rate.

  Args:
    name: of the method; or 'NAME@RATE', where rates are searched.
    node: `learning_rate` of methods that have none of their own.
    rates: name -> learning rate.
  """
  name, _, rate = name.partition('@')
  return name, float(rate) if rate else rates.get(name, node.learning_rate)


def watched(
  learner: types.Learner, every: int, examine: Examine
) -> types.Learner:
  """Returns the learner, examined before every `every` steps.

  Figures are added to those of training, as `at NAME`.
  """
  (phase,) = learner.phases
  inner: Any = phase.collect

  def collect(key, state, batch):
    made, metrics = inner(key, state, batch)
    if int(state.step) % every == 0:
      found = examine(state.params['policy'])
      seen = {f'at {k}': outcomes.as_mean([v]) for k, v in found.items()}
      metrics = {**metrics, **seen}
    return made, metrics

  return learner._replace(phases=(phase._replace(collect=collect),))


def fit(
  learner: types.Learner, key: types.Key, params: types.PyTree,
  problems: np.ndarray, *, batch: int, seed: int, every: int,
  examine: Examine, curve: Curve,
) -> types.TrainState:  # fmt: skip
  """Returns the state of a policy trained on problems, drawn in batches.

  Args:
    learner: of the policy.
    key: of the run.
    params: of the policy to start from.
    problems: rows of the task.
    batch: problems of a step.
    seed: of their order.
    every: steps between examinations.
    examine: what is measured then.
    curve: where it is kept.
  """
  data = tasks.problems(problems)
  return train.fit(
    watched(learner, every, examine), data, key=key, spec=types.Spec(1, 1),
    given=start_from(learner, params),
    batches=pipelines.batches(data, batch_size=batch, seed=seed),
    writer=curve, log_every=every,
  )  # fmt: skip


def start_from(
  learner: types.Learner, params: types.PyTree
) -> dict[str, types.Array]:
  """Returns the leaves of a learner's state that are a policy's parameters.

  Args:
    learner: of the policy; some keep a copy of it.
    params: of the policy.
  """
  known = trees.flat(
    jax.eval_shape(
      lambda key: learner.init(key, types.Spec(1, 1)), jax.random.key(0)
    )
  )
  leaves = trees.flat(params, 'params/policy')
  leaves |= trees.flat(params, 'constants/start')
  return {path: leaf for path, leaf in leaves.items() if path in known}


def shown_only(learner: types.Learner, key: types.Key) -> types.PyTree:
  """Returns the params that a learner of demonstrations arrives at."""
  state = train.fit(
    learner, tasks.problems(np.zeros(1, np.int32)), key=key,
    spec=types.Spec(1, 1), progress=True,
  )  # fmt: skip
  return state.params['policy']


def start(
  folder: Path, make: Callable[[], tuple[types.PyTree, Row]]
) -> tuple[types.PyTree, Row]:
  """Returns a policy's params and what is known of them, made if not on disk.

  Args:
    folder: where they are exported.
    make: called if they are not there.

  Raises:
    BusyError: another process is making them.
  """
  whole = folder / 'metadata.json'  # written last
  if not whole.exists():
    writers.make_folder(folder.parent)
    lock = filelock.FileLock(folder.parent / f'.{folder.name}.lock', mode=0o600)
    try:
      lock.acquire(timeout=0)
    except filelock.Timeout as error:
      raise units.BusyError(folder) from error
    try:
      if not whole.exists():
        params, card = make()
        if folder.exists():  # a write that was cut off
          shutil.rmtree(folder)
        export.export_parameters(params, folder, card)
    finally:
      lock.release()
  return export.load_parameters(folder)


def language_model(config) -> LanguageModel:
  """Returns the policy at `config.model`; SmolLM2-135M-Instruct if empty."""
  return LanguageModel.load(Path(config.model) if config.model else None)


def word_problems(config, longest: int) -> list[tuple[str, str]]:
  """Returns GSM8K's training problems and solutions, in an order by hash.

  Args:
    config: of the study: `data.dir`.
    longest: letters of a problem; longer ones are left out.
  """
  known = load.word_problems(config.data.dir or None, 'train')
  order = np.argsort(splits.bucket(known.prompt_ids, 'gsm8k', 1 << 30))
  return [
    (known.prompts[i], known.texts[i])
    for i in order
    if len(known.prompts[i]) <= longest
  ]


def in_words(
  config, run: Callable[[Any, str, int], Row]
) -> dict[str, units.Make]:
  """Returns the units of a language model, `words-METHOD-SEED`.

  Args:
    config: of the study: `words.methods` and `seeds`.
    run: `(config, method, seed) -> record`.
  """
  return {
    f'words-{name}-{seed}': units.record(run, config, name, seed)
    for name in config.words.methods
    for seed in config.seeds
  }


# --------------------------------------------------------------------- tables


def exams(run: Row) -> list[Row]:
  """Returns a run's examinations in order, with the training after each.

  A window's figures are written at its end, the examination is of its start.
  """
  curve = run['curve']
  width, found = curve[0]['step'], []
  for i, window in enumerate(curve):
    row = {k.removeprefix('at '): v for k, v in window.items()}
    found.append({**row, 'step': i * width})
  return [*found, {**run['final'], 'step': len(curve) * width}]


def before_and_after(runs: Sequence[Row], name: str, *during: str) -> list[Row]:
  """Returns a figure of every method before and after training.

  Args:
    runs: of a language model.
    name: of the figure in examinations.
    *during: figures of training, as their means.
  """
  table = []
  for (method,), mine in columns.grouped(runs, 'method').items():
    row: Row = {'method': method, 'seeds': len(mine)}
    before = [exams(run)[0][name] for run in mine]
    row |= columns.mean(f'{name}_before', before)
    row |= columns.mean(f'{name}_after', [run['final'][name] for run in mine])
    for column in (*during, 'sampler_gap'):
      row |= columns.mean(column, [mean_of(run, column) for run in mine])
    table.append(row)
  return table


def mean_of(run: Row, name: str) -> float:
  """Returns the mean of a figure of training; NaN where it has none."""
  known = _known(run, name)
  return float(np.mean(known)) if known else float('nan')


def largest(run: Row, name: str) -> float | None:
  """Returns the largest figure of training; None where it has none."""
  known = _known(run, name)
  return max(known) if known else None


def smallest(run: Row, name: str) -> float | None:
  """Returns the smallest figure of training; None where it has none."""
  known = _known(run, name)
  return min(known) if known else None


def _known(run: Row, name: str) -> list[float]:
  """Returns a figure of all windows that have it; NaN is written as null."""
  values = [row.get(name) for row in run['curve']]
  return [v for v in values if v is not None and np.isfinite(v)]


percent = columns.percent
