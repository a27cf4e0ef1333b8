"""A grammar that writes English text of given attribute levels."""

from __future__ import annotations

import functools
import itertools
import re
from typing import NamedTuple

import numpy as np

from prm_jax.worlds import lexicon
from prm_jax.worlds.topics import Topic

ACTIVE = 3  # attributes that one response shows
STRONGEST = 2  # marker sentences of one attribute
WORDS = (21, 54)  # targets; content sentences fill up to them

_CHOICE = re.compile(r'\{([^{}]*\|[^{}]*)\}')


class Content(NamedTuple):
  """A content sentence, and what it may not be combined with."""

  template: str
  filler: str
  text: str
  words: int


def count_words(text: str) -> int:
  """Returns the number of words, separated by white space."""
  return len(text.split())


@functools.cache
def expand(template: str) -> tuple[str, ...]:
  """Returns all sentences of a template with `{a|b}` choices."""
  parts = _CHOICE.split(template)
  # Odd parts are what the braces held.
  choices = [p.split('|') if i % 2 else [p] for i, p in enumerate(parts)]
  return tuple(''.join(parts) for parts in itertools.product(*choices))


@functools.cache
def content_sentences(topic: Topic, regime: str) -> tuple[Content, ...]:
  """Returns every content sentence about a topic in a regime."""
  sentences = []
  for template in lexicon.REGIMES[regime].content:
    kind = 'thing' if '{thing}' in template else 'step'
    for filler in topic.things if kind == 'thing' else topic.steps:
      text = template.format(topic=topic.name, **{kind: filler})
      sentences.append(Content(template, filler, text, count_words(text)))
  return tuple(sentences)


def draw_levels(rng: np.random.Generator, count: int) -> np.ndarray:
  """Returns signed levels of the marked attributes, `[count, 6]` int64.

  `ACTIVE` attributes, drawn uniformly, have a level in {-2, -1, 1, 2}; the
  others are 0. The levels of two attributes are uncorrelated.
  """
  shape = (count, len(lexicon.MARKED))
  active = rng.random(shape).argsort(axis=1) < ACTIVE
  strength = rng.integers(1, STRONGEST + 1, shape)
  sign = rng.choice([-1, 1], shape)
  return active * strength * sign


def draw_targets(rng: np.random.Generator, count: int) -> np.ndarray:
  """Returns the words that responses aim at, `[count]`, log-uniform."""
  low, high = np.log(WORDS)
  return np.exp(rng.uniform(low, high, count)).astype(int)


def write_response(
  rng: np.random.Generator,
  levels: np.ndarray,
  target: int,
  topic: Topic,
  regime: str,
) -> str:
  """Returns a response with the given levels, near the target in length.

  |level| different marker sentences of the pole are mixed with content
  sentences, of which the first opens the response. Content fills up to the
  target, so that length tells as little as possible about the markers.

  Args:
    rng: the source of every choice.
    levels: `[6]` signed numbers of marker sentences, as `lexicon.MARKED`.
    target: words to aim at; exceeded where markers and one content sentence
      need more.
    topic: what content sentences are about.
    regime: a key of `lexicon.REGIMES`.

  Returns:
    The text.
  """
  pools = lexicon.REGIMES[regime].markers
  markers = []
  for attribute, level in zip(lexicon.MARKED, levels, strict=True):
    if level:
      pool = pools[attribute][int(np.sign(level))]
      for i in rng.permutation(len(pool))[: abs(level)]:
        sentences = expand(pool[i])
        markers.append(sentences[rng.integers(len(sentences))])

  words = sum(map(count_words, markers))
  content: list[str] = []
  left = list(content_sentences(topic, regime))
  while fitting := [c for c in left if c.words <= target - words]:
    chosen = fitting[rng.integers(len(fitting))]
    content.append(chosen.text)
    words += chosen.words
    left = [
      c
      for c in left
      if c.template != chosen.template and c.filler != chosen.filler
    ]
  if not content:
    content.append(min(left, key=lambda c: c.words).text)

  rest = markers + content[1:]
  order = rng.permutation(len(rest))
  return ' '.join([content[0], *(rest[i] for i in order)])
