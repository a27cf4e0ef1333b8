"""People with their real votes on each other's statements: what divides them.

Nobody is simulated: a vote that was not given is missing, and a pass is no
answer. What a person agrees with is special-category data, so what is returned
about single people is arrays by number, for audits in memory; what may be
written are figures over at least `FEWEST` people. Statements' texts are
carried along and never read here: an instruction in one is a text like any
other, and so is any language.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse, stats
from scipy.sparse import csgraph

from prm_jax import types
from prm_jax.ops import collaborative

FEWEST = 10  # people behind any figure that is written
VOTES = 20  # agreements and disagreements of somebody who is measured
_MODERATED_BY_VOTES = 10  # votes that make up for no moderator's word
_FACTORS = 5  # at most: what nothing speaks for ends at zero
_APART = 0.2  # between sides' shares of agreement, where majorities differ
_EACH_SIDE = 8  # votes of either side from which its majority is known
_RELIABLE = 0.5  # least lower limit of a reliable axis
_NO_FACTOR = 1e-2  # variance of loadings: less is on its way to zero
_AXIS = collaborative.FACTORS

_fit = jax.jit(collaborative.fit, static_argnames=('factors', 'agreeing'))
_infer = jax.jit(collaborative.infer)


class Conversation(NamedTuple):
  """Who agreed or disagreed with what.

  Attributes:
    name: of the conversation.
    texts: S statements that are kept.
    people: P, with those who have no vote.
    person: `[n]`; statement: `[n]`; agrees: `[n]` bool. One row for each
      agreement or disagreement.
    notes: what was left out, a sentence each.
  """

  name: str
  texts: Sequence[str]
  people: int
  person: np.ndarray
  statement: np.ndarray
  agrees: np.ndarray
  notes: tuple[str, ...]

  def votes(self, chosen: np.ndarray | None = None) -> collaborative.Votes:
    """Returns votes `[P, S]`.

    Args:
      chosen: `[n]` bool, which of them; all if None.
    """
    agrees = np.zeros((self.people, len(self.texts)), np.float32)
    weight = np.zeros_like(agrees)
    agrees[self.person, self.statement] = self.agrees
    weight[self.person, self.statement] = 1 if chosen is None else chosen
    return collaborative.Votes(jnp.asarray(agrees), jnp.asarray(weight))

  def measured(self, least: int = VOTES) -> np.ndarray:
    """Returns who has at least so many votes, `[P]` bool."""
    return np.bincount(self.person, minlength=self.people) >= least


class Axis(NamedTuple):
  """What divides people most, beyond popularity and the tendency to agree.

  Attributes:
    stance: `[P]` where people stand on it; its sign has no meaning.
    loading: `[S]` how much further who stands at 1 agrees, in logits.
    share: of the variance of the factors' part, in [0, 1]; NaN where there is
      no such part.
    fitted: the factorisation, whose first factor it is.
  """

  stance: np.ndarray
  loading: np.ndarray
  share: float
  fitted: collaborative.Fit


class Reliability(NamedTuple):
  """Whether disjoint votes and disjoint people say the same of somebody.

  Attributes:
    value: correlation of stances from one half of a person's votes and from
      the other, by loadings that other people's votes gave; 0 where those
      people have no axis. low and high: 95 % limits over people.
    whole: of stances from all votes (Spearman and Brown).
    found: in what share of the halves of people there was an axis.
    people: who were measured.
  """

  value: float
  low: float
  high: float
  whole: float
  found: float
  people: int

  @property
  def reliable(self) -> bool:
    """Returns whether a hazard along this axis can be spoken of."""
    return bool(self.low >= _RELIABLE)


class Sides(NamedTuple):
  """Two sides of a conversation.

  Attributes:
    person: `[P]` 1 or -1, by the median of who was measured.
    statement: `[S]` 1 or -1, the side that it is of, by its loading.
    straddling: `[S]` bool: most of one side agree, most of the other do not,
      and the shares are apart by more than 0.2; false where a side has fewer
      than eight votes on it.
  """

  person: np.ndarray
  statement: np.ndarray
  straddling: np.ndarray


# -------------------------------------------------------------- who said what


def conversation(
  name: str,
  texts: Sequence[str],
  accepted: np.ndarray,
  person: np.ndarray,
  statement: np.ndarray,
  vote: np.ndarray,
  people: int,
) -> Conversation:
  """Returns a conversation of statements that somebody vouches for.

  Kept are statements that moderators accepted, or with ten agreements and
  disagreements: most others have one vote, their author's own.

  Args:
    name: of the conversation.
    texts: S.
    accepted: `[S]` bool, by moderators.
    person: `[n]` int.
    statement: `[n]` int.
    vote: `[n]` 1 agrees, -1 disagrees, 0 passes.
    people: P.

  Raises:
    ValueError: nobody agreed or disagreed with a statement that is kept, or
      two groups of people have voted on nothing in common: two conversations.
  """
  said = vote != 0
  count = np.bincount(statement[said], minlength=len(texts))
  kept = np.asarray(accepted, bool) | (count >= _MODERATED_BY_VOTES)
  rows = said & kept[statement]
  if not rows.any():
    raise ValueError(
      f'{name}: nobody agreed or disagreed with a statement that is accepted '
      f'or has {_MODERATED_BY_VOTES} votes; passes are no answers'
    )
  number = np.cumsum(kept) - 1
  found = Conversation(
    name=name,
    texts=[text for text, keep in zip(texts, kept, strict=True) if keep],
    people=people,
    person=person[rows],
    statement=number[statement[rows]],
    agrees=vote[rows] > 0,
    notes=_notes(kept, count, said, rows),
  )
  _one(found)
  return found


def _notes(kept, count, said, rows) -> tuple[str, ...]:
  notes = []
  if not said.all():
    notes.append(
      f'{(~said).sum()} of {len(said)} votes are passes and are left out'
    )
  if not kept.all():
    notes.append(
      f'{(~kept).sum()} of {len(kept)} statements are neither accepted nor '
      f'have {_MODERATED_BY_VOTES} votes and are left out, with '
      f'{said.sum() - rows.sum()} votes'
    )
  silent = int((kept & (count == 0)).sum())
  if silent:
    notes.append(f'nobody agreed or disagreed with {silent} statements')
  return tuple(notes)


def _one(found: Conversation) -> None:
  """Raises ValueError where people fall into parts that share no statement."""
  P, S = found.people, len(found.texts)
  edges = np.ones(len(found.person)), (found.person, P + found.statement)
  graph = sparse.coo_matrix(edges, shape=(P + S, P + S))
  _, part = csgraph.connected_components(graph, directed=False)
  sizes = np.sort(np.bincount(part[np.unique(found.person)]))[::-1]
  large = sizes[sizes >= FEWEST]
  if len(large) > 1:
    raise ValueError(
      f'{found.name}: {len(large)} groups of people, of '
      f'{", ".join(map(str, large))}, have voted on no statement in common: '
      'these are several conversations; give each a folder'
    )


def halves(found: Conversation, *, seed: int) -> np.ndarray:
  """Returns which votes are to learn from, `[n]` bool; the rest measure.

  Half of each person's, by chance; an odd one is to learn from.

  Args:
    found: a conversation.
    seed: of the draw.
  """
  rng = np.random.default_rng([seed, 31])
  order = np.lexsort((rng.random(len(found.person)), found.person))
  count = np.bincount(found.person, minlength=found.people)
  start = np.cumsum(count) - count
  who = found.person[order]
  place = np.arange(len(order)) - start[who]
  chosen = np.empty(len(order), bool)
  chosen[order] = place < (count[who] + 1) // 2
  return chosen


# ------------------------------------------------------------ what divides it


def axis(
  key: types.Key,
  found: Conversation,
  chosen: np.ndarray | None = None,
  *,
  factors: int = _FACTORS,
  held: float | None = None,
) -> Axis:
  """Returns what divides people most.

  Args:
    key: of the factorisation's start.
    found: a conversation.
    chosen: `[n]` bool, by which votes; all if None.
    factors: at most.
    held: variance of every factor, chosen on held-out votes: where votes are
      few, an estimated one may switch off what divides people. Estimated if
      None.

  Raises:
    ValueError: too few people are measured.
  """
  _enough(found, found.measured(), FEWEST)
  fitted = _fit(key, found.votes(chosen), factors=factors, held=held)
  size = np.asarray(fitted.statement.variance[_AXIS:], np.float64)
  if held is not None:  # the prior says nothing of which is larger
    loadings = np.asarray(fitted.statements.mean[:, _AXIS:], np.float64)
    size = np.mean(loadings**2, axis=0)
  share = float(size[0] / size.sum()) if size[0] >= _NO_FACTOR else np.nan
  return Axis(
    np.asarray(fitted.people.mean[:, _AXIS]),
    np.asarray(fitted.statements.mean[:, _AXIS]),
    share,
    fitted,
  )


def reliability(
  key: types.Key, found: Conversation, *, seed: int, splits: int = 5
) -> Reliability:
  """Returns how well an axis says where somebody stands.

  People are halved; the votes of one half give loadings, by which two halves
  of the votes of each of the others give two stances. Then the halves of
  people exchange, and all is done again with other halves.

  Args:
    key: of the factorisations' starts.
    found: a conversation.
    seed: of the halving of people and votes.
    splits: how often people are halved; correlations are averaged over them
      (Fisher's z), and the limits are as wide as those of a single one.

  Raises:
    ValueError: too few people are measured.
  """
  measured = found.measured()
  _enough(found, measured, 2 * FEWEST)
  value, found_axis = zip(
    *(
      _halved(start, found, [seed, split])
      for split, start in enumerate(jax.random.split(key, splits))
    ),
    strict=True,
  )
  n = int(measured.sum())
  middle = np.arctanh(np.clip(value, -0.9999, 0.9999)).mean()
  width = stats.norm.ppf(0.975) / np.sqrt(n - 3)
  mean, low, high = np.tanh(middle + width * np.array([0.0, -1.0, 1.0]))
  return Reliability(
    value=float(mean),
    low=float(low),
    high=float(high),
    whole=float(2 * mean / (1 + mean)),
    found=float(np.mean(found_axis)),
    people=n,
  )


def _halved(
  start: types.Key, found: Conversation, seed: list[int]
) -> tuple[float, float]:
  """Returns the correlation of two stances, and how often there was an axis."""
  measured = found.measured()
  rng = np.random.default_rng([*seed, 32])
  first = rng.permutation(found.people) < found.people // 2
  learn = halves(found, seed=int(rng.integers(2**31)))
  product, axes = np.zeros(0), []
  for mine, key in zip((first, ~first), jax.random.split(start), strict=True):
    ours = mine[found.person]
    fitted = _fit(key, found.votes(~ours), factors=_FACTORS)
    axes.append(float(fitted.statement.variance[_AXIS]) >= _NO_FACTOR)
    here = np.flatnonzero(mine & measured)
    stance = np.stack(
      [
        _infer(found.votes(ours & part), fitted.statements, fitted.person).mean[
          here, _AXIS
        ]
        for part in (learn, ~learn)
      ]
    ).astype(np.float64)
    away = stance - stance.mean(1, keepdims=True)
    spread = np.sqrt((away**2).mean(1).prod())  # two fits have two scales
    told = axes[-1] and spread > 0
    product = np.append(product, away.prod(0) / spread if told else 0 * here)
  return float(product.mean()), float(np.mean(axes))


def sides(
  found: Conversation, axis: Axis, chosen: np.ndarray | None = None
) -> Sides:
  """Returns people's sides and statements' sides.

  Args:
    found: a conversation.
    axis: of it.
    chosen: `[n]` bool, votes by which straddling is counted; all if None.
  """
  middle = np.median(axis.stance[found.measured()])
  person = np.where(axis.stance > middle, 1, -1)
  rows = np.ones(len(found.person), bool) if chosen is None else chosen
  S, share, votes = len(found.texts), [], []
  for side in (1, -1):
    of = rows & (person[found.person] == side)
    count = np.bincount(found.statement[of], minlength=S)
    agree = np.bincount(found.statement[of], found.agrees[of], S)
    share.append(agree / np.maximum(count, 1))
    votes.append(count)
  known = np.minimum(*votes) >= _EACH_SIDE
  differ = (share[0] > 0.5) != (share[1] > 0.5)
  apart = np.abs(share[0] - share[1]) > _APART
  return Sides(
    person, np.where(axis.loading > 0, 1, -1), known & differ & apart
  )


# --------------------------------------------------------- what may be written


def reported(group: np.ndarray) -> list[int]:
  """Returns the groups about which figures may be written.

  A group of fewer than ten people is left out; so is the smallest other one
  where what is left out would be fewer than ten people in all, for a total
  less the groups that are shown would tell of them.

  Args:
    group: `[P]` int, -1 in none.
  """
  names, count = np.unique(group[group >= 0], return_counts=True)
  order = np.argsort(-count, kind='stable')
  names, count = names[order], count[order]
  shown = int((count >= FEWEST).sum())
  hidden = len(group) - int(count[:shown].sum())
  if 0 < hidden < FEWEST and shown:
    shown -= 1
  return sorted(int(name) for name in names[:shown])


def _enough(found: Conversation, measured: np.ndarray, least: int) -> None:
  if measured.sum() < least:
    raise ValueError(
      f'{found.name}: fewer than {least} people have {VOTES} agreements and '
      f'disagreements, and no figure is over fewer than {FEWEST} people'
    )
