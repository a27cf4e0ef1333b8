"""What judges of `worlds.judging` write: parsed, weighted and graded.

A verdict is read from what was written alone, and only where all of it is a
trace: the judge's own chain, the claims, the verdict and the end. Any token
ids can be read, on the host or traced.
"""

from typing import NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.worlds import judging

ROLES = (
  'none',
  'start',
  'label',
  'operation',
  'value',
  'arrow',
  'claim',
  'verdict',
  'end',
)
_ROLE = {role: i for i, role in enumerate(ROLES)}


def weights(ids: np.ndarray, *, verdict: float = 4.0) -> np.ndarray:
  """Returns the weights of tokens in a loss, `[B, T]` float32.

  1 a token, `verdict` the verdict, which is drowned otherwise; 0 for padding.
  """
  numpy = types.namespace(ids)
  is_verdict = (ids >= judging.VERDICTS[1]) & (ids <= judging.VERDICTS[2] + 1)
  found = numpy.where(is_verdict, verdict, ids != judging.PAD)
  return found.astype(numpy.float32)


class Parsed(NamedTuple):
  """What traces say; all is -1 where a trace is not whole.

  Attributes:
    start: `[B]`.
    label: `[B, K]`, -1 behind the last step, too; as are the next two.
    operation: `[B, K]` operator * 7 + operand.
    value: `[B, K]`.
    stated: `[B, R]` the numbers behind the arrow.
    verdict: `[B]` 0 or 1.
    length: `[B]` steps.
    whole: `[B]` bool: a trace of 1 to K steps, its end, and nothing else.
  """

  start: np.ndarray
  label: np.ndarray
  operation: np.ndarray
  value: np.ndarray
  stated: np.ndarray
  verdict: np.ndarray
  length: np.ndarray
  whole: np.ndarray


def roles(ids: np.ndarray, solutions: int) -> np.ndarray:
  """Returns the place of every token in its trace, `[B, T]` into `ROLES`.

  By its distance from the first arrow; without one, all are 'none'. Where a
  trace is wrong is seen from the accuracy by role and step, not by position.

  Args:
    ids: `[B, T]` traces.
    solutions: R.
  """
  numpy = types.namespace(ids)
  at = numpy.arange(ids.shape[1])[None]
  arrow = (ids == judging.ARROW).argmax(1)[:, None]
  role = _ROLE['label'] + (at - 1) % 3
  role = numpy.where(at == 0, _ROLE['start'], role)
  role = numpy.where(at == arrow, _ROLE['arrow'], role)
  role = numpy.where(at > arrow, _ROLE['claim'], role)
  role = numpy.where(at == arrow + solutions + 1, _ROLE['verdict'], role)
  role = numpy.where(at == arrow + solutions + 2, _ROLE['end'], role)
  role = numpy.where(at > arrow + solutions + 2, _ROLE['none'], role)
  return numpy.where(
    (ids == judging.ARROW).any(1)[:, None], role, _ROLE['none']
  )


def parse(ids: np.ndarray, steps: int, solutions: int) -> Parsed:
  """Returns what any token ids say, read as traces.

  Args:
    ids: `[B, T]` what a judge wrote, of any length; integers of any size.
    steps: K, the most steps that a trace may have.
    solutions: R.
  """
  numpy = types.namespace(ids)
  short = max(0, 4 + solutions + 3 * steps - ids.shape[1])
  ids = numpy.pad(ids, ((0, 0), (0, short)), constant_values=judging.PAD)
  allowed = numpy.asarray(
    [  # first and last token of every role
      (judging.PAD, judging.PAD),
      (judging.DIGIT, judging.DIGIT + judging.MODULUS - 1),
      (judging.LABEL, judging.LABEL + judging.STEPS - 1),
      (judging.OPERATION, judging.OPERATION + len(judging.OPERATIONS) - 1),
      (judging.DIGIT, judging.DIGIT + judging.MODULUS - 1),
      (judging.ARROW, judging.ARROW),
      (judging.DIGIT, judging.DIGIT + judging.MODULUS - 1),
      (judging.VERDICTS[solutions], judging.VERDICTS[solutions] + 1),
      (judging.END, judging.END),
    ]
  )[roles(ids, solutions)]
  arrow = (ids == judging.ARROW).argmax(1)
  length = (arrow - 1) // 3
  whole = (arrow % 3 == 1) & (length >= 1) & (length <= steps)
  whole &= ((ids >= allowed[..., 0]) & (ids <= allowed[..., 1])).all(1)
  # Only a whole trace ends inside; of others nothing is kept.
  place = arrow[:, None] + 1 + numpy.arange(solutions + 1)
  place = numpy.minimum(place, ids.shape[1] - 1)
  behind = numpy.take_along_axis(ids, place, 1)
  body = ids[:, 1 : 1 + 3 * steps].reshape(-1, steps, 3)
  exists = whole[:, None] & (numpy.arange(steps) < length[:, None])

  def kept(where, value):
    return numpy.where(where, value, -1)

  return Parsed(
    kept(whole, ids[:, 0] - judging.DIGIT),
    kept(exists, body[..., 0] - judging.LABEL),
    kept(exists, body[..., 1] - judging.OPERATION),
    kept(exists, body[..., 2] - judging.DIGIT),
    kept(whole[:, None], behind[:, :-1] - judging.DIGIT),
    kept(whole, behind[:, -1] - judging.VERDICTS[solutions]),
    kept(whole, length),
    whole,
  )


class Grades(NamedTuple):
  """How right traces are, each `[B]` float32, 1 or 0.

  A judge of single solutions that errs in its own chain says `N`, and is right
  so of every wrong solution but one in six: read `verdict` beside `chain`.

  Attributes:
    verdict: the verdict is right, in a trace that is whole.
    chain: so are the start and all values of the judge's own chain.
    copied: so are the steps and the claims as they are restated.
    whole: the trace can be read.
  """

  verdict: np.ndarray
  chain: np.ndarray
  copied: np.ndarray
  whole: np.ndarray


def grade(given: judging.Judgements, ids: np.ndarray) -> Grades:
  """Returns how right traces `[B, T]` are.

  Args:
    given: B rows; of jax where ids are.
    ids: `[B, T]` what a judge wrote, behind the prompt.
  """
  return graded(given.problems, judging.claims(given), given.right, ids)


def graded(
  problems: judging.Problems,
  stated: np.ndarray,
  right: np.ndarray,
  ids: np.ndarray,
) -> Grades:
  """Returns how right traces are, against what should be stated.

  Args:
    problems: B.
    stated: `[B, R]` the right numbers behind the arrow.
    right: `[B]` the right verdict.
    ids: `[B, T]` what a judge wrote.
  """
  numpy = types.namespace(ids)
  said = parse(ids, problems.operator.shape[1], stated.shape[1])
  exists = problems.steps
  operation = problems.operator * judging.MODULUS + problems.operand
  chain = (said.start == problems.start) & said.whole
  chain &= (said.value == judging.chains(problems)).all(1)
  copied = said.whole & (said.stated == stated).all(1)
  copied &= (said.label == numpy.where(exists, problems.label, -1)).all(1)
  copied &= (said.operation == numpy.where(exists, operation, -1)).all(1)
  verdict = said.whole & (said.verdict == right)
  marks = (verdict, chain, copied, said.whole)
  return Grades(*(mark.astype(numpy.float32) for mark in marks))
