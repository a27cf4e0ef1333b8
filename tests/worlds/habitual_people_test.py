"""People whose habits are known."""

import numpy as np
import pytest

from prm_jax.worlds import habitual_people as world

SAID = world.texts(np.random.default_rng(0), 10, 6)


def drawn(taste, seed=0):
  return world.choices(
    np.random.default_rng(seed), SAID, people=40, each=60, taste=taste
  )


def polite(choice, text):
  words = SAID[choice.prompt][text].split()
  return sum(word in world.POLITE for word in words) / len(words)


def agreement(choices):
  """How often each person chooses the politer text, ties left out, `[U]`."""
  said: dict[int, list[bool]] = {}
  for one in choices:
    gap = polite(one, one.first) - polite(one, one.second)
    if gap and one.label != 0.5:
      said.setdefault(one.person, []).append((gap > 0) == (one.label == 1))
  return np.array([np.mean(said[person]) for person in sorted(said)])


def test_texts_are_of_the_asked_number_and_length():
  assert [len(row) for row in SAID] == [6] * 10
  lengths = [len(text.split()) for row in SAID for text in row]
  assert min(lengths) >= 4
  assert max(lengths) < 60


def test_everybody_chooses_between_two_texts_to_a_prompt():
  choices = drawn(0.0)
  assert len(choices) == 40 * 60
  assert all(one.first != one.second for one in choices)
  assert {one.label for one in choices} == {0.0, 0.5, 1.0}
  # exp(-0.5) against 1 + 1 at a margin of nothing, less at others.
  ties = np.mean([one.label == 0.5 for one in choices])
  assert 0.1 < ties < 0.35
  # The side counts 0.2 logits on average.
  strict = [one.label for one in choices if one.label != 0.5]
  assert 0.5 < np.mean(strict) < 0.65


def test_longer_texts_are_preferred_on_average():
  right = []
  for one in drawn(0.0):
    a, b = (
      len(SAID[one.prompt][text].split()) for text in (one.first, one.second)
    )
    if one.label != 0.5 and a != b:
      right.append((a > b) == (one.label == 1))
  assert np.mean(right) > 0.52


@pytest.mark.parametrize(('taste', 'apart'), [(0.0, False), (40.0, True)])
def test_a_taste_divides_people(taste, apart):
  share = agreement(drawn(taste))
  assert (np.abs(share - 0.5).mean() > 0.15) == apart
  if apart:
    assert (share > 0.6).sum() > 10
    assert (share < 0.4).sum() > 10


def test_the_same_seed_draws_the_same():
  assert drawn(40.0) == drawn(40.0)
  assert drawn(40.0) != drawn(40.0, seed=1)
