"""Guided decoding on a decoder small enough to enumerate its texts."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.alignment import guided, values
from prm_jax.models import decoder
from prm_jax.ops import decoding
from prm_jax.rewards import discriminative
from prm_jax.users import references

V, LENGTH, D, BETA = 6, 3, 16, 1.5
CONFIG = decoder.DecoderConfig(V, D, 24, 2, 4, 2, 4)
MODEL = decoder.Decoder(CONFIG)
TEXTS = np.indices((V,) * LENGTH).reshape(LENGTH, -1).T
# Every prompt: after a single token its repetitions would have equal states.
PROMPT = (1, 3)
P = len(PROMPT)


@pytest.fixture(autouse=True, scope='module')
def _compiled_quickly():
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture(scope='module')
def params():
  ids = jnp.ones((1, 3), jnp.int32)
  seen = decoder.attended(ids)
  found = jax.jit(MODEL.init)(jax.random.key(0), ids, ids, seen)
  table = found['params']['embed']['embedding']
  found['params']['embed']['embedding'] = table * 2.0  # far from uniform
  return found


@pytest.fixture(scope='module')
def whole(params):
  """Hidden states `[Y, P + 3, D]` and log pi_0 `[Y, 3]` without a cache."""

  @jax.jit
  def forward(params, ids):
    positions = jnp.arange(ids.shape[1])[None]
    seen = decoder.attended(jnp.ones_like(ids))
    hidden = MODEL.apply(params, ids, positions, seen).hidden
    logits = MODEL.apply(params, hidden, method='logits')
    return hidden, jax.nn.log_softmax(logits, -1)

  ids = np.concatenate([np.tile(PROMPT, (len(TEXTS), 1)), TEXTS], 1)
  hidden, logits = map(np.asarray, forward(params, ids))
  steps = np.take_along_axis(logits[:, P - 1 : -1], TEXTS[..., None], -1)[
    ..., 0
  ]
  return hidden, steps


@pytest.fixture(scope='module')
def reward():
  return np.random.default_rng(0).normal(size=len(TEXTS))


def prefixes():
  """The prompt and every 0, 1 and 2 tokens after it, padded."""
  rows = [
    row for t in range(LENGTH) for row in itertools.product(range(V), repeat=t)
  ]
  ids = np.full((len(rows), P + LENGTH - 1), 4)
  mask = np.zeros_like(ids)
  for number, row in enumerate(rows):
    ids[number, : P + len(row)] = (*PROMPT, *row)
    mask[number, : P + len(row)] = 1
  return ids, mask


def exact(hidden, log_policy, reward):
  """A table of hidden states `[M, D]` and their soft values `[M]`."""
  joint = log_policy + BETA * reward
  states, soft = [], []
  for t in range(1, LENGTH + 1):
    shape = (V**t, -1)
    mass = np.exp(log_policy).reshape(shape).sum(1)
    soft.append(np.log(np.exp(joint).reshape(shape).sum(1) / mass) / BETA)
    states.append(hidden[:: V ** (LENGTH - t), P - 1 + t])
  return np.concatenate(states), np.concatenate(soft)


def look_up(table, hidden):
  """Two base values of a state: its value in the table, split unevenly."""
  states, soft = table
  distance = jnp.sum((hidden[..., None, :] - states) ** 2, -1)
  value = soft[jnp.argmin(distance, -1)]
  return jnp.stack([value - 1.0, 0.5 + 0.0 * value], -1)


GUIDE = guided.by_value(look_up)


def of_texts(logits):
  """log-probability `[Y]` of all texts from logits after all prefixes."""
  logs = np.asarray(jax.nn.log_softmax(logits, -1))
  first, second, third = np.split(logs, [1, 1 + V])
  joint = first[0][:, None, None] + second[:, :, None]
  return (joint + third.reshape(V, V, V)).ravel()


def test_exact_values_give_the_tilted_optimum(params, whole, reward):
  hidden, steps = whole
  log_policy = steps.sum(1)
  table = jax.tree.map(jnp.asarray, exact(hidden, log_policy, reward))
  ids, mask = prefixes()
  person = np.tile([1.0, 2.0], (len(ids), 1))

  def look(beta, coefficients, top_k=V):
    context = guided.Values(table, jnp.asarray(coefficients), beta)
    return guided.next_logits(
      CONFIG, params, GUIDE, context, ids, mask, top_k=top_k
    )

  logits, base = look(BETA, person)
  np.testing.assert_allclose(of_texts(base), log_policy, atol=1e-5)
  want = decoding.tilted(log_policy, reward, BETA)
  np.testing.assert_allclose(of_texts(logits), want, atol=1e-4)
  assert np.abs(want - log_policy).max() > 1
  # Without a weight, or for a person who likes nothing, the policy's own.
  for nothing in (look(0.0, person), look(BETA, 0 * person)):
    np.testing.assert_allclose(nothing[0], base, atol=1e-6)
  # Three candidates are the published rule over the whole vocabulary: the
  # table lists states as prefixes are listed, after the prompt's own.
  some, _ = look(BETA, person, top_k=3)
  after = table[1].reshape(-1, V)
  want = decoding.value_augmented(base, after, beta=BETA, top_k=3)
  np.testing.assert_allclose(some, want, atol=1e-4)


def test_texts_are_drawn_from_these_distributions(params, whole, reward):
  """The cached loop's log-probabilities are those of single steps."""
  hidden, steps = whole
  table = jax.tree.map(jnp.asarray, exact(hidden, steps.sum(1), reward))
  context = guided.Values(table, jnp.array([[1.0, 2.0]] * 2), BETA)
  prompts = np.array([[5, *PROMPT], [*PROMPT, 5]])
  mask = np.array([[0, 1, 1], [1, 1, 0]])
  draw = functools.partial(
    guided.sample,
    jax.random.key(1),
    CONFIG,
    params,
    GUIDE,
    context,
    prompts,
    mask,
    max_new_tokens=LENGTH,
    top_k=V,
  )
  samples = jax.tree.map(np.asarray, draw())
  np.testing.assert_array_equal(samples.ids, draw().ids)
  assert samples.mask.all()
  want = np.asarray(decoding.tilted(steps.sum(1), reward, BETA))
  for row in range(2):  # padding on either side
    number = np.ravel_multi_index(samples.ids[row], (V,) * LENGTH)
    np.testing.assert_allclose(
      samples.base_logprob[row], steps[number], atol=1e-5
    )
    np.testing.assert_allclose(
      samples.logprob[row].sum(), want[number], atol=1e-4
    )


PLACES = np.random.default_rng(3).normal(size=(16, V)).astype(np.float32)


def sum_of_places(table, ids):
  at = table[jnp.arange(ids.shape[1]), jnp.maximum(ids, 0)]
  return jnp.sum(jnp.where(ids >= 0, at, 0.0), -1)


ARGS = guided.by_reward(sum_of_places)


def test_args_takes_the_best_of_the_likeliest(params):
  ids, mask = prefixes()

  def look(weight):
    context = guided.Reward(jnp.asarray(PLACES), weight)
    return guided.next_logits(CONFIG, params, ARGS, context, ids, mask, top_k=3)

  strong, base = map(np.asarray, look(1e4))
  likely = np.argsort(-base, 1)[:, :3]
  # Padding is put to the left, so that all texts go on in one column.
  best = np.argmax(PLACES[ids.shape[1]][likely], 1)
  want = likely[np.arange(len(likely)), best]
  np.testing.assert_array_equal(strong.argmax(1), want)
  plain = np.asarray(look(0.0)[0])
  assert (np.isfinite(plain).sum(1) == 3).all()
  rest = np.where(np.isfinite(plain), base, -np.inf)
  np.testing.assert_allclose(
    jax.nn.softmax(plain, -1), jax.nn.softmax(rest, -1), atol=1e-6
  )


def test_a_text_ends_at_its_stop_token(params):
  """The reward asks for 5 and then 4, whatever the policy likes."""
  table = np.zeros((16, V), np.float32)
  table[1, 5] = table[2, 4] = 1.0
  context = guided.Reward(jnp.asarray(table), 1e4)
  samples = guided.sample(
    jax.random.key(0),
    CONFIG,
    params,
    ARGS,
    context,
    np.array([[2], [3]]),
    np.ones((2, 1)),
    max_new_tokens=4,
    top_k=V,
    stop_ids=(4,),
    temperature=0.0,
  )
  np.testing.assert_array_equal(samples.ids, [[5, 4, -1, -1]] * 2)
  np.testing.assert_array_equal(samples.mask, [[1, 1, 0, 0]] * 2)
  assert (samples.logprob == 0).all()  # greedy, and 0 after the end


def test_a_discriminator_draws_towards_its_reference(params):
  reward = discriminative.discriminative(config=CONFIG)
  network = discriminative.with_markers(params)
  network['head'] = jax.random.normal(jax.random.key(2), (D,))
  texts = jnp.array([[[2, 5, 5, -1]], [[1, 3, -1, -1]]])
  liked = references.References(reward.encode(network, texts), jnp.ones((2, 1)))

  def closeness(context, ids):
    network, liked = context
    encoded = reward.encode(network, ids.reshape(2, V, -1))
    return reward.score(network, encoded, liked).score.ravel()

  ids, mask = np.array([[4, 2], [2, 1]]), np.array([[0, 1], [1, 1]])
  context = guided.Reward((network, liked), 2.0)
  logits, base = guided.next_logits(
    CONFIG, params, guided.by_reward(closeness), context, ids, mask, top_k=V
  )
  texts = [
    [*row, v] for row in np.where(mask, ids, -1).tolist() for v in range(V)
  ]
  score = jax.jit(closeness)((network, liked), jnp.array(texts))
  want = jax.nn.log_softmax(base, -1) + 2.0 * score.reshape(2, V)
  np.testing.assert_allclose(logits, want, atol=1e-4)
  assert jnp.ptp(score) > 0.1


def test_a_value_model_reads_the_decoder(params, whole):
  value = functools.partial(values.apply, hidden=(), bases=2)
  fitted = values.fit(
    jax.random.key(0),
    jnp.ones((1, 1, D)),
    jnp.ones((1, 1, 2)),
    jnp.ones((1, 1)),
    hidden=(),
    steps=1,
  )
  context = guided.Values(fitted, jnp.array([[1.0, -2.0]]), 1.5)
  logits, base = guided.next_logits(
    CONFIG,
    params,
    guided.by_value(value),
    context,
    np.array([PROMPT]),
    np.ones((1, P)),
    top_k=V,
  )
  (layer,) = fitted['params'].values()
  first = whole[0][:: V ** (LENGTH - 1), P]  # after each first token
  bases = first @ layer['kernel'] + layer.get('bias', 0.0)
  change = 1.5 * bases @ np.array([1.0, -2.0])
  want = base[0] + change - change.mean()
  np.testing.assert_allclose(logits[0], want, atol=1e-4)
