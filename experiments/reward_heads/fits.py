"""Linear rewards of everybody under each head, their ridge by validation."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import registry, types
from prm_jax.runtime import train
from prm_jax.systems import inference, likelihoods
from prm_jax.worlds import candidates


class Fit(NamedTuple):
  """A reward under a head.

  Attributes:
    learner: it was fitted by.
    state: its parameters, and what people have of their own.
  """

  learner: types.Learner
  state: types.TrainState

  def scores(self, features: np.ndarray) -> np.ndarray:
    """Returns what is served for texts, `[M]`."""
    system, params = self.learner.system, self.state.params
    assert system is not None
    inputs = types.Inputs(jnp.asarray(features)[None])
    return np.asarray(likelihoods.served(system, params, (), inputs)[0])

  def predicted(
    self, said: candidates.Said, features: np.ndarray
  ) -> np.ndarray:
    """Returns the probability of the first `[N]`, by each person's own head."""
    batch = rows(said, features)
    system = self.learner.system
    assert system is not None
    free = self.state.people.free or None
    return inference.predict(system, self.state.params, (), batch, free=free)

  def classes(self, said: candidates.Said, features: np.ndarray) -> np.ndarray:
    """Returns the probabilities of what can be said, `[N, C]`."""
    system, params = self.learner.system, self.state.params
    assert system is not None
    head = system.head
    assert head is not None
    assert head.classes is not None
    batch = rows(said, features)
    free = self.state.people.free or None
    own = likelihoods.rows(head, params['head'], free, batch.rows.user)
    read = likelihoods.seen(system, params, (), batch.inputs)
    return np.asarray(head.classes(own, read))


def rows(said: candidates.Said, features: np.ndarray) -> types.Batch:
  """Returns judgements as learners take them."""
  count = len(said.user)
  judged = types.Judgements(
    said.user,
    said.label,
    np.ones(count, np.float32),
    np.arange(count, dtype=np.int32),
  )
  return types.Batch(judged, types.Inputs(features, said.items))


@functools.lru_cache(maxsize=64)
def _learner(node: str) -> types.Learner:
  """One object a node, so that its programs are compiled once."""
  return registry.build('learner', json.loads(node))


def learner(head: Mapping[str, Any] | None, steps: int) -> types.Learner:
  """Returns the linear reward of everybody under a head.

  Args:
    head: a node of `registry.HEADS`; Bradley-Terry, solved exactly, if None.
    steps: of gradient descent.
  """
  node = {'kind': 'aggregate', 'steps': steps, 'head': head}
  return _learner(json.dumps(node))


def fitted(
  head: Mapping[str, Any] | None,
  said: candidates.Said,
  features: np.ndarray,
  *,
  people: int,
  ridge: float,
  steps: int,
) -> Fit:
  """Returns the reward that a head learns from judgements.

  Args:
    head: a node of `registry.HEADS`; Bradley-Terry, solved exactly, if None.
    said: judgements in the form that the head reads.
    features: `[M, D]` of all texts.
    people: U.
    ridge: precision of the weights' prior, in answers.
    steps: of gradient descent.
  """
  made = learner(head, steps)
  spec = types.Spec(features.shape[1], people)
  state = train.fit(
    made,
    rows(said, features),
    key=jax.random.key(0),
    spec=spec,
    hyper={'ridge': ridge},
  )
  return Fit(made, state)


def right(fit: Fit, judged: candidates.Said, features: np.ndarray) -> float:
  """Returns how many choices a fit's scores foretell; equals count half."""
  score = fit.scores(features)
  apart = np.sign(score[judged.items[:, 0]] - score[judged.items[:, 1]])
  return float(np.mean((apart * np.sign(judged.label - 0.5) + 1) / 2))


def searched(
  head: Mapping[str, Any] | None,
  said: candidates.Said,
  choices: tuple[candidates.Said, candidates.Said],
  features: np.ndarray,
  *,
  people: int,
  ridges: Sequence[float],
  steps: int,
) -> tuple[Fit, float]:
  """Returns the fit with the best ridge by validation, and the ridge.

  Every head is held to the same validation choices, which only compare.

  Args:
    head: a node of `registry.HEADS`; Bradley-Terry, solved exactly, if None.
    said: training judgements in the form that the head reads.
    choices: what is left of training and validation judgements as choices.
    features: `[M, D]` of all texts.
    people: U.
    ridges: that are tried.
    steps: of gradient descent.
  """
  own = choices[0] if head is None else said
  fits = [
    fitted(head, own, features, people=people, ridge=ridge, steps=steps)
    for ridge in ridges
  ]
  best = int(np.argmax([right(fit, choices[1], features) for fit in fits]))
  return fits[best], ridges[best]
