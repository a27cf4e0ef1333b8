"""Terms, pairs and beliefs of what people say, by the head of a system."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from prm_jax import registry, toys, types
from prm_jax.heads import assembled, paired
from prm_jax.ops.heads import lists, ordinal
from prm_jax.runtime import train
from prm_jax.systems import inference, likelihoods

N = 5


def judged(label, index, user=None):
  user = np.zeros(len(label), np.int32) if user is None else np.asarray(user)
  ones = np.ones(len(label), np.float32)
  rows = types.Judgements(user, label, ones, np.arange(len(label)))
  return rows, np.asarray(index)


def test_choices_are_pairs_already():
  rows, index = judged(np.array([1.0, 0.5]), [[0, 1], [2, 3]])
  for head in (None, paired.davidson()):
    said, where = likelihoods.paired(head, rows, index)
    np.testing.assert_array_equal(said.label, rows.label)
    np.testing.assert_array_equal(where, index)
    np.testing.assert_array_equal(said.mask, 1.0)


def test_a_ranking_is_all_its_pairs_and_counts_once():
  head = assembled.given({'kind': 'plackett_luce'})
  rows, index = judged(
    np.array([[0.0, 2, 1], [0, 1, 1]]), [[7, 8, 9], [5, 6, -1]]
  )
  said, where = likelihoods.paired(head, rows, index)
  pairs = [(7, 8), (7, 9), (8, 9)]
  np.testing.assert_array_equal(where[:3], pairs)
  np.testing.assert_array_equal(said.label[:3], [1, 1, 0])
  np.testing.assert_allclose(said.mask[:3], 1 / 3)
  # Padding is in no pair; what is left counts by itself.
  np.testing.assert_array_equal(
    np.asarray(said.mask[3:]) > 0, [True, False, False]
  )


def test_ratings_are_a_persons_next_ones():
  head = assembled.given({'kind': 'regression'})
  rows, index = judged(
    np.array([3.0, 1.0, 2.0, np.nan, 2.0]),
    np.arange(5)[:, None],
    user=[1, 0, 1, 1, 0],
  )
  said, where = likelihoods.paired(head, rows, index)
  counted = np.asarray(said.mask) > 0
  for (a, b), label in zip(
    np.asarray(where)[counted], np.asarray(said.label)[counted], strict=True
  ):
    assert rows.user[a] == rows.user[b]
    assert label == (rows.label[a] > rows.label[b])
  assert {tuple(pair) for pair in np.asarray(where)[counted].tolist()} == {
    (1, 4),
    (0, 2),
  }


def test_people_have_parameters_of_their_own():
  head = assembled.given({'kind': 'rao_kupper', 'personal': True})
  params = {'own': {'width': jnp.float32(1.0)}}
  free = {'head': {'width': jnp.array([0.0, 0.5, -2.0])}}
  own = likelihoods.rows(head, params, free, jnp.array([2, 0, 1, 1]))
  np.testing.assert_allclose(own['width'], [-1.0, 1.0, 1.5, 1.5])
  shared = likelihoods.rows(head, params, None, jnp.array([2, 0]))
  np.testing.assert_allclose(shared['width'], [1.0, 1.0])


def test_terms_are_the_likelihood_and_the_charge_of_people():
  world = registry.HEADS['rao_kupper'].small()
  node = {'kind': 'aggregate', 'head': {'kind': 'rao_kupper', 'personal': True}}
  learner = registry.build('learner', node)
  state = learner.init(jax.random.key(0), world.spec)
  weight = jnp.arange(5.0)
  params = {**state.params, 'reward': {'weight': weight}}
  widths = jnp.linspace(-1, 1, 6)
  people = types.Present({'head': {'width': widths}}, jnp.full(6, 4.0))
  ones = jnp.ones((len(world.data.rows.user), 1))
  found = likelihoods.terms(
    learner.system, params, people, world.data, ones, lambda leaf: leaf
  )
  score = np.asarray(world.data.inputs.value) @ np.asarray(weight)
  index, user = world.data.inputs.index, world.data.rows.user
  threshold = np.log1p(np.exp(np.asarray(widths)[user]))
  want = ordinal.rao_kupper(
    jnp.asarray(score[index[:, 0]] - score[index[:, 1]], jnp.float32),
    jnp.asarray(world.data.rows.label),
    jnp.asarray(threshold, jnp.float32),
  )[0]
  np.testing.assert_allclose(found['nll'][0], want, rtol=1e-4, atol=1e-4)
  charge = 0.5 * (np.asarray(widths)[user] / 0.5) ** 2 / 4.0
  np.testing.assert_allclose(found['people'][0], charge, rtol=1e-5)


def test_beliefs_are_under_the_heads_likelihood():
  """A person's coefficients from rankings, against SciPy."""
  world = registry.HEADS['plackett_luce'].small()
  head = {'kind': 'plackett_luce'}
  learner = registry.build(
    'learner', {'kind': 'pref', 'dim': 3, 'steps': 5, 'head': head}
  )
  state = train.fit(learner, world.data, key=jax.random.key(0), spec=world.spec)
  contexts = inference.infer(
    learner.system, state.params, world.data, key=state.key, people=6
  )
  encoded = np.asarray(world.data.inputs.value) @ np.asarray(
    state.params['reward']['basis']
  )
  mine = world.data.rows.user == 2
  shown = encoded[world.data.inputs.index[mine]]
  rank = jnp.asarray(world.data.rows.label[mine])
  prior = state.params['user']

  @jax.jit
  @jax.grad
  def slope(z):
    score = shown @ (prior.mean + prior.factor @ z)
    nll = lists.plackett_luce(score, rank, jnp.ones(score.shape))
    return nll.sum() + 0.5 * z @ z

  # Where the slope is 0: in float32 the value is flat around its least.
  best = optimize.root(lambda z: slope(z.astype(np.float32)), np.zeros(3))
  want = prior.mean + prior.factor @ jnp.asarray(best.x, jnp.float32)
  np.testing.assert_allclose(contexts.mean[2], want, atol=2e-3)


def test_what_is_served_is_what_the_head_says():
  node = {'kind': 'quantiles', 'count': 3, 'share': 0.34}
  world = registry.HEADS['quantiles'].small()
  learner = registry.build(
    'learner', {'kind': 'aggregate', 'steps': 30, 'head': node}
  )
  state = train.fit(learner, world.data, key=jax.random.key(0), spec=world.spec)
  inputs = types.Inputs(jnp.asarray(world.data.inputs.value)[None])
  served = likelihoods.served(learner.system, state.params, (), inputs)
  plain = learner.system._replace(head=None)
  mean = likelihoods.served(plain, state.params, (), inputs)
  assert served.shape == mean.shape == (1, toys.TEXTS)
  # The lowest third of the quantiles is below their mean, which is the score.
  assert (served < mean + state.params['head']['own']['level']).all()


def test_a_pairs_margin_is_moderated_by_the_belief():
  score = jnp.array([[2.0, 0.0]])
  wide = types.RewardModel(
    lambda key, spec: {},
    lambda params, features: features,
    lambda params, encoded, context: types.RewardOutput(
      score, 9.0 * jnp.eye(2)[None]
    ),
  )
  learner = registry.build('learner', {'kind': 'aggregate'})
  system = learner.system._replace(reward=wide, head=paired.bradley_terry())
  params = {'reward': {}, 'head': {'own': {}}}
  inputs = types.Inputs(jnp.zeros((1, 2, 3)))
  seen = likelihoods.seen(system, params, (), inputs)
  narrow = float(system.head.predict({}, seen)[0])
  assert 0.5 < narrow < 1 / (1 + np.exp(-2.0)) - 0.1


@pytest.mark.slow
@pytest.mark.parametrize('kind', sorted(registry.HEADS))
def test_padded_candidates_and_masked_rows_say_nothing(kind):
  world = registry.HEADS[kind].small()
  head = assembled.given({'kind': kind, **world.options})
  rng = np.random.default_rng(0)
  label = jnp.asarray(world.data.rows.label[:N])
  K = world.data.inputs.index.shape[1]
  own = {
    name: jnp.broadcast_to(leaf, (N, *leaf.shape))
    for name, leaf in head.init().items()
  }

  def read(score, mask):
    outputs = jnp.zeros((N, K, head.outputs))
    return types.Read(jnp.asarray(score), outputs, jnp.asarray(mask))

  score = rng.normal(size=(N, K)).astype(np.float32)
  mask = np.ones((N, K), np.float32)
  loss = head.nll(own, read(score, mask), label)
  assert loss.shape == (N,)
  assert np.isfinite(loss).all()
  order = np.array([3, 1, 4, 0, 2])
  moved = head.nll(own, read(score[order], mask[order]), label[order])
  np.testing.assert_allclose(moved, loss[order], rtol=1e-6)
  if K > 2:
    gone, other = mask.copy(), score.copy()
    gone[:, -1], other[:, -1] = 0.0, 1e3
    padded = head.nll(own, read(score, gone), label)
    np.testing.assert_allclose(
      head.nll(own, read(other, gone), label), padded, rtol=1e-6
    )


def test_unknown_heads_and_options_are_named():
  with pytest.raises(ValueError, match='unknown head'):
    assembled.given({'kind': 'nothing'})
  with pytest.raises(ValueError, match='does not take'):
    assembled.given({'kind': 'hinge', 'width': 1})
  head = paired.hinge()
  assert assembled.given(head) is head
  assert assembled.given(None) is None
