"""Conformal thresholds by hand, by NumPy, and by simulation of coverage."""

import math
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import conformal

threshold = jax.jit(conformal.threshold)


def by_hand(scores, alpha):
  """The threshold of one list of scores, in exact arithmetic."""
  k = math.ceil((len(scores) + 1) * (1 - Fraction(alpha)))
  return sorted(scores)[k - 1] if k <= len(scores) else math.inf


@pytest.mark.parametrize('alpha', ['0.01', '0.05', '0.1', '0.2', '0.3', '0.5'])
def test_the_rank_is_that_of_exact_arithmetic(alpha):
  n = np.arange(3000)
  want = [math.ceil((int(m) + 1) * (1 - Fraction(alpha))) for m in n]
  found = conformal.rank(jnp.asarray(n), alpha=float(alpha))
  np.testing.assert_array_equal(found, want)


class ThresholdTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
  def test_by_hand(self):
    def found(score, mask):
      return conformal.threshold(score, mask, alpha=0.25)

    score = jnp.array([[[5.0, 1.0, 3.0, jnp.nan], [2.0, 2.0, 9.0, 2.0]]])
    mask = jnp.array([[[1, 1, 1, 0], [1, 1, 0, 0]]])
    # ceil(4 * 0.75) = 3 of three; ceil(3 * 0.75) = 3 of two.
    value = self.variant(found)(score, mask)
    np.testing.assert_array_equal(value, [[5.0, np.inf]])


def test_a_score_that_is_no_number_conforms_to_nothing():
  score = jnp.array([1.0, jnp.nan, 2.0, 3.0])
  found = [
    float(threshold(score, jnp.ones(4), alpha=alpha))
    for alpha in (0.5, 0.41, 0.2)
  ]
  assert found == [3.0, 3.0, np.inf]


def test_no_score_at_all_is_infinite():
  assert jnp.isposinf(
    threshold(jnp.zeros((2, 0)), jnp.zeros((2, 0)), alpha=0.1)
  ).all()
  own = conformal.by_person(
    jnp.zeros(0), jnp.zeros(0, int), jnp.zeros(0), people=3, alpha=0.1
  )
  assert jnp.isposinf(own).all()


@pytest.mark.parametrize('alpha', ['0.05', '0.1', '0.5'])
def test_few_answers_have_the_line(alpha):
  least = math.ceil(1 / Fraction(alpha)) - 1  # 1 / alpha - 1
  place = jnp.arange(100)
  enough, few = (
    threshold(place + 1.0, 1.0 * (place < n), alpha=float(alpha))
    for n in (least, least - 1)
  )
  assert enough == least  # the largest
  assert jnp.isposinf(few)
  low, high = conformal.residual_interval(jnp.zeros(2), few)
  assert jnp.isneginf(low).all()
  assert jnp.isposinf(high).all()


def rows(seed=0, people=7, n=200):
  rng = np.random.default_rng(seed)
  person = rng.integers(0, people - 1, n)  # the last gave nothing
  score = np.round(rng.normal(size=n), 1).astype(np.float32)  # with ties
  return score, person, (rng.random(n) < 0.8).astype(np.float32)


@pytest.mark.parametrize('alpha', ['0.1', '0.04'])
def test_by_person_is_each_person_alone(alpha):
  score, person, mask = rows()
  want = [by_hand(score[(person == u) & (mask > 0)], alpha) for u in range(7)]
  score[mask == 0] = np.nan
  person[mask == 0] = 99  # padding is nobody's, whatever its mask says
  person[np.flatnonzero(mask == 0)[::2]] = -1
  found = jax.jit(conformal.by_person, static_argnames='people')(
    score, person, np.ones_like(mask), people=7, alpha=float(alpha)
  )
  np.testing.assert_array_equal(found, np.float32(want))
  assert np.isinf(found[-1])
  order = np.random.default_rng(1).permutation(len(score))
  again = conformal.by_person(
    *(leaf[order] for leaf in (score, person, mask)),
    people=7,
    alpha=float(alpha),
  )
  np.testing.assert_array_equal(again, found)


def test_a_person_s_own_share():
  score, person, mask = rows()
  alpha = jnp.linspace(0.1, 0.7, 7)
  found = conformal.by_person(
    jnp.asarray(score), person, mask, people=7, alpha=alpha
  )
  for u in range(7):
    own = score[(person == u) & (mask > 0)]
    k = math.ceil((len(own) + 1) * (1 - float(alpha[u])))
    want = np.sort(own)[k - 1] if k <= len(own) else np.inf
    assert found[u] == want


def test_who_gave_few_answers_falls_back():
  found = conformal.with_fallback(
    jnp.array([1.0, jnp.inf, -2.0]), jnp.float32(7)
  )
  np.testing.assert_array_equal(found, [1, 7, -2])
  with pytest.raises(AssertionError):
    conformal.with_fallback(jnp.ones(3), jnp.ones(3))


# -------------------------------------------------------------------- coverage


def within(held, share, runs):
  """Whether a frequency of independent runs is in its binomial band."""
  return abs(held - share) < 4 * np.sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize('n', [19, 20, 50])
def test_new_answers_conform_exactly_as_often(n):
  """Without ties: k / (n + 1), for any distribution."""
  runs, alpha = 20_000, 0.1
  score = np.random.default_rng(n).standard_cauchy((runs, n + 1))
  score = jnp.asarray(score, jnp.float32)
  found = threshold(score[:, :n], jnp.ones((runs, n)), alpha=alpha)
  k = int(conformal.rank(jnp.int32(n), alpha=alpha))
  held = float(np.mean(score[:, n] <= found))
  assert within(held, k / (n + 1), runs)
  assert 0.9 <= k / (n + 1) <= 0.9 + 1 / (n + 1)


def test_exchangeable_scores_need_not_be_independent():
  """Everything of a run is moved by the same; and order does not matter."""
  runs, n = 20_000, 19
  rng = np.random.default_rng(0)
  score = rng.normal(size=(runs, n + 1)) + 10 * rng.normal(size=(runs, 1))
  score = jnp.asarray(score, jnp.float32)
  found = threshold(score[:, 1:], jnp.ones((runs, n)), alpha=0.1)
  assert within(float(np.mean(score[:, 0] <= found)), 0.9, runs)
  again = threshold(score[:, :0:-1], jnp.ones((runs, n)), alpha=0.1)
  np.testing.assert_array_equal(again, found)


def test_where_scores_drift_nothing_is_promised():
  """A planted fault: the new answer is not exchangeable with the others."""
  runs, n = 5000, 19
  score = np.random.default_rng(0).normal(size=(runs, n + 1))
  found = threshold(jnp.asarray(score[:, :n]), jnp.ones((runs, n)), alpha=0.1)
  assert np.mean(score[:, n] + 1 <= found) < 0.75


def test_ties_are_on_the_safe_side():
  runs, n = 20_000, 19
  score = np.random.default_rng(0).integers(0, 3, (runs, n + 1))
  score = jnp.asarray(score, jnp.float32)
  found = threshold(score[:, :n], jnp.ones((runs, n)), alpha=0.1)
  held = float(np.mean(score[:, n] <= found))
  assert held > 0.9
  same = threshold(jnp.ones(n), jnp.ones(n), alpha=0.1)
  assert same == 1.0


def test_everybody_is_covered_by_their_own_and_not_by_the_pool():
  """Two kinds of people, one ten times as noisy."""
  people, n, alpha = 4000, 29, 0.1
  rng = np.random.default_rng(0)
  noise = np.where(np.arange(people) % 2, 10.0, 1.0)
  error = np.abs(noise[:, None] * rng.normal(size=(people, n + 1)))
  person = np.repeat(np.arange(people), n)
  score = jnp.asarray(error[:, :n].ravel(), jnp.float32)
  own = conformal.by_person(
    score, person, jnp.ones(len(person)), people=people, alpha=alpha
  )
  pooled = threshold(score, jnp.ones(len(person)), alpha=alpha)
  shares = {}
  for name, limit in (('own', np.asarray(own)), ('pooled', float(pooled))):
    held = error[:, n] <= limit
    shares[name] = [held[i::2].mean() for i in (0, 1)]
  for share in shares['own']:
    assert within(share, 0.9, people / 2)
  assert within(np.mean(shares['pooled']), 0.9, people)
  assert shares['pooled'][0] > 0.99
  assert shares['pooled'][1] < 0.83
  assert np.median(own[::2]) < 0.2 * np.median(own[1::2])


# --------------------------------------------------------------------- numbers


def regression(seed, runs=4000, n=39):
  """Targets whose scatter grows with x."""
  rng = np.random.default_rng(seed)
  x = rng.uniform(0.1, 2, (runs, n + 1))
  return x, x + x * rng.normal(size=x.shape)


def test_intervals_of_residuals_hold_the_target():
  x, y = (jnp.asarray(v, jnp.float32) for v in regression(0))
  ones = jnp.ones(x[:, :-1].shape)
  for scale in (None, 0.5 + x):
    score = conformal.absolute_residual(x, y, scale)
    found = threshold(score[:, :-1], ones, alpha=0.1)
    low, high = conformal.residual_interval(
      x[:, -1], found, None if scale is None else scale[:, -1]
    )
    held = (low <= y[:, -1]) & (y[:, -1] <= high)
    assert within(float(held.mean()), 0.9, len(x))
    np.testing.assert_allclose(0.5 * (low + high), x[:, -1], atol=1e-4)


@pytest.mark.parametrize('wrong', [0.3, 1.0, 3.0])
def test_quantiles_that_are_wrong_hold_the_target_after_cqr(wrong):
  x, y = (jnp.asarray(v, jnp.float32) for v in regression(1))
  width = wrong * 1.645 * x
  score = conformal.quantile_residual(x - width, x + width, y)
  ones = jnp.ones(x[:, :-1].shape)
  found = threshold(score[:, :-1], ones, alpha=0.1)
  low, high = conformal.quantile_interval(
    (x - width)[:, -1], (x + width)[:, -1], found
  )
  held = (low <= y[:, -1]) & (y[:, -1] <= high)
  # Where ends cross, a point holds nothing that an empty set would not.
  assert within(float(held.mean()), 0.9, len(x))
  if wrong == 1.0:
    # Wide where targets scatter.
    assert np.corrcoef(x[:, -1], high - low)[0, 1] > 0.9


def test_quantile_residuals_by_hand():
  low, high = jnp.zeros(3), jnp.ones(3)
  found = conformal.quantile_residual(low, high, jnp.array([-0.5, 0.3, 1.2]))
  np.testing.assert_allclose(found, [0.5, -0.3, 0.2], atol=1e-6)
  down, up = conformal.quantile_interval(low, high, jnp.float32(-0.7))
  np.testing.assert_allclose(down, 0.5)
  np.testing.assert_allclose(up, 0.5)


# --------------------------------------------------------------------- classes


def classes(seed=0, runs=4000, n=29, count=4):
  """Probabilities of a model that is wrong, and the classes of another."""
  rng = np.random.default_rng(seed)
  logit = 2 * rng.normal(size=(runs, n + 1, count))
  truth = np.exp(0.5 * logit)
  truth /= truth.sum(-1, keepdims=True)
  drawn = rng.random((runs, n + 1, 1)) > truth.cumsum(-1)
  label = np.minimum(drawn.sum(-1), count - 1)
  said = np.exp(logit)
  uniform = rng.random((runs, n + 1))
  said = said / said.sum(-1, keepdims=True)
  return tuple(
    jnp.asarray(v, d)
    for v, d in ((said, 'float32'), (label, 'int32'), (uniform, 'float32'))
  )


@pytest.mark.parametrize('kind', ['least_ambiguous', 'adaptive'])
def test_sets_hold_the_class(kind):
  said, label, uniform = classes()
  scores = (
    conformal.adaptive(said, uniform)
    if kind == 'adaptive'
    else conformal.least_ambiguous(said)
  )
  known = conformal.of_label(scores, label)[:, :-1]
  found = threshold(known, jnp.ones(known.shape), alpha=0.1)
  chosen = conformal.prediction_set(scores[:, -1], found)
  held = np.take_along_axis(np.asarray(chosen), label[:, -1:], 1)
  assert within(held.mean(), 27 / 30, len(said))
  assert 1 < chosen.sum(-1).mean() < 4


def test_adaptive_scores_by_hand():
  p = jnp.array([0.2, 0.5, 0.3])
  np.testing.assert_allclose(
    conformal.adaptive(p, jnp.float32(1)), [1.0, 0.5, 0.8], atol=1e-6
  )
  np.testing.assert_allclose(
    conformal.adaptive(p, jnp.float32(0)), [0.8, 0.0, 0.5], atol=1e-6
  )


def test_sets_of_pairs_say_one_both_or_none():
  pair = conformal.of_pair(jnp.array([0.9, 0.6, 0.2]))
  scores = conformal.least_ambiguous(pair)
  limit = jnp.array([0.2, 0.7, 0.1])
  found = conformal.prediction_set(scores, limit)
  np.testing.assert_array_equal(found, [[1, 0], [1, 1], [0, 0]])
  everything = conformal.prediction_set(scores, jnp.float32(jnp.inf))
  assert everything.all()
  with pytest.raises(ValueError, match='give one, or one a row'):
    conformal.prediction_set(scores, jnp.ones((3, 1)))
