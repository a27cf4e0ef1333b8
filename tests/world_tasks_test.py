"""Worlds as tasks of policies: what is asked, what is right, who says what."""

import jax
import numpy as np
import pytest

from prm_jax import world_tasks
from prm_jax.policy import padding
from prm_jax.worlds import arithmetic
from prm_jax.worlds import persona_replies as personas

ALL = np.arange(6)


@pytest.fixture
def pool():
  rng = np.random.default_rng(0)
  kinds = arithmetic.CLASSES['hard']
  return arithmetic.draw(rng, arithmetic.tables(rng), kinds, len(ALL))


def test_an_outcome_is_right_whatever_the_chain(pool):
  values = arithmetic.chains(pool).copy()
  task = world_tasks.arithmetic_task(pool)
  right = padding.full(arithmetic.responses(values))
  assert task.verify(ALL, right).all()
  assert right.ids.shape[1] == task.max_new_tokens
  values[:, 0] = (values[:, 0] + 1) % 10
  said = padding.full(arithmetic.responses(values))
  assert not task.verify(ALL, said).any()
  outcome = world_tasks.arithmetic_task(pool, final_only=True)
  assert outcome.verify(ALL, said).all()


def test_a_critic_of_arithmetic_says_what_it_is_told_to(pool):
  task, some = world_tasks.arithmetic_task(pool), ALL[2:5]
  wrong = padding.full(arithmetic.responses(9 - arithmetic.chains(pool)))
  tried = padding.take(wrong, some)
  critic = world_tasks.arithmetic_critic(pool, 'with_answer')
  said, cost = critic(jax.random.key(0), None, some, tried, None, None)
  answer = arithmetic.chains(pool)[some, -1]
  np.testing.assert_array_equal(said.ids, arithmetic.with_answer(answer))
  assert cost == 0
  lies = world_tasks.arithmetic_critic(pool, 'with_answer', accuracy=0.0)
  lie, _ = lies(jax.random.key(0), None, some, tried, None, None)
  assert (lie.ids[:, 4:] != said.ids[:, 4:]).all()
  again = task.refine(some, tried, said)
  np.testing.assert_array_equal(
    again.ids, arithmetic.refinements(pool.take(some), tried.ids, said.ids)
  )
  asked = world_tasks.arithmetic_requests(pool)(some, tried)
  np.testing.assert_array_equal(
    asked.ids, arithmetic.requests(pool.take(some), tried.ids)
  )
  with pytest.raises(ValueError, match="critic 'loud'"):
    world_tasks.arithmetic_critic(pool, 'loud')


def test_replies_are_of_the_prompts_that_were_answered():
  rng = np.random.default_rng(0)
  people = personas.everybody(rng)
  asked = personas.draw(rng, rng.integers(0, 16, len(ALL)))
  task, some = world_tasks.reply_task(people, asked), ALL[1:4]
  mine = asked.take(some)
  style = people.wanted[mine.person].copy()
  style[0, 2] = (style[0, 2] + 1) % 4  # another mark
  said = padding.full(personas.written(mine.digits, style, mine.truth))
  np.testing.assert_array_equal(task.verify(some, said), [0.0, 1.0, 1.0])
  np.testing.assert_array_equal(
    task.prompts(some).ids, personas.prompts(people, mine)
  )
  replies = world_tasks.replies(people, asked, hint_rate=1.0, hint_error=0.0)
  reply = replies(jax.random.key(0), some, said)
  np.testing.assert_array_equal(reply.verdict, [-1.0, 1.0, 1.0])
  assert reply.hinted.all()
  assert (reply.prompts.ids[:, :3] != personas.NONE).any(1).all()
  np.testing.assert_array_equal(
    reply.prompts.ids[:, 3:], task.prompts(some).ids[:, 3:]
  )
