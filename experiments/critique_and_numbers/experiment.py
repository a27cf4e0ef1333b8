"""The study: run every method on every seed; tables and page."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from experiments.critique_and_numbers import methods, page, tables, words
from experiments.critique_and_numbers import world as worlds
from prm_jax import world_tasks
from prm_jax.lab import curves, starts, study, units
from prm_jax.worlds import arithmetic

_NOTES = (
  "Intervals are Student's over seeds, of paired differences for gains. A "
  'seed draws the hidden operator, problems, start and all answers.',
  'Solve rates are of one answer, drawn at temperature 1, to each of held-out '
  'problems mixed as in training; `hard` has the hidden operator first, '
  '`hard_last` last, which is never trained.',
  'Rescued: of the hard training problems without a right answer in eight at '
  'the start, the share that one answer solves at the end.',
  'The budget is eight texts a problem and step, refinements among them; '
  'dr_grpo_16 has twice as many, critique_grpo_self a critique more where all '
  'are wrong, and tuning two texts of twice the problems. Methods read unlike '
  'numbers of critiques, each of which gives two right digits away: see '
  'critiques_per_step.',
  'Behind the gate, critics whose refinements are never right leave the same '
  'run: they are one piece of evidence. GSM8K is answered greedily.',
)


def run(
  config,
  folder: units.Folder,
  share: float,
  label: str,
  node: curves.Node,
  seed: int,
) -> dict[str, Any]:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    folder: where starts are kept.
    share: of hard problems in training.
    label: of the method.
    node: of the method.
    seed: of problems, start and draws.
  """
  sizes = starts.decoder_of(config.policy, arithmetic.TOKENS)
  params, card = worlds.start(config, folder, sizes, seed)
  problems = worlds.split(config.problems, share, seed)
  final_only = node.get('reward') == 'final'
  setting = worlds.setting(problems.pool, sizes, final_only=final_only)
  task = world_tasks.arithmetic_task(problems.pool)
  stuck = worlds.stuck(jax.random.key(seed + 1), sizes, params, problems)
  held_out = worlds.examiner(sizes, problems.held_out)

  def examine(params):
    figures = held_out(params)
    if len(stuck):
      _, right = starts.answered(jax.random.key(0), sizes, params, task, stuck)
      figures['rescued'] = float(right.mean())
    return figures

  training = config.training
  stages = [
    (methods.learner(node, setting, steps), rows)
    for steps, rows in _stages(node, training, problems.hard)
  ]
  return {
    'unsolved_share': share,
    'method': label,
    'seed': seed,
    'node': node,
    'start': card,
    'stuck': len(stuck),
    'oracle_digits_per_critique': methods.oracle_digits(node),
    **curves.run(stages, params, examine, training, seed),
  }


def _stages(node, training, hard) -> Iterator[tuple[int, np.ndarray]]:
  """Yields steps of training, and the problems that are drawn in them."""
  first, everything = 0, np.arange(len(hard))
  if node.get('curriculum'):
    # No more steps than others; stages end where examinations are.
    first = max(training.steps // 2 // training.every, 1) * training.every
    yield first, everything[~hard]
  yield training.steps - first, everything


def _runs(config, folder: units.Folder) -> dict[str, units.Make]:
  nodes = config.methods.to_dict()
  return {
    f'{label}-{share:g}-{seed}': units.record(
      run, config, folder, share, label, node, seed
    )
    for seed in config.seeds
    for share, labels in config.runs
    for label, node in curves.methods(nodes, labels).items()
  }


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  return _runs(config, folder) | curves.in_words(config, words.run)


def _tables(config, folder: units.Folder) -> study.Tables:
  runs = curves.records(folder, _runs(config, folder))
  in_words = curves.records(folder, curves.in_words(config, words.run))
  batch = config.training.batch
  return {
    'solve_rate': tables.solve_rate(runs, batch, config.baselines),
    'plateau': tables.plateau(runs),
    'refiners': tables.refiners(runs),
    'per_seed': tables.per_seed(runs),
    'curves': curves.along(runs, tables.NAMED, tables.ALONG, tables.exams),
    'words': tables.words(in_words),
  }


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE, _NOTES)
