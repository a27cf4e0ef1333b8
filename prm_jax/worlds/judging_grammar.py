"""Traces of `worlds.judging` held to their problem while they are written.

Labels, operations and the end are forced as the prompt has them, and every
other place to tokens of its kind: what a judge of longer problems than it was
trained on gets wrong may be where it is in the text, or what it computes.
"""

from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.worlds import judging


class Frame(NamedTuple):
  """First and last token of every place of B traces; none where first > last.

  Attributes:
    first: `[B, T]` int32, T = 4 + R + 3 K.
    last: `[B, T]` int32.
  """

  first: np.ndarray
  last: np.ndarray


def frame(problems: judging.Problems, solutions: int) -> Frame:
  """Returns what traces of problems may be.

  `start (label operation value) * length => claims verdict .`: start, values
  and claims are any of 0 to 6, the verdict is either, all else is forced. It
  holds of what `judging.recited` makes, too.

  Args:
    problems: B; of jax where they are traced.
    solutions: R.
  """
  numpy = types.namespace(problems.length)
  B, K = problems.operator.shape
  at = numpy.arange(4 + solutions + 3 * K)[None]
  arrow = 1 + 3 * problems.length[:, None]
  step = numpy.broadcast_to(numpy.clip((at - 1) // 3, 0, K - 1), (B, at.size))

  def forced(column):
    return numpy.take_along_axis(column, step, 1)

  operation = problems.operator * judging.MODULUS + problems.operand
  label = judging.LABEL + forced(problems.label)
  operation = judging.OPERATION + forced(operation)
  verdict = judging.VERDICTS[solutions]
  digit = (judging.DIGIT, judging.DIGIT + judging.MODULUS - 1)
  places = [  # where, first, last; later ones overrule
    (at >= 0, *digit),
    ((at < arrow) & (at % 3 == 1), label, label),
    ((at < arrow) & (at % 3 == 2), operation, operation),
    (at == arrow, judging.ARROW, judging.ARROW),
    (at == arrow + solutions + 1, verdict, verdict + 1),
    (at == arrow + solutions + 2, judging.END, judging.END),
    (at > arrow + solutions + 2, 1, 0),
  ]
  first = last = numpy.zeros((B, at.size), numpy.int32)
  for where, low, high in places:
    first, last = numpy.where(where, low, first), numpy.where(where, high, last)
  return Frame(first.astype(numpy.int32), last.astype(numpy.int32))


def allow(data: Frame, ids: types.Array, step: types.Array) -> types.Array:
  """Returns the tokens that may come next, `[B, V]` bool, V all of `TOKENS`.

  As `models.constraints.Constraint` takes it: `Constraint(allow, frame(...))`.

  Args:
    data: of B traces.
    ids: `[B, N]`, not read: a place's tokens do not depend on those before.
    step: `[]` how many there are. Nothing follows the end.
  """
  numpy = types.namespace(ids)
  at = numpy.minimum(step, data.first.shape[1] - 1)
  token = numpy.arange(len(judging.TOKENS))
  first, last = numpy.asarray(data.first), numpy.asarray(data.last)
  inside = (token >= first[:, at, None]) & (token <= last[:, at, None])
  return inside & (step < data.first.shape[1])
