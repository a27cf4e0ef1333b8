"""New people who are asked questions, under a reward trained on others."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax import types
from prm_jax.alignment import selection
from prm_jax.elicitation import loop
from prm_jax.lab import fitting
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.systems import inference
from prm_jax.users import gaussian


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


def menus(group: np.ndarray, chosen: np.ndarray) -> np.ndarray:
  """Returns the texts `[S, K]` of some groups, as many of each.

  Args:
    group: `[M]` of each text, such as its prompt.
    chosen: the groups, each as often as you like.
  """
  members = [np.flatnonzero(group == one) for one in np.unique(chosen)]
  size = min(map(len, members))
  return np.stack([texts[:size] for texts in members])


def simulated(
  problem: fitting.Problem,
  values: np.ndarray,
  weights: np.ndarray,
  scale: float,
  *,
  pool: np.ndarray,
  test: np.ndarray,
  menus: np.ndarray,
) -> Asked:
  """Returns what new people are asked whose utility is linear, and known.

  They choose by Bradley-Terry, and everybody is asked the same.

  Args:
    problem: its new people are asked.
    values: `[M, A]` of the texts.
    weights: `[U, A]` of all people.
    scale: of utilities, in logits.
    pool: `[N, 2]` items of the questions.
    test: `[T, 2]` items of pairs that are not asked, of which the better one is
      to be said.
    menus: `[S, K]` items to choose from.
  """
  rows = problem.judged.rows
  new = np.unique(rows.user[problem.split == fitting.CALIBRATION])
  weights = weights[new]

  def margins(items):
    gap = values[items[:, 0]] - values[items[:, 1]]
    return scale * weights @ gap.T

  label = (margins(test) > 0).astype(np.float32)
  return Asked(
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


def ask(
  setting: Setting, acquire: str, questions: int, profile: int = 100
) -> loop.Trace:
  """Returns what everybody was asked, and believed to want.

  The answers to a pair are the same under every acquisition.

  Args:
    setting: of new people.
    acquire: one of `loop.ACQUISITIONS`.
    questions: T, the budget.
    profile: questions, at most, whose answers the acquisition 'profile' wants
      to know: a random part of the pool, the same for everybody.
  """
  size = setting.difference.shape[1]
  rng = np.random.default_rng([setting.seed, 8])
  places = np.sort(rng.permutation(size)[:profile])
  trace = loop.simulate(
    jax.random.key(setting.seed),
    setting.prior,
    jnp.asarray(setting.difference, jnp.float32),
    jnp.asarray(setting.probability, jnp.float32),
    None if setting.available is None else jnp.asarray(setting.available),
    jnp.asarray(places, jnp.int32),
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


def regret(score: np.ndarray, utility: np.ndarray) -> np.ndarray:
  """Returns the share of what choosing could win that is lost, `[U]`.

  0 is the best of every menu, 1 as good as any of it; NaN where a person has
  no menu with a choice.

  Args:
    score: `[U, S, K]`.
    utility: `[U, S, K]`; NaN for what is not on the menu.
  """
  whole = (~np.isnan(utility)).sum(-1) >= 2
  filled = np.where(whole[..., None], utility, 0.0)
  best = np.nanmax(filled, -1)
  lost = (best - picked(score, filled)).sum(-1)
  with np.errstate(invalid='ignore'):
    return lost / (best - np.nanmean(filled, -1)).sum(-1)


def scores(setting: Setting, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns accuracy and regret `[U]` of people with coefficients `[U, J]`."""
  margin = np.einsum('umj,uj->um', setting.test.difference, mean)
  score = np.einsum('skj,uj->usk', setting.menus, mean)
  return right(margin, setting.test), regret(score, setting.utility)


def by_person(
  judged: types.Batch, people: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns judgements as `[U, M, ...]` arrays, padded.

  Args:
    judged: judgements of pairs.
    people: U rows of everybody who judged, in order.

  Returns:
    Items `[U, M, 2]`; label and mask `[U, M]`.
  """
  order = np.argsort(judged.rows.user, kind='stable')
  who = np.searchsorted(people, judged.rows.user[order])
  count = np.bincount(who, minlength=len(people))
  place = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
  shape = (len(people), int(count.max()))
  items, label = np.zeros((*shape, 2), int), np.zeros(shape, np.float32)
  mask = np.zeros(shape, np.float32)
  items[who, place] = judged.inputs.index[order]
  label[who, place] = judged.rows.label[order]
  mask[who, place] = 1
  return items, label, mask


def first_reach(curve: np.ndarray, target: float) -> np.ndarray:
  """Returns after how many answers curves `[R, T + 1]` reach a target, `[R]`.

  Between two numbers of answers a curve is a line; T + 1 where it never does.
  """
  reached = curve >= target
  place = reached.argmax(1)
  before = np.maximum(place - 1, 0)
  rows = np.arange(len(curve))
  low, high = curve[rows, before], curve[rows, place]
  with np.errstate(divide='ignore', invalid='ignore'):
    part = np.where(place > 0, (target - low) / (high - low), 0.0)
  return np.where(reached.any(1), before + part, curve.shape[1])


@jax.jit
def best(menus: jax.Array, belief: gaussian.Context) -> jax.Array:
  """Returns what is picked for everybody from every menu, `[U, S]`.

  Args:
    menus: `[S, K, J]`.
    belief: everybody's, leaves `[U, ...]`.
  """
  reward = factorized.identity()
  system = types.System(reward, gaussian.gaussian(dim=1, capacity=0))

  def person(belief):
    context = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (len(menus), *leaf.shape)), belief
    )
    params: dict[str, Any] = {'reward': {}, 'user': {}}
    return selection.best_of_n(system, params, menus, context).pick

  return jax.lax.map(person, belief)
