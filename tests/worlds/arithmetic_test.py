import numpy as np
import pytest

from prm_jax.worlds import arithmetic, arithmetic_demonstrations

PLUS, MINUS, TIMES, HIDDEN = range(4)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture
def table(rng):
  return arithmetic.tables(rng)


def words(ids):
  return [' '.join(arithmetic.TOKENS[i] for i in row) for row in ids]


def by_hand(table):
  """3 4 + 1 9 - 2 2: 4 3, then 2 1."""
  return arithmetic.Problems(
    np.array([[3, 4]]),
    np.array([[PLUS, MINUS]]),
    np.array([[[1, 9], [2, 2]]]),
    table,
  )


def test_tables(table):
  x, d = np.indices((10, 10))
  np.testing.assert_array_equal(table[PLUS], (x + d) % 10)
  np.testing.assert_array_equal(table[MINUS], (x - d) % 10)
  np.testing.assert_array_equal(table[TIMES], (x * d) % 10)
  assert (table[HIDDEN] != table[PLUS]).all()


def test_a_chain_by_hand(table):
  problem = by_hand(table)
  np.testing.assert_array_equal(arithmetic.chains(problem), [[[4, 3], [2, 1]]])
  assert words(arithmetic.prompts(problem)) == ['? 3 4 + 1 9 - 2 2 =']
  right = arithmetic.responses(arithmetic.chains(problem))
  assert words(right) == ['4 3 2 1 .']
  np.testing.assert_array_equal(arithmetic.verify(problem, right), [1])


def test_chains_agree_with_a_loop(rng, table):
  kinds = ('+-*#',) * 3
  problems = arithmetic.draw(rng, table, kinds, 20)
  found = arithmetic.chains(problems)
  for b in range(20):
    value = problems.start[b]
    for k in range(3):
      value = [
        table[problems.operator[b, k], value[i], problems.operand[b, k, i]]
        for i in range(2)
      ]
      assert list(found[b, k]) == value


@pytest.mark.parametrize(
  ('said', 'right', 'final'),
  [
    ('4 3 2 1 .', 1, 1),
    ('9 9 2 1 .', 0, 1),
    ('4 3 2 2 .', 0, 0),
    ('4 3 2 1 1', 0, 0),
    ('4 3 . _ _', 0, 0),
    ('4 wrong 2 1 .', 0, 0),
    ('_ _ _ _ _', 0, 0),
  ],
)
def test_answers_are_verified_whole(table, said, right, final):
  ids = np.array([[arithmetic.TOKENS.index(word) for word in said.split()]])
  problem = by_hand(table)
  assert arithmetic.verify(problem, ids) == right
  assert arithmetic.verify(problem, ids, final_only=True) == final
  assert arithmetic.verify(problem, ids[:, :3]) == 0


def test_problems_to_train_on_and_others(rng):
  found = arithmetic.split(rng, pool=17, held_out=5, share=0.5)
  assert found.hard.sum() == 8
  np.testing.assert_array_equal(
    (found.pool.operator == HIDDEN).any(1), found.hard
  )
  times = (found.pool.operator == TIMES).any(1)
  assert times.sum() == 5
  assert not (times & found.hard).any()
  for kind, problems in found.held_out.items():
    assert len(problems.start) == 5
    for step, allowed in enumerate(arithmetic.CLASSES[kind]):
      names = {arithmetic.OPERATORS[i] for i in problems.operator[:, step]}
      assert names <= set(allowed)


def _splitmix(code):
  """SplitMix64's next number, of the state `code`, in Python's integers."""
  full = 2**64 - 1
  code = (code + 0x9E3779B97F4A7C15) & full
  code = (code ^ code >> 30) * 0xBF58476D1CE4E5B9 & full
  code = (code ^ code >> 27) * 0x94D049BB133111EB & full
  return code ^ code >> 31


def test_a_fold_by_hand(table):
  # The first number of the published generator, seeded with 0.
  assert _splitmix(0) == 0xE220A8397B1DCDAF
  code = 8
  for digit in (3, 4, PLUS, 1, 9, MINUS, 2, 2):
    code = _splitmix(code ^ digit)
  assert arithmetic.fold(by_hand(table)) == code % 10


def test_folds_share_no_problem(rng, table):
  """Of one step with one operator there are 10,000 problems: all are drawn."""

  def drawn(folds):
    some = arithmetic.draw(rng, table, ('#',), 60_000, folds=folds)
    assert set(arithmetic.fold(some)) == set(folds)
    return set(map(tuple, arithmetic.prompts(some).tolist()))

  tested, trained = drawn((0,)), drawn(range(1, 10))
  assert not tested & trained
  assert len(tested | trained) > 9_950
  assert 900 < len(tested) < 1_100


def test_a_fold_does_not_depend_on_the_draw(rng, table):
  problems = arithmetic.mixed(rng, table, {'easy': 300, 'hard': 200})
  order = rng.permutation(500)
  np.testing.assert_array_equal(
    arithmetic.fold(problems.take(order)), arithmetic.fold(problems)[order]
  )
  some = arithmetic.mixed(rng, table, {'easy': 3, 'hard_last': 40}, folds=(2,))
  assert (some.operator == HIDDEN).any(1).tolist() == [False] * 3 + [True] * 40
  for folds in ((), (10,)):
    with pytest.raises(ValueError, match='folds'):
      arithmetic.draw(rng, table, ('+',), 3, folds=folds)


def test_critiques_of_a_wrong_first_step(rng, table):
  problem = by_hand(table)
  wrong = arithmetic.responses(np.array([[[4, 9], [2, 1]]]))
  right = arithmetic.responses(arithmetic.chains(problem))

  def said(kind, ids=wrong, **options):
    return words(arithmetic.critique(rng, problem, ids, kind, **options))[0]

  assert said('indicative') == 'wrong none none none none none'
  assert said('with_answer') == 'wrong answer to be 2 1'
  assert said('located') == 'wrong step 1 none none none'
  assert said('step_by_step') == 'wrong step 1 be 4 3'
  assert said('inverted') == 'right none none none none none'
  repair = said('wrong_repair').split()
  assert repair[:4] == ['wrong', 'step', '1', 'be']
  assert repair[4] != '4'
  assert repair[5] != '3'
  for kind in ('indicative', 'with_answer', 'located', 'step_by_step'):
    assert said(kind, right) == 'right none none none none none'
  assert said('inverted', right).startswith('wrong step')
  # Never accurate: verdict, step and value are the opposite.
  assert said('indicative', accuracy=0.0).startswith('right')
  assert said('located', accuracy=0.0).startswith('wrong step 2')
  assert said('step_by_step', accuracy=0.0).split()[4] != '4'
  assert said('wrong_repair', accuracy=0.0) == 'wrong step 1 be 4 3'
  with pytest.raises(ValueError, match='one of'):
    said('kind')


def test_accuracy_is_how_often_a_critique_is_true(rng, table):
  problems = arithmetic.draw(rng, table, arithmetic.CLASSES['hard'], 4000)
  wrong = arithmetic.responses((arithmetic.chains(problems) + 1) % 10)
  found = arithmetic.critique(
    rng, problems, wrong, 'step_by_step', accuracy=0.7
  )
  true = arithmetic.critique(rng, problems, wrong, 'step_by_step')
  assert abs((found == true).all(1).mean() - 0.7) < 0.03


def test_a_refinement_asks_the_problem_again_behind_what_was_said(rng, table):
  problem = by_hand(table)
  wrong = arithmetic.responses(np.array([[[4, 9], [2, 1]]]))
  said = arithmetic.critique(rng, problem, wrong, 'step_by_step')
  assert words(arithmetic.refinements(problem, wrong, said)) == [
    '4 9 2 1 wrong step 1 be 4 3 ? 3 4 + 1 9 - 2 2 ='
  ]


def test_plain_demonstrations_hold_the_misconception(rng, table):
  problems = arithmetic.draw(rng, table, arithmetic.CLASSES['hard'], 20_000)
  shown = arithmetic_demonstrations.plain(rng, problems)
  values = arithmetic.parse(shown.response, 2).values
  taken = (problems.start + problems.operand[:, 0]) % 10
  agree = (values[:, 0] == taken).mean()
  assert abs(agree - (0.9 + 0.1 * 0.1)) < 0.01
  right = (values[:, 0] == arithmetic.chains(problems)[:, 0]).mean()
  assert abs(right - 0.01) < 0.004
  # The second step goes on from what was written.
  np.testing.assert_array_equal(
    values[:, 1], arithmetic.apply(problems, values[:, 0], 1)
  )
  times = arithmetic.draw(rng, table, arithmetic.CLASSES['medium'], 20_000)
  values = arithmetic.parse(
    arithmetic_demonstrations.plain(rng, times).response, 2
  ).values
  right = (values[:, 0] == arithmetic.chains(times)[:, 0]).mean()
  assert abs(right - (0.6 + 0.4 * 0.1)) < 0.01
  easy = arithmetic.draw(rng, table, arithmetic.CLASSES['easy'], 500)
  shown = arithmetic_demonstrations.plain(rng, easy)
  assert arithmetic.verify(easy, shown.response).all()


def test_refinements_shown_hold_no_hidden_operator(rng, table):
  shown = arithmetic_demonstrations.refined(rng, table, 3000)
  text = words(shown.prompt)
  assert not any('#' in row for row in text)
  answers = words(shown.response)
  arbitrary = 0
  for row, answer in zip(text, answers, strict=True):
    attempt, critique = row.split()[:4], row.split()[4:10]
    values = answer.split()[:4]
    if critique[0] == 'right':
      assert attempt == values
    if critique[:2] == ['wrong', 'answer']:
      assert values[2:] == critique[4:]
    if critique[3] == 'be' and critique[1] == 'step':
      first = 2 * (int(critique[2]) - 1)
      # The repair is taken over, and no digit of the wrong step is.
      assert values[first : first + 2] == critique[4:]
      assert all(
        a != v for a, v in zip(attempt[first:], values[first:], strict=True)
      )
      assert attempt[:first] == values[:first]
      operator = row.split()[10 + 3 + 3 * (first // 2)]
      arbitrary += operator == '@'
  assert arbitrary > 100


def test_critiques_shown_are_true(rng, table):
  shown = arithmetic_demonstrations.critiqued(rng, table, 600)
  right = 0
  for row, said in zip(words(shown.prompt), words(shown.response), strict=True):
    tokens = row.split()
    assert tokens[4] == '?'
    assert tokens[-1] == 'to'
    right += said == 'right none none none none none'
    if said.startswith('wrong'):
      step = int(said.split()[2]) - 1
      repair = said.split()[4:]
      # Whatever is named, no digit of the attempt's step is right.
      pair = tokens[2 * step : 2 * step + 2]
      assert all(a != b for a, b in zip(pair, repair, strict=True))
  assert 140 < right < 260


def test_demonstrations_of_all_kinds(rng, table):
  plain, refined, critiqued = arithmetic_demonstrations.mixed(
    rng, table, solved=7, again=200, criticised=3
  )
  assert plain.response.shape == (7, 5)
  assert refined.response.shape == (200, 5)
  assert critiqued.response.shape == (3, arithmetic.CRITIQUE)
