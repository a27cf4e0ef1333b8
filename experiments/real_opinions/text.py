"""Votes as a reader of the statements' texts predicts them."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.real_opinions import bases, recalled
from prm_jax.lab import populations
from prm_jax.models import features
from prm_jax.ops import collaborative

# Everybody alike, and as everybody likes to agree; what a person likes in
# texts on top of it; and that on top of what everybody said of a statement.
# Then a few functions of texts (PReF), and what one said of the nearest
# statements (PRIME's episodic memory), on top of either.
MODELS = (
  *('text', 'text_person', 'text_personal', 'crowd_and_text'),
  *('pref', 'recalled', 'crowd_and_recalled'),
)
OF_TEXTS = ('text_personal', 'pref', 'recalled')  # beyond `text_person`
RIDGES = (1.0, 10.0, 100.0, 1000.0)
_PARTS = 5  # of statements, by which a ridge is chosen
_BROAD, _NARROW = 48, 16  # components of texts: for everybody, for a person
_LEAST = 1e-6
_START = 0.1  # variance of a person's taste, from which it is estimated

_estimate = jax.jit(collaborative.estimate, static_argnames=('groups',))
_probability = jax.jit(collaborative.probability)


@functools.cache
def _source(encoder: str) -> features.Source:
  return features.Source(encoder or None)


def read(encoder: str, texts: Sequence[str]) -> np.ndarray:
  """Returns features `[S, D]` of statements."""
  return np.asarray(_source(encoder)(list(texts)), np.float64)


def components(read_: np.ndarray, count: int) -> np.ndarray:
  """Returns principal components, of mean square 1 together, `[S, k]`."""
  left, size, _ = np.linalg.svd(read_ - read_.mean(0), full_matrices=False)
  kept = min(count, len(read_) // 2, int((size > 1e-6 * size[0]).sum()))
  found = left[:, :kept] * size[:kept]
  return found / np.sqrt(np.mean(np.sum(found**2, 1)))


def seen(x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """Returns y `[S]` as a reader sees it, of texts `[S, D]`.

  The ridge is the one that predicts held-out statements best: one that is
  chosen by held-out votes is far too weak for texts.
  """
  part = np.random.default_rng([seed, 38]).permutation(
    np.arange(len(y)) % _PARTS
  )

  def fitted(train, weight):
    centred = y[train] - y[train].mean()
    gram = x[train].T @ x[train] + weight * np.eye(x.shape[1]) / x.shape[1]
    return y[train].mean() + x @ np.linalg.solve(gram, x[train].T @ centred)

  def error(weight):
    return sum(
      ((fitted(part != one, weight) - y)[part == one] ** 2).sum()
      for one in range(_PARTS)
    )

  return fitted(np.ones(len(y), bool), min(RIDGES, key=error))


def predicted(
  votes: collaborative.Votes,
  person: collaborative.Fit,
  held: collaborative.Fit,
  read_: np.ndarray,
) -> list[np.ndarray]:
  """Returns P(agrees) `[P, S]` of each of `MODELS`.

  Args:
    votes: to learn from.
    person: statements' and people's means, fitted to them.
    held: factors, fitted to them.
    read_: `[S, D]` of texts.
  """
  popular = _popular(person)
  broad = components(read_, _BROAD)
  told = seen(broad, popular)
  narrow = components(read_, _NARROW)
  narrow = narrow * np.sqrt(narrow.shape[1])  # a component is about 1
  start = [
    seen(broad, np.asarray(column, np.float64))
    for column in held.statements.mean[:, collaborative.FACTORS :].T
  ]
  functions = bases.learned(votes, told, narrow, np.stack(start, 1))
  K, J = narrow.shape[1], functions.shape[1]
  nobody, alone = _tendency(votes, person, told)
  made = [nobody, alone]
  for level in (told, popular):
    made.append(_personal(votes, level, narrow, _START, [1] * K))
  # A variance that is estimated would undo the ridge of the functions.
  made.append(_personal(votes, told, functions, 1.0, [-1] * J))
  return made + _recalled(votes, person, (alone, _means(person)), read_)


def _popular(fit: collaborative.Fit) -> np.ndarray:
  return np.asarray(fit.statements.mean[:, collaborative.POPULAR], np.float64)


def _means(fit: collaborative.Fit) -> np.ndarray:
  return _said(fit.people, fit.statements)


def _tendency(votes, person, told) -> tuple[np.ndarray, np.ndarray]:
  """Returns P(agrees) by texts alone, and as everybody likes to agree."""
  known = _known(told)
  people, _, _ = _estimate(votes, known, person.person, (0, -1))
  nobody = people._replace(
    mean=jnp.zeros_like(people.mean).at[:, 1].set(1.0),
    covariance=jnp.zeros_like(people.covariance),
  )
  return _said(nobody, known), _said(people, known)


def _personal(votes, level, x, start: float, groups) -> np.ndarray:
  """Returns P(agrees) by people's coefficients of features `[S, K]`."""
  statements = _known(level, x)
  prior, _ = collaborative.priors(x.shape[1])
  variance = prior.variance.at[collaborative.FACTORS :].set(start)
  prior = prior._replace(variance=variance)
  people, _, _ = _estimate(votes, statements, prior, (0, -1, *groups))
  return _said(people, statements)


def _recalled(votes, person, chances, read_) -> list[np.ndarray]:
  """Returns P(agrees) with answers recalled, on top of each of two chances.

  The weight is chosen by votes from which neither means nor answers come.
  """
  like = recalled.likeness(read_)
  known, asked = recalled.parts(votes, 0)
  fit = populations.fit(jax.random.key(0), known, factors=0)
  told = seen(components(read_, _BROAD), _popular(fit))
  before = _tendency(known, person, told)[1], _means(fit)
  made = []
  for chance, earlier in zip(chances, before, strict=True):
    more = recalled.surprise(known, earlier, like)
    weight = recalled.weighed(asked, earlier, more)
    more = recalled.surprise(votes, chance, like)
    made.append(recalled.predicted(chance, more, weight))
  return made


def _known(
  level: np.ndarray, read_: np.ndarray | None = None
) -> collaborative.Belief:
  """Returns statements of which everything is known."""
  parts = [np.ones((len(level), 1)), level[:, None]]
  mean = np.concatenate(parts if read_ is None else [*parts, read_], 1)
  F = mean.shape[1]
  return collaborative.Belief(
    jnp.asarray(mean, jnp.float32), jnp.zeros((len(mean), F, F))
  )


def _said(people, statements) -> np.ndarray:
  found = np.asarray(_probability(people, statements), np.float64)
  return np.clip(found, _LEAST, 1 - _LEAST)
