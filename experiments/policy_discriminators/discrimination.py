"""Telling held-out policies apart on held-out prompts."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.policy_discriminators.corpus import Corpus
from prm_jax import types
from prm_jax.data import triples
from prm_jax.lab import fitting
from prm_jax.learners import likeness
from prm_jax.ops.margins import correct
from prm_jax.rewards import gaussian_likeness
from prm_jax.runtime import train
from prm_jax.systems import inference

Row = dict[str, Any]
OWN = 'polar'
learner = functools.lru_cache(maxsize=64)(likeness.likeness)
_reward = functools.lru_cache(maxsize=64)(gaussian_likeness.likeness)


# ------------------------------------------------------------------- triples


def _drawn(corpus, policies, prompts, per_policy, seed):
  """Returns triples of any lengths, and with lengths matched."""
  options = {'policies': policies, 'prompts': prompts, 'per_policy': per_policy}
  options |= corpus.drawing
  return [
    triples.draw(
      corpus.outputs, **options, seed=seed + matched, length_matched=matched
    )
    for matched in (False, True)
  ]


def training_triples(
  corpus: Corpus, held: triples.Split, *, per_policy: int, seed: int
) -> triples.Triples:
  """Returns triples of training policies; half have lengths matched."""
  return triples.joined(
    *_drawn(corpus, held.train, held.train_prompts, per_policy, seed)
  )


def held_out_triples(
  config, corpus: Corpus, held: triples.Split
) -> dict[str, triples.Triples]:
  """Returns name -> triples of held-out policies and prompts."""
  count, seed = config.test_per_policy, config.seed + 100
  drawn = _drawn(corpus, held.test, held.test_prompts, count, seed)
  return dict(zip(('held_out_policies', 'length_matched'), drawn, strict=True))


def judgements(items: np.ndarray, user: Any = 0) -> types.Batch:
  """Returns rows whose first item is closer to `items[:, 2:]`.

  Args:
    items: `[n, 2 + R]`.
    user: `[n]` policies, or what else `learners.likeness` asks for.
  """
  n = len(items)
  return fitting.judgements(np.broadcast_to(user, n), items, np.ones(n))


def rows_of(corpus: Corpus, drawn: triples.Triples) -> types.Batch:
  """Returns triples as judgements of their policies, and prompts if of one."""
  user = np.asarray(drawn.policy)
  if corpus.same_prompt:
    prompt = corpus.outputs.item_prompt
    user = user * (int(prompt.max()) + 1) + prompt[drawn.reference]
  return judgements(drawn.items, user)


# ------------------------------------------------------------ discriminators


def fit(
  learner: types.Learner,
  features: np.ndarray,
  judged: types.Batch,
  *,
  seed: int,
  **options: Any,
) -> types.PyTree:
  """Returns the params of a reward fitted to rows.

  Args:
    learner: of the reward.
    features: `[M, ..., F]`.
    judged: rows of texts.
    seed: of start and batches.
    **options: of `runtime.train.fit`.
  """
  spec, key = types.Spec(features.shape[-1], 1), jax.random.key(seed)
  data = judged.over(features)
  state = train.fit(learner, data, key=key, spec=spec, **options)
  return state.params['reward']


def pretrained(
  config,
  corpus: Corpus,
  held: triples.Split,
  *,
  states: Sequence[float] | None = None,
) -> tuple[types.PyTree, Row]:
  """Returns a discriminator's params, and how it was chosen.

  Size, shrinkage, the weight of the hidden states, and whether to go on by
  gradient steps are chosen on training policies and prompts that are held out
  in their turn.

  Args:
    config: of the study.
    corpus: texts.
    held: what is held out.
    states: weights of the hidden states that are tried; the study's if None.
  """
  node = config.likeness
  inner = triples.inner_splits(corpus.outputs, held, node.inner_folds)
  tried: list[Row] = []

  def best_of(grid: Sequence[Row]) -> Row:
    """Returns the best of all that has been tried, the first of equals."""
    for options in grid:
      right = _accuracy(config, corpus, inner, options)
      tried.append({**options, 'accuracy': right})
    best = max(tried, key=lambda row: row['accuracy'])
    return {name: best[name] for name in names}

  names = ('dim', 'shrinkage', 'states', 'steps')
  axes = node.dims, node.shrinkages, states or node.states, (0,)
  best = best_of(
    [dict(zip(names, v, strict=True)) for v in itertools.product(*axes)]
  )
  # Gradient steps are tried at the best of the closed forms.
  best = best_of([{**best, 'steps': steps} for steps in node.steps])
  params = fitted(config, corpus, held, best, config.seed)
  return params, {'chosen': best, 'tried': tried}


def _accuracy(config, corpus, splits, options) -> float:
  """Returns the mean accuracy of options over inner folds."""
  values = []
  for held in splits:
    params = fitted(config, corpus, held, options, 1)
    sets = held_out_triples(config, corpus, held).values()
    values += [correct(margins(params, corpus, d.items)).mean() for d in sets]
  return float(np.mean(values))


def fitted(
  config,
  corpus: Corpus,
  held: triples.Split,
  options: Mapping[str, Any],
  seed: int,
) -> types.PyTree:
  """Returns params fitted to triples of a split's training policies."""
  drawn = training_triples(
    corpus, held, per_policy=config.likeness.per_policy, seed=seed
  )
  options = dict(options)
  prompts = int(corpus.outputs.item_prompt.max()) + 1
  chosen = learner(
    weights=weights(corpus, options.pop('states')),
    prompts=prompts if corpus.same_prompt else 0,
    **options,
  )
  judged = rows_of(corpus, drawn)
  return fit(chosen, corpus.pooled, judged, seed=config.seed)


def weights(
  corpus: Corpus, states: float
) -> tuple[tuple[int, float], tuple[int, float]]:
  """Returns weights of pooled features: hidden states', and 1 for surface."""
  width = corpus.states.shape[1]
  return (width, states), (corpus.pooled.shape[1] - width, 1.0)


def margins(params: types.PyTree, texts: Any, items: np.ndarray) -> np.ndarray:
  """Returns score(first) - score(second) `[n]` of rows of items.

  Args:
    params: of a discriminator.
    texts: with `pooled` features and `same_prompt`, as a `Corpus`.
    items: `[n, 2 + R]` a pair, and its references.
  """
  reward = _reward(dim=len(params['taste']), same_prompt=texts.same_prompt)
  return inference.margins(reward, params, judgements(items).over(texts.pooled))


# ------------------------------------------------------------------ accuracy


def per_policy(
  corpus: Corpus,
  drawn: triples.Triples,
  margins: Mapping[str, np.ndarray],
  data: str,
  split: str,
  fold: int,
  *,
  trained_on: Mapping[str, str] | None = None,
) -> list[Row]:
  """Returns one row a policy and method, with its prompts' sums.

  `prompts` maps a prompt to [triples told apart, triples]; a tie is half a one.

  Args:
    corpus: texts.
    drawn: n triples.
    margins: method -> `[n]`.
    data: name of the texts.
    split: of the triples.
    fold: of the split.
    trained_on: method -> texts, where these are of another kind.
  """
  rows, outputs = [], corpus.outputs
  prompt = outputs.item_prompt[drawn.positive]
  for policy in np.unique(drawn.policy):
    mine = drawn.policy == policy
    asked, place = np.unique(prompt[mine], return_inverse=True)
    names = [outputs.prompt_ids[p] for p in asked]
    count = np.bincount(place)
    for method, margin in margins.items():
      right = correct(margin[mine])
      sums = np.stack([np.bincount(place, right), count], 1).tolist()
      rows.append(
        {
          'data': data,
          'split': split,
          'fold': fold,
          'policy': outputs.policies[policy],
          'method': method,
          'trained_on': (trained_on or {}).get(method),
          'triples': int(mine.sum()),
          'accuracy': float(right.mean()),
          'prompts': dict(zip(names, sums, strict=True)),
        }
      )
  return rows
