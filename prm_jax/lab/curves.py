"""Policies in training: methods, runs with examinations, tables of runs.

A run is a record: `curve`, the windows of training with the examinations that
were made before them, `final`, the last examination, and what names the run.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from prm_jax import registry, types
from prm_jax.data import pipelines
from prm_jax.lab import columns, starts, units
from prm_jax.policy import outcomes, phases, tasks
from prm_jax.runtime import train, trees

Row = dict[str, Any]
Node = dict[str, Any]


def methods(
  nodes: Mapping[str, Mapping[str, Any]], labels: Sequence[str]
) -> dict[str, Node]:
  """Returns methods by label, each with one learning rate.

  A node with several is a search: a method `LABEL@RATE` for each of them.

  >>> methods({'a': {'rate': 0.1}, 'b': {'rate': (0.1, 2e-3)}}, ('b', 'a'))
  {'b@0.1': {'rate': 0.1}, 'b@0.002': {'rate': 0.002}, 'a': {'rate': 0.1}}

  Args:
    nodes: label -> what a method is, with `rate`.
    labels: of the methods that are wanted, in order.
  """
  each: dict[str, Node] = {}
  for label in labels:
    node = dict(nodes[label])
    if isinstance(node['rate'], tuple | list):
      each |= {f'{label}@{r}': {**node, 'rate': r} for r in node['rate']}
    else:
      each[label] = node
  return each


def learner(
  node: Node, steps: int, *, remat: bool = False, **parts: Any
) -> types.Learner:
  """Returns the learner of a policy, of a node and what it is built of.

  Args:
    node: 'kind' and options as in the registry, and `rate`.
    steps: gradient steps.
    remat: whether layers are computed again for the gradient.
    **parts: options that are no plain data: a task, a critic ...

  Raises:
    ValueError: an unknown kind or option.
  """
  options = {name: node[name] for name in node if name != 'rate'} | parts
  if node['kind'] == 'imitation':  # it has a schedule of its own
    options |= {'learning_rate': node['rate'], 'steps': steps, 'remat': remat}
  else:
    options['training'] = phases.Training(node['rate'], steps, remat=remat)
  return registry.build('learner', options)


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
    means = {name: float(value) for name, value in values.items()}
    self.rows.append({'step': self._before + int(step), **means})

  def truncate(self, step: int) -> None:
    """Does nothing: runs here are short, and begin again."""
    del step


def watched(
  learner: types.Learner, every: int, examine: starts.Examine
) -> types.Learner:
  """Returns the learner, examined before every `every` steps.

  Figures are added to those of training, as `at NAME`. Of several phases, all
  but the last should have a multiple of these steps.
  """

  def examined(phase):
    inner: Any = phase.collect

    def collect(key, state, batch):
      made, metrics = inner(key, state, batch)
      if int(state.step) % every == 0:
        figures = examine(state.params['policy'])
        seen = {f'at {k}': outcomes.as_mean([v]) for k, v in figures.items()}
        metrics = {**metrics, **seen}
      return made, metrics

    return phase._replace(collect=collect)

  return learner._replace(phases=tuple(map(examined, learner.phases)))


def start_from(
  learner: types.Learner, params: types.PyTree
) -> dict[str, types.Array]:
  """Returns the leaves of a learner's state that are a policy's parameters.

  Args:
    learner: of the policy; some keep a copy of it.
    params: of the policy.
  """
  needed = trees.flat(
    jax.eval_shape(
      lambda key: learner.init(key, types.Spec(1, 1)), jax.random.key(0)
    )
  )
  leaves = trees.flat(params, 'params/policy')
  leaves |= trees.flat(params, 'constants/start')
  return {path: leaf for path, leaf in leaves.items() if path in needed}


def run(
  stages: Sequence[tuple[types.Learner, np.ndarray]],
  params: types.PyTree,
  examine: starts.Examine,
  node: Any,
  seed: int,
) -> Row:
  """Returns what training makes of a policy: `curve` and `final`.

  Args:
    stages: learners, one after another, each with its rows of the task, which
      are drawn in batches.
    params: of the policy to start from.
    examine: what is measured before every window of steps, and at the end.
    node: `batch`, problems of a step, and `every`, steps of a window.
    seed: of the draws, and of the problems' order.
  """
  key, curve = jax.random.key(seed), Curve()
  for learner, problems in stages:
    data = tasks.problems(problems)
    state = train.fit(
      watched(learner, node.every, examine),
      data,
      key=key,
      spec=types.Spec(1, 1),
      given=start_from(learner, params),
      batches=pipelines.batches(data, batch_size=node.batch, seed=seed),
      writer=curve,
      log_every=node.every,
    )
    curve.begin_again()
    key, params = jax.random.fold_in(state.key, 1), state.params['policy']
  return {'curve': curve.rows, 'final': examine(params)}


def in_words(
  config, make: Callable[[Any, str, Node, int], Row]
) -> dict[str, units.Make]:
  """Returns the units of a language model, `words-METHOD-SEED`.

  Args:
    config: of the study: `methods`, labels as `words.methods`, `seeds`.
    make: `(config, label, node, seed) -> record`.
  """
  chosen = methods(config.methods.to_dict(), config.words.methods)
  return {
    f'words-{label}-{seed}': units.record(make, config, label, node, seed)
    for label, node in chosen.items()
    for seed in config.seeds
  }


# --------------------------------------------------------------------- tables


def records(folder: units.Folder, names: Iterable[str]) -> list[Row]:
  """Returns the records of units that are done."""
  return [folder.read(name).record for name in names]


def exams(run: Row) -> list[Row]:
  """Returns a run's examinations in order, with the training after each.

  A window's figures are written at its end, the examination is of its start.
  """
  curve = run['curve']
  width, rows = curve[0]['step'], []
  for i, window in enumerate(curve):
    row = {k.removeprefix('at '): v for k, v in window.items()}
    rows.append({**row, 'step': i * width})
  return [*rows, {**run['final'], 'step': len(curve) * width}]


def along(
  runs: Sequence[Row],
  groups: Sequence[str],
  figures: Sequence[str],
  exams_of: Callable[[Row], list[Row]] = exams,
  *,
  shares: Collection[str] = (),
) -> list[Row]:
  """Returns figures along training, averaged over the runs of a group.

  Args:
    runs: of one length in a group.
    groups: columns of a run that name its row.
    figures: of examinations and of training.
    exams_of: see `exams`.
    shares: figures whose intervals end at 0 and 1.
  """
  table = []
  for key, members in columns.grouped(runs, *groups).items():
    for rows in zip(*map(exams_of, members), strict=True):
      row: Row = dict(zip(groups, key, strict=True))
      row |= {'step': rows[0]['step'], 'seeds': len(rows)}
      for figure in figures:
        values = [r.get(figure, np.nan) for r in rows]
        row |= columns.mean(figure, values, **_ends(figure in shares))
      table.append(row)
  return table


def averaged(
  runs: Sequence[Row],
  groups: Sequence[str],
  figures: Mapping[str, Callable[[Row], float]],
  *,
  shares: Collection[str] = (),
) -> list[Row]:
  """Returns figures of runs with intervals over the runs of a group.

  Args:
    runs: each with a seed of its own in its group.
    groups: columns of a run that name its row.
    figures: column -> value of a run, NaN where it has none.
    shares: columns whose intervals end at 0 and 1.
  """
  table = []
  for key, members in columns.grouped(runs, *groups).items():
    row: Row = dict(zip(groups, key, strict=True))
    row['seeds'] = len(members)
    for name, figure in figures.items():
      values = [figure(run) for run in members]
      row |= columns.mean(name, values, **_ends(name in shares))
    table.append(row)
  return table


def _ends(share: bool) -> dict[str, float]:
  """Returns where an interval has to end."""
  return {'least': 0.0, 'most': 1.0} if share else {}


def before_and_after(runs: Sequence[Row], name: str, *others: str) -> list[Row]:
  """Returns a figure of every method before and after training.

  Args:
    runs: of a language model.
    name: of the figure in examinations.
    *others: figures of training, as their means.
  """
  figures = {f'{name}_before': before(name), f'{name}_after': after(name)}
  figures |= {other: during(other) for other in (*others, 'sampler_gap')}
  return averaged(runs, ('method',), figures)


def before(name: str) -> Callable[[Row], float]:
  """Returns `run -> figure` of the examination before training."""
  return lambda run: exams(run)[0][name]


def after(name: str) -> Callable[[Row], float]:
  """Returns `run -> figure` of the last examination; NaN if it has none."""
  return lambda run: run['final'].get(name, np.nan)


def during(name: str) -> Callable[[Row], float]:
  """Returns `run -> mean over training`; NaN if it has none."""

  def mean(run):
    values = of_windows(run, name)
    return float(np.mean(values)) if values else float('nan')

  return mean


def of_windows(run: Row, name: str) -> list[float]:
  """Returns a figure of all windows that have it; NaN is written as null."""
  values = [row.get(name) for row in run['curve']]
  return [v for v in values if v is not None and np.isfinite(v)]


def largest(run: Row, name: str) -> float | None:
  """Returns the largest figure of training; None where it has none."""
  return max(of_windows(run, name), default=None)
