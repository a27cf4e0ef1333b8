import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from prm_jax.worlds import judging, judging_traces

TIMES = 1  # index of `*`


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture
def table(rng):
  return judging.tables(rng)


def words(ids):
  return [' '.join(judging.TOKENS[i] for i in row if i) for row in ids]


def ids_of(*texts):
  rows = [[judging.TOKENS.index(word) for word in t.split()] for t in texts]
  T = max(map(len, rows))
  return np.array([row + [judging.PAD] * (T - len(row)) for row in rows])


def plus_only():
  """A table by hand: +, then x - d, then d - x."""
  x, d = np.indices((7, 7))
  return np.stack([(x + d) % 7, (x - d) % 7, (d - x) % 7])


def by_hand():
  """3 +1 *2 #5 is 4, 2, 3; 6 +1 is 0."""
  return judging.Problems(
    np.array([3, 6]),
    np.array([[0, 1, 2], [0, 0, 0]]),
    np.array([[1, 2, 5], [1, 0, 0]]),
    np.array([[11, 0, 1], [4, 0, 0]]),
    np.array([3, 1]),
    plus_only(),
  )


def given_by_hand():
  """The first is shown and right; the second wrong."""
  return judging.Judgements(
    by_hand(),
    np.array([[[4, 2, 3]], [[5, -1, -1]]]),
    np.array([True, False]),
    np.array([1, 0]),
  )


def pair_by_hand():
  return judging.Judgements(
    by_hand(),
    np.array([[[4, 1, 4], [4, 2, 3]], [[0, -1, -1], [5, -1, -1]]]),
    np.array([True, False]),
    np.array([1, 0]),
  )


def some(rng, table, K, count, *, unseen=False, width=None):
  length = np.full(count, K)
  return judging.draw(rng, table, length, width=width or K, unseen=unseen)


def within(successes, count, p=0.5):
  """Whether a count is what chance would give, but once in a million."""
  return stats.binomtest(int(successes), int(count), p).pvalue > 1e-6


# ------------------------------------------------------------------- problems


def test_tables_are_latin_squares_that_are_no_sum(rng):
  for _ in range(5):
    table = judging.tables(rng)
    everything = np.broadcast_to(np.arange(7), (3, 7, 7))
    np.testing.assert_array_equal(np.sort(table, 1).swapaxes(1, 2), everything)
    np.testing.assert_array_equal(np.sort(table, 2), everything)
    x, d = np.indices((7, 7))
    np.testing.assert_array_equal(table[0], (x + d) % 7)
    for other in table[1:]:
      assert (other != table[0]).any()
    assert (table[1] != table[2]).any()


def test_seeds_are_apart_and_repeat():
  def drawn(seed):
    found = judging.split(np.random.default_rng(seed), {1: 20, 3: 20}, tested=9)
    return np.concatenate(
      [found.table.ravel(), judging.prompts(judgements(found.pool)).ravel()]
    )

  def judgements(problems):
    shown = np.ones(len(problems.start), bool)
    return judging.pointwise(np.random.default_rng(0), problems, shown)

  np.testing.assert_array_equal(drawn(3), drawn(3))
  assert (drawn(3) != drawn(4)).any()
  assert (drawn(3)[49:147] != drawn(4)[49:147]).mean() > 0.5


def test_chains_by_hand():
  np.testing.assert_array_equal(
    judging.chains(by_hand()), [[4, 2, 3], [0, -1, -1]]
  )
  np.testing.assert_array_equal(
    judging.final(by_hand(), judging.chains(by_hand())), [3, 0]
  )


def test_chains_agree_with_a_loop(rng, table):
  length = rng.integers(1, 9, 60)
  problems = judging.draw(rng, table, length, width=8, unseen=False)
  found = judging.chains(problems)
  for b in range(60):
    value = problems.start[b]
    for k in range(8):
      if k >= length[b]:
        assert found[b, k] == -1
        assert problems.operator[b, k] == problems.operand[b, k] == 0
        continue
      value = table[problems.operator[b, k], value, problems.operand[b, k]]
      assert found[b, k] == value
      assert problems.label[b, k] == (problems.label[b, 0] + k) % 12


def test_labels_are_distinct_in_any_order(rng, table):
  found = judging.draw(
    rng, table, np.full(50, 6), width=6, unseen=False, consecutive=False
  )
  assert all(len(set(row)) == 6 for row in found.label)
  assert ((np.diff(found.label, axis=1) % 12) != 1).any()


@pytest.mark.parametrize(
  ('length', 'width'), [([0], 3), ([4], 3), ([3], 13), ([-1], 2)]
)
def test_lengths_that_are_none(rng, table, length, width):
  with pytest.raises(ValueError, match='lengths'):
    judging.draw(rng, table, length, width=width, unseen=False)


def test_wrong_chains_have_one_wrong_step_and_stay_wrong(rng, table):
  problems = some(rng, table, 4, 2000)
  found = judging.corrupted(rng, problems)
  true = judging.chains(problems)
  for b in range(200):
    value = problems.start[b]
    for k in range(4):
      follows = table[problems.operator[b, k], value, problems.operand[b, k]]
      assert (follows != found.values[b, k]) == (k == found.slip[b])
      value = found.values[b, k]
  wrong = found.values != true
  np.testing.assert_array_equal(wrong, np.arange(4) >= found.slip[:, None])
  for k in range(4):
    assert within((found.slip == k).sum(), 2000, 1 / 4)
  for value in range(7):
    assert within((found.values[:, -1] == value).sum(), 2000, 1 / 7)
    assert within((true[:, -1] == value).sum(), 2000, 1 / 7)


# ----------------------------------------------------------- training and test


def keys(problems):
  return {
    (s, *o[:n], *d[:n])
    for s, o, d, n in zip(
      problems.start.tolist(),
      problems.operator.tolist(),
      problems.operand.tolist(),
      problems.length.tolist(),
      strict=True,
    )
  }


def test_no_problem_is_on_both_sides_and_longer_ones_are_never_seen(rng):
  found = judging.split(rng, {1: 1000, 2: 1000, 3: 500}, tested=400, beyond=2)
  assert found.pool.length.max() == 3
  np.testing.assert_array_equal(
    np.bincount(found.pool.length), [0, 1000, 1000, 500]
  )
  assert list(found.held_out) == [1, 2, 3, 4, 5]
  seen = keys(found.pool)
  shape = found.pool.operator.shape[1]
  for K, problems in found.held_out.items():
    assert set(problems.length) == {K}
    assert len(problems.start) == 400
    assert problems.operator.shape[1] == shape == 5
    assert not seen & keys(problems)
  # One step: of 147 problems some are held out, and the rest are met.
  assert 15 <= len(keys(found.held_out[1])) <= 50
  both = judging.concatenate([found.pool, found.held_out[4]])
  assert len(both.start) == 2900
  np.testing.assert_array_equal(judging.held_out(both), np.arange(2900) >= 2500)


def test_a_side_belongs_to_a_problem_and_not_to_its_labels(rng, table):
  problems = some(rng, table, 3, 4000, width=3)
  other = problems._replace(label=rng.integers(0, 12, problems.label.shape))
  np.testing.assert_array_equal(
    judging.held_out(problems), judging.held_out(other)
  )
  wide = some(rng, table, 3, 4000, width=7)
  narrow = wide._replace(
    **{name: getattr(wide, name)[:, :3] for name in ('operator', 'operand')}
  )
  np.testing.assert_array_equal(
    judging.held_out(wide), judging.held_out(narrow)
  )
  # Of all problems, the share that is held out.
  every = problems._replace(
    start=rng.integers(0, 7, 4000),
    operator=rng.integers(0, 3, (4000, 3)),
    operand=rng.integers(0, 7, (4000, 3)),
  )
  assert within(judging.held_out(every).sum(), 4000, judging.HELD_OUT)


# ----------------------------------------------------------------- judgements


def test_prompts_and_traces_by_hand():
  given = given_by_hand()
  prompts, traces = judging.prompts(given), judging.traces(given)
  assert words(prompts) == ['^ 3 l +1 4 a *2 2 b #5 3 =', '^ 6 e +1 5 =']
  assert words(traces) == [
    '3 l +1 4 a *2 2 b #5 3 => 3 Y .',
    '6 e +1 0 => 5 N .',
  ]
  assert prompts.shape == (2, 3 + 3 * 3)
  assert traces.shape == (2, 5 + 3 * 3)
  assert (prompts[:, -1] == judging.ASK).all()
  assert prompts[1, 0] == judging.PAD
  assert traces[1, -1] == judging.PAD


def test_pairs_by_hand():
  given = pair_by_hand()
  prompts, traces = judging.prompts(given), judging.traces(given)
  assert words(prompts) == [
    '^ 3 l +1 a *2 b #5 first 4 1 4 second 4 2 3 =',
    '^ 6 e +1 first 0 second 5 =',
  ]
  assert words(traces) == [
    '3 l +1 4 a *2 2 b #5 3 => 4 3 B .',
    '6 e +1 0 => 0 5 A .',
  ]
  assert prompts.shape == (2, 5 + 4 * 3)
  assert traces.shape == (2, 6 + 3 * 3)
  other = judging.swapped(given)
  assert words(judging.prompts(other))[1] == '^ 6 e +1 first 5 second 0 ='
  assert words(judging.traces(other))[0].endswith('=> 3 4 A .')
  with pytest.raises(ValueError, match='pairs'):
    judging.swapped(given_by_hand())


def test_hidden_solutions_show_their_last_value(rng, table):
  length = rng.integers(1, 5, 200)
  problems = judging.draw(rng, table, length, width=4, unseen=False)
  given = judging.pairwise(rng, problems, judging.halves(rng, 200))
  assert given.shown.sum() == 100
  values = (given.written >= 0).sum(2)
  np.testing.assert_array_equal(
    values, np.where(given.shown, length, 1)[:, None].repeat(2, 1)
  )
  hidden = (judging.prompts(given) == judging.HIDDEN).sum(1)
  np.testing.assert_array_equal(
    hidden, np.where(given.shown, 0, 2 * (length - 1))
  )


def test_pairs_have_one_right_solution_half_of_them_first(rng, table):
  problems = some(rng, table, 3, 400)
  given = judging.pairwise(rng, problems, judging.halves(rng, 400))
  assert given.right.sum() == 200
  assert within(given.right[given.shown].sum(), given.shown.sum())
  is_right = judging.claims(given) == judging.chains(problems)[:, -1:]
  np.testing.assert_array_equal(is_right.sum(1), 1)
  np.testing.assert_array_equal(is_right.argmax(1), given.right)


def test_the_other_order_has_the_other_verdict_and_the_same_texts(rng, table):
  given = judging.pairwise(
    rng, some(rng, table, 3, 100), judging.halves(rng, 100)
  )
  other = judging.swapped(given)
  np.testing.assert_array_equal(other.right, 1 - given.right)
  np.testing.assert_array_equal(
    np.sort(judging.prompts(given)), np.sort(judging.prompts(other))
  )
  np.testing.assert_array_equal(
    judging_traces.grade(other, judging.traces(other)).verdict, 1
  )
  np.testing.assert_array_equal(
    judging_traces.grade(other, judging.traces(given)).verdict, 0
  )
  again = judging.swapped(other)
  np.testing.assert_array_equal(again.written, given.written)
  np.testing.assert_array_equal(again.right, given.right)


def test_single_solutions_come_in_pairs_of_one_shape(rng, table):
  length = rng.integers(1, 5, 300)
  problems = judging.draw(rng, table, length, width=5, unseen=False)
  given = judging.pointwise(rng, problems, judging.halves(rng, 300))
  np.testing.assert_array_equal(given.right, np.tile([1, 0], 300))
  true = judging.final(given.problems, judging.chains(given.problems))
  np.testing.assert_array_equal(
    judging.claims(given)[:, 0] == true, given.right
  )
  prompts = judging.prompts(given)
  # Length, first token, number of hidden values: the same of both.
  filled = (prompts != judging.PAD).sum(1)
  np.testing.assert_array_equal(filled, 3 + 3 * length.repeat(2))
  one, other = prompts[::2], prompts[1::2]
  np.testing.assert_array_equal(one == judging.HIDDEN, other == judging.HIDDEN)
  written = np.arange(3, prompts.shape[1])  # values stand at every third place
  fixed = np.setdiff1d(written, np.arange(prompts.shape[1] - 2, 0, -3))
  np.testing.assert_array_equal(one[:, fixed], other[:, fixed])
  taken = given.take(np.array([4, 5]))
  np.testing.assert_array_equal(judging.prompts(taken), prompts[4:6])


def test_separators_are_distinct(rng, table):
  given = judging.pairwise(
    rng, some(rng, table, 3, 50), judging.halves(rng, 50)
  )
  read = set(judging.prompts(given).ravel())
  wrote = set(judging.traces(given).ravel())
  steps = set(range(judging.DIGIT, judging.CRITERION)) | {judging.PAD}
  assert not (read & wrote) - steps
  assert len(set(judging.TOKENS)) == len(judging.TOKENS)


# -------------------------------------------------------------- no short cuts


def bags(ids):
  """Counts of all tokens that occur, standardised, `[B, ...]`."""
  V = len(judging.TOKENS)
  at = np.arange(len(ids))[:, None] * V + ids
  found = np.bincount(at.ravel(), minlength=len(ids) * V).reshape(-1, V)
  found = found[:, found.std(0) > 0]
  return (found - found.mean(0)) / found.std(0)


def probed(features, label, train):
  """Accuracy of a logistic regression on the rows that are not for training."""
  x = np.hstack([features, np.ones((len(label), 1))])
  weight = np.zeros(x.shape[1])
  for _ in range(5):  # Newton steps with a ridge
    p = 1 / (1 + np.exp(-x[train] @ weight))
    slope = x[train].T @ (label[train] - p) - weight
    bend = (x[train].T * (p * (1 - p))) @ x[train] + np.eye(len(weight))
    weight = weight + np.linalg.solve(bend, slope)
  return ((x @ weight > 0) == label)[~train]


def test_a_probe_finds_what_is_there(rng, table):
  given = judging.pointwise(rng, some(rng, table, 3, 500), np.zeros(500, bool))
  leaked = judging.prompts(given)
  leaked[:, 0] = judging.DIGIT + given.right
  right = probed(bags(leaked), given.right, np.arange(1000) < 700)
  assert not within(right.sum(), len(right))


def test_every_step_is_needed(rng, table):
  # Whatever one step's operand, or the start, leads to another last value:
  # a claim is as likely as any other to whoever leaves one look-up out.
  problems = some(rng, table, 4, 30)
  for k in range(4):
    ends = []
    for operand in range(7):
      other = problems.operand.copy()
      other[:, k] = operand
      changed = problems._replace(operand=other)
      ends.append(judging.final(changed, judging.chains(changed)))
    assert (np.sort(ends, 0) == np.arange(7)[:, None]).all()
  starts = [problems._replace(start=np.full(30, value)) for value in range(7)]
  ends = [judging.chains(changed)[:, -1] for changed in starts]
  assert (np.sort(ends, 0) == np.arange(7)[:, None]).all()


def probed_bags(rng, table, K, count=8000):
  problems = some(rng, table, K, count)
  given = judging.pointwise(rng, problems, np.zeros(count, bool))
  train = np.arange(2 * count) < count
  return probed(bags(judging.prompts(given)), given.right, train)


@pytest.mark.parametrize('K', [2, 3, 4])
def test_bags_of_tokens_say_nothing_of_hidden_solutions(rng, table, K):
  right = probed_bags(rng, table, K)
  assert within(right.sum(), len(right))


def test_bags_of_tokens_say_little_of_one_step(rng, table):
  # 117 problems are to train on: values are not equally frequent.
  assert abs(probed_bags(rng, table, 1).mean() - 0.5) < 0.06


@pytest.mark.parametrize(('K', 'leak'), [(1, 0.06), (2, 0), (3, 0)])
def test_bags_say_nothing_of_hidden_pairs(rng, table, K, leak):
  problems = some(rng, table, K, 3000)
  given = judging.pairwise(rng, problems, np.zeros(3000, bool))
  last = judging.claims(given)[..., None] == np.arange(7)
  features = np.hstack([last.reshape(3000, -1), bags(judging.prompts(given))])
  right = probed(features, given.right, np.arange(3000) < 1500)
  assert within(right.sum(), 1500) or abs(right.mean() - 0.5) < leak


def test_first_token_and_length_say_nothing(rng):
  found = judging.split(rng, {1: 500, 2: 500, 4: 500}, tested=1)
  shown = judging.halves(rng, 1500)
  for given in (
    judging.pointwise(rng, found.pool, shown),
    judging.pairwise(rng, found.pool, shown),
  ):
    for K in (1, 2, 4):
      at = given.problems.length == K
      assert within(given.right[at].sum(), at.sum())
    for start in range(7):
      at = given.problems.start == start
      assert within(given.right[at].sum(), at.sum())
    for value in range(7):
      at = judging.claims(given)[:, 0] == value
      assert within(given.right[at].sum(), at.sum())


# -------------------------------------------------------- what a judge writes


def test_loss_weights_lift_the_verdict():
  ids = judging.traces(given_by_hand())
  found = judging_traces.weights(ids, verdict=5.0)
  np.testing.assert_array_equal(found[0], [1] * 12 + [5, 1])
  np.testing.assert_array_equal(found[1], [1] * 6 + [5, 1] + [0] * 6)
  np.testing.assert_array_equal(
    judging_traces.weights(judging.traces(pair_by_hand())).max(1), [4, 4]
  )


def test_roles_by_hand():
  ids = ids_of('3 l +1 4 a *2 2 => 3 5 A . . 4', '3 l +1 4 Y')
  names = [judging_traces.ROLES[i] for i in judging_traces.roles(ids, 2)[0]]
  step = ['label', 'operation', 'value']
  assert names == [
    'start', *step, *step, 'arrow', 'claim', 'claim', 'verdict', 'end',
    'none', 'none',
  ]  # fmt: skip
  assert (judging_traces.roles(ids, 2)[1] == 0).all()


@pytest.mark.parametrize('K', [1, 3])
def test_traces_are_read_back(rng, table, K):
  given = judging.pointwise(
    rng, some(rng, table, K, 40, width=4), judging.halves(rng, 40)
  )
  said = judging_traces.parse(judging.traces(given), 4, 1)
  assert said.whole.all()
  np.testing.assert_array_equal(said.verdict, given.right)
  np.testing.assert_array_equal(said.start, given.problems.start)
  np.testing.assert_array_equal(said.value, judging.chains(given.problems))
  np.testing.assert_array_equal(said.stated, judging.claims(given))
  np.testing.assert_array_equal(said.length, K)
  np.testing.assert_array_equal(said.label[:, :K], given.problems.label[:, :K])
  for mark in judging_traces.grade(given, judging.traces(given)):
    np.testing.assert_array_equal(mark, 1)
    assert mark.dtype == np.float32


@pytest.mark.parametrize(
  ('text', 'verdict', 'chain', 'copied', 'whole'),
  [
    ('3 l +1 4 a *2 2 b #5 3 => 3 Y .', 1, 1, 1, 1),
    ('3 l +1 4 a *2 2 b #5 3 => 3 N .', 0, 1, 1, 1),
    ('3 l +1 5 a *2 2 b #5 3 => 3 Y .', 1, 0, 1, 1),  # right by luck
    ('2 l +1 4 a *2 2 b #5 3 => 3 Y .', 1, 0, 1, 1),
    ('3 l +1 4 a *2 2 b #5 3 => 4 Y .', 1, 1, 0, 1),
    ('3 l +2 4 a *2 2 b #5 3 => 3 Y .', 1, 1, 0, 1),
    ('3 l +1 4 b *2 2 b #5 3 => 3 Y .', 1, 1, 0, 1),
    ('3 l +1 4 a *2 2 => 3 Y .', 1, 0, 0, 1),  # stops early
    ('3 l +1 4 a *2 2 b #5 3 c +0 3 => 3 Y .', 0, 0, 0, 0),  # over K
    ('3 l +1 4 a *2 2 b #5 3 => 3 Y', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 3 => 3 Y . .', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 3 => 3 Y . Y', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 3 => 3 A .', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 3 => 3 3 Y .', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 3 3 Y .', 0, 0, 0, 0),
    ('3 l +1 4 a *2 2 b #5 => 3 Y .', 0, 0, 0, 0),
    ('3 l 4 +1 a *2 2 b #5 3 => 3 Y .', 0, 0, 0, 0),
    ('^ l +1 4 a *2 2 b #5 3 => 3 Y .', 0, 0, 0, 0),
    ('3 => 3 Y .', 0, 0, 0, 0),
    ('Y .', 0, 0, 0, 0),
    ('pad', 0, 0, 0, 0),
  ],
)
def test_traces_are_graded_whole(text, verdict, chain, copied, whole):
  given = given_by_hand().take(np.array([0]))
  found = judging_traces.grade(given, ids_of(text))
  assert [float(mark[0]) for mark in found] == [verdict, chain, copied, whole]


def loose(ids, steps, solutions):
  """A parser of one row in plain Python: verdict or -1."""
  words = [
    judging.TOKENS[i] if 0 <= i < len(judging.TOKENS) else '??' for i in ids
  ]
  while words and words[-1] == 'pad':
    words.pop()
  digit, names = set('0123456'), 'NY' if solutions == 1 else 'AB'
  tail = solutions + 3
  body, end = words[:-tail], words[-tail:]
  if len(body) % 3 != 1 or not 1 <= len(body) // 3 <= steps:
    return -1
  kinds = [set('abcdefghijkl'), set(judging.TOKENS[19:40]), digit]
  wanted = [digit, *kinds * (len(body) // 3), {'=>'}]
  wanted += [digit] * solutions + [set(names), {'.'}]
  found = all(w in k for w, k in zip(body + end, wanted, strict=True))
  return names.index(end[-2]) if found else -1


@pytest.mark.parametrize('solutions', [1, 2])
def test_any_tokens_are_read(rng, table, solutions):
  make = judging.pointwise if solutions == 1 else judging.pairwise
  length = rng.integers(1, 4, 400)
  problems = judging.draw(rng, table, length, width=4, unseen=False)
  given = make(rng, problems, judging.halves(rng, 400))
  ids = judging.traces(given)
  assert len(judging.TOKENS) > 50
  changed = ids.copy()
  row = np.arange(len(ids))
  for most in (3 * 4, 4):  # one or two tokens of a true trace are others
    place = rng.integers(0, most, len(ids))
    near = ids[row, place] + rng.integers(-1, 2, len(ids))
    other = rng.integers(0, len(judging.TOKENS), len(ids))
    changed[row, place] = np.where(rng.random(len(ids)) < 0.8, near, other)
  for found in (
    changed,
    ids[:, :8],
    np.roll(ids, 1, 1),
    rng.integers(0, len(judging.TOKENS), (400, 30)),
    rng.integers(-(2**31), 2**31 - 1, (50, 20)),
    np.full((3, 20), judging.ARROW),
    np.zeros((3, 0), int),
    np.zeros((0, 12), int),
  ):
    said = judging_traces.parse(found, 4, solutions)
    expected = [loose(ids, 4, solutions) for ids in found.tolist()]
    np.testing.assert_array_equal(said.verdict, expected)
    np.testing.assert_array_equal(said.whole, said.verdict >= 0)
    assert (said.value < 7).all()
    assert said.stated.shape == (len(found), solutions)
    for leaf in said[:-1]:
      assert (leaf[~said.whole] == -1).all()
  some_are = judging_traces.parse(changed, 4, solutions).whole.mean()
  assert 0.05 < some_are < 0.95


def test_a_verdict_needs_no_problem_and_a_wrong_chain_has_a_loophole(
  rng, table
):
  given = judging.pointwise(
    rng, some(rng, table, 3, 1500), np.zeros(1500, bool)
  )
  lost = rng.integers(0, 7, 3000)  # a judge whose own chain ends anywhere
  claim = judging.claims(given)
  ids = judging.recited(
    given.problems, claim, (lost == claim[:, 0]).astype(int)
  )
  found = judging_traces.grade(given, ids).verdict
  assert within(found[given.right == 0].sum(), 1500, 6 / 7)
  assert within(found[given.right == 1].sum(), 1500, 1 / 7)


def test_graded_on_a_device_as_on_the_host(rng, table):
  given = judging.pairwise(
    rng, some(rng, table, 3, 40), judging.halves(rng, 40)
  )
  ids = judging.traces(given)
  ids[::2, 5] = judging.DIGIT
  ids[::3, -1] = judging.PAD
  host = judging_traces.grade(given, ids)
  device = jax.jit(judging_traces.grade)(jax.tree.map(jnp.asarray, given), ids)
  for one, other in zip(host, device, strict=True):
    np.testing.assert_array_equal(one, other)
