"""How the discrimination loss falls with parameters and with compute.

Discriminators from scratch, on fresh texts of first-order policies with a
small vocabulary; the loss is that of policies none of them has seen.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from prm_jax.lab import columns, drawn
from prm_jax.ops import scaling

Row = dict[str, Any]
_VALIDATION = 20  # batches of triples
PUBLISHED = {'parameters': -0.0425, 'compute': -0.0342}  # Dou et al. 2025


def run(node, width: int, seed: int) -> list[Row]:
  """Returns held-out losses of one size along its training.

  Args:
    node: `scaling` of the configuration.
    width: D.
    seed: of policies, start and data.
  """
  layers = max(2, width // 32)
  network = drawn.Network.of({**node, 'hidden': width, 'layers': layers})
  keys = jax.random.split(jax.random.key(seed), 5)
  shape = node.words + 1, node.words
  base = jax.random.normal(keys[0], shape)
  own = jax.random.normal(keys[1], (node.policies + node.held_out, *shape))
  logits = base + node.deviation * own
  train, held = logits[: node.policies], logits[node.policies :]
  params = drawn.start(keys[2], network)
  stops = tuple(
    sorted({max(2, round(node.steps * share)) for share in node.stops})
  )
  started = time.monotonic()
  trained = _fit(keys[3], params, train, network, stops)
  losses = np.asarray(
    jax.vmap(lambda params: _losses(params, keys[4], held, network))(trained)
  )
  seconds = time.monotonic() - started
  size = drawn.size(params)
  tokens = node.batch * 3 * (node.length + 1)
  return [
    {
      'width': width,
      'layers': layers,
      'parameters': size,
      'steps': stop,
      'tokens': stop * tokens,
      'compute_flops': 6.0 * size * stop * tokens,
      'loss': float(loss.mean()),
      'loss_error': float(loss.std(ddof=1) / np.sqrt(len(loss))),
      'seed': seed,
      'seconds': seconds,
    }
    for stop, loss in zip(stops, losses, strict=True)
  ]


@functools.partial(jax.jit, static_argnums=(3, 4))
def _fit(key, params, logits, network, stops):
  def draw(key):
    return drawn.triples(key, logits, network)

  return drawn.fit(key, params, draw, network, stops)[0]


def _losses(params, key, logits, network) -> jax.Array:
  """Returns the loss `[batches]` on triples of held-out policies."""

  def one(key):
    return drawn.loss(params, drawn.triples(key, logits, network), network)

  return jax.lax.map(one, jax.random.split(key, _VALIDATION))


def fits(rows: Sequence[Row]) -> list[Row]:
  """Returns power laws of loss in parameters and in compute.

  In parameters: the loss at the end of training, seeds averaged. In compute:
  over the frontier, the runs that no run of less compute beats.
  """
  last = max((row['steps'] for row in rows), default=0)
  final = columns.grouped(
    sorted(
      (row for row in rows if row['steps'] == last),
      key=lambda row: row['parameters'],
    ),
    'parameters',
  )
  compute = np.array([row['compute_flops'] for row in rows])
  loss = np.array([row['loss'] for row in rows])
  best = scaling.frontier(compute, loss)
  laws = []
  for of, x, y in (
    (
      'parameters',
      [size for (size,) in final],
      [np.mean([row['loss'] for row in mine]) for mine in final.values()],
    ),
    ('compute', compute[best], loss[best]),
  ):
    if len(x) >= 3:  # not in a smoke run
      law = scaling.power_law(x, y)._asdict()
      published = {'published_exponent': PUBLISHED[of]}
      laws.append({'of': of, **law, 'points': len(x), **published})
  return laws
