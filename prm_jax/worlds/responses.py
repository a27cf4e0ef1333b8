"""Simulated people who judge real responses by what can be measured in them.

A person's utility of a text is linear in eight measures of its style, and the
answers are Bernoulli draws of a Bradley-Terry choice. The texts are given; no
file is read here. Learners see texts and answers, never measures or weights.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import markdown_it
import numpy as np
import textstat
from scipy import special

from prm_jax.worlds import attributes

MEASURES = (
  'length',
  'lists',
  'hedging',
  'exclamation',
  'questions',
  'politeness',
  'formality',
  'readability',
)
_LIMIT = 4.0  # standard deviations: one odd policy must not be all there is
# Closed classes of English; Hyland 2005 lists more of the first and third.
_HEDGES = (
  'may might could perhaps possibly probably likely seem seems appear appears '
  'suggest suggests generally typically usually often sometimes somewhat '
  'approximately arguably potentially'
)
_POLITE = (
  'please thank thanks sorry apologize apologies welcome glad happy kindly '
  'appreciate hope pleasure'
)
_FORMAL = (
  'however therefore thus moreover furthermore additionally consequently '
  'nevertheless nonetheless hence whereas regarding ultimately overall '
  'specifically notably accordingly'
)


@dataclasses.dataclass(frozen=True)
class World:
  """People and their answers about M given texts. Weights are the truth.

  Attributes:
    values: `[M, 8]` measures, centred by prompt and scaled.
    people: U user ids, which say nothing of the weights.
    weights: `[U, 8]`.
    scale: of utilities, in logits; the larger, the less noise.
    user: `[n]`; items: `[n, 2]`; label: `[n]` 1 if the first is preferred.
    probability: `[n]` that it is.
  """

  values: np.ndarray
  people: tuple[str, ...]
  weights: np.ndarray
  scale: float
  user: np.ndarray
  items: np.ndarray
  label: np.ndarray
  probability: np.ndarray

  @property
  def utility(self) -> np.ndarray:
    """Returns everybody's utility of every text in logits, `[U, M]`."""
    return self.scale * self.weights @ self.values.T


def measure(texts: Sequence[str]) -> np.ndarray:
  """Returns the eight measures of every text, `[M, 8]`.

  log(1 + count) of words, list items, hedges, exclamation and question marks,
  polite words and formal connectives; and the Coleman-Liau school grade, which
  counts letters and sentences and needs no dictionary of syllables.

  Args:
    texts: M texts, markdown.

  References:
    Coleman and Liau 1975; Hyland 2005, Metadiscourse.
  """
  parser = markdown_it.MarkdownIt()
  patterns = [
    re.compile(rf'\b(?:{"|".join(words.split())})\b', re.IGNORECASE)
    for words in (_HEDGES, _POLITE, _FORMAL)
  ]
  rows = []
  for text in texts:
    hedges, polite, formal = (len(p.findall(text)) for p in patterns)
    words = textstat.lexicon_count(text) if text.strip() else 0
    tokens = parser.parse(text)
    counts = [
      words,
      sum(token.type == 'list_item_open' for token in tokens),
      hedges,
      text.count('!'),
      text.count('?'),
      polite,
      formal,
    ]
    grade = textstat.coleman_liau_index(text) if words else 0.0
    rows.append([*np.log1p(counts), np.clip(grade, -5.0, 30.0)])
  return np.array(rows)


def simulate(
  measures: np.ndarray,
  item_prompt: np.ndarray,
  *,
  seed: int,
  people: int = 300,
  answers: int = 200,
  oracle_accuracy: float = 0.88,
) -> World:
  """Returns people and their answers about pairs of responses to one prompt.

  Args:
    measures: `[M, 8]`, from `measure`.
    item_prompt: `[M]` row of each text's prompt.
    seed: of everything.
    people: U; weights are N(mu, I) with |mu| = 1.
    answers: of each person, on pairs drawn anew for each.
    oracle_accuracy: expected accuracy of the true utilities on the answers.
  """
  people_rng, pair_rng, answer_rng = (
    np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
  )
  values = standardise(measures, item_prompt)
  mean = people_rng.standard_normal((values.shape[1],))
  mean /= np.linalg.norm(mean)
  weights = mean + people_rng.standard_normal((people, len(mean)))
  user = np.repeat(np.arange(people), answers)
  items = draw_pairs(pair_rng, item_prompt, len(user))
  gap = np.sum((values[items[:, 0]] - values[items[:, 1]]) * weights[user], 1)
  scale = attributes.find_scale(np.abs(gap), oracle_accuracy)
  probability = special.expit(scale * gap)
  return World(
    values=values,
    people=tuple(f'responses/{i:05d}' for i in range(people)),
    weights=weights,
    scale=scale,
    user=user,
    items=items,
    label=(answer_rng.random(len(user)) < probability).astype(np.int8),
    probability=probability,
  )


def standardise(measures: np.ndarray, item_prompt: np.ndarray) -> np.ndarray:
  """Returns the measures less their prompt's mean, in pooled deviations."""
  differences = centre(measures, item_prompt)
  return np.clip(differences / (differences.std(0) + 1e-9), -_LIMIT, _LIMIT)


def centre(values: np.ndarray, item_prompt: np.ndarray) -> np.ndarray:
  """Returns values `[M, A]` less their prompt's mean."""
  count = np.bincount(item_prompt)
  total = np.zeros((len(count), values.shape[1]))
  np.add.at(total, item_prompt, values)
  return values - (total / np.maximum(count, 1)[:, None])[item_prompt]


def draw_pairs(
  rng: np.random.Generator, item_prompt: np.ndarray, count: int
) -> np.ndarray:
  """Returns pairs of different responses to one prompt, `[count, 2]`.

  Raises:
    ValueError: a prompt has fewer than two responses.
  """
  order = np.argsort(item_prompt, kind='stable')
  names, start, size = np.unique(
    item_prompt[order], return_index=True, return_counts=True
  )
  if size.min() < 2:
    raise ValueError(
      f'prompt {names[size.argmin()]} has one response: give each at least two'
    )
  prompt = rng.integers(0, len(names), count)
  first = (rng.random(count) * size[prompt]).astype(int)
  step = 1 + (rng.random(count) * (size[prompt] - 1)).astype(int)
  second = (first + step) % size[prompt]
  return order[start[prompt][:, None] + np.stack([first, second], 1)]
