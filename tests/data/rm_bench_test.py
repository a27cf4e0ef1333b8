"""Right and wrong answers in three styles."""

import gzip
import json

import pytest

from prm_jax.audits import benchmarks
from prm_jax.data import load, schema

PROMPT = {
  'id': 4,
  'prompt': 'Why?',
  'subset': 's',
  'chosen': ['a', 'aa', 'aaa'],
  'rejected': ['b', 'bb', 'bbb'],
}
FILES = ('chat', 'code', 'safety-refuse', 'safety-response')


def write(folder, **rows):
  folder = folder / 'rm_bench'
  folder.mkdir(exist_ok=True)
  for name in (*FILES, *rows):
    with gzip.open(folder / f'{name}.jsonl.gz', 'wt') as file:
      given = rows.get(name, [PROMPT])
      file.writelines(json.dumps(row) + '\n' for row in given)


def test_prompts(tmp_path, private_cache):
  other = {k: v for k, v in PROMPT.items() if k != 'subset'}
  write(tmp_path, chat=[PROMPT, {**other, 'id': 5, 'extra': 1}])
  for _ in range(2):  # prepared, then reused
    found = load.styled_answers(tmp_path)
    assert found.domains == ['chat', 'chat', *FILES[1:]]
    assert found.prompts == ['Why?'] * 5
    assert found.chosen == [('a', 'aa', 'aaa')] * 5
    assert found.rejected == [('b', 'bb', 'bbb')] * 5
    assert found.subsets == ['s', '', 's', 's', 's']
    assert found.ids == [4, 5, 4, 4, 4]
  write(tmp_path, math=[{**PROMPT, 'prompt': '1+1?'}])
  found = load.styled_answers(tmp_path)
  assert found.domains == ['chat', 'math', *FILES[1:]]
  assert found.prompts[1] == '1+1?'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'chosen': ['a', 'aa']}, r'code\.jsonl\.gz:2: chosen: expected 3 texts'),
    ({'rejected': 'abc'}, r'gz:2: rejected: expected 3 texts'),
    ({'chosen': ['a', 'b', 3]}, r'gz:2: chosen: expected strings'),
    ({'chosen': ['a', 'bb', 'c']}, r'gz:2: chosen, rejected: share a text'),
    ({'subset': None}, r'gz:2: subset: expected str'),
    ({'id': 4}, r'gz:2: id: 4 occurs twice'),
    ({'id': 'x'}, r'gz:2: id: expected int'),
    ({'prompt': None}, r'gz:2: prompt: expected str'),
  ],
)
def test_malformed_prompts_are_named(tmp_path, private_cache, change, message):
  write(tmp_path, code=[PROMPT, {**PROMPT, 'id': 5, **change}])
  with pytest.raises(schema.SchemaError, match=message):
    load.styled_answers(tmp_path)


def test_missing_files_are_named(tmp_path, private_cache):
  write(tmp_path)
  (tmp_path / 'rm_bench' / 'code.jsonl.gz').unlink()
  with pytest.raises(schema.SchemaError, match=r'code\.jsonl\.gz is missing'):
    load.styled_answers(tmp_path)


def test_real_prompts(real_data, private_cache):
  found = load.styled_answers(real_data)
  count = {name: found.domains.count(name) for name in FILES}
  assert list(count.values()) == [129, 228, 284, 157]
  # Whoever takes the longer text is right where style favours it.
  length = [
    [[len(text) for text in texts] for texts in side]
    for side in (found.chosen, found.rejected)
  ]
  scored = benchmarks.rm_bench(benchmarks.style_wins(*length), found.domains)
  assert scored.easy > 0.8 > 0.5 > scored.normal > 0.3 > 0.2 > scored.hard
  assert scored.missing == ('math',)
  assert scored.invalid == 0
