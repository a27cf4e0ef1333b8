"""Who is asked what, data set by data set."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.personalized_vs_aggregate import problems
from prm_jax.data import load
from prm_jax.lab import asking, fitting
from prm_jax.ops import bayes
from prm_jax.worlds import attributes


def settings(config, data: str, seed: int, embed) -> Iterator[asking.Setting]:
  """Yields the settings of a data set, one for each method.

  Raises:
    ValueError: there is no such data set.
  """
  if data in config.gaussian:
    yield _gaussian(config.gaussian[data], data, seed)
    return
  if data.startswith('attributes_'):
    problem, asked = _attributes(config, data, seed, embed)
  elif data == 'jester':
    problem, asked = _jester(config, seed, embed)
  else:
    raise ValueError(f'unknown data set {data!r} in data.names')
  grids = config.search[data.split('_')[0]]
  yield from asking.trained(config, problem, asked, grids)


def _gaussian(node, data: str, seed: int) -> asking.Setting:
  """People and questions of known coefficients: only the inference is tried."""
  rng = np.random.default_rng([seed, 5])
  J, U = node.dim, node.people
  weights = rng.standard_normal((U, J))
  size = np.exp(node.spread * rng.standard_normal(node.candidates))
  # In logits a unit of difference is worth `scale`.
  pool = node.scale * rng.standard_normal((J, node.candidates)) * size
  test = rng.standard_normal((node.test_pairs, J))
  menus = rng.standard_normal((node.menus, node.menu_size, J))
  margin = weights @ test.T
  return asking.Setting(
    data=data,
    features='known',
    method='pref',
    seed=seed,
    people=[f'gaussian/{seed}/{i:04d}' for i in range(U)],
    prior=bayes.isotropic_prior(jnp.zeros(J), 1.0),
    difference=pool,
    probability=special.expit(weights @ pool),
    available=None,
    test=asking.Test(
      np.broadcast_to(test, (U, *test.shape)),
      (margin > 0).astype(np.float32),
      np.ones(margin.shape, np.float32),
    ),
    menus=menus,
    utility=np.einsum('skj,uj->usk', menus, weights),
  )


def _attributes(config, data: str, seed: int, embed):
  """Simulated people who read: true answers, features from the encoder."""
  problem = next(problems.problems(config, data, seed, embed))
  population = data.removeprefix('attributes_')
  options = problems.attributes_options(config, population, seed)
  known = attributes.truth(load.attributes_world(**options))
  rows = problem.judged.rows
  new = np.unique(rows.user[problem.split == fitting.CALIBRATION])
  values = np.stack([known.values[text] for text in problem.texts])
  weights = np.stack([known.weights[problem.user_ids[u]] for u in new])

  def margins(items):
    gap = values[items[:, 0]] - values[items[:, 1]]
    return known.scale * weights @ gap.T

  pool = asking.pairs(problem, fitting.CALIBRATION, config.pool, 6)
  test = asking.pairs(problem, 'new_people', config.test_pairs, 7)
  menus = responses_to_prompts(problem.prompt_ids, test)
  label = (margins(test) > 0).astype(np.float32)
  return problem, asking.Asked(
    new=new,
    pool=pool,
    probability=special.expit(margins(pool)),
    available=None,
    test=np.broadcast_to(test, (len(new), *test.shape)),
    label=label,
    mask=np.ones(label.shape, np.float32),
    menus=menus,
    utility=np.einsum('ska,ua->usk', values[menus], weights),
  )


def responses_to_prompts(
  prompt_ids: list[str], items: np.ndarray
) -> np.ndarray:
  """Returns the responses `[S, K]` to each prompt of some pairs."""
  names = np.array(prompt_ids)
  prompts = np.unique(names[items[:, 0]])
  rows = [np.flatnonzero(names == prompt) for prompt in prompts]
  size = min(map(len, rows))
  return np.stack([row[:size] for row in rows])


def _jester(config, seed: int, embed):
  """People whose answers are their own ratings, read in pairs."""
  problem = next(problems.problems(config, 'jester', seed, embed))
  ratings, _, held, _ = problems.jester_ratings(config, seed)
  people, jokes = len(ratings.user_ids), len(ratings.texts)
  rating = np.full((2, people, jokes), np.nan)  # to answer from, and held out
  rating[held.astype(int), ratings.user, ratings.item] = ratings.rating
  split = problem.split == 'new_people'
  rows = problem.judged.rows
  new = np.unique(rows.user[split])
  answers, kept = rating[:, new]
  pool = np.stack(np.triu_indices(jokes, 1), 1)
  gap = answers[:, pool[:, 0]] - answers[:, pool[:, 1]]
  test, label, mask = _by_person(
    new, rows.user[split], problem.judged.inputs.index[split], rows.label[split]
  )
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
    utility=kept[:, None],
  )


def _by_person(new, user, items, label):
  """Returns rows as `[U, M, ...]` arrays, padded, and their mask."""
  order = np.argsort(user, kind='stable')
  who = np.searchsorted(new, user[order])
  count = np.bincount(who, minlength=len(new))
  place = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
  shape = (len(new), int(count.max()))
  pairs, labels = np.zeros((*shape, 2), int), np.zeros(shape, np.float32)
  mask = np.zeros(shape, np.float32)
  pairs[who, place] = items[order]
  labels[who, place] = label[order]
  mask[who, place] = 1
  return pairs, labels, mask
