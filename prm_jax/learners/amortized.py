"""Methods that learn to read a person off a few answers.

All are trained on the same episodes, start at the aggregate, and differ
in what they make of the known answers.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import sets
from prm_jax.rewards import backbone as trunks
from prm_jax.rewards import conditioned
from prm_jax.systems import amortization, episodes
from prm_jax.users import in_context as answers_in_context
from prm_jax.users import kept_answers
from prm_jax.users import latent as latents


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

  def read(key, params, evidence):
    belief = infer(key, params, evidence)
    noise = jax.random.normal(key, belief.mean.shape)
    z = belief.mean + jnp.exp(0.5 * belief.log_variance) * noise
    divergence = amortization.gaussian_divergence(
      belief.mean, belief.log_variance
    )
    return belief._replace(mean=z), {'kl': divergence}

  hyper = {
    'ridge': ridge,
    'basis_ridge': basis_ridge,
    'decay': decay,
    'kl_weight': kl_weight,
  }
  return amortization.amortized(
    system,
    read,
    hyper,
    learning_rate=learning_rate,
    steps=steps,
    backbone=backbone,
  )


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

  def read(key, params, evidence):
    noise = jax.random.normal(key, (latent,))
    z, divergence, moments = network.apply(
      params, noise, evidence.encoded, evidence.label, evidence.mask
    )
    belief = latents.Context(z, moments[1])
    return belief, {
      'kl': divergence,
      'guidance': amortization.swap_guidance(*moments),
    }

  hyper = {
    'ridge': ridge,
    'basis_ridge': basis_ridge,
    'decay': decay,
    'kl_weight': kl_weight,
    'guidance_weight': guidance_weight,
  }
  return amortization.amortized(
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

  def read(key, params, evidence):
    return system.user.infer(key, params, evidence), {}

  return amortization.amortized(
    system,
    read,
    {'ridge': ridge, 'basis_ridge': basis_ridge, 'decay': decay},
    learning_rate=learning_rate,
    steps=steps,
    size=episodes.Size(context=capacity or episodes.Size().context),
  )


gpo = functools.partial(in_context, points=True)


def episodic(
  *,
  recalled: int = 8,
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
  """Returns the reward that recalls a person's answers about what is alike.

  PRIME's episodic memory in the scorer's context: the in-context reward model,
  where a text attends to those answers alone whose texts are most like it.

  Args:
    recalled: answers that a text recalls.
    dim: J of an encoded text.
    width: of the tokens.
    layers: of the transformer.
    ridge: of the aggregate, in answers.
    basis_ridge: of the regression that makes the other encodings, in answers.
    decay: ridge of the networks, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.

  References:
    Zhang et al. 2025 (PRIME), arXiv:2507.04607.

  Notes:
    Judgements have no time: the latest are not recalled here.
  """
  system = types.System(
    conditioned.recalling(dim=dim, width=width, layers=layers, count=recalled),
    kept_answers.kept_answers(dim=dim, capacity=capacity),
  )

  def read(key, params, evidence):
    return system.user.infer(key, params, evidence), {}

  return amortization.amortized(
    system,
    read,
    {'ridge': ridge, 'basis_ridge': basis_ridge, 'decay': decay},
    learning_rate=learning_rate,
    steps=steps,
    size=episodes.Size(context=capacity or episodes.Size().context),
  )
