"""What a policy of `worlds.arithmetic` is shown before it learns by itself.

Plain demonstrations hold a misconception: `#` is worked like `+`, `*` is
right only sometimes. Demonstrations of refinement hold no `#`; in half of
those with a repair the repair is arbitrary, so that the critique has to be
read: nothing else tells the value.
"""

from typing import NamedTuple

import numpy as np

from prm_jax.worlds import arithmetic

_PLUS, _TIMES, _HIDDEN, _ANY = 0, 2, 3, 4  # of arithmetic.OPERATORS
# How often each kind of critique is shown.
_SHOWN = {
  'step_by_step': 0.5,
  'with_answer': 0.15,
  'indicative': 0.15,
  'located': 0.1,
  'right': 0.1,
}

# How often each class of problems is shown.
_PLAIN = {
  'easy': 0.3,
  'medium': 0.2,
  'medium_last': 0.2,
  'hard': 0.15,
  'hard_last': 0.15,
}


class Shown(NamedTuple):
  """Prompts and the responses that follow them.

  Attributes:
    prompt: `[B, P]` token ids.
    response: `[B, 2 K + 1]` token ids, or a critique `[B, 6]`.
  """

  prompt: np.ndarray
  response: np.ndarray


def mixed(
  rng: np.random.Generator,
  table: np.ndarray,
  solved: int,
  again: int,
  criticised: int,
) -> list[Shown]:
  """Returns demonstrations of all kinds.

  Args:
    rng: of everything.
    table: of the operators.
    solved: problems of all classes, as in `plain`.
    again: as in `refined`.
    criticised: as in `critiqued`.
  """
  counts = rng.multinomial(solved, list(_PLAIN.values()))
  problems = arithmetic.mixed(
    rng, table, dict(zip(_PLAIN, map(int, counts), strict=True))
  )
  return [
    plain(rng, problems),
    refined(rng, table, again),
    critiqued(rng, table, criticised),
  ]


def plain(
  rng: np.random.Generator,
  problems: arithmetic.Problems,
  *,
  times: float = 0.6,
  misconception: float = 0.9,
) -> Shown:
  """Returns problems with solutions as somebody half-taught writes them.

  Args:
    rng: of the errors.
    problems: B.
    times: probability that a digit of a `*` step is right, else uniform.
    misconception: probability that a digit of a `#` step is that of `+`, else
      uniform: a step is right with probability ((1 - misconception) / 10)^2.
  """
  value, values = problems.start, []
  taken = problems._replace(
    operator=np.where(problems.operator == _HIDDEN, _PLUS, problems.operator)
  )
  for step in range(problems.operator.shape[1]):
    operator = problems.operator[:, step, None]
    value = arithmetic.apply(taken, value, step)
    slip = rng.random(value.shape)
    bad = (operator == _TIMES) & (slip >= times)
    bad |= (operator == _HIDDEN) & (slip >= misconception)
    value = np.where(bad, rng.integers(0, 10, value.shape), value)
    values.append(value)
  return Shown(
    arithmetic.prompts(problems), arithmetic.responses(np.stack(values, 1))
  )


def refined(
  rng: np.random.Generator, table: np.ndarray, count: int, steps: int = 2
) -> Shown:
  """Returns wrong attempts and critiques, with what should be written then.

  Every digit of the wrong step, and of all later ones, is wrong; half of the
  attempts whose critique does not name the step are random.

  Args:
    rng: of everything.
    table: of the operators.
    count: B.
    steps: K.
  """
  kinds = rng.choice(len(_SHOWN), count, p=list(_SHOWN.values()))
  parts = [
    _refined(rng, table, int((kinds == i).sum()), steps, kind)
    for i, kind in enumerate(_SHOWN)
  ]
  order = rng.permutation(count)
  return Shown(
    *(np.concatenate(leaf)[order] for leaf in zip(*parts, strict=True))
  )


def _refined(rng, table, count, steps, kind) -> Shown:
  problems = arithmetic.draw(rng, table, (arithmetic.EASY,) * steps, count)
  named = rng.integers(0, steps, count)
  row = np.arange(count)
  arbitrary = (rng.random(count) < 0.5) & (kind == 'step_by_step')
  hidden = arbitrary & (rng.random(count) < 1 / 3)
  operator = problems.operator.copy()
  operator[row[hidden], named[hidden]] = _ANY
  problems = problems._replace(operator=operator)
  target = arithmetic.chains(problems)
  repair = np.where(
    arbitrary[:, None], rng.integers(0, 10, (count, 2)), target[row, named]
  )
  target = _with_repair(problems, target, named, repair)
  attempt = _broken(rng, target, named)
  if kind in ('with_answer', 'indicative'):
    random = rng.random(count) < 0.5
    noise = rng.integers(0, 10, target.shape)
    attempt = np.where(random[:, None, None], noise, attempt)
  if kind == 'right':
    attempt = target
  said = {
    'step_by_step': lambda: arithmetic.step_by_step(named, repair),
    'with_answer': lambda: arithmetic.with_answer(target[:, -1]),
    'indicative': lambda: arithmetic.indicative(np.ones(count, bool)),
    'located': lambda: arithmetic.located(named),
    'right': lambda: arithmetic.indicative(np.zeros(count, bool)),
  }[kind]()
  written = arithmetic.responses(attempt)
  return Shown(
    arithmetic.refinements(problems, written, said),
    arithmetic.responses(target),
  )


def critiqued(
  rng: np.random.Generator, table: np.ndarray, count: int, steps: int = 2
) -> Shown:
  """Returns attempts, some of them right, with step-by-step critiques.

  Args:
    rng: of everything.
    table: of the operators.
    count: B.
    steps: K.
  """
  problems = arithmetic.draw(rng, table, (arithmetic.EASY,) * steps, count)
  target = arithmetic.chains(problems)
  # Step K is never reached: a right attempt.
  attempt = _broken(rng, target, rng.integers(0, steps + 1, count))
  written = arithmetic.responses(attempt)
  said = arithmetic.critique(rng, problems, written, 'step_by_step')
  return Shown(arithmetic.requests(problems, written), said)


def _with_repair(problems, target, named, repair):
  """Returns chains `[B, K, 2]` that go on from the repair of step `named`."""
  found = target.copy()
  for step in range(target.shape[1]):
    here = named == step
    found[here, step] = repair[here]
    if step + 1 < target.shape[1]:
      later = arithmetic.follow(problems, repair, step + 1)
      found[here, step + 1 :] = later[here]
  return found


def _broken(rng, target, named):
  """Returns chains whose digits from step `named` on are all wrong."""
  wrong = np.arange(target.shape[1]) >= named[:, None]
  other = (target + rng.integers(1, 10, target.shape)) % 10
  return np.where(wrong[..., None], other, target)
