"""A meta reward model: how likely a text of the weak judge is to be right."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from experiments.reasoning_rewards import (
  judges,
  problems,
  reasoning,
  scalars,
  votes,
)
from prm_jax import judging_tasks, types
from prm_jax.lab import units
from prm_jax.models import decoder
from prm_jax.ops import statistics
from prm_jax.policy import padding, tasks
from prm_jax.worlds import judging, judging_traces


class Texts(NamedTuple):
  """B texts behind their prompts.

  Attributes:
    ids: `[B, P + N]`, prompts padded on the left, texts on the right.
    last: `[B]` place of the last token, at which it is scored.
    right: `[B]` 1 where the verdict is right.
    mask: `[B]`.
    example_id: `[B]`.
  """

  ids: np.ndarray
  last: np.ndarray
  right: np.ndarray
  mask: np.ndarray
  example_id: np.ndarray

  def take(self, rows: np.ndarray) -> 'Texts':
    """Returns some of the texts."""
    return Texts(*(leaf[rows] for leaf in self))


def texts(
  task: tasks.Task, rows: np.ndarray, ids: np.ndarray, right: np.ndarray
) -> Texts:
  """Returns texts `[B, N]` on rows `[B]` of a task."""
  whole, seen = map(
    np.asarray, padding.follow(task.prompts(rows), judging.texts(ids))
  )
  last = whole.shape[1] - 1 - seen[:, ::-1].argmax(1)
  B = len(whole)
  ones, number = np.ones(B, np.float32), np.arange(B, dtype=np.int32)
  return Texts(whole, last, right.astype(np.float32), ones, number)


def learner(
  config: decoder.DecoderConfig,
  known: Texts,
  *,
  rate: float,
  steps: int,
  batch: int,
) -> types.Learner:
  """Returns the learner of a meta reward model: the cross-entropy of `right`.

  Args:
    config: sizes.
    known: texts to learn from.
    rate: of Adam.
    steps: updates.
    batch: texts of an update.

  References:
    Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.
  """
  init, score = scalars.network(config)

  def collect(key, state, rows):
    del state, rows
    row = tasks.generator(key).integers(0, len(known.right), batch)
    return types.Batch(known.take(row)), {}

  def objective(params, people, state, batch, gather):
    del people, state, gather
    some = batch.rows
    found = score(params['policy'], some.ids, some.last[:, None])[:, 0]
    total = optax.sigmoid_binary_cross_entropy(found, some.right)
    return {'nll': (total, jnp.ones_like(total))}, {}, {}

  return scalars.judge(init, collect, objective, rate, steps)


def run(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns scores `meta` `[B, n]` of the texts of a seed's votes.

  It starts from the weak judge, and learns from its texts on problems that
  are trained on, none of which is tested.
  """
  node, sizes = config.votes, judges.sizes(config.judge)
  params = reasoning.of_seed(config, folder, seed, 'weak')
  world = problems.world(config.problems, seed)
  given = problems.spread(problems.trained(world, seed), node.meta.prompts)
  task = judging_tasks.judgements(given)
  rows = np.repeat(np.arange(len(given.right)), node.meta.texts)
  ids = judges.written(
    jax.random.fold_in(jax.random.key(seed), 1), sizes, params, task, rows
  )
  right = judging_traces.grade(given.take(rows), ids).verdict
  schedule = {name: node.meta[name] for name in ('rate', 'steps', 'batch')}
  made = learner(sizes, texts(task, rows, ids, right), **schedule)
  trunk = {'params': {k: v for k, v in params['params'].items() if k != 'head'}}
  start = {'trunk': trunk, 'score': jnp.zeros(sizes.hidden_size)}
  params, curve = judges.fitted(made, start, seed)
  voted = judges.made(
    folder, f'votes-{seed}', lambda: votes.run(config, folder, seed)
  ).arrays
  count, n = voted['verdict'].shape
  tested = problems.held_out(
    world, seed, *config.problems.lengths, count=node.pairs
  )
  rows = np.repeat(np.arange(count), n)
  right = (voted['verdict'] == voted['right'][:, None]).ravel()
  asked = texts(
    judging_tasks.judgements(tested),
    rows,
    voted['ids'].reshape(count * n, -1).astype(np.int32),
    right,
  )
  score = _scores(sizes, params, asked)
  record = {
    'seed': seed,
    'curve': curve,
    'auc': statistics.auc(special.expit(score), right),
  }
  return units.Unit(record, {'meta': score.reshape(count, n)})


def _scores(config, params, asked: Texts) -> np.ndarray:
  """Returns the scores `[B]` of texts."""
  _, score = scalars.network(config)
  run = jax.jit(score)
  found = []
  for _, place in judges.blocks(len(asked.ids)):
    some = asked.take(place)
    found.append(np.asarray(run(params, some.ids, some.last[:, None]))[:, 0])
  return np.concatenate(found)[: len(asked.ids)]
