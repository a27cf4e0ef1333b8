"""What it costs to read a history once for all of its summaries.

A step of PLUS as it is: summaries are written of each history, what the reward
model makes of them is their reward, and both learn, with their updates. The
history is read once for its group of summaries, in writing and in learning, or
once for each of them; the reward reads summaries, and no history, in both.

Tokens are those that a decoder passes: forwards once, and for a gradient three
times. Summariser and reward model are of one size. Asked is that the time falls
by at least 90 % of what the number of tokens falls by.

Weights, histories and choices are random.
"""

import functools
import statistics
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import program
from prm_jax import types
from prm_jax.lab import timing
from prm_jax.learners import plus
from prm_jax.models import decoder
from prm_jax.policy import padding, summarizing
from prm_jax.users import summaries

ARMS = {'each': False, 'once': True}
PASSES = 3  # forwards and backwards, in forward passes
_CONTROLS = 2  # summaries behind which accuracy alone is told


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    width: of the decoders.
    layers: of them.
    vocabulary: of them.
    contexts: of a step, C.
    samples: summaries of each, G.
    pairs: choices of each, M.
    history: tokens of one, H.
    summary: tokens of one, N.
    text: tokens of a response.
    repeats: timed rounds.
  """

  width: int = 256
  layers: int = 4
  vocabulary: int = 512
  contexts: int = 4
  samples: int = 8
  pairs: int = 2
  history: int = 512
  summary: int = 16
  text: int = 16
  repeats: int = 5


SMOKE = Sizes(8, 1, 11, 2, 3, 2, 24, 2, 3, 1)


class Parts(NamedTuple):
  """Both halves of a step, the optimiser, and the state.

  Attributes:
    collect: arm -> what writes summaries.
    learn: arm -> `(params, moments, rows) -> params`, compiled.
    params: of summariser and reward.
    moments: of the optimiser.
    rows: contexts.
  """

  collect: dict[str, Any]
  learn: dict[str, Any]
  params: types.PyTree
  moments: types.PyTree
  rows: types.Batch


def parts(sizes: Sizes) -> Parts:
  """Returns what both arms do, on the same weights and contexts."""
  heads = max(sizes.width // 64, 1)
  config = decoder.DecoderConfig(
    *(sizes.vocabulary, sizes.width, 3 * sizes.width, sizes.layers),
    *(heads, heads, sizes.width // heads),
  )
  writer = summaries.Writer(config, sizes.summary, (1,), (2,))
  update = summarizing.Update(sizes.contexts, sizes.samples, sizes.pairs)
  learner = plus.plus(writer=writer, update=update)
  assert learner.system is not None
  reward = learner.system.reward
  spec = types.Spec(config.hidden_size, sizes.contexts)
  init = jax.jit(lambda key: learner.init(key, spec).params)
  params = init(jax.random.key(0))
  # Weights whose gradient is rounding alone, such as keys' biases, stay.
  optimizer = optax.adam(1e-3, eps=1e-4)

  def learn(shared):
    objective: Any = summarizing.objective(
      writer, reward, update, shared=shared
    )

    def loss(params, rows):
      batch = types.Batch(rows)
      terms, _, figures = objective(params, None, None, batch, lambda x: x)
      total = sum(t.sum() / jnp.maximum(n.sum(), 1) for t, n in terms.values())
      return total, figures

    @jax.jit
    def run(params, moments, rows):
      change, _ = jax.grad(loss, has_aux=True)(params, rows)
      change, _ = optimizer.update(change, moments)
      return optax.apply_updates(params, change)

    return run

  return Parts(
    {
      name: summarizing.collect(writer, update, shared=shared)
      for name, shared in ARMS.items()
    },
    {name: learn(shared) for name, shared in ARMS.items()},
    params,
    jax.jit(optimizer.init)(params),
    types.Batch(_contexts(sizes)),
  )


def _contexts(sizes: Sizes) -> summarizing.Contexts:
  rng, C, M = np.random.default_rng(0), sizes.contexts, sizes.pairs

  def texts(*shape):
    return padding.full(rng.integers(3, sizes.vocabulary, shape).astype('i4'))

  return summarizing.Contexts(
    np.arange(C),
    texts(C, sizes.history),
    texts(C, M, 2, sizes.text),
    rng.integers(0, 2, (C, M)).astype(np.float32),
    np.ones((C, M), np.float32),
    np.ones(C, np.float32),
    np.arange(C),
  )


def tokens(sizes: Sizes, *, shared: bool) -> dict[str, int]:
  """Returns how many tokens pass a decoder in a step, forwards.

  Args:
    sizes: of the step.
    shared: whether histories are read once for their groups.
  """
  C, G, N = sizes.contexts, sizes.samples, sizes.summary
  prompt = sizes.history + 1  # what asks is behind it
  histories = C * prompt * (1 if shared else G)
  read = N + 2 * sizes.pairs * sizes.text
  return {
    'writing': histories + C * G * N,
    'learning': PASSES * (histories + C * G * N)
    + (PASSES * G + _CONTROLS) * C * read,
  }


def measure(sizes: Sizes) -> program.Tables:
  """Returns tokens and seconds of a step, histories read once or for each."""
  made = parts(sizes)
  key = jax.random.key(1)
  state: Any = SimpleNamespace(params=made.params)
  worked: dict[str, list[float]] = {}

  def write(name):
    return made.collect[name](key, state, made.rows)[0].rows

  def step(name):
    return made.learn[name](made.params, made.moments, write(name))

  def turn(part, run, name):
    start = time.process_time()
    found = jax.block_until_ready(run(name))
    taken = time.process_time() - start
    worked.setdefault(f'{name}_{part}', []).append(taken)
    return found

  rows: list[program.Row] = []
  counts = {arm: tokens(sizes, shared=each) for arm, each in ARMS.items()}
  for part, run in (('writing', write), ('step', step)):
    times = timing.side_by_side(
      {name: functools.partial(turn, part, run, name) for name in ARMS},
      sizes.repeats,
    )
    cores = {
      # Of all cores together: what others run on them counts little.
      name: statistics.median(worked[f'{name}_{part}'][1:])
      for name in ARMS
    }
    total = {
      name: sum(each.values()) if part == 'step' else each[part]
      for name, each in counts.items()
    }
    ratio = total['each'] / total['once']
    faster = times['each'].times('times_once', times['once'])
    busy = cores['each'] / cores['once']
    rows.append(
      {
        'part': part,
        'contexts': sizes.contexts,
        'samples': sizes.samples,
        'history_tokens': sizes.history,
        'summary_tokens': sizes.summary,
        **{f'{name}_tokens': count for name, count in total.items()},
        **timing.seconds(times),
        **{f'{name}_core_seconds': took for name, took in cores.items()},
        'token_ratio': ratio,
        **faster,
        'times_once_core_seconds': busy,
        'share_of_token_ratio': faster['times_once'] / ratio,
        'share_of_token_ratio_core_seconds': busy / ratio,
        'largest_gap': _gap(*(times[name].result for name in ARMS)),
      }
    )
  return {'read_once': rows}


def _gap(one: types.PyTree, other: types.PyTree) -> float:
  """Returns the largest difference of what both arms return."""
  both = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return max(
    float(np.abs(np.asarray(x, float) - np.asarray(y, float)).max())
    for x, y in both
  )


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
