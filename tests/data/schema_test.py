import dataclasses
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_jax.data import schema

ROW = {
  'user_id': 'ann',
  'prompt_id': 'p',
  'prompt': 'Why?',
  'response_a': 'x',
  'response_b': 'y',
  'label': 'a',
}
RATING = {
  'user_id': 'ann',
  'prompt_id': 'p',
  'prompt': 'Why?',
  'response': 'x',
  'rating': 3,
}


@pytest.mark.parametrize(
  ('label', 'value'), [('a', 1), ('b', 0), ('tie', 0.5), (0.25, 0.25), (1, 1)]
)
def test_labels(label, value):
  assert schema.parse_row({**ROW, 'label': label}).label == value


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'label': 'c'}, "label: 'c' is none of"),
    ({'label': 1.5}, 'label: 1.5 is not a probability'),
    ({'label': True}, 'label: True is not a number'),
    ({'label': float('nan')}, 'label: nan is not finite'),
    ({'user_id': ''}, 'user_id: is empty'),
    ({'user_id': 3}, 'user_id: is int, not a string'),
    ({'response_b': None}, 'response_b: is NoneType'),
    ({'user_attributes': 'old'}, 'user_attributes: is not an object'),
    ({'topic': 1}, 'topic: is int, not a string'),
    ({'rating': 1}, 'rating and label'),
  ],
)
def test_bad_fields_are_named(change, message):
  with pytest.raises(schema.SchemaError, match=message):
    schema.parse_row({**ROW, **change})


@pytest.mark.parametrize('name', sorted(ROW))
def test_missing_fields_are_named(name):
  row = {key: value for key, value in ROW.items() if key != name}
  with pytest.raises(schema.SchemaError, match=f'{name}: is missing'):
    schema.parse_row(row)


@pytest.mark.parametrize('rating', ['5', float('inf'), None])
def test_bad_ratings(rating):
  with pytest.raises(schema.SchemaError, match='rating: '):
    schema.parse_row({**RATING, 'rating': rating})


def write(path, rows):
  lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
  path.write_text('\n'.join(lines) + '\n')
  return path


def test_responses_are_coded_by_prompt(tmp_path):
  rows = [
    ROW,
    {**ROW, 'user_id': 'bob', 'response_a': 'y', 'response_b': 'x'},
    {**ROW, 'prompt_id': 'q', 'topic': 't', 'label': 'tie'},
  ]
  table, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))
  assert table.texts == ['x', 'y', 'x', 'y']
  np.testing.assert_array_equal(table.items, [[0, 1], [1, 0], [2, 3]])
  np.testing.assert_array_equal(table.user, [0, 1, 0])
  np.testing.assert_array_equal(table.label, [1, 1, 0.5])
  assert table.topics == ['p', 't']
  assert report == schema.Report(3, 0)


def test_few_malformed_rows_are_counted(tmp_path):
  rows = [ROW] * 150 + ['{"user_id": '] + [ROW] * 49
  table, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))
  assert len(table.user) == 199
  assert (report.total, report.malformed) == (200, 1)
  assert 'a.jsonl:151: not JSON' in report.lines()[1]


def test_many_malformed_rows_stop_the_build(tmp_path):
  rows = [ROW] * 97 + [{**ROW, 'label': 'z'}] * 3
  with pytest.raises(
    schema.SchemaError, match=r'3 of 100 rows(.|\n)*:98: label'
  ):
    schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))


def test_empty_mixed_missing_and_broken_files(tmp_path):
  with pytest.raises(schema.SchemaError, match='has no row'):
    schema.read_jsonl(write(tmp_path / 'empty.jsonl', ['']))
  with pytest.raises(schema.SchemaError, match='1 ratings among 1'):
    schema.read_jsonl(write(tmp_path / 'mixed.jsonl', [ROW, RATING]))
  with pytest.raises(schema.SchemaError, match='is not a file'):
    schema.read_jsonl(tmp_path / 'none.jsonl')
  broken = tmp_path / 'broken.jsonl.gz'
  broken.write_bytes(gzip.compress(json.dumps(ROW).encode())[:-12])
  with pytest.raises(schema.SchemaError, match='cannot be read'):
    schema.read_jsonl(broken)
  latin = tmp_path / 'latin.jsonl'
  latin.write_bytes('{"prompt": "é"}'.encode('latin-1'))
  with pytest.raises(schema.SchemaError, match='cannot be read'):
    schema.read_jsonl(latin)


def test_ratings_are_coded(tmp_path):
  rows = [RATING, {**RATING, 'response': 'z', 'rating': -1.5}]
  table, _ = schema.read_jsonl(write(tmp_path / 'r.jsonl', rows))
  assert isinstance(table, schema.Ratings)
  np.testing.assert_array_equal(table.rating, [3, -1.5])


# ------------------------------------------------- faults that people reported


def refused(tmp_path, rows, match):
  with pytest.raises(schema.SchemaError, match=match):
    schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))


@pytest.mark.parametrize('gz', [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path, gz):
  path = tmp_path / ('a.jsonl.gz' if gz else 'a.jsonl')
  text = (json.dumps(ROW) + '\n').encode('utf-8-sig')
  path.write_bytes(gzip.compress(text) if gz else text)
  table, report = schema.read_jsonl(path)
  assert (len(table.user), report.malformed) == (1, 0)
  assert schema.read_texts(path, 'prompt')[0]['user_id'] == ROW['user_id']


FAULTS = {
  'half of a character': {**ROW, 'response_a': 'cut \ud83d'},
  'topic: holds half': {**ROW, 'topic': '\udc00'},
  'label: is given twice': '{"label": "b", ' + json.dumps(ROW)[1:],
  'is too large': {**ROW, 'label': 10**400},
  'not JSON': '{"label": ' + '9' * 5000 + '}',
  'recursion': '[' * 100_000,
  'JSON array': [ROW],
  'prm convert --from=trl': {'prompt': 'x', 'chosen': 'y', 'rejected': 'z'},
}


@pytest.mark.parametrize('message', FAULTS)
def test_every_fault_of_a_row_is_a_malformed_row(tmp_path, message):
  rows = [ROW] * 120
  rows[40] = FAULTS[message]
  table, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))
  assert len(table.user) == 119
  assert 'a.jsonl:41: ' in report.examples[0]
  assert message in report.examples[0]


def test_a_prompt_id_of_two_prompts_is_refused(tmp_path):
  other = {**ROW, 'prompt': 'Another question?'}
  rows = [ROW, other]
  refused(tmp_path, rows, r":2: prompt_id: 'p' is another prompt in line 1")
  rows = [{**ROW, 'topic': 't'}, {**ROW, 'topic': 's'}]
  refused(tmp_path, rows, ":2: topic: prompt 'p' has topic 't' in line 1")


def test_the_same_words_are_one_prompt(tmp_path):
  rows = [{**ROW, 'prompt_id': f'record {n}'} for n in range(3)]
  table, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))
  assert table.prompt_ids == ['record 0']
  assert table.topics == ['record 0']
  assert len(table.texts) == 2
  assert report.notes == (
    '2 prompts have the words of another one and are taken for it',
  )
  # Of a prompt without words nothing is known but its name.
  rows = [{**row, 'prompt': ''} for row in rows]
  table, report = schema.read_jsonl(write(tmp_path / 'b.jsonl', rows))
  assert len(table.prompt_ids) == 3
  assert not report.notes


def test_a_response_beside_itself_teaches_nothing(tmp_path):
  same = {**ROW, 'response_b': ROW['response_a']}
  table, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', [ROW, same]))
  assert len(table.user) == 1
  assert '1 of 2 rows compare a response with itself' in report.notes[0]
  refused(tmp_path, [same], 'every row compares a response with itself')


def test_ties_alone_are_said(tmp_path):
  rows = [{**ROW, 'label': 'tie'}, {**ROW, 'label': 0.5}]
  _, report = schema.read_jsonl(write(tmp_path / 'a.jsonl', rows))
  assert report.notes == (
    'every row is a tie: nobody says which of two is better',
  )
  _, report = schema.read_jsonl(write(tmp_path / 'b.jsonl', [*rows, ROW]))
  assert not report.notes


def test_texts_name_file_and_line(tmp_path):
  path = write(tmp_path / 'a.jsonl', [{'response': 'x'}, '', {'response': 3}])
  with pytest.raises(schema.SchemaError, match=r'a\.jsonl:3: response: is int'):
    schema.read_texts(path, 'response')
  with pytest.raises(schema.SchemaError, match='has no row'):
    schema.read_texts(write(tmp_path / 'b.jsonl', ['']), 'response')


# ------------------------------------------------- judgements written as lines


@st.composite
def judgements(draw):
  """Returns a small table as `code_judgements` makes them, of any words."""
  words = st.text(max_size=4)
  prompts = draw(
    st.dictionaries(words, st.tuples(words, words), min_size=1, max_size=3)
  )
  # Prompts of the same words would become one.
  prompts = {
    name: (f'{number} {prompt}', topic)
    for number, (name, (prompt, topic)) in enumerate(prompts.items())
  }
  known = st.dictionaries(words, words | st.floats(-9, 9), max_size=2)
  people = draw(
    st.dictionaries(st.text(min_size=1, max_size=4), known, min_size=1)
  )
  label = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1, width=32)
  row = st.tuples(
    st.sampled_from(sorted(people)),
    st.sampled_from(sorted(prompts)),
    st.lists(words, min_size=2, max_size=2, unique=True),
    label,
  )
  rows = draw(st.lists(row, min_size=1, max_size=8))
  return schema.code_judgements(
    schema.Judgement(
      user_id=user,
      prompt_id=prompt,
      prompt=prompts[prompt][0],
      response_a=a,
      response_b=b,
      label=value,
      topic=prompts[prompt][1],
      user_attributes=json.dumps(people[user], sort_keys=True),
    )
    for user, prompt, (a, b), value in rows
  )


@given(judged=judgements())
def test_lines_are_read_as_they_were(tmp_path_factory, judged):
  path = tmp_path_factory.mktemp('lines') / 'a.jsonl'
  with path.open('w') as file:
    file.writelines(schema.judgement_lines(judged))
  again, report = schema.read_jsonl(path)
  assert (report.total, report.malformed) == (len(judged.user), 0)
  for field in dataclasses.fields(schema.Judgements):
    value, want = getattr(again, field.name), getattr(judged, field.name)
    if isinstance(want, np.ndarray):
      assert value.dtype == want.dtype
      np.testing.assert_array_equal(value, want)
    else:
      assert value == want


def test_lines_say_a_b_and_tie():
  rows = [{**ROW, 'label': label} for label in ('a', 'b', 0.5, 0.25)]
  judged = schema.code_judgements(schema.parse_row(row) for row in rows)
  lines = list(schema.judgement_lines(judged))
  assert all(line.endswith('\n') for line in lines)
  rows = [json.loads(line) for line in lines]
  assert [row['label'] for row in rows] == ['a', 'b', 'tie', 0.25]
  assert rows[0] == {**ROW, 'topic': 'p', 'user_attributes': {}}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'label': np.float32([2])}, 'label: 2.0 is not a probability'),
    ({'label': np.float32([np.nan])}, 'label: nan is not finite'),
    ({'user_ids': ['']}, 'user_id: is empty'),
    ({'attributes': ['']}, 'not JSON'),
    ({'attributes': ['[]']}, 'user_attributes: is not an object'),
    ({'texts': ['cut \ud83d', 'y']}, 'response_a: holds half'),
  ],
)
def test_no_line_is_written_that_is_not_read(change, message):
  judged = schema.code_judgements([schema.parse_row(ROW)])
  with pytest.raises(schema.SchemaError, match=message):
    list(schema.judgement_lines(dataclasses.replace(judged, **change)))
