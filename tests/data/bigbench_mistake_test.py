"""Chains of thought and their first mistake."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema

CHAIN = {
  'task': 'word_sorting',
  'input': 'b a',
  'target': 'a b',
  'answer': 'a b',
  'steps': ['a is before b.', 'The answer is a b'],
  'mistake_index': None,
}


def write(folder, *rows):
  path = folder / 'bigbench_mistake' / 'bigbench_mistake.jsonl.gz'
  path.parent.mkdir()
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


def test_chains(tmp_path, private_cache):
  write(
    tmp_path,
    CHAIN,
    {**CHAIN, 'mistake_index': 0, 'steps': ['b first.', '', 'Oh: a b']},
    {**CHAIN, 'mistake_index': 1, 'answer': None, 'target': 'é'},
  )
  for _ in range(2):  # prepared, then reused
    found = load.reasoning_chains(tmp_path)
    assert found.prompts == ['b a'] * 3
    assert found.steps[0] == ('a is before b.', 'The answer is a b')
    assert found.steps[1] == ('b first.', '', 'Oh: a b')
    np.testing.assert_array_equal(found.mistake, [-1, 0, 1])
    assert found.answers == ['a b', 'a b', '']
    assert found.targets == ['a b', 'a b', 'é']
    assert found.right.tolist() == [True, True, False]
    assert found.tasks == ['word_sorting'] * 3


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'steps': 'a'}, r'gz:2: steps: expected a list'),
    ({'steps': []}, r'gz:2: steps: expected a list'),
    ({'steps': ['a', 3]}, r'gz:2: steps: expected strings'),
    ({'mistake_index': 2}, r'gz:2: mistake_index: 2 is none of 2 steps'),
    ({'mistake_index': -1}, r'gz:2: mistake_index: -1 is none'),
    ({'mistake_index': True}, r'gz:2: mistake_index: expected int or null'),
    ({'mistake_index': '1'}, r'gz:2: mistake_index: expected int or null'),
    ({'answer': 3}, r'gz:2: answer: expected str or null'),
    ({'target': None}, r'gz:2: target: expected str'),
  ],
)
def test_malformed_chains_are_named(tmp_path, private_cache, change, message):
  write(tmp_path, CHAIN, {**CHAIN, **change})
  with pytest.raises(schema.SchemaError, match=message):
    load.reasoning_chains(tmp_path)


def test_missing_fields_and_files_are_named(tmp_path, private_cache):
  with pytest.raises(schema.SchemaError, match=r'mistake\.jsonl\.gz is missi'):
    load.reasoning_chains(tmp_path)
  write(tmp_path, {k: v for k, v in CHAIN.items() if k != 'mistake_index'})
  with pytest.raises(schema.SchemaError, match=r'gz:1: mistake_index'):
    load.reasoning_chains(tmp_path)


def test_real_chains(real_data, private_cache):
  found = load.reasoning_chains(real_data)
  assert len(found.prompts) == len(found.steps) == 2186
  wrong = found.mistake >= 0
  assert wrong.sum() == 1708
  assert found.right.sum() == 660
  assert (wrong & found.right).sum() == 213
  tasks, count = np.unique(found.tasks, return_counts=True)
  assert dict(zip(tasks, count, strict=True))['dyck_languages'] == 986
  assert count.tolist() == [986, 300, 300, 300, 300]
  # Steps count from 0: after two words and ten brackets, the chain closes one
  # that its question does not hold.
  first = found.steps[0]
  assert found.mistake[0] == 12
  assert first[12] == '] ; stack: {'
  assert len(found.prompts[0].split()) == 10 == len(first[2:12])
