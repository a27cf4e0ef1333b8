"""A lexicon of other templates: what a model would have said of its texts.

A text's features are a sum over its sentences, so that of a model that is
linear in them the score of a text whose marker sentences are exchanged for
others of the same attribute and pole is known without reading anything anew.
Its levels, and with them who prefers what, stay as they are.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from prm_jax.models import embeddings
from prm_jax.worlds import grammar, lexicon


@dataclasses.dataclass(frozen=True)
class Markers:
  """All marker sentences of a regime.

  Attributes:
    sentences: S texts.
    template: `[S]` number of each one's template.
    stratum: `[templates]` number of each template's attribute and pole.
  """

  sentences: tuple[str, ...]
  template: np.ndarray
  stratum: np.ndarray

  @property
  def templates(self) -> list[np.ndarray]:
    """Returns the sentences of every template, by number."""
    return [np.flatnonzero(self.template == t) for t in range(self.count)]

  @property
  def count(self) -> int:
    """Returns the number of templates."""
    return len(self.stratum)

  @property
  def share(self) -> float:
    """Returns by what a bootstrap's variance is too small, (n - 1) / n.

    Of n templates of each attribute and pole, the mean over them.
    """
    counts = np.bincount(self.stratum)
    return float(np.mean((counts - 1) / counts))


@functools.cache
def markers(regime: str) -> Markers:
  """Returns the marker sentences of a regime."""
  sentences: list[str] = []
  template: list[int] = []
  stratum: list[int] = []
  poles = [
    templates
    for by_pole in lexicon.REGIMES[regime].markers.values()
    for templates in by_pole.values()
  ]
  for number, templates in enumerate(poles):
    for one in templates:
      expanded = grammar.expand(one)
      sentences += expanded
      template += [len(stratum)] * len(expanded)
      stratum.append(number)
  return Markers(tuple(sentences), np.array(template), np.array(stratum))


def counts(texts: Sequence[str], known: Markers) -> np.ndarray:
  """Returns how often each marker sentence stands in each text, `[M, S]`."""
  number = {sentence: i for i, sentence in enumerate(known.sentences)}
  found = np.zeros((len(texts), len(number)), np.float32)
  for row, text in enumerate(texts):
    for sentence in embeddings.sentences(text):
      if sentence in number:
        found[row, number[sentence]] += 1
  return found


def redrawn(known: Markers, draws: int, seed: int) -> Iterator[np.ndarray]:
  """Yields which sentence takes each one's place, `[S]`.

  Of every attribute and pole as many templates as there are are drawn with
  replacement; a sentence becomes one of the template in its own's place.

  Args:
    known: the sentences.
    draws: how many.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  templates = known.templates
  within = np.zeros(len(known.sentences), int)  # which of its template
  for members in templates:
    within[members] = np.arange(len(members))
  for _ in range(draws):
    place = np.zeros(known.count, int)
    for number in np.unique(known.stratum):
      members = np.flatnonzero(known.stratum == number)
      place[members] = rng.choice(members, len(members))
    yield np.array(
      [
        templates[place[t]][k % len(templates[place[t]])]
        for t, k in zip(known.template, within, strict=True)
      ]
    )


def correct(
  margin: np.ndarray,
  label: np.ndarray,
  user: np.ndarray,
  items: np.ndarray,
  present: np.ndarray,
  score: np.ndarray,
  draws: Sequence[np.ndarray],
) -> np.ndarray:
  """Returns whether judgements are predicted under each draw, `[draws, B]`.

  Args:
    margin: `[B]` score of the first text less the second's, as written.
    label: `[B]` 1 where the first is preferred.
    user: `[B]` row of `score`'s columns.
    items: `[B, 2]` rows of `present`.
    present: `[M, S]` from `counts`.
    score: `[S, U]` what a marker sentence adds to a text's score, by person.
    draws: from `redrawn`.
  """
  first = label > 0.5
  used, items = np.unique(items, return_inverse=True)
  present, items = present[used], items.reshape(-1, 2)
  found = np.zeros((len(draws), len(margin)), bool)
  for row, places in enumerate(draws):
    more = present @ (score[places] - score)  # [M, U]
    moved = margin + more[items[:, 0], user] - more[items[:, 1], user]
    found[row] = (moved > 0) == first
  return found
