"""Where statements stand, as a reader of other conversations' texts tells.

What divides people is learned from the texts of conversations in which the
served people have no vote that counts here, and read into the statements of
this one. The sign of an axis has no meaning: conversations in training are
turned, one after another, to where they agree with what the others predict.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.real_opinions import text, votes
from prm_jax.lab import drawn_twice
from prm_jax.worlds import conversations

Row = dict[str, Any]
READERS = ('matching_text', 'matching_text_apart')  # of all; of no sister
RIDGES = (0.1, 1.0, 10.0, 100.0)  # in units of a component's mean square
_COMPONENTS = 48
_VARIANCE = 0.3  # of factors, held, where another conversation is factorised
_FACTORS = 3
_TURNS = 5
_SHUFFLES = 999


@functools.lru_cache(maxsize=1)
def _known(names: Sequence[str], folder: str, encoder: str):
  """Returns of each conversation its texts `[S, D]` and loadings `[S]`."""
  read, loadings = [], []
  for name in names:
    found = votes.read(name, folder)
    read.append(text.read(encoder, found.texts))
    axis = conversations.axis(
      jax.random.key(0), found, factors=_FACTORS, held=_VARIANCE
    )
    loadings.append(standard(axis.loading.astype(np.float64)))
  counts = np.cumsum([len(some) for some in read])[:-1]
  centred = np.concatenate([some - some.mean(0) for some in read])
  x = text.components(centred, _COMPONENTS)
  return np.split(x * np.sqrt(x.shape[1]), counts), loadings


def standard(values: np.ndarray) -> np.ndarray:
  """Returns values less their mean, in deviations; zeros of what is alike."""
  away = values - values.mean()
  return away / max(float(away.std()), 1e-6)


def stances(config, name: str) -> dict[str, np.ndarray]:
  """Returns stances of a conversation's statements `[S]`, by `READERS`.

  Args:
    config: of the study.
    name: of the conversation, which is in no training; the second reader has
      its sisters in none, either, and is left out where there are none.
  """
  if not (config.text and config.sisters):
    return {}
  names = tuple(config.predicted)
  parts, loadings = _known(names, config.data.dir, config.encoder)
  of = dict(zip(names, zip(parts, loadings, strict=True), strict=True))
  sisters = {
    one for family in config.sisters if name in family for one in family
  }
  trained = {
    reader: [one for one in names if one not in {name, *out}]
    for reader, out in zip(READERS, (set(), sisters), strict=True)
  }
  return {
    reader: told(of[name][0], [of[one] for one in some])
    for reader, some in trained.items()
    if reader == READERS[0] or sisters
  }


def told(
  x: np.ndarray, known: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
  """Returns stances `[S]` of texts, by what divides other conversations.

  The ridge is the one whose predictions of each training conversation by the
  others correlate most with its loadings.

  Args:
    x: `[S, D]` texts, centred in their conversation.
    known: texts and loadings `[S_c]` of each conversation of the training.
  """

  def correlation(ridge):
    return np.mean(
      [
        abs(correlated(some @ turned(_without(known, i), ridge), loading))
        for i, (some, loading) in enumerate(known)
      ]
    )

  return x @ turned(known, max(RIDGES, key=correlation))


def turned(
  known: Sequence[tuple[np.ndarray, np.ndarray]], ridge: float
) -> np.ndarray:
  """Returns the weights of texts `[D]`, with conversations' signs aligned.

  Args:
    known: texts and loadings of each conversation.
    ridge: in units of a component's mean square.
  """
  grams = [x.T @ x for x, _ in known]
  scores = [x.T @ y for x, y in known]
  sign = np.ones(len(known))

  def fitted(some):
    gram: Any = sum(grams[j] for j in some)
    gram = gram + ridge * len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram, sum(sign[j] * scores[j] for j in some))

  everyone = range(len(known))
  for _ in range(_TURNS if len(known) > 1 else 0):
    for j in everyone:
      agrees = scores[j] @ fitted([k for k in everyone if k != j])
      sign[j] = -1.0 if agrees < 0 else 1.0
  return fitted(everyone)


def _without(known, i):
  return [one for j, one in enumerate(known) if j != i]


def correlated(
  stance: np.ndarray, loading: np.ndarray, weights: np.ndarray | None = None
) -> Any:
  """Returns the correlation of two stances `[S]`; 0 where one is all alike.

  Args:
    stance: `[S]`.
    loading: `[S]`.
    weights: `[R, S]` of draws, for `[R]` correlations; one of all if None.
  """
  w = np.ones((1, len(stance))) if weights is None else weights
  total = w.sum(1, keepdims=True)
  a, b = (one - w @ one[:, None] / total for one in (stance, loading))
  of_a, of_b, both = ((w * product).sum(1) for product in (a**2, b**2, a * b))
  size = np.sqrt(of_a * of_b)
  found = np.where(size > 1e-12, both / np.where(size > 1e-12, size, 1.0), 0.0)
  return found[0] if weights is None else found


def seen(
  stance: np.ndarray, loading: np.ndarray, weights: np.ndarray, *, seed: int
) -> tuple[np.ndarray, float]:
  """Returns how a detector goes with where statements stand, and by chance.

  Its sign has no meaning and is set to what is seen, so that the correlation
  of a detector of nothing is above 0, too: by how much, shuffled stances say.

  Args:
    stance: `[S]` of the detector.
    loading: `[S]` by kept votes.
    weights: `[1 + R, S]` of draws, the first of what is seen.
    seed: of the shuffles.

  Returns:
    Correlations `[1 + R]`, and the size below which 95 % of shuffles are.
  """
  found = correlated(stance, loading, weights)
  rng = np.random.default_rng([seed, 41])
  chance = [
    abs(correlated(rng.permutation(stance), loading)) for _ in range(_SHUFFLES)
  ]
  sign = -1.0 if found[0] < 0 else 1.0
  return sign * found, float(np.quantile(chance, 0.95))


def rows(seen_: Mapping[str, Any]) -> list[Row]:
  """Returns a row for each detector, means over halvings.

  Args:
    seen_: detector -> what `seen` returned for each halving.
  """
  found = []
  for detector, some in seen_.items():
    mean = np.mean([one for one, _ in some], 0)
    row: Row = {'detector': detector}
    row |= drawn_twice.interval('correlation', mean)
    row['correlation_by_chance'] = float(
      np.mean([chance for _, chance in some])
    )
    found.append(row)
  return found
