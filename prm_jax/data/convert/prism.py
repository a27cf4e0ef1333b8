"""PRISM's utterances: what people asked, and how they rated each answer."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from prm_jax.data import schema
from prm_jax.data.convert import files, forms, naming, texts

VERSION = (
  'the table utterances of HannahRoseKirk/prism-alignment as of April 2024'
)
NEEDED = (
  'user_id',
  'conversation_id',
  'turn',
  'within_turn_id',
  'user_prompt',
  'model_response',
  'score',
  'if_chosen',
)
KNOWN = (
  'utterance_id',
  'interaction_id',
  'conversation_type',
  'model_name',
  'model_provider',
)


def read(table: files.Table, options: naming.Options) -> forms.Convert:
  """Returns what converts an utterance to a rating from 1 to 100.

  Ratings, not judgements: of up to four answers the person rates each, and
  which pairs to make of them, and from which difference on, is for training
  to say. That an answer was chosen is seen in its score, the highest.

  The prompt is the conversation so far, with the answers that were chosen;
  the topic is its first question, so that a split keeps a conversation whole.

  References:
    Kirk et al. 2024, arXiv 2404.16019.
  """
  naming.check_columns(table.path, table.columns, NEEDED, VERSION, KNOWN)
  turns = _turns(table)

  def convert(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    turn = row.get('turn')
    if not isinstance(turn, int) or turn < 0:
      raise schema.SchemaError(f'turn: {turn!r} is not a number from 0')
    before = turns[str(row.get('conversation_id'))]
    said: list[texts.Message] = []
    for earlier in range(turn):
      if earlier not in before:
        raise schema.SchemaError(
          f'turn: no answer is chosen in turn {earlier}, so that what turn '
          f'{turn} follows is not known'
        )
      said += before[earlier]
    question = texts.text(row.get('user_prompt'), 'user_prompt')
    said.append(texts.Message('user', question))
    yield {
      'user_id': row.get('user_id'),
      'prompt': texts.render(said),
      'topic': texts.prompt_id(said[0].content),
      'response': texts.text(row.get('model_response'), 'model_response'),
      'rating': row.get('score'),
    }

  return convert


def _turns(table: files.Table) -> dict[str, dict[int, list[texts.Message]]]:
  """Returns conversation -> turn -> its question and chosen answer."""
  found: dict[str, dict[int, list[texts.Message]]] = defaultdict(dict)
  chosen = (row for row in table.objects() if row.get('if_chosen') is True)
  for row in sorted(chosen, key=lambda row: str(row.get('within_turn_id'))):
    turn, conversation = row.get('turn'), str(row.get('conversation_id'))
    question, answer = row.get('user_prompt'), row.get('model_response')
    strings = isinstance(question, str) and isinstance(answer, str)
    if isinstance(turn, int) and strings:
      asked = texts.Message('user', str(question))
      said = texts.Message('assistant', str(answer))
      found[conversation].setdefault(turn, [asked, said])
  return found
