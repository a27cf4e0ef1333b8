"""What many reward heads on one trunk cost, beside one head.

One training step of an ensemble of reward heads, whose members are networks of
the same decoder's last state, against the step of one such head: Bradley-Terry
on pairs of texts, gradient and Adam of the heads and of the trunk's adapter.
The text is read once, whatever the number of heads. Weights and tokens are
random; asked is at most 1.05 times as long with 20 heads.
"""

import functools
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import program
from prm_jax import types
from prm_jax.lab import timing
from prm_jax.learners import ensemble
from prm_jax.models import decoder
from prm_jax.rewards import backbone
from prm_jax.runtime import update

DECODERS = {
  # SmolLM2-135M's sizes.
  'SmolLM2-135M': decoder.DecoderConfig(
    49152, 576, 1536, 30, 9, 3, 64, rope_theta=100_000.0
  ),
  'tiny': decoder.DecoderConfig(31, 16, 32, 2, 2, 1, 8),
}


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: whose sizes the decoder has: 'SmolLM2-135M' or 'tiny'.
    heads: of the ensemble.
    hidden: widths of a head's hidden layers.
    pairs: of a step.
    tokens: of a text.
    rank: of the adapter.
    repeats: timed rounds.
  """

  model: str = 'SmolLM2-135M'
  heads: int = 20
  hidden: tuple[int, ...] = (128, 128)
  pairs: int = 4
  tokens: int = 64
  rank: int = 8
  repeats: int = 11


SMOKE = Sizes('tiny', 3, (4,), 2, 5, 2, 1)


def step(sizes: Sizes, heads: int, trunk: types.PyTree) -> tuple[Any, int]:
  """Returns a compiled step, ready to be called, and its heads' parameters.

  Args:
    sizes: how much is done.
    heads: members of the ensemble.
    trunk: the decoder's parameters, shared by both arms.
  """
  config = DECODERS[sizes.model]
  learner = ensemble.ensemble(
    members=heads,
    hidden=sizes.hidden,
    backbone={'config': config, 'trains': 'adapter', 'rank': sizes.rank},
  )
  (phase,) = learner.phases
  spec = types.Spec(config.hidden_size, 1, sizes.pairs)
  # Compiled: the decoder that it draws and that is not kept is never made.
  start = jax.jit(lambda: _without_trunk(learner.init(jax.random.key(0), spec)))
  state = start()
  parts = {**state.params['reward'], 'backbone': trunk}
  state = state._replace(params={**state.params, 'reward': parts})
  state = update.initialize(state, phase)
  count = sum(leaf.size for leaf in jax.tree.leaves(backbone.own(parts)))
  run = functools.partial(
    jax.jit(update.make_update(phase)), state, _batch(sizes, config)
  )
  return run, count


def _without_trunk(state: types.TrainState) -> types.TrainState:
  parts = dict(state.params['reward'])
  del parts['backbone']
  return state._replace(params={**state.params, 'reward': parts})


def _batch(sizes: Sizes, config: decoder.DecoderConfig) -> types.Batch:
  """Returns pairs of random texts without padding."""
  rng, B = np.random.default_rng(0), sizes.pairs
  ids = rng.integers(1, config.vocab_size, size=(B, 2, sizes.tokens))
  tokens = types.Tokens(ids.astype(np.int32), np.ones(ids.shape, np.int32))
  rows = types.Judgements(
    np.zeros(B, np.int32),
    np.ones(B, np.float32),
    np.ones(B, np.float32),
    np.arange(B, dtype=np.int32),
  )
  return types.Batch(rows, types.Inputs(tokens))


def measure(sizes: Sizes) -> program.Tables:
  """Returns the seconds of both steps, which run in turn."""
  config = DECODERS[sizes.model]
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(config).init)
  trunk = init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))
  one, own = step(sizes, 1, trunk)
  many, all_ = step(sizes, sizes.heads, trunk)
  worked: dict[str, list[float]] = {'one': [], 'many': []}

  def turn(name, run):
    start = time.process_time()
    found = jax.block_until_ready(run()[1])  # its metrics alone are kept
    worked[name].append(time.process_time() - start)
    return found

  arms = {'one': one, 'many': many}
  times = timing.side_by_side(
    {name: functools.partial(turn, name, run) for name, run in arms.items()},
    sizes.repeats,
  )
  row: dict[str, Any] = {
    'model': sizes.model,
    'trunk_parameters': config.parameters,
    'heads': sizes.heads,
    'pairs': sizes.pairs,
    'tokens': sizes.tokens,
    'one_parameters': own,
    'many_parameters': all_,
    **timing.seconds(times),
    **times['many'].times('times_one', times['one']),
  }
  # Of all cores together: what others run on them counts little.
  cores = {name: statistics.median(took[1:]) for name, took in worked.items()}
  row |= {f'{name}_core_seconds': took for name, took in cores.items()}
  row['times_one_core_seconds'] = cores['many'] / cores['one']
  return {'steps': [row]}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
