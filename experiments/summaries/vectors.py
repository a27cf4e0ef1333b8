"""A person as a vector: VPL's encoder and reward, told the same histories.

What a summary says in words a latent vector says in numbers. Encoder and
reward are those of `learners.amortized.vpl`; what they read of a person are
events, each an answer of which only one side is known, not earlier choices.
"""

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.summaries import fits, people
from prm_jax import types
from prm_jax.lab import units
from prm_jax.ops.heads import choices
from prm_jax.policy import summarizing
from prm_jax.rewards import conditioned
from prm_jax.systems import amortization
from prm_jax.users import latent as latents
from prm_jax.worlds import histories

_SAID = len(histories.statements())
_WORDS = len(histories.statements(own_words=True))
FEATURES = _WORDS + len(histories.MARKERS) + _SAID


class Sizes(NamedTuple):
  """Of both networks.

  Attributes:
    dim: J of an encoded event or response.
    latent: Z.
    width: of the hidden layers.
  """

  dim: int
  latent: int
  width: int


class Rows(NamedTuple):
  """What is known of B people, and what they choose.

  Attributes:
    events: `[B, H, F]`.
    mask: `[B, H]` 1 for an event.
    texts: `[B, N, 2, F]`.
    label: `[B, N]`.
  """

  events: np.ndarray
  mask: np.ndarray
  texts: np.ndarray
  label: np.ndarray


def _hot(index: np.ndarray, size: int) -> np.ndarray:
  return np.eye(size, dtype=np.float32)[index]


def features(ids: np.ndarray) -> np.ndarray:
  """Returns words, markers and statements of tokens, `[..., F]`.

  Args:
    ids: `[...]`; of PAD, END, ASK and cues there is nothing.
  """
  found = np.zeros((*ids.shape, FEATURES), np.float32)
  event = ids >= histories.EVENT
  marker, word = np.divmod(np.where(event, ids - histories.EVENT, 0), _WORDS)
  word = np.where(event, word, ids - histories.WORD)
  is_word = (word >= 0) & (ids >= histories.WORD)
  said = ids - histories.STATEMENT
  is_said = (said >= 0) & (ids < histories.WORD)
  found[..., :_WORDS] = _hot(np.where(is_word, word, 0), _WORDS)
  found[..., :_WORDS] *= is_word[..., None]
  last = _WORDS + len(histories.MARKERS)
  found[..., _WORDS:last] = _hot(marker, len(histories.MARKERS))
  found[..., _WORDS:last] *= event[..., None]
  found[..., last:] = _hot(np.where(is_said, said, 0), _SAID)
  found[..., last:] *= is_said[..., None]
  return found


def rows(given: histories.Contexts) -> Rows:
  """Returns histories and choices."""
  events = features(histories.events(given.histories))
  texts = features(histories.responses(given.pairs)).sum(-2)
  return Rows(events, np.ones(events.shape[:2]), texts, given.pairs.label)


def strangers(rng: np.random.Generator, node: Any, own_words: bool) -> Rows:
  """Returns statements of nobody, and choices that fit them, as events."""
  given = histories.strangers(rng, node.batch, node.pairs, own_words=own_words)
  ids = given.summaries
  texts = features(histories.responses(given.pairs)).sum(-2)
  there = (ids != histories.PAD) & (ids != histories.END)
  return Rows(features(ids), there.astype(float), texts, given.pairs.label)


def system(sizes: Sizes) -> types.System:
  """Returns encoder and reward."""
  return types.System(
    conditioned.latent(
      dim=sizes.dim, latent=sizes.latent, width=sizes.width, film=True
    ),
    latents.latent(dim=sizes.dim, latent=sizes.latent, width=sizes.width),
  )


def margins(
  parts: types.System, params: types.PyTree, given: Rows, noise: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns margins `[B, N]`, and the posterior's divergence `[B]` in nats.

  Args:
    parts: encoder and reward.
    params: of both.
    given: B people.
    noise: `[B, Z]` of the draws; zeros `[B, 1]` where the mean is meant.
  """
  encode = functools.partial(parts.reward.encode, params['reward'])

  def one(events, mask, texts, noise):
    code = encode(events)
    pairs = jnp.stack([code, jnp.zeros_like(code)], 1)
    evidence = types.Pair(pairs, jnp.ones(len(mask)), mask)
    assert parts.user.infer is not None
    belief: Any = parts.user.infer(None, params['user'], evidence)
    z = belief.mean + jnp.exp(0.5 * belief.log_variance) * noise
    told = belief._replace(mean=z)
    score = parts.reward.score(params['reward'], encode(texts), told).score
    divergence = amortization.gaussian_divergence(
      belief.mean, belief.log_variance
    )
    return score[..., 0] - score[..., 1], divergence

  return jax.vmap(one)(given.events, given.mask, given.texts, noise)


def _loss(parts, kl_weight, params, given, noise):
  margin, divergence = margins(parts, params, given, noise)
  nll = choices.bradley_terry(margin, given.label).mean()
  return nll + kl_weight * divergence.mean()


def examined(
  parts: types.System, params: types.PyTree, contexts: histories.Contexts
) -> fits.Arrays:
  """Returns the arrays of `fits.reader` that a vector has.

  Nobody's history, for `empty`, has no event.
  """
  given = rows(contexts)
  zeros = jnp.zeros((len(given.label), 1))
  user = np.asarray(contexts.user)
  found = {}
  for which, told in (
    ('own', given),
    ('other', given._replace(events=np.roll(given.events, 1, 0))),
    ('empty', given._replace(mask=np.zeros_like(given.mask))),
  ):
    margin, _ = margins(parts, params, told, zeros)
    right = summarizing.accuracy(margin, jnp.asarray(given.label))
    found[which] = np.asarray(right.mean(1))
    if which == 'own':
      nll = choices.bradley_terry(margin, jnp.asarray(given.label))
      found['nll'] = np.asarray(nll.mean(1))
  found['other'] = np.where(user == np.roll(user, 1), np.nan, found['other'])
  return {**found, 'person': user}


def run(config: Any, label: str, place: str, seed: int) -> units.Unit:
  """Returns a vector's reader, trained on strangers and then on people.

  The step at which validation people are predicted best is kept.
  """
  node, began = config.vectors, time.process_time()
  world = people.world(config, place, seed)
  sizes = Sizes(node.dim, node.latent, node.width)
  parts = system(sizes)
  key = jax.random.key(seed)
  spec = types.Spec(FEATURES, 1)
  first, second = jax.random.split(key)
  params = {
    'reward': parts.reward.init(first, spec),
    'user': parts.user.init(second, spec),
  }
  rng = np.random.default_rng([seed, 100])
  whole = rows(world.training)

  def known() -> Rows:
    some = rng.choice(len(whole.label), node.contexts, replace=False)
    pair = rng.integers(0, whole.label.shape[1], (node.contexts, node.pairs))
    at = some[:, None], pair
    return Rows(
      whole.events[some], whole.mask[some], whole.texts[at], whole.label[at]
    )

  def nobody() -> Rows:
    return strangers(rng, node.strangers, world.own_words)

  keys = jax.random.split(jax.random.fold_in(key, 1))
  steps = node.strangers.steps
  params, _, _ = _fit(keys[0], parts, params, nobody, node, steps, None)
  look = functools.partial(_look, parts, world)
  params, curve, windows = _fit(
    keys[1], parts, params, known, node, node.steps, look
  )
  arrays = {
    f'{split}|{name}': value
    for split, contexts in world.tests.items()
    for name, value in examined(parts, params, contexts).items()
  }
  per_step = float(np.median(windows)) / min(node.every, node.steps)
  record = {
    'label': label,
    'world': place,
    'seed': seed,
    'curve': curve,
    'steps': node.steps,
    'pairs_drawn': node.steps * node.contexts * node.pairs,
    'cpu_seconds_per_step': per_step,
    'training_cpu_seconds': per_step * node.steps,
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, arrays)


def _look(parts, world, params) -> fits.Row:
  return fits.figures(examined(parts, params, world.validation))


def _fit(key, parts, params, draw, node, steps, look):
  """Returns parameters, where they are examined the best, and examinations."""
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(optax.cosine_decay_schedule(node.rate, max(steps, 1), 0.02)),
  )
  gradient = jax.grad(functools.partial(_loss, parts, node.kl_weight))

  @jax.jit
  def update(params, state, key, given):
    noise = jax.random.normal(key, (len(given.label), node.latent))
    change, state = optimizer.update(
      gradient(params, given, noise), state, params
    )
    return optax.apply_updates(params, change), state

  state, best, curve, windows = optimizer.init(params), params, [], []
  every = min(node.every, max(steps, 1))
  began = time.process_time()
  for step in range(steps):
    now = jax.random.fold_in(key, step)
    params, state = update(params, state, now, draw())
    if look is not None and (step + 1) % every == 0:
      jax.block_until_ready(params)
      windows.append(time.process_time() - began)
      curve.append({'step': step + 1, **look(params)})
      if curve[-1]['own'] >= max(row['own'] for row in curve):
        best = params
      began = time.process_time()
  return (params if look is None else best), curve, windows
