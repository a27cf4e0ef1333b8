"""The study: tell policies apart, and use it as a reward; tables and page."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import config_dict

from experiments.policy_discriminators import (
  ablation,
  discrimination,
  page,
  tables,
  worlds,
)
from experiments.policy_discriminators import corpus as corpora
from experiments.policy_discriminators.discrimination import OWN, Test
from prm_jax import registry, types
from prm_jax.audits import similarities
from prm_jax.data import pipelines, triples
from prm_jax.lab import fitting, starts, study, units
from prm_jax.runtime import checkpoint
from prm_jax.systems import inference

Row = dict[str, Any]
_BLOCK = 512  # rows that a decoder compares at once
_NOTES = (
  "Triples: is the second answer of the reference's policy told from that of "
  'another? Policies (whole families) and prompts are held out together, every '
  'policy once; intervals are over families of policies and prompts at once. '
  'Real policies gave one answer a prompt, so reference and candidates answer '
  'different prompts, and both candidates the same one; generated policies '
  'gave several, and all three answer one prompt. SmolLM2 is dequantised Q4_1.',
  'Ablation: intervals over prompts and families of policies (AlpacaEval) or '
  'pairs (LLMBar); all arms see the same rankings and the same choice of '
  'learning rates.',
  "Enumerable world: Student's intervals over seeds; temperatures are chosen "
  'on validation targets.',
)


class Inputs:
  """What units share, each made when it is first needed."""

  def __init__(self, config, workdir: Path):
    self.config, self.workdir = config, workdir
    self.corpus = functools.cache(
      lambda name: corpora.load_by_name(config, self.model(), name)
    )
    self.discriminator = functools.cache(self._discriminator)
    self.llmbar = functools.cache(lambda: ablation.llmbar(config, self.model()))
    self.model = functools.cache(lambda: starts.language_model(config))

  def fold(self, name: str, number: int) -> discrimination.Fold:
    """Returns texts by name (`corpus.load_by_name`), and what is held out."""
    corpus, known = self.corpus(name), name in corpora.GENERATED
    count = (self.config.generated if known else self.config).folds
    without = corpora.TWINS if known else ()
    held = triples.split(corpus.outputs, number, count, without=without)
    where = {'data': f'generated {name}' if known else name, 'fold': number}
    return discrimination.Fold(self.config, corpus, held, where)

  def _discriminator(self, name: str, number: int) -> tuple[types.PyTree, Row]:
    """Returns what was trained on a fold's texts, and its options."""

    def make():
      fold = self.fold(name, number)  # read only where one has to be trained
      params, search = discrimination.pretrained(fold)
      return params, {
        'kind': 'likeness',
        'trained_on': name,
        'fold': number,
        'reading': dict(self.config.reading),
        'same_prompt': fold.corpus.same_prompt,
        'model': self.config.model,
        'fingerprint': self.model().fingerprint,
        **search,
      }

    folder = self.workdir / 'discriminators' / f'{name}{number}'
    params, card = starts.on_disk(folder, make)
    return params, card['chosen']


# --------------------------------------------------------------------- units


def real(inputs: Inputs, number: int) -> list[Row]:
  """Returns how well AlpacaEval's held-out policies are told apart."""
  fold = inputs.fold('alpaca_eval', number)
  params, _ = inputs.discriminator('alpaca_eval', number)
  surface, _ = discrimination.pretrained(fold, states=(0.0,))
  decoder = _decoder(inputs, fold)
  plain = discrimination.beside(fold, {})
  null = np.array(fold.corpus.outputs.policies) == corpora.NULL
  rows = []
  for split, test in fold.tests().items():
    margins = {
      OWN: test.margins(params),
      'polar surface': test.margins(surface),
      'polar decoder': decoder(test),
      **plain[split],
    }
    rows += test.rows(margins)
    # A policy that says nothing is told apart by its length alone.
    spoken = ~(null[test.drawn.policy] | null[test.drawn.other])
    where = {**test.where, 'split': f'{split}, no null model'}
    some = {method: margin[spoken] for method, margin in margins.items()}
    rows += Test(fold.corpus, test.drawn.take(spoken), where).rows(some)
  return rows + _elsewhere(inputs, params, number)


def _decoder(inputs: Inputs, fold: discrimination.Fold):
  """Returns the margins of the published form, from scratch, of tests."""
  config, node = fold.config, fold.config.training
  features = fold.corpus.features
  judged = fold.training(config.seed).over(features)
  learner = registry.build(
    'learner', {**node.learner.to_dict(), 'length': features.shape[1]}
  )
  batches = pipelines.batches(judged, batch_size=node.batch, seed=config.seed)
  folder = inputs.workdir / 'checkpoints' / f'decoder{fold.where["fold"]}'
  with checkpoint.Checkpoints(folder, keep=1) as manager:
    params = discrimination.fit(
      learner,
      judged,
      config.seed,
      batches=batches,
      manager=manager,
      save_every=100,
      progress=True,
    )

  def margins(test: Test) -> np.ndarray:
    rows = fitting.judgements(0, test.drawn.items, 1).over(features)
    return inference.margins(learner.system.reward, params, rows, block=_BLOCK)

  return margins


def _elsewhere(inputs: Inputs, params, number: int) -> list[Row]:
  """Returns accuracy on sets whose policies are no fold's to hold out."""
  config, rows = inputs.config, []
  for name in ('vicuna', 'math'):
    corpus = inputs.corpus(name)
    everyone = np.arange(len(corpus.outputs.policies))
    prompts = np.unique(corpus.outputs.item_prompt)
    drawn = corpus.draw(everyone, prompts, config.test_per_policy, config.seed)
    where = {'data': name, 'split': 'not_held_out', 'fold': number}
    rows += _beside_length(params, Test(corpus, drawn, where))
  corpus = inputs.corpus('alpaca_eval')
  outputs, pair = corpus.outputs, triples.SERVINGS[0]
  servings = triples.second_servings(
    outputs,
    pair,
    prompts=np.unique(outputs.item_prompt),
    others=np.flatnonzero(~np.isin(outputs.policies, pair)),
    seed=config.seed,
  )
  where = {'data': 'alpaca_eval', 'split': 'second_serving', 'fold': number}
  return rows + _beside_length(params, Test(corpus, servings, where))


def _beside_length(params: types.PyTree, test: Test) -> list[Row]:
  """Returns accuracy of a discriminator and of closeness in length."""
  length = similarities.of_lengths(test.corpus.outputs, test.drawn)
  return test.rows({OWN: test.margins(params), 'length': length})


def generated(inputs: Inputs, number: int) -> list[Row]:
  """Returns discrimination of generated trajectories, and transfer."""
  rows, names = list[Row](), (*corpora.GENERATED, 'alpaca_eval')
  for name in names:
    fold = inputs.fold(name, number)
    params, chosen = inputs.discriminator(name, number)
    known, own = name in corpora.GENERATED, dict[str, discrimination.Margins]()
    if known:  # of others, `real` has the rest
      own = discrimination.with_similarities(fold, params, chosen)
    others = {
      f'{tables.FROM}{source}': inputs.discriminator(source, number)[0]
      for source in names
      if source != name
    }
    for split, test in fold.tests().items():
      moved = {method: test.margins(other) for method, other in others.items()}
      rows += test.rows(own.get(split, {}) | moved)
    if known:
      who = np.isin(fold.corpus.outputs.policies, corpora.TWINS)
      twins = fold.corpus.draw(
        np.flatnonzero(who),
        fold.held.test_prompts,
        inputs.config.test_per_policy,
        inputs.config.seed,
        keep_identical=True,
      )
      where = {**fold.where, 'split': 'identical_policies'}
      rows += _beside_length(params, Test(fold.corpus, twins, where))
  return rows


# --------------------------------------------------------------------- study


def work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns what makes every unit, `KIND-FOLD`, `-SEED` or `-WIDTH-SEED`."""
  inputs, sizes = Inputs(config, folder.path.parent), config.scaling
  node = config_dict.FrozenConfigDict(config.enumerable)
  folds = range(config.folds if config.real else 0)
  others = range(config.generated.folds if config.real else 0)
  return {
    **{f'real-{i}': units.rows(real, inputs, i) for i in folds},
    **{f'ablation-{i}': units.rows(ablation.run, inputs, i) for i in folds},
    **{f'generated-{i}': units.rows(generated, inputs, i) for i in others},
    **{
      f'enumerable-{seed}': units.record(worlds.run, seed, node)
      for seed in config.seeds
    },
    **{
      f'scaling-{width}-{seed}': units.rows(worlds.scale, sizes, width, seed)
      for width in sizes.widths
      for seed in sizes.seeds
    },
  }


def _rows(config, folder: units.Folder, kind: str) -> list[Row]:
  """Returns the rows of all units of a kind."""
  names = [name for name in work(config, folder) if name.startswith(kind)]
  return [row for name in names for row in folder.rows(name)]


def _tables(config, folder: units.Folder) -> study.Tables:
  told, moved, tuned, runs, sizes = (
    _rows(config, folder, kind)
    for kind in ('real', 'generated', 'ablation', 'enumerable', 'scaling')
  )
  return {
    'discrimination': tables.discrimination(told + moved),
    'policies': tables.policies(told + moved),
    'transfer': tables.transfer(told + moved),
    'ablation': tables.ablation(tuned),
    'scaling_fits': worlds.fits(sizes),
    'scaling': sizes,
    'enumerable': worlds.summarise(runs if len(config.seeds) > 1 else []),
  }


def _lines(config, folder: units.Folder) -> Iterator[str]:
  for row in _rows(config, folder, 'real'):
    if row['split'] in discrimination.SPLITS:
      yield json.dumps(row) + '\n'


STUDY = study.Study(work, _tables, tables.answer, page.PAGE, _NOTES, _lines)
