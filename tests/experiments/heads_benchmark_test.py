"""The benchmark's arms differ in heads alone; no time is asserted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import heads
from prm_jax.models import decoder


@pytest.fixture(scope='module')
def trunk():
  ids = jnp.zeros((1, 2), jnp.int32)
  network = decoder.Decoder(heads.DECODERS['tiny'])
  return network.init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))


@pytest.mark.slow
def test_the_table_says_what_was_timed():
  (row,) = heads.measure(heads.SMOKE)['steps']
  assert row['many_parameters'] == 3 * row['one_parameters']
  assert row['one_parameters'] == 16 * 4 + 4 + 4 + 1
  for name in ('one_seconds', 'many_seconds', 'times_one_core_seconds'):
    assert row[name] > 0


@pytest.mark.slow
def test_a_step_trains_every_head_and_one_adapter(trunk):
  run, _ = heads.step(heads.SMOKE, 3, trunk)
  before, (state, _) = run.args[0].params['reward'], run()
  after = state.params['reward']
  moved = jax.tree.map(lambda a, b: np.any(a != b), before, after)
  assert not any(jax.tree.leaves(moved['backbone']))
  assert any(jax.tree.leaves(moved['adapter']))
  kernel = before['params']['Dense_0']['kernel']
  change = after['params']['Dense_0']['kernel'] - kernel
  assert np.abs(change).max((1, 2)).shape == (3,)
  assert (np.abs(change).max((1, 2)) > 0).all()
  (wide,) = {leaf.shape[0] for leaf in jax.tree.leaves(after['adapter'])}
  assert wide == heads.DECODERS['tiny'].num_hidden_layers


def test_the_decoder_has_the_published_size():
  assert heads.DECODERS['SmolLM2-135M'].parameters == 134_515_008
