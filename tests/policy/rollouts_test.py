"""What is written, where and by whom, and how an update reads it."""

import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import constraints, decoder
from prm_jax.policy import losses, padding, phases, rollouts, tasks
from tests.learners.tiny_policies import CONFIG, PROBLEMS, STOP, N, P, prompts


@pytest.fixture(scope='module')
def params():
  ids = np.zeros((1, 2), np.int32)
  model = decoder.Decoder(CONFIG)
  return model.init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))


def test_rows_that_are_not_active_have_no_token_and_change_no_other(params):
  limits = tasks.Limits(N, (STOP,))
  asked = prompts(np.arange(PROBLEMS))

  def write(active=None):
    return rollouts.write(
      jax.random.key(3), CONFIG, params, asked, limits, count=2, active=active
    )

  active = np.arange(2 * PROBLEMS) % 3 > 0
  some, whole = write(active), write()
  assert not some.tokens.mask[~active].any()
  assert not some.tokens.ids[~active].any()
  for one, two in zip(
    jax.tree.leaves(some), jax.tree.leaves(whole), strict=True
  ):
    np.testing.assert_array_equal(one[active], two[active])
  assert not write(np.zeros(2 * PROBLEMS, bool)).tokens.mask.any()


def test_answers_to_prompts_in_two_parts_are_those_to_whole_ones(params):
  """A prompt for three texts, two answers each, which begin as allowed."""
  ids = np.random.default_rng(0).integers(4, 9, (4, 5))
  heads, tails = padding.full(ids[:1, :3]), padding.full(ids[1:, :2])
  whole = padding.full(np.hstack([np.repeat(heads.ids, 3, 0), tails.ids]))
  choices = [[[5], [6]], [[7, 8]], [[5, 5]]]
  given = constraints.begins(choices, vocabulary=CONFIG.vocab_size)

  def write(prompts, **parts):
    return rollouts.write(
      *(jax.random.key(3), CONFIG, params, prompts, tasks.Limits(N, (STOP,))),
      **{'count': 2, 'constraint': given, **parts},
    )

  one, two = write(whole), write(heads, suffix=tails, source=[0, 0, 0])
  np.testing.assert_array_equal(one.tokens.ids, two.tokens.ids)
  np.testing.assert_allclose(one.logprob, two.logprob, atol=1e-4)
  np.testing.assert_array_equal(one.tokens.ids[2:4, :2], [[7, 8]] * 2)
  assert set(one.tokens.ids[:2, 0]) <= {5, 6}


def test_what_a_loss_reads_is_scored_and_nothing_else(params, monkeypatch):
  asked = []

  def scorer(*given):
    del given

    def score(params, ids, seen):
      asked.append(params)
      return np.full((len(ids), N), -1.0, np.float32)

    return score

  monkeypatch.setattr(rollouts.logprobs, 'scorer', scorer)
  state = phases.new_state(jax.random.key(0), params, keep=True)
  texts = rollouts.Texts(
    prompts(np.arange(PROBLEMS)),
    padding.full(np.full((PROBLEMS, N), 5)),
    np.ones(PROBLEMS),
    np.array([1, 0, 1]),
  )

  def prepared(loss, **known):
    asked.clear()
    prepare = rollouts.preparer(CONFIG, N, loss, np.float32)
    return prepare(state, texts, **known), len(asked)

  rows, count = prepared((losses.surrogate('log'), losses.distilled(1.0)))
  assert (rows.old_logprob, rows.reference, count) == (None, None, 0)
  assert rows.ids.shape == (PROBLEMS, P + N)
  np.testing.assert_array_equal(rows.mask, [1, 0, 1])
  np.testing.assert_array_equal(rows.weight, 1.0)
  loss = (losses.surrogate(), losses.kl(0.1))
  rows, count = prepared(loss)
  assert count == 2
  np.testing.assert_array_equal(rows.reference, -1.0)
  rows, count = prepared(loss, old_logprob=np.zeros((PROBLEMS, N)))
  assert count == 1  # the writer's are known
  np.testing.assert_array_equal(rows.old_logprob, 0.0)


def test_texts_are_arranged_alike_on_the_host_and_on_the_device():
  asked, answers = prompts(np.arange(3)), padding.full(np.full((3, N), 7))
  left = types.Tokens(np.array([[0, 7, 8]] * 3), np.array([[0, 1, 1]] * 3))
  for function in (
    lambda a, b: padding.follow(a, b),
    lambda a, b: padding.join(a, padding.repeat(b, 2)),
    lambda a, b: padding.stack(b, left),
  ):
    host = function(asked, answers)
    device = jax.jit(function)(asked, answers)
    for one, two in zip(
      jax.tree.leaves(host), jax.tree.leaves(device), strict=True
    ):
      assert isinstance(one, np.ndarray)
      np.testing.assert_array_equal(one, two)
