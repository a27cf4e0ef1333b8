"""How large a file is said to be."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import sizes


def write(path, rows, texts, seed=0):
  rng = np.random.default_rng(seed)
  lines = [
    json.dumps(
      {
        'user_id': 'u',
        'prompt_id': 'p',
        'prompt': '?',
        'label': 'a',
        'response_a': f'text {rng.integers(texts)}',
        'response_b': f'text {rng.integers(texts)}',
      }
    )
    + '\n'
    for _ in range(rows)
  ]
  opener = gzip.open if path.suffix == '.gz' else open
  with opener(path, 'wt') as file:
    file.writelines(lines)
  return path


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.gz'])
@pytest.mark.parametrize(
  ('rows', 'texts'), [(500, 50), (60_000, 300), (60_000, 30_000)]
)
def test_rows_and_texts_are_about_right(tmp_path, name, rows, texts):
  size = sizes.estimate(write(tmp_path / name, rows, texts))
  assert size.rows == pytest.approx(rows, rel=0.1)
  assert size.texts == pytest.approx(texts, rel=0.1)


def test_texts_that_never_come_again_are_as_many_as_are_said(tmp_path):
  size = sizes.estimate(write(tmp_path / 'a.jsonl', 50_000, 10**9))
  assert size.texts == pytest.approx(100_000, rel=0.05)


def test_what_is_no_json_counts_as_nothing(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{\n[1]\n\n')
  assert sizes.estimate(path).texts == 0
