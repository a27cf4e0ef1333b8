import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models.weights import shards

RNG = np.random.default_rng(0)


def made(path):
  """A file of several dtypes, as safetensors writes it."""
  tensors = {
    'a': RNG.normal(size=(3, 5)).astype(np.float32),
    'b': RNG.normal(size=(7,)).astype(ml_dtypes.bfloat16),
    'c': RNG.normal(size=(2, 2)).astype(np.float16),
    'none': np.zeros((0, 4), np.float32),
    'scalar': np.array(2.5, np.float32),
    'count': np.arange(6, dtype=np.int8),
  }
  save_file(tensors, path, {'format': 'pt'})
  return tensors


def same(found, want):
  assert found.dtype == want.dtype
  assert found.shape == want.shape
  assert found.tobytes() == want.tobytes()


def test_bytes_are_copied_as_they_are(tmp_path):
  wanted = made(tmp_path / 'in.safetensors')
  stored = shards.read(tmp_path / 'in.safetensors')
  assert stored['b'].dtype == 'BF16'
  assert stored['b'].size == 14
  more = {'own': np.eye(2, dtype=np.float32)}
  ones = shards.Filled('BF16', (2, 3), np.ones(1, ml_dtypes.bfloat16).tobytes())
  out = tmp_path / 'out'
  out.mkdir()
  files = shards.write({**stored, **more, 'ones': ones}, out)
  assert files == [out / 'model.safetensors']
  found = load_file(files[0])
  assert set(found) == {*wanted, 'own', 'ones'}
  for name, want in {**wanted, **more}.items():
    same(found[name], want)
  same(found['ones'], np.ones((2, 3), ml_dtypes.bfloat16))


def test_a_shard_is_as_large_as_it_may_be(tmp_path):
  wanted = made(tmp_path / 'in.safetensors')
  out = tmp_path / 'out'
  out.mkdir()
  files = shards.write(shards.read(tmp_path / 'in.safetensors'), out, limit=62)
  known = json.loads((out / 'model.safetensors.index.json').read_text())
  home = known['weight_map']
  assert set(home) == set(wanted)
  total = sum(of.nbytes for of in wanted.values())
  assert known['metadata']['total_size'] == total
  for path in files:
    inside = load_file(path)
    assert {name for name in home if home[name] == path.name} == set(inside)
    size = sum(of.nbytes for of in inside.values())
    assert size <= 62  # the largest tensor has 60
    for name, of in inside.items():
      same(of, wanted[name])
  assert len(files) == 2


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (lambda raw: b'', 'no header'),
    (lambda raw: b'\xff' * 8 + raw[8:], 'no header'),
    (lambda raw: raw[:8] + b'x' + raw[9:], 'is not a safetensors file'),
    (lambda raw: raw[:-4], 'lies outside the file'),
  ],
)
def test_a_damaged_file_is_named(tmp_path, spoil, message):
  path = tmp_path / 'in.safetensors'
  made(path)
  path.write_bytes(spoil(path.read_bytes()))
  with pytest.raises(ValueError, match=message) as told:
    shards.read(path)
  assert str(path) in str(told.value)


def test_what_cannot_be_written_is_refused(tmp_path):
  with pytest.raises(ValueError, match='no tensor to write'):
    shards.write({}, tmp_path)
  with pytest.raises(ValueError, match='tensor x is of int64'):
    shards.write({'x': np.arange(3)}, tmp_path)
