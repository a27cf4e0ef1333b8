"""How well summaries are read: one's own, another person's, and none."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import composed
from prm_jax.ops.heads import choices
from prm_jax.policy import summarizing
from prm_jax.users import summaries


class Examined(NamedTuple):
  """What became of B contexts; figures are `[B]`, means over their choices.

  Attributes:
    summary: leaves `[B, S]` that were read.
    right: behind 'own', 'other' and 'empty' summaries, the share of choices
      that the reward predicts; 'other' is NaN where nobody else was there.
    nll: likewise, nats.
  """

  summary: types.Tokens
  right: dict[str, types.Array]
  nll: dict[str, types.Array]


def examiner(
  writer: summaries.Writer, reward: types.RewardModel
) -> Callable[..., Examined]:
  """Returns `(key, params, contexts, summary=None, temperature=0) -> Examined`.

  Every choice is predicted behind the person's own summary, another person's
  and the empty one. Given summaries `[B, S]` are read in place of the
  summariser's: the truth, what others wrote, or histories.

  Args:
    writer: of summaries.
    reward: that reads them.
  """

  @jax.jit
  def read(params, rows, summary):
    made = summarizing.summarized(rows, summarizing.grouped(summary, 1))
    blank = summarizing.nothing(writer, len(rows.mask), summary.ids.shape[1])
    three = jax.tree.map(
      lambda *leaves: jnp.stack(leaves, 1), summary, made.other, blank
    )
    margin = summarizing.margins(reward, params['reward'], made.texts, three)
    label = jnp.broadcast_to(made.label[:, None], margin.shape)
    there = jnp.broadcast_to(made.present[:, None], margin.shape)
    count = jnp.maximum(there.sum(-1), 1)

    def mean(values):
      return jnp.where(there > 0, values, 0.0).sum(-1) / count

    known = jnp.stack(
      [jnp.ones_like(made.apart), made.apart, jnp.ones_like(made.apart)], 1
    )
    found = [
      jnp.where(known > 0, mean(values), jnp.nan)
      for values in (
        summarizing.accuracy(margin, label),
        choices.bradley_terry(margin, label),
      )
    ]
    return [
      dict(zip(('own', 'other', 'empty'), each.T, strict=True))
      for each in found
    ]

  @jax.jit
  def write(key, user, history, temperature):
    whole = composed.composed(user, writer.fields)
    return summaries.write(key, writer, whole, history, temperature=temperature)

  def examine(key, params, contexts, summary=None, temperature=0.0):
    rows = jax.tree.map(jnp.asarray, contexts)
    if summary is None:
      summary = write(key, params['user'], rows.history, temperature)
    summary = jax.tree.map(jnp.asarray, summary)
    right, nll = read(params, rows, summary)
    return jax.device_get(Examined(summary, right, nll))

  return examine
