"""Who trains, who chooses and who is examined, in both worlds of histories."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from prm_jax import history_rows
from prm_jax.users import summaries
from prm_jax.worlds import histories

_TRAINING, _VALIDATION, _TESTS = 0, 1, 2  # of a seed, what is drawn


class World(NamedTuple):
  """One seed's people in one of the worlds.

  Histories and choices of a seed are the same in both worlds, which differ in
  what a statement is.

  Attributes:
    own_words: whether statements are words of the history's topic.
    writer: of summaries.
    training: contexts that are learned from.
    validation: new people, on whom everything is chosen.
    tests: split -> contexts on which nothing is chosen.
  """

  own_words: bool
  writer: summaries.Writer
  training: histories.Contexts
  validation: histories.Contexts
  tests: Mapping[str, histories.Contexts]


def writer(config: Any, *, own_words: bool) -> summaries.Writer:
  """Returns the writer of a study, whose decoder may be of other sizes."""
  sizes = dataclasses.replace(history_rows.SIZES, **config.decoder.to_dict())
  return history_rows.writer(sizes, own_words=own_words)


def world(config: Any, name: str, seed: int) -> World:
  """Returns the people of a seed.

  Args:
    config: of the study: `worlds`, `decoder` and `people`.
    name: of the world.
    seed: of all draws.
  """
  node, own_words = config.people, bool(config.worlds[name])
  training = histories.training(
    np.random.default_rng([seed, _TRAINING]),
    node.training,
    histories_each=node.histories,
    pairs_each=node.pairs,
  )

  def drawn(place, split, count):
    rng = np.random.default_rng([seed, place])
    return histories.examined(rng, split, training, count, node.tested_pairs)

  return World(
    own_words,
    writer(config, own_words=own_words),
    training,
    drawn(_VALIDATION, 'new', node.validation),
    {
      split: drawn(_TESTS + histories.SPLITS.index(split), split, node.tested)
      for split in node.splits
    },
  )
