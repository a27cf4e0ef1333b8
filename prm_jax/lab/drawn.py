"""Discriminators in training on texts that a world draws without end.

A small decoder from scratch, trained in one program, so that many can be
trained side by side; see `worlds.policies`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops.heads import choices
from prm_jax.rewards import discriminative
from prm_jax.rewards.trajectories import PADDING
from prm_jax.users.references import References
from prm_jax.worlds import first_order

Triples = tuple[types.Array, types.Array, types.Array]


class Network(NamedTuple):
  """A policy discriminator of texts of V words, and its training.

  Attributes:
    words: V.
    hidden: D.
    layers: of the decoder.
    rotary_base: of positions, about the length of a row.
    steps: of training.
    learning_rate: rises for 5 % of the steps and falls along a cosine.
    batch: references a step.
    pairs: positives, and negatives, for each reference; each with each.
    length: T.
  """

  words: int
  hidden: int
  layers: int
  rotary_base: float
  steps: int
  learning_rate: float
  batch: int
  pairs: int
  length: int

  @classmethod
  def of(cls, node: Mapping[str, Any]) -> 'Network':
    """Returns the network that plain data describe, among other things."""
    return cls(*(node[name] for name in cls._fields))


@functools.lru_cache(maxsize=16)
def reward_of(network: Network) -> types.RewardModel:
  """Returns the reward, a decoder that is not trained."""
  wide = network.hidden
  heads_ = max(wide // 16, 1)
  config = decoder.DecoderConfig(
    vocab_size=network.words,
    hidden_size=wide,
    intermediate_size=2 * wide,
    num_hidden_layers=network.layers,
    num_attention_heads=heads_,
    num_key_value_heads=heads_,
    head_dim=16,
    rope_theta=network.rotary_base,
  )
  return discriminative.discriminative(config=config)


@functools.partial(jax.jit, static_argnames=('network',))
def start(key: types.Key, network: Network) -> dict[str, Any]:
  """Returns parameters of a network whose every score is zero."""
  params = reward_of(network).init(key, types.Spec(network.words, 1))
  # Words of unit variance, or the layers drown them.
  table = params['decoder']['params']['embed']
  table['embedding'] = table['embedding'] * np.sqrt(network.hidden)
  return params


def size(params: types.PyTree) -> int:
  """Returns how many parameters there are, those of words not counted."""
  words = params['decoder']['params']['embed']['embedding']
  return sum(leaf.size for leaf in jax.tree.leaves(params)) - words.size


def scores(
  params: types.PyTree,
  reference: types.Array,
  candidates: types.Array,
  network: Network,
) -> types.Array:
  """Returns `[B, K]` of candidates.

  Args:
    params: of the reward.
    reference: `[B, T]`, or PADDING alone for a reward that knows none.
    candidates: `[B, K, T]`.
    network: whose parameters they are.
  """
  reward = reward_of(network)
  shown = References(
    reward.encode(params, reference[:, None]), jnp.ones((len(reference), 1))
  )
  return reward.score(params, reward.encode(params, candidates), shown).score


def of_every_text(
  params: types.PyTree,
  references: types.Array,
  texts: types.Array,
  network: Network,
) -> types.Array:
  """Returns scores `[N, Y]` of texts `[Y, T]`, with references `[N, T]`."""
  K = network.words**2  # texts in a row
  rows = texts.reshape(-1, K, network.length)

  def one(reference):
    stem = jnp.broadcast_to(reference, (len(rows), len(reference)))
    return scores(params, stem, rows, network).reshape(-1)

  return jax.lax.map(one, references)


def triples(
  key: types.Key,
  logits: types.Array,
  network: Network,
  shown: types.ArrayLike | bool = True,
) -> Triples:
  """Returns a batch of triples of different policies, for `loss`.

  Args:
    key: of the draw.
    logits: `[P, V + 1, V]` of the first_order.
    network: how many triples, and of what length.
    shown: whether references are; if not, they are PADDING.
  """
  reference, positive, negative = first_order.triples(
    key, logits, batch=network.batch, pairs=network.pairs, length=network.length
  )
  return jnp.where(shown, reference, PADDING), positive, negative


def loss(params: types.PyTree, data: Triples, network: Network) -> types.Array:
  """Returns the mean of -log sigma(r(reference, positive) - r(.., negative)).

  Args:
    params: of the reward.
    data: references `[B, T]`, positives and negatives `[B, K, T]`.
    network: whose parameters they are.
  """
  reference, positive, negative = data
  both = jnp.concatenate([positive, negative], 1)
  first, second = jnp.split(scores(params, reference, both, network), 2, 1)
  gap = first[:, :, None] - second[:, None]
  return choices.bradley_terry(gap, jnp.ones_like(gap)).mean()


def fit(
  key: types.Key,
  params: types.PyTree,
  draw: Callable[[types.Key], Triples],
  network: Network,
  stops: tuple[int, ...],
) -> tuple[types.PyTree, types.Array]:
  """Returns parameters after each of `stops` steps, and the losses.

  Args:
    key: of the data.
    params: from `start`.
    draw: of a step's data.
    network: and its training.
    stops: rising.

  Returns:
    Leaves `[stops, ...]`, and the mean loss of each stretch `[stops]`, nats.
  """
  rate, steps = network.learning_rate, network.steps
  schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

  def step(i, carry):
    params, state, total = carry
    value, gradient = jax.value_and_grad(loss)(
      params, draw(jax.random.fold_in(key, i)), network
    )
    change, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, change), state, total + value

  def stretch(carry, ends):
    params, state = carry
    first, last = ends
    params, state, total = jax.lax.fori_loop(
      first, last, step, (params, state, 0.0)
    )
    return (params, state), (params, total / (last - first))

  ends = jnp.array([0, *stops[:-1]]), jnp.array(stops)
  return jax.lax.scan(stretch, (params, optimizer.init(params)), ends)[1]
