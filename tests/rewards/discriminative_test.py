"""Policy discriminators: one score however a sequence is laid out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder, packing
from prm_jax.rewards import discriminative, trajectories
from prm_jax.rewards.trajectories import Limits, Trajectory
from prm_jax.users import references

CONFIG = decoder.DecoderConfig(50, 16, 32, 2, 4, 2, 4)
REWARD = discriminative.discriminative(config=CONFIG)
SCORE = jax.jit(REWARD.score)
SCORE_PACKED = jax.jit(
  functools.partial(discriminative.score_packed, config=CONFIG)
)
LIMITS = Limits(total=40, answer=8, reserve=4)


@pytest.fixture(scope='module')
def params():
  found = REWARD.init(jax.random.key(0), None)
  assert not found['head'].any()  # a fresh reward knows nothing
  return found | {'head': jax.random.normal(jax.random.key(1), (16,))}


def draw(rng):
  def ids(most):
    return rng.integers(0, 50, rng.integers(0, most)).tolist()

  return Trajectory(ids(6), [7], ids(8))


@pytest.fixture(scope='module')
def texts():
  rng = np.random.default_rng(0)
  return [draw(rng) for _ in range(6)], [
    [draw(rng) for _ in range(3)] for _ in range(6)
  ]


def packed_score(params, given, length, **options):
  packed = trajectories.pack(given, length, **options)
  return SCORE_PACKED(params, packed)


def alone(params, ids):
  """The score of one sequence, by the decoder itself."""
  table = params['decoder']['params']['embed']['embedding']
  marks = {
    trajectories.SEPARATOR: params['separator'],
    trajectories.SCORE: params['score'],
  }
  hidden = jnp.stack([marks.get(i, table[i]) for i in ids])[None]
  T = len(ids)
  states = decoder.Decoder(CONFIG).apply(
    params['decoder'],
    hidden,
    jnp.arange(T)[None],
    jnp.tril(jnp.ones((1, 1, T, T), bool)),
    method='read',
  )
  return states[0, -1] @ params['head']


def test_packing_and_shared_prefixes_change_nothing(params, texts):
  shared = trajectories.sequences(*texts, LIMITS)
  separate = packing.separate(shared)
  want = packed_score(params, separate, 60, pad=True)
  assert len(want) == 18
  for given, length in ((shared, 100), (shared, 130), (separate, 60)):
    np.testing.assert_allclose(
      packed_score(params, given, length), want, atol=1e-4
    )
  # Rows of padding change nothing either.
  np.testing.assert_allclose(
    packed_score(params, separate, 64, rows=20), want, atol=1e-4
  )


def test_a_branch_is_the_published_sequence(params, texts):
  given = trajectories.sequences(*texts, LIMITS)
  found = packed_score(params, given, 100)
  for number in (0, 7):
    sequence, branch = given[number // 3], number % 3
    ids = [*sequence.stem, *sequence.branches[branch]]
    np.testing.assert_allclose(found[number], alone(params, ids), atol=1e-4)


@pytest.mark.parametrize('left', [False, True])
def test_reward_equals_packed_whatever_the_padding(params, texts, left):
  flat = [*texts[0], *(t for given in texts[1] for t in given)]
  table = trajectories.table(flat, prompt=6, length=17)
  if left:
    table = np.stack([np.roll(row, (row < 0).sum()) for row in table])
  encoded = REWARD.encode(params, jnp.asarray(table))
  items = 6 + np.arange(18).reshape(6, 3)
  known = references.References(encoded[:6, None], jnp.ones((6, 1)))
  score = SCORE(params, encoded[items], known).score
  want = packed_score(params, trajectories.sequences(*texts, LIMITS), 100)
  np.testing.assert_allclose(score.ravel(), want, atol=1e-4)


def test_several_references_are_averaged_and_none_is_none(params, texts):
  flat = [*texts[0], *(t for given in texts[1] for t in given)]
  encoded = REWARD.encode(
    params, jnp.asarray(trajectories.table(flat, prompt=6, length=17))
  )
  candidates = encoded[None, 6:9]

  def score(rows, mask):
    context = references.References(
      encoded[jnp.array(rows, int)][None], jnp.array([mask], jnp.float32)
    )
    return SCORE(params, candidates, context).score[0]

  one, two = score([0], [1]), score([1], [1])
  np.testing.assert_allclose(score([0, 1], [1, 1]), (one + two) / 2, atol=1e-5)
  np.testing.assert_allclose(score([0, 3], [1, 0]), one, atol=1e-5)
  nothing = packed_score(
    params, trajectories.sequences([None], [texts[1][0]], LIMITS), 60
  )
  np.testing.assert_allclose(score([], []), nothing, atol=1e-4)
  np.testing.assert_allclose(score([0, 3], [0, 0]), nothing, atol=1e-4)


def test_candidates_do_not_see_each_other(params, texts):
  flat = [t for given in texts[1] for t in given]
  encoded = REWARD.encode(
    params, jnp.asarray(trajectories.table(flat, prompt=6, length=17))
  )
  known = references.References(encoded[None, :1], jnp.ones((1, 1)))

  def score(candidates):
    return SCORE(params, candidates[None], known).score[0]

  np.testing.assert_allclose(
    score(encoded[1:4])[0], score(encoded[jnp.array([1, 8])])[0], atol=1e-5
  )
  order = jnp.array([2, 0, 1])
  np.testing.assert_allclose(
    score(encoded[1:4])[order], score(encoded[1:4][order]), atol=1e-5
  )


@pytest.mark.parametrize('width', [16, 6])
def test_hidden_states_are_features_too(width):
  reward = discriminative.discriminative(config=CONFIG, embedded=True)
  params = reward.init(jax.random.key(0), types.Spec(width, 1))
  assert ('project' in params) == (width != 16)
  params['head'] = jax.random.normal(jax.random.key(1), (16,))
  rng = np.random.default_rng(1)
  hidden = jnp.asarray(rng.normal(size=(4, 5, width)), jnp.float32)
  hidden = hidden.at[0, 3:].set(0.0)

  @jax.jit
  def score(features):
    encoded = reward.encode(params, features)
    known = references.References(encoded[None, :1], jnp.ones((1, 1)))
    return reward.score(params, encoded[None, 1:], known).score

  padded = jnp.pad(hidden, ((0, 0), (2, 1), (0, 0)))
  np.testing.assert_allclose(score(hidden), score(padded), atol=1e-5)
  np.testing.assert_allclose(
    score(hidden)[0, 1:], score(hidden[jnp.array([0, 2, 3])])[0], atol=1e-5
  )


def test_empty_responses_and_a_reference_equal_to_the_candidate(params):
  empty = Trajectory([3, 4], [], [])
  full = Trajectory([3, 4], [7], [5, 6])
  given = trajectories.sequences(
    [empty, full, full], [[full], [empty], [full]], LIMITS
  )
  assert given[1].branches[0] == [3, 4, trajectories.SCORE]
  assert np.isfinite(packed_score(params, given, 40)).all()


def test_a_score_read_elsewhere_is_not_a_number(params, texts):
  packed = trajectories.pack(trajectories.sequences(*texts, LIMITS), 100)
  moved = packed._replace(at=packed.at - np.array([[0, 1]]))
  scores = SCORE_PACKED(params, moved)
  assert np.isnan(scores).all()
  with pytest.raises(ValueError, match=r'score 0 is read at row .* no SCORE'):
    trajectories.check(moved)
  with pytest.raises(ValueError, match='17 scores are read of 18'):
    trajectories.check(packed._replace(at=packed.at[1:]))


@pytest.mark.slow
def test_gradients_reach_markers_and_head_alone_at_the_start(texts):
  fresh = REWARD.init(jax.random.key(0), None)
  packed = trajectories.pack(trajectories.sequences(*texts, LIMITS), 100)

  def loss(params):
    return SCORE_PACKED(params, packed).sum()

  gradient = jax.grad(loss)(fresh)
  assert jnp.abs(gradient['head']).max() > 0
  assert not any(jnp.any(g) for g in jax.tree.leaves(gradient['decoder']))
