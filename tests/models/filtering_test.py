import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import filtering


def reference_filter(logits, temperature, top_p, top_k):
  """One row, with sorting, in float64."""
  z = np.asarray(logits, np.float64) / temperature
  kept = np.ones(len(z), bool)
  if top_k and top_k < len(z):
    kept &= z >= np.sort(z)[-top_k]
  p = np.where(kept, np.exp(z - z.max()), 0)
  p /= p.sum()
  if top_p < 1:
    order = np.argsort(-p)
    count = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1
    kept &= p >= p[order[min(count, len(p)) - 1]]
  p = np.where(kept, p, 0)
  return p / p.sum()


SETTINGS = [
  *((1.0, 1.0, 0), (0.7, 0.9, 0), (1.3, 1.0, 5), (1.0, 0.9, 50)),
  *((2.0, 0.5, 3), (1.0, 1e-6, 0), (1.0, 0.999, 0), (0.01, 0.9, 7)),
  *((1.0, 1.0, 500), (1.0, 0.8, 400), (1.5, 0.97, 10_000)),
]


@pytest.mark.parametrize('V', [40, 700])
def test_filter_is_the_sorted_one(V):
  """With 700 tokens some thresholds are beyond the 256 likeliest."""
  z = np.random.default_rng(0).normal(size=(len(SETTINGS), V)) * 1.5
  z = z.astype(np.float32)
  temperature, top_p, top_k = map(np.array, zip(*SETTINGS, strict=True))
  run = jax.jit(filtering.filter_logits)
  together = jax.nn.softmax(run(z, temperature, top_p, top_k), -1)
  for row, settings in enumerate(SETTINGS):
    expected = reference_filter(z[row], *settings)
    found = np.asarray(together[row])
    # The least number in float32: at temperature 0.01 few tokens have more.
    np.testing.assert_array_equal(found > 0, expected > 1e-38)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_filter_keeps_ties_and_at_least_one():
  z = np.tile([1.0, 3.0, 3.0, 0.0, 3.0], (5, 1)).astype(np.float32)
  z[4] = [-np.inf, 0.0, 1.0, -np.inf, -np.inf]
  found = jax.jit(filtering.filter_logits)(
    z,
    np.array([1.0, 1.0, 1.0, 0.0, 0.5]),
    np.array([1.0, 0.1, 0.0, 0.5, 1.0]),
    np.array([2, 0, 0, 3, 0]),
  )
  for row in range(3):
    np.testing.assert_array_equal(np.isfinite(found[row]), [0, 1, 1, 0, 1])
  np.testing.assert_array_equal(np.isfinite(found[3]), [0, 1, 0, 0, 0])
  expected = [-np.inf, -2.0, 0.0, -np.inf, -np.inf]
  np.testing.assert_allclose(found[4], expected)


def test_filter_ties_beyond_the_nearest():
  z = np.zeros((2, 600), np.float32)
  z[1, 300:] = -1.0
  run = jax.jit(filtering.filter_logits)
  kept = np.isfinite(run(z, np.ones(2), np.ones(2), np.array([400, 300])))
  np.testing.assert_array_equal(kept.sum(-1), [600, 300])


def test_draw_inverts_the_cumulative_mass():
  z = np.full((4, 600), -np.inf, np.float32)
  z[:, [5, 257, 599]] = np.log([0.5, 1.0, 0.5])
  uniform = jnp.array([0.2, 0.3, 0.74, 0.9999999])
  np.testing.assert_array_equal(
    jax.jit(filtering.draw)(uniform, z), [5, 257, 257, 599]
  )
