"""The reward that a language model is: how likely it makes an answer.

The value of the inputs is `types.Tokens` `[..., T]` of prompt and answer
together, padded on any side. The answer is where `branch` is above 0; where
there is none, every token but the first, which nothing precedes. What the
prompt then adds cancels between answers of one prompt with a reference, and
does not without. Values that are arrays are rewards already, and pass.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder as decoders
from prm_jax.models import lora
from prm_jax.ops.heads import implicit as forms
from prm_jax.rewards import discriminative

_TEXTS = 16  # read at once: every token has logits of the whole vocabulary


def implicit(
  *,
  config: decoders.DecoderConfig | Mapping[str, Any],
  reference: bool = True,
  beta: float = 0.1,
  adapter: int | None = None,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.RewardModel:
  """Returns a decoder's implicit reward of an answer, the same for everybody.

      with reference   beta sum over t of log pi(t) - log pi_ref(t)      (DPO)
      without          beta / |y| sum over t of log pi(t)              (SimPO)

  over the tokens t of the answer y, each given those before it. A text's
  features `[..., 1]` are its reward, in logits, which is its encoding and its
  score, too.

  params: `{'policy', 'reference'}`, of decoders, which start equal; without
  reference `{'policy'}`. With an adapter `{'backbone', 'adapter'}`: pi is the
  backbone with its adapter, and pi_ref the backbone. No gradient reaches a
  reference, nor the backbone under an adapter: a phase that trains everything
  leaves them as they are.

  Args:
    config: sizes of the decoder: Llama, Qwen2 or Qwen3; or plain data.
    reference: whether there is one.
    beta: > 0. Usual are 0.1 with a reference, and 2 without.
    adapter: rank of LoRA on queries and values; a whole policy if None.
    dtype: of the layers' computation; log-probabilities are float32.
    remat: whether layers are computed again for the gradient.

  Raises:
    ValueError: beta is not above 0; or, when texts are read, they are packed.

  References:
    Rafailov et al. 2023 (DPO), arXiv:2305.18290; Meng et al. 2024 (SimPO),
    arXiv:2405.14734.

  Notes:
    SimPO's margin gamma is part of its loss, `ops.heads.choices`.
  """
  if beta <= 0:
    raise ValueError(f'beta {beta}: above 0')
  network: Any = decoders.Decoder(discriminative.sizes(config), dtype, remat)

  def init(key, spec):
    del spec
    keys = jax.random.split(key, 2)
    ids = jnp.zeros((1, 2), jnp.int32)
    trunk = network.init(keys[0], ids, ids, decoders.attended(ids + 1))
    if adapter is not None:
      change = lora.init(keys[1], trunk, rank=adapter)
      return {'backbone': trunk, 'adapter': change}
    return {'policy': trunk, **({'reference': trunk} if reference else {})}

  def features(params, inputs):
    texts = inputs.value
    if not isinstance(texts, types.Tokens):
      return texts
    policy, base = _policies(params, reference)
    return _rewards(network, policy, base, texts, beta)

  def encode(params, features):
    del params
    return features

  def score(params, encoded, context):
    del params, context
    return types.RewardOutput(encoded[..., 0])

  return types.RewardModel(init, encode, score, features)


def answer_logprobs(
  network: Any,
  params: types.PyTree,
  texts: types.Tokens,
  adapters: lora.Adapters | None = None,
) -> tuple[types.Array, types.Array]:
  """Returns log-probabilities of tokens, nats, and which are the answer's.

  Both are `[B, T - 1]`, of tokens that follow another; padding has been moved
  to the left. What is no answer's holds a number that means nothing.

  Args:
    network: a `Decoder`.
    params: of it.
    texts: `[B, T]`, see `implicit`.
    adapters: of its kernels, applied beside them.
  """
  logprob, part = token_logprobs(network, params, texts, adapters)
  return logprob, part > 0


def token_logprobs(
  network: Any,
  params: types.PyTree,
  texts: types.Tokens,
  adapters: lora.Adapters | None = None,
) -> tuple[types.Array, types.Array]:
  """Returns log-probabilities of tokens, nats, and whose part they are.

  Both are `[B, T - 1]`, of tokens that follow another; padding has been moved
  to the left. The part is 0 for the prompt, above 0 for the answer, and -1
  where there is no token, whose number means nothing.

  Args:
    network: a `Decoder`.
    params: of it.
    texts: `[B, T]`, see `implicit`.
    adapters: of its kernels, applied beside them.
  """
  real = jnp.asarray(texts.mask) > 0
  ids, seen = decoders.left_padded(jnp.asarray(texts.ids), real)
  states = network.apply(
    params,
    ids,
    decoders.counted(seen),
    decoders.attended(seen.astype(int)),
    adapters=adapters,
  ).hidden[:, :-1]
  logits = network.apply(params, states, method='logits').astype(jnp.float32)
  chosen = jnp.take_along_axis(logits, ids[:, 1:, None], -1)[..., 0]
  part = jnp.ones_like(ids)
  if texts.branch is not None:
    part, _ = decoders.left_padded(jnp.asarray(texts.branch), real)
  follows = seen[:, 1:] & seen[:, :-1]  # the first token follows nothing
  part = jnp.where(follows, part[:, 1:], -1)
  return chosen - jax.nn.logsumexp(logits, -1), part


def _policies(params, reference) -> tuple[types.PyTree, types.PyTree]:
  """Returns parameters of pi and of pi_ref, which is None without reference."""
  if 'adapter' not in params:
    base = params['reference'] if reference else None
    return params['policy'], jax.lax.stop_gradient(base)
  trunk = jax.lax.stop_gradient(params['backbone'])
  policy = lora.merge(trunk, params['adapter'])
  return policy, trunk if reference else None


def _rewards(network, policy, base, texts, beta) -> types.Array:
  """Returns the rewards `[..., 1]` of texts, a few of them at a time."""
  if texts.segment is not None or texts.end is not None:
    raise ValueError('an implicit reward reads one text a row, not packed ones')
  flat = jax.tree.map(
    lambda leaf: jnp.asarray(leaf).reshape(-1, leaf.shape[-1]), texts
  )

  def one(text):
    row = jax.tree.map(lambda leaf: leaf[None], text)
    found, mask = answer_logprobs(network, policy, row)
    if base is None:
      return forms.average(found, mask, beta=beta)[0]
    other, _ = answer_logprobs(network, base, row)
    return forms.reward(found, other, mask, beta=beta)[0]

  found = jax.lax.map(one, flat, batch_size=min(_TEXTS, len(flat.ids)))
  return found.reshape(*texts.ids.shape[:-1], 1)
