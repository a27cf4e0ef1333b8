"""What servers add to own-side exposure, and what safeguards take away."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.real_opinions import guards, others, removed, votes
from prm_jax.lab import drawn_twice, populations

Row = dict[str, Any]
WAYS = {
  'best': (guards.best, populations.policies),
  'tilt': (guards.tilt, populations.tilted_policies),
}
_DETECTORS = ('matching', *others.READERS, 'matching_true')


def run(config, name: str) -> Row:
  """Returns rows of what is served by whom, and of every safeguard."""
  found = votes.of(config, name)
  draws, options = votes.draws(config, found), votes.options(config)
  read = others.stances(config, name)
  made: dict[str, list[populations.Measured]] = {kind: [] for kind in WAYS}
  told: dict[str, Any] = {}
  head: Row = {}
  for seed in config.seeds:
    some = populations.halved(found, seed=seed, options=options)
    head = {'conversation': name, 'people': len(some.pools.person)}
    for kind, (way, policies) in WAYS.items():
      served = dict(policies(some, options, seed=seed)) | dict(
        guards.guarded(
          some,
          way(some, options),
          config.strengths,
          beyond=config.beyond.to_dict(),
          read=read,
        )
      )
      made[kind].append(populations.measured(some, served, draws))
    for detector, one in _seen(some, read, draws, seed).items():
      told.setdefault(detector, []).append(one)
  tables: dict[str, list[Row]] = {}
  for kind, several in made.items():
    measured = populations.averaged(several)
    first = head | {'serving': kind}
    for table, rows in (
      ('hazard', _plain(measured)),
      ('safeguards', removed.curves(measured)),
      ('at_removed', removed.at_removed(measured)),
    ):
      tables.setdefault(table, []).extend(first | row for row in rows)
  detectors = [head | row for row in others.rows(told)]
  return {**tables, 'detectors': detectors}


def _plain(made: populations.Measured) -> list[Row]:
  """Returns rows of servers that no strength belongs to."""
  rows = populations.rows(made)
  return [row for row in rows if '@' not in row['server']]


def _seen(
  some: populations.Halved,
  read: Mapping[str, np.ndarray],
  draws: drawn_twice.Draws,
  seed: int,
) -> dict[str, Any]:
  """Returns how each detector goes with loadings by kept votes.

  Of the statements that may be served.
  """
  what = np.unique(some.pools.statement[some.pools.there])
  loading = some.stances.loading[what]
  true = some.stances.of * some.stances.partisan
  stances = {'matching': some.loading, **read, 'matching_true': true}
  return {
    name: others.seen(
      stances[name][what].astype(np.float64),
      loading,
      draws.statement[:, what],
      seed=seed,
    )
    for name in _DETECTORS
    if name in stances
  }
