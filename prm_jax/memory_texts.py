"""`data.user_histories` as memories and adapters of people, with a decoder.

    memory = kept(tokenizer, histories, embeddings)  # events as they are told
    events = lessons(tokenizer, histories)       # for personal_adapters.fit
    texts, there = asked(tokenizer, pairs)       # for personal_memories.scored

Of other lengths everything is padded to one shape. What a person said is
encoded as text, whatever it spells.

Axis letters: U people, E events, Q pairs, T tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.data import user_histories
from prm_jax.data.user_histories import AskedPair, TextEvent
from prm_jax.models import decoder
from prm_jax.rewards import trajectories
from prm_jax.systems import personal_adapters
from prm_jax.users import episodic

_TIE = 0.5


class Limits(NamedTuple):
  """What there is room for, in tokens.

  Attributes:
    event: of an event as it is told, which keeps its beginning.
    text: of a prompt and a response; the prompt keeps its end.
    response: of a response, which keeps its beginning.
    events: that are kept of a person, the latest.
  """

  event: int = 96
  text: int = 160
  response: int = 96
  events: int = 16


_LIMITS = Limits()


def kept(
  tokenizer: Tokenizer,
  histories: Sequence[Sequence[TextEvent]],
  embeddings: Sequence[np.ndarray],
  *,
  limits: Limits = _LIMITS,
) -> episodic.Memory:
  """Returns the memory of U people's events in words, in order of time.

  Args:
    tokenizer: of the decoder that is told.
    histories: of U people, oldest first.
    embeddings: of each, `[E, D]`, which events are recalled by.
    limits: of an event, and how many are kept.

  Raises:
    ValueError: not one embedding an event.
  """
  U, C = len(histories), limits.events
  ids, mask = np.zeros((2, U, C, limits.event), np.int32)
  dim = max((own.shape[-1] for own in embeddings), default=1)
  key = np.zeros((U, C, dim), np.float32)
  time, there = np.zeros((2, U, C), np.float32)
  for user, (events, own) in enumerate(zip(histories, embeddings, strict=True)):
    if len(events) != len(own):
      raise ValueError(
        f'person {user}: {len(events)} events and {len(own)} embeddings'
      )
    latest = list(events)[-C:]
    words = [user_histories.written(event) + '\n' for event in latest]
    for place, text in enumerate(_encoded(tokenizer, words)):
      tokens = text[: limits.event]
      ids[user, place, : len(tokens)], mask[user, place, : len(tokens)] = (
        tokens,
        1,
      )
    n = len(latest)
    key[user, :n], there[user, :n] = own[len(events) - n :], 1
    time[user, :n] = [event.time for event in latest]
  one = types.Tokens(*np.zeros((2, limits.event), np.int32))
  whole = episodic.Events(
    jnp.asarray(key),
    jnp.asarray(time),
    jnp.asarray(mask.sum(-1), jnp.float32),
    jnp.asarray(there),
    types.Tokens(jnp.asarray(ids), jnp.asarray(mask)),
  )
  return episodic.append(episodic.empty(U, C, dim, one), whole)


def lessons(
  tokenizer: Tokenizer,
  histories: Sequence[Sequence[TextEvent]],
  *,
  limits: Limits = _LIMITS,
) -> personal_adapters.Events:
  """Returns what adapters learn of people: their strict choices, the latest.

  What was chosen is first; statements and ties teach nothing here.

  Args:
    tokenizer: of the decoder.
    histories: of U people, oldest first.
    limits: of texts, and how many events are kept.
  """
  pairs = []
  for events in histories:
    own = []
    for event in events:
      if len(event.shown) == 2 and event.label not in (None, _TIE):
        first, second = event.shown
        if event.label < _TIE:
          first, second = second, first
        about = event.about, event.about, event.time, event.prompt
        own.append(AskedPair(*about, first, second, 1.0))
    pairs.append(own[-limits.events :])
  tokens, there = _padded(tokenizer, pairs, limits.events, limits)
  return personal_adapters.Events(tokens, jnp.asarray(there))


def asked(
  tokenizer: Tokenizer,
  pairs: Sequence[Sequence[AskedPair]],
  *,
  size: int | None = None,
  limits: Limits = _LIMITS,
) -> tuple[types.Tokens, np.ndarray]:
  """Returns texts `[U, Q, 2, T]`, first and second, and which pairs are there.

  Args:
    tokenizer: of the decoder.
    pairs: of U people, Q at most.
    size: Q; the most that anybody has if None.
    limits: of texts.
  """
  size = max(map(len, pairs)) if size is None else size
  return _padded(tokenizer, pairs, size, limits)


def _padded(tokenizer, pairs, size, limits):
  """Returns tokens `[U, size, 2, T]` and a mask `[U, size]`."""
  U, T = len(pairs), limits.text
  ids, mask, branch = np.zeros((3, U, size, 2, T), np.int32)
  there = np.zeros((U, size), np.float32)
  for user, own in enumerate(pairs):
    found = trajectories.tokenize(
      tokenizer,
      [pair.prompt for pair in own for _ in range(2)],
      [text for pair in own for text in (pair.first, pair.second)],
      answer=limits.response,
    )
    there[user, : len(own)] = 1
    for place, each in enumerate(found):
      at = user, place // 2, place % 2
      answer = len(each.response)
      whole = each.ids(max(T - len(each.joint) - answer, 0))[-T:]
      n = len(whole)
      ids[at][:n], mask[at][:n] = whole, 1
      branch[at][max(n - answer, 0) : n] = 1
  tokens = types.Tokens(
    jnp.asarray(ids), jnp.asarray(mask), branch=jnp.asarray(branch)
  )
  return tokens, there


def _encoded(tokenizer, texts: Sequence[str]) -> list[list[int]]:
  found = trajectories.tokenize(tokenizer, texts, [''] * len(texts))
  return [list(each.prompt) for each in found]


def memory_gigabytes(
  sizes: decoder.DecoderConfig,
  *,
  rank: int,
  people: int,
  together: int,
  batch: int,
  tokens: int,
) -> dict[str, float]:
  """Returns what adapters of people on one decoder need, by arithmetic.

  In float32: the weights, which nobody changes and no gradient is kept of; the
  adapters of all people; of those who train together three more of each, for
  the gradient and two moments; and the scores of all tokens of a step, with
  their gradient, the largest of what a step computes.

  Args:
    sizes: of the decoder.
    rank: of an adapter, of `models.adapters`' four kernels.
    people: U.
    together: who train in one program.
    batch: texts of a person in one step.
    tokens: of a text.
  """
  D, M = sizes.hidden_size, sizes.intermediate_size
  keys = sizes.num_key_value_heads * sizes.head_dim
  heads = sizes.num_attention_heads * sizes.head_dim
  own = (D + keys) + (heads + D) + (D + M) + (M + D)
  adapter = 4 * rank * own * sizes.num_hidden_layers
  return {
    'weights': 4 * sizes.parameters / 1e9,
    'adapter': adapter / 1e9,
    'adapters': people * adapter / 1e9,
    'training': 3 * together * adapter / 1e9,
    'scores': 8 * together * batch * tokens * sizes.vocab_size / 1e9,
  }
