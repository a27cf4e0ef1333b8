import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax.ops.heads import steps


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def test_step_nll_of_two_and_three_classes(rng):
  mask = np.array([[0, 1, 0, 1, 1.0]])
  for classes, label in (
    (2, [-100, 1, -100, 0, 0.25]),
    (3, [-100, 1, 7, 0.5, 0]),
  ):
    logits = rng.normal(size=(1, 5, classes))
    found = steps.step_nll(
      jnp.asarray(logits), jnp.array([label]), jnp.asarray(mask)
    )
    target = {
      2: [[0, 1], [1, 0], [0.75, 0.25]],
      3: [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    }[classes]
    logprob = special.log_softmax(logits[0, [1, 3, 4]], -1)
    want = -np.sum(np.array(target) * logprob, -1)
    np.testing.assert_allclose(found[0, [1, 3, 4]], want, rtol=1e-5)
    np.testing.assert_array_equal(found[0, [0, 2]], 0.0)


def test_placeholder_nll(rng):
  logits = rng.normal(size=(2, 3, 9))
  label = np.array([[1.0, 0.0, 0.3], [0.5, 1.0, -100.0]])
  mask = np.array([[1.0, 1, 1], [1, 1, 0]])
  args = (jnp.asarray(logits), jnp.asarray(label), jnp.asarray(mask))
  minus, plus = logits[..., 7], logits[..., 2]
  two = label * np.logaddexp(0, minus - plus)
  two += (1 - label) * np.logaddexp(0, plus - minus)
  np.testing.assert_allclose(
    steps.placeholder_nll(*args, classes=(7, 2)), mask * two, rtol=1e-5
  )
  logprob = special.log_softmax(logits, -1)
  all_ = -label * logprob[..., 2] - (1 - label) * logprob[..., 7]
  np.testing.assert_allclose(
    steps.placeholder_nll(*args, classes=(7, 2), vocabulary=True),
    mask * all_,
    rtol=1e-4,
  )
  for classes in ((7,), (2, 2), (2, 9)):
    with pytest.raises(ValueError, match='classes'):
      steps.placeholder_nll(*args, classes=classes)


def test_rollout_label():
  right = jnp.array([[1.0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
  mask = jnp.array([[1.0, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
  soft = steps.rollout_label(right, mask, soft=True)
  np.testing.assert_allclose(soft, [0.5, 0.0, 0.0])
  hard = steps.rollout_label(right, mask, soft=False)
  np.testing.assert_allclose(hard, [1.0, 0.0, 0.0])


PUBLISHED = {
  'product': lambda z: np.log(np.prod(special.expit(z))),
  'min': lambda z: np.log(np.min(special.expit(z))),
  'last': lambda z: np.log(special.expit(z[-1])),
  'mean_log': lambda z: np.mean(np.log(special.expit(z))),
  'sum_logits': np.sum,
}


@pytest.mark.parametrize('by', steps.AGGREGATES)
def test_aggregates_of_packed_answers_are_those_of_each(rng, by):
  logit = rng.normal(size=(2, 9))
  mask = np.array([[1, 0, 1, 1, 1, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0, 1, 1, 0]])
  segment = np.array([[0, 0, 0, 1, 1, 1, 1, 2, 9], [0, 0, 0, 1, 1, 2, 2, 2, 2]])
  dirty = np.where(mask > 0, logit, np.nan)
  found = steps.aggregated(
    jnp.asarray(dirty),
    jnp.asarray(mask),
    jnp.asarray(segment),
    segments=3,
    by=by,
  )
  for b in range(2):
    for s in range(3):
      own = logit[b, (mask[b] > 0) & (segment[b] == s)]
      want = PUBLISHED[by](own) if len(own) else 0.0
      np.testing.assert_allclose(found[b, s], want, rtol=1e-4)


def test_many_steps_do_not_underflow():
  logit = jnp.full((1, 4000), -3.0)
  found = steps.aggregated(
    logit,
    jnp.ones((1, 4000)),
    jnp.zeros((1, 4000), int),
    segments=1,
    by='product',
  )
  np.testing.assert_allclose(found, -4000 * np.logaddexp(0, 3), rtol=1e-4)
  with pytest.raises(ValueError, match='one of'):
    steps.aggregated(logit, logit, logit, segments=1, by='max')


def test_differences_sum_to_the_last_value_of_each_answer(rng):
  value = rng.normal(size=(1, 8))
  mask = np.array([[1, 0, 1, 1, 0, 1, 0, 1]])
  segment = np.array([[0, 0, 0, 1, 1, 1, 2, 2]])
  found = np.asarray(
    steps.differences(
      jnp.asarray(np.where(mask > 0, value, np.nan)),
      jnp.asarray(mask),
      jnp.asarray(segment),
      start=0.5,
    )
  )[0]
  v = value[0]
  want = [v[0] - 0.5, 0, v[2] - v[0], v[3] - 0.5, 0, v[5] - v[3], 0, v[7] - 0.5]
  np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
