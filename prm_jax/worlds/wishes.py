"""People who want a language model's replies in a form that rules can check.

They say so as the people of `persona_replies` do: a hint names some of what
they want, and may be wrong.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_BRIEF = 40  # words
_MENTION = 2 / 3


class Wish(NamedTuple):
  """Something that a person may want of replies.

  Attributes:
    hint: as a person says it.
    holds: whether a reply has it.
  """

  hint: str
  holds: Callable[[str], bool]


def _listed(text: str) -> bool:
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return bool(lines) and all(re.match(r'[-*] ', line) for line in lines)


WISHES = (
  Wish('Write a list whose lines all start with a hyphen.', _listed),
  Wish(
    'Give the answer first: start with the word "Answer".',
    lambda text: text.lstrip(' -*').startswith('Answer'),
  ),
  Wish(
    f'Use at most {_BRIEF} words.', lambda text: 0 < len(text.split()) <= _BRIEF
  ),
)


def draw(rng: np.random.Generator) -> np.ndarray:
  """Returns the wishes of somebody, at least one, `[3]` bool."""
  number = rng.integers(1, 1 << len(WISHES))
  return (number >> np.arange(len(WISHES))) % 2 > 0


def fits(wanted: np.ndarray, text: str) -> bool:
  """Returns whether a reply has all that is wanted, `[3]` bool."""
  return all(
    wish.holds(text) for wish, want in zip(WISHES, wanted, strict=True) if want
  )


def named(wanted: np.ndarray) -> list[str]:
  """Returns the hints of all that is wanted, `[3]` bool."""
  return [WISHES[i].hint for i in np.flatnonzero(wanted)]


def hint(rng: np.random.Generator, wanted: np.ndarray, error: float) -> str:
  """Returns what somebody says who wants `[3]` bool.

  Args:
    rng: of what is said.
    wanted: at least one wish.
    error: probability that the hint is of other wishes, drawn at random.
  """
  if rng.random() < error:
    wanted = draw(rng)
  said = wanted & (rng.random(len(WISHES)) < _MENTION)
  if not said.any():
    said[rng.choice(np.flatnonzero(wanted))] = True
  return ' '.join(named(said))
