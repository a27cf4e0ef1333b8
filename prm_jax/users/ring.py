"""The last N answers of a person, kept so that a belief can be re-solved."""

from typing import NamedTuple

import jax.numpy as jnp

from prm_jax import types


class Answers(NamedTuple):
  """A ring of N slots.

  Attributes:
    value: `[N, ...]` what is kept of a pair: the difference of its encodings
      `[J]` for beliefs that need no more, or both encodings `[2, J]`.
    label: `[N]` probability that the first is preferred.
    mask: `[N]` 1 where a slot is filled.
    kept: int32, answers ever kept; the next goes to slot `kept % N`.
  """

  value: types.Array
  label: types.Array
  mask: types.Array
  kept: types.Array


def empty(capacity: int, *shape: int) -> Answers:
  """Returns a ring of `capacity` empty slots, values of this shape."""
  return Answers(
    jnp.zeros((capacity, *shape)),
    jnp.zeros(capacity),
    jnp.zeros(capacity),
    jnp.int32(0),
  )


def differences(evidence: types.Pair) -> types.Pair:
  """Returns the evidence with encoded first answer minus second, `[N, J]`."""
  difference = evidence.encoded[:, 0] - evidence.encoded[:, 1]
  return types.Pair(difference, evidence.label, evidence.mask)


def keep(answers: Answers, evidence: types.Pair) -> Answers:
  """Returns the ring with new answers; the oldest give way.

  Args:
    answers: N slots.
    evidence: `[E, ...]` new answers, masked ones are skipped, whatever they
      hold.
  """
  capacity = answers.mask.shape[0]
  new = (evidence.mask > 0).astype(jnp.int32)
  position = answers.kept + jnp.cumsum(new) - 1
  kept = answers.kept + new.sum()
  # Of more than N new answers only the last N are written.
  written = (new > 0) & (position >= kept - capacity)
  slot = jnp.where(written, position % max(capacity, 1), capacity)
  return Answers(
    answers.value.at[slot].set(evidence.encoded, mode='drop'),
    answers.label.at[slot].set(evidence.label, mode='drop'),
    answers.mask.at[slot].set(evidence.mask, mode='drop'),
    kept,
  )


def evidence(answers: Answers) -> types.Pair:
  """Returns what the ring holds."""
  return types.Pair(answers.value, answers.label, answers.mask)


def dropped(answers: Answers) -> types.Array:
  """Returns how many answers, the oldest, have given way so far."""
  return jnp.maximum(answers.kept - answers.mask.shape[0], 0)


def drop(answers: Answers, slot: types.Array) -> Answers:
  """Returns the ring without the answer in `slot`; undo drops the last."""
  return answers._replace(
    value=answers.value.at[slot].set(0.0),
    label=answers.label.at[slot].set(0.0),
    mask=answers.mask.at[slot].set(0.0),
  )


def last_slot(answers: Answers) -> types.Array:
  """Returns the slot of the latest answer."""
  return (answers.kept - 1) % answers.mask.shape[0]
