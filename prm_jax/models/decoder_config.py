"""Sizes and options of a decoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from prm_jax.ops import rotary

ACTIVATIONS = ('silu', 'gelu_tanh')
_UNSCALED = rotary.Scaling()


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
  """Sizes and options, named as in Hugging Face's config.json where it has one.

  Attributes:
    vocab_size: V.
    hidden_size: D.
    intermediate_size: of the gated network.
    num_hidden_layers: L.
    num_attention_heads: of queries.
    num_key_value_heads: of keys and values; divides that of queries.
    head_dim: of one head.
    rope_theta: base of the rotary frequencies.
    rms_norm_eps: added to the mean square.
    tie_word_embeddings: whether the head is the embedding.
    attention_bias: whether queries, keys and values have biases (Qwen2).
    query_key_norm: whether queries and keys are normalised (Qwen3, Gemma 3).
    max_position_embeddings: the longest text it was trained on, in tokens.
    embedding_std: standard deviation of embeddings that are drawn, which no
      config.json says; 1 / sqrt(D) if 0. Small embeddings are drowned by the
      layers' outputs, so that a model from scratch hardly sees its tokens.
    output_bias: whether what leaves attention has a bias.
    mlp_bias: whether the gated network has biases.
    activation: of the gate: 'silu', or 'gelu_tanh' (Gemma).
    rope_scaling: of the rotary frequencies; or plain data.
    sliding_window: how many tokens a sliding layer sees, the token itself
      included; none slides if 0.
    sliding_layers: `[L]` which layers slide; all, if empty and there is a
      window.
    local_rope_theta: base of sliding layers, which is not scaled (Gemma 3);
      that of the others if 0.
    query_scale: queries are divided by its root; `head_dim` if 0.
    attention_softcap: attention's scores x become c tanh(x / c); as they are
      if 0 (Gemma 2).
    logit_softcap: so do next-token logits.
    post_norms: whether what attention and the gated network add is normalised
      (Gemma).
    norm_offset: whether normalisations scale by 1 + their weights (Gemma).
    scale_embeddings: whether embeddings are multiplied by sqrt(D) (Gemma).
  """

  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  num_key_value_heads: int
  head_dim: int
  rope_theta: float = 10_000.0
  rms_norm_eps: float = 1e-5
  tie_word_embeddings: bool = True
  attention_bias: bool = False
  query_key_norm: bool = False
  max_position_embeddings: int = 2048
  embedding_std: float = 0.0
  output_bias: bool = False
  mlp_bias: bool = False
  activation: str = 'silu'
  rope_scaling: rotary.Scaling = _UNSCALED
  sliding_window: int = 0
  sliding_layers: tuple[bool, ...] = ()
  local_rope_theta: float = 0.0
  query_scale: float = 0.0
  attention_softcap: float = 0.0
  logit_softcap: float = 0.0
  post_norms: bool = False
  norm_offset: bool = False
  scale_embeddings: bool = False

  def __post_init__(self) -> None:
    """Makes plain data hashable, and checks what is of layers.

    Raises:
      ValueError: an unknown activation, or layers that slide without a window
        or are not L.
    """
    scaling, window = self.rope_scaling, self.sliding_window
    if isinstance(scaling, Mapping):
      scaling = rotary.Scaling(**scaling)
    sliding = tuple(map(bool, self.sliding_layers))
    if any(sliding) and not window:
      raise ValueError('sliding_layers: some slide, and sliding_window is 0')
    if sliding and len(sliding) != self.num_hidden_layers:
      raise ValueError(
        f'sliding_layers are {len(sliding)}, and there are '
        f'{self.num_hidden_layers} layers: `cut` keeps both in step'
      )
    if self.activation not in ACTIVATIONS:
      raise ValueError(f'activation {self.activation!r}: one of {ACTIVATIONS}')
    if len(set(sliding)) == 1:  # alike: said in one way, without a list
      window, sliding = window if sliding[0] else 0, ()
    object.__setattr__(self, 'rope_scaling', rotary.Scaling(*scaling))
    object.__setattr__(self, 'sliding_window', window)
    object.__setattr__(self, 'sliding_layers', sliding)

  def cut(self, first: int, last: int | None = None) -> 'DecoderConfig':
    """Returns the configuration of layers first..last - 1.

    Args:
      first: of the layers; counted from the end where negative.
      last: one past the last; all that follow if None.
    """
    layers = range(self.num_hidden_layers)[first:last]
    sliding = self.sliding_layers[first:last]
    return dataclasses.replace(
      self, num_hidden_layers=len(layers), sliding_layers=sliding
    )

  def described(self) -> dict[str, Any]:
    """Returns the fields that matter where parameters are given.

    Options that are off are left out: what is known of a model by its
    description, such as whose adapters are whose, outlives a new option.
    """
    known = dataclasses.asdict(self)
    del known['embedding_std']
    for field in dataclasses.fields(self)[_FIRST_OPTION:]:
      if getattr(self, field.name) == field.default:
        del known[field.name]
    return known

  @property
  def parameters(self) -> int:
    """The number of parameters."""
    D, V = self.hidden_size, self.vocab_size
    heads = self.num_attention_heads + self.num_key_value_heads
    layer = 2 * D * heads * self.head_dim + 3 * D * self.intermediate_size
    layer += 4 * D if self.post_norms else 2 * D
    if self.attention_bias:
      layer += (heads + self.num_key_value_heads) * self.head_dim
    if self.output_bias:
      layer += D
    if self.mlp_bias:
      layer += 2 * self.intermediate_size + D
    if self.query_key_norm:
      layer += 2 * self.head_dim
    tables = 1 if self.tie_word_embeddings else 2
    return tables * V * D + self.num_hidden_layers * layer + D


_FIRST_OPTION = [
  field.name for field in dataclasses.fields(DecoderConfig)
].index('output_bias')
