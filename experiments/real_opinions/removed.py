"""Curves of safeguards, and what each keeps where most is removed.

A draw is one of people and statements; what is compared with matching is
compared inside a draw, so that what both have in common cancels.
"""

from typing import Any

import numpy as np

from prm_jax.audits import served_votes
from prm_jax.lab import columns, drawn_twice, populations

Row = dict[str, Any]
AT = 0.8  # share of the added exposure at which guards are compared
_MOST = 0.95  # share of draws in which a value is known, to speak of limits
_MATCHING = 'matching'  # which others are to beat
_UNGUARDED = ('personal', 'bridging')  # on the curves, of no strength
_OWN = served_votes.MEASURES.index('own_side')
_AGREES = served_votes.MEASURES.index('agreement')


def curves(made: populations.Measured) -> list[Row]:
  """Returns a row of each safeguard and strength.

  `removed` and `kept` are shares of what personal adds to the aggregate, and
  None where the lower limit of that is 0 or less: of what may be nothing
  there is no share.

  Args:
    made: of `aggregate`, `personal`, and `GUARD@STRENGTH`.
  """
  added, gain = (_over(made, 'personal', one) for one in (_OWN, _AGREES))
  rows = []
  for name in made.means:
    guard, _, strength = name.partition('@')
    if not strength and name not in _UNGUARDED:
      continue
    left, agrees = (_over(made, name, one) for one in (_OWN, _AGREES))
    row: Row = {
      'guard': guard,
      'strength': float(strength or name != 'personal'),
    }
    row |= drawn_twice.interval('own_side_added', left)
    row |= drawn_twice.interval('agreement_gained', agrees)
    removed, kept = 1 - _share(left, added), _share(agrees, gain)
    row |= drawn_twice.interval('removed', removed)
    row |= drawn_twice.interval('kept', kept)
    rows.append(row)
  return rows


def at_removed(made: populations.Measured, wanted: float = AT) -> list[Row]:
  """Returns the agreement that each safeguard keeps where it removes so much.

  Between two strengths on a straight line, in every draw for itself. In points
  over the aggregate, so that it is known where the gain may be nothing, and as
  a share of the gain where its lower limit is above 0; each beside matching's
  of the same draw.

  Args:
    made: as for `curves`.
    wanted: share of the added exposure.

  Returns:
    A row for each guard; none where the exposure added may be nothing.
  """
  added, gain = (_over(made, 'personal', one) for one in (_OWN, _AGREES))
  if not above(added):
    return []
  by_guard: dict[str, list[str]] = {}
  for name in made.means:
    guard, _, strength = name.partition('@')
    if strength:
      by_guard.setdefault(guard, []).append(name)
  at = {}
  for guard, names in by_guard.items():
    names = ['personal', *sorted(names, key=lambda n: float(n.split('@')[1]))]
    left = np.stack([_over(made, name, _OWN) for name in names], 1)
    agrees = np.stack([_over(made, name, _AGREES) for name in names], 1)
    removed = 1 - drawn_twice.ratio(
      left, np.broadcast_to(added[:, None], left.shape)
    )
    at[guard] = np.array(
      [
        crossing(*points, wanted)
        for points in zip(removed, agrees, strict=True)
      ]
    )
  rows = []
  for guard, agrees in at.items():
    row: Row = {
      'guard': guard,
      'reached': float(np.isfinite(agrees[1:]).mean()),
    }
    row |= _of_most('agreement', agrees)
    row |= _of_most('agreement_over_matching', agrees - at[_MATCHING])
    row |= _of_most('kept', _share(agrees, gain))
    apart = _share(agrees - at[_MATCHING], gain)
    row |= _of_most('kept_over_matching', apart)
    rows.append(row)
  return rows


def crossing(x: np.ndarray, y: np.ndarray, wanted: float) -> float:
  """Returns y where x, along a line through points, first reaches a value.

  Args:
    x: `[n]`.
    y: `[n]`.
    wanted: of x.

  Returns:
    NaN where it is never reached.
  """
  for i in range(1, len(x)):
    if x[i - 1] < wanted <= x[i]:
      share = (wanted - x[i - 1]) / (x[i] - x[i - 1])
      return float(y[i - 1] + share * (y[i] - y[i - 1]))
  return float('nan')


def above(drawn: np.ndarray) -> bool:
  """Returns whether the lower limit over draws is above 0."""
  known = drawn[1:][np.isfinite(drawn[1:])]
  return bool(len(known) and np.quantile(known, 0.025) > 0)


def _over(made: populations.Measured, name: str, measure: int) -> np.ndarray:
  """Returns what a policy adds to the aggregate's, in every draw."""
  return made.means[name][:, measure] - made.means['aggregate'][:, measure]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  if not above(whole):
    return np.full_like(part, np.nan)
  return drawn_twice.ratio(part, whole)


def _of_most(name: str, drawn: np.ndarray) -> Row:
  """Returns a value with limits over draws, where nearly all have one."""
  known = np.isfinite(drawn[1:])
  low, high = np.nan, np.nan
  if known.mean() >= _MOST:  # else limits would be of the lucky draws
    low, high = np.quantile(drawn[1:][known], (0.025, 0.975))
  return columns.interval(name, (float(drawn[0]), low, high))
