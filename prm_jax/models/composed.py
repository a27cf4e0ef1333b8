"""Tokens that are made of others: one position, the sum of their embeddings.

An event of a history, a marker with a word, is one token of a large vocabulary
to whoever writes, reads and samples; what is learned are embeddings of the few
atoms that it is made of, so that what is learned of a marker holds for all its
words. A decoder sees the composed table, and nothing else changes.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import decoder, lora


def sizes(
  config: decoder.DecoderConfig, fields: types.ArrayLike | None
) -> decoder.DecoderConfig:
  """Returns the sizes of what is learned: the vocabulary are the atoms.

  Args:
    config: of the decoder, over V tokens.
    fields: `[V, F]` atoms of each token, -1 for none; None: tokens are atoms.

  Raises:
    ValueError: there are no V rows.
  """
  if fields is None:
    return config
  if len(fields) != config.vocab_size:
    raise ValueError(
      f'{len(fields)} tokens are made of others, and the decoder has '
      f'{config.vocab_size}'
    )
  return dataclasses.replace(config, vocab_size=int(np.max(fields)) + 1)


def composed(params: types.PyTree, fields: types.ArrayLike | None) -> Any:
  """Returns a decoder's params over V tokens, of those over atoms.

  Args:
    params: of a `Decoder` of `sizes`; or `{'backbone': those, 'adapter': ...}`,
      whose adapters are merged.
    fields: see `sizes`.
  """
  if 'adapter' in params:
    params = lora.merge(params['backbone'], params['adapter'])
  if fields is None:
    return params
  table = decoder.look_up(params, jnp.asarray(fields)).sum(-2)
  return {'params': {**params['params'], 'embed': {'embedding': table}}}
