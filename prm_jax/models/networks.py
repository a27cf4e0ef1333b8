"""Small networks on top of frozen features."""

import jax
from flax import linen as nn


class MLP(nn.Module):
  """Dense layers with GELU between them.

  Attributes:
    widths: of the layers, the output's last.
  """

  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Returns `[..., widths[-1]]` from `[..., D]`."""
    for width in self.widths[:-1]:
      inputs = nn.gelu(nn.Dense(width)(inputs))
    return nn.Dense(self.widths[-1])(inputs)
