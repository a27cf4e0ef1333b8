import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from prm_jax import registry, types
from prm_jax.rewards import gaussian_likeness
from prm_jax.systems import base_rewards, inference, objectives
from prm_jax.users import references


def rows(seed=0, n=500, people=20):
  rng = np.random.default_rng(seed)
  return types.Judgements(
    (people * rng.random(n) ** 3).astype(np.int32),
    rng.integers(0, 2, n).astype(np.float32),
    (rng.random(n) < 0.7).astype(np.float32),
    np.arange(n, dtype=np.int32),
  )


@pytest.mark.parametrize('limit', [None, 3, 50])
@pytest.mark.parametrize('floats', [1 << 25, 64])
def test_groups_hold_everybody_s_first_answers_once(limit, floats, monkeypatch):
  monkeypatch.setattr(inference, '_FLOATS', floats)
  data = rows()
  found: dict[int, list[int]] = {}
  for group in inference.group_people(data, limit=limit):
    assert group.rows.shape[1] in (4, 16, 64, 256, 1024)
    for person, index, mask in zip(*group, strict=True):
      if person >= 0:
        assert person not in found
        found[int(person)] = index[mask > 0].tolist()
      else:
        assert mask.sum() == 0
  for person in range(20):
    used = np.flatnonzero((data.user == person) & (data.mask > 0))
    assert found.get(person, []) == used[:limit].tolist()


def test_no_answers_no_groups():
  data = rows()._replace(mask=np.zeros(500))
  assert not list(inference.group_people(data))
  assert not list(inference.group_people(rows(), limit=0))


def test_aggregate_weight_is_the_ridge_minimum():
  rng = np.random.default_rng(1)
  said = rows(1)
  index = rng.integers(0, 9, (500, 2))
  table = rng.normal(size=(9, 4))
  x = table[index[:, 0]] - table[index[:, 1]]

  def value(w):
    margin = x @ w
    fit = said.mask * (np.logaddexp(0, margin) - said.label * margin)
    return fit.sum() + 1.5 * w @ w

  want = optimize.minimize(value, np.zeros(4), options={'gtol': 1e-8}).x
  found = base_rewards.aggregate_weight(
    jnp.asarray(table, jnp.float32), said, index, jnp.float32(3.0)
  )
  np.testing.assert_allclose(found, want, atol=1e-3)


def test_margins_by_hand():
  encoded = jnp.array([[1.0, 0.0], [0.0, 2.0]])
  weights = jnp.array([[3.0, 1.0], [0.0, 5.0]])
  pair = encoded[jnp.array([[0, 1], [0, 1]])]
  np.testing.assert_allclose(objectives.margins(pair, weights), [1, -10])


def test_blocks_of_rows_predict_as_all_at_once(monkeypatch):
  rng = np.random.default_rng(0)
  learner = registry.build('learner', {'kind': 'pref', 'dim': 3})
  state = learner.init(jax.random.key(0), types.Spec(4, 5))
  user = rng.integers(0, 5, 37).astype(np.int32)
  index = rng.integers(0, 9, (37, 2)).astype(np.int32)
  ones = np.ones(37, np.float32)
  said = types.Judgements(user, ones, ones, np.arange(37, dtype=np.int32))
  table = rng.normal(size=(9, 4)).astype(np.float32)
  batch = types.Batch(said, types.Inputs(table, index))
  contexts = inference.infer(
    learner.system, state.params, batch, key=state.key, people=5
  )
  ask = (learner.system, state.params, contexts, batch)
  whole = inference.predict(*ask)
  monkeypatch.setattr(inference, '_FLOATS', 100)
  np.testing.assert_allclose(inference.predict(*ask), whole, atol=1e-6)


@pytest.mark.parametrize('block', [None, 4])
def test_margins_are_of_rows_with_their_references(block):
  reward = gaussian_likeness.likeness(dim=3)
  params = reward.init(jax.random.key(0), types.Spec(5, 1))
  rng = np.random.default_rng(0)
  texts = rng.normal(size=(20, 5)).astype(np.float32)
  items = rng.integers(0, 20, (11, 4))
  said = rows(n=11)
  data = types.Batch(said, types.Inputs(texts, items))
  found = inference.margins(reward, params, data, block=block)
  for row, item in zip(found, items, strict=True):
    encoded = reward.encode(params, texts[item])
    known = references.References(encoded[None, 2:], jnp.ones((1, 2)))
    score = reward.score(params, encoded[None, :2], known).score[0]
    np.testing.assert_allclose(row, score[0] - score[1], atol=1e-5)
  # Without references: the taste alone, which is zero at the start.
  alone = types.Batch(said, types.Inputs(texts, items[:, :2]))
  np.testing.assert_allclose(inference.margins(reward, params, alone), 0.0)
