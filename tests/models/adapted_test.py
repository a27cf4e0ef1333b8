import json

import jax
import numpy as np
import pytest

from prm_jax import toys
from prm_jax.models import adapted, decoder, lora
from prm_jax.models.weights import huggingface
from prm_jax.rewards import backbone

RNG = np.random.default_rng(0)
PARAMS = jax.tree.map(
  lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32),
  huggingface.decoder_shapes(toys.READER),
)


def changes(form):
  leaves = decoder.take_layers(PARAMS, -1)['params']
  if form == adapted.LORA:
    leaves = lora.init(jax.random.key(0), PARAMS, rank=2)
    leaves = jax.tree.map(lambda leaf: leaf[-1:], leaves)
  leaves = jax.tree.map(lambda leaf: np.asarray(leaf) + np.float32(0.3), leaves)
  return adapted.Changes(form, 'base', leaves)


@pytest.mark.parametrize('form', [adapted.LORA, adapted.FULL])
def test_the_highest_layers_are_changed(form, tmp_path):
  made = changes(form)
  assert (made.layers, made.rank) == (1, 2 if form == adapted.LORA else 0)
  after = adapted.apply(PARAMS, made)
  if form == adapted.LORA:
    want = backbone.merged({'backbone': PARAMS, 'adapter': made.leaves})
  else:
    parts = backbone.split(PARAMS, 1)
    parts['top']['params']['layers'] = made.leaves
    want = backbone.merged(parts)
  jax.tree.map(np.testing.assert_array_equal, after, want)
  named = adapted.tensors(toys.READER, after, made)
  assert all('layers.1.' in name for name in named)
  assert len(named) == (2 if form == adapted.LORA else 9)
  made.save(tmp_path / 'x', step=3)
  again = adapted.Changes.load(tmp_path / 'x')
  assert again.digest == made.digest
  jax.tree.map(np.testing.assert_array_equal, again.leaves, made.leaves)
  assert json.loads((tmp_path / 'x' / adapted.CARD).read_text())['step'] == 3
  other = made._replace(base='other')
  assert other.digest != made.digest


def test_whole_layers_are_rounded_and_factors_are_not():
  whole, low = changes(adapted.FULL), changes(adapted.LORA)
  assert adapted.rounded(whole, 'F32') is whole
  assert adapted.rounded(low, 'BF16') is low
  found = adapted.rounded(whole, 'BF16')
  for new, old in zip(
    *map(jax.tree.leaves, (found.leaves, whole.leaves)), strict=True
  ):
    np.testing.assert_array_equal(new, old.astype('bfloat16'))
    assert new.dtype == np.float32


def test_what_does_not_fit_is_named(tmp_path):
  two = jax.tree.map(
    lambda leaf: np.tile(leaf, (3, *[1] * (leaf.ndim - 1))),
    {form: changes(form).leaves for form in (adapted.LORA, adapted.FULL)},
  )
  for form, message in (
    (adapted.LORA, 'adapters of 3 layers, and there are 2'),
    (adapted.FULL, 'the changed layers are of another decoder'),
  ):
    with pytest.raises(ValueError, match=message):
      adapted.apply(PARAMS, adapted.Changes(form, 'base', two[form]))
  changes(adapted.LORA).save(tmp_path)
  weights = tmp_path / adapted.WEIGHTS
  data = weights.read_bytes()
  weights.write_bytes(data[:-1] + b'\x11')
  with pytest.raises(ValueError, match=r'is not what changes\.json beside it'):
    adapted.Changes.load(tmp_path)
  weights.write_bytes(data[:9])
  with pytest.raises(ValueError, match='is damaged'):
    adapted.Changes.load(tmp_path)
  (tmp_path / adapted.CARD).write_text('{"version": 9}')
  with pytest.raises(ValueError, match='version 9, form None: train anew'):
    adapted.Changes.load(tmp_path)
