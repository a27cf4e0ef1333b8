"""Numbers for people, prompts and responses, in order of first appearance."""

from array import array
from typing import Any, Protocol

import numpy as np


class Row(Protocol):
  """What is numbered of a judgement or rating."""

  @property
  def user_id(self) -> str:
    """Returns who answered."""

  @property
  def user_attributes(self) -> str:
    """Returns what is known of them, a JSON object."""

  @property
  def prompt_id(self) -> str:
    """Returns the prompt's name."""

  @property
  def prompt(self) -> str:
    """Returns its text."""

  @property
  def topic(self) -> str:
    """Returns its group."""


class Coder:
  """Numbers people, prompts and responses in order of first appearance."""

  def __init__(self) -> None:
    self.users: dict[str, int] = {}
    self.attributes: list[str] = []
    self.prompts: dict[str, int] = {}
    self.prompt_rows: list[tuple[str, str]] = []
    self.items: dict[tuple[int, str], int] = {}

  def person(self, row: Row) -> int:
    """Returns the person's number."""
    if row.user_id not in self.users:
      self.users[row.user_id] = len(self.users)
      self.attributes.append(row.user_attributes)
    return self.users[row.user_id]

  def item(self, row: Row, response: str) -> int:
    """Returns the number of a response to the row's prompt."""
    if row.prompt_id not in self.prompts:
      self.prompts[row.prompt_id] = len(self.prompts)
      self.prompt_rows.append((row.prompt, row.topic))
    key = (self.prompts[row.prompt_id], response)
    return self.items.setdefault(key, len(self.items))

  def texts(self) -> dict[str, Any]:
    """Returns what the numbers stand for, under the names of the tables."""
    return {
      'texts': [text for _, text in self.items],
      'item_prompt': np.array([prompt for prompt, _ in self.items], np.int32),
      'prompts': [prompt for prompt, _ in self.prompt_rows],
      'prompt_ids': list(self.prompts),
      'topics': [topic for _, topic in self.prompt_rows],
      'user_ids': list(self.users),
      'attributes': self.attributes,
    }


class Answers:
  """Numbered answers, a row at a time, so that no row outlives its reading."""

  def __init__(self) -> None:
    self.coder = Coder()
    self._user, self._items = array('i'), array('i')
    self._value = array('f')

  def __len__(self) -> int:
    return len(self._user)

  def add(self, row: Row, responses: tuple[str, ...], value: float) -> None:
    """Numbers an answer.

    Args:
      row: who answered, and to which prompt.
      responses: one that is rated, or two that are compared.
      value: rating or label.
    """
    self._user.append(self.coder.person(row))
    self._items.extend(self.coder.item(row, text) for text in responses)
    self._value.append(value)

  @property
  def user(self) -> np.ndarray:
    """Returns `[n]` int32 people."""
    return np.array(self._user, np.int32)

  @property
  def items(self) -> np.ndarray:
    """Returns `[n, R]` int32 responses of each row."""
    wide = len(self._items) // max(len(self), 1)
    return np.array(self._items, np.int32).reshape(len(self), wide)

  @property
  def value(self) -> np.ndarray:
    """Returns `[n]` float32 ratings or labels."""
    return np.array(self._value, np.float32)
