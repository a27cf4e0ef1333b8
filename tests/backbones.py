"""Published configurations of decoders, in the fields of their config.json."""

import json

_QWEN3 = {
  'model_type': 'qwen3',
  'vocab_size': 151936,
  'num_key_value_heads': 8,
  'head_dim': 128,
  'rms_norm_eps': 1e-6,
  'rope_theta': 1_000_000,
  'rope_scaling': None,
  'max_position_embeddings': 40960,
  'attention_bias': False,
  'hidden_act': 'silu',
}
CONFIGS = {
  'toy': {
    **_QWEN3,
    'vocab_size': 256,
    'hidden_size': 64,
    'intermediate_size': 192,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'head_dim': 16,
    'tie_word_embeddings': True,
  },
  'qwen3_06b': {
    **_QWEN3,
    'hidden_size': 1024,
    'intermediate_size': 3072,
    'num_hidden_layers': 28,
    'num_attention_heads': 16,
    'tie_word_embeddings': True,
  },
  'qwen3_8b': {
    **_QWEN3,
    'hidden_size': 4096,
    'intermediate_size': 12288,
    'num_hidden_layers': 36,
    'num_attention_heads': 32,
    'tie_word_embeddings': False,
  },
  'llama31_70b': {
    'model_type': 'llama',
    'vocab_size': 128256,
    'hidden_size': 8192,
    'intermediate_size': 28672,
    'num_hidden_layers': 80,
    'num_attention_heads': 64,
    'num_key_value_heads': 8,
    'rms_norm_eps': 1e-5,
    'rope_theta': 500_000.0,
    'rope_scaling': {
      'factor': 8.0,
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'original_max_position_embeddings': 8192,
      'rope_type': 'llama3',
    },
    'tie_word_embeddings': False,
    'max_position_embeddings': 131072,
    'attention_bias': False,
    'mlp_bias': False,
    'hidden_act': 'silu',
  },
}
# Gigabytes a device may take beside its arguments, with 64 pairs of 1,024
# tokens, on 8, 32 and 64 devices.
TEMPORARY = {'qwen3_06b': 12.0, 'qwen3_8b': 12.0, 'llama31_70b': 18.0}


def write(folder, name):
  """Returns the path of a config.json in a folder."""
  path = folder / 'config.json'
  path.write_text(json.dumps(CONFIGS[name]))
  return path
