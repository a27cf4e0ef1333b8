"""Fitting policy discriminators to triples and rankings, and their scores."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.data import pipelines, triples
from prm_jax.learners import likeness, polar
from prm_jax.rewards import discriminative
from prm_jax.rewards import likeness as likenesses
from prm_jax.runtime import checkpoint, train, trees
from prm_jax.users import references

_BLOCK = 512  # rows scored at once


def as_rows(
  drawn: triples.Triples, prompt: np.ndarray | None = None
) -> types.Batch:
  """Returns triples as judgements.

  Args:
    drawn: triples.
    prompt: `[M]` of every text, if all answers of a triple are to one; the
      rows' `user` then names policy and prompt, as `learners.likeness` asks.
  """
  columns = [drawn.positive, drawn.negative, drawn.reference]
  user = np.asarray(drawn.policy)
  if prompt is not None:
    user = user * (int(prompt.max()) + 1) + prompt[drawn.reference]
  return judgements(np.stack(columns, 1), user)


def judgements(
  items: np.ndarray, user: np.ndarray | None = None
) -> types.Batch:
  """Returns rows whose first item is closer to `items[:, 2:]`."""
  n = len(items)
  ones = np.ones(n, np.float32)
  user = np.zeros(n) if user is None else user
  rows = types.Judgements(
    np.asarray(user, np.int32), ones, ones, np.arange(n, dtype=np.int32)
  )
  return types.Batch(rows, types.Inputs(None, items.astype(np.int32)))


def joined(*given: triples.Triples) -> triples.Triples:
  """Returns the triples of all."""
  leaves = zip(*given, strict=True)
  return triples.Triples(*(np.concatenate(leaf) for leaf in leaves))


# ------------------------------------------------------------------ Gaussians


def fit_likeness(
  pooled: np.ndarray, judged: types.Batch, *, seed: int,
  given: types.PyTree = None, **options: Any,
) -> types.PyTree:  # fmt: skip
  """Returns the params of `rewards.likeness` fitted to rows.

  Args:
    pooled: `[M, F]` features.
    judged: see `learners.likeness`.
    seed: of start and batches.
    given: params to go on from; `options` say where to start if None.
    **options: of the learner.
  """
  if given is not None:
    options |= {'start': 'given', 'dim': len(given['taste'])}
  learner = _likeness(**options)
  start = {} if given is None else trees.flat(given, 'params/reward')
  state = train.fit(
    learner, judged.over(pooled), key=jax.random.key(seed), given=start,
    spec=types.Spec(pooled.shape[1], 1),
  )  # fmt: skip
  return state.params['reward']


_likeness = functools.lru_cache(maxsize=64)(likeness.likeness)


def likeness_margins(
  params: types.PyTree,
  pooled: np.ndarray,
  judged: types.Batch,
  *,
  same_prompt: bool = False,
) -> np.ndarray:
  """Returns score(first) - score(second) `[n]` of every row."""
  reward = likenesses.likeness(
    dim=len(params['taste']), same_prompt=same_prompt
  )
  encoded = reward.encode(params, jnp.asarray(pooled))

  def margin(items):
    chosen = encoded[items]
    known = references.given(chosen)
    score = reward.score(params, chosen[:, :2], known).score
    return score[:, 0] - score[:, 1]

  return np.asarray(jax.jit(margin)(jnp.asarray(judged.inputs.index)))


# ------------------------------------------------------------------- decoders


def fit_decoder(
  node: Mapping[str, Any], features: np.ndarray, judged: types.Batch, *,
  seed: int, folder: Path,
) -> types.PyTree:  # fmt: skip
  """Returns the params of a decoder that compares texts, from scratch.

  Args:
    node: `sizes`, `steps`, `batch`, `learning_rate`, `weight_decay`.
    features: `[M, T, F]`.
    judged: see `learners.polar`.
    seed: of start and order.
    folder: of checkpoints, for this fit alone; it goes on from there.
  """
  learner = polar.polar(
    config=dict(node['sizes']), length=features.shape[1], embedded=True,
    steps=node['steps'], learning_rate=node['learning_rate'],
    weight_decay=node['weight_decay'],
  )  # fmt: skip
  data = judged.over(features)
  batches = pipelines.batches(data, batch_size=node['batch'], seed=seed)
  with checkpoint.Checkpoints(folder, keep=1) as manager:
    state = train.fit(
      learner, data, batches=batches, key=jax.random.key(seed),
      spec=types.Spec(features.shape[2], 1), manager=manager,
      save_every=100, progress=True,
    )  # fmt: skip
  return state.params['reward']


def decoder_margins(
  node: Mapping[str, Any], params: types.PyTree, features: np.ndarray,
  judged: types.Batch,
) -> np.ndarray:  # fmt: skip
  """Returns score(first) - score(second) `[n]` of every row."""
  sizes = tuple(sorted(dict(node['sizes']).items()))
  values, found = jnp.asarray(features), []
  items = np.asarray(judged.inputs.index)
  for first in range(0, len(items), _BLOCK):
    index = np.minimum(np.arange(first, first + _BLOCK), len(items) - 1)
    found.append(_margin(sizes, params, values, items[index]))
  return np.concatenate(found)[: len(items)]


@functools.partial(jax.jit, static_argnums=0)
def _margin(sizes, params, features, items):
  reward = discriminative.discriminative(config=dict(sizes), embedded=True)
  encoded = reward.encode(params, features[items])
  known = references.given(encoded)
  score = reward.score(params, encoded[:, :2], known).score
  return score[:, 0] - score[:, 1]
