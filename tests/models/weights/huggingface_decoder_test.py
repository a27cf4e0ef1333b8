import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models.weights import huggingface

QUERY = 'model.layers.1.self_attn.q_proj.weight'


@pytest.fixture
def saved(tmp_path, tiny_decoder):
  """A function that saves a tiny decoder and returns folder and contents."""

  def make(kind='llama'):
    config, params = tiny_decoder(kind)
    huggingface.save_decoder(config, params, tmp_path / 'tiny')
    return tmp_path / 'tiny', config, params

  return make


def shard(folder):
  """Rewrites a checkpoint as two shards and an index."""
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  path.unlink()
  names, home = sorted(tensors), {}
  for number, chosen in enumerate((names[::2], names[1::2])):
    file = f'model-{number}.safetensors'
    save_file({name: tensors[name] for name in chosen}, folder / file)
    home |= dict.fromkeys(chosen, file)
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': home}))
  return index


def equal(found, wanted):
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_what_is_saved_comes_back(saved, kind):
  folder, config, params = saved(kind)
  found, loaded = huggingface.load_decoder(folder)
  assert found == config
  equal(loaded, params)


def test_files_are_as_hugging_face_writes_them(saved):
  folder, config, params = saved('qwen3')
  known = json.loads((folder / 'config.json').read_text())
  assert known['architectures'] == ['Qwen3ForCausalLM']
  assert known['model_type'] == 'qwen3'
  assert known['rope_theta'] == known['rope_parameters']['rope_theta'] == 1e4
  tensors = load_file(folder / 'model.safetensors')
  layer = params['params']['layers']['layer']
  np.testing.assert_array_equal(tensors[QUERY], layer['query']['kernel'][1].T)
  assert set(tensors) == {
    'model.embed_tokens.weight',
    'model.norm.weight',
    *(
      f'model.layers.{index}.{name}.weight'
      for index in range(2)
      for name in (
        'input_layernorm',
        'post_attention_layernorm',
        'mlp.gate_proj',
        'mlp.up_proj',
        'mlp.down_proj',
        'self_attn.q_proj',
        'self_attn.k_proj',
        'self_attn.v_proj',
        'self_attn.o_proj',
        'self_attn.q_norm',
        'self_attn.k_norm',
      )
    ),
  }
  assert config.query_key_norm


def test_shards_are_joined(saved):
  folder, config, params = saved('llama, untied')
  index = shard(folder)
  found, loaded = huggingface.load_decoder(folder)
  assert found == config
  equal(loaded, params)
  (folder / 'model-1.safetensors').rename(folder / 'gone')
  with pytest.raises(ValueError, match=r'model-1\.safetensors is missing'):
    huggingface.load_decoder(folder)
  (folder / 'model-1.safetensors').write_bytes(
    (folder / 'model-0.safetensors').read_bytes()
  )
  with pytest.raises(ValueError, match=r'is also in .*model-0\.safetensors'):
    huggingface.load_decoder(folder)
  for text, message in (
    ('{', 'is not a JSON file'),
    ('[]', 'holds no JSON object'),
    ('{}', 'weight_map is missing'),
    ('{"weight_map": {"a": "../b"}}', r"'\.\./b' is not the name of a file"),
  ):
    index.write_text(text)
    with pytest.raises(ValueError, match=message):
      huggingface.load_decoder(folder)


@pytest.mark.parametrize('dtype', [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(saved, dtype):
  folder, _, params = saved()
  path = folder / 'model.safetensors'
  tensors = {name: t.astype(dtype) for name, t in load_file(path).items()}
  save_file(tensors, path)
  _, loaded = huggingface.load_decoder(folder)
  equal(loaded, jax.tree.map(lambda t: t.astype(dtype).astype('f4'), params))
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(loaded))


def test_unused_tensors_are_refused_but_for_two_kinds(saved):
  folder, _, params = saved()
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  harmless = {
    'lm_head.weight': tensors['model.embed_tokens.weight'],
    'model.layers.0.self_attn.rotary_emb.inv_freq': np.ones(4, np.float32),
  }
  save_file(tensors | harmless, path)
  equal(huggingface.load_decoder(folder)[1], params)
  bias = {'model.layers.0.self_attn.o_proj.bias': np.ones(32, np.float32)}
  save_file(tensors | bias, path)
  with pytest.raises(ValueError, match=r'tensors layers\.0\.self_attn\.o_proj'):
    huggingface.load_decoder(folder)
  many = {f'extra.{index}': np.ones(1) for index in range(10)}
  save_file(tensors | many, path)
  with pytest.raises(ValueError, match=r'extra\.0, .* and 2 more'):
    huggingface.load_decoder(folder)


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    (None, 'q_proj.weight is missing'),
    (
      np.zeros((3, 5), np.float32),
      r'is \(3, 5\), config\.json says \(32, 32\)',
    ),
    (np.zeros((32, 32), np.int8), 'q_proj.weight is I8: one of'),
    (np.full((32, 32), np.nan, np.float32), 'holds values that are not finite'),
  ],
)
def test_tensors_that_do_not_fit_are_named(saved, value, message):
  folder, *_ = saved()
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  tensors.pop(QUERY)
  if value is not None:
    tensors[QUERY] = value
  save_file(tensors, path)
  with pytest.raises(ValueError, match=message) as caught:
    huggingface.load_decoder(folder)
  assert str(path) in str(caught.value)


def test_broken_folders_are_named(saved):
  folder, *_ = saved()
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(ValueError, match='is not a safetensors file'):
    huggingface.load_decoder(folder)
  path.unlink()
  with pytest.raises(ValueError, match='is missing: only safetensors'):
    huggingface.load_decoder(folder)
  (folder / 'config.json').write_text('nothing')
  with pytest.raises(ValueError, match=r'config\.json is not a JSON file'):
    huggingface.load_decoder(folder)
  (folder / 'config.json').unlink()
  with pytest.raises(ValueError, match=r'config\.json is missing'):
    huggingface.load_decoder(folder)


def test_another_head_than_the_tied_one_is_taken(saved, caplog):
  folder, config, _ = saved()
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  head = tensors['model.embed_tokens.weight'] + 1
  save_file({**tensors, 'lm_head.weight': head}, path)
  with caplog.at_level('WARNING'):
    found, loaded = huggingface.load_decoder(folder)
  assert 'lm_head.weight is taken' in caplog.text
  assert str(path) in caplog.text
  assert found == dataclasses.replace(config, tie_word_embeddings=False)
  np.testing.assert_array_equal(loaded['params']['head']['kernel'], head.T)


def test_errors_name_the_option_that_is_wrong(saved):
  folder, *_ = saved()
  path, settings = folder / 'model.safetensors', folder / 'config.json'
  tensors, known = load_file(path), json.loads(settings.read_text())
  for change, message in (
    ({'mlp_bias': True}, 'mlp_bias: tensor layers.0.mlp.down_proj.bias is mis'),
    ({'tie_word_embeddings': False}, 'tie_word_embeddings, .*lm_head.*missing'),
    ({'vocab_size': 271}, 'vocab_size, hidden_size: tensor embed_tokens'),
    ({'num_key_value_heads': 4}, 'num_key_value_heads, head_dim: tensor'),
    ({'intermediate_size': 65}, 'intermediate_size: tensor'),
    ({'num_hidden_layers': 3}, r'layers\.2\..* is missing'),
    ({'num_hidden_layers': 1}, 'says so .*num_hidden_layers'),
  ):
    settings.write_text(json.dumps({**known, **change}))
    with pytest.raises(ValueError, match=message):
      huggingface.load_decoder(folder)
  settings.write_text(json.dumps(known))
  bias = {'model.layers.0.mlp.up_proj.bias': np.ones(64, np.float32)}
  save_file(tensors | bias, path)
  with pytest.raises(ValueError, match=r'config\.json says so \(mlp_bias\)'):
    huggingface.load_decoder(folder)
  up = 'model.layers.0.mlp.up_proj.weight'
  save_file({**tensors, up: np.ascontiguousarray(tensors[up].T)}, path)
  with pytest.raises(ValueError, match=r'up_proj.* is \(32, 64\), transposed'):
    huggingface.load_decoder(folder)


def test_what_no_architecture_has_is_not_saved(tiny_decoder, tmp_path):
  config, params = tiny_decoder('mistral', mlp_bias=True)
  with pytest.raises(ValueError, match='no architecture has'):
    huggingface.save_decoder(config, params, tmp_path)
  config, params = tiny_decoder()
  wider = dataclasses.replace(config, vocab_size=300)
  with pytest.raises(ValueError, match=r'embed_tokens\.weight is \(270, 32\)'):
    huggingface.save_decoder(wider, params, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_classifier_is_written_whole_or_not_at_all(tiny_decoder, tmp_path):
  config, params = tiny_decoder()
  weight, out = np.ones((2, 32), np.float32), tmp_path / 'out'
  options = {'labels': ['a', 'b'], 'pad': 0}
  with pytest.raises(ValueError, match=r'of \(1, 32\) labels'):
    huggingface.save_classifier(config, params, weight, out, labels=['a'])
  with pytest.raises(ValueError, match='not finite'):
    huggingface.save_classifier(config, params, weight * np.nan, out, **options)
  assert not out.exists()
  huggingface.save_classifier(config, params, weight, out, **options)
  known = json.loads((out / 'config.json').read_text())
  assert known['architectures'] == ['LlamaForSequenceClassification']
  assert known['id2label'] == {'0': 'a', '1': 'b'}
  assert known['pad_token_id'] == 0
  with pytest.raises(FileExistsError, match='has something in it'):
    huggingface.save_classifier(config, params, weight, out, **options)
