"""Chatbot Arena's conversations: two models, and what a visitor voted."""

from collections.abc import Iterator
from typing import Any

from prm_jax.data import schema
from prm_jax.data.convert import files, forms, naming, texts

VERSION = (
  'lmsys/chatbot_arena_conversations as of July 2023 (33,000 conversations)'
)
NEEDED = (
  'question_id',
  'model_a',
  'model_b',
  'winner',
  'judge',
  'conversation_a',
  'conversation_b',
  'turn',
  'anony',  # with the next two, what MT-bench's judgements do not have
  'language',
  'tstamp',
)
KNOWN = ('openai_moderation', 'toxic_chat_tag')
_LABELS = {'model_a': 'a', 'model_b': 'b', 'tie': 'tie', 'tie (bothbad)': 'tie'}


def read(table: files.Table, options: naming.Options) -> forms.Convert:
  """Returns what converts a vote; the judge is the person.

  The vote is on whole conversations: what both share, usually the first
  question, is the prompt, and all that follows is the response. The sides are
  those that the visitor saw. 'tie (bothbad)' is a tie: that both are bad is
  lost.

  References:
    Zheng et al. 2023, arXiv 2306.05685.
  """
  naming.check_columns(table.path, table.columns, NEEDED, VERSION, KNOWN)

  def convert(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    winner = row.get('winner')
    if not isinstance(winner, str) or winner not in _LABELS:
      raise schema.SchemaError(f'winner: {winner!r} is none of {list(_LABELS)}')
    names = ('conversation_a', 'conversation_b')
    a, b = (texts.messages(row.get(name), name) for name in names)
    prompt, first, second = texts.split_messages([], a, b, names)
    yield {
      'user_id': row.get('judge'),
      'prompt': prompt,
      'response_a': first,
      'response_b': second,
      'label': _LABELS[winner],
    }

  return convert
