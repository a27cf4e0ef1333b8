"""Safeguards that change what is served, whatever the rewards were."""

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import tilting
from prm_jax.safeguards import composition


def trust_region(*, radius: types.Scalar = 0.1) -> types.Safeguard:
  """Returns the best policy within a divergence of the frozen aggregate's.

  Args:
    radius: of KL(pi | pi_aggregate) on each prompt, nats.

  References:
    `tilting.trust_region`; for a tilted aggregate it is shrinkage of the
    reward, with a share that is found for each prompt.
  """

  def policy(state, log_policy, guard):
    del state
    safe, _ = tilting.trust_region(
      log_policy, jnp.zeros_like(log_policy), guard.log_reference, 1.0, radius
    )
    return safe

  card = types.Card(
    bounds='KL to the policy for everyone, on every prompt',
    cost='taste and stance alike',
    failure='does not know what is harmful: within the region all of it may go '
    'to stance',
  )
  return composition.make('trust region', card, policy=policy)


def matching(*, measure: str = 'anchor') -> types.Safeguard:
  """Returns the closest policy whose mean measure is the aggregate's.

  On each prompt pi proportional to pi_u exp(lambda z) with E[z] as under the
  frozen aggregate: nobody is served more of one side, or less of the truth,
  than everybody would be. The two-sided form of
  `tilting.minimal_correction`, with the aggregate in the place of pi_0. It has
  to act last: what follows breaks the constraint.

  Args:
    measure: z, such as a probe's stance on contested questions and the answer
      key on questions of fact.
  """

  def policy(state, log_policy, guard):
    del state
    z = composition.measure_of(guard, measure)
    target = jnp.sum(jnp.exp(guard.log_reference) * z, -1)
    return tilting.match(log_policy, z, target)[0]

  card = types.Card(
    bounds='the mean of the measure, person by person and prompt by prompt',
    cost='tastes that can only be had with the other side',
    failure="what the detector and the key do not see; the aggregate's own "
    'faults are kept, for it is the reference',
  )
  return composition.make('matching', card, policy=policy)


def floor(
  *, measure: str, least: types.Scalar | None = None, name: str = 'floor'
) -> types.Safeguard:
  """Returns the closest policy whose mean measure is at least some value.

  Args:
    measure: what must not fall too low.
    least: on each prompt; the frozen aggregate's mean if None.
    name: in reports.
  """

  def policy(state, log_policy, guard):
    del state
    z = composition.measure_of(guard, measure)
    wanted = jnp.sum(jnp.exp(guard.log_reference) * z, -1)
    if least is not None:
      wanted = jnp.broadcast_to(jnp.asarray(least), wanted.shape)
    return tilting.at_least(log_policy, z, wanted)[0]

  card = types.Card(
    bounds=f'the mean of {measure}, from below, on every prompt',
    cost='nothing where the floor is kept anyway',
    failure='one-sided: the other direction is free; where no candidate '
    'reaches the floor it can only come near, see `unreachable`',
  )
  return composition.make(name, card, policy=policy)


def bridging(*, measure: str = 'bridging') -> types.Safeguard:
  """Returns a floor on what every group can live with.

  The measure is `tilting.bridging` of the groups' rewards; a person is served
  on average at least as much of it as the aggregate serves.

  Args:
    measure: as the caller named it.
  """
  made = floor(measure=measure, name='bridging floor')
  card = types.Card(
    bounds='the soft minimum of the groups, at the level of the aggregate',
    cost='what one group likes and another cannot live with',
    failure='it knows the groups that it is given; harm that all groups like '
    'passes',
  )
  return made._replace(card=card)


def unreachable(measure: types.Array, least: types.Scalar) -> types.Array:
  """Returns True `[...]` for prompts where no candidate reaches a floor.

  Args:
    measure: `[..., K]` of the candidates.
    least: the floor.
  """
  return measure.max(-1) < least


def check_reachable(
  floors: dict[str, float], measures: dict[str, types.Array]
) -> None:
  """Checks that every floor can be kept on average.

  Args:
    floors: measure -> least mean.
    measures: measure -> `[S, K]` of candidates.

  Raises:
    ValueError: naming the binding constraint, the best that can be had, and
      on how many prompts nothing reaches the floor.
  """
  for name, least in floors.items():
    if name not in measures:
      raise ValueError(f'floor on {name!r}: nobody measures it')
    best = float(jnp.mean(measures[name].max(-1)))
    if best < least - 1e-6:  # measures are float32
      missed = unreachable(measures[name], least)
      raise ValueError(
        f'infeasible: the floor {least} on {name!r} binds and cannot be kept: '
        f'the best candidates have {best:.4g} on average, and on '
        f'{int(missed.sum())} of {missed.size} prompts none reaches it. Lower '
        'the floor or add candidates.'
      )
