"""What a judge's last text is held to: its format's choices behind its cue.

Thoughts are free, and nothing is decided inside them, for no reader looks
there: a cue in a thought does not count, and one that is open when the cue has
to be written is ended first.
"""

from collections.abc import Callable, Iterable, Sequence

from tokenizers import Tokenizer

from prm_jax.models import constraints
from prm_jax.rewards import judge_formats, judge_readings

_LEFT = ('', ' ', '\n', '.', '\n\n')  # what tokenizers merge a mark with
_RIGHT = ('', '\n', '\n\n')

Held = Callable[[Sequence[bool]], constraints.Constraint]


def held(
  form: judge_formats.Format,
  tokenizer: Tokenizer,
  *,
  stop: Sequence[str],
  max_new_tokens: int,
  vocabulary: int,
) -> Held:
  """Returns `opened [R] -> constraint` of R texts.

  `opened` says whether a text's prompt has begun a thought.

  Args:
    form: with choices.
    tokenizer: of the judge.
    stop: tokens that end a text; the first ends a choice.
    max_new_tokens: of a text.
    vocabulary: V of the model.

  Raises:
    ValueError: no stop token, or none of the vocabulary; the format has no
      choices; the tokenizer cannot write one; or there is no room for them.
  """
  if not stop:
    raise ValueError('constrained texts end with a stop token: none is given')
  cue, end = _ids(tokenizer, form.cue), tokenizer.token_to_id(stop[0])
  every = []
  for choice in form.choices:
    found = _ids(tokenizer, form.cue + choice)
    own = found[: len(cue)] == cue
    every.append(found[len(cue) :] if own else _ids(tokenizer, choice))
    text = tokenizer.decode(cue + every[-1])
    if not form.parse(text).valid:
      raise ValueError(f'{form.name}: {text!r} of this tokenizer is invalid')
  if not every or end is None:
    raise ValueError(
      f'{form.name}: too many scores to choose from'
      if end is not None
      else f'stop token {stop[0]!r} is not in the vocabulary'
    )
  opens, closes = _marks(form, tokenizer)
  closing = len(closes[0]) if closes else 0
  by = max_new_tokens - closing - len(cue) - max(map(len, every)) - 1
  if by < 0:
    raise ValueError(
      f'max_new_tokens {max_new_tokens}: {form.name} takes '
      f'{max_new_tokens - by} to say what it decides'
    )
  ended = [[*each, end] for each in every]

  def choices(opened: Sequence[bool]) -> constraints.Constraint:
    thoughts = constraints.Thoughts(opens, closes, opened) if closes else None
    return constraints.begins(
      [ended] * len(opened),
      vocabulary=vocabulary,
      after=cue,
      by=by,
      thoughts=thoughts,
    )

  return choices


def before(form: judge_formats.Format, text: str) -> str | None:
  """Returns a text up to the verdict that it ends with; None if it does not.

  A choice of the format can follow in its place.

  Args:
    form: with choices.
    text: as generated.
  """
  text = text.rstrip().removesuffix('.')
  for choice in map(str.strip, form.choices):
    if text.endswith(choice):
      return text.removesuffix(choice).rstrip()
  return None


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
  return tokenizer.encode(text, add_special_tokens=False).ids


def _marks(form, tokenizer) -> tuple[list[list[int]], list[list[int]]]:
  """Returns what begins and what ends a thought, in the usual spellings.

  An end that is spelled in another way does no harm: the text stays free, and
  what is written at last ends the thought once more. So beginnings are known
  before their last character, which may be merged with what follows. None
  where the cue ends the thought itself, or the tokenizer cannot write an end.
  """
  begin, end = judge_readings.OPEN, judge_readings.CLOSE
  closes = _spelled(tokenizer, [a + end + b for a in _LEFT for b in _RIGHT])
  if end in form.cue or closes[:1] != [_ids(tokenizer, end)]:
    return [], []
  opens = [a + b for a in _LEFT for b in (begin, begin[:-1])]
  return _spelled(tokenizer, opens), closes


def _spelled(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
  """Returns token ids of the texts that come back from them."""
  found: list[list[int]] = []
  for text in texts:
    ids = _ids(tokenizer, text)
    back = tokenizer.decode(ids).strip() == text.strip()
    if back and ids not in found:
      found.append(ids)
  return found
