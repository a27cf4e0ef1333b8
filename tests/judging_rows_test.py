"""Judgements as rows that scalar judges are fitted on."""

import numpy as np
import pytest

from prm_jax import judging_rows, types
from prm_jax.policy import padding
from prm_jax.rewards import reading, scalar
from prm_jax.worlds import judging

NAN = np.nan


@pytest.fixture
def given():
  """Three problems, the second of them hidden, right and wrong solutions."""
  rng = np.random.default_rng(0)
  problems = judging.draw(
    rng, judging.tables(rng), np.array([3, 3, 1]), width=3, unseen=False
  )
  return judging.pointwise(rng, problems, np.array([True, False, True]))


def test_a_choice_is_between_the_right_and_the_wrong_solution(given):
  data = judging_rows.choices(given, pauses=2)
  texts, plain = data.inputs.value, judging.prompts(given)
  np.testing.assert_array_equal(texts.ids[:, :-2], plain)
  np.testing.assert_array_equal(texts.ids[:, -2:], judging.WAIT)
  np.testing.assert_array_equal(texts.mask, texts.ids != judging.PAD)
  np.testing.assert_array_equal(given.right[data.inputs.index], [[1, 0]] * 3)
  np.testing.assert_array_equal(data.rows.label, 1)
  with pytest.raises(ValueError, match='right and wrong'):
    judging_rows.choices(given.take(np.array([1, 0])))


def test_a_shown_step_is_right_where_it_follows(given):
  labels = judging.step_labels(given)
  true = judging.chains(given.problems)
  for row, written in enumerate(given.written[:, 0]):
    length = given.problems.length[row]
    np.testing.assert_array_equal(
      np.isnan(labels[row]), (written < 0) | (np.arange(3) >= length)
    )
    # A wrong step is followed consistently: one step alone is wrong.
    wrong = np.flatnonzero(labels[row] == 0)
    apart = np.flatnonzero(written != true[row])
    apart = apart[written[apart] >= 0]
    np.testing.assert_array_equal(wrong, apart[:1])
    assert len(wrong) == 1 - given.right[row]
  np.testing.assert_array_equal(labels[2:4], [[NAN, NAN, 1], [NAN, NAN, 0]])
  pairs = given._replace(written=given.written.repeat(2, 1))
  for function in (judging.step_labels, judging.value_places):
    with pytest.raises(ValueError, match='single solutions'):
      function(pairs)


def test_steps_are_scored_at_their_values(given):
  data = judging_rows.steps(given)
  texts = data.inputs.value
  shown = ~np.isnan(data.rows.label)
  at = np.take_along_axis(texts.ids, texts.end, 1)
  np.testing.assert_array_equal(
    at[shown], (judging.DIGIT + given.written[:, 0])[shown]
  )
  assert (texts.ids[:, -1] == judging.ASK).all()
  assert (texts.end[~shown] == 0).all()


def test_verdicts_are_of_prompt_and_trace_together(given):
  prompts = judging.prompts(given)
  asked = types.Tokens(prompts, (prompts != judging.PAD).astype(np.int32))
  said = padding.full(judging.traces(given))
  data = judging_rows.verdicts(asked, said, given.right)
  assert data.inputs.index is None
  np.testing.assert_array_equal(
    data.inputs.value.ids[:, 0], np.hstack([prompts, said.ids])
  )
  np.testing.assert_array_equal(data.rows.label, given.right[:, None])


def test_values_beside_their_rows_have_a_candidate_a_score_position():
  calls = []

  def features(params, inputs):
    del params
    calls.append(inputs.value.end.shape)
    return inputs.value.end.reshape(-1, 1).astype(np.float32)

  reward = scalar.linear()._replace(features=features)
  end = np.array([[4, 7, 0], [1, 2, 3]])
  texts = types.Tokens(np.zeros((2, 9), int), np.ones((2, 9), int), end=end)
  params = {'weight': np.ones(1, np.float32)}
  found, encoded = reading.read(reward, params, types.Inputs(texts))
  np.testing.assert_array_equal(found[..., 0], end)
  np.testing.assert_array_equal(encoded[..., 0], end)
  assert calls == [(2, 3)]
