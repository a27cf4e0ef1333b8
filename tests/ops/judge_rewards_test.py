"""Rewards of a judge: each published rule, by hand, and what is invalid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import judge_rewards

NAN = float('nan')


def same(found, want):
  np.testing.assert_allclose(found, np.array(want, float), rtol=1e-6)


def test_correct():
  verdict = jnp.array([0, 1, -1, 1, 0, -1])
  label = jnp.array([0, 0, 0, 1, -1, -1])
  same(judge_rewards.correct(verdict, label), [1, -1, -1, 1, NAN, NAN])
  found = judge_rewards.correct(verdict, label, wrong=0.0)
  same(found, [1, 0, 0, 1, NAN, NAN])


def test_consistent_over_all_verdicts():
  every = itertools.product((-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
  first, swapped, label = jnp.array(list(every)).T
  found = judge_rewards.consistent(first, swapped, label)
  right = {(0, 1, 0), (1, 0, 1)}  # places: the better one moved
  for f, s, t, reward in zip(first, swapped, label, found, strict=True):
    want = NAN if t < 0 else float((int(f), int(s), int(t)) in right)
    same(reward, want)


def test_who_always_says_the_first_place_is_never_consistent():
  label = jnp.array([0, 1, 1, 0])
  always = jnp.zeros(4, int)
  same(judge_rewards.consistent(always, always, label), np.zeros(4))
  half = judge_rewards.correct(always, label, wrong=0.0)
  assert float(half.mean()) == 0.5


@pytest.mark.parametrize(
  ('scores', 'truth', 'reward'),
  [
    ([7, 5, 6], [3, 1, 2], 1),
    ([7, 6, 5], [3, 1, 2], 1),  # the order of the others says nothing
    ([7, 7, 5], [3, 1, 2], -1),  # not alone
    ([5, 7, 6], [3, 1, 2], -1),
    ([7, 5, NAN], [3, 1, 2], -1),
    ([7, 5, 6], [3, 3, 2], NAN),  # no single best one
    ([7, 5, 6], [3, NAN, 2], NAN),
    ([1], [1], 1),
    ([1], [0], -1),
    ([0], [0], 1),
    ([5], [1], -1),
    ([NAN], [1], -1),
    ([1], [NAN], NAN),
  ],
)
def test_strict_argmax(scores, truth, reward):
  # Filled to one shape with what must not be read.
  mask = jnp.arange(5) < len(scores)
  scores = [*scores, *[NAN, 99.0, NAN, 99.0][: 5 - len(scores)]]
  truth = [*truth, *[99.0, NAN, 99.0, 99.0][: 5 - len(truth)]]
  found = judge_rewards.strict_argmax(jnp.array(scores), jnp.array(truth), mask)
  same(found, reward)


def test_nobody_is_there():
  nobody = jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.zeros((2, 3))
  same(judge_rewards.strict_argmax(*nobody), [NAN, NAN])
  same(judge_rewards.ordered(*nobody), [NAN, NAN])


def brute_order(scores, truth):
  pairs = list(itertools.permutations(range(len(scores)), 2))
  above = [(i, j) for i, j in pairs if truth[i] > truth[j]]
  if not above:
    return NAN
  if np.isnan(scores).any():
    return 0.0
  return float(all(scores[i] > scores[j] for i, j in above))


@pytest.mark.parametrize('n', [1, 2, 3])
def test_ordered_by_brute_force(n):
  values = list(itertools.product((0.0, 1.0, 2.0), repeat=n))
  told = [*values, (NAN,) * n]
  every = np.array([(s, t) for s in told for t in values])
  found = judge_rewards.ordered(
    every[:, 0], every[:, 1], np.ones((len(every), n))
  )
  same(found, [brute_order(s, t) for s, t in every])
  best = judge_rewards.strict_argmax(
    every[:, 0], every[:, 1], np.ones((len(every), n)), wrong=0.0
  )
  if n == 2:  # with two, the best one alone is the order
    same(best, found)


def test_half_credit_of_all_classes():
  classes = (-3, -2, -1, 1, 2, 3)
  for told, label in itertools.product((*classes, 4, -4, NAN), classes):
    found = judge_rewards.half_credit(jnp.float32(told), jnp.float32(label))
    near = 0.5 if abs(told) <= 3 and told * label > 0 else 0.0
    same(found, 1.0 if told == label else near)
  same(judge_rewards.half_credit(jnp.float32(2), jnp.float32(NAN)), NAN)
  same(judge_rewards.half_credit(jnp.zeros(2), jnp.array([0.0, 1.0])), [1, 0])


@pytest.mark.parametrize(
  ('scores', 'truth', 'reward'),
  [
    ((8, 3), (8, 3), 1 + 2 + 1 + 0.2),
    ((9, 3), (8, 3), 1 + 2 + 0.6 + 0.2),
    ((7, 4), (8, 3), 1 + 2 + 0.6),  # an error of 2, and a smaller gap
    ((10, 0), (8, 3), 1 + 2 + 0.2),
    ((6, 4), (9, 3), 1 + 2),
    ((3, 8), (8, 3), 1 - 1.5),
    ((5, 5), (8, 3), 1 + 2),  # a tie is 'not worse'
    ((5, 5), (3, 8), 1 - 1.5),
    ((4, 5), (5, 5), 1 - 1.5),
    ((11, 3), (8, 3), -0.5 - 2),
    ((-1, 3), (8, 3), -0.5 - 2),
    ((7.5, 3), (8, 3), -0.5 - 2),
    ((NAN, 3), (8, 3), -0.5 - 2),
    ((8, 3), (8, NAN), NAN),
  ],
)
def test_judge_lrm(scores, truth, reward):
  scores, truth = jnp.array([scores] * 2, float), jnp.array([truth] * 2, float)
  found = judge_rewards.judge_lrm(scores, truth, jnp.array([1, 0]))
  same(found, [reward, NAN if np.isnan(reward) else -3.0])


def test_shapes_and_transformations():
  rng = np.random.default_rng(0)
  for shape in ((), (1,), (4, 0), (2, 3, 5)):
    verdict = jnp.asarray(rng.integers(-1, 2, shape))
    scores = jnp.asarray(rng.integers(0, 4, (*shape, 2)), jnp.float32)
    calls = {
      judge_rewards.correct: (verdict, verdict),
      judge_rewards.consistent: (verdict, verdict, verdict),
      judge_rewards.strict_argmax: (scores, scores, jnp.ones(scores.shape)),
      judge_rewards.ordered: (scores, scores, jnp.ones(scores.shape)),
      judge_rewards.half_credit: (scores, scores),
      judge_rewards.judge_lrm: (scores, scores, jnp.ones(shape)),
    }
    for function, arguments in calls.items():
      found = function(*arguments)
      assert found.shape in (shape, scores.shape)
      assert found.dtype == jnp.float32
      same(jax.jit(function)(*arguments), found)
  with pytest.raises(AssertionError):
    judge_rewards.correct(jnp.zeros((2, 1), int), jnp.zeros(2, int))
  with pytest.raises(AssertionError):  # a verdict is a place
    judge_rewards.correct(jnp.zeros(2), jnp.zeros(2, int))
