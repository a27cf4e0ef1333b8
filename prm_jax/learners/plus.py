"""PLUS: summaries of people, learned with the reward model that reads them.

    L(phi, theta) = -E log sigma(r_phi(s_A | z) - r_phi(s_B | z)),
    z ~ pi_theta(z | history)

The order says what learns in which phase: ('both',) takes one step of each half
on the same summaries, whose rewards are a by-product of the reward model's own
step. ('summarizer', 'reward') with rounds alternates as published, on summaries
that the summariser at the beginning of a round wrote. ('summarizer',),
('reward',) and ('reward', 'summarizer') have a frozen partner.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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


class Warm(NamedTuple):
  """Phases that come first; those of which nothing is given are left out.

  Attributes:
    language: demonstrations of a step, `(key, state) -> (prompts, summaries)`,
      which the summariser imitates. The reward model then starts from a copy
      of it, if their decoders are of one size.
    strangers: summaries and choices of a step, of nobody, from which the
      reward model learns to read. Without it, it ignores summaries.
    language_options: `steps`, `learning_rate`, `last`, `warm_up` and others of
      `supervised.phase`.
    strangers_options: `steps` and `learning_rate`.
  """

  language: demonstrations.Shown | None = None
  strangers: Strangers | None = None
  language_options: Mapping[str, Any] | None = None
  strangers_options: Mapping[str, Any] | None = None


class Rates(NamedTuple):
  """How fast the parts learn.

  Attributes:
    summarizer: learning rate, constant.
    reward: of the reward model, and of a critic, where it is constant.
    last: share of it to which the reward model's falls, linearly.
    decay: weight decay of the reward model.
  """

  summarizer: float = 1e-3
  reward: float = 1e-3
  last: float = 0.2
  decay: float = 0.01


_WARM, _UPDATE, _RATES = Warm(), summarizing.Update(), Rates()


def plus(
  *,
  writer: summaries.Writer,
  backbone: trunks.Backbone | Mapping[str, Any] | None = None,
  warm: Warm | Mapping[str, Any] = _WARM,
  order: tuple[str, ...] = ('both',),
  rounds: int = 1,
  steps: int | Mapping[str, int] = 400,
  update: summarizing.Update | Mapping[str, Any] = _UPDATE,
  rates: Rates | Mapping[str, float] = _RATES,
  reads: str = 'summaries',
  reader: Mapping[str, Any] | None = None,
  served: Mapping[str, Any] | None = None,
) -> types.Learner:
  """Returns a summariser and a reward model that learn from each other.

  Rows are `summarizing.Contexts`. NamedTuples may be given as plain data.

  Args:
    writer: of summaries.
    backbone: decoder of the reward model; whole and of the writer's sizes if
      None.
    warm: what comes first.
    order: of phases, of 'both', 'summarizer' and 'reward'.
    rounds: how often they run, one after another.
    steps: of each of them in each round; or part -> steps.
    update: how a step learns.
    rates: how fast.
    reads: what the reward reads: 'summaries', or as controls 'histories' or
      'nothing', where it learns alone.
    reader: `pool`, `before` and `after` of `rewards.summarized`.
    served: `capacity`, `width` and `temperature` of `users.summaries`.

  Raises:
    ValueError: an order, steps, a baseline or a score that there is not.

  References:
    Nam et al. 2025 (PLUS), arXiv:2507.13579.

  Notes:
    Published: baseline='critic' with samples=1, pairs=1, kl=0.01, pool='last',
    order=('summarizer', 'reward') with many rounds, and no warm start, for the
    language model is instructed. The released code's rates are 5e-7 and, of
    reward and critic, 9e-6.
  """
  step, rate, start = _given(update, rates, warm)
  each, kept = _steps(order, steps), rounds > 1
  _check(order, step, reads)
  node = trunks.Backbone(writer.config, 'whole', dtype=writer.dtype)
  node = node if backbone is None else trunks.given(backbone)
  reward = summarized.summarized(
    backbone=node, fields=writer.fields, **(reader or {})
  )
  user = summaries.summaries(writer=writer, **(served or {}))
  system = types.System(reward, user)
  copies = node.sizes == writer.config and start.language is not None
  first = _starts(writer, reward, start, copies)
  begin = _begin(step, kept, copies and start.strangers is None)
  turns = [
    _turn(
      (writer, reward, node, step),
      part,
      steps=each[part],
      length=each[part] * rounds,
      rates=rate,
      reads=reads,
      begin=begin if index == 0 else None,
      kept=kept,
    )
    for index, part in enumerate(order)
  ]
  init = _init(system, writer, step, kept=kept)
  return types.Learner(
    (*first, *turns), init, system, first=len(first), rounds=rounds
  )


def _given(update, rates, warm) -> Any:
  """Returns options, which may be plain data."""
  return (
    given if isinstance(given, kind) else kind(**given)
    for given, kind in (
      (update, summarizing.Update),
      (rates, Rates),
      (warm, Warm),
    )
  )


def _starts(writer, reward, warm, copies) -> list[types.Phase]:
  """Returns the phases that come first."""
  found = []
  if warm.language is not None:
    options = dict(warm.language_options or {})
    found.append(_language(writer, warm.language, options))
  if warm.strangers is not None:
    options = dict(warm.strangers_options or {})
    begin = _copied if copies else None
    found.append(_strangers(writer, reward, warm.strangers, begin, options))
  return found


def _steps(order, steps):
  """Returns part -> steps.

  Raises:
    ValueError: the steps of a part are missing, or of none that there is.
  """
  if isinstance(steps, int):
    return dict.fromkeys(order, steps)
  if set(steps) != set(order):
    raise ValueError(f'steps of {sorted(steps)}, and the order is {order}')
  return dict(steps)


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
  trunk = composed.composed(state.params['user'], None)
  reward = {**state.params['reward'], 'backbone': trunk}
  return states.with_reward(state, reward)


def _begin(update, kept, copies):
  """Returns what begins the first phase of a round, see `Phase.begin`."""

  def begin(state, data):
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

  train = 'user|-user/backbone' if writer.rank else 'user'
  return phase._replace(
    name='language', begin=None, objective=objective, train=train
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
  learns = PARTS[part]
  critic = update.baseline == summarizing.CRITIC and 'user' in learns
  fall = optax.linear_schedule(
    rates.reward, rates.last * rates.reward, max(length, 1)
  )
  whole = {
    'user': phases.adam(rates.summarizer),
    'critic': phases.adam(rates.reward),
    'reward': optax.chain(
      optax.clip_by_global_norm(1.0),
      optax.adamw(fall, b2=0.98, weight_decay=rates.decay),
    ),
  }
  names = (*learns, *(('critic',) if critic else ()))
  train = '|'.join(names)
  if node.trains != 'whole' and 'reward' in learns:
    train += '|-reward/backbone'
  if writer.rank and 'user' in learns:
    train += '|-user/backbone' + ('|-critic/trunk/backbone' if critic else '')
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
