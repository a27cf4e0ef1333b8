"""The loop of statements: 2,000 people, 100 rounds, every server.

Everybody meets eight of S statements a round, is served one, answers, moves,
and the server learns. One process, servers in turn, compilation apart;
core_seconds are of the processor, over all cores, and say what a machine that
does other work can tell. Asked are 30 seconds on two cores.
"""

import functools
import statistics
import time
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import program
from prm_jax.audits import opinion_loop
from prm_jax.lab import timing


class Sizes(NamedTuple):
  """How much every server does."""

  people: int = 2_000
  statements: int = 600
  rounds: int = 100
  repeats: int = 3
  required_seconds: float = 30.0


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
  cores: dict[str, list[float]] = {one: [] for one in opinion_loop.SERVERS}

  def loop(server, rounds):
    started = time.process_time()
    end = opinion_loop.simulate(
      made, server, seed=0, rounds=rounds, step=0.05, radius=1.0
    )
    cores[server].append(time.process_time() - started)
    return end.position

  for server in opinion_loop.SERVERS:
    loop(server, 1)  # compiles
    cores[server].clear()
  times = timing.side_by_side(
    {
      server: functools.partial(loop, server, sizes.rounds)
      for server in opinion_loop.SERVERS
    },
    sizes.repeats,
    warm=0,
  )
  return {
    'loop': [
      {
        'server': server,
        'people': sizes.people,
        'statements': sizes.statements,
        'rounds': sizes.rounds,
        **taken.columns(),
        'core_seconds': statistics.median(cores[server]),
        'required_seconds': sizes.required_seconds,
        'met': taken.slowest <= sizes.required_seconds,
      }
      for server, taken in times.items()
    ]
  }


if __name__ == '__main__':
  program.main(
    __doc__,
    measure,
    Sizes(),
    Sizes(people=40, statements=20, rounds=2, repeats=1),
  )
