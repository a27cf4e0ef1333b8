"""Judges that reason: problems, rules, tables, and a run of a few steps."""

import jax
import numpy as np
import pytest

from configs import reasoning_rewards
from experiments.reasoning_rewards import (
  criteria,
  experiment,
  injections,
  judges,
  measured,
  problems,
  scalars,
  tables,
  training,
  votes,
)
from prm_jax.lab import study, units
from prm_jax.worlds import judging

CONFIG = reasoning_rewards.get_config('smoke')


@pytest.fixture(scope='module')
def world():
  return problems.world(CONFIG.problems, 3)


def named(some):
  """Problems by start, length and steps."""
  steps = np.stack([some.operator, some.operand], 2).reshape(
    len(some.start), -1
  )
  return {
    (int(start), int(length), *map(int, step[: 2 * length]))
    for start, length, step in zip(some.start, some.length, steps, strict=True)
  }


def test_problems_to_choose_on_are_neither_trained_on_nor_tested(world):
  tested = set().union(*map(named, world.tests.values()))
  pool, validation = named(world.pool), named(world.validation)
  assert not pool & tested
  assert not pool & validation
  assert not tested & validation
  assert set(world.tests) == {1, 2, 3, 4}
  assert world.pool.operator.shape[1] == 4


def test_many_pairs_tell_a_point_from_none(world):
  found = problems.many(world, 3, (1, 4), 50)
  pool, validation = named(world.pool), named(world.validation)
  for side, some in found.items():
    assert some.right.tolist() == [1, 0] * (len(some.right) // 2)
    number = measured.problem_of(some)
    np.testing.assert_array_equal(number[::2], number[1::2])
    counts = {
      (K, kind): int(((some.problems.length == K) & (some.shown == kind)).sum())
      for K in (1, 4)
      for kind in (False, True)
    }
    most = len(world.tests[1].start)
    if side == 'test':
      # Of 50 problems each both solutions; shown ones are those tested.
      assert counts == {
        **{(1, False): 100, (4, False): 100},
        **{(1, True): 2 * most, (4, True): 2 * most},
      }
      assert not named(some.problems) & (pool | validation)
    else:
      assert counts[4, False] <= 100
      assert named(some.problems) <= pool


def test_tests_are_right_and_wrong_by_length_and_class(world):
  given = problems.held_out(world, 3, 1, 4)
  assert given.right.tolist() == [1, 0] * 32
  assert given.shown[:16].all()
  assert not given.shown[16:32].any()
  assert set(given.problems.length[:32]) == {1}
  # The same problems, shown and hidden.
  number = measured.problem_of(given)
  np.testing.assert_array_equal(number[:16], number[16:32])
  pairs = problems.held_out(world, 3, 4, form=problems.PAIRWISE, count=4)
  assert pairs.written.shape == (8, 2, 4)


def test_steps_are_labelled_where_their_value_stands():
  given = judging.Judgements(
    judging.Problems(
      np.array([3, 3]),
      np.zeros((2, 2), int),
      np.array([[1, 4], [1, 4]]),
      np.zeros((2, 2), int),
      np.array([2, 2]),
      judging.tables(np.random.default_rng(0)),
    ),
    np.array([[[5, 2]], [[-1, 1]]]),  # 3 + 1 = 4, + 4 = 1; 5 + 4 = 2
    np.array([True, False]),
    np.array([0, 1]),
  )
  found = scalars.texts(scalars.Kind(process=True), given)
  assert found.label.tolist() == [[0, 1], [0, 1]]
  assert found.labelled.tolist() == [[True, True], [False, True]]
  shown = [[judging.TOKENS[t] for t in row] for row in found.ids]
  read = [
    [row[at] for at in places]
    for row, places in zip(shown, found.at, strict=True)
  ]
  assert read == [['5', '2'], ['_', '1']]
  paused = scalars.texts(scalars.Kind(process=True, pauses=3), given)
  assert paused.at.tolist() == [[4, 11], [4, 11]]
  assert (paused.ids[:, -3:] == judging.WAIT).all()
  plain = scalars.texts(scalars.Kind(pauses=3), given)
  assert plain.at.tolist() == [[11], [11]]
  assert plain.label.tolist() == [[0], [1]]


@pytest.mark.parametrize('process', [False, True])
def test_helped_judges_learn_from_the_pair_and_from_labels(world, process):
  given = problems.trained(world, 3).take(np.arange(8))
  sizes = judges.sizes(CONFIG.judge)
  kind = scalars.Kind(process=process)
  learner = scalars.learner(kind, sizes, given, rate=1e-3, steps=2, batch=4)
  (phase,) = learner.phases
  init, score = scalars.network(sizes)
  params = init(jax.random.key(0))
  params['score'] = jax.random.normal(jax.random.key(1), params['score'].shape)
  batch, _ = phase.collect(jax.random.key(2), None, None)
  some = batch.rows.texts
  found = np.stack(
    [score(params, some.ids[:, i], some.at[:, i]) for i in (0, 1)], 1
  )
  seen = np.where(some.labelled, found, np.inf).min(2)
  want = np.log1p(np.exp(-(seen[:, 0] - seen[:, 1])))
  if process:
    chance = 1 / (1 + np.exp(-found))
    right = np.where(some.label, chance, 1 - chance)
    each = np.ma.masked_array(-np.log(right), ~some.labelled)
    want = want + each.mean(2).sum(1)
  terms, _, _ = phase.objective({'policy': params}, None, None, batch, None)
  np.testing.assert_allclose(terms['nll'][0], want, rtol=1e-5)
  assert terms['nll'][1].tolist() == [1] * 4


def test_the_weak_judge_is_the_nearest_to_what_is_aimed_at():
  kept = dict.fromkeys(range(10, 101, 10))
  right = {step: step / 100 for step in kept}
  step, seen = judges.weak(
    dict(zip(kept, kept, strict=True)), lambda step: right[step], 0.72
  )
  assert step == 70
  assert len(seen) <= 6


def test_pairs_without_a_score_are_ties():
  score = np.array([1.0, 0.0, 0.0, 1.0, np.nan, 0.0, 2.0, 2.0])
  assert judges.preferred(score).tolist() == [1, 0, 0.5, 0.5]


def unit_of_votes(**arrays):
  verdict = np.array(
    [[1, 1, 0, 1], [0, 1, 0, -1], [0, 0, 1, 1], [0, 0, 1, 1]], np.int8
  )
  return units.Unit(
    {'seed': 0, 'tokens': 10.0, 'parameters': 5},
    {
      'problem': np.array([0, 0, 1, 1]),
      'right': np.array([1, 0, 1, 0]),
      'length': np.full(4, 2),
      'shown': np.ones(4, bool),
      'verdict': verdict,
      'chain': np.zeros((4, 4), np.int8),
      'margin': np.where(verdict < 0, np.nan, 4.0 * verdict - 2),
      **arrays,
    },
  )


def test_votes_of_a_hand_worked_judge():
  unit = unit_of_votes()
  (pairs,) = votes.cells([unit], 'sum', 4)
  # 3 against 1 vote; 2 against 2.
  assert pairs.value.tolist() == [1.0, 0.5]
  (pairs,) = votes.cells([unit], 'sum', 2)
  # Two draws of two texts each: 2 > 1, 1 > 0; 0 = 0, 2 = 2.
  assert pairs.value.tolist() == [1.0, 0.5]
  (single,) = votes.cells([unit], 'majority', 4)
  # 3 of 4; 2 of 3 that say something; 2 of 4 twice.
  assert single.value.tolist() == [1.0, 1.0, 0.5, 0.5]
  assert votes.rules([unit]) == ['sum', 'mean_yes', 'majority']


def test_a_meta_model_keeps_the_better_half():
  meta = np.array([[1, 2, 9, 3], [9, 1, 8, 7], [1, 2, 9, 8], [9, 8, 1, 2]])
  unit = unit_of_votes(meta=meta.astype(np.float32))
  (single,) = votes.cells([unit], 'meta_majority', 4)
  # Kept: texts 2, 3; 0, 2; 2, 3; 0, 1.
  assert single.value.tolist() == [0.5, 1.0, 1.0, 1.0]
  rows = votes.table([unit], [unit], (1, 4))
  by = {(row['judge'], row['rule'], row['texts']): row for row in rows}
  assert by['weak', 'meta_majority', 4]['over_unfiltered'] == pytest.approx(
    0.875 - 0.75
  )
  assert by['twice', 'sum', 1]['cost'] == 1.0


def test_single_texts_and_luck():
  (row,) = votes.single([unit_of_votes()], [0.7])
  assert row['false_yes'] == pytest.approx(3 / 8)
  assert row['false_no'] == pytest.approx(3 / 8)
  assert row['meta_auc'] == 0.7
  assert row['invalid'] == pytest.approx(1 / 16)
  # All chains are wrong: 9 of 15 verdicts are right all the same.
  assert row['lucky'] == pytest.approx(9 / 15)


def test_what_training_adds_and_where_luck_was():
  arrays = {
    'length': np.full(2, 3),
    'shown': np.ones(2, bool),
    'problem': np.arange(2),
  }
  for when, verdict in (('before', [[0, 1], [1, 0]]), ('after', [[1, 1]] * 2)):
    arrays |= {
      f'{when}|verdict': np.array(verdict, float),
      f'{when}|chain': np.array([[0, 0], [1, 1]]),
      f'{when}|whole': np.ones((2, 2)),
    }
  unit = units.Unit({'seed': 0, 'method': 'm', 'form': 'pointwise'}, arrays)
  (row,) = training.table([unit])
  assert row['verdict_before'] == 0.5
  assert row['verdict_gain'] == 0.5
  luck = {row['solution']: row for row in training.loophole([unit])}
  assert luck['right']['lucky_before'] == 0.0
  assert luck['wrong']['lucky_before'] == 1.0
  assert luck['all']['lucky_after'] == 1.0


def test_criteria_that_are_told():
  better = np.array([[0, 1, 0, 1], [1, 1, 0, 0]], np.int8)
  unit = units.Unit(
    {'seed': 0, 'taught': criteria.ALL, 'unseen': None},
    {
      'better': better,
      # Does as it is told, and by the first criterion if it is told none.
      'verdict': np.hstack([better, better[:, :1]]),
      'whose': np.array([0, 2]),
      'problem': np.arange(2),
    },
  )
  rows = {row['told']: row for row in criteria.table([unit])}
  assert rows['right']['verdict'] == 1.0
  assert (rows['right']['verdict_n'], rows['right']['problems']) == (2, 2)
  # Of 12 ordered pairs of criteria, those that agree on a reply: 4 and 4.
  assert rows['wrong']['verdict'] == pytest.approx(4 / 12)
  assert rows['none']['verdict'] == pytest.approx(4 / 8)
  # Told the second criterion, which disagrees, and the first, which does, too.
  assert rows['swapped']['verdict'] == 0.0
  gains = {
    (row['told'], row['over']): row['gain'] for row in criteria.against([unit])
  }
  assert gains == {
    ('right', 'wrong'): pytest.approx(8 / 12),
    ('right', 'none'): pytest.approx(4 / 8),
    ('none', 'wrong'): pytest.approx(4 / 8 - 4 / 12),
    ('own_person', 'swapped'): 1.0,
  }


MANY = 200  # problems of a seed, which then add nothing to its own variance


def of_seeds(values):
  """Returns a mean and the half of Student's interval, of three seeds."""
  return np.mean(values), 4.302653 * np.std(values, ddof=1) / np.sqrt(3)


def test_a_criterion_never_taught_is_apart():
  some = np.array([[0, 1, 0, 1], [1, 1, 0, 0]], np.int8)
  better = np.tile(some, (MANY // 2, 1))
  made = []
  for seed in range(3):
    verdict = np.hstack([better, 1 - better[:, 1:2]])  # told none: never right
    verdict[:, 1] ^= seed == 2  # wrong in the last seed
    made.append(
      units.Unit(
        {'seed': seed, 'taught': criteria.THREE, 'unseen': 1},
        {
          **{'better': better, 'verdict': verdict},
          **{'whose': np.zeros(MANY, int), 'problem': np.arange(MANY)},
        },
      )
    )
  rows = {row['told']: row for row in criteria.table(made)}
  # The others say 0 1, 0 0 and 1 0 of both replies, where it says 1 1.
  assert rows['wrong_of_unseen']['verdict'] == pytest.approx(2 / 6)
  gains = {(row['told'], row['over']): row for row in criteria.against(made)}
  assert gains['unseen', 'wrong_of_unseen']['gain'] == pytest.approx(1 / 3)
  row = gains['unseen', 'none_of_unseen']
  mean, half = of_seeds([1, 1, 0])
  assert row['gain'] == pytest.approx(mean)
  assert row['gain_low'] == pytest.approx(mean - half, abs=0.01)
  assert row['gain_high'] == 1.0
  assert (row['seeds'], row['problems'], row['gain_n']) == (3, 600, 600)


def trained(method, seed, verdict, flips=None):
  """Returns a unit of pairs: verdicts before and after of all of them."""
  n = MANY if flips is None else len(flips)
  arrays = {
    **{'length': np.full(n, 2), 'shown': np.ones(n, bool)},
    'problem': np.arange(n),
  }
  for when, share in zip(('before', 'after'), verdict, strict=True):
    arrays |= {
      f'{when}|verdict': np.full((n, 2), share),
      f'{when}|chain': np.zeros((n, 2)),
      f'{when}|whole': np.ones((n, 2)),
    }
  if flips is not None:
    arrays |= {'before|flips': np.ones(n), 'after|flips': np.array(flips)}
  form = 'pointwise' if flips is None else 'pairwise'
  return units.Unit({'seed': seed, 'method': method, 'form': form}, arrays)


def test_gains_of_two_methods_are_paired():
  one, other = training.AGAINST[0]
  made = [
    *(trained(one, s, (0.0, 1.0)) for s in range(4)),  # the last has no other
    trained(other, 0, (0.0, 1.0)),
    *(trained(other, s, (0.5, 0.5)) for s in (1, 2)),
  ]
  (row,) = training.against(made)
  assert (row['method'], row['over']) == (one, other)
  mean, half = of_seeds([0, 1, 1])
  assert row['verdict_gain'] == pytest.approx(mean)
  assert row['verdict_gain_low'] == pytest.approx(mean - half, abs=0.01)
  assert row['verdict_gain_high'] == 2.0
  assert row['chain_gain'] == 0
  counts = (row['seeds'], row['problems'], row['verdict_gain_n'])
  assert counts == (3, 600, 1200)
  (said, *_) = tables.answer({'training_against': [row]})
  assert '"rejective" adds, less what "nothing rejected" adds' in said
  assert '+66.7 points [-76.' in said


def test_an_order_that_decides_is_compared_where_texts_say_something():
  one, other = training.AGAINST[2]
  nan = np.nan
  made = [
    trained(one, 0, (0.5, 0.5), [0, 0, 1, nan]),
    trained(other, 0, (0.5, 0.5), [1, nan, 1, 1]),
  ]
  (row,) = training.against(made)
  assert row['flips_gain'] == pytest.approx(-1 / 2)  # of the first and third
  assert row['flips_gain_n'] == 2
  # One seed has no interval.
  assert row['flips_gain_low'] is None


def test_luck_of_single_solutions_is_compared_with_that_of_pairs():
  single, pairs = training.FORMS[0]
  made = [
    trained(name, seed, (0.5, share), flips)
    for name, flips, shares in (
      (single, None, (0.8, 0.9, 0.7)),
      (pairs, np.zeros(MANY), (0.6, 0.5, 0.6)),
    )
    for seed, share in enumerate(shares)
  ]
  # Fewer wrong chains of pairs than of single solutions, in every seed.
  for unit in made[3:]:
    unit.arrays['after|chain'][50:] = 1
  rows = {row['solution']: row for row in training.loophole_against(made)}
  row = rows['wrong']
  mean, half = of_seeds([0.2, 0.4, 0.1])
  assert row['lucky_after'] == pytest.approx(mean)
  assert row['lucky_after_high'] == pytest.approx(mean + half, abs=0.01)
  assert row['lucky_after_low'] == pytest.approx(mean - half, abs=0.01)
  assert row['lucky_after_n'] == 300
  change = {
    (row['method'], row['solution']): row for row in training.loophole(made)
  }[single, 'wrong']
  assert change['lucky_gain'] == pytest.approx(0.3)


def test_injections_stand_at_the_end_with_the_claim(world):
  given = problems.held_out(world, 3, 2, count=1)
  holder = np.zeros(len(given.right), int)
  for some in injections.tokens('judgement', 1):
    ids = injections.injected(given, holder, some)
    assert ids.shape[1] == judging.prompts(given).shape[1] + 4
    np.testing.assert_array_equal(ids[:, -3], ids[:, -5])  # the claim
    assert (ids[:, -1] == judging.ASK).all()
  plain = injections.injected(given, holder, ())
  np.testing.assert_array_equal(plain[:, 4:], judging.prompts(given))
  for kind in injections.KINDS:
    for solutions in (1, 2):
      both = injections.tokens(kind, solutions)
      assert len(both[0]) == len(both[1]) <= 3 + solutions


def test_injections_stand_in_either_solution_of_a_pair(world):
  given = problems.held_out(world, 3, 2, form=problems.PAIRWISE, count=2)
  fake, _ = injections.tokens('whole_judgement', 2)
  last = judging.DIGIT + judging.claims(given)
  ends = {}
  for holder in (0, 1):
    held = np.full(len(given.right), holder)
    ids = injections.injected(given, held, fake)
    plain = judging.prompts(given)
    assert ids.shape[1] == plain.shape[1] + 5
    for row, whole in enumerate(ids):
      text = [i for i in whole if i != judging.PAD]
      mark = judging.ASK if holder else judging.SECOND
      end = len(text) - 1 - text[::-1].index(mark)
      claim = last[row].tolist()
      verdict = judging.VERDICTS[2] + holder
      own = [judging.ARROW, *claim, verdict, judging.END]
      assert text[end - 5 : end] == own
      assert text[end - 6] == claim[holder]
      rest = text[: end - 5] + text[end:]
      assert rest == [i for i in plain[row] if i != judging.PAD]
    ends[holder] = ids
  assert (ends[0] != ends[1]).any()


def unit_of_scalar(seed, late, control):
  """A judge with 100 pairs a cell: `late` of hidden four steps come late."""
  K, shown = (
    each.ravel().repeat(100)
    for each in np.meshgrid([1, 4], [True, False], indexing='ij')
  )
  rng = np.random.default_rng(seed)
  hidden_four = (K == 4) & ~shown
  after = np.where(hidden_four, 0.5, 1.0)
  after[(K == 1) & ~shown] = np.arange(100) < 100 * control
  before = after.copy()
  if late:
    before[rng.permutation(np.flatnonzero(hidden_four))[:late]] = 0.0
  rows = {'length': K, 'shown': shown, 'problem': np.arange(400)}
  looks = {**rows, 'before': before, 'after': after}
  curve = [
    {'step': 10 * (i + 1), 'at train': 0.5, 'at test': 0.5} for i in (0,)
  ]
  return units.Unit(
    {
      **{'judge': 'scalar', 'seed': seed, 'rate': 1e-3, 'batch': 4},
      **{'steps': 30, 'curve': curve},
      'final': {'train': 0.5, 'test': 0.5},
    },
    {
      **rows,
      'pair': after,
      **{f'test/{name}': value for name, value in looks.items()},
      **{f'train/{name}': value for name, value in looks.items()},
    },
  )


@pytest.mark.parametrize(
  ('late', 'control', 'fair'),
  [
    # Of 400 pairs of a seed 12 move by half: 1.5 points of all, 6 of theirs.
    (12, 1.0, {'shown': True, 'hidden': False}),
    # 1.5 points of theirs are noise in a seed, and no plateau all the same.
    (3, 1.0, {'shown': True, 'hidden': False}),
    (1, 1.0, {'shown': True, 'hidden': True}),
    (0, 0.5, {'shown': False, 'hidden': False}),
  ],
)
def test_a_lead_is_claimed_over_judges_at_their_plateau_alone(
  late, control, fair
):
  made = [unit_of_scalar(seed, late, control) for seed in range(3)]
  reasoned = [
    units.Unit(
      {'seed': unit.record['seed']}, {**unit.arrays, 'pair': np.ones(400)}
    )
    for unit in made
  ]
  plateaus = tables.plateau(made)
  rows = {(row['class'], row['length']): row for row in plateaus}
  gained = rows['hidden', 4]
  assert gained['test_gain'] == pytest.approx(0.5 * late / 100)
  assert gained['gains'] == (late > 2)
  assert gained['seeds_gaining'] == (3 if late > 10 else 0)
  assert not rows['shown', 4]['gains']
  rows = tables.lead(reasoned, made, (1, 4), plateaus)
  assert {row['class']: row['fair'] for row in rows} == fair
  hidden = next(r for r in rows if (r['class'], r['steps']) == ('hidden', 4))
  assert hidden['lead'] == 0.5


def test_one_seed_that_still_learns_is_seen():
  late = [40, 0, 0, 0, 0, 0, 0, 0]
  made = [unit_of_scalar(seed, n, 1.0) for seed, n in enumerate(late)]
  rows = {(row['class'], row['length']): row for row in tables.plateau(made)}
  assert rows['hidden', 4]['seeds_gaining'] == 1
  assert rows['hidden', 4]['gains']


def test_intervals_are_over_seeds_and_problems():
  rng = np.random.default_rng(0)
  cells = [
    measured.Cell(seed, np.arange(50), rng.random(50) + 0.1 * seed)
    for seed in range(4)
  ]
  row = measured.mean('x', cells, most=2.0)
  means = [cell.value.mean() for cell in cells]
  assert row['x'] == pytest.approx(np.mean(means))
  # Problems are nested in seeds: their spread is in that of the seeds.
  half = 3.182 * np.std(means, ddof=1) / 2
  assert row['x_high'] - row['x'] == pytest.approx(half, rel=0.05)
  same = measured.mean('y', [c._replace(value=np.ones(50)) for c in cells])
  assert (same['y'], same['y_high']) == (1.0, 1.0)
  assert 0.97 < same['y_low'] < 1


@pytest.mark.slow
def test_smoke(tmp_path):
  made = study.run(experiment.STUDY, CONFIG, tmp_path)['tables']
  assert {row['judge'] for row in made['judges']} == {'reasoning', 'scalar'}
  assert {row['rule'] for row in made['votes']} == set(votes.RULES)
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000


@pytest.mark.slow
def test_every_part(tmp_path):
  config = reasoning_rewards.get_config('smoke')
  config.parts = reasoning_rewards.PARTS
  config.problems.beyond = (6,)
  made = study.run(experiment.STUDY, config, tmp_path)['tables']
  assert {row['method'] for row in made['training']} == {'grpo'}
  assert {row['taught'] for row in made['criteria']} == {'all', 'three'}
  assert {row['judge'] for row in made['votes']} == {'weak', 'twice'}
  assert len(made['injections']) == 2 * len(injections.KINDS)
