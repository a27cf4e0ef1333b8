"""What a rule says of an attempt, knowing a worked solution."""

import re

from prm_jax.data import answers

CRITICS = ('indicative', 'with_answer', 'step_by_step')
_COMPUTED = re.compile(r'<<[^<>]*=([^<>=]*)>>')


def critique(kind: str, solution: str, attempt: str, reward: float) -> str:
  """Returns what a rule says of an attempt.

  Args:
    kind: 'indicative', 'with_answer' or 'step_by_step': the first value that
      the solution computes and the attempt does not state, and its line.
    solution: of GSM8K, with values in << >>.
    attempt: a text.
    reward: above a half if it is right.

  Raises:
    ValueError: unknown kind.
  """
  if kind not in CRITICS:
    raise ValueError(f'critic {kind!r}: one of {CRITICS}')
  if reward > 0.5:
    return 'The answer is right.'
  said = 'The answer is wrong.'
  if kind == 'with_answer':
    return f'{said} The right answer is {answers.final(solution)}.'
  if kind == 'step_by_step':
    stated = {answers.normalized(n) for n in re.findall(r'[\d.,]*\d', attempt)}
    for line in solution.splitlines():
      values = _COMPUTED.findall(line)
      if values and answers.normalized(values[-1]) not in stated:
        return f'{said} This step is missing: {_COMPUTED.sub("", line)}'
  return said
