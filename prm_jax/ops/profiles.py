"""What one answer would tell of all the others: the profile of a person.

A profile is R questions that a person could be asked. The belief about the
coefficients says of each how sure its answer is, and an answer to one of them
makes others surer: a question is worth what it takes off their entropies.
"""

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices

_SURE = 0.01  # an answer this likely either way is not worth asking
_PROBIT = float(np.sqrt(np.pi / 8.0))  # sigma(d) is near Phi(_PROBIT d)
_LOG_DENSITY = float(-0.5 * np.log(2.0 * np.pi))
_PEOPLE = 4  # a block, so that its [b, N, R] stays in a core's cache


@precision.highest
def profile_gain(
  difference: types.Array,
  mean: types.Array,
  factor: types.Array,
  profile: types.Array,
  counts: types.Array,
) -> types.Array:
  """Returns by how much an answer to each question shortens a profile, nats.

      g_q = sum_r c_qr H(p_r) - sum_y P(y_q = y) sum_r c_qr H(p_r | y_q = y)

  with H the entropy of a binary answer and p moderated by the belief. What an
  answer would make of the belief has its mean and covariance, the logistic
  taken as a probit: Laplace's mode moves too little where a margin is wide. A
  question whose own answer is nearly certain, or that gains nothing, scores
  -1 - |p_q - 1/2|, so that the largest score is the best gain, and the most
  uncertain question where there is none.

  Args:
    difference: `[J, N]` encoded first answer minus second, candidates last.
    mean: `[J]` of the coefficients.
    factor: `[J, J]` F, with covariance F F^T.
    profile: `[J, R]` the questions whose answers are to be known.
    counts: `[N, R]` c, 1 where an answer to N leaves R to be guessed, 0 where
      R is N itself or has been asked.

  References:
    Bose et al. 2026 (Pep), arXiv:2602.15012; Opper 1998, A Bayesian approach
    to on-line learning, for the moments.

  Notes:
    The sum of entropies over what has not been asked, the certain questions
    that are skipped (0.01) and the fallback to the most uncertain one are
    those of the released code (PrefDisco, `pep/strategies.py`: binary
    information gain, in bits). There an answer moves the others by counted
    co-occurrence; here by the Gaussian belief.
  """
  spread, others = factor.T @ difference, factor.T @ profile
  margin, variance = mean @ difference, jnp.sum(spread**2, 0)
  seen = mean @ profile, jnp.sum(others**2, 0)
  covariance = spread.T @ others
  sure = choices.moderated_probability(margin, variance)
  before = jnp.sum(counts * _entropy(*seen), 1)
  after = jnp.zeros_like(before)
  for sign, chance in ((1.0, sure), (-1.0, 1.0 - sure)):
    shift, shrunk = _told(margin, variance, sign)
    left = _entropy(
      seen[0] + covariance * shift[:, None],
      jnp.maximum(seen[1] - covariance**2 * shrunk[:, None], 0.0),
    )
    after = after + chance * jnp.sum(counts * left, 1)
  gain = before - after
  asked = (jnp.minimum(sure, 1.0 - sure) > _SURE) & (gain >= 0.0)
  return jnp.where(asked, gain, -1.0 - jnp.abs(sure - 0.5))


def profile_gain_for_people(
  difference: types.Array,
  mean: types.Array,
  factor: types.Array,
  places: types.Array,
  available: types.Array,
) -> types.Array:
  """Returns everybody's `profile_gain` of one pool, `[U, N]`.

  Args:
    difference: `[J, N]` the pool, candidates last.
    mean: `[U, J]` of the coefficients.
    factor: `[U, J, J]` F, with covariance F F^T.
    places: `[R]` int32, the candidates that are everybody's profile.
    available: `[U, N]` False for what a person was asked, or cannot be.
  """
  other = jnp.arange(difference.shape[1])[:, None] != places[None]
  profile = difference[:, places]

  def person(belief):
    mean, factor, available = belief
    counts = other * available[places]
    return profile_gain(difference, mean, factor, profile, counts)

  return jax.lax.map(person, (mean, factor, available), batch_size=_PEOPLE)


def _told(margin, variance, sign):
  """How far an answer moves means and variances, by covariance and its square.

  The moments of a Gaussian margin times Phi(sqrt(pi / 8) sign margin).
  """
  scale = _PROBIT * jax.lax.rsqrt(1.0 + _PROBIT**2 * variance)
  h = sign * scale * margin
  hazard = jnp.exp(_LOG_DENSITY - 0.5 * h * h - jax.scipy.special.log_ndtr(h))
  return sign * scale * hazard, scale**2 * hazard * (hazard + h)


def _entropy(margin, variance):
  """H(sigma(m / sqrt(1 + pi v / 8))) in nats: softplus(d) - d sigma(d)."""
  d = jnp.abs(margin) * jax.lax.rsqrt(1.0 + jnp.pi / 8.0 * variance)
  small = jnp.exp(-d)
  return jnp.log1p(small) + d * small / (1.0 + small)
