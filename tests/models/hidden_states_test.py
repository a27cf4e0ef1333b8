"""Hidden states of frozen layers: windows, padding, chunks on disk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import decoder, hidden_states
from prm_jax.models.language_model import LanguageModel

CONFIG = decoder.DecoderConfig(30, 16, 24, 3, 4, 2, 4)


@pytest.fixture(scope='module')
def model():
  ids = jnp.zeros((1, 1), jnp.int32)
  mask = jnp.ones((1, 1, 1, 1), bool)
  params = decoder.Decoder(CONFIG).init(jax.random.key(0), ids, ids, mask)
  return LanguageModel(CONFIG, params, None, 'tiny')


@pytest.fixture(scope='module')
def ids():
  rng = np.random.default_rng(0)
  found = rng.integers(0, 30, (7, 12)).astype(np.int32)
  for row, length in enumerate((12, 5, 0, 1, 8, 12, 3)):
    found[row, length:] = -1
  return found


def directly(model, row, config=CONFIG):
  """Every layer's states `[L + 1, T, D]` of one unpadded text."""
  row = row[row >= 0][None]
  positions = jnp.arange(row.shape[1])[None]
  mask = decoder.attended(jnp.ones_like(row))
  out = decoder.Decoder(config).apply(
    model.params, row, positions, mask, collect=True
  )
  return np.asarray(out.layers[:, 0])


def test_windows_are_means_of_real_tokens(model, ids):
  found = hidden_states.encode(model, ids, layers=2, stride=4)
  assert found.shape == (7, 3, 16)
  for row in (0, 1, 4):
    states = directly(model, ids[row])[2]
    windows = [states[i : i + 4].mean(0) for i in range(0, len(states), 4)]
    np.testing.assert_allclose(
      found[row, : len(windows)], windows, rtol=2e-3, atol=2e-3
    )
    assert not found[row, len(windows) :].any()
  assert not found[2].any()


def test_no_layer_is_the_embedding(model, ids):
  found = hidden_states.encode(model, ids, layers=0)
  table = np.asarray(model.params['params']['embed']['embedding'])
  np.testing.assert_allclose(found[0], table[ids[0]], rtol=2e-3, atol=2e-3)


def test_lower_layers_of_a_mixed_stack_are_its_own(model, ids):
  config = dataclasses.replace(
    CONFIG,
    sliding_window=3,
    sliding_layers=(False, True, True),
    scale_embeddings=True,
  )
  found = hidden_states.encode(model._replace(config=config), ids, layers=2)
  for row in (0, 1):
    states = directly(model, ids[row], config)[2]
    np.testing.assert_allclose(
      found[row, : len(states)], states, rtol=2e-3, atol=2e-3
    )


def test_chunks_are_read_back(model, ids, tmp_path, monkeypatch):
  monkeypatch.setattr(hidden_states, '_CHUNK', 3)
  first = hidden_states.encode(model, ids, layers=2, folder=tmp_path)
  files = sorted(tmp_path.glob('*.npy'))
  assert len(files) == 3

  def never(*_):
    raise AssertionError('computed again')

  monkeypatch.setattr(hidden_states, '_batches', never)
  again = hidden_states.encode(model, ids, layers=2, folder=tmp_path)
  np.testing.assert_array_equal(first, again)
  with pytest.raises(AssertionError, match='computed again'):
    hidden_states.encode(model, ids, layers=1, folder=tmp_path)
  for path in files:
    path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match=r'is damaged .*: delete it'):
    hidden_states.encode(model, ids, layers=2, folder=tmp_path)


def test_pool_is_the_mean_of_windows_of_one_length():
  states = np.zeros((2, 3, 4), np.float16)
  states[0, 0], states[0, 1] = 2.0, [0, 0, 8, 0]
  # Root mean squares 2 and 4: windows become 1, 1, 1, 1 and 0, 0, 2, 0.
  np.testing.assert_allclose(
    hidden_states.pool(states), [[0.5, 0.5, 1.5, 0.5], [0] * 4], atol=1e-3
  )


def test_bad_input_is_named(model, ids):
  with pytest.raises(ValueError, match='layers=4: the model has 3'):
    hidden_states.encode(model, ids, layers=4)
  with pytest.raises(ValueError, match='stride 5 does not divide 12'):
    hidden_states.encode(model, ids, layers=1, stride=5)
  with pytest.raises(ValueError, match='tokenizer does not match the weights'):
    hidden_states.encode(model, ids + 5, layers=1)
