"""A worker's own stance: read for the audit, and kept nowhere."""

import gzip
import json

import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders.ukp_convarg import stated_stances

ARGUMENTS = [
  {
    'arg': arg,
    'topic': f'tea_{side}',
    'title': 'T',
    'stance': side,
    'text': arg,
  }
  for side in ('yes', 'no')
  for arg in (f'{side}1', f'{side}2')
]


def write(folder, given):
  """Writes judgements of `(user, side, stance)`; no stance: no field."""
  (folder / 'ukp_convarg').mkdir()
  rows = []
  for user, side, *stance in given:
    row = {
      'user': user,
      'topic': f'tea_{side}',
      'a1': f'{side}1',
      'a2': f'{side}2',
      'choice': 'a1',
    }
    rows.append(row | ({'user_stance': stance[0]} if stance else {}))
  for name, table in (('arguments', ARGUMENTS), ('judgements', rows)):
    path = folder / 'ukp_convarg' / f'{name}.jsonl.gz'
    with gzip.open(path, 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in table)


GIVEN = [
  ('u0', 'yes', 'same'),
  ('u0', 'yes', None),
  ('u0', 'no', 'opposite'),
  ('u1', 'yes', 'none'),
  ('u1', 'yes', 'same'),
  ('u1', 'yes', 'same'),
  ('u2', 'yes', 'same'),
  ('u2', 'yes', 'opposite'),
  ('u3', 'no', None),
]


def test_majority_counts_and_ties_are_left_out(tmp_path):
  write(tmp_path, GIVEN)
  assert stated_stances.read(tmp_path) == [
    ('u0', 'tea_yes', 'tea', 'same'),
    ('u0', 'tea_no', 'tea', 'opposite'),
    ('u1', 'tea_yes', 'tea', 'same'),
  ]


def test_keys_are_the_tables_and_the_table_holds_no_stance(
  tmp_path, private_cache
):
  write(tmp_path, GIVEN)
  table = load.judgements('ukp_convarg', data_dir=tmp_path)
  known = dict(zip(table.prompt_ids, table.topics, strict=True))
  for one in stated_stances.read(tmp_path):
    assert one.user_id in table.user_ids
    assert known[one.prompt_id] == one.topic
  assert set(table.attributes) == {'{}'}
  prepared = [p for p in private_cache.rglob('*') if p.is_file()]
  assert prepared
  for word in (b'user_stance', b'opposite'):
    assert not any(word in path.read_bytes() for path in prepared)


def test_reading_leaves_nothing_behind(tmp_path, private_cache):
  write(tmp_path, GIVEN)
  before = sorted(tmp_path.rglob('*'))
  stated_stances.read(tmp_path)
  assert sorted(tmp_path.rglob('*')) == before


def test_malformed_stances_are_named_but_not_shown(tmp_path):
  write(tmp_path, [('u0', 'yes', 'same'), ('u1', 'yes', 'secret')])
  with pytest.raises(schema.SchemaError, match=r'gz:2: user_stance') as caught:
    stated_stances.read(tmp_path)
  assert 'secret' not in str(caught.value)


def test_missing_field_and_file_are_named(tmp_path):
  with pytest.raises(schema.SchemaError, match=r'judgements\.jsonl\.gz is mis'):
    stated_stances.read(tmp_path)
  write(tmp_path, [('u0', 'yes')])
  with pytest.raises(schema.SchemaError, match='user_stance: is missing'):
    stated_stances.read(tmp_path)


def test_real_stances(real_data, private_cache):
  found = stated_stances.read(real_data)
  assert len({(one.user_id, one.prompt_id) for one in found}) == len(found)
  assert len(found) == 12_482 - 350  # ties are left out
  table = load.judgements('ukp_convarg', data_dir=real_data)
  assert {one.user_id for one in found} <= set(table.user_ids)
  assert {one.prompt_id for one in found} <= set(table.prompt_ids)
  assert {one.topic for one in found} <= set(table.topics)
  assert set(table.attributes) == {'{}'}
