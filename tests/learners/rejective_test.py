"""What a policy imitates of its own answers, and what comes after."""

import functools

import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.data import pipelines
from prm_jax.learners import rejective, rm_r1, spct
from prm_jax.policy import losses, padding, phases, rejection
from prm_jax.runtime import checkpoint
from tests.learners.tiny_policies import (
  CONFIG,
  PROBLEMS,
  SPEC,
  N,
  P,
  fit,
  prompts,
  rows,
  task_of,
)

SAMPLES = 7
WHOLE = SPEC._replace(judgements=PROBLEMS)


def verify(problem, answers):
  """All of problem 0 is right, half of 2 by its text, of 1 a hinted one."""
  found = np.where(problem == 2, np.asarray(answers.ids)[:, 0] % 2, 1.0)
  unhinted = len(problem) == PROBLEMS * SAMPLES
  return np.where((problem == 1) & unhinted, 0.0, found)


def hints(problem):
  asked = prompts(problem)
  return jax.tree.map(
    lambda leaf: np.concatenate([leaf, leaf[:, -1:]], 1), asked
  )


@functools.cache
def started():
  """The state of any of these learners, but for a pool of another size."""
  learner = rejective.rejective(
    task=task_of(verify), config=CONFIG, samples=SAMPLES
  )
  return jax.jit(learner.init, static_argnums=1)(jax.random.key(0), WHOLE)


def filled(**options):
  learner = rejective.rejective(
    task=task_of(verify), config=CONFIG, samples=SAMPLES, **options
  )
  state = started()
  if 'hints' in options:
    sampling = rejection.Sampling(SAMPLES, hints=hints)
    empty = rejection.empty(
      state.params['policy'], task_of(verify), sampling, PROBLEMS
    )
    state = state._replace(constants=empty)
  data = types.Data(rows().rows, None, 1, None, None)
  after = learner.phases[0].begin(state, data)
  # The beginning leaves the structure as it is, and all shapes.
  shapes = [jax.tree.map(np.shape, s.constants) for s in (state, after)]
  assert shapes[0] == shapes[1]
  return learner, after, after.constants


def kept(pool):
  return np.sort(np.asarray(pool.order)[: int(pool.kept)])


def test_right_answers_to_problems_that_are_not_always_solved_are_kept():
  learner, state, pool = filled()
  right = np.asarray(pool.reward) > 0.5
  odd = np.asarray(pool.answers.ids)[2 * SAMPLES :, 0] % 2 > 0
  assert odd.any()
  assert not odd.all()  # by the seed
  always, never = [1] * SAMPLES, [0] * SAMPLES
  np.testing.assert_array_equal(right, [*always, *never, *odd])
  np.testing.assert_array_equal(kept(pool), 2 * SAMPLES + np.flatnonzero(odd))
  np.testing.assert_array_equal(
    pool.prompts.ids, prompts(np.arange(PROBLEMS).repeat(SAMPLES)).ids
  )
  collect = learner.phases[0].collect
  made, _ = collect(jax.random.key(1), state, rows())
  texts = {tuple(text) for text in np.asarray(pool.answers.ids)[kept(pool)]}
  assert {tuple(t) for t in np.asarray(made.rows.ids)[:, -N:]} <= texts
  solved = filled(solved=True)[2]
  np.testing.assert_array_equal(kept(solved), [*range(SAMPLES), *kept(pool)])
  np.testing.assert_array_equal(solved.answers.ids, pool.answers.ids)


def test_hinted_answers_follow_the_plain_prompt():
  _, _, pool = filled(hints=hints, weigh=lambda ids: 2.0 + 0 * ids)
  by = jax.tree.map(
    lambda leaf: np.asarray(leaf).reshape(PROBLEMS, SAMPLES + 1, -1),
    pool._replace(start=(), order=(), kept=()),
  )
  # Only the problem that was never solved is asked again.
  np.testing.assert_array_equal(by.answers.mask[:, -1].any(1), [0, 1, 0])
  assert SAMPLES + 1 + SAMPLES in kept(pool)
  assert pool.prompts.ids.shape[1] == P
  np.testing.assert_array_equal(
    by.prompts.ids,
    prompts(np.arange(PROBLEMS)).ids[:, None].repeat(SAMPLES + 1, 1),
  )


def test_a_start_that_leaves_nothing_is_refused():
  task = task_of(lambda problem, answers: np.ones(len(problem)))
  fill = rejection.begin(task, CONFIG, rejection.Sampling(SAMPLES))
  state = started()
  data = types.Data(rows().rows, None, 1, None, None)
  with pytest.raises(ValueError, match='100% right, none is kept'):
    fill(state, data)
  twos = rows().rows._replace(problem=np.zeros((2, 2), np.int32))
  with pytest.raises(ValueError, match='one by one'):
    fill(state, data._replace(judgements=twos))


def test_rewards_come_after_imitation_and_their_reference_is_its_end():
  answers = padding.full(np.full((PROBLEMS, N), 5))
  first = rm_r1.rm_r1(
    shown=lambda key, start: (prompts(np.arange(PROBLEMS)), answers),
    task=task_of(verify),
    config=CONFIG,
    distillation={'steps': 4},
  )
  second = spct.spct(
    task=task_of(verify), config=CONFIG, training=phases.Training(steps=9)
  )
  for learner in (first, second):
    names = [phase.name for phase in learner.phases]
    assert names == ['imitation', 'policy']
    state = started()
    moved = jax.tree.map(lambda leaf: leaf + 1.0, state.params)
    state = learner.phases[1].begin(state._replace(params=moved), None)
    for one, other in zip(
      jax.tree.leaves(state.constants.start),
      jax.tree.leaves(moved['policy']),
      strict=True,
    ):
      np.testing.assert_array_equal(one, other)
  assert [phase.steps for phase in second.phases] == [9, 9]
  assert losses.reads(spct.PUBLISHED, losses.REFERENCE)


@pytest.mark.slow
def test_a_resumed_run_imitates_the_same(tmp_path):
  learner = rejective.rejective(
    task=task_of(verify),
    config=CONFIG,
    samples=SAMPLES,
    batch=4,
    gap=3,
    training=phases.Training(steps=6),
  )
  data = rows()

  def fitted(stop=None):
    given = pipelines.batches(data, batch_size=2, seed=0)
    with checkpoint.Checkpoints(tmp_path) as manager:
      return fit(
        learner,
        data,
        batches=given,
        manager=manager,
        save_every=3,
        restore_step=stop,
      )

  whole, again = fitted(), fitted(3)
  for one, two in zip(
    jax.tree.leaves((whole.params, whole.constants)),
    jax.tree.leaves((again.params, again.constants)),
    strict=True,
  ):
    np.testing.assert_array_equal(one, two)
