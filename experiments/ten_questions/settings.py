"""Who is asked what, data set by data set."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.personalized_vs_aggregate import problems
from prm_jax.data import load
from prm_jax.lab import asking, fitting
from prm_jax.models import features
from prm_jax.ops import bayes
from prm_jax.worlds import attributes, linear_people


def settings(
  config, data: str, seed: int, source: features.Source
) -> Iterator[asking.Setting]:
  """Yields the settings of a data set, one for each method.

  Raises:
    ValueError: there is no such data set.
  """
  if data in config.gaussian:
    yield _gaussian(config.gaussian[data], data, seed)
    return
  if data.startswith('attributes_'):
    problem, asked = _attributes(config, data, seed, source)
  elif data == 'jester':
    problem, asked = _jester(config, seed, source)
  else:
    raise ValueError(f'unknown data set {data!r} in data.names')
  grids = config.search[data.split('_')[0]]
  yield from asking.trained(config, problem, asked, grids)


def _gaussian(node, data: str, seed: int) -> asking.Setting:
  """People and questions of known coefficients: only the inference is tried."""
  world = linear_people.simulate(seed=seed, **node)
  margin = world.weights @ world.test.T
  return asking.Setting(
    data=data,
    features='known',
    method='pref',
    seed=seed,
    prior=bayes.isotropic_prior(jnp.zeros(node.dim), 1.0),
    difference=world.pool,
    probability=special.expit(world.weights @ world.pool),
    available=None,
    test=asking.Test(
      np.broadcast_to(world.test, (node.people, *world.test.shape)),
      (margin > 0).astype(np.float32),
      np.ones(margin.shape, np.float32),
    ),
    menus=world.menus,
    utility=world.utility,
  )


def _attributes(
  config, data: str, seed: int, source: features.Source
) -> tuple[fitting.Problem, asking.Asked]:
  """Simulated people who read: true answers, features from the encoder."""
  problem = next(problems.problems(config, data, seed, source))
  population = data.removeprefix('attributes_')
  options = problems.attributes_options(config, population, seed)
  known = attributes.truth(load.attributes_world(**options))
  test = asking.pairs(problem, fitting.NEW_PEOPLE, config.test_pairs, 7)
  prompts = np.array(problem.prompt_ids)
  return problem, asking.simulated(
    problem,
    *known.of(problem.texts, problem.user_ids),
    known.scale,
    pool=asking.pairs(problem, fitting.CALIBRATION, config.pool, 6),
    test=test,
    menus=asking.menus(prompts, prompts[test[:, 0]]),
  )


def _jester(
  config, seed: int, source: features.Source
) -> tuple[fitting.Problem, asking.Asked]:
  """People whose answers are their own ratings, read in pairs."""
  problem = next(problems.problems(config, 'jester', seed, source))
  ratings, _, held, _ = problems.jester_ratings(config, seed)
  people, jokes = len(ratings.user_ids), len(ratings.texts)
  rating = np.full((2, people, jokes), np.nan)  # to answer from, and held out
  rating[held.astype(int), ratings.user, ratings.item] = ratings.rating
  split = np.flatnonzero(problem.split == fitting.NEW_PEOPLE)
  new = np.unique(problem.judged.rows.user[split])
  answers, held_out = rating[:, new]
  pool = np.stack(np.triu_indices(jokes, 1), 1)
  gap = answers[:, pool[:, 0]] - answers[:, pool[:, 1]]
  test, label, mask = asking.by_person(problem.judged.take(split), new)
  return problem, asking.Asked(
    new=new,
    pool=pool,
    probability=(gap > 0).astype(np.float32),
    # A person can be asked about jokes they rated, and not the same.
    available=np.abs(np.nan_to_num(gap)) > 0,
    test=test,
    label=label,
    mask=mask,
    menus=np.arange(jokes)[None],
    utility=held_out[:, None],
  )
