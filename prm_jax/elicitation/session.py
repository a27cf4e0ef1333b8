"""One person's answers on disk, and the belief they lead to.

A session is a file of JSON lines: a header, then one event a line, each on
disk before the next question is asked. Nothing is ever rewritten: an undo is
an event too. A line without its end, as a killed process may leave it, is
dropped; everything else that does not fit is an error that names the line.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import acquisition, bayes

VERSION = 1
_CERTAIN = 0.1  # standard deviation of a coefficient that a person has set
ANSWERS = ('a', 'b', 'skip')


class SessionError(ValueError):
  """A session file does not fit."""


class Answer(NamedTuple):
  """Candidate `pair` of the pool, answered 'a', 'b' or 'skip'."""

  pair: int
  answer: str


class Known(NamedTuple):
  """Answers of a person as numbers.

  Attributes:
    difference: `[N, J]` encoded first minus second.
    label: `[N]` 1 if the first was preferred.
    mask: `[N]` 1 for an answer.
  """

  difference: np.ndarray
  label: np.ndarray
  mask: np.ndarray


class Session:
  """What a person has said so far.

  Attributes:
    answers: in order, undone and deleted ones left out.
    corrections: coefficient -> the mean that the person gave it.
  """

  def __init__(
    self,
    path: Path,
    user: str,
    names: Sequence[str],
    known: Known | None = None,
  ):
    """Opens a session, or begins one.

    Args:
      path: of the file.
      user: whose.
      names: of every candidate pair, which do not change between runs.
      known: what the person has said elsewhere.

    Raises:
      SessionError: the file is another person's or does not fit the pool.
    """
    self.path, self._user, self._known = path, user, known
    self._number = {name: i for i, name in enumerate(names)}
    self._names = list(names)
    self.answers: list[Answer] = []
    self.corrections: dict[int, float] = {}
    if path.exists():
      self._read()
    else:
      path.parent.mkdir(parents=True, exist_ok=True)
      self._append({'version': VERSION, 'user': user})

  def answer(self, pair: int, answer: str) -> None:
    """Keeps an answer; it is on disk when this returns."""
    self._record(
      {'event': 'answer', 'pair': self._names[pair], 'answer': answer}
    )

  def undo(self) -> None:
    """Takes the last answer back.

    Raises:
      SessionError: there is none.
    """
    self.delete(len(self.answers) - 1)

  def delete(self, number: int) -> None:
    """Deletes an answer by its number.

    Raises:
      SessionError: there is no such answer.
    """
    self._record({'event': 'delete', 'number': number})

  def correct(self, coefficient: int, mean: float) -> None:
    """Sets what is believed of a coefficient."""
    self._record({'event': 'set', 'coefficient': coefficient, 'mean': mean})

  def asked(self) -> list[int]:
    """Returns the candidates that need not be asked again."""
    return [answer.pair for answer in self.answers]

  def belief(
    self, prior: bayes.GaussianPrior, difference: np.ndarray
  ) -> tuple[bayes.GaussianPrior, bayes.Posterior]:
    """Returns the corrected prior and the posterior.

    Args:
      prior: of the population, J coefficients.
      difference: `[N, J]` the pool.

    Raises:
      SessionError: a corrected coefficient is not one of the J.
    """
    for coefficient, mean in self.corrections.items():
      if not 0 <= coefficient < prior.mean.shape[0]:
        raise SessionError(
          f'{self.path}: coefficient {coefficient + 1} is not one of '
          f'{prior.mean.shape[0]}'
        )
      prior = observe(prior, coefficient, mean)
    said = [answer for answer in self.answers if answer.answer != 'skip']
    rows = np.array([answer.pair for answer in said], int)
    label = np.array([answer.answer == 'a' for answer in said], np.float32)
    # A few sizes only, so that an answer compiles nothing.
    size = max(16, 1 << max(len(said) - 1, 0).bit_length())
    pad = size - len(said)
    given = Known(
      np.pad(difference[rows], ((0, pad), (0, 0))).astype(np.float32),
      np.pad(label, (0, pad)),
      np.pad(np.ones(len(said), np.float32), (0, pad)),
    )
    if self._known is not None:
      both = zip(self._known, given, strict=True)
      given = Known(*(np.concatenate(parts) for parts in both))
    return prior, _solve(prior, *map(jnp.asarray, given))

  def _record(self, event: dict[str, Any]) -> None:
    self._apply(event, 'this session')
    self._append(event)

  def _append(self, event: dict[str, Any]) -> None:
    with self.path.open('a', encoding='utf-8') as file:
      file.write(json.dumps(event) + '\n')
      file.flush()
      os.fsync(file.fileno())

  def _read(self) -> None:
    content = self.path.read_bytes()
    whole = content[: content.rfind(b'\n') + 1]
    if whole != content:  # killed while it wrote
      os.truncate(self.path, len(whole))
    lines = whole.decode('utf-8', 'replace').splitlines()
    if not lines:
      self._append({'version': VERSION, 'user': self._user})
      return
    for number, line in enumerate(lines, 1):
      where = f'{self.path}:{number}'
      try:
        event = json.loads(line)
      except json.JSONDecodeError as error:
        raise SessionError(f'{where}: not JSON: {error}') from error
      if not isinstance(event, dict):
        raise SessionError(f'{where}: not a JSON object')
      if number == 1:
        self._check_header(event, where)
      else:
        self._apply(event, where)

  def _check_header(self, header: dict, where: str) -> None:
    if header.get('version') != VERSION:
      raise SessionError(
        f'{where}: version is {header.get("version")!r}, not {VERSION}'
      )
    if header.get('user') != self._user:
      raise SessionError(
        f'{where}: user is {header.get("user")!r}, not {self._user!r}'
      )

  def _apply(self, event: dict, where: str) -> None:
    kind = event.get('event')
    if kind == 'answer':
      pair, answer = event.get('pair'), event.get('answer')
      if pair not in self._number:
        raise SessionError(
          f'{where}: pair: {pair!r} is not a question of this model'
        )
      if answer not in ANSWERS:
        raise SessionError(f'{where}: answer: {answer!r} is none of {ANSWERS}')
      self.answers.append(Answer(self._number[pair], answer))
    elif kind == 'delete':
      number = event.get('number')
      count = len(self.answers)
      if not isinstance(number, int) or not 0 <= number < count:
        raise SessionError(
          f'{where}: number: {number!r}, and there are {count} answers'
        )
      del self.answers[number]
    elif kind == 'set':
      coefficient, mean = event.get('coefficient'), event.get('mean')
      if not isinstance(coefficient, int) or coefficient < 0:
        raise SessionError(f'{where}: coefficient: {coefficient!r}')
      if not isinstance(mean, int | float) or not np.isfinite(mean):
        raise SessionError(f'{where}: mean: {mean!r} is not a number')
      self.corrections[coefficient] = float(mean)
    else:
      raise SessionError(f'{where}: event: {kind!r} is unknown')


@jax.jit
def _solve(prior, difference, label, mask):
  return bayes.laplace(prior, difference, label, mask)


def observe(
  prior: bayes.GaussianPrior, coefficient: int, mean: float
) -> bayes.GaussianPrior:
  """Returns the prior given that a coefficient is `mean`, nearly surely."""
  direction = jnp.eye(prior.mean.shape[0])[coefficient]
  weight = 1.0 / _CERTAIN**2
  factor = acquisition.condition(prior.factor, direction, jnp.float32(weight))
  gain = factor @ (factor.T @ direction) * weight
  moved = prior.mean + gain * (mean - prior.mean[coefficient])
  return bayes.GaussianPrior(moved, factor)


def next_question(
  prior: bayes.GaussianPrior,
  posterior: bayes.Posterior,
  difference: np.ndarray,
  asked: Sequence[int],
  score,
) -> tuple[int, float]:
  """Returns the best candidate that was not asked, -1 if none, and its score.

  Args:
    prior: of the person.
    posterior: of the person.
    difference: `[N, J]` the pool; candidates that are not numbers are left
      out.
    asked: candidates not to ask again.
    score: of a margin's mean and variance.
  """
  mean = bayes.coefficients(prior, posterior)
  factor = bayes.covariance_factor(prior, posterior)
  return best(mean, factor, difference, asked, score)


def best(
  mean: types.Array,
  factor: types.Array,
  difference: np.ndarray,
  asked: Sequence[int],
  score,
) -> tuple[int, float]:
  """Returns `next_question` of a belief N(mean, factor factor^T).

  Args:
    mean: `[J]`.
    factor: `[J, J]`.
    difference: `[N, J]` the pool.
    asked: candidates not to ask again.
    score: of a margin's mean and variance.
  """
  mean, variance = acquisition.margin_moments(
    jnp.asarray(difference).T, mean, factor
  )
  available = np.ones(len(difference), bool)
  available[list(asked)] = False
  index, value = acquisition.best(score(mean, variance), jnp.asarray(available))
  return int(index), float(value)


def whose(path: Path) -> str:
  """Returns the person whose session a file is.

  Raises:
    SessionError: it does not say.
  """
  line = path.read_text('utf-8').partition('\n')[0]
  try:
    return str(json.loads(line)['user'])
  except (ValueError, KeyError, TypeError) as error:
    raise SessionError(f'{path}:1: does not say whose it is') from error
