"""One run of one method, a file each; a killed study goes on."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import policies
from experiments.critique_and_numbers import methods
from experiments.critique_and_numbers import world as worlds
from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import rollouts
from prm_jax.worlds import arithmetic

Row = dict[str, Any]
KINDS = tuple(arithmetic.CLASSES)


def decoder_of(node) -> decoder.DecoderConfig:
  """Returns the sizes of the policy."""
  return decoder.DecoderConfig(
    vocab_size=len(arithmetic.TOKENS), attention_bias=True,
    query_key_norm=True, rope_theta=100.0, **dict(node),
  )  # fmt: skip


class Warm:
  """The policies before reinforcement, one a seed, kept on disk."""

  def __init__(self, config, workdir: Path):
    self._config, self._folder = config, workdir / 'warm'

  def params(self, seed: int) -> tuple[types.PyTree, Row]:
    """Returns a seed's policy, and what it can do.

    A start that has not learned to use critiques is thrown away and drawn
    again, before any reinforcement, on problems that serve for nothing else.

    Raises:
      RuntimeError: no start is good enough.
    """
    folder = self._folder / str(seed)
    return policies.kept(folder, lambda: self._make(seed))

  def _make(self, seed: int) -> tuple[types.PyTree, Row]:
    node, config = self._config.warm, decoder_of(self._config.policy)
    world = worlds.make(self._config.problems, 0.5, seed)
    rng = np.random.default_rng([seed, 0x6A7E])
    world = world._replace(
      held_out=worlds.fresh(rng, world.table, self._config.problems.held_out)
    )
    examine = worlds.examiner(config, world, KINDS)
    for trial in range(node.trials):
      start = seed + 1000 * trial
      params = worlds.warm_start(config, node, world.table, start)
      found = examine(params)
      if min(found['refines'], found['easy']) >= node.least:
        return params, {'trials': trial + 1, **found}
    raise RuntimeError(
      f'seed {seed}: no warm start in {node.trials} uses critiques on '
      f'{node.least:.0%} of hard problems; the last: {found}'
    )


def run(config, warm: Warm, share: float, name: str, seed: int) -> Row:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    warm: starts.
    share: of hard problems in training.
    name: of the method.
    seed: of world, start and draws.
  """
  sizes = decoder_of(config.policy)
  params, card = warm.params(seed)
  world = worlds.make(config.problems, share, seed)
  method = methods.make(name, config.training, sizes, world)
  examine = worlds.examiner(sizes, world, KINDS)
  never = worlds.unsolved(jax.random.key(seed + 1), sizes, params, world)
  stuck = never & world.hard

  def scored(params):
    found = examine(params)
    if stuck.any():
      found['rescued'] = _solved(sizes, params, world, np.flatnonzero(stuck))
    return found

  curve = policies.Curve()
  node, everything = config.training, np.arange(len(world.pool.start))
  stages = [(method.learner, everything)]
  if method.easier is not None:
    stages.insert(0, (method.easier, everything[~world.hard]))
  key = jax.random.key(seed)
  for learner, stage in stages:
    state = policies.fit(
      learner, key, params, stage, batch=node.batch,
      seed=seed, every=node.every, examine=scored, curve=curve,
    )  # fmt: skip
    curve.begin_again()
    key, params = jax.random.fold_in(state.key, 1), state.params['policy']
  final = scored(params)
  return {
    'share': share, 'method': name, 'seed': seed, 'start': card,
    'stuck': int(stuck.sum()), 'problems': len(never),
    'oracle_digits': method.oracle_digits, 'curve': curve.rows, 'final': final,
  }  # fmt: skip


def _solved(sizes, params, world, problem) -> float:
  """Returns the share of some training problems that one answer solves."""
  said = rollouts.write(
    jax.random.key(0), sizes, params, world.task.prompts(problem), world.task
  ).tokens
  return float(world.task.verify(problem, said).mean())


def jobs(config) -> list[tuple[float, str, int]]:
  """Returns share, method and seed of every run."""
  return [
    (share, name, seed)
    for seed in config.seeds
    for share, names in zip(config.shares, config.methods, strict=True)
    for name in names
  ]
