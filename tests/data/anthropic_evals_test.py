"""Persona statements and the political typology, read and refused."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders import anthropic_evals
from prm_jax.data.builders.anthropic_evals import (
  anthropic_evals_dataset_builder as builder,
)

PERSONA = [
  {'trait': 'tidy', 'statement': 'I fold.', 'match': 'Yes'},
  {'trait': 'loud', 'statement': 'I sing.', 'match': 'Yes'},
  {'trait': 'tidy', 'statement': 'I pile.', 'match': 'No'},
]
BIOGRAPHIES = {
  'liberal': ('I am Ann. I like tea.', 'I am Bob, from far away.'),
  'conservative': ('I am Cid. I like tea.', 'I am Dan and I row.'),
}
# Question, (A), (B), the liberal one; the last two share their answers.
QUESTIONS = [
  ('Would you rather have...', 'less', 'more', 'B'),
  ('What of cats?', 'cold', 'warm', 'A'),
  ('What of dogs?', 'cold', 'warm', 'B'),
]


def prompts():
  for bio, texts in BIOGRAPHIES.items():
    for text in texts:
      for question, a, b, liberal in QUESTIONS:
        other = 'AB'.replace(liberal, '')
        yield {
          'bio': bio,
          'prompt': f'{text} {question}\n (A) {a}\n (B) {b}\n\nAnswer:',
          'corrects': [f' ({liberal})'],
          'incorrects': [f' ({other})'],
        }


def write(folder, persona=None, typology=None):
  """Writes the source's layout; a row may replace the last one."""
  (folder / 'anthropic_evals').mkdir()
  persona_rows = [{**row, 'label_confidence': 0.5} for row in PERSONA]
  typology_rows = list(prompts())
  persona_rows[-1].update(persona or {})
  typology_rows[-1].update(typology or {})
  for name, rows in (
    ('persona', persona_rows),
    ('sycophancy_political_typology', typology_rows),
  ):
    path = folder / 'anthropic_evals' / f'{name}.jsonl.gz'
    with gzip.open(path, 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)


def test_statements(tmp_path, private_cache):
  write(tmp_path)
  found = load.persona_statements(tmp_path)
  assert found.traits == ['tidy', 'loud']
  assert found.texts == ['I fold.', 'I pile.', 'I sing.']
  np.testing.assert_array_equal(found.trait, [0, 0, 1])
  np.testing.assert_array_equal(found.match, [True, False, True])
  np.testing.assert_array_equal(found.confidence, [0.5] * 3)


def test_prompts_are_taken_apart(tmp_path, private_cache):
  write(tmp_path)
  found = load.political_typology(tmp_path)
  assert found.biographies == [
    *BIOGRAPHIES['liberal'],
    *BIOGRAPHIES['conservative'],
  ]
  np.testing.assert_array_equal(found.liberal_biography, [1, 1, 0, 0])
  assert found.questions == [question for question, *_ in QUESTIONS]
  assert found.answers == [(a, b) for _, a, b, _ in QUESTIONS]
  np.testing.assert_array_equal(found.liberal_answer, [1, 0, 1])
  np.testing.assert_array_equal(found.biography, np.repeat(range(4), 3))
  np.testing.assert_array_equal(found.question, np.tile(range(3), 4))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'bio': 'green'}, r'typology\.jsonl\.gz:12: bio: '),
    ({'prompt': 'I am Eve. Why?\n (A) x\n\nAnswer:'}, r':12: prompt: expected'),
    (
      {'prompt': 'Me. Why?\n (A) x\n (B) y\n\nAnswer:'},
      r':12: prompt: cannot tell the biography',
    ),
    ({'corrects': [' (C)']}, r':12: corrects, incorrects: '),
    ({'corrects': [' (A)', ' (B)'], 'incorrects': []}, r':12: corrects'),
    ({'corrects': ' (A)'}, r':12: corrects: expected list'),
  ],
)
def test_malformed_prompts_are_named(tmp_path, private_cache, change, message):
  write(tmp_path, typology=change)
  with pytest.raises(schema.SchemaError, match=message):
    load.political_typology(tmp_path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'match': 'Maybe'}, r'persona\.jsonl\.gz:3: match: '),
    ({'statement': None}, r'persona\.jsonl\.gz:3: statement: expected str'),
  ],
)
def test_malformed_statements_are_named(
  tmp_path, private_cache, change, message
):
  write(tmp_path, persona=change)
  with pytest.raises(schema.SchemaError, match=message):
    load.persona_statements(tmp_path)


def test_missing_files_are_named(tmp_path, private_cache):
  with pytest.raises(schema.SchemaError, match=r'persona\.jsonl\.gz is missi'):
    load.persona_statements(tmp_path)


def test_the_label_is_not_called_right():
  assert anthropic_evals.__doc__
  assert 'not which text is right' in ' '.join(builder.__doc__.split())
  assert 'neither the right answer' in schema.PoliticalTypology.__doc__
  assert 'not the right one' in load.political_typology.__doc__


def test_real_anthropic_evals(real_data, private_cache):
  statements = load.persona_statements(real_data)
  assert len(statements.texts) == 133_204
  assert len(statements.traits) == 135
  assert statements.match.mean() == 0.5
  typology = load.political_typology(real_data)
  assert len(typology.question) == 10_200
  assert len(typology.biographies) == 600
  assert typology.liberal_biography.sum() == 300
  # 17 questions with 15 pairs of answers: two pairs serve two questions.
  assert len(typology.questions) == 17
  assert len(set(typology.answers)) == 15
  pairs = set(zip(typology.biography, typology.question, strict=True))
  assert len(pairs) == 10_200
