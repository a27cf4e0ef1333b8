"""Tournaments: n candidates ranked by a judge that compares two.

A judge is `compare(pairs) -> outcome`: pairs `[C, 2]` of candidates in the
order shown, outcomes `[C]` the probability that the first is better: 1, 0, 0.5
for a tie, NaN for an invalid one. It is asked once a round, for all pairs of
it, and never for none. A judge of each answer says of both whether they are
correct: outcomes `[C, 2]`, of `knockout` alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from prm_jax.ops import strengths

Compare = Callable[[np.ndarray], np.ndarray]

METHODS = ('knockout', 'win_rate', 'elo', 'bradley_terry')
ORDERS = ('random', 'both', 'fixed')


class Brackets(NamedTuple):
  """What R knockouts of n candidates found.

  Attributes:
    wins: `[R, n]` matches won; a tie is half a win for both, an invalid one
      nothing for either.
    byes: `[R, n]` rounds that each went through without a match.
    met: `[R, n]` valid matches of each candidate.
    winner: `[R]` the one that is left.
    matches: `[R]` how many were asked for: n - 1 without teams where one of
      two goes on.
  """

  wins: np.ndarray
  byes: np.ndarray
  met: np.ndarray
  winner: np.ndarray
  matches: np.ndarray


def outcomes(verdict: np.ndarray) -> np.ndarray:
  """Returns verdicts as outcomes `[C]`: 1 for place 0, 0 for 1, else NaN.

  Args:
    verdict: `[C]` int, the place preferred; -1 is invalid.
  """
  verdict = np.asarray(verdict)
  valid = (verdict == 0) | (verdict == 1)
  return np.where(valid, 1.0 - verdict, np.nan)


def both_orders(compare: Compare) -> Compare:
  """Returns a judge that sees each pair in both orders, in one batch.

  Its outcome is the mean of both, so that a preference for a place cancels; it
  is NaN if either is, because one order alone would bring the preference back.

  Args:
    compare: the judge; each pair costs it two comparisons.
  """

  def ask(pairs: np.ndarray) -> np.ndarray:
    found = _asked(compare, np.concatenate([pairs, pairs[:, ::-1]]))
    first, second = np.split(found, 2)
    return 0.5 * (first + 1.0 - second)

  return ask


def padded(compare: Compare, size: int) -> Compare:
  """Returns a judge that is always asked for `size` pairs at once.

  So that rounds of different numbers of matches are one compiled program: what
  is missing are copies of the first pair, and of more pairs it is asked in
  turn.

  Args:
    compare: the judge.
    size: pairs of a batch, such as those of the first round.
  """

  def ask(pairs: np.ndarray) -> np.ndarray:
    found = []
    for first in range(0, len(pairs), size):
      some = pairs[first : first + size]
      copies = np.repeat(some[:1], size - len(some), 0)
      outcome = _asked(compare, np.concatenate([some, copies]))
      found.append(outcome[: len(some)])
    return np.concatenate(found)

  return ask


def fixed_order(compare: Compare) -> Compare:
  """Returns a judge that is always shown the lower candidate first.

  Args:
    compare: the judge; what it prefers of places goes to low numbers.
  """

  def ask(pairs: np.ndarray) -> np.ndarray:
    found = _asked(compare, np.sort(pairs, 1))
    return np.where(pairs[:, 0] < pairs[:, 1], found, 1.0 - found)

  return ask


def round_robin(n: int) -> np.ndarray:
  """Returns all pairs of n candidates `[n (n - 1) / 2, 2]`, the lower first.

  Args:
    n: number of candidates.
  """
  return np.stack(np.triu_indices(n, 1), 1)


def schedule(rng: np.random.Generator, n: int, budget: int) -> np.ndarray:
  """Returns pairs `[budget, 2]` that share comparisons among n candidates.

  Rounds of a round robin over shuffled candidates, in which everybody (of an
  odd number, all but one) meets somebody new: r rounds are an r-regular graph.
  The first two are one path through all, so that n - 1 comparisons connect
  everybody; the others come in random order. Nobody has two comparisons more
  than another (three, if n is odd), and no pair comes again before all have.
  Who is shown first is random, and the other one when the pair comes again.

  Args:
    rng: of shuffles.
    n: number of candidates, at least 2.
    budget: number of comparisons.

  Raises:
    ValueError: there are fewer than two candidates.
  """
  if n < 2:
    raise ValueError(f'{n} candidates: no pair')
  flip = np.triu(rng.random((n, n)) < 0.5, 1)
  flip |= np.tril(~flip.T, -1)  # [i, j]: whether j is shown first
  pairs, degree = np.zeros((0, 2), int), np.zeros(n, int)
  while len(pairs) < budget:
    name, rounds = rng.permutation(n), _rounds(n)
    rest = 2 + rng.permutation(max(len(rounds) - 2, 0))
    for r in [*range(min(2, len(rounds))), *rest]:
      met = name[rounds[r]]
      # Where a round is cut, those that met fewer come first.
      met = met[np.argsort(degree[met].sum(1), kind='stable')]
      met = met[: max(budget - len(pairs), 0)]
      degree += np.bincount(met.ravel(), minlength=n)
      turned = flip[met[:, 0], met[:, 1]]
      met = np.where(turned[:, None], met[:, ::-1], met)
      pairs = np.concatenate([pairs, met])
    flip = ~flip
  return pairs


def knockout(
  compare: Compare,
  order: np.ndarray,
  teams: np.ndarray | None = None,
  *,
  each: bool = False,
) -> Brackets:
  """Returns what R knockouts found, each round of all of them in one batch.

  Neighbours meet, the earlier one shown first, and the better one goes on; of
  a tie or an invalid comparison the earlier one. The last of an odd number
  goes on without a match, and comes first in the next round. Shuffled orders
  make both fair, and renaming candidates renames what is found.

  Members of a team, such as answers with the same result, meet only where
  they have to: where a team is more than half. A bracket in which one team
  is left is over, and the winner is the one with most wins.

  With `each`, answers that are judged incorrect go, both of a match too: a
  win is to be judged correct, and ahead of the other one. Of two correct ones
  the more likely goes on, and they tie if they are equally so. Where nobody
  is left, the winner is of the last round, with most wins.

  Args:
    compare: the judge.
    order: `[R, n]` int, each row a permutation of candidates.
    teams: `[n]` int, or None: everybody alone.
    each: whether the judge gives `[C, 2]`, the probability that each answer
      is correct, NaN where invalid: of whom nothing is known but the match.

  Raises:
    ValueError: a row of `order` is no permutation, or teams are not `[n]`.

  References:
    Liu et al. 2025 (PairJudge RM), arXiv:2501.13007; Guo et al. 2025 (RRM),
    arXiv:2505.14674.

  Notes:
    PairJudge is `each` with teams by final answer: its abstract says that it
    "eliminates the incorrect ones iteratively". Its pseudo-code and code were
    not at hand: what becomes of two correct answers, and of a round that
    nobody survives, is decided here.
  """
  order = np.asarray(order)
  brackets, n = order.shape
  if n < 1 or np.any(np.sort(order, 1) != np.arange(n)):
    raise ValueError(f'order {order.shape}: rows are permutations')
  teams = None if teams is None else np.asarray(teams)
  if teams is not None and teams.shape != (n,):
    raise ValueError(f'teams {teams.shape}: one of each of {n}')
  fields, playing = order.tolist(), list(range(brackets))
  team = list(range(n)) if teams is None else teams.tolist()
  wins = np.zeros((brackets, n))
  byes, met = np.zeros((2, brackets, n), int)
  matches = np.zeros(brackets, int)
  while True:
    playing = [b for b in playing if len({team[c] for c in fields[b]}) > 1]
    if not playing:
      break
    drawn = [_matches(fields[b], teams) for b in playing]
    pairs = np.concatenate(drawn)
    bracket = np.repeat(playing, [len(d) for d in drawn])
    won, valid, gone = _played(_asked(compare, pairs, each=each))
    for place in (0, 1):
      wins[bracket, pairs[:, place]] += won[:, place]
      met[bracket, pairs[:, place]] += valid[:, place]
    np.add.at(matches, bracket, 1)
    ends = np.cumsum([len(d) for d in drawn])[:-1]
    parts = zip(playing, drawn, np.split(gone, ends), strict=True)
    left = {}
    for b, d, lost in parts:
      free, ahead = _gone_on(fields[b], d, lost)
      byes[b, free] += 1
      left[b] = free + ahead
    playing = [b for b in playing if left[b]]
    for b in playing:
      fields[b] = left[b]
  winner = [f[np.argmax(wins[b, f])] for b, f in enumerate(fields)]
  return Brackets(wins, byes, met, np.array(winner, int), matches)


def scalars(
  rng: np.random.Generator,
  compare: Compare,
  n: int,
  *,
  budget: int,
  how: str,
  order: str = 'random',
  teams: np.ndarray | None = None,
  ridge: float = 0.05,
) -> np.ndarray:
  """Returns a reward of each candidate `[n]` from a judge of pairs.

  `knockout`: mean number of rounds got through (`mean_rounds`) in as many
  shuffled brackets as the budget allows, the rest of it unused. The others
  compare `schedule`'s pairs: `win_rate`, `elo` in points, `bradley_terry` in
  logits. One candidate, or team, that is alone gets 0, and a candidate without
  a valid comparison NaN: no reward.

  Args:
    rng: of shuffles.
    compare: the judge.
    n: number of candidates, such as the samples of a prompt.
    budget: how many comparisons the judge may make, at least n - 1.
    how: one of `METHODS`.
    order: who is shown first: `random`; `both`, which takes two comparisons
      a pair; or `fixed`, which gives a preference for a place to low numbers.
    teams: `[n]` int, whose members need not meet, of `knockout` alone.
    ridge: of `bradley_terry`, which is not finite without one where somebody
      always won.

  Raises:
    ValueError: as `check`, before the judge is asked.
  """
  check(n, budget=budget, how=how, order=order, teams=teams)
  if len(np.unique(np.arange(n) if teams is None else teams)) == 1:
    return np.zeros(n)
  budget //= 2 if order == 'both' else 1
  wrapper = {'both': both_orders, 'fixed': fixed_order}.get(order)
  judge = compare if wrapper is None else wrapper(compare)
  if how == 'knockout':
    rows = np.tile(np.arange(n), (budget // (n - 1), 1))
    found = knockout(judge, rng.permuted(rows, axis=1), teams)
    return mean_rounds(found)
  pairs = schedule(rng, n, budget)
  return rated(pairs, _asked(judge, pairs), n, how=how, ridge=ridge)


def check(
  n: int,
  *,
  budget: int,
  how: str,
  order: str = 'random',
  teams: np.ndarray | None = None,
) -> None:
  """Refuses settings of `scalars`, which nobody has to be asked for.

  Args:
    n: number of candidates.
    budget: see `scalars`.
    how: see `scalars`.
    order: see `scalars`.
    teams: see `scalars`.

  Raises:
    ValueError: unknown `how` or `order`, no candidate, teams that are not
      `[n]` or not for a knockout, or a budget that does not connect all
      candidates.
  """
  if how not in METHODS or order not in ORDERS:
    raise ValueError(f'{how!r}, {order!r}: of {METHODS} and {ORDERS}')
  if n < 1:
    raise ValueError('no candidate')
  if teams is not None:
    if how != 'knockout':
      raise ValueError(f'teams are for a knockout, not for {how!r}')
    if np.shape(teams) != (n,):
      raise ValueError(f'teams {np.shape(teams)}: one of each of {n}')
  alone = len(np.unique(np.arange(n) if teams is None else teams)) == 1
  least = (n - 1) * (2 if order == 'both' else 1)
  if budget < least and not alone:
    raise ValueError(f'budget {budget}: {n} candidates take at least {least}')


def mean_rounds(found: Brackets) -> np.ndarray:
  """Returns rounds got through, over the brackets, `[n]`.

  Matches won and byes: were byes nothing, who had one and is left in the end
  would have no more than the last one beaten. NaN of who had no valid match.

  Args:
    found: by `knockout`.
  """
  through = (found.wins + found.byes).mean(0)
  return np.where(found.met.sum(0) > 0, through, np.nan)


def rated(
  pairs: np.ndarray,
  outcome: np.ndarray,
  n: int,
  *,
  how: str,
  ridge: float = 0.05,
) -> np.ndarray:
  """Returns a reward `[n]` of comparisons, NaN of who had no valid one.

  Args:
    pairs: `[C, 2]` int.
    outcome: `[C]` probability that the first is better, or NaN.
    n: number of candidates.
    how: `win_rate`, `elo` in points, or `bradley_terry` in logits.
    ridge: of `bradley_terry`.

  Raises:
    ValueError: unknown `how`, or what `strengths.told` refuses.
  """
  if how == 'win_rate':
    reward = strengths.win_rate(pairs, outcome, n)
  elif how == 'elo':
    reward = strengths.elo(pairs, outcome, n)
  elif how == 'bradley_terry':
    reward = strengths.bradley_terry(pairs, outcome, n, ridge=ridge).value
  else:
    raise ValueError(f'{how!r}: one of {METHODS[1:]}')
  return np.where(strengths.counts(pairs, outcome, n) > 0, reward, np.nan)


def _asked(
  compare: Compare, pairs: np.ndarray, *, each: bool = False
) -> np.ndarray:
  """Returns outcomes `[C]` of a batch, or `[C, 2]`, refusing what is none."""
  found = np.asarray(compare(pairs), float)
  if found.shape != (pairs.shape if each else pairs.shape[:1]):
    raise ValueError(f'{len(pairs)} pairs, outcomes {found.shape}')
  if np.any((found < 0) | (found > 1)):
    raise ValueError('outcomes are probabilities, NaN where invalid')
  return found


def _played(found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns wins, what was valid, and who is out, each `[C, 2]`.

  Args:
    found: outcomes `[C]`, of which one goes, or `[C, 2]`, of which both may.
  """
  each = found.ndim == 2
  own = found if each else np.stack([found, 1.0 - found], 1)
  valid = ~np.isnan(own)
  own = np.where(valid, own, 0.5)  # a toss
  other = own[:, ::-1]
  counts = own > 0.5 if each else valid
  won = counts * np.where(own == other, 0.5, own > other)
  out = own < other
  out[:, 1] |= own[:, 1] == own[:, 0]
  if each:
    out |= (own < 0.5) & (other < 0.5)
  return won, valid, out


def _rounds(n: int) -> list[np.ndarray]:
  """Returns the rounds of a round robin by the circle method, `[n // 2, 2]`."""
  size = n - 1 + n % 2  # of the circle; of an odd number, the centre is empty
  away = np.arange(1, (size + 1) // 2)
  rounds = []
  for r in range(size):
    pairs = np.stack([(r + away) % size, (r - away) % size], 1)
    if n % 2 == 0:
      pairs = np.concatenate([[[size, r]], pairs])
    rounds.append(pairs)
  return rounds


def _gone_on(
  field: list[int], drawn: np.ndarray, gone: np.ndarray
) -> tuple[list[int], list[int]]:
  """Returns who goes on without a match, and who of matches `[m, 2]`."""
  met, lost = set(drawn.ravel().tolist()), set(drawn[gone].tolist())
  free = [c for c in field if c not in met]
  return free, [c for c in field if c in met and c not in lost]


def _matches(field: list[int], teams: np.ndarray | None) -> np.ndarray:
  """Returns a round's matches `[m, 2]`, the earlier in the field first."""
  half = len(field) // 2
  if teams is None:  # everybody alone: neighbours meet
    return np.array(field[: 2 * half]).reshape(-1, 2)
  team = teams[field]
  names, first, size = np.unique(team, return_index=True, return_counts=True)
  places = np.arange(len(field))
  if np.all(size == 1):
    return _matches(field, None)
  if len(field) % 2:  # the largest team's last has the bye if it is too large
    largest = np.argmax(size)
    tired = places[team == names[largest]] if size[largest] > half else places
    places = np.delete(places, tired[-1])
    size = size - (names == team[tired[-1]])
  # Teams side by side, the largest first: half a field on are others.
  place = np.searchsorted(names, team[places])
  places = places[np.lexsort((places, first[place], -size[place]))]
  pairs = np.sort(np.stack([places[:half], places[half:]], 1), 1)
  return np.asarray(field)[pairs]
