"""Everybody's adapters at once against one person after another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from prm_jax import types
from prm_jax.models import adapters, decoder, lora
from prm_jax.systems import personal_adapters

CONFIG = decoder.DecoderConfig(12, 8, 16, 1, 2, 1, 4)
KEY, U, E, T, STEPS = jax.random.key(0), 4, 3, 5, 4
HYPER = personal_adapters.Hyper(0.03, 0.7, 0.4)


@pytest.fixture(scope='module')
def base():
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(CONFIG).init)
  return init(KEY, ids, ids, decoder.attended(ids + 1))


@pytest.fixture(scope='module')
def bank(base):
  return adapters.init(KEY, CONFIG, base, people=U, rank=2)


@pytest.fixture(scope='module')
def events():
  """Of person 1 two events, of 2 none; 3 has the history of 0."""
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 12, (U, E, 2, T)).astype(np.int32)
  mask = np.ones_like(ids)
  mask[:, 1, :, -1] = 0  # an answer of two tokens
  branch = (np.arange(T) >= 2) * mask
  there = np.float32([[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]])
  ids[3] = ids[0]
  return personal_adapters.Events(
    types.Tokens(ids, mask, branch=branch.astype(np.int32)), there
  )


def fit(base, bank, events, objective, batch=E):
  return personal_adapters.fit(
    KEY,
    CONFIG,
    base,
    bank,
    events,
    objective=objective,
    steps=STEPS,
    batch=batch,
    hyper=HYPER,
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'objective',
  [
    'dpo',  # which has all parts: a reference, and rejected answers
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in ('input_only', 'task', 'simpo')
    ),
  ],
)
def test_one_batch_is_one_program_a_person(base, bank, events, objective):
  found, losses = fit(base, bank, events, objective, batch=2)
  one = jax.jit(
    personal_adapters.trainer(CONFIG, objective=objective, steps=STEPS, batch=2)
  )
  for person in range(U):
    own, history = jax.tree.map(
      lambda leaf: leaf[person],  # noqa: B023
      (bank.people, events),
    )
    expected, loss = one(KEY, base, own, history, HYPER)
    np.testing.assert_allclose(losses[person], loss, atol=1e-5)
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x[person], y, atol=1e-4),  # noqa: B023
      found.people,
      expected,
    )
  moved = jax.tree.map(lambda x, y: np.abs(x - y), found.people, bank.people)
  for leaf in jax.tree.leaves(moved):
    assert leaf[2].max() == 0  # of whom there is no event
    assert leaf[1].max() > 1e-3
    np.testing.assert_allclose(leaf[0], leaf[3], atol=1e-6)  # one history
  assert np.isfinite(losses).all()


def test_losses_are_those_by_hand():
  rng = np.random.default_rng(1)
  logprob, reference = -rng.random((2, E, 2, T))
  part = rng.integers(-1, 2, (E, 2, T))
  found = {
    name: personal_adapters.loss(name, logprob, part, reference, HYPER)
    for name in personal_adapters.OBJECTIVES
  }
  for e in range(E):
    chosen, rejected = part[e] > 0
    prompt = part[e, 0] == 0
    first, second = logprob[e, 0][chosen], logprob[e, 1][rejected]
    own = reference[e, 0][chosen], reference[e, 1][rejected]
    gap = first.sum() - own[0].sum() - second.sum() + own[1].sum()
    mean = first.sum() / chosen.sum() - second.sum() / rejected.sum()
    expected = {
      'input_only': (-logprob[e, 0][prompt].sum(), prompt.sum()),
      'task': (-first.sum(), chosen.sum()),
      'dpo': (-np.log(special.expit(0.7 * gap)), 1),
      'simpo': (-np.log(special.expit(0.7 * mean - 0.4)), 1),
    }
    for name, value in expected.items():
      np.testing.assert_allclose([x[e] for x in found[name]], value, rtol=1e-5)


def test_a_mean_over_tokens_is_of_the_events_that_there_are(base, bank, events):
  """The first loss of all events at once, in NumPy, from the scores."""
  _, losses = fit(base, bank, events, 'task', batch=E)
  score = jax.jit(functools.partial(personal_adapters.scores, CONFIG))
  for person in (0, 1):
    texts = jax.tree.map(lambda leaf: leaf[person, :, 0], events.tokens)  # noqa: B023
    there = events.mask[person] > 0
    total = np.asarray(score(base, None, texts))[there].sum()
    count = texts.branch[there].sum()
    np.testing.assert_allclose(losses[person, 0], -total / count, rtol=1e-5)


def test_task_tuning_makes_a_person_likelier_to_themselves(base, bank, events):
  found, losses = fit(base, bank, events, 'task', batch=E)
  assert (losses[:2, -1] < losses[:2, 0] - 0.01).all()
  texts = jax.tree.map(lambda leaf: leaf[0, :, 0], events.tokens)
  score = jax.jit(functools.partial(personal_adapters.scores, CONFIG))
  mine, theirs, nobodys = (
    score(base, jax.tree.map(lambda leaf: leaf[u], found.people), texts).sum()  # noqa: B023
    for u in (0, 1, 2)
  )
  assert mine > nobodys
  assert mine > theirs
  merged = lora.merge(base, jax.tree.map(lambda leaf: leaf[0], found.people))
  np.testing.assert_allclose(mine, score(merged, None, texts).sum(), atol=1e-4)


def test_what_cannot_be_trained_is_refused(base, bank, events):
  other = jax.tree.map(lambda leaf: 2 * leaf, base)
  with pytest.raises(adapters.OtherBaseError, match='this one is'):
    fit(other, bank, events, 'task')
  with pytest.raises(ValueError, match="'sft': one of"):
    fit(base, bank, events, 'sft')
  single = events._replace(
    tokens=jax.tree.map(lambda leaf: leaf[:, :, :1], events.tokens)
  )
  with pytest.raises(ValueError, match='events have 1'):
    fit(base, bank, single, 'simpo')
  plain = events._replace(tokens=events.tokens._replace(branch=None))
  with pytest.raises(ValueError, match='branch'):
    fit(base, bank, plain, 'task')
