"""Rewards that read text with a decoder, whatever their head is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder as decoders
from prm_jax.models import lora
from prm_jax.rewards import discriminative

PARTS = ('backbone', 'adapter')  # of a reward's params, beside the head's own
_TEXTS = 256  # read at once
TRAINS = ('frozen', 'adapter', 'whole')


class Backbone(NamedTuple):
  """What reads the text under a head, and what of it is trained.

  Attributes:
    config: sizes of the decoder: Llama, Qwen2 or Qwen3; or plain data.
    trains: 'frozen', 'adapter' (LoRA) or 'whole'.
    rank: of the adapter.
    learning_rate: of what is trained of it; the head has its own.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
  """

  config: decoders.DecoderConfig | Mapping[str, Any]
  trains: str = 'frozen'
  rank: int = 8
  learning_rate: float = 1e-4
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def sizes(self) -> decoders.DecoderConfig:
    """Returns the configuration, which may be plain data."""
    return discriminative.sizes(self.config)


def backbone(
  head: types.RewardModel,
  decoder: decoders.DecoderConfig,
  *,
  adapter: int | None = None,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.RewardModel:
  """Returns the head's reward of a decoder's state at each score position.

  The value of the inputs is `types.Tokens` `[..., T]` of prompt and response
  together, padded on any side, packed (`segment`) or with branches of a shared
  prefix; the score position is the last token, or every one of `end`. Values
  that are arrays are features already, and pass.

  params: those of the head for D = `hidden_size` features, `'backbone'`: the
  decoder's, and `'adapter'` where there is one.

  Args:
    head: conditions on the person after the text is read.
    decoder: sizes; Llama, Qwen2 or Qwen3.
    adapter: rank of LoRA on queries and values; none if None.
    dtype: of the layers' computation; features are float32.
    remat: whether layers are computed again for the gradient.

  Raises:
    ValueError: at init, if `spec.features` is not the decoder's hidden size.
  """
  network: Any = decoders.Decoder(decoder, dtype, remat)

  def init(key, spec):
    width = decoder.hidden_size
    if spec.features != width:
      raise ValueError(
        f'a decoder of hidden_size {width} gives as many features, and the '
        f'spec says {spec.features}'
      )
    keys = jax.random.split(jax.random.fold_in(key, 0xBB), 2)
    ids = jnp.zeros((1, 2), jnp.int32)
    trunk = network.init(keys[0], ids, ids, decoders.attended(ids + 1))
    params = {**head.init(key, spec), 'backbone': trunk}
    if adapter is not None:
      params['adapter'] = lora.init(keys[1], trunk, rank=adapter)
    return params

  def features(params, inputs):
    texts = inputs.value
    if not isinstance(texts, types.Tokens):
      return texts
    trunk = params['backbone']
    if 'adapter' in params:
      trunk = lora.merge(trunk, params['adapter'])
    lead = texts.ids.shape[:-1]
    flat = jax.tree.map(
      lambda leaf: jnp.asarray(leaf).reshape(-1, leaf.shape[-1]), texts
    )
    if len(flat.ids) <= _TEXTS:
      found = _read(network, trunk, flat)
    else:  # a block at a time: all states of all texts would not fit
      found = jax.lax.map(
        lambda one: _read(
          network, trunk, jax.tree.map(lambda leaf: leaf[None], one)
        )[0],
        flat,
        batch_size=_TEXTS,
      )
    if texts.end is not None:
      return found.reshape(-1, found.shape[-1])
    return found.reshape(*lead, found.shape[-1])

  def encode(params, features):
    return head.encode(own(params), features)

  def score(params, encoded, context):
    return head.score(own(params), encoded, context)

  return types.RewardModel(
    init, encode, score, features, members=_members(head), centred=head.centred
  )


def _members(head: types.RewardModel):
  """Returns what reads the members of a head's reward, None without them."""
  each = head.members
  if each is None:
    return None
  return lambda params, encoded, context: each(own(params), encoded, context)


def own(params: Mapping[str, types.PyTree]) -> dict[str, types.PyTree]:
  """Returns a reward's params without its backbone and adapter."""
  return {name: leaf for name, leaf in params.items() if name not in PARTS}


def given(node: Backbone | Mapping[str, Any]) -> Backbone:
  """Returns a backbone, which may be plain data.

  Raises:
    ValueError: `trains` is none of the three.
  """
  trunk = node if isinstance(node, Backbone) else Backbone(**node)
  if trunk.trains not in TRAINS:
    raise ValueError(f'trains {trunk.trains!r}: one of {TRAINS}')
  return trunk


def under(
  head: types.RewardModel, node: Backbone | Mapping[str, Any] | None
) -> types.RewardModel:
  """Returns the head on a backbone, or as it is where there is none.

  Args:
    head: of given features.
    node: the backbone, which may be plain data.
  """
  if node is None:
    return head
  trunk = given(node)
  return backbone(
    head,
    trunk.sizes,
    dtype=trunk.dtype,
    remat=trunk.remat,
    adapter=trunk.rank if trunk.trains == 'adapter' else None,
  )


def _read(network, trunk, texts: types.Tokens) -> jax.Array:
  """Returns the states at the score positions, `[B, D]`, or `[B, E, D]`."""
  real = jnp.asarray(texts.mask) > 0
  block = real.astype(jnp.int32)
  if texts.segment is not None:
    block = jnp.where(real, texts.segment + 1, 0)
  branch = None if texts.branch is None else jnp.asarray(texts.branch)
  seen = decoders.attended(block, branch)
  # A token's position is how many tokens it attends to before itself.
  positions = seen[:, 0].sum(-1) - 1
  hidden = network.apply(trunk, texts.ids, positions, seen).hidden
  hidden = hidden.astype(jnp.float32)
  if texts.end is not None:
    return jnp.take_along_axis(hidden, texts.end[..., None], 1)
  last = real.shape[1] - 1 - jnp.argmax(real[:, ::-1], 1)
  return jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0]
