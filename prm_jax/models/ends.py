"""A decoder read at some tokens alone, as a reward reads it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from prm_jax import types
from prm_jax.models import attention, decoder, sharding
from prm_jax.models.decoder_config import DecoderConfig
from prm_jax.models.rotation import rotary

_FEW = 8  # layers, of which the last alone is worth taking apart
_SHORT = 64  # tokens of a row, of which it is not: two programs are compiled


class Last(nn.Module):
  """A decoder's last layer, of some tokens alone.

  What a reward reads at the end of a text needs all tokens' keys and values
  there, and nothing else of them.

  Attributes:
    config: of this one layer.
    dtype: of the computation.
    remat: as of a `Stack`.
  """

  config: DecoderConfig
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    hidden: jax.Array,
    positions: jax.Array,
    seen: attention.Seen,
    at: jax.Array,
  ) -> jax.Array:
    """Returns the layer's output `[B, E, D]`.

    Args:
      hidden: `[B, T, D]`, what goes into it.
      positions: `[B, T]` int32.
      seen: by a layer that does not slide.
      at: `[B, E]` columns.
    """
    config = self.config
    sharding.check_heads(config.num_attention_heads, config.num_key_value_heads)
    slides = bool(config.sliding_window) and all(config.sliding_layers)
    own, mask = jnp.take_along_axis(positions, at, 1), seen.of(at)
    if slides:
      near = own[:, :, None] - positions[:, None] < config.sliding_window
      mask = mask & near[:, None]
    local = slides and bool(config.local_rope_theta)
    turned = [rotary(of, config, local=local) for of in (positions, own)]
    view = decoder.View(turned[0], mask, at, turned[1])
    policy = None if self.remat else attention.KEPT
    layer: Any = nn.remat(decoder.Layer, policy=policy)
    nothing = (None,) * 5  # of what `Stack` gives its layers besides
    made = layer(config, self.dtype, False, name='layer')(
      (hidden, None, jnp.int32(0)), (view,), *nothing
    )
    return made[0][0]


def read(
  network: decoder.Decoder,
  params: types.PyTree,
  inputs: jax.Array,
  positions: jax.Array,
  seen: attention.Seen,
  at: jax.Array,
) -> jax.Array:
  """Returns normalised states `[B, E, D]` of some tokens.

  Of few layers, the last makes nothing of other tokens: most of what it
  computes is saved, and it is one of few. Of many, or of short texts, all are
  one loop, for parameters that are taken apart are copied.

  Args:
    network: the decoder.
    params: of it.
    inputs: `[B, T, D]`, what its first layer reads.
    positions: `[B, T]` int32.
    seen: which tokens each attends to.
    at: `[B, E]` columns.
  """
  config, rest = network.config, (positions, seen)
  count = config.num_hidden_layers
  if count > _FEW or inputs.shape[1] < _SHORT:
    run: Any = network.apply
    return decoder.columns(run(params, inputs, *rest, method='read'), at)
  given = network.dtype, network.remat
  hidden = inputs
  if count > 1:
    lower: Any = decoder.Stack(config, count - 1, *given)
    hidden = lower.apply(
      decoder.take_layers(params, 0, count - 1), inputs, *rest
    )[0]
  top = jax.tree.map(lambda leaf: leaf[-1], params['params']['layers'])
  last: Any = Last(config.cut(count - 1), *given)
  found = last.apply({'params': top}, hidden, *rest, at)
  norm: Any = decoder.RMSNorm(config.rms_norm_eps, config.norm_offset)
  return norm.apply({'params': params['params']['norm']}, found)
