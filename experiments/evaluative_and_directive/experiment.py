"""The study: run every method on every seed; tables and page."""

from typing import Any

import numpy as np

from experiments.evaluative_and_directive import methods, page, tables, words
from experiments.evaluative_and_directive import world as worlds
from prm_jax import world_tasks
from prm_jax.lab import curves, starts, study, units
from prm_jax.worlds import persona_replies

_NOTES = (
  'A first reply fits if digits, format and statement are what the person '
  'wants; it is drawn at temperature 1, to fresh prompts, without a hint.',
  "Intervals are Student's over seeds, of paired differences for gains. A "
  "seed draws people, prompts, the policy's start and all answers.",
  'All methods of an arm hear the same number of replies. `one` is one person '
  'who wants the truth, `agreed` one who wants to be agreed with; of `many`, '
  'half the people reply and the others are held out.',
)


def run(
  config,
  folder: units.Folder,
  arm: str,
  label: str,
  node: curves.Node,
  seed: int,
) -> dict[str, Any]:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    folder: where starts are kept.
    arm: of `config.arms`.
    label: of the method.
    node: of the method.
    seed: of people, prompts, start and draws.
  """
  options, training = config.arms[arm], config.training
  sizes = starts.decoder_of(config.policy, persona_replies.TOKENS)
  params, card = worlds.start(config, folder, sizes, seed)
  world = worlds.split(options, seed)
  people, pool = world.people, world.pool
  hints = {name: options[name] for name in ('hint_rate', 'hint_error')}
  error = node.get('hint_error', options.hint_error)
  learner = methods.learner(
    node,
    options.get('steps', training.steps),
    task=world_tasks.reply_task(people, pool),
    replies=world_tasks.replies(people, pool, **{**hints, 'hint_error': error}),
    config=sizes,
  )
  examine = worlds.examiner(sizes, world, training.examined)
  stages = [(learner, np.arange(worlds.POOL))]
  return {
    'arm': arm,
    'method': label,
    'seed': seed,
    'node': node,
    'start': card,
    **hints,
    **curves.run(stages, params, examine, training, seed),
  }


def arm_methods(config, options) -> dict[str, curves.Node]:
  """Returns an arm's methods, at the arm's rates where it has its own."""
  nodes = config.methods.to_dict()
  for label, rate in options.get('rates', {}).items():
    nodes[label]['rate'] = rate
  return curves.methods(nodes, options.methods)


def _runs(config, folder: units.Folder) -> dict[str, units.Make]:
  return {
    f'{arm}-{label}-{seed}': units.record(
      run, config, folder, arm, label, node, seed
    )
    for seed in config.seeds
    for arm, options in config.arms.items()
    for label, node in arm_methods(config, options).items()
  }


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  return _runs(config, folder) | curves.in_words(config, words.run)


def _tables(config, folder: units.Folder) -> study.Tables:
  runs = curves.records(folder, _runs(config, folder))
  in_words = curves.records(folder, curves.in_words(config, words.run))
  return {
    'first_reply_fit': tables.first_reply_fit(runs),
    'audit': tables.audit(runs),
    'per_seed': tables.per_seed(runs),
    'curves': curves.along(runs, tables.NAMED, tables.ALONG),
    'fit_in_words': curves.before_and_after(in_words, 'fit', 'reward'),
  }


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE, _NOTES)
