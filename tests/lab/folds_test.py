"""What is held out of anybody's data, and that nothing stands on two sides."""

import dataclasses

import numpy as np
import pytest

from prm_jax.audits import copies
from prm_jax.data import schema
from prm_jax.lab import fitting, folds
from prm_jax.models import features

PEOPLE, PROMPTS = 18, 12


class Letters(features.Source):
  """Letters of each text, instead of an encoder."""

  name = 'encoder that counts'

  def __call__(self, texts):
    return np.array([[t.count(c) for c in 'abcdefgh'] for t in texts], float)


def judgement(user, prompt, a, b, label='a'):
  return schema.Judgement(
    user_id=f'u{user}',
    prompt_id=f'p{prompt}',
    prompt=f'question {prompt}',
    response_a=a,
    response_b=b,
    label=schema._LABELS[label],
    topic=f'p{prompt}',
  )


def words(rng):
  return ' '.join(rng.choice(list('abcdefgh'), 12))


def judged(prompts=PROMPTS, each=30, seed=0):
  rng = np.random.default_rng(seed)
  texts = {p: [words(rng) for _ in range(6)] for p in range(prompts)}
  rows = []
  for user in range(PEOPLE):
    for _ in range(each):
      prompt = int(rng.integers(prompts))
      a, b = rng.choice(6, 2, replace=False)
      label = str(rng.choice(['a', 'b', 'tie'], p=[0.45, 0.45, 0.1]))
      rows.append(
        judgement(user, prompt, texts[prompt][a], texts[prompt][b], label)
      )
  return schema.code_judgements(rows)


def data(table, seed=0):
  found = copies.find(table)
  return folds.Data('made', table, found, Letters(), 7, seed)


def cases(table, regime):
  return [folds.case(data(table), regime, k) for k in range(folds.FOLDS)]


def rows_of(problem, *splits):
  return np.flatnonzero(np.isin(problem.split, splits))


def pair(problem, row):
  a, b = problem.judged.inputs.index[row]
  texts = sorted((problem.texts[a], problem.texts[b]))
  return problem.judged.rows.user[row], *texts


def test_everybody_and_every_prompt_is_new_once():
  people, prompts = [], []
  for case in cases(judged(), folds.PROMPTS):
    problem = case.problem
    user = problem.judged.rows.user
    new = rows_of(problem, fitting.CALIBRATION, folds.NEW_PEOPLE_PROMPTS)
    seen = rows_of(problem, fitting.TRAIN, folds.NEW_PROMPTS)
    assert not set(user[new]) & set(user[seen])
    people += sorted(set(user[new]))
    prompt = np.array(problem.prompt_ids)[problem.judged.inputs.index[:, 0]]
    out = rows_of(problem, folds.NEW_PROMPTS, folds.NEW_PEOPLE_PROMPTS)
    inside = rows_of(problem, fitting.TRAIN, fitting.CALIBRATION)
    assert not set(prompt[out]) & set(prompt[inside])
    prompts += sorted(set(prompt[out]))
  assert sorted(people) == list(range(PEOPLE))
  assert sorted(prompts) == sorted(f'p{p}' for p in range(PROMPTS))


def test_a_person_s_choices_on_a_pair_are_on_one_side():
  table = judged(prompts=2, each=60)  # pairs come again, in either order
  for case in cases(table, folds.PAIRS):
    problem = case.problem
    train = {pair(problem, r) for r in rows_of(problem, fitting.TRAIN)}
    held = {pair(problem, r) for r in rows_of(problem, folds.NEW_PAIRS)}
    assert held
    assert not train & held
    inner = problem.inner
    fit = {pair(problem, r) for r in np.flatnonzero(inner == fitting.FIT)}
    check = {
      pair(problem, r) for r in np.flatnonzero(inner == fitting.VALIDATE)
    }
    assert check
    assert not fit & check


def test_copied_people_and_spaced_texts_are_on_one_side():
  table = judged(each=40)
  rng = np.random.default_rng(1)
  rows = []
  for user, (a, b), label in zip(
    table.user, table.items, table.label, strict=True
  ):
    name = {1.0: 'a', 0.0: 'b', 0.5: 'tie'}[float(label)]
    prompt = int(table.prompt_ids[table.item_prompt[a]][1:])
    texts = [table.texts[a], table.texts[b]]
    rows.append(judgement(user, prompt, *texts, name))
    if user == 3:  # somebody's rows came in twice, under another name
      rows.append(judgement(99, prompt, *texts, name))
    if rng.random() < 0.2:  # and pairs again, spaced in another way
      texts = [text.replace(' ', '  ') for text in texts]
      rows.append(judgement(user, prompt, *texts, name))
  again = schema.code_judgements(rows)
  twin = again.user_ids.index('u99'), again.user_ids.index('u3')
  for case in cases(again, folds.PAIRS):
    problem = case.problem
    user = problem.judged.rows.user
    new = np.isin(problem.split, [fitting.CALIBRATION, fitting.NEW_PEOPLE])
    assert len({bool(new[user == t].any()) for t in twin}) == 1
    side = {}
    for row in rows_of(problem, fitting.TRAIN, folds.NEW_PAIRS):
      who, *texts = pair(problem, row)
      key = who, *(' '.join(text.split()) for text in texts)
      assert side.setdefault(key, problem.split[row]) == problem.split[row]


def test_ties_are_scored_and_train_nothing():
  case = folds.case(data(judged()), folds.PAIRS, 0)
  label = case.problem.judged.rows.label
  mask = case.problem.training.rows.mask
  assert (label == 0.5).any()
  assert not mask[label == 0.5].any()
  index = case.problem.index(fitting.Protocol((0, 5), 5))
  assert (label[index[folds.NEW_PAIRS]] == 0.5).any()


def test_with_few_prompts_every_one_validates_once():
  case = folds.case(data(judged()), folds.PROMPTS, 1)
  problem = case.problem
  prompt = np.array(problem.prompt_ids)[problem.judged.inputs.index[:, 0]]
  training = rows_of(problem, fitting.TRAIN)
  assert (problem.inner[training] >= fitting.VALIDATE).all()
  by_prompt = {}
  for row in training:
    by_prompt.setdefault(prompt[row], set()).add(problem.inner[row])
  assert all(len(parts) == 1 for parts in by_prompt.values())
  assert len({part for parts in by_prompt.values() for part in parts}) == 3


def test_one_prompt_has_no_new_ones():
  table = judged(prompts=1)
  assert folds.regimes(table) == (folds.PAIRS,)
  case = folds.case(data(table), folds.PAIRS, 0)
  assert case.problem.units == 'responses'
  assert folds.regimes(judged()) == (folds.PAIRS, folds.PROMPTS)


def test_features_look_at_training_texts_alone():
  table = judged()
  case = folds.case(data(table), folds.PROMPTS, 0)
  problem = case.problem
  out = np.unique(
    problem.judged.inputs.index[rows_of(problem, folds.NEW_PROMPTS)]
  )
  texts = list(table.texts)
  for text in out:
    texts[text] = 'h' * 40  # nothing like it in training
  other = folds.case(
    data(dataclasses.replace(table, texts=texts)), folds.PROMPTS, 0
  )
  known = np.unique(problem.judged.inputs.index[rows_of(problem, 'train')])
  for kind in ('response', 'surface', 'length'):
    np.testing.assert_array_equal(
      problem.features[kind]()[known], other.problem.features[kind]()[known]
    )


def ratings(prompts, each=12, texts=20, seed=0):
  rng = np.random.default_rng(seed)
  said = [words(rng) for _ in range(texts)]
  return schema.code_ratings(
    schema.Rating(
      user_id=f'u{user}',
      prompt_id=f'p{item % prompts}',
      prompt=f'question {item % prompts}',
      response=said[item],
      rating=float(rng.integers(1, 6)),
      topic=f'p{item % prompts}',
    )
    for user in range(PEOPLE)
    for item in rng.choice(texts, each, replace=False)
  )


@pytest.mark.parametrize('prompts', [1, 6])
def test_a_held_out_rating_is_in_no_training_pair(prompts):
  table = ratings(prompts, each=19)
  for regime in folds.regimes(table):
    for fold in range(folds.FOLDS):
      problem = folds.case(data(table), regime, fold).problem
      ratings_of = {}
      for row in range(len(problem.split)):
        user = problem.judged.rows.user[row]
        for text in problem.judged.inputs.index[row]:
          ratings_of.setdefault(problem.split[row], set()).add((user, text))
      train = ratings_of[fitting.TRAIN] | ratings_of[fitting.CALIBRATION]
      for split in (folds.NEW_PAIRS, fitting.NEW_PEOPLE):
        assert not train & ratings_of.get(split, set())
      label = problem.judged.rows.label
      held = np.isin(problem.split, [folds.NEW_PAIRS, fitting.NEW_PEOPLE])
      assert set(np.unique(label[held])) <= {0.0, 1.0}


def test_rating_pairs_that_validate_share_no_rating_with_those_that_fit():
  problem = folds.case(data(ratings(1, each=19)), folds.PAIRS, 0).problem
  user, items = problem.judged.rows.user, problem.judged.inputs.index

  def used(role):
    return {
      (user[row], text)
      for row in np.flatnonzero(problem.inner == role)
      for text in items[row]
    }

  assert used(fitting.VALIDATE)
  assert not used(fitting.VALIDATE) & used(fitting.FIT)


def test_parts_hold_near_equal_many_names():
  names = [f'n{i % 13}' for i in range(200)]
  part = folds.dealt(names, 3, 'salt')
  assert sorted(np.bincount(part[:13])) == [4, 4, 5]
  assert (part == folds.dealt(names, 3, 'salt')).all()
  assert all(part[i] == part[i + 13] for i in range(100))
