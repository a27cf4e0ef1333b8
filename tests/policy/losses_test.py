"""Terms of a policy's loss, against figures of the code before them."""

import json
from pathlib import Path

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import logprobs, losses, rollouts

CONFIG = decoder.DecoderConfig(12, 16, 32, 1, 2, 1, 8)
B, P, N, V = 6, 4, 3, 12
LOGITS = logprobs.logits
# Loss, norm of its gradient, and the gradient along a direction, computed when
# a loss was one value with eight options, of the inputs below.
BEFORE = json.loads(
  (Path(__file__).parents[1] / 'golden/policy_losses.json').read_text()
)
BY_TOKENS = {'by': 'token_mean'}
CRITIQUE = (
  losses.surrogate(second=False),
  losses.surrogate('shaped', name='refinement', second=True),
)
LOSSES = {
  **{
    by: (losses.surrogate(by=by),)
    for by in ('text_mean', 'token_mean', 'constant')
  },
  **{
    kind: (losses.surrogate(kind, clip_high=0.28, gamma=0.2),)
    for kind in (
      'clipped',
      'dual',
      'plain',
      'shaped',
      'shaped_clipped',
      'probability',
      'log',
    )
  },
  'critique': CRITIQUE,
  'critique_kl_entropy': (*CRITIQUE, losses.kl(0.1), losses.entropy(0.02)),
  'entropy': (losses.surrogate(), losses.entropy(0.05)),
  'kl': (losses.surrogate(), losses.kl(0.3)),
  'sdpo': (losses.surrogate(**BY_TOKENS), losses.distilled(0.5, **BY_TOKENS)),
  'directive_full': (losses.surrogate(clip_high=0.28), losses.distilled(1.0)),
  'distill_entropy': (
    losses.surrogate(),
    losses.distilled(0.0, 0.7),
    losses.entropy(0.1),
  ),
  'predict': (
    losses.surrogate('log', second=False, apart=True),
    losses.surrogate('log', name='critique', second=True, apart=True),
  ),
  'imitation': (losses.surrogate('log', **BY_TOKENS),),
}


@pytest.fixture(scope='module')
def world():
  """Logits, the way back from their gradient to figures, and texts."""
  rng = np.random.default_rng(7)
  ids = jnp.zeros((1, 2), jnp.int32)
  shapes = jax.eval_shape(
    lambda key: decoder.Decoder(CONFIG).init(
      key, ids, ids, decoder.attended(ids + 1)
    ),
    jax.random.key(0),
  )

  def draw(leaf):
    return (0.3 * rng.normal(size=leaf.shape)).astype(np.float32)

  def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)

  params, direction = jax.tree.map(draw, shapes), jax.tree.map(draw, shapes)
  texts = rng.integers(1, V, (B, P + N)).astype(np.int32)
  seen = np.ones((B, P + N), np.int32)
  seen[1, 0] = seen[4, 0] = seen[4, 1] = 0
  seen[2, -1] = seen[5, -2] = seen[5, -1] = 0
  rows = rollouts.Rollouts(
    texts,
    seen,
    seen[:, P:],
    old_logprob=-3.0 + 1.2 * normal(B, N),
    advantage=normal(B, N),
    second=np.array([0, 0, 0, 1, 1, 0], np.float32),
    weight=np.array([0.5, 0.5, 1, 1, 1, 2], np.float32),
    share=np.array([1, 1, 0.5, 0, 1, 1], np.float32),
    mask=np.array([1, 1, 0, 1, 1, 1], np.float32),
    reference=-2.5 + 0.3 * normal(B, N),
    teacher=np.asarray(jax.nn.log_softmax(normal(B, N, V))),
    example_id=np.arange(B, dtype=np.int32),
  )

  @jax.jit
  def back(params, cotangent):
    """The gradient's norm, and how far it goes along the direction."""
    _, pull = jax.vjp(
      lambda params: LOGITS(CONFIG, params, texts, seen, N), params
    )
    (gradient,) = pull(cotangent)
    flat, _ = jax.flatten_util.ravel_pytree(gradient)
    along, _ = jax.flatten_util.ravel_pytree(direction)
    return jnp.linalg.norm(flat), flat @ along

  logits = LOGITS(CONFIG, params, texts, seen, N)
  return logits, lambda cotangent: back(params, cotangent), rows


@pytest.fixture(autouse=True)
def one_decoder(monkeypatch):
  """The objective's params are logits: the decoder runs once for all losses."""
  monkeypatch.setattr(
    logprobs, 'logits', lambda config, params, *_, **__: params
  )


def objective_of(loss, rows, logits):
  terms, _, figures = losses.objective(CONFIG, loss)(
    {'policy': logits}, None, None, types.Batch(rows), None
  )
  return terms, figures


def loss_of(loss, rows, logits):
  """The sum of the terms' means, as the runtime takes them."""
  terms, _ = objective_of(loss, rows, logits)
  return sum(
    (rows.mask * total).sum() / (rows.mask * count).sum()
    for total, count in terms.values()
  )


def test_every_loss_is_known_from_before():
  assert LOSSES.keys() == BEFORE.keys()


@pytest.mark.parametrize('name', LOSSES)
def test_losses_and_gradients_are_those_of_before(name, world):
  logits, back, rows = world
  value, cotangent = jax.jit(
    jax.value_and_grad(lambda logits: loss_of(LOSSES[name], rows, logits))
  )(logits)
  norm, along = back(cotangent)
  found = {'loss': value, 'norm': norm, 'along': along}
  for figure, before in BEFORE[name].items():
    np.testing.assert_allclose(found[figure], before, rtol=1e-4, atol=1e-5)


def test_a_term_of_weight_zero_is_reported_and_not_descended(world):
  logits, _, rows = world
  terms, figures = objective_of(losses.PLAIN, rows, logits)
  assert terms.keys() == {'surrogate'}
  total, count = figures['entropy']
  probability = np.exp(logits - jax.nn.logsumexp(logits, -1, keepdims=True))
  each = -(probability * np.log(probability)).sum(-1) * rows.answer
  np.testing.assert_allclose(
    total / count, each.sum(1) / rows.answer.sum(1), rtol=1e-5
  )
  assert not objective_of(losses.PLAIN[:1], rows, logits)[1]


def test_what_no_term_reads_need_not_be_there(world):
  logits, _, rows = world
  bare = rows._replace(old_logprob=None, reference=None, teacher=None)
  loss = (losses.surrogate('log'), losses.entropy(0.1))
  assert not any(term.reads for term in loss)
  assert loss_of(loss, bare, logits) == loss_of(loss, rows, logits)
  assert losses.reads(losses.PLAIN, losses.WRITER)
  with pytest.raises(AttributeError):
    loss_of(losses.PLAIN, bare, logits)


def test_a_mean_apart_counts_its_own_texts_alone(world):
  logits, _, rows = world
  rows = rows._replace(share=np.ones(B, np.float32))
  loss = losses.surrogate('log', second=True)

  def count(term):
    return objective_of((term,), rows, logits)[0]['surrogate'][1]

  np.testing.assert_array_equal(count(loss), 1.0)
  np.testing.assert_array_equal(count(loss._replace(apart=True)), rows.second)


def test_two_terms_of_one_name_are_refused():
  with pytest.raises(ValueError, match='two terms have one name'):
    losses.objective(CONFIG, (losses.surrogate(), losses.surrogate('log')))
