"""The loop of statements: 2,000 people, 100 rounds, every server.

Everybody meets eight of S statements a round, is served one, answers, moves,
and the server learns. One process; seconds are of the wall, compilation apart.
"""

import time
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import program
from prm_jax.audits import opinion_loop


class Sizes(NamedTuple):
  """How much every server does."""

  people: int = 2_000
  statements: int = 600
  rounds: int = 100


def world(people: int, statements: int) -> opinion_loop.World:
  """Returns people whom a server knows."""
  rng = np.random.default_rng(0)
  position, stance = rng.normal(size=people), rng.normal(size=statements)
  logit = np.outer(position, stance)
  base: Any = np.broadcast_to(rng.normal(size=statements), logit.shape)
  return opinion_loop.World(
    position, stance, logit, stance, logit + base, stance, base
  )


def measure(sizes: Sizes) -> program.Tables:
  """Returns the seconds of every server."""
  made = world(sizes.people, sizes.statements)
  rows = []
  for server in opinion_loop.SERVERS:

    def run(rounds, server=server):
      return opinion_loop.simulate(
        made, server, seed=0, rounds=rounds, step=0.05, radius=1.0
      )

    run(1)  # compiles
    started, core = time.perf_counter(), time.process_time()
    run(sizes.rounds)
    rows.append(
      {
        'server': server,
        **sizes._asdict(),
        'seconds': time.perf_counter() - started,
        'core_seconds': time.process_time() - core,
      }
    )
  return {'loop': rows}


if __name__ == '__main__':
  program.main(
    __doc__, measure, Sizes(), Sizes(people=40, statements=20, rounds=2)
  )
