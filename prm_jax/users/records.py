"""What is written about a person, in words that they can read and correct.

A reward model that reads a text about the person (`Reads`) is told the present
one at every scoring. Two hands write it: the model, whenever it has learned
something, and the person. What the person wrote is read until they release
it, whatever the model writes meanwhile, which is kept and is read from then
on. Nothing here touches a disk: `prm_jax/kept_summaries.py` does.

References:
  Nam et al. 2025 (PLUS), arXiv:2507.13579: summaries that a reward model reads.
"""

import datetime
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

LONGEST = 20_000  # characters; a reader has a limit of its own, in tokens
_LAYOUT = '\n\t'  # the control characters that a text may have


class SummaryError(ValueError):
  """A summary, or what was to be done with one, cannot be used."""


class Text(NamedTuple):
  """Words, and when they were written: ISO 8601, UTC."""

  words: str
  time: str


class Summary(NamedTuple):
  """A person's record.

  Attributes:
    user: whose.
    key: drawn when the record was begun: who is forgotten and comes back has
      another one.
    version: counts the changes of what is read, from 1: who changes it says
      which one they have seen.
    person: what the person wrote, until it is released; None: nothing.
    model: what the model wrote last; None: nothing yet.
  """

  user: str
  key: str
  version: int = 1
  person: Text | None = None
  model: Text | None = None

  @property
  def locked(self) -> bool:
    """Returns whether the person's words are read, and not the model's."""
    return self.person is not None

  @property
  def present(self) -> Text | None:
    """Returns what is read, and when it was written; None: nothing yet."""
    return self.model if self.person is None else self.person

  @property
  def words(self) -> str:
    """Returns what is read; '' where nothing is written."""
    return self.present.words if self.present else ''


class Measured(NamedTuple):
  """How much of a text a reader reads.

  Attributes:
    tokens: that the text has.
    room: tokens that the reader reads.
    unknown: tokens that its vocabulary does not know.
  """

  tokens: int
  room: int
  unknown: int = 0


Measure = Callable[[str], Measured]


class Reads(Protocol):
  """A reward model whose person is a text."""

  def measure(self, words: str) -> Measured:
    """Returns how much of a summary is read; it is never cut."""
    ...

  def score(
    self, words: str, prompts: Sequence[str], responses: Sequence[str]
  ) -> np.ndarray:
    """Returns scores `[M]`, in logits, of M responses to M prompts.

    Args:
      words: what is written about the person; '' is somebody unknown.
      prompts: M.
      responses: M.
    """
    ...


def now() -> str:
  """Returns the time, to the second: ISO 8601, UTC."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')


def edited(summary: Summary, words: str, time: str) -> Summary:
  """Returns the summary with a person's words, which stay until released.

  Args:
    summary: as it is.
    words: checked ones; '' says that nothing shall be read.
    time: of the edit.
  """
  return summary._replace(person=Text(words, time), version=summary.version + 1)


def written(summary: Summary, words: str, time: str) -> Summary:
  """Returns the summary with the model's words, which a person's stand before.

  The version counts what is read: it stays where that does.

  Args:
    summary: as it is.
    words: checked ones.
    time: when the model wrote them.
  """
  if summary.model is not None and summary.model.words == words:
    return summary
  changes = int(not summary.locked)
  return summary._replace(
    model=Text(words, time), version=summary.version + changes
  )


def released(summary: Summary) -> Summary:
  """Returns the summary without the person's words: the model's are read.

  Raises:
    SummaryError: there are none.
  """
  if not summary.locked:
    raise SummaryError(f'{summary.user!r} has edited nothing: nothing is held')
  return summary._replace(person=None, version=summary.version + 1)


def typed(words: str) -> str:
  """Returns a person's words as they are kept.

  Without a byte-order mark, spaces around them, and line ends of other systems.

  Args:
    words: in any language.

  Raises:
    SummaryError: a character cannot be kept or shown: half of a surrogate
      pair, or a control character.
  """
  words = _plain(words)
  for place, character in enumerate(words):
    if _stray(character):
      raise SummaryError(
        f'character {place + 1} of the summary is U+{ord(character):04X}, '
        'which is no text: take it out'
      )
  return words


def decoded(words: str) -> str:
  """Returns a model's words as they are kept: what is no text is a space.

  Args:
    words: as its tokens were decoded.
  """
  words = ''.join(' ' if _stray(c) else c for c in _plain(words))
  return words.strip()


def check(
  words: str, *, longest: int = LONGEST, measure: Measure | None = None
) -> Measured | None:
  """Returns how much of a summary is read, None if no reader says it.

  Args:
    words: a whole summary.
    longest: characters that are kept.
    measure: of the reader.

  Raises:
    SummaryError: it is longer than is kept or read: it would be cut without a
      word.
  """
  if len(words) > longest:
    raise SummaryError(
      f'the summary has {len(words):,} characters, and at most {longest:,} '
      'are kept: shorten it'
    )
  if measure is None:
    return None
  measured = measure(words)
  if measured.tokens > measured.room:
    raise SummaryError(
      f'the summary has {measured.tokens:,} tokens, and the reward model reads '
      f'{measured.room:,}: shorten it'
    )
  return measured


def _plain(words: str) -> str:
  words = words.removeprefix('\ufeff')
  return words.replace('\r\n', '\n').replace('\r', '\n').strip()


def _stray(character: str) -> bool:
  kind = unicodedata.category(character)
  return kind == 'Cs' or (kind == 'Cc' and character not in _LAYOUT)
