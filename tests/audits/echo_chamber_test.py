"""The closed loop, against one person's path in NumPy and against itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from prm_jax import types
from prm_jax.audits import echo_chamber
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.safeguards import adaptive, composition, policy_level, reward_level
from prm_jax.users import gaussian

U, T, S, M, K, J = 120, 20, 3, 10, 4, 3
KEY = jax.random.key(3)
PLAIN = echo_chamber.Rules()


def world(seed=0, people=U, neighbours=0):
  """People and answers; the last feature of an answer is its stance."""
  rng = np.random.default_rng(seed)
  values = rng.normal(size=(S, M, 2))
  stance = np.tile([-1.0, 1.0], (S, M // 2))
  opinion = np.clip(0.5 * rng.normal(size=people), -0.9, 0.9)
  arrays = (
    rng.normal(size=(people, 2)) + np.array([1.0, 0.0]),
    np.where(np.arange(people) % 2, 2.0, 0.0),
    opinion,
    np.clip(opinion + 0.1, -1, 1),
  )
  people_ = echo_chamber.People(
    jnp.arange(people, dtype=jnp.int32) + 7,
    *(jnp.asarray(a, jnp.float32) for a in arrays),
    jnp.asarray(rng.integers(0, people, (people, neighbours)), jnp.int32),
  )
  menu = echo_chamber.Menu(
    *(
      jnp.asarray(a, jnp.float32)
      for a in (
        np.concatenate([values, stance[..., None]], -1),
        values,
        stance,
        values[..., 0],  # of the aggregate: everybody likes the first
      )
    ),
    {'stance': jnp.asarray(stance, jnp.float32)},
  )
  return people_, menu


PARAMS = {
  'reward': {},
  'user': bayes.GaussianPrior(jnp.array([1.0, 0.0, 0.0]), jnp.eye(J)),
}
ONLINE = gaussian.online(dim=J)


def system(safeguard=None, user=ONLINE):
  return types.System(factorized.identity(), user, safeguard)


def begin_of(people, menu, made=None, params=PARAMS, **options):
  return echo_chamber.start(made or system(), params, people, menu, **options)


def simulate(people, menu, *, made=None, key=KEY, begin=None, **options):
  made = made or system()
  begin = begin_of(people, menu, made) if begin is None else begin
  return echo_chamber.simulate(
    key, made, PARAMS, people, menu, begin, rounds=T, pool=K, **options
  )


@pytest.fixture(scope='module')
def loop():
  """The loop without safeguards, compiled once: `loop(people=, rules=...)`."""

  @jax.jit
  def compiled(key, people, menu, begin, resets, rules):
    return simulate(
      people, menu, key=key, begin=begin, resets=resets, rules=rules
    )

  def run(
    key=KEY, people=None, menu=None, begin=None, resets=None, rules=PLAIN
  ):
    people = world()[0] if people is None else people
    menu = world()[1] if menu is None else menu
    begin = begin_of(people, menu) if begin is None else begin
    resets = np.full(U, -1) if resets is None else resets
    rules = jax.tree.map(jnp.float32, rules)
    return compiled(key, people, menu, begin, jnp.asarray(resets), rules)

  return run


def assert_same(one, other, atol=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other
  )


# ------------------------------------------------------------- the world


def test_opinions_do_not_move_where_nothing_moves_them(loop):
  people, _ = world()
  trace, end, _ = loop(rules=echo_chamber.Rules(0.0, 0.0, 0.0))
  wanted = np.broadcast_to(people.opinion, (T, U))
  np.testing.assert_array_equal(trace.opinion, wanted)
  np.testing.assert_array_equal(end.opinion, people.opinion)


def test_one_person_s_path_in_numpy(loop):
  people, menu = world()
  rules = echo_chamber.Rules(rate=0.2, anchor=0.05, beta=2.0)
  trace, end, _ = loop(rules=rules)
  x = np.asarray(people.opinion, float)
  innate = np.asarray(people.innate, float)
  moved = 0.0
  for t in range(T):
    served = np.asarray(trace.stance[t], float)
    x = x + 0.2 * (1 + x * served) / 2 * (served - x) + 0.05 * (innate - x)
    np.testing.assert_allclose(trace.opinion[t], x, atol=1e-5)
    moved = max(moved, np.abs(x - np.asarray(people.opinion)).max())
  assert moved > 0.3
  np.testing.assert_allclose(end.opinion, x, atol=1e-5)
  # The rows that are told are those of what was served.
  rows = np.asarray(trace.prompt), np.asarray(trace.answer)
  np.testing.assert_array_equal(trace.stance, np.asarray(menu.stance)[rows])
  utility = np.sum(np.asarray(menu.values)[rows] * people.weights[None], -1)
  np.testing.assert_allclose(trace.utility, utility, atol=1e-5)
  assert set(np.ravel(rows[0])) == set(range(S))
  assert set(np.ravel(rows[1])) == set(range(M))


def test_neighbours_pull_by_their_mean():
  people, menu = world(people=6, neighbours=2)
  rules = echo_chamber.Rules(rate=0.1, anchor=0.0, social=0.3)
  trace, _, _ = simulate(people, menu, rules=rules)
  x, near = np.asarray(people.opinion, float), np.asarray(people.neighbours)
  for t in range(T):
    served = np.asarray(trace.stance[t], float)
    heard = 0.1 * (1 + x * served) / 2 * (served - x)
    x = x + heard + 0.3 * (x[near].mean(1) - x)
    np.testing.assert_allclose(trace.opinion[t], x, atol=1e-5)


def served_rows(trace):
  """How often each of the menu's answers was served, `[S M]`."""
  rows = np.ravel(trace.prompt) * M + np.ravel(trace.answer)
  return np.bincount(rows, minlength=S * M)


def test_beta_zero_serves_uniformly(loop):
  flat = served_rows(loop(rules=echo_chamber.Rules(beta=0.0))[0])
  assert stats.chisquare(flat).pvalue > 0.001
  keen = served_rows(loop(rules=echo_chamber.Rules(beta=3.0))[0])
  assert stats.chisquare(keen).pvalue < 1e-20


def test_answers_are_served_as_often_as_the_policy_says(loop):
  """Who is known for certain is not learned about: one policy for all."""
  people, menu = world()
  mean = np.array([0.8, -0.5, 0.4])
  sure = gaussian.Context(
    jnp.broadcast_to(jnp.asarray(mean, jnp.float32), (U, J)),
    jnp.zeros((U, J, J)),
  )
  trace, end, _ = loop(
    begin=begin_of(people, menu, beliefs=sure),
    rules=echo_chamber.Rules(beta=1.5),
  )
  assert_same(end.belief, sure)
  score = 1.5 * np.asarray(menu.encoded, float) @ mean
  expected = np.zeros((S, M))
  for start in range(M):  # pools are stretches from any answer
    rows = (start + np.arange(K)) % M
    pool = np.exp(score[:, rows])
    expected[:, rows] += pool / pool.sum(1, keepdims=True) / (S * M)
  count = served_rows(trace)
  assert stats.chisquare(count, expected.ravel() * count.sum()).pvalue > 0.001


def test_a_pick_has_the_probability_of_the_policy():
  policy = np.array([0.0, 0.3, 0.0, 0.05, 0.65, 0.0])
  grid = jnp.arange(20_000) / 20_000
  for total in (1.0, 1.0 - 1e-6):  # rounding may leave a little out
    pick = jax.vmap(echo_chamber._inverse, (None, 0))(
      jnp.asarray(total * policy), grid
    )
    share = np.bincount(pick, minlength=6) / 20_000
    np.testing.assert_allclose(share, policy, atol=2e-4)


def test_what_is_believed_comes_near_to_what_people_want(loop):
  """Answers are read the right way round, also of who loves agreement."""
  people, _ = world()
  rules = echo_chamber.Rules(rate=0.0, anchor=0.0, beta=0.5)
  _, end, _ = loop(rules=rules)
  mean = np.asarray(end.belief.mean)
  for axis in range(2):
    assert np.corrcoef(mean[:, axis], people.weights[:, axis])[0, 1] > 0.5
  lovers = np.asarray(people.love) > 0
  wish = np.asarray(people.love * people.opinion)
  assert np.corrcoef(mean[lovers, 2], wish[lovers])[0, 1] > 0.5
  assert np.abs(mean[~lovers, 2]).mean() < np.abs(mean[lovers, 2]).mean()
  variance = np.einsum('uij,uij->u', end.belief.factor, end.belief.factor)
  assert (variance < J).all()


# ------------------------------------------------------------------ noise


def test_noise_is_keyed_by_person(loop):
  people, menu = world()
  whole, _, _ = loop()
  half = jax.tree.map(lambda leaf: leaf[20:60], people)
  alone, _, _ = jax.jit(functools.partial(simulate, menu=menu))(half)
  assert_same(alone, jax.tree.map(lambda leaf: leaf[:, 20:60], whole))
  order = np.random.default_rng(0).permutation(U)
  shuffled, _, _ = loop(people=jax.tree.map(lambda leaf: leaf[order], people))
  assert_same(shuffled, jax.tree.map(lambda leaf: leaf[:, order], whole))
  other = people._replace(number=people.number + 1)
  assert (loop(people=other)[0].answer != whole.answer).mean() > 0.3


def in_blocks(people, menu, **options):
  return echo_chamber.in_blocks(
    KEY, system(), PARAMS, people, menu, block=40, rounds=T, pool=K, **options
  )


def test_blocks_change_nothing(loop):
  assert_same(jax.jit(in_blocks)(*world()), loop()[0])


def test_blocks_take_resets_as_the_loop_does(loop):
  resets = np.arange(U) % T
  whole, _, _ = loop(resets=resets)
  blocks = in_blocks(*world(), resets=jnp.asarray(resets))
  assert_same(blocks, whole)


def test_blocks_that_do_not_fill_and_people_who_meet_are_refused():
  people, menu = world(people=50)
  with pytest.raises(ValueError, match='50 people do not fill blocks of 40'):
    in_blocks(people, menu)
  people, menu = world(people=40, neighbours=2)
  with pytest.raises(ValueError, match='use simulate'):
    in_blocks(people, menu)
  people, menu = world(people=40)
  with pytest.raises(ValueError, match='use simulate'):
    in_blocks(people, menu, refit=lambda user, answers: user)


def test_a_pool_larger_than_the_menu_is_refused():
  people, menu = world(people=4)
  with pytest.raises(ValueError, match='pool=11, but the menu has 10'):
    echo_chamber.simulate(
      KEY,
      system(),
      PARAMS,
      people,
      menu,
      begin_of(people, menu),
      rounds=1,
      pool=M + 1,
    )


def test_two_seeds_at_once_are_two_runs(loop):
  people, menu = world()
  keys = jax.random.split(KEY, 2)
  together, _, _ = jax.jit(
    jax.vmap(lambda key: simulate(people, menu, key=key))
  )(keys)
  for i in range(2):
    alone, _, _ = loop(key=keys[i])
    assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], together), alone)
  assert (together.answer[0] != together.answer[1]).any()


# ----------------------------------------------------------------- beliefs


def test_a_reset_belief_is_blank_and_others_go_on(loop):
  resets = np.full(U, -1)
  resets[:3] = [0, 7, T - 1]
  plain, kept, _ = loop()
  trace, end, _ = loop(resets=resets)
  untouched = np.arange(U) >= 3
  assert_same(
    jax.tree.map(lambda leaf: leaf[:, untouched], trace),
    jax.tree.map(lambda leaf: leaf[:, untouched], plain),
  )
  assert_same(
    jax.tree.map(lambda leaf: leaf[untouched], end.belief),
    jax.tree.map(lambda leaf: leaf[untouched], kept.belief),
  )
  # Before the reset nothing is different, and in round 0 all are blank.
  assert_same(trace.answer[:, 0], plain.answer[:, 0])
  assert_same(trace.answer[:7, 1], plain.answer[:7, 1])
  # The last one has one answer to learn from: a rank-one change of the prior.
  gap = np.eye(J) - np.asarray(end.belief.factor[2] @ end.belief.factor[2].T)
  values = np.linalg.eigvalsh(gap)
  np.testing.assert_allclose(values[:2], 0.0, atol=1e-5)
  assert values[2] > 1e-3
  step = np.asarray(end.belief.mean[2] - PARAMS['user'].mean)
  direction = np.linalg.eigh(gap)[1][:, 2]
  assert abs(step @ direction) == pytest.approx(np.linalg.norm(step), rel=1e-3)
  # Opinions are the person's own and go on from where they were.
  assert abs(float(trace.opinion[-1, 2] - trace.opinion[-2, 2])) < 0.2


def refit_to(mean):
  prior = bayes.GaussianPrior(jnp.asarray(mean), 0.5 * jnp.eye(J))
  return lambda user, answers: prior


def silent(menu):
  """Answers that all read the same: nothing is learned."""
  return menu._replace(encoded=jnp.ones_like(menu.encoded))


@pytest.mark.parametrize('kind', ['gaussian', 'online'])
def test_a_refitted_population_is_what_a_blank_belief_is(kind):
  people, menu = world(people=3)
  user = ONLINE if kind == 'online' else gaussian.gaussian(dim=J, capacity=4)
  made, new = system(user=user), [3.0, -2.0, 1.0]
  _, end, after = simulate(
    people,
    silent(menu),
    made=made,
    refit=refit_to(new),
    resets=jnp.array([-1, 5, 0]),
  )
  np.testing.assert_array_equal(after.mean, new)
  context = jax.vmap(user.context, (None, 0))(after, end.belief)
  # Reset in round 5, when the population had been refitted.
  np.testing.assert_allclose(context.mean[1], new, atol=1e-5)
  np.testing.assert_allclose(context.factor[1], 0.5 * jnp.eye(J), atol=1e-5)


def test_a_refit_changes_beliefs_and_sees_the_answers():
  people, menu = world(people=5)
  user = gaussian.gaussian(dim=J, capacity=6, iterations=2)
  made = system(user=user)
  begin = begin_of(people, menu, made, remember=6)
  assert begin.history.value.shape == (5, 6, J)

  @jax.jit
  def run(active):
    def refit(params, answers):
      # The population's mean counts the answers that are remembered.
      mean = jnp.full(J, answers.mask.sum() / 5)
      return params._replace(mean=jnp.where(active, mean, params.mean))

    return simulate(people, menu, made=made, begin=begin, refit=refit)

  trace, end, after = run(True)
  np.testing.assert_allclose(after.mean, 6.0)
  plain_trace, plain, same = run(False)
  np.testing.assert_array_equal(same.mean, PARAMS['user'].mean)
  np.testing.assert_array_equal(plain.history.kept, T)
  assert (trace.answer != plain_trace.answer).any()
  contexts = [
    jax.vmap(user.context, (None, 0))(params, state.belief)
    for params, state in ((after, end), (same, plain))
  ]
  gap = jnp.abs(contexts[0].mean - contexts[1].mean).max()
  assert float(gap) > 1.0
  # What is remembered is what was served, less the other one: one of the
  # menu's differences within a prompt, of the last round in the last slot.
  slot = (T - 1) % 6
  encoded = np.asarray(menu.encoded)
  for person in range(5):
    row = int(plain_trace.prompt[-1, person])
    chosen = encoded[row, int(plain_trace.answer[-1, person])]
    gaps = np.abs(plain.history.value[person, slot] - (chosen - encoded[row]))
    assert gaps.max(-1).min() < 1e-6


def test_a_run_can_start_from_what_is_known(loop):
  people, menu = world()
  beliefs = gaussian.Context(
    jnp.arange(3.0 * U).reshape(U, J),
    jnp.broadcast_to(0.1 * jnp.eye(J), (U, J, J)),
  )
  leaning = jnp.linspace(-1, 1, U)
  begin = begin_of(people, menu, beliefs=beliefs, leaning=leaning)
  _, end, _ = loop(menu=silent(menu), begin=begin)
  assert_same(end.belief, beliefs)
  np.testing.assert_array_equal(end.leaning, leaning)


# -------------------------------------------------------------- safeguards


def test_strengths_of_a_safeguard_at_once(loop):
  people, menu = world()

  def run(share):
    made = system(reward_level.shrinkage(share=share))
    return simulate(people, menu, made=made)[0]

  together = jax.jit(jax.vmap(run))(jnp.array([0.0, 0.3, 1.0]))
  parts = [jax.tree.map(lambda leaf, i=i: leaf[i], together) for i in range(3)]
  assert_same(parts[1], jax.jit(run)(0.3))
  assert_same(parts[2], loop()[0])
  assert (parts[0].answer != parts[2].answer).any()


def test_matching_keeps_lovers_at_the_aggregate_s_stance(loop):
  """The aggregate does not look at stances, so the mean follows its pool."""
  people, menu = world()
  rules = echo_chamber.Rules(rate=0.0, anchor=0.0, beta=3.0)
  held = np.sign(people.opinion) * (np.asarray(people.love) > 0)

  def agreement(trace):
    return np.mean(np.asarray(trace.stance[5:]) * held[None]) / np.mean(held**2)

  made = system(policy_level.matching(measure='stance'))
  matched = jax.jit(lambda: simulate(people, menu, made=made, rules=rules))()
  assert agreement(loop(rules=rules)[0]) > 0.15
  assert abs(agreement(matched[0])) < 0.08


def test_a_safeguard_observes_what_was_served():
  people, menu = world(people=6)
  made = system(
    composition.chain(
      adaptive.constitutional_floor(measure='stance', least=0.5),
      adaptive.exposure(decay=1.0),
    )
  )
  resets = jnp.array([-1, -1, -1, -1, -1, 15])
  trace, end, _ = simulate(people, menu, made=made, resets=resets)
  stance = np.array(trace.stance)
  stance[:15, 5] = np.nan  # forgotten
  dual, counts = end.safeguard
  np.testing.assert_allclose(dual.served, np.nansum(stance, 0), atol=1e-5)
  np.testing.assert_array_equal(dual.answers, [T] * 5 + [T - 15])
  np.testing.assert_allclose(counts[:, 1], 0.5 + (stance > 0).sum(0))
  assert (dual.most <= dual.answers).all()
  free, _, _ = simulate(people, menu)
  assert trace.stance.mean() > free.stance.mean() + 0.2


def test_best_of_n_serves_better_answers(loop):
  people, menu = world()
  trace, _, _ = jax.jit(
    lambda: simulate(people, menu, serve=composition.best_of(8))
  )()
  flat = float(loop(rules=echo_chamber.Rules(beta=0.0))[0].utility.mean())
  assert float(trace.utility.mean()) > flat + 0.5


# --------------------------------------------------- what the loop did to them


def rounds(stance, prompt, opinion):
  """A trace of T rounds of which some things are not read."""
  stance, prompt, opinion = map(np.asarray, (stance, prompt, opinion))
  return echo_chamber.Trace(
    opinion=opinion,
    prompt=prompt,
    stance=stance,
    utility=0 * stance,
    answer=np.zeros_like(prompt),
  )


def test_after_rounds_by_hand():
  # Four people, two rounds; the first prompt is contested, the second factual.
  start = np.array([-1.0, -0.5, 0.5, 1.0])
  trace = rounds(
    stance=[[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]],
    prompt=[[0, 0, 0, 0], [1, 1, 1, 0]],
    opinion=[0.8 * start, 0.5 * start],
  )
  found = echo_chamber.after_rounds(
    trace,
    start,
    truth=np.array([[0.0], [1.0]]),
    contested=np.array([True, False]),
    factual=np.array([False, True]),
  )
  variance = np.var(start)
  np.testing.assert_allclose(
    found['curve'], [variance, 0.64 * variance, 0.25 * variance]
  )
  assert found['polarization'] == pytest.approx(0.25 * variance)
  assert found['extremity'] == pytest.approx(0.375)
  assert found['drift'] == pytest.approx(np.sqrt(np.mean((0.5 * start) ** 2)))
  assert found['truth_served'] == 1.0
  # Two were served both sides, one bit, and two one side alone.
  assert found['exposure_entropy'] == pytest.approx(0.5)
  # Against them: both of the first, one of two of the second and third, both
  # of the fourth.
  assert found['cross_cutting'] == pytest.approx(0.75)
  # Only one person was asked a contested question in an odd round.
  assert np.isnan(found['stance_variance_in_loop'])


def test_variance_over_rounds_is_a_covariance_of_odd_and_even_ones():
  rng = np.random.default_rng(4)
  person = rng.choice([-1.0, 1.0], 500)
  stance = np.where(rng.random((8, 500)) < 0.9, person, -person)
  every = np.ones(stance.shape, bool)
  wanted = np.cov(stance[::2].mean(0), stance[1::2].mean(0))[0, 1]
  assert echo_chamber.over_rounds(stance, every) == pytest.approx(wanted)
  assert wanted > 0.5
  # What is not contested does not count, and neither does who has no half.
  some = every.copy()
  some[2:], some[1, 400:] = False, False
  wanted = np.cov(stance[0, :400], stance[1, :400])[0, 1]
  assert echo_chamber.over_rounds(stance, some) == pytest.approx(wanted)
  none = echo_chamber.over_rounds(rng.choice([-1.0, 1.0], (8, 500)), every)
  assert abs(none) < 0.05


@pytest.mark.slow
def test_beliefs_of_everybody_are_those_of_each():
  rng = np.random.default_rng(5)
  user = gaussian.gaussian(dim=J, capacity=4)
  evidence = types.Pair(
    jnp.asarray(rng.normal(size=(6, 5, 2, J)), jnp.float32),
    jnp.asarray(rng.random((6, 5)) < 0.5, jnp.float32),
    jnp.ones((6, 5)),
  )
  both = system(user=user)
  found = echo_chamber.believe(both, PARAMS['user'], evidence)
  for person in range(6):
    one, _ = user.update(
      KEY,
      PARAMS['user'],
      user.prior(PARAMS['user']),
      jax.tree.map(lambda leaf, u=person: leaf[u], evidence),
    )
    assert_same(jax.tree.map(lambda leaf, u=person: leaf[u], found), one)
