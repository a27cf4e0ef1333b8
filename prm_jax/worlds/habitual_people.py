"""People who go by side and length, and tie; some have a taste, too.

What they choose by is known, so that it tells what a comparison of reward
models makes of habits alone, and of a taste beside them.
"""

from typing import NamedTuple

import numpy as np

from prm_jax.ops import traits

POLITE = ('please', 'kindly', 'thanks', 'welcome')
_OTHERS = (
  'the a this one that is was will be here there then so but and if it of in '
  'stuff whatever dude anyway maybe quite very rather some more less'
)
_WORDS = (*POLITE, *_OTHERS.split())


class Choice(NamedTuple):
  """What somebody says of two texts to a prompt.

  Attributes:
    person: their number.
    prompt: its number.
    first: number of a text to it.
    second: that of the other.
    label: 1 if the first is preferred, 0.5 for a tie, 0 for the second.
  """

  person: int
  prompt: int
  first: int
  second: int
  label: float


def texts(rng: np.random.Generator, prompts: int, each: int) -> list[list[str]]:
  """Returns texts of 4 to 59 words, `each` to every prompt."""
  return [
    [' '.join(rng.choice(_WORDS, rng.integers(4, 60))) for _ in range(each)]
    for _ in range(prompts)
  ]


def choices(
  rng: np.random.Generator,
  said: list[list[str]],
  *,
  people: int,
  each: int,
  taste: float,
) -> list[Choice]:
  """Returns what people say of pairs of texts, by Davidson's model.

  A person's margin is their own constant for the first side, their weight of
  the difference in log length, and their taste for the share of polite words.

  Args:
    rng: of people and of what they say.
    said: texts of every prompt.
    people: how many.
    each: choices of everyone.
    taste: logits of a text that is polite throughout against one that is
      not; half of the people like it, and half dislike it. None if 0.
  """
  words = [[text.split() for text in row] for row in said]
  length = np.log([[len(text) for text in row] for row in words])
  polite = np.array(
    [[sum(word in POLITE for word in text) for text in row] for row in words]
  ) / np.exp(length)
  made = []
  for person in range(people):
    side, longer = rng.normal(0.2, 0.7), rng.normal(0.3, 1.0)
    width = rng.normal(-0.5, 0.7)
    own = rng.choice([-taste, taste]) if taste else 0.0
    for _ in range(each):
      prompt = int(rng.integers(len(said)))
      a, b = rng.choice(len(said[prompt]), 2, replace=False).tolist()
      margin = (
        side
        + longer * (length[prompt, a] - length[prompt, b])
        + own * (polite[prompt, a] - polite[prompt, b])
      )
      # In one array: both are rounded alike.
      both = np.array([margin, width])
      chance = np.exp(np.asarray(traits.log_probability(*both)))
      label = float(rng.choice([1.0, 0.5, 0.0], p=chance / chance.sum()))
      made.append(Choice(person, prompt, a, b, label))
  return made
