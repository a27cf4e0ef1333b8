"""Heads side by side are the heads one by one, on given features and text."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from prm_jax import toys, types
from prm_jax.rewards import (
  backbone,
  factorized,
  last_layer,
  multiple,
  reading,
  scalar,
)
from prm_jax.users import gaussian

E, D, B, K = 3, 5, 4, 2
KEY = jax.random.key(0)
SPEC = types.Spec(D, 1)
TEXTS = jnp.asarray(
  np.random.default_rng(0).normal(size=(B, K, D)), jnp.float32
)
GAUSSIAN = gaussian.Context(
  jnp.asarray(np.random.default_rng(1).normal(size=(B, 3)), jnp.float32),
  jnp.tile(0.5 * jnp.eye(3), (B, 1, 1)),
)
HEADS = {
  'mlp': (scalar.mlp(hidden=(4,)), ()),
  'factorized': (factorized.factorized(dim=3), GAUSSIAN),
}


def one_by_one(reward, params, context):
  """Every member's output, without vmap."""
  outputs = []
  for e in range(E):
    own = jax.tree.map(lambda leaf, e=e: leaf[e], params)
    outputs.append(reward.score(own, reward.encode(own, TEXTS), context))
  return outputs


@pytest.mark.parametrize('name', sorted(HEADS))
def test_members_are_the_heads_one_by_one(name):
  reward, context = HEADS[name]
  many = multiple.multiple(reward, E)
  params = many.init(KEY, SPEC)
  chex.assert_tree_shape_prefix(params, (E,))
  starts = [reward.init(jax.random.fold_in(KEY, e), SPEC) for e in range(E)]
  jax.tree.map(
    lambda leaf, *own: np.testing.assert_allclose(leaf, own, rtol=1e-6),
    params,
    *starts,
  )
  encoded = many.encode(params, TEXTS)
  assert encoded.shape[:3] == (B, K, E)
  outputs = one_by_one(reward, params, context)
  scores = np.stack([np.asarray(o.score) for o in outputs], -1)
  np.testing.assert_allclose(
    multiple.members(reward, params, encoded, context), scores, atol=1e-5
  )
  found = many.score(params, encoded, context)
  np.testing.assert_allclose(found.score, scores.mean(-1), atol=1e-5)
  want = np.stack([np.cov(row, bias=True) for row in scores])
  if outputs[0].covariance is not None:
    want = want + np.mean([o.covariance for o in outputs], axis=0)
  np.testing.assert_allclose(found.covariance, want, atol=1e-5)


def test_one_head_is_itself_and_knows_no_doubt():
  reward = scalar.mlp(hidden=(4,))
  many = multiple.multiple(reward, 1)
  params = many.init(KEY, SPEC)
  found = many.score(params, many.encode(params, TEXTS), ())
  own = jax.tree.map(lambda leaf: leaf[0], params)
  want = reward.score(own, reward.encode(own, TEXTS), ())
  np.testing.assert_allclose(found.score, want.score, atol=1e-6)
  np.testing.assert_array_equal(found.covariance, np.zeros((B, K, K)))


def test_encodings_of_several_leaves_have_members_too():
  """Where a head encodes a tree, every leaf has the axis before its last."""
  plain = scalar.linear()
  reward = plain._replace(
    encode=lambda params, x: {'s': x @ params['weight'][:, None], 'x': x},
    score=lambda params, e, context: types.RewardOutput(e['s'][..., 0]),
  )
  many = multiple.multiple(reward, E)
  encoded = many.encode(many.init(KEY, SPEC), TEXTS)
  assert encoded['s'].shape == (B, K, E, 1)
  assert encoded['x'].shape == (B, K, E, D)


def test_heads_share_the_decoder():
  head = scalar.mlp(hidden=(4,))
  reward = backbone.backbone(multiple.multiple(head, E), toys.READER)
  world = toys.texts(n=6)
  params = jax.jit(reward.init, static_argnums=1)(KEY, world.spec)
  alone = jax.eval_shape(
    functools.partial(
      backbone.backbone(head, toys.READER).init, spec=world.spec
    ),
    KEY,
  )
  chex.assert_trees_all_equal_shapes(params['backbone'], alone['backbone'])
  inputs = jax.tree.map(jnp.asarray, world.data.inputs)

  @jax.jit
  def read(params):
    features = reward.features(params, inputs)[inputs.index]
    return reading.encoded(reward, params, inputs), features

  encoded, features = read(params)
  assert encoded.shape == (6, 2, E, 1)
  for e in range(E):
    own = jax.tree.map(lambda leaf, e=e: leaf[e], backbone.own(params))
    np.testing.assert_allclose(
      encoded[:, :, e], head.encode(own, features), atol=1e-5
    )
  found = reward.score(params, encoded, ())
  each = multiple.members(head, params, encoded, ())
  np.testing.assert_allclose(found.score, each.mean(-1), atol=1e-6)


def test_what_has_no_members_is_refused():
  with pytest.raises(ValueError, match='one member at least'):
    multiple.multiple(scalar.linear(), 0)
  deep = backbone.backbone(scalar.linear(), toys.READER)
  with pytest.raises(ValueError, match='under the backbone'):
    multiple.multiple(deep, E)
  writes = scalar.linear()._replace(deliberate=lambda *given: given)
  with pytest.raises(ValueError, match='deliberate'):
    multiple.multiple(writes, E)


# ------------------------------------------------------------------ last layer


def test_the_last_layer_is_linear_with_the_covariance_of_differences():
  rng = np.random.default_rng(2)
  root = rng.normal(size=(D, D))
  precision = np.eye(D) + root @ root.T
  weight = rng.normal(size=D)
  reward = last_layer.last_layer()
  start = reward.init(KEY, SPEC)
  params = {
    'weight': jnp.float32(weight),
    'factor': jnp.float32(np.linalg.cholesky(precision)),
  }
  chex.assert_trees_all_equal_shapes(start, params)
  encoded = reward.encode(params, TEXTS)
  assert encoded.shape == (B, K, D + 1)
  found = reward.score(params, encoded, ())
  np.testing.assert_allclose(found.score, TEXTS @ weight, rtol=1e-4)
  difference = np.asarray(TEXTS[:, 0] - TEXTS[:, 1], float)
  want = np.einsum(
    'bd,de,be->b', difference, np.linalg.inv(precision), difference
  )
  c = found.covariance
  pair = c[:, 0, 0] + c[:, 1, 1] - 2 * c[:, 0, 1]
  np.testing.assert_allclose(pair, want, rtol=1e-4)


# ------------------------------------------------------------------- adapters

TRUNK = {'config': toys.READER, 'trains': 'adapter', 'rank': 2}


def adapters():
  """An ensemble of adapters that are no start, and tokens that it reads."""
  head = scalar.mlp(hidden=(4,))
  many = multiple.adapted(head, E, TRUNK)
  params = many.init(KEY, types.Spec(toys.READER.hidden_size, 1))
  change = jax.tree.map(
    lambda leaf: leaf + 0.2 * jax.random.normal(KEY, leaf.shape),
    params['adapter'],
  )
  ids = np.random.default_rng(2).integers(1, toys.VOCABULARY, (B, K, 5))
  texts = types.Tokens(ids.astype(np.int32), np.ones(ids.shape, np.int32))
  return head, many, {**params, 'adapter': change}, types.Inputs(texts)


@pytest.mark.slow
def test_members_read_with_adapters_of_their_own():
  head, many, params, inputs = adapters()
  encoded = reading.encoded(many, params, inputs)
  output = many.score(params, encoded, ())
  one = backbone.under(head, TRUNK)
  scores = []
  for e in range(E):
    own = {k: v for k, v in params.items() if k != 'backbone'}
    own = jax.tree.map(lambda leaf, e=e: leaf[e], own)
    own['backbone'] = params['backbone']
    scores.append(one.score(own, reading.encoded(one, own, inputs), ()).score)
  scores = np.asarray(scores, float)
  np.testing.assert_allclose(
    multiple.members(head, params, encoded, ()),
    np.moveaxis(scores, 0, -1),
    atol=1e-5,
  )
  np.testing.assert_allclose(output.score, scores.mean(0), atol=1e-5)
  centred = scores - scores.mean(0)
  want = np.einsum('ebk,ebl->bkl', centred, centred) / E
  assert want.max() > 1e-3
  np.testing.assert_allclose(output.covariance, want, atol=1e-5)


def test_the_trunk_is_not_repeated():
  head, many, params, inputs = adapters()

  def size(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

  one = backbone.under(head, TRUNK)
  single = one.init(KEY, types.Spec(toys.READER.hidden_size, 1))
  assert size(params['backbone']) == size(single['backbone'])
  own = size(single) - size(single['backbone'])
  assert size(params) == size(single['backbone']) + E * own
  # Nor while texts are read: but for kernels that adapters change.
  inner = params['backbone']['params']
  kernels = {
    name: part['kernel'].shape
    for name, part in inner['layers']['layer'].items()
    if 'kernel' in part
  }
  changed = {kernels[name] for name in params['adapter']}
  kept = {*kernels.values(), inner['embed']['embedding'].shape} - changed
  assert len(kept) > 1
  jaxpr = jax.make_jaxpr(many.features)(params, inputs)
  shapes = {
    variable.aval.shape
    for equation in _equations(jaxpr.jaxpr)
    for variable in equation.outvars
  }
  assert not shapes & {(E, *shape) for shape in kept}
  assert changed <= {shape[1:] for shape in shapes if shape[:1] == (E,)}


def _equations(jaxpr):
  """All equations, of inner programs, too."""
  for equation in jaxpr.eqns:
    yield equation
    for inner in core.jaxprs_in_params(equation.params):
      yield from _equations(inner)


def test_adapters_have_to_train():
  with pytest.raises(ValueError, match="trains 'frozen': members"):
    multiple.adapted(scalar.mlp(), E, {**TRUNK, 'trains': 'frozen'})
