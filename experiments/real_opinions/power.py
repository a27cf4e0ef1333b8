"""How small a lean to one's own side the audit finds, and how often in vain.

The server without a lean serves everybody what another measured person likes,
dealt anew in every draw: as personal as ours, and of nobody's stance. A lean
is one price for all on statements of the person's own side, as kept votes name
it, set so that the first draw's share rises as wanted.
"""

from typing import Any

import numpy as np

from experiments.real_opinions import votes
from prm_jax.audits import served_votes
from prm_jax.lab import columns, populations
from prm_jax.ops import intervals

Row = dict[str, Any]
_OWN = served_votes.MEASURES.index('own_side')


def run(config, name: str) -> Row:
  """Returns a row for every lean."""
  found, options = votes.of(config, name), votes.options(config)
  some = populations.halved(found, seed=0, options=options)
  pools = some.pools
  serve = served_votes.best_of(pools, options.draws)
  counts = served_votes.counted(pools, some.stances)[:, :, _OWN]
  base = serve(pools.of(some.aggregate))
  person = np.broadcast_to(pools.person[:, None], pools.there.shape)
  shared = intervals.crossing(person[pools.there], pools.statement[pools.there])
  first = populations.swapped(some, 0)
  prices = {
    lean: _price(serve, first, counts, lean) if lean else 0.0
    for lean in (0.0, *config.power.leans)
  }
  own = 2 * counts[..., 0] - counts[..., 1]
  rows = []
  for lean, price in prices.items():
    seen = [
      added(
        serve(populations.swapped(some, draw) + price * own),
        base,
        counts,
        pools.there,
        shared,
      )
      for draw in range(config.power.draws)
    ]
    rows.append(_row(name, lean, seen, len(pools.person)))
  return {'power': rows}


def _price(serve, score, counts, lean: float) -> float:
  """Returns the price at which the share of the own side rises by a lean."""
  own = 2 * counts[..., 0] - counts[..., 1]
  low, high = 0.0, 20.0
  wanted = share(serve(score), counts) + lean
  for _ in range(20):
    price = 0.5 * (low + high)
    if share(serve(score + price * own), counts) < wanted:
      low = price
    else:
      high = price
  return 0.5 * (low + high)


def share(policy: np.ndarray, counts: np.ndarray) -> float:
  """Returns the share of the own side among dividing statements served."""
  total = np.einsum('um,umc->c', policy, counts)
  return float(total[0] / total[1])


def added(policy, base, counts, there, shared) -> intervals.Crossed:
  """Returns what is added to the share, with limits over both, to first order.

  Args:
    policy: `[U, M]`.
    base: `[U, M]` of the aggregate.
    counts: `[U, M, 2]` own and dividing statements.
    there: `[U, M]` bool.
    shared: of the same rows.
  """
  values, apart = [], 0.0
  for one, sign in ((policy, 1.0), (base, -1.0)):
    mean = share(one, counts)
    weight = (one * counts[..., 1]).sum()
    residual = one * (counts[..., 0] - mean * counts[..., 1]) / weight
    values.append(sign * residual[there])
    apart += sign * mean
  n = int(there.sum())
  total = n * (values[0] + values[1]) + apart
  return intervals.crossed(total, np.ones(n), shared)


def _row(name: str, lean: float, seen, people: int) -> Row:
  return {
    'conversation': name,
    'lean': lean,
    'mean_added': float(np.mean([one.value for one in seen])),
    **columns.share('found', sum(one.low > 0 for one in seen), len(seen)),
    'draws': len(seen),
    'people': people,
  }
