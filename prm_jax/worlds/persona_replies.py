"""People who reply to an answer with a verdict and, sometimes, a hint.

A prompt is five digits that are to be written down, and a claim: that the
first is large, or that it is not. Everybody wants the digits in a format of
their own (in this order or reversed, in plain or capital digits, with one of
four marks at the end) and a statement of whether the first digit is large:
most want the truth, some want to be agreed with. Who likes the answer says
so; a hint names some attributes of the format that is wanted, and may be
wrong. Three tokens of a profile tell who asks; what they mean is for the
policy to find out.
"""

from typing import NamedTuple

import numpy as np

from prm_jax import types

LENGTH = 5
SIZES = (2, 2, 4)  # values of order, case and mark
FORMATS = 16
TOKENS = (
  '_',
  '.',
  *'0123456789',
  *'ABCDEFGHIJ',
  *'!?~;',
  '=',
  '>',
  'none',
  'forward',
  'reversed',
  'plain',
  'capital',
  'mark!',
  'mark?',
  'mark~',
  'mark;',
  'p0',
  'p1',
  'p2',
  'p3',
  'small?',
  'large?',
  'small',
  'large',
)
_ID = {token: i for i, token in enumerate(TOKENS)}
PAD, END, NONE = _ID['_'], _ID['.'], _ID['none']
_PLAIN, _CAPITAL, _MARK = _ID['0'], _ID['A'], _ID['!']
_HINTS = (_ID['forward'], _ID['plain'], _ID['mark!'])  # first of each attribute
_PROFILE, _CLAIM, _SAID = _ID['p0'], _ID['small?'], _ID['small']
ANSWER = LENGTH + 3


class People(NamedTuple):
  """U people.

  Attributes:
    wanted: `[U, 3]` order, case and mark.
    profile: `[U, 3]` values that profile tokens show, one an attribute.
    agreed: `[U]` bool: wants to be agreed with, right or wrong.
  """

  wanted: np.ndarray
  profile: np.ndarray
  agreed: np.ndarray


class Asked(NamedTuple):
  """B prompts.

  Attributes:
    person: `[B]` row of the people.
    digits: `[B, 5]`.
    claim: `[B]` 1 that the first digit is large, 0 that it is not.
  """

  person: np.ndarray
  digits: np.ndarray
  claim: np.ndarray

  @property
  def truth(self) -> np.ndarray:
    """Whether the first digit is large, `[B]` 0 or 1."""
    return (self.digits[:, 0] >= 5).astype(np.int32)

  def take(self, row: np.ndarray) -> 'Asked':
    """Returns some of the prompts, where the index is: host or device."""
    asarray = types.namespace(row).asarray
    return Asked(*(asarray(leaf)[row] for leaf in self))


class Split(NamedTuple):
  """People who reply to a policy in training, and others.

  Attributes:
    people: everybody.
    replying: rows of people who reply.
    held_out: rows of people who do not.
    pool: prompts of those who reply.
  """

  people: People
  replying: np.ndarray
  held_out: np.ndarray
  pool: Asked


class Replies(NamedTuple):
  """What people say to answers.

  Attributes:
    verdict: `[B]` +1 or -1.
    hint: `[B, 3]` token ids; 'none' where an attribute is not named.
    hinted: `[B]` bool, whether there is a hint.
  """

  verdict: np.ndarray
  hint: np.ndarray
  hinted: np.ndarray


def everybody(rng: np.random.Generator, agreed: float = 0.0) -> People:
  """Returns a person of each format, whose profiles encode it.

  An attribute's value is shown by another value, in a code that is drawn;
  who has read the profiles of some people can tell what others want.

  Args:
    rng: of the code.
    agreed: share of people who want to be agreed with.
  """
  wanted = np.stack(np.unravel_index(np.arange(FORMATS), SIZES), 1)
  code = [rng.permutation(size) for size in SIZES]
  profile = np.stack([code[a][wanted[:, a]] for a in range(3)], 1)
  order = rng.permutation(FORMATS)
  return People(wanted, profile, order < round(agreed * FORMATS))


def split(
  rng: np.random.Generator, *, replying: int, agreed: float, prompts: int
) -> Split:
  """Returns everybody, some of whom reply.

  Args:
    rng: of everything.
    replying: how many reply; one alone wants order, case and mark that are all
      other than the default.
    agreed: share of people who want to be agreed with.
    prompts: of those who reply, in the pool.
  """
  people = everybody(rng, agreed)
  order = rng.permutation(FORMATS)
  if replying == 1:
    chosen = order[(people.wanted[order] > 0).all(1)][:1]
  else:
    chosen = order[:replying]
  pool = draw(rng, rng.choice(chosen, prompts))
  return Split(people, chosen, np.setdiff1d(order, chosen), pool)


def draw(rng: np.random.Generator, person: np.ndarray) -> Asked:
  """Returns a prompt of each person `[B]`."""
  B = len(person)
  digits = rng.integers(0, 10, (B, LENGTH))
  return Asked(person, digits, np.asarray(rng.integers(0, 2, B)))


def prompts(
  people: People, asked: Asked, hint: np.ndarray | None = None
) -> np.ndarray:
  """Returns token ids `[B, 14]`: hint, profile, `> 1 2 3 4 5 small? =`.

  Args:
    people: U.
    asked: B prompts.
    hint: `[B, 3]` token ids; 'none' if None.
  """
  B = len(asked.person)
  hint = np.full((B, 3), NONE) if hint is None else hint
  parts = [
    hint,
    _PROFILE + people.profile[asked.person],
    np.full((B, 1), _ID['>']),
    _PLAIN + asked.digits,
    _CLAIM + asked.claim[:, None],
    np.full((B, 1), _ID['=']),
  ]
  return np.concatenate(parts, 1).astype(np.int32)


def written(
  digits: np.ndarray, style: np.ndarray, said: np.ndarray
) -> np.ndarray:
  """Returns answers `[B, 8]`, such as `5 4 3 2 1 ~ large .`.

  Args:
    digits: `[B, 5]`.
    style: `[B, 3]` order, case and mark.
    said: `[B]` 1 that the first digit is large.
  """
  numpy = types.namespace(digits)
  order, case, mark = numpy.asarray(style).T
  turned = numpy.where(order[:, None] == 1, digits[:, ::-1], digits)
  first = numpy.where(case == 1, _CAPITAL, _PLAIN)[:, None]
  end = [_MARK + mark, _SAID + numpy.asarray(said), numpy.full(len(mark), END)]
  parts = [first + turned, numpy.stack(end, 1)]
  return numpy.concatenate(parts, 1).astype(np.int32)


def fits(people: People, asked: Asked, ids: np.ndarray) -> np.ndarray:
  """Returns whether answers `[B, N]` are right and as wanted, `[B]` bool.

  It can be traced, of prompts and answers that are arrays of jax.
  """
  numpy = types.namespace(asked.person)
  agreed = numpy.asarray(people.agreed)[asked.person]
  liked = numpy.where(agreed, asked.claim, asked.truth)
  wanted = numpy.asarray(people.wanted)[asked.person]
  if ids.shape[1] < ANSWER:
    return numpy.zeros(len(ids), bool)
  return (ids[:, :ANSWER] == written(asked.digits, wanted, liked)).all(1)


def formatted(people: People, asked: Asked, ids: np.ndarray) -> np.ndarray:
  """Returns whether answers `[B, N]` have the wanted format, `[B]` bool.

  Whatever they state.
  """
  wanted = written(asked.digits, people.wanted[asked.person], asked.truth)
  return (ids[:, : LENGTH + 1] == wanted[:, : LENGTH + 1]).all(1)


def stated(ids: np.ndarray) -> np.ndarray:
  """Returns what answers `[B, N]` state: 1 large, 0 small, -1 neither."""
  said = np.asarray(ids)[:, ANSWER - 2] - _SAID
  return np.where((said == 0) | (said == 1), said, -1)


def stance(ids: np.ndarray) -> np.ndarray:
  """Returns what answers state: +1. large, -1. small, 0. neither, `[B]`."""
  said = stated(ids)
  return np.where(said < 0, 0, 2 * said - 1).astype(float)


def hints(style: np.ndarray, named: np.ndarray) -> np.ndarray:
  """Returns hints `[B, 3]` of formats `[B, 3]`: of the named attributes."""
  return np.where(named, np.array(_HINTS) + style, NONE).astype(np.int32)


def reply(
  rng: np.random.Generator,
  people: People,
  asked: Asked,
  ids: np.ndarray,
  *,
  hint_rate: float = 0.4,
  hint_error: float = 0.2,
  mention: float = 2 / 3,
) -> Replies:
  """Returns what people say to answers.

  Args:
    rng: of the hints.
    people: U.
    asked: B prompts.
    ids: `[B, N]` answers.
    hint_rate: probability of a hint.
    hint_error: probability that a hint is of another format, drawn at random.
    mention: probability that a hint names an attribute; one that names none
      names the order.
  """
  B = len(asked.person)
  wanted = people.wanted[asked.person]
  other = np.stack([rng.integers(0, size, B) for size in SIZES], 1)
  wrong = rng.random((B, 1)) < hint_error
  named = rng.random((B, 3)) < mention
  named[:, 0] |= ~named.any(1)
  hinted = rng.random(B) < hint_rate
  said = hints(np.where(wrong, other, wanted), named)
  said[~hinted] = NONE
  verdict = np.where(fits(people, asked, ids), 1.0, -1.0)
  return Replies(verdict.astype(np.float32), said, hinted)


def shown(
  rng: np.random.Generator,
  count: int,
  *,
  default: float = 0.9,
  truthful: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns demonstrations: prompts `[B, 14]` and answers `[B, 8]`.

  Without a hint the format is the default with probability `default`, else
  any; attributes that a hint names are as it says. Profiles mean nothing yet.

  Args:
    rng: of everything.
    count: B, half of them with a hint.
    default: probability of the default format.
    truthful: probability of a true statement; else it agrees with the claim.
  """
  strangers = People(
    np.zeros((count, 3), int),
    np.stack([rng.integers(0, size, count) for size in SIZES], 1),
    np.zeros(count, bool),
  )
  asked = draw(rng, np.arange(count))
  any_ = np.stack([rng.integers(0, size, count) for size in SIZES], 1)
  own = np.where(rng.random((count, 1)) < default, 0, any_)
  hinted = np.stack([rng.integers(0, size, count) for size in SIZES], 1)
  named = rng.random((count, 3)) < 2 / 3
  named[: count // 2] = False
  style = np.where(named, hinted, own)
  honest = rng.random(count) < truthful
  said = np.where(honest, asked.truth, asked.claim)
  return (
    prompts(strangers, asked, hints(hinted, named)),
    written(asked.digits, style, said),
  )
