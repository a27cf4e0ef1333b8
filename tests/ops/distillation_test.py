import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import distillation, policy_gradient


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def dists(rng, *shape):
  value = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
  return value, jnp.asarray(np.log(value))


def kl(p, q):
  return np.sum(p * np.log(p / q), -1)


def test_divergences_by_hand(rng):
  (p, student), (q, teacher) = dists(rng, 3, 7), dists(rng, 3, 7)
  of = distillation.divergence
  np.testing.assert_allclose(of(student, teacher, alpha=0), kl(q, p), rtol=1e-4)
  np.testing.assert_allclose(of(student, teacher, alpha=1), kl(p, q), rtol=1e-4)
  mixed = 0.7 * p + 0.3 * q
  np.testing.assert_allclose(
    of(student, teacher, alpha=0.3),
    0.7 * kl(p, mixed) + 0.3 * kl(q, mixed),
    rtol=1e-4,
    atol=1e-6,
  )
  half = of(student, teacher, alpha=0.5)
  np.testing.assert_allclose(half, of(teacher, student, alpha=0.5), rtol=1e-5)
  assert (half <= np.log(2)).all()
  # Of policies that share no token it is the bound.
  apart = jnp.log(jnp.eye(2))
  np.testing.assert_allclose(
    of(apart[0], apart[1], alpha=0.5), np.log(2), rtol=1e-6
  )
  with pytest.raises(ValueError, match='is not in'):
    of(student, teacher, alpha=1.5)


@pytest.mark.parametrize('alpha', [0, 0.5, 1])
def test_the_same_policy_has_no_divergence_and_no_gradient(rng, alpha):
  _, teacher = dists(rng, 4, 5)

  def loss(logits):
    student = jax.nn.log_softmax(logits)
    return distillation.divergence(student, teacher, alpha=alpha).sum()

  value, gradient = jax.value_and_grad(loss)(teacher)
  np.testing.assert_allclose(value, 0.0, atol=1e-6)
  np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_top_and_tail_lose_nothing_but_what_the_tail_hides(rng):
  (p, student), (_, teacher) = dists(rng, 2, 8), dists(rng, 2, 8)
  index = jax.lax.top_k(teacher, 3)[1]
  short = [distillation.top_and_tail(x, index) for x in (student, teacher)]
  np.testing.assert_allclose(np.exp(short[0]).sum(-1), 1.0, rtol=1e-5)
  kept = np.take_along_axis(p, np.asarray(index), -1)
  np.testing.assert_allclose(np.exp(short[0])[:, :3], kept, rtol=1e-5)
  for alpha in (0, 0.5, 1):
    whole = distillation.divergence(student, teacher, alpha=alpha)
    part = distillation.divergence(*short, alpha=alpha)
    assert (part <= whole + 1e-6).all()
    every = jax.lax.top_k(teacher, 8)[1]
    full = [distillation.top_and_tail(x, every) for x in (student, teacher)]
    np.testing.assert_allclose(
      distillation.divergence(*full, alpha=alpha), whole, rtol=2e-3, atol=1e-5
    )


def test_sampled_reverse_has_the_divergences_gradient(rng):
  _, start = dists(rng, 6)
  _, teacher = dists(rng, 6)
  weight = jax.nn.softmax(start)

  def sampled(logits):
    student = jax.nn.log_softmax(logits)
    return jnp.sum(weight * distillation.sampled_reverse(student, teacher))

  def whole(logits):
    return distillation.divergence(jax.nn.log_softmax(logits), teacher, alpha=1)

  np.testing.assert_allclose(
    jax.grad(sampled)(start), jax.grad(whole)(start), atol=1e-6
  )


def test_directive_advantage_is_minus_the_divergence_on_average(rng):
  (p, old), (q, teacher) = dists(rng, 6), dists(rng, 6)
  found = distillation.directive(teacher, old)
  np.testing.assert_allclose(np.sum(p * found), -kl(p, q), rtol=1e-4)
  np.testing.assert_array_equal(distillation.directive(old, old), 0.0)
  clipped = distillation.directive(teacher, old, clip=0.1)
  np.testing.assert_allclose(clipped, np.clip(np.log(q / p), -0.1, 0.1))

  # The policy gradient with it is minus the divergence's.
  def objective(logits):
    logprob = jax.nn.log_softmax(logits)
    value = policy_gradient.surrogate(
      logprob, old, found, jnp.ones(6), kind='plain'
    )
    return jnp.sum(p * value)

  def divergence(logits):
    return distillation.divergence(jax.nn.log_softmax(logits), teacher, alpha=1)

  np.testing.assert_allclose(
    jax.grad(objective)(old), -jax.grad(divergence)(old), atol=1e-5
  )


def test_combined_reduces_to_each_part(rng):
  verdict = jnp.asarray(rng.choice([-1.0, 0.0, 1.0], size=3))
  directed = jnp.asarray(rng.normal(size=(3, 4)))
  only = distillation.combined(verdict, directed, directive_weight=0.0)
  np.testing.assert_array_equal(only, np.repeat(verdict[:, None], 4, 1))
  only = distillation.combined(verdict, directed, evaluative=0.0)
  np.testing.assert_array_equal(only, directed)
  both = distillation.combined(
    verdict, directed, evaluative=2.0, directive_weight=3.0
  )
  np.testing.assert_allclose(
    both, 2 * np.asarray(verdict)[:, None] + 3 * directed, rtol=1e-6
  )


def test_hints_are_selected_by_overlap():
  V, T = 6, 3
  student = np.zeros((T, V))
  student[:, :2] = 5.0, 4.0
  teachers = np.zeros((2, T, V))
  teachers[0, :, 4:] = 5.0  # nothing in common
  teachers[1, :, :2] = 9.0  # all
  teachers[0, 0, :] = student[0]
  mask = jnp.ones(T)
  # At the first token both agree, and the first hint is taken.
  by = {
    name: distillation.select_hint(
      jnp.asarray(student),
      jnp.asarray(teachers),
      mask,
      top=2,
      by=name,
      lengths=jnp.array([2.0, 9.0]),
    )
    for name in distillation.SELECTIONS
  }
  np.testing.assert_array_equal(by['sequence_optimal'], [1, 1, 1])
  np.testing.assert_array_equal(by['token_optimal'], [0, 1, 1])
  np.testing.assert_array_equal(by['shortest'], [0, 0, 0])
  with pytest.raises(ValueError, match='give them'):
    distillation.select_hint(
      jnp.asarray(student), jnp.asarray(teachers), mask, by='shortest'
    )
  with pytest.raises(ValueError, match='one of'):
    distillation.select_hint(
      jnp.asarray(student), jnp.asarray(teachers), mask, by='best'
    )
