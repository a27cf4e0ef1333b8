"""Safeguards of a personal server, from a quarter of the way to all of it.

Each is served in two ways: as the best of some draws, whose divergence from
chance is the same whatever is ranked, and as a tilt, whose inverse temperature
is set so that everything is served at one divergence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from prm_jax.audits import served_votes
from prm_jax.lab import populations

Policy = np.ndarray  # [U, M]
_ROUNDS = 5  # of a price at a temperature, and a temperature at a price


class Way(NamedTuple):
  """How scores in pools `[U, M]` become what is served.

  Attributes:
    of: scores -> policy.
    held: feature `[U, M]` and target `[U]` -> personal, with each person's mean
      of the feature at the target.
    priced: feature and wanted mean -> personal, at one price for everybody.
    penalised: own side `[U, M]` bool -> share -> personal less that share of
      the least penalty that adds no own side.
  """

  of: Callable[[np.ndarray], Policy]
  held: Callable[[np.ndarray, np.ndarray], Policy]
  priced: Callable[[np.ndarray, float], Policy]
  penalised: Callable[[np.ndarray], Callable[[float], Policy]]


def best(some: populations.Halved, options: populations.Options) -> Way:
  """Returns the way of the best of some draws."""
  pools = some.pools
  serve = served_votes.best_of(pools, options.draws)
  personal = pools.of(some.personal)

  def held(feature, target):
    price = served_votes.held(serve, personal, feature, target)
    return serve(personal + price[:, None] * feature)

  def priced(feature, wanted):
    price = served_votes.priced(serve, personal, feature, wanted)
    return serve(personal + price * feature)

  def penalised(own):
    chance = pools.mean(pools.random, own)
    price = served_votes.held(serve, personal, own * 1.0, chance)
    least = np.minimum(price, 0.0)[:, None] * own
    return lambda share: serve(personal + share * least)

  return Way(serve, held, priced, penalised)


def tilt(some: populations.Halved, options: populations.Options) -> Way:
  """Returns the way of a tilt at one divergence from chance."""
  pools = some.pools
  personal = pools.of(some.personal)

  def at(policy_of):
    return served_votes.at_divergence(pools, policy_of, options.divergence)

  def served(score):
    return at(lambda beta: served_votes.tilted(pools, beta)(score))

  def held(feature, target):
    return at(
      lambda beta: served_votes.matched_tilt(
        pools, personal, feature, target, beta
      )
    )

  def priced(feature, wanted):
    score = personal
    for _ in range(_ROUNDS):
      beta = served_votes.beta_at(pools, score, options.divergence)
      serve = served_votes.tilted(pools, beta)
      price = served_votes.priced(serve, personal, feature, wanted)
      score = personal + price * feature
    return served(score)

  def penalised(own):
    def policy(beta, share):
      price = served_votes.penalty(pools, personal, own, beta)
      score = personal - share * price[:, None] * own
      return served_votes.tilted(pools, beta)(score)

    return lambda share: at(lambda beta: policy(beta, share))

  return Way(served, held, priced, penalised)


def guarded(
  some: populations.Halved,
  way: Way,
  strengths: Sequence[float],
  *,
  beyond: Mapping[str, Sequence[float]],
  read: Mapping[str, np.ndarray],
) -> Iterator[tuple[str, Policy]]:
  """Yields what is served, by `GUARD@STRENGTH`.

  Args:
    some: a population.
    way: in which it is served.
    strengths: of every guard, 1 being the whole of it.
    beyond: guard -> further strengths.
    read: name -> stances of statements `[S]` as readers of texts name them,
      each of which is matched on.
  """
  for guard, policy_of in _guards(some, way, read).items():
    for strength in (*strengths, *beyond.get(guard, ())):
      yield f'{guard}@{strength}', policy_of(strength)


def _guards(some, way: Way, read) -> dict[str, Callable[[float], Policy]]:
  """Returns guard -> strength -> what is served."""
  pools = some.pools
  personal, aggregate = pools.of(some.personal), pools.of(some.aggregate)
  along, z = pools.of(some.along), pools.of(some.loading)
  bridging = pools.of(some.bridging)
  size = np.abs(some.loading)
  middle = np.median(size[np.unique(pools.statement[pools.there])])
  dividing = pools.of(size / max(middle, 1e-9))
  side = np.where(some.stance > np.median(some.stance[pools.person]), 1, -1)
  signed = side[pools.person][:, None] * np.sign(z)
  dear = signed * (dividing >= 1)
  plain, before = way.of(aggregate), way.of(personal)
  # What measures: a detector that is never wrong.
  true = pools.of(some.stances.of * some.stances.partisan).astype(float)

  def matching(feature):
    start, end = (pools.mean(policy, feature) for policy in (before, plain))
    return lambda strength: way.held(feature, start + strength * (end - start))

  def one_price(strength):
    start, end = (pools.mean(one, dear).mean() for one in (before, plain))
    return way.priced(dear, float(start + strength * (end - start)))

  def consensus(strength):
    share = np.clip(1 - strength * dividing, 0, None)
    return way.of(aggregate + share * (personal - aggregate))

  return {
    'matching': matching(z),
    **{name: matching(pools.of(stance)) for name, stance in read.items()},
    'matching_true': matching(true),
    'penalty': way.penalised(signed > 0),
    'bridging_mixed': lambda strength: way.of(
      (1 - strength) * personal + strength * bridging
    ),
    'consensus': consensus,
    'orthogonal': lambda strength: way.of(personal - strength * along),
    'one_price': one_price,
  }
