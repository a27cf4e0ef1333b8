"""Heads of choices that say something of the scores beside their difference."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.heads import paired
from prm_jax.ops.heads import choices, penalties


def penalized(
  *, centring: float = 0.01, barrier: float = 0.0, positive: float = 0.0
) -> types.Head:
  """Returns Bradley-Terry with penalties of where the scores lie.

  Args:
    centring: weight of (r_1 + r_2)^2.
    barrier: weight of what keeps scores between -5 and 5.
    positive: weight of -log sigma(score of the preferred).
  """

  def nll(params, read, said):
    del params
    score = read.score[:, :2]
    loss = choices.bradley_terry(score[:, 0] - score[:, 1], said)
    loss += centring * penalties.centring(score)
    loss += barrier * penalties.barrier(score).sum(-1)
    return loss + positive * penalties.positive(score, said)

  return paired.bradley_terry()._replace(nll=nll)


def disentangled(*, weight: float = 1.0) -> types.Head:
  """Returns ODIN: one score follows length so that the other need not.

  Labels are `[B, 3]`: the probability that the first is preferred, and what
  both lengths are, in any unit, such as logarithms of words. The reward's
  score is served; the other is read off the features in training alone.

  Args:
    weight: of the correlations with length.
  """

  def nll(params, read, said):
    del params
    return penalties.disentangled(
      read.outputs[:, :2, 0], read.score[:, :2], said[:, 0]
    )

  def term(params, read, said, gather):
    del params
    parts = penalties.length_parts(
      read.outputs[:, :2, 0],
      read.score[:, :2],
      said[:, 1:],
      read.mask[:, 0],
      gather,
    )
    return jnp.full(len(said), weight) * sum(parts)

  def predict(params, read):
    del params
    both = (read.score + read.outputs[..., 0])[:, :2]
    return jax.nn.sigmoid(both[:, 0] - both[:, 1])

  def pairs(said, count):
    return paired.first_two(said[:, 0], count)

  return types.Head(
    dict, nll, predict, paired.unchanged, pairs, outputs=1, term=term
  )
