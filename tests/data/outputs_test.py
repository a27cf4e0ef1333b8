"""Vicuna outputs, samples on MATH, arithmetic problems, and LLMBar's pairs."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema


def write(path, rows):
  path.parent.mkdir(exist_ok=True)
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


QUESTIONS = [
  {'question_id': 1, 'text': 'Why?', 'category': 'generic'},
  {'question_id': 2, 'text': 'How?', 'category': 'math'},
]


def given(policy, question, rest='', **more):
  """Returns a row whose prompt is what the model was given."""
  text = QUESTIONS[question - 1]['text']
  prompt = f'A chat. ### Human: {text} ### Assistant:{rest}'
  row = {'policy': policy, 'question_id': question, 'text': text}
  return {**row, 'prompt': prompt, **more}


def vicuna(folder, *rows):
  folder = folder / 'qlora_vicuna'
  write(folder / 'vicuna_questions.jsonl.gz', QUESTIONS)
  write(folder / 'generations.jsonl.gz', rows)


def test_answers_without_the_scaffold(tmp_path, private_cache):
  vicuna(
    tmp_path,
    {'policy': 'd', 'question_id': 2, 'text': ' plain\n'},
    given('c', 1, ' after the prompt'),
    given('c', 2),  # one empty answer is an answer
    given('b', 1, generation='g1 '),
    given('b', 2, generation='g2'),
  )
  for _ in range(2):  # prepared, then reused
    found = load.vicuna_outputs(tmp_path)
    assert found.policies == ['d', 'c', 'b']
    assert found.texts == ['plain', 'after the prompt', '', 'g1', 'g2']
    asked = [found.prompts[p] for p in found.item_prompt]
    assert asked == ['How?', 'Why?', 'How?', 'Why?', 'How?']
    assert found.topics == ['math', 'generic']
    assert np.isnan(found.judge).all()
    assert found.dropped == {}


def test_copies_and_the_silent_are_dropped(tmp_path, private_cache):
  rows = [given(p, q, generation=f'g{q}') for p in 'zay' for q in (1, 2)]
  near = [given('n', 1, generation='g1'), given('n', 2, generation='x')]
  vicuna(tmp_path, *rows, *near, given('m', 1), given('m', 2))
  found = load.vicuna_outputs(tmp_path)
  assert sorted(found.policies) == ['a', 'n']
  assert found.dropped == {
    'm': 'no generated text',
    'y': 'a copy of a',
    'z': 'a copy of a',
  }


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    ([given('a', 1, ' x', question_id=9)], r'gz:1: question_id: no question 9'),
    ([given('a', 1, ' x')] * 2, r'gz:2: question_id: a answers 1 twice'),
    ([given('a', 1, prompt='Hm')], r'gz:1: prompt: does not hold'),
    ([given('a', 1, generation=3)], r'gz:1: generation: expected str'),
    ([given('a', 1, text=None)], r'gz:1: text: expected str'),
    ([given('a', 1)], 'no policy is left of 1'),
  ],
)
def test_malformed_generations_are_named(
  tmp_path, private_cache, rows, message
):
  vicuna(tmp_path, *rows)
  with pytest.raises(schema.SchemaError, match=message):
    load.vicuna_outputs(tmp_path)


SAMPLE = {
  'idx': 4,
  'question': '1+1?',
  'level': 'Level 1',
  'solution': 'Two.',
  'response': ['2', '3'],
  'score': [True, False],
}


def maths(folder, *samples, svamp=(), asdiv=(), mawps=()):
  folder = folder / 'math_small'
  write(folder / 'math_cot_100_samples.jsonl.gz', samples)
  write(folder / 'svamp_test.jsonl.gz', svamp)
  write(folder / 'asdiv_test.jsonl.gz', asdiv)
  write(folder / 'mawps_test.jsonl.gz', mawps)


def test_samples_and_problems(tmp_path, private_cache):
  maths(
    tmp_path,
    SAMPLE,
    {**SAMPLE, 'idx': 5, 'question': '2+2?'},
    svamp=[{'Body': 'Ann has 2  figs', 'Question': 'How many?'}] * 2,
    asdiv=[{'body': 'If Bo has 3,', 'question': 'how many?'}],
    mawps=[{'input': 'ann has 2 figs. How many?'}, {'input': 'Cy has 1 . '}],
  )
  found = load.math_samples(tmp_path)
  assert found.policies == ['sampled', 'written by people']
  assert found.texts == ['2', '3', 'Two.'] * 2
  assert found.prompts == ['1+1?', '2+2?']
  np.testing.assert_array_equal(found.item_policy, [0, 0, 1] * 2)
  np.testing.assert_array_equal(found.judge, [1, 0, np.nan] * 2)
  assert load.arithmetic_problems(tmp_path) == [
    'Ann has 2 figs. How many?',
    'If Bo has 3, how many?',
    'Cy has 1 .',
  ]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'response': ['2', 3]}, r'gz:1: response: expected strings'),
    ({'response': []}, r'gz:1: response: expected strings'),
    ({'score': [True]}, r'gz:1: score: 1 of 2'),
    ({'score': [1, 0]}, r'gz:1: score: expected true or false'),
    ({'solution': None}, r'gz:1: solution: expected str'),
  ],
)
def test_malformed_samples_are_named(tmp_path, private_cache, change, message):
  maths(tmp_path, {**SAMPLE, **change})
  with pytest.raises(schema.SchemaError, match=message):
    load.math_samples(tmp_path)


def test_repeated_and_empty_problems_are_named(tmp_path, private_cache):
  maths(tmp_path, SAMPLE, SAMPLE)
  with pytest.raises(schema.SchemaError, match=r'gz:2: idx: 4 occurs twice'):
    load.math_samples(tmp_path)
  maths(tmp_path, SAMPLE, mawps=[{'input': ' '}])
  with pytest.raises(schema.SchemaError, match=r'mawps.*gz:1: input: is empty'):
    load.arithmetic_problems(tmp_path)
  maths(tmp_path, SAMPLE, asdiv=[{'body': 'x'}])
  with pytest.raises(schema.SchemaError, match=r'asdiv.*gz:1: question: expec'):
    load.arithmetic_problems(tmp_path)


PAIR = {
  'subset': 's',
  'input': 'Do.',
  'output_1': 'a',
  'output_2': 'b',
  'label': 1,
}


def test_pairs(tmp_path, private_cache):
  write(tmp_path / 'llmbar' / 'llmbar.jsonl.gz', [PAIR, {**PAIR, 'label': 2}])
  found = load.instruction_pairs(tmp_path)
  assert found.prompts == ['Do.'] * 2
  assert (found.first, found.second) == (['a'] * 2, ['b'] * 2)
  assert found.subset == ['s'] * 2
  np.testing.assert_array_equal(found.label, [1, 0])


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'label': 0}, r'llmbar\.jsonl\.gz:1: label: 0 is neither 1 nor 2'),
    ({'label': 'a'}, r'gz:1: label: expected int'),
    ({'output_2': None}, r'gz:1: output_2: expected str'),
  ],
)
def test_malformed_pairs_are_named(tmp_path, private_cache, change, message):
  write(tmp_path / 'llmbar' / 'llmbar.jsonl.gz', [{**PAIR, **change}])
  with pytest.raises(schema.SchemaError, match=message):
    load.instruction_pairs(tmp_path)


def test_missing_files_are_named(tmp_path, private_cache):
  for read, name in (
    (load.vicuna_outputs, 'generations'),
    (load.math_samples, 'math_cot_100_samples'),
    (load.arithmetic_problems, 'math_cot_100_samples'),
    (load.instruction_pairs, 'llmbar'),
  ):
    with pytest.raises(schema.SchemaError, match=rf'{name}\.jsonl\.gz is miss'):
      read(tmp_path)


def test_real_outputs(real_data, private_cache):
  answers = load.vicuna_outputs(real_data)
  assert len(answers.prompts) == 80
  # 33 of 37 policies have no generated text in the copy of the data.
  assert len(answers.policies) + len(answers.dropped) == 37
  assert len(answers.texts) == 80 * len(answers.policies) >= 320
  assert not any('### Assistant' in text for text in answers.texts)
  assert not set(answers.texts) & set(answers.prompts)
  samples = load.math_samples(real_data)
  assert len(samples.prompts) == 100
  np.testing.assert_array_equal(np.bincount(samples.item_policy), [800, 100])
  assert np.nansum(samples.judge) == 728
  assert np.isnan(samples.judge).sum() == 100
  problems = load.arithmetic_problems(real_data)
  assert len(problems) == len(set(problems)) == 4975
  pairs = load.instruction_pairs(real_data)
  assert len(pairs.prompts) == 885
  assert pairs.label.sum() == 440
