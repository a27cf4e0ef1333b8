"""Measures of a text by hand, and people who judge by them."""

import numpy as np
import pytest

from prm_jax.worlds import responses

TEXTS = [
  'Thanks! However, it may rain.',
  '- one\n- two\n- three\n\nIs it? Is it?',
  '',
]


def column(name):
  return responses.measure(TEXTS)[:, responses.MEASURES.index(name)]


@pytest.mark.parametrize(
  ('name', 'counts'),
  [
    ('length', [5, 7, 0]),
    ('lists', [0, 3, 0]),
    ('hedging', [1, 0, 0]),
    ('exclamation', [1, 0, 0]),
    ('questions', [0, 2, 0]),
    ('politeness', [1, 0, 0]),
    ('formality', [1, 0, 0]),
  ],
)
def test_counts_by_hand(name, counts):
  np.testing.assert_allclose(np.expm1(column(name)), counts, atol=1e-6)


def test_long_words_are_harder_to_read():
  easy, hard = responses.measure(
    [
      'The cat sat on the mat. The dog ran to me. It was fun.',
      'Institutional considerations necessitate comprehensive deliberation.',
    ]
  )[:, responses.MEASURES.index('readability')]
  assert easy < 5 < hard


@pytest.fixture(scope='module')
def world():
  rng = np.random.default_rng(0)
  prompt = np.repeat(np.arange(30), 6)
  return prompt, responses.simulate(
    rng.normal(size=(180, 8)), prompt, seed=0, people=200, answers=50
  )


def test_people_are_right_as_often_as_was_asked(world):
  _, found = world
  right = np.maximum(found.probability, 1 - found.probability)
  assert abs(right.mean() - 0.88) < 0.002
  utility = found.utility[found.user[:, None], found.items]
  oracle = (utility[:, 0] > utility[:, 1]) == (found.label > 0)
  assert abs(oracle.mean() - 0.88) < 0.015


def test_pairs_are_two_responses_to_one_prompt(world):
  prompt, found = world
  both = prompt[found.items]
  assert (both[:, 0] == both[:, 1]).all()
  assert (found.items[:, 0] != found.items[:, 1]).all()


def test_levels_are_centred_by_prompt(world):
  prompt, found = world
  means = responses.centre(found.values, prompt) - found.values
  assert np.abs(means).max() < 0.05  # what clipping leaves
  assert np.abs(found.values.std(0) - 1).max() < 0.05


def test_one_odd_text_is_limited():
  values = np.zeros((200, 1))
  values[0] = 100.0
  found = responses.standardise(values, np.zeros(200, int))
  assert found.max() == 4.0


def test_a_prompt_with_one_response_is_named():
  with pytest.raises(ValueError, match='prompt 1 has one response'):
    responses.draw_pairs(np.random.default_rng(0), np.array([0, 0, 1]), 3)
