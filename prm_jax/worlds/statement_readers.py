"""Simulated people who prefer statements of one side, or of none."""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import special


class Choices(NamedTuple):
  """Choices between two statements, sorted by person, as many of each.

  Attributes:
    user: `[N]`.
    items: `[N, 2]` rows of the statements.
    label: `[N]` whether the first was preferred.
  """

  user: np.ndarray
  items: np.ndarray
  label: np.ndarray


@dataclasses.dataclass(frozen=True)
class Readers:
  """U people who judge M statements.

  Attributes:
    judged: training choices.
    asked: choices of the same people between statements that are held out.
    cares: `[U]` 1 prefers statements of side 1, -1 of the other, 0 neither.
    reward: `[U, M]` in logits: the truth, as `cares` is.
  """

  judged: Choices
  asked: Choices
  cares: np.ndarray
  reward: np.ndarray


def readers(
  side: np.ndarray,
  taste: np.ndarray,
  held_out: np.ndarray,
  *,
  seed: int,
  people: int,
  answers: int,
  strength: float,
) -> Readers:
  """Returns people who judge statements by their side and by taste.

      r_i(x) = cares_i strength side(x) / 2 + taste_i . measures(x)

  A third of them each care for one side, for the other, and for neither.

  Args:
    side: `[M]` 1 or -1.
    taste: `[M, T]` measures, standardised here; weights are N(0, 1).
    held_out: `[M]` bool.
    seed: of everything.
    people: U.
    answers: pairs of each, and as many held-out ones.
    strength: logit between opposing statements, of those who care.
  """
  rng = np.random.default_rng([seed, 17])
  cares = np.arange(people) % 3 - 1
  scaled = (taste - taste.mean(0)) / taste.std(0)
  weights = rng.normal(size=(people, taste.shape[1]))
  reward = strength * cares[:, None] * side / 2 + weights @ scaled.T

  def judge(allowed):
    items = np.flatnonzero(allowed)
    n = people * answers
    first = rng.integers(len(items), size=n)
    second = (first + rng.integers(1, len(items), size=n)) % len(items)
    pair = items[np.stack([first, second], 1)]
    user = np.repeat(np.arange(people), answers)
    margin = reward[user, pair[:, 0]] - reward[user, pair[:, 1]]
    return Choices(user, pair, rng.random(n) < special.expit(margin))

  return Readers(judge(~held_out), judge(held_out), cares, reward)
