"""Votes as a reader of the statements' texts predicts them."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.models import features
from prm_jax.ops import collaborative

# Everybody alike, and as everybody likes to agree; what a person likes in
# texts on top of it; and that on top of what everybody said of a statement.
MODELS = ('text', 'text_person', 'text_personal', 'crowd_and_text')
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
  votes: collaborative.Votes, person: collaborative.Fit, read_: np.ndarray
) -> list[np.ndarray]:
  """Returns P(agrees) `[P, S]` of each of `MODELS`.

  Args:
    votes: to learn from.
    person: statements' and people's means, fitted to them.
    read_: `[S, D]` of texts.
  """
  popular: np.ndarray = np.asarray(
    person.statements.mean[:, collaborative.POPULAR], np.float64
  )
  told = seen(components(read_, _BROAD), popular)
  alone = _known(told)
  people, _, _ = _estimate(votes, alone, person.person, (0, -1))
  nobody = people._replace(
    mean=jnp.zeros_like(people.mean).at[:, 1].set(1.0),
    covariance=jnp.zeros_like(people.covariance),
  )
  narrow = components(read_, _NARROW)
  narrow = narrow * np.sqrt(narrow.shape[1])  # a component is about 1
  K = narrow.shape[1]
  prior, _ = collaborative.priors(K)
  variance = prior.variance.at[collaborative.FACTORS :].set(_START)
  prior = prior._replace(variance=variance)
  made = [_said(nobody, alone), _said(people, alone)]
  for level in (told, popular):
    statements = _known(level, narrow)
    people, _, _ = _estimate(votes, statements, prior, (0, -1, *[1] * K))
    made.append(_said(people, statements))
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
