"""What memories of many people cost: adapters and kept events.

A step of everybody's adapters as one mapped program, against one compiled
program a person that is called in turn, with all steps in it, and against a
loop over people and steps that calls a compiled step. Task fine-tuning, Adam;
adapters are applied beside the kernels and never merged. Seconds are of one
person and step. Asked is 15 times at one event a step. No mapping gains more
than `in_turn_times_products`: against the products of texts and kernels alone,
forward and for the gradient of the texts, at the speed of a large product that
is timed beside them.

The events most like a query are recalled for everybody at once, against the
product of events and query alone. Asked is at most 3 times its time.

Weights, texts and embeddings are random.
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
from prm_jax.models import adapters, decoder, lora
from prm_jax.ops import recall
from prm_jax.systems import personal_adapters
from prm_jax.users import episodic

OBJECTIVE = 'task'
HEAD = 12  # width of an attention head


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    people: whose adapters train, and for whom events are recalled.
    called: of them, whose programs are called in turn.
    looped: of them, for whom a step at a time is called.
    steps: of training.
    events: of a step; the curve, at the first width.
    widths: of the decoder; the curve, at the first number of events.
    layers: of the decoder.
    vocabulary: of the decoder.
    tokens: of an event, of which the first is the prompt.
    rank: of adapters.
    kept: events that are kept of a person.
    dim: of an event's embedding.
    recalled: events of one recall.
    repeats: timed rounds.
  """

  people: int = 1000
  called: int = 1000
  looped: int = 50
  steps: int = 5
  events: tuple[int, ...] = (1, 2, 4, 8, 16)
  widths: tuple[int, ...] = (48, 24, 96, 192)
  layers: int = 2
  vocabulary: int = 96
  tokens: int = 7
  rank: int = 2
  kept: int = 10_000
  dim: int = 64
  recalled: int = 8
  repeats: int = 5


SMOKE = Sizes(3, 2, 1, 2, (1,), (24,), 1, 11, 3, 1, 20, 4, 3, 1)


class Arms:
  """Arms that are timed by the clock and by the processor.

  Attributes:
    times: arm -> seconds by the clock.
    cores: arm -> seconds of all cores together: what others run on them counts
      little.
  """

  def __init__(self, arms: dict[str, Any], repeats: int):
    """Runs the arms in turn."""
    worked: dict[str, list[float]] = {name: [] for name in arms}

    def turn(name):
      start = time.process_time()
      found = jax.block_until_ready(arms[name]())
      worked[name].append(time.process_time() - start)
      return found

    self.times = timing.side_by_side(
      {name: functools.partial(turn, name) for name in arms}, repeats
    )
    self.cores = {
      name: statistics.median(took[1:]) for name, took in worked.items()
    }


def config(sizes: Sizes, width: int) -> decoder.DecoderConfig:
  """Returns a decoder of this width."""
  heads = width // HEAD
  return decoder.DecoderConfig(
    sizes.vocabulary, width, 3 * width, sizes.layers, heads, heads, HEAD
  )


def training(sizes: Sizes, width: int, events: int) -> program.Row:
  """Returns the seconds of one person and step, in three spellings."""
  reader, U, S = config(sizes, width), sizes.people, sizes.steps
  ids = jnp.zeros((1, 2), jnp.int32)
  base = jax.jit(decoder.Decoder(reader).init)(
    jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  key, hyper = jax.random.key(1), personal_adapters.Hyper()
  bank = adapters.init(key, reader, base, people=U, rank=sizes.rank)
  rng = np.random.default_rng(0)
  shape = (U, events, 1, sizes.tokens)
  texts = rng.integers(1, sizes.vocabulary, shape, dtype=np.int32)
  part = np.broadcast_to(np.int32(np.arange(sizes.tokens) > 0), shape)
  tokens = types.Tokens(texts, np.ones_like(texts), branch=part)
  history = personal_adapters.Events(tokens, jnp.ones(shape[:2]))
  own = jax.device_put((bank.people, history))

  def person(steps):
    return personal_adapters.trainer(
      reader, objective=OBJECTIVE, steps=steps, batch=events
    )

  mapped = jax.jit(jax.vmap(person(S), (None, None, 0, 0, None)))
  texts_ = jnp.ones((U * events * sizes.tokens, width))
  product = functools.partial(jax.jit(jnp.matmul), texts_, base_kernel(base))
  whole, step = jax.jit(person(S)), jax.jit(person(1))
  alone = [
    jax.tree.map(lambda leaf: leaf[u], own)  # noqa: B023
    for u in range(max(sizes.called, sizes.looped))
  ]

  def loop():
    found = []
    for weights, events_ in alone[: sizes.looped]:
      for _ in range(S):
        weights, _ = step(key, base, weights, events_, hyper)
      found.append(weights)
    return found

  arms = Arms(
    {
      'mapped': lambda: mapped(key, base, *own, hyper)[0],
      'in_turn': lambda: [
        whole(key, base, *one, hyper)[0] for one in alone[: sizes.called]
      ],
      'loop': loop,
      'product': product,
    },
    sizes.repeats,
  )
  calls = {'mapped': U, 'in_turn': sizes.called, 'loop': sizes.looped}
  together, apart = (arms.times[name].result for name in ('mapped', 'in_turn'))
  gap = max(
    float(jnp.abs(x[u] - y).max())
    for u, one in enumerate(apart)
    for x, y in zip(
      jax.tree.leaves(together), jax.tree.leaves(one), strict=True
    )
  )
  return {
    'events': events,
    'width': width,
    'parameters': reader.parameters,
    'people': U,
    'tokens': sizes.tokens,
    'bytes_a_person': adapters.bytes_per_person(bank),
    **compared(arms, calls, S, base),
    'largest_gap': gap,
  }


def compared(
  arms: Arms, calls: dict[str, int], steps: int, base: Any
) -> program.Row:
  """Returns microseconds of a person and step of every arm, and their ratios.

  Args:
    arms: timed.
    calls: of people in each.
    steps: of each person.
    base: params of the decoder.
  """
  times = {name: arms.times[name].per(n * steps) for name, n in calls.items()}
  cores = {name: arms.cores[name] / (n * steps) for name, n in calls.items()}
  kernels = sum(leaf.size for leaf in lora.kernels(base).values())
  # Twice: what comes of the texts, and the gradient of the texts.
  products = 2 * kernels / base_kernel(base).size / calls['mapped']
  times['products'] = arms.times['product'].per(1 / products)
  cores['products'] = arms.cores['product'] * products
  row: program.Row = {
    **{f'{n}_microseconds': 1e6 * t.median for n, t in times.items()},
    **{f'{n}_core_microseconds': 1e6 * t for n, t in cores.items()},
  }
  for name in ('in_turn', 'loop'):
    row |= times[name].times(f'{name}_times_mapped', times['mapped'])
    row[f'{name}_times_mapped_core_seconds'] = cores[name] / cores['mapped']
  row['in_turn_times_products'] = (
    times['in_turn'].median / times['products'].median
  )
  return row


def base_kernel(base: Any) -> jax.Array:
  """Returns the widest kernel `[width, 3 width]` of the lowest layer."""
  return max(lora.kernels(base).values(), key=lambda leaf: leaf.shape[-1])[0]


def recalling(sizes: Sizes) -> program.Row:
  """Returns the seconds of recalling events, and of a product with them."""
  U, C, D, N = sizes.people, sizes.kept, sizes.dim, sizes.recalled
  keys = jax.random.split(jax.random.key(0), 3)
  embedding = jax.jit(
    lambda key: recall.unit(jax.random.normal(key, (U, C, D)))
  )(keys[0])
  latest = jnp.argsort(jax.random.uniform(keys[1], (U, C)), -1)
  latest = latest.astype(jnp.int32)
  nothing = jnp.zeros((U, C))
  events = episodic.Events(
    embedding,
    jnp.argsort(-latest, -1).astype(jnp.float32),
    nothing,
    jnp.ones((U, C)),
  )
  memory = episodic.Memory(events, latest, jnp.zeros(U, jnp.int32))
  query = jax.random.normal(keys[2], (U, D))
  product = jax.jit(lambda kept, query: jnp.einsum('ucd,ud->uc', kept, query))
  similar = jax.jit(functools.partial(episodic.similarity, count=N))
  recent = jax.jit(functools.partial(episodic.recency, count=N))
  arms = Arms(
    {
      'product': functools.partial(product, embedding, query),
      'similarity': functools.partial(similar, memory, query),
      'recency': functools.partial(recent, memory),
    },
    sizes.repeats,
  )
  some = min(U, 20)
  score = np.asarray(arms.times['product'].result[:some])
  best = np.argsort(-score, -1)[:, :N]
  found = np.asarray(arms.times['similarity'].result.slot[:some])
  same = (np.sort(found, -1) == np.sort(best, -1)).all(-1)
  times = arms.times
  return {
    'people': U,
    'kept': C,
    'dim': D,
    'recalled': N,
    'bytes_a_person': memory_bytes(memory),
    **timing.seconds(times),
    **{f'{name}_core_seconds': took for name, took in arms.cores.items()},
    **times['similarity'].times('similarity_times_product', times['product']),
    'similarity_times_product_core_seconds': (
      arms.cores['similarity'] / arms.cores['product']
    ),
    'same_as_sorted': float(same.mean()),
  }


def memory_bytes(memory: episodic.Memory) -> int:
  """Returns how many bytes the events of one person take."""
  return sum(leaf.nbytes // len(leaf) for leaf in jax.tree.leaves(memory))


def measure(sizes: Sizes) -> program.Tables:
  """Returns the curve over events, the curve over widths, and recalling."""
  first, width = sizes.events[0], sizes.widths[0]
  cells = [(width, events) for events in sizes.events]
  cells += [(other, first) for other in sizes.widths[1:]]
  return {
    'adapters': [training(sizes, *cell) for cell in cells],
    'recall': [recalling(sizes)],
  }


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
