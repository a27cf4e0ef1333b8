"""Candidates of known quality, and what people say of them in many ways.

Quality is linear in features, so that every head can find it, and a head is as
good as the order in which it puts new candidates. Each kind of judgement is
drawn from its own likelihood; `as_choices` says what is left of it for a model
of plain choices.
"""

from typing import NamedTuple

import numpy as np

LEVELS = 7  # of strength, from 'second, by far' to 'first, by far'


class Candidates(NamedTuple):
  """Texts, as features.

  Attributes:
    features: `[M, D]` float32; the last column is the length.
    quality: `[M]` logits; length is no part of it.
    length: `[M]` standard deviations of the logarithm; it goes with quality.
  """

  features: np.ndarray
  quality: np.ndarray
  length: np.ndarray


class Said(NamedTuple):
  """Judgements of candidates.

  Attributes:
    user: `[N]` int32, who said it.
    items: `[N, K]` int32, of what.
    label: `[N]` or `[N, ...]`: see the function that drew them.
  """

  user: np.ndarray
  items: np.ndarray
  label: np.ndarray

  def take(self, rows: np.ndarray) -> 'Said':
    """Returns some of the judgements."""
    return Said(self.user[rows], self.items[rows], self.label[rows])


def draw(
  seed: int, *, texts: int, dim: int, scale: float = 1.5, shared: float = 0.5
) -> tuple[Candidates, np.ndarray]:
  """Returns candidates, and the weight `[D]` of their features.

  Args:
    seed: of everything; a seed has one weight however many texts are drawn.
    texts: M.
    dim: D, the length included.
    scale: standard deviation of quality, logits.
    shared: correlation of length with quality.
  """
  weight = np.random.default_rng([seed, 1]).standard_normal(dim - 1)
  weight *= scale / np.linalg.norm(weight)
  rng = np.random.default_rng([seed, 2])
  features = rng.standard_normal((texts, dim - 1))
  quality = features @ weight
  own = rng.standard_normal(texts)
  length = shared * quality / scale + np.sqrt(1 - shared**2) * own
  every = np.concatenate([features, length[:, None]], 1).astype(np.float32)
  return Candidates(every, quality, length), np.append(weight, 0.0)


def _asked(rng, texts: int, rows: int, K: int, people: int):
  """Who is asked of which K different candidates."""
  order = rng.random((rows, texts)) if texts < 64 else None
  if order is not None:
    index = order.argsort(1)[:, :K]
  else:
    index = rng.integers(0, texts, (rows, K))
    for _ in range(100):
      twice = np.diff(np.sort(index, 1), axis=1).min(1, initial=1) == 0
      if not twice.any():
        break
      index[twice] = rng.integers(0, texts, (int(twice.sum()), K))
  user = rng.integers(0, people, rows)
  return user.astype(np.int32), index.astype(np.int32)


def _gap(of: Candidates, index: np.ndarray) -> np.ndarray:
  return of.quality[index[:, 0]] - of.quality[index[:, 1]]


def choices(
  of: Candidates,
  rng: np.random.Generator,
  rows: int,
  *,
  people: int = 1,
  flipped: float = 0.0,
  careless: float = 0.0,
  length_weight: float = 0.0,
) -> Said:
  """Returns choices between two: label 1 where the first is preferred.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
    flipped: share of the labels that are turned round.
    careless: standard deviation of the logarithm by which people's margins
      are multiplied: some answer at random, some never err.
    length_weight: logits that a standard deviation of length is preferred by.
  """
  user, index = _asked(rng, len(of.quality), rows, 2, people)
  scale = np.exp(careless * rng.standard_normal(people))[user]
  longer = of.length[index[:, 0]] - of.length[index[:, 1]]
  margin = scale * (_gap(of, index) + length_weight * longer)
  label = margin > rng.logistic(size=rows)
  turned = rng.random(rows) < flipped
  return Said(user, index, (label ^ turned).astype(np.float32))


def ties(
  of: Candidates,
  rng: np.random.Generator,
  rows: int,
  *,
  people: int = 1,
  width: float = 1.0,
  spread: float = 0.0,
) -> Said:
  """Returns choices with ties, by Rao and Kupper: labels 1, 0.5 and 0.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
    width: kappa, logits by which the better one has to win.
    spread: standard deviation of the logarithm of people's own widths.
  """
  user, index = _asked(rng, len(of.quality), rows, 2, people)
  own = width * np.exp(spread * rng.standard_normal(people))[user]
  gap, u = _gap(of, index), rng.random(rows)
  first = 1 / (1 + np.exp(own - gap))
  second = 1 / (1 + np.exp(own + gap))
  label = np.where(u < first, 1.0, np.where(u < first + second, 0.0, 0.5))
  return Said(user, index, label.astype(np.float32))


def levels(
  of: Candidates,
  rng: np.random.Generator,
  rows: int,
  *,
  people: int = 1,
  step: float = 1.0,
  spread: float = 0.0,
) -> Said:
  """Returns strengths on a scale of seven, label j / 6: 1 is 'by far'.

  The margin plus logistic noise falls between cut points `step` logits apart.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
    step: between cut points, logits.
    spread: standard deviation of the logarithm of people's own steps.
  """
  user, index = _asked(rng, len(of.quality), rows, 2, people)
  own = step * np.exp(spread * rng.standard_normal(people))[user]
  heard = _gap(of, index) + rng.logistic(size=rows)
  level = np.round(heard / own) + LEVELS // 2
  level = np.clip(level, 0, LEVELS - 1)
  return Said(user, index, (level / (LEVELS - 1)).astype(np.float32))


def rankings(
  of: Candidates,
  rng: np.random.Generator,
  rows: int,
  *,
  people: int = 1,
  candidates: int = 5,
  top: int | None = None,
) -> Said:
  """Returns rankings by Plackett and Luce: label `[N, K]`, 0 for the best.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
    candidates: K.
    top: so many are told, the others share the next rank; all if None.
  """
  user, index = _asked(rng, len(of.quality), rows, candidates, people)
  heard = of.quality[index] + rng.gumbel(size=index.shape)
  place = np.minimum((-heard).argsort(1).argsort(1), top or candidates)
  return Said(user, index, place.astype(np.float32))


def uneven(
  of: Candidates, rng: np.random.Generator, rows: int, *, people: int = 1
) -> Said:
  """Returns choices by Thurstone; how clear a text is depends on its features.

  A text is heard with the standard deviation exp(1.2 x_0), x_0 its first
  feature.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
  """
  user, index = _asked(rng, len(of.quality), rows, 2, people)
  deviation = np.exp(1.2 * of.features[:, 0])
  noise = rng.standard_normal(index.shape)
  heard = of.quality[index] + deviation[index] * noise
  return Said(user, index, (heard[:, 0] > heard[:, 1]).astype(np.float32))


def ratings(
  of: Candidates,
  rng: np.random.Generator,
  rows: int,
  *,
  people: int = 1,
  noise: float = 1.0,
  outliers: float = 0.0,
  uneven_noise: float = 0.0,
  freedom: float = np.inf,
) -> Said:
  """Returns ratings of one text each: label, quality and noise, in logits.

  Args:
    of: candidates.
    rng: of the judgements.
    rows: N.
    people: U.
    noise: standard deviation.
    outliers: share of ratings that are 15 standard deviations of noise high.
    uneven_noise: how the logarithm of the noise grows with the first feature.
    freedom: degrees of freedom of Student's noise; normal if infinite.
  """
  user, index = _asked(rng, len(of.quality), rows, 1, people)
  deviation = noise * np.exp(uneven_noise * of.features[index[:, 0], 0])
  drawn = rng.standard_normal(rows)
  if np.isfinite(freedom):
    drawn *= np.sqrt(freedom / rng.chisquare(freedom, rows))
  heard = of.quality[index[:, 0]] + deviation * drawn
  heard += 15 * noise * (rng.random(rows) < outliers)
  return Said(user, index, heard.astype(np.float32))


def as_choices(said: Said, seed: int = 0) -> Said:
  """Returns what a trainer of chosen and rejected texts is given.

  Ties and 'equally good' are dropped, strengths too; of a ranking the best
  and a random other; of ratings a person's next one, the higher preferred.

  Args:
    said: judgements of any kind.
    seed: of the order of the two, and of the other of a ranking.
  """
  rng = np.random.default_rng(seed)
  N, K = said.items.shape
  if K == 1:
    order = rng.permutation(N)
    order = order[np.argsort(said.user[order], kind='stable')]
    a, b = order[0 : N - 1 : 2], order[1:N:2]
    fair = (said.user[a] == said.user[b]) & (said.label[a] != said.label[b])
    a, b = a[fair], b[fair]
    index = np.stack([said.items[a, 0], said.items[b, 0]], 1)
    label = (said.label[a] > said.label[b]).astype(np.float32)
    return Said(said.user[a], index, label)
  if said.label.ndim == 2:
    best = said.label.argmin(1)
    other = (best + rng.integers(1, K, N)) % K
    first = np.less(rng.random(N), 0.5)
    places = np.where(first[:, None], [[0, 1]], [[1, 0]])
    both = np.take_along_axis(np.stack([best, other], 1), places, 1)
    index = np.take_along_axis(said.items, both, 1)
    return Said(said.user, index, first.astype(np.float32))
  strict = np.flatnonzero(said.label - 0.5)
  label = (said.label[strict] > 0.5).astype(np.float32)
  return Said(said.user[strict], said.items[strict], label)


def agreement(
  score: np.ndarray, quality: np.ndarray, seed: int = 0, pairs: int = 20_000
) -> float:
  """Returns the share of pairs of candidates that are put in true order.

  Args:
    score: `[M]` of a model; equals count half.
    quality: `[M]` the truth.
    seed: of the pairs.
    pairs: how many.
  """
  rng = np.random.default_rng([seed, 3])
  a, b = rng.integers(0, len(score), (2, pairs))
  apart = a != b
  a, b = a[apart], b[apart]
  right = np.sign(score[a] - score[b]) * np.sign(quality[a] - quality[b])
  return float(np.mean((right + 1) / 2))
