"""A reward that writes a critique of a text before it scores it: CLoud's."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder, lora, sampling
from prm_jax.rewards import backbone as trunks


def critiqued(
  head: types.RewardModel,
  backbone: trunks.Backbone | Mapping[str, Any],
  *,
  max_new_tokens: int,
  stop_ids: tuple[int, ...],
  temperature: float = 0.0,
) -> types.RewardModel:
  """Returns the head's reward of a text with a critique behind it.

  The backbone writes the critique (`deliberate`) and reads it; the last token
  is scored. What has one already is scored as it is.

  Args:
    head: of the states at score positions.
    backbone: a decoder, which may be plain data.
    max_new_tokens: N of a critique.
    stop_ids: tokens that end one.
    temperature: of its draws.

  Raises:
    ValueError: the backbone has a top.

  References:
    Ankner et al. 2024 (CLoud), arXiv:2408.11791.
  """
  node = trunks.given(backbone)
  if node.top is not None:
    raise ValueError('a backbone that writes is whole: it has no top')

  def deliberate(key, params, inputs, context):
    del context
    texts = inputs.value
    if inputs.index is not None:
      texts = jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[jnp.asarray(inputs.index)], texts
      )
    lead = texts.ids.shape[:-1]
    ids, real = decoder.left_padded(
      *(leaf.reshape(-1, leaf.shape[-1]) for leaf in (texts.ids, texts.mask))
    )
    trunk = params['backbone']
    if 'adapter' in params:
      trunk = lora.merge(trunk, params['adapter'])
    said = sampling.sample(
      key,
      node.sizes,
      trunk,
      ids,
      real,
      max_new_tokens=max_new_tokens,
      stop_ids=stop_ids,
      temperature=temperature,
      filtered=False,
      dtype=node.dtype,
    )
    found = types.Tokens(
      jnp.concatenate([ids, said.ids], 1),
      jnp.concatenate([real.astype(jnp.int32), said.mask], 1),
    )
    return types.Inputs(
      jax.tree.map(lambda leaf: leaf.reshape(*lead, -1), found)
    )

  return trunks.under(head, node)._replace(deliberate=deliberate)
