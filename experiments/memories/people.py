"""Whose memories are made: a seed's people of each world, in blocks."""

import zlib
from typing import Any

import jax
import numpy as np

from prm_jax.worlds import personal_histories as histories

VALIDATION = 0  # the block on which rates are chosen


def setting(
  config: Any, place: str, events: int | None = None
) -> histories.Setting:
  """Returns the switches of a world.

  Args:
    config: of the study.
    place: the world.
    events: of a person, in place of the world's own.
  """
  found = histories.Setting(**config.worlds[place].to_dict())
  return found if events is None else found._replace(events=events)


def world(
  config: Any, place: str, seed: int, events: int | None = None
) -> histories.World:
  """Returns a seed's people, a block of validation people first.

  Args:
    config: of the study.
    place: the world.
    seed: of all draws.
    events: see `setting`.
  """
  node = config.people
  # By name, so that a world does not hang on which others there are.
  rng = np.random.default_rng([seed, zlib.crc32(place.encode()), events or 0])
  return histories.lived(
    rng,
    node.block * (1 + node.blocks),
    setting(config, place, events),
    queries=node.queries,
  )


def block(config: Any, given: histories.World, number: int) -> histories.World:
  """Returns one block of a seed's people.

  Args:
    config: of the study.
    given: everybody.
    number: from 0, the validation people.
  """
  size = config.people.block
  some = slice(number * size, (number + 1) * size)
  return jax.tree.map(lambda leaf: leaf[some], given)


def latest(given: histories.World, count: int) -> histories.World:
  """Returns the same people, of whom the latest events alone are known."""
  return given._replace(events=_events(given.events, slice(-count, None)))


def earlier(given: histories.Pairs, held_back: int) -> histories.Pairs:
  """Returns all events but the latest that are held back."""
  return _events(given, slice(None, -held_back))


def last(given: histories.Pairs, count: int) -> histories.Pairs:
  """Returns the latest events."""
  return _events(given, slice(-count, None))


def _events(given, some):
  return jax.tree.map(lambda leaf: leaf[:, some], given)
