"""Readers of what is told of real people: linear heads on frozen embeddings.

A reader scores a text of an asked pair. It sees products of unit vectors in
coordinates of greatest variance: the text alone; prompt and text; what is told
of the person and the text; and their cosines.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reasoning_rewards import real_fits
from experiments.summaries import real_written
from prm_jax.data.user_histories import AskedPair

# What readers are told -> the blocks of features that they see. All see which
# text stands first.
SEES = {
  'length': ('length',),
  'habits': ('length', 'habits'),
  'options': ('option',),
  'nothing': ('option', 'prompt'),
  'history': ('option', 'prompt', 'told'),
  'vector': ('option', 'prompt', 'told'),
  'summary': ('option', 'prompt', 'told'),
  'chosen': ('option', 'prompt', 'told'),
  'truth': ('option', 'prompt', 'told'),
  'nothing_habits': ('option', 'prompt', 'length', 'habits'),
  'chosen_habits': ('option', 'prompt', 'length', 'habits', 'told'),
}
TOLD_BY = {'chosen_habits': 'chosen'}
_LET_IN = ('prompt', 'told', 'habits')  # blocks that a search lets in less


class Space(NamedTuple):
  """Coordinates of greatest variance among some unit vectors.

  Attributes:
    middle: `[D]` their mean.
    axes: `[D, d]`, each of unit variance.
  """

  middle: np.ndarray
  axes: np.ndarray

  def of(self, values: np.ndarray) -> np.ndarray:
    """Returns vectors `[..., D]` in these coordinates, `[..., d]`."""
    return (values - self.middle) @ self.axes


def space(values: np.ndarray, most: int) -> Space:
  """Returns the space of vectors `[M, D]`, of at most so many axes."""
  middle = values.mean(0)
  _, size, axes = np.linalg.svd(values - middle, full_matrices=False)
  kept = min(most, int((size > 1e-6 * size[0]).sum()))
  width = size[:kept] / np.sqrt(len(values))
  return Space(middle, axes[:kept].T / width)


class Pairs(NamedTuple):
  """What is known of n asked pairs but what is told of people.

  Attributes:
    texts: `[n, 2, D]` unit vectors.
    prompt: `[n, D]`.
    longer: `[n, 2]` log of 1 + words.
    habits: `[n, 2]` how much the person leans to the first and the longer.
    label: `[n]` 1 where the first was chosen, else 0.
  """

  texts: np.ndarray
  prompt: np.ndarray
  longer: np.ndarray
  habits: np.ndarray
  label: np.ndarray


def pairs(
  given: Sequence[AskedPair], habits: np.ndarray, vectors: real_written.Embedded
) -> Pairs:
  """Returns pairs as readers see them.

  Args:
    given: n strict ones.
    habits: `[n, 2]` of the person of each.
    vectors: of all their texts.
  """
  both = [(pair.first, pair.second) for pair in given]
  words = [[len(text.split()) for text in each] for each in both]
  return Pairs(
    np.stack([vectors.of(each) for each in both]),
    vectors.of([pair.prompt for pair in given]),
    np.log1p(words),
    habits,
    np.array([pair.label for pair in given]),
  )


class Sight(NamedTuple):
  """How a reader sees, of the training pairs alone.

  Attributes:
    texts: coordinates of texts.
    prompt: mean `[D]` of prompts.
    told: likewise, of what is told.
  """

  texts: Space
  prompt: np.ndarray
  told: np.ndarray


def sight(known: Pairs, told: np.ndarray | None, most: int) -> Sight:
  """Returns how a reader of these training pairs sees.

  Args:
    known: of training.
    told: `[n, D]`; None if nothing is.
    most: axes.
  """
  found = space(known.texts.reshape(-1, known.texts.shape[-1]), most)
  middle = found.middle if told is None else told.mean(0)
  return Sight(found, known.prompt.mean(0), middle)


def features(
  sees: Sequence[str], by: Sight, known: Pairs, told: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what a reader sees of the texts `[2 n, F]`, and blocks `[F]`.

  Args:
    sees: names of blocks.
    by: how it sees.
    known: the pairs.
    told: `[n, D]`; None if nothing is.
  """
  text = by.texts.of(known.texts)

  def beside(values, middle):
    inner = ((values - middle) @ by.texts.axes)[:, None]
    cosine = np.einsum('nd,nkd->nk', values, known.texts)
    return np.concatenate([inner * text, cosine[..., None]], -1)

  side = np.broadcast_to([0.5, -0.5], known.longer.shape)
  own = known.habits[:, None]
  blocks = {'side': side[..., None]}
  for name in sees:
    if name == 'option':
      blocks[name] = text
    elif name == 'prompt':
      blocks[name] = beside(known.prompt, by.prompt)
    elif name == 'told':
      assert told is not None
      blocks[name] = beside(told, by.told)
    elif name == 'length':
      blocks[name] = known.longer[..., None]
    else:
      leaning = [side * own[..., 0], known.longer * own[..., 1]]
      blocks[name] = np.stack(leaning, -1)
  whole = np.concatenate(list(blocks.values()), -1)
  names = np.repeat(list(blocks), [leaf.shape[-1] for leaf in blocks.values()])
  return whole.reshape(-1, whole.shape[-1]), names


class Reader(NamedTuple):
  """A fitted reader.

  Attributes:
    sees: names of blocks.
    by: how it sees.
    head: linear in what it sees.
  """

  sees: tuple[str, ...]
  by: Sight
  head: real_fits.Head

  def margins(self, known: Pairs, told: np.ndarray | None) -> np.ndarray:
    """Returns the lead `[n]` of the first text, in logits."""
    seen, _ = features(self.sees, self.by, known, told)
    first, second = self.head.scores(seen).reshape(-1, 2).T
    return first - second


def _examples(known: Pairs) -> real_fits.Examples:
  count = len(known.label)
  return real_fits.Examples(np.arange(2 * count).reshape(-1, 2), known.label)


def fitted(
  kind: str,
  train: tuple[Pairs, np.ndarray | None],
  validation: tuple[Pairs, np.ndarray | None],
  node: Any,
) -> tuple[Reader, Mapping[str, Any]]:
  """Returns the reader that loses least on validation pairs, and what chose it.

  Ridge and how much of the person and the prompt is let in are searched; every
  kind tries as many.

  Args:
    kind: of `SEES`.
    train: pairs, and what is told before them.
    validation: likewise, of other people and questions.
    node: `dim`, `ridges` and `let_in`.
  """
  sees, by = SEES[kind], sight(*train, node.dim)
  (seen, block), (other, _) = (
    features(sees, by, *part) for part in (train, validation)
  )
  best: tuple[float, real_fits.Head, dict[str, Any]] | None = None
  for ridge, share in itertools.product(node.ridges, node.let_in):
    scale = np.where(np.isin(block, _LET_IN), share, 1.0)
    head = real_fits.linear(seen, _examples(train[0]), ridge, scale)
    logit = real_fits.logits(head.scores(other), _examples(validation[0]))
    lost = real_fits.log_loss(logit, validation[0].label)
    if best is None or lost < best[0]:
      best = lost, head, {'ridge': ridge, 'let_in': share, 'validation': lost}
  assert best is not None
  return Reader(sees, by, best[1]), best[2]
