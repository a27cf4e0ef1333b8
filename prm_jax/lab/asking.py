"""New people who are asked questions, under a reward trained on others."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.elicitation import loop
from prm_jax.lab import fitting
from prm_jax.learners import inference
from prm_jax.ops import bayes


@dataclasses.dataclass(frozen=True)
class Asked:
  """What a data set asks of its new people, whatever the reward model.

  Attributes:
    new: `[U]` rows of `problem.user_ids`.
    pool: `[N, 2]` items of the questions.
    probability: `[U, N]` that each person prefers the first.
    available: `[U, N]` False for what a person cannot be asked; all if None.
    test: `[U, M, 2]` items; label and mask `[U, M]`.
    menus: `[S, K]` items to choose from.
    utility: `[U, S, K]` of each; NaN for what a person cannot be given.
  """

  new: np.ndarray
  pool: np.ndarray
  probability: np.ndarray
  available: np.ndarray | None
  test: np.ndarray
  label: np.ndarray
  mask: np.ndarray
  menus: np.ndarray
  utility: np.ndarray


class Test(NamedTuple):
  """Pairs that are not asked, of each person.

  Attributes:
    difference: `[U, M, J]` encoded first minus second.
    label: `[U, M]` 1 if the first is preferred; mask: `[U, M]`.
  """

  difference: np.ndarray
  label: np.ndarray
  mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class Setting:
  """New people of one data set and seed, under one trained reward.

  Attributes:
    data: name; features: of the texts; method: whose reward and prior; seed.
    people: U user ids.
    prior: over coefficients.
    difference: `[J, N]` the pool of questions, encoded.
    probability, available: see `Asked`.
    test: what is predicted.
    menus: `[S, K, J]` encoded answers to choose from.
    utility: see `Asked`.
    encoded: `[M, J]` all texts; None where there are none.
    aggregate_test: `[U, M]` margins of the aggregate; None if there is none.
    aggregate_menus: `[S, K]` scores of the aggregate; None if there is none.
  """

  data: str
  features: str
  method: str
  seed: int
  people: list[str]
  prior: bayes.GaussianPrior
  difference: np.ndarray
  probability: np.ndarray
  available: np.ndarray | None
  test: Test
  menus: np.ndarray
  utility: np.ndarray
  encoded: np.ndarray | None = None
  aggregate_test: np.ndarray | None = None
  aggregate_menus: np.ndarray | None = None

  @property
  def name(self) -> str:
    """Returns the cell's name."""
    return f'{self.data}-{self.features}-{self.method}-seed{self.seed}'

  @property
  def named(self) -> dict[str, Any]:
    """Returns what names the cell in tables."""
    names = ('data', 'features', 'method', 'seed')
    return {name: getattr(self, name) for name in names}


def pairs(
  problem: fitting.Problem, split: str, count: int, key: int
) -> np.ndarray:
  """Returns different pairs `[count, 2]` of a split, the same for everybody.

  Args:
    problem: whose seed orders them.
    split: a value of `problem.split`.
    count: at most as many.
    key: of the draw.
  """
  items = problem.judged.inputs.index[problem.split == split]
  chosen = np.unique(np.sort(items, 1), axis=0)
  order = np.random.default_rng([problem.seed, key]).permutation(len(chosen))
  return chosen[order[:count]]


def trained(
  config, problem: fitting.Problem, asked: Asked, grids
) -> Iterator[Setting]:
  """Yields the new people under every method but the aggregate.

  Hyper-parameters are searched inside the seen people's training rows.

  Args:
    config: `methods` and `search_people`.
    problem: its training rows teach the reward.
    asked: what its new people are asked.
    grids: method -> what is searched.
  """
  sets = fitting.FeatureSets(problem)
  training = problem.judged.masked(problem.split == fitting.TRAIN)

  def fit(name) -> tuple[fitting.Fitted, np.ndarray]:
    method: dict[str, Any] = config.methods[name].to_dict()
    grid = tuple(dict(row) for row in grids[name])
    people = config.search_people
    choice = fitting.search(method, grid, problem, sets, people).choice
    fitted = fitting.Fitted.fit(method, choice, problem, training, sets)
    encoded = inference.encode(
      fitted.learner.system, fitted.state.params, jnp.asarray(fitted.features)
    )
    return fitted, np.asarray(encoded)

  aggregate = fit('aggregate')[1][:, 0]
  first, second = asked.test[..., 0], asked.test[..., 1]
  for name in config.methods:
    if name == 'aggregate':
      continue
    fitted, encoded = fit(name)
    yield Setting(
      data=problem.data,
      features=problem.features_name,
      method=name,
      seed=problem.seed,
      people=[problem.user_ids[u] for u in asked.new],
      prior=fitted.state.params['user'],
      difference=(encoded[asked.pool[:, 0]] - encoded[asked.pool[:, 1]]).T,
      probability=asked.probability,
      available=asked.available,
      test=Test(encoded[first] - encoded[second], asked.label, asked.mask),
      menus=encoded[asked.menus],
      utility=asked.utility,
      encoded=encoded,
      aggregate_test=aggregate[first] - aggregate[second],
      aggregate_menus=aggregate[asked.menus],
    )


def ask(setting: Setting, acquire: str, questions: int) -> loop.Trace:
  """Returns what everybody was asked, and believed to want.

  The answers to a pair are the same under every acquisition.
  """
  trace = loop.simulate(
    jax.random.key(setting.seed),
    setting.prior,
    jnp.asarray(setting.difference, jnp.float32),
    jnp.asarray(setting.probability, jnp.float32),
    None if setting.available is None else jnp.asarray(setting.available),
    acquire=acquire,
    questions=questions,
  )
  return jax.tree.map(np.asarray, trace)


def right(margin: np.ndarray, test: Test) -> np.ndarray:
  """Returns each person's accuracy `[..., U]` from margins `[..., U, M]`."""
  correct = np.where(margin == 0, 0.5, (margin > 0) == (test.label > 0.5))
  return (correct * test.mask).sum(-1) / test.mask.sum(-1)


def picked(score: np.ndarray, utility: np.ndarray) -> np.ndarray:
  """Returns the utility `[U, S]` of the best-scored answer of each menu.

  Args:
    score: `[U, S, K]`.
    utility: `[U, S, K]`; NaN for what is not on the menu.
  """
  place = np.where(np.isnan(utility), -np.inf, score).argmax(-1)
  return np.take_along_axis(utility, place[..., None], -1)[..., 0]
