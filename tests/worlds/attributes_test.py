import dataclasses
import functools
import re
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from prm_jax.worlds import attributes, grammar, lexicon


@functools.cache
def world(population='gaussian', seed=3):
  return attributes.simulate(population=population, seed=seed)


POPULATIONS = tuple(attributes.PEOPLE)
SMALL: dict[str, Any] = {
  'population': 'gaussian',
  'people': 5,
  'answers': 20,
  'held_out_answers': 10,
  'responses_per_prompt': 4,
  'held_out_responses': 4,
}


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def expected_accuracy(probability):
  return np.maximum(probability, 1 - probability).mean()


def in_regime(w, regime):
  prompts = np.array([p.regime == regime for p in w.prompts])
  return prompts[w.response_prompt]


# --------------------------------------------------------------------- texts


def test_sizes():
  w = world()
  assert len(w.prompts) == 210 + 54 + 54
  assert len({p.id for p in w.prompts}) == len(w.prompts)
  assert len({p.text for p in w.prompts}) == len(w.prompts)
  assert in_regime(w, 'train').sum() == 6720
  assert in_regime(w, 'new_prompts').sum() == 648
  assert in_regime(w, 'new_lexicon').sum() == 648
  assert w.levels.shape == w.values.shape == (8016, 7)
  assert len(w.people) == 400
  assert len(w.label) == 400 * (400 + 60 + 60)


def test_same_seed_same_world_and_other_seed_other_world():
  one = attributes.simulate(seed=7, **SMALL)
  same = attributes.simulate(seed=7, **SMALL)
  other = attributes.simulate(seed=8, **SMALL)
  for field in dataclasses.fields(one):
    np.testing.assert_array_equal(
      getattr(one, field.name), getattr(same, field.name)
    )
  assert one.responses != other.responses
  assert not np.array_equal(one.weights, other.weights)


def test_populations_of_one_seed_share_texts_and_pairs():
  a, b = world('gaussian'), world('two_attribute')
  assert a.responses == b.responses
  np.testing.assert_array_equal(a.pairs, b.pairs)


def test_text_is_clean():
  for text in world().responses:
    assert '  ' not in text
    assert text == text.strip()
    assert not re.search(r'[{}|]', text), text
    assert re.fullmatch(r'([A-Z].*?[.!?])', text), text
    # Every sentence starts with a capital.
    assert not re.search(r'[.!?] [^A-Z]', text), text
  for prompt in world().prompts:
    assert re.fullmatch(r'[A-Z][^{}|]*[.?]', prompt.text), prompt.text


def test_word_counts():
  w = world()
  counts = np.array([len(text.split()) for text in w.responses])
  np.testing.assert_allclose(np.exp(w.levels[:, 0]), counts)
  assert counts.min() >= 18
  assert counts.max() <= 59
  assert 32 <= np.median(counts) <= 36


def test_levels_are_uncorrelated():
  w = world()
  levels = w.levels[in_regime(w, 'train')]
  r = np.corrcoef(levels.T) - np.eye(7)
  assert np.abs(r).max() < 0.05
  # Length knows little of how many markers there are, of any sign.
  markers = np.abs(levels[:, 1:]).sum(1)
  assert abs(np.corrcoef(levels[:, 0], markers)[0, 1]) < 0.35


def test_values_are_standardised_over_training_responses():
  w = world()
  training = w.levels[in_regime(w, 'train')]
  np.testing.assert_allclose(
    w.values, (w.levels - training.mean(0)) / training.std(0), atol=1e-12
  )


def test_every_marker_template_is_used():
  for regime in ('train', 'new_lexicon'):
    w = world()
    rows = np.flatnonzero(in_regime(w, regime))
    texts = '\n'.join(w.responses[i] for i in rows)
    for poles in lexicon.REGIMES[regime].markers.values():
      for template in poles[1] + poles[-1]:
        assert any(s in texts for s in grammar.expand(template)), template


def test_regimes_are_disjoint_in_topics_and_texts():
  w = world()
  topics = {
    regime: {p.topic for p in w.prompts if p.regime == regime}
    for regime in attributes.REGIMES
  }
  assert not topics['train'] & (topics['new_prompts'] | topics['new_lexicon'])
  assert len(set(w.responses)) == len(w.responses)


# -------------------------------------------------------------------- people


def test_two_attribute_people_are_all_84_pairs_of_poles():
  w = world('two_attribute')
  assert w.weights.shape == (84, 7)
  assert len({tuple(row) for row in w.weights}) == 84
  np.testing.assert_array_equal((w.weights != 0).sum(1), 2)
  np.testing.assert_array_equal(np.abs(w.weights).sum(1), 2)
  np.testing.assert_array_equal(w.weights.sum(0), 0)
  # Ids carry no order of the weights.
  assert not np.array_equal(w.weights, world('two_attribute', 4).weights)


def test_gaussian_people():
  weights = attributes.simulate(
    population='gaussian',
    seed=0,
    people=4000,
    answers=1,
    held_out_answers=1,
    responses_per_prompt=2,
    held_out_responses=2,
  ).weights
  assert np.linalg.norm(weights.mean(0)) == pytest.approx(1, abs=0.08)
  np.testing.assert_allclose(np.cov(weights.T), np.eye(7), atol=0.1)


# ------------------------------------------------------------------- answers


@pytest.mark.parametrize('population', POPULATIONS)
def test_oracle_accuracy(population):
  w = world(population)
  for regime in attributes.REGIMES:
    oracle = expected_accuracy(w.probability[w.regime == regime])
    assert 0.80 <= oracle <= 0.95
    tolerance = 0.005 if regime == 'train' else 0.01
    assert oracle == pytest.approx(0.88, abs=tolerance)
  # The labels that were drawn agree: 4 standard errors.
  right = (w.probability > 0.5) == (w.label == 1)
  error = np.sqrt(0.88 * 0.12 / len(right))
  assert right.mean() == pytest.approx(
    expected_accuracy(w.probability), abs=4 * error
  )


@pytest.mark.parametrize('accuracy', [0.80, 0.95])
def test_other_oracle_accuracy(accuracy):
  w = attributes.simulate(seed=1, oracle_accuracy=accuracy, **SMALL)
  oracle = expected_accuracy(w.probability[w.regime == 'train'])
  assert oracle == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize('population', POPULATIONS)
def test_answers_are_about_untied_pairs_of_the_pool(population):
  w = world(population)
  z = w.values
  difference = z[w.item_a] - z[w.item_b]
  gap = (difference * w.weights[w.user]).sum(1)
  assert np.abs(gap).min() > 0
  np.testing.assert_allclose(w.probability, sigmoid(w.scale * gap), atol=1e-9)
  np.testing.assert_array_equal(
    w.response_prompt[w.item_a], w.response_prompt[w.item_b]
  )
  pool = {frozenset(pair) for pair in w.pairs.tolist()}
  assert len(pool) == len(w.pairs) == 6000 + 2000 + 2000
  asked = np.column_stack([w.item_a, w.item_b]).tolist()
  assert all(frozenset(pair) in pool for pair in asked)
  # Nobody is asked twice, in each regime the right number of times.
  keys = {(u, *sorted(pair)) for u, pair in zip(w.user, asked, strict=True)}
  assert len(keys) == len(asked)
  for regime, count in (('train', 400), ('new_prompts', 60)):
    np.testing.assert_array_equal(
      np.bincount(w.user[w.regime == regime]), count
    )
  # People overlap, and the slot is a coin.
  assert w.label.mean() == pytest.approx(0.5, abs=0.01)


def test_known_weights_are_recovered_from_answers_on_true_levels():
  w = world()
  estimates, known = [], []
  for user in range(12):
    rows = (w.user == user) & (w.regime == 'train')
    difference = w.values[w.item_a[rows]] - w.values[w.item_b[rows]]
    sign = np.where(w.label[rows] == 1, 1.0, -1.0)

    def loss(weights, signed=sign[:, None] * difference):
      penalty = 0.5 * (weights @ weights) / w.scale**2 / 2
      return np.logaddexp(0, -signed @ weights).sum() + penalty

    estimate = optimize.minimize(loss, np.zeros(7), method='BFGS').x
    estimates.append(estimate)
    known.append(w.scale * w.weights[user])
    assert np.corrcoef(estimate, known[-1])[0, 1] > 0.93
  slope = np.vdot(estimates, known) / np.vdot(known, known)
  assert slope == pytest.approx(1, abs=0.12)


# ---------------------------------------------------------------------- rows


def test_rows_hold_the_schema_and_nothing_of_the_truth():
  w = attributes.simulate(seed=2, **SMALL)
  rows = list(attributes.judgement_rows(w))
  assert len(rows) == len(w.label) == 5 * 40
  prompts = {p.id: p for p in w.prompts}
  for i, row in enumerate(rows):
    assert set(row) == {
      'user_id',
      'prompt_id',
      'prompt',
      'response_a',
      'response_b',
      'label',
      'topic',
    }
    assert all(isinstance(value, str) for value in row.values())
    assert re.fullmatch(r'gaussian/\d{5}', row['user_id'])
    assert row['label'] == ('a' if w.label[i] else 'b')
    assert row['response_a'] == w.responses[w.item_a[i]]
    assert row['response_b'] == w.responses[w.item_b[i]]
    assert row['prompt'] == prompts[row['prompt_id']].text
    assert row['topic'] in row['prompt']
    assert row['prompt_id'].split('/')[0] == w.regime[i]


def test_truth_gives_the_probability_of_any_row():
  w = attributes.simulate(seed=2, **SMALL)
  rows = list(attributes.judgement_rows(w))
  known = attributes.truth(w)
  users, a, b = (
    [row[name] for row in rows]
    for name in ('user_id', 'response_a', 'response_b')
  )
  np.testing.assert_allclose(
    attributes.oracle_probability(known, users, a, b), w.probability, atol=1e-12
  )
  np.testing.assert_array_equal(known.probability, w.probability)
  np.testing.assert_array_equal(known.values[a[0]], w.values[w.item_a[0]])
  values, weights = known.of(w.responses[5:2:-1], w.people[::-1])
  np.testing.assert_array_equal(values, w.values[5:2:-1])
  np.testing.assert_array_equal(weights, w.weights[::-1])


# ------------------------------------------------------------------ ceilings


def test_balanced_poles_have_a_ceiling_of_one_half():
  w = world('two_attribute')
  for regime in (None, *attributes.REGIMES):
    for ceiling in (attributes.aggregate_ceiling, attributes.pairwise_ceiling):
      assert ceiling(w, regime=regime) == pytest.approx(0.5, abs=1e-12)
  # A part of them is unbalanced by chance.
  assert attributes.aggregate_ceiling(w, people=range(60)) > 0.51


def test_ceiling_of_one_person_is_their_oracle():
  w = world()
  for user in (0, 1):
    gap = (w.values[w.pairs[:, 0]] - w.values[w.pairs[:, 1]]) @ w.weights[user]
    untied = np.abs(gap) > 1e-9
    oracle = expected_accuracy(sigmoid(w.scale * gap[untied]))
    for ceiling in (attributes.aggregate_ceiling, attributes.pairwise_ceiling):
      assert ceiling(w, people=[user]) == pytest.approx(oracle, abs=1e-9)


def test_ceilings_are_those_of_a_regime_and_of_people():
  w = attributes.simulate(seed=2, **SMALL)
  chosen = {'regime': 'new_prompts', 'people': [0, 2, 4]}
  assert attributes.ceilings(w, 'new_prompts', [0, 2, 4]) == {
    'linear_ceiling': attributes.aggregate_ceiling(w, **chosen),
    'pairwise_ceiling': attributes.pairwise_ceiling(w, **chosen),
  }


def test_gaussian_ceiling_is_that_of_the_mean_weights():
  w = world()
  difference = w.values[w.pairs[:, 0]] - w.values[w.pairs[:, 1]]
  probability = sigmoid(w.scale * difference @ w.weights.T)
  first = difference @ w.weights.mean(0) > 0
  by_mean = np.where(first[:, None], probability, 1 - probability).mean()
  linear = attributes.aggregate_ceiling(w)
  pairwise = attributes.pairwise_ceiling(w)
  assert linear <= pairwise
  assert pairwise - linear < 0.005
  assert linear == pytest.approx(by_mean, abs=0.003)
  # No other direction does better.
  rng = np.random.default_rng(0)
  for direction in w.weights.mean(0) + 0.5 * rng.standard_normal((20, 7)):
    first = difference @ direction > 0
    other = np.where(first[:, None], probability, 1 - probability).mean()
    assert other <= linear + 1e-3


def test_ratio():
  assert attributes.ratio(0.88, 0.88) == 1
  assert attributes.ratio(0.5, 0.88) == 0
  assert attributes.ratio(0.69, 0.88) == pytest.approx(0.5)


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'population': 'uniform'}, "no population 'uniform'"),
    ({'population': 'two_attribute', 'people': 83}, 'exactly 84 people'),
    ({'people': 0}, 'people is 0; it must be at least 1'),
    ({'responses_per_prompt': 1}, 'responses_per_prompt is 1'),
    ({'oracle_accuracy': 0.99}, 'oracle_accuracy is 0.99'),
    ({'answers': 5000}, 'fewer answers'),
  ],
)
def test_bad_arguments_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    attributes.simulate(seed=0, **(SMALL | change))


def test_unknown_regime_is_refused():
  with pytest.raises(ValueError, match="no regime 'test'"):
    attributes.aggregate_ceiling(world(), regime='test')
