"""Methods that are fitted together with the highest layers of what reads.

Each stands beside itself on the same model frozen. Its numbers are those that
the search chose there: layers are no part of a search, and a validation row of
the search is one that says when layers stop.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prm_jax import adapting, registry, types
from prm_jax.data import schema
from prm_jax.lab import fitting, rows
from prm_jax.models import features

SUFFIX = '_adapted'


def name(method: str) -> str:
  """Returns what a method is called that is fitted with layers."""
  return f'{method}{SUFFIX}'


class Adapted:
  """Fits a method and layers; `fitting.Fit`.

  Attributes:
    plan: what trains.
  """

  def __init__(
    self,
    plan: adapting.Plan,
    source: features.Source,
    judged: schema.Judgements | schema.Ratings,
    components: int,
    memory: float,
  ):
    """Reads texts; their states are computed when a method is first fitted.

    Args:
      plan: what trains.
      source: of the decoder.
      judged: whose texts are compared.
      components: columns of a feature set, besides length.
      memory: gigabytes that states may take.

    Raises:
      ValueError: the decoder has no such layers, or states take more.
    """
    self.plan, self._source, self._components = plan, source, components
    self._said = judged.prompt_texts, judged.texts
    self._texts = adapting.Texts(
      plan, source.trunk, *map(list, self._said), memory=memory
    )

  def __call__(
    self,
    method: Mapping[str, Any],
    choice: fitting.Choice,
    problem: fitting.Problem,
    training: types.Batch,
    sets: Any,
  ) -> fitting.Fitted:
    """Returns a method fitted to what its own training made of the layers.

    Args:
      method: what the learner is built with.
      choice: searched numbers, on the frozen decoder.
      problem: whose people and seed it is fitted with.
      training: judgements; those that validate searches say when to stop.
      sets: not read: columns are of this training's texts.
    """
    del sets
    trains = np.asarray(training.rows.mask) > 0
    validates = trains & (problem.inner == fitting.VALIDATE)
    fits = trains & (problem.inner >= fitting.FIT) & ~validates
    given = adapting.Rows(problem.judged, fits, validates)
    given.check()
    looked = np.unique(problem.judged.inputs.index[trains])
    table, reader = self._columns(self._source, looked)
    frozen = fitting.Fitted.fit(
      method, choice, problem, problem.judged.masked(fits), table
    )
    numbers = {k: v for k, v in choice.items() if k != 'features'}
    node, _ = registry.fitting(method, numbers)
    changes = adapting.fit(
      self.plan,
      self._texts,
      given,
      frozen.state,
      reader.reductions[features.BACKBONE],
      method=node['kind'],
      options={k: v for k, v in node.items() if k != 'kind'},
      seed=problem.seed,
      workdir=None,
    )
    # What one fold's decoder says is of no use to anybody else.
    with tempfile.TemporaryDirectory() as folder:
      changed = self._source.changed(changes, Path(folder))
      table, _ = self._columns(changed, looked)
    return fitting.Fitted.fit(method, choice, problem, training, table)

  def _columns(self, source, looked: np.ndarray):
    """Returns all texts' columns, as a choice finds them, and their reader."""
    reader = features.fit(
      features.BACKBONE, source, *self._said, looked, self._components
    )
    return {features.BACKBONE: reader(source, *self._said)}, reader


def check(methods: Sequence[str]) -> list[str]:
  """Returns which of some methods are fitted with layers.

  Raises:
    ValueError: none of them is.
  """
  found = [method for method in methods if method in adapting.METHODS]
  personal = [method for method in found if method != fitting.BASELINE]
  if not personal:
    known = [of for of in adapting.METHODS if of != fitting.BASELINE]
    raise ValueError(
      f'--adapt: of the methods that are compared, {list(methods)}, none is '
      f'fitted together with a language model: one of {known} is, and more '
      'answers may let the data bear it'
    )
  return [fitting.BASELINE, *personal]


def table(
  groups: Mapping[rows.Key, Sequence[rows.Cell]],
  methods: Sequence[str],
  replicates: int,
) -> list[dict[str, Any]]:
  """Returns what training layers gained, and who gained by it.

  Every method is less itself on the frozen decoder; a personal one also less
  the aggregate whose layers trained, too.

  Args:
    groups: of cells.
    methods: from `check`.
    replicates: of the bootstrap over people.
  """
  found = []
  for key, cells in groups.items():
    for full in rows.predictions(cells):
      named, split, answers, variant = full.split('|')
      method = named.removesuffix(SUFFIX)
      if variant or method not in methods or method == named:
        continue
      others = [method]
      if method != fitting.BASELINE:
        others.append(name(fitting.BASELINE))
      for other in others:
        paired = rows.paired_runs(cells, full, f'{other}|{split}|{answers}|')
        if paired[0]:
          base = rows.gain_base(cells, key, full) | {'baseline': other}
          found.append({**base, **rows.gained(paired, replicates)})
  return found
