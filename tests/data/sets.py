"""Public sets in small, and what is made of them."""

import json
from pathlib import Path

import pytest

from prm_jax.data import convert, schema

CASES = Path(__file__).parents[3] / 'shared' / 'cases'


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


def converted(tmp_path, name, rows, **options):
  """Converts rows, and reads what comes out as `prm train` would."""
  made, report = convert.convert(
    name, write(tmp_path / 'set.jsonl', rows), **options
  )
  table, read = schema.read_jsonl(write(tmp_path / 'ours.jsonl', made))
  assert read.malformed == 0
  return made, report, table


def refused(tmp_path, match, name, rows, **options):
  path = write(tmp_path / 'set.jsonl', rows)
  with pytest.raises(ValueError, match=match):
    convert.convert(name, path, **options)


def message(role, content):
  return {'role': role, 'content': content}


def better(row):
  """Returns the response that a judgement prefers, then the other one."""
  sides = row['response_a'], row['response_b']
  return sides if row['label'] == 'a' else sides[::-1]


TRL = [
  {'prompt': f'Question {n}?', 'chosen': f'good {n}', 'rejected': f'bad {n}'}
  for n in range(10)
]
VOTES = [
  {
    'annotator': n % 2,
    'question': f'Q{n // 2}',
    'one': f'x{n}',
    'two': f'y{n}',
    'better': ['A', 'B', 'same', 'much A', ''][n % 5],
    'age': '30' if n % 2 else None,
    'theme': 't',
  }
  for n in range(10)
]
PAIR = {
  'user_id': 'annotator',
  'prompt': 'question',
  'response_a': 'one',
  'response_b': 'two',
  'label': 'better',
}
AB = {'a': 'A+much A', 'b': 'B', 'tie': 'same'}


def arena(n, winner, **changes):
  return {
    'question_id': f'q{n}',
    'model_a': 'alpaca',
    'model_b': 'koala',
    'winner': winner,
    'judge': f'arena_user_{n % 3}',
    'conversation_a': [
      message('user', f'Question {n}?'),
      message('assistant', f'first {n}'),
    ],
    'conversation_b': [
      message('user', f'Question {n}?'),
      message('assistant', f'second {n}'),
    ],
    'turn': 1,
    'anony': True,
    'language': 'English',
    'tstamp': 1.68e9 + n,
    'openai_moderation': {},
    'toxic_chat_tag': {},
    **changes,
  }


WINNERS = ['model_a', 'model_b', 'tie', 'tie (bothbad)', 'model_a'] * 2


def utterance(turn, within, score, chosen, **changes):
  return {
    'utterance_id': f'ut{turn}{within}',
    'interaction_id': f'int{turn}',
    'conversation_id': 'c0',
    'user_id': 'user0',
    'turn': turn,
    'within_turn_id': within,
    'conversation_type': 'unguided',
    'user_prompt': f'Question {turn}?',
    'model_response': f'answer {turn}{within}',
    'model_name': 'm',
    'model_provider': 'p',
    'score': score,
    'if_chosen': chosen,
    **changes,
  }
