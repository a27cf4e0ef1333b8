"""Phases name what they train, and repeat; a start may be given leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax import types
from prm_jax.runtime import checkpoint, train, trees
from prm_jax.runtime import update as updates
from prm_jax.systems import optimizers, states

PARAMS = {
  'reward': {'trunk': {'w': jnp.ones(3)}, 'head': {'w': jnp.ones(2)}},
  'user': {'mean': jnp.ones(1)},
}


def square(params, people, state, batch, gather):
  """A loss whose gradient of every parameter is 1."""
  del people, state, gather
  total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params))
  mask = jnp.asarray(batch.rows.mask)
  return {'sum': (total * jnp.ones_like(mask), jnp.ones_like(mask))}, {}, {}


def init(key, spec):
  del spec
  nobody = types.People(
    jnp.zeros((1, 2), jnp.uint32), (), jnp.zeros(1), {}, (), ((), ())
  )
  return states.state_of(key, PARAMS, nobody, hyper={'ridge': 1.0})


def rows(n=4):
  ones = np.ones(n, np.float32)
  said = types.Judgements(
    np.zeros(n, np.int32), ones, ones, np.arange(n, dtype=np.int32)
  )
  return types.Batch(said)


def learner(*phases, **options):
  return types.Learner(phases, init, **options)


def sgd(name='sgd', steps=1, **options):
  return types.Phase(
    name, objective=square, optimizer=optax.sgd(0.1), steps=steps, **options
  )


def fit(made, **options):
  return train.fit(
    made, rows(), key=jax.random.key(0), spec=types.Spec(1, 1), **options
  )


@pytest.mark.parametrize(
  ('pattern', 'trained'),
  [
    ('', {'reward/trunk/w', 'reward/head/w', 'user/mean'}),
    ('reward/head', {'reward/head/w'}),
    ('w', {'reward/trunk/w', 'reward/head/w'}),
    ('head|user', {'reward/head/w', 'user/mean'}),
  ],
)
def test_what_trains_is_named_by_whole_components(pattern, trained):
  state = fit(learner(sgd(train=pattern)))
  before, after = trees.flat(PARAMS), trees.flat(state.params)
  moved = {p for p in before if (before[p] != after[p]).any()}
  assert moved == trained


def test_moments_are_of_what_trains_alone():
  phase = sgd(train='head')._replace(optimizer=optax.adam(0.1))
  mu = fit(learner(phase)).opt_state['sgd'][0].mu
  assert trees.paths(mu) == {'reward/head/w'}


@pytest.mark.parametrize('pattern', ['hea', 'reward/w', 'head|bias'])
def test_a_pattern_that_matches_nothing_is_named(pattern):
  part = pattern.split('|')[-1]
  with pytest.raises(ValueError, match=f'{part!r} names no parameter'):
    fit(learner(sgd(train=pattern)))


def test_rates_by_path():
  optimizer = optimizers.by_path(
    {'trunk': optax.sgd(0.01), 'reward': optax.sgd(0.1), '': optax.sgd(1.0)}
  )
  phase = sgd()._replace(optimizer=optimizer)
  after = fit(learner(phase)).params
  np.testing.assert_allclose(after['reward']['trunk']['w'], 0.99)
  np.testing.assert_allclose(after['reward']['head']['w'], 0.9)
  np.testing.assert_allclose(after['user']['mean'], 0.0, atol=1e-7)
  with pytest.raises(ValueError, match="no optimizer for 'user/mean'"):
    fit(
      learner(
        sgd()._replace(optimizer=optimizers.by_path({'reward': optax.sgd(0.1)}))
      )
    )


def test_the_average_is_of_what_trains():
  state = fit(learner(sgd(train='head', steps=2, average=0.5)))
  # 1, then 0.9 and 0.8: half the old average and half the new value.
  want = 0.5 * (0.5 * 1 + 0.5 * 0.9) + 0.5 * 0.8
  np.testing.assert_allclose(state.average['reward']['head']['w'], want)
  whole = states.averaged(state)
  np.testing.assert_allclose(whole['reward']['head']['w'], want)
  np.testing.assert_allclose(whole['reward']['trunk']['w'], 1.0)


# --------------------------------------------------------------------- rounds


def alternating(seen=None, rounds=3):
  def begin(state, data):
    if seen is not None:
      seen.append(int(state.round))
    return state

  adam = optax.adam(0.1)
  return learner(
    types.Phase('start', begin=begin),
    sgd('a', 2, train='head')._replace(optimizer=adam, begin=begin),
    sgd('b', 3, train='trunk')._replace(optimizer=adam),
    first=1,
    rounds=rounds,
  )


def test_phases_repeat_and_their_optimisers_go_on():
  seen = []
  state = fit(alternating(seen))
  assert seen == [0, 0, 1, 2]
  assert set(state.opt_state) == {'a', 'b'}
  assert int(state.opt_state['a'][0].count) == 6
  assert int(state.opt_state['b'][0].count) == 9
  assert int(state.round) == 2
  assert train.length(alternating()) == 1 + 3 * 5
  assert train.position(alternating(), 8) == (1, 1, 2)


@pytest.mark.parametrize(
  'stop', [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (7, 10))]
)
def test_a_run_resumes_in_the_middle_of_a_round(tmp_path, stop):
  made = alternating()
  with checkpoint.Checkpoints(tmp_path, keep=100) as manager:
    whole = fit(made, manager=manager, save_every=1)
    again = fit(made, manager=manager, save_every=1, restore_step=stop)
  for a, b in zip(
    jax.tree.leaves((whole.params, whole.opt_state)),
    jax.tree.leaves((again.params, again.opt_state)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(('first', 'rounds'), [(3, 2), (-1, 2), (0, 0)])
def test_rounds_of_no_phase_are_refused(first, rounds):
  made = alternating()._replace(first=first, rounds=rounds)
  with pytest.raises(ValueError, match='name a phase'):
    fit(made)


# -------------------------------------------------------------------- bad cases


def test_a_beginning_that_returns_another_structure_is_named():
  def begin(state, data):
    del data
    return state._replace(constants=(jnp.ones(2),))

  with pytest.raises(ValueError, match=r"'odd' returns a state of another"):
    fit(learner(types.Phase('odd', begin=begin)))


def test_a_whole_phase_does_not_accumulate():
  with pytest.raises(ValueError, match='accumulates 2 batches'):
    updates.make_update(sgd(whole=True, accumulate=2))


def test_gathering_has_to_be_said():
  def gathering(params, people, state, batch, gather):
    gather(jnp.asarray(batch.rows.mask))
    return square(params, people, state, batch, gather)

  phase = sgd()._replace(objective=gathering)
  with pytest.raises(ValueError, match='say whole=True'):
    fit(learner(phase))
  fit(learner(phase._replace(whole=True)))


def test_unknown_searched_numbers_are_refused():
  fit(learner(sgd()), hyper={'ridge': 2.0})
  with pytest.raises(ValueError, match=r"\['rigde'\] are not searched"):
    fit(learner(sgd()), hyper={'rigde': 2.0})


def test_given_leaves_take_the_place_of_drawn_ones():
  path = 'params/reward/head/w'
  made = learner(types.Phase('nothing'))
  state = fit(made, given={path: np.array([3.0, 4.0], np.float32)})
  np.testing.assert_array_equal(state.params['reward']['head']['w'], [3, 4])
  read = np.array([5.0, 6.0], np.float32)
  state = fit(made, given={path: lambda index: read[index]})
  np.testing.assert_array_equal(state.params['reward']['head']['w'], [5, 6])


@pytest.mark.parametrize(
  ('path', 'leaf', 'words'),
  [
    ('params/reward/haed/w', np.ones(2, np.float32), 'no leaf of the state'),
    ('params/reward/head/w', np.ones(3, np.float32), r'float32\[3\], and'),
    ('params/reward/head/w', np.ones(2, np.int32), r'int32\[2\], and'),
  ],
)
def test_given_leaves_that_do_not_fit_are_named(path, leaf, words):
  with pytest.raises(ValueError, match=words) as error:
    fit(learner(sgd()), given={path: leaf})
  assert path in str(error.value)


def test_an_index_beyond_the_texts_is_named(bilinear):
  batch = bilinear.data()
  index = batch.inputs.index.copy()
  index[5, 1] = bilinear.M
  bad = batch._replace(inputs=batch.inputs._replace(index=index))
  with pytest.raises(ValueError, match=r'row 5 points to texts \[\d+, 40\]'):
    train.go_on(bilinear.learner(2), bilinear.state(), bad)


def test_data_of_no_rows_are_refused():
  with pytest.raises(ValueError, match='no rows'):
    train.fit(
      learner(sgd()), rows(0), key=jax.random.key(0), spec=types.Spec(1, 1)
    )
