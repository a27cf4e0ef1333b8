"""What tells policies apart without training: a discriminator must do better.

Closeness in length, and cosines of character n-grams, of a small sentence
encoder and of a frozen language model's mean states.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np
from scipy import sparse

from prm_jax.data import schema, triples
from prm_jax.models import embeddings, ngrams
from prm_jax.ops.margins import correct

Vectors: TypeAlias = np.ndarray | sparse.csr_matrix
NAMES = ('ngrams', 'minilm', 'frozen', 'length')
_NGRAMS = ((2, 3), (3, 4, 5))
_MINILM_LAYER = (6,)


def margins(
  outputs: schema.PolicyOutputs,
  states: np.ndarray,
  sets: Mapping[str, triples.Triples],
  *,
  held: triples.Split,
  tuning: triples.Triples,
  seed: int,
) -> dict[str, dict[str, np.ndarray]]:
  """Returns split -> method -> margins `[n]` of test triples.

  What sizes of n-grams are counted, and whether states are centred, is chosen
  by triples of training policies. `random` is chance.

  Args:
    outputs: M texts, and who wrote them.
    states: `[M, F]` a frozen model's mean state in each.
    sets: split -> test triples.
    held: states are centred by its training texts.
    tuning: triples of training policies.
    seed: of `random`.
  """
  centred = states - states[held.trains(outputs)].mean(0)
  vectors: dict[str, Vectors] = {
    'ngrams': _best((ngrams.count(outputs.texts, n) for n in _NGRAMS), tuning),
    'minilm': _minilm(outputs.texts, triples.joined(*sets.values())),
    'frozen': _best(map(_unit, (states, centred)), tuning),
  }
  by_split = {}
  for name, drawn in sets.items():
    # Other numbers in every fold and split.
    rng = np.random.default_rng([seed, *drawn.positive[:4]])
    by_split[name] = {
      'length': of_lengths(outputs, drawn),
      **{method: _of_cosines(v, drawn) for method, v in vectors.items()},
      'random': rng.normal(size=len(drawn.policy)),
    }
  return by_split


def of_lengths(
  outputs: schema.PolicyOutputs, drawn: triples.Triples
) -> np.ndarray:
  """Returns margins `[n]` of closeness in log length, in characters."""
  size = np.log1p(np.array([len(text) for text in outputs.texts]))
  return _margins(lambda a, b: -np.abs(size[a] - size[b]), drawn)


def cosine(
  vectors: Vectors, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
  """Returns the cosine `[n]` of pairs of rows; 0 where a row is zero.

  Args:
    vectors: `[M, D]` rows of length 1, or zero.
    first: `[n]` rows.
    second: `[n]` rows.
  """
  if sparse.issparse(vectors):
    product = vectors[first].multiply(vectors[second])
    return np.asarray(product.sum(1)).ravel()
  return np.einsum('nd,nd->n', vectors[first], vectors[second])


def accuracy(margin: np.ndarray) -> float:
  """Returns the share of positive margins; ties count half."""
  return float(np.mean(correct(margin)))


def _best(choices: Iterable[Vectors], tuning: triples.Triples) -> Vectors:
  """Returns the vectors that tell the policies apart best."""
  return max(choices, key=lambda v: accuracy(_of_cosines(v, tuning)))


def _of_cosines(vectors: Vectors, drawn: triples.Triples) -> np.ndarray:
  return _margins(lambda a, b: cosine(vectors, a, b), drawn)


def _margins(
  closeness: Callable[[np.ndarray, np.ndarray], np.ndarray],
  drawn: triples.Triples,
) -> np.ndarray:
  near = closeness(drawn.reference, drawn.positive)
  return near - closeness(drawn.reference, drawn.negative)


def _unit(vectors: np.ndarray) -> np.ndarray:
  """Returns the rows at length 1; zero rows stay."""
  norm = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(norm > 0, norm, 1.0)


def _minilm(texts, drawn: triples.Triples) -> np.ndarray:
  """Returns unit vectors `[M, D]`, of the texts that the triples use."""
  used = np.unique(drawn.items)
  encoder = embeddings.Encoder.load()
  vectors = embeddings.embed(
    [texts[i] for i in used], encoder, layers=_MINILM_LAYER
  )
  every = np.zeros((len(texts), vectors.shape[1]), np.float32)
  every[used] = _unit(vectors)
  return every
