import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import special

from prm_jax.models import embeddings, encoder, tokenizers
from prm_jax.models.weights import huggingface

GOLDEN = Path(__file__).parents[1] / 'golden' / 'minilm.json'


def numpy_bert(w, ids, heads):
  """An independent forward pass of one unpadded text; every layer `[T, D]`."""

  def norm(x, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-12)
    return scaled * w[f'{name}.weight'] + w[f'{name}.bias']

  def dense(x, name):
    return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

  e = 'embeddings.'
  x = (
    w[e + 'word_embeddings.weight'][ids]
    + w[e + 'position_embeddings.weight'][: len(ids)]
    + w[e + 'token_type_embeddings.weight'][0]
  )
  x = norm(x, 'embeddings.LayerNorm')
  layers = [x]
  for number in range(2):
    p = f'encoder.layer.{number}.'
    q, k, v = (
      np.split(dense(x, f'{p}attention.self.{n}'), heads, -1)
      for n in ('query', 'key', 'value')
    )
    mixed = [
      special.softmax(a @ b.T / np.sqrt(a.shape[-1]), -1) @ c
      for a, b, c in zip(q, k, v, strict=True)
    ]
    out = dense(np.concatenate(mixed, -1), p + 'attention.output.dense')
    x = norm(x + out, p + 'attention.output.LayerNorm')
    wide = dense(x, p + 'intermediate.dense')
    wide = wide * 0.5 * (1 + special.erf(wide / np.sqrt(2)))
    x = norm(x + dense(wide, p + 'output.dense'), p + 'output.LayerNorm')
    layers.append(x)
  return np.stack(layers)


def test_agrees_with_independent_forward_pass_and_ignores_padding(tiny):
  config, params = huggingface.load_bert(tiny)
  raw = load_file(tiny / 'model.safetensors')
  weights = {name.removeprefix('bert.'): t for name, t in raw.items()}
  ids = np.array([2, 7, 9, 11, 3])
  padded = np.zeros((2, 9), np.int32)
  mask = np.zeros((2, 9), np.int32)
  padded[0, :5], mask[0, :5] = ids, 1
  padded[1], mask[1] = np.arange(9) + 5, 1
  hidden = encoder.Bert(config).apply(params, padded, mask)
  assert hidden.shape == (3, 2, 9, 12)
  want = numpy_bert(weights, ids, heads=3)
  np.testing.assert_allclose(hidden[:, 0, :5], want, atol=1e-5)
  pooled = encoder.mean_pool(hidden, jnp.asarray(mask))
  np.testing.assert_allclose(pooled[:, 0], want.mean(1), atol=1e-5)


def test_minilm_agrees_with_reference():
  golden = json.loads(GOLDEN.read_text())
  loaded = embeddings.Encoder.load()
  ids, truncated = tokenizers.encode(loaded.tokenizer, golden['sentences'])
  assert ids == golden['input_ids']
  assert truncated == 0
  batches = embeddings.encode_batches(loaded, golden['sentences'])
  found = dict(
    pair
    for texts, means in batches
    for pair in zip(texts, means[:, 6], strict=True)
  )
  vectors = np.stack([found[text] for text in golden['sentences']])
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  np.testing.assert_allclose(vectors, golden['embeddings'], atol=1e-4)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('model_type', 't5'),
    ('position_embedding_type', 'relative_key'),
    ('hidden_act', 'relu'),
  ],
)
def test_other_models_are_refused_by_field(tiny, field, value):
  known = json.loads((tiny / 'config.json').read_text())
  (tiny / 'config.json').write_text(json.dumps({**known, field: value}))
  with pytest.raises(ValueError, match=f"{field} is '{value}'"):
    huggingface.load_bert(tiny)


def test_broken_checkpoints_are_named(tiny):
  path = tiny / 'model.safetensors'
  tensors = load_file(path)
  name = 'bert.encoder.layer.1.output.dense.weight'
  save_file({**tensors, name: np.zeros((3, 3), np.float32)}, path)
  with pytest.raises(ValueError, match=r'output\.dense\.weight is \(3, 3\)'):
    huggingface.load_bert(tiny)
  tensors.pop(name)
  save_file(tensors, path)
  with pytest.raises(ValueError, match=r'output\.dense\.weight is missing'):
    huggingface.load_bert(tiny)
  path.write_bytes(path.read_bytes()[:50])
  with pytest.raises(ValueError, match='is not a safetensors file'):
    huggingface.load_bert(tiny)
  path.unlink()
  with pytest.raises(ValueError, match='is missing: only safetensors'):
    huggingface.load_bert(tiny)
  (tiny / 'config.json').unlink()
  with pytest.raises(ValueError, match=r'holds no config\.json'):
    huggingface.load_bert(tiny)


def test_sentence_transformers_layout(tiny, tmp_path):
  outer = tmp_path / 'outer'
  outer.mkdir()
  tiny.rename(outer / '0_Transformer')
  config, _ = huggingface.load_bert(outer)
  assert config.hidden_size == 12
