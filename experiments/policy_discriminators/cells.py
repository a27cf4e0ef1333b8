"""What the study computes, a piece at a time; every piece is kept on disk."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.policy_discriminators import (
  ablation,
  combination,
  corpus,
  discrimination,
  enumerable,
  scaling,
  training,
)
from prm_jax import types
from prm_jax.data import load, triples
from prm_jax.models.language_model import LanguageModel
from prm_jax.runtime import export, writers

Row = dict[str, Any]
Cell = dict[str, Any]


class Study:
  """The study's inputs, each made when it is first needed."""

  def __init__(self, config, workdir: Path):
    self.config, self.workdir = config, workdir
    self._made: dict[str, Any] = {}

  def once(self, name: str, make: Callable[[], Any]) -> Any:
    """Returns what `make` makes, made once."""
    if name not in self._made:
      self._made[name] = make()
    return self._made[name]

  @property
  def model(self) -> LanguageModel:
    """The frozen language model."""
    source = self.config.model
    return self.once(
      'model', lambda: LanguageModel.load(Path(source) if source else None)
    )

  def corpus(self, name: str) -> corpus.Corpus:
    """Returns texts by name: 'alpaca_eval', 'judged', 'chat', ..."""
    config = self.config
    if name == 'alpaca_eval':
      return self.once(name, lambda: corpus.real(config, self.model))
    if name == 'judged':
      return self.once(name, lambda: corpus.judged(config, self.model))
    if name in ('chat', 'arithmetic'):
      return self.once(name, lambda: corpus.generated(config, self.model, name))
    read = {'vicuna': load.vicuna_outputs, 'math': load.math_samples}[name]

    def make():
      outputs = read(config.data.dir or None)
      drawing = {'same_prompt': True} if name == 'math' else {}
      return corpus.read(config, self.model, outputs, **drawing)

    return self.once(name, make)

  def discriminator(
    self, name: str, fold: int, folds: int
  ) -> tuple[discrimination.Split, types.PyTree]:
    """Returns what a fold holds out, and the params trained on the rest."""
    found = self.corpus(name)
    held = discrimination.split(found, fold, folds)
    if name in ('chat', 'arithmetic'):
      held = _without_twins(found, held)
    folder = self.workdir / 'discriminators' / f'{name}{fold}'

    def make():
      if not (folder / 'metadata.json').exists():
        params, chosen = discrimination.pretrained(self.config, found, held)
        card = self.card(name, fold) | chosen
        export.export_parameters(params, folder, card)
      return export.load_parameters(folder)

    return held, self.once(f'params {name} {fold}', make)[0]

  def chosen(self, name: str, fold: int, folds: int) -> Row:
    """Returns the options that a fold's discriminator was fitted with."""
    self.discriminator(name, fold, folds)
    card = self.once(f'params {name} {fold}', dict)[1]
    return dict(card['chosen'])

  def card(self, name: str, fold: int) -> dict[str, Any]:
    """Returns what the exported params are, besides arrays."""
    config = self.config
    return {
      'kind': 'likeness',
      'trained_on': name,
      'fold': fold,
      'reading': dict(config.reading),
      'same_prompt': self.corpus(name).same_prompt,
      'model': config.model,
      'fingerprint': self.model.fingerprint,
    }


def _without_twins(found, held: discrimination.Split) -> discrimination.Split:
  names = np.array(found.outputs.policies)
  return held._replace(
    train=held.train[~np.isin(names[held.train], corpus.TWINS)],
    test=held.test[~np.isin(names[held.test], corpus.TWINS)],
  )


def real(study: Study, fold: int) -> Cell:
  """Returns how well AlpacaEval's held-out policies are told apart."""
  config, found = study.config, study.corpus('alpaca_eval')
  held, params = study.discriminator('alpaca_eval', fold, config.folds)
  where = {'data': 'alpaca_eval', 'fold': fold}
  tuning = discrimination.tuning_triples(config, found, held)
  rows, predictions = [], []
  decoder = _decoder(study, held, fold)
  surface, _ = discrimination.pretrained(config, found, held, states=(0.0,))
  sets = discrimination.held_out_triples(config, found, held)
  plain = discrimination.baseline_margins(config, found, held, sets, tuning)
  for split, drawn in sets.items():
    margins = {
      'polar': discrimination.margins_of(params, found, drawn),
      'polar surface': discrimination.margins_of(surface, found, drawn),
      'polar decoder': training.decoder_margins(
        config.training, decoder, found.features, training.as_rows(drawn)
      ),
      **plain[split],
    }
    # A policy that says nothing is told apart by its length alone.
    for name, kept in (
      (split, np.full(len(drawn.policy), True)),
      (f'{split}, no null model', _without_null(found.outputs, drawn)),
    ):
      rows += discrimination.per_policy(
        found.outputs, triples.Triples(*(leaf[kept] for leaf in drawn)),
        {method: margin[kept] for method, margin in margins.items()},
        **where, split=name,
      )  # fmt: skip
    predictions += _predictions(found.outputs, drawn, margins, where, split)
  rows += _elsewhere(study, params, fold)
  return {'rows': rows, 'predictions': predictions}


def _without_null(outputs, drawn: triples.Triples) -> np.ndarray:
  """Returns `[n]` False where `corpus.NULL` is one of the two policies."""
  null = np.array(outputs.policies) == corpus.NULL
  return ~(null[drawn.policy] | null[drawn.other])


def _elsewhere(study: Study, params, fold: int) -> list[Row]:
  """Returns accuracy on sets whose policies are no fold's to hold out."""
  config, rows = study.config, []
  for name in ('vicuna', 'math'):
    found = study.corpus(name)
    outputs = found.outputs
    options: dict[str, Any] = {}
    prompts = np.unique(outputs.item_prompt)
    everybody = np.arange(len(outputs.policies))
    if name == 'math':  # eight samples of one policy, against people
      options = {'references': [outputs.policies.index('sampled')]}
    drawn = triples.draw(
      outputs, policies=everybody, prompts=prompts,
      per_policy=config.test_per_policy, seed=config.seed, **options,
      **found.drawing,
    )  # fmt: skip
    rows += _beside_length(
      params, found, drawn, data=name, split='not_held_out', fold=fold
    )
  found = study.corpus('alpaca_eval')
  names = found.outputs.policies
  others = np.flatnonzero(~np.isin(names, triples.SERVINGS[0]))
  servings = triples.second_servings(
    found.outputs, triples.SERVINGS[0],
    prompts=np.unique(found.outputs.item_prompt),
    others=others, seed=config.seed,
  )  # fmt: skip
  return rows + _beside_length(
    params, found, servings, data='alpaca_eval', split='second_serving',
    fold=fold,
  )  # fmt: skip


def _beside_length(params, found: corpus.Corpus, drawn, **where) -> list[Row]:
  """Returns accuracy of a discriminator and of closeness in length."""
  margins = {
    'polar': discrimination.margins_of(params, found, drawn),
    'length': discrimination.length_margins(found.outputs, drawn),
  }
  return discrimination.per_policy(found.outputs, drawn, margins, **where)


def _decoder(study: Study, held, fold: int) -> types.PyTree:
  """Returns the published form, from scratch on the same triples."""
  config, found = study.config, study.corpus('alpaca_eval')
  drawn = discrimination.training_triples(
    found, held, per_policy=config.likeness.per_policy, seed=config.seed
  )
  return training.fit_decoder(
    config.training, found.features, training.as_rows(drawn),
    seed=config.seed, folder=study.workdir / 'checkpoints' / f'decoder{fold}',
  )  # fmt: skip


def _predictions(outputs, drawn, margins, where, split) -> list[Row]:
  """Returns one row a triple, with every method's margin."""
  names = outputs.policies
  return [
    {
      **where,
      'split': split,
      'policy': names[drawn.policy[i]],
      'other': names[drawn.other[i]],
      'reference_prompt': outputs.prompt_ids[
        outputs.item_prompt[drawn.reference[i]]
      ],
      'prompt': outputs.prompt_ids[outputs.item_prompt[drawn.positive[i]]],
      'margins': {name: float(m[i]) for name, m in margins.items()},
    }
    for i in range(len(drawn.policy))
  ]


def generated(study: Study, fold: int) -> Cell:
  """Returns discrimination of generated trajectories, and transfer."""
  config = study.config
  folds = config.generated.folds
  rows: list[Row] = []
  trained = {
    name: study.discriminator(name, fold, folds)
    for name in ('chat', 'arithmetic')
  }
  for name in ('chat', 'arithmetic'):
    found, (held, _) = study.corpus(name), trained[name]
    sets = discrimination.held_out_triples(config, found, held)
    tuning = discrimination.tuning_triples(config, found, held)
    plain = discrimination.baseline_margins(config, found, held, sets, tuning)
    weights = combination.fit(
      config, found, held, study.chosen(name, fold, folds)
    )
    for split, drawn in sets.items():
      margins = dict(plain[split])
      for source, (_, params) in trained.items():
        method = 'polar' if source == name else f'polar from {source}'
        margins[method] = discrimination.margins_of(params, found, drawn)
      margins[combination.NAME] = combination.margins(
        weights, margins['polar'], plain[split]
      )
      _, params = study.discriminator('alpaca_eval', fold, config.folds)
      margins['polar from alpaca_eval'] = discrimination.margins_of(
        params, found, drawn
      )
      rows += discrimination.per_policy(
        found.outputs, drawn, margins, data=f'generated {name}', split=split,
        fold=fold,
      )  # fmt: skip
    rows += _twins(study, name, trained[name][1], held, fold)
  rows += _to_real(study, trained, fold)
  return {'rows': rows}


def _twins(study: Study, name, params, held, fold: int) -> list[Row]:
  """Returns accuracy between two names of one policy: chance."""
  found = study.corpus(name)
  twins = [found.outputs.policies.index(twin) for twin in corpus.TWINS]
  drawn = triples.draw(
    found.outputs, policies=np.array(twins), prompts=held.test_prompts,
    per_policy=study.config.test_per_policy, seed=study.config.seed,
    keep_identical=True, **found.drawing,
  )  # fmt: skip
  return _beside_length(
    params, found, drawn, data=f'generated {name}', split='identical_policies',
    fold=fold,
  )  # fmt: skip


def _to_real(study: Study, trained, fold: int) -> list[Row]:
  """Returns what discriminators of generated texts make of real ones."""
  config, found = study.config, study.corpus('alpaca_eval')
  held = discrimination.split(found, fold, config.folds)
  sets = discrimination.held_out_triples(config, found, held)
  rows: list[Row] = []
  for split, drawn in sets.items():
    margins = {
      f'polar from {source}': discrimination.margins_of(params, found, drawn)
      for source, (_, params) in trained.items()
    }
    rows += discrimination.per_policy(
      found.outputs, drawn, margins, data='alpaca_eval', split=split,
      fold=fold,
    )  # fmt: skip
  return rows


def fine_tuned(study: Study, fold: int) -> Cell:
  """Returns the ablation of a fold."""
  config = study.config
  bar = study.once('llmbar', lambda: ablation.Bar.load(config, study.model))
  _, params = study.discriminator('alpaca_eval', fold, config.folds)
  rows = ablation.run(config, study.corpus('judged'), bar, fold, params)
  return {'rows': rows}


def jobs(config) -> dict[str, Callable[[Study], Cell]]:
  """Returns name -> function of every piece, in order."""
  found: dict[str, Callable[[Study], Cell]] = {}
  part = functools.partial
  for fold in range(config.folds if config.real else 0):
    found[f'real-{fold}'] = part(real, fold=fold)
    found[f'ablation-{fold}'] = part(fine_tuned, fold=fold)
  for fold in range(config.generated.folds if config.real else 0):
    found[f'generated-{fold}'] = part(generated, fold=fold)
  for seed in config.seeds:
    found[f'enumerable-{seed}'] = part(world, seed=seed)
  for width in config.scaling.widths:
    for seed in config.scaling.seeds:
      found[f'scaling-{width}-{seed}'] = part(size, width=width, seed=seed)
  return found


def world(study: Study, seed: int) -> Cell:
  """Returns fine-tuning towards targets in the enumerable world."""
  settings = enumerable.Settings(**dict(study.config.enumerable))
  return enumerable.run(seed, settings)


def size(study: Study, width: int, seed: int) -> Cell:
  """Returns the losses of one size along its training."""
  return {'rows': scaling.run(study.config.scaling, width, seed)}


def cell(study: Study, name: str, make: Callable[[Study], Cell]) -> Cell:
  """Returns a piece, computed if it is not on disk."""
  path = study.workdir / 'cells' / f'{name}.json'
  if not path.exists():
    writers.write_json_atomic(path, make(study))
  return json.loads(path.read_text())
