"""The gold reward: its scale, its edge, and what people say of it."""

import numpy as np
import pytest

from prm_jax.worlds import overdone


def test_the_base_policy_has_the_scale_that_is_asked_for():
  of = overdone.gold(1, dim=8, logits=4.0)
  texts = np.random.default_rng(5).standard_normal((20_000, 8)).astype('f4')
  quality = np.asarray(of(texts))
  assert quality.mean() == pytest.approx(0.0, abs=0.15)
  assert quality.std() == pytest.approx(4.0, rel=0.05)


def test_quality_is_linear_to_the_edge_and_falls_beyond():
  of = overdone.Gold(np.array([1.0, 0.0]), edge=1.0, depth=3.0)
  texts = np.array([[0.5, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, -2.0]], 'f4')
  np.testing.assert_allclose(of(texts), [0.5, 1.0, 2.0 - 3.0, -3.0])


def test_choices_follow_the_gold_reward_but_for_those_turned_round():
  of = overdone.gold(0, dim=6, logits=3.0)
  said = overdone.judged(
    of, np.random.default_rng(0), pairs=20_000, flipped=0.25
  )
  quality = np.asarray(of(said.inputs.value))
  gap = quality[said.inputs.index[:, 0]] - quality[said.inputs.index[:, 1]]
  sure = np.abs(gap) > 6
  right = (said.rows.label[sure] > 0.5) == (gap[sure] > 0)
  assert right.mean() == pytest.approx(0.75, abs=0.02)
  assert len(np.unique(said.inputs.index)) == 40_000
