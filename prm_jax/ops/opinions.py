"""How opinions move, and how far apart they are.

Opinions are real numbers, on [-1, 1] where a function says so; people are the
leading axis. Everything is a pure function of arrays and works under jit and
vmap.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision

# ------------------------------------------------------------------- dynamics


@precision.highest
def degroot(opinion: types.Array, trust: types.Array) -> types.Array:
  """Returns W x: everybody adopts the mean of whom they trust.

  Args:
    opinion: `[N]`.
    trust: W `[N, N]`, rows sum to 1.

  References:
    DeGroot 1974.
  """
  chex.assert_shape(trust, (opinion.shape[0], opinion.shape[0]))
  return trust @ opinion


@precision.highest
def friedkin_johnsen(
  opinion: types.Array,
  innate: types.Array,
  trust: types.Array,
  stubbornness: types.ArrayLike,
) -> types.Array:
  """Returns alpha s + (1 - alpha) W x.

  Args:
    opinion: x `[N]`.
    innate: s `[N]`.
    trust: W `[N, N]`, rows sum to 1.
    stubbornness: alpha, of each person or of all, in [0, 1].

  References:
    Friedkin and Johnsen 1990.
  """
  held = jnp.asarray(stubbornness)
  return held * innate + (1.0 - held) * degroot(opinion, trust)


def laplacian(weight: types.Array) -> types.Array:
  """Returns L = diag(W 1) - W of symmetric edge weights `[N, N]`."""
  weight = weight - jnp.diag(jnp.diag(weight))
  return jnp.diag(weight.sum(1)) - weight


@precision.highest
def equilibrium(innate: types.Array, weight: types.Array) -> types.Array:
  """Returns (I + L)^-1 s, the fixed point on a graph `[N]`.

  It is Friedkin and Johnsen's with alpha_i = 1 / (1 + d_i), where everybody
  weighs their innate opinion as one neighbour.

  Args:
    innate: s `[N]`.
    weight: symmetric edge weights `[N, N]`, the diagonal is ignored.

  References:
    Bindel, Kleinberg and Oren 2015.
  """
  return jnp.linalg.solve(jnp.eye(len(innate)) + laplacian(weight), innate)


def deffuant(
  opinion: types.Array,
  pair: types.Array,
  *,
  threshold: float,
  rate: float = 0.5,
) -> types.Array:
  """Returns opinions after two people met: they approach if they are close.

  Args:
    opinion: `[N]`.
    pair: `[2]` int, who met.
    threshold: largest distance at which they listen.
    rate: of the distance that each goes; 1/2 meets in the middle.

  References:
    Deffuant et al. 2000.
  """
  first, second = opinion[pair[0]], opinion[pair[1]]
  step = rate * (second - first) * (jnp.abs(second - first) < threshold)
  return opinion.at[pair].add(jnp.stack([step, -step]))


@precision.highest
def hegselmann_krause(opinion: types.Array, *, threshold: float) -> types.Array:
  """Returns everybody's mean of the opinions within `threshold`, `[N]`.

  References:
    Hegselmann and Krause 2002.
  """
  near = jnp.abs(opinion[:, None] - opinion[None]) <= threshold
  return (near @ opinion) / near.sum(1)


@precision.highest
def biased_assimilation(
  opinion: types.Array, weight: types.Array, bias: types.ArrayLike
) -> types.Array:
  """Returns opinions after congenial evidence weighed more.

      x' = (w_ii x + x^b s) / (w_ii + x^b s + (1 - x)^b (d - s)),
      s = sum_j w_ij x_j, d = sum_j w_ij over the others

  Args:
    opinion: x `[N]` in [0, 1].
    weight: `[N, N]`; the diagonal is the weight of one's own opinion.
    bias: b, of each person or of all; 0 is DeGroot's model.

  References:
    Dandekar, Goel and Lee 2013, eq. 2.
  """
  own = jnp.diag(weight)
  others = weight - jnp.diag(own)
  support, total = others @ opinion, others.sum(1)
  pro = opinion**bias * support
  contra = (1.0 - opinion) ** bias * (total - support)
  return (own * opinion + pro) / jnp.maximum(own + pro + contra, 1e-30)


def served(
  opinion: types.Array,
  stance: types.Array,
  innate: types.Array,
  *,
  rate: float | types.Array = 0.08,
  anchor: float | types.Array = 0.02,
) -> types.Array:
  """Returns opinions after an assistant's answers were read.

      x' = x + rate (1 + x t) / 2 (t - x) + anchor (s - x)

  An answer that agrees moves a person more than one that does not; with
  rate + anchor <= 1 opinions stay in [-1, 1].

  Args:
    opinion: x `[...]` in [-1, 1].
    stance: t `[...]` of the answer, in [-1, 1].
    innate: s `[...]`, to which people return.
    rate: of an answer that fully agrees.
    anchor: of the return.
  """
  heard = 0.5 * (1.0 + opinion * stance) * (stance - opinion)
  return opinion + rate * heard + anchor * (innate - opinion)


def reproduction(
  learning: types.ArrayLike, trust: types.ArrayLike, people: int
) -> types.Array:
  """Returns the lock-in number (N - 1) l1 l2: above 1, beliefs lock in.

  One assistant and N - 1 people; it is the square of the spectral radius of
  the matrix of who passes evidence on to whom.

  Args:
    learning: l1, how much the assistant learns from a person.
    trust: l2, how much a person learns from the assistant.
    people: N, the assistant included.

  References:
    Qiu et al. 2025, arXiv:2506.06166.
  """
  return (people - 1) * jnp.asarray(learning) * jnp.asarray(trust)


# ------------------------------------------------------------------- measures


def polarization(opinion: types.Array) -> types.Array:
  """Returns sum_i (x_i - mean)^2 over the last axis.

  References:
    Musco, Musco and Tsourakakis 2018, arXiv:1712.09948.
  """
  centred = opinion - opinion.mean(-1, keepdims=True)
  return jnp.sum(centred**2, -1)


def disagreement(opinion: types.Array, weight: types.Array) -> types.Array:
  """Returns sum_{i<j} w_ij (x_i - x_j)^2 of `[N]` and symmetric `[N, N]`.

  At the fixed point, polarization + disagreement = s~^T (I + L)^-1 s~ with s~
  the centred innate opinions.

  References:
    Musco, Musco and Tsourakakis 2018, arXiv:1712.09948.
  """
  gap = opinion[:, None] - opinion[None]
  return 0.5 * jnp.sum(weight * gap**2)


def bimodality(opinion: types.Array) -> types.Array:
  """Returns Sarle's coefficient over the last axis; above 5/9 looks bimodal.

      (g^2 + 1) / (k + 3 (n - 1)^2 / ((n - 2) (n - 3))),  n > 3

  with the sample skewness g and excess kurtosis k, both without bias for a
  normal sample. Zero where all opinions are the same.

  References:
    Pfister et al. 2013, Frontiers in Psychology 4:700.
  """
  n = opinion.shape[-1]
  centred = opinion - opinion.mean(-1, keepdims=True)
  square, cube, fourth = (jnp.mean(centred**p, -1) for p in (2, 3, 4))
  known = square > 1e-12
  square = jnp.where(known, square, 1.0)
  skewness = cube / square**1.5 * (n * (n - 1)) ** 0.5 / (n - 2)
  excess = fourth / square**2 - 3.0
  kurtosis = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6)
  correction = 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
  return jnp.where(known, (skewness**2 + 1) / (kurtosis + correction), 0.0)


@precision.highest
def esteban_ray(
  share: types.Array, position: types.Array, *, alpha: float = 1.3
) -> types.Array:
  """Returns sum_ij p_i^(1 + alpha) p_j |y_i - y_j| of K groups.

  Args:
    share: p `[K]`, sums to 1.
    position: y `[K]`.
    alpha: weight of a group's cohesion, in (0, 1.6].

  References:
    Esteban and Ray 1994.
  """
  distance = jnp.abs(position[:, None] - position[None])
  return jnp.einsum('i,j,ij->', share ** (1.0 + alpha), share, distance)


def jensen_shannon(probability: types.Array) -> types.Array:
  """Returns the mean Jensen-Shannon divergence of two people, nats.

  On questions of fact it should be 0: everybody is told the same. Memory is
  `[U, Y]`; the mean is over pairs of different people.

  Args:
    probability: `[U, Y]` of each answer, as each person is served.
  """
  entropy = -jnp.sum(jax.scipy.special.xlogy(probability, probability), -1)
  U = probability.shape[0]

  def row(one):
    middle = 0.5 * (one[None] + probability)
    mixed = -jnp.sum(jax.scipy.special.xlogy(middle, middle), -1)
    return mixed.sum()

  mixed = jnp.sum(jax.lax.map(row, probability)) - entropy.sum()
  return mixed / (U * (U - 1)) - entropy.mean()


def drift(opinion: types.Array, start: types.Array) -> types.Array:
  """Returns the root mean square of x_T - x_0 over the last axis."""
  return jnp.sqrt(jnp.mean((opinion - start) ** 2, -1))


def extremity(opinion: types.Array) -> types.Array:
  """Returns the mean of |x| over the last axis."""
  return jnp.mean(jnp.abs(opinion), -1)


def exposure_entropy(exposure: types.Array) -> types.Array:
  """Returns the entropy of what each person was served, bits.

  Args:
    exposure: `[..., K]` counts or weights of K stances or topics.
  """
  total = exposure.sum(-1, keepdims=True)
  share = exposure / jnp.maximum(total, 1e-30)
  return -jnp.sum(jax.scipy.special.xlogy(share, share), -1) / jnp.log(2.0)


def cross_cutting(opinion: types.Array, stance: types.Array) -> types.Array:
  """Returns the share of what a person was served that disagrees with them.

  Answers without a stance, and people without an opinion, count for neither:
  NaN where nothing is left.

  Args:
    opinion: `[U]`.
    stance: `[U, S]` of what each was served.
  """
  product = opinion[:, None] * stance
  taken = product != 0
  count = taken.sum(-1)
  share = (product < 0).sum(-1) / jnp.maximum(count, 1)
  return jnp.where(count > 0, share, jnp.nan)


def worst_decile(
  values: types.Array, ranking: types.Array | None = None
) -> types.Array:
  """Returns the mean of the tenth of people for whom a value is highest.

  Ranked and measured on the same noisy values the mean is too high: rank by
  one half of the items, and measure on the other.

  Args:
    values: `[U]`.
    ranking: `[U]` by which the tenth is chosen; the values if None. Whose
      value or ranking is NaN does not count.
  """
  ranking = values if ranking is None else ranking
  known = ~(jnp.isnan(values) | jnp.isnan(ranking))
  count = jnp.maximum(1, jnp.round(0.1 * known.sum()))
  order = jnp.argsort(jnp.where(known, -ranking, jnp.inf))
  taken = jnp.arange(len(order)) < count
  return jnp.sum(jnp.where(taken, values[order], 0.0)) / count


def split_half_variance(one: types.Array, other: types.Array) -> types.Array:
  """Returns the systematic variance between people: a covariance of halves.

  What a person is served on half of the items, against the other half: chance
  of single items cancels. Without bias, so that it can be negative.

  Args:
    one: `[U]` each person's mean over half of the items.
    other: `[U]` over the other half.
  """
  n = one.shape[0]
  return jnp.sum((one - one.mean()) * (other - other.mean())) / (n - 1)
