"""Which question to ask next, for a Gaussian belief about coefficients.

Every score is a function of the mean m and variance v of a candidate pair's
margin, lambda . (x_a - x_b); larger is better. Candidates lie on the last axis
(`[J, N]`), so that scoring a million is one pass over them.
"""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from prm_jax import types
from prm_jax.ops import precision

# The interpolation's axes: m^2 / (m scale) up to _REACH^2, and sd up to _WIDE.
_MODERATION = 8.0 / np.pi  # of MacKay's sigma(m / sqrt(1 + pi v / 8))
_REACH, _WIDE = 5.0, 80.0
_DEGREES = (12, 8)
_PEOPLE = 256  # a block, so that its [b, N] stays in a core's cache


@precision.highest
def margin_moments(
  difference: types.Array, mean: types.Array, factor: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns mean and variance `[N]` of every candidate's margin.

  Args:
    difference: `[J, N]` encoded first answer minus second, candidates last.
    mean: `[J]` of the coefficients.
    factor: `[J, J]` F, with covariance F F^T.
  """
  chex.assert_rank([difference, mean, factor], [2, 1, 2])
  J = mean.shape[0]
  covariance = factor @ factor.T
  # Written out, so that both sums are one pass without an [J, N] in between.
  margin = jnp.zeros_like(difference[0])
  variance = margin
  for j in range(J):
    margin = margin + mean[j] * difference[j]
    row = 0.5 * covariance[j, j] * difference[j]
    for k in range(j):
      row = row + covariance[j, k] * difference[k]
    variance = variance + 2.0 * difference[j] * row
  return margin, jnp.maximum(variance, 0.0)


def random(key: types.Key, count: int) -> types.Array:
  """Returns scores `[count]` that order the candidates at random."""
  return jax.random.uniform(key, (count,))


def variance(
  mean: types.Array, variance: types.Array, *, power: float = 1.0
) -> types.Array:
  """Returns the margin's variance weighted by the logistic slope: s(m)^power v.

  Args:
    mean: `[...]` m of the margin; s = sigma(m) sigma(-m).
    variance: `[...]` v of the margin.
    power: of the slope. 0 is PReF's ellipsoid norm, 1 the Fisher information
      of the answer, 2 what PReF's released code computes.

  References:
    Shenfeld et al. 2025 (PReF), arXiv:2503.06358, eq. 9.
  """
  return slope(mean) ** power * variance


def log_determinant(mean: types.Array, variance: types.Array) -> types.Array:
  """Returns by how much an answer raises half the precision's log-determinant.

      log det(H + s x x^T) / 2 - log det(H) / 2 = log(1 + s v) / 2

  For one question it orders as `variance` does; for a batch it does not.

  Args:
    mean: `[...]` of the margin; s = sigma(m) sigma(-m).
    variance: `[...]` v = x^T H^-1 x of the margin.

  References:
    Chaloner and Verdinelli 1995, Bayesian experimental design.
  """
  return 0.5 * jnp.log1p(slope(mean) * variance)


def slope(mean: types.Array) -> types.Array:
  """Returns sigma(m) sigma(-m), the logistic slope at the margin."""
  p = jax.nn.sigmoid(mean)
  return p * (1.0 - p)


def information_gain(mean: types.Array, variance: types.Array) -> types.Array:
  """Returns the expected information gain of an answer, nats, interpolated.

      H(E[sigma(d)]) - E[H(sigma(d))],  d ~ N(mean, variance)

  A Chebyshev polynomial in m^2 / (8 / pi + v) and 1 / sqrt(1 + pi v / 8); the
  factor v / (8 / pi + v) is exact, so that small gains are right relatively.
  Largest error 2e-5 for standard deviations up to 80; beyond five moderated
  standard deviations, where the gain is below 1e-4, it is held constant.

  Args:
    mean: `[...]` of the margin.
    variance: `[...]` of the margin.

  References:
    Houlsby et al. 2011, Bayesian active learning by disagreement,
    arXiv:1112.5745.
  """
  coefficients = _gain_coefficients()
  wide = jnp.minimum(variance, _WIDE**2)
  shrink = 1.0 / (_MODERATION + wide)
  # Beyond the widest, the gain depends on mean / sd alone.
  square = (
    mean
    * mean
    * jnp.where(variance > wide, 1.0 / (_MODERATION + variance), shrink)
  )
  x = jnp.minimum(square, _REACH**2) * (2.0 / _REACH**2) - 1.0
  low = _narrowest()
  y = (jnp.sqrt(_MODERATION * shrink) - low) * (2.0 / (1.0 - low)) - 1.0
  rows = [_clenshaw(row, y) for row in coefficients]
  return wide * shrink * _clenshaw(rows, x)


@precision.highest
def information_gain_quadrature(
  mean: types.Array, variance: types.Array, *, nodes: int = 64
) -> types.Array:
  """Returns the expected information gain by Gauss-Hermite quadrature.

  The definition that `information_gain` interpolates; at 64 nodes good to
  1e-6 for standard deviations up to 3, and slow.

  Args:
    mean: `[...]` of the margin.
    variance: `[...]` of the margin.
    nodes: of the quadrature.
  """
  points, weights = np.polynomial.hermite_e.hermegauss(nodes)
  share = jnp.asarray(weights / weights.sum(), jnp.float32)
  sd = jnp.sqrt(variance)
  d = mean[..., None] + sd[..., None] * jnp.asarray(points, jnp.float32)
  yes, no = jax.nn.sigmoid(d) @ share, jax.nn.sigmoid(-d) @ share
  answer = -jax.scipy.special.xlogy(yes, yes) - jax.scipy.special.xlogy(no, no)
  return answer - _entropy(d) @ share


def disagreement(probability: types.Array, axis: int = 0) -> types.Array:
  """Returns the expected information gain from draws of any belief.

      H(mean_s p_s) - mean_s H(p_s)

  Args:
    probability: draws of the probability that the first answer is preferred.
    axis: of the draws.

  References:
    Houlsby et al. 2011, arXiv:1112.5745.
  """

  def binary(p):
    return -jax.scipy.special.xlogy(p, p) - jax.scipy.special.xlog1py(1 - p, -p)

  return binary(probability.mean(axis)) - binary(probability).mean(axis)


@precision.highest
def thompson_duel(
  key: types.Key, items: types.Array, mean: types.Array, factor: types.Array
) -> tuple[types.Array, types.Array]:
  """Returns two items: the best for a draw, and the best other for another.

  Args:
    key: of the two draws.
    items: `[K, J]` encoded, K >= 2.
    mean: `[J]` of the coefficients.
    factor: `[J, J]` F, with covariance F F^T.

  References:
    Wu and Liu 2016, Double Thompson sampling, arXiv:1604.07101 (the idea);
    here with a Gaussian belief, and the two items always differ.
  """
  chex.assert_rank([items, mean, factor], [2, 1, 2])
  noise = jax.random.normal(key, (2, mean.shape[0]))
  scores = (mean + noise @ factor.T) @ items.T
  first = jnp.argmax(scores[0])
  second = jnp.argmax(scores[1].at[first].set(-jnp.inf))
  return first, second


@precision.highest
def greedy_batch(
  difference: types.Array,
  mean: types.Array,
  factor: types.Array,
  *,
  size: int,
  available: types.Array | None = None,
) -> tuple[types.Array, types.Array]:
  """Returns the candidates that greedily raise the determinant most.

  Each is chosen given those before it: the precision gains s x x^T, with the
  slope s at the present mean, as no answer has been seen.

  Args:
    difference: `[J, N]`, candidates last.
    mean: `[J]` of the coefficients.
    factor: `[J, J]` F, with covariance F F^T.
    size: of the batch.
    available: `[N]` False for what must not be asked; all if None.

  Returns:
    Indices `[size]`, and what each adds to log det / 2. Once the pool is
    exhausted the index is -1 and the gain 0.

  References:
    Nemhauser, Wolsey and Fisher 1978: at least 1 - 1/e of the best batch's
    log-determinant, which is submodular.
  """
  margin, _ = margin_moments(difference, mean, factor)
  weight = slope(margin)
  if available is None:
    available = jnp.ones(difference.shape[1], bool)

  def choose(carry, _):
    factor, available = carry
    _, v = margin_moments(difference, mean, factor)
    gain = jnp.where(available, 0.5 * jnp.log1p(weight * v), -jnp.inf)
    best = jnp.argmax(gain)
    found = available[best]
    x = jnp.where(found, difference[:, best], 0.0)
    factor = condition(factor, x, weight[best])
    chosen = jnp.where(found, best, -1)
    carry = factor, available.at[best].set(False)
    return carry, (chosen, jnp.where(found, gain[best], 0.0))

  _, (chosen, gain) = jax.lax.scan(
    choose, (factor, available), None, length=size
  )
  return chosen, gain


@precision.highest
def condition(
  factor: types.Array, difference: types.Array, weight: types.Array
) -> types.Array:
  """Returns the covariance's factor after its precision gains w x x^T.

  Args:
    factor: `[J, J]` F.
    difference: `[J]` x.
    weight: scalar w >= 0.

  References:
    Bierman 1977; F' = F (I - b u u^T) with u = F^T x.
  """
  u = factor.T @ difference
  scale = 1.0 + weight * (u @ u)
  # (I - b u u^T)^2 = I - w u u^T / scale.
  b = weight / (scale + jnp.sqrt(scale))
  return factor - b * jnp.outer(factor @ u, u)


def best(
  score: types.Array, available: types.Array | None = None
) -> tuple[types.Array, types.Array]:
  """Returns the index and score of the best available candidate.

  The first of equals; -1 and -inf if there is none. A score that is not a
  number is never chosen.

  Args:
    score: `[..., N]`.
    available: `[..., N]` False for what must not be asked; all if None.
  """
  usable = jnp.isfinite(score)
  if available is not None:
    usable = usable & available
  score = jnp.where(usable, score, -jnp.inf)
  # The maximum and then its place: two plain passes, where argmax on a
  # processor carries the index through one slow one.
  value = jnp.max(score, axis=-1)
  N = score.shape[-1]
  place = jnp.where(score == value[..., None], jnp.arange(N), N)
  index = jnp.min(place, axis=-1)
  return jnp.where(value > -jnp.inf, index, -1), value


@precision.highest
def best_for_people(
  score: Callable[[types.Array, types.Array], types.Array],
  difference: types.Array,
  mean: types.Array,
  factor: types.Array,
  available: types.Array,
) -> tuple[types.Array, types.Array]:
  """Returns everybody's best candidate of one pool: index and score, `[U]`.

  All variances are one product of covariances with the candidates' products of
  coordinates, a block of people at a time, so that nothing of size `[U, N]`
  is kept.

  Args:
    score: `(mean [b, N], variance [b, N]) -> [b, N]`.
    difference: `[J, N]` the pool, candidates last.
    mean: `[U, J]` of the coefficients.
    factor: `[U, J, J]` F, with covariance F F^T.
    available: `[U, N]` False for what must not be asked.
  """
  U, J = mean.shape
  j, k = np.tril_indices(J)
  twice = np.where(j == k, 1.0, 2.0).astype(np.float32)
  products = difference[j] * difference[k]

  def block(people):
    mean, factor, available = people
    covariance = jnp.einsum('uji,uki->ujk', factor, factor)[:, j, k] * twice
    return best(
      score(mean @ difference, jnp.maximum(covariance @ products, 0.0)),
      available,
    )

  blocks = -(-U // _PEOPLE)

  def split(a):
    a = jnp.pad(a, [(0, blocks * _PEOPLE - U)] + [(0, 0)] * (a.ndim - 1))
    return a.reshape(blocks, _PEOPLE, *a.shape[1:])

  found = jax.lax.map(block, jax.tree.map(split, (mean, factor, available)))
  return jax.tree.map(lambda leaf: leaf.reshape(-1)[:U], found)


# --------------------------------------------------------- the interpolation


def _entropy(d):
  """H(sigma(d)) in nats: softplus(d) - d sigma(d)."""
  return jax.nn.softplus(d) - d * jax.nn.sigmoid(d)


def _clenshaw(coefficients, x):
  """The Chebyshev series sum_i c_i T_i(x)."""
  ahead = beyond = jnp.zeros_like(x)
  for c in coefficients[:0:-1]:
    ahead, beyond = c + 2.0 * x * ahead - beyond, ahead
  return coefficients[0] + x * ahead - beyond


def _narrowest() -> float:
  """The least 1 / sqrt(1 + pi v / 8), at the widest belief."""
  return float(1.0 / np.sqrt(1.0 + _WIDE**2 / _MODERATION))


@functools.cache
def _gain_coefficients() -> np.ndarray:
  """Chebyshev coefficients `[_DEGREES + 1]`, from float64 integration."""
  count = 40
  z = np.cos(np.pi * (np.arange(count) + 0.5) / count)
  k = _REACH * np.sqrt((z + 1.0) / 2.0)
  low = _narrowest()
  narrow = low + (1.0 - low) * (z + 1.0) / 2.0
  sd = np.sqrt(_MODERATION * (1.0 / narrow**2 - 1.0))
  points = np.linspace(-9.0, 9.0, 4001)
  weights = np.exp(-(points**2) / 2.0)
  weights /= weights.sum()
  gain = np.empty((count, count))
  for column, s in enumerate(sd):
    d = (k * np.sqrt(_MODERATION + s * s))[:, None] + s * points
    yes, no = (0.5 * (1.0 + np.tanh(sign * d / 2.0)) for sign in (1, -1))
    p, q = yes @ weights, no @ weights
    # Stable for both signs: log(1 + e^d) - d sigma(d).
    entropy = np.logaddexp(0.0, d) - d * yes
    answer = -p * np.log(p) - q * np.log(np.maximum(q, 1e-300))
    gain[:, column] = answer - entropy @ weights
  share = sd**2 / (_MODERATION + sd**2)
  basis = chebyshev.chebvander(z, count - 1)
  series = np.linalg.solve(basis, np.linalg.solve(basis, (gain / share).T).T)
  rows, columns = (degree + 1 for degree in _DEGREES)
  return series[:rows, :columns].astype(np.float32)
