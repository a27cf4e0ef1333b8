"""A person at a terminal: questions, and what the answers are taken to mean."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax.elicitation import session as sessions
from prm_jax.ops import acquisition, bayes

_HELP = 'a / b / skip / undo / quit'
_REVIEW = 'delete N / set J VALUE / quit'
_WIDTH = 300  # characters of a response in the summary


class Question(NamedTuple):
  """Two responses to one prompt; `name` does not change between runs."""

  name: str
  prompt: str
  a: str
  b: str


class Pool(NamedTuple):
  """What can be asked.

  Attributes:
    questions: N pairs.
    first: `[N, J]` encoded first responses; second: `[N, J]`.
  """

  questions: Sequence[Question]
  first: np.ndarray
  second: np.ndarray

  @property
  def difference(self) -> np.ndarray:
    """Returns encoded first minus second, `[N, J]`."""
    return self.first - self.second


def ask(
  session: sessions.Session,
  prior: bayes.GaussianPrior,
  pool: Pool,
  *,
  questions: int,
  threshold: float,
  read: Callable[[str], str],
  write: Callable[[str], None],
) -> None:
  """Asks until the budget ends, little would be learned, or the person quits.

  Args:
    session: kept on disk; a resumed one goes on where it was.
    prior: of the population.
    pool: what can be asked.
    questions: the budget, answers of earlier runs included.
    threshold: stop when the expected gain, in nats, falls under it.
    read: shows a prompt and returns a line.
    write: shows a line.
  """
  if session.answers:
    write(f'{len(session.answers)} answers are kept; going on.')
  while len(session.answers) < questions:
    corrected, posterior = session.belief(prior, pool.difference)
    index, gain = sessions.next_question(
      corrected,
      posterior,
      pool.difference,
      session.asked(),
      acquisition.information_gain,
    )
    if index < 0:
      write('There is nothing left to ask.')
      break
    if gain < threshold:
      write(f'The best question would teach {gain:.4f} nats: enough is known.')
      break
    if not _one(session, pool.questions[index], index, questions, read, write):
      break
  review(session, prior, pool, read=read, write=write)


def _one(session, question, index, questions, read, write) -> bool:
  """Asks one question; returns whether to go on."""
  write(f'\nQuestion {len(session.answers) + 1} of {questions}')
  write(f'{question.prompt}\n\n[a] {question.a}\n\n[b] {question.b}\n')
  while True:
    answer = read(f'Which is better for you? ({_HELP}) ').strip().lower()
    if answer in sessions.ANSWERS:
      session.answer(index, answer)
      return True
    if answer == 'undo':
      if session.answers:
        session.undo()
        return True
      write('There is no answer to take back.')
    elif answer == 'quit':
      return False
    else:
      write(f'Please type one of {_HELP}.')


def review(
  session: sessions.Session,
  prior: bayes.GaussianPrior,
  pool: Pool,
  *,
  read: Callable[[str], str],
  write: Callable[[str], None],
) -> None:
  """Shows what is believed, and lets the person correct and delete it."""
  while True:
    for line in summary(session, prior, pool):
      write(line)
    command = read(f'\n{_REVIEW} ').strip().lower().split()
    try:
      if command in ([], ['quit']):
        return
      if len(command) == 2 and command[0] == 'delete':
        session.delete(int(command[1]) - 1)
      elif len(command) == 3 and command[0] == 'set':
        number = int(command[1])
        if not 1 <= number <= prior.mean.shape[0]:
          raise sessions.SessionError(f'there is no coefficient {number}')
        session.correct(number - 1, float(command[2]))
      else:
        write(f'Please type one of {_REVIEW}.')
    except ValueError as error:
      write(str(error))


def summary(
  session: sessions.Session, prior: bayes.GaussianPrior, pool: Pool
) -> list[str]:
  """Returns answers and coefficients as lines of text.

  A coefficient stands with its mean and standard deviation, and with the
  responses whose base reward is largest and smallest.
  """
  corrected, posterior = session.belief(prior, pool.difference)
  mean = np.asarray(bayes.coefficients(corrected, posterior))
  factor = bayes.covariance_factor(corrected, posterior)
  sd = np.asarray(jnp.sqrt(jnp.sum(factor**2, 1)))
  lines = ['\nYour answers:']
  for number, (pair, answer) in enumerate(session.answers, 1):
    lines.append(f'  {number}. [{answer}] {pool.questions[pair].prompt}')
  encoded = np.concatenate([pool.first, pool.second])
  texts = [q.a for q in pool.questions] + [q.b for q in pool.questions]
  lines.append('\nWhat is believed of you:')
  for j, (m, s) in enumerate(zip(mean, sd, strict=True)):
    known = ' (as you set it)' if j in session.corrections else ''
    lines.append(f'  coefficient {j + 1}: {m:+.2f} +- {s:.2f}{known}')
    for sign, name in ((1.0, 'more of'), (-1.0, 'less of')):
      best = texts[int(np.argmax(sign * encoded[:, j]))]
      lines.append(f'    {name}: {_short(best)}')
  return lines


def _short(text: str) -> str:
  line = ' '.join(text.split())
  return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + '...'
