"""Judges in both orders: every figure by hand, one from released results."""

import numpy as np
import pytest

from prm_jax.audits import both_orders

A, B, TIE, NONE = 0, 1, both_orders.TIE, both_orders.INVALID


def judged(*rows, label=None, source='mmlu-pro-law', **options):
  """Scores verdicts on answers, of which A is right unless said."""
  given, swapped = np.array(rows).T
  swapped = np.where(swapped >= 0, 1 - swapped, swapped)  # as it was shown
  label = np.zeros(len(rows), int) if label is None else np.array(label)
  return both_orders.judge_bench(
    given, swapped, label, [source] * len(rows), **options
  )


@pytest.mark.parametrize(
  ('pair', 'right'),
  [
    ((A, A), 1),
    ((A, TIE), 1),
    ((TIE, A), 1),
    ((A, B), 0),
    ((TIE, TIE), 0),
    ((B, TIE), 0),
    ((B, B), 0),
    ((A, NONE), 0),
    ((NONE, NONE), 0),
  ],
)
def test_pairs_of_judge_bench(pair, right):
  found = judged(pair)
  assert found.accuracy == right
  assert found.both_right == (pair == (A, A))
  assert found.both_wrong == (A not in pair)
  assert found.consistent == (pair[0] == pair[1] != NONE)
  assert found.invalid == (NONE in pair)
  other = judged([1 - v if v >= 0 else v for v in pair], label=[1])
  assert other._replace(group={}) == found._replace(group={})
  # In the released code, an invalid verdict is a tie.
  found = judged(pair, null='tie')
  assert found.accuracy == (1 if pair == (A, NONE) else right)


def test_groups_of_judge_bench():
  source = ['mmlu-pro-law', 'mmlu-pro-math', 'livebench-math', 'livecodebench']
  verdict, label = np.array([A, B, A, 7]), np.array([A, A, B, A])
  found = both_orders.judge_bench(verdict, None, label, source)
  assert found.accuracy == 0.25
  assert found.group == {
    'mmlu-pro': 0.5,
    'livebench-math': 0,
    'livecodebench': 0,
  }
  assert found.invalid == 1
  for bad, says in (
    ({'source': ['x'] * 4}, 'unknown'),
    ({'null': 'right'}, 'wrong or tie'),
    ({'label': np.array([0, 1, 2, 0])}, 'places 0 and 1'),
    ({'swapped': verdict[:3]}, 'verdicts and labels'),
  ):
    given = {'swapped': None, 'label': label, 'source': source, **bad}
    with pytest.raises(ValueError, match=says):
      both_orders.judge_bench(verdict, **given)
  with pytest.raises(ValueError, match='no pair'):
    both_orders.judge_bench([], [], [], [])


def test_scores_as_verdicts():
  first, second = [2, 1, 1, np.nan, np.inf], [1, 2, 1, 0, 0]
  found = both_orders.verdicts(first, second)
  assert found.tolist() == [A, B, B, NONE, NONE]
  assert both_orders.verdicts(first, second, tie=TIE)[2] == TIE
  # Equal ratings are right in one order, as in LLMBar's code.
  one = both_orders.llmbar(
    both_orders.verdicts([1], [1]),
    both_orders.verdicts([1], [1]),
    np.array([A]),
    ['LLMBar/Natural'],
  )
  assert (one.accuracy, one.consistent) == (0.5, 0)


def test_llmbar_by_hand():
  given = np.array([A, A, B, A, NONE])
  swapped = np.array([B, A, NONE, B, A])  # as shown: 0 is answer B
  label = np.array([A, A, A, B, B])
  subset = ['LLMBar/Natural'] * 2
  subset += ['LLMBar/Adversarial/Manual', 'LLMBar/Adversarial/GPTOut']
  found = both_orders.llmbar(given, swapped, label, [*subset, subset[-1]])
  assert found.accuracy == pytest.approx((1 + 0.5 + 0 + 0 + 0.5) / 5)
  assert found.group == {
    'LLMBar/Natural': 0.75,
    'LLMBar/Adversarial/Manual': 0,
    'LLMBar/Adversarial/GPTOut': 0.25,
    'Natural': 0.75,
    'Adversarial': 0.125,
  }
  assert found.both_right == 0.2
  assert found.both_wrong == pytest.approx(0.4)
  assert found.consistent == pytest.approx(0.4)
  assert found.invalid == 2


# Released results of GPT-4 with metrics and reference: subset, pairs, right in
# the pair's order, in the other, in both, agreeing.
RELEASED = (
  ('Neighbor', 134, 115, 114, 111, 127),
  ('GPTInst', 92, 80, 85, 78, 83),
  ('GPTOut', 47, 34, 34, 30, 39),
  ('Manual', 46, 37, 40, 35, 39),
)


def test_llmbar_as_published():
  columns = []
  for name, n, first, second, both, agree in RELEASED:
    given, swapped = np.zeros((2, n), int)
    given[:first] = swapped[:both] = 1
    swapped[first : first + second - both] = 1
    assert (given == swapped).sum() == agree
    columns.append((given, swapped, [f'LLMBar/Adversarial/{name}'] * n))
  given, swapped, names = map(np.concatenate, zip(*columns, strict=True))
  # The right answer is B, which is shown first in the other order.
  found = both_orders.llmbar(given, 1 - swapped, np.ones(319, int), names)
  assert found.group['LLMBar/Adversarial/Neighbor'] == pytest.approx(
    0.8545, abs=1e-4
  )
  assert 100 * found.group['Adversarial'] == pytest.approx(82.8, abs=0.05)
  assert 100 * found.accuracy == pytest.approx(84.5, abs=0.05)
