"""PLUS: summaries of people, learned with the reward model that reads them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import composed
from prm_jax.policy import demonstrations, phases, summarizing, supervised
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import summarized
from prm_jax.systems import optimizers, states
from prm_jax.users import summaries

PARTS = {
  'both': ('user', 'reward'),
  'summarizer': ('user',),
  'reward': ('reward',),
}
# `(key) -> (summary [B, S], texts [B, N, 2, T], label [B, N])`.
Strangers = Callable[[types.Key], tuple]


def plus(
  *,
  writer: summaries.Writer,
  backbone: trunks.Backbone | Mapping[str, Any] | None = None,
  language: demonstrations.Shown | None = None,
  strangers: Strangers | None = None,
  language_options: Mapping[str, Any] | None = None,
  strangers_options: Mapping[str, Any] | None = None,
  order: tuple[str, ...] = ('both',),
  rounds: int = 1,
  steps: int = 400,
  update: summarizing.Update | Mapping[str, Any] | None = None,
  learning_rate: float = 1e-3,
  reward_rate: float = 1e-3,
  reward_last: float = 0.2,
  reward_decay: float = 0.01,
  reads: str = 'summaries',
  pool: str = 'sum',
  before: tuple[int, ...] = (),
  after: tuple[int, ...] = (),
  capacity: int = 64,
  width: int = 1,
) -> types.Learner:
  """Returns a summariser and a reward model that learn from each other.

      L(phi, theta) = -E log sigma(r_phi(s_A | z) - r_phi(s_B | z)),
      z ~ pi_theta(z | history)

  Rows are `summarizing.Contexts`. `order` says what learns in which phase:
  ('both',) takes one step of each half on the same summaries, the rewards
  being a by-product of the reward model's own step; ('summarizer', 'reward')
  with `rounds` alternates as published, on summaries that the summariser at
  the beginning of the round wrote; ('summarizer',), ('reward',) and
  ('reward', 'summarizer') have a frozen partner.

  Two warm starts may come first. In `language` the summariser imitates
  summaries that are shown, and the reward model then starts from a copy of it,
  if their decoders are of one size. In `strangers` the reward model learns to
  read summaries of nobody: without it, it ignores them.

  Args:
    writer: of summaries.
    backbone: decoder of the reward model, which may be plain data; whole and
      of the writer's sizes if None.
    language: demonstrations of a step, `(key, state) -> (prompts, summaries)`;
      no such phase if None.
    strangers: summaries and choices of a step; likewise.
    language_options: `steps`, `learning_rate`, `last` and `warm_up`.
    strangers_options: `steps` and `learning_rate`.
    order: of phases, of 'both', 'summarizer' and 'reward'.
    rounds: how often they run, one after another.
    steps: of each of them, in each round.
    update: how a step learns, which may be plain data.
    learning_rate: of the summariser, and of a critic; constant.
    reward_rate: of the reward model, which falls linearly ...
    reward_last: ... to this share.
    reward_decay: weight decay of the reward model.
    reads: what the reward reads: 'summaries', or as controls 'histories' or
      'nothing', where it learns alone.
    pool: which tokens of a text are scored, see `rewards.summarized`.
    before: tokens before a summary, where the reward reads it.
    after: tokens behind it.
    capacity: events that are kept of a person who is served.
    width: tokens of such an event.

  Raises:
    ValueError: an order, a baseline or a score that there is not.

  References:
    Nam et al. 2025 (PLUS), arXiv:2507.13579.

  Notes:
    Published: baseline='critic' with samples=1, pairs=1, kl=0.01, pool='last',
    order=('summarizer', 'reward') with two steps and many rounds, and neither
    warm start, for the language model is instructed. The released code's
    rates are 5e-7 and, of reward and critic, 9e-6.
  """
  update = update or summarizing.Update()
  if not isinstance(update, summarizing.Update):
    update = summarizing.Update(**update)
  _check(order, update, reads)
  node = trunks.Backbone(writer.config, 'whole', dtype=writer.dtype)
  node = node if backbone is None else trunks.given(backbone)
  reward = summarized.summarized(
    backbone=node, fields=writer.fields, pool=pool, before=before, after=after
  )
  user = summaries.summaries(writer=writer, capacity=capacity, width=width)
  system = types.System(reward, user)
  starts = node.sizes == writer.config and language is not None
  warm: list[types.Phase] = []
  if language is not None:
    warm.append(_language(writer, language, dict(language_options or {})))
  if strangers is not None:
    begin = _copied if starts else None
    options = dict(strangers_options or {})
    warm.append(_strangers(writer, reward, strangers, begin, options))
  rates = (learning_rate, reward_rate, reward_last, reward_decay)
  turns = [
    _turn(
      (writer, reward, node, update),
      part,
      steps=steps,
      length=steps * rounds,
      rates=rates,
      reads=reads,
      begin=_begin(
        update,
        first=index == 0,
        kept=rounds > 1,
        copies=starts and strangers is None,
      ),
      kept=rounds > 1,
    )
    for index, part in enumerate(order)
  ]
  return types.Learner(
    (*warm, *turns),
    _init(system, writer, update, kept=rounds > 1),
    system,
    first=len(warm),
    rounds=rounds,
  )


def _check(order, update, reads):
  """Raises ValueError where nothing of that kind can be learned."""
  summarizing.check(update)
  if not order or not set(order) <= set(PARTS):
    raise ValueError(f'order {order}: of {sorted(PARTS)}')
  if len(set(order)) < len(order):
    raise ValueError(f'order {order}: a part stands once, give rounds')
  if reads != 'summaries' and tuple(order) != ('reward',):
    raise ValueError(
      f"reads {reads!r}: no summary is read, so order is ('reward',)"
    )


def _init(system, writer, update, *, kept):
  """Returns what draws the state before the first phase."""

  def init(key, spec):
    state = states.new_state(system, key, spec, hyper={})
    if update.baseline == summarizing.CRITIC:
      trunk = writer.params(jax.random.fold_in(key, 0xC1))
      weight = jnp.zeros(writer.config.hidden_size)
      critic = {'trunk': trunk, 'weight': weight}
      state = state._replace(params={**state.params, 'critic': critic})
    start = state.params['user'] if update.kl else ()
    written = _written(state.params) if kept else ()
    return state._replace(constants=summarizing.Kept(start, written))

  return init


def _written(params):
  """Returns who writes in a round: the summariser, and its critic."""
  return {name: params[name] for name in ('user', 'critic') if name in params}


def _copied(state, data):
  """Returns the state whose reward model starts from its summariser."""
  del data
  reward = {**state.params['reward'], 'backbone': state.params['user']}
  return states.with_reward(state, reward)


def _begin(update, *, first, kept, copies):
  """Returns what begins a phase of a round, see `Phase.begin`."""

  def begin(state, data):
    if not first:
      return state
    if int(state.round) == 0:
      if copies:
        state = _copied(state, data)
      params = state.params
      if update.kl:
        constants = state.constants._replace(start=params['user'])
        state = state._replace(constants=constants)
      if 'critic' in params:
        critic = {**params['critic'], 'trunk': params['user']}
        state = state._replace(params={**params, 'critic': critic})
    if kept:
      constants = state.constants._replace(writer=_written(state.params))
      state = state._replace(constants=constants)
    return state

  return begin


def _language(writer, shown, options) -> types.Phase:
  """Returns the phase in which summaries are imitated."""
  training = phases.Training(
    steps=options.pop('steps', 500),
    learning_rate=options.pop('learning_rate', 3e-3),
    dtype=writer.dtype,
    remat=writer.remat,
  )
  phase = supervised.phase(
    writer.config,
    shown,
    training=training,
    **{'last': 0.02, 'warm_up': 20, **options},
  )
  inner: Any = phase.objective

  def objective(params, people, state, batch, gather):
    policy = composed.composed(params['user'], writer.fields)
    return inner({'policy': policy}, people, state, batch, gather)

  return phase._replace(
    name='language', begin=None, objective=objective, train='user'
  )


def _strangers(writer, reward, strangers, begin, options) -> types.Phase:
  """Returns the phase in which the reward learns to read summaries."""
  steps = options.pop('steps', 400)
  rate = options.pop('learning_rate', 2e-3)
  if options:
    raise ValueError(f'strangers_options do not know {sorted(options)}')

  def collect(key, state, batch):
    del state, batch
    summary, texts, label = strangers(key)
    B = len(label)
    place = jnp.arange(B)
    rows = summarizing.Contexts(
      *(place, summary, texts, label, jnp.ones_like(label)),
      *(jnp.ones(B), place),
    )
    found = summarizing.grouped(summary, 1)
    return types.Batch(summarizing.summarized(rows, found)), {}

  return types.Phase(
    'strangers',
    begin=begin,
    steps=steps,
    collect=collect,
    objective=summarizing.objective(
      writer, reward, summarizing.Update(), summarizer=False
    ),
    optimizer=optax.chain(
      optax.clip_by_global_norm(1.0),
      optax.adamw(optax.cosine_decay_schedule(rate, max(steps, 1), 0.02)),
    ),
    train='reward',
  )


def _turn(
  parts, part, *, steps, length, rates, reads, begin, kept
) -> types.Phase:
  """Returns the phase in which one half learns, or both do."""
  writer, reward, node, update = parts
  rate, reward_rate, last, decay = rates
  learns = PARTS[part]
  critic = update.baseline == summarizing.CRITIC and 'user' in learns
  fall = optax.linear_schedule(reward_rate, last * reward_rate, max(length, 1))
  whole = {
    'user': phases.adam(rate),
    'critic': phases.adam(rate),
    'reward': optax.chain(
      optax.clip_by_global_norm(1.0),
      optax.adamw(fall, b2=0.98, weight_decay=decay),
    ),
  }
  names = (*learns, *(('critic',) if critic else ()))
  train = '|'.join(names)
  if node.trains != 'whole' and 'reward' in learns:
    train += '|-backbone'
  return types.Phase(
    part,
    begin=begin,
    steps=steps,
    collect=summarizing.collect(writer, update, reads=reads, kept=kept),
    objective=summarizing.objective(
      writer,
      reward,
      update,
      summarizer='user' in learns,
      reader='reward' in learns,
      kept=kept,
    ),
    optimizer=optimizers.by_path({name: whole[name] for name in names}),
    train=train,
    whole=critic,
  )
