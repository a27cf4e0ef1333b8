import gzip
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from prm_jax.data import load, schema
from prm_jax.worlds import attributes

ROW = {
  'user_id': 'ann',
  'prompt_id': 'p',
  'prompt': 'Why?',
  'response_a': 'xx',
  'response_b': 'yy',
  'label': 'a',
  'user_attributes': {'age': 'old'},
}


def test_one_changed_byte_gives_new_rows(tmp_path, private_cache):
  path = tmp_path / 'mine.jsonl'
  path.write_text(json.dumps(ROW) + '\n')
  before = load.judgements('preferences', path=path)
  assert before.texts == ['xx', 'yy']
  assert before.attributes == ['{"age": "old"}']
  path.write_text(path.read_text().replace('xx', 'xz'))
  assert load.judgements('preferences', path=path).texts == ['xz', 'yy']


def as_set(table):
  rows = zip(table.user, *table.items.T, table.label, strict=True)
  return sorted(tuple(map(float, row)) for row in rows)


def test_what_is_prepared_is_what_was_read(tmp_path, private_cache):
  rng = np.random.default_rng(0)
  path = tmp_path / 'mine.jsonl.gz'
  rows = [
    {
      **ROW,
      'user_id': f'u{rng.integers(9)}',
      'prompt_id': f'p{rng.integers(4)}',
      'response_a': f'a{rng.integers(5)}',
      'label': float(rng.random()),
    }
    for _ in range(300)
  ]
  rows[7] = {'user_id': 'only this'}
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)
  direct, report = schema.read_jsonl(path)
  for _ in range(2):  # prepared, then reused
    table, again = load.load('preferences', path=path)
    assert again == report
    assert table.texts == direct.texts
    assert table.user_ids == direct.user_ids
    assert as_set(table) == as_set(direct)


def test_malformed_file_stops_and_leaves_nothing(tmp_path, private_cache):
  path = tmp_path / 'mine.jsonl'
  path.write_text('{}\n')
  for _ in range(2):
    with pytest.raises(schema.SchemaError, match='1 of 1 rows'):
      load.load('preferences', path=path)


def test_unknown_names_and_folders(monkeypatch, tmp_path, private_cache):
  with pytest.raises(ValueError, match="unknown data set 'mnist'"):
    load.load('mnist')
  monkeypatch.delenv('PRM_DATA_DIR', raising=False)
  with pytest.raises(ValueError, match='PRM_DATA_DIR'):
    load.load('jester')
  with pytest.raises(schema.SchemaError, match=r'jokes\.jsonl\.gz is missing'):
    load.load('jester', data_dir=tmp_path)
  with pytest.raises(schema.SchemaError, match='is not a file'):
    load.load('preferences', path=tmp_path / 'none')


def test_attributes_hold_judgements_and_no_truth(private_cache):
  options = {
    'population': 'gaussian',
    'seed': 3,
    'people': 5,
    'answers': 20,
    'held_out_answers': 6,
    'responses_per_prompt': 4,
    'held_out_responses': 4,
  }
  table = load.judgements('attributes', **options)
  world = attributes.simulate(**options)
  assert len(table.user) == len(world.user) == 5 * 32
  assert set(table.texts) <= set(world.responses)
  assert set(table.attributes) == {'{}'}


def test_no_tensorflow(tmp_path):
  path = tmp_path / 'mine.jsonl'
  path.write_text(json.dumps(ROW) + '\n')
  code = (
    'import sys; from prm_jax.data import load; '
    f'load.load("preferences", path={str(path)!r}); '
    'assert "tensorflow" not in sys.modules'
  )
  env = {**os.environ, 'PRM_CACHE_DIR': str(tmp_path / 'cache')}
  subprocess.run([sys.executable, '-c', code], check=True, env=env)


XML = """<?xml version="1.0"?><list><annotatedArgumentPair>
<id>1_2</id><arg1><stance>Yes</stance><text>One.</text></arg1>
<arg2><stance>Yes</stance><text>Two.</text></arg2>
<debateMetaData><title>T?</title></debateMetaData><mTurkAssignments>
<mTurkAssignment><turkID>W1</turkID><value>a2</value></mTurkAssignment>
<mTurkAssignment><turkID>W2</turkID><value>equal</value></mTurkAssignment>
</mTurkAssignments></annotatedArgumentPair></list>"""


def test_xml_of_the_public_archive(tmp_path, private_cache):
  (tmp_path / 'tea_yes.xml').write_text(XML)
  (tmp_path / 'tea_no.xml').write_text(XML.replace('W1', 'W3'))
  table = load.judgements('ukp_convarg', data_dir=tmp_path)
  assert table.topics == ['tea', 'tea']
  assert table.prompt_ids == ['tea_no', 'tea_yes']
  assert sorted(table.label) == [0, 0, 0.5, 0.5]
  assert set(table.user_ids) == {'W1', 'W2', 'W3'}


def test_xml_with_entities_is_refused(tmp_path, private_cache):
  (tmp_path / 'a_b.xml').write_text('<!DOCTYPE x [<!ENTITY y "z">]><x>&y;</x>')
  with pytest.raises(schema.SchemaError, match='document types are refused'):
    load.load('ukp_convarg', data_dir=tmp_path)
  (tmp_path / 'a_b.xml').write_text('<list>')
  with pytest.raises(schema.SchemaError, match='not XML'):
    load.load('ukp_convarg', data_dir=tmp_path)


def test_real_ukp_convarg(real_data, private_cache):
  table = load.judgements('ukp_convarg', data_dir=real_data)
  assert len(table.user) == 62_885
  assert (table.label != 0.5).sum() == 48_566
  assert len(table.user_ids) == 3425
  assert len(table.prompts) == 28
  assert len(set(table.topics)) == 14  # both sides of a debate together
  assert not any('stance' in text for text in table.attributes)


def test_real_archive_xml(real_data, private_cache):
  folder = real_data / 'ukp_convarg' / 'original'
  table = load.judgements('ukp_convarg', data_dir=folder)
  want = sum(
    len(re.findall(b'<mTurkAssignment>', gzip.decompress(p.read_bytes())))
    for p in folder.glob('*.xml.gz')
  )
  assert len(table.user) == want > 1000


def test_real_jester(real_data, private_cache):
  table = load.ratings('jester', data_dir=real_data)
  assert len(table.rating) == 290_006
  assert len(table.texts) == 100
  assert len(table.user_ids) == 3980
  assert np.abs(table.rating).max() <= 10


def policy_files(folder, instructions, preferences, **outputs):
  """Writes AlpacaEval's layout."""
  (folder / 'outputs').mkdir(parents=True)

  def write(path, rows):
    with gzip.open(path, 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)

  write(folder / 'instructions.jsonl.gz', instructions)
  write(folder / 'preferences_vs_gpt4_1106.jsonl.gz', preferences)
  for name, rows in outputs.items():
    write(folder / 'outputs' / f'{name}.jsonl.gz', rows)


INSTRUCTIONS = [
  {'i': 0, 'dataset': 'koala', 'instruction': 'Why?'},
  {'i': 7, 'dataset': 'selfinstruct', 'instruction': 'How?'},
]


def test_policies_outputs(tmp_path, private_cache):
  policy_files(
    tmp_path / 'alpaca_eval',
    INSTRUCTIONS,
    [{'model': 'b', 'i': 7, 'preference': 1.75}],
    a=[{'i': 0, 'output': 'a0'}, {'i': 7, 'output': 'a7'}],
    b=[{'i': 7, 'output': 'b7'}],
  )
  found = load.policy_outputs(tmp_path)
  assert found.texts == ['a0', 'a7', 'b7']
  asked = [found.prompts[p] for p in found.item_prompt]
  assert asked == ['Why?', 'How?', 'How?']
  assert [found.policies[p] for p in found.item_policy] == ['a', 'a', 'b']
  np.testing.assert_array_equal(np.isnan(found.judge), [True, True, False])
  assert found.judge[2] == 0.75


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ({'i': 3, 'output': 'x'}, r'a\.jsonl\.gz:1: i: no instruction'),
    ({'i': 0}, r'a\.jsonl\.gz:1: .*output'),
    ({'i': 'no', 'output': 'x'}, r'a\.jsonl\.gz:1: .*i'),
  ],
)
def test_malformed_outputs_are_named(tmp_path, private_cache, row, message):
  policy_files(tmp_path / 'alpaca_eval', INSTRUCTIONS, [], a=[row])
  with pytest.raises(schema.SchemaError, match=message):
    load.policy_outputs(tmp_path)


def test_no_outputs_are_said_to_be_missing(tmp_path, private_cache):
  with pytest.raises(schema.SchemaError, match=r'holds no \.jsonl\.gz file'):
    load.policy_outputs(tmp_path)


def test_real_alpaca_eval(real_data, private_cache):
  found = load.policy_outputs(real_data)
  assert len(found.policies) == 52
  assert len(found.prompts) == 805
  assert len(found.texts) > 41_000
  assert 0.1 < np.nanmean(found.judge) < 0.9
