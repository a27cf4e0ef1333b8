"""Preferences in three forms, joined with the questions that test them."""

import numpy as np
import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders.prefeval import prefeval_dataset_builder
from tests.data import prefeval_rows


def test_rows_of_four_files_are_joined(tmp_path, private_cache):
  rows = prefeval_rows.files()
  del rows['explicit'][1]['explanation']
  del rows['mcq'][1]['violation_probability']
  for name in ('mcq', 'implicit_choice'):
    rows[name].reverse()  # their order is not what joins them
  prefeval_rows.write(tmp_path, rows)
  for _ in range(2):  # prepared, then reused
    found = load.stated_preferences(tmp_path)
    assert found.topics == ['drinks', 'drinks', 'home']
    np.testing.assert_array_equal(found.numbers, [0, 1, 0])
    # What is said outright; the other files' "really" is not.
    assert found.preferences[0] == 'I like tea.'
    assert found.questions == ['Which tea?', 'Which tram?', 'Which attic?']
    assert found.explanations == ['tea!', '', 'attic!']
    assert found.options[1] == (
      'tram kept',
      'tram left',
      'tram sold',
      'tram cut',
    )
    np.testing.assert_array_equal(found.violation, [1, np.nan, 1])
    assert found.personas == ['a baker'] * 3
    assert found.turns[1] == (('tram 0?', 'Yes 0.'), ('tram 1?', 'Yes 1.'))
    assert found.turns[1][1].answered == 'Yes 1.'
    assert found.choice_queries[2] == 'And now, attic?'
    assert found.choice_options[2][0] == 'now attic kept'
    assert found.choice_offers[2] == '1. now attic left\n2. now attic kept'
    assert found.choice_said[2] == 'The second attic.'
    assert found.choice_replies[2] == 'Well.'


def turn(**changed):
  return {'0': {'user': 'a', 'assistant': 'b'} | changed}


@pytest.mark.parametrize(
  ('name', 'change', 'message'),
  [
    ('explicit', {'preference': None}, r'2: preference: expected str'),
    ('explicit', {'k': 0}, r"explicit.*gz:2: topic, k: \('drinks', 0\) occurs"),
    ('explicit', {'explanation': 3}, r'2: explanation: expected str'),
    ('mcq', {'k': 7}, r"mcq.*gz: topic, k: no row \('drinks', 1\)"),
    (
      'mcq',
      {'question': 'Why?'},
      r"mcq.*question: that of row \('drinks', 1\)",
    ),
    (
      'mcq',
      {'classification_task_options': ['a', 'b', 'c']},
      r'mcq.*gz:2: classification_task_options: expected 4 texts',
    ),
    (
      'mcq',
      {'classification_task_options': ['a', 'b', 'c', 'a']},
      r'2: classification_task_options: a text occurs twice',
    ),
    ('mcq', {'violation_probability': True}, r'2: violation_prob.* float'),
    ('mcq', {'violation_probability': 1.5}, r'2: violation.* 1.5 is no share'),
    ('implicit_choice', {'aligned_op': 'x'}, r'2: aligned_op: is not the fir'),
    (
      'implicit_choice',
      {'options': ['a', 'b', 'c', 4]},
      r'options: expected s',
    ),
    ('implicit_choice', {'conversation': []}, r'2: conversation: expected di'),
    ('implicit_choice', {'conversation': {}}, r'2: assistant_options: expect'),
    ('implicit_persona', {'conversation': {}}, r'2: conversation: expected t'),
    ('implicit_persona', {'conversation': {'1': {}}}, r'numbered 0, 1, \.\.\.'),
    ('implicit_persona', {'conversation': turn(user=3)}, r'2: user: expected'),
  ],
)
def test_malformed_rows_are_named(tmp_path, name, change, message):
  rows = prefeval_rows.files()
  rows[name][1] |= change
  prefeval_rows.write(tmp_path, rows)
  # As `load` reads it, without what TFDS writes.
  builder = prefeval_dataset_builder
  made = builder.Builder(
    data_dir=str(tmp_path / 'cache'), config=builder.config(data_dir=tmp_path)
  )
  with pytest.raises(schema.SchemaError, match=message):
    list(made._generate_examples())


def test_rows_without_a_statement_and_missing_files_are_named(
  tmp_path, private_cache
):
  rows = prefeval_rows.files()
  del rows['explicit'][1]
  prefeval_rows.write(tmp_path, rows)
  with pytest.raises(
    schema.SchemaError, match=r"explicit.*no row \('drinks', 1"
  ):
    load.stated_preferences(tmp_path)
  (tmp_path / 'prefeval' / 'mcq.jsonl.gz').unlink()
  with pytest.raises(schema.SchemaError, match=r'mcq\.jsonl\.gz is missing'):
    load.stated_preferences(tmp_path)


def test_real_preferences(real_data, private_cache):
  found = load.stated_preferences(real_data)
  assert len(found.topics) == len(found.choice_replies) == 1000
  assert len(set(found.topics)) == 20
  assert np.isnan(found.violation).sum() == 195
  assert found.explanations.count('') == 1
  assert sum(map(len, found.turns)) == 5310
  assert found.options[0][0] == (
    'Enroll in a traditional classroom program at a local university.'
  )
