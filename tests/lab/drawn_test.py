"""Discriminators of texts that are drawn: scores, data and training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.lab import drawn
from prm_jax.worlds import first_order

NETWORK = drawn.Network(
  words=2,
  hidden=16,
  layers=1,
  rotary_base=30.0,
  steps=40,
  learning_rate=1e-2,
  batch=32,
  pairs=2,
  length=4,
)
# Policies that write one word only, each its own.
LOGITS = 40.0 * jnp.broadcast_to(jnp.eye(2)[:, None], (2, 3, 2))


def test_a_network_is_read_from_plain_data():
  node = {**NETWORK._asdict(), 'betas': (1.0,)}
  assert drawn.Network.of(node) == NETWORK
  with pytest.raises(KeyError, match='hidden'):
    drawn.Network.of({'words': 2})


def test_a_packed_score_is_that_of_the_pair_alone():
  key = jax.random.key(0)
  params = drawn.start(key, NETWORK)
  params['head'] = jax.random.normal(key, params['head'].shape)
  candidates = jax.random.randint(key, (2, 3, 4), 0, NETWORK.words)
  reference = candidates[:, 1]
  score = jax.jit(lambda params, *texts: drawn.scores(params, *texts, NETWORK))
  together = score(params, reference, candidates)
  one = candidates[:, 2:]
  alone = score(params, reference, one)
  np.testing.assert_allclose(together[:, 2], alone[:, 0], atol=1e-5)
  other = score(params, 1 - reference, candidates)
  assert float(jnp.abs(other - together).min()) > 1e-4
  table = drawn.of_every_text(
    params, reference, candidates[0, :1].repeat(4, 0), NETWORK
  )
  np.testing.assert_allclose(table[0], together[0, 0], atol=1e-5)


def test_triples_have_the_reference_of_their_positive():
  for shown in (True, False):
    reference, positive, negative = drawn.triples(
      jax.random.key(1), LOGITS, NETWORK, shown
    )
    np.testing.assert_array_equal(negative, 1 - positive)
    expected = positive[:, 0] if shown else np.full_like(reference, -1)
    np.testing.assert_array_equal(reference, expected)
    assert positive.shape == (NETWORK.batch, NETWORK.pairs, NETWORK.length)


@pytest.mark.slow
def test_the_loss_is_of_all_pairs_and_a_start_knows_nothing():
  params = drawn.start(jax.random.key(0), NETWORK)
  data = drawn.triples(jax.random.key(1), LOGITS, NETWORK)
  found = float(drawn.loss(params, data, NETWORK))
  assert found == pytest.approx(np.log(2), abs=1e-6)
  params['head'] = jax.random.normal(jax.random.key(2), params['head'].shape)
  reference, positive, negative = data
  first, second = (
    np.asarray(drawn.scores(params, reference, texts, NETWORK))
    for texts in (positive, negative)
  )
  gap = first[:, :, None] - second[:, None]
  found = float(drawn.loss(params, data, NETWORK))
  assert found == pytest.approx(np.logaddexp(0, -gap).mean(), abs=1e-5)


def test_what_writes_one_word_is_soon_told_apart():
  def draw(key):
    return drawn.triples(key, LOGITS, NETWORK)

  params = drawn.start(jax.random.key(0), NETWORK)
  stops = 5, 20, 40
  trained, losses = drawn.fit(jax.random.key(1), params, draw, NETWORK, stops)
  assert losses.shape == (3,)
  assert losses[0] > losses[1] > losses[2]
  last = jax.tree.map(lambda leaf: leaf[-1], trained)
  texts = jnp.asarray(first_order.every_text(2, 4))
  table = drawn.of_every_text(last, texts[jnp.array([0, 15])], texts, NETWORK)
  assert table[0, 0] > table[0, 15]
  assert table[1, 15] > table[1, 0]
  words = last['decoder']['params']['embed']['embedding']
  every = sum(leaf.size for leaf in jax.tree.leaves(last))
  assert drawn.size(last) == every - words.size
