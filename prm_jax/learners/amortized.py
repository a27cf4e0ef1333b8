"""Methods that learn to read a person off a few answers: VPL, SPL, GPO, ICRM.

All four are trained on the same episodes, start at the aggregate, and differ
in what they make of the known answers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.learners import common, episodes
from prm_jax.models import sets
from prm_jax.ops import heads
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import conditioned, reading
from prm_jax.users import in_context as answers_in_context
from prm_jax.users import latent as latents

# (key, params of the user model, evidence) -> (context, penalties in nats).
Read = Callable[
  [types.Key, types.PyTree, types.Pair],
  tuple[types.PyTree, dict[str, types.Array]],
]


def vpl(
  *,
  dim: int = 8,
  latent: int = 8,
  width: int = 64,
  kl_weight: float = 1e-3,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  decay: float = 1.0,
  learning_rate: float = 3e-3,
  steps: int = 1000,
  capacity: int = 50,
  backbone: Any = None,
) -> types.Learner:
  """Returns VPL: a variational autoencoder over people.

      E_q(z | answers) [-log sigma(r(x_a, z) - r(x_b, z))] + kl_weight KL(q | N)

  Args:
    dim: J of an encoded text.
    latent: Z.
    width: of encoder and decoder.
    kl_weight: of the divergence, per predicted answer. Large weights collapse
      the posterior onto the prior; see `active_units`.
    ridge: of the aggregate, in answers.
    basis_ridge: of the regression that makes the other encodings, in answers.
    decay: ridge of the networks, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.
    backbone: `rewards.backbone.Backbone` or plain data, where texts are
      tokens; None where features are given.

  References:
    Poddar et al. 2024 (VPL), arXiv:2408.10075.

  Notes:
    The attention is masked, where the released code averages over padding;
    moments are not clamped to [-1, 1] and z is not rescaled, which the paper
    does not have; the encoder also sees how many answers there are; the
    reward adds the aggregate's.
  """
  system = types.System(
    trunks.under(
      conditioned.latent(dim=dim, latent=latent, width=width), backbone
    ),
    latents.latent(dim=dim, latent=latent, width=width, capacity=capacity),
  )
  infer = system.user.infer

  def read(key, params, known):
    belief = infer(key, params, known)
    noise = jax.random.normal(key, belief.mean.shape)
    z = belief.mean + jnp.exp(0.5 * belief.log_variance) * noise
    divergence = gaussian_divergence(belief.mean, belief.log_variance)
    return belief._replace(mean=z), {'kl': divergence}

  hyper = {
    'ridge': ridge,
    'basis_ridge': basis_ridge,
    'decay': decay,
    'kl_weight': kl_weight,
  }
  return amortized(
    system, read, hyper, learning_rate=learning_rate, steps=steps,
    backbone=backbone,
  )  # fmt: skip


def spl(
  *,
  dim: int = 8,
  latent: int = 8,
  width: int = 64,
  kl_weight: float = 1e-3,
  guidance_weight: float = 1e-2,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  decay: float = 1.0,
  learning_rate: float = 3e-3,
  steps: int = 1000,
  capacity: int = 50,
) -> types.Learner:
  """Returns SPL: VPL with swap guidance, preferential flows and FiLM.

  Swap guidance asks a person who answers everything the other way round to
  have the opposite mean and the same variance:

      (1 + cos(mu, mu')) / 2 + 0.1 (1 - cos(l, l')) / 2

  Args:
    dim: J of an encoded text.
    latent: Z.
    width: of encoder and decoder.
    kl_weight: of the divergence, per predicted answer.
    guidance_weight: of swap guidance.
    ridge: of the aggregate, in answers.
    basis_ridge: of the regression that makes the other encodings, in answers.
    decay: ridge of the networks, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.

  References:
    SPL 2026, arXiv:2603.12595.

  Notes:
    The scale of a flow sees squares of z, so that the flow keeps the swap's
    symmetry exactly; the published scale does not say.
  """
  system = types.System(
    conditioned.latent(dim=dim, latent=latent, width=width, film=True),
    latents.flow(dim=dim, latent=latent, width=width, capacity=capacity),
  )
  network: Any = sets.FlowEncoder(latent, width)

  def read(key, params, known):
    noise = jax.random.normal(key, (latent,))
    z, divergence, moments = network.apply(
      params, noise, known.encoded, known.label, known.mask
    )
    belief = latents.Context(z, moments[1])
    return belief, {'kl': divergence, 'guidance': swap_guidance(*moments)}

  hyper = {
    'ridge': ridge,
    'basis_ridge': basis_ridge,
    'decay': decay,
    'kl_weight': kl_weight,
    'guidance_weight': guidance_weight,
  }
  return amortized(
    system, read, hyper, learning_rate=learning_rate, steps=steps
  )


def in_context(
  *,
  points: bool = False,
  dim: int = 8,
  width: int = 32,
  layers: int = 2,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  decay: float = 1.0,
  learning_rate: float = 3e-3,
  steps: int = 1000,
  capacity: int = 50,
) -> types.Learner:
  """Returns the in-context reward model: answers as context of a transformer.

  One token an answer; texts attend to them and get a score. With `points`,
  which is GPO, a transformer neural process: known texts and how often they
  were preferred are points; targets attend to points, not to each other, and
  get a mean and a variance.

  Args:
    points: a token for each text and how often it was preferred.
    dim: J of an encoded text.
    width: of the tokens.
    layers: of the transformer.
    ridge: of the aggregate, in answers.
    basis_ridge: of the regression that makes the other encodings, in answers.
    decay: ridge of the networks, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers read of a person.

  References:
    Zhao et al. 2023 (GPO), arXiv:2310.11523; Nguyen and Grover 2022.

  Notes:
    The paper has the Gaussian likelihood of an option's share of a group; a
    person's pair has the moderated probability of its margin. Points and
    targets have weights of their own.
  """
  system = types.System(
    conditioned.in_context(
      dim=dim, width=width, layers=layers, uncertain=points
    ),
    answers_in_context.in_context(
      dim=dim, width=width, layers=layers, points=points, capacity=capacity
    ),
  )

  def read(key, params, known):
    return system.user.infer(key, params, known), {}

  return amortized(
    system,
    read,
    {'ridge': ridge, 'basis_ridge': basis_ridge, 'decay': decay},
    learning_rate=learning_rate,
    steps=steps,
    size=episodes.Size(context=capacity or episodes.Size().context),
  )


gpo = functools.partial(in_context, points=True)


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
    found = episodes.episode(encoded, state, batch.rows)
    contexts, penalties = jax.vmap(read, (0, None, 0))(
      found.key, params['user'], found.known
    )

    def nll(context, pairs, label):
      told = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (len(pairs), *leaf.shape)), context
      )
      return heads.pair_nll(reward.score(params['reward'], pairs, told), label)

    loss = jax.vmap(nll)(contexts, found.targets, found.label)
    aux = {}
    for name, value in penalties.items():
      wide = jnp.broadcast_to(value[:, None], loss.shape)
      loss = loss + state.hyper[f'{name}_weight'] * wide
      aux[name] = episodes.term(wide, found.mask)
    scale = 0.5 * state.hyper['decay'] / state.constants.examples
    networks = jax.tree.leaves((params['reward']['network'], params['user']))
    penalty = {'decay': scale * sum(jnp.sum(leaf**2) for leaf in networks)}
    return {'nll': episodes.term(loss, found.mask)}, penalty, aux

  def init(key, spec):
    return common.new_state(
      system, key, spec, constants=episodes.blank(spec), hyper=hyper
    )

  def begin(state, data):
    state = episodes.start_at_bases(state, data)
    return state._replace(constants=episodes.begin(state, data))

  phase = episodes.phase(
    size, objective, begin, learning_rate=learning_rate, steps=steps
  )._replace(**common.trained(backbone, learning_rate, steps))
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
