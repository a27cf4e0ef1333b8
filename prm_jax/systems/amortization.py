"""Systems that are trained on episodes to read a person off few answers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import reading
from prm_jax.systems import episodes, optimizers, states
from prm_jax.users import latent as latents

# (key, params of the user model, evidence) -> (context, penalties in nats).
Read = Callable[
  [types.Key, types.PyTree, types.Pair],
  tuple[types.PyTree, dict[str, types.Array]],
]


def amortized(
  system: types.System,
  read: Read,
  hyper: dict[str, float],
  *,
  learning_rate: float,
  steps: int,
  size: episodes.Size | None = None,
  backbone: Any = None,
) -> types.Learner:
  """Returns the learner that trains a system on episodes.

      mean NLL(targets | context) + sum_p hyper[p + '_weight'] penalty_p
        + decay |networks|^2 / (2 examples)

  The encodings are the aggregate's score and the bases of PReF's SVD, in
  standard deviations, and are not trained: methods differ in how they read a
  person and not in what they look at. Trained with the networks, hundreds of
  columns of features are fitted to the training people first (new people:
  63 % instead of 76 % on attributes).

  Args:
    system: whose user model reads evidence.
    read: what the reward is told in training, and penalties of a person.
    hyper: numeric hyper-parameters: `ridge`, `basis_ridge`, `decay`,
      and the penalties' weights.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    size: of a batch.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.
  """
  size = size or episodes.Size()
  reward = system.reward

  def objective(params, people, state, batch, gather):
    del people, gather
    # The basis does not train; a backbone under it may.
    basis = jax.lax.stop_gradient(params['reward']['basis'])
    fixed = {**params['reward'], 'basis': basis}
    encoded = reading.encoded(reward, fixed, batch.inputs)
    episode = episodes.episode(encoded, state, batch.rows)
    contexts, penalties = jax.vmap(read, (0, None, 0))(
      episode.key, params['user'], episode.known
    )

    def nll(context, pairs, label):
      each = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (len(pairs), *leaf.shape)), context
      )
      return choices.pair_nll(
        reward.score(params['reward'], pairs, each), label
      )

    loss = jax.vmap(nll)(contexts, episode.targets, episode.label)
    aux = {}
    for name, value in penalties.items():
      wide = jnp.broadcast_to(value[:, None], loss.shape)
      loss = loss + state.hyper[f'{name}_weight'] * wide
      aux[name] = episodes.term(wide, episode.mask)
    scale = 0.5 * state.hyper['decay'] / state.constants.examples
    networks = jax.tree.leaves((params['reward']['network'], params['user']))
    penalty = {'decay': scale * sum(jnp.sum(leaf**2) for leaf in networks)}
    return {'nll': episodes.term(loss, episode.mask)}, penalty, aux

  def init(key, spec):
    return states.new_state(
      system, key, spec, constants=episodes.blank(spec), hyper=hyper
    )

  def begin(state, data):
    state = episodes.start_at_bases(state, data)
    return state._replace(constants=episodes.begin(state, data))

  phase = episodes.phase(
    size, objective, begin, learning_rate=learning_rate, steps=steps
  )._replace(**optimizers.trained(backbone, learning_rate, steps))
  return types.Learner((phase,), init, system)


def gaussian_divergence(
  mean: types.Array, log_variance: types.Array
) -> types.Array:
  """Returns KL(N(mean, exp(log_variance)) | N(0, I)) in nats, over axis -1."""
  terms = jnp.exp(log_variance) + mean**2 - 1.0 - log_variance
  return 0.5 * jnp.sum(terms, -1)


def swap_guidance(
  mean: types.Array,
  log_variance: types.Array,
  swapped_mean: types.Array,
  swapped_log_variance: types.Array,
  *,
  variance_weight: float = 0.1,
) -> types.Array:
  """Returns SPL's guidance: 0 for the opposite mean and the same variance.

  Args:
    mean: `[Z]` given the answers.
    log_variance: `[Z]` given the answers.
    swapped_mean: `[Z]` given the same answers, all reversed; no gradient
      flows there.
    swapped_log_variance: `[Z]`, likewise.
    variance_weight: eta.

  References:
    SPL 2026, arXiv:2603.12595.
  """

  def cosine(a, b):
    b = jax.lax.stop_gradient(b)
    return a @ b / jnp.sqrt((a @ a) * (b @ b) + 1e-12)

  opposite = 0.5 * (1.0 + cosine(mean, swapped_mean))
  same = 0.5 * (1.0 - cosine(log_variance, swapped_log_variance))
  return opposite + variance_weight * same


class Collapse(NamedTuple):
  """Whether a latent is used.

  Attributes:
    active_units: share of the Z units whose mean varies over people.
    kl: mean nats that the answers say of a person.
  """

  active_units: float
  kl: float


def collapse(
  contexts: latents.Context, *, threshold: float = 0.005
) -> Collapse:
  """Returns the posterior-collapse diagnostics of everybody's contexts.

  Args:
    contexts: leaves `[U, Z]`, of people with answers.
    threshold: variance over people above which a unit is active.

  References:
    Burda et al. 2016, arXiv:1509.00519.
  """
  mean, log_variance = (np.asarray(leaf) for leaf in contexts)
  divergence = gaussian_divergence(jnp.asarray(mean), jnp.asarray(log_variance))
  active = mean.var(0) > threshold
  return Collapse(float(active.mean()), float(jnp.mean(divergence)))
