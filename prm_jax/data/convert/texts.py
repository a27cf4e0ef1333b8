"""Lists of messages as texts, and a chosen and a rejected response as sides.

One message of a user or an assistant is its content alone. Everything else is
a line for every message, 'System: ...', 'User: ...', 'Assistant: ...', in
order: the list can be read back unless a content has such a line of its own.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from prm_jax.data import schema

_ROLES = {
  'system': 'System',
  'user': 'User',
  'assistant': 'Assistant',
  'tool': 'Tool',
}
_ALONE = ('user', 'assistant')
_TURN = '\n\nAssistant:'  # of conversations that are one string (HH-RLHF)


class Message(NamedTuple):
  """What one side said."""

  role: str
  content: str


def messages(value: Any, name: str) -> list[Message]:
  """Returns a list of `{role, content}` as messages.

  Args:
    value: read from a file.
    name: what to call it in an error.

  Raises:
    SchemaError: naming the message and the reason.
  """
  if not isinstance(value, list) or not value:
    raise schema.SchemaError(f'{name}: is no list of messages')
  found = []
  for number, message in enumerate(value, 1):
    where = f'{name}: message {number}'
    if not isinstance(message, dict) or not {'role', 'content'} <= set(message):
      raise schema.SchemaError(f'{where} has no role and content')
    role, content = message['role'], message['content']
    if not isinstance(role, str) or role not in _ROLES:
      raise schema.SchemaError(
        f'{where}: role {role!r} is none of {list(_ROLES)}'
      )
    if not isinstance(content, str):
      raise schema.SchemaError(
        f'{where}: content is {type(content).__name__}, not a string'
      )
    found.append(Message(role, content))
  return found


def render(said: Sequence[Message]) -> str:
  """Returns messages as one text."""
  if len(said) == 1 and said[0].role in _ALONE:
    return said[0].content
  return '\n'.join(f'{_ROLES[role]}: {content}' for role, content in said)


def text(value: Any, name: str) -> str:
  """Returns a string as it is, and a list of messages as one text.

  Raises:
    SchemaError: it is neither.
  """
  if isinstance(value, str):
    return value
  if isinstance(value, list):
    return render(messages(value, name))
  raise schema.SchemaError(
    f'{name}: is {type(value).__name__}, neither a string nor a list of '
    'messages'
  )


def split(
  prompt: Any, first: Any, second: Any, names: tuple[str, str]
) -> tuple[str, str, str]:
  """Returns a prompt and two responses, each as one text.

  Two conversations begin with what they share, which is the prompt, or a part
  of it where a prompt is given too. Their last messages are never shared.

  Args:
    prompt: a string, a list of messages, or None: how both begin.
    first: a string or a list of messages.
    second: the other one.
    names: of the two, for errors.

  Raises:
    SchemaError: one of them cannot be read, or there is no prompt.
  """
  if isinstance(first, list) and isinstance(second, list):
    if isinstance(prompt, str):
      given = [Message('user', prompt)]
    else:
      given = [] if prompt is None else messages(prompt, 'prompt')
    said = messages(first, names[0]), messages(second, names[1])
    return split_messages(given, *said, names)
  one, other = text(first, names[0]), text(second, names[1])
  if prompt is not None:
    return text(prompt, 'prompt'), one, other
  return _split_strings(one, other, names)


def split_messages(
  given: list[Message],
  first: list[Message],
  second: list[Message],
  names: tuple[str, str],
) -> tuple[str, str, str]:
  """Returns what `split` does, of messages; `given` may have none."""
  shared = _shared(first[:-1], second[:-1])
  asked = first[:shared]
  if not set(given) <= set(asked):
    asked = given + asked
  if not asked:
    raise schema.SchemaError(_unasked(names))
  return render(asked), render(first[shared:]), render(second[shared:])


def _split_strings(
  first: str, second: str, names: tuple[str, str]
) -> tuple[str, str, str]:
  """Splits after the last shared turn or, without turns, shared word."""
  shared = _shared(first, second)
  turn = first.rfind(_TURN, 0, shared)
  cut = first.rfind(' ', 0, shared) if turn < 0 else turn + len(_TURN)
  if cut <= 0:
    raise schema.SchemaError(_unasked(names))
  return first[:cut], first[cut:], second[cut:]


def _shared(first: Sequence, second: Sequence) -> int:
  """Returns how many of the first elements are equal."""
  both = enumerate(zip(first, second, strict=False))
  different = (i for i, (one, other) in both if one != other)
  return next(different, min(len(first), len(second)))


def _unasked(names: tuple[str, str]) -> str:
  return f'prompt: is missing, and {" and ".join(names)} begin differently'


def sides(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
  """Returns a judgement whose sides do not tell which one was chosen.

  The two responses in order of their characters are a and b, or b and a, by a
  bit of the SHA-256 of all three texts. Who chose the other one of the same
  two has them on the same sides.
  """
  pair = sorted((chosen, rejected))
  if digest(prompt, *pair)[0] % 2:
    pair.reverse()
  return {
    'prompt': prompt,
    'response_a': pair[0],
    'response_b': pair[1],
    'label': 'a' if chosen == pair[0] else 'b',
  }


def prompt_id(prompt: str) -> str:
  """Returns a prompt's name: equal words have one, in every file."""
  return digest(prompt).hex()[:16]


def digest(*parts: str) -> bytes:
  """Returns the SHA-256 of texts, halves of characters included."""
  whole = '\0'.join(parts).encode('utf-8', 'surrogatepass')
  return hashlib.sha256(whole).digest()
