"""Critics of any task, and tasks in words."""

import json

import jax
import numpy as np
import pytest
import tokenizers

from prm_jax import types
from prm_jax.learners import critique_grpo
from prm_jax.models import decoder
from prm_jax.policy import critics, tasks, word_tasks

WORDS = ['<unk>', '<end>', *'abcdefgh', 'wrong', 'one', 'two']
STOP = '<end>'


@pytest.fixture(scope='module')
def tokenizer():
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  model = tokenizers.models.WordLevel(vocabulary, '<unk>')
  found = tokenizers.Tokenizer(model)
  found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return found


@pytest.fixture
def task(tokenizer):
  return word_tasks.words(
    tokenizer,
    ['a b', 'c d', 'a c'],
    lambda row, text: float(text == 'a'),
    max_new_tokens=2,
    stop=(STOP,),
    template=str,
  )


def test_words_and_tokens(task):
  asked = task.task.prompts(np.array([1, 0]))
  assert asked.ids.shape == (2, 32)
  assert task.decode(asked) == ['c d', 'a b']
  said = types.Tokens(np.array([[2, 1], [2, 3]]), np.ones((2, 2), int))
  assert task.decode(said) == ['a', 'a b']
  np.testing.assert_array_equal(
    task.task.verify(np.array([0, 0]), said), [1.0, 0.0]
  )
  again = task.decode(
    task.task.refine(np.array([0, 1]), said, task.encode(['wrong', '']))
  )
  assert again[0].startswith('a b')
  assert 'wrong' in again[0]
  assert 'wrong' not in again[1]
  assert not task.encode(['', 'a']).mask[0].any()


@pytest.mark.parametrize(
  ('questions', 'stop', 'words'),
  [
    ([], STOP, 'no questions'),
    (['a', ' '], STOP, r'questions \[1\] are empty'),
    (['a'], '<stop>', "'<stop>' is not in the vocabulary"),
  ],
)
def test_bad_tasks_are_refused(tokenizer, questions, stop, words):
  with pytest.raises(ValueError, match=words):
    word_tasks.words(
      tokenizer,
      questions,
      lambda row, text: 0.0,
      max_new_tokens=2,
      stop=(stop,),
    )


def attempts(task, *said):
  return task.encode(said)


def ask(critic, task, problem, given):
  reward = np.zeros(len(problem))
  needed = np.ones(len(problem), bool)
  found, cost = critic(
    jax.random.key(0), {}, np.array(problem), given, reward, needed
  )
  assert cost == 0
  return task.decode(found)


def test_a_rule_reads_and_writes_text(task):
  def says(problem, attempt, reward):
    del reward
    return f'wrong {attempt}' if problem else ''

  critic = critics.rule(says, task.decode, task.encode)
  given = attempts(task, 'a', 'b')
  assert ask(critic, task, [0, 1], given) == ['', 'wrong b']


def test_shuffled_critiques_are_of_other_problems(task):
  names = ['one', 'two', 'wrong']
  critic = critics.shuffled(
    critics.rule(lambda row, *_: names[row], task.decode, task.encode)
  )
  problem = [0, 0, 1, 1, 2]
  said = ask(critic, task, problem, attempts(task, *'abcde'))
  assert all(names[p] != s for p, s in zip(problem, said, strict=True))
  # Wrong attempts hear what was said of wrong ones.
  reward = np.array([1.0, 0.0, 1.0, 0.0])
  given = attempts(task, *'abcd')
  known = critics.rule(lambda row, text, reward: text, task.decode, task.encode)
  said, _ = critics.shuffled(known)(
    None, None, np.arange(4), given, reward, reward < 0.5
  )
  assert task.decode(said) == ['c', 'd', 'a', 'b']
  # One problem alone has no other.
  assert ask(critic, task, [1, 1], attempts(task, 'a', 'b')) == ['two', 'two']


def test_replayed_critiques(task, tmp_path):
  path = tmp_path / 'said.jsonl'
  rows = [
    {'problem': 'p', 'attempt': 'a', 'critique': 'one'},
    {'problem': 'p', 'critique': 'two'},
  ]
  path.write_text('\n'.join(map(json.dumps, rows)) + '\n')
  critic = critics.replayed(path, ['p', 'q', 'r'], task.decode, task.encode)
  given = attempts(task, 'a', 'b', 'a')
  assert ask(critic, task, [0, 0, 1], given) == ['one', 'two', '']


@pytest.mark.parametrize(
  ('line', 'words'),
  [
    ('{', 'not JSON'),
    ('[]', 'not an object'),
    ('{"problem": "p"}', 'critique: expected a text'),
    ('{"problem": "x", "critique": "c"}', "'x' is unknown"),
    ('{"problem": "p", "critique": "c", "attempt": 3}', 'attempt: expected'),
  ],
)
def test_malformed_files_name_the_row(task, tmp_path, line, words):
  path = tmp_path / 'said.jsonl'
  path.write_text(f'{json.dumps({"problem": "p", "critique": ""})}\n{line}\n')
  with pytest.raises(ValueError, match=r'said\.jsonl:2') as error:
    critics.replayed(path, ['p'], task.decode, task.encode)
  assert words in str(error.value)


@pytest.mark.slow
def test_a_policy_that_criticises_itself_pays_for_its_words(task):
  config = decoder.DecoderConfig(len(WORDS), 16, 16, 1, 1, 1, 16)
  critic = critics.own(config, task.requests, max_new_tokens=4)
  learner = critique_grpo.critique_grpo(
    task=task.task, critic=critic, config=config, samples=2
  )
  state = learner.init(jax.random.key(0), types.Spec(1, 1))
  state = learner.phases[0].begin(state, None)
  batch = tasks.problems(np.arange(3))
  _, metrics = learner.phases[0].collect(jax.random.key(1), state, batch)
  spent = float(metrics['tokens'].compute())
  # Three problems: two answers, a refinement and a critique of four.
  assert spent > 3 * 4
  assert float(metrics['criticised'].compute()) == 1.0
