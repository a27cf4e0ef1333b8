import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.elicitation import loop
from prm_jax.ops import acquisition, bayes

J, N, U = 3, 40, 5


def world(seed=0):
  rng = np.random.default_rng(seed)
  difference = jnp.asarray(rng.normal(size=(J, N)), jnp.float32)
  weights = jnp.asarray(rng.normal(size=(U, J)), jnp.float32)
  prior = bayes.isotropic_prior(jnp.zeros(J), 1.0)
  return prior, difference, jax.nn.sigmoid(3 * weights @ difference), weights


def simulate(acquire, questions=6, available=None, threshold=0.0):
  prior, difference, probability, _ = world()
  return loop.simulate(
    jax.random.key(0),
    prior,
    difference,
    probability,
    available,
    acquire=acquire,
    questions=questions,
    threshold=threshold,
  )


@pytest.mark.slow
@pytest.mark.parametrize('acquire', loop.ACQUISITIONS)
def test_no_question_twice_and_beliefs_are_the_posteriors(acquire):
  trace = simulate(acquire)
  prior, difference, _, _ = world()

  @jax.jit
  def mean(x, y, mask):
    return bayes.coefficients(prior, bayes.laplace(prior, x, y, mask))

  for person in range(U):
    asked = np.asarray(trace.asked[person])
    assert len(set(asked.tolist())) == 6
    x, y = difference.T[asked], trace.label[person]
    for t in range(7):
      want = mean(x, y, (np.arange(6) < t).astype(np.float32))
      np.testing.assert_allclose(trace.mean[person, t], want, atol=1e-4)


@pytest.mark.parametrize('acquire', list(loop.SCORES))
def test_each_question_is_the_brute_force_best(acquire):
  trace = simulate(acquire)
  _, difference, _, _ = world()
  for t in range(6):
    m, v = acquisition.margin_moments(
      difference, trace.mean[1, t], trace.factor[1, t]
    )
    score = np.array(loop.SCORES[acquire](m, v))
    score[np.asarray(trace.asked[1, :t])] = -np.inf
    # Equal up to the order of sums.
    assert score[int(trace.asked[1, t])] > score.max() - 1e-5


def test_an_exhausted_pool_asks_nothing_more():
  available = jnp.zeros((U, N), bool).at[:, jnp.array([2, 7])].set(True)
  trace = simulate('variance', available=available)
  assert (np.sort(trace.asked[:, :2], 1) == [2, 7]).all()
  assert (np.asarray(trace.asked[:, 2:]) == -1).all()
  np.testing.assert_array_equal(trace.mean[:, 2], trace.mean[:, 6])


def test_stops_when_little_would_be_learned():
  trace = simulate('information_gain', questions=30, threshold=0.05)
  count = (np.asarray(trace.asked) >= 0).sum(1)
  assert (count > 0).all()
  assert (count < 30).all()
  stopped = np.asarray(trace.asked) < 0
  assert (stopped == np.maximum.accumulate(stopped, 1)).all()


def test_candidates_that_are_no_numbers_are_never_asked():
  prior, difference, probability, _ = world()
  difference = difference.at[:, :20].set(jnp.nan)
  trace = loop.simulate(
    jax.random.key(0),
    prior,
    difference,
    probability,
    acquire='variance',
    questions=6,
  )
  assert (np.asarray(trace.asked) >= 20).all()
  assert np.isfinite(np.asarray(trace.mean)).all()


def test_unknown_acquisition_is_named():
  with pytest.raises(ValueError, match="'best': one of \\['random'"):
    simulate('best')


def test_active_answers_teach_more_than_random_ones():
  rng = np.random.default_rng(1)
  size = rng.uniform(0.1, 2.0, N * 10)
  difference = jnp.asarray(rng.normal(size=(6, N * 10)) * size, jnp.float32)
  weights = rng.normal(size=(300, 6)).astype(np.float32)
  prior = bayes.isotropic_prior(jnp.zeros(6), 1.0)
  p = jax.nn.sigmoid(weights @ difference)
  error = {}
  for acquire in ('random', 'information_gain'):
    trace = loop.simulate(
      jax.random.key(1), prior, difference, p, acquire=acquire, questions=10
    )
    error[acquire] = np.mean((np.asarray(trace.mean[:, -1]) - weights) ** 2)
  assert error['information_gain'] < 0.8 * error['random']
