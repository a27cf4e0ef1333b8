import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_jax.ops import intervals, resampled, statistics


def simulate(seed, *, people=300, pairs=30, spread=0.0):
  """People who agree with the model more or less: a run of predictions."""
  rng = np.random.default_rng(seed)
  person = np.repeat(np.arange(people), pairs)
  right = 0.7 + spread * rng.normal(size=people)[person]
  correct = rng.random(person.size) < right
  label = rng.integers(0, 2, person.size)
  confidence = 0.5 + 0.5 * rng.random(person.size)
  probability = np.where(correct == (label == 1), confidence, 1 - confidence)
  return statistics.Run(probability, label, person)


# Multiples of 1/64: 1 - p is exact, and ties are common.
PROBABILITY = st.integers(0, 64).map(lambda k: k / 64)
ROWS = st.lists(
  st.tuples(PROBABILITY, st.integers(0, 1), st.integers(0, 5), st.booleans()),
  min_size=1,
  max_size=60,
)


def test_accuracy_by_hand():
  # Right, wrong, right, undecided: (1 + 0 + 1 + 1/2) / 4.
  p, y = [0.9, 0.8, 0.2, 0.5], [1, 0, 0, 1]
  assert statistics.accuracy(p, y) == 2.5 / 4


def test_nll_by_hand_and_clipped():
  expected = -(math.log(0.9) + math.log(0.2)) / 2
  assert statistics.nll([0.9, 0.8], [1, 0]) == pytest.approx(expected)
  assert statistics.nll([0.0], [1]) == pytest.approx(-math.log(1e-7))


def test_ece_by_hand():
  # Bins of width 1/30 from 0.5. 0.9 and 0.1 share one: confidences 0.9, 0.9,
  # one right. 0.6 is alone and right.
  p, y = [0.9, 0.1, 0.6], [1, 1, 1]
  assert statistics.ece(p, y) == pytest.approx((abs(1.8 - 1) + 0.4) / 3)


def test_metrics_against_scikit_learn():
  metrics = pytest.importorskip('sklearn.metrics')
  rng = np.random.default_rng(0)
  p = np.round(64 * rng.random(500)) / 64  # with ties, and 1 - p is exact
  y = (rng.random(500) < p).astype(int)
  both = np.concatenate([y, 1 - y]), np.concatenate([p, 1 - p])
  expected = metrics.roc_auc_score(*both)
  assert statistics.auc(p, y) == pytest.approx(expected, abs=1e-12)
  inside = np.clip(p, 0.01, 0.99)
  assert statistics.nll(inside, y) == pytest.approx(metrics.log_loss(y, inside))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_exchanging_answers_changes_nothing(rows):
  p, y, person, exchange = map(np.array, zip(*rows, strict=True))
  q = np.where(exchange, 1 - p, p)
  z = np.where(exchange, 1 - y, y)
  plain = statistics.summarize([statistics.Run(p, y, person)], replicates=20)
  other = statistics.summarize([statistics.Run(q, z, person)], replicates=20)
  assert plain.keys() == other.keys()
  for name, value in plain.items():
    assert value == pytest.approx(other[name], nan_ok=True), name


def test_summary_agrees_with_the_metrics():
  run = simulate(0, spread=0.1)
  row = statistics.summarize([run], replicates=200)
  for name in ('accuracy', 'auc', 'nll', 'ece'):
    expected = getattr(statistics, name)(run.probability, run.label)
    assert row[name] == pytest.approx(expected, rel=1e-9), name
    assert row[f'{name}_low'] < row[name] < row[f'{name}_high'], name
  assert (row['people'], row['pairs'], row['seeds']) == (300, 9000, 1)


def test_macro_accuracy_weighs_people_the_same():
  person = np.array([0] * 8 + [1] * 2)
  probability = np.array([0.9] * 8 + [0.1] * 2)
  run = statistics.Run(probability, np.ones(10), person)
  row = statistics.summarize([run], replicates=100)
  assert row['accuracy'] == 0.8
  assert row['macro_accuracy'] == 0.5


def test_replicates_of_the_auc_agree_with_repeated_rows():
  rng = np.random.default_rng(3)
  run = simulate(3, people=40, pairs=20)
  margin = (run.probability - 0.5) * (2 * run.label - 1)
  weights = rng.integers(0, 3, (5, 40)).astype(float)
  got = resampled.binned_auc(run.person, margin, weights)
  for replicate, value in zip(weights, got, strict=True):
    repeat = np.repeat(np.arange(800), replicate[run.person].astype(int))
    expected = statistics.auc(run.probability[repeat], run.label[repeat])
    assert value == pytest.approx(expected, abs=1e-3)


def test_ties_count_half_in_replicates():
  """Few distinct values have a bin each: a replicate is exact."""
  margin = np.array([0.1, -0.1, 0.3, 0.0])
  # Against the negated -0.1, 0.1, -0.3 and 0:
  # 0.1: over -0.1, -0.3, 0, half of 0.1; -0.1: -0.3, half of -0.1;
  # 0.3: all four; 0: -0.1, -0.3, half of 0.
  wins = 3.5 + 1.5 + 4 + 2.5
  got = resampled.binned_auc(np.arange(4), margin, np.ones((1, 4)))
  assert got[0] == pytest.approx(wins / 16)


def test_chunks_do_not_change_the_auc(monkeypatch):
  run = simulate(3, people=40, pairs=20)
  margin = (run.probability - 0.5) * (2 * run.label - 1)
  weights = np.ones((1, 40))
  whole = resampled.binned_auc(run.person, margin, weights)
  monkeypatch.setattr(resampled, '_CHUNK', 4000)
  np.testing.assert_allclose(
    resampled.binned_auc(run.person, margin, weights), whole, rtol=1e-12
  )


def test_worst_decile_is_not_lowered_by_chance():
  """Everybody is alike: the worst tenth is as good as all."""
  rows = [statistics.summarize([simulate(s)], replicates=50) for s in range(6)]
  mean = np.mean([row['worst_decile_accuracy'] for row in rows])
  assert mean == pytest.approx(0.7, abs=0.02)
  # Choosing and measuring on the same pairs would say about 0.55.
  run = simulate(0)
  correct = (run.probability > 0.5) == (run.label == 1)
  assert np.sort(correct.reshape(300, 30).mean(1))[:30].mean() < 0.6


def test_worst_decile_of_a_replicate_takes_a_tenth_of_its_weight():
  halves = resampled.Halves(
    people=np.array([np.arange(12)]), measured=np.array([np.arange(12) / 12])
  )
  weights = np.array([[2.0, 0, 1, *[3] * 9]])  # 30: a tenth is 3
  expected = (2 * 0 + 1 * 2 / 12) / 3 / resampled.HALF_SPLITS
  got = resampled.worst_decile(halves, weights)
  assert got[0] == pytest.approx(expected)


def test_interval_of_the_calibration_error_holds_the_error():
  """Resampling makes the error of a calibrated model larger."""
  rng = np.random.default_rng(0)
  p = rng.random(3000)
  y = (rng.random(3000) < p).astype(int)
  run = statistics.Run(p, y, np.arange(3000) // 10)
  row = statistics.summarize([run], replicates=200)
  middle = (row['ece_low'] + row['ece_high']) / 2
  assert row['ece'] == pytest.approx(middle, rel=0.15)


def test_worst_decile_finds_who_is_served_badly():
  rng = np.random.default_rng(0)
  person = np.repeat(np.arange(200), 100)
  right = np.where(person < 20, 0.3, 0.8)  # a tenth is served badly
  probability = np.where(rng.random(person.size) < right, 0.9, 0.1)
  run = statistics.Run(probability, np.ones(person.size), person)
  row = statistics.summarize([run], replicates=100)
  assert row['worst_decile_accuracy'] == pytest.approx(0.3, abs=0.03)
  assert row['worst_decile_people'] == 200
  assert row['worst_decile_accuracy_low'] < row['worst_decile_accuracy_high']


def test_worst_decile_needs_ten_people_with_twenty_pairs():
  row = statistics.summarize([simulate(0, people=9)], replicates=20)
  assert math.isnan(row['worst_decile_accuracy'])
  assert math.isnan(row['worst_decile_accuracy_low'])
  assert row['worst_decile_people'] == 0
  row = statistics.summarize([simulate(0, pairs=19)], replicates=20)
  assert row['worst_decile_people'] == 0


def test_seeds_are_averaged_before_people_are_resampled():
  """Three copies of a run say no more than one."""
  run = simulate(1, spread=0.15)
  one = statistics.summarize([run], replicates=500)
  three = statistics.summarize([run] * 3, replicates=500)
  assert three['seeds'] == 3
  for name in ('accuracy', 'auc', 'nll', 'ece', 'macro_accuracy'):
    assert three[name] == pytest.approx(one[name]), name
    width = [r[f'{name}_high'] - r[f'{name}_low'] for r in (one, three)]
    assert width[1] == pytest.approx(width[0], rel=0.2), name


def test_runs_of_different_people_are_joined():
  """A person counts once, over the runs in which they occur."""
  first = statistics.Run([0.9, 0.9, 0.1], [1, 1, 1], np.array(['a', 'a', 'b']))
  second = statistics.Run([0.1, 0.9], [1, 1], np.array(['a', 'c']))
  row = statistics.summarize([first, second], replicates=20)
  # a: 1.5 pairs, 1 right; b: 1 pair, 0 right; c: 1 pair, 1 right.
  assert row['accuracy'] == pytest.approx(2 / 3.5)
  assert row['macro_accuracy'] == pytest.approx((1 / 1.5 + 0 + 1) / 3)
  assert row['people'] == 3


def test_interval_covers_the_truth_of_people():
  """Of 95 % intervals over people, about 95 of 100 hold the truth."""
  covered = 0
  for seed in range(200):
    run = simulate(seed, people=60, pairs=20, spread=0.12)
    row = statistics.paired_gain(
      [run],
      [run._replace(probability=np.full(1200, 0.5))],
      replicates=200,
      seed=seed,
    )
    covered += row['gain_low'] <= 0.2 <= row['gain_high']
  assert 0.88 <= covered / 200 <= 0.985


def test_intervals_over_rows_would_be_too_narrow():
  run = simulate(0, people=60, pairs=50, spread=0.15)
  row = statistics.summarize([run], replicates=500)
  as_rows = run._replace(person=np.arange(3000))
  rows = statistics.summarize([as_rows], replicates=500)
  width = row['accuracy_high'] - row['accuracy_low']
  assert width > 1.5 * (rows['accuracy_high'] - rows['accuracy_low'])


def test_paired_gain_by_hand():
  person = np.array([7, 7, 7, 9])
  label = np.ones(4)
  personal = statistics.Run([0.9, 0.9, 0.1, 0.9], label, person)
  baseline = statistics.Run([0.9, 0.1, 0.9, 0.5], label, person)
  row = statistics.paired_gain([personal], [baseline], replicates=500)
  # Person 7: 0 + 1 - 1 over 3 pairs; person 9: 1/2.
  assert row['gain'] == pytest.approx(0.5 / 4)
  assert row['macro_gain'] == pytest.approx(0.25)
  assert (row['gain_low'], row['gain_high']) == (0, 0.5)
  keys, gains = statistics.person_gain([personal], [baseline])
  np.testing.assert_array_equal(keys, [7, 9])
  np.testing.assert_allclose(gains, [0, 0.5])


def test_smallest_detectable_gain_is_detected_in_80_of_100():
  """Power at the true gain that the standard error says is detectable."""
  error = 0.2 / math.sqrt(100)  # people's gains scatter with 0.2
  true = (1.959964 + 0.841621) * error
  found, claimed = 0, []
  for seed in range(200):
    rng = np.random.default_rng(seed)
    gain = np.clip(true + 0.2 * rng.normal(size=100), -1, 1)
    # 1000 pairs a person, of which a share |gain| changes with its sign.
    pairs = np.round(1000 * gain).astype(int)
    person = np.repeat(np.arange(100), 1000)
    rank = np.tile(np.arange(1000), 100)
    changed = rank < np.abs(pairs)[person]
    up = pairs[person] > 0
    one = np.where(changed & ~up, 0.1, 0.9)
    other = np.where(changed & up, 0.1, 0.9)
    label = np.ones(person.size)
    row = statistics.paired_gain(
      [statistics.Run(one, label, person)],
      [statistics.Run(other, label, person)],
      replicates=200,
      seed=seed,
    )
    claimed.append(row['smallest_detectable_gain'])
    found += row['gain_low'] > 0
  assert np.mean(claimed) == pytest.approx(true, rel=0.05)
  assert 0.7 <= found / 200 <= 0.9


def test_paired_gain_refuses_other_rows():
  run = simulate(0, people=5)
  other = run._replace(person=run.person[::-1])
  with pytest.raises(ValueError, match=r"'person'.*same rows"):
    statistics.paired_gain([run], [other])
  with pytest.raises(ValueError, match='1 personal runs'):
    statistics.paired_gain([run], [run, run])


def test_calibration_rows_by_hand():
  run = statistics.Run([0.9, 0.1, 0.62], [1, 1, 1], [0, 0, 1])
  rows = statistics.calibration([run, run])
  assert [row['pairs'] for row in rows] == [1, 2]
  assert rows[0]['confidence'] == pytest.approx(0.62)
  assert rows[0]['accuracy'] == 1
  assert rows[1]['confidence'] == pytest.approx(0.9)
  assert rows[1]['accuracy'] == 0.5
  assert rows[0]['bin_low'] <= 0.62 < rows[0]['bin_high']


@pytest.mark.parametrize(
  ('p', 'y', 'person', 'words'),
  [
    ([0.5], [0.5], [0], r'label\[0\] is 0.5; drop rows'),
    ([0.5, 1.2], [1, 1], [0, 0], r'probability\[1\] is 1.2'),
    ([math.nan], [1], [0], r'probability\[0\] is nan'),
    ([], [], [], 'no rows'),
    ([0.5], [1, 0], [0], 'same length'),
    ([0.5], [1], [0, 1], 'one person a row'),
  ],
)
def test_bad_rows_are_named(p, y, person, words):
  with pytest.raises(ValueError, match=words):
    statistics.summarize([statistics.Run(p, y, person)])


def test_no_runs_are_refused():
  with pytest.raises(ValueError, match='no runs'):
    statistics.summarize([])


def test_bootstrap_weights_are_draws_of_people():
  weights = statistics.bootstrap_weights(
    np.zeros(50), 2000, resample_groups=False
  )
  np.testing.assert_array_equal(weights.sum(1), 50)
  np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.1)
  np.testing.assert_allclose(weights.var(0), 49 / 50, atol=0.15)


def test_bootstrap_weights_of_seeds_are_wider():
  rng = np.random.default_rng(1)
  group = np.repeat(np.arange(8), 100)
  values = rng.normal(size=8)[group] + rng.normal(size=800)

  def width(resample):
    weights = statistics.bootstrap_weights(
      group, 4000, resample_groups=resample
    )
    np.testing.assert_allclose(weights.mean(1), 1.0)
    return (weights @ values / 800).std()

  shared = values.reshape(8, 100).mean(1).std() / np.sqrt(8)
  np.testing.assert_allclose(
    width(False), values.std() / np.sqrt(800), rtol=0.1
  )
  # A seed's own people are resampled as well.
  assert shared < width(True) < 1.15 * shared


def test_bootstrap_weights_take_whole_groups():
  group = np.array([0, 0, 1, 1, 1])
  weights = statistics.bootstrap_weights(group, 500, resample_groups=True)
  alone = (weights[:, 2:] == 0).all(1)
  assert 0.15 < alone.mean() < 0.35  # the first group, drawn twice


def test_one_person_or_no_variation_has_no_interval():
  rng = np.random.default_rng(1)
  label = (rng.random(60) < 0.5).astype(float)
  p, q = (
    np.where(rng.random(60) < a, label, 1 - label) * 0.6 + 0.2
    for a in (0.7, 0.6)
  )
  me = np.zeros(60, int)
  run, other = statistics.Run(p, label, me), statistics.Run(q, label, me)
  many = statistics.Run(p, label, np.arange(60) % 6)
  for row in (
    statistics.paired_gain([run], [other]),
    statistics.paired_gain([many], [many]),
  ):
    assert np.isfinite(row['gain'])
    for name in (
      'gain_low',
      'gain_high',
      'standard_error',
      'smallest_detectable_gain',
    ):
      assert np.isnan(row[name]), name
  row = statistics.summarize([run])
  assert np.isnan([row['accuracy_low'], row['accuracy_high']]).all()
  assert np.isfinite(statistics.summarize([many])['accuracy_low'])


# ---------------------------------------------------------------- two ways


def about(run, units, name='debates'):
  return run._replace(units=statistics.Units(name, units))


def test_units_widen_intervals_as_their_effect_asks():
  """The accuracy of debates varies; a bootstrap over people cannot see it."""
  rng = np.random.default_rng(0)
  person, debate = np.indices((200, 8)).reshape(2, -1)
  chance = np.array([0.9, 0.5, 0.8, 0.6, 0.7, 0.9, 0.5, 0.7])[debate]
  p = np.where(rng.random(1600) < chance, 0.8, 0.2)
  run = statistics.Run(p, np.ones(1600), person)
  plain = statistics.summarize([run], replicates=200)
  both = statistics.summarize([about(run, debate)], replicates=200)
  assert plain['resampled'] == 'people'
  assert both['resampled'] == 'people and debates'
  assert (both['units'], both['people'], both['pairs']) == (8, 200, 1600)
  assert both['coverage'] == intervals.FEW_COVERAGE
  many = statistics.summarize([about(run, np.arange(1600) % 40)], replicates=20)
  assert 'coverage' not in many
  right = (p > 0.5).astype(float)
  want = intervals.crossed(
    right, np.ones(1600), intervals.crossing(person, debate)
  )
  assert both['accuracy_low'] == pytest.approx(want.low)
  for name in ('accuracy', 'auc', 'nll', 'ece', 'macro_accuracy'):
    assert both[name] == pytest.approx(plain[name], abs=1e-12)
    wide = both[f'{name}_high'] - both[f'{name}_low']
    assert wide > 2 * (plain[f'{name}_high'] - plain[f'{name}_low']), name


def test_where_units_have_no_effect_intervals_are_those_over_people():
  run = simulate(0, people=300)
  units = np.random.default_rng(1).integers(0, 200, len(run.label))
  plain = statistics.summarize([run], replicates=1000)
  both = statistics.summarize([about(run, units)], replicates=1000)
  for name in ('accuracy', 'auc', 'nll', 'macro_accuracy'):
    wide = both[f'{name}_high'] - both[f'{name}_low']
    was = plain[f'{name}_high'] - plain[f'{name}_low']
    assert wide == pytest.approx(was, rel=0.15), name


def test_gains_of_people_who_weigh_the_same_and_of_rows():
  person = np.array([0, 0, 0, 1, 1, 2])
  debate = np.array([0, 1, 1, 0, 1, 0])
  label = np.ones(6)
  run = about(
    statistics.Run([0.9, 0.9, 0.1, 0.9, 0.1, 0.9], label, person), debate
  )
  base = about(
    statistics.Run([0.1, 0.9, 0.9, 0.1, 0.1, 0.9], label, person), debate
  )
  row = statistics.paired_gain([run, run], [base, base])
  assert row['gain'] == pytest.approx(1 / 6)
  assert row['macro_gain'] == pytest.approx((0 + 1 / 2 + 0) / 3)
  gained = np.array([1, 0, -1, 1, 0, 0.0])
  want = intervals.crossed(
    np.tile(gained, 2) / 2,
    np.full(12, 0.5),
    intervals.crossing(np.tile(person, 2), np.tile(debate, 2)),
  )
  # Two debates leave one degree of freedom; a gain is never below -1.
  assert want.low < -1
  assert (row['gain_low'], row['gain_high']) == (-1, 1)
  assert row['standard_error'] == pytest.approx(want.standard_error)
  assert row['smallest_detectable_gain'] == pytest.approx(
    want.smallest_detectable
  )
  assert row['units'] == 2


def test_runs_of_other_units_are_refused():
  run = simulate(0)
  units = np.zeros(len(run.label), int)
  for other in (run, about(run, units, 'jokes')):
    with pytest.raises(ValueError, match='same units'):
      statistics.summarize([about(run, units), other])


def test_taking_rows_takes_their_units():
  run = about(simulate(0), np.arange(len(simulate(0).label)))
  some = run.take(np.array([3, 1]))
  assert some.units.of.tolist() == [3, 1]
  assert some.person.tolist() == np.asarray(run.person)[[3, 1]].tolist()
  assert simulate(0).take(np.array([0])).units is None
