import gzip
import json

import numpy as np
import pytest

from prm_jax.data import answers, load, schema


@pytest.mark.parametrize(
  ('text', 'want'),
  [
    (r'so it is \boxed{420}.', '420'),
    (
      r'first \boxed{1}, then \boxed{\frac{1}{\sqrt{2}}}',
      r'\frac{1}{\sqrt{2}}',
    ),
    (r'never closes \boxed{4', '4'),
    ('He pays 3 and 4.\n#### 1,200', '1,200'),
    ('2+1=3 bolts\nA: 3', '3'),
    ('The answer is 12 apples.', '12 apples'),
    ('Final answer: -5', '-5'),
    ('The answer is 5. I hope this helps!', '5'),
    ('The answer is **$1,250.50**.', '$1,250.50'),
    ('The answer is **7**. Let me know.', '7'),
    ('The answer is 3.5 apples', '3.5 apples'),
    ('It costs $3.50 in all, of $10.', '$10'),
    ('I do not know.', None),
    ('', None),
    ('A: ' + 'x' * 500, None),
  ],
)
def test_final_answers(text, want):
  assert answers.final(text) == want


@pytest.mark.parametrize(
  ('first', 'second'),
  [
    ('1/2', '0.5'),
    (r'\frac12', '.5'),
    (r'\dfrac{1}{2}', '1/2'),
    ('1,200', '1200'),
    ('$18', '18 dollars'),
    ('3.0', '3'),
    ('-7', '\u22127'),
    (r'50\%', '50'),
    ('(1, 2)', '(1,2.0)'),
    (r'\text{east}', 'East'),
    (r'x = 5', '5'),
    (r'90^\circ', '90'),
    (r'\left( 3, \frac{1}{2} \right)', '(3,0.5)'),
    (r'2\sqrt{3}', r'2 \sqrt{3}'),
    ('12.', '12'),
    (r'-\frac{1}{3}', '-1/3'),
    (r'1\frac{1}{2}', '1.5'),
    (r'-2\frac14', '-9/4'),
    (r'12 \frac{3}{5}', r'12\frac{3}{5}'),
  ],
)
def test_equal_answers(first, second):
  assert answers.equal(first, second)
  assert answers.equal(second, first)


@pytest.mark.parametrize(
  ('first', 'second'),
  [
    ('1', '2'),
    ('1/2', '1/3'),
    ('(1,2)', '(2,1)'),
    ('1,2', '1'),
    (None, None),
    ('', ''),
    ('1/0', '1/0 apples x'),
    ('12', '1,2'),
    ('2(3)', '23'),
    (r'1\frac{1}{2}', '11/2'),
    ('9' * 50, '9' * 49),
    ('__import__("os")', '0'),
  ],
)
def test_unequal_answers(first, second):
  assert not answers.equal(first, second)


def test_exact_and_not_evaluated():
  assert not answers.equal('0.3333', '1/3')
  assert answers.value('2**9') is None
  assert answers.value('1/0') is None


def test_agrees_with_the_marks_of_real_solutions(real_data):
  """Of policies' solutions to GSM8K, marked by its authors."""
  solved = load.word_problems(real_data, 'test')
  truth = {
    solved.prompt_ids[p]: answers.final(text)
    for p, text in zip(solved.item_prompt, solved.texts, strict=True)
  }
  assert len(truth) == 1319
  assert all(value is not None for value in truth.values())
  found = load.word_problems(real_data, 'outputs')
  assert len(found.texts) == 4 * 1319
  right = np.array(
    [
      answers.equal(answers.final(text), truth[found.prompt_ids[p]])
      for text, p in zip(found.texts, found.item_prompt, strict=True)
    ]
  )
  agreement = np.mean(right == (found.judge > 0.5))
  assert agreement > 0.995, agreement


def test_agrees_with_the_marks_of_samples_on_math(real_data):
  found = load.math_samples(real_data)
  people = found.policies.index('written by people')
  truth = {
    p: answers.final(text)
    for p, text, who in zip(
      found.item_prompt, found.texts, found.item_policy, strict=True
    )
    if who == people
  }
  rows = np.flatnonzero(found.item_policy != people)
  right = np.array(
    [
      answers.equal(answers.final(found.texts[i]), truth[found.item_prompt[i]])
      for i in rows
    ]
  )
  agreement = np.mean(right == (found.judge[rows] > 0.5))
  assert agreement > 0.97, agreement


def write(path, rows):
  path.parent.mkdir(exist_ok=True)
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


def gsm8k(folder, answer='It is 2.\n#### 2', right=True):
  folder = folder / 'gsm8k'
  for split in ('train', 'test'):
    row = {'question': f'{split}?', 'answer': answer}
    write(folder / f'{split}.jsonl.gz', [row])
  names = (
    '6b_finetuning',
    '6b_verification',
    '175b_finetuning',
    '175b_verification',
  )
  policies = {n: {'solution': f'{n}\nA: 2', 'is_correct': right} for n in names}
  write(
    folder / 'example_model_solutions.jsonl.gz',
    [{'question': 'test?', 'ground_truth': 'A: 2', **policies}],
  )


def test_word_problems(tmp_path, private_cache):
  gsm8k(tmp_path)
  for _ in range(2):
    train = load.word_problems(tmp_path)
    assert (train.prompts, train.texts) == (['train?'], ['It is 2.\n#### 2'])
    assert train.policies == ['written by people']
    outputs = load.word_problems(tmp_path, 'outputs')
    assert len(outputs.policies) == 4
    np.testing.assert_array_equal(outputs.judge, 1.0)
    assert outputs.prompt_ids == ['test0001']
  with pytest.raises(ValueError, match='train, test or outputs'):
    load.word_problems(tmp_path, 'all')


@pytest.mark.parametrize(
  ('bad', 'words'),
  [({'answer': 'It is 2.'}, 'no `####`'), ({'right': 'yes'}, 'true or false')],
)
def test_malformed_word_problems_name_file_and_row(
  bad, words, tmp_path, private_cache
):
  gsm8k(tmp_path, **bad)
  with pytest.raises(schema.SchemaError, match=r'jsonl\.gz:1: .*') as error:
    load.word_problems(tmp_path)
  assert words in str(error.value)
