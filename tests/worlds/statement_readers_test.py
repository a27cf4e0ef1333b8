"""People who judge statements, of a known truth."""

import numpy as np

from prm_jax.worlds import statement_readers


def test_readers_answer_by_side_and_hold_out_statements():
  rng = np.random.default_rng(0)
  side = np.tile([1, -1], 50)
  held_out = np.arange(100) >= 60
  found = statement_readers.readers(
    side,
    rng.normal(size=(100, 2)),
    held_out,
    seed=0,
    people=300,
    answers=20,
    strength=8.0,
  )
  judged = found.judged
  first, second = judged.items.T
  assert not held_out[judged.items].any()
  assert held_out[found.asked.items].all()
  assert (first != second).all()
  assert np.bincount(found.cares + 1).tolist() == [100, 100, 100]
  liberal = (side[first] > side[second]) == judged.label
  apart = side[first] != side[second]
  for cares, low, high in ((1, 0.9, 1), (-1, 0, 0.1), (0, 0.45, 0.55)):
    of = apart & (found.cares == cares)[judged.user]
    assert low < liberal[of].mean() < high
