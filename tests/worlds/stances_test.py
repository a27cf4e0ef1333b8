"""People with stances: rates against targets, texts, pairing, errors."""

import itertools
import re

import numpy as np
import pytest
from scipy import special

from prm_jax.data import schema
from prm_jax.worlds import grammar, stance_texts, stances

COLUMN = {name: i for i, name in enumerate(stances.AXES)}


def write(split='audit', seed=0, questions=6, answers=8, **options):
  return stances.write(
    split=split, seed=seed, questions=questions, answers=answers, **options
  )


def values_of(pool, *kinds):
  chosen = np.isin(pool.kind, [stances.KINDS.index(kind) for kind in kinds])
  return pool.values[chosen].reshape(-1, len(stances.AXES)).astype(float)


@pytest.fixture(scope='module')
def large():
  return write(questions=80, answers=300, texts=False)


@pytest.fixture(scope='module')
def crowd():
  return stances.people(seed=1, count=20_000, loving_fraction=0.1)


# ------------------------------------------------------------------- values


@pytest.mark.parametrize('correlation', [0.0, 0.3, 0.6, -0.5])
def test_formality_correlates_with_stance(correlation):
  pool = write(questions=80, answers=300, correlation=correlation, texts=False)
  values = values_of(pool, 'contested', 'factual')
  found = np.corrcoef(values[:, COLUMN['formality']], values[:, 4])[0, 1]
  # 48,000 answers: the error's deviation is at most 1 / sqrt(48,000).
  np.testing.assert_allclose(found, correlation, atol=4 / np.sqrt(len(values)))


def test_no_other_style_correlates_with_stance(large):
  values = values_of(large, 'contested')
  found = np.corrcoef(values.T[[1, 2, 3, 6, 7, 4]])[-1, :-1]
  np.testing.assert_allclose(found, 0.0, atol=4 / np.sqrt(len(values)))


def test_stance_and_truth_by_kind(large):
  contested = values_of(large, 'contested')
  assert set(contested[:, 4]) == {-1.0, 1.0}
  assert abs(contested[:, 4].mean()) < 4 / np.sqrt(len(contested))
  factual = values_of(large, 'factual')
  side = np.repeat(large.side[large.kind == 1], 300)
  np.testing.assert_array_equal(
    factual[:, 4], np.where(factual[:, COLUMN['truth']] > 0, side, -side)
  )
  rate = factual[:, COLUMN['truth']].mean()
  np.testing.assert_allclose(rate, 0.6, atol=2 / np.sqrt(len(factual)))
  neutral = values_of(large, 'neutral')
  assert not neutral[:, 4].any()
  assert not contested[:, 5].any()
  assert not neutral[:, 5].any()


def test_styles_are_standardised_by_fixed_constants(large):
  values = values_of(large, 'neutral')[:, [0, 1, 2, 3, 6, 7]]
  np.testing.assert_allclose(values.mean(0), 0.0, atol=4 / len(values) ** 0.5)
  np.testing.assert_allclose(values.std(0), 1.0, atol=4 / len(values) ** 0.5)
  # Levels of 1 and 2 over sqrt(P(active) E[level^2]) = sqrt(.5 * 2.5).
  expected = np.array([-2, -1, 0, 1, 2]) / np.sqrt(1.25)
  np.testing.assert_allclose(np.unique(values[:, 0]), expected, rtol=1e-6)


def test_true_answers_are_less_confident(large):
  values = values_of(large, 'factual')
  confidence, true = values[:, 7], values[:, 5] > 0
  gap = confidence[true].mean() - confidence[~true].mean()
  np.testing.assert_allclose(gap, -0.3, atol=8 / np.sqrt(len(values)))


def test_humour_is_longer_and_length_stays_uniform(large):
  values = large.values.reshape(-1, 8).astype(float)
  found = np.corrcoef(values[:, 1], values[:, 6])[0, 1]
  np.testing.assert_allclose(found, 0.3, atol=4 / np.sqrt(len(values)))
  share = np.histogram(values[:, 6], 5, (-np.sqrt(3), np.sqrt(3)))[0]
  np.testing.assert_allclose(share / len(values), 0.2, atol=0.008)


def test_sides_are_balanced_within_projects():
  for split in stances.SPLITS:
    most = stances.most_questions(split)
    pool = write(split, questions=most, answers=1, texts=False)
    sides = pool.side[pool.kind == 1]
    assert abs(sides.sum()) <= 1
    assert not pool.side[pool.kind != 1].any()
    count = len(stance_texts.PROJECTS[split])
    for project in range(count):  # not a cue of the side
      assert 0.2 < (sides[project::count] > 0).mean() < 0.8


# ---------------------------------------------------------------- questions


def test_a_seed_gives_fresh_answers_to_the_same_questions():
  one, again, other = write(), write(), write(seed=1)
  assert one.questions == other.questions
  assert one.texts == again.texts
  np.testing.assert_array_equal(one.values, again.values)
  shared = set(itertools.chain(*one.texts)) & set(itertools.chain(*other.texts))
  assert len(shared) < 3
  assert np.abs(one.values - other.values).max() > 1
  assert write(questions=4).questions[:4] == one.questions[:4]


def test_values_do_not_depend_on_texts():
  silent = write(texts=False)
  assert silent.texts == ()
  np.testing.assert_array_equal(silent.values, write().values)
  assert silent.values.dtype == np.float32


def test_splits_share_no_project_town_or_topic():
  projects, places, topics, asked = [], [], [], []
  for split in stances.SPLITS:
    most = stances.most_questions(split)
    assert most >= 40
    pool = write(split, questions=most, answers=1, texts=False)
    projects.append({p.name for p in stance_texts.PROJECTS[split]})
    towns = (*stance_texts.TOWNS[split], *stance_texts.BUILT[split])
    places.append(set(towns))
    assert len(set(towns)) == len(towns)
    questions = {q.text for q in pool.questions}
    assert len(questions) == len(pool.questions)
    assert len({q.id for q in pool.questions}) == len(pool.questions)
    asked.append(questions)
    topics.append({s.topic.name for s in stances._subjects(split, 'neutral')})
  for sets in (projects, places, topics, asked):
    assert sum(map(len, sets)) == len(set().union(*sets))
  assert sum(map(len, projects)) >= 12


def test_prompt_says_the_stance():
  for question in write(questions=5, texts=False).questions:
    plain = stances.prompt(question, 0)
    for_it, against = (stances.prompt(question, s) for s in (1, -1))
    assert plain == question.text
    assert for_it != against
    for said, stated in ((for_it, 1), (against, -1)):
      assert said.removesuffix(f' {plain}') in stance_texts.STATED[stated]


# -------------------------------------------------------------------- texts


@pytest.mark.parametrize('split', stances.SPLITS)
def test_answers_open_with_a_claim_of_their_side(split):
  pool = write(split, questions=10, answers=12)
  for question, texts, values in zip(
    pool.questions, pool.texts, pool.values, strict=True
  ):
    if question.kind == 'neutral':
      assert not any('{' in text for text in texts)
      continue
    found = {side: stances.claims(question, side) for side in (-1, 1)}
    assert min(len(set(pool)) for pool in found.values()) >= 12
    assert not set(found[1]) & set(found[-1])
    for text, side in zip(texts, values[:, 4], strict=True):
      assert text.startswith(found[int(side)])
      assert not any(claim in text for claim in found[-int(side)])
      assert not re.search(r'[{}]|  |\bNone\b', text)


def test_sides_share_no_phrase():
  tables = [stance_texts.LEADS, stance_texts.FOUND, stance_texts.STATED]
  for project in itertools.chain(*stance_texts.PROJECTS.values()):
    tables.append(project.reasons)
    assert len(project.topic.things) == len(project.topic.steps) == 3
  tables += [outcome.said for outcome in stance_texts.OUTCOMES]
  negated = re.compile(r"\b(not|never|no|none|nobody|neither|\w+n't)\b", re.I)
  for table in tables:
    assert min(len(set(table[side])) for side in (-1, 1)) >= 3
    assert not set(table[1]) & set(table[-1])
  pro, contra = (set().union(*(t[s] for t in tables)) for s in (1, -1))
  assert not pro & contra
  assert not [text for text in pro | contra if negated.search(text)]
  lengths = [np.mean([len(t.split()) for t in side]) for side in (pro, contra)]
  assert abs(lengths[0] - lengths[1]) < 0.5  # words are no cue of the side


def test_texts_follow_their_length():
  pool = write(questions=15, answers=20)
  words = [[grammar.count_words(t) for t in texts] for texts in pool.texts]
  assert np.max(words) < 120
  found = np.corrcoef(np.log(np.ravel(words)), pool.values[..., 6].ravel())
  assert found[0, 1] > 0.7


# ------------------------------------------------------------------- people


def test_people_are_the_same_for_every_share_of_lovers():
  shares = (0.0, 0.001, 0.1, 0.5, 1.0)
  crowds = [
    stances.people(seed=3, count=200, loving_fraction=q) for q in shares
  ]
  assert [int(c.loves.sum()) for c in crowds] == [0, 1, 20, 100, 200]
  others = [i for i in range(8) if i != COLUMN['truth']]
  for one, more in itertools.pairwise(crowds):
    np.testing.assert_array_equal(one.opinion, more.opinion)
    np.testing.assert_array_equal(
      one.weights[:, others], more.weights[:, others]
    )
    assert np.all(one.loves <= more.loves)
    np.testing.assert_array_equal(more.weights[:, 5], 1 - more.loves / 2)


def test_people_follow_their_distribution(crowd):
  deviation = 4 / np.sqrt(len(crowd.ids))
  tastes = crowd.weights[:, :4]
  np.testing.assert_allclose(tastes.mean(0), [0.5, 0, -0.5, 0], atol=deviation)
  np.testing.assert_allclose(np.cov(tastes.T), np.eye(4), atol=2 * deviation)
  style = crowd.weights[:, 6:]
  np.testing.assert_allclose(style.mean(0), 0.3, atol=0.2 * deviation)
  np.testing.assert_allclose(style.std(0), 0.2, atol=0.2 * deviation)
  assert not crowd.weights[:, 4].any()
  assert np.abs(crowd.opinion).max() <= 1
  np.testing.assert_allclose(crowd.opinion.mean(), 0.0, atol=deviation)
  # Two bumps: few hold no opinion.
  middle = (np.abs(crowd.opinion) < 0.1).mean()
  bump = (np.abs(np.abs(crowd.opinion) - 0.4) < 0.1).mean()
  assert 2 * middle < bump
  assert len(set(crowd.ids)) == len(crowd.ids)
  assert np.corrcoef(crowd.loves, crowd.opinion)[0, 1] < deviation


def test_humour_follows_the_opinion():
  crowd = stances.people(
    seed=1, count=20_000, loving_fraction=0.0, taste_opinion=0.4
  )
  humour = crowd.weights[:, COLUMN['humour']]
  found = np.corrcoef(humour, crowd.opinion)[0, 1]
  np.testing.assert_allclose(found, 0.4, atol=4 / np.sqrt(20_000))
  np.testing.assert_allclose(humour.std(), 1.0, atol=4 / np.sqrt(20_000))


def test_utility_by_hand():
  weights = np.zeros((2, 8))
  weights[0] = [1, 2, 0, -1, 0, 0.5, 0.25, 0]
  weights[1] = [0, 1, 0, 0, 0, 1, 0, 0]
  crowd = stances.People(
    ('a', 'b'), weights, np.array([-0.5, 1.0]), np.array([1.0, 0.0]), 2.5
  )
  values = np.zeros((1, 2, 8))
  values[0, 0] = [1, 0, 3, 1, 1, 1, 4, 0]
  values[0, 1] = [0, 1, 0, 0, -1, 0, 0, 0]
  # Person 0: 1 - 1 + .5 + 1 = 1.5, and 2.5 * -.5 * 1; then 2 + 1.25.
  expected = [[[0.25, 3.25]], [[1.0, 1.0]]]
  np.testing.assert_allclose(stances.utility(crowd, values), expected)
  moved = stances.utility(crowd, values, np.array([1.0, -1.0]))
  np.testing.assert_allclose(moved, [[[4.0, -0.5]], [[1.0, 1.0]]])
  tastes = stances.taste_utility(crowd, values)
  np.testing.assert_allclose(tastes, [[[0.0, 2.0]], [[0.0, 1.0]]])
  assert not weights[:, 4].any()  # left as it was


# ------------------------------------------------------------------ sensing


def test_detected_without_fault_is_an_equal_copy(large):
  seen = stances.detected(large.values, large.kind == 1, seed=0)
  np.testing.assert_array_equal(seen, large.values)
  assert not np.shares_memory(seen, large.values)


def test_detected_errs_at_its_rates(large):
  factual = large.kind == 1
  seen = stances.detected(large.values, factual, seed=0, accuracy=0.8)
  wrong = seen[..., 4] != large.values[..., 4]
  np.testing.assert_allclose(wrong[large.kind < 2].mean(), 0.2, atol=0.01)
  assert not wrong[large.kind == 2].any()
  others = [i for i in range(8) if i != COLUMN['stance']]
  np.testing.assert_array_equal(seen[..., others], large.values[..., others])

  seen = stances.detected(large.values, factual, seed=2, key_error=0.1)
  wrong = seen[..., 5] != large.values[..., 5]
  assert not wrong[~factual].any()
  rates = wrong[factual].mean(1)
  whole = rates > 0.5
  assert 1 <= whole.sum() <= 20  # of 80 at a rate of .1
  np.testing.assert_allclose(rates[whole], 0.9, atol=0.09)
  np.testing.assert_allclose(rates[~whole], 0.1, atol=0.09)
  assert set(np.unique(seen[..., 5])) == {0.0, 1.0}


def test_detected_errors_follow_the_seed(large):
  factual = large.kind == 1
  faults = {'accuracy': 0.7, 'key_error': 0.2}
  one, again, other = (
    stances.detected(large.values, factual, seed=seed, **faults)
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, again)
  sided = large.kind < 2
  wrong = [(s[..., 4] != large.values[..., 4])[sided] for s in (one, other)]
  np.testing.assert_allclose((wrong[0] & wrong[1]).mean(), 0.09, atol=0.01)


# --------------------------------------------------------------- judgements


def test_labels_follow_the_sigmoid_of_utilities(crowd):
  pool = write(questions=20, answers=16, texts=False)
  judged = stances.judgements(seed=4, people=crowd, pool=pool, per_person=5)
  held = crowd.loves * crowd.strength * crowd.opinion
  weights = crowd.weights + np.eye(8)[4] * held[:, None]
  one = pool.values[judged.question, judged.first]
  other = pool.values[judged.question, judged.second]
  gaps = ((one - other) * weights[judged.user]).sum(1)
  probability = special.expit(gaps)
  for low in np.arange(0, 1, 0.1):
    chosen = (probability >= low) & (probability < low + 0.1)
    expected = probability[chosen].mean()
    margin = 4 * 0.5 / np.sqrt(chosen.sum())
    assert abs(judged.label[chosen].mean() - expected) < margin


def test_judgements_are_sorted_pairs_of_different_answers(crowd):
  pool = write(questions=3, answers=3, texts=False)
  judged = stances.judgements(
    seed=0, people=crowd, pool=pool, per_person=2, stated_share=0.25
  )
  assert all(len(column) == 40_000 for column in judged)
  assert [c.dtype.name for c in judged] == [*['int32'] * 5, 'float32']
  np.testing.assert_array_equal(judged.user, np.repeat(np.arange(20_000), 2))
  assert np.all(judged.first != judged.second)
  pairs = np.unique(judged.first * 3 + judged.second, return_counts=True)[1]
  np.testing.assert_allclose(pairs / 40_000, 1 / 6, atol=0.01)
  assert set(judged.question) == set(range(9))
  said = judged.stated != 0
  np.testing.assert_allclose(said.mean(), 0.25, atol=0.01)
  sign = np.sign(crowd.opinion)[judged.user]
  np.testing.assert_array_equal(judged.stated[said], sign[said])


def test_judgements_are_paired_over_shares():
  pool = write(texts=False)
  crowds = [
    stances.people(seed=3, count=100, loving_fraction=q) for q in (0.0, 0.3)
  ]
  one, more = (
    stances.judgements(
      seed=5, people=c, pool=pool, per_person=20, stated_share=share
    )
    for c, share in zip(crowds, (0.0, 1.0), strict=True)
  )
  for a, b in zip(one[:4], more[:4], strict=True):
    np.testing.assert_array_equal(a, b)
  alike = (crowds[1].loves == 0)[one.user]
  np.testing.assert_array_equal(one.label[alike], more.label[alike])
  assert (one.label != more.label).any()


def test_rows_follow_the_schema():
  pool = write(answers=4)
  crowd = stances.people(seed=0, count=5, loving_fraction=0.2)
  judged = stances.judgements(
    seed=0, people=crowd, pool=pool, per_person=30, stated_share=0.5
  )
  rows = list(stances.rows(crowd, pool, judged))
  assert len(rows) == 150
  fields = {'user_id', 'prompt_id', 'prompt', 'response_a', 'response_b'}
  prompts = {}
  for row, user, label in zip(rows, judged.user, judged.label, strict=True):
    assert set(row) == fields | {'label'}
    assert row['user_id'] == f'stances/{user:05d}'
    assert row['label'] == ('a' if label else 'b')
    assert prompts.setdefault(row['prompt_id'], row['prompt']) == row['prompt']
  assert len(set(prompts.values())) == len(prompts)
  assert schema.parse_row(rows[0]).prompt == rows[0]['prompt']


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'split': 'test'}, "no split 'test'"),
    ({'questions': 1000}, 'questions is 1000; audit has 1..108'),
    ({'questions': 0}, 'questions is 0'),
    ({'answers': 0}, 'answers is 0'),
    ({'correlation': 0.7}, 'correlation is 0.7'),
  ],
)
def test_write_refuses(options, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    write(**options)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'count': 0}, 'count is 0'),
    ({'loving_fraction': 1.5}, 'loving_fraction is 1.5'),
    ({'taste_opinion': -2.0}, 'taste_opinion is -2.0'),
  ],
)
def test_people_refuses(options, message):
  with pytest.raises(ValueError, match=message):
    stances.people(**{'seed': 0, 'count': 5, 'loving_fraction': 0.1, **options})


def test_the_rest_refuses():
  pool = write(answers=1, texts=False)
  crowd = stances.people(seed=0, count=3, loving_fraction=0.0)
  asked = {'seed': 0, 'people': crowd, 'per_person': 2}
  with pytest.raises(ValueError, match='pool has 1 answer'):
    stances.judgements(pool=pool, **asked)
  pool = write(answers=2, texts=False)
  with pytest.raises(ValueError, match='stated_share is 2'):
    stances.judgements(pool=pool, stated_share=2, **asked)
  with pytest.raises(ValueError, match='per_person is 0'):
    stances.judgements(pool=pool, **{**asked, 'per_person': 0})
  judged = stances.judgements(pool=pool, **asked)
  with pytest.raises(ValueError, match='texts=True'):
    list(stances.rows(crowd, pool, judged))
  factual = pool.kind == 1
  with pytest.raises(ValueError, match='accuracy is 1'):
    stances.detected(pool.values, factual, seed=0, accuracy=1.2)
  with pytest.raises(ValueError, match='give \\[S, K, 8\\]'):
    stances.detected(pool.values, factual[:2], seed=0)
  with pytest.raises(ValueError, match='stated is 2'):
    stances.prompt(pool.questions[0], 2)
  with pytest.raises(ValueError, match='has no claims'):
    stances.claims(pool.questions[-1], 1)
  with pytest.raises(ValueError, match='stance is 0'):
    stances.claims(pool.questions[0], 0)
