import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.ops import factorization


def judgements(user, label, mask):
  return types.Judgements(
    jnp.array(user, jnp.int32),
    jnp.array(label, jnp.float32),
    jnp.array(mask, jnp.float32),
    jnp.arange(len(user)),
  )


def test_scores_by_hand():
  encoded = jnp.array([[1.0, 2.0], [0.0, -1.0]])
  np.testing.assert_allclose(
    factorization.bilinear_score(encoded, jnp.array([3.0, -1.0])), [1.0, 1.0]
  )
  even = factorization.simplex_score(encoded, jnp.array([5.0, 5.0]))
  np.testing.assert_allclose(even, [1.5, -0.5])


def test_preference_matrix_merges_orders_and_skips_masked_rows():
  # Person 0 answers pair (1, 2) twice, once in each slot order.
  said = judgements([0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0])
  index = jnp.array([[1, 2], [2, 1], [1, 2], [0, 3]], jnp.int32)
  matrix = jax.jit(factorization.preference_matrix)(said, index)
  cells = {}
  for user, pair, logit, weight in zip(
    matrix.user, matrix.pair, matrix.logit, matrix.weight, strict=True
  ):
    if weight > 0:
      items = tuple(int(i) for i in matrix.items[pair])
      cells[int(user), items] = (float(logit), float(weight))
  assert set(cells) == {(0, (1, 2)), (1, (1, 2))}
  np.testing.assert_allclose(cells[0, (1, 2)], (np.log(2.5 / 0.5), 2))
  np.testing.assert_allclose(cells[1, (1, 2)], (np.log(0.5 / 1.5), 1))


def full_matrix(logits):
  people, pairs = logits.shape
  user, pair = np.divmod(np.arange(people * pairs), pairs)
  items = np.zeros((people * pairs, 2), np.int32)
  items[:pairs] = np.stack([np.arange(pairs), np.arange(pairs) + 1], 1)
  return factorization.PreferenceMatrix(
    *(jnp.asarray(a) for a in (user, pair, logits.ravel())),
    jnp.ones(people * pairs),
    jnp.asarray(items),
  )


def test_als_of_a_full_matrix_is_the_truncated_svd():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(15, 9)).astype(np.float32)
  user, pair = factorization.weighted_als(
    jax.random.key(0),
    full_matrix(logits),
    people=15,
    rank=3,
    ridge=1e-4,
    iterations=300,
  )
  u, s, vt = np.linalg.svd(logits)
  best = (u[:, :3] * s[:3]) @ vt[:3]
  np.testing.assert_allclose(user @ pair[:9].T, best, atol=5e-3)
  # Balanced: both sides carry the root of the singular values.
  np.testing.assert_allclose((user**2).sum(0), s[:3], rtol=1e-2)


def test_als_ignores_missing_cells():
  """Half of a rank-one matrix is enough; filling with 0 would halve it."""
  rng = np.random.default_rng(1)
  truth = np.outer(rng.normal(size=40), rng.normal(size=30)).astype(np.float32)
  matrix = full_matrix(truth)
  seen = jnp.asarray(rng.random(1200) < 0.5, jnp.float32)
  user, pair = factorization.weighted_als(
    jax.random.key(0),
    matrix._replace(weight=seen, logit=jnp.where(seen > 0, matrix.logit, 99)),
    people=40,
    rank=1,
    ridge=1e-3,
    iterations=50,
  )
  estimate = np.asarray(user @ pair[:30].T)
  np.testing.assert_allclose(estimate, truth, atol=0.05)


@pytest.mark.parametrize('sizes', [(7, 5), (2, 5), (7, 1), (1, 1)])
def test_balanced_factors_keep_the_product(sizes):
  rng = np.random.default_rng(2)
  left, right = (rng.normal(size=(size, 3)) for size in sizes)
  a, b = factorization.balanced_factors(jnp.array(left), jnp.array(right))
  np.testing.assert_allclose(a @ b.T, left @ right.T, atol=1e-5)
  np.testing.assert_allclose(a.T @ a, b.T @ b, atol=1e-4)


def test_regress_basis_is_ridge_least_squares():
  rng = np.random.default_rng(3)
  table = rng.normal(size=(10, 4))
  items = rng.integers(0, 10, (30, 2))
  target, weight = rng.normal(size=(30, 2)), rng.random(30)
  x = table[items[:, 0]] - table[items[:, 1]]
  want = np.linalg.solve(
    (x.T * weight) @ x + 2.0 * np.eye(4), (x.T * weight) @ target
  )
  value = factorization.regress_basis(
    jnp.array(table),
    jnp.array(items),
    jnp.array(target),
    jnp.array(weight),
    ridge=2.0,
  )
  np.testing.assert_allclose(value, want, atol=1e-4)
