"""The same feature sets on real people, whose tastes nobody wrote down.

Real people chose between real models' answers; there is no lexicon and no
truth. PReF on each feature set is compared with PReF on the encoder's, and
with one model for everyone on the same features, on new pairs and new prompts.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from configs.wording import BASELINE
from experiments.wording import words
from prm_jax.audits import copies
from prm_jax.data import load
from prm_jax.lab import fitting, folds, rows, study, units
from prm_jax.models import features
from prm_jax.report import phrases

_DATA = 'llmfao'
# Seen people alone, as on simulated ones.
_PROTOCOL = fitting.Protocol(answers=(), panel_answers=1, controlled=())
_REPLICATES = 1000


def work(config, source: features.Source, folder: units.Folder):
  """Returns what makes each unit."""
  made: dict[str, units.Make] = {}
  for name, case in _cases(config, source).items():
    made[name] = functools.partial(_rows, name, case.problem)
    sets = fitting.FeatureSets(case.problem)
    for arm in config.features:
      for method in config.methods:
        made[f'{name}.{arm}-{method}'] = functools.partial(
          _fitted, config, case.problem, sets, arm, method
        )
  return made


def _cases(config, source: features.Source) -> dict[str, folds.Case]:
  """Returns every fold of both regimes, with the configured features."""
  judged = load.judgements(_DATA, data_dir=config.data.dir or None)
  data = folds.Data(_DATA, judged, copies.find(judged), source, 1, 0)
  found = {}
  for name in _names():
    regime, _, fold = name.partition('-fold')
    case = folds.case(data, regime, int(fold))
    problem = case.problem
    looked = np.zeros(len(problem.texts), bool)
    items = np.asarray(problem.judged.inputs.index)
    looked[items[problem.split == fitting.TRAIN]] = True
    made = features.configured(
      config.features, source, problem.texts, looked, judged.prompt_texts
    )
    problem = dataclasses.replace(problem, features=made)
    found[name] = case._replace(problem=problem)
  return found


def _names() -> list[str]:
  return [
    f'{regime}-fold{fold}'
    for regime in (folds.PAIRS, folds.PROMPTS)
    for fold in range(folds.FOLDS)
  ]


def _rows(name: str, problem: fitting.Problem) -> units.Unit:
  unit = fitting.rows_unit(problem, _PROTOCOL)
  regime, _, fold = name.partition('-fold')
  unit.record.update(regime=regime, fold=int(fold))
  return unit


def _fitted(config, problem, sets, arm: str, method: str) -> units.Unit:
  """Returns what a method on a feature set predicts."""
  choices: list[dict[str, Any]] = [{'features': arm}]
  for name, values in config.search[method].items():
    choices = [{**row, name: value} for row in choices for value in values]
  return fitting.method_unit(
    problem,
    _PROTOCOL,
    config.methods[method].to_dict(),
    choices,
    people=len(problem.user_ids),
    sets=sets,
  )


def _cells(config, folder: units.Folder) -> list[rows.Cell]:
  methods = [f'{arm}-{m}' for arm in config.features for m in config.methods]
  return [rows.read(folder, name, methods) for name in _names()]


def tables(config, folder: units.Folder) -> study.Tables:
  """Returns accuracies, and what features and people are worth."""
  cells = _cells(config, folder)
  (group,) = rows.group(cells).values()
  gains = []
  for arm in config.features:
    pairs = [('pref', arm, 'aggregate')]
    if arm != BASELINE:
      pairs += [(method, BASELINE, method) for method in config.methods]
    for method, other, base in pairs:
      for split in (folds.NEW_PAIRS, folds.NEW_PROMPTS):
        paired = rows.paired_runs(
          *(group, f'{arm}-{method}|{split}|all|'),
          f'{other}-{base}|{split}|all|',
        )
        row = rows.gained(paired, _REPLICATES)
        less = {'baseline': other, 'baseline_method': base}
        gains.append(
          {'set': arm, 'method': method, 'split': split, **less, **row}
        )
  accuracy = [
    {'set': row['method'].split('-')[0], **row}
    | {'method': row['method'].split('-')[-1]}
    for row in rows.accuracy_table(rows.group(cells), _REPLICATES)
    if '-' in row['method']
  ]
  return {
    'real_gains': gains,
    'real_accuracy': accuracy,
    'choices': rows.choice_table(cells),
  }


def predictions(config, folder: units.Folder) -> Iterator[str]:
  """Yields what was predicted, which is of real people."""
  return rows.prediction_lines(rows.group(_cells(config, folder)))


def answer(gains: Sequence[study.Row]) -> list[str]:
  """Returns what the gains say, in sentences."""
  said = []
  for row in gains:
    if row['method'] != 'pref' or row['baseline'] != BASELINE:
      continue
    if row['set'] == BASELINE:
      continue
    detectable = row['smallest_detectable_gain']
    said.append(
      f'Real people, {_SPLITS[row["split"]]}: PReF on '
      f'{words.ARMS[row["set"]]} gains {phrases.interval(row, "gain")} '
      'over PReF on MiniLM '
      f'({row["people"]} people, {row["pairs"]} choices); a gain of '
      f'{100 * detectable:.1f} points would likely have been found.'
    )
  return said


_SPLITS = {folds.NEW_PAIRS: 'new pairs', folds.NEW_PROMPTS: 'new prompts'}
