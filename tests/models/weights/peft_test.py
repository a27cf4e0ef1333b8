import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models import adapted, lora
from prm_jax.models.weights import huggingface, peft, published
from tests.models import chat_templates

KERNELS = {'query': 'self_attn.q_proj', 'down': 'mlp.down_proj'}


@pytest.fixture
def source(tmp_path, tiny_decoder):
  """A function that writes a checkpoint of a kind; returns its folder."""

  def make(kind):
    config, params = tiny_decoder(kind)
    folder = tmp_path / 'source'
    huggingface.save_decoder(config, params, folder)
    chat_templates.save(folder, 'qwen')
    return folder

  return make


def factors(folder, layers=1, targets=KERNELS):
  """Returns changes that are not zero, of the highest of two layers."""
  params = huggingface.load_decoder(folder)[1]
  drawn = lora.init(jax.random.key(0), params, rank=2, targets=targets)
  leaves = jax.tree.map(
    lambda leaf: np.asarray(leaf[:layers] + 0.25, np.float32), drawn
  )
  return adapted.Changes(adapted.LORA, 'base', leaves)


@pytest.mark.parametrize('kind', ['qwen2', 'gemma2'])
def test_what_is_written_is_read(source, tmp_path, kind):
  folder, out = source(kind), tmp_path / 'out'
  out.mkdir()
  changes = factors(folder)
  weight = np.arange(64, dtype=np.float32).reshape(2, 32)
  peft.write(folder, changes, weight, out, labels=('a', 'b'), layers=2)
  found = peft.read(out)
  assert (found.base, found.layers) == (folder.resolve(), 2)
  assert found.labels == ('a', 'b')
  np.testing.assert_array_equal(found.weight, weight)
  assert sorted(found.leaves) == sorted(KERNELS)
  jax.tree.map(np.testing.assert_array_equal, found.leaves, changes.leaves)
  tensors = load_file(out / peft.WEIGHTS)
  offset = kind.startswith('gemma')
  assert (tensors['base_model.model.model.norm.weight'] == 1 - offset).all()
  for name, module in KERNELS.items():
    a, b = changes.leaves[name]
    start = f'base_model.model.model.layers.1.{module}'
    np.testing.assert_array_equal(tensors[f'{start}.lora_A.weight'], a[0].T)
    np.testing.assert_array_equal(tensors[f'{start}.lora_B.weight'], b[0].T)
  card = json.loads((out / peft.CARD).read_text())
  assert card['target_modules'] == ['down_proj', 'q_proj']
  assert card['lora_alpha'] == card['r'] == 2


def test_what_is_damaged_is_named(source, tmp_path):
  folder, out = source('llama'), tmp_path / 'out'
  out.mkdir()
  weight = np.ones((1, 32), np.float32)
  write = (folder, factors(folder), weight, out)
  with pytest.raises(ValueError, match=r'is \(1, 32\), of \(2, 32\)'):
    peft.write(*write, labels=('a', 'b'), layers=2)
  assert [*out.iterdir()] == []
  peft.write(*write, labels=('a',), layers=2)
  path = out / peft.WEIGHTS
  known = load_file(path)
  name = 'base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight'
  for changed, message in (
    ({k: v for k, v in known.items() if k != name}, 'lora_B.weight is missing'),
    ({**known, name: known[name] * np.nan}, 'lora_B.weight is not finite'),
  ):
    save_file(changed, path)
    with pytest.raises(ValueError, match=message):
      peft.read(out)
  save_file(known, path)
  card = json.loads((out / peft.CARD).read_text())
  for told, message in (
    ({'lora_alpha': 6}, 'LORA with lora_alpha = r is read'),
    ({'layers_to_transform': [0]}, 'the highest of 2 are read'),
    ({'layers_to_transform': None}, 'layers_to_transform None'),
  ):
    (out / peft.CARD).write_text(json.dumps({**card, **told}))
    with pytest.raises(ValueError, match=message):
      peft.read(out)
  path.write_bytes(b'x')
  with pytest.raises(ValueError, match='is damaged'):
    peft.read(out)


def test_changed_tensors_are_written_in_the_checkpoints_dtype(source, tmp_path):
  folder, out = source('llama'), tmp_path / 'out'
  out.mkdir()
  path = folder / 'model.safetensors'
  half = {n: of.astype('bfloat16') for n, of in load_file(path).items()}
  save_file(half, path)
  config, params = huggingface.load_decoder(folder)
  changes = factors(folder, targets=('query',))
  whole = adapted.apply(params, changes)
  changed = adapted.tensors(config, whole, changes)
  (name,) = changed
  assert name == 'model.layers.1.self_attn.q_proj.weight'
  weight = np.ones((1, 32), np.float32)
  common = {'labels': ('a',), 'layers': 2}
  published.write(folder, weight, out, changed=changed, **common)
  found = load_file(out / 'model.safetensors')
  np.testing.assert_array_equal(found[name], changed[name].astype('bfloat16'))
  for other in set(found) - {name, 'score.weight', 'model.norm.weight'}:
    assert found[other].tobytes() == half[other].tobytes()
  with pytest.raises(ValueError, match=r'there is no x of \(2,\)'):
    published.write(folder, weight, out, changed={'x': np.ones(2)}, **common)
