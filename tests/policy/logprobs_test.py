"""A prompt that several answers have is read once, and nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import decoder
from prm_jax.policy import logprobs

CONFIG = decoder.DecoderConfig(12, 16, 32, 2, 2, 1, 8, query_key_norm=True)
P, N, GROUP = 6, 3, 4


@pytest.fixture(scope='module')
def world():
  """Params, and texts of three prompts, padded on the left and the right."""
  rng = np.random.default_rng(0)
  ids = jnp.zeros((1, 2), jnp.int32)
  model = decoder.Decoder(CONFIG)
  params = model.init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))
  prompt = rng.integers(1, 12, (3, P)).repeat(GROUP, 0)
  seen = np.ones((3 * GROUP, P + N), np.int32)
  seen[GROUP : 2 * GROUP, :2] = 0
  seen[[1, 5, 6], -1] = 0
  seen[6, -2] = 0
  answers = rng.integers(1, 12, (3 * GROUP, N))
  return params, np.concatenate([prompt, answers], 1).astype(np.int32), seen


def widths(monkeypatch):
  """What the decoder is called with, each time."""
  shapes, attended = [], decoder.attended

  def counting(block, *given):
    shapes.append(block.shape)
    return attended(block, *given)

  monkeypatch.setattr(decoder, 'attended', counting)
  return shapes


def test_shared_prompts_give_the_logits_and_gradients_of_each(
  world, monkeypatch
):
  params, ids, seen = world
  shapes = widths(monkeypatch)
  weight = np.random.default_rng(1).normal(size=(len(ids), N, 12))
  weight *= seen[:, P:, None]
  gap = np.arange(len(ids)) % 7

  def loss(params, group):
    logits = logprobs.logits(CONFIG, params, ids, seen, N, group=group, gap=gap)
    return (weight * jax.nn.log_softmax(logits)).sum(), logits

  grad = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  each, logits = grad(params, 1)
  shared, together = grad(params, GROUP)
  assert shapes == [(3 * GROUP, P + N), (3, P + GROUP * N)]
  real = seen[:, P:] > 0
  np.testing.assert_allclose(together[real], logits[real], atol=1e-5)
  for one, two in zip(
    jax.tree.leaves(each), jax.tree.leaves(shared), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_answers_do_not_see_each_other(world):
  params, ids, seen = world
  score = logprobs.scorer(CONFIG, N, group=GROUP)
  other = ids.copy()
  other[1, P:] = 12 - other[1, P:]
  before, after = score(params, ids, seen), score(params, other, seen)
  rest = np.arange(len(ids)) != 1
  np.testing.assert_array_equal(before[rest], after[rest])
  assert (before[1] != after[1]).any()


def test_long_answers_and_parts_of_groups_are_read_apart(world, monkeypatch):
  params, ids, seen = world
  shapes = widths(monkeypatch)
  logprobs.scorer(CONFIG, N, group=5)(params, ids, seen)  # of 12
  long = np.ones((2, 1 + 500), np.int32)
  jax.eval_shape(logprobs.scorer(CONFIG, 500, group=2), params, long, long)
  assert shapes == [(12, P + N), (2, 501)]
