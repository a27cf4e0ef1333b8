"""What every function of the heads promises.

A function without an example fails. Of an example, the arguments that are
`rows` have the leading axis B, those that are `smooth` have a gradient, and
`scores` take any size.
"""

import importlib
import inspect
import itertools
import pkgutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.ops import heads
from prm_jax.ops.heads import (
  choices,
  distributions,
  gating,
  implicit,
  lists,
  ordinal,
  penalties,
  ratings,
  steps,
)

B, K, T, A = 4, 3, 6, 3
RNG = np.random.default_rng(0)
BINS = np.array([0.0, 0.5, 2.0])
SEGMENT = np.tile([0, 0, 0, 1, 1, 1], (B, 1))


def a(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def ones(*shape):
  return np.ones(shape, np.float32)


def told(*shape):
  return RNG.choice([0.0, 0.5, 1.0, 0.8], shape).astype(np.float32)


class Example(NamedTuple):
  """Arguments of a function, and what each of them is.

  Attributes:
    function: what is called.
    args: arrays, or trees of them.
    options: keywords.
    rows: places of arguments with the leading axis B; None: all.
    smooth: of those that have a gradient.
    scores: of those that may have any size.
    label: place of the label.
    mask: place of the mask.
    infinite: place -> a value of which some entries are infinite, and for
      which value and gradient are finite; the label goes with it.
    summary: the result is of all rows together.
  """

  function: Any
  args: tuple
  options: dict = {}  # noqa: RUF012
  rows: tuple | None = None
  smooth: tuple = (0,)
  scores: tuple = (0,)
  label: int | None = None
  mask: int | None = None
  infinite: dict | None = None
  summary: bool = False


def pair(function, *more, scores=(0,), infinite=True, **options):
  """An example of a difference and a label."""
  right = {0: np.array([np.inf, -np.inf, 0.0, 1.0]), 1: np.array([1, 0, 1, 0])}
  return Example(
    function,
    (a(B), told(B), *more),
    options,
    scores=scores,
    label=1,
    infinite=right if infinite else None,
  )


BELIEF = distributions.Evidence(a(B), ones(B), 2 * ones(B), ones(B))
BOTH = types.RewardOutput(
  a(B, 2), np.tile(np.eye(2, dtype=np.float32), (B, 1, 1))
)
RANK = np.array([[1, 2, 3], [2, 1, 1], [3, 1, 2], [1, 1, 1]])
ORDERED = {
  0: np.tile([1.0, np.inf, -np.inf], (B, 1)),
  1: np.tile([2, 1, 3], (B, 1)),
}
EXAMPLES = [
  pair(choices.bradley_terry, margin=0.3, smoothing=0.1, infinite=False),
  Example(
    choices.strength_margin,
    (np.array([0, 1, 2, 1]), np.array([0.0, 0.3, 1.0])),
    rows=(0,),
    smooth=(1,),
    scores=(1,),
  ),
  pair(choices.scaled_bradley_terry, np.array([1.0, 2.0, 3.0, 0.0])),
  pair(choices.conservative, flip=0.1, infinite=False),
  pair(choices.robust, flip=0.1),
  pair(choices.hinge),
  pair(choices.squared, beta=0.5, infinite=False),
  pair(choices.thurstone, 1 + ones(B)),
  Example(choices.log_normal_cdf, (a(B),)),
  Example(
    choices.classifier,
    (a(B, 2), told(B)),
    label=1,
    infinite={0: np.tile([np.inf, -np.inf], (B, 1)), 1: np.ones(B)},
  ),
  Example(
    choices.sampled, (a(B), ones(B), told(B), a(B, 5)), smooth=(0, 1), label=2
  ),
  Example(choices.moderated_probability, (a(B), ones(B)), smooth=(0, 1)),
  Example(choices.pair_margin, (BOTH,), scores=()),
  Example(choices.pair_probability, (BOTH,), scores=()),
  Example(choices.pair_nll, (BOTH, told(B)), scores=(), label=1),
  pair(ordinal.rao_kupper, ones(B)),
  pair(ordinal.davidson, a(B)),
  Example(
    ordinal.cut_points, (a(B, 2),), {'levels': 5}, scores=()
  ),  # of parameters, and no score
  Example(
    ordinal.cumulative,
    (a(B), np.array([0.0, 0.25, 0.75, 1.0]), np.array([-1.5, -0.5, 0.5, 1.5])),
    rows=(0, 1),
    smooth=(0, 2),
    label=1,
    infinite={0: np.array([np.inf, -np.inf, 0, 0]), 1: np.array([1, 0, 1, 0])},
  ),
  Example(ordinal.expected_label, (np.tile([0.2, 0.3, 0.5], (B, 1)),)),
  Example(
    ordinal.level_weights,
    (told(B),),
    {'levels': 3},
    smooth=(),
    scores=(),
    label=0,
  ),
  Example(
    lists.plackett_luce, (a(B, K), RANK, ones(B, K)), mask=2, infinite=ORDERED
  ),
  Example(
    lists.best_of_n, (a(B, K), np.array([0, 1, 2, 1]), ones(B, K)), mask=2
  ),
  Example(
    lists.listnet,
    (a(B, K), a(B, K), ones(B, K)),
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(lists.all_pairs, (a(B, K), RANK, ones(B, K)), mask=2),
  Example(ratings.error, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2),
  Example(
    ratings.squared, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2
  ),
  Example(ratings.huber, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2),
  Example(
    ratings.binned, (a(B, 3), a(B), ones(B), BINS), rows=(0, 1, 2), mask=2
  ),
  Example(
    ratings.two_hot,
    (a(B, 3), a(B), ones(B), BINS),
    rows=(0, 1, 2),
    scores=(0, 1),
    mask=2,
  ),
  Example(
    ratings.two_hot_weights,
    (np.array([0.1, 0.4, 0.9, 1.7], np.float32), BINS),
    rows=(0,),
  ),
  Example(ratings.expected, (a(B, 3), BINS), rows=(0,)),
  Example(
    ratings.ridge,
    (a(B, 2), a(B, A), ones(B, A)),
    {'penalty': 1.0},
    smooth=(0, 1),
    mask=2,
    summary=True,
  ),
  Example(distributions.levels, (5,), rows=(), smooth=(), scores=()),
  Example(
    distributions.pinball,
    (a(B, 4), a(B), ones(B), distributions.levels(4)),
    {'huber': 0.5},
    rows=(0, 1, 2),
    smooth=(0, 1),
    mask=2,
  ),
  Example(distributions.around, (a(B), a(B, 3)), smooth=(0, 1), scores=(0, 1)),
  Example(distributions.lower_mean, (a(B, 5),), {'share': 0.3}),
  Example(distributions.quantile, (a(B, 5),), {'level': 0.3}),
  Example(
    distributions.gaussian_nll,
    (a(B), a(B), a(B), ones(B)),
    smooth=(0, 1, 2),
    scores=(0, 1, 2),
    mask=3,
  ),
  Example(
    distributions.sampled_squared,
    (a(B), a(B), a(B), ones(B), a(B)),
    smooth=(0, 1, 2),
    scores=(0, 1, 2),
    mask=3,
  ),
  Example(
    distributions.overlap,
    (a(B), ones(B), a(B), 2 * ones(B)),
    smooth=(0, 1, 2, 3),
    scores=(0, 2),
  ),
  Example(distributions.decomposed, (a(B, 5), a(B, 5) ** 2), smooth=(0, 1)),
  Example(distributions.evidence, (a(B, 4),)),
  Example(
    distributions.evidential_nll,
    (BELIEF, a(B), ones(B)),
    smooth=(0, 1),
    scores=(1,),
    mask=2,
  ),
  Example(
    distributions.evidence_penalty,
    (BELIEF, a(B), ones(B)),
    smooth=(0, 1),
    scores=(1,),
    mask=2,
  ),
  Example(distributions.evidence_parts, (BELIEF,), scores=()),
  Example(
    steps.step_nll, (a(B, T, 3), told(B, T), ones(B, T)), label=1, mask=2
  ),
  Example(
    steps.placeholder_nll,
    (a(B, T, 7), told(B, T), ones(B, T)),
    {'classes': (2, 5), 'vocabulary': True},
    label=1,
    mask=2,
  ),
  Example(
    steps.rollout_label,
    (told(B, 5), ones(B, 5)),
    {'soft': True},
    scores=(),
    mask=1,
  ),
  *(
    Example(
      steps.aggregated,
      (a(B, T), ones(B, T), SEGMENT),
      {'segments': 2, 'by': by},
      mask=1,
    )
    for by in steps.AGGREGATES
  ),
  Example(
    steps.differences, (a(B, T), ones(B, T), SEGMENT), {'start': 0.5}, mask=1
  ),
  Example(
    implicit.reward,
    (a(B, T), a(B, T), ones(B, T)),
    {'beta': 0.1},
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(implicit.average, (a(B, T), ones(B, T)), {'beta': 2.0}, mask=1),
  Example(
    implicit.step_reward,
    (a(B, T), a(B, T), ones(B, T), SEGMENT),
    {'steps': 2, 'beta': 0.1},
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(
    implicit.hybrid,
    (a(B), a(B, 2), told(B)),
    smooth=(0, 1),
    scores=(0, 1),
    label=2,
  ),
  Example(implicit.yes_logit, (a(B, 7),), {'yes': 1, 'no': 4}),
  Example(
    implicit.token_score,
    (a(B, 7),),
    {'tokens': (1, 4), 'values': np.array([1.0, 2.0])},
  ),
  Example(penalties.centring, (a(B, 2),)),
  Example(penalties.barrier, (a(B),)),
  Example(
    penalties.positive,
    (a(B, 2), told(B)),
    label=1,
    infinite={0: np.tile([np.inf, -np.inf], (B, 1)), 1: np.ones(B)},
  ),
  Example(
    penalties.correlation,
    (a(B, 2), a(B, 2), ones(B, 2)),
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
    summary=True,
  ),
  Example(
    penalties.length_parts,
    (a(B, 2), a(B, 2), a(B, 2), ones(B)),
    smooth=(0, 1),
    scores=(0, 1),
    summary=True,
  ),
  Example(
    penalties.disentangled,
    (a(B, 2), a(B, 2), told(B)),
    smooth=(0, 1),
    scores=(0, 1),
    label=2,
  ),
  Example(gating.gate, (a(B, A),), {'axis': -1, 'objectives': A}),
  Example(
    gating.debiased, (a(B, A), a(A)), {'verbosity': 1}, rows=(0,), smooth=(0, 1)
  ),
  Example(gating.gated_score, (a(B, A), a(B, A)), smooth=(0, 1)),
  Example(gating.gated_quantiles, (a(B, A), a(B, A, 5)), smooth=(0, 1)),
  Example(gating.contributions, (a(B, A), a(B, A)), smooth=(0, 1)),
  Example(
    gating.report, (a(A), ['a', 'b', 'c']), rows=(), smooth=(), scores=()
  ),
  Example(
    gating.rank_correlation, (a(B), a(B)), smooth=(), scores=(), summary=True
  ),
  Example(
    gating.solve_debiasing,
    (a(B, A),),
    {'verbosity': 0},
    smooth=(),
    scores=(),
    summary=True,
  ),
]
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
