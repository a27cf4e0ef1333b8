"""Strengths from comparisons: by hand, and against scipy."""

import numpy as np
import pytest
from scipy import optimize, special

from prm_jax.ops import strengths

NAN = float('nan')
CYCLE = np.array([[0, 1], [1, 2], [2, 0]])


def drawn(seed, n, count, *, soft=False):
  """Comparisons of candidates whose strengths are known."""
  rng = np.random.default_rng(seed)
  true = rng.normal(size=n)
  pairs = np.array([rng.choice(n, 2, replace=False) for _ in range(count)])
  p = special.expit(true[pairs[:, 0]] - true[pairs[:, 1]])
  outcome = p if soft else (rng.random(count) < p).astype(float)
  return true, pairs, outcome


def nll(free, pairs, outcome, ridge):
  s = np.append(free, -np.sum(free))  # around a mean of 0
  d = s[pairs[:, 0]] - s[pairs[:, 1]]
  loss = outcome * np.logaddexp(0, -d) + (1 - outcome) * np.logaddexp(0, d)
  return loss.sum() + 0.5 * ridge * s @ s


def second_derivatives(function, at, step=1e-3):
  unit = np.eye(len(at)) * step

  def mixed(a, b):
    return sum(
      sign * function(at + x * a + y * b)
      for x, y, sign in ((1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1))
    ) / (4 * step**2)

  return np.array([[mixed(a, b) for b in unit] for a in unit])


def test_win_rates_by_hand():
  pairs = np.array([[0, 1], [1, 0], [0, 2], [2, 0], [1, 2]])
  outcome = np.array([1, 0.5, 0.25, NAN, 0])
  found = strengths.win_rate(pairs, outcome, 4)
  np.testing.assert_allclose(found, [1.75 / 3, 0.5 / 3, 1.75 / 2, NAN])
  assert strengths.counts(pairs, outcome, 4).tolist() == [3, 3, 2, 0]


def test_elo_by_hand():
  pairs, outcome = np.array([[0, 1], [0, 1], [1, 2]]), np.array([1, NAN, 0.5])
  second = 32 * (0.5 - 1 / (1 + 10 ** (16 / 400)))
  found = strengths.elo(pairs, outcome, 3)
  np.testing.assert_allclose(found, [16, -16 + second, -second])
  assert second > 0
  other = strengths.elo(pairs[::-1], outcome[::-1], 3)
  assert not np.allclose(found, other)  # the order counts


def test_two_candidates_in_closed_form():
  pairs = np.array([[0, 1]] * 3 + [[1, 0]])
  found = strengths.bradley_terry(pairs, np.array([1, 1, 1, 1.0]), 2)
  d = np.log(3)
  np.testing.assert_allclose(found.value, [d / 2, -d / 2], atol=1e-9)
  c = found.covariance
  variance = c[0, 0] + c[1, 1] - 2 * c[0, 1]
  np.testing.assert_allclose(variance, 1 / 3 + 1, rtol=1e-8)  # log odds of 3:1
  np.testing.assert_allclose(found.error, np.sqrt(variance) / 2, rtol=1e-8)


@pytest.mark.parametrize(
  ('seed', 'n', 'ridge', 'soft'),
  [(0, 3, 0, False), (1, 6, 0, False), (2, 5, 0.3, False), (3, 4, 0, True)],
)
def test_most_likely_strengths_and_errors_are_scipys(seed, n, ridge, soft):
  _, pairs, outcome = drawn(seed, n, 30 * n, soft=soft)
  found = strengths.bradley_terry(pairs, outcome, n, ridge=ridge)
  arguments = pairs, outcome, ridge
  best = optimize.minimize(nll, np.zeros(n - 1), arguments, tol=1e-9)
  want = np.append(best.x, -best.x.sum())
  np.testing.assert_allclose(found.value, want, atol=1e-4)
  curvature = second_derivatives(lambda x: nll(x, *arguments), best.x)
  every = np.vstack([np.eye(n - 1), -np.ones(n - 1)])
  covariance = every @ np.linalg.solve(curvature, every.T)
  np.testing.assert_allclose(found.covariance, covariance, rtol=2e-3, atol=1e-5)
  np.testing.assert_allclose(found.error, np.sqrt(np.diag(covariance)), 2e-3)
  assert set(found.component) == {0}


def test_neither_order_nor_names_nor_sides_matter():
  _, pairs, outcome = drawn(5, 6, 120)
  outcome[3] = NAN
  rng = np.random.default_rng(0)
  moved, name = rng.permutation(120), rng.permutation(6)
  for ridge in (0.0, 0.1):
    found = strengths.bradley_terry(pairs, outcome, 6, ridge=ridge)
    other = strengths.bradley_terry(
      name[pairs[moved, ::-1]], 1 - outcome[moved], 6, ridge=ridge
    )
    np.testing.assert_allclose(other.value[name], found.value, atol=1e-8)
    np.testing.assert_allclose(other.error[name], found.error, atol=1e-8)


def test_true_strengths_are_found_and_errors_cover():
  inside = []
  for seed in range(40):
    true, pairs, outcome = drawn(100 + seed, 5, 400)
    found = strengths.bradley_terry(pairs, outcome, 5)
    inside.append(np.abs(found.value - true + true.mean()) < 1.96 * found.error)
  assert abs(np.mean(inside) - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 200)


def test_components_are_told():
  pairs = np.concatenate([CYCLE, 3 + CYCLE])
  found = strengths.bradley_terry(pairs, np.array([1.0] * 3 + [0] * 3), 7)
  np.testing.assert_allclose(found.value, np.zeros(7), atol=1e-9)
  a, b, alone = found.component[[0, 3, 6]]
  assert found.component.tolist() == [a] * 3 + [b] * 3 + [alone]
  assert len({a, b, alone}) == 3
  assert np.isinf(found.error[6])
  assert np.isfinite(found.error[:6]).all()
  # A prior compares them, and knows less of the one that nobody met.
  prior = strengths.bradley_terry(pairs, np.ones(6), 7, ridge=0.5)
  assert np.isfinite(prior.error).all()
  assert prior.error[6] > prior.error[0]
  assert prior.component.tolist() == found.component.tolist()


def test_who_never_lost_has_no_finite_strength():
  pairs, outcome = np.array([[0, 1], [1, 2], [2, 1]]), np.array([1.0, 1, 1])
  with pytest.raises(ValueError, match='without a ridge'):
    strengths.bradley_terry(pairs, outcome, 3)
  weak = strengths.bradley_terry(pairs, outcome, 3, ridge=1e-6)
  assert weak.value[0] > 5
  # Half a win for each of them is enough.
  soft = np.array([0.999, 1, 1])
  assert np.isfinite(strengths.bradley_terry(pairs, soft, 3).value).all()


@pytest.mark.parametrize('ridge', [0.0, 1.0])
def test_nothing_is_known(ridge):
  for pairs, outcome in ((np.zeros((0, 2), int), []), (CYCLE, [NAN] * 3)):
    found = strengths.bradley_terry(pairs, outcome, 3, ridge=ridge)
    np.testing.assert_array_equal(found.value, np.zeros(3))
    centred = np.sqrt(2 / 3)  # of a standard normal prior, around the mean
    np.testing.assert_allclose(found.error, centred if ridge else np.inf)
    np.testing.assert_array_equal(strengths.elo(pairs, outcome, 3), np.zeros(3))
    assert np.isnan(strengths.win_rate(pairs, outcome, 3)).all()
  one = strengths.bradley_terry(np.zeros((0, 2), int), [], 1, ridge=ridge)
  assert one.value.tolist() == [0]


def test_what_is_no_comparison_is_refused():
  for pairs, outcome, says in (
    (CYCLE, [1, 1], 'outcomes'),
    ([[0, 0]], [1], 'two different'),
    ([[0, 3]], [1], 'two different'),
    ([[-1, 0]], [1], 'two different'),
    ([[0, 1]], [-1], 'probabilities'),  # a verdict is none
  ):
    with pytest.raises(ValueError, match=says):
      strengths.win_rate(np.array(pairs), np.array(outcome), 3)
  with pytest.raises(ValueError, match='ridge'):
    strengths.bradley_terry(CYCLE, np.ones(3), 3, ridge=-1)
