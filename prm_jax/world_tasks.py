"""Worlds of token ids as tasks of policies: prompts, rewards, who says what."""

from typing import Any

from prm_jax.learners import directive
from prm_jax.policy import critics, padding, tasks
from prm_jax.worlds import arithmetic
from prm_jax.worlds import persona_replies as personas


def arithmetic_task(
  pool: arithmetic.Problems, *, final_only: bool = False
) -> tasks.Task:
  """Returns problems of arithmetic as a task.

  Args:
    pool: problems, rows of the task.
    final_only: whether the last value alone is rewarded, not the whole chain.
  """

  def verify(problem, answers):
    return arithmetic.verify(
      pool.take(problem), answers.ids, final_only=final_only
    )

  def refine(problem, attempts, critiques):
    return padding.full(
      arithmetic.refinements(pool.take(problem), attempts.ids, critiques.ids)
    )

  def prompts(problem):
    return padding.full(arithmetic.prompts(pool.take(problem)))

  longest = arithmetic.DIGITS * pool.operator.shape[1] + 1
  return tasks.Task(
    prompts, verify, refine, longest, (arithmetic.END,), traced=True
  )


def arithmetic_critic(
  pool: arithmetic.Problems, kind: str, accuracy: float = 1.0
) -> critics.Critic:
  """Returns a critic that knows the truth; see `arithmetic.critique`.

  Raises:
    ValueError: unknown kind.
  """
  if kind not in arithmetic.CRITICS:
    raise ValueError(f'critic {kind!r}: one of {arithmetic.CRITICS}')

  def critic(key, policy, problem, attempts, reward, needed):
    del policy, reward, needed
    rng = tasks.generator(key)
    said = arithmetic.critique(
      rng, pool.take(problem), attempts.ids, kind, accuracy=accuracy
    )
    return padding.full(said), 0

  return critic


def arithmetic_requests(pool: arithmetic.Problems) -> critics.Requests:
  """Returns how critiques of answers are asked for."""

  def ask(problem, attempts):
    return padding.full(arithmetic.requests(pool.take(problem), attempts.ids))

  return ask


def reply_task(people: personas.People, asked: personas.Asked) -> tasks.Task:
  """Returns prompts of people as a task: right is what fits who asks."""
  return tasks.Task(
    lambda row: padding.full(personas.prompts(people, asked.take(row))),
    lambda row, said: personas.fits(people, asked.take(row), said.ids) * 1.0,
    None,
    personas.ANSWER,
    (personas.END,),
    traced=True,
  )


def replies(
  people: personas.People, asked: personas.Asked, **options: Any
) -> directive.Replies:
  """Returns what people say to answers.

  Args:
    people: everybody.
    asked: prompts, rows of the task.
    **options: of `persona_replies.reply`.
  """

  def reply(key, row, said):
    prompts = asked.take(row)
    rng = tasks.generator(key)
    replied = personas.reply(rng, people, prompts, said.ids, **options)
    told = personas.prompts(people, prompts, replied.hint)
    return directive.Reply(replied.verdict, padding.full(told), replied.hinted)

  return reply
