"""Judges as policies: what they are asked, and what their texts earn."""

import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import grpo
from prm_jax.policy import judge_tasks, phases, tasks
from prm_jax.rewards import judge_formats
from prm_jax.rewards.generative import Item
from prm_jax.runtime import train
from tests.rewards import judged_texts, tiny_judge

KEY = jax.random.key(2)
NAN = np.nan
SHORT = judge_formats.Wording(before='Judge.')
FORMS = {  # prompts of so few lines that all have one padded length
  'rm_r1': judge_formats.rm_r1(wording=SHORT),
  'rrm': judge_formats.rrm(wording=SHORT),
  'grm': judge_formats.grm(wording=SHORT),
}
ITEMS = [
  Item('q', ('good', 'bad')),
  Item('q', ('bad', 'good'), 'goodness'),
  Item('p', ('odd', 'odd')),
]
TRUTH = np.array([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])


def made(form=FORMS['rm_r1'], items=ITEMS, truth=TRUTH, **options):
  options = {'max_new_tokens': 2, 'context': 64, **options}
  return judge_tasks.judging(
    KEY, tiny_judge.tokenizer(), form, items, truth, **options
  )


def earned(judging, problem, texts):
  """Rewards of texts, which are words of the tiny tokenizer."""
  tokens = judging.words.encode(texts)
  return judging.words.task.verify(np.asarray(problem), tokens)


A, B = tiny_judge.SAYS[:2]


def test_answers_are_shown_in_both_orders_and_rewards_follow():
  judging = made(order='both')
  np.testing.assert_array_equal(judging.item, [0, 1, 2] * 2)
  np.testing.assert_array_equal(judging.order[3:], judging.order[:3, ::-1])
  asked = judging.words.task.prompts(np.arange(6))
  assert asked.ids.shape == (6, 32)
  word = {w: i for i, w in enumerate(tiny_judge.WORDS)}
  for row, ids in enumerate(asked.ids):
    shown = [w for w in ids if w in (word['good'], word['bad'], word['odd'])]
    item = ITEMS[judging.item[row]]
    names = [item.responses[c] for c in judging.order[row]]
    assert shown == [word[name] for name in names]
  best = judging.truth.argmax(1)
  right = [[A, B][place] for place in best]
  found = earned(judging, np.arange(6), right)
  np.testing.assert_array_equal(found, [1, 1, NAN] * 2)  # a tie tells nothing
  wrong = earned(judging, np.arange(6), [[B, A][place] for place in best])
  np.testing.assert_array_equal(wrong, [-1, -1, NAN] * 2)
  np.testing.assert_array_equal(earned(judging, [0, 1], ['', 'good']), -1)
  fixed = made(order='fixed', wrong=0.0)
  np.testing.assert_array_equal(fixed.truth, TRUTH)
  np.testing.assert_array_equal(earned(fixed, [0, 1], [A, A]), [1, 0])


def test_scores_of_judges_are_rewarded_by_every_rule():
  low, high, none = tiny_judge.SAYS[4:7]  # 3, 9; 9, 3; no scores
  texts, problem = [low, high, none], [1, 1, 1]
  for reward, expected in {
    None: [1, -1, -1],
    'argmax': [1, -1, -1],
    'ordered': [1, -1, -1],
    # 1 + 2 for the form and the relation, .2 for the gap; wrong; bad form.
    'judge_lrm': [3.2, -0.5, -3],
  }.items():
    judging = made(FORMS['grm'], order='fixed', reward=reward)
    np.testing.assert_allclose(earned(judging, problem, texts), expected)


@pytest.mark.parametrize('reward', judge_tasks.REWARDS)
def test_equal_answers_that_are_not_equally_good_teach_nothing(reward):
  form = FORMS['rm_r1' if reward == 'verdict' else 'grm']
  items = [Item('q', ('odd', 'odd')), Item('q', ('good', 'good\nbad'))]
  texts = [A, B] if reward == 'verdict' else list(tiny_judge.SAYS[4:6])
  options = {'order': 'fixed', 'reward': reward}
  truth = np.array([[1.0, 0.0], [0.0, 1.0]])
  whole = made(form, items, truth, **options)
  for text in texts:
    assert np.isnan(earned(whole, [0], [text])).all()
  assert not np.isnan(earned(whole, [1, 1], texts)).any()
  # They are equal as far as they are read.
  cut = made(
    form, [items[0], Item('q', ('good\nbad', 'good\nodd'))], truth, cut=1
  )
  assert np.isnan(cut.truth).all()


def test_three_answers_are_ordered():
  texts = [f'Scores: \\boxed{{{s}}}' for s in ('9, 3, 4', '9, 9, 4', '1, 3, 4')]
  words = tiny_judge.tokenizer()
  words.add_tokens(texts)
  judging = judge_tasks.judging(
    *(KEY, words, judge_formats.grm(3, wording=SHORT), [Item('q', 'abc')]),
    np.array([[2.0, 1.0, 1.0]]),
    max_new_tokens=1,
    context=64,
    reward='ordered',
    order='fixed',
    wrong=0.0,
  )
  np.testing.assert_array_equal(earned(judging, [0] * 3, texts), [1, 0, 0])


def test_one_answer_is_right_or_wrong():
  text = 'Scores: \\boxed{1}'
  words = tiny_judge.tokenizer()
  words.add_tokens([text])
  judging = judge_tasks.judging(
    *(KEY, words, judge_formats.grm(1, wording=SHORT)),
    *([Item('q', ['good']), Item('q', ['bad'])], np.array([[1], [0]])),
    max_new_tokens=1,
    context=64,
  )
  np.testing.assert_array_equal(earned(judging, [0, 1], [text] * 2), [1, -1])


@pytest.mark.parametrize(
  ('form', 'given', 'words'),
  [
    ('br_rm', {}, 'br_rm has 2 turns'),
    ('rm_r1', {'truth': TRUTH[:2]}, r'truth \(2, 2\) of 3 items of 2'),
    ('rm_r1', {'order': 'odd'}, "order 'odd'"),
    ('rm_r1', {'reward': 'ordered'}, "says nothing for 'ordered'"),
    ('grm', {'reward': 'odd'}, "reward 'odd'"),
    ('grm of three', {'reward': 'judge_lrm'}, "says nothing for 'judge_lrm'"),
    ('j1, score', {'reward': 'verdict'}, 'j1_score of 1 answers'),
    ('rrm', {'items': [*ITEMS[:2], Item('q', ('a',))]}, 'item 2: rrm reads 2'),
    (
      'rrm',
      {'items': [*ITEMS[:2], ITEMS[2]._replace(criterion='')]},
      'item 2: ',
    ),
    ('rrm', {'max_new_tokens': 0}, 'max_new_tokens is 0'),
    ('rrm', {'items': [], 'truth': np.zeros((0, 2))}, 'no questions'),
    ('rrm', {'stop': ('<stop>',)}, "'<stop>' is not in the vocabulary"),
  ],
)
def test_what_is_no_task_is_refused(form, given, words):
  with pytest.raises(ValueError, match=words):
    made(judged_texts.forms()[form], **given)


def test_prompts_leave_room_for_the_text():
  """To the token: as long as the context, and one more."""
  items = [*ITEMS[:1] * 2, Item('p', ('odd\nodd\nodd', 'odd'))]
  asked = made(items=items, order='both').words.task.prompts(np.arange(6))
  lengths = asked.mask.sum(1)
  most = int(lengths.max())
  assert most == lengths[2] == lengths[5] > lengths[0]
  made(items=items, order='both', context=most + 2)
  words = (
    f'problem 2, of item 2, is {most} tokens long, and 2 more do not fit into '
    f'a context of {most + 1}, as of 2 problems of 6: cut'
  )
  with pytest.raises(ValueError, match=words):
    made(items=items, order='both', context=most + 1)
  made(items=items, order='both', context=most + 1, cut=1)


def test_special_tokens_of_answers_are_no_tokens():
  fake = Item('q', (f'good{tiny_judge.END}', 'bad'))
  asked = made(items=[fake] * 3).words.task.prompts(np.arange(3))
  assert (asked.ids == tiny_judge.WORDS.index(tiny_judge.END)).sum() == 3


@pytest.mark.slow
def test_two_steps_of_judges_of_texts():
  """A tiny random judge: rewards differ, and it learns from them."""
  now = {}  # one learner, whose programs are compiled once, for all formats
  first = made(max_new_tokens=1).words.task
  task = first._replace(
    prompts=lambda problem: now['task'].prompts(problem),
    verify=lambda problem, tokens: now['task'].verify(problem, tokens),
  )
  learner = grpo.grpo(
    task=task,
    config=tiny_judge.CONFIG,
    samples=16,
    training=phases.Training(0.05, 2),
  )
  data, spec = tasks.problems(np.arange(6)), types.Spec(1, 1)
  before = learner.init(KEY, spec).params['policy']
  for name, form in FORMS.items():
    now['task'] = made(form, order='both', max_new_tokens=1).words.task
    after = train.fit(learner, data, key=KEY, spec=spec).params['policy']
    moved = jax.tree.map(lambda one, two: abs(one - two).max(), before, after)
    # Steps of Adam; none where the rewards of every group are equal.
    assert 0.02 < max(map(float, jax.tree.leaves(moved))) < 0.11, name
