import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import constraints, decoder, lora
from prm_jax.systems import personal_adapters, personal_thinking

CONFIG = decoder.DecoderConfig(12, 8, 16, 1, 2, 1, 4)
KEY, U, G, P, S = jax.random.key(0), 2, 3, 4, 2


@pytest.fixture(scope='module')
def params():
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(KEY, ids, ids, decoder.attended(ids + 1))


@pytest.fixture(scope='module')
def prompts():
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 12, (U, G, P)).astype(np.int32)
  mask = np.ones_like(ids)
  mask[0, 0, :2] = 0
  return types.Tokens(ids, mask)


def choices():
  allowed = np.zeros((S, 12), bool)
  allowed[0, [3, 4, 5]] = allowed[1, [6, 7, 8]] = True
  return allowed


@pytest.mark.slow
def test_likeliest_traces_are_those_of_each_persons_merged_model(
  params, prompts
):
  rng = np.random.default_rng(1)
  start = lora.init(KEY, params, rank=1)
  own = jax.tree.map(
    lambda leaf: jnp.asarray(
      rng.standard_normal((U, *leaf.shape)), jnp.float32
    ),
    start,
  )
  found = personal_thinking.write(
    KEY,
    CONFIG,
    params,
    prompts,
    choices=choices(),
    adapters=own,
    temperature=0.0,
  )
  assert found.ids.shape == (U, G, S)
  assert np.asarray(found.mask).all()
  score = jax.jit(
    lambda merged, text: personal_adapters.scores(CONFIG, merged, None, text)
  )
  for u in range(U):
    merged = lora.merge(params, jax.tree.map(lambda leaf: leaf[u], own))  # noqa: B023
    for g in range(G):
      ids, mask = prompts.ids[u, g], prompts.mask[u, g]
      said = []
      for place in range(S):
        tried = np.flatnonzero(choices()[place])
        rows = [[*ids, *said, token] for token in tried]
        rows = np.pad(rows, ((0, 0), (0, S - 1 - place)))
        full = np.broadcast_to(
          [*mask, *[1] * (place + 1), *[0] * (S - 1 - place)], rows.shape
        )
        last = np.zeros_like(rows)
        last[:, P + place] = 1
        text = types.Tokens(rows.astype(np.int32), full, branch=last)
        said.append(int(tried[np.argmax(score(merged, text))]))
      assert found.ids[u, g].tolist() == said


def test_drawn_traces_say_what_may_stand_there(params, prompts):
  same = jax.tree.map(lambda leaf: np.repeat(leaf[:, :1], 40, 1), prompts)
  found = personal_thinking.write(KEY, CONFIG, params, same, choices=choices())
  assert set(np.unique(found.ids[..., 0])) == {3, 4, 5}
  assert set(np.unique(found.ids[..., 1])) == {6, 7, 8}
  with pytest.raises(ValueError, match='at every place'):
    constraints.at_places(np.zeros((1, 3), bool), rows=1)


def test_the_trace_is_kept_that_ranks_most_pairs_right():
  # Right: 1 of 2, 2 of 2, a half and one. Of equal ones the likelier.
  margin = jnp.array(
    [
      [[9.0, -0.1], [0.1, 0.1], [0.0, 5.0]],
      [[0.2, 0.1], [0.2, 0.3], [0.1, 0.1]],
      [[-1.0, 9.0], [-1.0, -9.0], [-2.0, 0.0]],
      [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]],
    ]
  )
  mask = jnp.array([[1, 1], [1, 1], [1, 0], [0, 0]])
  found = personal_thinking.select(margin, mask)
  np.testing.assert_array_equal(found, [1, 1, 0, 0])


def test_margins_are_of_pairs_behind_each_trace(params):
  rng = np.random.default_rng(2)
  N, T = 2, 3
  traces = rng.integers(1, 12, (U, G, S)).astype(np.int32)
  ids = rng.integers(1, 12, (U, N, 2, T)).astype(np.int32)
  one = np.ones_like(ids)
  pairs = types.Tokens(ids, one, branch=one * (np.arange(T) > 0))
  found = personal_thinking.margins(
    CONFIG, params, types.Tokens(traces, np.ones_like(traces)), pairs
  )
  assert found.shape == (U, G, N)
  score = jax.jit(
    lambda text: personal_adapters.scores(CONFIG, params, None, text)
  )
  for u, g, n in np.ndindex(U, G, N):
    text = np.stack([[*traces[u, g], *ids[u, n, k]] for k in range(2)])
    branch = np.broadcast_to(np.arange(S + T) > S, text.shape).astype(int)
    first, second = score(types.Tokens(text, np.ones_like(text), branch=branch))
    np.testing.assert_allclose(found[u, g, n], first - second, atol=1e-5)


def test_what_is_distilled_is_the_trace_and_the_answer():
  prompt = types.Tokens(*np.ones((2, 1, 2, 3), np.int32))
  trace = types.Tokens(np.array([[7, 8]]), np.ones((1, 2), np.int32))
  ids = np.arange(4).reshape(1, 2, 2)
  text = types.Tokens(ids, np.ones_like(ids), branch=np.array([[[0, 1]] * 2]))
  found = personal_thinking.distillation(prompt, trace, text, np.ones((1, 2)))
  np.testing.assert_array_equal(
    found.tokens.ids[0, :, 0], [[1, 1, 1, 7, 8, 0, 1], [1, 1, 1, 7, 8, 2, 3]]
  )
  np.testing.assert_array_equal(
    found.tokens.branch[0, :, 0], [[0, 0, 0, 1, 1, 0, 1]] * 2
  )
  kept = personal_thinking.kept(
    jax.tree.map(lambda leaf: leaf[:, None], trace), np.zeros(1, int)
  )
  np.testing.assert_array_equal(kept.ids, trace.ids)
