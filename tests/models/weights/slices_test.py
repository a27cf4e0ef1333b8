"""Parts of parameters are what the whole has there, and little more is read."""

import json
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models.weights import huggingface, slices
from tests.multidevice import devices


def is_leaf(of):
  return isinstance(of, slices.Leaf)


@pytest.fixture
def saved(tmp_path, tiny_decoder):
  def make(kind='llama'):
    huggingface.save_decoder(*tiny_decoder(kind), tmp_path)
    return tmp_path

  return make


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen2', 'gemma2'])
def test_parts_are_of_the_whole(saved, kind):
  folder = saved(kind)
  config, whole = huggingface.load_decoder(folder)
  found, leaves = slices.leaves(folder)
  assert found == config
  for part in range(2):
    index = slices.of_part(leaves, part, 2)

    def same(leaf, of, at):
      assert leaf.shape == of.shape
      np.testing.assert_array_equal(leaf.read(at), of[at])

    jax.tree.map(same, leaves, whole, index, is_leaf=is_leaf)
  cut = [
    leaf.read(at).size
    for leaf, at in zip(
      jax.tree.leaves(leaves, is_leaf=is_leaf),
      jax.tree.leaves(index, is_leaf=lambda of: isinstance(of, tuple)),
      strict=True,
    )
  ]
  assert sum(cut) == sum(of.size for of in jax.tree.leaves(whole)) / 2


def test_layers_are_cut_too(saved):
  folder = saved()
  _, whole = huggingface.load_decoder(folder)
  _, leaves = slices.leaves(folder)
  pick = lambda tree: tree['params']['layers']['layer']['up']['kernel']  # noqa: E731
  at = (slice(1, 2), slice(3, 9), slice(0, 64, 1))
  np.testing.assert_array_equal(pick(leaves).read(at), pick(whole)[at])


def test_devices_have_what_the_whole_has(saved):
  folder = saved()
  _, whole = huggingface.load_decoder(folder)
  _, leaves = slices.leaves(folder)
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  where = jax.tree.map(lambda _: one, leaves, is_leaf=is_leaf)
  found = slices.load(leaves, where)
  jax.tree.map(np.testing.assert_array_equal, found, whole)
  half = slices.load(leaves, where, dtype=ml_dtypes.bfloat16)
  jax.tree.map(
    lambda of, want: np.testing.assert_array_equal(
      np.asarray(of), want.astype(ml_dtypes.bfloat16)
    ),
    half,
    whole,
  )
  shapes = slices.shapes(leaves)
  assert jax.tree.map(np.shape, shapes) == jax.tree.map(np.shape, whole)


@pytest.mark.parametrize('changed', [False, True])
def test_a_head_beside_a_tied_embedding_is_what_the_file_says(
  saved, changed, monkeypatch, caplog
):
  monkeypatch.setattr(huggingface, '_ROWS', 100)  # of 270: the last differs
  folder = saved()
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  head = tensors['model.embed_tokens.weight'].copy()
  head[-1] += changed
  save_file({**tensors, 'lm_head.weight': head}, path)
  config, whole = huggingface.load_decoder(folder)
  assert config.tie_word_embeddings is not changed
  with caplog.at_level('WARNING'):
    found, leaves = slices.leaves(folder)
  assert ('lm_head.weight is taken' in caplog.text) is changed
  assert found == config

  def same(leaf, of):
    everything = tuple(map(slice, of.shape))
    np.testing.assert_array_equal(leaf.read(everything), of)

  jax.tree.map(same, leaves, whole, is_leaf=is_leaf)


def test_what_cannot_be_read_is_named(saved):
  folder = saved()
  path = folder / 'model.safetensors'
  name = 'model.layers.1.mlp.up_proj.weight'
  tensors = load_file(path)
  for changed, message in (
    ({name: None}, f'{name.removeprefix("model.")} is missing'),
    ({name: tensors[name][:3].copy()}, 'up_proj.weight is .3, 32.'),
    ({'model.layers.0.mlp.up_proj.bias': np.ones(64)}, r'so \(mlp_bias\)'),
  ):
    known = {k: v for k, v in {**tensors, **changed}.items() if v is not None}
    save_file(known, path)
    with pytest.raises(ValueError, match=message):
      slices.leaves(folder)
  settings = folder / 'config.json'
  text = settings.read_text()
  settings.write_text(text.replace('ForCausalLM', 'ForSequenceClassification'))
  save_file({**tensors, 'score.weight': np.ones((1, 32))}, path)
  with pytest.raises(ValueError, match='scores texts and writes none'):
    slices.leaves(folder)
  settings.write_text(text)
  save_file({**tensors, name: tensors[name] * np.nan}, path)
  _, leaves = slices.leaves(folder)
  leaf = leaves['params']['layers']['layer']['up']['kernel']
  leaf.read((slice(0, 1), slice(None), slice(None)))
  with pytest.raises(ValueError, match='not finite'):
    leaf.read((slice(0, 2), slice(None), slice(None)))


@pytest.mark.slow
@pytest.mark.skipif(
  not Path('/proc/self/status').exists(), reason='RssAnon is of Linux'
)
def test_a_process_takes_the_memory_of_its_part(tmp_path):
  """A checkpoint of 1 GB in bf16 in two processes, on a mesh of two devices.

  Half of it each, in the dtype it becomes, and 300 MB at most.
  """
  known = {
    'vocab_size': 32_000,
    'hidden_size': 1536,
    'intermediate_size': 6144,
    'num_hidden_layers': 12,
    'num_attention_heads': 16,
    'num_key_value_heads': 8,
    'head_dim': 96,
    'max_position_embeddings': 2048,
    'model_type': 'llama',
    'hidden_act': 'silu',
    'rms_norm_eps': 1e-5,
    'tie_word_embeddings': False,
    'architectures': ['LlamaForCausalLM'],
  }
  (tmp_path / 'config.json').write_text(json.dumps(known))
  config = huggingface.decoder_fields.read(known, 'config.json')
  rng, tensors = np.random.default_rng(0), {}
  block = (rng.normal(size=1 << 20) * 0.02).astype(ml_dtypes.bfloat16)

  def leaf(path, of):
    keys = [entry.key for entry in path[1:]]
    name = huggingface.decoder_name(config, keys)
    stacked = '{}' in name
    shape = of.shape[stacked:]
    shape = shape[::-1] if keys[-1] == 'kernel' else shape
    for at in range(of.shape[0] if stacked else 1):
      full = name.format(at)
      full = full if full == 'lm_head.weight' else f'model.{full}'
      tensors[full] = np.resize(block, shape)

  shapes = huggingface.decoder_shapes(config)
  jax.tree_util.tree_map_with_path(leaf, shapes)
  total = sum(of.nbytes for of in tensors.values())
  assert 0.95e9 < total < 1.1e9
  save_file(tensors, tmp_path / 'model.safetensors', {'format': 'pt'})
  tensors.clear()
  for dtype in ('bfloat16', 'float32'):
    width = 2 if dtype == 'bfloat16' else 4
    for told in devices.reports('weights.py', 1, str(tmp_path), dtype):
      print(dtype, told)
      assert told['devices'] == 2
      assert told['held'] == pytest.approx(total / 2 * width / 2, rel=0.01)
      assert told['taken'] <= 0.5 * total * width / 2 + 300e6, dtype
