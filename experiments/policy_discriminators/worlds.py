"""Discriminators of texts that first-order policies draw without end.

In a world of enumerable texts a policy moves to a target it was shown.
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

In a world of more words, how the loss falls with parameters and with compute;
it is that of policies no discriminator has seen.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.alignment import reinforcement
from prm_jax.lab import columns, drawn
from prm_jax.ops import decoding, intervals, scaling
from prm_jax.rewards.trajectories import PADDING
from prm_jax.worlds import first_order

Row = dict[str, Any]
_HELD_OUT = 20  # batches of triples of policies that were not trained on
PUBLISHED = {'parameters': -0.0425, 'compute': -0.0342}  # Dou et al. 2025
_exact = jax.jit(jax.vmap(first_order.log_probability, (0, None)))
_likeliest = jax.jit(first_order.likeliest, static_argnames='words')


def run(seed: int, node) -> dict[str, Any]:
  """Returns rows of every arm, and the losses that say what was learned.

  Args:
    seed: of everything.
    node: `enumerable` of the configuration, frozen.
  """
  keys = jax.random.split(jax.random.key(seed), 4)
  sizes = {name: node[name] for name in ('words', 'length', 'deviation')}
  count = node.train + node.validation + node.test
  world = first_order.draw(keys[0], policies=count, **sizes)
  log_start = first_order.log_probability(world.base, world.texts)
  targets = _exact(world.logits[node.train :], world.texts)
  tested = slice(node.validation, None)
  rows: list[Row] = []

  def add(arm, optimizer, log_p, *, beta=None, stop=None, added=None) -> None:
    """Adds what an arm makes of the targets that are reported."""
    row = dict(zip(('method', 'references'), arm, strict=True))
    row |= {'seed': seed, 'optimizer': optimizer}
    row |= _measured(log_start, log_p, targets[tested])
    rows.append({**row, 'beta': beta, 'stop': stop, 'added': added})

  rewards, written, losses = arms(keys[2], world, log_start, node)
  picks, scaled = [], []
  betas = jnp.array(node.betas)[:, None, None]
  for arm, table in rewards.items():
    log_p = decoding.tilted(log_start, table[:, None], betas)
    c, b = chosen(first_order.divergence(log_p, targets), node.validation)
    stop = node.stops[c] if arm[0] == 'fitted' else None
    picks.append({'beta': node.betas[b], 'stop': stop})
    scaled.append(node.betas[b] * table[c, tested])
    add(arm, 'optimum', log_p[c, b, tested], **picks[-1])
  tuned = _tuned(keys[3], world.base, jnp.concatenate(scaled), node)
  tuned = _exact(tuned, world.texts).reshape(len(rewards), node.test, -1)
  for arm, log_p, pick in zip(rewards, tuned, picks, strict=True):
    add(arm, 'policy_gradient', log_p, **pick)
  added = jnp.array(node.added)
  for r in node.references:
    log_p = _likeliest(
      log_start, world.texts, written[:, :r], added, words=node.words
    )
    away = first_order.divergence(log_p, targets)[None]
    _, b = chosen(away, node.validation)
    add(('likelihood', r), 'closed_form', log_p[b, tested], added=node.added[b])
  return {'rows': rows, 'losses': {'seed': seed, **losses}}


def arms(key, world: first_order.Population, log_start, node):
  """Returns rewards by method and R, references `[N, R]`, losses in nats.

  R is 0 where no reference is used. Rewards are `[choices, N, Y]` of N targets,
  validation first; a choice beside the temperature is made where there are
  several.
  """
  keys = jax.random.split(key, 4)
  P, R = node.train, max(node.references)
  texts = jnp.asarray(world.texts)
  log_policies = _exact(world.logits, texts)
  targets = log_policies[P:]
  rows = jax.vmap(
    lambda key, log_p: jax.random.categorical(key, log_p, shape=(R,))
  )(jax.random.split(keys[0], len(targets)), targets)
  written = texts[rows]
  params = drawn.start(keys[1], drawn.Network.of(node))

  known = world.logits[:P], written.reshape(-1, node.length), texts
  (learned, loss), (without, other_loss) = (
    _of_triples(keys[2], params, *known, shown, node) for shown in (True, False)
  )
  own = _fitted(keys[3], params, world.base, written, texts, node)
  best = first_order.predictive_ratio(log_policies[:P], rows.reshape(-1))
  losses = {
    'discriminator': float(loss),
    'bradley_terry': float(other_loss),
    'ideal': float(first_order.least_loss(log_policies)),
  }
  rewards = {
    ('oracle', 0): (targets - log_start)[None],
    ('bradley_terry', 0): without[None, ::R],
  }
  for i, r in enumerate(node.references):
    for name, table in (('discriminator', learned), ('ideal', best)):
      every = table.reshape(len(targets), R, -1)
      rewards[name, r] = every[None, :, :r].mean(2)
    rewards['fitted', r] = own[:, :, i]
  return rewards, rows, losses


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
def _of_triples(key, params, logits, references, texts, shown, node):
  """Returns rewards `[N, Y]` trained on triples, and the last tenth's loss.

  Policies of `logits` `[P, V + 1, V]` write the triples; references `[N, T]`
  are seen if `shown`, in training and here.
  """
  stops = node.steps * 9 // 10, node.steps
  network = drawn.Network.of(node)
  draw = functools.partial(
    drawn.triples, logits=logits, network=network, shown=shown
  )
  params, losses = drawn.fit(key, params, draw, network, stops)
  last = jax.tree.map(lambda leaf: leaf[-1], params)
  references = jnp.where(shown, references, PADDING)
  return drawn.of_every_text(last, references, texts, network), losses[-1]


@functools.partial(jax.jit, static_argnames=('node',))
def _fitted(key, params, logits, references, texts, node):
  """Returns rewards `[stops, N, R's, Y]` fitted to targets' own texts.

  These, `references` `[N, R, T]`, are told from those of the policy that is
  fine-tuned, of `logits` `[V + 1, V]`.
  """
  none = jnp.full((node.fitted_pairs, node.length), PADDING)
  N, counts = len(references), jnp.array(node.references)
  network = drawn.Network.of(node)

  def one(key, mine, count):
    def draw(key):
      """The target's texts are positives, the start's negatives."""
      keys, shape = jax.random.split(key), (node.fitted_pairs,)
      positive = mine[jax.random.randint(keys[0], shape, 0, count)]
      negative = _sample(keys[1], logits, shape, node)
      return none, positive[:, None], negative[:, None]

    trained, _ = drawn.fit(key, params, draw, network, node.stops)
    return jax.lax.map(
      lambda stop: drawn.of_every_text(stop, none[:1], texts, network)[0],
      trained,
    )

  tables = jax.vmap(one)(
    jax.random.split(key, N * len(counts)),
    jnp.repeat(references, len(counts), 0),
    jnp.tile(counts, N),
  )
  return jnp.moveaxis(tables.reshape(N, len(counts), *tables.shape[1:]), 2, 0)


# ------------------------------------------------------------------ policies


def _sample(key, logits, shape, node):
  return first_order.sample(key, logits, length=node.length, shape=shape)


@functools.partial(jax.jit, static_argnames=('node',))
def _tuned(key, logits, tables, node):
  """Returns logits `[N, V + 1, V]` fine-tuned on rewards `[N, Y]` in nats."""
  policy = reinforcement.Policy(
    functools.partial(_sample, node=node), first_order.log_probability
  )

  def one(key, table):
    return reinforcement.fine_tune(
      key,
      policy,
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
  for name, turn in (('kl', 1), ('kl_forward', -1)):
    before, after = (
      np.asarray(first_order.divergence(*(log_p, targets)[::turn]), float)
      for log_p in (log_start, log_policies)
    )
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
  table = []
  for (method, r, optimizer), runs in arms_.items():
    row: Row = {'method': method, 'references': r, 'optimizer': optimizer}
    for kl in ('kl', 'kl_forward'):
      before, after, halved = (
        np.array([run[f'{kl}_{what}'] for run in runs])
        for what in ('before_nats', 'after_nats', 'halved')
      )
      row[f'{kl}_before_nats'] = float(before.mean())
      row |= columns.mean(f'{kl}_after_nats', after)
      left, low, high = intervals.ratio(after, before)
      row |= columns.interval(f'{kl}_fall', (1 - left, 1 - high, 1 - low))
      row |= columns.mean(f'{kl}_halved', halved)
    rival = arms_.get(('discriminator', r, optimizer))
    if rival and method != 'discriminator':
      nats = 'kl_after_nats'
      gap = [a[nats] - b[nats] for a, b in zip(runs, rival, strict=True)]
      row |= columns.mean('kl_over_discriminator_nats', gap)
    table.append({**row, 'targets': runs[0]['targets'], 'n': len(runs)})
  return table


# --------------------------------------------------------------------- sizes


def scale(node, width: int, seed: int) -> list[Row]:
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
  train, held = (
    functools.partial(drawn.triples, logits=some, network=network)
    for some in (logits[: node.policies], logits[node.policies :])
  )
  params = drawn.start(keys[2], network)
  stops = sorted({max(2, round(node.steps * share)) for share in node.stops})

  def losses_of(params) -> jax.Array:
    return jax.lax.map(
      lambda key: drawn.loss(params, held(key), network),
      jax.random.split(keys[4], _HELD_OUT),
    )

  trained, _ = drawn.fit(keys[3], params, train, network, tuple(stops))
  losses = np.asarray(jax.vmap(losses_of)(trained))
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
    }
    for stop, loss in zip(stops, losses, strict=True)
  ]


def fits(rows: Sequence[Row]) -> list[Row]:
  """Returns power laws of loss in parameters and in compute.

  In parameters: the loss at the end of training, seeds averaged. In compute:
  over the frontier, the runs that no run of less compute beats.
  """
  last = max((row['steps'] for row in rows), default=0)
  final = [row for row in rows if row['steps'] == last]
  by_size = sorted(columns.grouped(final, 'parameters').items())
  compute = np.array([row['compute_flops'] for row in rows])
  loss = np.array([row['loss'] for row in rows])
  best = scaling.frontier(compute, loss)
  sizes = [size for (size,), _ in by_size]
  means = [np.mean([row['loss'] for row in mine]) for _, mine in by_size]
  axes = {'parameters': (sizes, means), 'compute': (compute[best], loss[best])}
  laws = []
  for of, (x, y) in axes.items():
    if len(x) >= 3:  # not in a smoke run
      law = scaling.power_law(x, y)._asdict()
      published = {'published_exponent': PUBLISHED[of]}
      laws.append({'of': of, **law, 'points': len(x), **published})
  return laws
