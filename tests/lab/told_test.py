"""PLUS on a tiny language model, on judgements as people bring them."""

import dataclasses

import jax
import numpy as np
import pytest

from prm_jax.data import schema
from prm_jax.lab import fitting, told
from tests import checkpoints

WORDS = ['hot', 'cold', 'tea', 'milk', 'say', 'it', 'A1', 'A2', 'Chose', ':']
LEAST = told.options(
  {
    **{'steps': 2, 'rank': 2, 'contexts': 4, 'samples': 2, 'pairs': 2},
    **{'history': 40, 'text': 12, 'response': 6, 'summary': 4, 'rate': 0.01},
  }
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A tiny language model."""
  folder = tmp_path_factory.mktemp('model')
  checkpoints.write(folder, WORDS, max_position_embeddings=256)
  return told.Language.load(folder)


def table(people=4, prompts=3):
  """Judgements of people of whom half like it hot."""
  texts = ['hot tea', 'cold tea', 'hot milk', 'cold milk']
  user, items, label = [], [], []
  for person in range(people):
    for prompt in range(prompts):
      first = 4 * prompt + 2 * (person // 2 % 2)
      user.append(person)
      items.append((first, first + 1))
      label.append(float(person % 2 == 0))
  return schema.Judgements(
    user_ids=[f'u{i}' for i in range(people)],
    prompt_ids=[f'p{i}' for i in range(prompts)],
    topics=[f'p{i}' for i in range(prompts)],
    prompts=['say it'] * prompts,
    attributes=['{}'] * people,
    texts=[text for _ in range(prompts) for text in texts],
    item_prompt=np.repeat(np.arange(prompts), 4).astype(np.int32),
    user=np.array(user, np.int32),
    items=np.array(items, np.int32),
    label=np.array(label, np.float32),
  )


def problem_of(judged):
  n = len(judged.user)
  return fitting.of_table(
    judged,
    data='mine',
    seed=0,
    split=np.full(n, fitting.TRAIN),
    inner=np.full(n, fitting.FIT),
    features={},
  )


@pytest.fixture(scope='module')
def fitted(model):
  judged = table()
  fit = told.Plus(model, LEAST)
  problem = problem_of(judged)
  return fit({}, {'steps': 2}, problem, problem.training)


def test_nobody_is_asked_about_what_their_history_tells():
  judged = table(prompts=6)
  problem = problem_of(judged)
  found = told.episodes(problem, problem.training)
  assert {one.user for one in found} == {0, 1, 2, 3}
  for one in found:
    asked = {pair.about for pair in one.pairs}
    known = {event.about for event in one.events}
    assert not asked & known
    assert asked | known == set(judged.prompt_ids)
  # Every judgement is asked about once.
  assert sum(len(one.pairs) for one in found) == len(judged.user)
  said = [event.label for one in found if one.user == 1 for event in one.events]
  assert set(said) == {0.0}


def test_of_one_prompt_judgements_are_asked_one_after_the_others():
  judged = table(prompts=1)
  thrice = dataclasses.replace(
    judged,
    user=np.repeat(judged.user, 3),
    items=np.repeat(judged.items, 3, 0),
    label=np.repeat(judged.label, 3),
  )
  problem = problem_of(thrice)
  found = told.episodes(problem, problem.training)
  assert [(len(one.events), len(one.pairs)) for one in found] == [(2, 1)] * 12
  alone = problem_of(judged)
  assert not told.episodes(alone, alone.training)


@pytest.mark.slow
def test_a_summary_is_of_a_persons_own_first_answers(fitted):
  problem = fitted.problem
  whole = fitted.contexts(problem.training)
  assert whole.ids.shape == (4, LEAST.summary)
  first = fitted.contexts(problem.training, limit=1)
  one = problem.training.masked(np.arange(12) % 3 == 0)
  np.testing.assert_array_equal(first.ids, fitted.contexts(one).ids)
  # Of whom nothing is known the summary is empty: it ends at once.
  nobody = fitted.contexts(problem.training.masked(np.zeros(12)))
  assert (nobody.mask.sum(1) == 1).all()
  few = fitted.contexts(problem.training.masked(problem.judged.rows.user == 2))
  np.testing.assert_array_equal(few.ids[[0, 1, 3]], nobody.ids[[0, 1, 3]])
  np.testing.assert_array_equal(few.ids[2], whole.ids[2])


def test_pairs_are_predicted_behind_the_summary_that_is_given(fitted):
  judged = fitted.problem.judged
  contexts = fitted.contexts(judged)
  p = fitted.predict(contexts, judged)
  assert p.shape == (12,)
  assert ((p > 0) & (p < 1)).all()
  turned = judged._replace(
    inputs=judged.inputs._replace(index=judged.inputs.index[:, ::-1])
  )
  np.testing.assert_allclose(fitted.predict(contexts, turned), 1 - p, atol=1e-5)
  # Seventeen rows are more than are read at once.
  many = judged.take(np.arange(17) % 12)
  np.testing.assert_allclose(
    fitted.predict(contexts, many), p[np.arange(17) % 12], atol=1e-6
  )
  other = contexts._replace(
    ids=np.full_like(contexts.ids, 5), mask=np.ones_like(contexts.mask)
  )
  assert np.abs(fitted.predict(other, judged) - p).max() > 1e-6


def test_the_adapters_learn_and_the_model_stays_as_it_is(fitted, model):
  params = fitted.state.params
  for part in ('user', 'reward'):
    for leaf, own in zip(
      *map(jax.tree.leaves, (params[part]['backbone'], model.model.params)),
      strict=True,
    ):
      np.testing.assert_array_equal(leaf, own)
    moved = [
      np.abs(leaf).max() for leaf in jax.tree.leaves(params[part]['adapter'])
    ]
    assert min(moved) > 0


def test_options_are_checked(model):
  for given, message in (
    ({'speed': 1}, 'option speed=1: one of'),
    ({'steps': 0}, 'steps=0: a number of at least 1'),
    ({'samples': 1}, 'samples=1: a number of at least 2'),
    ({'rank': 1.5}, 'rank=1.5'),
    ({'response': 600}, 'response=600: more than text=512'),
  ):
    with pytest.raises(ValueError, match=message):
      told.options(given)
  with pytest.raises(ValueError, match=r'reads 256: give a smaller history'):
    told.Plus(model, LEAST._replace(history=300))
