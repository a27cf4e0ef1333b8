"""A policy moves to a target it was shown: in a world of enumerable texts.

Policies share a base and deviate from it. The base is fine-tuned to targets
that no reward was trained on, each known from R texts that it wrote:

  discriminator  r(reference, candidate) trained on triples of other policies,
                 averaged over the R references (POLAR, arXiv:2507.05197)
  bradley_terry  the same triples without their references
  fitted         Bradley-Terry of the target's R texts over texts of the base
  ideal          what no discriminator of R single references can beat
  oracle         log target / base, the reward that is right
  likelihood     no reward: the likeliest policy of the R texts, with texts of
                 the base added

The temperature of every arm, how long `fitted` trains and how many texts
`likelihood` adds are chosen on validation targets.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.alignment import reinforcement
from prm_jax.lab import columns, drawn
from prm_jax.ops import decoding, intervals
from prm_jax.rewards.trajectories import PADDING
from prm_jax.worlds import first_order

Row = dict[str, Any]
_exact = jax.jit(jax.vmap(first_order.log_probability, (0, None)))


class Arm(NamedTuple):
  """A reward, of R references, for every target.

  Attributes:
    method: its name.
    references: R; 0 where none is used.
    tables: `[choices, N, Y]` of N targets, validation first; a choice beside
      the temperature is made where there are several.
  """

  method: str
  references: int
  tables: jax.Array


def run(seed: int, node) -> dict[str, Any]:
  """Returns rows of every arm, and the losses that say what was learned.

  Args:
    seed: of everything.
    node: `enumerable` of the configuration, frozen.
  """
  keys = jax.random.split(jax.random.key(seed), 4)
  world = first_order.draw(
    keys[0],
    policies=node.train + node.validation + node.test,
    words=node.words,
    length=node.length,
    deviation=node.deviation,
  )
  own = node.start_deviation * jax.random.normal(keys[1], world.base.shape)
  logits = world.base + own
  log_start = first_order.log_probability(logits, world.texts)
  targets = _exact(world.logits[node.train :], world.texts)
  tested = slice(node.validation, None)
  rows: list[Row] = []

  def add(method, r, optimizer, log_policies, choice) -> None:
    """Adds what an arm makes of the targets that are reported."""
    rows.append(
      {
        'seed': seed,
        'method': method,
        'references': r,
        'optimizer': optimizer,
        **_measured(log_start, log_policies, targets[tested]),
        **choice,
      }
    )

  rewarded, written, losses = arms(keys[2], world, log_start, logits, node)
  picks, rewards = [], []
  betas = jnp.array(node.betas)[:, None, None]
  for arm in rewarded:
    log_p = decoding.tilted(log_start, arm.tables[:, None], betas)
    c, b = chosen(first_order.divergence(log_p, targets), node.validation)
    stop = node.stops[c] if arm.method == 'fitted' else None
    picks.append({'beta': node.betas[b], 'stop': stop, 'added': None})
    rewards.append(node.betas[b] * arm.tables[c, tested])
    add(arm.method, arm.references, 'optimum', log_p[c, b, tested], picks[-1])
  tuned = tune(keys[3], logits, jnp.concatenate(rewards), node)
  tuned = _exact(tuned, world.texts).reshape(len(rewarded), node.test, -1)
  for arm, log_p, pick in zip(rewarded, tuned, picks, strict=True):
    add(arm.method, arm.references, 'policy_gradient', log_p, pick)
  likeliest = jax.jit(
    functools.partial(first_order.likeliest, words=node.words)
  )
  for r in node.references:
    log_p = likeliest(
      log_start, world.texts, written[:, :r], jnp.array(node.added)
    )
    away = first_order.divergence(log_p, targets)[None]
    _, b = chosen(away, node.validation)
    choice = {'beta': None, 'stop': None, 'added': node.added[b]}
    add('likelihood', r, 'closed_form', log_p[b, tested], choice)
  return {'rows': rows, 'losses': {'seed': seed, **losses}}


def arms(key, world: first_order.Population, log_start, start_logits, node):
  """Returns every reward, trained, references `[N, R]` and losses in nats."""
  keys = jax.random.split(key, 4)
  P, R = node.train, max(node.references)
  texts = jnp.asarray(world.texts)
  log_policies = _exact(world.logits, texts)
  targets = log_policies[P:]
  rows = jax.vmap(
    lambda key, log_p: jax.random.categorical(key, log_p, shape=(R,))
  )(jax.random.split(keys[0], len(targets)), targets)
  written = texts[rows]
  train = world.logits[:P]
  flat = written.reshape(-1, node.length)
  params = drawn.start(keys[1], drawn.Network.of(node))

  def trained(shown):
    return of_triples(keys[2], params, train, flat, texts, shown, node)

  learned, loss = trained(True)
  without, other_loss = trained(False)
  own = fitted(keys[3], params, start_logits, written, texts, node)
  best = first_order.predictive_ratio(log_policies[:P], rows.reshape(-1))
  losses = {
    'discriminator': float(loss),
    'bradley_terry': float(other_loss),
    'ideal': float(first_order.least_loss(log_policies)),
  }
  rewarded = [
    Arm('oracle', 0, (targets - log_start)[None]),
    Arm('bradley_terry', 0, without[None, ::R]),
  ]
  for i, r in enumerate(node.references):
    for name, table in (('discriminator', learned), ('ideal', best)):
      mean = table.reshape(len(targets), R, -1)[:, :r].mean(1)
      rewarded.append(Arm(name, r, mean[None]))
    rewarded.append(Arm('fitted', r, own[:, :, i]))
  return rewarded, rows, losses


def chosen(divergence, validation: int) -> tuple[int, int]:
  """Returns the choice and the temperature, by validation targets alone.

  Args:
    divergence: `[choices, betas, N]` of the policies to their targets.
    validation: how many of the N targets, the first, may be looked at.
  """
  mean = np.asarray(divergence)[:, :, :validation].mean(2)
  return np.unravel_index(np.nanargmin(mean), mean.shape)  # type: ignore


# ------------------------------------------------------------------- rewards


@functools.partial(jax.jit, static_argnames=('node',))
def of_triples(key, params, logits, references, texts, shown, node):
  """Returns rewards `[N, Y]` trained on triples, and the last tenth's loss.

  Args:
    key: of the data.
    params: from `drawn.start`.
    logits: `[P, V + 1, V]` of the policies that write the triples.
    references: `[N, T]`.
    texts: `[Y, T]`.
    shown: whether the reward sees references, in training and here.
    node: of the network.
  """
  stops = node.steps * 9 // 10, node.steps
  network = drawn.Network.of(node)

  def draw(key):
    return drawn.triples(key, logits, network, shown)

  params, losses = drawn.fit(key, params, draw, network, stops)
  last = jax.tree.map(lambda leaf: leaf[-1], params)
  references = jnp.where(shown, references, PADDING)
  return drawn.of_every_text(last, references, texts, network), losses[-1]


@functools.partial(jax.jit, static_argnames=('node',))
def fitted(key, params, logits, references, texts, node):
  """Returns rewards `[stops, N, R's, Y]` fitted to targets' own texts.

  Args:
    key: of the data.
    params: from `drawn.start`.
    logits: of the policy that is fine-tuned, `[V + 1, V]`.
    references: `[N, R, T]` of N targets.
    texts: `[Y, T]`.
    node: of the network.
  """
  none = jnp.full((1, node.length), PADDING)
  N, counts = len(references), jnp.array(node.references)
  network = drawn.Network.of(node)

  def one(key, mine, count):
    def draw(key):
      return _own_texts(key, logits, mine, count, node)

    trained, _ = drawn.fit(key, params, draw, network, node.stops)
    return jax.lax.map(
      lambda stop: drawn.of_every_text(stop, none, texts, network)[0], trained
    )

  tables = jax.vmap(one)(
    jax.random.split(key, N * len(counts)),
    jnp.repeat(references, len(counts), 0),
    jnp.tile(counts, N),
  )
  return jnp.moveaxis(tables.reshape(N, len(counts), *tables.shape[1:]), 2, 0)


def _own_texts(key, logits, references, count, node):
  """Returns the target's texts as positives, and the start's as negatives."""
  N = node.fitted_pairs
  keys = jax.random.split(key)
  positive = references[jax.random.randint(keys[0], (N,), 0, count)]
  negative = first_order.sample(keys[1], logits, length=node.length, shape=(N,))
  none = jnp.full_like(positive, PADDING)
  return none, positive[:, None], negative[:, None]


# ------------------------------------------------------------------ policies


@functools.partial(jax.jit, static_argnames=('node',))
def tune(key, logits, tables, node):
  """Returns logits `[N, V + 1, V]` fine-tuned on rewards `[N, Y]` in nats."""

  def sample(key, params, shape):
    return first_order.sample(key, params, length=node.length, shape=shape)

  def one(key, table):
    return reinforcement.fine_tune(
      key,
      reinforcement.Policy(sample, first_order.log_probability),
      logits,
      lambda texts: table[first_order.index(texts, node.words)],
      steps=node.tuning_steps,
      learning_rate=node.tuning_rate,
      kl_weight=1.0,
    )[0]

  return jax.vmap(one)(jax.random.split(key, len(tables)), tables)


# -------------------------------------------------------------------- tables


def _measured(log_start, log_policies, targets) -> Row:
  """Returns divergences of policies `[N, Y]` to targets, before and after."""
  row: Row = {'targets': len(targets)}
  for name, turned in (('kl', False), ('kl_forward', True)):

    def away(log_p, turned=turned):
      pair = (targets, log_p) if turned else (log_p, targets)
      return np.asarray(first_order.divergence(*pair), float)

    before = away(jnp.broadcast_to(log_start, targets.shape))
    after = away(log_policies)
    row |= {
      f'{name}_before_nats': float(before.mean()),
      f'{name}_after_nats': float(after.mean()),
      f'{name}_fall': float(1 - after.mean() / before.mean()),
      f'{name}_halved': float((after <= before / 2).mean()),
    }
  return row


def summarise(rows: Sequence[Row]) -> list[Row]:
  """Returns rows of every arm over seeds, with 95 % intervals.

  Args:
    rows: of every seed and arm.
  """
  arms_ = columns.grouped(rows, 'method', 'references', 'optimizer')

  def values(runs, name):
    return np.array([run[name] for run in runs])

  table = []
  for (method, r, optimizer), runs in arms_.items():
    row: Row = {'method': method, 'references': r, 'optimizer': optimizer}
    for kl in ('kl', 'kl_forward'):
      before, after = (
        values(runs, f'{kl}_{when}_nats') for when in ('before', 'after')
      )
      row[f'{kl}_before_nats'] = float(before.mean())
      row |= columns.mean(f'{kl}_after_nats', after)
      left, low, high = intervals.ratio(after, before)
      row |= columns.interval(f'{kl}_fall', (1 - left, 1 - high, 1 - low))
      row |= columns.mean(f'{kl}_halved', values(runs, f'{kl}_halved'))
    rival = arms_.get(('discriminator', r, optimizer))
    if rival and method != 'discriminator':
      gap = values(runs, 'kl_after_nats') - values(rival, 'kl_after_nats')
      row |= columns.mean('kl_over_discriminator_nats', gap)
    table.append({**row, 'targets': runs[0]['targets'], 'n': len(runs)})
  return table
