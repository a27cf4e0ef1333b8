"""People and statements drawn again, against sums that are written out."""

import numpy as np
import pytest

from prm_jax.lab import drawn_twice


def test_sums_weigh_a_row_by_both():
  made = drawn_twice.draws(4, 3, 5, seed=0)
  assert made.person.shape == (6, 4)
  assert (made.person.sum(1) == 4).all()
  assert (made.person[0] == 1).all()
  person, statement = np.array([0, 0, 3]), np.array([2, 1, 2])
  values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
  wanted = [
    sum(made.person[r, p] * made.statement[r, s] * v for p, s, v in rows)
    for r in range(6)
    for rows in [list(zip(person, statement, values, strict=True))]
  ]
  np.testing.assert_allclose(made.sums(person, statement, values), wanted)
  two = np.stack([statement, statement[::-1]], 1)
  weight = made.person[:, person] * made.statement[:, two].prod(2)
  np.testing.assert_allclose(made.sums(person, two, values), weight @ values)


def test_limits_over_statements_are_wider_where_statements_differ():
  rng = np.random.default_rng(0)
  P, S = 200, 10
  person, statement = np.divmod(np.arange(P * S), S)
  effect = rng.normal(size=S)[statement] + 0.1 * rng.normal(size=P * S)
  values = np.stack([effect, np.ones(P * S)], 1)
  both = drawn_twice.draws(P, S, 200, seed=0)
  alone = both._replace(statement=np.ones_like(both.statement))
  width = []
  for draws in (both, alone):
    sums = draws.sums(person, statement, values)
    row = drawn_twice.interval('x', drawn_twice.ratio(sums[:, 0], sums[:, 1]))
    assert row['x'] == pytest.approx(effect.mean())
    width.append(row['x_high'] - row['x_low'])
  assert width[0] > 10 * width[1]
  assert np.isnan(drawn_twice.ratio(np.ones(1), np.zeros(1))).all()
