"""Arithmetic of one seed, examinations of a policy, and its start."""

import functools

import jax
import numpy as np

from experiments.critique_and_numbers import methods
from prm_jax import types, world_tasks
from prm_jax.lab import starts, units
from prm_jax.models import decoder
from prm_jax.policy import padding, tasks
from prm_jax.worlds import arithmetic, arithmetic_demonstrations


def split(node, share: float, seed: int) -> arithmetic.Split:
  """Returns a seed's problems; `node` has `pool` and `held_out`."""
  rng = np.random.default_rng([seed, 0xA1])
  return arithmetic.split(rng, **node, share=share)


def setting(
  pool: arithmetic.Problems, config: decoder.DecoderConfig, *, final_only: bool
) -> methods.Setting:
  """Returns what methods are built for; see `arithmetic_task`."""
  return methods.Setting(
    task=world_tasks.arithmetic_task(pool, final_only=final_only),
    config=config,
    problems=len(pool.start),
    rule=functools.partial(world_tasks.arithmetic_critic, pool),
    requests=world_tasks.arithmetic_requests(pool),
    limits=tasks.Limits(arithmetic.CRITIQUE, ()),
  )


def start(
  config, folder: units.Folder, sizes: decoder.DecoderConfig, seed: int
):
  """Returns a seed's policy before any reward, and what it can do.

  It has learned to use critiques, which is examined on problems that serve
  for nothing else.
  """
  node = config.warm
  table = split(config.problems, 0.5, seed).table
  rng = np.random.default_rng([seed, 0x6A7E])
  fresh = arithmetic.fresh(rng, table, config.problems.held_out)

  def demonstrate(rng):
    counts = node.plain, node.refined, node.critiqued
    return arithmetic_demonstrations.mixed(rng, table, *counts)

  return starts.start(
    folder,
    demonstrate,
    sizes,
    examiner(sizes, fresh),
    ('refines', 'easy'),
    node,
    seed,
  )


def examiner(
  config: decoder.DecoderConfig, held_out: dict[str, arithmetic.Problems]
) -> starts.Examine:
  """Returns `params -> figures` of problems never trained on.

  One answer is drawn to each, at temperature 1. Figures are the share solved
  of every class, and of refinements of its own wrong answers to held-out hard
  problems with true step-by-step critiques.
  """
  problems = arithmetic.concatenate(*held_out.values())
  task = world_tasks.arithmetic_task(problems)
  everything = np.arange(len(problems.start))
  hard = everything.reshape(len(held_out), -1)[list(held_out).index('hard')]
  keys = jax.random.split(jax.random.key(0))

  def examine(params):
    answers, right = starts.answered(keys[0], config, params, task, everything)
    shares = right.reshape(len(held_out), -1).mean(1).tolist()
    figures = dict(zip(held_out, shares, strict=True))
    attempts = padding.take(answers, hard)
    critiques = arithmetic.critique(
      np.random.default_rng(0), held_out['hard'], attempts.ids, 'step_by_step'
    )
    assert task.refine
    again = task.refine(hard, attempts, padding.full(critiques))
    _, mended = starts.answered(
      keys[1], config, params, task, hard, prompts=again
    )
    mended = mended[right[hard] < 0.5]
    figures['refines'] = float(mended.mean()) if len(mended) else 1.0
    return figures

  return examine


def stuck(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  problems: arithmetic.Split,
) -> np.ndarray:
  """Returns rows of hard problems without a right answer of eight."""
  task = world_tasks.arithmetic_task(problems.pool)
  everything = np.arange(len(problems.hard))
  _, right = starts.answered(key, config, params, task, everything, count=8)
  never = right.reshape(-1, 8).max(1) < 0.5
  return np.flatnonzero(never & problems.hard)
