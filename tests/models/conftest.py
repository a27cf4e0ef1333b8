import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from prm_jax.models import encoder
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
    found['bert.' + huggingface._file_name(keys)] = value
  return found
