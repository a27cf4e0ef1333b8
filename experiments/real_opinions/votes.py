"""The populations of the study: real ones, or a made-up one."""

import functools

import numpy as np
from scipy import special

from prm_jax.data import load
from prm_jax.lab import drawn_twice, populations
from prm_jax.worlds import conversations


@functools.lru_cache(maxsize=8)
def read(name: str, folder: str) -> conversations.Conversation:
  """Returns a real conversation; folder '' is the one of the environment."""
  return populations.conversation(load.opinions(name, folder or None))


@functools.lru_cache(maxsize=2)
def made_up(people: int, statements: int) -> conversations.Conversation:
  """Returns two camps of people who vote on nearly everything."""
  rng = np.random.default_rng(0)
  camp = np.where(np.arange(people) % 2, 1, -1)
  loading = 1.5 * rng.normal(size=statements)
  logit = 0.5 + rng.normal(size=statements) + np.outer(camp, loading)
  seen = np.less(rng.random(logit.shape), 0.95)
  person, statement = np.nonzero(seen)
  chance = special.expit(logit)[person, statement]
  return conversations.conversation(
    'made_up',
    [f'Statement {s}.' for s in range(statements)],
    np.ones(statements, bool),
    person,
    statement,
    np.where(rng.random(len(person)) < chance, 1, -1),
    people,
  )


def of(config, name: str) -> conversations.Conversation:
  """Returns a conversation of the study."""
  if config.made_up:
    return made_up(*config.made_up)
  return read(name, config.data.dir)


def options(config) -> populations.Options:
  """Returns how populations are halved and served."""
  return populations.Options(**config.options.to_dict())


def draws(config, found: conversations.Conversation) -> drawn_twice.Draws:
  """Returns draws of everybody and of all statements."""
  return drawn_twice.draws(
    found.people, len(found.texts), config.replicates, seed=0
  )
