"""A closed loop of real people who may move: what of it is selection."""

from typing import Any

import numpy as np

from experiments.real_opinions import votes
from prm_jax.audits import opinion_loop
from prm_jax.lab import drawn_twice, populations
from prm_jax.ops import collaborative

Row = dict[str, Any]
_AXIS = collaborative.FACTORS


def run(config, name: str) -> Row:
  """Returns a row for every server and movement."""
  found, options = votes.of(config, name), votes.options(config)
  some = populations.halved(found, seed=0, options=options)
  who, what = some.pools.person, _statements(some)
  world = world_of(some, who, what)
  draws = drawn_twice.draws(len(who), len(what), config.replicates, seed=0)
  rows = []
  for movement, node in config.movements.items():
    made = {
      server: _measured(
        opinion_loop.simulate(
          world, server, seed=0, rounds=config.rounds, **node.to_dict()
        ),
        draws,
      )
      for server in opinion_loop.SERVERS
    }
    start = _spread(world.position, draws)
    for server, (share, spread) in made.items():
      others = {'aggregate': made['aggregate'][1], 'start': start}
      others['random'] = made['random'][1]
      row = {'conversation': name, 'movement': movement, 'server': server}
      row |= drawn_twice.interval('own_side', share)
      row |= drawn_twice.interval(
        'own_side_added', share - made['aggregate'][0]
      )
      row |= drawn_twice.interval('variance_end', spread)
      for other, value in others.items():
        row |= drawn_twice.interval(f'variance_over_{other}', spread - value)
      rows.append({**row, 'people': len(who)})
  return {'movement': rows}


def _statements(some: populations.Halved) -> np.ndarray:
  return np.unique(some.pools.statement[some.pools.there])


def world_of(some: populations.Halved, who, what) -> opinion_loop.World:
  """Returns the world of kept votes, seen by who knows the other half.

  Positions and stances are in deviations, of people and of statements.
  """
  fitted = some.measuring
  people = np.asarray(fitted.people.mean, np.float64)[who]
  statements = np.asarray(fitted.statements.mean, np.float64)[what]
  position, loading = people[:, _AXIS], statements[:, _AXIS]
  size = position.std()
  return opinion_loop.World(
    (position - position.mean()) / size,
    (loading - loading.mean()) / loading.std(),
    people @ statements.T,
    loading * size,
    some.personal[np.ix_(who, what)],
    some.loading[what],
    some.aggregate[np.ix_(who, what)],
  )


def _measured(loop: opinion_loop.Loop, draws) -> tuple[np.ndarray, np.ndarray]:
  """Returns the share of the own side, and the variance at the end."""
  person, statement = np.nonzero(loop.dividing)
  values = np.stack([loop.own, loop.dividing], -1)[person, statement]
  sums = draws.sums(person, statement, values)
  share = drawn_twice.ratio(sums[:, 0], sums[:, 1])
  return share, _spread(loop.position, draws)


def _spread(position: np.ndarray, draws) -> np.ndarray:
  """Returns the variance of positions in every draw of people."""
  total = draws.person.sum(1)
  mean = draws.person @ position / total
  return draws.person @ position**2 / total - mean**2
