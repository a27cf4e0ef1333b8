"""Learners of policies, on a task whose right answers are prescribed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.data import pipelines
from prm_jax.learners import critique_grpo, grpo, imitation, rltf, sdpo
from prm_jax.models import decoder
from prm_jax.policy import (
  demonstrations,
  logprobs,
  losses,
  padding,
  phases,
  rollouts,
  supervised,
  tasks,
)
from prm_jax.runtime import checkpoint
from tests.learners.tiny_policies import (
  CONFIG,
  PROBLEMS,
  SAMPLES,
  SPEC,
  STOP,
  TRAINING,
  N,
  P,
  beside,
  collected,
  critic,
  fit,
  full,
  prompts,
  right_second,
  rows,
  start,
  task_of,
)

# -------------------------------------------------------------- probabilities


def test_probabilities_do_not_depend_on_the_padding_of_prompts():
  learner = grpo.grpo(task=task_of(right_second), config=CONFIG)
  params = start(learner).params['policy']
  asked = prompts(np.array([1]))
  answer = full([[3, 5, STOP]])
  score = logprobs.scorer(CONFIG, N)
  padded = score(params, *padding.follow(asked, answer))
  short = types.Tokens(asked.ids[:, 1:], asked.mask[:, 1:])
  np.testing.assert_allclose(
    score(params, *padding.follow(short, answer)), padded, atol=1e-5
  )
  # The whole distribution sums to one, token by token.
  every = np.stack([[v, 5, STOP] for v in range(12)])
  ids, seen = padding.follow(padding.repeat(asked, 12), full(every))
  first = np.asarray(score(params, ids, seen))[:, 0]
  np.testing.assert_allclose(np.exp(first).sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
  'right', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_sampler_and_trainer_agree(right):
  def verify(problem, tokens):
    return np.full(len(problem), float(right))

  learner = critique_grpo.critique_grpo(
    task=task_of(verify, beside), critic=critic, config=CONFIG
  )
  made, _ = collected(learner)
  phase, state = learner.phases[0], start(learner)
  _, _, figures = phase.objective(
    state.params, None, state, types.Batch(made), None
  )
  total, count = figures['sampler_gap']
  own = made.answer * (made.second == 0)[:, None]
  assert float(count.sum()) == own.sum() > 0
  np.testing.assert_allclose(
    np.where(own, made.old_logprob - made.sampler_logprob, 0.0), 0.0, atol=1e-4
  )
  assert 0 < float(total.sum() / count.sum()) < 1e-4


# ----------------------------------------------------------------------- GRPO


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_groups_all_right_or_all_wrong_teach_nothing(value):
  task = task_of(lambda problem, tokens: np.full(len(problem), value))
  made, metrics = collected(grpo.grpo(task=task, config=CONFIG))
  np.testing.assert_array_equal(made.advantage, 0.0)
  assert metrics['no_gradient'] == 1.0
  assert metrics['reward'] == value


def test_answers_that_fail_are_dropped_and_move_no_other():
  def verify(problem, tokens):
    value = np.arange(len(problem)) % 2.0
    value[3] = np.nan
    return value

  made, metrics = collected(
    grpo.grpo(
      task=task_of(verify), config=CONFIG, samples=8, advantage='centred'
    )
  )
  assert metrics['failed'] == pytest.approx(1 / 24)
  assert made.mask[3] == 0
  assert made.mask.sum() == 23
  assert np.isfinite(made.advantage).all()
  # 4 wrong, 3 right are left.
  np.testing.assert_allclose(made.advantage[0], -3 / 7, rtol=1e-5)


def test_problems_that_are_drawn_together_are_groups_of_their_own():
  def verify(problem, tokens):
    return problem * 10.0 + np.arange(len(problem)) % 3

  learner = grpo.grpo(
    task=task_of(verify), config=CONFIG, samples=8, advantage='centred'
  )
  apart, _ = collected(learner)
  together, metrics = collected(learner, tasks.problems([[0, 1, 2]]))
  for one, other in zip(
    jax.tree.leaves(apart), jax.tree.leaves(together), strict=True
  ):
    np.testing.assert_array_equal(one, other)
  assert metrics['no_gradient'] == 0.0


def wants_five(problem, tokens):
  del problem
  return (tokens.ids[:, 0] == 5).astype(float)


@pytest.mark.parametrize('advantage', sorted(grpo.ADVANTAGES))
def test_a_policy_learns_what_is_rewarded(advantage):
  learner = grpo.grpo(
    task=task_of(wants_five),
    config=CONFIG,
    training=TRAINING,
    advantage=advantage,
  )
  state = fit(learner)
  said = rollouts.write(
    jax.random.key(5),
    CONFIG,
    state.params['policy'],
    prompts(np.arange(3)),
    task_of(wants_five),
    count=20,
  ).tokens
  assert wants_five(None, said).mean() > 0.9


@pytest.mark.slow
def test_a_leash_keeps_the_policy_at_its_start():
  def moved(kl):
    loss = (*losses.PLAIN, losses.kl(kl))
    learner = grpo.grpo(
      task=task_of(wants_five), config=CONFIG, training=TRAINING, loss=loss
    )
    first = learner.init(jax.random.key(0), SPEC)
    state = fit(learner)
    ids, seen = padding.follow(prompts(np.array([0])), full([[5, 5, STOP]]))
    score = logprobs.scorer(CONFIG, N)
    both = [score(s.params['policy'], ids, seen)[0, 0] for s in (first, state)]
    return float(both[1] - both[0])

  assert moved(0.0) > 1.0
  assert abs(moved(100.0)) < 0.5


@pytest.mark.slow
def test_a_resumed_run_draws_the_same(tmp_path):
  learner = grpo.grpo(
    task=task_of(wants_five), config=CONFIG, training=phases.Training(steps=6)
  )

  def fitted(folder, stop=None):
    given = pipelines.batches(rows(), batch_size=2, seed=0)
    with checkpoint.Checkpoints(folder) as manager:
      return fit(
        learner, batches=given, manager=manager, save_every=3, restore_step=stop
      )

  whole = fitted(tmp_path / 'a')
  again = fitted(tmp_path / 'a', stop=3)
  for one, two in zip(
    jax.tree.leaves(whole.params), jax.tree.leaves(again.params), strict=True
  ):
    np.testing.assert_array_equal(one, two)


# -------------------------------------------------------------- Critique-GRPO


def test_one_right_refinement_beside_seven_wrong_answers():
  learner = critique_grpo.critique_grpo(
    task=task_of(right_second, beside), critic=critic, config=CONFIG
  )
  made, metrics = collected(learner)
  assert len(made.ids) == PROBLEMS * (SAMPLES + 1)
  first, last = made.second == 0, made.second == 1
  # A problem's texts side by side, the refinement last.
  np.testing.assert_array_equal(
    made.second.reshape(PROBLEMS, -1), [[0] * SAMPLES + [1]] * PROBLEMS
  )
  np.testing.assert_allclose(made.advantage[first], -1 / 8)
  np.testing.assert_allclose(made.advantage[last], 7 / 8)
  # J is the mean over answers plus the mean over refinements: every problem
  # counts once, its answers share it, and its refinement weighs one.
  np.testing.assert_allclose(made.share.sum(), PROBLEMS, rtol=1e-6)
  np.testing.assert_allclose(made.weight[first], 1 / 7)
  np.testing.assert_array_equal(made.weight[last], 1.0)
  np.testing.assert_array_equal(made.share[last], 0.0)
  # Scored under the plain prompt, without attempt and critique.
  plain, _ = padding.follow(
    prompts(np.arange(PROBLEMS)), full(np.asarray(made.ids[last, -N:]))
  )
  np.testing.assert_array_equal(made.ids[last], plain)
  assert metrics['valid_refinement'] == 1.0
  assert metrics['criticised'] == 1.0


@pytest.mark.parametrize('right', [0, 1, 2])
def test_the_best_of_several_refinements_is_taken(right):
  kept = {}

  def verify(problem, tokens):
    if len(problem) == 3 * PROBLEMS:  # the refinements of every problem
      kept['ids'] = np.asarray(tokens.ids)
      return np.arange(len(problem)) % 3 == right
    if len(problem) == PROBLEMS:  # what was taken
      kept['taken'] = np.asarray(tokens.ids)
    return np.zeros(len(problem))

  learner = critique_grpo.critique_grpo(
    task=task_of(verify, beside), critic=critic, config=CONFIG, refined=3
  )
  collected(learner)
  np.testing.assert_array_equal(kept['taken'], kept['ids'][right::3])
  others = [kept['ids'][other::3] for other in range(3) if other != right]
  assert all((kept['taken'] != other).any() for other in others)


def test_solved_problems_get_an_eighth_answer():
  task = task_of(lambda problem, tokens: np.arange(len(problem)) % 2.0, beside)

  def silent(*given):
    raise_ = critic(*given)
    return types.Tokens(raise_[0].ids, 0 * raise_[0].mask), 0

  learner = critique_grpo.critique_grpo(task=task, critic=silent, config=CONFIG)
  made, metrics = collected(learner)
  assert metrics['criticised'] == 0.0
  np.testing.assert_array_equal(made.second, 0)
  np.testing.assert_allclose(made.weight, 1 / 8)
  np.testing.assert_allclose(made.share, 1 / 8)
  np.testing.assert_array_equal(made.mask, 1.0)


def test_a_critic_that_says_nothing_drops_the_refinement():
  def silent(*given):
    said, cost = critic(*given)
    return types.Tokens(said.ids, 0 * said.mask), cost

  learner = critique_grpo.critique_grpo(
    task=task_of(right_second, beside), critic=silent, config=CONFIG
  )
  made, metrics = collected(learner)
  np.testing.assert_array_equal(made.mask[made.second == 1], 0.0)
  assert made.mask.sum() == PROBLEMS * SAMPLES
  np.testing.assert_array_equal(made.advantage, 0.0)
  assert metrics['no_critique'] == 1.0


def test_refinements_come_from_the_start_if_the_refiner_is_frozen():
  seen = []

  def spy(key, policy, *given):
    seen.append(policy)
    return critic(key, policy, *given)

  def last(refiner):
    learner = critique_grpo.critique_grpo(
      task=task_of(right_second, beside),
      critic=spy,
      config=CONFIG,
      refiner=refiner,
    )
    state = start(learner)
    # A policy in training that only says 5.
    moved = jax.tree.map(jnp.zeros_like, state.params['policy'])
    state = state._replace(params={'policy': moved})
    made, _ = learner.phases[0].collect(jax.random.key(1), state, rows())
    return made.rows.ids[made.rows.second == 1, -N:]

  frozen = [last('frozen') for _ in range(2)]
  np.testing.assert_array_equal(*frozen)
  assert (last('live') != frozen[0]).any()
  assert len(seen) == 3


def test_bad_settings_are_refused():
  good = {
    'task': task_of(right_second, beside),
    'critic': critic,
    'config': CONFIG,
  }
  make = critique_grpo.critique_grpo
  with pytest.raises(ValueError, match="refiner 'ema'"):
    make(**good, refiner='ema')
  with pytest.raises(ValueError, match='9 refinements of 7 answers'):
    make(**good, refined=9)
  with pytest.raises(ValueError, match='cannot ask again'):
    make(**{**good, 'task': task_of(right_second)})
  with pytest.raises(ValueError, match='one of'):
    grpo.grpo(task=good['task'], config=CONFIG, advantage='mean')


# ------------------------------------------------------------------ imitation


def test_answers_of_several_kinds_are_stacked_tokens_first():
  left = types.Tokens(np.array([[0, 0, 7, 8]]), np.array([[0, 0, 1, 1]]))
  found = padding.stack(full([[5, STOP]]), left)
  np.testing.assert_array_equal(found.ids[:, :2], [[5, STOP], [7, 8]])
  np.testing.assert_array_equal(found.mask, [[1, 1, 0, 0]] * 2)


def test_right_refinements_alone_are_shown():
  def verify(problem, tokens):
    verify.calls += 1
    right = np.arange(len(problem)) % 2 if verify.calls == 2 else 0.0
    return right * np.ones(len(problem))

  verify.calls = 0
  shown = demonstrations.refinements(
    task=task_of(verify, beside),
    critic=critic,
    config=CONFIG,
    problems=PROBLEMS,
    batch=4,
  )
  learner = grpo.grpo(task=task_of(wants_five), config=CONFIG)
  start_params = learner.init(jax.random.key(0), SPEC).params['policy']
  asked, said = shown(jax.random.key(1), start_params)
  np.testing.assert_array_equal(said.mask.any(1), [False, True] * 2)
  assert asked.ids.shape == (4, P)  # the plain prompt, without a critique
  with pytest.raises(ValueError, match='ask again'):
    demonstrations.refinements(
      task=task_of(verify), critic=critic, config=CONFIG, problems=3, batch=4
    )


def test_critiques_are_shown_beside_answers():
  def requests(problem, attempts):
    return beside(problem, attempts, full(np.full((len(problem), 1), 8)))

  learner = grpo.grpo(task=task_of(wants_five), config=CONFIG)
  start_params = learner.init(jax.random.key(0), SPEC).params['policy']
  asked, said = demonstrations.critiques(
    task=task_of(right_second),
    critic=critic,
    requests=requests,
    config=CONFIG,
    problems=PROBLEMS,
    batch=4,
  )(jax.random.key(1), start_params)
  np.testing.assert_array_equal(said.ids[:2, :2], 9)  # the critic's
  np.testing.assert_array_equal(said.mask[:2], [[1, 1, 0]] * 2)
  length = asked.mask.sum(1)
  assert (length[:2] > P).all()
  assert (length[2:] <= P).all()


def test_demonstrations_are_imitated_and_empty_ones_left_out():
  def shown(key, params):
    del key, params
    problem = np.array([0, 1, 2])
    answers = full([[7, 8, STOP]] * 3)
    mask = answers.mask.copy()
    mask[1] = 0
    ids = answers.ids.copy()
    ids[1] = 2
    return prompts(problem), types.Tokens(ids, mask)

  learner = imitation.imitation(
    shown=shown, config=CONFIG, steps=60, learning_rate=1e-2, warm_up=1
  )
  made, metrics = collected(learner)
  np.testing.assert_array_equal(made.mask, [1, 0, 1])
  assert metrics['shown'] == 2
  state = fit(learner, rows(1))
  said = rollouts.write(
    jax.random.key(3),
    CONFIG,
    state.params['policy'],
    prompts(np.arange(3)),
    task_of(right_second),
    temperature=0.0,
  ).tokens
  np.testing.assert_array_equal(said.ids[[0, 2]], [[7, 8, STOP]] * 2)


def test_weighted_tokens_and_gaps_of_demonstrations():
  weights = np.array([[1.0, 4, 1], [1, 1, 1], [2, 0, 2]], np.float32)
  answers = full([[7, 8, STOP]] * 3)
  answers.mask[2, 1] = 0

  def shown(key, params):
    return prompts(np.array([0, 0, 0])), answers, weights

  learner = imitation.imitation(
    shown=shown, config=CONFIG, steps=1, gap=9, optimizer='muon'
  )
  made, _ = collected(learner)
  gap = np.asarray(made.gap)
  assert len(set(gap)) > 1
  assert (gap >= 0).all()
  assert (gap <= 9).all()
  state, phase = start(learner), learner.phases[0]
  terms, _, _ = jax.jit(phase.objective, static_argnums=(1, 4))(
    state.params, None, state, types.Batch(made), None
  )
  total, count = terms['imitation']
  # By hand: each token's weight, at positions that a gap moves.
  ids, seen = padding.follow(prompts(np.zeros(3, int)), answers)
  places = np.maximum(np.cumsum(seen, 1) - 1, 0)
  places[:, P:] += gap[:, None]
  model, params = decoder.Decoder(CONFIG), state.params['policy']

  @jax.jit
  def told(params):
    mask = decoder.attended(jnp.asarray(seen))
    hidden = model.apply(params, ids, places, mask).hidden
    return model.apply(params, hidden[:, P - 1 : -1], method='logits')

  own = logprobs.at(told(params), jnp.asarray(ids[:, P:]))
  use = weights * answers.mask
  np.testing.assert_allclose(total, -(use * own).sum(1), rtol=1e-4)
  np.testing.assert_allclose(count, use.sum(1), rtol=1e-6)
  with pytest.raises(ValueError, match="optimizer 'sgd'"):
    imitation.imitation(shown=shown, config=CONFIG, optimizer='sgd')


def test_muon_is_for_the_matrices_of_layers_alone():
  rng = np.random.default_rng(0)
  params = {'kernel': np.zeros((2, 4, 3)), 'scale': np.zeros((2, 4))}
  slope = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
  muon = supervised.OPTIMIZERS['muon'](lambda step: 0.1, 0.0)
  change, _ = muon.update(slope, muon.init(params), params)
  # Nearly orthogonal, of one size; others move as Adam's, against their sign.
  sizes = np.linalg.svd(np.asarray(change['kernel']), compute_uv=False)
  assert sizes.max() < 2 * sizes.min()
  assert 0.5 < sizes.max() / (0.1 * supervised.MUON) < 1.5
  first = np.abs(change['scale'][0, 0])
  assert 0.1 <= first < 0.2  # Nesterov's momentum
  np.testing.assert_allclose(
    change['scale'], -first * np.sign(slope['scale']), rtol=1e-3
  )


# --------------------------------------------------------------- SDPO and RLTF


def test_siblings_are_right_answers_of_others():
  reward = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]], float)
  found = sdpo.sibling(reward).reshape(3, 4)
  np.testing.assert_array_equal(found[0], [1, 3, 3, 1])
  np.testing.assert_array_equal(found[1], -1)
  np.testing.assert_array_equal(found[2], [10, 10, -1, 10])


@pytest.mark.slow
def test_sdpo_teaches_wrong_answers_and_right_ones_with_siblings():
  def verify(problem, tokens):
    del tokens
    return np.tile([1.0, 0.0, 0.0, 0.0], len(problem) // 4)

  learner = sdpo.sdpo(
    task=task_of(verify, beside), critic=critic, config=CONFIG, samples=4
  )
  state = start(learner)
  state = state._replace(average=state.params)
  made, _ = learner.phases[0].collect(jax.random.key(0), state, rows())
  np.testing.assert_array_equal(
    made.rows.mask.reshape(PROBLEMS, 4), [[0, 1, 1, 1]] * PROBLEMS
  )
  assert made.rows.teacher.shape == (PROBLEMS * 4, N, CONFIG.vocab_size)
  np.testing.assert_allclose(np.exp(made.rows.teacher).sum(-1), 1.0, rtol=1e-4)
  state = fit(
    sdpo.sdpo(
      task=task_of(verify, beside),
      critic=critic,
      config=CONFIG,
      samples=4,
      training=phases.Training(steps=3),
    )
  )
  average = state.average['policy']
  moved = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), average, state.params['policy']
  )
  assert max(jax.tree.leaves(moved)) > 0
  with pytest.raises(ValueError, match='does not distill'):
    sdpo.sdpo(
      task=task_of(verify, beside),
      critic=critic,
      config=CONFIG,
      loss=losses.PLAIN,
    )


@pytest.mark.slow
def test_second_tries_are_credited_over_the_first_tries_mean():
  def verify(problem, tokens):
    del tokens
    verify.calls += 1
    if verify.calls % 2:
      return np.tile([1.0, 0.0, 0.0, 0.0], len(problem) // 4)
    return np.ones(len(problem))

  verify.calls = 0

  def requests(problem, attempts):
    return padding.join(prompts(problem))

  settings = {
    'task': task_of(verify, beside),
    'critic': critic,
    'config': CONFIG,
    'samples': 4,
  }
  made, metrics = collected(rltf.rltf(**settings))
  np.testing.assert_allclose(made.advantage, 0.75)
  assert metrics['valid_refinement'] == 1.0
  assert metrics['reward'] == 0.25
  both, _ = collected(rltf.rltf(**settings, requests=requests, predict=0.3))
  half = PROBLEMS * 4
  assert len(both.ids) == 2 * half
  np.testing.assert_allclose(both.advantage[half:], 0.3)
  # The critique, two nines, after its request.
  np.testing.assert_array_equal(both.ids[half:, -N:-1], 9)
  np.testing.assert_array_equal(both.answer[half:], [[1, 1, 0]] * half)
  # Each kind has a mean of its own, however many texts it has.
  np.testing.assert_array_equal(both.second, [0] * half + [1] * half)
  with pytest.raises(ValueError, match='give them'):
    rltf.rltf(**settings, predict=0.3)
  for loss in (losses.PLAIN, (*rltf.PUBLISHED, losses.kl(0.1))):
    with pytest.raises(ValueError, match='no probability but its own'):
      rltf.rltf(**settings, loss=loss)


@pytest.mark.slow
def test_a_group_without_a_first_reward_credits_no_second_try():
  def verify(problem, tokens):
    del tokens
    verify.calls += 1
    found = np.ones(len(problem))
    if verify.calls % 2:
      found[:2] = np.nan  # both first answers to the first problem
    return found

  def padded_left(*given):
    said, cost = critic(*given)
    return jax.tree.map(lambda leaf: np.pad(leaf, ((0, 0), (2, 0))), said), cost

  verify.calls = 0
  made, metrics = collected(
    rltf.rltf(
      task=task_of(verify, beside),
      critic=padded_left,
      config=CONFIG,
      samples=2,
      predict=0.3,
      requests=lambda problem, _: prompts(problem),
    )
  )
  half = PROBLEMS * 2
  np.testing.assert_array_equal(made.mask[:half], [0, 0, 1, 1, 1, 1])
  np.testing.assert_array_equal(made.advantage[:half], 0.0)
  assert metrics['no_gradient'] == 1.0
  # Critiques follow their requests at once, wherever they were padded.
  np.testing.assert_array_equal(made.ids[half:, P : P + 2], 9)
  np.testing.assert_array_equal(made.answer[half:, :2], 1)
