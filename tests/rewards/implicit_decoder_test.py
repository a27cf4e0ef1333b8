"""Implicit rewards against sums by hand over texts read without padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import toys, types
from prm_jax.models import decoder, lora
from prm_jax.ops.heads import implicit as forms
from prm_jax.rewards import implicit_decoder, reading

KEY, BETA = jax.random.key(0), 0.3
SPEC = types.Spec(1, 1)
# Prompt, answer.
TEXTS = [([3, 4], [5, 6, 7]), ([3, 4], [8]), ([1, 2, 9], [4, 4])]


def tokens(side, branch=True):
  T = 7
  ids, mask, part = np.zeros((3, len(TEXTS), T), np.int32)
  for i, (prompt, answer) in enumerate(TEXTS):
    row = [*prompt, *answer]
    start = 0 if side == 'right' else T - len(row)
    place = slice(start, start + len(row))
    ids[i, place], mask[i, place] = row, 1
    part[i, place] = [0] * len(prompt) + [1] * len(answer)
  return types.Tokens(
    ids + 11 * (1 - mask), mask, branch=part if branch else None
  )


def nudged(params):
  """Weights that are no start: policy and reference differ."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  moved = [
    leaf + 0.1 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  return jax.tree.unflatten(tree, moved)


def made(**options):
  """A reward, whose start and reading are one program each, and its params."""
  reward = implicit_decoder.implicit(config=toys.READER, **options)
  start = jax.jit(reward.init, static_argnums=1)(KEY, SPEC)
  return reward._replace(features=jax.jit(reward.features)), start


@jax.jit
def states(params, ids):
  place = jnp.arange(ids.shape[1])[None]
  seen = decoder.attended(jnp.ones_like(ids))
  return decoder.Decoder(toys.READER).apply(params, ids, place, seen).hidden


def by_hand(params, prompt, answer):
  """Log-probabilities of an answer's tokens, in NumPy, text by text."""
  ids = jnp.array([[*prompt, *answer]])
  hidden = states(params, ids)
  table = np.asarray(params['params']['embed']['embedding'], float)
  logits = np.asarray(hidden[0], float) @ table.T
  found = []
  for t in range(len(prompt), ids.shape[1]):
    row = logits[t - 1]
    found.append(row[ids[0, t]] - np.log(np.exp(row).sum()))
  return np.array(found)


def score(reward, params, texts):
  inputs = types.Inputs(texts, np.array([[0, 1], [2, 0]]))
  encoded = reading.encoded(reward, params, inputs)
  assert encoded.shape == (2, 2, 1)
  output = reward.score(params, encoded, ())
  assert output.covariance is None
  return np.asarray(output.score)


@pytest.mark.parametrize('side', ['left', 'right'])
def test_dpo_is_the_sum_by_hand(side):
  reward, start = made(beta=BETA)
  np.testing.assert_allclose(score(reward, start, tokens(side)), 0, atol=1e-5)
  params = nudged(start)
  gaps = [
    by_hand(params['policy'], *text) - by_hand(params['reference'], *text)
    for text in TEXTS
  ]
  want = [BETA * gap.sum() for gap in gaps]
  assert np.ptp(want) > 0.05
  found = score(reward, params, tokens(side))
  np.testing.assert_allclose(
    found, [[want[0], want[1]], [want[2], want[0]]], atol=1e-5
  )


@pytest.mark.parametrize('side', ['left', 'right'])
def test_simpo_is_the_mean_by_hand(side):
  reward, start = made(reference=False, beta=2.0)
  params = nudged(start)
  assert set(params) == {'policy'}
  want = [2.0 * by_hand(params['policy'], *text).mean() for text in TEXTS]
  found = score(reward, params, tokens(side))
  np.testing.assert_allclose(
    found, [[want[0], want[1]], [want[2], want[0]]], atol=1e-5
  )


def test_rewards_are_those_of_the_ops():
  reward, start = made(beta=BETA)
  params, texts = nudged(start), tokens('right')
  network = decoder.Decoder(toys.READER)
  one, mask = implicit_decoder.answer_logprobs(network, params['policy'], texts)
  two, _ = implicit_decoder.answer_logprobs(network, params['reference'], texts)
  np.testing.assert_array_equal(mask.sum(1), [3, 1, 2])
  np.testing.assert_allclose(
    reward.features(params, types.Inputs(texts))[:, 0],
    forms.reward(one, two, mask, beta=BETA),
    atol=1e-5,
  )


def test_the_prompt_cancels_with_a_reference():
  reward, start = made(beta=BETA)
  params = nudged(start)
  marked = score(reward, params, tokens('left'))
  whole = score(reward, params, tokens('left', branch=False))
  np.testing.assert_allclose(
    whole[0, 0] - whole[0, 1], marked[0, 0] - marked[0, 1], atol=1e-5
  )
  assert abs(whole[0, 0] - marked[0, 0]) > 1e-3


@pytest.mark.slow
def test_an_adapter_has_its_backbone_for_reference():
  reward, start = made(beta=BETA, adapter=2)
  params = nudged(start)
  trunk = params['backbone']
  merged = lora.merge(trunk, params['adapter'])
  gap = by_hand(merged, *TEXTS[0]) - by_hand(trunk, *TEXTS[0])
  found = score(reward, params, tokens('right'))
  np.testing.assert_allclose(found[0, 0], BETA * gap.sum(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  'adapter', [pytest.param(None, marks=pytest.mark.slow), 2]
)
def test_no_gradient_reaches_the_reference(adapter):
  reward, start = made(adapter=adapter)
  params, texts = nudged(start), types.Inputs(tokens('left'))

  def total(params):
    return jnp.sum(reward.features(params, texts))

  size = {
    name: sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(part))
    for name, part in jax.grad(total)(params).items()
  }
  moved, kept = ('adapter', 'backbone') if adapter else ('policy', 'reference')
  assert size[moved] > 0
  assert size[kept] == 0


def test_many_texts_are_those_one_by_one():
  reward, start = made()
  params, texts = nudged(start), tokens('right')
  many = jax.tree.map(lambda leaf: np.tile(leaf, (7, 1)), texts)
  found = reward.features(params, types.Inputs(many))
  once = reward.features(params, types.Inputs(texts))
  np.testing.assert_allclose(found, np.tile(once, (7, 1)), atol=1e-5)


def test_what_cannot_be_read_is_refused():
  with pytest.raises(ValueError, match='beta 0'):
    implicit_decoder.implicit(config=toys.READER, beta=0.0)
  reward, start = made()
  packed = tokens('left')._replace(segment=np.zeros((3, 7), np.int32))
  with pytest.raises(ValueError, match='one text a row'):
    reward.features(start, types.Inputs(packed))
