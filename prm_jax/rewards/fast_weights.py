"""P-TTT: a person as fast weights that their answers write into the reward.

In every `every`-th layer the gated network's last kernel W `[F, D]` changes
with each answer of a person, and only at the token that the score is read at:

    W <- W + rate (k_plus - k_minus) v^T,    v = project @ head

where k `[F]` is what W reads there of the preferred text and of the other. As
v does not change, a person is one vector m `[F]` a layer, the sum of
rate (k_plus - k_minus), and (k . m) v is added to the layer's output.

Like a discriminator without a reference, the decoder reads SEPARATOR, text,
SCORE; with m = 0 the two rewards are equal.
"""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import precision
from prm_jax.rewards import discriminative


def fast_weights(
  *,
  config: decoder.DecoderConfig | Mapping[str, Any],
  every: int = 6,
  start: float = 0.01,
  embedded: bool = False,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.RewardModel:
  """Returns the reward of a decoder with a person's fast weights.

  Features are as of `rewards.discriminative`; the context is the person's
  fast weights `[B, C, F]`, from `update` or `belief`.

  params `{'plain': ..., 'project': [C, D, D]}`: those of
  `rewards.discriminative`, and what makes v of its head. A zero head, as a
  fresh reward has, makes v zero too.

  Args:
    config: sizes of the decoder.
    every: the last of every so many layers is changed, C in all.
    start: `project` starts as this times the identity.
    embedded: whether features are hidden states rather than token ids.
    dtype: of the layers' computation; fast weights are float32.
    remat: whether layers are computed again for the gradient.

  References:
    P-TTT 2026.

  Notes:
    As published: the update, the rate, every 6 layers, the final token alone.
    Ours: markers in place of a chat template, which layer of the 6, and where
    `project` starts.
  """
  sizes = discriminative.sizes(config)
  chosen = layers(sizes, every)
  network = decoder.Decoder(sizes, dtype, remat)
  plain = discriminative.discriminative(
    config=sizes, embedded=embedded, dtype=dtype, remat=remat
  )

  def init(key, spec):
    project = start * jnp.eye(sizes.hidden_size)
    project = jnp.tile(project, (len(chosen), 1, 1))
    return {'plain': plain.init(key, spec), 'project': project}

  def encode(params, features):
    return plain.encode(params['plain'], features)

  def score(params, encoded, context):
    B, K, T, D = encoded.shape
    chex.assert_shape(context, (B, len(chosen), sizes.intermediate_size))
    texts = encoded.reshape(B * K, T, D)
    state = jnp.repeat(context, K, axis=0)
    found, _ = _read(network, chosen, params, texts, state)
    return types.RewardOutput(found.reshape(B, K))

  return types.RewardModel(init, encode, score)


def belief(
  reward: types.RewardModel,
  *,
  config: decoder.DecoderConfig | Mapping[str, Any],
  every: int = 6,
  rate: float = 0.5,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.UserModel:
  """Returns the user model whose state and context are fast weights `[C, F]`.

  Its parameters ARE the reward's, since answers are read by the reward's own
  network: whoever assembles a system passes the same for both,
  `{'reward': params, 'user': params}`, and a learner differentiates `update`
  with respect to the one set. Nothing is kept of an answer but its change:
  none are dropped, none can be undone, and their order matters.

  Args:
    reward: from `fast_weights`, of the same options.
    config: as of the reward.
    every: as of the reward.
    rate: of the update.
    dtype: as of the reward.
    remat: as of the reward.
  """

  def prior(params):
    del params
    return blank(config=config, every=every)

  def change(key, params, state, evidence):
    del key
    found = update(
      params,
      state,
      evidence,
      config=config,
      every=every,
      rate=rate,
      dtype=dtype,
      remat=remat,
    )
    return found, {}

  def context(params, state):
    del params
    return state

  def infer(key, params, evidence):
    return change(key, params, prior(params), evidence)[0]

  return types.UserModel(reward.init, prior, change, context, infer)


def update(
  params: types.PyTree,
  state: types.Array,
  evidence: types.Pair,
  *,
  config: decoder.DecoderConfig | Mapping[str, Any],
  every: int = 6,
  rate: float = 0.5,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns a person's fast weights `[C, F]` after more answers.

  Answers are read one after another, each with the fast weights so far. The
  change is rate (2 label - 1) (k_first - k_second): a tie changes nothing.
  Differentiable, so that `project` and everything else can be learned
  through it.

  Args:
    params: of the reward.
    state: `[C, F]` before; `blank` of a person of whom nothing is known.
    evidence: encoded `[N, 2, T, D]`; masked answers change nothing, whatever
      they hold.
    config: as of the reward.
    every: as of the reward.
    rate: of the update.
    dtype: as of the reward.
    remat: as of the reward.
  """
  sizes = discriminative.sizes(config)
  chosen = layers(sizes, every)
  chex.assert_shape(state, (len(chosen), sizes.intermediate_size))
  chex.assert_rank(evidence.encoded, 4)
  network = decoder.Decoder(sizes, dtype, remat)

  def step(state, answer):
    texts, sign = answer
    both = jnp.broadcast_to(state, (2, *state.shape))
    _, (first, second) = _read(network, chosen, params, texts, both)
    return state + rate * sign * (first - second), None

  there = evidence.mask > 0
  sign = jnp.where(there, 2.0 * evidence.label - 1.0, 0.0)
  texts = jnp.where(there[:, None, None, None], evidence.encoded, 0.0)
  return jax.lax.scan(step, state, (texts, sign))[0]


def blank(
  *, config: decoder.DecoderConfig | Mapping[str, Any], every: int = 6
) -> types.Array:
  """Returns the fast weights `[C, F]` of a person of whom nothing is known."""
  sizes = discriminative.sizes(config)
  return jnp.zeros((len(layers(sizes, every)), sizes.intermediate_size))


def layers(config: decoder.DecoderConfig, every: int) -> tuple[int, ...]:
  """Returns the C layers that are changed: the last of each `every`.

  Raises:
    ValueError: there is none.
  """
  count = config.num_hidden_layers
  if not 1 <= every <= count:
    raise ValueError(f'every {every}: from 1 to {count}, the number of layers')
  return tuple(range(every - 1, count, every))


def _read(network, chosen, params, texts, state):
  """Returns scores `[R]`, and what the chosen layers' kernels read of SCORE.

  Args:
    network: the decoder.
    chosen: C layers.
    params: of the reward.
    texts: `[R, T, D]` encoded; rows of zeros are padding.
    state: `[R, C, F]` fast weights.

  Returns:
    scores, and k `[R, C, F]`.
  """
  plain = params['plain']
  R, T, D = texts.shape
  L, F = network.config.num_hidden_layers, network.config.intermediate_size
  separator, mark = (
    jnp.broadcast_to(plain[name], (R, 1, D)) for name in ('separator', 'score')
  )
  hidden = jnp.concatenate([separator, texts, mark], 1)
  real = jnp.any(hidden != 0, -1).at[:, 0].set(True).at[:, -1].set(True)
  place = jnp.array(chosen)
  direction = _product(params['project'], plain['head'])
  fast = decoder.Fast(
    jnp.zeros((L, R, F)).at[place].set(jnp.swapaxes(state, 0, 1)),
    jnp.zeros((L, D)).at[place].set(direction),
    jnp.full(R, T + 1),
  )
  states, sown = network.apply(
    plain['decoder'],
    hidden,
    jnp.cumsum(real, 1) - 1,
    decoder.attended(real.astype(jnp.int32)),
    fast=fast,
    method='read',
    mutable=['intermediates'],
  )
  (inner,) = sown['intermediates']['layers']['layer']['inner']
  return _product(states[:, -1], plain['head']), jnp.swapaxes(
    inner[place], 0, 1
  )


@precision.highest
def _product(a, b):
  """Returns the matrix product; the decoder's own are as its dtype asks."""
  return a @ b
