"""Profiles of two people, and who says what."""

import gzip
import json

import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders.synthetic_persona_chat import (
  synthetic_persona_chat_dataset_builder as builder,
)

ROW = {
  'user 1 personas': 'I bake.\nI am old.',
  'user 2 personas': 'I swim.\n\n I sing. ',
  'Best Generated Conversation': 'User 1: Hi: you?\nUser 2: So.\nUser 2: Bye.',
}


def write(folder, **files):
  folder = folder / 'synthetic_persona_chat'
  folder.mkdir()
  for name in builder.SPLITS:
    with gzip.open(folder / f'{name}.jsonl.gz', 'wt') as file:
      for row in files.get(name, [ROW]):
        file.write(json.dumps(row) + '\n')


def test_profiles_and_turns(tmp_path, private_cache):
  write(tmp_path, test=[ROW, {**ROW, 'Best Generated Conversation': ''}])
  for _ in range(2):  # prepared, then reused
    found = load.persona_conversations(tmp_path, 'test')
    assert (
      found.profiles == [(('I bake.', 'I am old.'), ('I swim.', 'I sing.'))] * 2
    )
    assert found.turns == [((0, 'Hi: you?'), (1, 'So.'), (1, 'Bye.')), ()]
    assert found.texts == [ROW['Best Generated Conversation'], '']
  assert len(load.persona_conversations(tmp_path).texts) == 1


@pytest.mark.parametrize(
  ('text', 'turns'),
  [
    ('* * *\nUser 2: a\n* * *\nUser 1: b\n', [(1, 'a'), (0, 'b')]),
    ('*User 1:* a b\n\n**User 2**: c', [(0, 'a b\n**User 2**: c')]),
    ('* * User 1: * * a\n* User 2: b *', [(0, 'a'), (1, 'b')]),
    # Whoever speaks before a name is unknown; what follows one goes on.
    (
      'Hi!\nUser 1: a\n\n- b\n[Later]\nUser 2:',
      [(0, 'a\n- b\n[Later]'), (1, '')],
    ),
    ('User 1: a\n  \nUser 3: b', [(0, 'a\nUser 3: b')]),
    ('Adam: hi', []),
    ('User 1:' + ' ' * 100_000 + 'x' + ' ' * 100_000, [(0, 'x')]),
  ],
)
def test_speakers(text, turns):
  assert list(builder.spoken(text)) == turns


def test_what_is_malformed_or_missing_is_named(tmp_path, private_cache):
  with pytest.raises(schema.SchemaError, match=r'valid\.jsonl\.gz is missing'):
    load.persona_conversations(tmp_path)
  with pytest.raises(ValueError, match=r"'train': one of .'valid', 'test'"):
    load.persona_conversations(tmp_path, 'train')
  write(tmp_path, test=[ROW, {**ROW, 'user 2 personas': ' \n'}])
  with pytest.raises(
    schema.SchemaError, match=r'test\.jsonl\.gz:2: user 2 personas: is empty'
  ):
    load.persona_conversations(tmp_path)


def test_fields_are_strings(tmp_path, private_cache):
  write(tmp_path, valid=[{**ROW, 'user 1 personas': ['a']}])
  with pytest.raises(schema.SchemaError, match=r'd\.jsonl\.gz:1: user 1 perso'):
    load.persona_conversations(tmp_path)


def test_real_conversations(real_data, private_cache):
  valid, test = (
    load.persona_conversations(real_data, split) for split in builder.SPLITS
  )
  assert (len(valid.texts), len(test.texts)) == (1000, 968)
  # One is empty, one names nobody.
  assert [i for i, turns in enumerate(test.turns) if not turns] == [320, 510]
  assert all(valid.turns)
  assert {len(one) for two in test.profiles for one in two} == {4, 5}
  known = {one for two in valid.profiles for one in two}
  assert not known & {one for two in test.profiles for one in two}
