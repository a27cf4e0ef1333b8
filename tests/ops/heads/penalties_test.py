import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops.heads import choices, penalties


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_centring_moves_both_scores_and_not_their_difference(rng):
  score = rng.normal(size=(5, 2))
  found, slope = jax.vmap(jax.value_and_grad(penalties.centring))(
    jnp.asarray(score)
  )
  np.testing.assert_allclose(found, score.sum(1) ** 2, rtol=1e-5)
  np.testing.assert_array_equal(slope[:, 0], slope[:, 1])


def test_barrier_is_a_logarithm_inside_and_brings_back_outside():
  r = np.linspace(-4.8, 4.8, 9)
  found = penalties.barrier(jnp.asarray(r), bound=5.0, slack=0.1)
  np.testing.assert_allclose(found, -np.log(25 - r**2), rtol=1e-5)
  slope = jax.vmap(jax.grad(penalties.barrier))(
    jnp.array([-1e4, -6.0, -4.95, 4.95, 6.0, 1e4])
  )
  assert (slope[:3] < -9).all()
  assert (slope[3:] > 9).all()
  edge = penalties.barrier(jnp.array([4.9 - 1e-4, 4.9 + 1e-4]))
  assert abs(edge[1] - edge[0]) < 0.01


def test_positive(rng):
  score, y = rng.normal(size=(4, 2)), np.array([1.0, 0.0, 0.5, 0.7])
  found = penalties.positive(jnp.asarray(score), jnp.asarray(y))
  each = np.logaddexp(0, -score)
  np.testing.assert_allclose(
    found, y * each[:, 0] + (1 - y) * each[:, 1], rtol=1e-5
  )
  # Not below the form of a mean score, which depends on the batch.
  won = penalties.positive(jnp.asarray(score), jnp.ones(4)).mean()
  assert won >= np.logaddexp(0, -score[:, 0].mean())


def test_correlation_of_what_is_there(rng):
  x, y = rng.normal(size=(2, 7, 2))
  x += 0.5 * y
  mask = (rng.random((7, 2)) < 0.6).astype(float)
  found = penalties.correlation(
    jnp.asarray(np.where(mask > 0, 1e3 + x, np.nan)),
    jnp.asarray(y),
    jnp.asarray(mask),
  )
  want = np.corrcoef(x[mask > 0], y[mask > 0])[0, 1]
  np.testing.assert_allclose(found, want, atol=1e-3)


@pytest.mark.parametrize('value', [0.0, 1000.1, -3e6])
def test_a_column_that_does_not_vary_has_no_correlation(value, rng):
  y = jnp.asarray(rng.normal(size=7))
  found, slope = jax.value_and_grad(penalties.correlation)(
    jnp.full(7, value), y, jnp.ones(7)
  )
  assert found == 0
  np.testing.assert_array_equal(slope, 0.0)


def test_correlation_is_over_all_devices(rng):
  """Two halves that gather: the value and gradients of the whole."""
  x, y = (jnp.asarray(rng.normal(size=8)) for _ in range(2))
  mask = jnp.ones(8).at[5].set(0)
  whole, slope = jax.value_and_grad(penalties.correlation)(x, y, mask)

  def device(x, y, mask):
    def gather(leaf):
      return jax.lax.all_gather(leaf, 'device', tiled=True)

    def part(x):  # of two devices: each is charged half of the penalty
      return penalties.correlation(x, y, mask, gather) / 2

    return jax.value_and_grad(part)(x)

  halves = [leaf.reshape(2, 4) for leaf in (x, y, mask)]
  value, part = jax.vmap(device, axis_name='device')(*halves)
  np.testing.assert_allclose(value.sum(), whole, rtol=1e-5)
  np.testing.assert_allclose(part.reshape(8), slope, rtol=1e-4, atol=1e-6)
  # The mean of the halves' own is another number.
  own = [penalties.correlation(*(h[i] for h in halves)) for i in range(2)]
  assert abs(np.mean(own) - whole) > 0.01


def test_length_is_followed_by_one_head_alone(rng):
  length = rng.integers(10, 500, size=(20, 2)).astype(float)
  quality = rng.normal(size=(20, 2))
  mask = np.ones(20)
  mask[3] = 0
  keep = mask > 0
  follows, leaks = penalties.length_parts(
    *map(jnp.asarray, (0.01 * length + 3, quality, length, mask))
  )
  np.testing.assert_allclose(follows, 0.0, atol=1e-5)
  want = np.corrcoef(length[keep].ravel(), quality[keep].ravel())[0, 1]
  np.testing.assert_allclose(leaks, abs(want), rtol=1e-3)


def test_disentangled_ranks_each_pair_by_the_sum(rng):
  one, other = rng.normal(size=(2, 5, 2))
  label = jnp.asarray(rng.random(5))
  found = penalties.disentangled(jnp.asarray(one), jnp.asarray(other), label)
  total = jnp.asarray(one + other)
  np.testing.assert_allclose(
    found, choices.bradley_terry(total[:, 0] - total[:, 1], label), rtol=1e-5
  )
