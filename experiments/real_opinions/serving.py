"""What servers add to own-side exposure, and what safeguards take away."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.real_opinions import votes
from prm_jax.audits import served_votes
from prm_jax.lab import drawn_twice, populations

Row = dict[str, Any]
_OWN = served_votes.MEASURES.index('own_side')
_AGREES = served_votes.MEASURES.index('agreement')


def run(config, name: str) -> Row:
  """Returns rows of what is served by whom, and of every safeguard."""
  found = votes.of(config, name)
  draws, options = votes.draws(config, found), votes.options(config)
  made: dict[str, list[populations.Measured]] = {}
  people = 0
  for seed in config.seeds:
    some = populations.halved(found, seed=seed, options=options)
    people = len(some.pools.person)
    best = populations.policies(some, options, seed=seed)
    guarded = dict(best) | dict(_guarded(config, some, options))
    tilted = populations.tilted_policies(some, options, seed=seed)
    for kind, served in (('best', guarded), ('tilt', tilted)):
      measured = populations.measured(some, served, draws)
      made.setdefault(kind, []).append(measured)
  best_rows = populations.averaged(made['best'])
  tilt_rows = populations.averaged(made['tilt'])
  head = {'conversation': name, 'people': people}
  plain = set(tilt_rows.means)
  hazard = [
    {**head, 'serving': kind, **row}
    for kind, measured in (('best', best_rows), ('tilt', tilt_rows))
    for row in populations.rows(measured)
    if row['server'] in plain
  ]
  return {'hazard': hazard, 'safeguards': _curves(head, best_rows)}


def _curves(head: Row, made: populations.Measured) -> list[Row]:
  """Returns a row of each safeguard and strength."""
  means = made.means
  base, personal = means['aggregate'], means['personal']
  added = personal[:, _OWN] - base[:, _OWN]
  gain = personal[:, _AGREES] - base[:, _AGREES]
  rows = []
  for name, mean in means.items():
    guard, _, strength = name.partition('@')
    if not strength and name not in ('personal', 'bridging'):
      continue
    left = mean[:, _OWN] - base[:, _OWN]
    agrees = mean[:, _AGREES] - base[:, _AGREES]
    rows.append(
      {
        **head,
        'guard': guard,
        'strength': float(strength or name != 'personal'),
      }
      | drawn_twice.interval('own_side_added', left)
      | drawn_twice.interval('agreement_gained', agrees)
      | drawn_twice.interval('removed', 1 - drawn_twice.ratio(left, added))
      | drawn_twice.interval('kept', drawn_twice.ratio(agrees, gain))
    )
  return rows


def _guarded(config, some, options) -> Iterator[tuple[str, np.ndarray]]:
  """Yields what the best of some draws serves, by `GUARD@STRENGTH`."""
  pools = some.pools
  serve = served_votes.best_of(pools, options.draws)
  for guard, scores_of in _guards(some, serve).items():
    for strength in config.strengths:
      yield f'{guard}@{strength}', serve(scores_of(strength))


Scores = Callable[[float], np.ndarray]


def _guards(some: populations.Halved, serve) -> dict[str, Scores]:
  """Returns guard -> strength -> scores in pools `[U, M]`."""
  pools = some.pools
  personal, aggregate = pools.of(some.personal), pools.of(some.aggregate)
  along, z = pools.of(some.along), pools.of(some.loading)
  bridging = pools.of(some.bridging)
  size = np.abs(some.loading)
  middle = np.median(size[np.unique(pools.statement[pools.there])])
  dividing = pools.of(size / max(middle, 1e-9))
  server_side = np.where(
    some.stance > np.median(some.stance[pools.person]), 1, -1
  )[pools.person]
  own = server_side[:, None] * np.sign(z) > 0
  signed = server_side[:, None] * np.sign(z) * (dividing >= 1)
  # What measures: a detector that is never wrong.
  true = pools.of(some.stances.of * some.stances.partisan).astype(float)

  def matching(feature) -> Scores:
    plain = pools.mean(serve(aggregate), feature)
    before = pools.mean(serve(personal), feature)

    def scores(strength):
      target = before + strength * (plain - before)
      price = served_votes.held(serve, personal, feature, target)
      return personal + price[:, None] * feature

    return scores

  chance = pools.mean(pools.random, own)
  least = np.minimum(served_votes.held(serve, personal, own * 1.0, chance), 0.0)
  plain = pools.mean(serve(aggregate), signed).mean()
  before = pools.mean(serve(personal), signed).mean()

  def one_price(strength):
    target = before + strength * (plain - before)
    price = served_votes.priced(serve, personal, signed, target)
    return personal + price * signed

  def consensus(strength):
    share = np.clip(1 - strength * dividing, 0, None)
    return aggregate + share * (personal - aggregate)

  return {
    'matching': matching(z),
    'matching_true': matching(true),
    'penalty': lambda strength: personal + strength * least[:, None] * own,
    'bridging_mixed': lambda strength: (
      (1 - strength) * personal + strength * bridging
    ),
    'consensus': consensus,
    'orthogonal': lambda strength: personal - strength * along,
    'one_price': one_price,
  }
