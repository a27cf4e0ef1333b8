"""Tournaments: by hand, what cancels, and what a budget allows."""

import itertools

import numpy as np
import pytest
from scipy import special

from prm_jax.ops import tournaments

NAN = float('nan')


class Judge:
  """Compares by strength, and counts what it was asked."""

  def __init__(self, strength, bias=0.0, *, sure=True):
    self.strength, self.bias, self.sure = np.asarray(strength), bias, sure
    self.batches = []

  def __call__(self, pairs):
    assert pairs.ndim == 2
    assert len(pairs)
    self.batches.append(pairs)
    first, second = self.strength[pairs].T
    p = special.expit(first - second + self.bias)
    return np.where(p == 0.5, 0.5, p > 0.5) if self.sure else p


def says_a(pairs):
  return np.ones(len(pairs))


def says_nothing(pairs):
  return np.full(len(pairs), NAN)


def test_knockout_by_hand():
  judge = Judge([0, 1, 2, 3, 4])
  found = tournaments.knockout(judge, np.array([[3, 1, 0, 2, 4]]))
  # 3-1, 0-2, bye of 4; then 4-3, bye of 2; then 2-4.
  want = [[[3, 1], [0, 2]], [[4, 3]], [[2, 4]]]
  assert [b.tolist() for b in judge.batches] == want
  assert found.wins.tolist() == [[0, 0, 1, 1, 2]]
  assert found.byes.tolist() == [[0, 0, 1, 0, 1]]
  assert tournaments.mean_rounds(found).tolist() == [0, 0, 2, 1, 3]
  assert found.met.tolist() == [[1, 1, 2, 2, 2]]
  assert found.winner.tolist() == [4]
  assert found.matches.tolist() == [4]


@pytest.mark.parametrize('n', range(1, 10))
def test_knockouts_of_all_sizes(n):
  rng = np.random.default_rng(n)
  order = np.stack([rng.permutation(n) for _ in range(5)])
  judge = Judge(rng.normal(size=n))
  found = tournaments.knockout(judge, order)
  assert (found.winner == judge.strength.argmax()).all()
  assert (found.matches == n - 1).all()
  assert (found.wins.sum(1) == n - 1).all()
  assert len(judge.batches) == int(np.ceil(np.log2(n)))  # one a round
  assert sum(map(len, judge.batches)) == 5 * (n - 1)
  # Who is left went through every round, and nobody else did.
  through = found.wins + found.byes
  assert (through.argmax(1) == found.winner).all()
  assert (np.sort(through, 1)[:, -1] == len(judge.batches)).all()
  assert (np.sort(through, 1)[:, -2:-1] == len(judge.batches) - 1).all()
  # Renaming candidates renames what is found.
  name = rng.permutation(n)
  strength = np.empty(n)
  strength[name] = judge.strength
  other = tournaments.knockout(Judge(strength), name[order])
  np.testing.assert_array_equal(other.wins[:, name], found.wins)
  np.testing.assert_array_equal(other.winner, name[found.winner])


def test_ties_and_invalid_matches():
  order = np.arange(4)[None]
  tied = tournaments.knockout(Judge(np.zeros(4)), order)
  assert tied.wins.tolist() == [[1, 0.5, 1, 0.5]]
  assert tied.winner.tolist() == [0]
  nothing = tournaments.knockout(says_nothing, order)
  assert nothing.wins.tolist() == [[0] * 4]
  assert nothing.met.tolist() == [[0] * 4]
  assert nothing.winner.tolist() == [0]


def test_members_of_a_team_meet_only_where_they_have_to():
  for seed in range(60):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 10)
    teams = rng.integers(0, 4, n)
    judge = Judge(rng.normal(size=n))
    order = rng.permutation(n)[None]
    found = tournaments.knockout(judge, order, teams)
    left = set(range(n))
    for pairs in judge.batches:
      field = np.bincount(teams[list(left)])
      within = (teams[pairs[:, 0]] == teams[pairs[:, 1]]).sum()
      # Of n, the others and a bye take as many as they can.
      spare = field.max() - len(left) % 2 - (len(left) - field.max())
      assert within == max(0, (spare + 1) // 2)
      assert len(pairs) == len(left) // 2
      s = judge.strength[pairs]
      left -= set(pairs[np.arange(len(pairs)), s.argmin(1)].tolist())
    assert len({int(teams[c]) for c in left}) == 1
    assert found.winner[0] in left
  with pytest.raises(ValueError, match='teams'):
    tournaments.knockout(judge, order, np.zeros(n + 1))


def test_two_teams_are_over_when_one_is_left():
  judge = Judge([3, 2, 1, 0])
  order, teams = np.arange(4)[None], np.array([0, 0, 1, 1])
  found = tournaments.knockout(judge, order, teams)
  assert [b.tolist() for b in judge.batches] == [[[0, 2], [1, 3]]]
  assert found.winner.tolist() == [0]
  alone = tournaments.knockout(says_a, order, np.zeros(4))
  assert alone.matches.tolist() == [0]


def of_each(verdict, seen=None):
  """A judge that knows whether an answer is correct."""

  def compare(pairs):
    if seen is not None:
      seen.append(pairs.tolist())
    return np.asarray(verdict, float)[pairs]

  return compare


def test_both_of_a_match_can_go():
  seen, order = [], np.array([[4, 1, 0, 2, 3]])
  judge = of_each([0, 0, 1, 1, 0], seen)
  found = tournaments.knockout(judge, order, each=True)
  # 4 and 1 go, 0 goes, 3 has a bye; 3 comes first and meets 2: both correct.
  assert seen == [[[4, 1], [0, 2]], [[3, 2]]]
  assert found.wins.tolist() == [[0, 0, 1.5, 0.5, 0]]
  assert found.met.tolist() == [[1, 1, 2, 1, 1]]
  assert found.winner.tolist() == [3]
  assert found.matches.tolist() == [3]  # not 4
  # The more likely one goes on, whoever comes first.
  found = tournaments.knockout(
    of_each([0.6, 0.9]), np.array([[0, 1]]), each=True
  )
  assert found.wins.tolist() == [[0, 1]]
  assert found.winner.tolist() == [1]


def test_nobody_is_left():
  # All go in the first round: the first of it; in the second: with most wins.
  none = tournaments.knockout(
    of_each(np.zeros(4)), np.array([[2, 0, 1, 3]]), each=True
  )
  assert none.wins.tolist() == [[0] * 4]
  assert none.winner.tolist() == [2]
  assert none.matches.tolist() == [2]

  def tired(pairs):  # who is right once is wrong later
    return np.where(len(pairs) == 2, [[0.0, 1.0]] * len(pairs), 0.0)

  late = tournaments.knockout(tired, np.array([[0, 3, 1, 2]]), each=True)
  assert late.wins.tolist() == [[0, 0, 1, 1]]
  assert late.winner.tolist() == [3]
  bye = tournaments.knockout(
    of_each(np.zeros(3)), np.arange(3)[None], each=True
  )
  assert bye.winner.tolist() == [2]  # without a match, and so not out
  assert bye.met.tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(
  ('found', 'wins', 'winner'),
  [
    ((NAN, NAN), [0, 0], 0),
    ((NAN, 1), [0, 1], 1),
    ((1, NAN), [1, 0], 0),
    ((NAN, 0), [0, 0], 0),
    ((0, NAN), [0, 0], 1),
  ],
)
def test_invalid_judgements_of_one_of_two(found, wins, winner):
  def judge(pairs):
    return np.array([found] * len(pairs))

  result = tournaments.knockout(judge, np.array([[0, 1]]), each=True)
  assert result.wins.tolist() == [wins]
  assert result.winner.tolist() == [winner]
  assert result.met.tolist() == [[f == f for f in found]]


def test_knockouts_of_each_rename_and_keep_teams_apart():
  for seed in range(40):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    order = np.stack([rng.permutation(n) for _ in range(3)])
    teams, name = rng.integers(0, 4, n), rng.permutation(n)
    verdict = rng.choice([0, 0.3, 1, NAN], (n, n))  # of i when shown with j

    def judge(pairs, verdict=verdict):
      return np.stack([verdict[tuple(p.T)] for p in (pairs, pairs[:, ::-1])], 1)

    found = tournaments.knockout(judge, order, teams, each=True)
    renamed = np.empty((n, n))
    renamed[np.ix_(name, name)] = verdict
    named = np.empty(n, int)
    named[name] = teams
    other = tournaments.knockout(
      lambda pairs, r=renamed: judge(pairs, r), name[order], named, each=True
    )
    np.testing.assert_array_equal(other.wins[:, name], found.wins)
    np.testing.assert_array_equal(other.winner, name[found.winner])
    assert (found.matches <= n - 1).all()
  # Certain judges of which one is right: as a judge of pairs.
  strength = np.array([1, 0, 0, 0])
  order = np.array([[3, 0, 1, 2]])
  found = tournaments.knockout(of_each(strength), order, each=True)
  assert found.winner.tolist() == [0]
  with pytest.raises(ValueError, match='outcomes'):
    tournaments.knockout(says_a, order, each=True)


@pytest.mark.parametrize('n', [2, 3, 4, 5, 8, 9])
def test_schedules_share(n):
  pairs_of = n * (n - 1) // 2
  for budget in {n - 1, n, n + 3, pairs_of, pairs_of + n, 2 * pairs_of}:
    rng = np.random.default_rng(budget)
    pairs = tournaments.schedule(rng, n, budget)
    assert pairs.shape == (budget, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    degree = np.bincount(pairs.ravel(), minlength=n)
    assert np.ptp(degree) <= 1 + n % 2
    often = np.zeros((n, n), int)
    np.add.at(often, tuple(np.sort(pairs, 1).T), 1)
    often = often[np.triu_indices(n, 1)]
    assert np.ptp(often) <= 1
    reached = {0}
    for _ in range(n):
      reached |= {int(c) for p in pairs if reached & set(p.tolist()) for c in p}
    assert reached == set(range(n))
    if budget == 2 * pairs_of:  # each order of each pair once
      every = set(itertools.permutations(range(n), 2))
      assert set(map(tuple, pairs.tolist())) == every
  with pytest.raises(ValueError, match='no pair'):
    tournaments.schedule(rng, 1, 1)


def test_whole_rounds_are_a_regular_graph():
  for n, degree in ((8, 3), (10, 4), (6, 5)):
    rng = np.random.default_rng(n)
    pairs = tournaments.schedule(rng, n, n * degree // 2)
    assert (np.bincount(pairs.ravel()) == degree).all()
    assert len({frozenset(p) for p in pairs.tolist()}) == len(pairs)


def test_round_robin():
  assert tournaments.round_robin(3).tolist() == [[0, 1], [0, 2], [1, 2]]
  assert tournaments.round_robin(1).shape == (0, 2)


def test_both_orders_cancel_a_preference_for_a_place():
  pairs = tournaments.round_robin(4)
  found = tournaments.both_orders(says_a)(pairs)
  assert found.tolist() == [0.5] * 6
  judge = Judge(np.arange(4), bias=2.0, sure=False)
  found = tournaments.both_orders(judge)
  np.testing.assert_allclose(found(pairs) + found(pairs[:, ::-1]), 1.0)
  assert len(judge.batches) == 2
  half = tournaments.both_orders(lambda p: np.where(p[:, 0] < 2, 1, NAN))
  assert np.isnan(half(pairs)).tolist() == [False, True, True, True, True, True]
  fixed = tournaments.fixed_order(says_a)
  assert fixed(np.array([[0, 1], [1, 0]])).tolist() == [1, 0]


def test_padded_judges_are_asked_for_one_number_of_pairs():
  asked = []

  def compare(pairs):
    asked.append(pairs)
    return (pairs[:, 0] > pairs[:, 1]).astype(float)

  found = tournaments.knockout(
    tournaments.padded(compare, 5), np.arange(16)[None]
  )
  np.testing.assert_array_equal(found.winner, [15])
  assert [len(pairs) for pairs in asked] == [5] * 5
  np.testing.assert_array_equal(
    asked[1], [[10, 11], [12, 13], [14, 15]] + 2 * [[10, 11]]
  )


def test_outcomes_of_verdicts():
  found = tournaments.outcomes(np.array([0, 1, -1, 2]))
  np.testing.assert_array_equal(found, [1, 0, NAN, NAN])


def scalars(judge, n, budget, how, seed=0, **options):
  return tournaments.scalars(
    np.random.default_rng(seed), judge, n, budget=budget, how=how, **options
  )


@pytest.mark.parametrize('how', tournaments.METHODS)
def test_scalars_of_all_methods(how):
  strength = np.array([0.5, -1, 2, 0, 1])
  # Twice around with a judge that is sure: the order is the true one.
  for order in tournaments.ORDERS:
    judge = Judge(strength)
    found = scalars(judge, 5, 400, how, order=order)
    assert found.shape == (5,)
    assert sum(map(len, judge.batches)) <= 400
    assert len(judge.batches) == (3 if how == 'knockout' else 1)
    assert found.argsort().tolist() == strength.argsort().tolist()
    nothing = scalars(says_nothing, 5, 40, how, order=order)
    assert np.isnan(nothing).all()
  assert scalars(says_nothing, 1, 0, how).tolist() == [0]


@pytest.mark.parametrize('how', tournaments.METHODS)
def test_who_always_says_a_ranks_nobody_in_both_orders(how):
  found = scalars(says_a, 6, 60, how, order='both')
  if how == 'knockout':  # ties: whoever goes on has half a win more
    found = np.mean(
      [scalars(says_a, 6, 60, how, s, order='both') for s in range(300)], 0
    )
    np.testing.assert_allclose(found, found.mean(), atol=0.1)
  else:
    np.testing.assert_allclose(found, found[0], atol=1e-9)
  fixed = scalars(says_a, 6, 60, how, order='fixed')
  assert fixed[0] == fixed.max() > fixed[-1]


@pytest.mark.parametrize('how', tournaments.METHODS)
@pytest.mark.parametrize(('n', 'order'), [(4, 'random'), (4, 'both')])
def test_a_budget_may_be_too_small(how, n, order):
  least = (n - 1) * (2 if order == 'both' else 1)
  judge = Judge(np.arange(n))
  assert np.isfinite(scalars(judge, n, least, how, order=order)).all()
  assert sum(map(len, judge.batches)) == least
  with pytest.raises(ValueError, match=f'at least {least}'):
    scalars(judge, n, least - 1, how, order=order)


def test_scalars_with_teams():
  # 0 and 1 agree, and so do 2 and 3: none meets its own.
  judge, teams = Judge([3, 2, 1, 0]), np.array([7, 7, 5, 5])
  found = scalars(judge, 4, 60, 'knockout', teams=teams)
  assert found.argsort().tolist()[2:] in ([0, 1], [1, 0])
  met = {tuple(sorted(p)) for b in judge.batches for p in b.tolist()}
  assert met == {(0, 2), (0, 3), (1, 2), (1, 3)}
  assert found.tolist() == [1, 1, 0, 0]
  one = scalars(judge, 4, 60, 'knockout', teams=np.ones(4))
  assert one.tolist() == [0] * 4
  with pytest.raises(ValueError, match='one of each of 4'):
    scalars(judge, 4, 60, 'knockout', teams=teams[:3])
  for how in tournaments.METHODS[1:]:
    with pytest.raises(ValueError, match='teams are for a knockout'):
      scalars(judge, 4, 60, how, teams=teams)


def test_what_is_refused():
  with pytest.raises(ValueError, match='one of'):
    tournaments.rated(np.array([[0, 1]]), np.ones(1), 2, how='knockout')
  for how, order in (('best', 'random'), ('elo', 'any')):
    with pytest.raises(ValueError, match='of '):
      scalars(says_a, 3, 9, how, order=order)
  with pytest.raises(ValueError, match='no candidate'):
    scalars(says_a, 0, 9, 'elo')
  with pytest.raises(ValueError, match='permutations'):
    tournaments.knockout(says_a, np.array([[0, 0]]))
  for wrong, says in (
    (lambda p: -np.ones(len(p)), 'probab'),
    (np.sum, 'pairs'),
  ):
    with pytest.raises(ValueError, match=says):
      scalars(wrong, 3, 9, 'win_rate')


def test_random_order_beats_a_fixed_one_under_bias():
  """Of win rates, with a preference for the first place of 1 logit."""
  rng, agree = np.random.default_rng(0), {'fixed': [], 'random': []}
  for seed in range(60):
    strength = rng.normal(size=8)
    judge = Judge(1.5 * strength, bias=1.0, sure=False)

    def compare(pairs, judge=judge):
      return (rng.random(len(pairs)) < judge(pairs)).astype(float)

    for order, found in agree.items():
      rate = scalars(compare, 8, 112, 'win_rate', seed, order=order)
      found.append(np.corrcoef(rate, strength)[0, 1])
  assert np.mean(agree['random']) > np.mean(agree['fixed']) + 0.05
