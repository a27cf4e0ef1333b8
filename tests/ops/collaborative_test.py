"""Factorised votes against arithmetic of their own, in NumPy and SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from prm_jax.ops import collaborative

# How long is no part of the program, so that few are compiled.
FIT = jax.jit(collaborative.fit, static_argnames=('factors', 'agreeing'))
ESTIMATE = jax.jit(collaborative.estimate, static_argnames='groups')


def made(P=150, S=30, K=1, seen=0.6, seed=0, factor=1.2):
  """Votes, their true logits, and what statements truly are like."""
  rng = np.random.default_rng(seed)
  a, b = rng.normal(0, 0.6, P), rng.normal(0.4, 1.0, S)
  u, v = rng.normal(size=(P, K)), factor * rng.normal(size=(S, K))
  logit = a[:, None] + b + u @ v.T
  agrees = rng.random((P, S)) < special.expit(logit)
  weight = rng.random((P, S)) < seen
  votes = collaborative.Votes(
    jnp.asarray(agrees, jnp.float32), jnp.asarray(weight, jnp.float32)
  )
  return votes, logit, (b, v)


def numpy_bound(agrees, weight, people, statements, person, statement):
  """The bound, vote by vote; beliefs and priors are (mean, (co)variance)."""
  total = 0.0
  for p, s in zip(*np.nonzero(weight), strict=True):
    second = [
      side[1][i] + np.outer(side[0][i], side[0][i])
      for side, i in ((people, p), (statements, s))
    ]
    xi = np.sqrt((second[0] * second[1]).sum())
    m = people[0][p] @ statements[0][s]
    total += np.log(special.expit(xi)) - xi / 2 + (agrees[p, s] - 0.5) * m
  for side, prior in ((people, person), (statements, statement)):
    free = prior[1] > 0
    block = np.ix_(free, free)
    inverse = np.diag(1 / prior[1][free])
    for mean, covariance in zip(*side, strict=True):
      away = (mean - prior[0])[free]
      inside = covariance[block]
      total -= 0.5 * (
        np.trace(inverse @ inside)
        + away @ inverse @ away
        - free.sum()
        + np.log(prior[1][free]).sum()
        - np.linalg.slogdet(inside)[1]
      )
  return total


def plain(pair):
  return tuple(np.asarray(x, np.float64) for x in pair)


def parts(fitted):
  names = ('people', 'statements', 'person', 'statement')
  return {name: plain(getattr(fitted, name)) for name in names}


@functools.cache
def small():
  """A converged fit of 20 people and 8 statements."""
  votes, _, _ = made(20, 8, seen=0.9, factor=2.0)
  fitted = FIT(jax.random.key(1), votes, factors=1, tolerance=1e-5, most=3000)
  return votes, fitted


def test_the_bound_is_that_of_single_votes():
  votes, fitted = small()
  expected = numpy_bound(*plain(votes), **parts(fitted))
  np.testing.assert_allclose(
    collaborative.bound(votes, fitted), expected, rtol=1e-4
  )


def test_nothing_near_a_fit_is_better():
  votes, fitted = small()
  found, said = parts(fitted), plain(votes)

  def moved(name, part, place, size):
    changed = {key: list(value) for key, value in found.items()}
    changed[name][part] = changed[name][part].copy()
    if part:  # of a variance, what a thousandth more of it changes
      size = size * changed[name][part][place]
    changed[name][part][place] += size
    return numpy_bound(*said, **changed)

  places = [
    ('people', part, (p, *[f] * (1 + part)))
    for part in (0, 1)
    for p in range(20)
    for f in (0, 2)
  ]
  places += [
    ('statements', part, (s, *[f] * (1 + part)))
    for part in (0, 1)
    for s in range(8)
    for f in (1, 2)
  ]
  places += [('statement', 0, 1), ('statement', 1, 1), ('statement', 1, 2)]
  for place in places:
    slope = (moved(*place, 1e-3) - moved(*place, -1e-3)) / 2e-3
    assert abs(slope) < 0.05, place


def test_one_person_s_belief_is_the_optimum():
  votes, _, (_, v) = made(1, 30, seen=1.0)
  statements = np.concatenate([np.ones((30, 1)), np.zeros((30, 1)), v], 1)
  known = collaborative.Belief(
    jnp.asarray(statements, jnp.float32), jnp.zeros((30, 3, 3))
  )
  prior = collaborative.Prior(jnp.array([0.3, 1, 0]), jnp.array([0.5, 0, 1.0]))
  found = collaborative.infer(votes, known, prior)
  agrees, weight = plain(votes)

  def loss(given):
    factor = np.zeros((3, 3))
    factor[[0, 2, 2], [0, 0, 2]] = np.exp(given[2]), given[3], np.exp(given[4])
    belief = np.array([[given[0], 1, given[1]]]), (factor @ factor.T)[None]
    return -numpy_bound(
      agrees,
      weight,
      belief,
      (statements, np.zeros((30, 3, 3))),
      plain(prior),
      (np.ones(3), np.zeros(3)),
    )

  best = optimize.minimize(loss, np.zeros(5), tol=1e-8).x
  np.testing.assert_allclose(found.mean[0], [best[0], 1, best[1]], atol=1e-3)
  own = [np.exp(2 * best[2]), 0, best[3] ** 2 + np.exp(2 * best[4])]
  np.testing.assert_allclose(np.diag(found.covariance[0]), own, atol=1e-3)


def test_every_step_raises_the_bound():
  votes, _, _ = made(20, 8, seen=0.9, factor=2.0)
  bounds = [
    float(
      collaborative.bound(
        votes, FIT(jax.random.key(0), votes, factors=1, tolerance=0.0, most=m)
      )
    )
    for m in (1, 2, 3, 5, 10, 40, 160)
  ]
  assert (np.diff(bounds) > -1e-2).all(), bounds
  assert bounds[-1] > bounds[0] + 5


@pytest.mark.slow
def test_what_people_are_like_is_found():
  votes, logit, (b, v) = made(seen=0.9)
  fitted = FIT(jax.random.key(0), votes, factors=1)
  mean, _ = collaborative.moments(fitted.people, fitted.statements)
  missing = np.asarray(votes.weight) == 0
  # Nearly as well as who is told what all statements are like.
  told = np.concatenate([np.ones((30, 1)), b[:, None], v], 1)
  known = collaborative.Belief(
    jnp.asarray(told, jnp.float32), jnp.zeros((30, 3, 3))
  )
  prior = collaborative.Prior(
    jnp.array([0.0, 1.0, 0.0]), jnp.array([0.6**2, 0.0, 1.0])
  )
  best, _ = collaborative.moments(
    collaborative.infer(votes, known, prior), known
  )
  found, possible = (
    np.corrcoef(np.asarray(m)[missing], logit[missing])[0, 1]
    for m in (mean, best)
  )
  assert possible > found > possible - 0.04
  assert found > 0.8
  loading = np.asarray(fitted.statements.mean[:, 2])
  assert abs(np.corrcoef(loading, v[:, 0])[0, 1]) > 0.97
  deviation = np.sqrt(fitted.person.variance[0])
  np.testing.assert_allclose(deviation, 0.6, atol=0.12)
  spread = np.sqrt(fitted.statement.variance[1:])
  np.testing.assert_allclose(spread, [1.0, np.std(v)], atol=0.3)


def test_variances_are_estimated_until_they_stop():
  # Nobody is personal: the factor and the tendency have to go.
  votes, _, _ = made(factor=0.0)
  near, exact = (
    FIT(jax.random.key(0), votes, factors=1, tolerance=tolerance, most=4000)
    for tolerance in (1e-3, 1e-5)
  )
  assert float(exact.change) <= 1e-5
  assert float(np.sqrt(exact.statement.variance[2])) < 0.25
  one, other = (
    np.asarray(collaborative.probability(f.people, f.statements))
    for f in (near, exact)
  )
  assert np.abs(one - other).max() < 0.01
  few = FIT(jax.random.key(0), votes, factors=1, most=15, tolerance=0.0)
  assert float(few.change) > 1e-3  # not yet there, and it says so


@pytest.mark.slow
def test_a_prior_that_nothing_speaks_for_ends_at_zero():
  rng = np.random.default_rng(0)
  votes, _, _ = made(factor=0.0)
  text = np.concatenate([np.ones((30, 1)), rng.normal(size=(30, 8))], 1)
  known = collaborative.Belief(
    jnp.asarray(text, jnp.float32), jnp.zeros((30, 9, 9))
  )
  prior = collaborative.Prior(jnp.zeros(9), jnp.array([0.3, *[0.3**2] * 8]))
  groups = (0, *[1] * 8)
  _, few, _ = ESTIMATE(votes, known, prior, groups, most=3)
  _, stopped, steps = ESTIMATE(votes, known, prior, groups)
  assert 3 < int(steps) < 1000
  assert float(stopped.variance[1]) <= float(few.variance[1])
  assert float(np.sqrt(stopped.variance[1])) < 0.1
  _, exact, _ = ESTIMATE(votes, known, prior, groups, tolerance=1e-5)
  np.testing.assert_allclose(
    np.sqrt(stopped.variance), np.sqrt(exact.variance), atol=0.03
  )


@pytest.mark.slow
def test_a_group_s_variance_is_found():
  rng = np.random.default_rng(3)
  text = rng.normal(size=(60, 4)) / 2
  taste = rng.normal(0, 0.9, (300, 4))
  tendency = rng.normal(0, 0.5, 300)
  p = special.expit(tendency[:, None] + taste @ text.T)
  votes = collaborative.Votes(
    jnp.asarray(rng.random(p.shape) < p, jnp.float32), jnp.ones(p.shape)
  )
  design = np.concatenate([np.ones((60, 1)), text], 1)
  known = collaborative.Belief(
    jnp.asarray(design, jnp.float32), jnp.zeros((60, 5, 5))
  )
  start = collaborative.Prior(jnp.zeros(5), jnp.full(5, 0.1))
  people, prior, _ = collaborative.estimate(
    votes, known, start, (0, 1, 1, 1, 1)
  )
  np.testing.assert_allclose(np.sqrt(prior.variance[:2]), [0.5, 0.9], atol=0.12)
  assert np.corrcoef(people.mean[:, 1], taste[:, 0])[0, 1] > 0.7


def test_a_held_variance_stays_and_leaves_a_weak_factor_on():
  votes, logit, _ = made(195, 119, seen=0.24, factor=0.7, seed=3)
  options = {'factors': 1, 'tolerance': 1e-3, 'most': 100}
  key = jax.random.key(0)
  free = FIT(key, votes, **options)
  held = FIT(key, votes, held=jnp.float32(0.5), **options)
  assert free.statement.variance[2] < 0.01  # switched off; the truth is .49
  np.testing.assert_allclose(held.statement.variance[2], 0.5)
  assert held.steps < 100
  # What was not seen is predicted better with the factor.
  unseen = np.asarray(votes.weight) == 0
  truth = special.expit(logit)[unseen]

  def loss(fitted):
    p = collaborative.probability(fitted.people, fitted.statements)
    p = np.asarray(p, float)[unseen]
    return -np.mean(truth * np.log(p) + (1 - truth) * np.log1p(-p))

  assert loss(held) < loss(free) - 0.005
  # At a fit no mean near it is better, under the variance that is held.
  found, said = parts(held), plain(votes)
  for name, row in (('people', 3), ('people', 9), ('statements', 5)):
    for size in (-0.2, 0.2):
      changed = {k: list(v) for k, v in found.items()}
      changed[name][0] = changed[name][0].copy()
      changed[name][0][row, 2] += size
      assert numpy_bound(*said, **changed) < numpy_bound(*said, **found)


def test_what_nobody_said_says_nothing():
  votes, _, _ = made()
  other = votes._replace(
    agrees=jnp.where(votes.weight > 0, votes.agrees, 1 - votes.agrees)
  )
  silent = votes.weight.at[7].set(0).at[:, 3].set(0)
  one, two = (
    FIT(jax.random.key(0), v._replace(weight=silent), factors=1)
    for v in (votes, other)
  )
  jax.tree.map(np.testing.assert_array_equal, one, two)
  np.testing.assert_allclose(one.people.mean[7, 0], 0.0, atol=2e-3)
  np.testing.assert_allclose(
    one.statements.mean[3, 1], one.statement.mean[1], atol=2e-3
  )


def test_means_of_statements_alone():
  votes, _, _ = made(factor=0.0, seen=1.0)
  fitted = FIT(jax.random.key(0), votes, factors=0, agreeing=False)
  p = collaborative.probability(fitted.people, fitted.statements)
  assert np.ptp(np.asarray(p), 0).max() < 1e-6
  np.testing.assert_allclose(p[0], votes.agrees.mean(0), atol=0.04)


def test_probability_takes_the_uncertainty_in():
  one = collaborative.Belief(jnp.array([[0.0, 1.0]]), jnp.zeros((1, 2, 2)))
  node, weight = np.polynomial.hermite_e.hermegauss(80)
  for mean, variance in ((0.7, 0.1), (1.5, 2.0), (-3.0, 6.0)):
    covariance = jnp.zeros((1, 2, 2)).at[0, 1, 1].set(variance)
    statement = collaborative.Belief(jnp.array([[1.0, mean]]), covariance)
    exact = special.expit(mean + np.sqrt(variance) * node) @ weight
    np.testing.assert_allclose(
      collaborative.probability(one, statement)[0, 0],
      exact / weight.sum(),
      atol=0.012,
    )


def test_shapes_are_checked():
  votes, _, _ = made(5, 4)
  with pytest.raises(AssertionError):
    collaborative.fit(
      jax.random.key(0), votes._replace(weight=jnp.ones((4, 5))), factors=1
    )
