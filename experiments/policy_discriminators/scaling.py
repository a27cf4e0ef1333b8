"""How the discrimination loss falls with parameters and with compute.

Discriminators from scratch, on fresh texts of first-order policies with a
small vocabulary; the loss is that of policies none of them has seen.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.policy_discriminators import enumerable
from prm_jax.ops import heads, scaling

Row = dict[str, Any]
_VALIDATION = 20  # batches of triples
PUBLISHED = {'parameters': -0.0425, 'compute': -0.0342}  # Dou et al. 2025


def settings_of(node, width: int) -> enumerable.Settings:
  """Returns the network and its training at a width."""
  return enumerable.Settings(
    words=node.words, length=node.length, deviation=node.deviation,
    train=node.policies, validation=node.held_out, hidden=width,
    layers=max(2, width // 32), rotary_base=100.0, steps=node.steps,
    batch=node.batch, learning_rate=node.learning_rate,
  )  # fmt: skip


def run(node, width: int, seed: int) -> list[Row]:
  """Returns held-out losses of one size along its training.

  Args:
    node: `scaling` of the configuration.
    width: D.
    seed: of policies, start and data.
  """
  settings = settings_of(node, width)
  keys = jax.random.split(jax.random.key(seed), 5)
  count = settings.train + settings.validation
  shape = settings.words + 1, settings.words
  base = jax.random.normal(keys[0], shape)
  own = jax.random.normal(keys[1], (count, *shape))
  logits = base + settings.deviation * own
  train, held = logits[: settings.train], logits[settings.train :]
  params = enumerable.start(keys[2], settings)
  stops = tuple(
    sorted({max(2, round(settings.steps * share)) for share in node.stops})
  )
  started = time.monotonic()
  found, _ = _fit(keys[3], params, train, settings, stops)
  losses = np.asarray(
    jax.vmap(lambda p: _loss(p, keys[4], held, settings))(found)
  )
  seconds = time.monotonic() - started
  table = found['decoder']['params']['embed']['embedding']
  size = sum(leaf[0].size for leaf in jax.tree.leaves(found)) - table[0].size
  tokens = settings.batch * (settings.length + 1 + 2 * (settings.length + 1))
  return [
    {
      'width': width,
      'layers': settings.layers,
      'parameters': int(size),
      'steps': int(stop),
      'tokens': int(stop * tokens),
      'compute_flops': 6.0 * size * stop * tokens,
      'loss': float(loss.mean()),
      'loss_error': float(loss.std(ddof=1) / np.sqrt(len(loss))),
      'seed': seed,
      'seconds': seconds,
    }
    for stop, loss in zip(stops, losses, strict=True)
  ]


@functools.partial(jax.jit, static_argnums=(3, 4))
def _fit(key, params, logits, settings, stops):
  def draw(key):
    return enumerable.triples(key, logits, settings, True)

  return enumerable.fit(key, params, draw, settings, stops)


def _loss(params, key, logits, settings: enumerable.Settings) -> jax.Array:
  """Returns the loss `[batches]` on triples of held-out policies."""

  def one(key):
    reference, *both = enumerable.triples(key, logits, settings, True)
    score = enumerable.scores(
      params, reference, jnp.concatenate(both, 1), settings
    )
    gap = score[:, 0] - score[:, 1]
    return heads.bradley_terry(gap, jnp.ones_like(gap)).mean()

  keys = jax.random.split(key, _VALIDATION)
  return jax.lax.map(one, keys)


def fits(rows: list[Row]) -> list[Row]:
  """Returns power laws of loss in parameters and in compute.

  In parameters: the loss at the end of training, seeds averaged. In compute:
  over the frontier, the runs that no run of less compute beats.
  """
  last = max(row['steps'] for row in rows)
  sizes = sorted({row['parameters'] for row in rows})
  final = [
    np.mean([
      row['loss'] for row in rows
      if row['parameters'] == size and row['steps'] == last
    ])
    for size in sizes
  ]  # fmt: skip
  compute = np.array([row['compute_flops'] for row in rows])
  loss = np.array([row['loss'] for row in rows])
  best = scaling.frontier(compute, loss)
  found = []
  for of, x, y in (
    ('parameters', np.array(sizes, float), np.array(final)),
    ('compute', compute[best], loss[best]),
  ):
    if len(x) < 3:  # a smoke run
      continue
    law = scaling.power_law(x, y)
    found.append(
      {
        'of': of,
        'exponent': law.exponent,
        'exponent_low': law.exponent_low,
        'exponent_high': law.exponent_high,
        'coefficient': law.coefficient,
        'r_squared': law.r_squared,
        'points': len(x),
        'published_exponent': PUBLISHED[of],
      }
    )
  return found
