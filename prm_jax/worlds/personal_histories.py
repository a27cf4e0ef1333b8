"""People who leave texts behind, from which memories of people are made.

Every text is in a topic and has a word for each of six attributes, one of
three values. A person prefers a value of each, and four switches say what
their history is worth:

  drift     the chance that the taste for an attribute is drawn anew, an event
  topical   the share of attributes, topic by topic, for which a person has a
            taste of that topic alone
  authored  a kept text was written by the person, and the rejected one by
            another; or else the person chose the better of two of nobody
  events    how many are kept

What is to be predicted are pairs of texts after the last event, of the same
making. Attributes and values are those of `histories`.

    setting = Setting(drift=0.06)
    world = lived(rng, 200, setting)
    best_accuracy(setting)               # of who knows every person
    predicted(world, setting)            # of who has read every history

Axis letters: U people, E events, Q queries, A attributes; texts are values
`[..., A]`, pairs of them `[..., 2, A]`, what was chosen first.
"""

import math
from typing import NamedTuple

import numpy as np

from prm_jax.worlds import histories

ATTRIBUTES, VALUES, TOPICS = histories.ATTRIBUTES, histories.VALUES, 3
FIRM = 0.6  # of an author's words are what is preferred, the others are any
SLOPE = 1.5  # of choices: sigmoid(SLOPE x difference of matches)
SUBJECTS, SUBJECT = 8, 0.5  # numbers and length of what a prompt is about
SHOWN, TOLD = 4, 0.8  # events of a demonstration; statements that are right

_FACTS = ATTRIBUTES * VALUES
PAD, ASK = 0, 1
TOPIC = ASK + 1  # + topic
STATEMENT = TOPIC + TOPICS  # + attribute * values + value
WORD = STATEMENT + _FACTS  # + topic * facts + attribute * values + value
VOCABULARY = WORD + TOPICS * _FACTS
LENGTH = 1 + ATTRIBUTES  # tokens of a text, its topic first


class Setting(NamedTuple):
  """Four switches of the world.

  Attributes:
    drift: chance, an event, that an attribute's taste is drawn anew.
    topical: chance that a topic has a taste for an attribute of its own.
    authored: whether texts are written, and not chosen.
    events: E that are kept of a person.
  """

  drift: float = 0.0
  topical: float = 0.0
  authored: bool = True
  events: int = 32


class People(NamedTuple):
  """What people like at one time.

  Attributes:
    own: `[U, topics, A]` bool, where a topic has its own taste.
    value: `[U, topics, A]` what is preferred.
  """

  own: np.ndarray
  value: np.ndarray


class Pairs(NamedTuple):
  """N events, or queries, of each of U people.

  Attributes:
    topic: `[U, N]`.
    value: `[U, N, 2, A]` words of the chosen text and of the rejected one.
    subject: `[U, N, S]` what the prompt is about, which says nothing of what
      is liked.
    liked: `[U, N, A]` what the person preferred then, in that topic.
  """

  topic: np.ndarray
  value: np.ndarray
  subject: np.ndarray
  liked: np.ndarray


class World(NamedTuple):
  """What U people did, and what they choose afterwards.

  Attributes:
    people: as they are when they are asked.
    events: E, in order of time.
    queries: Q, all at one time, after the last event.
  """

  people: People
  events: Pairs
  queries: Pairs


# --------------------------------------------------------------------- people


def people(rng: np.random.Generator, count: int, topical: float) -> People:
  """Returns people, whose tastes are any.

  Args:
    rng: of the draw.
    count: U.
    topical: see `Setting`.
  """
  own = rng.random((count, TOPICS, ATTRIBUTES)) < topical
  return People(own, _tastes(rng, own))


def _tastes(rng, own):
  """Returns preferred values `[U, topics, A]`."""
  each = rng.integers(0, VALUES, own.shape)
  shared = rng.integers(0, VALUES, own[:, :1].shape)
  return np.where(own, each, shared)


def later(rng: np.random.Generator, given: People, drift: float) -> People:
  """Returns people after one more event.

  Of an attribute either all tastes are drawn anew, those of topics too, or
  none; where a topic has its own does not change.

  Args:
    rng: of the draw.
    given: U.
    drift: see `Setting`.
  """
  changed = rng.random((len(given.own), 1, ATTRIBUTES)) < drift
  new = _tastes(rng, given.own)
  return given._replace(value=np.where(changed, new, given.value))


def lived(
  rng: np.random.Generator, count: int, setting: Setting, *, queries: int = 16
) -> World:
  """Returns people's histories, and what they choose afterwards.

  Args:
    rng: of everything.
    count: U, at least 2 where texts are authored.
    setting: of the world.
    queries: Q of a person.

  Raises:
    ValueError: nobody else is there to write what is rejected.
  """
  if setting.authored and count < 2:
    raise ValueError('authored texts need two people: one to write the other')
  now = people(rng, count, setting.topical)
  told = []
  for _ in range(setting.events):
    told.append(_pairs(rng, now, setting, 1))
    now = later(rng, now, setting.drift)
  nothing = _pairs(rng, now, setting, 0)
  events = Pairs(
    *(np.concatenate(leaves, 1) for leaves in zip(nothing, *told, strict=True))
  )
  return World(now, events, _pairs(rng, now, setting, queries))


def _pairs(rng, now, setting, count):
  """Returns N = `count` pairs of texts of everybody, at one time."""
  U = len(now.own)
  topic = rng.integers(0, TOPICS, (U, count))
  row = np.arange(U)[:, None]
  liked = now.value[row, topic]
  any_text = rng.integers(0, VALUES, (U, count, 2, ATTRIBUTES))
  if setting.authored:
    other = (row + rng.integers(1, U, (U, count))) % U
    wanted = np.stack([liked, now.value[other, topic]], 2)
    firm = rng.random(any_text.shape) < FIRM
    value = np.where(firm, wanted, any_text)
  else:
    match = (any_text == liked[:, :, None]).sum(-1)
    margin = SLOPE * (match[..., 0] - match[..., 1])
    first = rng.random(topic.shape) < 1 / (1 + np.exp(-margin))
    order = np.stack([~first, first], -1).astype(int)
    value = np.take_along_axis(any_text, order[..., None], 2)
  subject = rng.standard_normal((U, count, SUBJECTS))
  subject *= SUBJECT / np.linalg.norm(subject, axis=-1, keepdims=True)
  return Pairs(topic, value, subject, liked)


def embeddings(given: Pairs) -> np.ndarray:
  """Returns what prompts are recalled by, `[U, N, topics + S]`.

  Prompts of one topic are nearer than those of two; which of one topic are
  near does not hang on when they were, nor on what is liked.
  """
  topic = np.eye(TOPICS)[given.topic]
  return np.concatenate([topic, given.subject], -1).astype(np.float32)


# -------------------------------------------------------------- best possible


def best_accuracy(setting: Setting) -> float:
  """Returns how often who knows every person predicts the chosen text.

  Where texts are authored the person's has Binomial(6, 11/15) words that they
  prefer and another's, of whom nothing is known, Binomial(6, 1/3); more of
  them is likelier the person's. Choices are between two of the latter. Neither
  drift nor topics matter to who knows, nor does the length of the history.

  Args:
    setting: of the world.
  """
  firm = FIRM + (1 - FIRM) / VALUES
  own = _binomial(firm if setting.authored else 1 / VALUES)
  both = np.outer(own, _binomial(1 / VALUES))
  gap = np.subtract.outer(range(len(own)), range(len(own)))
  if setting.authored:
    return float((both * ((gap > 0) + 0.5 * (gap == 0))).sum())
  return float((both / (1 + np.exp(-SLOPE * abs(gap)))).sum())


def _binomial(p):
  """Returns the distribution of how many of the words are as preferred."""
  A = ATTRIBUTES
  return [math.comb(A, k) * p**k * (1 - p) ** (A - k) for k in range(A + 1)]


def predicted(world: World, setting: Setting) -> np.ndarray:
  """Returns the chance that a query's first text was chosen, `[U, Q]`.

  Of who has read the person's own events and knows the world: exact Bayes, a
  filter over what they may like. No memory of the history can do better.

  Args:
    world: of U people.
    setting: that the world was made in.

  Raises:
    ValueError: choices of people whose tastes hang on topics, where attributes
      cannot be taken one by one.
  """
  if not setting.authored:
    if setting.topical:
      raise ValueError('choices and tastes of topics: not summed exactly')
    return _predicted_choices(world, setting.drift)
  chance = _words_chance(world, setting)  # [U, topics, A, values]
  row = np.arange(len(chance))[:, None]
  word = chance[row, world.queries.topic][:, :, None]  # [U, Q, 1, A, values]
  found = np.take_along_axis(word, world.queries.value[..., None], -1)[..., 0]
  # Of who else may have written it nothing is known: all texts are as likely.
  logit = np.log(found).sum(-1)
  return 1 / (1 + np.exp(logit[..., 1] - logit[..., 0]))


def _words_chance(world, setting):
  """Returns the chance of a person's next words, `[U, topics, A, values]`."""
  U = len(world.people.own)
  # States of one attribute: which topics have a taste of their own, and the
  # value that is preferred in each.
  own = np.array(list(np.ndindex(*(2,) * TOPICS))).astype(bool)[:, None]
  value = np.array(list(np.ndindex(*(VALUES,) * TOPICS)))[None]
  s = setting.topical
  chance = np.where(own, s, 1 - s).prod(-1)  # [M, 1]
  shared = [
    np.where(own, 1.0, value == v).prod(-1) / VALUES for v in range(VALUES)
  ]
  given = sum(shared) / float(VALUES) ** own.sum(-1)  # [M, values ** topics]
  state = np.tile(chance * given, (U, ATTRIBUTES, 1, 1))
  word = np.eye(VALUES) * FIRM + (1 - FIRM) / VALUES
  for e in range(world.events.topic.shape[1]):
    liked = value[0][:, world.events.topic[:, e]].T  # [U, values ** topics]
    said = world.events.value[:, e, 0]  # [U, A]
    state *= word[liked[:, None], said[:, :, None]][:, :, None]
    state /= state.sum((-2, -1), keepdims=True)
    drawn = state.sum(-1, keepdims=True) * given
    state = (1 - setting.drift) * state + setting.drift * drawn
  spoken = word[value[0]]  # [values ** topics, topics, values]
  return np.einsum('uamk,ktv->utav', state, spoken)


def _predicted_choices(world, drift):
  """Returns `predicted` of choices, over all tastes at once."""
  taste = np.array(list(np.ndindex(*(VALUES,) * ATTRIBUTES)))
  U, E = world.events.topic.shape
  cube = (U, *(VALUES,) * ATTRIBUTES)
  state = np.full(cube, 1 / len(taste))

  def chance(value):  # [U, 2, A]
    match = (value[:, :, None] == taste).sum(-1)
    return 1 / (1 + np.exp(SLOPE * (match[:, 1] - match[:, 0])))

  for e in range(E):
    state *= chance(world.events.value[:, e]).reshape(cube)
    state /= state.sum(tuple(range(1, len(cube))), keepdims=True)
    for axis in range(1, len(cube)):
      mean = state.mean(axis, keepdims=True)
      state = (1 - drift) * state + drift * mean
  state = state.reshape(U, -1)
  each = [
    (state * chance(pair)).sum(-1)
    for pair in np.moveaxis(world.queries.value, 1, 0)
  ]
  return np.stack(each, 1) if each else np.zeros((U, 0))


# ---------------------------------------------------------------- warm starts


class Shown(NamedTuple):
  """Texts of strangers, with what may be known of them in front.

  Attributes:
    events: `[B, SHOWN]` the strangers' other texts, of any topic.
    given: `[B, SHOWN]` bool, which of them are told, the latest.
    stated: `[B, A]` the values that are stated of them.
    told: `[B, A]` bool, which of these are told.
    text: one of each, `[B, 1]`.
  """

  events: Pairs
  given: np.ndarray
  stated: np.ndarray
  told: np.ndarray
  text: Pairs


def shown(rng: np.random.Generator, count: int, topical: float = 0.3) -> Shown:
  """Returns what a language model learns to read and to write memories from.

  None to four texts of a stranger who does not change, then statements of what
  they prefer, of which a fifth is any and which are not always there, then
  another text of theirs.

  Args:
    rng: of the draw.
    count: B, at least 2.
    topical: see `Setting`.
  """
  setting = Setting(topical=topical, events=SHOWN)
  world = lived(rng, count, setting, queries=1)
  number = rng.integers(0, SHOWN + 1, (count, 1))
  given = np.arange(SHOWN) >= SHOWN - number
  right = rng.random((count, ATTRIBUTES)) < TOLD
  stated = rng.integers(0, VALUES, right.shape)
  stated = np.where(right, world.queries.liked[:, 0], stated)
  some = rng.random((count, 1)) < 0.6
  told = some & (rng.random(right.shape) < 0.9)
  return Shown(world.events, given, stated, told, world.queries)


# --------------------------------------------------------------------- tokens


def texts(given: Pairs) -> np.ndarray:
  """Returns the tokens of texts, `[U, N, 2, LENGTH]`: a topic and words."""
  topic = given.topic[..., None, None]
  word = WORD + topic * _FACTS + _facts(given.value)
  first = np.broadcast_to(TOPIC + topic, (*word.shape[:-1], 1))
  return np.concatenate([first, word], -1).astype(np.int32)


def parts(prompt: int = 0) -> np.ndarray:
  """Returns which tokens of a text are the answer, `[LENGTH]` int32.

  The topic is not, and of the words all but the first `prompt`: a person's own
  prompts are like what they write.
  """
  return (np.arange(LENGTH) > prompt).astype(np.int32)


def statements(value: np.ndarray) -> np.ndarray:
  """Returns the tokens that state what is preferred, of no topic.

  Args:
    value: `[..., A]`.
  """
  return (STATEMENT + _facts(value)).astype(np.int32)


def stated(ids: np.ndarray) -> np.ndarray:
  """Returns values `[..., A]` that statements are of; -1 for other tokens.

  Args:
    ids: `[..., A]`, the a-th about the a-th attribute.
  """
  value = np.asarray(ids) - _facts(np.zeros(ids.shape, int)) - STATEMENT
  return np.where((value >= 0) & (value < VALUES), value, -1)


def choices() -> np.ndarray:
  """Returns which tokens may stand at each place of statements, `[A, V]`."""
  allowed = np.zeros((ATTRIBUTES, VOCABULARY), bool)
  for value in range(VALUES):
    ids = statements(np.full(ATTRIBUTES, value))
    allowed[np.arange(ATTRIBUTES), ids] = True
  return allowed


def _facts(value):
  return np.arange(ATTRIBUTES) * VALUES + value
