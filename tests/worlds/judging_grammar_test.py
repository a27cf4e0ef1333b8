"""Whoever writes under the grammar writes traces that can be read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import constraints, decoder, sampling
from prm_jax.worlds import judging, judging_grammar, judging_traces

K = 3


@functools.cache
def problems():
  """Problems of 1 to 3 steps, four steps wide."""
  rng = np.random.default_rng(0)
  length = np.repeat(np.arange(1, K + 1), 8)
  return judging.draw(
    *(rng, judging.tables(rng), length),
    width=K + 1,
    unseen=False,
    consecutive=False,
  )


def check(ids, solutions):
  """Asserts that all is a trace with its problem's labels and operations."""
  made = problems()
  said = judging_traces.parse(ids, K + 1, solutions)
  assert said.whole.all()
  np.testing.assert_array_equal(said.length, made.length)
  there = made.steps
  operation = made.operator * judging.MODULUS + made.operand
  np.testing.assert_array_equal(said.label, np.where(there, made.label, -1))
  np.testing.assert_array_equal(said.operation, np.where(there, operation, -1))
  return said


@pytest.mark.parametrize('solutions', [1, 2])
def test_a_random_policy_writes_every_value_and_both_verdicts(solutions):
  rng, B = np.random.default_rng(1), len(problems().length)
  frame = judging_grammar.frame(problems(), solutions)
  N = frame.first.shape[1] + 2
  ids, choices = np.full((B, N), judging.PAD), np.ones(B)
  for step in range(N):
    allowed = judging_grammar.allow(frame, ids, step)
    noise = np.where(allowed, rng.random(allowed.shape), -1.0)
    able = allowed.any(1)
    ids[:, step] = np.where(able, noise.argmax(1), judging.PAD)
    choices *= np.maximum(allowed.sum(1), 1)
  said = check(ids, solutions)
  # The start, every value and claim, and the verdict are free; nothing else.
  free = 7.0 ** (1 + problems().length + solutions) * 2
  np.testing.assert_array_equal(choices, free)
  assert set(said.value[:, 0]) == set(range(7))
  assert set(said.verdict) == {0, 1}


def test_what_a_judge_should_write_is_allowed():
  rng = np.random.default_rng(2)
  for make, solutions in ((judging.pointwise, 1), (judging.pairwise, 2)):
    given = make(rng, problems(), judging.halves(rng, len(problems().length)))
    gold = judging.traces(given)
    frame = judging_grammar.frame(given.problems, solutions)
    inside = (gold >= frame.first) & (gold <= frame.last)
    np.testing.assert_array_equal(inside, gold != judging.PAD)


def test_a_random_decoder_writes_traces_with_a_stop_and_without():
  """Problems on the device, as where texts are drawn."""
  V = len(judging.TOKENS)
  config = decoder.DecoderConfig(V, 8, 8, 1, 1, 1, 8)
  one = jnp.ones((1, 2), jnp.int32)
  params = decoder.Decoder(config).init(
    *(jax.random.key(0), one, one, decoder.attended(one))
  )
  made = problems()
  prompts = judging.prompts(
    judging.Judgements(
      *(made, judging.chains(made)[:, None], made.length > 0, made.length)
    )
  )
  device = jax.tree.map(jnp.asarray, made)
  frame = jax.jit(judging_grammar.frame, static_argnums=1)(device, 1)
  given = constraints.Constraint(judging_grammar.allow, frame)
  for stop in ((judging.END,), ()):
    found = sampling.sample(
      *(jax.random.key(1), config, params, prompts, prompts != judging.PAD),
      max_new_tokens=frame.first.shape[1] + 1,
      constraint=given,
      stop_ids=stop,
      pad_id=judging.PAD,
      filtered=False,
    )
    check(np.asarray(found.ids), 1)
    np.testing.assert_array_equal(found.mask.sum(1), 5 + 3 * made.length)
