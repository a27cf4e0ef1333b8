import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from prm_jax.ops.heads import choices, gating


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def over_objectives(weight):
  """Whether weights are shared among the objectives of each answer."""
  return np.allclose(np.asarray(weight).sum(-1), 1.0, atol=1e-5)


def test_gate_is_over_objectives(rng):
  logits = rng.normal(0, 30, size=(6, 2, 19))
  found = gating.gate(jnp.asarray(logits), axis=-1, objectives=19)
  np.testing.assert_allclose(found, special.softmax(logits / 10, -1), rtol=1e-4)
  assert over_objectives(found)
  scaled = gating.gate(jnp.asarray(logits), axis=2, objectives=19, scale=3.0)
  np.testing.assert_allclose(scaled, 3 * found, rtol=1e-5)


def test_the_axis_of_the_two_answers_is_no_axis_of_objectives(rng):
  """ArmoRM's released training: both answers share the prompt."""
  prompt = rng.normal(0, 30, size=(6, 1, 19))
  logits = jnp.asarray(np.repeat(prompt, 2, 1))
  wrong = jax.nn.softmax(logits / 10, 1)
  np.testing.assert_allclose(wrong, 0.5)  # whatever the prompt is
  assert not over_objectives(wrong)
  assert over_objectives(gating.gate(logits, axis=2, objectives=19))
  with pytest.raises(AssertionError):
    gating.gate(logits, axis=1, objectives=19)
  with pytest.raises(TypeError):
    gating.gate(logits)
  # With the wrong one the gate learns nothing.
  rewards = jnp.asarray(rng.normal(size=(6, 2, 19)))

  def loss(prompt, softmax):
    weight = softmax(jnp.repeat(prompt, 2, 1))
    score = gating.gated_score(weight, rewards)
    return choices.bradley_terry(score[:, 0] - score[:, 1], jnp.ones(6)).sum()

  over = {
    1: lambda x: jax.nn.softmax(x / 10, 1),
    2: lambda x: gating.gate(x, axis=2, objectives=19),
  }
  slope = {
    axis: np.abs(jax.grad(loss)(jnp.asarray(prompt), softmax)).max()
    for axis, softmax in over.items()
  }
  assert slope[1] < 1e-6 < 1e-3 < slope[2]


def test_debiased_and_gated(rng):
  r, g, penalty = (
    rng.normal(size=(4, 3)),
    rng.random((4, 3)),
    np.array([0.2, 9.0, -0.4]),
  )
  transform = np.eye(3)
  transform[1] = [-0.2, 1.0, 0.4]
  found = gating.debiased(jnp.asarray(r), jnp.asarray(penalty), verbosity=1)
  np.testing.assert_allclose(found, r @ transform, rtol=1e-5, atol=1e-6)
  score = gating.gated_score(jnp.asarray(g), found)
  np.testing.assert_allclose(score, (g * (r @ transform)).sum(1), rtol=1e-5)
  parts = gating.contributions(jnp.asarray(g), found)
  np.testing.assert_allclose(parts.sum(1), score, rtol=1e-5)


def test_gated_quantiles_are_those_of_objectives_that_rise_together(rng):
  """Normal ones: their standard deviations add."""
  weight, mean, sd = rng.random((2, 3)), rng.normal(size=3), [1.0, 2.0, 0.5]
  level = np.array([0.1, 0.5, 0.9])
  each = np.stack(
    [stats.norm.ppf(level, m, s) for m, s in zip(mean, sd, strict=True)]
  )
  found = gating.gated_quantiles(
    jnp.asarray(weight), jnp.asarray(np.stack([each, each]))
  )
  for b in range(2):
    want = stats.norm.ppf(level, weight[b] @ mean, weight[b] @ np.array(sd))
    np.testing.assert_allclose(found[b], want, rtol=1e-4)
  assert (np.diff(found) > 0).all()


def test_report_names_what_drove_a_score():
  found = gating.report(np.array([0.5, -2.0, 0.0]), ['help', 'truth', 'length'])
  assert [row['objective'] for row in found] == ['truth', 'help', 'length']
  assert [row['share'] for row in found] == [0.8, 0.2, 0.0]
  assert found[0]['contribution'] == -2.0
  assert gating.report(np.zeros(1), ['a'])[0]['share'] == 0.0
  with pytest.raises(ValueError, match='names'):
    gating.report(np.zeros(2), ['a'])


def test_rank_correlation_is_that_of_scipy(rng):
  for levels in (3, 1000):
    x, y = rng.integers(0, levels, size=(2, 200))
    want = stats.spearmanr(x, y).statistic
    assert gating.rank_correlation(x, y) == pytest.approx(want, abs=1e-12)
  assert gating.rank_correlation(np.ones(5), np.arange(5)) == 0.0
  with pytest.raises(ValueError, match='not finite'):
    gating.rank_correlation(np.array([1.0, np.inf]), np.arange(2))
  with pytest.raises(ValueError, match='one length'):
    gating.rank_correlation(np.zeros((2, 1)), np.zeros(2))


def rewards_that_follow_length(rng):
  long = rng.normal(size=400)
  return np.stack(
    [
      rng.normal(size=400) + 0.8 * long,
      long,
      rng.normal(size=400) - 0.5 * long,
      rng.normal(size=400) + 1.5 * long,
    ],
    1,
  )


def test_debiasing_leaves_no_correlation_and_takes_no_more(rng):
  r = rewards_that_follow_length(rng)
  found = gating.solve_debiasing(r, verbosity=1)
  left = np.asarray(
    gating.debiased(jnp.asarray(r), jnp.asarray(found.penalty), verbosity=1)
  )
  for k in (0, 2, 3):
    after = stats.spearmanr(left[:, k], r[:, 1]).statistic
    assert abs(after) <= 0.0305  # of float32
    assert abs(found.after[k]) <= 0.03
    # A penalty a little smaller is not enough.
    less = r[:, k] - 0.999 * found.penalty[k] * r[:, 1]
    assert abs(stats.spearmanr(less, r[:, 1]).statistic) > 0.03
  assert found.penalty[1] == 0
  assert found.after[1] == pytest.approx(1.0)
  np.testing.assert_array_equal(np.sign(found.penalty), [1, 0, -1, 1])


def test_debiasing_agrees_with_the_published_grid(rng):
  """Up to its step, on objectives that follow length."""
  r = rewards_that_follow_length(rng)
  found = gating.solve_debiasing(r, verbosity=1, negative=False)
  grid = np.arange(0, 2, 0.05)
  for k in (0, 3):
    enough = [
      stats.spearmanr(r[:, k] - p * r[:, 1], r[:, 1]).statistic <= 0.03
      for p in grid
    ]
    first = grid[int(np.argmax(enough))]
    assert first - 0.05 < found.penalty[k] <= first + 1e-9
  assert found.penalty[2] == 0  # length is never given back


def test_debiasing_of_what_cannot_be(rng):
  r = rewards_that_follow_length(rng)
  with pytest.raises(ValueError, match='objective 3: no penalty up to'):
    gating.solve_debiasing(
      r[:, [1, 1, 1, 3]] * [0, 1, 0, 1], verbosity=1, limit=0.1
    )
  flat = r.copy()
  flat[:, 1] = 2.0
  found = gating.solve_debiasing(flat, verbosity=1)
  np.testing.assert_array_equal(found.penalty, 0.0)
  with pytest.raises(ValueError, match='finite matrix'):
    gating.solve_debiasing(r * np.nan, verbosity=1)
