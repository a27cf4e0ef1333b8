"""Reward models of one world: fitted, with everybody's belief."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.echo_chambers import worlds
from prm_jax import registry, types
from prm_jax.audits import echo_chamber
from prm_jax.learners import inference
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.runtime import train
from prm_jax.safeguards import debiasing
from prm_jax.users import answers as ring
from prm_jax.users import gaussian, simplex

CAPACITY = 20  # answers from which a belief is solved in the loop
_PSEUDO_PEOPLE = 1.0  # who keep the old covariance
_SEARCH_SEED = 99  # hyper-parameters are chosen in a world that is not audited
_FAR = 2.0  # standard deviation of the wide prior


@dataclasses.dataclass(frozen=True)
class Method:
  """A fitted reward model.

  Attributes:
    name: of the row.
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    contexts: everybody's, `[U, ...]`.
    twins: of everybody's twin.
    beliefs: everybody's state for the closed loop, `[U, ...]`.
    refit: of the population in the loop, or None.
  """

  name: str
  system: types.System
  params: types.PyTree
  contexts: types.PyTree
  twins: types.PyTree
  beliefs: types.PyTree
  refit: echo_chamber.Refit | None

  def encode(self, features: np.ndarray) -> jax.Array:
    """Returns encoded features `[..., J]`."""
    reward = self.params['reward']
    return self.system.reward.encode(reward, jnp.asarray(features))


def fit(
  config: Any, world: worlds.World, names: tuple[str, ...]
) -> dict[str, Method]:
  """Returns the methods fitted to a world; the aggregate is always there.

  Args:
    config: `methods`: name -> learner's options, and `grids`: name -> choices.
    world: of which the training judgements are read.
    names: of `config.methods`, or 'wide': the hierarchical model under a prior
      that is not estimated.
  """
  found = {}
  for name in dict.fromkeys(('aggregate', *names)):
    kind = 'hierarchical' if name == 'wide' else name
    node, hyper = registry.fitting(
      _plain(config.methods[kind]), _choice(config, kind, world.condition)
    )
    learner = _learner(tuple(sorted(node.items())))
    bias = jnp.asarray(world.bias) if kind == 'pref_debiased' else None
    if bias is not None:
      strength = config.methods[kind].information
      learner = debiasing.debiased(learner, bias, strength=strength)
    state = train.fit(
      learner, _data(world), key=jax.random.key(world.seed),
      spec=_spec(world), hyper=hyper,
    )  # fmt: skip
    if name == 'aggregate':
      found[name] = _aggregate(state, world)
    else:
      found[name] = _personal(name, learner.system, state.params, world)
  return found


def _plain(node) -> dict[str, Any]:
  return {k: v for k, v in node.items() if k != 'information'}


@functools.lru_cache(maxsize=16)
def _learner(options: tuple[tuple[str, Any], ...]):
  node = dict(options)
  if registry.LEARNERS[node['kind']].role == 'personal':
    node['capacity'] = CAPACITY
  return registry.build('learner', node)


def _data(world: worlds.World) -> types.Batch:
  return world.judged.over(world.features)


def _spec(world: worlds.World) -> types.Spec:
  return types.Spec(world.features.shape[1], world.condition.people)


_CHOICES: dict[tuple, Mapping[str, float]] = {}


def _choice(config, kind: str, condition) -> Mapping[str, float]:
  """Returns the best of a grid on validation judgements of another world.

  Every method has as many choices as the aggregate.
  """
  key = (kind, condition)
  if key in _CHOICES:
    return _CHOICES[key]
  grid = [dict(row) for row in config.grids[kind]]
  world = worlds.make(config.sizes, condition, _SEARCH_SEED)
  label = world.judged.rows.label > 0.5
  losses = []
  for choice in grid:
    data = _data(world).masked(world.fit)
    node, hyper = registry.fitting(_plain(config.methods[kind]), choice)
    learner = _learner(tuple(sorted(node.items())))
    state = train.fit(
      learner, data, key=jax.random.key(world.seed), spec=_spec(world),
      hyper=hyper,
    )  # fmt: skip
    contexts = inference.infer(
      learner.system, state.params, data,
      key=state.key, people=condition.people,
    )  # fmt: skip
    p = inference.predict(learner.system, state.params, contexts, data)
    p = np.clip(np.where(label, p, 1 - p), 1e-7, 1)
    losses.append(float(-np.mean(np.log(p[world.fit == 0]))))
  _CHOICES[key] = grid[int(np.argmin(losses))]
  return _CHOICES[key]


def _aggregate(state, world: worlds.World) -> Method:
  """Returns the aggregate as the belief of people who do not differ.

  Its coefficients have no spread, so that no answer of a person moves them;
  in the loop they are refitted to everybody's answers.
  """
  weight = state.params['reward']['weight']
  D = weight.shape[0]
  system = _gaussian_system(D)
  prior = bayes.GaussianPrior(weight, jnp.zeros((D, D)))
  params = {'reward': {}, 'user': prior}
  U = world.condition.people
  one = system.user.context(prior, system.user.prior(prior))
  contexts = jax.tree.map(
    lambda leaf: np.repeat(np.asarray(leaf)[None], U, 0), one
  )
  beliefs = _beliefs(system, params, world)
  return Method(
    'aggregate', system, params, contexts, contexts, beliefs,
    refit_aggregate,
  )  # fmt: skip


@functools.lru_cache(maxsize=4)
def _gaussian_system(dim: int) -> types.System:
  user = gaussian.gaussian(dim=dim, capacity=CAPACITY)
  return types.System(factorized.identity(), user)


def _personal(name, system, params, world) -> Method:
  if name == 'wide':
    prior = params['user']
    wide = bayes.isotropic_prior(prior.mean, _FAR)
    params = {**params, 'user': wide}
  data, U = _data(world), world.condition.people
  key = jax.random.key(world.seed)
  twin = data._replace(rows=data.rows._replace(label=world.twin))
  contexts, twins = (
    inference.infer(system, params, each, key=key, people=U)
    for each in (data, twin)
  )
  refit: Any = None
  if isinstance(params['user'], bayes.GaussianPrior) and name != 'wide':
    refit = refit_prior
  elif isinstance(params['user'], simplex.Params):
    refit = refit_mixture
  beliefs = _beliefs(system, params, world)
  return Method(name, system, params, contexts, twins, beliefs, refit)


def _beliefs(system, params, world) -> types.PyTree:
  """Returns everybody's state after their training answers, `[U, ...]`."""
  rows, U = world.judged.rows, world.condition.people
  N = len(rows.user) // U  # sorted by person, as many of each
  encoded = inference.encode(system, params, jnp.asarray(world.features))
  evidence = types.Pair(
    encoded[world.judged.inputs.index].reshape(U, N, 2, -1),
    jnp.asarray(rows.label).reshape(U, N),
    jnp.ones((U, N)),
  )
  return _believe(system)(params['user'], evidence)


@functools.lru_cache(maxsize=16)
def _believe(system):
  def one(user, evidence):
    state = system.user.prior(user)
    return system.user.update(jax.random.key(0), user, state, evidence)[0]

  return jax.jit(jax.vmap(one, (None, 0)))


# --------------------------------------------- the population, inside the loop


def refit_prior(
  prior: bayes.GaussianPrior, history: ring.Answers
) -> bayes.GaussianPrior:
  """Returns the prior after one EM step over everybody's kept answers."""
  posterior = jax.vmap(
    functools.partial(bayes.laplace, iterations=6), (None, 0, 0, 0)
  )(prior, history.value, history.label, history.mask)
  weight = jnp.ones(history.label.shape[0])
  moments = bayes.population_moments(prior, posterior, weight)
  return bayes.empirical_prior(prior, moments, shrinkage=_PSEUDO_PEOPLE)


def refit_aggregate(
  prior: bayes.GaussianPrior, history: ring.Answers
) -> bayes.GaussianPrior:
  """Returns one weight for everybody, refitted to all kept answers.

  It is pulled to the weight before with ten answers' worth.
  """
  D = prior.mean.shape[0]
  old = bayes.isotropic_prior(prior.mean, 10.0**-0.5)
  mean = bayes.posterior_mode(
    old, history.value.reshape(-1, D), history.label.reshape(-1),
    history.mask.reshape(-1), iterations=4,
  )  # fmt: skip
  return prior._replace(mean=mean)


def refit_mixture(
  population: simplex.Params, history: ring.Answers
) -> simplex.Params:
  """Returns the mean of everybody's mixture weights on their kept answers."""
  solve = functools.partial(simplex.mirror_descent, iterations=60)
  weights = jax.vmap(solve, (None, 0, 0, 0))(
    population, history.value, history.label, history.mask
  )
  mean = jnp.exp(weights).mean(0)
  return population._replace(log_weight=jnp.log(mean + 1e-6))
