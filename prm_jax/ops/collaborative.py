"""Votes of many people on many statements, most of them missing, factorised.

    P(person agrees) = sigmoid(x . z),  x = (a, 1, u),  z = (1, b, v)

with a person's tendency to agree a, a statement's popularity b, and factors u
and v whose product is what is of this person and this statement. What nobody
said is missing, not a disagreement: it has no term in the likelihood.

Beliefs are Gaussian, of a person given everybody else's and of a statement
given all others' (mean field), under the quadratic lower bound of the logistic
likelihood, which is tight at xi^2 = E[(x . z)^2]:

    log sigmoid(m) >= log sigmoid(xi) + (m - xi) / 2 - lambda(xi) (m^2 - xi^2)
    lambda(xi) = tanh(xi / 2) / (4 xi)

so that every step solves all people, or all statements, at once and raises
the bound on the evidence. Unlike alternating modes it knows how unsure factors
are, which is most of them where somebody voted little.

Votes are arrays [P, S] with a weight that is 0 where one is missing: products
of matrices took a quarter of the processor's time of sums over the list at
128,000 votes of 1,827 people on 607 statements.

A coordinate whose prior variance is 0 is known to be its prior mean, which is
how the ones in x and z are said, and features of statements, and models
without a or without factors.

References:
  Jaakkola and Jordan 2000, Bayesian parameter estimation via variational
  methods; Salakhutdinov and Mnih 2008, Bayesian probabilistic matrix
  factorization; Lim and Teh 2007, Variational Bayesian approach to movie
  rating prediction.
"""

from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision

AGREES, POPULAR, FACTORS = 0, 1, 2  # coordinates: a or 1, 1 or b, u or v
_SMALL = 1e-4  # of xi, where tanh(xi / 2) / (4 xi) is 1/8 to rounding
_START = 0.5  # standard deviation of the factors that a fit starts from
_LEAST = 1e-8  # variance that is still estimated


class Votes(NamedTuple):
  """Who agreed with what.

  Attributes:
    agrees: `[P, S]` 1 for agree, 0 for disagree; anything where missing.
    weight: `[P, S]` 1 for a vote, 0 where it is missing or held out.
  """

  agrees: types.Array
  weight: types.Array


class Belief(NamedTuple):
  """Gaussian beliefs about N people, or N statements.

  Attributes:
    mean: `[N, F]`.
    covariance: `[N, F, F]`.
  """

  mean: types.Array
  covariance: types.Array

  @property
  def second(self) -> types.Array:
    """Returns E[x x'], `[N, F, F]`."""
    return self.covariance + self.mean[:, :, None] * self.mean[:, None, :]


class Prior(NamedTuple):
  """What is believed before any vote.

  Attributes:
    mean: `[F]`, or `[N, F]` one each.
    variance: `[F]`; coordinates are independent, 0 is known.
  """

  mean: types.Array
  variance: types.Array

  def everybody(self, count: int) -> Belief:
    """Returns the beliefs about N without votes."""
    F = self.variance.shape[0]
    covariance = jnp.broadcast_to(jnp.diag(self.variance), (count, F, F))
    return Belief(jnp.broadcast_to(self.mean, (count, F)), covariance)


class Fit(NamedTuple):
  """A factorisation.

  Attributes:
    people: `[P, 2 + K]` beliefs about (a, 1, u).
    statements: `[S, 2 + K]` beliefs about (1, b, v), factors by decreasing
      variance between statements.
    person: prior of people.
    statement: prior of statements.
    steps: `[]` that were taken.
    change: `[]` largest change of a prior's standard deviation, or of its
      mean, in the last step, in logits; of factors themselves where their
      variance is held.
  """

  people: Belief
  statements: Belief
  person: Prior
  statement: Prior
  steps: types.Array
  change: types.Array


def priors(factors: int, *, agreeing: bool = True) -> tuple[Prior, Prior]:
  """Returns priors of people and statements that a fit starts from.

  Args:
    factors: K; 0 for popularity and tendency alone.
    agreeing: whether people differ in their tendency to agree; with no
      factors and without it a fit gives smoothed means of statements.
  """
  one, none = jnp.ones(factors), jnp.zeros(factors)
  head = jnp.array([float(agreeing), 0.0])
  return (
    Prior(
      jnp.concatenate([jnp.array([0.0, 1.0]), none]),
      jnp.concatenate([head, one]),
    ),
    Prior(
      jnp.concatenate([jnp.array([1.0, 0.0]), none]),
      jnp.concatenate([jnp.array([0.0, 1.0]), one]),
    ),
  )


@precision.highest
def moments(
  people: Belief, statements: Belief
) -> tuple[types.Array, types.Array]:
  """Returns mean and variance of x . z, each `[P, S]`.

  Args:
    people: `[P, F]`.
    statements: `[S, F]`.
  """
  chex.assert_equal(people.mean.shape[1], statements.mean.shape[1])
  mean = people.mean @ statements.mean.T
  square = _flat(people.second) @ _flat(statements.second).T
  return mean, jnp.maximum(square - mean**2, 0.0)


def probability(people: Belief, statements: Belief) -> types.Array:
  """Returns P(agrees) `[P, S]`, the uncertainty of both taken in.

      E[sigmoid(m)] = sigmoid(mean / sqrt(1 + pi variance / 8)), nearly

  Args:
    people: `[P, F]`.
    statements: `[S, F]`.

  References:
    MacKay 1992, The evidence framework applied to classification networks.
  """
  mean, variance = moments(people, statements)
  return jax.nn.sigmoid(mean * jax.lax.rsqrt(1.0 + jnp.pi / 8.0 * variance))


@precision.highest
def bound(votes: Votes, fitted: Fit) -> types.Array:
  """Returns the lower bound of the log-evidence, `[]`, in nats.

  Args:
    votes: that it was fitted to.
    fitted: whose bound is taken at its best xi.
  """
  mean, variance = moments(fitted.people, fitted.statements)
  xi = jnp.sqrt(variance + mean**2)
  side = votes.agrees - 0.5
  said = jax.nn.log_sigmoid(xi) - xi / 2 + side * mean
  apart = _divergence(fitted.people, fitted.person) + _divergence(
    fitted.statements, fitted.statement
  )
  return jnp.sum(votes.weight * said) - apart


@precision.highest
def fit(
  key: types.Key,
  votes: Votes,
  *,
  factors: int,
  agreeing: bool = True,
  held: types.Scalar | None = None,
  tolerance: float = 1e-3,
  most: int = 500,
) -> Fit:
  """Returns a factorisation, with what people and statements are like.

  The variances of a, b and each of the K factors v, and the mean of b, are
  estimated (empirical Bayes) until they stop: a factor that nothing speaks for
  ends near 0, so that K is an upper limit. u has variance 1, which fixes the
  scale. After every step factors are rotated and rescaled to where the bound
  is largest (parameter expansion), without which variances creep for hundreds
  of steps.

  The mean-field bound pays too much for what is uncertain on both sides, so
  that it switches weak factors off that predict. With `held` all factors keep
  this variance; it is to be chosen on votes that were held out.

  Args:
    key: of the start.
    votes: P people and S statements; who has no vote keeps the prior.
    factors: K.
    agreeing: see `priors`.
    held: variance of every factor v, which is then not estimated.
    tolerance: in logits; stops when no prior's mean or standard deviation
      changes by more in a step.
    most: steps; `change` says how near it then is.

  Raises:
    AssertionError: shapes differ.
  """
  chex.assert_equal_shape(votes)
  chex.assert_rank(votes, 2)
  votes = Votes(*map(precision.raised, votes))
  P, S = votes.agrees.shape
  person, statement = priors(factors, agreeing=agreeing)
  statement = statement if held is None else _held(statement, held)
  voted = (votes.weight.sum(1) > 0, votes.weight.sum(0) > 0)
  drawn = _START * jax.random.normal(key, (S, factors))
  statements = statement.everybody(S)
  statements = Belief(
    statements.mean.at[:, FACTORS:].set(drawn), 0.1 * statements.covariance
  )
  start = Fit(
    person.everybody(P),
    statements,
    person,
    statement,
    jnp.zeros((), jnp.int32),
    jnp.full((), jnp.inf),
  )

  def step(fitted):
    people = _solved(votes, fitted.people, fitted.statements, fitted.person)
    statements = _solved(
      _turned(votes), fitted.statements, people, fitted.statement
    )
    people, statements = _expanded(people, statements, voted, held is None)
    new = (
      _estimated(people, fitted.person, voted[0], agreeing),
      _popular(statements, fitted.statement, voted[1], held is None),
    )
    change = jnp.maximum(
      _moved(new[0], fitted.person), _moved(new[1], fitted.statement)
    )
    if held is not None:  # priors say nothing of where the factors are
      grown = _grown(statements, fitted.statements, voted[1])
      change = jnp.maximum(change, grown)
    return Fit(people, statements, *new, fitted.steps + 1, change)

  def goes_on(fitted):
    return (fitted.change > tolerance) & (fitted.steps < most)

  return jax.lax.while_loop(goes_on, step, start)


@precision.highest
def infer(
  votes: Votes, statements: Belief, prior: Prior, *, iterations: int = 30
) -> Belief:
  """Returns beliefs about people whose votes no fit has seen.

  Args:
    votes: `[P, S]`.
    statements: `[S, F]`, as a fit left them.
    prior: of people, `[F]`.
    iterations: of the bound; people are independent given statements, so
      that this is convex but for the bound.
  """
  chex.assert_equal_shape(votes)
  votes = Votes(*map(precision.raised, votes))
  people = prior.everybody(votes.agrees.shape[0])

  def step(_, people):
    return _solved(votes, people, statements, prior)

  return jax.lax.fori_loop(0, iterations, step, people)


@precision.highest
def estimate(
  votes: Votes,
  statements: Belief,
  prior: Prior,
  groups: Sequence[int],
  *,
  tolerance: float = 1e-3,
  most: int = 1000,
) -> tuple[Belief, Prior, types.Array]:
  """Returns people, their prior's variances by empirical Bayes, and steps.

  Every step is one of `infer` and one of variances: the mean over people who
  voted, and over a group's coordinates, of (E[x] - prior mean)^2 + Var x,
  taken Z times over for what the votes determine (MacKay's form, which needs
  tens of steps where expectation-maximisation needs hundreds to reach 0).

  Args:
    votes: `[P, S]`.
    statements: `[S, F]`.
    prior: to start from.
    groups: `[F]` which coordinates share a variance, numbered from 0; -1 for
      one that is not estimated.
    tolerance: in standard deviations; stops when none changes by more.
    most: steps.
  """
  chex.assert_equal(len(groups), prior.variance.shape[0])
  votes = Votes(*map(precision.raised, votes))
  voted = votes.weight.sum(1) > 0
  number = jnp.asarray(groups)
  member = (number[:, None] == jnp.arange(max(groups) + 1)).astype(jnp.float32)

  def step(state):
    people, prior, steps, _ = state
    people = _solved(votes, people, statements, prior)
    away = (people.mean - prior.mean) ** 2
    own = jnp.diagonal(people.covariance, axis1=1, axis2=2)
    told = 1.0 - own / jnp.maximum(prior.variance, _LEAST)
    square = member.T @ (voted @ away)
    count = member.T @ (voted @ jnp.clip(told, 0.0, 1.0))
    shared = square / jnp.maximum(count, 1e-3)
    # No step over a factor of four: the bound moves with the beliefs.
    old = (member.T @ prior.variance) / jnp.maximum(member.sum(0), 1.0)
    shared = jnp.clip(shared, old / 4, old * 4)
    variance = jnp.where(
      number < 0, prior.variance, jnp.maximum(member @ shared, _LEAST)
    )
    new = Prior(prior.mean, variance)
    return people, new, steps + 1, _moved(new, prior)

  def goes_on(state):
    return (state[3] > tolerance) & (state[2] < most)

  people, prior, steps, _ = jax.lax.while_loop(
    goes_on,
    step,
    (
      prior.everybody(votes.agrees.shape[0]),
      prior,
      jnp.zeros((), jnp.int32),
      jnp.full((), jnp.inf),
    ),
  )
  return people, prior, steps


# ------------------------------------------------------------------ the steps


def _flat(square):
  return square.reshape(square.shape[0], -1)


def _turned(votes):
  return Votes(votes.agrees.T, votes.weight.T)


def _solved(votes, mine: Belief, other: Belief, prior: Prior) -> Belief:
  """Returns my best beliefs given the others', after xi was set by both."""
  F = mine.mean.shape[1]
  xi = jnp.sqrt(jnp.maximum(_flat(mine.second) @ _flat(other.second).T, 0.0))
  small = xi < _SMALL
  curve = jnp.tanh(xi / 2) / (2 * jnp.where(small, 1.0, xi))
  curve = votes.weight * jnp.where(small, 0.25, curve)
  gram = (curve @ _flat(other.second)).reshape(-1, F, F)
  told = (votes.weight * (votes.agrees - 0.5)) @ other.mean
  # In units of the prior's deviation: a known coordinate stays where it is.
  unit = jnp.sqrt(prior.variance)
  center = jnp.broadcast_to(prior.mean, mine.mean.shape)
  information = jnp.eye(F) + unit[:, None] * gram * unit
  score = unit * (told - jnp.einsum('nij,nj->ni', gram, center))
  factor = jnp.linalg.cholesky(information)
  half = jax.lax.linalg.triangular_solve(
    factor,
    jnp.broadcast_to(jnp.eye(F), factor.shape),
    left_side=True,
    lower=True,
  )
  inside = jnp.swapaxes(half, 1, 2) @ half  # symmetric to rounding
  covariance = unit[:, None] * inside * unit
  found = jnp.einsum('nij,nj->ni', inside, score)
  return Belief(center + unit * found, covariance)


def _mean(values, voted):
  """Returns the mean over who voted; 0 where nobody did."""
  total = jnp.tensordot(voted.astype(values.dtype), values, 1)
  return total / jnp.maximum(voted.sum(), 1)


def _mapped(belief: Belief, matrix) -> Belief:
  return Belief(belief.mean @ matrix.T, matrix @ belief.covariance @ matrix.T)


def _expanded(people, statements, voted, scaled) -> tuple[Belief, Belief]:
  """Returns the same products x . z, where the bound is largest.

  x -> T x and z -> T^-T z: people's factors get second moment I and
  statements' a diagonal one, which is Hadamard's bound of what the priors
  cost; the mean of a moves to b. Where variances are held, factors are turned
  alone, which costs nothing.
  """
  K = people.mean.shape[1] - FACTORS
  shift = _mean(people.mean[:, AGREES], voted[0])
  moved = jnp.eye(FACTORS + K).at[AGREES, POPULAR].set(-shift)
  back = jnp.eye(FACTORS + K).at[POPULAR, AGREES].set(shift)
  if K:
    inside = slice(FACTORS, None)
    mine = jnp.eye(K)
    if scaled:
      mine = _mean(people.second[:, inside, inside], voted[0])
    size, axes = jnp.linalg.eigh(mine + 1e-6 * jnp.eye(K))
    size = jnp.maximum(size, 1e-6)
    white = axes * size**-0.5 @ axes.T
    grown = axes * size**0.5 @ axes.T
    theirs = _mean(statements.second[:, inside, inside], voted[1])
    _, turn = jnp.linalg.eigh(grown @ theirs @ grown.T)
    turn = turn[:, ::-1].T  # largest first
    moved = moved.at[inside, inside].set(turn @ white)
    back = back.at[inside, inside].set(turn @ grown)
  return _mapped(people, moved), _mapped(statements, back)


def _spread(belief, voted, center):
  """Returns E[(x - center)^2] `[F]` over who voted."""
  own = jnp.diagonal(belief.covariance, axis1=1, axis2=2)
  return jnp.maximum(_mean((belief.mean - center) ** 2 + own, voted), _LEAST)


def _estimated(people, prior, voted, agreeing) -> Prior:
  spread = _spread(people, voted, prior.mean)[AGREES]
  if not agreeing:
    return prior
  return Prior(prior.mean, prior.variance.at[AGREES].set(spread))


def _popular(statements, prior, voted, estimated) -> Prior:
  mean = prior.mean.at[POPULAR].set(_mean(statements.mean, voted)[POPULAR])
  spread = _spread(statements, voted, mean)
  spread = spread.at[AGREES].set(0.0)
  if not estimated:
    spread = spread.at[FACTORS:].set(prior.variance[FACTORS:])
  return Prior(mean, spread)


def _moved(new: Prior, old: Prior):
  """Returns the largest change, in logits."""
  deviations = jnp.abs(jnp.sqrt(new.variance) - jnp.sqrt(old.variance))
  return jnp.maximum(deviations.max(), jnp.abs(new.mean - old.mean).max())


def _held(prior: Prior, variance) -> Prior:
  """Returns the prior whose factors have a given variance."""
  return Prior(prior.mean, prior.variance.at[FACTORS:].set(variance))


def _grown(new: Belief, old: Belief, voted):
  """Returns the largest change of what a factor spreads over, in logits."""
  now, before = (
    jnp.sqrt(_spread(each, voted, 0.0)[FACTORS:]) for each in (new, old)
  )
  return jnp.abs(now - before).max(initial=0.0)


def _divergence(belief: Belief, prior: Prior):
  """Returns the sum of KL(belief | prior) over known coordinates' others."""
  known = prior.variance <= 0
  unit = jnp.where(known, 1.0, jnp.sqrt(prior.variance))
  scaled = belief.covariance / (unit[:, None] * unit)
  either = known[:, None] | known
  scaled = jnp.where(either, jnp.eye(len(unit)), scaled)
  away = jnp.where(known, 0.0, (belief.mean - prior.mean) / unit)
  trace = jnp.trace(scaled, axis1=1, axis2=2)
  return 0.5 * jnp.sum(
    trace + (away**2).sum(1) - len(unit) - jnp.linalg.slogdet(scaled)[1]
  )
