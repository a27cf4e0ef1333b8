"""Does a decoder's frozen reading carry taste to new words? The study."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.personalized_vs_aggregate import problems
from experiments.wording import page, real, tables, templates, trained
from prm_jax.lab import fitting, rows, study, units
from prm_jax.models import embeddings, features, token_states, tokenizers
from prm_jax.systems import linear_scores

_DATA = 'attributes_gaussian'
_STATES = 'states'  # folder of units that were read
# Seen people alone: what is new is the text.
_PROTOCOL = fitting.Protocol(answers=(), panel_answers=1, controlled=())
_NOTES = (
  'Feature sets are never searched among: within each, aggregate and PReF have '
  'as many configurations, chosen by the likelihood of held-out training rows.',
  'Intervals are over people and prompts; on new wording also over marker '
  'templates, of which there are eight of each attribute and pole: these are '
  'drawn anew, and every sentence that changes is scored by the fitted model. '
  'The variances are added.',
  'Weights of SmolLM2-135M are dequantised from four bits (Q4_1).',
  'CPU seconds are of one process with one thread, on a machine that others '
  'share; of encoding, without loading weights.',
)


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes each seed, with a unit a feature set and method."""
  source = _source(config, folder)
  if _real(config):
    return real.work(config, source, folder)
  return {
    f'seed{seed}': units.record(_seed, config, folder, source, seed)
    for seed in config.seeds
  }


def _real(config) -> bool:
  return config.variant == 'real'


def _source(config, folder: units.Folder) -> features.Source:
  model = config.language.model
  return features.Source(
    backbone=model or None, cache_dir=folder.path.parent / _STATES
  )


def _seed(
  config, folder: units.Folder, source: features.Source, seed: int
) -> dict:
  """Makes a seed's units; returns the names of its problem and methods."""
  changes = f'trained-seed{seed}'
  problem = _problem(config, source, seed, lambda: folder.read(changes))
  sets = fitting.FeatureSets(problem)
  work: dict[str, units.Make] = {
    problem.name: lambda: fitting.rows_unit(problem, _PROTOCOL)
  }
  arms = config.attributes.features.to_dict()
  for arm, node in arms.items():
    work[f'read-{arm}-seed{seed}'] = units.record(
      _read, source, problem, node, arm
    )
  methods = []
  for arm in arms:
    for method in config.methods:
      methods.append(f'{arm}-{method}')
      work[f'{problem.name}.{methods[-1]}'] = functools.partial(
        _fitted, config, problem, sets, arm, method
      )
  start = f'{problem.name}.{config.adapting.frozen}-pref'
  folder.make_all(work, problem.name)  # what trains starts from a frozen fit
  choice = folder.read(start).record['choice']
  work = {
    changes: lambda: trained.unit(
      *(config, source, problem, sets, choice),
      folder.path.parent / 'training' / f'seed{seed}',
    )
  }
  for arm in trained.ARMS:
    methods.append(f'{arm}-pref')
    make = functools.partial(_fitted, config, problem, sets, arm, 'pref')
    if arm in trained.HEADS:
      head = functools.partial(_head, folder, changes, arm, choice)
      make = functools.partial(make, head=head)
    work[f'{problem.name}.{methods[-1]}'] = make
  folder.make_all(work, f'{problem.name}, trained')
  return {'problem': problem.name, 'methods': methods}


def _problem(
  config, source: features.Source, seed: int, changes: units.Make
) -> fitting.Problem:
  """Returns the simulated people, with marker sentences after their texts."""
  problem = next(problems.problems(config, _DATA, seed, source))
  more = templates.markers(tables.NEW_WORDING).sentences
  texts = [*problem.texts, *more]
  looked = np.concatenate([trained.trains(problem), np.zeros(len(more), bool)])
  nodes = config.attributes.features
  made = {
    **features.configured(nodes, source, texts, looked, [''] * len(texts)),
    **trained.makers(config, source, texts, looked, changes),
  }
  return dataclasses.replace(problem, features=made, truth=dict)


def _read(
  source: features.Source, problem: fitting.Problem, node, arm: str
) -> dict[str, Any]:
  """Reads a feature set's units into the cache; returns what that took."""
  parts = problem.texts
  if node['unit'] != 'text':
    parts = [s for text in parts for s in embeddings.sentences(text)]
  parts = sorted({*parts, *templates.markers(tables.NEW_WORDING).sentences})
  encoder, layers = _encodes(source, node)
  store = embeddings.Store(_states(source), encoder)
  new = store.missing(parts)
  started = time.process_time()
  if new:
    store.get(new, (0,))
  return {
    'set': arm,
    'seed': problem.seed,
    'layers': layers,
    'units': len(parts),
    'new_units': len(new),
    'new_tokens': _tokens(encoder, new),
    'cpu_seconds': round(time.process_time() - started, 1),
  }


def _encodes(source: features.Source, node) -> tuple[Any, int]:
  """Returns what reads a feature set's units, and how many layers it runs."""
  if not node.get('token'):
    return source.encoder, source.encoder.config.num_hidden_layers
  layers = tuple(node['layers'])
  reading = token_states.Reading(node['unit'], node['token'], layers)
  return source.states(reading), max(layers)


def _states(source: features.Source) -> Path:
  assert source.cache_dir is not None  # `_source` names it
  return source.cache_dir


def _tokens(encoder: Any, texts: list[str]) -> int:
  if not texts:
    return 0
  if isinstance(encoder, token_states.States):
    return sum(map(len, encoder.ids(texts)))
  return sum(map(len, tokenizers.encode(encoder.tokenizer, texts)[0]))


def _head(folder: units.Folder, changes: str, arm: str, start):
  """Returns the choice and the learner of a head as it was trained."""
  basis = folder.read(changes).arrays[f'basis/{arm}']
  return {**start, 'features': arm}, functools.partial(trained.given, basis)


def _fitted(
  config, problem: fitting.Problem, sets, arm: str, method: str, head=None
) -> units.Unit:
  """Returns what a method on a feature set predicts; and of other templates.

  Arrays besides predictions: `margin` `[B]` of the judgements of new wording,
  and `score` `[S, U]` of its marker sentences by person; see `templates`. None
  where texts are read whole.

  Args:
    config: of the study.
    problem: with its features.
    sets: of the problem.
    arm: a feature set.
    method: in the configuration.
    head: returns a choice, and a change of the learner, in place of a search.
  """
  kept: list[fitting.Fitted] = []
  node, search = config.methods[method].to_dict(), config.search
  choices: list[dict[str, Any]] = [{'features': arm}]
  for name, values in search[method].items():
    choices = [{**row, name: value} for row in choices for value in values]
  more: dict[str, Any] = {}
  if head is not None:
    choice, more['change'] = head()
    choices = [choice]

  def fit(*arguments):
    kept[:] = [fitting.Fitted.fit(*arguments, **more)]
    return kept[0]

  started = time.process_time()
  unit = fitting.method_unit(
    problem, _PROTOCOL, node, choices, people=search.people, sets=sets, fit=fit
  )
  unit.record['cpu_seconds'] = round(time.process_time() - started, 1)
  nodes = config.attributes.features
  read = nodes[config.adapting.frozen if arm in trained.ARMS else arm]
  if read['unit'] == 'text':
    return unit
  table, fitted = sets[arm], kept[0]
  weights = linear_scores.weights(
    fitted.learner.system,
    fitted.state.params,
    fitted.contexts(problem.training),
    table.shape[1],
  )
  weights = np.broadcast_to(weights, (len(problem.user_ids), table.shape[1]))
  index = problem.index(_PROTOCOL)[tables.NEW_WORDING]
  user = np.asarray(problem.judged.rows.user)[index]
  items = np.asarray(problem.judged.inputs.index)[index]
  gap = table[items[:, 0]] - table[items[:, 1]]
  M, width = len(problem.texts), read['components']
  return units.Unit(
    unit.record,
    unit.arrays
    | {
      'margin': np.sum(gap * weights[user], 1, dtype=np.float32),
      # Length stays as it is.
      'score': table[M:, :width] @ weights[:, :width].T,
      'items': items,
    },
  )


def _tables(config, folder: units.Folder) -> study.Tables:
  if _real(config):
    return real.tables(config, folder)
  cells, texts = [], {}
  source = _source(config, folder)
  read: list[dict[str, Any]] = []
  for seed in config.seeds:
    made = folder.read(f'seed{seed}').record
    cells.append(rows.read(folder, made['problem'], made['methods']))
    texts[seed] = next(problems.problems(config, _DATA, seed, source)).texts
    read += [
      folder.read(f'read-{arm}-seed{seed}').record
      for arm in config.attributes.features
    ]
  moved = tables.Moved(config, folder, cells, texts)
  found = {
    'shares': tables.shares(cells, moved),
    'differences': tables.differences(config, cells, moved),
    'costs': tables.costs(cells, read),
    'training': tables.training(
      [folder.read(f'trained-seed{seed}').record for seed in config.seeds]
    ),
    'choices': rows.choice_table(cells),
  }
  bars = tables.bars(config.bars, found['shares'], found['differences'])
  return {'bars': bars, **found}


def _predictions(config, folder: units.Folder) -> Iterator[str]:
  if _real(config):
    return real.predictions(config, folder)
  cells = []
  for seed in config.seeds:
    made = folder.read(f'seed{seed}').record
    cells.append(rows.read(folder, made['problem'], made['methods']))
  return rows.prediction_lines(rows.group(cells))


def _answer(made: study.Tables) -> list[str]:
  if 'real_gains' in made:
    return real.answer(made['real_gains'])
  return tables.answer(made)


STUDY = study.Study(_work, _tables, _answer, page.PAGE, _NOTES, _predictions)
