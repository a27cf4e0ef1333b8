import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import pairs


def problem(texts, rows, width=3):
  rng = np.random.default_rng(texts)
  features = rng.normal(size=(texts, width)).astype(np.float32)
  index = rng.integers(0, texts, (rows, 2))
  difference = features[index[:, 0]] - features[index[:, 1]]
  weight = rng.random(rows).astype(np.float32)
  return features, index, weight, np.float64(difference)


# Sums over texts; one block of judgements; whole blocks; the last not full.
SIZES = [(9, 40), (40, 5), (40, 16), (40, 21)]


@pytest.mark.parametrize(('texts', 'rows'), SIZES)
def test_gram_is_the_sum_of_outer_products(texts, rows, monkeypatch):
  monkeypatch.setattr(pairs, '_BLOCK', 32 if texts == 9 else 8)
  features, index, weight, x = problem(texts, rows)
  value = pairs.gram(jnp.asarray(features), index, jnp.asarray(weight))
  np.testing.assert_allclose(value, (x.T * weight) @ x, rtol=1e-5, atol=1e-5)


def test_moments_and_margins_are_of_the_differences():
  features, index, weight, x = problem(20, 50)
  vector = np.array([1.0, -2.0, 0.5], np.float32)
  value = pairs.margins(jnp.asarray(features), index, vector)
  np.testing.assert_allclose(value, x @ vector, atol=1e-5)
  both = np.stack([weight, -2 * weight], 1)
  for factor in (weight, both):
    value = pairs.moment(jnp.asarray(features), index, jnp.asarray(factor))
    np.testing.assert_allclose(value, x.T @ factor, atol=1e-4)


def test_no_program_holds_all_differences():
  texts, rows, width = 2000, 200_000, 256
  shapes = (
    jax.ShapeDtypeStruct((texts, width), jnp.float32),
    jax.ShapeDtypeStruct((rows, 2), jnp.int32),
    jax.ShapeDtypeStruct((rows,), jnp.float32),
  )
  compiled = jax.jit(pairs.gram).lower(*shapes).compile()
  held = compiled.memory_analysis().temp_size_in_bytes
  assert held < 0.25 * 4 * rows * width
