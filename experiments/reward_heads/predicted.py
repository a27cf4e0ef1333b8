"""Intervals of ratings that held-out people of Jester have yet to give."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax import registry, types
from prm_jax.data import load, schema, splits
from prm_jax.lab import units
from prm_jax.ops import conformal
from prm_jax.runtime import train
from prm_jax.systems import inference, likelihoods

_PARTS = 3  # people are dealt into; part `seed` is held out
MOST = 10.0  # ratings go from -10 to 10


class Said(NamedTuple):
  """Ratings, one a row.

  Attributes:
    user, item: `[n]`.
    rating: `[n]` in points.
  """

  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray

  def take(self, rows: np.ndarray) -> 'Said':
    """Returns some rows, by number or mask."""
    return Said(*(leaf[rows] for leaf in self))


class Parts(NamedTuple):
  """Who is used for what, and in which order a person's ratings come.

  Attributes:
    said: ratings.
    train, calibrate, test: `[n]` bool: of people who train, who calibrate
      everybody's threshold, and who are tested.
    place: `[n]` place of a rating among its person's, in random order.
    people: U.
  """

  said: Said
  train: np.ndarray
  calibrate: np.ndarray
  test: np.ndarray
  place: np.ndarray
  people: int


class Fit(NamedTuple):
  """A linear reward of bases, with normal ratings around it.

  Attributes:
    learner: it was fitted by.
    state: its parameters.
    level, scale: of ratings, in points: what it reads is less this, by that.
    people: U.
    jokes: how many there are; each is a feature.
  """

  learner: types.Learner
  state: types.TrainState
  level: float
  scale: float
  people: int
  jokes: int

  def predict(
    self, known: Said, asked: Said
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean, and aleatoric and epistemic variance `[n]`, in points.

    Args:
      known: ratings that beliefs are learned from.
      asked: ratings that are to come; only whose and of what is read.
    """
    contexts = inference.infer(
      self.learner.system,
      self.state.params,
      _rows(known, self.level, self.scale, self.jokes),
      key=jax.random.key(0),
      people=self.people,
    )
    found = _predicted(self.learner)(
      self.state.params, contexts, asked.user, asked.item, np.eye(self.jokes)
    )
    mean, aleatoric, epistemic = map(np.asarray, found)
    return (
      self.level + self.scale * mean,
      self.scale**2 * aleatoric,
      self.scale**2 * epistemic,
    )


def intervals_of(config: Any, seed: int) -> units.Unit:
  """Returns the ends of every interval of the ratings that are tested.

  Arrays: `rating`, `user`, `item` `[n]` of what is tested, and, for each
  method and level, `METHOD|LEVEL|low` and `|high` `[n]`, clipped to the scale,
  and `METHOD|LEVEL|infinite` where they were the line before that.

  Args:
    config: of the study.
    seed: of who is held out, and of the order of ratings.
  """
  node = config.coverage.jester
  parts = dealt(
    load.ratings('jester', data_dir=config.data.dir or None), node, seed
  )
  fit, ridge = searched(parts, node, seed)
  rows = parts.test & (parts.place >= node.known)
  asked = parts.said.take(rows)
  arrays = {'rating': asked.rating, 'user': asked.user, 'item': asked.item}
  for name, level, low, high in _every(fit, parts, asked, node):
    infinite = ~(np.isfinite(low) & np.isfinite(high))
    arrays[f'{name}|{level}|infinite'] = infinite
    arrays[f'{name}|{level}|low'] = np.clip(low, -MOST, MOST)
    arrays[f'{name}|{level}|high'] = np.clip(high, -MOST, MOST)
  return units.Unit({'seed': seed, 'ridge': ridge}, arrays)


def dealt(ratings: schema.Ratings, node: Any, seed: int) -> Parts:
  """Returns people who train, calibrate and are tested.

  Args:
    ratings: of everybody.
    node: `people`, `tested` and `known`.
    seed: of the parts.
  """
  out = splits.bucket(ratings.user_ids, 'people', _PARTS) == seed % _PARTS
  rng = np.random.default_rng([seed, 6])
  shuffled = rng.permutation(len(out))
  trained = shuffled[~out[shuffled]][: node.people]
  new = shuffled[out[shuffled]][: 2 * node.tested]
  role = np.zeros(len(out), int)
  for number, people in enumerate((trained, *np.array_split(new, 2)), 1):
    role[people] = number
  said = Said(ratings.user, ratings.item, ratings.rating)
  rows = rng.permutation(np.flatnonzero(role[said.user] > 0))
  said = said.take(rows[np.argsort(said.user[rows], kind='stable')])
  start = np.searchsorted(said.user, said.user)
  of = role[said.user]
  return Parts(
    said, of == 1, of == 2, of == 3, np.arange(len(of)) - start, len(out)
  )


def _known(parts: Parts, node: Any, less: int = 0) -> Said:
  """Returns what is known of held-out people, the last `less` left out."""
  new = parts.test | parts.calibrate
  return parts.said.take(new & (parts.place < node.known - less))


def searched(parts: Parts, node: Any, seed: int) -> tuple[Fit, float]:
  """Returns the fit whose ridge foretells training people's ratings best.

  A fifth of everybody's training ratings validates, by the likelihood under
  the whole variance; then all of them train.

  Args:
    parts: of which training people's ratings are read.
    node: `dim`, `ridges` and `steps`.
    seed: of the fits.
  """
  said = parts.said.take(parts.train)
  inner = parts.place[parts.train] % 5 == 0
  known, asked = said.take(~inner), said.take(inner)
  losses = []
  for ridge in node.ridges:
    fit = fitted(known, parts.people, node, ridge, seed)
    mean, aleatoric, epistemic = fit.predict(known, asked)
    variance = aleatoric + epistemic
    apart = (asked.rating - mean) ** 2 / variance
    losses.append(float(np.mean(apart + np.log(variance))))
  best = node.ridges[int(np.argmin(losses))]
  return fitted(said, parts.people, node, best, seed), best


def fitted(said: Said, people: int, node: Any, ridge: float, seed: int) -> Fit:
  """Returns bases of jokes and a normal prior of people, from ratings.

  The learner is PReF under the head of a mean and a variance; one of its bases
  can be the same for all jokes, so that people have a level of their own.

  Args:
    said: ratings that train.
    people: U.
    node: `dim` and `steps`.
    ridge: of the bases.
    seed: of the fit.
  """
  learner = _learner(node.dim, node.steps)
  level, scale = float(said.rating.mean()), float(said.rating.std())
  jokes = int(said.item.max()) + 1
  state = train.fit(
    learner,
    _rows(said, level, scale, jokes),
    key=jax.random.key(seed),
    spec=types.Spec(jokes, people),
    hyper={'basis_ridge': ridge},
  )
  return Fit(learner, state, level, scale, people, jokes)


@functools.lru_cache(maxsize=4)
def _learner(dim: int, steps: int) -> types.Learner:
  head = {'kind': 'mean_variance'}
  node = {'kind': 'pref', 'dim': dim, 'steps': steps, 'head': head}
  return registry.build('learner', node)


def _rows(said: Said, level: float, scale: float, jokes: int) -> types.Batch:
  """Returns ratings as learners take them."""
  count = len(said.user)
  judged = types.Judgements(
    said.user.astype(np.int32),
    ((said.rating - level) / scale).astype(np.float32),
    np.ones(count, np.float32),
    np.arange(count, dtype=np.int32),
  )
  texts = np.eye(jokes, dtype=np.float32)
  return types.Batch(
    judged, types.Inputs(texts, said.item[:, None].astype(np.int32))
  )


@functools.lru_cache(maxsize=4)
def _predicted(learner: types.Learner):
  """The compiled predictions of a learner under `mean_variance`."""
  system = learner.system
  assert system is not None

  def predict(params, contexts, user, item, texts):
    encoded = system.reward.encode(params['reward'], texts)[item][:, None]
    chosen = jax.tree.map(lambda leaf: jnp.asarray(leaf)[user], contexts)
    output = system.reward.score(params['reward'], encoded, chosen)
    own = params[likelihoods.FREE]
    log = likelihoods.outputs(system.head, own, texts)[item, 0]
    level = own['own']['level']
    return level + output.score[:, 0], jnp.exp(log), output.covariance[:, 0, 0]

  return jax.jit(predict)


def _every(fit: Fit, parts: Parts, asked: Said, node: Any):
  """Yields name, level, and both ends `[n]` of each kind of interval."""
  known = _known(parts, node)
  mean, aleatoric, epistemic = fit.predict(known, asked)
  kinds = {
    'gaussian': np.sqrt(aleatoric + epistemic),
    'predicted_alone': np.sqrt(aleatoric),
    'belief_alone': np.sqrt(epistemic),
  }
  for name, deviation in kinds.items():
    for level in node.levels:
      width = special.ndtri(0.5 + 0.5 * level) * deviation
      yield name, level, mean - width, mean + width
  for own in (0, *node.own):
    yield from _conformal(fit, parts, asked, node, own)


def _conformal(fit: Fit, parts: Parts, asked: Said, node: Any, own: int):
  """Yields conformal intervals where a person's last `own` known calibrate.

  The belief is of the others. Everybody's threshold is of the ratings of
  people who calibrate that come after these, as tested ones do.
  """
  known = _known(parts, node, own)
  late = parts.place >= node.known
  pool = parts.said.take(parts.calibrate & late)
  mean, scale = _scaled(fit, known, asked)
  pool_score = _scores(fit, known, pool)
  last = parts.said.take(parts.test & ~late & (parts.place >= node.known - own))
  last_score = _scores(fit, known, last) if own else None
  for level in node.levels:
    alpha = 1.0 - level
    pooled = conformal.threshold(
      pool_score, jnp.ones(len(pool.user)), alpha=alpha
    )
    if last_score is None:
      thresholds = {'conformal': jnp.full(len(asked.user), pooled)}
    else:
      mine = conformal.by_person(
        last_score,
        jnp.asarray(last.user),
        jnp.ones(len(last.user)),
        people=parts.people,
        alpha=alpha,
      )
      filled = conformal.with_fallback(mine, pooled)
      thresholds = {
        f'by_person_{own}': mine[asked.user],
        f'fallback_{own}': filled[asked.user],
      }
    for name, threshold in thresholds.items():
      low, high = conformal.residual_interval(mean, threshold, scale)
      yield name, level, np.asarray(low), np.asarray(high)


def _scores(fit: Fit, known: Said, asked: Said) -> types.Array:
  """Returns how badly ratings fit what was predicted, `[n]`."""
  mean, scale = _scaled(fit, known, asked)
  return conformal.absolute_residual(mean, jnp.asarray(asked.rating), scale)


def _scaled(fit: Fit, known: Said, asked: Said):
  """Returns mean and whole standard deviation `[n]` of ratings to come."""
  mean, aleatoric, epistemic = fit.predict(known, asked)
  return jnp.asarray(mean), jnp.asarray(np.sqrt(aleatoric + epistemic))
