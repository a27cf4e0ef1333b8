"""What a server shows people of statements on which they have voted.

A person's pool are statements whose vote was kept from the server, so that
whether they agree with what they are served is known and not predicted. What
is served is a distribution over the pool, exact and not drawn. Own side: a
statement of the side on which a person stands. Pure functions of arrays:
nothing here fits or reads.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax.ops import tilting

_HALVINGS = 40
_ABSENT = -40.0  # log-probability of a place of a pool that holds nothing
_BETAS = (0.02, 200.0)  # inverse temperatures among which one is looked for
_STEPS = 24  # of their bisection

Serve = Callable[[np.ndarray], np.ndarray]  # scores [U, M] -> policy [U, M]
_match = jax.jit(tilting.match)
_correction = jax.jit(tilting.minimal_correction)


class Pools(NamedTuple):
  """The kept votes of U people, at most M each.

  Attributes:
    person: `[U]` number of each.
    statement: `[U, M]` number; 0 where there is none.
    agrees: `[U, M]` bool.
    there: `[U, M]` bool, whether there is one.
  """

  person: np.ndarray
  statement: np.ndarray
  agrees: np.ndarray
  there: np.ndarray

  @property
  def random(self) -> np.ndarray:
    """Returns the policy that takes any statement of the pool, `[U, M]`."""
    return self.there / self.there.sum(1, keepdims=True)

  def of(self, values: np.ndarray) -> np.ndarray:
    """Returns values `[P, S]`, or of statements `[S]`, in pools `[U, M]`."""
    if values.ndim == 1:
      return values[self.statement]
    return values[self.person[:, None], self.statement]

  def mean(self, policy: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Returns E[feature] of each person under a policy, both `[U, M]`."""
    return (policy * feature).sum(1)


def pools(
  person: np.ndarray, statement: np.ndarray, agrees: np.ndarray, who: np.ndarray
) -> Pools:
  """Returns the pools of some people.

  Args:
    person: `[n]` whose a kept vote is.
    statement: `[n]` on what.
    agrees: `[n]` bool.
    who: `[U]` numbers of the people, rising.

  Raises:
    ValueError: somebody has no kept vote.
  """
  row = np.searchsorted(who, person)
  known = (row < len(who)) & (who[np.minimum(row, len(who) - 1)] == person)
  row, statement, agrees = row[known], statement[known], agrees[known]
  order = np.argsort(row, kind='stable')
  count = np.bincount(row, minlength=len(who))
  if not count.all():
    raise ValueError('somebody has no kept vote: measure who has some')
  start = np.cumsum(count) - count
  row = row[order]
  place = np.arange(len(row)) - start[row]
  shape = (len(who), int(count.max()))
  made = Pools(
    who, np.zeros(shape, int), np.zeros(shape, bool), np.zeros(shape, bool)
  )
  made.statement[row, place] = statement[order]
  made.agrees[row, place] = agrees[order]
  made.there[row, place] = True
  return made


# --------------------------------------------------------------------- serving


def best_of(some: Pools, n: int) -> Serve:
  """Returns what serves the best of n independent draws from the pool.

      P(rank i of m, from the worst) = (i / m)^n - ((i - 1) / m)^n

  which is `decoding.best_of_n` where no two scores are equal; equal ones are
  ranked by their place.

  Args:
    some: pools.
    n: draws.
  """
  count = some.there.sum(1, keepdims=True)
  # Of each place in a pool sorted from the worst, what is absent first.
  rank = np.arange(some.there.shape[1]) - (some.there.shape[1] - count)
  chance = ((rank + 1) / count) ** n - (np.maximum(rank, 0) / count) ** n
  chance = np.where(rank < 0, 0.0, chance)

  def serve(score):
    score = np.where(some.there, score, -np.inf)
    order = np.argsort(score, 1)
    ranked = np.take_along_axis(score, order, 1)
    equal = (ranked[:, 1:] == ranked[:, :-1]) & (rank[:, 1:] > 0)
    tied = equal.any(1)  # sorting in order of places takes five times as long
    if tied.any():
      order[tied] = np.argsort(score[tied], 1, kind='stable')
    policy = np.empty_like(chance)
    np.put_along_axis(policy, order, chance, 1)
    return policy

  return serve


def tilted(some: Pools, beta: float) -> Serve:
  """Returns what serves pi proportional to exp(beta score) over the pool."""

  def serve(score):
    exponent = np.where(some.there, beta * score, -np.inf)
    return special.softmax(exponent, axis=1)

  return serve


def divergence(some: Pools, policy: np.ndarray) -> float:
  """Returns the mean of KL(policy | any statement of the pool), in nats."""
  count = some.there.sum(1)
  return float((special.xlogy(policy, policy).sum(1) + np.log(count)).mean())


def at_divergence(
  some: Pools, policy_of: Callable[[float], np.ndarray], wanted: float
) -> np.ndarray:
  """Returns the policy whose mean divergence from chance is wanted.

  Args:
    some: pools.
    policy_of: inverse temperature -> policy `[U, M]`.
    wanted: in nats.
  """
  return policy_of(_beta(some, policy_of, wanted))


def beta_at(some: Pools, score: np.ndarray, wanted: float) -> float:
  """Returns the inverse temperature at which a tilt diverges so much.

  Args:
    some: pools.
    score: `[U, M]`.
    wanted: mean divergence from chance, in nats.
  """
  return _beta(some, lambda beta: tilted(some, beta)(score), wanted)


def _beta(some: Pools, policy_of, wanted: float) -> float:
  return tilting.inverse_temperature(
    lambda beta: divergence(some, policy_of(beta)),
    wanted,
    least=_BETAS[0],
    most=_BETAS[1],
    steps=_STEPS,
  )


# ------------------------------------------------------------------ safeguards


def held(
  serve: Serve, score: np.ndarray, feature: np.ndarray, target: np.ndarray
) -> np.ndarray:
  """Returns each person's price of a feature at which its mean is a target.

  lambda of score + lambda feature, by bisection: what `tilting.match` finds
  for a tilt, for anything that serves what scores more oftener. Where ranks
  jump over the target it ends beside it.

  Args:
    serve: of a pool.
    score: `[U, M]`.
    feature: `[U, M]`.
    target: `[U]`.

  Returns:
    lambda `[U]`.
  """
  spread = np.maximum(feature.std(1), 1e-6)
  most = (10.0 + np.ptp(score, 1)) / spread
  low, high = -most, most.copy()
  for _ in range(_HALVINGS):
    price = 0.5 * (low + high)
    mean = (serve(score + price[:, None] * feature) * feature).sum(1)
    low = np.where(mean < target, price, low)
    high = np.where(mean < target, high, price)
  return 0.5 * (low + high)


def priced(
  serve: Serve, score: np.ndarray, feature: np.ndarray, wanted: float
) -> float:
  """Returns the one price of a feature at which its mean over people is so.

  The largest total score under a limit on what everybody together is served
  of the feature has one price for all; `held` has one for each.

  Args:
    serve: of a pool.
    score: `[U, M]`.
    feature: `[U, M]`.
    wanted: mean over people.
  """
  low, high = -50.0, 50.0
  for _ in range(_HALVINGS):
    price = 0.5 * (low + high)
    if (serve(score + price * feature) * feature).sum(1).mean() < wanted:
      low = price
    else:
      high = price
  return 0.5 * (low + high)


def matched_tilt(
  some: Pools,
  score: np.ndarray,
  feature: np.ndarray,
  target: np.ndarray,
  beta: float,
) -> np.ndarray:
  """Returns the tilt by a score, held to a mean of a feature, `[U, M]`.

  Args:
    some: pools.
    score: `[U, M]`.
    feature: `[U, M]`.
    target: wanted E[feature], `[U]`.
    beta: inverse temperature.
  """
  count = some.there.sum(1, keepdims=True)
  middle = (some.there * feature).sum(1, keepdims=True) / count
  policy, _ = _match(
    _log_tilt(some, beta * score),
    jnp.asarray(np.where(some.there, feature, middle), jnp.float32),
    jnp.asarray(target, jnp.float32),
  )
  chance = np.exp(np.asarray(policy, np.float64)) * some.there
  return chance / chance.sum(1, keepdims=True)


def penalty(
  some: Pools, score: np.ndarray, own: np.ndarray, beta: float
) -> np.ndarray:
  """Returns the least penalty on one's own side that adds none of it, `[U]`.

  `tilting.minimal_correction`, against any statement of the pool.

  Args:
    some: pools.
    score: `[U, M]`.
    own: `[U, M]` bool, of the person's own side.
    beta: inverse temperature.
  """
  base = np.where(some.there, 0.0, _ABSENT)
  base = base - np.log(some.there.sum(1, keepdims=True))
  centred = np.where(some.there, score - score.mean(1, keepdims=True), 0.0)
  return np.asarray(
    _correction(
      jnp.asarray(base, jnp.float32),
      jnp.asarray(centred, jnp.float32),
      jnp.asarray(own & some.there, jnp.float32),
      beta,
    ),
    np.float64,
  )


def _log_tilt(some: Pools, exponent: np.ndarray) -> jax.Array:
  """Returns log-probabilities in which an absent place has next to nothing."""
  least = np.where(some.there, exponent, np.inf).min(1, keepdims=True)
  return jax.nn.log_softmax(
    jnp.asarray(np.where(some.there, exponent, least + _ABSENT), jnp.float32)
  )


# -------------------------------------------------------------------- measures


class Stances(NamedTuple):
  """Where people and statements stand, by votes that no server has seen.

  Attributes:
    side: `[P]` 1 or -1, of people.
    of: `[S]` 1 or -1, of statements.
    partisan: `[S]` bool, the half of the statements that divide most.
    straddling: `[S]` bool, the sides' majorities differ.
    position: `[P]` of people on the axis.
    loading: `[S]` of statements on it.
  """

  side: np.ndarray
  of: np.ndarray
  partisan: np.ndarray
  straddling: np.ndarray
  position: np.ndarray
  loading: np.ndarray


MEASURES = ('agreement', 'own_side', 'own_side_straddling')


def counted(some: Pools, stances: Stances) -> np.ndarray:
  """Returns what is counted of what is served, `[U, M, 3, 2]`.

  Of each of `MEASURES` what is hit, and what counts at all: agreement among
  everything, one's own side among partisan statements (side by the sign of the
  loading), and among straddling ones. A mean is a ratio of sums of
  policy x hit and policy x counted.

  Args:
    some: pools.
    stances: of everybody.
  """
  own = some.of(stances.of) == stances.side[some.person][:, None]
  counts = (
    some.there,
    some.there & some.of(stances.partisan),
    some.there & some.of(stances.straddling),
  )
  hits = (some.agrees, own, own)
  return np.stack(
    [
      np.stack([hit & count, count], -1)
      for hit, count in zip(hits, counts, strict=True)
    ],
    2,
  ).astype(np.float64)


def means(policy: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns each of `MEASURES` of what is served, `[3]`; NaN of nothing.

  Args:
    policy: `[U, M]`.
    counts: `[U, M, 3, 2]`, see `counted`.
  """
  total = np.einsum('um,umcs->cs', policy, counts)
  with np.errstate(invalid='ignore', divide='ignore'):
    return total[:, 0] / total[:, 1]


def shift(some: Pools, policy: np.ndarray, loading: np.ndarray) -> np.ndarray:
  """Returns how far serving moves the mean stance from chance, `[U]`.

  Of the person's own pool, because people have voted on different statements.

  Args:
    some: pools.
    policy: `[U, M]`.
    loading: `[S]` stances of statements.
  """
  return some.mean(policy - some.random, some.of(loading))


def variance_and_correlation(
  served: np.ndarray, position: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns how served stances vary, and go with where people stand.

  The variance alone does not tell whose stance is served: it is as large where
  everybody is served another person's.

  Args:
    served: `[U]`, or one a draw `[R, U]`.
    position: `[U]` of the same people.
    weights: `[R, U]` of people.

  Returns:
    Variance `[R]` and correlation `[R]`; NaN where nothing varies.
  """
  total = weights.sum(1, keepdims=True)
  served = np.broadcast_to(served, weights.shape)

  def centred(values):
    return values - (weights * values).sum(1, keepdims=True) / total

  s, p = centred(served), centred(np.broadcast_to(position, weights.shape))
  of_s, of_p, both = (
    (weights * product).sum(1) / total[:, 0] for product in (s**2, p**2, s * p)
  )
  size = np.sqrt(of_s * of_p)
  small = size <= 1e-9
  return of_s, np.where(small, np.nan, both / np.where(small, 1.0, size))
