"""What a linear reading of features finds, and what it must not look at."""

import numpy as np
import pytest

from prm_jax.audits import read_outs

PROMPT = np.repeat(np.arange(60), 10)
TRAIN = PROMPT < 40


def within(features, values, train=TRAIN):
  """Reads values after both are centred by prompt."""
  both = [
    a - np.stack([a[p == PROMPT].mean(0) for p in range(60)])[PROMPT]
    for a in (features, values)
  ]
  return read_outs.within_prompts(*both, PROMPT, train), both[1]


def test_what_is_linear_within_prompts_is_read_and_nothing_else():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(600, 5)) + rng.normal(size=(60, 5))[PROMPT]
  linear = features @ rng.normal(size=(5, 1))
  values = np.hstack([linear, rng.normal(size=(600, 1))])
  read, known = within(features, values)
  r = read_outs.correlations(read[~TRAIN], known[~TRAIN])
  assert r[0] > 0.999
  assert abs(r[1]) < 0.2


def test_held_out_texts_do_not_reach_a_reading_within_prompts():
  rng = np.random.default_rng(1)
  features, values = rng.normal(size=(600, 5)), rng.normal(size=(600, 2))
  one, _ = within(features, values)
  other, _ = within(features, np.where(TRAIN[:, None], values, 99.0))
  np.testing.assert_array_equal(one, other)


def levels(seed=0):
  """Values with a mean of their own, read from noisy features."""
  rng = np.random.default_rng(seed)
  features = rng.normal(size=(600, 8))
  values = 3 + features @ rng.normal(size=(8, 2))
  values[:, 1] = rng.normal(size=600)
  return features, values, PROMPT.astype(str)


def test_what_is_linear_across_topics_is_read_with_its_mean():
  features, values, topics = levels()
  read = read_outs.across_topics(features, values, topics, TRAIN)
  # Without an intercept it would be 3 off; the ridge shrinks by a little.
  assert np.abs(read - values)[~TRAIN, 0].mean() < 0.1
  r = read_outs.correlations(read[~TRAIN], values[~TRAIN])
  assert r[0] > 0.999
  assert abs(r[1]) < 0.2


def test_held_out_texts_do_not_reach_a_reading_across_topics():
  features, values, topics = levels(1)
  one = read_outs.across_topics(features, values, topics, TRAIN)
  other = read_outs.across_topics(
    features, np.where(TRAIN[:, None], values, 99.0), topics, TRAIN
  )
  np.testing.assert_array_equal(one, other)


def test_a_strong_ridge_is_chosen_where_features_are_noise():
  """With as many features as texts a weak one would read noise exactly."""
  rng = np.random.default_rng(2)
  features, values = rng.normal(size=(600, 300)), rng.normal(size=(600, 1))
  read, _ = within(features, values)
  weak = np.linalg.lstsq(features[TRAIN], values[TRAIN], rcond=None)[0]
  assert np.std(read[~TRAIN]) < 0.5 * np.std(features[~TRAIN] @ weak)


def test_correlations_by_hand():
  read = np.array([[1.0, 3], [2, 2], [3, 1]])
  values = np.array([[1.0, 1], [2, 2], [3, 3]])
  assert read_outs.correlations(read, values) == pytest.approx([1, -1])
