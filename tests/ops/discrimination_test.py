"""Discrimination losses against hand arithmetic and loops over pairs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prm_jax.ops import discrimination

LOG3 = np.log(3.0)
EXTREME = (-1e4, -5.0, 0.0, 5.0, 1e4)


def nll(margin):
  return np.logaddexp(0.0, -np.asarray(margin, float))


class TripleTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
  def test_hand_computed(self):
    positive = jnp.array([0.0, 1.0, 2.0])
    negative = jnp.array([[-LOG3, 0.0], [1.0, 9.0], [jnp.nan, jnp.inf]])
    mask = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    value = self.variant(discrimination.triple)(positive, negative, mask)
    # (log 4/3 + log 2) / 2; log 2, for the 9 is padding; nothing is there.
    want = [0.490415, 0.693147, 0.0]
    np.testing.assert_allclose(value, want, atol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_focal_and_barrier(self):
    loss = functools.partial(discrimination.triple, focal=True, barrier=0.01)
    value = self.variant(loss)(jnp.array(LOG3), jnp.array([0.0]))
    # 1/4 log 4/3, and barriers of log 3 and 0.
    barriers = -np.log(25.0 - LOG3**2) - np.log(25.0)
    want = 0.25 * np.log(4 / 3) + 0.01 * barriers
    np.testing.assert_allclose(value, want, atol=1e-5)

  def test_barrier_is_a_mean_over_pairs(self):
    positive, negative = jnp.array([1.0]), jnp.array([[0.0, 2.0, 7.0]])
    mask = jnp.array([[True, True, False]])
    loss = functools.partial(discrimination.triple, positive, negative, mask)
    found = jax.jit(lambda: loss(barrier=1.0, bound=4.0) - loss())()
    # (4 - 1)(4 + 1) = 15 for the positive; 16 and 12 for the negatives.
    want = -np.log(15.0) - 0.5 * (np.log(16.0) + np.log(12.0))
    np.testing.assert_allclose(found, [want], atol=1e-5)

  def test_gradient_goes_through_the_focal_weight(self):
    def loss(positive):
      return discrimination.triple(positive, jnp.zeros(1), focal=True)

    # w = 1/4, w' = -8 sigma (1 - sigma)^2 = -3/8 at sigma = 3/4.
    want = -0.375 * np.log(4 / 3) - 0.25 * 0.25
    slope = jax.jit(jax.grad(loss))(LOG3)
    np.testing.assert_allclose(slope, want, atol=1e-5)

  @parameterized.parameters(False, True)
  def test_gradients_stay_finite(self, focal):
    positive = jnp.array([*EXTREME, *EXTREME])
    negative = jnp.array([EXTREME, EXTREME[::-1]]).reshape(10, 1)
    mask = jnp.ones((10, 1)).at[3].set(0.0)

    def loss(positive, negative):
      each = discrimination.triple(
        positive, negative, mask, focal=focal, barrier=0.01
      )
      return jnp.sum(each)

    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, gradient = both(positive, negative)
    chex.assert_tree_all_finite((value, gradient))
    assert gradient[0][3] == 0
    assert gradient[1][3] == 0

  def test_all_masked_has_no_gradient(self):
    def loss(positive, negative):
      mask = jnp.zeros((2, 3))
      each = discrimination.triple(positive, negative, mask, barrier=1.0)
      return jnp.sum(each)

    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    value, gradient = both(jnp.array([1.0, 1e4]), jnp.full((2, 3), jnp.nan))
    assert value == 0
    np.testing.assert_array_equal(gradient[0], 0.0)
    np.testing.assert_array_equal(gradient[1], 0.0)

  def test_shapes_must_agree(self):
    for positive, negative, mask in (
      ((2,), (2,), None),
      ((2,), (3, 4), None),
      ((2,), (2, 4), (2, 1)),
    ):
      mask = mask and jnp.ones(mask)
      with pytest.raises(AssertionError):
        discrimination.triple(jnp.zeros(positive), jnp.zeros(negative), mask)


class RankedTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_hand_computed(self):
    score = jnp.array([[0.0, LOG3, 0.0], [0.0, LOG3, 5.0], [1.0, 2.0, 3.0]])
    rank = jnp.array([[1, 2, 2], [7, 3, 1], [2, 2, 2]])
    mask = jnp.array([[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    value = self.variant(discrimination.ranked)(score, rank, mask)
    # Pairs 01 and 02: (log 4 + log 2) / 2; pair 10: log 4/3; no pair.
    want = [1.039721, 0.287682, 0.0]
    np.testing.assert_allclose(value, want, atol=1e-5)

  def test_two_candidates_are_the_published_loss(self):
    score = jnp.array([[1.3, 0.2], [-2.0, 1.0]])
    rank = jnp.array([[2, 3], [2, 3]])
    found = jax.jit(discrimination.ranked)(score, rank)
    np.testing.assert_allclose(found, nll([1.1, -3.0]), rtol=1e-5)
    other = jax.jit(discrimination.triple)(score[:, 0], score[:, 1:])
    np.testing.assert_allclose(found, other, rtol=1e-6)

  def test_gradients_stay_finite(self):
    score = jnp.array([EXTREME, EXTREME, [1.0, jnp.nan, jnp.inf, 0.0, 0.0]])
    rank = jnp.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
    mask = jnp.array([[1] * 5, [1] * 5, [1, 0, 0, 0, 0]])

    def loss(score):
      return jnp.sum(discrimination.ranked(score, rank, mask))

    value, gradient = jax.jit(jax.value_and_grad(loss))(score)
    chex.assert_tree_all_finite((value, gradient))
    np.testing.assert_array_equal(gradient[2], 0.0)


RANKED = jax.jit(discrimination.ranked)
CANDIDATE = st.tuples(st.integers(-40, 40), st.integers(0, 3), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(CANDIDATE, min_size=5, max_size=5))
def test_ranked_is_its_loop(candidates):
  score, rank, mask = map(np.array, zip(*candidates, strict=True))
  score = score / 4
  pairs = [
    nll(score[i] - score[j])
    for i in range(5)
    for j in range(5)
    if mask[i] and mask[j] and rank[i] < rank[j]
  ]
  want = np.mean(pairs) if pairs else 0.0
  found = RANKED(score.astype(np.float32), rank, mask)
  np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


class WeightTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_focal_weight(self):
    margin = jnp.array([-1e4, -7.0, 0.0, LOG3, np.log(9.0), 1e4])
    value = self.variant(discrimination.focal_weight)(margin)
    # sigma is 0, small, 1/2, 3/4, 9/10 and 1.
    np.testing.assert_allclose(
      value, [1.0, 1.0, 1.0, 0.25, 0.04, 0.0], atol=1e-6
    )

  def test_focal_weight_does_not_cancel(self):
    # In float32, 1 - 2 (sigma(20) - 1/2) is 0.
    want = (2 / (1 + np.exp(20.0))) ** 2
    np.testing.assert_allclose(
      discrimination.focal_weight(jnp.array(20.0)), want, rtol=1e-5
    )

  def test_focal_weight_has_a_gradient(self):
    slope = jax.jit(jax.vmap(jax.grad(discrimination.focal_weight)))(
      jnp.array([-1e4, -1.0, 0.0, LOG3, 1e4])
    )
    np.testing.assert_allclose(slope, [0, 0, 0, -0.375, 0], atol=1e-6)

  @chex.variants(with_jit=True, without_jit=True)
  def test_log_barrier(self):
    score = jnp.array([0.0, 3.0, -3.0, 5.0, -5.0, 1e4, -1e4])
    value = self.variant(discrimination.log_barrier)(score)
    # -2 log 5; -log 2 - log 8; -log 0.001 - log 9.999 beyond the bound.
    want = [-3.218876, -2.772589, -2.772589, *[4.605270] * 4]
    np.testing.assert_allclose(value, want, atol=1e-5)

  def test_log_barrier_has_no_gradient_beyond_the_bound(self):
    slope = jax.jit(jax.vmap(jax.grad(discrimination.log_barrier)))(
      jnp.array([-1e4, 0.0, 3.0, 6.0])
    )
    np.testing.assert_allclose(slope, [0, 0, 1 / 2 - 1 / 8, 0], atol=1e-6)


class InBatchTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_hand_computed(self):
    score = jnp.array(
      [[0.0, np.log(2.0), LOG3], [0.0, 0.0, 0.0], [LOG3, 0.0, 0.0]]
    )
    policy = jnp.array([0, 1, 0])
    candidate_policy = jnp.array([0, 1, 0])
    positive = jnp.array([0, 1, 2])
    value = self.variant(discrimination.in_batch)(
      score, policy, candidate_policy, positive
    )
    # Against column 1 alone: log 3; among all: log 3; against 1 alone: log 2.
    want = [1.098612, 1.098612, 0.693147]
    np.testing.assert_allclose(value, want, atol=1e-5)

  def test_against_a_loop(self):
    rng = np.random.default_rng(0)
    score = rng.normal(size=(9, 14)) * 3
    candidate_policy = rng.integers(0, 4, 14)
    positive = rng.integers(0, 14, 9)
    policy = candidate_policy[positive]
    mask = rng.random(14) < 0.7
    want = []
    for b in range(9):
      negative = (candidate_policy != policy[b]) & mask
      own = np.exp(score[b, positive[b]])
      others = np.exp(score[b, negative]).sum()
      want.append(-np.log(own / (own + others)))
    found = jax.jit(discrimination.in_batch)(
      score.astype(np.float32), policy, candidate_policy, positive, mask
    )
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)

  def test_without_a_negative(self):
    score = jnp.array([[2.0, jnp.inf, -1.0], [0.0, 1.0, jnp.nan]])
    policy, columns = jnp.array([0, 0]), jnp.array([0, 0, 1])
    positive, mask = jnp.array([0, 1]), jnp.array([1, 1, 0])

    def loss(score):
      each = discrimination.in_batch(score, policy, columns, positive, mask)
      return jnp.sum(each), each

    gradient, each = jax.jit(jax.grad(loss, has_aux=True))(score)
    np.testing.assert_array_equal(each, 0.0)
    np.testing.assert_array_equal(gradient, 0.0)

  def test_one_negative_is_the_published_loss(self):
    score = jnp.array([[0.3, -1.2]])
    one = jnp.array([0])
    columns = jnp.array([0, 1])
    found = jax.jit(discrimination.in_batch)(score, one, columns, one)
    want = jax.jit(discrimination.triple)(score[:, 0], score[:, 1:])
    np.testing.assert_allclose(found, want, rtol=1e-6)

  def test_gradients_stay_finite(self):
    score = jnp.array([EXTREME, EXTREME[::-1]])
    zeros, columns = jnp.array([0, 0]), jnp.arange(5)

    def loss(score):
      return jnp.sum(discrimination.in_batch(score, zeros, columns, zeros))

    value, gradient = jax.jit(jax.value_and_grad(loss))(score)
    # 1e4 against -1e4, and the other way round.
    np.testing.assert_allclose(value, 2e4, rtol=1e-6)
    chex.assert_tree_all_finite(gradient)

  def test_shapes_must_agree(self):
    score, two, three = jnp.zeros((2, 3)), jnp.arange(2), jnp.arange(3)
    for arguments in (
      (score, three, three, two),
      (score, two, two, two),
      (score, two, three, two[:, None]),
      (score, two, three, two, two),
    ):
      with pytest.raises(AssertionError):
        discrimination.in_batch(*arguments)


def test_without_an_axis_nothing_is_gathered():
  tree = {'a': jnp.ones(3)}
  assert discrimination.gather(tree, None) is tree
  assert discrimination.offset(3, None) == 0


# Reported: parameters, tokens before, tokens of the reward model; both laws.
POLAR = {
  '1.8B': (1.8e9, 2.5e12, 0.94e12, 1.43e-5, 1939.7),
  '7B': (7e9, 4.0e12, 3.6e12, 1.674e-5, 4342.8),
}


@pytest.mark.parametrize('name', POLAR)
def test_laws_give_the_reported_values(name):
  n, before, reward, rate, batch = POLAR[name]
  found = discrimination.learning_rate(n, before, reward)
  assert found == pytest.approx(rate, rel=3e-3)
  assert discrimination.batch_size(n, reward) == pytest.approx(batch, abs=0.1)


@pytest.mark.parametrize('name', POLAR)
def test_laws_in_millions_are_nonsense(name):
  """The unit of the paper's text misses the paper's values."""
  n, before, reward, rate, batch = POLAR[name]
  n, before, reward = n / 1e6, before / 1e6, reward / 1e6
  wrong = 31.9032 * n**0.06944 * reward**0.52997
  assert wrong > 40 * batch
  wrong = 0.0002306 * n**0.01125 * before**-0.66587 * reward**0.33916
  assert wrong < rate / 9


def test_likelihood_ratio_is_that_of_joint_gaussians():
  rng = np.random.default_rng(0)
  between = np.array([3.0, 0.5])
  z, refs = rng.normal(size=2), rng.normal(size=(3, 2))
  for count in range(4):
    mask = (np.arange(3) < count).astype(np.float32)
    found = discrimination.likelihood_ratio(
      jnp.asarray(z), jnp.asarray(refs), jnp.asarray(mask), jnp.asarray(between)
    )
    want = 0.0
    for j in range(2):
      joint = np.append(refs[:count, j], z[j])
      covariance = np.eye(count + 1) + between[j]
      log_p = stats.multivariate_normal.logpdf
      want += log_p(joint, cov=covariance)
      want -= log_p(z[j], cov=1 + between[j])
      if count:
        want -= log_p(refs[:count, j], cov=covariance[:-1, :-1])
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_discriminant_whitens_policies_and_ignores_padding():
  rng = np.random.default_rng(1)
  policy = np.repeat(np.arange(6), 30)
  means = np.zeros((6, 5))
  means[:, 0] = 3 * rng.normal(size=6)
  mixing = rng.normal(size=(5, 5))
  features = (means[policy] + rng.normal(size=(180, 5))) @ mixing
  features -= features.mean(0)

  def fit(features, policy, weight, shrinkage=0.0):
    return discrimination.discriminant(
      jnp.asarray(features),
      jnp.asarray(policy),
      jnp.asarray(weight),
      policies=8,
      dim=2,
      shrinkage=shrinkage,
    )

  project, between = fit(features, policy, np.ones(180))
  z = features @ np.asarray(project)
  centred = z - np.stack([z[policy == p].mean(0) for p in range(6)])[policy]
  np.testing.assert_allclose(
    centred.T @ centred / (180 - 6), np.eye(2), atol=1e-2
  )
  own = np.stack([z[policy == p].mean(0) for p in range(6)])
  spread = np.cov(own.T)
  np.testing.assert_allclose(spread[0, 1], 0, atol=0.05 * spread[0, 0])
  np.testing.assert_allclose(between[0], spread[0, 0] - 1 / 30, rtol=1e-2)
  # Two directions differ by chance alone.
  assert between[0] > 20 * between[1]
  padded = np.concatenate([features, 99 * np.ones((4, 5))])
  again = fit(
    padded, np.append(policy, [0, 1, 2, 3]), np.repeat([1.0, 0.0], [180, 4])
  )
  np.testing.assert_allclose(again[1], between, rtol=1e-3)
  # With all weight on the multiple of I, no direction is whitened.
  flat, _ = fit(features, policy, np.ones(180), shrinkage=1.0)
  product = np.asarray(flat).T @ np.asarray(flat)
  np.testing.assert_allclose(product / product[0, 0], np.eye(2), atol=1e-3)


def test_difference_ratio_is_the_limit_of_any_prompt():
  rng = np.random.default_rng(1)
  between = np.array([2.0, 0.3])
  z, refs = rng.normal(size=2), rng.normal(size=(3, 2))
  for count in range(4):
    mask = (np.arange(3) < count).astype(np.float32)
    found = discrimination.difference_ratio(
      jnp.asarray(z), jnp.asarray(refs), jnp.asarray(mask), jnp.asarray(between)
    )
    want = 0.0
    for j in range(2) if count else ():
      # Contrasts with the first reference do not depend on the prompt.
      joint = np.append(refs[:count, j], z[j])
      contrast = joint[1:] - joint[0]
      same = np.eye(count) + 1.0
      other = same.copy()
      other[-1, -1] += 2 * between[j]
      log_p = stats.multivariate_normal.logpdf
      want += log_p(contrast, cov=same) - log_p(contrast, cov=other)
    np.testing.assert_allclose(found, want, atol=1e-5)
    moved = discrimination.difference_ratio(
      jnp.asarray(z + 5),
      jnp.asarray(refs + 5),
      jnp.asarray(mask),
      jnp.asarray(between),
    )
    np.testing.assert_allclose(moved, found, atol=1e-4)
