"""Telling held-out policies apart on held-out prompts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import baselines, corpus, training
from prm_jax import types
from prm_jax.data import triples
from prm_jax.models import embeddings
from prm_jax.ops.margins import correct

Row = dict[str, Any]
_NGRAMS = ((2, 3), (3, 4, 5))
_MINILM_LAYER = (6,)


class Split(NamedTuple):
  """Who and what is held out.

  Attributes:
    train, test: policies; train_prompts, test_prompts: prompts.
  """

  train: np.ndarray
  test: np.ndarray
  train_prompts: np.ndarray
  test_prompts: np.ndarray


def split(found: corpus.Corpus, fold: int, folds: int) -> Split:
  """Returns fold `fold`: policies by family, prompts by hash."""
  outputs = found.outputs
  group = triples.folds(outputs.policies, folds, 0)
  part = corpus.parts(outputs, folds)
  return Split(
    np.flatnonzero(group != fold),
    np.flatnonzero(group == fold),
    np.flatnonzero((part != fold) & (part >= 0)),
    np.flatnonzero(part == fold),
  )


def training_triples(
  found: corpus.Corpus, held: Split, *, per_policy: int, seed: int
) -> triples.Triples:
  """Returns triples of training policies; half have lengths matched."""
  options: dict[str, Any] = {
    'policies': held.train,
    'prompts': held.train_prompts,
    'per_policy': per_policy,
    **found.drawing,
  }
  return training.joined(
    triples.draw(found.outputs, **options, seed=seed),
    triples.draw(found.outputs, **options, seed=seed + 1, length_matched=True),
  )


def tuning_triples(
  config, found: corpus.Corpus, held: Split
) -> triples.Triples:
  """Returns triples of training policies for what baselines choose."""
  return training_triples(found, held, per_policy=50, seed=config.seed + 50)


def rows_of(found: corpus.Corpus, drawn: triples.Triples) -> types.Batch:
  """Returns a corpus's triples as judgements."""
  prompt = found.outputs.item_prompt if found.same_prompt else None
  return training.as_rows(drawn, prompt)


def margins_of(
  params: types.PyTree, found: corpus.Corpus, drawn: triples.Triples
) -> np.ndarray:
  """Returns score(positive) - score(negative) `[n]`."""
  return training.likeness_margins(
    params, found.pooled, rows_of(found, drawn), same_prompt=found.same_prompt
  )


def weights(
  found: corpus.Corpus, states: float
) -> tuple[tuple[int, float], ...]:
  """Returns weights of pooled features: hidden states', and 1 for surface."""
  width = found.features.shape[2]
  return (width, states), (found.pooled.shape[1] - width, 1.0)


def pretrained(
  config, found: corpus.Corpus, held: Split, *, states=None
) -> tuple[types.PyTree, Row]:
  """Returns a discriminator's params, and how it was chosen.

  Size, shrinkage, the weight of the hidden states, and whether to go on by
  gradient steps are chosen on training policies and prompts that are held out
  in their turn.

  Args:
    config: of the study.
    found: texts.
    held: what is held out.
    states: weights of the hidden states that are tried; the study's if None.
  """
  node = config.likeness
  inner = inner_splits(found.outputs, held, node.inner_folds)

  def tried(options):
    return _inner(config, found, inner, options), options

  # Gradient steps are tried at the best of the closed forms.
  scored = [
    tried({'dim': dim, 'shrinkage': shrinkage, 'states': weight, 'steps': 0})
    for dim in node.dims
    for shrinkage in node.shrinkages
    for weight in (states or node.states)
  ]
  best = max(scored, key=lambda pair: pair[0])[1]
  scored += [tried({**best, 'steps': steps}) for steps in node.steps]
  best = max(scored, key=lambda pair: pair[0])[1]
  params = fitted(config, found, held, best, config.seed)
  return params, {
    'chosen': best,
    'tried': [{**options, 'accuracy': value} for value, options in scored],
  }


def fitted(config, found, held, options, seed) -> types.PyTree:
  """Returns params fitted to triples of a split's training policies."""
  drawn = training_triples(
    found, held, per_policy=config.likeness.per_policy, seed=seed
  )
  options = dict(options)
  weight = weights(found, options.pop('states'))
  prompts = int(found.outputs.item_prompt.max()) + 1
  return training.fit_likeness(
    found.pooled, rows_of(found, drawn), seed=config.seed, weights=weight,
    prompts=prompts if found.same_prompt else 0, **options,
  )  # fmt: skip


def inner_splits(outputs, held: Split, folds: int) -> list[Split]:
  """Returns splits of the training policies and prompts alone."""
  names = [outputs.policies[p] for p in held.train]
  group = triples.folds(names, folds, 1)
  part = np.arange(len(held.train_prompts)) % folds
  return [
    Split(
      held.train[group != fold],
      held.train[group == fold],
      held.train_prompts[part != fold],
      held.train_prompts[part == fold],
    )
    for fold in range(folds)
  ]


def _inner(config, found, splits, options) -> float:
  """Returns the mean accuracy of options over inner folds."""
  values = []
  for held in splits:
    params = fitted(config, found, held, options, 1)
    sets = held_out_triples(config, found, held)
    values += [accuracy(margins_of(params, found, d)) for d in sets.values()]
  return float(np.mean(values))


def held_out_triples(
  config, found: corpus.Corpus, held: Split
) -> dict[str, triples.Triples]:
  """Returns name -> triples of held-out policies and prompts."""
  options: dict[str, Any] = {
    'policies': held.test,
    'prompts': held.test_prompts,
    'per_policy': config.test_per_policy,
    **found.drawing,
  }
  seed, outputs = config.seed + 100, found.outputs
  return {
    'held_out_policies': triples.draw(outputs, **options, seed=seed),
    'length_matched': triples.draw(
      outputs, **options, seed=seed + 1, length_matched=True
    ),
  }


def baseline_margins(
  config, found: corpus.Corpus, held: Split,
  sets: Mapping[str, triples.Triples], tuning: triples.Triples,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
  """Returns split -> method -> margins `[n]` of test triples.

  Args:
    config: of the study.
    found: texts and features.
    held: for what is chosen: on training policies alone.
    sets: split -> test triples.
    tuning: triples of training policies.
  """
  texts = found.outputs.texts
  counted = {
    f'ngrams {sizes}': baselines.ngrams(texts, sizes) for sizes in _NGRAMS
  }
  mean = found.pooled[:, : found.features.shape[2]]
  known = np.isin(found.outputs.item_policy, held.train)
  known &= np.isin(found.outputs.item_prompt, held.train_prompts)
  centred = mean - mean[known].mean(0)
  states = {
    'raw': baselines.normalized(mean),
    'centred': baselines.normalized(centred),
  }
  vectors = {
    'ngrams': _best(counted, tuning),
    'minilm': _minilm(texts, training.joined(*sets.values())),
    'frozen': _best(states, tuning),
  }
  margins: dict[str, dict[str, np.ndarray]] = {}
  for name, drawn in sets.items():
    # Other numbers in every fold and split.
    rng = np.random.default_rng([config.seed, *drawn.positive[:4]])
    margins[name] = {
      'length': length_margins(found.outputs, drawn),
      **{method: _cosine(v, drawn) for method, v in vectors.items()},
      'random': rng.normal(size=len(drawn.policy)),
    }
  return margins


def length_margins(outputs, drawn: triples.Triples) -> np.ndarray:
  """Returns margins `[n]` of closeness in length."""
  return _difference(
    lambda r, c: baselines.length_closeness(outputs.texts, r, c), drawn
  )


def _minilm(texts, drawn) -> np.ndarray:
  """Returns unit vectors `[M, D]`, of the texts that the triples use."""
  used = np.unique(np.concatenate(drawn[:3]))
  encoder = embeddings.Encoder.load()
  vectors = embeddings.embed(
    [texts[i] for i in used], encoder, layers=_MINILM_LAYER
  )
  found = np.zeros((len(texts), vectors.shape[1]), np.float32)
  found[used] = baselines.normalized(vectors)
  return found


def _best(choices: Mapping[str, Any], tuning: triples.Triples):
  """Returns the vectors that tell training policies apart best."""
  return max(
    choices.values(), key=lambda vectors: accuracy(_cosine(vectors, tuning))
  )


def _cosine(vectors, drawn: triples.Triples) -> np.ndarray:
  return _difference(lambda r, c: baselines.closeness(vectors, r, c), drawn)


def _difference(close, drawn: triples.Triples) -> np.ndarray:
  near = close(drawn.reference, drawn.positive)
  return near - close(drawn.reference, drawn.negative)


def accuracy(margin: np.ndarray) -> float:
  """Returns the share of positive margins; ties count half."""
  return float(np.mean(correct(margin)))


def per_policy(
  outputs, drawn: triples.Triples, margins: Mapping[str, np.ndarray],
  **where: Any,
) -> list[Row]:  # fmt: skip
  """Returns one row a policy and method, with its prompts' sums.

  `prompts` maps a prompt to [triples told apart, triples]; a tie is half a one.
  """
  rows = []
  prompt = outputs.item_prompt[drawn.positive]
  for policy in np.unique(drawn.policy):
    mine = drawn.policy == policy
    asked, place = np.unique(prompt[mine], return_inverse=True)
    names = [outputs.prompt_ids[p] for p in asked]
    count = np.bincount(place)
    for method, margin in margins.items():
      right = np.bincount(place, correct(margin[mine]))
      sums = np.stack([right, count], 1).tolist()
      rows.append(
        {
          **where,
          'policy': outputs.policies[policy],
          'method': method,
          'triples': int(mine.sum()),
          'accuracy': accuracy(margin[mine]),
          'prompts': dict(zip(names, sums, strict=True)),
        }
      )
  return rows
