"""What every function of the heads promises.

A function without an example fails. Of an example, the arguments that are
`rows` have the leading axis B, those that are `smooth` have a gradient, and
`scores` take any size.
"""

import importlib
import inspect
import itertools
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.ops import heads
from prm_jax.ops.heads import ratings
from tests.ops.heads.examples import BINS, EXAMPLES, B

MODULES = [
  importlib.import_module(f'{heads.__name__}.{found.name}')
  for found in pkgutil.iter_modules(heads.__path__)
]


def name(example):
  function = example.function
  module = function.__module__.rpartition('.')[2]
  by = example.options.get('by', '')
  return f'{module}.{function.__name__}{by and "-" + by}'


def called(example, args):
  """The result as a tuple of arrays."""
  found = example.function(*args, **example.options)
  return tuple(
    jnp.asarray(leaf)
    for leaf in jax.tree.leaves(found)
    if not isinstance(leaf, str)
  )


def jitted(example):
  """`args -> (results, gradients of the smooth ones)`, compiled once."""
  if not example.smooth:
    return lambda args: (called(example, args), ())

  def total(smooth, args):
    args = list(args)
    for place, value in zip(example.smooth, smooth, strict=True):
      args[place] = value
    found = called(example, args)
    # Infinite results are looked at, and have no part in the gradient.
    return sum(jnp.sum(leaf) for leaf in found), found

  # Bins are read on the host.
  kept = {i: arg for i, arg in enumerate(example.args) if arg is BINS}

  def filled(smooth, args):
    return total(smooth, replaced(args, kept))

  whole = jax.jit(jax.value_and_grad(filled, has_aux=True))

  def run(args):
    smooth = [args[place] for place in example.smooth]
    traced = replaced(args, dict.fromkeys(kept))
    (_, found), gradient = whole(smooth, traced)
    return found, gradient

  return run


@pytest.fixture(scope='module')
def compiled():
  return {}


@pytest.fixture(params=EXAMPLES, ids=name, scope='module')
def example(request):
  return request.param


@pytest.fixture
def run(example, compiled):
  if name(example) not in compiled:
    compiled[name(example)] = jitted(example)
  return compiled[name(example)]


def rows(example):
  return range(len(example.args)) if example.rows is None else example.rows


def replaced(args, changes):
  return [changes.get(i, arg) for i, arg in enumerate(args)]


def like(value, arg):
  return np.broadcast_to(value, arg.shape).astype(arg.dtype)


def assert_finite(found, gradient):
  for leaf in jax.tree.leaves((found, gradient)):
    assert np.isfinite(leaf).all()


def test_every_function_has_an_example():
  public = {
    f'{module.__name__.rpartition(".")[2]}.{key}'
    for module in MODULES
    for key, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not key.startswith('_')
  }
  assert public == {name(example).split('-')[0] for example in EXAMPLES}
  assert len(public) > 50


@pytest.mark.slow
def test_scores_and_labels_of_any_size(example, run):
  """Value and gradient are finite, whatever the label is."""
  sizes = (None, 1e4, -1e4, 0.0, np.resize([1e4, -1e4], B))
  labels = (None,) if example.label is None else (0.0, 0.5, 1.0)
  for size, label in itertools.product(sizes, labels):
    changes = {}
    if size is not None:
      for place in example.scores:
        arg = example.args[place]
        if np.ndim(size):  # one a row
          each = np.resize(size, len(arg)).reshape(-1, *[1] * (arg.ndim - 1))
        else:
          each = size
        changes[place] = like(each, arg)
    if label is not None:
      changes[example.label] = like(label, example.args[example.label])
    assert_finite(*run(replaced(example.args, changes)))


def test_infinite_scores_where_they_are_defined(example, run):
  if example.infinite is None:
    return
  changes = {
    place: value.astype(example.args[place].dtype)
    for place, value in example.infinite.items()
  }
  found, gradient = run(replaced(example.args, changes))
  assert np.isfinite(found[0]).all()
  assert_finite((), gradient)


def masked(example, fill):
  """Arguments of which the first half of what the mask covers is masked."""
  mask = example.args[example.mask].copy()
  mask[..., :2] = 0
  args = replaced(example.args, {example.mask: mask})
  for place in (*example.smooth, example.label):
    if place is None or not isinstance(args[place], np.ndarray):
      continue
    arg = args[place].copy()
    if example.function is ratings.ridge and place == 0:
      continue  # features are of all attributes
    if arg.ndim > mask.ndim:
      arg[mask == 0] = fill
    else:
      arg = np.where(mask == 0, np.float32(fill), arg)
    args[place] = arg
  return args, mask


def test_what_is_masked_changes_nothing(example, run):
  if example.mask is None:
    return
  args, mask = masked(example, 0.5)
  found, _ = run(args)
  for fill in (np.nan, np.inf, -100.0):
    args, _ = masked(example, fill)
    again, gradient = run(args)
    for one, other in zip(found, again, strict=True):
      np.testing.assert_array_equal(one, other)
    assert_finite(again, gradient)
    for place, part in zip(example.smooth, gradient, strict=True):
      if isinstance(example.args[place], np.ndarray) and not (
        example.function is ratings.ridge and place == 0
      ):
        np.testing.assert_array_equal(np.asarray(part)[mask == 0], 0.0)


def test_nothing_is_left_where_all_is_masked(example, run):
  if example.mask is None:
    return
  none = np.zeros_like(example.args[example.mask])
  found, gradient = run(replaced(example.args, {example.mask: none}))
  for leaf in jax.tree.leaves((found, gradient)):
    np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.slow
def test_rows_are_read_one_by_one(example):
  order = np.array([2, 0, 3, 1])
  changes = {
    place: jax.tree.map(lambda leaf: leaf[order], example.args[place])
    for place in rows(example)
  }
  found = called(example, example.args)
  moved = called(example, replaced(example.args, changes))
  for one, other in zip(found, moved, strict=True):
    want = one if example.summary or not changes else one[order]
    np.testing.assert_allclose(other, want, rtol=2e-5, atol=1e-6)


def test_nothing_is_broadcast(example):
  """One array with an axis more is refused; where it is all, it is carried."""
  places = list(rows(example))
  for place in places:
    leaves, form = jax.tree.flatten(example.args[place])
    leaves[0] = leaves[0][..., None]
    more = jax.tree.unflatten(form, leaves)
    args = replaced(example.args, {place: more})
    if len(places) > 1 or isinstance(example.args[place], tuple):
      with pytest.raises((AssertionError, ValueError)):
        called(example, args)
  if len(places) == 1 and not example.summary:
    front = jax.tree.map(lambda leaf: leaf[None], example.args[places[0]])
    ahead = called(example, replaced(example.args, {places[0]: front}))
    for one, other in zip(called(example, example.args), ahead, strict=True):
      np.testing.assert_allclose(other, one[None], rtol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_raised(example):
  changes, exact = {}, {}
  for place in example.smooth:
    small = jax.tree.map(
      lambda leaf: jnp.asarray(leaf, jnp.bfloat16), example.args[place]
    )
    changes[place] = small
    exact[place] = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), small)
  found = called(example, replaced(example.args, changes))
  want = called(example, replaced(example.args, exact))
  for one, other in zip(found, want, strict=True):
    assert one.dtype == jnp.float32
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(example):
  if not example.smooth:
    return
  with jax.enable_x64(True):
    rng = np.random.default_rng(1)
    args = [
      jax.tree.map(
        lambda leaf: (
          leaf.astype(np.float64) if leaf.dtype.kind == 'f' else leaf
        ),
        arg,
      )
      for arg in example.args
    ]
    found = called(example, args)
    weight = [rng.normal(size=leaf.shape) for leaf in found]
    smooth = [args[place] for place in example.smooth]

    def total(smooth):
      changes = dict(zip(example.smooth, smooth, strict=True))
      parts = called(example, replaced(args, changes))
      return sum(
        jnp.sum(w * part) for w, part in zip(weight, parts, strict=True)
      )

    way = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), smooth)
    total = jax.jit(total)
    step = 1e-6

    def along(size):
      return total(jax.tree.map(lambda x, d: x + size * d, smooth, way))

    slope = (along(step) - along(-step)) / (2 * step)
    gradient = jax.grad(total)(smooth)
    exact = sum(
      float(jnp.sum(g * d))
      for g, d in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True
      )
    )
    np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-6)
