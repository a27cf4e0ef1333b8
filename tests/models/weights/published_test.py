import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models import chat, classifier, decoder
from prm_jax.models.weights import huggingface, published
from tests.models import chat_templates

RNG = np.random.default_rng(0)


@pytest.fixture
def source(tmp_path, tiny_decoder):
  """A function that writes a checkpoint of a kind; returns its folder."""

  def make(kind='llama', template='qwen', **changes):
    config, params = tiny_decoder(kind, **changes)
    folder = tmp_path / 'source'
    huggingface.save_decoder(config, params, folder)
    chat_templates.save(folder, template)
    return folder

  return make


@pytest.fixture
def out(tmp_path):
  folder = tmp_path / 'out'
  folder.mkdir()
  return folder


def write(folder, out, layers=1, labels=('a', 'b'), **options):
  weight = RNG.normal(size=(len(labels), 32))
  published.write(folder, weight, out, labels=labels, layers=layers, **options)
  return weight


@pytest.mark.parametrize('kind', ['llama, untied', 'qwen2', 'gemma2'])
def test_lower_layers_are_scored(source, out, kind):
  folder = source(kind)
  weight = write(folder, out)
  config, params = huggingface.load_decoder(folder)
  own = classifier.Classifier.load(out)
  assert own.labels == ('a', 'b')
  assert own.config.num_hidden_layers == 1
  wanted = decoder.take_layers(params, 0, 1)['params']
  jax.tree.map(
    np.testing.assert_array_equal, own.params['params']['layers'], wanted
  )
  scale = np.asarray(own.params['params']['norm']['scale'])
  assert (scale == (0.0 if config.norm_offset else 1.0)).all()
  kernel = np.asarray(own.score['kernel'])
  np.testing.assert_array_equal(kernel, weight.T.astype(np.float32))


def test_bytes_are_the_checkpoints(source, out):
  folder = source('gemma3')
  write(folder, out, layers=2)
  before = load_file(folder / 'model.safetensors')
  after = load_file(out / 'model.safetensors')
  assert 'lm_head.weight' not in after
  for name, of in after.items():
    if name not in ('score.weight', 'model.norm.weight'):
      assert of.tobytes() == before[name].tobytes()
  known = json.loads((out / 'config.json').read_text())
  assert known['architectures'] == ['Gemma3TextForSequenceClassification']
  assert known['label2id'] == {'a': 0, 'b': 1}
  assert len(known['layer_types']) == 2


def test_names_without_a_prefix_are_read(source, out):
  folder = source()
  path = folder / 'model.safetensors'
  tensors = load_file(path)
  save_file({n.removeprefix('model.'): of for n, of in tensors.items()}, path)
  write(folder, out)
  assert 'model.layers.0.mlp.up_proj.weight' in load_file(
    out / 'model.safetensors'
  )


@pytest.mark.parametrize('template', [None, *chat_templates.TEMPLATES])
def test_what_pads_ends_no_text(source, out, template):
  folder = source(template=template)
  write(folder, out)
  pad = json.loads((out / 'config.json').read_text())['pad_token_id']
  read = chat.Chat.load(out)
  said = json.loads((out / 'tokenizer_config.json').read_text())
  assert read.tokenizer.token_to_id(said['pad_token']) == pad
  ids = chat.encode(read, ['hi'], ['ho'], total=99).ids[0]
  assert ids[-1] != pad
  before = chat.encode(chat.Chat.load(folder), ['hi'], ['ho'], total=99)
  assert before.ids[0] == ids


def test_what_is_no_checkpoint_is_refused(source, out):
  folder = source()
  path = folder / 'model.safetensors'
  with pytest.raises(ValueError, match='layers 3'):
    write(folder, out, layers=3)
  with pytest.raises(ValueError, match=r'is \(2, 9\), of \(2, 32\) labels'):
    published.write(folder, np.zeros((2, 9)), out, labels=['a', 'b'], layers=1)
  with pytest.raises(ValueError, match='not finite'):
    published.write(
      folder, np.full((1, 32), np.nan), out, labels=['a'], layers=1
    )
  tensors = load_file(path)
  name = 'model.layers.0.mlp.up_proj.weight'
  save_file({n: of for n, of in tensors.items() if n != name}, path)
  with pytest.raises(ValueError, match=f'tensor {name} is missing'):
    write(folder, out)
  save_file({**tensors, name: tensors[name].T.copy()}, path)
  with pytest.raises(ValueError, match=f'tensor {name} is F32 of'):
    write(folder, out)
  path.unlink()
  with pytest.raises(ValueError, match='is missing'):
    write(folder, out)
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': {name: 'a', 'other': 'b'}}))
  for shard in 'ab':
    save_file(tensors, folder / shard)
  with pytest.raises(ValueError, match=r'b: tensor .* is also in .*a$'):
    write(folder, out)
  assert [*out.iterdir()] == []


def test_no_code_is_named_and_the_licence_goes_along(source, out):
  folder = source('llama, untied')
  path = folder / 'tokenizer_config.json'
  known = json.loads(path.read_text())
  path.write_text(json.dumps({**known, 'auto_map': {'AutoTokenizer': 'a.B'}}))
  (folder / 'LICENSE.txt').write_text('terms')
  write(folder, out)
  assert 'auto_map' not in (out / 'tokenizer_config.json').read_text()
  assert (out / 'LICENSE.txt').read_text() == 'terms'
