"""Opinion dynamics and measures against closed forms and NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from prm_jax.ops import opinions

N = 7


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


@pytest.fixture
def graph():
  rng = np.random.default_rng(0)
  weight = rng.random((N, N)) * (rng.random((N, N)) < 0.6)
  weight = np.triu(weight, 1)
  return weight + weight.T, rng.uniform(-1, 1, N)


def test_degroot_ends_at_the_stationary_mean():
  rng = np.random.default_rng(1)
  trust = rng.dirichlet(np.ones(N), N)
  start = rng.normal(size=N)
  x = jnp.asarray(start)
  for _ in range(300):
    x = opinions.degroot(x, trust)
  values, vectors = np.linalg.eig(trust.T)
  weight = np.real(vectors[:, np.argmax(np.real(values))])
  np.testing.assert_allclose(x, weight @ start / weight.sum(), atol=1e-12)


def test_friedkin_johnsen_comes_to_its_fixed_point(graph):
  weight, innate = graph
  degree = weight.sum(1)
  trust = weight / degree[:, None]
  x = jnp.asarray(innate)
  for _ in range(2000):
    x = opinions.friedkin_johnsen(x, innate, trust, 1 / (1 + degree))
  want = opinions.equilibrium(innate, weight)
  np.testing.assert_allclose(x, want, atol=1e-12)
  again = opinions.friedkin_johnsen(want, innate, trust, 1 / (1 + degree))
  np.testing.assert_allclose(again, want, atol=1e-14)


def test_polarisation_and_disagreement_add_up(graph):
  weight, innate = graph
  z = opinions.equilibrium(innate, weight)
  centred = innate - innate.mean()
  L = np.diag(weight.sum(1)) - weight
  np.testing.assert_allclose(opinions.laplacian(weight), L)
  total = opinions.polarization(z) + opinions.disagreement(z, weight)
  want = centred @ np.linalg.solve(np.eye(N) + L, centred)
  np.testing.assert_allclose(total, want, rtol=1e-12)


def test_deffuant_approaches_only_who_is_near():
  x = jnp.array([0.0, 0.3, 0.9])
  near = opinions.deffuant(x, jnp.array([0, 1]), threshold=0.5, rate=0.25)
  np.testing.assert_allclose(near, [0.075, 0.225, 0.9])
  far = opinions.deffuant(x, jnp.array([0, 2]), threshold=0.5)
  np.testing.assert_array_equal(far, x)


def test_hegselmann_krause_ends_in_separate_clusters():
  x = jnp.linspace(-1, 1, 41)
  for _ in range(100):
    x = opinions.hegselmann_krause(x, threshold=0.25)
  clusters = np.unique(np.round(np.asarray(x), 9))
  assert 1 < len(clusters) < 8
  assert (np.diff(clusters) > 0.25).all()


def test_biased_assimilation():
  x = np.array([0.2, 0.6, 0.9])
  weight = np.array([[1.0, 2.0, 0.5], [1.0, 0.5, 1.0], [0.3, 0.3, 1.0]])
  plain = opinions.biased_assimilation(x, weight, 0.0)
  np.testing.assert_allclose(plain, weight @ x / weight.sum(1))
  b, want = 2.0, []
  for i in range(3):
    s = sum(weight[i, j] * x[j] for j in range(3) if j != i)
    d = sum(weight[i, j] for j in range(3) if j != i)
    pro, contra = x[i] ** b * s, (1 - x[i]) ** b * (d - s)
    want.append((weight[i, i] * x[i] + pro) / (weight[i, i] + pro + contra))
  np.testing.assert_allclose(opinions.biased_assimilation(x, weight, b), want)


def test_served_answers_move_who_agrees_and_stay_in_range():
  x = jnp.array([-1.0, -0.5, 0.0, 0.5, 1.0])
  for stance in (-1.0, 1.0):
    moved = opinions.served(x, stance, x, rate=0.9, anchor=0.1)
    assert (np.abs(moved) <= 1).all()
  up = opinions.served(x, 1.0, x) - x
  np.testing.assert_allclose(up[2], 0.08 * 0.5)
  assert up[0] == 0  # nobody is won from the other end
  np.testing.assert_allclose(
    opinions.served(x, 0.0, jnp.zeros(5), rate=0.0, anchor=0.02), 0.98 * x
  )


def test_lock_in_is_the_spectral_radius():
  people, learning, trust = 12, 0.3, 0.4
  matrix = np.zeros((people, people))
  matrix[0, 1:] = learning  # the assistant learns from everybody
  matrix[1:, 0] = trust
  radius = np.abs(np.linalg.eigvals(matrix)).max()
  found = opinions.reproduction(learning, trust, people)
  np.testing.assert_allclose(found, radius**2)
  # Evidence that goes round grows above 1 and dies below.
  for factor, grows in ((0.8, False), (1.2, True)):
    scaled = matrix * np.sqrt(factor) / radius
    trace = np.linalg.matrix_power(scaled, 200) @ np.ones(people)
    assert (trace.max() > people) == grows


def test_bimodality_is_that_of_scipys_moments():
  rng = np.random.default_rng(2)
  x = rng.gamma(2.0, size=40)
  n = len(x)
  g = stats.skew(x, bias=False)
  k = stats.kurtosis(x, bias=False)
  want = (g**2 + 1) / (k + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))
  np.testing.assert_allclose(opinions.bimodality(x), want, rtol=1e-12)
  two = np.concatenate([np.full(50, -1.0), np.full(50, 1.0)])
  assert opinions.bimodality(two) > 5 / 9
  assert opinions.bimodality(rng.normal(size=5000)) < 0.4
  assert opinions.bimodality(jnp.zeros(9)) == 0.0


def test_esteban_ray_of_two_poles_and_of_one():
  half = jnp.array([0.5, 0.5])
  found = opinions.esteban_ray(half, jnp.array([0.0, 2.0]), alpha=1.0)
  np.testing.assert_allclose(found, 2 * 0.25 * 0.5 * 2.0)
  one = opinions.esteban_ray(half, jnp.array([1.0, 1.0]))
  np.testing.assert_allclose(one, 0.0)
  thirds = opinions.esteban_ray(jnp.full(3, 1 / 3), jnp.array([0.0, 1, 2]))
  assert thirds < opinions.esteban_ray(half, jnp.array([0.0, 2.0]))


def test_jensen_shannon_is_the_mean_over_pairs():
  rng = np.random.default_rng(3)
  p = rng.dirichlet(np.ones(4), 5)
  p[0] = [1, 0, 0, 0]

  def h(q):
    q = q[q > 0]
    return -np.sum(q * np.log(q))

  want = np.mean(
    [
      h((p[i] + p[j]) / 2) - (h(p[i]) + h(p[j])) / 2
      for i in range(5)
      for j in range(5)
      if i != j
    ]
  )
  np.testing.assert_allclose(opinions.jensen_shannon(p), want, rtol=1e-12)
  same = jnp.tile(p[1], (3, 1))
  np.testing.assert_allclose(opinions.jensen_shannon(same), 0.0, atol=1e-15)
  apart = opinions.jensen_shannon(jnp.eye(2))
  np.testing.assert_allclose(apart, np.log(2))


def test_exposure_by_hand():
  counts = jnp.array([[2.0, 2.0], [4.0, 0.0], [0.0, 0.0]])
  np.testing.assert_allclose(opinions.exposure_entropy(counts), [1.0, 0, 0])
  share = opinions.cross_cutting(
    jnp.array([0.5, -0.5, 0.0]),
    jnp.array([[1.0, -1, 0], [1.0, 1, 1], [1.0, 1, 1]]),
  )
  np.testing.assert_array_equal(share, [0.5, 1.0, np.nan])


def test_drift_and_extremity_by_hand():
  x, start = jnp.array([1.0, -0.5]), jnp.array([0.0, 0.5])
  assert opinions.drift(x, start) == 1.0
  assert opinions.extremity(x) == 0.75


def test_worst_decile_on_fresh_items_is_not_raised_by_chance():
  rng = np.random.default_rng(4)
  one, other = rng.normal(size=(2, 5000))
  assert opinions.worst_decile(one) > 1.5
  assert abs(opinions.worst_decile(other, one)) < 0.15


def test_split_halves_leave_what_is_systematic():
  rng = np.random.default_rng(5)
  person = 0.3 * rng.normal(size=20_000)
  one, other = person + rng.normal(size=(2, 20_000))
  found = opinions.split_half_variance(one, other)
  np.testing.assert_allclose(found, 0.09, atol=0.02)
  np.testing.assert_allclose(found, np.cov(one, other)[0, 1], rtol=1e-9)
