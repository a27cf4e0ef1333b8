"""Prompts and responses as a checkpoint's own chat template spells them.

Special tokens that a text spells stay text: they are hidden from the template
and the tokenizer behind marks, and put back as ordinary tokens.
"""

import datetime
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.models import chat_rendering, tokenizers
from prm_jax.models.chat_rendering import TemplateError
from prm_jax.models.weights import huggingface

Message = Mapping[str, str]
Turn = str | Sequence[Message]
# Private use: no tokenizer's text; what a mark is made of.
_OPEN, _CLOSE = '\U000f0000', '\U000f0001'
_MARK = re.compile(f'{_OPEN}([0-9]+){_CLOSE}')
# As JSON writes it, and what stands in an address.
_ESCAPED = re.compile(r'\\udb80\\udc00[0-9]|%F3%B0%80%80[0-9]', re.IGNORECASE)
_NAMES = ('bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token')


class Chat(NamedTuple):
  """How a checkpoint reads a conversation.

  Attributes:
    tokenizer: neither padding nor truncating.
    template: jinja2; None where the checkpoint has none.
    special: bos_token and others, as the checkpoint names them.
    ends: whether BOS and EOS stand around a text without a template; None
      where the tokenizer itself says it.
    where: the checkpoint, for errors.
  """

  tokenizer: Tokenizer
  template: str | None
  special: Mapping[str, str]
  ends: tuple[bool | None, bool | None]
  where: str

  @classmethod
  def load(cls, folder: Path) -> 'Chat':
    """Returns what a folder in Hugging Face's layout says.

    Args:
      folder: with tokenizer.json, and tokenizer_config.json and
        chat_template.jinja where the checkpoint has them.

    Raises:
      ValueError: a file cannot be read, or names several templates of which
        none is the default.
    """
    path = folder / 'tokenizer_config.json'
    known = huggingface.read_json(path) if path.is_file() else {}
    others = folder / 'special_tokens_map.json'
    if others.is_file():
      known = {**huggingface.read_json(others), **known}
    special = {}
    for name in _NAMES:
      value = known.get(name)
      value = value.get('content') if isinstance(value, dict) else value
      if isinstance(value, str):
        special[name] = value
    ends = (known.get('add_bos_token'), known.get('add_eos_token'))
    tokenizer = tokenizers.load(folder, None)
    template = _template(folder, known)
    return cls(tokenizer, template, special, ends, str(folder))


def _template(folder: Path, known: Mapping[str, Any]) -> str | None:
  """Returns the template: of its own file, or of tokenizer_config.json."""
  path = folder / 'chat_template.jinja'
  if path.is_file():
    return path.read_text()
  found = known.get('chat_template')
  if isinstance(found, list):
    for of in found:
      if not isinstance(of, dict) or not {'name', 'template'} <= set(of):
        raise ValueError(
          f'{folder}: chat_template is a list, of which an entry has no name '
          'and template'
        )
    named = {of['name']: of['template'] for of in found}
    if 'default' not in named:
      raise ValueError(
        f'{folder}: chat_template names {sorted(named)}, and no default'
      )
    found = named['default']
  if found is not None and not isinstance(found, str):
    raise ValueError(f'{folder}: chat_template is no text')
  return found


class Texts(NamedTuple):
  """N conversations as token ids.

  Attributes:
    ids: N lists.
    cut: `[N]` bool, which did not fit and were truncated.
  """

  ids: list[list[int]]
  cut: np.ndarray

  def tokens(self, pad: int = 0) -> types.Tokens:
    """Returns `[N, T]`, padded on the right; T is a power of two."""
    T = 1 << max(max(map(len, self.ids), default=1) - 1, 0).bit_length()
    ids = np.full((len(self.ids), T), pad, np.int32)
    mask = np.zeros_like(ids)
    for row, text in enumerate(self.ids):
      ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return types.Tokens(ids, mask)


def padding(chat: Chat) -> str:
  """Returns a special token that no conversation ends with, so that it can pad.

  transformers scores a batch at the last token that is not the pad: where EOS
  pads and ends texts, too, it would read the token before.

  Raises:
    ValueError: the tokenizer has none.
  """
  closing = encode(chat, ['a'], ['a'], total=1 << 20).ids[0][-1]
  added = chat.tokenizer.get_added_tokens_decoder()
  special = [of.content for _, of in sorted(added.items()) if of.special]
  named = [chat.special.get(f'{name}_token') for name in ('pad', 'bos')]
  for word in (*named, *special):
    if word in special and chat.tokenizer.token_to_id(word) != closing:
      return str(word)
  raise ValueError(
    f'{chat.where}: the tokenizer has no special token that could pad, other '
    'than the one that ends texts'
  )


def encode(
  chat: Chat,
  prompts: Sequence[Turn],
  responses: Sequence[Turn],
  *,
  total: int,
  now: datetime.datetime | None = None,
  limits: chat_rendering.Limits | None = None,
) -> Texts:
  """Returns N prompts and responses as token ids, of at most `total` tokens.

  With a template, ids are those of transformers' apply_chat_template. Without
  one, prompt and response are joined by a line break, with BOS and EOS as the
  checkpoint says.

  What does not fit is truncated by one rule: the response keeps its start,
  and as many tokens as the prompt leaves, or the half of `total` where it
  leaves fewer; the prompt keeps its end, and BOS where it begins with it. The
  closing tokens of a template are part of the response: one that is cut has
  none.

  Args:
    chat: of the checkpoint.
    prompts: each a text, which a user said, or a list of messages.
    responses: each a text, which the assistant said, or a list of messages.
    total: tokens, 4 or more.
    now: the time that a template may ask for; `chat_rendering.DAY` if None.
    limits: what rendering may take.

  Raises:
    ValueError: not as many responses as prompts, a message is none, or `total`
      is below 4.
    TemplateError: see `chat_rendering.render`.
  """
  if len(prompts) != len(responses):
    raise ValueError(f'{len(prompts)} prompts, {len(responses)} responses')
  if total < 4:
    raise ValueError(f'total {total}: at least 4 tokens')
  before = [
    _messages(of, 'user', f'prompt {n}') for n, of in enumerate(prompts)
  ]
  after = [
    _messages(of, 'assistant', f'response {n}')
    for n, of in enumerate(responses)
  ]
  whole = [[*one, *other] for one, other in zip(before, after, strict=True)]
  spell = functools.partial(_spelled, chat, now=now, limits=limits)
  spelled = spell(whole, prompting=False)
  found = [_ids(chat, *of) for of in spelled]
  cut = np.array([len(ids) > total for ids, _ in found], bool)
  long = np.flatnonzero(cut).tolist()
  heads = spell([before[row] for row in long], prompting=True)
  texts = [ids for ids, _ in found]
  for row, (head, _) in zip(long, heads, strict=True):
    border = _shared(head, spelled[row][0])
    size = sum(start < border for start in found[row][1])
    texts[row] = _truncated(chat, texts[row], size, total)
  return Texts(texts, cut)


def encode_spelled(
  chat: Chat, prompts: Sequence[str], responses: Sequence[str], *, total: int
) -> Texts:
  """Returns token ids of texts that somebody else has put in a template.

  As trainers of policies send them: a prompt ends where the response begins,
  and its special tokens are special. Those of a response are text, but for
  what stands at its end, EOS or padding, in place of which the template's own
  closing stands. So ids are those of `encode`, of a template that spells a
  prompt as the beginning of prompt and response.

  Args:
    chat: of the checkpoint.
    prompts: N texts in the template; empty where a response is all of it, and
      then its special tokens are special, too.
    responses: N texts.
    total: tokens, 4 or more; what does not fit is cut as by `encode`.

  Raises:
    ValueError: not as many responses as prompts, or `total` is below 4.
    TemplateError: see `chat_rendering.render`.
  """
  if len(prompts) != len(responses):
    raise ValueError(f'{len(prompts)} prompts, {len(responses)} responses')
  if total < 4:
    raise ValueError(f'total {total}: at least 4 tokens')
  pattern = _specials(chat.tokenizer)[1]
  closing = _closing(chat)
  texts, cut = [], []
  for number, both in enumerate(zip(prompts, responses, strict=True)):
    prompt, response = (_whole(text, f'text {number}') for text in both)
    body = response.rstrip()
    while pattern and (end := _last(pattern, body)) is not None:
      response = body[:end]
      body = response.rstrip()
    text = prompt + response + closing
    places = [
      (len(prompt) + match.start(), len(prompt) + match.end())
      for match in (pattern.finditer(response) if pattern and prompt else ())
    ]
    ids, starts = _ids(chat, text, places)
    cut.append(len(ids) > total)
    if cut[-1]:
      size = sum(start < len(prompt) for start in starts)
      ids = _truncated(chat, ids, size, total)
    texts.append(ids)
  return Texts(texts, np.array(cut, bool))


def _last(pattern: re.Pattern, text: str) -> int | None:
  """Returns where a special token begins that a text ends with."""
  ends = [of.start() for of in pattern.finditer(text) if of.end() == len(text)]
  return ends[0] if ends else None


def _closing(chat: Chat) -> str:
  """Returns what the template writes after a response."""
  mark = 'closing'
  before = [{'role': 'user', 'content': 'a'}]
  after = [{'role': 'assistant', 'content': mark}]
  spelled = _spelled(
    chat, [[*before, *after]], prompting=False, now=None, limits=None
  )
  return spelled[0][0].rpartition(mark)[2]


def around(chat: Chat) -> tuple[str, str]:
  """Returns what stands before and after a user's text that asks for an answer.

  Special tokens among it are the template's own. Without a template nothing is
  before, and a line break after.

  Args:
    chat: of the checkpoint.

  Raises:
    TemplateError: see `chat_rendering.render`; or the text is changed.
  """
  if chat.template is None:
    return '', '\n'
  parts = _MARK.split(_marked(chat, chat.template, ('user',)))[::2]
  if len(parts) != 2:
    raise TemplateError(
      f'{chat.where}: the chat template has what a user says '
      f'{len(parts) - 1} times'
    )
  return parts[0], parts[1]


def _marked(chat: Chat, template: str, roles: Sequence[str]) -> str:
  """Returns messages up to where an answer begins, a mark for each text."""
  given = {
    **chat.special,
    'tools': None,
    'documents': None,
    'messages': [
      {'role': role, 'content': f'{_OPEN}{i}{_CLOSE}'}
      for i, role in enumerate(roles)
    ],
    'add_generation_prompt': True,
  }
  return chat_rendering.render(template, [given], where=chat.where)[0]


def speller(chat: Chat) -> Callable[[Sequence[tuple[str, str]]], str]:
  """Returns what spells messages up to where an answer begins.

  The template is rendered once for each order of roles. Where it knows no
  system, what a system says stands before what the user says first. Special
  tokens in texts are not hidden: who asks has taken them out.

  Args:
    chat: of the checkpoint.

  Raises:
    TemplateError: when called: see `chat_rendering.render`; or the template
      does not have every text once and in order.
  """

  @functools.cache
  def parts(roles: tuple[str, ...]) -> list[str]:
    if chat.template is None:
      return [''] + ['\n'] * len(roles)
    text = _marked(chat, chat.template, roles)
    if _MARK.findall(text) != [str(i) for i in range(len(roles))]:
      raise TemplateError(
        f'{chat.where}: the chat template does not have each of {roles} once, '
        'in order'
      )
    return _MARK.split(text)[::2]

  def spelled(messages: Sequence[tuple[str, str]]) -> str:
    roles, texts = zip(*messages, strict=True)
    try:
      around_ = parts(roles)
    except TemplateError:
      if roles[:2] != ('system', 'user'):
        raise
      around_ = parts(roles[1:])
      texts = (f'{texts[0]}\n\n{texts[1]}', *texts[2:])
    return around_[0] + ''.join(
      text + after for text, after in zip(texts, around_[1:], strict=True)
    )

  return spelled


def _messages(turn: Turn, role: str, what: str) -> list[dict[str, str]]:
  """Returns a turn as messages, of roles and texts alone."""
  if isinstance(turn, str):
    return [{'role': role, 'content': _whole(turn, what)}]
  for message in turn:
    if not isinstance(message, Mapping) or set(message) != {'role', 'content'}:
      raise ValueError(f'{what}: a message is of role and content: {message!r}')
    if not all(isinstance(part, str) for part in message.values()):
      raise ValueError(f'{what}: role and content are texts: {message!r}')
    if not re.fullmatch(r'[\w-]+', message['role']):
      raise ValueError(f'{what}: {message["role"]!r} is no name of a role')
    _whole(message['content'], what)
  return [dict(message) for message in turn]


def _whole(text: str, what: str) -> str:
  """Returns a text that can be written.

  Raises:
    ValueError: it holds half of a character.
  """
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f'{what}: holds half of a character (a lone surrogate): it was cut in two'
    ) from error
  return text


def _spelled(
  chat, conversations, *, prompting, now, limits
) -> list[tuple[str, list[tuple[int, int]]]]:
  """Returns conversations as one text each, and where they spell specials."""
  pattern = _specials(chat.tokenizer)[1]
  hidden: list[str] = []

  def hide(match):
    hidden.append(match[0])
    return f'{_OPEN}{len(hidden) - 1}{_CLOSE}'

  def covered(message):
    text = message['content']
    if _OPEN in text or _CLOSE in text:
      text = text.replace(_OPEN, '\ufffd').replace(_CLOSE, '\ufffd')
    return {**message, 'content': pattern.sub(hide, text) if pattern else text}

  covering = [list(map(covered, of)) for of in conversations]
  if chat.template is None:
    rendered = [
      '\n'.join(m['content'] for m in of if m['content']) for of in covering
    ]
  else:
    # As transformers gives them: templates ask whether tools are none.
    given = {**chat.special, 'tools': None, 'documents': None}
    rendered = chat_rendering.render(
      chat.template,
      [
        {**given, 'messages': of, 'add_generation_prompt': prompting}
        for of in covering
      ],
      where=chat.where,
      now=now,
      limits=limits,
    )
  return [_uncovered(text, hidden, chat.where) for text in rendered]


def _uncovered(text, hidden, where) -> tuple[str, list[tuple[int, int]]]:
  """Returns a text with what was hidden, and the places of that."""
  found, places, size, at = [], [], 0, 0
  if hidden and _ESCAPED.search(text):
    raise TemplateError(
      f'{where}: the chat template escapes characters of a text that spells a '
      'special token, which then cannot be put back'
    )
  for match in _MARK.finditer(text):
    number = match[1]
    if len(number) > len(str(len(hidden))) or int(number) >= len(hidden):
      raise TemplateError(
        f'{where}: the chat template writes characters of private use that '
        'stand for special tokens of texts'
      )
    word = hidden[int(number)]
    found += [text[at : match.start()], word]
    size += match.start() - at
    places.append((size, size + len(word)))
    size, at = size + len(word), match.end()
  found.append(text[at:])
  whole = ''.join(found)
  if _OPEN in whole or _CLOSE in whole:
    raise TemplateError(
      f'{where}: the chat template cuts a text inside a special token that it '
      'spells, which then cannot be told from one'
    )
  return whole, places


def _specials(tokenizer: Tokenizer) -> tuple[set[int], re.Pattern | None]:
  """Returns special tokens: ids, and a pattern of what spells one."""
  added = tokenizer.get_added_tokens_decoder()
  special = {number: of.content for number, of in added.items() if of.special}
  words = sorted(special.values(), key=len, reverse=True)
  pattern = re.compile('|'.join(map(re.escape, words))) if words else None
  return set(special), pattern


def _ids(chat, text, places) -> tuple[list[int], list[int]]:
  """Returns a text's ids, and the character at which each begins."""
  tokenizer = chat.tokenizer
  encoding = tokenizer.encode(text, add_special_tokens=False)
  special = _specials(tokenizer)[0] if places else set()
  ids, starts = [], []
  for number, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
    if number in special and any(a < stop and start < b for a, b in places):
      parts = _as_text(tokenizer, text[start:stop])
      ids += parts
      starts += [start] * len(parts)
    else:
      ids.append(number)
      starts.append(start)
  if chat.template is not None:
    return ids, starts
  first, last = _ends(chat)
  return [*first, *ids, *last], [0] * len(first) + starts + [len(text)] * len(
    last
  )


def _as_text(tokenizer: Tokenizer, word: str) -> list[int]:
  """Returns the ids of a word that spells a special token, as a text."""
  kept = tokenizer.encode_special_tokens
  tokenizer.encode_special_tokens = True
  try:
    return tokenizer.encode(word, add_special_tokens=False).ids
  finally:
    tokenizer.encode_special_tokens = kept


def _ends(chat: Chat) -> tuple[list[int], list[int]]:
  """Returns what stands before and after a text that has no template."""
  inner = chat.tokenizer.encode('a', add_special_tokens=False).ids
  around = chat.tokenizer.encode('a', add_special_tokens=True).ids
  at = next(
    (i for i in range(len(around)) if around[i : i + len(inner)] == inner), 0
  )
  own = [around[:at], around[at + len(inner) :]]
  for side, name in enumerate(('bos_token', 'eos_token')):
    if chat.ends[side] is None:
      continue
    number = chat.tokenizer.token_to_id(chat.special.get(name, ''))
    own[side] = [number] if chat.ends[side] and number is not None else []
  return own[0], own[1]


def _shared(one: str, other: str) -> int:
  """Returns how many first characters two texts share."""
  pairs = enumerate(zip(one, other, strict=False))
  return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _truncated(chat, ids, size, total) -> list[int]:
  """Returns a text's ids, of which the first `size` are the prompt's."""
  prompt, response = ids[:size], ids[size:]
  response = response[: max(total - len(prompt), total // 2)]
  room = total - len(response)
  if len(prompt) <= room:
    return prompt + response
  word = chat.special.get('bos_token')
  first = chat.tokenizer.token_to_id(word) if word else None
  start = prompt[:1] if first is not None and prompt[0] == first else []
  return start + prompt[len(prompt) - room + len(start) :] + response
