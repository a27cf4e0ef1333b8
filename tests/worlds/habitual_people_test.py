"""People whose habits are known."""

import numpy as np
import pytest

from prm_jax.worlds import habitual_people as world

SAID = world.texts(np.random.default_rng(0), 10, 6)


def drawn(taste, people=40, seed=0):
  return world.choices(
    np.random.default_rng(seed), SAID, people=people, each=40, taste=taste
  )


@pytest.fixture(scope='module')
def habits():
  return drawn(0.0)


@pytest.fixture(scope='module')
def tastes():
  return drawn(40.0)


def length(words):
  return len(words)


def polite(words):
  return sum(word in world.POLITE for word in words) / len(words)


def agreement(choices, measure):
  """How often each person chooses the text with more of it, `[U]`."""
  shares: dict[int, list[bool]] = {}
  for one in choices:
    a, b = (
      measure(SAID[one.prompt][text].split())
      for text in (one.first, one.second)
    )
    if a != b and one.label != 0.5:
      shares.setdefault(one.person, []).append((a > b) == (one.label == 1))
  return np.array([np.mean(shares[person]) for person in sorted(shares)])


def test_texts_are_of_the_asked_number_and_length():
  assert [len(row) for row in SAID] == [6] * 10
  lengths = [len(text.split()) for row in SAID for text in row]
  assert min(lengths) >= 4
  assert max(lengths) < 60


def test_everybody_chooses_between_two_texts_to_a_prompt(habits):
  assert len(habits) == 40 * 40
  assert all(one.first != one.second for one in habits)
  assert {one.label for one in habits} == {0.0, 0.5, 1.0}
  # exp(-0.5) against 1 + 1 at a margin of nothing, less at others.
  ties = np.mean([one.label == 0.5 for one in habits])
  assert 0.1 < ties < 0.35
  # The side counts 0.2 logits on average.
  strict = [one.label for one in habits if one.label != 0.5]
  assert 0.5 < np.mean(strict) < 0.65


def test_length_counts_and_not_alike_for_everybody(habits):
  # Chance alone leaves 0.09 of about 30 choices.
  assert agreement(habits, length).std() > 0.12


def test_a_taste_divides_people_and_habits_do_not(habits, tastes):
  assert np.abs(agreement(habits, polite) - 0.5).mean() < 0.15
  share = agreement(tastes, polite)
  assert np.abs(share - 0.5).mean() > 0.15
  assert (share > 0.6).sum() > 10
  assert (share < 0.4).sum() > 10


def test_the_same_seed_draws_the_same():
  assert drawn(40.0, people=2) == drawn(40.0, people=2)
  assert drawn(40.0, people=2) != drawn(40.0, people=2, seed=1)
