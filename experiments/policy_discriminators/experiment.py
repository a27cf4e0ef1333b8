"""The study: tell policies apart, and use it as a reward; tables and page."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments.policy_discriminators import (
  ablation,
  combination,
  discrimination,
  enumerable,
  page,
  scaling,
  tables,
)
from experiments.policy_discriminators import corpus as corpora
from experiments.policy_discriminators.discrimination import OWN
from prm_jax import registry, types
from prm_jax.audits import similarities
from prm_jax.data import pipelines, triples
from prm_jax.lab import starts, study, units
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


class Discriminator(NamedTuple):
  """A trained discriminator.

  Attributes:
    held: what its fold holds out.
    params: see `rewards.gaussian_likeness`.
    chosen: options that it was fitted with.
  """

  held: triples.Split
  params: types.PyTree
  chosen: Row


class Inputs:
  """What units share, each made when it is first needed."""

  def __init__(self, config, workdir: Path):
    self.config, self.workdir = config, workdir
    self.corpus = functools.cache(self._corpus)
    self.discriminator = functools.cache(self._discriminator)
    self.bar = functools.cache(lambda: ablation.Bar.load(config, self.model))

  @functools.cached_property
  def model(self):
    """The frozen language model."""
    return starts.language_model(self.config)

  def _corpus(self, name: str) -> corpora.Corpus:
    """Returns texts by name; see `corpus.load_by_name`."""
    return corpora.load_by_name(self.config, self.model, name)

  def _discriminator(self, name: str, fold: int) -> Discriminator:
    """Returns what was trained on all texts of a name but a fold's."""
    config, corpus = self.config, self.corpus(name)
    folds, without = config.folds, tuple[str, ...]()
    if name in corpora.GENERATED:
      folds, without = config.generated.folds, corpora.TWINS
    held = triples.split(corpus.outputs, fold, folds, without=without)

    def make():
      params, search = discrimination.pretrained(config, corpus, held)
      return params, {
        'kind': 'likeness',
        'trained_on': name,
        'fold': fold,
        'reading': dict(config.reading),
        'same_prompt': corpus.same_prompt,
        'model': config.model,
        'fingerprint': self.model.fingerprint,
        **search,
      }

    folder = self.workdir / 'discriminators' / f'{name}{fold}'
    params, card = starts.on_disk(folder, make)
    return Discriminator(held, params, card['chosen'])


# --------------------------------------------------------------------- units


def real(inputs: Inputs, fold: int) -> Row:
  """Returns how well AlpacaEval's held-out policies are told apart."""
  config, corpus = inputs.config, inputs.corpus('alpaca_eval')
  held, params, _ = inputs.discriminator('alpaca_eval', fold)
  surface, _ = discrimination.pretrained(config, corpus, held, states=(0.0,))
  decoder = _decoder(inputs, corpus, held, fold)
  sets = discrimination.held_out_triples(config, corpus, held)
  plain = combination.similar(config, corpus, held, sets)
  policies = np.array(corpus.outputs.policies)
  rows, predictions = [], []
  for split, drawn in sets.items():
    margins = {
      OWN: discrimination.margins(params, corpus, drawn.items),
      'polar surface': discrimination.margins(surface, corpus, drawn.items),
      'polar decoder': decoder(drawn),
      **plain[split],
    }
    # A policy that says nothing is told apart by its length alone.
    null = policies[np.stack([drawn.policy, drawn.other])] == corpora.NULL
    for name, shown in (
      (split, np.full(len(drawn.policy), True)),
      (f'{split}, no null model', ~null.any(0)),
    ):
      some = {method: margin[shown] for method, margin in margins.items()}
      rows += discrimination.per_policy(
        corpus, drawn.take(shown), some, 'alpaca_eval', name, fold
      )
    where = {'data': 'alpaca_eval', 'fold': fold, 'split': split}
    predictions += _predictions(corpus, drawn, margins, where)
  rows += _elsewhere(inputs, params, fold)
  return {'rows': rows, 'predictions': predictions}


def _decoder(inputs: Inputs, corpus, held, fold: int):
  """Returns the margins of the published form, from scratch, of triples."""
  config, node = inputs.config, inputs.config.training
  drawn = discrimination.training_triples(
    corpus, held, per_policy=config.likeness.per_policy, seed=config.seed
  )
  judged = discrimination.rows_of(corpus, drawn)
  learner = registry.build(
    'learner', {**node.learner.to_dict(), 'length': corpus.features.shape[1]}
  )
  batches = pipelines.batches(
    judged.over(corpus.features), batch_size=node.batch, seed=config.seed
  )
  folder = inputs.workdir / 'checkpoints' / f'decoder{fold}'
  with checkpoint.Checkpoints(folder, keep=1) as manager:
    params = discrimination.fit(
      learner,
      corpus.features,
      judged,
      seed=config.seed,
      batches=batches,
      manager=manager,
      save_every=100,
      progress=True,
    )

  def margins(drawn: triples.Triples) -> np.ndarray:
    rows = discrimination.judgements(drawn.items).over(corpus.features)
    reward = learner.system.reward
    return inference.margins(reward, params, rows, block=_BLOCK)

  return margins


def _elsewhere(inputs: Inputs, params, fold: int) -> list[Row]:
  """Returns accuracy on sets whose policies are no fold's to hold out."""
  config, rows = inputs.config, []
  for name in ('vicuna', 'math'):
    corpus = inputs.corpus(name)
    outputs, options = corpus.outputs, dict(corpus.drawing)
    if name == 'math':  # eight samples of one policy, against people
      options['references'] = [outputs.policies.index('sampled')]
    drawn = triples.draw(
      outputs,
      policies=np.arange(len(outputs.policies)),
      prompts=np.unique(outputs.item_prompt),
      per_policy=config.test_per_policy,
      seed=config.seed,
      **options,
    )
    rows += _beside_length(params, corpus, drawn, name, 'not_held_out', fold)
  corpus = inputs.corpus('alpaca_eval')
  outputs, pair = corpus.outputs, triples.SERVINGS[0]
  servings = triples.second_servings(
    outputs,
    pair,
    prompts=np.unique(outputs.item_prompt),
    others=np.flatnonzero(~np.isin(outputs.policies, pair)),
    seed=config.seed,
  )
  where = 'alpaca_eval', 'second_serving', fold
  return rows + _beside_length(params, corpus, servings, *where)


def _beside_length(params, corpus, drawn, data, split, fold) -> list[Row]:
  """Returns accuracy of a discriminator and of closeness in length."""
  margins = {
    OWN: discrimination.margins(params, corpus, drawn.items),
    'length': similarities.of_lengths(corpus.outputs, drawn),
  }
  return discrimination.per_policy(corpus, drawn, margins, data, split, fold)


def _predictions(corpus, drawn, margins, where: Row) -> list[Row]:
  """Returns one row a triple, with every method's margin."""
  outputs = corpus.outputs
  policies = np.array(outputs.policies)
  prompts = np.array(outputs.prompt_ids)[outputs.item_prompt]
  names = {
    'policy': policies[drawn.policy],
    'other': policies[drawn.other],
    'reference_prompt': prompts[drawn.reference],
    'prompt': prompts[drawn.positive],
  }
  return [
    {
      **where,
      **{name: str(column[i]) for name, column in names.items()},
      'margins': {name: float(m[i]) for name, m in margins.items()},
    }
    for i in range(len(drawn.policy))
  ]


def generated(inputs: Inputs, fold: int) -> Row:
  """Returns discrimination of generated trajectories, and transfer."""
  config, rows = inputs.config, []
  for name in corpora.GENERATED:
    corpus = inputs.corpus(name)
    held, params, chosen = inputs.discriminator(name, fold)
    weights = combination.fit(config, corpus, held, chosen)
    sets = discrimination.held_out_triples(config, corpus, held)
    plain = combination.similar(config, corpus, held, sets)
    for split, drawn in sets.items():
      own = {OWN: discrimination.margins(params, corpus, drawn.items)}
      both = combination.summed(weights, plain[split] | own)
      rows += _of_others(
        inputs,
        corpus,
        drawn,
        plain[split] | own | {combination.NAME: both},
        [n for n in (*corpora.GENERATED, 'alpaca_eval') if n != name],
        (f'generated {name}', split, fold),
      )
    twins = triples.draw(
      corpus.outputs,
      policies=[corpus.outputs.policies.index(twin) for twin in corpora.TWINS],
      prompts=held.test_prompts,
      per_policy=config.test_per_policy,
      seed=config.seed,
      keep_identical=True,
      **corpus.drawing,
    )
    where = f'generated {name}', 'identical_policies', fold
    rows += _beside_length(params, corpus, twins, *where)
  corpus = inputs.corpus('alpaca_eval')
  held = triples.split(corpus.outputs, fold, config.folds)
  sets = discrimination.held_out_triples(config, corpus, held)
  for split, drawn in sets.items():
    where = 'alpaca_eval', split, fold
    rows += _of_others(inputs, corpus, drawn, {}, corpora.GENERATED, where)
  return {'rows': rows}


def _of_others(inputs: Inputs, corpus, drawn, margins, sources, where):
  """Returns accuracy, of discriminators of other texts besides `margins`.

  Args:
    inputs: of all units.
    corpus: texts.
    drawn: triples of them.
    margins: method -> of triples.
    sources: names of other texts, on which discriminators were trained.
    where: data, split and fold.
  """
  trained_on = {tables.transferred(source): source for source in sources}
  for method, source in trained_on.items():
    other = inputs.discriminator(source, where[2]).params
    margins[method] = discrimination.margins(other, corpus, drawn.items)
  return discrimination.per_policy(
    corpus, drawn, margins, *where, trained_on=trained_on
  )


def fine_tuned(inputs: Inputs, fold: int) -> Row:
  """Returns the ablation of a fold."""
  params = inputs.discriminator('alpaca_eval', fold).params
  corpus = inputs.corpus('judged')
  rows = ablation.run(inputs.config, corpus, inputs.bar(), fold, params)
  return {'rows': rows}


def world(inputs: Inputs, seed: int) -> Row:
  """Returns fine-tuning towards targets in the enumerable world."""
  node = config_dict.FrozenConfigDict(inputs.config.enumerable)
  return enumerable.run(seed, node)


def size(inputs: Inputs, width: int, seed: int) -> Row:
  """Returns the losses of one size along its training."""
  return {'rows': scaling.run(inputs.config.scaling, width, seed)}


# --------------------------------------------------------------------- study

Named = dict[str, tuple[int, ...]]
_KINDS: dict[str, Callable[..., Row]] = {
  'real': real,
  'ablation': fine_tuned,
  'generated': generated,
  'enumerable': world,
  'scaling': size,
}


def named(config) -> dict[str, Named]:
  """Returns kind -> name of every unit -> what it is of."""
  folds = range(config.folds if config.real else 0)
  others = range(config.generated.folds if config.real else 0)
  node = config.scaling
  of: dict[str, list[tuple[int, ...]]] = {
    'real': [(fold,) for fold in folds],
    'ablation': [(fold,) for fold in folds],
    'generated': [(fold,) for fold in others],
    'enumerable': [(seed,) for seed in config.seeds],
    'scaling': [(width, seed) for width in node.widths for seed in node.seeds],
  }
  return {
    kind: {'-'.join([kind, *map(str, numbers)]): numbers for numbers in all_}
    for kind, all_ in of.items()
  }


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  inputs = Inputs(config, folder.path.parent)
  return {
    name: units.record(_KINDS[kind], inputs, *numbers)
    for kind, members in named(config).items()
    for name, numbers in members.items()
  }


def _tables(config, folder: units.Folder) -> study.Tables:
  rows = {
    kind: [row for name in members for row in folder.rows(name)]
    for kind, members in named(config).items()
  }
  triples_ = rows['real'] + rows['generated']
  worlds = rows['enumerable'] if len(config.seeds) > 1 else []
  return {
    'discrimination': tables.discrimination(triples_),
    'policies': tables.policies(triples_),
    'transfer': tables.transfer(triples_),
    'ablation': tables.ablation(rows['ablation']),
    'scaling_fits': scaling.fits(rows['scaling']),
    'scaling': rows['scaling'],
    'enumerable': enumerable.summarise(worlds),
  }


def _lines(config, folder: units.Folder) -> Iterator[str]:
  for name in named(config)['real']:
    for row in folder.read(name).record['predictions']:
      yield json.dumps(row) + '\n'


STUDY = study.Study(
  _work,
  _tables,
  answer=tables.answer,
  page=page.PAGE,
  notes=_NOTES,
  predictions=_lines,
)
