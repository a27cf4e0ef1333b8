"""How a policy is trained: its state, its phase and its learner."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import losses
from prm_jax.systems import states
from prm_jax.users import bank as banks


class Training(NamedTuple):
  """How a policy is trained, whatever it learns from.

  Attributes:
    learning_rate: of Adam; gradients are clipped at a norm of 1.
    steps: gradient steps.
    accumulate: batches of a step.
    temperature: of the draws.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
  """

  learning_rate: float = 5e-4
  steps: int = 200
  accumulate: int = 1
  temperature: float = 1.0
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def writing(self) -> dict[str, Any]:
    """The arguments of `write` that are set here."""
    return {'temperature': self.temperature, 'dtype': self.dtype}


DEFAULT = Training()


class Kept(NamedTuple):
  """Constants of learners that keep the policy at the start.

  Attributes:
    start: its parameters: a reference, a teacher or a refiner.
  """

  start: types.PyTree


def new_state(
  key: types.Key, params: types.PyTree, *, keep: bool = False
) -> types.TrainState:
  """Returns the state of a policy before the first step.

  Args:
    key: the run's seed.
    params: of the policy.
    keep: whether the policy at the start stays, in `state.constants`.
  """
  nobody = banks.empty(1, (), ())  # a checkpoint holds no empty array
  return states.state_of(
    key, {'policy': params}, nobody, constants=Kept(params) if keep else ()
  )


def keep_start(state: types.TrainState, data: types.Data) -> types.TrainState:
  """Returns the state with a copy of its policy, which stays: the reference."""
  del data
  constants = state.constants._replace(start=state.params['policy'])
  return state._replace(constants=constants)


def adam(learning_rate: float) -> optax.GradientTransformation:
  """Returns Adam of clipped gradients."""
  return optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(learning_rate, b2=0.98)
  )


def trained(
  config: decoder.DecoderConfig,
  loss: losses.Loss,
  training: Training,
  collect: Callable[..., Any],
  *,
  group: int = 1,
  keep: bool = False,
  average: float | None = None,
) -> types.Learner:
  """Returns the learner of a policy with one phase.

  Args:
    config: of the policy's decoder.
    loss: what is descended.
    training: rate, steps and precision.
    collect: `Phase.collect`: makes a step's rollouts.
    group: texts side by side that have one prompt.
    keep: whether the policy at the start stays, in `state.constants`, though
      no term of the loss reads a reference.
    average: share of the new parameters in a moving average of the policy, in
      `state.average`; none if None.
  """
  keep = keep or losses.reads(loss, losses.REFERENCE)
  phase = types.Phase(
    'policy',
    begin=keep_start if keep else None,
    steps=training.steps,
    collect=collect,
    optimizer=adam(training.learning_rate),
    average=None if average is None else 1.0 - average,
    accumulate=training.accumulate,
    train='policy',
    objective=losses.objective(
      config, loss, group=group, dtype=training.dtype, remat=training.remat
    ),
  )
  return learner(config, (phase,), keep=keep)


def learner(
  config: decoder.DecoderConfig,
  phases: tuple[types.Phase, ...],
  *,
  keep: bool = False,
) -> types.Learner:
  """Returns the learner of a policy; `init` draws its parameters.

  Args:
    config: of the policy's decoder.
    phases: of training.
    keep: whether the policy at the start stays, in `state.constants`.
  """
  model: Any = decoder.Decoder(config)

  def init(key, spec):
    del spec
    ids = jnp.zeros((1, 2), jnp.int32)
    params = model.init(
      jax.random.fold_in(key, 0), ids, ids, decoder.attended(ids + 1)
    )
    return new_state(key, params, keep=keep)

  return types.Learner(phases, init)


def joined(first: types.Learner, second: types.Learner) -> types.Learner:
  """Returns the learner of one policy that runs both, one after the other.

  Args:
    first: keeps the policy at the start in its constants, which stay.
    second: begins with the policy that the first ends with.
  """
  return types.Learner((*first.phases, *second.phases), first.init)
