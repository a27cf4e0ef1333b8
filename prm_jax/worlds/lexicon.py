"""What can be said in each regime: prompts, content and marker sentences.

train        training topics, questions, content and markers
new_prompts  other topics, questions and content; the training markers
new_lexicon  other topics, questions, content and markers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prm_jax.worlds import markers_new, markers_training, topics

ATTRIBUTES = (
  'length',
  'formality',
  'humour',
  'elicitation',
  'politeness',
  'enthusiasm',
  'confidence',
)
MARKED = ATTRIBUTES[1:]  # realised by marker sentences; length is not


class Lexicon(NamedTuple):
  """What one regime is written with.

  Attributes:
    topics: what prompts ask about.
    questions: prompt templates with the slot `{topic}`.
    content: neutral templates with `{topic}` and `{thing}` or `{step}`.
    markers: attribute -> pole (+1 or -1) -> templates with `{a|b}` choices.
  """

  topics: tuple[topics.Topic, ...]
  questions: tuple[str, ...]
  content: tuple[str, ...]
  markers: Mapping[str, Mapping[int, tuple[str, ...]]]


REGIMES: dict[str, Lexicon] = {
  'train': Lexicon(
    topics.TRAINING,
    topics.TRAINING_QUESTIONS,
    topics.TRAINING_CONTENT,
    markers_training.MARKERS,
  ),
  'new_prompts': Lexicon(
    topics.HELD_OUT,
    topics.NEW_PROMPTS_QUESTIONS,
    topics.HELD_OUT_CONTENT,
    markers_training.MARKERS,
  ),
  'new_lexicon': Lexicon(
    topics.HELD_OUT,
    topics.NEW_LEXICON_QUESTIONS,
    topics.HELD_OUT_CONTENT,
    markers_new.MARKERS,
  ),
}
