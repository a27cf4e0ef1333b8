"""A policy moves to a target it was shown: in a world of enumerable texts.

  python -m experiments.policy_discriminators.enumerable

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

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app

from prm_jax import types
from prm_jax.alignment import reinforcement
from prm_jax.models import decoder
from prm_jax.ops import decoding, heads, intervals
from prm_jax.rewards import discriminative
from prm_jax.rewards.trajectories import PADDING
from prm_jax.users.references import References
from prm_jax.worlds import policies

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
  """Numbers of the world, of the networks and of the fine-tuning.

  Attributes:
    words: V.
    length: T.
    deviation: of policies from their base, in logits.
    start_deviation: of the policy that is fine-tuned; 0 is the base.
    train: policies that the discriminator sees.
    validation: targets on which everything is chosen.
    test: targets that are reported.
    references: R, rising: texts by which a target is known.
    hidden: D of the networks.
    layers: of the networks.
    rotary_base: of positions, about the length of a row.
    steps: of training, of every network.
    batch: references a step.
    pairs: positives, and negatives, for each reference; each with each.
    fitted_pairs: a step of `fitted`, whose data are R texts.
    learning_rate: of training; rises for 5 % of the steps and
      falls along a cosine.
    stops: steps at which `fitted` may stop, rising; the last is `steps`.
    betas: inverse temperatures, the same for every reward.
    added: texts of the base that `likelihood` may add.
    tuning_steps: of the policy gradient.
    tuning_rate: its learning rate.
  """

  words: int = 2
  length: int = 10
  deviation: float = 1.0
  start_deviation: float = 0.0
  train: int = 1024
  validation: int = 6
  test: int = 8
  references: tuple[int, ...] = (1, 16)
  hidden: int = 32
  layers: int = 3
  rotary_base: float = 30.0
  steps: int = 800
  batch: int = 128
  pairs: int = 1
  fitted_pairs: int = 4
  learning_rate: float = 3e-3
  stops: tuple[int, ...] = (25, 100, 300, 800)
  betas: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
  added: tuple[float, ...] = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
  tuning_steps: int = 300
  tuning_rate: float = 0.05


def smoke() -> Settings:
  """Returns settings that take seconds and show nothing."""
  return Settings(
    words=2, length=4, train=32, validation=2, test=2, references=(1, 2),
    hidden=16, layers=1, steps=20, batch=8, pairs=2, fitted_pairs=4,
    stops=(5, 20), betas=(0.5, 1.0), added=(1.0, 4.0), tuning_steps=100,
  )  # fmt: skip


# ------------------------------------------------------------------ networks


@functools.lru_cache(maxsize=16)
def reward_of(settings: Settings) -> types.RewardModel:
  """Returns the policy discriminator, a decoder of V words from scratch."""
  wide = settings.hidden
  heads_ = max(wide // 16, 1)
  config = decoder.DecoderConfig(
    vocab_size=settings.words,
    hidden_size=wide,
    intermediate_size=2 * wide,
    num_hidden_layers=settings.layers,
    num_attention_heads=heads_,
    num_key_value_heads=heads_,
    head_dim=16,
    rope_theta=settings.rotary_base,
  )
  return discriminative.discriminative(config=config)


def scores(params, reference, candidates, settings: Settings) -> jax.Array:
  """Returns `[B, K]` of candidates `[B, K, T]`.

  Args:
    params: of the reward.
    reference: `[B, T]`, or PADDING alone for a reward that knows none.
    candidates: `[B, K, T]`.
    settings: of the network.
  """
  reward = reward_of(settings)
  known = References(
    reward.encode(params, reference[:, None]), jnp.ones((len(reference), 1))
  )
  return reward.score(params, reward.encode(params, candidates), known).score


@functools.partial(jax.jit, static_argnames=('settings',))
def start(key, settings: Settings) -> dict[str, Any]:
  """Returns parameters of a network whose every score is zero."""
  params = reward_of(settings).init(key, types.Spec(settings.words, 1))
  # Words of unit variance, or the layers drown them.
  table = params['decoder']['params']['embed']
  table['embedding'] = table['embedding'] * np.sqrt(settings.hidden)
  return params


def fit(
  key, params, draw: Callable, settings: Settings, stops: tuple[int, ...]
):
  """Returns parameters after each of `stops` steps, and the losses.

  The loss is -log sigma(r(reference, positive) - r(reference, negative)).

  Args:
    key: of the data.
    params: from `start`.
    draw: key -> references `[B, T]`, positives and negatives `[B, K, T]`.
    settings: of the network and its training.
    stops: rising.

  Returns:
    Leaves `[stops, ...]`, and the mean loss of each stretch `[stops]`, nats.
  """
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, settings.learning_rate, settings.steps // 20, settings.steps
  )
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

  def loss(params, data):
    reference, positive, negative = data
    both = jnp.concatenate([positive, negative], 1)
    first, second = jnp.split(scores(params, reference, both, settings), 2, 1)
    gap = first[:, :, None] - second[:, None]
    return heads.bradley_terry(gap, jnp.ones_like(gap)).mean()

  def step(i, carry):
    params, state, total = carry
    value, gradient = jax.value_and_grad(loss)(
      params, draw(jax.random.fold_in(key, i))
    )
    change, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, change), state, total + value

  def stretch(carry, ends):
    params, state = carry
    first, last = ends
    params, state, total = jax.lax.fori_loop(
      first, last, step, (params, state, 0.0)
    )
    return (params, state), (params, total / (last - first))

  ends = jnp.array([0, *stops[:-1]]), jnp.array(stops)
  return jax.lax.scan(stretch, (params, optimizer.init(params)), ends)[1]


def triples(key, logits, settings: Settings, shown):
  """Returns a batch of triples of different policies, for `fit`.

  Args:
    key: of the draw.
    logits: `[P, V + 1, V]` of the policies.
    settings: how many.
    shown: whether references are; if not, they are PADDING.
  """
  B, K, P = settings.batch, settings.pairs, len(logits)
  keys = jax.random.split(key)
  most = jnp.array([P] + [P - 1] * K)  # another is one of the others
  drawn = jax.random.randint(keys[0], (B, K + 1), 0, most)
  own, other = drawn[:, :1], (drawn[:, :1] + 1 + drawn[:, 1:]) % P
  who = jnp.concatenate([jnp.tile(own, (1, K + 1)), other], 1)
  texts = policies.sample(keys[1], logits[who], length=settings.length)
  reference = jnp.where(shown, texts[:, 0], PADDING)
  return reference, texts[:, 1 : K + 1], texts[:, K + 1 :]


def own_texts(key, logits, references, count, settings: Settings):
  """Returns the target's texts as positives, and the start's as negatives."""
  N = settings.fitted_pairs
  keys = jax.random.split(key)
  positive = references[jax.random.randint(keys[0], (N,), 0, count)]
  wide = jnp.broadcast_to(logits, (N, *logits.shape))
  negative = policies.sample(keys[1], wide, length=settings.length)
  none = jnp.full_like(positive, PADDING)
  return none, positive[:, None], negative[:, None]


# ------------------------------------------------------------------- rewards


def reward_table(params, references, texts, settings: Settings) -> jax.Array:
  """Returns rewards `[N, Y]` of every text, with references `[N, T]`."""
  K = settings.words**2  # texts in a row
  rows = texts.reshape(-1, K, settings.length)

  def one(reference):
    stem = jnp.broadcast_to(reference, (len(rows), len(reference)))
    return scores(params, stem, rows, settings).reshape(-1)

  return jax.lax.map(one, references)


@functools.partial(jax.jit, static_argnames=('settings',))
def of_triples(key, params, logits, references, texts, shown, settings):
  """Returns rewards `[N, Y]` trained on triples, and the last tenth's loss.

  Args:
    key: of the data.
    params: from `start`.
    logits: `[P, V + 1, V]` of the policies that write the triples.
    references: `[N, T]`.
    texts: `[Y, T]`.
    shown: whether the reward sees references, in training and here.
    settings: of the network.
  """
  stops = settings.steps * 9 // 10, settings.steps

  def draw(key):
    return triples(key, logits, settings, shown)

  params, losses = fit(key, params, draw, settings, stops)
  last = jax.tree.map(lambda leaf: leaf[-1], params)
  references = jnp.where(shown, references, PADDING)
  return reward_table(last, references, texts, settings), losses[-1]


@functools.partial(jax.jit, static_argnames=('settings',))
def fitted(key, params, logits, references, texts, settings):
  """Returns rewards `[stops, N, R's, Y]` fitted to targets' own texts.

  Args:
    key: of the data.
    params: from `start`.
    logits: of the policy that is fine-tuned, `[V + 1, V]`.
    references: `[N, R, T]` of N targets.
    texts: `[Y, T]`.
    settings: of the networks.
  """
  none = jnp.full((1, settings.length), PADDING)
  N, counts = len(references), jnp.array(settings.references)

  def one(key, mine, count):
    def draw(key):
      return own_texts(key, logits, mine, count, settings)

    found, _ = fit(key, params, draw, settings, settings.stops)
    return jax.lax.map(
      lambda stop: reward_table(stop, none, texts, settings)[0], found
    )

  found = jax.vmap(one)(
    jax.random.split(key, N * len(counts)),
    jnp.repeat(references, len(counts), 0),
    jnp.tile(counts, N),
  )
  return jnp.moveaxis(found.reshape(N, len(counts), *found.shape[1:]), 2, 0)


# ------------------------------------------------------------------ policies


@functools.partial(jax.jit, static_argnames=('settings',))
def tune(key, logits, tables, settings):
  """Returns logits `[N, V + 1, V]` fine-tuned on rewards `[N, Y]` in nats."""
  words, length = settings.words, settings.length

  def sample(key, params, shape):
    wide = jnp.broadcast_to(params, (*shape, *params.shape))
    return policies.sample(key, wide, length=length)

  def log_probability(params, texts):
    flat = policies.log_probability(params, texts.reshape(-1, length))
    return flat.reshape(texts.shape[:-1])

  def one(key, table):
    return reinforcement.fine_tune(
      key,
      reinforcement.Policy(sample, log_probability),
      logits,
      lambda texts: table[policies.index(texts, words)],
      steps=settings.tuning_steps,
      learning_rate=settings.tuning_rate,
      kl_weight=1.0,
    )[0]

  return jax.vmap(one)(jax.random.split(key, len(tables)), tables)


@jax.jit
def likeliest(logits, log_start, texts, references, added):
  """Returns log-probabilities `[M, N, Y]` of the likeliest policies of R texts.

  In closed form: the share of each word after each, in R texts and in `added`
  texts of the start.

  Args:
    logits: `[V + 1, V]` of the start.
    log_start: `[Y]`.
    texts: `[Y, T]`.
    references: `[N, R]` rows of texts, of N targets.
    added: `[M]` how many texts.
  """
  start = jnp.full_like(texts[:, :1], logits.shape[-1])
  before = jnp.concatenate([start, texts[:, :-1]], 1)

  def one(added, mine):
    weight = (added * jnp.exp(log_start)).at[mine].add(1.0)
    count = jnp.zeros_like(logits).at[before, texts].add(weight[:, None])
    return policies.log_probability(jnp.log(count), texts)

  return jax.vmap(lambda m: jax.vmap(lambda mine: one(m, mine))(references))(
    added
  )


# ---------------------------------------------------------------------- arms


@dataclasses.dataclass(frozen=True)
class Arm:
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


def arms(key, world: policies.Population, log_start, start_logits, settings):
  """Returns every reward, trained, references `[N, R]` and losses in nats."""
  keys = jax.random.split(key, 4)
  P, R = settings.train, max(settings.references)
  texts = jnp.asarray(world.texts)
  exact = jax.jit(jax.vmap(policies.log_probability, (0, None)))
  known = exact(world.logits, texts)
  targets = known[P:]
  rows = jax.vmap(
    lambda key, log_p: jax.random.categorical(key, log_p, shape=(R,))
  )(jax.random.split(keys[0], len(targets)), targets)
  written = texts[rows]
  train = world.logits[:P]
  flat = written.reshape(-1, settings.length)
  params = start(keys[1], settings)

  def trained(shown, references):
    return of_triples(
      keys[2], params, train, references, texts, shown, settings
    )

  learned, loss = trained(True, flat)
  without, other_loss = trained(False, flat)
  own = fitted(keys[3], params, start_logits, written, texts, settings)
  best = policies.predictive_ratio(known[:P], rows.reshape(-1))
  losses = {
    'discriminator': float(loss),
    'bradley_terry': float(other_loss),
    'ideal': ideal_loss(known),
  }
  found = [
    Arm('oracle', 0, (targets - log_start)[None]),
    Arm('bradley_terry', 0, without[None, ::R]),
  ]
  for i, r in enumerate(settings.references):
    for name, table in (('discriminator', learned), ('ideal', best)):
      mean = table.reshape(len(targets), R, -1)[:, :r].mean(1)
      found.append(Arm(name, r, mean[None]))
    found.append(Arm('fitted', r, own[:, :, i]))
  return found, rows, losses


def ideal_loss(log_policies, most: int = 64) -> float:
  """Returns the least triple loss, in nats, over some of the policies."""
  prior = jnp.exp(log_policies).mean(0)
  chosen = log_policies[:most]

  def one(log_p, reference):
    score = policies.predictive_ratio(log_policies, reference[None])[0]
    margin = score[:, None] - score[None]
    chance = jnp.exp(log_p)[:, None] * prior
    return jnp.sum(chance * jax.nn.softplus(-margin))

  keys = jax.random.split(jax.random.key(0), len(chosen))
  references = jax.vmap(jax.random.categorical)(keys, chosen)
  pairs = chosen, references
  return float(jax.lax.map(lambda pair: one(*pair), pairs).mean())


def chosen(divergence, validation: int) -> tuple[int, int]:
  """Returns the choice and the temperature, by validation targets alone.

  Args:
    divergence: `[choices, betas, N]` of the policies to their targets.
    validation: how many of the N targets, the first, may be looked at.
  """
  mean = np.asarray(divergence)[:, :, :validation].mean(2)
  return np.unravel_index(np.nanargmin(mean), mean.shape)  # type: ignore


def run(seed: int, settings: Settings) -> dict[str, Any]:
  """Returns rows of every arm, and the losses that say what was learned."""
  keys = jax.random.split(jax.random.key(seed), 4)
  count = settings.train + settings.validation + settings.test
  world = policies.draw(
    keys[0], policies=count, words=settings.words, length=settings.length,
    deviation=settings.deviation,
  )  # fmt: skip
  own = settings.start_deviation * jax.random.normal(keys[1], world.base.shape)
  logits = world.base + own
  log_start = policies.log_probability(logits, world.texts)
  exact = jax.jit(jax.vmap(policies.log_probability, (0, None)))
  targets = exact(world.logits[settings.train :], world.texts)
  tested = slice(settings.validation, None)
  table: list[Row] = []

  def add(method, r, optimizer, log_policies, choice):
    table.append({
      'seed': seed, 'method': method, 'references': r, 'optimizer': optimizer,
      **measured(log_start, log_policies, targets[tested]),
      **choice,
    })  # fmt: skip

  found, rows, losses = arms(keys[2], world, log_start, logits, settings)
  picks, rewards = [], []
  betas = jnp.array(settings.betas)[:, None, None]
  for arm in found:
    log_p = decoding.tilted(log_start, arm.tables[:, None], betas)
    c, b = chosen(policies.divergence(log_p, targets), settings.validation)
    beta = settings.betas[b]
    stop = settings.stops[c] if arm.method == 'fitted' else None
    picks.append({'beta': beta, 'stop': stop, 'added': None})
    rewards.append(beta * arm.tables[c, tested])
    log_p = log_p[c, b, tested]
    add(arm.method, arm.references, 'optimum', log_p, picks[-1])
  tuned = tune(keys[3], logits, jnp.concatenate(rewards), settings)
  tuned = exact(tuned, world.texts).reshape(len(found), settings.test, -1)
  for arm, log_p, pick in zip(found, tuned, picks, strict=True):
    add(arm.method, arm.references, 'policy_gradient', log_p, pick)
  for r in settings.references:
    log_p = likeliest(
      logits, log_start, world.texts, rows[:, :r], jnp.array(settings.added)
    )
    away = policies.divergence(log_p, targets)[None]
    _, b = chosen(away, settings.validation)
    choice = {'beta': None, 'stop': None, 'added': settings.added[b]}
    add('likelihood', r, 'closed_form', log_p[b, tested], choice)
  return {'rows': table, 'losses': {'seed': seed, **losses}}


def measured(log_start, log_policies, targets) -> Row:
  """Returns divergences of policies `[N, Y]` to targets, before and after."""
  row: Row = {}
  for name, turned in (('kl', False), ('kl_forward', True)):

    def away(log_p, turned=turned):
      pair = (targets, log_p) if turned else (log_p, targets)
      return np.asarray(policies.divergence(*pair), float)

    before = away(jnp.broadcast_to(log_start, targets.shape))
    after = away(log_policies)
    row[f'{name}_before_nats'] = float(before.mean())
    row[f'{name}_after_nats'] = float(after.mean())
    row[f'{name}_fall'] = float(1 - after.mean() / before.mean())
    row[f'{name}_halved'] = float((after <= before / 2).mean())
  return {**row, 'targets': len(targets)}


def summarise(runs: Sequence[Sequence[Row]]) -> list[Row]:
  """Returns rows of every arm over seeds, with 95 % intervals.

  Args:
    runs: the rows of every seed.
  """
  grouped: dict[tuple, list[Row]] = {}
  for row in (row for rows in runs for row in rows):
    arm = row['method'], row['references'], row['optimizer']
    grouped.setdefault(arm, []).append(row)

  def column(rows, name):
    return np.array([row[name] for row in rows])

  table = []
  for (method, r, optimizer), rows in grouped.items():
    out: Row = {'method': method, 'references': r, 'optimizer': optimizer}
    for kl in ('kl', 'kl_forward'):
      before, after = (
        column(rows, f'{kl}_{when}_nats') for when in ('before', 'after')
      )
      out[f'{kl}_before_nats'] = float(before.mean())
      _add(out, f'{kl}_after_nats', intervals.mean(after))
      left = intervals.ratio(after, before)
      fall = intervals.Interval(1 - left.value, 1 - left.high, 1 - left.low)
      _add(out, f'{kl}_fall', fall)
      _add(out, f'{kl}_halved', intervals.mean(column(rows, f'{kl}_halved')))
    rival = grouped.get(('discriminator', r, optimizer))
    if rival and method != 'discriminator':
      gap = column(rows, 'kl_after_nats') - column(rival, 'kl_after_nats')
      _add(out, 'kl_over_discriminator_nats', intervals.mean(gap))
    table.append({**out, 'targets': rows[0]['targets'], 'n': len(rows)})
  return table


def _add(row, name, interval):
  row[name] = interval.value
  row[f'{name}_low'], row[f'{name}_high'] = interval.low, interval.high


def main(argv) -> None:
  del argv
  settings = Settings()
  found = [run(seed, settings) for seed in range(5)]
  for row in summarise([f['rows'] for f in found]):
    print(row)
  print(*(f['losses'] for f in found), sep='\n')


if __name__ == '__main__':
  app.run(main)
