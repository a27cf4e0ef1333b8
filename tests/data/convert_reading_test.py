import builtins
import gzip
import json
import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from prm_jax.data import convert, schema
from prm_jax.data.convert import texts
from tests.data.sets import (
  AB,
  PAIR,
  TRL,
  VOTES,
  WINNERS,
  arena,
  better,
  converted,
  message,
  refused,
  utterance,
)

# -------------------------------------------------------- options and reading


def test_parse_columns():
  assert convert.parse_columns('user_id=annotator, label = x+y,a=b=c') == {
    'user_id': 'annotator',
    'label': 'x+y',
    'a': 'b=c',
  }
  for text in ('', 'a', 'a=', '=b', 'a=b,', 'a=b,c'):
    with pytest.raises(ValueError, match='write NAME=VALUE'):
      convert.parse_columns(text)
  with pytest.raises(ValueError, match=r'a is given twice: write a=1\+2'):
    convert.parse_columns('a=1,a=2')


def test_the_options_in_the_documents_are_read():
  page = (Path(__file__).parents[2] / 'docs' / 'data_sets.md').read_text()
  columns = re.findall(r"--columns=([^\s']+\w)", page)
  labels = re.findall(r'--labels=(\S+\w)', page)
  assert (len(columns), len(labels)) == (5, 4)
  for text in [*columns, *labels]:
    assert convert.parse_columns(text)
  for name in convert.READERS:
    assert f'--from={name} ' in page


def test_unknown_readers_and_files(tmp_path):
  refused(tmp_path, '--from=csv: one of trl, chatbot_arena', 'csv', TRL)
  for name in ('set.pickle', 'set.arrow', 'set.parquet.gz'):
    with pytest.raises(schema.SchemaError, match='ends in none of'):
      convert.convert('trl', tmp_path / name, user='x')
  for name in ('no.jsonl', 'no.csv', 'no.json'):
    with pytest.raises(schema.SchemaError, match='is not a file'):
      convert.convert('trl', tmp_path / name, user='x')
  (tmp_path / 'none.jsonl').write_text('\n')
  with pytest.raises(schema.SchemaError, match='has no row'):
    convert.convert('trl', tmp_path / 'none.jsonl', user='x')


def test_a_malformed_row_in_a_hundred_is_reported(tmp_path):
  rows = [TRL[n % 10] for n in range(200)]
  faults = [
    {**TRL[0], 'chosen': 3},
    {**TRL[0], 'prompt': ' '},
    {**TRL[0], 'chosen': 'half \ud83d'},
    ['no object'],
    {**TRL[0], 'chosen': [{'role': [], 'content': 'x'}], 'rejected': []},
  ]
  for fault in faults:
    made, report, _ = converted(
      tmp_path, 'trl', [*rows[:50], fault, *rows[50:]], user='x'
    )
    assert (len(made), report.total, report.malformed) == (200, 201, 1)
    assert 'set.jsonl:51: ' in report.examples[0]
  refused(
    tmp_path, r'3 of 203 rows(.|\n)*:1: ', 'trl', faults[:3] + rows, user='x'
  )


def test_formats_read_alike(tmp_path):
  pairs = [
    {'prompt': f'Q{n}, "quoted"\nand on', 'chosen': 'é\t1', 'rejected': 'x'}
    for n in range(10)
  ]
  expected, _, _ = converted(tmp_path, 'trl', pairs, user='x')
  for name, text in (
    ('a.json', json.dumps(pairs, indent=2)),
    ('lines.json', '\n'.join(map(json.dumps, pairs))),
    ('bom.csv', '\ufeff' + separated(pairs, ',')),
    ('a.tsv', separated(pairs, '\t')),
  ):
    plain, packed = tmp_path / name, tmp_path / (name + '.gz')
    plain.write_text(text, encoding='utf-8')
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
      assert convert.convert('trl', path, user='x')[0] == expected


def separated(rows, mark):
  def field(text):
    return '"' + text.replace('"', '""') + '"'

  lines = [list(rows[0]), *(list(row.values()) for row in rows)]
  return ''.join(mark.join(map(field, line)) + '\n' for line in lines)


def test_rows_of_tables_are_numbered_by_line(tmp_path):
  path = tmp_path / 'a.csv'
  good = '"two\nlines",b,c\n'
  path.write_text('prompt,chosen,rejected\n' + good * 100 + 'x,y\n' + good * 9)
  made, report = convert.convert('trl', path, user='x')
  assert len(made) == 109
  assert report.examples == (f'{path}:202: has 2 fields under 3 names',)
  path.write_text('prompt,chosen,chosen\na,b,c\n')
  with pytest.raises(schema.SchemaError, match='two columns have one name'):
    convert.convert('trl', path, user='x')
  path.write_text('prompt,chosen,rejected\na,"b,c\n')
  with pytest.raises(schema.SchemaError, match='unexpected end of data'):
    convert.convert('trl', path, user='x')
  path.write_text(f'prompt,chosen,rejected\na,b,{"c" * 200_000}\n')
  made, _ = convert.convert('trl', path, user='x')
  assert len(better(made[0])[1]) == 200_000


def test_parquet(tmp_path):
  pyarrow = pytest.importorskip('pyarrow', reason='the extra parquet')
  from pyarrow import parquet

  path = tmp_path / 'arena.parquet'
  rows = [arena(n, winner) for n, winner in enumerate(WINNERS)]
  for row in rows:  # Parquet has no empty objects
    row['openai_moderation'] = row['toxic_chat_tag'] = {'flagged': False}
  parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  expected, _, _ = converted(tmp_path, 'chatbot_arena', rows)
  assert convert.convert('chatbot_arena', path)[0] == expected
  path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(schema.SchemaError, match='cannot be read'):
    convert.convert('chatbot_arena', path)
  with pytest.raises(schema.SchemaError, match='is not a file'):
    convert.convert('chatbot_arena', tmp_path / 'none.parquet')


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
  real = builtins.__import__

  def without(name, *arguments, **options):
    if name.startswith('pyarrow'):
      raise ImportError(name)
    return real(name, *arguments, **options)

  monkeypatch.setattr(builtins, '__import__', without)
  with pytest.raises(schema.SchemaError, match='needs pyarrow: install it'):
    convert.convert('trl', tmp_path / 'a.parquet', user='x')


KINDS = {
  'trl': (TRL[0], {'user': 'x'}),
  'chatbot_arena': (arena(0, 'tie'), {}),
  'prism': (utterance(0, 0, 1, True), {}),
  'columns': (
    {**VOTES[0], 'age': 30, 'many': [{'x': 1}]},
    {
      'columns': {**PAIR, 'topic': 'theme', 'user_attributes': 'age+many[].x'},
      'labels': AB,
    },
  ),
}


@pytest.mark.parametrize('name', KINDS)
def test_any_value_in_any_column_is_read_or_malformed(tmp_path, name):
  row, options = KINDS[name]
  for column in row:
    for value in (None, 3, 1e400, True, '', [], [1], [[]], {}, {'x': [1]}):
      rows = [row] * 100 + [{**row, column: value}]
      made, report, _ = converted(tmp_path, name, rows, **options)
      assert 100 <= len(made) <= 101
      assert report.malformed <= 1


# ----------------------------------------------------------------- properties

WORDS = strategies.text(max_size=6)
MESSAGES = strategies.lists(
  strategies.builds(
    message, strategies.sampled_from(['user', 'assistant', 'system']), WORDS
  ),
  min_size=1,
  max_size=4,
)
SAID = WORDS | MESSAGES
ANY = SAID | strategies.none() | strategies.integers()


@hypothesis.given(
  rows=strategies.lists(
    strategies.fixed_dictionaries(
      {'prompt': ANY, 'chosen': ANY, 'rejected': ANY}
    ),
    min_size=1,
    max_size=5,
  )
)
@hypothesis.settings(deadline=None)
def test_whatever_a_row_holds_is_read_or_malformed(tmp_path_factory, rows):
  folder = tmp_path_factory.mktemp('rows')
  good = [
    {'prompt': f'{n}?', 'chosen': 'y', 'rejected': 'n'} for n in range(500)
  ]
  made, report, _ = converted(folder, 'trl', good + rows, user='x')
  assert len(made) + report.malformed == report.total == 500 + len(rows)
  for row in made:
    schema.parse_row(row)


@hypothesis.given(
  said=MESSAGES.filter(lambda m: all('\n' not in x['content'] for x in m))
)
def test_messages_can_be_read_back(said):
  text = texts.text(said, 'prompt')
  if len(said) == 1 and said[0]['role'] != 'system':
    assert text == said[0]['content']
    return
  lines = [line.split(': ', 1) for line in text.split('\n')]
  assert [message(role.lower(), content) for role, content in lines] == said
