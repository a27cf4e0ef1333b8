"""Training that leaves as little of a bias in a reward as it can."""

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import tilting
from prm_jax.rewards import reading


def debiased(
  learner: types.Learner, bias: types.ArrayLike, *, strength: float = 1.0
) -> types.Learner:
  """Returns a learner that is penalised for what its encodings say of a bias.

  Every phase with an objective gets the penalty

      strength I(h_a - h_b; b_a - b_b)

  with h the encoded answers of a judgement and b their bias, over the
  training rows: the mutual information of Gaussians in nats, which is
  `tilting.information`.

  Args:
    learner: with a phase that takes gradient steps; one that is solved
      exactly is returned as it was.
    bias: `[M]` of every text that trains.
    strength: nats of likelihood that a nat of information is worth.

  Raises:
    ValueError: the learner is of a policy; texts lie beside their rows.

  References:
    Li et al. 2025 (DIR), arXiv:2512.23461.

  Notes:
    The paper learns a network that bounds the information, alternately; here
    it is the closed form for Gaussians, which sees what is linear.
  """
  if learner.system is None:
    raise ValueError('nothing scores: there is no reward to debias')
  reward = learner.system.reward
  bias = jnp.asarray(bias, jnp.float32)

  def penalised(objective):
    def run(params, people, state, batch, gather):
      terms, penalties, aux = objective(params, people, state, batch, gather)
      index = batch.inputs.index
      if index is None:
        raise ValueError('a bias is of texts that an index points into')
      pair = reading.encoded(reward, params['reward'], batch.inputs)
      gap = bias[index[:, 0]] - bias[index[:, 1]]
      nats = tilting.information(
        *gather((pair[:, 0] - pair[:, 1], gap, jnp.asarray(batch.rows.mask)))
      )
      return terms, {**penalties, 'bias': strength * nats}, aux

    return run

  phases = tuple(
    phase._replace(objective=penalised(phase.objective), whole=True)
    if phase.objective is not None
    else phase
    for phase in learner.phases
  )
  return learner._replace(phases=phases)


CARD = types.Card(
  bounds='linear information about a bias in the base rewards',
  cost='likelihood of the training answers',
  failure="a person's own coefficients are fitted afterwards and use what is "
  'left; phases that start or solve without gradients are not debiased',
)
