"""Training that leaves as little of a bias in a reward as it can."""

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import tilting


def debiased(
  learner: types.Learner, bias: types.Array, *, strength: float = 1.0
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
    bias: `[M]` of every text in the training table.
    strength: nats of likelihood that a nat of information is worth.

  References:
    Li et al. 2025 (DIR), arXiv:2512.23461.

  Notes:
    The paper learns a network that bounds the information, alternately; here
    it is the closed form for Gaussians, which sees what is linear.
  """
  encode = learner.system.reward.encode

  def penalised(objective):
    def run(params, rows, state, batch):
      loss, penalties, aux = objective(params, rows, state, batch)
      encoded = encode(params['reward'], jnp.asarray(batch.table))
      a, b = batch.rows.items[:, 0], batch.rows.items[:, 1]
      nats = tilting.information(
        encoded[a] - encoded[b], bias[a] - bias[b], batch.rows.mask
      )
      return loss, {**penalties, 'bias': strength * nats}, aux

    return run

  bias = jnp.asarray(bias, jnp.float32)
  phases = tuple(
    phase._replace(objective=penalised(phase.objective))
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
