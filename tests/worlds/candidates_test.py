"""Judgements of candidates against the likelihoods that they are drawn from."""

import numpy as np
import pytest
from scipy import stats

from prm_jax.worlds import candidates

ROWS = 60_000


def two(gap):
  """Two candidates whose qualities differ by a gap, and a third."""
  quality = np.array([gap, 0.0, -50.0])
  features = np.zeros((3, 2), np.float32)
  return candidates.Candidates(features, quality, np.array([1.0, -1.0, 0.0]))


def share(said, first, second, label):
  """How often a pair, in this order, has a label."""
  rows = (said.items[:, 0] == first) & (said.items[:, 1] == second)
  assert rows.sum() > 2000
  return np.mean(said.label[rows] == label)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def rng():
  return np.random.default_rng(0)


def test_quality_is_linear_and_no_part_of_it_length():
  of, weight = candidates.draw(3, texts=5000, dim=6, scale=2.0, shared=0.5)
  np.testing.assert_allclose(of.features @ weight, of.quality, atol=1e-5)
  assert weight[-1] == 0
  np.testing.assert_array_equal(of.features[:, -1], of.length.astype('f4'))
  assert of.quality.std() == pytest.approx(2.0, rel=0.05)
  assert np.corrcoef(of.quality, of.length)[0, 1] == pytest.approx(
    0.5, abs=0.05
  )
  apart, _ = candidates.draw(3, texts=5000, dim=6, shared=0.0)
  assert abs(np.corrcoef(apart.quality, apart.length)[0, 1]) < 0.05


def test_choices():
  said = candidates.choices(two(1.0), rng(), ROWS)
  assert share(said, 0, 1, 1.0) == pytest.approx(sigmoid(1.0), abs=0.02)
  turned = candidates.choices(two(1.0), rng(), ROWS, flipped=0.3)
  want = 0.7 * sigmoid(1.0) + 0.3 * sigmoid(-1.0)
  assert share(turned, 0, 1, 1.0) == pytest.approx(want, abs=0.02)
  longer = candidates.choices(two(1.0), rng(), ROWS, length_weight=0.5)
  assert share(longer, 0, 1, 1.0) == pytest.approx(sigmoid(2.0), abs=0.02)


def test_careless_people_differ():
  said = candidates.choices(two(2.0), rng(), ROWS, people=30, careless=2.0)
  rows = (said.items == [0, 1]).all(1)
  own = [
    said.label[rows & (said.user == person)].mean() for person in range(30)
  ]
  assert min(own) < 0.65
  assert max(own) > 0.97


def test_ties():
  said = candidates.ties(two(0.5), rng(), ROWS, width=1.2)
  first, second = sigmoid(0.5 - 1.2), sigmoid(-0.5 - 1.2)
  assert share(said, 0, 1, 1.0) == pytest.approx(first, abs=0.02)
  assert share(said, 0, 1, 0.0) == pytest.approx(second, abs=0.02)
  tie = (np.exp(2.4) - 1) * first * second
  assert share(said, 0, 1, 0.5) == pytest.approx(tie, abs=0.02)


def test_levels():
  said = candidates.levels(two(0.7), rng(), ROWS, step=1.0)
  # Level 3 of 0 to 6 is from -0.5 to 0.5 of what is heard.
  want = sigmoid(0.5 - 0.7) - sigmoid(-0.5 - 0.7)
  assert share(said, 0, 1, np.float32(0.5)) == pytest.approx(want, abs=0.02)
  most = 1 - sigmoid(2.5 - 0.7)
  assert share(said, 0, 1, 1.0) == pytest.approx(most, abs=0.02)


def test_rankings():
  of = candidates.Candidates(
    np.zeros((3, 2), np.float32), np.array([1.0, 0.0, -1.0]), np.zeros(3)
  )
  said = candidates.rankings(of, rng(), ROWS, candidates=3)
  places = np.argsort(said.items, 1)
  rank = np.take_along_axis(said.label, places, 1)  # of 0, 1, 2
  e = np.exp([1.0, 0.0, -1.0])
  best = (rank[:, 0] == 0).mean()
  assert best == pytest.approx(e[0] / e.sum(), abs=0.02)
  order = (rank == [0, 1, 2]).all(1).mean()
  want = e[0] / e.sum() * e[1] / (e[1] + e[2])
  assert order == pytest.approx(want, abs=0.02)
  top = candidates.rankings(of, rng(), 100, candidates=3, top=1)
  np.testing.assert_array_equal(np.sort(top.label, 1), [[0, 1, 1]] * 100)


def test_uneven_texts_are_heard_with_their_own_noise():
  of = two(1.0)
  of.features[0, 0], of.features[1, 0] = 1.0, -1.0
  said = candidates.uneven(of, rng(), ROWS)
  spread = np.sqrt(np.exp(2.4) + np.exp(-2.4))
  want = stats.norm.cdf(1.0 / spread)
  assert share(said, 0, 1, 1.0) == pytest.approx(want, abs=0.02)


def test_ratings():
  of, _ = candidates.draw(0, texts=200, dim=4)
  for options, spread in (({'noise': 0.5}, 0.5), ({'freedom': 5.0}, 1.29)):
    said = candidates.ratings(of, rng(), ROWS, **options)
    apart = said.label - of.quality[said.items[:, 0]]
    assert apart.mean() == pytest.approx(0.0, abs=0.02)
    assert apart.std() == pytest.approx(spread, rel=0.05)
  said = candidates.ratings(of, rng(), ROWS, outliers=0.1)
  apart = said.label - of.quality[said.items[:, 0]]
  assert (apart > 10).mean() == pytest.approx(0.1, abs=0.01)


def test_no_candidate_is_compared_with_itself():
  of, _ = candidates.draw(0, texts=80, dim=4)
  for said in (
    candidates.choices(of, rng(), 5000),
    candidates.rankings(of, rng(), 5000, candidates=5),
  ):
    ordered = np.sort(said.items, 1)
    assert (np.diff(ordered, axis=1) > 0).all()


def test_what_is_left_as_choices():
  said = candidates.Said(
    np.array([0, 0, 1]),
    np.array([[0, 1], [1, 2], [2, 0]]),
    np.array([0.5, 4 / 6, 0.0], np.float32),
  )
  left = candidates.as_choices(said)
  np.testing.assert_array_equal(left.user, [0, 1])
  np.testing.assert_array_equal(left.items, [[1, 2], [2, 0]])
  np.testing.assert_array_equal(left.label, [1.0, 0.0])


def test_a_ranking_leaves_its_best_and_another():
  of, _ = candidates.draw(0, texts=80, dim=4)
  said = candidates.rankings(of, rng(), 2000, candidates=4)
  left = candidates.as_choices(said)
  best = np.take_along_axis(said.items, said.label.argmin(1)[:, None], 1)[:, 0]
  winner = np.where(left.label > 0.5, left.items[:, 0], left.items[:, 1])
  np.testing.assert_array_equal(winner, best)
  assert left.label.mean() == pytest.approx(0.5, abs=0.05)


def test_ratings_leave_pairs_of_one_person():
  said = candidates.Said(
    np.array([0, 0, 1, 0, 1]),
    np.arange(5)[:, None],
    np.array([1.0, 3.0, 2.0, 5.0, 2.0]),
  )
  left = candidates.as_choices(said)
  assert len(left.user) <= 2
  rating = dict(enumerate(said.label))
  owner = dict(enumerate(said.user))
  for user, (a, b), label in zip(
    left.user, left.items, left.label, strict=True
  ):
    assert owner[a] == owner[b] == user
    assert label == (rating[a] > rating[b])


def test_agreement():
  quality = np.arange(50.0)
  assert candidates.agreement(quality, quality) == 1.0
  assert candidates.agreement(-quality, quality) == 0.0
  assert candidates.agreement(np.zeros(50), quality) == 0.5
