"""CLoud: a judge that writes a critique, and a head that scores behind it."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops.heads import choices
from prm_jax.policy import (
  demonstrations,
  logprobs,
  outcomes,
  phases,
  supervised,
)
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import critiqued, scalar
from prm_jax.systems import objectives, optimizers, states
from prm_jax.users import population


def cloud(
  *,
  shown: demonstrations.Shown,
  backbone: trunks.Backbone | Mapping[str, Any],
  max_new_tokens: int,
  stop_ids: tuple[int, ...],
  distillation: Mapping[str, Any] | None = None,
  hidden: tuple[int, ...] = (32,),
  learning_rate: float = 1e-3,
  steps: int = 300,
  weight: float = 1.25,
  temperature: float = 1.0,
) -> types.Learner:
  """Returns Bradley-Terry on texts with critiques that the judge writes.

  First the decoder imitates critiques that are shown. Then it writes one of
  every candidate, and is frozen in that role, while decoder and head descend

      -log sigma(r(x_1, c_1) - r(x_2, c_2)) - weight mean log pi(c | x),

  so that the critic does not forget to write. A head that ignores critiques
  is not ruled out: measure what exchanging them does.

  Args:
    shown: texts and their critiques, of a step of the first phase.
    backbone: `rewards.backbone.Backbone` or plain data; it trains whole.
    max_new_tokens: N of a critique.
    stop_ids: tokens that end one.
    distillation: options of the first phase: `learning_rate`, `steps`, `last`,
      `warm_up`, `optimizer`, `gap`, as of `imitation`.
    hidden: widths of the head's hidden layers.
    learning_rate: of the head, in the second phase.
    steps: of the second phase.
    weight: of the critiques' likelihood.
    temperature: of critiques in training; those that are served are greedy.

  Raises:
    ValueError: the backbone does not train whole.

  References:
    Ankner et al. 2024 (CLoud), arXiv:2408.11791.

  Notes:
    The weight is the released code's. There, critiques of the second phase
    are written once; here anew at every step, by the same critic.
  """
  trunk = trunks.given(backbone)
  if trunk.trains != 'whole':
    raise ValueError(f'the backbone trains whole, not {trunk.trains!r}')
  head = scalar.mlp(hidden=hidden)

  def reward(temperature):
    return critiqued.critiqued(
      head,
      trunk,
      max_new_tokens=max_new_tokens,
      stop_ids=stop_ids,
      temperature=temperature,
    )

  system = types.System(reward(0.0), population.population())

  def init(key, spec):
    return _keep_critic(states.new_state(system, key, spec, hyper={}), None)

  second = types.Phase(
    'preferences',
    begin=_keep_critic,
    steps=steps,
    collect=_criticised(reward(temperature), max_new_tokens),
    objective=_preferences(system.reward, trunk, max_new_tokens, weight),
    **optimizers.trained(trunk, learning_rate, steps),
  )
  first = _critiques(trunk, shown, dict(distillation or {}))
  return types.Learner((first, second), init, system)


def _keep_critic(state, data):
  """Returns the state with its decoder as the critic of the second phase."""
  del data
  start = state.params['reward']['backbone']
  return state._replace(constants=phases.Kept(start))


def _criticised(reward, count) -> types.Collect:
  """Returns what has the critic write behind every text of a batch."""
  write: Any = reward.deliberate

  def collect(key, state, batch):
    critic = {'backbone': state.constants.start}
    inputs = write(key, critic, batch.inputs, ())
    written = outcomes.total(inputs.value.mask[..., -count:].sum())
    return batch._replace(inputs=inputs), {'tokens': written}

  return collect


def _critiques(trunk, shown, options) -> types.Phase:
  """Returns the phase in which critiques are imitated."""
  chosen = {
    name: options.pop(name)
    for name in ('learning_rate', 'steps')
    if name in options
  }
  training = phases.Training(
    **{'learning_rate': 3e-3, 'steps': 600, **chosen},
    dtype=trunk.dtype,
    remat=trunk.remat,
  )
  phase = supervised.phase(
    trunk.sizes,
    lambda key, state: shown(key, state.params['reward']['backbone']),
    training=training,
    **{'last': 0.05, 'warm_up': 50, **options},
  )
  inner: Any = phase.objective

  def objective(params, people, state, batch, gather):
    policy = {'policy': params['reward']['backbone']}
    return inner(policy, people, state, batch, gather)

  return phase._replace(
    name='critiques', begin=None, objective=objective, train='reward/backbone'
  )


def _preferences(reward, trunk, count, weight) -> types.Objective:
  """Returns the objective of choices between texts with critiques."""
  network: Any = decoder.Decoder(trunk.sizes, trunk.dtype, trunk.remat)

  def objective(params, people, state, batch, gather):
    del people, state, gather
    own, texts = params['reward'], batch.inputs.value
    lead = texts.ids.shape[:-1]
    ids, seen = (
      leaf.reshape(-1, leaf.shape[-1]) for leaf in (texts.ids, texts.mask)
    )
    hidden = network.apply(
      own['backbone'], ids, decoder.counted(seen), decoder.attended(seen)
    ).hidden.astype(jnp.float32)
    last = seen.shape[1] - 1 - jnp.argmax(seen[:, ::-1], 1)
    at = jnp.take_along_axis(hidden, last[:, None, None], 1)[:, 0]
    score = reward.encode(own, at.reshape(*lead, -1))[..., 0]
    label = jnp.asarray(batch.rows.label)
    nll = choices.bradley_terry(score[:, 0] - score[:, 1], label)
    logit = network.apply(
      own['backbone'], hidden[:, -count - 1 : -1], method='logits'
    )
    critique = seen[:, -count:]
    said = jnp.where(critique > 0, logprobs.at(logit, ids[:, -count:]), 0.0)
    total, tokens = (
      leaf.sum(-1).reshape(lead).sum(-1).astype(jnp.float32)
      for leaf in (said, critique)
    )
    terms = {'nll': objectives.mean(nll), 'critique': (-weight * total, tokens)}
    right = jnp.where(score[:, 0] > score[:, 1], label, 1.0 - label)
    right = jnp.where(score[:, 0] == score[:, 1], 0.5, right)
    return terms, {}, {'accuracy': objectives.mean(right)}

  return objective
