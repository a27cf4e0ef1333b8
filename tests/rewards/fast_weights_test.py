"""P-TTT: the scanned update is the edit of real matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.rewards import discriminative, fast_weights
from prm_jax.users import references

L, D, F, T, N = 4, 16, 24, 4, 3
CHOSEN = (1, 3)
CONFIG = decoder.DecoderConfig(50, D, F, L, 4, 2, 4)
OPTIONS = {'config': CONFIG, 'every': 2}
REWARD = fast_weights.fast_weights(**OPTIONS)
SCORE = jax.jit(REWARD.score)
UPDATE = jax.jit(functools.partial(fast_weights.update, **OPTIONS))


@pytest.fixture(autouse=True, scope='module')
def _compiled_quickly():
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


def draw(reward=REWARD, seed=0):
  """Parameters of a reward that has learned something, at random."""
  params = jax.jit(reward.init, static_argnums=1)(jax.random.key(seed), None)
  rng = np.random.default_rng(seed)
  shape = params['project'].shape
  head = jnp.asarray(rng.normal(size=D), jnp.float32)
  return {
    'plain': {**params['plain'], 'head': head},
    'project': jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32),
  }


@pytest.fixture(scope='module')
def params():
  return draw()


def answers(seed=1, people=()):
  """Answers and candidates; the last text of a pair is shorter."""
  rng = np.random.default_rng(seed)
  encoded = rng.normal(size=(*people, N, 2, T, D)).astype(np.float32)
  encoded[..., 1, T - 1, :] = 0.0
  label = np.broadcast_to(np.array([1, 0, 1], np.float32), (*people, N))
  candidates = rng.normal(size=(*people, 3, T, D)).astype(np.float32)
  evidence = types.Pair(*map(jnp.asarray, (encoded, label, 0 * label + 1)))
  return evidence, jnp.asarray(candidates)


def zero():
  return fast_weights.blank(**OPTIONS)


# ------------------------------------------------ independent, in NumPy


def numpy_read(params, text, kernels):
  """Score of one text, and k of every layer at the last token.

  `kernels` `[L, F, D]` are the down-projections at the last token.
  """
  plain = jax.tree.map(lambda leaf: np.asarray(leaf, float), params['plain'])
  weights = plain['decoder']['params']
  text = np.asarray(text, float)
  text = text[(text != 0).any(-1)]
  x = np.stack([plain['separator'], *text, plain['score']])
  count, half, inner = len(x), CONFIG.head_dim // 2, []

  def norm(x, scale):
    return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)

  def turn(x):
    frequency = CONFIG.rope_theta ** (-np.arange(half) / half)
    phase = np.exp(1j * np.arange(count)[:, None] * frequency)[:, None]
    z = (x[..., :half] + 1j * x[..., half:]) * phase
    return np.concatenate([z.real, z.imag], -1)

  for layer in range(L):
    w = jax.tree.map(lambda leaf: leaf[layer], weights['layers']['layer'])  # noqa: B023
    h = norm(x, w['attention_norm']['scale'])
    q, k, v = (
      (h @ w[name]['kernel']).reshape(count, -1, CONFIG.head_dim)
      for name in ('query', 'key', 'value')
    )
    q, k = turn(q), np.repeat(turn(k), 2, 1)
    scores = np.einsum('thd,shd->hts', q, k) / np.sqrt(CONFIG.head_dim)
    scores = np.where(np.tri(count) > 0, scores, -np.inf)
    mixed = np.einsum(
      'hts,shd->thd', special.softmax(scores, -1), np.repeat(v, 2, 1)
    )
    x = x + mixed.reshape(count, -1) @ w['output']['kernel']
    h = norm(x, w['mlp_norm']['scale'])
    gate = h @ w['gate']['kernel']
    wide = gate * special.expit(gate) * (h @ w['up']['kernel'])
    inner.append(wide[-1])
    down = np.repeat(w['down']['kernel'][None], count, 0)
    down[-1] = kernels[layer]
    x = x + np.einsum('tf,tfd->td', wide, down)
  return norm(x[-1], weights['norm']['scale']) @ plain['head'], inner


def test_scanned_update_is_the_edit_of_matrices(params):
  evidence, candidates = answers()
  kernels = np.array(
    params['plain']['decoder']['params']['layers']['layer']['down']['kernel'],
    float,
  )
  vectors = np.asarray(params['project'] @ params['plain']['head'], float)
  plain = [numpy_read(params, c, kernels)[0] for c in candidates]
  for pair, label in zip(evidence.encoded, evidence.label, strict=True):
    better, worse = pair if label else pair[::-1]
    (_, plus), (_, minus) = (
      numpy_read(params, text, kernels) for text in (better, worse)
    )
    for place, layer in enumerate(CHOSEN):
      kernels[layer] += 0.5 * np.outer(
        plus[layer] - minus[layer], vectors[place]
      )
  want = [numpy_read(params, c, kernels)[0] for c in candidates]
  state = UPDATE(params, zero(), evidence)
  assert state.shape == (2, F)
  found = SCORE(params, candidates[None], state[None]).score[0]
  np.testing.assert_allclose(found, want, atol=1e-4)
  assert np.abs(np.subtract(want, plain)).max() > 0.01


def test_nothing_known_is_the_reward_without_a_reference(params):
  _, candidates = answers()
  known = references.References(jnp.zeros((1, 0, T, D)), jnp.zeros((1, 0)))
  plain = discriminative.discriminative(config=CONFIG)
  want = jax.jit(plain.score)(params['plain'], candidates[None], known).score
  found = SCORE(params, candidates[None], zero()[None]).score
  np.testing.assert_allclose(found, want, atol=1e-5)


def test_padding_masks_and_ties_change_nothing(params):
  evidence, candidates = answers()
  want = UPDATE(params, zero(), evidence)
  # A masked answer may hold anything; a tie is an answer that says nothing;
  # texts are padded on either side.
  wide = ((0, 0), (0, 0), (2, 1), (0, 0))
  masked = types.Pair(
    jnp.concatenate(
      [
        jnp.pad(evidence.encoded, wide),
        jnp.full((1, 2, T + 3, D), jnp.nan),
        jnp.pad(candidates[None, :2], wide),
      ]
    ),
    jnp.concatenate([evidence.label, jnp.array([jnp.nan, 0.5])]),
    jnp.array([1.0, 1.0, 1.0, 0.0, 1.0]),
  )
  np.testing.assert_allclose(UPDATE(params, zero(), masked), want, atol=1e-5)
  swapped = types.Pair(
    evidence.encoded[:, ::-1], 1 - evidence.label, evidence.mask
  )
  np.testing.assert_allclose(UPDATE(params, zero(), swapped), want, atol=1e-6)


def test_belief_goes_on_where_it_stopped_and_people_are_apart(params):
  user = fast_weights.belief(REWARD, **OPTIONS)
  evidence, candidates = answers(people=(2,))
  key = jax.random.key(0)
  together = jax.jit(jax.vmap(user.infer, (None, None, 0)))(
    key, params, evidence
  )
  update = jax.jit(user.update)
  state = [user.prior(params)] * 2
  for person in range(2):
    mine = jax.tree.map(lambda leaf: leaf[person], evidence)  # noqa: B023
    for n in range(N):
      one = jax.tree.map(lambda leaf: leaf[n : n + 1], mine)  # noqa: B023
      state[person], info = update(key, params, state[person], one)
      assert not info
  np.testing.assert_allclose(together, jnp.stack(state), atol=1e-5)
  # Rows of different people in one batch are scored with their own weights.
  context = user.context(params, together)
  rows = SCORE(params, candidates, context).score
  for person in range(2):
    alone = SCORE(params, candidates[person][None], context[person][None])
    np.testing.assert_allclose(rows[person], alone.score[0], atol=1e-5)


@pytest.mark.slow
def test_margin_rises_by_the_published_amount_where_reading_is_linear():
  """rate |k_a - k_b|^2 (v . head): with the last layer alone, and no norm.

  A norm turns v differently for either text, and deeper layers read it in
  their own way: there the sign is learned, not given.
  """
  large = 1e6  # an eps that makes norms linear, and a scale that undoes it
  config = decoder.DecoderConfig(50, D, F, 1, 4, 2, 4, rms_norm_eps=large)
  reward = fast_weights.fast_weights(config=config, every=1, start=0.1)
  found = draw(reward)
  fresh = jax.jit(reward.init, static_argnums=1)(jax.random.key(0), None)
  params = {**found, 'project': fresh['project']}
  network = jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf * large**0.5 if path[-1].key == 'scale' else leaf,
    params['plain']['decoder'],
  )
  params['plain'] = {**params['plain'], 'decoder': network}
  evidence, _ = answers()
  pair = jax.tree.map(lambda leaf: leaf[:1], evidence)
  rate = 0.05
  update = functools.partial(
    fast_weights.update, config=config, every=1, rate=rate
  )
  state = jax.jit(update)(params, jnp.zeros((1, F)), pair)
  score = jax.jit(reward.score)
  before, after = (
    score(params, pair.encoded, m[None]).score[0] for m in (0 * state, state)
  )
  rise = (after[0] - after[1]) - (before[0] - before[1])
  head = params['plain']['head']
  want = rate * jnp.sum((state / rate) ** 2) * (0.1 * head @ head)
  np.testing.assert_allclose(rise, want, rtol=1e-3)
  assert rise > 1e-3


def test_gradients_go_through_the_update(params):
  evidence, candidates = answers()
  evidence = types.Pair(
    evidence.encoded.at[2].set(jnp.nan),
    evidence.label,
    evidence.mask.at[2].set(0.0),
  )

  def margin(written, read):
    state = fast_weights.update(
      {**params, 'project': written}, zero(), evidence, **OPTIONS
    )
    score = REWARD.score(
      {**params, 'project': read}, candidates[None], state[None]
    ).score[0]
    return score[0] - score[1]

  project = params['project']
  written, read = jax.jit(jax.grad(margin, (0, 1)))(project, project)
  assert np.isfinite(written).all()
  assert (jnp.abs(read).max((1, 2)) > 0).all()
  # The lower direction decides what the upper kernel reads; nothing reads the
  # upper one's.
  assert jnp.abs(written[0]).max() > 1e-6
  assert not written[1].any()


def test_chosen_layers():
  deep = decoder.DecoderConfig(50, D, F, 24, 4, 2, 4)
  assert fast_weights.layers(deep, 6) == (5, 11, 17, 23)
  with pytest.raises(ValueError, match='every 5: from 1 to 4'):
    fast_weights.layers(CONFIG, 5)
