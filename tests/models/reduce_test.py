import numpy as np
import pytest

from prm_jax.models import reduce


@pytest.mark.parametrize('size', [1.0, 1e6, 1e-6])
def test_components_are_white_over_the_training_texts(size):
  rng = np.random.default_rng(0)
  features = size * (rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 5)
  train = np.arange(50) < 40
  columns = reduce.principal_components(features, train, 3, whiten=True)(
    features
  )
  assert columns.shape == (50, 3)
  np.testing.assert_allclose(columns[train].mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(
    np.cov(columns[train].T, bias=True), np.eye(3), atol=1e-4
  )


def test_not_whitened_keeps_relative_variances():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(500, 3)) * [4.0, 2.0, 1.0]
  train = np.ones(500, bool)
  columns = reduce.principal_components(features, train, 3, whiten=False)(
    features
  )
  np.testing.assert_allclose(columns.std(0), [1, 0.5, 0.25], rtol=0.1)
  np.testing.assert_allclose(columns[:, 0].std(), 1, rtol=1e-5)


def test_held_out_texts_change_nothing():
  rng = np.random.default_rng(1)
  features = rng.normal(size=(30, 4))
  train = np.arange(30) < 20
  before = reduce.principal_components(features, train, 4, whiten=False)(
    features[:20]
  )
  features[20:] = 1e9
  after = reduce.principal_components(features, train, 4, whiten=False)(
    features[:20]
  )
  np.testing.assert_array_equal(before, after)


def test_directions_that_do_not_exist_are_zero_columns():
  features = np.outer(np.arange(5.0), [1.0, 2.0])  # one direction
  columns = reduce.principal_components(
    features, np.ones(5, bool), 4, whiten=False
  )(features)
  assert columns.shape == (5, 4)
  np.testing.assert_array_equal(columns[:, 1:], 0)


@pytest.mark.parametrize('units', [1.0, 1e-3])
def test_rounding_is_no_direction_and_a_small_unit_is_one(units):
  rng = np.random.default_rng(0)
  said = rng.normal(size=(8, 2)) @ rng.normal(size=(2, 6))
  # Each text several times, as other batches and devices read it.
  network = np.repeat(said, 5, 0) * (1 + 1e-6 * rng.normal(size=(40, 6)))
  own = units * rng.normal(size=(40, 1))  # of a file of one's own
  features = np.concatenate([network, own], 1)
  made = reduce.principal_components(
    features, np.ones(40, bool), 5, whiten=True
  )
  assert np.isfinite(made.scale).sum() == 3
  again = features * (1 + 1e-6 * rng.normal(size=features.shape))
  np.testing.assert_allclose(made(again), made(features), atol=1e-4)


def test_constant_column_becomes_zero():
  features = np.stack([np.arange(4.0), np.full(4, 1e6)], 1)
  columns = reduce.standardisation(features, np.ones(4, bool))(features)
  np.testing.assert_allclose(columns[:, 1], 0)
  np.testing.assert_allclose(columns[:, 0].std(), 1, rtol=1e-6)


def test_bad_features_are_named():
  features = np.zeros((3, 2))
  features[1, 0] = np.nan
  with pytest.raises(ValueError, match='text 1 are not finite'):
    reduce.standardisation(features, np.ones(3, bool))
  with pytest.raises(ValueError, match='no training text'):
    reduce.principal_components(
      np.zeros((3, 2)), np.zeros(3, bool), 1, whiten=True
    )
