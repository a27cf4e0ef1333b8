"""Power laws against SciPy, by coverage and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prm_jax.ops import scaling

SIZES = np.array([5e7, 1e8, 2.5e8, 5e8, 1e9])


def test_an_exact_law_is_found():
  # POLAR's own fit over parameters; at 1e9 it is 0.373.
  loss = 0.9 * SIZES**-0.0425
  found = scaling.power_law(SIZES, loss)
  np.testing.assert_allclose(
    found, [-0.0425, -0.0425, -0.0425, 0.9, 1.0], atol=1e-9
  )
  assert loss[-1] == pytest.approx(0.373, abs=5e-4)


@pytest.mark.parametrize('level', [0.5, 0.95])
def test_scipy_agrees(level):
  rng = np.random.default_rng(0)
  loss = 2.4 * SIZES**-0.0342 * np.exp(0.02 * rng.standard_normal(5))
  found = scaling.power_law(list(SIZES), list(loss), level=level)
  want = stats.linregress(np.log(SIZES), np.log(loss))
  width = stats.t.ppf(0.5 + level / 2, 3) * want.stderr
  np.testing.assert_allclose(
    found,
    [
      want.slope,
      want.slope - width,
      want.slope + width,
      np.exp(want.intercept),
      want.rvalue**2,
    ],
    rtol=1e-9,
  )


def test_the_interval_covers():
  rng = np.random.default_rng(1)
  covered, runs = 0, 1000
  for _ in range(runs):
    loss = 0.9 * SIZES**-0.0425 * np.exp(0.05 * rng.standard_normal(5))
    found = scaling.power_law(SIZES, loss)
    covered += found.exponent_low <= -0.0425 <= found.exponent_high
  assert 0.93 < covered / runs < 0.97


def test_equal_losses_are_a_flat_law():
  found = scaling.power_law([1, 2, 4], [0.5, 0.5, 0.5])
  assert found.exponent == 0
  assert found.coefficient == pytest.approx(0.5)
  assert np.isnan(found.r_squared)


@pytest.mark.parametrize(
  ('size', 'loss', 'message'),
  [
    ([1.0, 2.0], [1.0, 1.0], 'train 3 sizes'),
    ([1.0, 2.0, 0.0], [1.0, 1.0, 1.0], 'size 0.0'),
    ([1.0, 2.0, 3.0], [1.0, -1.0, 1.0], 'loss -1.0'),
    ([1.0, 2.0, 3.0], [1.0, np.nan, 1.0], 'leave the point out'),
    ([1.0, np.inf, 3.0], [1.0, 1.0, 1.0], 'size inf'),
    ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 'two sizes'),
    ([1.0, 2.0, 3.0], [1.0, 2.0], 'pairs'),
  ],
)
def test_what_cannot_be_fitted_is_named(size, loss, message):
  with pytest.raises(ValueError, match=message):
    scaling.power_law(size, loss)


def test_level_is_a_share():
  with pytest.raises(ValueError, match='level=95'):
    scaling.power_law([1, 2, 3], [3, 2, 1], level=95)


def test_frontier_by_hand():
  compute = [4, 1, 2, 2, 3, 4, 8]
  loss = [0.3, 0.9, 0.7, 0.5, 0.6, 0.3, 0.3]
  # 0.9, then the better of the two at 2, then the first at 4; 8 does not gain.
  assert scaling.frontier(compute, loss).tolist() == [1, 3, 0]
  assert scaling.frontier([], []).tolist() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_frontier_is_its_definition(points):
  compute = np.array([c for c, _ in points], float)
  loss = np.array([value for _, value in points], float)
  want = {
    (c, value)
    for c, value in points
    if all(b > value for a, b in points if a <= c and (a, b) != (c, value))
  }
  found = scaling.frontier(compute, loss)
  assert [points[i] for i in found] == sorted(want)


def test_frontier_refuses_runs_that_diverged():
  with pytest.raises(ValueError, match='diverged'):
    scaling.frontier([1, 2], [0.5, np.nan])
  with pytest.raises(ValueError, match='pairs'):
    scaling.frontier([1, 2], [0.5])
