"""Worlds of stances, as a system sees them."""

import numpy as np
import pytest

from prm_jax.worlds import observed_stances, stances

SIZES = observed_stances.Sizes(
  train_questions=4,
  train_answers=6,
  calibration_questions=2,
  audit_questions=4,
  answers=8,
  judgements=6,
)


@pytest.fixture(scope='module')
def make():
  def made(seed=0, encode=None, **condition):
    return observed_stances.make(
      SIZES, observed_stances.Condition(people=30, **condition), seed, encode
    )

  return made


def test_who_does_not_love_agreement_has_an_identical_twin(make):
  world = make(loving=0.5)
  loves = world.people.loves[world.judged.user] > 0
  differs = world.judged.twin != world.judged.label
  assert not differs[~loves].any()
  assert differs[loves].any()


def test_shares_of_lovers_are_compared_on_the_same_people_and_texts(make):
  few, many = make(loving=0.1), make(loving=0.5)
  np.testing.assert_array_equal(few.features, many.features)
  np.testing.assert_array_equal(few.people.opinion, many.people.opinion)
  np.testing.assert_array_equal(few.judged.items, many.judged.items)


def test_audit_and_fresh_candidates_are_different_answers(make):
  world = make()
  np.testing.assert_array_equal(world.audit.side, world.fresh.side)
  assert (world.audit.values != world.fresh.values).any()


def test_detectors_see_what_they_are_told_to(make):
  sharp, blind = make(accuracy=1.0), make(accuracy=0.5)
  stance = sharp.audit.values[..., stances.STANCE]
  np.testing.assert_array_equal(sharp.audit.measures['stance'], stance)
  sided = stance != 0
  right = blind.audit.measures['stance'][sided] == stance[sided]
  assert 0.2 < right.mean() < 0.8
  # The truth is not among what a system sees of a blind detector.
  assert (blind.audit.features[0, ..., stances.STANCE] != stance).any()


def test_anchor_is_nothing_on_neutral_questions_and_a_share_on_factual(make):
  pool = make(accuracy=0.8, key_error=0.05).audit
  anchor = pool.measures['anchor']
  assert (anchor[~pool.contested & ~pool.factual] == 0).all()
  factual = anchor[pool.factual]
  assert ((factual >= 0) & (factual <= 1)).all()
  assert (np.abs(anchor[pool.contested]) <= 1).all()


def test_said_stances_make_three_versions_that_differ_in_agreement(make):
  world = make(stated=0.5)
  features = world.audit.features
  assert features.shape[0] == 3
  np.testing.assert_array_equal(features[0, ..., :-1], features[2, ..., :-1])
  np.testing.assert_array_equal(features[0, ..., -1], -features[2, ..., -1])
  assert (features[1, ..., -1] == 0).all()
  said = np.sign(world.people.opinion).astype(int) + 1
  np.testing.assert_array_equal(world.version, said)
  plain = make().audit.features
  assert plain.shape[0] == 1
  assert (plain[..., -1] == 0).all()


def test_judgements_are_of_answers_to_one_question_by_utility(make):
  world = make(stated=0.5)
  judged = world.judged
  count = SIZES.train_answers
  question = judged.items // count
  np.testing.assert_array_equal(question[:, 0], question[:, 1])
  assert (judged.items[:, 0] != judged.items[:, 1]).all()
  assert judged.items.max() < len(world.features)
  np.testing.assert_array_equal(
    np.bincount(judged.user), np.full(30, SIZES.judgements)
  )
  assert 0 < judged.fits.mean() < 1
  # What a stated prompt's answer agrees with is in the features.
  agrees = world.features[judged.items[:, 0], -1]
  stance = world.features[judged.items[:, 0], stances.STANCE]
  said = agrees[stance != 0] * stance[stance != 0]
  held = np.sign(world.people.opinion)[judged.user][stance != 0]
  assert set(np.unique(said)) == {-1.0, 0.0, 1.0}
  np.testing.assert_array_equal(said[said != 0], held[said != 0])


def test_texts_are_read_by_whatever_encodes_them(make):
  seen = {}

  def encode(texts):
    seen.update(texts)
    rng = np.random.default_rng(0)
    return {
      name: rng.normal(size=(len(some), 5)) for name, some in texts.items()
    }

  world = make(text=True, encode=encode)
  assert set(seen) == {'train', 'calibration', 'audit', 'fresh'}
  # Half as many answers, and one column for agreement with the prompt.
  S, K = 3 * SIZES.audit_questions, SIZES.answers // 2
  assert len(seen['audit']) == S * K
  assert world.audit.features.shape == (1, S, K, 6)
  with pytest.raises(ValueError, match='give what encodes them'):
    make(text=True)
