"""Real opinions: read for audits and worlds, and kept nowhere."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema

STATEMENTS = [
  {'statement': 0, 'text': 'Tea.', 'moderated': 1},
  {'statement': 1, 'text': 'Spam!', 'moderated': -1},
  {'statement': 4, 'text': 'Figs.', 'moderated': 0},
]
PEOPLE = [
  {'person': 'p7', 'group': 1, 'votes': [[0, 1], [1, -1], [4, 0]]},
  {'person': 'p2', 'group': None, 'votes': [[1, 1]]},
  {'person': 'p9', 'group': 0, 'votes': [[4, -1]]},
]


def write(folder, statements=STATEMENTS, people=PEOPLE, name='tea'):
  (folder / 'polis' / name).mkdir(parents=True)
  for stem, rows in (('statements', statements), ('people', people)):
    path = folder / 'polis' / name / f'{stem}.jsonl.gz'
    with gzip.open(path, 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)


def test_rejected_statements_go_with_their_votes(tmp_path):
  write(tmp_path)
  found = load.opinions('tea', tmp_path)
  assert found.conversation == 'tea'
  assert found.statements == ['Tea.', 'Figs.']
  np.testing.assert_array_equal(found.accepted, [True, False])
  np.testing.assert_array_equal(found.person, [0, 0, 2])
  np.testing.assert_array_equal(found.statement, [0, 1, 1])
  np.testing.assert_array_equal(found.vote, [1, 0, -1])
  np.testing.assert_array_equal(found.group, [1, -1, 0])
  types = [found.person, found.statement, found.vote, found.group]
  assert [str(a.dtype) for a in types] == ['int32', 'int32', 'int8', 'int32']
  assert found.notes == (
    '1 of 3 statements were rejected by moderators and are left out, with 2 '
    'of 5 votes',
  )


def test_nobody_voted(tmp_path):
  write(tmp_path, people=[], statements=STATEMENTS[:1])
  found = load.opinions('tea', tmp_path)
  assert found.person.shape == found.vote.shape == found.group.shape == (0,)
  assert found.notes == ()


def test_reading_leaves_nothing_behind(tmp_path, private_cache):
  write(tmp_path)
  before = sorted(tmp_path.rglob('*'))
  found = load.opinions('tea', tmp_path)
  assert sorted(tmp_path.rglob('*')) == before
  assert 'polis' not in load.BUILDERS
  assert 'vote' not in repr(found)
  assert not any('p7' in str(value) for value in vars(found).values())


def test_conversations_are_named(tmp_path):
  with pytest.raises(schema.SchemaError, match='holds no CONVERSATION'):
    load.polis_conversations(tmp_path)
  write(tmp_path)
  write(tmp_path, name='a.b')
  (tmp_path / 'polis' / 'README.md').write_text('')
  assert load.polis_conversations(tmp_path) == ['a.b', 'tea']
  for name in ('coffee', '../polis/tea', ''):
    with pytest.raises(schema.SchemaError, match=r"one of \['a\.b', 'tea'\]"):
      load.opinions(name, tmp_path)
  (tmp_path / 'polis' / 'tea' / 'people.jsonl.gz').unlink()
  with pytest.raises(schema.SchemaError, match=r'people\.jsonl\.gz is missing'):
    load.opinions('tea', tmp_path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'statement': 0}, r'gz:4: statement: occurs twice'),
    ({'moderated': 2}, r'gz:4: moderated: 2 is none of 1, 0, -1'),
    ({'text': None}, r'gz:4: text: expected str'),
  ],
)
def test_malformed_statements_are_named(tmp_path, change, message):
  more = {'statement': 9, 'text': 'New.', 'moderated': 1} | change
  write(tmp_path, statements=[*STATEMENTS, more])
  with pytest.raises(schema.SchemaError, match=message):
    load.opinions('tea', tmp_path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'person': 'p7'}, 'person: occurs twice'),
    ({'group': -1}, 'group: is neither a number from 0 nor null'),
    ({'group': True}, 'group: is neither'),
    ({'votes': None}, 'votes: expected list'),
    ({'votes': [[0, 1, 1]]}, 'votes: one is no pair of numbers'),
    ({'votes': [[0, True]]}, 'votes: one is no pair'),
    ({'votes': [31]}, 'votes: one is no pair'),
    ({'votes': [[31, 1]]}, 'votes: one is on an unknown statement'),
    ({'votes': [[0, 31]]}, 'votes: one is none of 1, 0, -1'),
    ({'votes': [[1, 1], [0, 1], [1, -1]]}, 'votes: two are on one statement'),
  ],
)
def test_malformed_people_are_named_and_not_shown(tmp_path, change, message):
  row = {'person': 'p31', 'group': 0, 'votes': []}
  write(tmp_path, people=[*PEOPLE, row | change])
  with pytest.raises(schema.SchemaError, match=f'gz:4: {message}') as caught:
    load.opinions('tea', tmp_path)
  assert '31' not in str(caught.value).rpartition('gz:4')[2]


def test_a_group_is_said(tmp_path):
  write(tmp_path, people=[{'person': 'p7', 'votes': []}])
  with pytest.raises(schema.SchemaError, match='gz:1: group: is neither'):
    load.opinions('tea', tmp_path)


# People, statements that are kept, votes on them.
COUNTS = {
  'american-assembly.bowling-green': (1827, 607, 200_703),
  'bg2050-volunteers': (115, 316, 12_113),
  'brexit-consensus': (191, 50, 4923),
  'football-concussions': (1324, 161, 12_446),
  'scoop-hivemind.affordable-housing': (344, 119, 13_414),
  'scoop-hivemind.freshwater': (103, 51, 3408),
  'scoop-hivemind.taxes': (299, 91, 15_609),
  'scoop-hivemind.ubi': (217, 70, 6648),
}


def test_real_polis(real_data):
  assert load.polis_conversations(real_data) == sorted(COUNTS)
  for name, (people, statements, votes) in COUNTS.items():
    found = load.opinions(name, real_data)
    assert len(found.group) == people
    assert len(found.statements) == len(found.accepted) == statements
    assert len(found.vote) == votes
    assert set(np.unique(found.vote)) == {-1, 0, 1}
    assert len({*zip(found.person, found.statement, strict=True)}) == votes
    assert found.person.max() < people
    assert found.statement.max() < statements
    assert found.group.min() >= -1
