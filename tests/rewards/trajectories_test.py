"""The published format, truncation rules and packing."""

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from prm_jax.models import packing
from prm_jax.rewards import trajectories
from prm_jax.rewards.trajectories import SCORE, SEPARATOR, Limits, Trajectory


@pytest.fixture
def tokenizer():
  words = {w: i for i, w in enumerate(['<unk>', '\n', *'abcdef', '<end>'])}
  found = tokenizers.Tokenizer(models.WordLevel(words, unk_token='<unk>'))
  found.pre_tokenizer = pre_tokenizers.Split('', 'isolated')
  found.add_special_tokens(['<end>'])
  return found


def test_prompt_and_response_are_joined_by_a_line_break(tokenizer):
  found = trajectories.tokenize(
    tokenizer, ['ab', 'ab', ''], ['cde', '', 'f'], answer=2
  )
  assert found == [
    Trajectory([2, 3], [1], [4, 5]),
    Trajectory([2, 3], [], []),
    Trajectory([], [], [7]),
  ]
  ended = trajectories.tokenize(
    tokenizer, ['', ''], ['a', 'abc'], answer=2, end=8
  )
  assert [t.response for t in ended] == [[2, 8], [2, 3]]
  with pytest.raises(ValueError, match='1 prompts, 2 responses'):
    trajectories.tokenize(tokenizer, ['a'], ['b', 'c'])


def test_a_text_that_spells_a_special_token_is_a_text(tokenizer):
  (found,) = trajectories.tokenize(tokenizer, [''], ['<end>'])
  assert 8 not in found.response
  assert len(found.response) > 1
  assert tokenizer.encode('<end>').ids == [8]  # left as it was


def test_prompts_share_what_answers_leave_and_keep_their_ends():
  # By hand: total 20, 4 reserved, reference 4 (cut from 6), longest candidate
  # 3: (20 - 4 - 4 - 3) // 2 = 4 tokens for each prompt.
  reference = Trajectory([1, 2, 3, 4, 5], [0], [11, 12, 13, 14, 15, 16])
  first = Trajectory([6, 7, 8, 9, 10, 11], [0], [21, 22, 23])
  second = Trajectory([6, 7], [0], [31])
  (found,) = trajectories.sequences(
    [reference], [[first, second]], Limits(total=20, answer=4, reserve=4)
  )
  assert found.stem == [2, 3, 4, 5, 0, 11, 12, 13, 14, SEPARATOR]
  assert found.branches == [
    [8, 9, 10, 11, 0, 21, 22, 23, SCORE],
    [6, 7, 0, 31, SCORE],
  ]
  assert len(found) == 24
  apart = packing.separate([found])
  assert [s.branches for s in apart] == [[b] for b in found.branches]


def test_a_common_prompt_is_read_once():
  reference = Trajectory([1], [0], [11])
  given = [
    Trajectory([1, 2], [0], [21, 22]),
    Trajectory([1, 2], [0], [21]),
    Trajectory([1, 2], [0], [21, 23]),
  ]
  (found,) = trajectories.sequences([reference], [given])
  assert found.stem == [1, 0, 11, SEPARATOR, 1, 2, 0, 21]
  assert found.branches == [[22, SCORE], [SCORE], [23, SCORE]]
  (alone,) = trajectories.sequences([reference], [given[:1]])
  assert alone.branches == [[1, 2, 0, 21, 22, SCORE]]


def test_a_prompt_longer_than_the_budget_is_cut_from_its_start():
  long = Trajectory(list(range(100, 200)), [0], [1, 2])
  (found,) = trajectories.sequences(
    [long], [[long]], Limits(total=24, answer=2, reserve=4)
  )
  assert found.stem == [*range(192, 200), 0, 1, 2, SEPARATOR]
  assert len(found) <= 24
  (none,) = trajectories.sequences(
    [None], [[long]], Limits(total=8, answer=2, reserve=4)
  )
  assert none.stem == [SEPARATOR]
  assert none.branches == [[199, 0, 1, 2, SCORE]]


def test_bad_input_is_named():
  text = Trajectory([1], [0], [2] * 9)
  with pytest.raises(ValueError, match='two answers of 8 tokens do not fit'):
    trajectories.sequences([text], [[text]], Limits(16, 8, 4))
  with pytest.raises(ValueError, match='reference 1 has no candidate'):
    trajectories.sequences([text, text], [[text], []])
  (found,) = trajectories.sequences([text], [[text]])
  with pytest.raises(ValueError, match='sequence 0 has 24 tokens, a row 20'):
    trajectories.pack([found], 20)
  with pytest.raises(ValueError, match='2 rows are needed, and 1 were given'):
    trajectories.pack([found, found], 30, rows=1)


def test_packing_keeps_every_token_once():
  rng = np.random.default_rng(0)
  texts = [
    Trajectory(
      rng.integers(0, 9, 3).tolist(), [1], rng.integers(0, 9, n).tolist()
    )
    for n in rng.integers(0, 12, 40)
  ]
  given = trajectories.sequences(texts[:10], [texts[i::10] for i in range(10)])
  packed = trajectories.pack(given, 120)
  assert (packed.block > 0).sum() == sum(map(len, given))
  rows, columns = packed.at.T
  scores = iter(zip(rows, columns, strict=True))
  for number, sequence in enumerate(given, 1):
    for branch, tokens in enumerate(sequence.branches, 1):
      row, last = next(scores)
      own = packed.block[row] == number
      there = own & (packed.branch[row] == branch)
      assert packed.ids[row][there].tolist() == tokens
      assert np.flatnonzero(there)[-1] == last
      stem = own & (packed.branch[row] == 0)
      assert packed.ids[row][stem].tolist() == sequence.stem
      want = np.arange(len(sequence.stem) + len(tokens))
      found = np.concatenate(
        [packed.position[row][stem], packed.position[row][there]]
      )
      np.testing.assert_array_equal(found, want)


def test_table_pads_on_the_right():
  texts = [Trajectory([1, 2, 3], [0], [4, 5]), Trajectory([], [], [])]
  found = trajectories.table(texts, prompt=2, length=4)
  assert found.tolist() == [[2, 3, 0, 4], [-1] * 4]
