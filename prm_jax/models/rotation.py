"""Queries and keys that are turned by their positions."""

import jax
import jax.numpy as jnp

from prm_jax.models.decoder_config import DecoderConfig
from prm_jax.ops import rotary as frequencies


def rotary(
  positions: jax.Array, config: DecoderConfig, *, local: bool = False
) -> tuple[jax.Array, jax.Array]:
  """Returns cosine and sine `[B, T, 1, head_dim / 2]` of every position.

  Args:
    positions: `[B, T]`.
    config: sizes.
    local: whether with the base of sliding layers, unscaled.

  References:
    Su et al. 2021 (RoPE), arXiv:2104.09864.
  """
  theta, scaling = config.rope_theta, config.rope_scaling
  if local:
    theta, scaling = config.local_rope_theta, frequencies.Scaling()
  turned = frequencies.frequencies(theta, config.head_dim, scaling)
  angle = positions[..., None, None].astype(jnp.float32) * turned
  cosine, sine = jnp.cos(angle), jnp.sin(angle)
  if scaling.attention == 1:
    return cosine, sine
  return cosine * scaling.attention, sine * scaling.attention


def rotate(
  inputs: jax.Array, rotation: tuple[jax.Array, jax.Array]
) -> jax.Array:
  """Returns queries or keys `[B, T, heads, head_dim]`, halves rotated.

  Dimension i turns with dimension i + head_dim / 2, as in Hugging Face's
  checkpoints; GGUF files pair neighbours, and their loader undoes it.
  """
  cosine, sine = rotation
  first, second = jnp.split(inputs.astype(jnp.float32), 2, -1)
  turned = [first * cosine - second * sine, second * cosine + first * sine]
  return jnp.concatenate(turned, -1).astype(inputs.dtype)
