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
    name: of the row.
    model: with everybody's contexts.
    twins: contexts of everybody's twin.
    beliefs: everybody's state for the closed loop, `[U, ...]`.
    refit: of the population in the loop, or None.
    remember: answers of each that a refit reads.
  """

  name: str
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
  node = config.methods[name].to_dict()
  searched = fitting.search(
    node['learner'],
    [{**row, 'features': 'given'} for row in node['grid']],
    problem,
    fitting.FeatureSets(problem),
    condition.people,
  )
  return {'choice': dict(searched.choice)}


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
  methods = {}
  for name, choice in choices.items():
    node = config.methods[name].to_dict()
    options = {}
    if 'debiased' in node:
      options['change'] = functools.partial(
        debiasing.debiased, bias=world.bias, strength=node['debiased']
      )
    fitted = fitting.Fitted.fit(
      node['learner'],
      choice,
      problem,
      problem.training,
      fitting.FeatureSets(problem),
      **options,
    )
    if name == AGGREGATE:
      methods[name] = _aggregate(fitted, world, node['capacity'])
    else:
      methods[name] = _personal(name, node, fitted, problem, world)
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


def _aggregate(fitted, world: observed_stances.World, capacity: int) -> Method:
  """Returns the aggregate as the belief of people who do not differ.

  Its coefficients have no spread, so that no answer of a person moves them;
  in the loop they are refitted to everybody's answers.
  """
  weight = fitted.state.params['reward']['weight']
  D = weight.shape[0]
  prior = bayes.GaussianPrior(weight, jnp.zeros((D, D)))
  model = served.Model(
    _gaussian_system(D, capacity), {'reward': {}, 'user': prior}, None
  )
  contexts = jax.tree.map(
    lambda leaf: np.repeat(np.asarray(leaf)[None], world.condition.people, 0),
    model.population,
  )
  model = model._replace(contexts=contexts)
  beliefs = _beliefs(model, world)
  return Method(
    AGGREGATE, model, contexts, beliefs, refits.shared_weight, capacity
  )


@functools.lru_cache(maxsize=4)
def _gaussian_system(dim: int, capacity: int) -> types.System:
  user = gaussian.gaussian(dim=dim, capacity=capacity)
  return types.System(factorized.identity(), user)


def _personal(name, node, fitted, problem, world) -> Method:
  refit: Any = None
  user = fitted.state.params['user']
  if 'spread' in node:  # in place of the estimated one, which stays as it is
    wide = bayes.isotropic_prior(user.mean, node['spread'])
    params = {**fitted.state.params, 'user': wide}
    fitted.state = fitted.state._replace(params=params)
  elif isinstance(user, bayes.GaussianPrior):
    refit = refits.prior
  elif isinstance(user, simplex.Params):
    refit = refits.mixture
  training = problem.training
  twin = training._replace(rows=training.rows._replace(label=world.judged.twin))
  model = served.Model(
    fitted.learner.system, fitted.state.params, fitted.contexts(training)
  )
  beliefs, capacity = _beliefs(model, world), node['learner']['capacity']
  return Method(name, model, fitted.contexts(twin), beliefs, refit, capacity)


def _beliefs(model: served.Model, world) -> types.PyTree:
  """Returns everybody's state after their training answers, `[U, ...]`."""
  judged, U = world.judged, world.condition.people
  encoded = inference.encode(
    model.system, model.params, jnp.asarray(world.features)
  )
  label = jnp.asarray(judged.label).reshape(U, -1)
  evidence = types.Pair(
    encoded[judged.items].reshape(*label.shape, 2, -1),
    label,
    jnp.ones(label.shape),
  )
  return echo_chamber.believe(model.system, model.params['user'], evidence)
