"""RFM: learned nonlinear reward features, linear in a person's weights."""

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.learners import common
from prm_jax.ops import bayes, heads
from prm_jax.rewards import factorized
from prm_jax.users import gaussian


def rfm(
  *,
  dim: int = 8,
  width: int = 32,
  ridge: float = 10.0,
  decay: float = 10.0,
  learning_rate: float = 3e-3,
  steps: int = 300,
  capacity: int = 50,
) -> types.Learner:
  """Returns RFM with J = `dim` reward features of a small network.

  The first feature is the aggregate's score; the others are a network's.
  Features and everybody's weights minimise the Bradley-Terry loss plus

      sum_u |w_u - e_1|^2 / 2 + decay |network|^2 / 2

  A new person's weights follow by logistic regression with features frozen.

  Args:
    dim: J.
    width: of the network's hidden layer.
    ridge: of the aggregate, in answers.
    decay: ridge of the network, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.

  References:
    Barreto et al. 2025 (RFM), arXiv:2503.17338.

  Notes:
    The paper's regression of a new person has no stated prior; here it is the
    raters' estimated mean and covariance, as for PReF, from which this method
    differs in its nonlinear features and in having no SVD start.
  """
  reward = factorized.network(dim=dim, width=width)
  system = types.System(reward, gaussian.gaussian(dim=dim, capacity=capacity))
  first = jnp.eye(dim)[0]

  def begin(state, batch):
    weight = common.aggregate_weight(batch, state.hyper['ridge'])
    params = {**state.params['reward'], 'aggregate': weight}
    state = common.with_reward(state, params)
    # People start apart, or features and weights would both have no slope.
    rows = state.bank.rows['coefficients']
    noise = jax.random.normal(jax.random.fold_in(state.key, 1), rows.shape)
    rows = first + noise.at[:, 0].set(0.0)
    return state._replace(
      bank=state.bank._replace(rows={'coefficients': rows}),
      hyper={**state.hyper, 'examples': common.examples(batch.rows)},
    )

  def objective(params, rows, state, batch):
    encoded = reward.encode(params['reward'], batch.table)
    margin = common.margins(encoded, rows['coefficients'], batch.rows)
    network = jax.tree.leaves(params['reward']['network'])
    scale = 0.5 / state.hyper['examples']
    moved = rows['coefficients'] - first
    penalty = {
      'coefficients': scale * jnp.sum(moved**2),
      'decay': scale
      * state.hyper['decay']
      * sum(jnp.sum(leaf**2) for leaf in network),
    }
    return heads.bradley_terry(margin, batch.rows.label), penalty, {}

  def init(key, spec):
    hyper = {'ridge': ridge, 'decay': decay, 'examples': 1.0}
    blank = {'coefficients': first}
    state = common.new_state(system, key, spec, blank_rows=blank, hyper=hyper)
    return common.with_user(state, bayes.isotropic_prior(first, 1.0))

  phases = (
    types.Phase(
      'joint', begin, objective, common.adam(learning_rate, steps), steps
    ),
    common.prior_phase(system),
  )
  return types.Learner(system, phases, init)
