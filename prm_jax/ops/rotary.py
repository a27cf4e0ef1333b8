"""Frequencies of rotary position embeddings, stretched to longer texts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ('default', 'linear', 'llama3', 'yarn')


class Scaling(NamedTuple):
  """How frequencies are changed, so that a model reads longer texts.

  Attributes:
    kind: 'default' changes nothing; 'linear' divides all by `factor`;
      'llama3' divides the slow ones, and leaves the fast ones; so does
      'yarn', by the number of turns, and `attention` with it.
    factor: by which frequencies are divided.
    original: the longest text before, in tokens; of 'llama3' and 'yarn'.
    low: 'llama3': what turns less than so often in `original` tokens is slow.
    high: 'llama3': what turns more often is fast.
    slow: 'yarn': as `low`; beta_slow.
    fast: 'yarn': as `high`; beta_fast.
    truncate: 'yarn': whether the bounds are whole dimensions.
    attention: cosine and sine are multiplied by it.
  """

  kind: str = 'default'
  factor: float = 1.0
  original: int = 0
  low: float = 1.0
  high: float = 4.0
  slow: float = 1.0
  fast: float = 32.0
  truncate: bool = True
  attention: float = 1.0


def frequencies(theta: float, size: int, scaling: Scaling) -> jax.Array:
  """Returns angles a token `[size / 2]` of every pair of dimensions.

  f_i = theta^(-2 i / size), and after the scaling (1 - s_i) f_i / factor +
  s_i f_i, where s_i is 1 for what turns fast and 0 for what turns slowly. In
  between it rises linearly: with the number of turns f_i original / (2 pi) in
  'llama3', with the dimension i in 'yarn'.

  Args:
    theta: the base.
    size: of a head.
    scaling: see `Scaling`.

  Raises:
    ValueError: an unknown kind.

  References:
    Su et al. 2021 (RoPE), arXiv:2104.09864; Chen et al. 2023 (linear),
    arXiv:2306.15595; Peng et al. 2023 (YaRN), arXiv:2309.00071; Grattafiori
    et al. 2024 (Llama 3), arXiv:2407.21783.
  """
  half = size // 2
  plain = theta ** (-jnp.arange(half) / half)
  if scaling.kind == 'default':
    return plain
  if scaling.kind == 'linear':
    return plain / scaling.factor
  if scaling.kind == 'llama3':
    turns = plain * scaling.original / (2 * np.pi)
    rise = (turns - scaling.low) / (scaling.high - scaling.low)
  elif scaling.kind == 'yarn':
    first, last = _bounds(theta, size, scaling)
    rise = 1 - (jnp.arange(half) - first) / (last - first)
  else:
    raise ValueError(f'kind {scaling.kind!r}: one of {KINDS}')
  kept = jnp.clip(rise, 0.0, 1.0)
  return (1 - kept) * plain / scaling.factor + kept * plain


def _bounds(theta: float, size: int, scaling: Scaling) -> tuple[float, float]:
  """Returns the dimensions between which YaRN goes from fast to slow."""

  def dimension(turns):  # of what turns so often in the original length
    longest = scaling.original / (turns * 2 * np.pi)
    return size * np.log(longest) / (2 * np.log(theta))

  first, last = dimension(scaling.fast), dimension(scaling.slow)
  if scaling.truncate:
    first, last = np.floor(first), np.ceil(last)
  first, last = max(first, 0), min(last, size - 1)
  return first, last if last != first else last + 0.001
