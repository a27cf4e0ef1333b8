import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from prm_jax.models import decoder, encoder
from prm_jax.models.weights import huggingface

CONFIG = {
  'model_type': 'bert',
  'vocab_size': 40,
  'hidden_size': 12,
  'num_hidden_layers': 2,
  'num_attention_heads': 3,
  'intermediate_size': 20,
  'max_position_embeddings': 24,
}
WORDS = [
  *['the', 'a', 'cat', 'dog', 'sat', 'ran', 'on', 'mat', '.', '!', '?'],
  *['very', 'good', 'bad', 'old', 'new'],
]


@pytest.fixture
def tiny(tmp_path):
  """A folder with a random tiny BERT and a WordPiece vocabulary."""
  folder = tmp_path / 'tiny'
  folder.mkdir()
  (folder / 'config.json').write_text(json.dumps(CONFIG))
  special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  (folder / 'vocab.txt').write_text('\n'.join([*special, *WORDS]))
  save_file(tensors(), folder / 'model.safetensors')
  return folder


def tensors(seed=0):
  """Random weights under the names of a Hugging Face checkpoint."""
  config = encoder.BertConfig(
    **{k: v for k, v in CONFIG.items() if k != 'model_type'}
  )
  ids = jax.ShapeDtypeStruct((1, 2), np.int32)
  shapes = jax.eval_shape(
    encoder.Bert(config).init, jax.random.key(0), ids, ids
  )
  rng, found = np.random.default_rng(seed), {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
    keys = [entry.key for entry in path[1:]]
    value = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
    if keys[-1] == 'scale':
      value = 1 + value
    if keys[-1] == 'kernel':
      value = np.ascontiguousarray(value.T)
    found['bert.' + huggingface._bert_name(keys)] = value
  return found


DECODER = {
  'vocab_size': 270,
  'hidden_size': 32,
  'intermediate_size': 64,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
  'max_position_embeddings': 64,
}
KINDS = {
  'llama': {},
  'llama, untied': {'tie_word_embeddings': False, 'head_dim': 6},
  'qwen2': {'attention_bias': True, 'rope_theta': 1e6},
  'qwen3': {'query_key_norm': True, 'rms_norm_eps': 1e-6, 'head_dim': 10},
  'llama 3': {
    'rope_scaling': ('llama3', 4.0, 16, 1.0, 4.0),
    'output_bias': True,
    'attention_bias': True,
    'mlp_bias': True,
  },
  'mistral': {'sliding_window': 4, 'num_key_value_heads': 1},
  'gemma2': {
    'sliding_window': 3,
    'sliding_layers': (True, False),
    'activation': 'gelu_tanh',
    'query_scale': 5.0,
    'attention_softcap': 2.0,
    'logit_softcap': 3.0,
    'post_norms': True,
    'norm_offset': True,
    'scale_embeddings': True,
  },
  'gemma3': {
    'sliding_window': 5,
    'sliding_layers': (True, False),
    'local_rope_theta': 50.0,
    'rope_scaling': ('linear', 8.0),
    'activation': 'gelu_tanh',
    'query_key_norm': True,
    'post_norms': True,
    'norm_offset': True,
    'scale_embeddings': True,
  },
}


@pytest.fixture(scope='session')
def tiny_decoder():
  """A function from a kind to a tiny decoder: configuration, parameters."""

  def make(kind='llama', seed=0, **changes):
    config = decoder.DecoderConfig(**{**DECODER, **KINDS[kind], **changes})
    shapes = huggingface.decoder_shapes(config)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
      scale = path[-1].key == 'scale'
      return (scale + 0.2 * rng.normal(size=leaf.shape)).astype(np.float32)

    return config, jax.tree_util.tree_map_with_path(draw, shapes)

  return make


@pytest.fixture(params=KINDS)
def kind(request):
  """Every kind of decoder."""
  return request.param
