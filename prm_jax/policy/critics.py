"""Who criticises answers: rules, the policy itself, a file, and controls."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import padding, rollouts, tasks

# `(key, policy's params, problems [R], attempts, rewards [R], needed [R]) ->
# (critiques, generated tokens)`. Attempts and rewards are on the host, and so
# are critiques, unless a policy writes them. Those that are not needed are not
# read. A critique without tokens is none: what would have been made of it is
# dropped and counted.
Critic = Callable[
  [types.Key, types.PyTree, np.ndarray, types.Tokens, np.ndarray, np.ndarray],
  tuple[types.Tokens, types.Scalar],
]
# `(problems [R], attempts) -> prompts` that ask for a critique.
Requests = Callable[[np.ndarray, types.Tokens], types.Tokens]
# `(problem, attempt, reward) -> critique`, '' for none.
Rule = Callable[[int, str, float], str]


def rule(
  says: Rule,
  decode: Callable[[types.Tokens], list[str]],
  encode: Callable[[Sequence[str]], types.Tokens],
) -> Critic:
  """Returns a critic that reads and writes text.

  Args:
    says: the critique of an attempt.
    decode: texts of attempts.
    encode: tokens of critiques; of '', none.
  """

  def critic(key, policy, problem, attempts, reward, needed):
    del key, policy
    rows = zip(problem, decode(attempts), reward, needed, strict=True)
    return encode(
      [
        says(int(row), text, float(value)) if read else ''
        for row, text, value, read in rows
      ]
    ), 0

  return critic


def own(
  config: decoder.DecoderConfig,
  requests: Requests,
  *,
  max_new_tokens: int,
  stop_ids: Sequence[int] = (),
  temperature: float = 1.0,
) -> Critic:
  """Returns the policy in training as its own critic; its tokens count.

  Args:
    config: of the policy.
    requests: how a critique is asked for.
    max_new_tokens: of a critique.
    stop_ids: tokens that end one.
    temperature: of the draws.
  """
  limits = tasks.Limits(max_new_tokens, tuple(stop_ids))

  def critic(key, policy, problem, attempts, reward, needed):
    del reward
    said = rollouts.draw(
      key,
      config,
      policy,
      requests(problem, attempts),
      limits,
      active=needed,
      temperature=temperature,
    ).tokens
    return said, said.mask.sum()

  return critic


def shuffled(critic: Critic) -> Critic:
  """Returns a control: each attempt gets the critique of another problem's.

  Wrong attempts get those of wrong ones, and others those of others, so that
  verdicts stay true: the next such attempt's whose problem is another, going
  round; with one problem alone, the next attempt's.
  """

  def shuffle(key, policy, problem, attempts, reward, needed):
    everything = np.ones_like(needed)
    said, cost = critic(key, policy, problem, attempts, reward, everything)
    problem, wrong = np.asarray(problem), ~(np.asarray(reward) > 0.5)
    order = np.arange(len(problem))
    for group in (np.flatnonzero(wrong), np.flatnonzero(~wrong)):
      order[group] = group[_others(problem[group])]
    return padding.take(said, order), cost

  return shuffle


def _others(problem: np.ndarray) -> np.ndarray:
  R = len(problem)
  order = (np.arange(R) + 1) % max(R, 1)
  for shift in range(2, R):
    same = problem[order] == problem
    if not same.any():
      break
    order = np.where(same, (np.arange(R) + shift) % R, order)
  return order


def replayed(
  path: Path,
  names: Sequence[str],
  decode: Callable[[types.Tokens], list[str]],
  encode: Callable[[Sequence[str]], types.Tokens],
) -> Critic:
  """Returns a critic that says what a file holds, and nothing else.

  Args:
    path: a line of JSON a critique: `problem` (a name), `critique`, and
      `attempt` where it is of that text alone; else it is of any attempt.
    names: of the task's problems.
    decode: texts of attempts.
    encode: tokens of critiques; of '', none.

  Raises:
    ValueError: the file is malformed, or names a problem that is unknown.
  """
  critiques = _read(path, set(names))

  def says(problem, attempt, reward):
    del reward
    name = names[problem]
    of_any = critiques.get((name, None), '')
    return critiques.get((name, attempt.strip()), of_any)

  return rule(says, decode, encode)


def _read(path, names) -> dict[tuple[str, str | None], str]:
  critiques = {}
  lines = path.read_text(encoding='utf-8').splitlines()
  for number, line in enumerate(lines, 1):
    if not line.strip():
      continue
    where = f'{path}:{number}'
    try:
      row = json.loads(line)
    except ValueError as error:
      raise ValueError(f'{where}: not JSON: {error}') from error
    if not isinstance(row, dict):
      raise ValueError(f'{where}: not an object')
    for field in ('problem', 'critique'):
      if not isinstance(row.get(field), str):
        raise ValueError(f'{where}: {field}: expected a text')
    if row['problem'] not in names:
      raise ValueError(f'{where}: problem: {row["problem"]!r} is unknown')
    attempt = row.get('attempt')
    if attempt is not None and not isinstance(attempt, str):
      raise ValueError(f'{where}: attempt: expected a text')
    key = row['problem'], attempt.strip() if attempt is not None else None
    critiques[key] = row['critique']
  return critiques
