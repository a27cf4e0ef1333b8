"""Reward models of one world: fitted, with everybody's belief."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.audits import echo_chamber, refits, served
from prm_jax.lab import fitting
from prm_jax.models import embeddings, reduce
from prm_jax.models import features as text_features
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.safeguards import debiasing
from prm_jax.systems import inference
from prm_jax.users import gaussian, simplex
from prm_jax.worlds import observed_stances

AGGREGATE = 'aggregate'
_SEARCH_SEED = 99  # hyper-parameters are chosen in a world that is not audited
_COMPONENTS = 32  # of texts
_SOURCE = text_features.Source()


@dataclasses.dataclass(frozen=True)
class Method:
  """A fitted reward model.

  Attributes:
    model: with everybody's contexts.
    twins: contexts of everybody's twin.
    beliefs: everybody's state for the closed loop, `[U, ...]`.
    refit: of the population in the loop, or None.
    remember: answers of each that a refit reads.
  """

  model: served.Model
  twins: types.PyTree
  beliefs: types.PyTree
  refit: echo_chamber.Refit | None
  remember: int


def world(config, condition, seed: int) -> observed_stances.World:
  """Returns the world of a condition and seed."""
  sizes = observed_stances.Sizes(**config.sizes)
  return observed_stances.make(sizes, condition, seed, _encode)


def _encode(texts: Mapping[str, list[str]]) -> dict[str, np.ndarray]:
  """Returns the encoder's principal components, fitted on training texts."""
  columns = {
    name: np.concatenate(
      [_SOURCE(some), embeddings.text_length_features(some)], 1
    )
    for name, some in texts.items()
  }
  train = columns['train']
  reduction = reduce.principal_components(
    train, np.arange(len(train)), _COMPONENTS, whiten=True
  )
  return {name: reduction(some) for name, some in columns.items()}


def choose(config, name: str, condition) -> dict[str, Any]:
  """Returns the best of a method's grid in another world of a condition."""
  problem = _problem(world(config, condition, _SEARCH_SEED))
  node, sets = config.methods[name].to_dict(), fitting.FeatureSets(problem)
  grid = [{**row, 'features': 'given'} for row in node['grid']]
  people = condition.people
  found = fitting.search(node['learner'], grid, problem, sets, people)
  return {'choice': dict(found.choice)}


def fit(
  config, world: observed_stances.World, choices: Mapping[str, fitting.Choice]
) -> dict[str, Method]:
  """Returns methods fitted to a world.

  Args:
    config: `methods`.
    world: of which the training judgements are read.
    choices: method -> what was chosen.
  """
  problem = _problem(world)
  training, sets = problem.training, fitting.FeatureSets(problem)
  methods = {}
  for name, choice in choices.items():
    node = config.methods[name].to_dict()
    options = {}
    if 'debiased' in node:
      options['change'] = functools.partial(
        debiasing.debiased, bias=world.bias, strength=node['debiased']
      )
    fitted = fitting.Fitted.fit(
      node['learner'], choice, problem, training, sets, **options
    )
    of = _aggregate if name == AGGREGATE else _personal
    model, twins, refit = of(node, fitted, training, world)
    remember = (node | node['learner'])['capacity']
    beliefs = _beliefs(model, world)
    methods[name] = Method(model, twins, beliefs, refit, remember)
  return methods


def _problem(world: observed_stances.World) -> fitting.Problem:
  judged = world.judged
  return fitting.of_judgements(
    fitting.judgements(judged.user, judged.items, judged.label),
    world.features,
    people=world.condition.people,
    seed=world.seed,
    validates=~judged.fits,
  )


# Model, contexts of twins, and refit of a method.
Parts = tuple[served.Model, types.PyTree, echo_chamber.Refit | None]


def _aggregate(node, fitted, _, world) -> Parts:
  """Returns the aggregate as the belief of people who do not differ.

  Its coefficients have no spread, so that no answer of a person moves them;
  in the loop they are refitted to everybody's answers.
  """
  weight = fitted.state.params['reward']['weight']
  D, U = len(weight), world.condition.people
  prior = bayes.GaussianPrior(weight, jnp.zeros((D, D)))
  params = {'reward': {}, 'user': prior}
  model = served.Model(_gaussian_system(D, node['capacity']), params, None)
  contexts = jax.tree.map(
    lambda leaf: np.repeat(np.asarray(leaf)[None], U, 0), model.population
  )
  return model._replace(contexts=contexts), contexts, refits.shared_weight


@functools.lru_cache(maxsize=4)
def _gaussian_system(dim: int, capacity: int) -> types.System:
  user = gaussian.gaussian(dim=dim, capacity=capacity)
  return types.System(factorized.identity(), user)


def _personal(node, fitted, training, world) -> Parts:
  refit: Any = None
  params = fitted.state.params
  if 'spread' in node:  # in place of the estimated one, which stays as it is
    wide = bayes.isotropic_prior(params['user'].mean, node['spread'])
    params = {**params, 'user': wide}
    fitted.state = fitted.state._replace(params=params)
  elif isinstance(params['user'], bayes.GaussianPrior):
    refit = refits.prior
  elif isinstance(params['user'], simplex.Params):
    refit = refits.mixture
  twin = training._replace(rows=training.rows._replace(label=world.judged.twin))
  model = served.Model(fitted.learner.system, params, fitted.contexts(training))
  return model, fitted.contexts(twin), refit


def _beliefs(model: served.Model, world) -> types.PyTree:
  """Returns everybody's state after their training answers, `[U, ...]`."""
  judged, U = world.judged, world.condition.people
  encoded = inference.encode(
    model.system, model.params, jnp.asarray(world.features)
  )
  label = jnp.asarray(judged.label).reshape(U, -1)
  pairs = encoded[judged.items].reshape(*label.shape, 2, -1)
  evidence = types.Pair(pairs, label, jnp.ones(label.shape))
  return echo_chamber.believe(model.system, model.params['user'], evidence)
