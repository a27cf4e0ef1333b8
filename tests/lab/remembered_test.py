"""Memories on a tiny language model, on judgements as people bring them."""

import dataclasses

import numpy as np
import pytest

from prm_jax.lab import fitting, remembered, told
from prm_jax.models import features
from tests.lab.told_test import LEAST, model, problem_of, table  # noqa: F401

GIVEN = remembered.Options(
  kept=4, event=12, adapter_steps=2, adapter_rank=2, adapter_batch=2, together=4
)


@pytest.fixture(scope='module')
def problem():
  judged = table(prompts=4)
  found = problem_of(judged)
  rng = np.random.default_rng(0)
  columns = rng.normal(size=(len(judged.texts), 3))
  sets = {features.BACKBONE: lambda: columns}
  return dataclasses.replace(found, features=sets)


def fit(method, model, problem, **choice):  # noqa: F811
  prime = remembered.Prime(method, model, LEAST, GIVEN)
  given = {**prime.choices()[-1], **choice}
  sets = fitting.FeatureSets(problem)
  return prime({}, given, problem, problem.training, sets)


@pytest.fixture(scope='module', params=sorted(remembered.METHODS))
def fitted(request, model, problem):  # noqa: F811
  return fit(request.param, model, problem)


@pytest.mark.slow
def test_predictions_read_the_persons_own_memory(fitted):
  judged = fitted.problem.judged
  whole = fitted.contexts(judged)
  margin = fitted.margins(whole, judged)
  p = fitted.predict(whole, judged)
  np.testing.assert_allclose(p, 1 / (1 + np.exp(-fitted.slope * margin)))
  turned = judged._replace(
    inputs=judged.inputs._replace(index=judged.inputs.index[:, ::-1])
  )
  np.testing.assert_allclose(fitted.margins(whole, turned), -margin, atol=2e-4)
  # Of whom nothing is known everybody is scored alike.
  nobody = fitted.contexts(judged.masked(np.zeros(len(margin))))
  plain = fitted.margins(nobody, judged)
  assert np.abs(plain - margin).max() > 1e-3
  few = fitted.contexts(judged.masked(judged.rows.user == 2))
  some = fitted.margins(few, judged)
  own = judged.rows.user == 2
  np.testing.assert_allclose(some[~own], plain[~own], atol=1e-4)
  np.testing.assert_allclose(some[own], margin[own], atol=1e-3)


def test_long_responses_leave_room_for_the_choice(model, problem):  # noqa: F811
  texts = [f'{text} ' + 'milk ' * 200 for text in problem.texts]
  long = dataclasses.replace(problem, texts=texts)
  prime = remembered.Prime(
    'recalled_events', model, LEAST, GIVEN._replace(event=32)
  )
  table = long.features[features.BACKBONE]()
  found = remembered.Remembered(prime, prime.choices()[0], long, table)
  kept = found.contexts(long.judged).events.events.content
  ids, mask = kept.ids[0, 0], kept.mask[0, 0]
  said = model.model.tokenizer.decode(ids[mask > 0].tolist())
  assert 'Chose A1' in said
  assert said.count('milk') == 2 * (32 // 5 - 2)  # behind two words of each


def test_first_answers_alone_are_kept(fitted):
  judged = fitted.problem.judged
  one = judged.masked(np.arange(len(judged.rows.user)) % 4 == 0)
  first = fitted.margins(fitted.contexts(judged, limit=1), judged)
  np.testing.assert_allclose(
    first, fitted.margins(fitted.contexts(one), judged), atol=1e-4
  )


def test_a_slope_by_hand():
  margin = np.array([2.0, -2.0, 1.0, -1.0] * 50)
  rng = np.random.default_rng(0)
  label = (rng.random(200) < 1 / (1 + np.exp(-0.8 * margin))).astype(float)
  found = remembered.slope(margin, label)
  grid = np.linspace(0.01, 3, 3000)
  nll = [np.sum(np.logaddexp(0, s * margin) - label * s * margin) for s in grid]
  assert abs(found - grid[np.argmin(nll)]) < 0.03
  assert remembered.slope(margin, 1 - label) < 1e-3  # never turned round
  assert np.isfinite(remembered.slope(margin, margin > 0))
  assert remembered.slope(np.zeros(3), np.ones(3)) == 0
  assert remembered.slope(np.zeros(0), np.zeros(0)) == 0


def test_people_and_pairs_of_any_number_are_grouped():
  user = np.array([3, 1, 3, 3, 1, 3, 3, 0])
  found = remembered._grouped(user)
  assert sorted(np.concatenate(found).tolist()) == list(range(8))
  assert all(len(set(user[rows].tolist())) == 1 for rows in found)
  assert max(map(len, found)) == 4
  assert remembered._grouped(np.zeros(0, int)) == []


def test_a_search_has_something_to_try(model):  # noqa: F811
  for method in remembered.METHODS:
    choices = remembered.Prime(method, model, LEAST, GIVEN).choices()
    assert len(choices) == 2
  assert told.METHOD not in remembered.METHODS
