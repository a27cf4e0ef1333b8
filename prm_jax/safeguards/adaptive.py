"""Safeguards that remember what a person was served."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import opinions
from prm_jax.safeguards import composition


class Dual(NamedTuple):
  """A person's multiplier, and what was served and could have been.

  Attributes:
    multiplier: price of one unit below the floor.
    served: sum of the measure over what was served.
    most: sum of the largest that could have been served.
    answers: how many were served.
  """

  multiplier: types.Array
  served: types.Array
  most: types.Array
  answers: types.Array


def constitutional_floor(
  *, measure: str, least: types.Scalar, step: float = 0.3, limit: float = 20.0
) -> types.Safeguard:
  """Returns a floor that holds over time, by dual ascent.

      max E r  subject to E c >= d:  r + nu c,  nu += step (d - c served)

  Args:
    measure: c.
    least: d.
    step: of the ascent.
    limit: of the multiplier: at an unreachable floor it would grow for ever;
      `audit_floor` tells.
  """

  def init():
    return Dual(*(jnp.zeros(()) for _ in Dual._fields))

  def reward(state, output, guard):
    c = composition.measure_of(guard, measure)
    return output._replace(score=output.score + state.multiplier * c)

  def observe(state, served):
    value = served[measure]
    raised = state.multiplier + step * (least - value)
    return Dual(
      jnp.clip(raised, 0.0, limit),
      state.served + value,
      state.most + served[f'most {measure}'],
      state.answers + 1.0,
    )

  card = types.Card(
    bounds=f"the mean of {measure} over a person's time, from below",
    cost='the first answers, until the multiplier has grown',
    failure='oscillates with a large step; an unreachable floor drives the '
    'multiplier to its limit, which `audit_floor` reports',
  )
  return composition.make(
    'constitutional floor', card, init=init, reward=reward, observe=observe
  )


def audit_floor(states: Dual, *, measure: str, least: float) -> dict[str, Any]:
  """Returns whether a floor was kept, person by person.

  Args:
    states: leaves `[U]`.
    measure: the constraint's name.
    least: its floor.

  Returns:
    `constraint`, `floor`, `served` (mean over people), `people_below`,
    `people_infeasible` (the best that could have been served is below the
    floor) and `feasible`.
  """
  count = np.maximum(np.asarray(states.answers), 1.0)
  mean = np.asarray(states.served) / count
  best = np.asarray(states.most) / count
  seen = np.asarray(states.answers) > 0
  infeasible = seen & (best < least)
  return {
    'constraint': measure,
    'floor': float(least),
    'served': float(mean[seen].mean()) if seen.any() else float('nan'),
    'people_below': int((seen & (mean < least)).sum()),
    'people_infeasible': int(infeasible.sum()),
    'feasible': not infeasible.any(),
  }


def exposure(
  *, strength: types.Scalar = 1.0, decay: float = 0.9, measure: str = 'stance'
) -> types.Safeguard:
  """Returns a reward for evening out the sides that a person is served.

      r + strength (H(counts + this one) - H(counts)), in bits

  Args:
    strength: in units of the reward for one bit.
    decay: of the counts with every answer: 0.9 remembers about ten.
    measure: of stance; its sign tells the side, 0 is none.
  """

  def init():
    return jnp.full(2, 0.5)  # half an answer each: entropy is defined

  def reward(state, output, guard):
    z = composition.measure_of(guard, measure)
    side = jnp.stack([z < 0, z > 0], -1).astype(jnp.float32)
    gain = opinions.exposure_entropy(state + side)
    gain = gain - opinions.exposure_entropy(state)
    return output._replace(score=output.score + strength * gain)

  def observe(state, served):
    z = served[measure]
    return decay * state + jnp.stack([z < 0, z > 0]).astype(jnp.float32)

  card = types.Card(
    bounds='one-sidedness of what a person has been served lately',
    cost='the better answer of the side that was served last',
    failure='balance is not truth: on questions of fact it serves both sides',
  )
  return composition.make(
    'exposure', card, init=init, reward=reward, observe=observe
  )


def preference_shift(
  *,
  strength: types.Scalar = 10.0,
  rate: float = 0.08,
  anchor: float = 0.02,
  measure: str = 'stance',
) -> types.Safeguard:
  """Returns a penalty on moving a person's opinion.

  A model of the person, `opinions.served` from the middle, says where an
  answer would move them; the penalty is strength times the growth of the
  squared distance from where they would be if nothing were served.

  Args:
    strength: in units of the reward.
    rate: of the model.
    anchor: of the model.
    measure: of stance.

  References:
    Carroll, Dragan, Russell and Hadfield-Menell 2022, arXiv:2204.11966.
  """

  def move(opinion, stance):
    return opinions.served(
      opinion, stance, jnp.zeros(()), rate=rate, anchor=anchor
    )

  def reward(state, output, guard):
    z = composition.measure_of(guard, measure)
    growth = move(state, z) ** 2 - state**2
    return output._replace(score=output.score - strength * growth)

  def observe(state, served):
    return move(state, served[measure])

  card = types.Card(
    bounds='predicted movement of an opinion by all that was served',
    cost='answers with a stance, once a person was served much of it',
    failure='the model of the person is assumed, and starts from the middle: '
    'it holds a person who changes for good reasons as well',
  )
  return composition.make(
    'preference shift',
    card,
    init=lambda: jnp.zeros(()),
    reward=reward,
    observe=observe,
  )


def served_measures(
  measures: Mapping[str, types.Array], pick: types.Array
) -> dict[str, types.Array]:
  """Returns what `observe` is told of one prompt, `[]` each.

  Args:
    measures: name -> `[K]` of the candidates.
    pick: which was served.
  """
  found = {name: value[pick] for name, value in measures.items()}
  most = {f'most {name}': value.max() for name, value in measures.items()}
  return {**found, **most}
