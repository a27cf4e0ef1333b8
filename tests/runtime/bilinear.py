"""A small learner and data for the runtime's tests: bilinear Bradley-Terry."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types

D, J, U, M = 5, 3, 8, 40


def data(rows: int = 96, seed: int = 0) -> types.Batch:
  rng = np.random.default_rng(seed)
  table = rng.normal(size=(M, D)).astype(np.float32)
  user = rng.integers(0, U, rows).astype(np.int32)
  items = rng.integers(0, M, (rows, 2)).astype(np.int32)
  mask = np.ones(rows, np.float32)
  mask[-7:] = 0
  return types.Batch(
    types.Judgements(
      user=user,
      label=(rng.random(rows) < 0.5).astype(np.float32),
      mask=mask,
      example_id=np.arange(rows, dtype=np.int32),
    ),
    types.Inputs(table, items),
  )


def objective(params, people, state, batch, gather):
  del gather
  encoded = batch.inputs.value @ params['reward']['basis']
  pair = encoded[batch.inputs.index]
  user = batch.rows.user
  coefficients = people.free['coefficients']
  product = (pair[:, 0] - pair[:, 1]) * coefficients[user]
  # A scan from a constant: what shard_map's replication check would refuse.
  margin, _ = jax.lax.scan(
    lambda total, column: (total + column, None),
    jnp.zeros(product.shape[0]),
    product.T,
  )
  key = jax.random.fold_in(state.key, state.step)
  noise = jax.vmap(
    lambda example: jax.random.normal(jax.random.fold_in(key, example))
  )(batch.rows.example_id)
  margin = margin + 0.01 * noise
  nll = jnp.logaddexp(0.0, margin) - batch.rows.label * margin
  apart = 0.01 * jnp.sum((coefficients - 1.0) ** 2, 1)
  terms = {
    'nll': (nll, jnp.ones_like(nll)),
    'coefficients': (
      (apart / jnp.maximum(people.weight, 1e-6))[user],
      jnp.ones_like(nll),
    ),
  }
  penalties = {
    'basis': state.hyper['ridge'] * jnp.sum(params['reward']['basis'] ** 2)
  }
  correct = ((margin > 0) == (batch.rows.label > 0.5)).astype(jnp.float32)
  return terms, penalties, {'correct': (correct, jnp.ones_like(correct))}


def start(state, data):
  """Basis: the first directions of the table, scaled by the data's size."""
  features = np.asarray(data.features(state.params['reward']))
  _, _, directions = np.linalg.svd(features, full_matrices=False)
  basis = jnp.asarray(directions[:J].T * 0.5)
  return state._replace(params={**state.params, 'reward': {'basis': basis}})


def prior(state, data):
  del data
  mean = jnp.mean(state.people.free['coefficients'], 0)
  return state._replace(params={**state.params, 'user': {'mean': mean}})


def seen(batch):
  """The whole data, as phases begin on them."""
  return types.Data(
    batch.rows,
    batch.inputs.index,
    U,
    lambda _: batch.inputs.value,
    lambda params: batch.inputs.value @ params['basis'],
  )


def learner(steps: int = 12, optimizer=None) -> types.Learner:
  phases = (
    types.Phase('start', begin=start),
    types.Phase(
      'joint',
      objective=objective,
      optimizer=optimizer or optax.adam(0.05),
      people=optimizer or optax.adam(0.05),
      steps=steps,
    ),
    types.Phase('prior', begin=prior),
  )
  return types.Learner(phases, init, types.System(REWARD, None))


REWARD = types.RewardModel(
  lambda key, spec: {}, lambda params, x: x @ params['basis'], None
)


def init(key, spec):
  ones = jnp.ones((spec.people, J))
  people = types.People(
    ids=jnp.zeros((spec.people, 2), jnp.uint32),
    free={'coefficients': ones},
    weight=jnp.full(spec.people, 11.0),
    moments={},
    beliefs={'count': jnp.zeros(spec.people, jnp.int32)},
    blank=({'coefficients': jnp.ones(J)}, {'count': jnp.int32(0)}),
  )
  basis = jax.random.normal(key, (spec.features, J))
  return types.TrainState(
    step=jnp.int32(0),
    round=jnp.int32(0),
    phase=jnp.int32(0),
    params={'reward': {'basis': basis}, 'user': {'mean': jnp.zeros(J)}},
    people=people,
    key=key,
    opt_state={},
    constants=(basis,),
    average=(),
    hyper={'ridge': jnp.float32(0.01)},
  )


def state(seed: int = 0) -> types.TrainState:
  return init(jax.random.key(seed), types.Spec(D, U))


def iterator(batch: types.Batch, size: int = 16):
  """A grain iterator over shuffled rows, without end."""
  import grain

  source = grain.MapDataset.source(np.arange(len(batch.rows.mask)))
  indices = source.shuffle(seed=1).repeat().batch(size)
  bare = batch.over(None)
  return iter(indices.map(bare.take).to_iter_dataset())


def arrays(tree) -> list[np.ndarray]:
  """The leaves as NumPy, typed keys as their data."""

  def plain(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)

  return [plain(leaf) for leaf in jax.tree.leaves(tree)]
