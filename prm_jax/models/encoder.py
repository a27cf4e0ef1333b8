"""BERT: every layer's hidden states."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import linen as nn

from prm_jax.models.weights import pointers


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """Sizes, named as in Hugging Face's config.json."""

  vocab_size: int
  hidden_size: int
  num_hidden_layers: int
  num_attention_heads: int
  intermediate_size: int
  max_position_embeddings: int
  type_vocab_size: int = 2
  layer_norm_eps: float = 1e-12
  hidden_act: str = 'gelu'

  @classmethod
  def read(cls, path: Path) -> 'BertConfig':
    """Returns the configuration in a config.json.

    Raises:
      ValueError: a field is missing, or the model is not of BERT's family.
    """
    pointers.refuse(path)
    known = json.loads(path.read_text())
    wanted = {
      'model_type': ('bert',),
      'position_embedding_type': ('absolute',),
      'hidden_act': ('gelu',),
    }
    for name, accepted in wanted.items():
      value = known.get(name, accepted[0])
      if value not in accepted:
        raise ValueError(
          f'{path}: {name} is {value!r}, and only {accepted[0]!r} is supported'
        )
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name, field in fields.items():
      if name not in known and field.default is dataclasses.MISSING:
        raise ValueError(f'{path}: {name} is missing')
    return cls(**{name: known[name] for name in fields if name in known})


class Bert(nn.Module):
  """BERT's encoder, without a head.

  Attributes:
    config: sizes.
  """

  config: BertConfig

  @nn.compact
  def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns hidden states `[L + 1, B, T, D]`, the embeddings' first.

    Args:
      ids: `[B, T]` int32 token ids.
      mask: `[B, T]` 1 for a token, 0 for padding.

    References:
      Devlin et al. 2019, arXiv:1810.04805.
    """
    config = self.config
    D = config.hidden_size

    def embed(name, size):
      return nn.Embed(size, D, name=name)

    def norm(name):
      return nn.LayerNorm(config.layer_norm_eps, name=name)

    positions = jnp.arange(ids.shape[1])
    hidden = (
      embed('word_embeddings', config.vocab_size)(ids)
      + embed('position_embeddings', config.max_position_embeddings)(positions)
      + embed('token_type_embeddings', config.type_vocab_size)(
        jnp.zeros_like(ids)
      )
    )
    hidden = norm('embeddings_norm')(hidden)
    layers = [hidden]
    attended = mask[:, None, None, :].astype(bool)
    for index in range(config.num_hidden_layers):
      hidden = Layer(config, name=f'layer_{index}')(hidden, attended)
      layers.append(hidden)
    return jnp.stack(layers)


class Layer(nn.Module):
  """One transformer layer, normalised after each residual.

  Attributes:
    config: sizes.
  """

  config: BertConfig

  @nn.compact
  def __call__(self, hidden: jax.Array, attended: jax.Array) -> jax.Array:
    """Returns `[B, T, D]`; attended `[B, 1, 1, T]` bool."""
    config = self.config
    B, T, D = hidden.shape
    heads = config.num_attention_heads

    def project(name):
      return nn.Dense(D, name=name)(hidden).reshape(B, T, heads, D // heads)

    attention = jax.nn.dot_product_attention(
      project('query'), project('key'), project('value'), mask=attended
    ).reshape(B, T, D)
    attention = nn.Dense(D, name='attention_output')(attention)
    hidden = nn.LayerNorm(config.layer_norm_eps, name='attention_norm')(
      hidden + attention
    )
    wide = nn.Dense(config.intermediate_size, name='intermediate')(hidden)
    wide = nn.gelu(wide, approximate=False)
    return nn.LayerNorm(config.layer_norm_eps, name='output_norm')(
      hidden + nn.Dense(D, name='output')(wide)
    )


def mean_pool(hidden: jax.Array, mask: jax.Array) -> jax.Array:
  """Returns the mean over tokens, `[..., B, D]`.

  Args:
    hidden: `[..., B, T, D]`.
    mask: `[B, T]` 1 for a token, 0 for padding.
  """
  weight = mask[:, :, None].astype(hidden.dtype)
  return (hidden * weight).sum(-2) / jnp.maximum(weight.sum(-2), 1)
