"""Every product of ops, users and fast weights asks for full precision.

The jaxpr of every public function of these modules is walked; a function
without a line of example arguments fails.
"""

import importlib
import inspect
import pathlib
import pkgutil

import jax
import pytest

import prm_jax
from prm_jax import ops, registry, types, users
from tests.ops.precision_examples import EVENT, EXAMPLES, KEY, PAIR, J, a

ROOT = pathlib.Path(prm_jax.__file__).parent
NAMES = [
  module.name
  for package in (ops, users)
  for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
] + ['prm_jax.rewards.fast_weights']
MODULES = {name: importlib.import_module(name) for name in NAMES}
# Of arrays: modules of statistics are NumPy in float64.
CHECKED = {n: m for n, m in MODULES.items() if hasattr(m, 'jnp')}

PRODUCTS = {
  'acquisition.margin_moments',
  'bayes.laplace',
  'bayes.population_moments',
  'bayes.empirical_prior',
  'bayes.at_mode',
  'factorization.weighted_als',
  'factorization.regress_basis',
  'discrimination.discriminant',
  'decoding.multi_objective',
  'opinions.degroot',
  'tilting.information',
  'simplex.mirror_descent',
  'meta.adapt',
  'gaussian.solve',
  'policy_gradient.rewards_normalized',
  'pairs.gram',
  'bayes.pooled_mode',
  'ratings.ridge',
  'laplace.score_covariance',
  'laplace.hessian',
  'ensembles.covariance',
  'profiles.profile_gain_for_people',
  'transport.matched_weights',
  'recall.most_similar',
  'episodic.similarity',
}


def public(module):
  return [
    name
    for name, value in vars(module).items()
    if inspect.isfunction(value)
    and value.__module__ == module.__name__
    and not name.startswith('_')
  ]


CASES = [
  (module, name) for module in CHECKED for name in public(CHECKED[module])
]


def products(jaxpr):
  """Yields the products of a jaxpr, and of those inside it."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      yield equation
    for value in jax.tree.leaves(
      list(equation.params.values()),
      is_leaf=lambda v: hasattr(v, 'jaxpr') or hasattr(v, 'eqns'),
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from products(inner)


def ours(equation):
  """Whether a product stands in the rooms that are checked."""
  frames = equation.source_info.traceback.frames
  own = [f.file_name for f in frames if f.file_name.startswith(str(ROOT))]
  room = pathlib.Path(own[0]).relative_to(ROOT).parts[0] if own else 'ops'
  return room in ('ops', 'users') or own[0].endswith('fast_weights.py')


def imprecise(function, *arguments):
  """The products that do not ask for full precision, and how many there are."""
  found = [
    e for e in products(jax.make_jaxpr(function)(*arguments).jaxpr) if ours(e)
  ]
  highest = (jax.lax.Precision.HIGHEST,) * 2
  return [e for e in found if e.params['precision'] != highest], len(found)


@pytest.mark.parametrize(('module', 'name'), CASES)
def test_products_ask_for_full_precision(module, name):
  short = module.split('.')[-1]
  arguments = EXAMPLES[short][name]  # write one line of arguments for it
  if arguments is None:  # takes no arrays, or makes what is tested below
    return
  function = getattr(CHECKED[module], name)
  if callable(arguments[0]):
    function, arguments = arguments[0], ()
  bad, count = imprecise(function, *arguments)
  assert not bad, bad
  if f'{short}.{name}' in PRODUCTS:
    assert count


@pytest.mark.parametrize('kind', sorted(registry.USERS))
def test_beliefs_ask_for_full_precision(kind):
  user = registry.build(
    'user', {'kind': kind, **registry.USERS[kind].small().options}
  )
  params = user.init(KEY, types.Spec(J, 1))
  state = user.prior(params)
  said = PAIR if user.settle is None else EVENT
  if user.infer is not None:
    assert not imprecise(lambda e: user.infer(KEY, params, e), said)[0]
  assert not imprecise(lambda e: user.update(KEY, params, state, e), said)[0]
  assert not imprecise(lambda s: user.context(params, s), state)[0]


def test_a_product_that_does_not_ask_is_seen():
  bad, count = imprecise(lambda x: jax.lax.map(lambda y: y @ y, x), a(2, 3))
  assert len(bad) == count == 1
