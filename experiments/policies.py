"""What studies that train policies share: runs on disk, curves, tables."""

import contextlib
import fcntl
import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tqdm

from prm_jax import types
from prm_jax.data import load, pipelines, splits
from prm_jax.learners import rollouts
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops import intervals
from prm_jax.report import page
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
      seen = {f'at {k}': rollouts.as_mean([v]) for k, v in found.items()}
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
  data = rollouts.problems(problems)
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
    learner, rollouts.problems(np.zeros(1, np.int32)), key=key,
    spec=types.Spec(1, 1), progress=True,
  )  # fmt: skip
  return state.params['policy']


class BusyError(Exception):
  """Another process is making what a run needs."""


def kept(
  folder: Path, make: Callable[[], tuple[types.PyTree, Row]]
) -> tuple[types.PyTree, Row]:
  """Returns params and what is known of them, made if not on disk.

  Raises:
    BusyError: another process is making them.
  """
  whole = folder / 'metadata.json'  # written last
  if not whole.exists():
    with claimed(folder) as mine:
      if not mine:
        raise BusyError(folder)
      if not whole.exists():
        params, card = make()
        if folder.exists():  # a write that was cut off
          shutil.rmtree(folder)
        export.export_parameters(params, folder, card)
  return export.load_parameters(folder)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
  """Yields whether this process alone has claimed a path, until it ends.

  Args:
    path: which need not exist.
  """
  writers.make_folder(path.parent)
  with (path.parent / f'.{path.name}.lock').open('w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      yield False
      return
    yield True


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


def runs(jobs: Mapping[Path, Callable[[], Row]]) -> list[Row]:
  """Returns what is in files, computed where they are not there.

  Processes that are given the same jobs share them, and what `kept` makes.

  Args:
    jobs: file -> what it holds.
  """
  with tqdm.tqdm(total=len(jobs), desc='runs', disable=not jobs) as bar:
    while missing := [path for path in jobs if not path.exists()]:
      bar.update(len(jobs) - len(missing) - bar.n)
      for path in missing:
        with claimed(path) as mine:
          if mine and not path.exists():
            with contextlib.suppress(BusyError):
              writers.write_json_atomic(path, jobs[path]())
              break
      else:
        time.sleep(1.0)  # others have all that is missing
    bar.update(len(jobs) - bar.n)
  return [json.loads(path.read_text()) for path in jobs]


def in_words(
  config, workdir: Path, run: Callable[[Any, str, int], Row]
) -> list[Row]:
  """Returns the runs of a language model, computed if not on disk.

  Args:
    config: of the study: `words.methods` and `seeds`.
    workdir: where they are kept.
    run: `(config, method, seed) -> row`.
  """
  return runs(
    {
      workdir / 'cells' / f'words-{name}-{seed}.json': functools.partial(
        run, config, name, seed
      )
      for name in config.words.methods
      for seed in config.seeds
    }
  )


def finish(
  config, workdir: Path, made: dict[str, list[Row]], *,
  notes: Sequence[str], answer: Sequence[str],
) -> Row:  # fmt: skip
  """Returns the results of a study, written with their page.

  Args:
    config: of the study.
    workdir: where results.json and report are written.
    made: tables.
    notes: how to read them.
    answer: what they say.
  """
  results: Row = {
    'study': config.study,
    'config': json.loads(config.to_json()),
    'seeds': list(config.seeds),
    'notes': list(notes),
    'tables': made,
    'answer': list(answer),
  }
  writers.write_json_atomic(workdir / 'results.json', results)
  page.write_page(results, workdir / 'report' / 'index.html')
  return results


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


def grouped(runs: Sequence[Row], *names: str) -> dict[tuple, list[Row]]:
  """Returns the runs by the values of some columns, in order."""
  found: dict[tuple, list[Row]] = {}
  for run in runs:
    found.setdefault(tuple(run[name] for name in names), []).append(run)
  return found


def before_and_after(runs: Sequence[Row], name: str, *during: str) -> list[Row]:
  """Returns a figure of every method before and after training.

  Args:
    runs: of a language model.
    name: of the figure in examinations.
    *during: figures of training, as their means.
  """
  table = []
  for (method,), mine in grouped(runs, 'method').items():
    row: Row = {'method': method, 'seeds': len(mine)}
    add(row, f'{name}_before', [exams(run)[0][name] for run in mine])
    add(row, f'{name}_after', [run['final'][name] for run in mine])
    for column in (*during, 'sampler_gap'):
      add(row, column, [mean_of(run, column) for run in mine])
    table.append(row)
  return table


def add(row: Row, name: str, values) -> None:
  """Adds a mean with Student's interval; None where nothing is known."""
  found = intervals.mean(list(values))
  for suffix, value in (
    ('', found.value), ('_low', found.low), ('_high', found.high)
  ):  # fmt: skip
    row[f'{name}{suffix}'] = float(value) if np.isfinite(value) else None


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


def percent(row: Row, name: str) -> str:
  """Returns a mean and its interval in words."""
  if row[name] is None:
    return 'not measured'
  text = f'{100 * row[name]:.1f} %'
  low, high = row[f'{name}_low'], row[f'{name}_high']
  if low is None:
    return text
  return f'{text} [{100 * low:.1f}, {100 * high:.1f}]'
