"""Leak probes: whether format alone tells the two texts of a pair apart.

A personal reward model's public pipeline once embedded the chosen text as a
string and the rejected one as a stringified list; accuracy was near 1.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.ops import bayes, intervals, statistics

# Lower limits of accuracy above which format is taken to give the answer away.
# It must not tell the slots apart at all; it may say a little about taste.
LIMITS = {'slot_probe': 0.52, 'preference_probe': 0.75}

_RATES = (r'"', r"'", r'[\[\]]', r'[{}]', r'[()<>]', r'\\', r'\n', r'  +')
_FLAGS = (
  r'^\s',
  r'\s$',
  r'^[\[({"\']',
  r'[\])}"\']$',
  r'^\s*[\[{].*[\]}]\s*$',
  r'["\'],\s*["\']',
)
_FOLDS = 5
_RIDGE = 1.0


class Probe(NamedTuple):
  """Accuracy of a probe with its 95 % interval over pairs of texts."""

  accuracy: float
  low: float
  high: float


def format_features(texts: Sequence[str]) -> np.ndarray:
  """Returns quotes, brackets and whitespace of each text, `[M, F]`.

  Rates are per character, so that length is not among them.
  """
  rates, flags = (
    [re.compile(p) for p in _RATES],
    [re.compile(p, re.DOTALL) for p in _FLAGS],
  )
  rows = [
    [len(p.findall(text)) / max(len(text), 1) for p in rates]
    + [float(bool(p.search(text))) for p in flags]
    for text in texts
  ]
  return np.array(rows).reshape(len(texts), len(_RATES) + len(_FLAGS))


def probe(
  features: np.ndarray, items: np.ndarray, label: np.ndarray, *, seed: int = 0
) -> Probe:
  """Returns how well a linear model of format tells first from second.

  Cross-fitted in 5 folds; a pair of texts is in one fold whoever judged it.
  With labels all 1 it is the slots that are told apart: the model has no
  intercept and sees differences only.

  Args:
    features: `[M, F]` of every text.
    items: `[n, 2]` texts of each row.
    label: `[n]` 1 if the first is the one to find, else 0.
    seed: of the folds.
  """
  spread = features.std(0)
  scaled = features / np.where(spread > 0, spread, np.inf)
  ordered = np.sort(items, axis=1)
  _, pair = np.unique(ordered, axis=0, return_inverse=True)
  pair = pair.reshape(-1)
  fold_of = np.random.default_rng(seed).integers(0, _FOLDS, pair.max() + 1)
  fold = fold_of[pair]
  x, y = jnp.asarray(scaled), jnp.asarray(label)
  margin = np.zeros(len(label))
  for number in range(_FOLDS):
    weight = _fit(x, items, y, jnp.asarray(fold != number, jnp.float32))
    out = fold == number
    score = scaled @ np.asarray(weight)
    margin[out] = score[items[out, 0]] - score[items[out, 1]]
  probability = 1 / (1 + np.exp(-margin))
  run = statistics.Run(probability, np.asarray(label, float), pair)
  row = statistics.summarize([run], seed=seed)
  value, low = row['accuracy'], row['accuracy_low']
  if not np.isnan(low):
    return Probe(value, low, row['accuracy_high'])
  # Always right or always wrong: resampling finds nothing else, and a count
  # still says how sure that is.
  pairs = int(row['people'])
  found = intervals.share(round(value * pairs), pairs)
  return Probe(value, found.low, found.high)


@jax.jit
def _fit(features, items, label, mask):
  return bayes.pooled_mode(features, items, label, mask, ridge=_RIDGE)
