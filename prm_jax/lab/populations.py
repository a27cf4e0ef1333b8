"""What personal serving does to a population of real votes.

Everybody's votes are halved. A server learns from one half: what everybody
likes (aggregate), or what this person likes (personal, factors of all votes).
The other half measures: where people and statements stand, and whether
somebody agrees with what they are served, which is one of the statements on
which they have voted in that half. So no figure rests on what a model predicts.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax import types
from prm_jax.audits import served_votes
from prm_jax.data import schema
from prm_jax.lab import columns, drawn_twice
from prm_jax.ops import collaborative, tilting
from prm_jax.worlds import conversations

_AXIS = collaborative.FACTORS
_BRIDGE = 0.02  # temperature, in shares that agree: nearly the worse side
_LEAST_KEPT = 8  # kept votes of somebody who is measured

fit = jax.jit(collaborative.fit, static_argnames=('factors', 'agreeing'))
infer = jax.jit(collaborative.infer)
_probability = jax.jit(collaborative.probability)
_moments = jax.jit(collaborative.moments)


class Options(NamedTuple):
  """How a population is halved and served; set before a kept vote is read.

  Attributes:
    votes: agreements and disagreements of somebody who is measured.
    each: votes of a statement in either half.
    draws: statements of which the best is served.
    divergence: nats from chance at which a tilt serves.
    factors: of the personal server, at most.
    variances: of a factor, among which held-out votes of the half that the
      server learns from choose.
    held_out: share of these votes.
  """

  votes: int = 30
  each: int = 8
  draws: int = 8
  divergence: float = 1.0
  factors: int = 3
  variances: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
  held_out: float = 0.12


class Halved(NamedTuple):
  """A population, what a server knows of it, and what measures it.

  Attributes:
    pools: of kept votes of U people.
    stances: by kept votes.
    aggregate: `[P, S]` in logits, what everybody likes.
    personal: `[P, S]`.
    along: `[P, S]` part of `personal` along the server's own axis.
    stance: `[P]` of people on that axis.
    loading: `[S]` of statements on it.
    bridging: `[S]` what both of the server's sides can live with, in logits.
    variance: of factors, as it was chosen.
    measuring: the fit by kept votes.
  """

  pools: served_votes.Pools
  stances: served_votes.Stances
  aggregate: np.ndarray
  personal: np.ndarray
  along: np.ndarray
  stance: np.ndarray
  loading: np.ndarray
  bridging: np.ndarray
  variance: float
  measuring: collaborative.Fit


def conversation(said: schema.Opinions) -> conversations.Conversation:
  """Returns votes, as files have them, as a conversation.

  Raises:
    ValueError: as of `conversations.conversation`.
  """
  return conversations.conversation(
    said.conversation,
    said.statements,
    said.accepted,
    said.person,
    said.statement,
    said.vote,
    len(said.group),
  )


def agreement(fitted: collaborative.Fit) -> np.ndarray:
  """Returns P(agrees) `[P, S]`, inside (0, 1)."""
  found = _probability(fitted.people, fitted.statements)
  return np.clip(np.asarray(found, np.float64), 1e-6, 1 - 1e-6)


def log_loss(probability: np.ndarray, agrees: np.ndarray) -> np.ndarray:
  """Returns the log loss of each vote, in nats."""
  return -np.log(np.where(agrees, probability, 1 - probability))


def chosen_variance(
  key: types.Key,
  votes: collaborative.Votes,
  variances: tuple[float, ...],
  *,
  factors: int,
  held_out: float,
  seed: int,
) -> float:
  """Returns the variance of factors that predicts held-out votes best.

  Args:
    key: of the fits' starts.
    votes: to learn from; some are held out here.
    variances: to choose among.
    factors: of every fit.
    held_out: share of the votes.
    seed: of which are held out.
  """
  weight, agrees = np.asarray(votes.weight), np.asarray(votes.agrees) > 0
  there = weight > 0
  rng = np.random.default_rng([seed, 33])
  test = there & (rng.random(weight.shape) < held_out)
  if not test.any():
    return min(variances)
  train = collaborative.Votes(votes.agrees, jnp.asarray(weight * ~test))
  loss = []
  for variance in variances:
    found = agreement(fit(key, train, factors=factors, held=variance))
    loss.append(log_loss(found[test], agrees[test]).mean())
  return variances[int(np.argmin(loss))]


def halved(
  found: conversations.Conversation, *, seed: int, options: Options
) -> Halved:
  """Returns a population of which a server knows one half of the votes.

  Args:
    found: a conversation.
    seed: of the halving, and of the fits' starts.
    options: see `Options`.

  Raises:
    ValueError: fewer than ten people can be measured.
  """
  learn = conversations.halves(found, seed=seed)
  who, rows = _measured(found, learn, options)
  keys = jax.random.split(jax.random.key(seed), 4)
  votes = found.votes(learn)
  variance = chosen_variance(
    keys[0],
    votes,
    options.variances,
    factors=options.factors,
    held_out=options.held_out,
    seed=seed,
  )
  server = fit(keys[1], votes, factors=options.factors, held=variance)
  personal = agreement(server)
  stance = np.asarray(server.people.mean[:, _AXIS], np.float64)
  loading = np.asarray(server.statements.mean[:, _AXIS], np.float64)
  _, spread = _moments(server.people, server.statements)
  scale = 1 / np.sqrt(1 + np.pi / 8 * np.asarray(spread, np.float64))
  sides = _sides(personal[who], stance[who])
  kept = conversations.axis(
    keys[2], found, ~learn, factors=options.factors, held=variance
  )
  known = conversations.sides(found, kept, ~learn)
  size = np.abs(kept.loading)
  partisan = size >= np.median(size[np.unique(found.statement[rows])])
  return Halved(
    pools=served_votes.pools(
      found.person[rows], found.statement[rows], found.agrees[rows], who
    ),
    stances=served_votes.Stances(
      known.person,
      known.statement,
      partisan,
      known.straddling,
      kept.stance.astype(np.float64),
      kept.loading.astype(np.float64),
    ),
    aggregate=special.logit(agreement(fit(keys[3], votes, factors=0))),
    personal=special.logit(personal),
    along=np.outer(stance, loading) * scale,
    stance=stance,
    loading=loading,
    bridging=special.logit(
      np.asarray(tilting.bridging(jnp.asarray(sides), _BRIDGE))
    ),
    variance=variance,
    measuring=kept.fitted,
  )


def _measured(found, learn, options) -> tuple[np.ndarray, np.ndarray]:
  """Returns who is measured, and which rows measure, `[n]` bool."""
  S = len(found.texts)
  halves = [
    np.bincount(found.statement[part], minlength=S) for part in (learn, ~learn)
  ]
  enough = np.minimum(*halves) >= options.each
  rows = ~learn & enough[found.statement]
  kept = np.bincount(found.person[rows], minlength=found.people)
  who = np.flatnonzero(found.measured(options.votes) & (kept >= _LEAST_KEPT))
  if len(who) < conversations.FEWEST:
    raise ValueError(
      f'{found.name}: fewer than {conversations.FEWEST} people have '
      f'{options.votes} agreements and disagreements on statements with '
      f'{2 * options.each} votes: no figure is over fewer people'
    )
  return who, rows & np.isin(found.person, who)


def _sides(agrees: np.ndarray, stance: np.ndarray) -> np.ndarray:
  """Returns how many of each side agree, `[2, S]`.

  Where everybody stands at one place, both sides are everybody.
  """
  high = stance > np.median(stance)
  if not high.any():
    return np.stack([agrees.mean(0)] * 2)
  return np.stack([agrees[side].mean(0) for side in (high, ~high)])


# --------------------------------------------------------------------- servers


def swapped(some: Halved, seed: int) -> np.ndarray:
  """Returns scores in pools by what another measured person likes, `[U, M]`.

  Args:
    some: a population.
    seed: of who is taken for whom; nobody is taken for themselves.
  """
  U = len(some.pools.person)
  order = np.random.default_rng([seed, 34]).permutation(U)
  other = np.empty(U, int)
  other[order] = np.roll(order, 1)
  return some.personal[some.pools.person[other][:, None], some.pools.statement]


Policies = Mapping[str, np.ndarray]


def policies(some: Halved, options: Options, *, seed: int) -> Policies:
  """Returns what is served by the best of some draws, by server, `[U, M]`.

  Held is personal, with each person's mean stance that of the aggregate, by
  the server's own stances.

  Args:
    some: a population.
    options: how it is served.
    seed: of who is swapped for whom.
  """
  pools = some.pools
  serve = served_votes.best_of(pools, options.draws)
  aggregate, personal = pools.of(some.aggregate), pools.of(some.personal)
  z = pools.of(some.loading)
  target = pools.mean(serve(aggregate), z)
  price = served_votes.held(serve, personal, z, target)
  return {
    'random': pools.random,
    'aggregate': serve(aggregate),
    'personal': serve(personal),
    'swapped': serve(swapped(some, seed)),
    'held': serve(personal + price[:, None] * z),
    'bridging': serve(pools.of(some.bridging)),
  }


def tilted_policies(some: Halved, options: Options, *, seed: int) -> Policies:
  """Returns what a tilt serves at one divergence from chance, by server.

  Args:
    some: a population.
    options: how it is served.
    seed: of who is swapped for whom.
  """
  pools = some.pools
  aggregate, personal = pools.of(some.aggregate), pools.of(some.personal)
  z = pools.of(some.loading)

  def at(score):
    def policy(beta):
      return served_votes.tilted(pools, beta)(score)

    return served_votes.at_divergence(pools, policy, options.divergence)

  plain = at(aggregate)
  target = pools.mean(plain, z)

  def held(beta):
    return served_votes.matched_tilt(pools, personal, z, target, beta)

  return {
    'random': pools.random,
    'aggregate': plain,
    'personal': at(personal),
    'swapped': at(swapped(some, seed)),
    'held': served_votes.at_divergence(pools, held, options.divergence),
    'bridging': at(pools.of(some.bridging)),
  }


# --------------------------------------------------------------------- figures


class Measured(NamedTuple):
  """What was served by each of C policies, in 1 + R draws of both.

  Attributes:
    means: policy -> `[1 + R, 3]` of `served_votes.MEASURES`.
    variance, correlation: policy -> `[1 + R]` of the served stance, in the
      deviations of statements, and with where people stand.
  """

  means: Mapping[str, np.ndarray]
  variance: Mapping[str, np.ndarray]
  correlation: Mapping[str, np.ndarray]


def measured(
  some: Halved, served: Policies, draws: drawn_twice.Draws
) -> Measured:
  """Returns what policies served, in draws of people and statements.

  Args:
    some: a population.
    served: policy -> `[U, M]`.
    draws: of everybody and of all statements.
  """
  pools = some.pools
  counts = served_votes.counted(pools, some.stances)
  there = pools.there
  person = np.broadcast_to(pools.person[:, None], there.shape)[there]
  values = [
    (policy[..., None, None] * counts)[there].reshape(len(person), -1)
    for policy in served.values()
  ]
  sums = draws.sums(person, pools.statement[there], np.concatenate(values, 1))
  sums = sums.reshape(len(sums), len(served), -1, 2)
  ratio = drawn_twice.ratio(sums[..., 0], sums[..., 1])
  weights = draws.person[:, pools.person]
  loading = some.stances.loading
  spread = loading[np.unique(pools.statement[there])].std()
  loading = loading / spread if spread > 0 else 0 * loading  # nothing divides
  variance, correlation = {}, {}
  for name, policy in served.items():
    variance[name], correlation[name] = served_votes.variance_and_correlation(
      served_votes.shift(pools, policy, loading),
      some.stances.position[pools.person],
      weights,
    )
  return Measured(
    {name: ratio[:, i] for i, name in enumerate(served)}, variance, correlation
  )


def averaged(made: list[Measured]) -> Measured:
  """Returns means over halvings, draw by draw.

  The sign of an axis has no meaning, and a position's goes with its loading's:
  correlations can be averaged.
  """

  def mean(field):
    found = {}
    for name in made[0].means:
      several = np.stack([getattr(one, field)[name] for one in made])
      known = np.isfinite(several)
      total = np.where(known, several, 0.0).sum(0)
      found[name] = drawn_twice.ratio(total, known.sum(0))
    return found

  return Measured(*map(mean, Measured._fields))


def rows(made: Measured, over: str = 'aggregate') -> list[columns.Row]:
  """Returns a row for each policy: what it serves, and adds to another.

  Args:
    made: what was measured.
    over: the policy to which it adds.
  """
  interval = drawn_twice.interval
  found = []
  for name, means in made.means.items():
    row: columns.Row = {'server': name}
    for i, measure in enumerate(served_votes.MEASURES):
      row |= interval(measure, means[:, i])
      for other in (over, 'random'):
        added = means[:, i] - made.means[other][:, i]
        row |= interval(f'{measure}_over_{other}', added)
    row |= interval('stance_variance', made.variance[name])
    row |= interval('stance_correlation', made.correlation[name])
    found.append(row)
  return found
