import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from prm_jax.ops.heads import choices, distributions


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_levels_are_inside():
  np.testing.assert_allclose(distributions.levels(4), [0.2, 0.4, 0.6, 0.8])
  with pytest.raises(ValueError, match='at least 1'):
    distributions.levels(0)


def test_pinball_by_hand(rng):
  q, t, level = rng.normal(size=(5, 3)), rng.normal(size=5), [0.1, 0.5, 0.9]
  u, tau = t[:, None] - q, np.array(level)
  args = (jnp.asarray(q), jnp.asarray(t), jnp.ones(5), np.array(level))
  np.testing.assert_allclose(
    distributions.pinball(*args), u * (tau - (u < 0)), rtol=1e-5, atol=1e-6
  )
  k = 0.4
  h = np.where(np.abs(u) < k, u**2 / 2, k * (np.abs(u) - k / 2))
  np.testing.assert_allclose(
    distributions.pinball(*args, huber=k),
    np.abs(tau - (u < 0)) * h / k,
    rtol=1e-4,
    atol=1e-6,
  )


def test_pinball_is_smallest_at_the_quantile(rng):
  sample = rng.gamma(2.0, size=4001)
  grid = np.quantile(sample, np.linspace(0.01, 0.99, 99))
  level = np.array([0.1, 0.5, 0.9])
  loss = jax.jit(
    jax.vmap(
      lambda q: distributions.pinball(
        jnp.full((4001, 3), q), jnp.asarray(sample), jnp.ones(4001), level
      ).mean(0)
    )
  )(jnp.asarray(grid))
  np.testing.assert_array_equal(np.argmin(loss, 0), [9, 49, 89])


def test_quantiles_do_not_cross_and_have_the_score_for_their_mean(rng):
  score = rng.normal(size=6)
  free = np.concatenate([rng.normal(size=(3, 4)), np.full((3, 4), -1e4)])
  found = distributions.around(jnp.asarray(score), jnp.asarray(free))
  np.testing.assert_allclose(found.mean(1), score, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    np.diff(found, axis=1), np.logaddexp(0, free), rtol=1e-3, atol=1e-6
  )
  assert (np.diff(found, axis=1) >= 0).all()
  one = distributions.around(jnp.asarray(score), jnp.zeros((6, 0)))
  np.testing.assert_allclose(one[:, 0], score, rtol=1e-6)


def test_lower_mean_and_quantile(rng):
  q = np.sort(rng.normal(size=(4, 5)), 1)
  mixed = jnp.asarray(q[:, [3, 0, 4, 1, 2]])
  for share, weight in (
    (1.0, [1, 1, 1, 1, 1]),
    (0.4, [1, 1, 0, 0, 0]),
    (0.5, [1, 1, 0.5, 0, 0]),
    (0.1, [1, 0, 0, 0, 0]),
  ):
    np.testing.assert_allclose(
      distributions.lower_mean(mixed, share=share),
      q @ weight / np.sum(weight),
      rtol=1e-5,
    )
  for level in (0.01, 0.2, 0.5, 0.77, 0.99):
    want = [np.interp(level, np.arange(1, 6) / 6, row) for row in q]
    np.testing.assert_allclose(
      distributions.quantile(mixed, level=level), want, rtol=1e-4, atol=1e-6
    )
  for wrong in (0.0, 1.5):
    with pytest.raises(ValueError, match='in '):
      distributions.lower_mean(mixed, share=wrong)
    with pytest.raises(ValueError, match='in '):
      distributions.quantile(mixed, level=wrong)


def test_gaussian_nll(rng):
  m, v, t = rng.normal(size=(3, 6))
  found = distributions.gaussian_nll(
    jnp.asarray(m), jnp.asarray(v), jnp.asarray(t), jnp.ones(6)
  )
  np.testing.assert_allclose(
    found, -stats.norm.logpdf(t, m, np.exp(v / 2)), rtol=1e-4
  )


def test_sampled_squared_is_right_on_average(rng):
  m, v, t = 0.3, -0.5, 1.4
  n = 200_000
  found = distributions.sampled_squared(
    jnp.full(n, m),
    jnp.full(n, v),
    jnp.full(n, t),
    jnp.ones(n),
    jnp.asarray(rng.normal(size=n)),
  )
  np.testing.assert_allclose(found.mean(), (m - t) ** 2 + np.exp(v), rtol=0.02)


def test_overlap_is_the_integral():
  for m, v, n, w in ((0.0, 1.0, 2.0, 3.0), (1.0, 0.1, 1.0, 0.1)):
    want, _ = integrate.quad(
      lambda x, m=m, v=v, n=n, w=w: np.sqrt(
        stats.norm.pdf(x, m, v**0.5) * stats.norm.pdf(x, n, w**0.5)
      ),
      -20,
      20,
      points=[m, n],
    )
    found = distributions.overlap(*(jnp.full(1, x) for x in (m, v, n, w)))
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_moderated_probability_of_a_pair_that_predicts_its_variance():
  """The closed form that stands in for sampled differences."""
  for s in (0.5, 1.0, 2.0):
    for mean in (-2.0, 0.3, 1.0):
      want, _ = integrate.quad(
        lambda x, mean=mean, s=s: special.expit(x) * stats.norm.pdf(x, mean, s),
        mean - 10 * s,
        mean + 10 * s,
      )
      found = choices.moderated_probability(jnp.array(mean), jnp.array(s**2))
      assert abs(found - want) < 0.01


def belief(rng, size, shape=None):
  shape = 1 + rng.gamma(2.0, size=size) if shape is None else shape
  parts = (rng.normal(size=size), rng.gamma(2.0, size=size), shape)
  return distributions.Evidence(
    *map(jnp.asarray, (*parts, rng.gamma(2.0, size=size)))
  )


def test_evidential_nll_is_student_and_the_integral(rng):
  b = belief(rng, 6)
  t = rng.normal(size=6)
  found = distributions.evidential_nll(b, jnp.asarray(t), jnp.ones(6))
  g, nu, a, beta = map(np.asarray, b)
  scale = np.sqrt(beta * (1 + nu) / (nu * a))
  np.testing.assert_allclose(
    found, -stats.t.logpdf(t, 2 * a, g, scale), rtol=1e-4, atol=1e-5
  )

  def marginal(precision, i):
    # The mean integrated out: N(t; gamma, (1 + 1 / nu) / precision).
    sd = np.sqrt((1 + 1 / nu[i]) / precision)
    return stats.norm.pdf(t[i], g[i], sd) * stats.gamma.pdf(
      precision, a[i], scale=1 / beta[i]
    )

  for i in (0, 3):
    want, _ = integrate.quad(marginal, 0, np.inf, args=(i,))
    np.testing.assert_allclose(found[i], -np.log(want), rtol=1e-3)


def test_much_evidence_is_a_gaussian_in_float32(rng):
  shape = np.array([19.9, 20.1, 1e3, 1e5])
  b = belief(rng, 4, shape)
  t = rng.normal(size=4)
  found = distributions.evidential_nll(b, jnp.asarray(t), jnp.ones(4))
  g, nu, a, beta = (np.asarray(leaf, float) for leaf in b)
  scale = np.sqrt(beta * (1 + nu) / (nu * a))
  want = -stats.t.logpdf(t, 2 * a, g, scale)
  np.testing.assert_allclose(found, want, rtol=1e-3)


def test_evidence_of_a_head(rng):
  free = rng.normal(size=(5, 4))
  b = distributions.evidence(jnp.asarray(free))
  np.testing.assert_allclose(b.mean, free[:, 0], rtol=1e-6)
  assert (b.worth > 0).all()
  assert (b.shape > 1).all()
  aleatoric, epistemic = distributions.evidence_parts(b)
  _, nu, a, beta = map(np.asarray, b)
  np.testing.assert_allclose(aleatoric, beta / (a - 1), rtol=1e-4)
  np.testing.assert_allclose(epistemic, beta / nu / (a - 1), rtol=1e-4)
  # The aleatoric part is the mean variance of the belief.
  np.testing.assert_allclose(
    aleatoric[0], stats.invgamma.mean(a[0], scale=beta[0]), rtol=1e-4
  )
  t = rng.normal(size=5)
  found = distributions.evidence_penalty(b, jnp.asarray(t), jnp.ones(5))
  want = np.abs(t - free[:, 0]) * (2 * nu + a)
  np.testing.assert_allclose(found, want, rtol=1e-5)
