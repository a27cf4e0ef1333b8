import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from prm_jax.ops.heads import choices, ordinal

D = np.linspace(-5, 5, 11)
ALL = np.array([0.0, 0.5, 1.0])


def sigma(x):
  return 1 / (1 + np.exp(-x))


def every_level(function, difference, levels, *args, **options):
  """Nats of every level `[B, C]`, and the probabilities `[B, C]`."""
  nll = []
  for j in range(levels):
    label = np.full(len(difference), j / (levels - 1), np.float32)
    found, probability = function(
      jnp.asarray(difference), jnp.asarray(label), *args, **options
    )
    nll.append(found)
  return np.stack(nll, 1), np.asarray(probability)


@pytest.mark.parametrize('kappa', [0.2, 1.0, 5.0])
def test_rao_kupper(kappa):
  nll, p = every_level(ordinal.rao_kupper, D, 3, kappa)
  theta = np.exp(kappa)
  first, second = 1 / (1 + theta * np.exp(-D)), 1 / (1 + theta * np.exp(D))
  want = np.stack([second, (theta**2 - 1) * first * second, first], 1)
  np.testing.assert_allclose(p, want, rtol=1e-4)
  np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(nll, -np.log(want), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('nu', [0.3, 1.0, 4.0])
def test_davidson(nu):
  nll, p = every_level(ordinal.davidson, D, 3, np.log(nu))
  want = np.stack([np.exp(-D / 2), np.full(11, nu), np.exp(D / 2)], 1)
  want /= want.sum(1, keepdims=True)
  np.testing.assert_allclose(p, want, rtol=1e-4)
  np.testing.assert_allclose(nll, -np.log(want), rtol=1e-4, atol=1e-6)


def test_without_ties_both_are_bradley_terry():
  d = jnp.asarray(D)
  for found, p in (
    ordinal.rao_kupper(d, jnp.ones(11), 0.0),
    ordinal.davidson(d, jnp.ones(11), -jnp.inf),
  ):
    np.testing.assert_allclose(
      found, choices.bradley_terry(d, jnp.ones(11)), rtol=1e-5
    )
    np.testing.assert_array_equal(p[:, 1], 0.0)


@pytest.mark.parametrize(
  ('function', 'parameter'),
  [(ordinal.rao_kupper, 0.0), (ordinal.davidson, -jnp.inf)],
)
def test_a_tie_that_cannot_be_is_infinite_and_teaches_nothing(
  function, parameter
):
  def nll(d, parameter):
    return function(d, jnp.full(1, 0.5), parameter)[0][0]

  value, gradient = jax.value_and_grad(nll, (0, 1))(
    jnp.ones(1), jnp.float32(parameter)
  )
  assert np.isposinf(value)
  assert not np.isnan(gradient[0]).any()
  # What was told instead is learned from as ever.
  other = jax.grad(lambda d: function(d, jnp.ones(1), parameter)[0][0])(
    jnp.ones(1)
  )
  np.testing.assert_allclose(other, -sigma(-1.0), rtol=1e-5)


def test_ties_alone_pull_the_scores_together():
  for function, parameter in (
    (ordinal.rao_kupper, 1.0),
    (ordinal.davidson, 0.0),
  ):
    slope = jax.grad(
      lambda d, f=function, p=parameter: f(d, jnp.full(11, 0.5), p)[0].sum()
    )(jnp.asarray(D))
    assert (slope * D >= 0).all()
    np.testing.assert_allclose(slope[5], 0.0, atol=1e-6)
    assert np.abs(slope[:5]).min() > 0.05


def test_annotators_have_thresholds_of_their_own():
  kappa = jnp.linspace(0.1, 2.0, 11)
  found, _ = ordinal.rao_kupper(jnp.asarray(D), jnp.full(11, 0.5), kappa)
  one = [
    ordinal.rao_kupper(jnp.asarray(D[i : i + 1]), jnp.full(1, 0.5), kappa[i])[0]
    for i in (0, 5, 10)
  ]
  np.testing.assert_allclose(found[::5], np.ravel(one), rtol=1e-5)


@pytest.mark.parametrize('levels', [2, 3, 5, 6])
@pytest.mark.parametrize('link', ordinal.LINKS)
def test_cumulative_levels_are_areas(levels, link):
  rng = np.random.default_rng(levels)
  free = jnp.asarray(rng.normal(size=levels - 1))
  cuts = ordinal.cut_points(free, levels=levels, symmetric=False)
  nll, p = every_level(ordinal.cumulative, D, levels, cuts, link=link)
  density = {'logistic': stats.logistic, 'probit': stats.norm}[link]
  ends = [-np.inf, *np.asarray(cuts, float), np.inf]
  for i in (0, 4, 7):
    want = [
      integrate.quad(density(loc=D[i]).pdf, low, high)[0]
      for low, high in itertools.pairwise(ends)
    ]
    np.testing.assert_allclose(p[i], want, rtol=1e-3, atol=1e-6)
  np.testing.assert_allclose(p.sum(1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(nll, -np.log(p), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('link', ordinal.LINKS)
def test_levels_far_out_keep_their_digits(link):
  """A difference of two probabilities that are both 1 in float32."""
  cuts = jnp.array([20.0, 21.0])
  density = {'logistic': stats.logistic, 'probit': stats.norm}[link]
  for d in (0.0, 60.0):
    found, _ = ordinal.cumulative(
      jnp.full(1, d), jnp.full(1, 0.5), cuts, link=link
    )
    sign = 1 if d > 20 else -1
    near, far = sorted(sign * (np.array(cuts, float) - d))[::-1]
    want = density.logcdf(near) + np.log1p(
      -np.exp(density.logcdf(far) - density.logcdf(near))
    )
    np.testing.assert_allclose(found, -want, rtol=1e-4)


def test_two_levels_are_bradley_terry_and_thurstone():
  d, y = jnp.asarray(D), jnp.asarray(np.linspace(0, 1, 11))
  found, _ = ordinal.cumulative(d, y, jnp.zeros(1))
  np.testing.assert_allclose(found, choices.bradley_terry(d, y), rtol=1e-5)
  found, _ = ordinal.cumulative(d, y, jnp.zeros(1), link='probit')
  np.testing.assert_allclose(found, choices.thurstone(d, y, 1.0), rtol=1e-5)
  with pytest.raises(ValueError, match='one of'):
    ordinal.cumulative(d, y, jnp.zeros(1), link='cauchit')


@pytest.mark.parametrize('levels', [3, 4, 5, 7])
def test_symmetric_cuts_make_exchange_reverse_the_levels(levels):
  rng = np.random.default_rng(levels)
  free = jnp.asarray(rng.normal(size=(levels - 1) // 2))
  cuts = ordinal.cut_points(free, levels=levels)
  np.testing.assert_array_equal(cuts, -cuts[::-1])
  _, p = every_level(ordinal.cumulative, D, levels, cuts)
  _, exchanged = every_level(ordinal.cumulative, -D, levels, cuts)
  np.testing.assert_allclose(exchanged, p[:, ::-1], rtol=1e-4)
  even = ordinal.expected_label(jnp.asarray(p))
  np.testing.assert_allclose(even + even[::-1], 1.0, rtol=1e-5)


@pytest.mark.parametrize('symmetric', [False, True])
def test_cut_points_cannot_cross(symmetric):
  for free in (-1e4, -30.0, 0.0, 30.0):
    cuts = ordinal.cut_points(
      jnp.full(2 if symmetric else 4, free).at[0].set(0.0),
      levels=5,
      symmetric=symmetric,
    )
    assert (np.diff(cuts) > 0).all()
  with pytest.raises(ValueError, match='give 3'):
    ordinal.cut_points(jnp.zeros(4), levels=4, symmetric=False)


def test_a_level_that_nobody_chose_shrinks_and_stays_finite():
  def loss(free):
    cuts = ordinal.cut_points(free, levels=3, symmetric=False)
    label = jnp.array([0.0, 1.0] * 10)
    return ordinal.cumulative(jnp.zeros(20), label, cuts)[0].mean()

  free = jnp.zeros(2)
  step = jax.jit(lambda free: free - 5.0 * jax.grad(loss)(free))
  for _ in range(300):
    free = step(free)
  assert np.isfinite(free).all()
  cuts = ordinal.cut_points(free, levels=3, symmetric=False)
  assert 0 < cuts[1] - cuts[0] < 0.05


def test_level_weights_share_what_lies_between():
  found = ordinal.level_weights(jnp.array([0.0, 1 / 3, 0.5, 0.9]), 4)
  want = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.3, 0.7]]
  np.testing.assert_allclose(found, want, atol=1e-6)
  for levels in range(2, 12):
    label = jnp.arange(levels, dtype=jnp.float32) / (levels - 1)
    np.testing.assert_array_equal(
      ordinal.level_weights(label, levels), np.eye(levels)
    )
