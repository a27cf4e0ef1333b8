import json
import os
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.elicitation import session as sessions
from prm_jax.elicitation import terminal
from prm_jax.ops import acquisition, bayes

J, N = 2, 8


def pool(rng=None):
  rng = rng or np.random.default_rng(0)
  first, second = rng.normal(size=(2, N, J)).astype(np.float32)
  questions = [
    terminal.Question(f'q{i}', f'prompt {i}', f'first {i}', f'second {i}')
    for i in range(N)
  ]
  return terminal.Pool(questions, first, second)


def names():
  return [f'q{i}' for i in range(N)]


PRIOR = bayes.isotropic_prior(jnp.zeros(J), 1.0)


def run(path, lines, questions=5, threshold=0.0):
  """Returns what is written while a person types these lines."""
  session = sessions.Session(path, 'ann', names())
  waiting, written = iter([*lines, 'quit', 'quit']), []

  def read(prompt):
    written.append(prompt)
    return next(waiting)

  terminal.ask(
    session,
    PRIOR,
    pool(),
    questions=questions,
    threshold=threshold,
    read=read,
    write=written.append,
  )
  return session, '\n'.join(written)


def test_answers_are_kept_and_a_resumed_session_goes_on(tmp_path):
  path = tmp_path / 's.jsonl'
  first, _ = run(path, ['a', 'b', 'quit'])
  second, shown = run(path, ['skip', 'a', 'b'])
  assert '2 answers are kept' in shown
  assert [a.answer for a in second.answers] == ['a', 'b', 'skip', 'a', 'b']
  assert second.answers[:2] == first.answers
  asked = second.asked()
  assert len(set(asked)) == 5
  # One sitting gives the same.
  other, _ = run(tmp_path / 't.jsonl', ['a', 'b', 'skip', 'a', 'b'])
  assert other.answers == second.answers


def test_undo_asks_again_and_belief_forgets(tmp_path):
  session, _ = run(tmp_path / 's.jsonl', ['a', 'undo', 'undo', 'b', 'quit'])
  assert [a.answer for a in session.answers] == ['b']
  plain, _ = run(tmp_path / 't.jsonl', ['b', 'quit'])
  for one, other in zip(
    session.belief(PRIOR, pool().difference)[1],
    plain.belief(PRIOR, pool().difference)[1],
    strict=True,
  ):
    np.testing.assert_array_equal(one, other)


def test_all_skips_leave_the_population(tmp_path):
  session, shown = run(tmp_path / 's.jsonl', ['skip'] * N, questions=20)
  prior, posterior = session.belief(PRIOR, pool().difference)
  np.testing.assert_allclose(bayes.coefficients(prior, posterior), 0, atol=1e-6)
  assert 'nothing left to ask' in shown


def test_review_corrects_and_deletes(tmp_path):
  path = tmp_path / 's.jsonl'
  lines = ['a', 'a', 'quit', 'delete 1', 'set 2 1.5', 'set 9 1', 'delete 7']
  session, shown = run(path, lines)
  assert len(session.answers) == 1
  prior, posterior = session.belief(PRIOR, pool().difference)
  mean = np.asarray(bayes.coefficients(prior, posterior))
  assert abs(mean[1] - 1.5) < 0.1
  assert 'as you set it' in shown
  assert 'there is no coefficient 9' in shown
  assert 'there are 1 answers' in shown
  assert 'more of: ' in shown
  # On disk: a new process believes the same.
  again = sessions.Session(path, 'ann', names())
  found = bayes.coefficients(*again.belief(PRIOR, pool().difference))
  np.testing.assert_array_equal(found, mean)


def test_stops_when_enough_is_known(tmp_path):
  session, shown = run(tmp_path / 's.jsonl', ['a'] * N, threshold=10.0)
  assert not session.answers
  assert 'enough is known' in shown


def test_contradictory_answers_are_finite(tmp_path):
  twice = pool()
  twice = twice._replace(
    first=np.tile(twice.first[:1], (N, 1)),
    second=np.tile(twice.second[:1], (N, 1)),
  )
  session = sessions.Session(tmp_path / 's.jsonl', 'ann', names())
  for i in range(N):
    session.answer(i, 'ab'[i % 2])
  found = bayes.coefficients(*session.belief(PRIOR, twice.difference))
  np.testing.assert_allclose(found, 0, atol=1e-4)


def test_candidates_that_are_no_numbers_are_not_asked():
  difference = pool().difference
  difference[:5] = np.nan
  posterior = bayes.Posterior(jnp.zeros(J), jnp.eye(J))
  index, _ = sessions.next_question(
    PRIOR, posterior, difference, [5, 6], acquisition.information_gain
  )
  assert index == 7


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('nonsense', r's.jsonl:2: not JSON'),
    ('[1]', r's.jsonl:2: not a JSON object'),
    (
      '{"event": "answer", "pair": "q99", "answer": "a"}',
      r"s.jsonl:2: pair: 'q99' is not a question",
    ),
    (
      '{"event": "answer", "pair": "q1", "answer": "c"}',
      r"s.jsonl:2: answer: 'c' is none of",
    ),
    ('{"event": "delete", "number": 3}', r's.jsonl:2: number: 3'),
    ('{"event": "set", "coefficient": 0, "mean": NaN}', r's.jsonl:2: mean'),
    ('{"event": "dance"}', r"s.jsonl:2: event: 'dance' is unknown"),
  ],
)
def test_a_file_edited_by_hand_is_refused(tmp_path, line, message):
  path = tmp_path / 's.jsonl'
  sessions.Session(path, 'ann', names())
  with path.open('a') as file:
    file.write(line + '\n')
  before = path.read_bytes()
  with pytest.raises(sessions.SessionError, match=message):
    sessions.Session(path, 'ann', names())
  assert path.read_bytes() == before  # nothing is lost


def test_another_persons_file_is_refused(tmp_path):
  path = tmp_path / 's.jsonl'
  sessions.Session(path, 'ann', names())
  with pytest.raises(sessions.SessionError, match="user is 'ann', not 'bob'"):
    sessions.Session(path, 'bob', names())


def test_a_correction_beyond_the_model_is_named(tmp_path):
  session = sessions.Session(tmp_path / 's.jsonl', 'ann', names())
  session.correct(5, 1.0)
  with pytest.raises(sessions.SessionError, match='coefficient 6 is not one'):
    session.belief(PRIOR, pool().difference)


WRITER = """
import sys
from prm_jax.elicitation import session
s = session.Session(__import__('pathlib').Path(sys.argv[1]), 'ann',
                    [f'q{i}' for i in range(10**6)])
i = 0
while True:
  s.answer(i, 'a')
  i += 1
  print(i, flush=True)
"""


def test_kill_9_loses_no_answer(tmp_path):
  path = tmp_path / 's.jsonl'
  process = subprocess.Popen(
    [sys.executable, '-c', WRITER, str(path)],
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ},
  )
  assert process.stdout is not None
  seen = 0
  start = time.monotonic()
  while seen < 20 and time.monotonic() - start < 60:
    seen = int(process.stdout.readline())
  process.send_signal(signal.SIGKILL)
  rest = process.stdout.read().split()
  process.wait()
  process.stdout.close()
  seen = int(rest[-1]) if rest else seen
  many = [f'q{i}' for i in range(10**6)]
  kept = sessions.Session(path, 'ann', many)
  assert len(kept.answers) >= seen
  # A line cut off in its middle is dropped, and the session goes on.
  with path.open('a') as file:
    file.write(json.dumps({'event': 'answer'})[:9])
  again = sessions.Session(path, 'ann', many)
  assert again.answers == kept.answers
  again.undo()
  again.answer(5, 'b')
  assert sessions.Session(path, 'ann', many).answers[-1].answer == 'b'
