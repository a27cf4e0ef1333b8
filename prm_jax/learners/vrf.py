"""VRF: a person as a distribution, matched with probabilistic bases."""

from typing import Any

from prm_jax import types
from prm_jax.models import sets
from prm_jax.rewards import conditioned
from prm_jax.systems import amortization
from prm_jax.users import variational


def vrf(
  *,
  dim: int = 8,
  bases: int = 8,
  latent: int = 8,
  width: int = 64,
  temperature: float = 1.0,
  kl_weight: float = 1e-4,
  ridge: float = 10.0,
  basis_ridge: float = 10.0,
  decay: float = 1.0,
  learning_rate: float = 3e-3,
  steps: int = 1000,
  capacity: int = 50,
) -> types.Learner:
  """Returns VRF: variational reward factorisation.

  A set encoder reads answers into q = N(mu, diag sigma^2); the weights on K
  base rewards follow from how far q is from K shared Gaussians b_k:

      w_k = softmax_k(-W2^2(q, b_k) / temperature)
      min E[-log sigma(d / sqrt(1 + pi v / 8))] + kl_weight KL(q | N(0, I))

  with d the margin under the weights and v its variance under q, to first
  order: what is said of a person who is hardly known pulls less.

  Args:
    dim: J of an encoded text.
    bases: K base rewards, and as many Gaussians.
    latent: Z.
    width: of the encoder.
    temperature: of the weights, in squared distances.
    kl_weight: of the divergence, per predicted answer.
    ridge: of the aggregate, in answers.
    basis_ridge: of the regression that makes the other encodings, in answers.
    decay: ridge of the networks and bases, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps.
    capacity: answers kept of a person.

  References:
    Lee, Kweon, Yue, Kang, Han and Wang 2026 (VRF), arXiv:2604.00997.

  Notes:
    The paper's: a variational distribution of each person in a shared space
    from an encoder, Gaussian bases there, weights by Wasserstein distance,
    and a loss that attenuates by variance. Its equations were not to be had.
    Ours: the softmax, the moderated likelihood as the attenuation, the
    weights' covariance to first order in mu, linear base rewards and, as for
    VPL, fixed encodings, episodes and the aggregate's score. The closest
    well-defined method, not a reproduction.
  """
  sizes = {'dim': dim, 'bases': bases, 'latent': latent, 'width': width}
  user = variational.variational(
    **sizes, temperature=temperature, capacity=capacity
  )
  system = types.System(conditioned.weighted(dim=dim, bases=bases), user)
  network: Any = sets.LatentEncoder(latent, width)

  def read(key, params, evidence):
    del key  # the distance is between distributions: nothing is drawn
    mean, log_variance, _ = network.apply(
      params['network'], evidence.encoded, evidence.label, evidence.mask
    )
    context = variational.match(
      params['bases'], mean, log_variance, temperature=temperature
    )
    divergence = amortization.gaussian_divergence(mean, log_variance)
    return context, {'kl': divergence}

  hyper = {
    'ridge': ridge,
    'basis_ridge': basis_ridge,
    'decay': decay,
    'kl_weight': kl_weight,
  }
  return amortization.amortized(
    system, read, hyper, learning_rate=learning_rate, steps=steps
  )
