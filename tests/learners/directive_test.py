"""The learner of verdicts and hints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.learners import directive
from prm_jax.models import sampling
from prm_jax.policy import logprobs, losses, padding, phases
from tests.learners.tiny_policies import (
  CONFIG,
  PROBLEMS,
  SPEC,
  N,
  collected,
  fit,
  full,
  prompts,
  right_second,
  start,
  task_of,
)


def hinting(verdict=-1.0, hinted=(True, False, True)):
  """Everybody says the verdict; a hint is two tokens before the prompt."""

  def replies(key, problem, answers):
    del key, answers
    asked = prompts(problem)
    told = types.Tokens(
      np.concatenate([np.full((len(problem), 2), 10, np.int32), asked.ids], 1),
      np.concatenate([np.ones((len(problem), 2), np.int32), asked.mask], 1),
    )
    value = np.broadcast_to(np.float32(verdict), len(problem))
    return directive.Reply(value, told, np.resize(hinted, len(problem)))

  return replies


def learner_of(replies, **options):
  return directive.directive(
    task=task_of(right_second), replies=replies, config=CONFIG, **options
  )


@pytest.mark.slow
def test_verdicts_alone_are_broadcast_and_hints_alone_are_the_teachers():
  made, _ = collected(learner_of(hinting(), directed=0.0))
  np.testing.assert_array_equal(made.advantage, -1.0)
  np.testing.assert_array_equal(made.mask, 1.0)
  made, metrics = collected(learner_of(hinting(), evaluative=0.0, clip=None))
  np.testing.assert_array_equal(made.mask, [1, 0, 1])  # no hint, no lesson
  np.testing.assert_array_equal(made.advantage[1], 0.0)
  assert metrics['hinted'] == pytest.approx(2 / 3)
  # The teacher's log-probabilities, by the sampler's other scorer.
  learner = learner_of(hinting(), evaluative=0.0, clip=None)
  params = start(learner).params['policy']
  answers = types.Tokens(made.ids[:, -N:], made.answer)
  told = hinting()(None, np.arange(PROBLEMS), answers).prompts
  with_hint = sampling.log_probability(
    CONFIG, params, *padding.follow(told, answers)
  )[:, -N:]
  without = sampling.log_probability(CONFIG, params, made.ids, made.seen)
  want = np.where(made.answer > 0, with_hint - without[:, -N:], 0.0)
  np.testing.assert_allclose(made.advantage[0], want[0], atol=1e-4)
  assert np.abs(want[0]).max() > 1e-3


def test_both_are_the_sum_and_a_clip_bounds_hints():
  options = {'clip': 1e-3}
  both, _ = collected(learner_of(hinting(), **options))
  hints, _ = collected(learner_of(hinting(), evaluative=0.0, **options))
  np.testing.assert_allclose(both.advantage, hints.advantage - 1.0, atol=1e-6)
  assert np.abs(hints.advantage).max() <= 1e-3 + 1e-9


def test_a_baseline_leaves_nothing_of_equal_verdicts():
  made, _ = collected(learner_of(hinting(), directed=0.0, baseline='batch'))
  np.testing.assert_allclose(made.advantage, 0.0, atol=1e-7)


def test_an_answer_whose_verdict_fails_is_dropped():
  made, metrics = collected(
    learner_of(hinting(verdict=[np.nan, 1.0, 1.0]), baseline='batch')
  )
  np.testing.assert_array_equal(made.mask, [0, 1, 1])
  assert np.isfinite(made.advantage).all()
  assert metrics['failed'] == pytest.approx(1 / 3)
  assert metrics['reward'] == 1.0


@pytest.mark.parametrize('teacher', directive.TEACHERS)
@pytest.mark.parametrize(
  'distill', [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_hints_pull_the_policy_to_its_hinted_self(teacher, distill):
  loss = losses.PLAIN + (losses.distilled(1.0),) * distill
  learner = learner_of(
    hinting(hinted=(True,)),
    evaluative=0.0,
    teacher=teacher,
    loss=loss,
    training=phases.Training(5e-3, 60),
  )
  first = learner.init(jax.random.key(0), SPEC)
  state = fit(learner)

  def apart(params, teacher):
    asked = prompts(np.arange(PROBLEMS))
    told = hinting()(None, np.arange(PROBLEMS), None).prompts
    answers = full(np.zeros((PROBLEMS, N)))
    tell = logprobs.teller(CONFIG, N)
    mine = tell(params, *padding.follow(asked, answers))[:, 0]
    theirs = tell(teacher, *padding.follow(told, answers))[:, 0]
    return float(jnp.sum(jnp.exp(mine) * (mine - theirs), -1).mean())

  old, new = first.params['policy'], state.params['policy']
  target = new if teacher == 'live' else old
  if teacher == 'average':
    target = state.average['policy']
  assert apart(new, target) < 0.7 * apart(old, old)


def test_a_policy_that_needs_no_hint_is_left_alone():
  def silent(key, problem, answers):
    reply = hinting()(key, problem, answers)
    return reply._replace(prompts=prompts(problem))  # the hint says nothing

  made, _ = collected(learner_of(silent, evaluative=0.0))
  np.testing.assert_allclose(made.advantage, 0.0, atol=1e-5)


def test_bad_replies_settings_are_refused():
  with pytest.raises(ValueError, match="teacher 'ema'"):
    learner_of(hinting(), teacher='ema')
  with pytest.raises(ValueError, match="baseline 'mean'"):
    learner_of(hinting(), baseline='mean')
  with pytest.raises(ValueError, match='two terms have one name'):
    learner_of(hinting(), loss=losses.PLAIN * 2)
