"""Beliefs about J coefficients from pairwise choices.

A prior N(mean, factor factor^T) of any mean and covariance is whitened,
coefficients = mean + factor z with z ~ N(0, I), so that no covariance is ever
inverted, a singular one is allowed, and Newton's matrix I + X^T S X is at
least the identity: safe in float32.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from prm_jax import types
from prm_jax.ops import pairs, precision

_UNROLL = 16  # at most this many coefficients are factorised across people
_BLOCK = 2048  # people a block: its matrices stay in a core's cache
_STEPS = 60  # Newton steps at most; five or six do, where answers are noisy
_STILL = 1e-5  # of a step beside where it starts: there is no further to go


class GaussianPrior(NamedTuple):
  """N(mean, factor factor^T) over coefficients: `[J]` and `[J, J]`."""

  mean: types.Array
  factor: types.Array


class Posterior(NamedTuple):
  """Laplace posterior in whitened coordinates z.

  Attributes:
    mode: `[J]` mode of z.
    factor: `[J, J]` lower Cholesky factor of the precision of z.
  """

  mode: types.Array
  factor: types.Array


@precision.highest
def isotropic_prior(
  mean: types.Array, scale: float | types.Array
) -> GaussianPrior:
  """Returns N(mean, scale^2 I); mean `[J]`."""
  return GaussianPrior(mean, scale * jnp.eye(mean.shape[0], dtype=mean.dtype))


@precision.highest
def laplace(
  prior: GaussianPrior,
  difference: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  start: types.Array | None = None,
  iterations: int = _STEPS,
) -> Posterior:
  """Returns the Laplace posterior of one person's coefficients.

      argmax_z  sum_n mask_n log p(label_n | difference_n . (mean + factor z))
                - |z|^2 / 2

  by Newton's method with step halving. Write for one person and vmap: the
  batched rule keeps people on the last axis and factorises their matrices
  together.

  Args:
    prior: over coefficients, `[J]` and `[J, J]`.
    difference: `[N, J]` encoded first answer minus second.
    label: `[N]` probability that the first is preferred.
    mask: `[N]` 1 for an answer, 0 for padding; other weights are allowed.
    start: `[J]` whitened start, for instance the previous mode; zero if None.
    iterations: Newton steps at most; they end where nobody moves.

  Returns:
    Posterior in whitened coordinates.
  """
  mode = whitened_mode(
    prior, difference, label, mask, start=start, iterations=iterations
  )
  return at_mode(prior, mode, difference, mask)


@precision.highest
def whitened_mode(
  prior: GaussianPrior,
  difference: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  start: types.Array | None = None,
  iterations: int = _STEPS,
) -> types.Array:
  """Returns the mode `[J]` of z alone; arguments as in `laplace`."""
  chex.assert_rank([difference, label, mask], [2, 1, 1])
  # Padding may hold anything, NaN included.
  difference = jnp.where(mask[:, None] > 0, difference, 0.0)
  if start is None:
    start = jnp.zeros_like(prior.mean)
  return _newton(iterations)(
    difference @ prior.factor, difference @ prior.mean, label, mask, start
  )


@precision.highest
def at_mode(
  prior: GaussianPrior,
  mode: types.Array,
  difference: types.Array,
  mask: types.Array,
) -> Posterior:
  """Returns Laplace's posterior around a mode `[J]` of z.

  The curvature does not depend on what the answers were; other arguments as
  in `laplace`.
  """
  difference = jnp.where(mask[:, None] > 0, difference, 0.0)
  whitened = difference @ prior.factor
  probability = jax.nn.sigmoid(difference @ prior.mean + whitened @ mode)
  slope = mask * probability * (1.0 - probability)
  precision = jnp.eye(mode.shape[0]) + (whitened.T * slope) @ whitened
  return Posterior(mode, jnp.linalg.cholesky(precision))


@precision.highest
def posterior_mode(
  prior: GaussianPrior,
  difference: types.Array,
  label: types.Array,
  mask: types.Array,
  *,
  iterations: int = _STEPS,
) -> types.Array:
  """Returns the mode `[J]` of the coefficients; arguments as in `laplace`."""
  z = whitened_mode(prior, difference, label, mask, iterations=iterations)
  return prior.mean + prior.factor @ z


@precision.highest
def pooled_mode(
  features: types.Array,
  index: types.ArrayLike,
  label: types.Array,
  mask: types.Array,
  *,
  ridge: float | types.Array,
  iterations: int = _STEPS,
) -> types.Array:
  """Returns the weight `[D]` of one person who gave every answer.

      argmax_w  sum_n mask_n log p(label_n | w . (x_a - x_b)) - ridge |w|^2 / 2

  Newton's method with step halving, as in `laplace` under N(0, I / ridge), and
  never with all differences `[N, D]` in memory.

  Args:
    features: `[M, D]` x of every text.
    index: `[N, 2]` the texts a and b of each answer.
    label: `[N]` probability that the first is preferred.
    mask: `[N]` 1 for an answer, 0 for padding; other weights are allowed.
    ridge: prior precision, in answers.
    iterations: Newton steps at most; they end where nothing moves.
  """
  scale = jax.lax.rsqrt(jnp.asarray(ridge, features.dtype))

  def step(x, slope, residual, z):
    precision = pairs.gram(x, index, slope) + jnp.eye(z.shape[0])
    gradient = pairs.moment(x, index, residual) - z
    return solve(jnp.linalg.cholesky(precision), gradient)

  layout = _Layout(
    axis=-1,
    project=lambda x, z: pairs.margins(x, index, z),
    step=step,
    square=lambda z: z @ z,
  )
  start = jnp.zeros(features.shape[1], features.dtype)
  none = jnp.zeros_like(label)
  z = _iterate(layout, scale * features, none, label, mask, start, iterations)
  return scale * z


@precision.highest
def assumed_density(
  prior: GaussianPrior,
  posterior: Posterior,
  difference: types.Array,
  label: types.Array,
  *,
  iterations: int = 8,
) -> Posterior:
  """Returns the belief after one more answer, at a cost free of N.

  The old posterior is taken as Gaussian, so the new mode lies on the line
  z + Sigma x t with t = label - sigma(x . z_new): a scalar equation. Earlier
  answers keep the curvature they had when they came, so order matters.

  Args:
    prior: over coefficients.
    posterior: belief so far.
    difference: `[J]` encoded first answer minus second.
    label: scalar.
    iterations: Newton steps on t.

  References:
    Opper 1998, A Bayesian approach to on-line learning (the family); here the
    Laplace rather than the moment-matching member.
  """
  x = prior.factor.T @ difference
  direction = solve(posterior.factor, x)
  variance = x @ direction
  margin = difference @ prior.mean + x @ posterior.mode

  t = _line(margin, variance, label, iterations)
  p = jax.nn.sigmoid(margin + variance * t)
  precision = posterior.factor @ posterior.factor.T
  precision = precision + p * (1.0 - p) * jnp.outer(x, x)
  return Posterior(
    posterior.mode + direction * t, jnp.linalg.cholesky(precision)
  )


@precision.highest
def one_answer(
  mean: types.Array,
  factor: types.Array,
  difference: types.Array,
  label: types.Array,
  *,
  iterations: int = 6,
) -> tuple[types.Array, types.Array]:
  """Returns N(mean, factor factor^T) after one more answer, in O(J^2).

  The step of `assumed_density` with the covariance's root carried instead of
  the precision's, so that nothing is factorised: with v = factor^T x,

      factor' = factor - g (factor v) v^T,  g = (1 - 1 / sqrt(1 + s v.v)) / v.v

  and s the curvature p (1 - p) at the new mode. The covariance stays positive
  definite in float32, whatever is subtracted.

  Args:
    mean: `[J]` of the coefficients.
    factor: `[J, J]` any root of their covariance.
    difference: x `[J]` encoded first answer minus second.
    label: scalar.
    iterations: Newton steps for the new mode.

  References:
    Potter 1963, the square-root measurement update of a Kalman filter.
  """
  # Unrolled sums: under vmap they fuse into passes over many people.
  v = _dot(factor, difference)
  direction = _dot(factor.T, v)
  square, margin = _dot(v, v), _dot(difference, mean)
  t = _line(margin, square, label, iterations)
  p = jax.nn.sigmoid(margin + square * t)
  shrunk = 1.0 - jax.lax.rsqrt(1.0 + p * (1.0 - p) * square)
  gain = shrunk / jnp.maximum(square, 1e-30)
  return (mean + direction * t, factor - gain * direction[:, None] * v[None])


def _dot(rows, vector):
  """sum_j rows[j] vector[j]."""
  total = rows[0] * vector[0]
  for j in range(1, len(vector)):
    total = total + rows[j] * vector[j]
  return total


def _line(margin, variance, label, iterations):
  """The root t of t = label - sigmoid(margin + variance t), by Newton."""

  def step(_, t):
    p = jax.nn.sigmoid(margin + variance * t)
    t = t - (t + p - label) / (1.0 + variance * p * (1.0 - p))
    # The root lies between label - 1 and label.
    return jnp.clip(t, label - 1.0, label)

  # From where the new margin is 0 Newton comes to the root without passing
  # it; from t = 0 an answer that surprises a wide belief sends it astray.
  start = -margin / jnp.maximum(variance, 1e-30)
  start = jnp.clip(start, label - 1.0, label)
  return jax.lax.fori_loop(0, iterations, step, start)


@precision.highest
def coefficients(prior: GaussianPrior, posterior: Posterior) -> types.Array:
  """Returns the posterior mean `[J]` of the coefficients."""
  return prior.mean + prior.factor @ posterior.mode


@precision.highest
def covariance_factor(
  prior: GaussianPrior, posterior: Posterior
) -> types.Array:
  """Returns F `[J, J]` with F F^T the posterior covariance of coefficients."""
  return jax.scipy.linalg.solve_triangular(
    posterior.factor, prior.factor.T, lower=True
  ).T


@precision.highest
def solve(factor: types.Array, vector: types.Array) -> types.Array:
  """Returns (factor factor^T)^-1 vector; `[J, J]` lower, `[J]`."""
  return jax.scipy.linalg.cho_solve((factor, True), vector)


class Moments(NamedTuple):
  """Sums over people from which a prior is estimated; they add up.

  Attributes:
    people: scalar, how many.
    first: `[J]` sum of posterior means.
    second: `[J, J]` sum of mu mu^T + Sigma.
  """

  people: types.Array
  first: types.Array
  second: types.Array


@precision.highest
def population_moments(
  prior: GaussianPrior, posterior: Posterior, weight: types.Array
) -> Moments:
  """Returns the moments of fitted people.

  Args:
    prior: under which they were fitted, `[J]` and `[J, J]`.
    posterior: of each person, `[U, J]` and `[U, J, J]`.
    weight: `[U]` 1 for a person who counts, 0 for an empty row.
  """
  mean = jax.vmap(coefficients, (None, 0))(prior, posterior)
  factor = jax.vmap(covariance_factor, (None, 0))(prior, posterior)
  columns = jnp.concatenate([mean[:, :, None], factor], axis=2)
  second = jnp.einsum('u,uij,ukj->ik', weight, columns, columns)
  return Moments(weight.sum(), weight @ mean, second)


@precision.highest
def empirical_prior(
  prior: GaussianPrior, moments: Moments, *, shrinkage: float = 1.0
) -> GaussianPrior:
  """Returns the population's prior after one EM step.

      mean' = E_u[mu_u],  cov' = E_u[Sigma_u + mu_u mu_u^T] - mean' mean'^T

  Args:
    prior: under which the people were fitted.
    moments: of those people.
    shrinkage: pseudo-people who have the old covariance, so that few people
      cannot make it singular.

  References:
    Dempster, Laird and Rubin 1977, with Laplace's E-step.
  """
  people = jnp.maximum(moments.people, 1.0)
  mean = moments.first / people
  scatter = moments.second - people * jnp.outer(mean, mean)
  old = prior.factor @ prior.factor.T
  covariance = (scatter + shrinkage * old) / (people + shrinkage)
  jitter = 1e-5 * jnp.trace(covariance) / mean.shape[0]
  covariance = covariance + (jitter + 1e-12) * jnp.eye(mean.shape[0])
  return GaussianPrior(mean, jnp.linalg.cholesky(covariance))


# ---------------------------------------------------------------- the solver


@functools.cache
def _newton(iterations: int):
  """Returns `solve(x, offset, label, mask, start) -> mode` for one person.

  x `[N, J]`, offset, label and mask `[N]`, start `[J]`; prior N(0, I).
  """

  @custom_vmap
  def mode(x, offset, label, mask, start):
    x, offset, label = x[None], offset[None], label[None]
    mask, start = mask[None], start[None]
    return _modes(x, offset, label, mask, start, iterations=iterations)[0]

  @mode.def_vmap
  def batched(axis_size, in_batched, x, offset, label, mask, start):
    arrays = [
      a if batch else jnp.broadcast_to(a, (axis_size, *a.shape))
      for a, batch in zip(
        (x, offset, label, mask, start), in_batched, strict=True
      )
    ]
    # A block at a time, so that its matrices stay in a processor's cache.
    if axis_size <= _BLOCK or jax.default_backend() != 'cpu':
      return _modes(*arrays, iterations=iterations), True
    blocks = -(-axis_size // _BLOCK)
    padding = blocks * _BLOCK - axis_size
    blocked = [
      jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1)).reshape(
        blocks, _BLOCK, *a.shape[1:]
      )
      for a in arrays
    ]
    result = jax.lax.map(
      lambda block: _modes(*block, iterations=iterations), blocked
    )
    return result.reshape(blocks * _BLOCK, -1)[:axis_size], True

  return mode


@precision.highest
def _modes(x, offset, label, mask, start, *, iterations):
  """Modes `[P, J]` of P people; x `[P, N, J]`, the rest `[P, N]`, `[P, J]`."""
  _, N, J = x.shape
  if J > _UNROLL >= N:
    # Few answers about many coefficients: the mode is X^T dual. Its N
    # coordinates have the kernel X X^T as their prior's precision.
    dual = _dual_modes(x, offset, label, mask, iterations)
    return jnp.einsum('np,pnj->pj', dual, x)
  if J > _UNROLL:
    return _iterate(_PEOPLE_FIRST, x, offset, label, mask, start, iterations)
  rows = x.transpose(2, 1, 0), offset.T, label.T, mask.T, start.T
  return _iterate(_PEOPLE_LAST, *rows, iterations).T


def _iterate(layout, x, offset, label, mask, z, iterations):
  """Newton's method with step halving in either layout."""
  axis = layout.axis

  def loss(z, margin):
    # Bradley-Terry with one softplus: y log s(m) = y m - softplus(m), less.
    fit = mask * (jax.nn.softplus(margin) - label * margin)
    return fit.sum(axis) + 0.5 * layout.square(z)

  def iteration(carry):
    number, z, margin, old, _ = carry
    probability = jax.nn.sigmoid(margin)
    residual = mask * (label - probability)
    slope = mask * probability * (1.0 - probability)
    step = layout.step(x, slope, residual, z)
    change = layout.project(x, step)

    def worse(new):
      # Rounding must not count as an increase.
      return new > old + 1e-6 * (1.0 + jnp.abs(old))

    def attempt(size):
      wide = jnp.expand_dims(size, axis)
      return loss(z + wide * step, margin + wide * change)

    def halve(state):
      size, new = state
      size = jnp.where(worse(new), 0.5 * size, size)
      return size, attempt(size)

    full = jnp.ones_like(old)
    size, value = jax.lax.while_loop(
      lambda state: jnp.any(worse(state[1]) & (state[0] > 1e-3)),
      halve,
      (full, attempt(full)),
    )
    wide = jnp.expand_dims(size, axis)
    moved = size * jnp.abs(step).max(axis)
    far = moved > _STILL * (1.0 + jnp.abs(z).max(axis))
    # Where rounding hides what a step gains, no later one gains more.
    going = far & (old - value > 1e-7 * (1.0 + jnp.abs(old)))
    z, margin = z + wide * step, margin + wide * change
    return number + 1, z, margin, value, jnp.any(going)

  margin = offset + layout.project(x, z)
  carry = 0, z, margin, loss(z, margin), True
  return jax.lax.while_loop(
    lambda carry: (carry[0] < iterations) & carry[-1], iteration, carry
  )[1]


@precision.highest
def _dual_modes(x, offset, label, mask, iterations):
  """Coordinates `[N, P]` of P modes in their own answers; x `[P, N, J]`.

  Newton's method for a latent Gaussian, people last, started at the prior
  mean; a step that does not lower the loss is halved as in `_iterate`.

  References:
    Rasmussen and Williams 2006, Gaussian Processes, algorithm 3.1.
  """
  kernel = jnp.einsum('pnj,pmj->nmp', x, x)
  offset, label, mask = offset.T, label.T, mask.T
  N = label.shape[0]

  def project(dual):
    return (kernel * dual[None]).sum(1)

  def step(_, slope, residual, dual):
    root = jnp.sqrt(slope)
    matrix = root[:, None] * kernel * root[None] + jnp.eye(N)[:, :, None]
    target = slope * project(dual) + residual
    inner = _solve_across(matrix, root * project(target))
    return target - root * inner - dual

  layout = _Layout(
    axis=0,
    project=lambda _, dual: project(dual),
    step=step,
    square=lambda dual: (dual * project(dual)).sum(0),
  )
  start = jnp.zeros_like(label)
  return _iterate(layout, kernel, offset, label, mask, start, iterations)


class _Layout(NamedTuple):
  """How P people's arrays lie.

  Attributes:
    axis: of answers in margins, and of coefficients in modes.
    project: `(x, z) -> margins`.
    step: `(x, slope, residual, z)` -> solution of
      (I + X^T S X) step = X^T residual - z.
    square: `z -> |z|^2` of everybody.
  """

  axis: int
  project: Callable
  step: Callable
  square: Callable


@precision.highest
def _step_first(x, slope, residual, z):
  """Library factorisations; x `[P, N, J]`."""
  weighted = x * slope[:, :, None]
  precision = jnp.einsum('pnj,pnk->pjk', weighted, x) + jnp.eye(x.shape[-1])
  gradient = jnp.einsum('pnj,pn->pj', x, residual) - z
  return jax.vmap(solve)(jnp.linalg.cholesky(precision), gradient)


def _project_last(x, z):
  return sum(x[j] * z[j] for j in range(x.shape[0]))


def _step_last(x, slope, residual, z):
  """Sums over answers of products of whole rows; x `[J, N, P]`.

  Each is one pass over people, so that processors work on many at once.
  """
  J = x.shape[0]
  entries = {}
  for j in range(J):
    weighted = slope * x[j]
    for k in range(j + 1):
      entry = (weighted * x[k]).sum(0) + (1.0 if j == k else 0.0)
      entries[j, k] = entries[k, j] = entry
  matrix = [jnp.stack([entries[j, k] for k in range(J)]) for j in range(J)]
  gradient = [(residual * x[j]).sum(0) - z[j] for j in range(J)]
  return _solve_across(jnp.stack(matrix), jnp.stack(gradient))


def _solve_across(matrix, vector):
  """Cholesky solve of P systems, people last: `[J, J, P]` and `[J, P]`."""
  columns, forward, solution = [], [], list[types.Array]()
  for _ in range(len(vector)):
    column = matrix[:, 0] * jax.lax.rsqrt(matrix[0, 0])
    columns.append(column)
    matrix = matrix[1:, 1:] - column[1:, None] * column[None, 1:]
    forward.append(vector[0] / column[0])
    vector = vector[1:] - column[1:] * forward[-1]
  for column, value in zip(reversed(columns), reversed(forward), strict=True):
    # `solution` holds the later coefficients, the last first.
    known = sum(a * b for a, b in zip(column[:0:-1], solution, strict=True))
    solution.append((value - known) / column[0])
  return jnp.stack(solution[::-1])


_PEOPLE_FIRST = _Layout(
  axis=-1,
  project=lambda x, z: jnp.einsum('pnj,pj->pn', x, z),
  step=_step_first,
  square=lambda z: (z * z).sum(-1),
)
_PEOPLE_LAST = _Layout(
  axis=0,
  project=_project_last,
  step=_step_last,
  square=lambda z: (z * z).sum(0),
)
