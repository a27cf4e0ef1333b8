"""ArmoRM on worlds whose truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, toys, training, types
from prm_jax.ops.heads import gating
from prm_jax.rewards import gated
from prm_jax.runtime import train
from prm_jax.systems import inference

KEY, ITEM, KINDS, PAIRS = jax.random.key(0), 3, 2, 200
OPTIONS = {
  'prompt_features': KINDS,
  'hidden': (8,),
  'ridge': 1e-3,
  'decay': 0.1,
  'learning_rate': 0.03,
  'steps': 200,
}


def kinds(seed):
  """Pairs of two kinds of prompts, each judged by another attribute.

  The two texts of a pair share their prompt, whose kind is the last columns.
  """
  rng = np.random.default_rng(seed)
  kind = rng.integers(0, KINDS, PAIRS)
  item = rng.normal(size=(PAIRS, 2, ITEM))
  prompt = np.broadcast_to(np.eye(KINDS)[kind][:, None], (PAIRS, 2, KINDS))
  value = np.concatenate([item, prompt], -1).astype(np.float32)
  attribute = np.stack([item[..., 0], item[..., 1]], -1)
  ratings = 3.0 + attribute + 0.1 * rng.normal(size=attribute.shape)
  own = attribute[np.arange(PAIRS), :, kind]
  ones, place = np.ones(PAIRS, np.float32), np.arange(PAIRS, dtype=np.int32)
  rows = types.Judgements(
    0 * place, (own[:, 0] > own[:, 1]).astype(np.float32), ones, place
  )
  index = np.arange(2 * PAIRS, dtype=np.int32).reshape(PAIRS, 2)
  inputs = types.Inputs(value.reshape(2 * PAIRS, -1), index)
  return types.Batch(rows, inputs), ratings.reshape(2 * PAIRS, -1)


def fit(data, **options):
  learner = registry.build('learner', {'kind': 'multi_objective', **options})
  learner = learner._replace(init=jax.jit(learner.init, static_argnums=1))
  spec = types.Spec(data.inputs.value.shape[1], 6)
  # Half of the rows a step: the texts of a pair then lie side by side.
  half = (
    data.take(np.arange(i % 2, len(data.rows.mask), 2)) for i in range(999)
  )
  return learner, train.fit(learner, data, key=KEY, spec=spec, batches=half)


def accuracy(learner, state, data):
  contexts = inference.infer(
    learner.system, state.params, data, key=KEY, people=6
  )
  p = inference.predict(learner.system, state.params, contexts, data)
  return np.mean((p > 0.5) == (data.rows.label > 0.5))


def released(logits, *, axis, objectives, temperature, scale):
  """The released training code's gate: over chosen and rejected."""
  del axis, objectives
  if logits.ndim == 3:
    return scale * jax.nn.softmax(logits / temperature, -2)
  return scale * jax.nn.softmax(logits / temperature, -1)


def test_the_gate_finds_the_attribute_of_each_kind_of_prompt(monkeypatch):
  data, ratings = kinds(0)
  new, _ = kinds(1)
  learner, state = fit(data, ratings=ratings, **OPTIONS)
  assert accuracy(learner, state, new) > 0.95
  # Over the axis of a pair every weight is a half, whatever the gate says.
  shapes = []

  def wrong(logits, **options):
    shapes.append(logits.shape)
    return released(logits, **options)

  with monkeypatch.context() as patched:
    patched.setattr(gating, 'gate', wrong)
    learner, state = fit(data, ratings=ratings, **OPTIONS)
    assert (PAIRS // 2, 2, 2) in shapes
  right = gated.gated(objectives=2, prompt_features=KINDS, hidden=(8,))
  learner = learner._replace(system=learner.system._replace(reward=right))
  assert 0.6 < accuracy(learner, state, new) < 0.9


def test_stages_are_those_of_the_paper():
  world = toys.rated(n=120, verbosity=2, hidden=(4,), steps=20)
  learner, state = fit(world.data, **world.options)
  own, ratings = state.params['reward'], world.options['ratings']
  x = np.asarray(world.data.inputs.value, float)
  weight = []
  for t in ratings.T:
    known = np.isfinite(t)
    a, b = x[known], t[known] - t[known].mean()
    weight.append(np.linalg.solve(a.T @ a + np.eye(len(a.T)), a.T @ b))
  # Exact, and as they were after the gate's steps.
  np.testing.assert_allclose(own['regression'], weight, atol=1e-4)
  np.testing.assert_allclose(own['offset'], np.nanmean(ratings, 0), rtol=1e-5)
  r = x @ np.transpose(weight) + np.nanmean(ratings, 0)
  solved = gating.solve_debiasing(r, verbosity=2)
  assert abs(solved.before[0]) > 0.03 >= abs(solved.after[0])
  np.testing.assert_allclose(own['penalty'], solved.penalty, atol=1e-3)
  left = gated.rewards(own, jnp.asarray(x, jnp.float32), 2)
  np.testing.assert_allclose(
    left[:, 0], r[:, 0] - own['penalty'][0] * r[:, 2], atol=1e-3
  )
  start = learner.init(KEY, world.spec).params['reward']['gate']
  moved = jax.tree.map(lambda a, b: (a != b).any(), start, own['gate'])
  assert moved['scale']


def test_a_report_says_what_drove_a_score():
  world = toys.rated(n=60, hidden=(4,), steps=5)
  learner, state = fit(world.data, **world.options)
  reward, own = learner.system.reward, state.params['reward']
  index = np.array([[0, 3]])
  inputs = types.Inputs(world.data.inputs.value, index)
  names = ('helpful', 'correct', 'long')
  (row,) = gated.explained(reward, own, inputs, names)
  encoded = reward.encode(own, world.data.inputs.value[index])
  score = reward.score(own, encoded, ()).score[0]
  for parts, total in zip(row, score, strict=True):
    assert {part['objective'] for part in parts} == set(names)
    said = [part['contribution'] for part in parts]
    assert sum(said) == pytest.approx(float(total), abs=1e-4)
    assert abs(said[0]) == max(map(abs, said))


def test_ratings_that_do_not_fit_are_refused():
  world = toys.rated(n=60)
  with pytest.raises(ValueError, match='29 texts are rated of 30'):
    fit(world.data, ratings=world.options['ratings'][1:])
  with pytest.raises(ValueError, match='a matrix, texts x attributes'):
    registry.build('learner', {'kind': 'multi_objective', 'ratings': [1.0]})
  with pytest.raises(ValueError, match='needs ratings beside the judgements'):
    training.check_options('multi_objective', {})
