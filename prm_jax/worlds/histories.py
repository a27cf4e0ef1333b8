"""People who leave a history, from which a summary can say what they like.

A person cares about two of six attributes, one twice as much as the other, and
prefers a value of each. A history is twelve events in one topic, each a word
with a marker: on events with `must` the word is the strong preference's, with
`like` the weak one's, and with four other markers it is any. What markers mean
is told to nobody. What is to be predicted are choices between responses, of
four words each, mostly in another topic.

A word stands for one value of one attribute in one topic. Statements, which
summaries are made of, stand for a value in all topics; in the world without
that favour to text (`own_words`) they are the words of the history's topic.
Who reads choices with a summary then has as much to translate as who reads
them with the history.

Everything is token ids. An event is one token, made of two that a network may
embed: see `fields`.

Axis letters: B contexts, H events of a history, N pairs, S statements of a
summary, V tokens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ATTRIBUTES, VALUES, TOPICS = 6, 3, 5
EVENTS, WORDS, STATEMENTS = 12, 4, 3  # of a history, a response, a summary
MARKERS = ('must', 'like', 'saw', 'near', 'with', 'then')
STRONG, WEAK = 0, 1  # the markers that tell
WEIGHTS = (2, 1)  # of what is preferred strongly and weakly
TASTES = (0.5, 0.3, 0.2)  # how often each value is preferred
CARED = (0.25, 0.22, 0.18, 0.15, 0.1, 0.1)  # how often attributes matter
SLIPS = 0.1  # of events that tell, the value is any
SLOPE = 2.0  # of choices: sigmoid(SLOPE x difference of utilities)
KINDS = ((0, 5), (1, 4), (2, 3))  # pairs of attributes of nobody in training
SPLITS = ('seen', 'new', 'combo', 'topic', 'hist', 'kind')
UNSEEN = TOPICS - 1  # the topic that no person in training has

_FACTS = ATTRIBUTES * VALUES
_EARLY = 0.3  # of demonstrations without a cue
PAD, END, ASK = 0, 1, 2
CUE = 3  # + marker: asks for the events that have it
STATEMENT = CUE + len(MARKERS)  # + fact
WORD = STATEMENT + _FACTS  # + topic * facts + fact
EVENT = WORD + TOPICS * _FACTS  # + marker * words + word
_PLAIN = [f'a{a}={v}' for a in range(ATTRIBUTES) for v in range(VALUES)]
_SPOKEN = [f'{fact}@{t}' for t in range(TOPICS) for fact in _PLAIN]
TOKENS = (
  *('_', '.', '?'),
  *(f'{marker}?' for marker in MARKERS),
  *_PLAIN,
  *_SPOKEN,
  *(f'{marker}:{word}' for marker in MARKERS for word in _SPOKEN),
)
ATOMS = EVENT + len(MARKERS)  # of which tokens are made


class People(NamedTuple):
  """What people like, strongly and weakly, in this order.

  Attributes:
    attribute: `[U, 2]` the two that matter.
    value: `[U, 2]` the preferred value of each.
  """

  attribute: np.ndarray
  value: np.ndarray

  def take(self, rows: np.ndarray) -> 'People':
    """Returns some of the people, by an index."""
    return People(self.attribute[rows], self.value[rows])


class Histories(NamedTuple):
  """B histories of H events.

  Attributes:
    topic: `[B]`, all events of a history have one.
    marker: `[B, H]` index into `MARKERS`.
    attribute: `[B, H]`.
    value: `[B, H]`.
  """

  topic: np.ndarray
  marker: np.ndarray
  attribute: np.ndarray
  value: np.ndarray


class Pairs(NamedTuple):
  """N choices of each of B people, between two responses of four words.

  Attributes:
    topic: `[B, N]` of both responses.
    attribute: `[B, N, 2, 4]`, no two of a response are the same.
    value: `[B, N, 2, 4]`.
    label: `[B, N]` 1 where the first was chosen, else 0.
  """

  topic: np.ndarray
  attribute: np.ndarray
  value: np.ndarray
  label: np.ndarray


class Contexts(NamedTuple):
  """B histories, who they are of, and what these people choose.

  Attributes:
    user: `[B]` number of the person.
    people: `[B, 2]` what each context's person likes.
    histories: B.
    pairs: B times N.
  """

  user: np.ndarray
  people: People
  histories: Histories
  pairs: Pairs


# --------------------------------------------------------------------- people


def people(
  rng: np.random.Generator, count: int, *, held_out: bool = False
) -> People:
  """Returns people, none of whom has a pair of attributes of `KINDS`.

  Args:
    rng: of the draw.
    count: U.
    held_out: all have one of `KINDS`, instead.
  """
  attribute = np.zeros((count, 2), int)
  again = np.arange(count)
  while len(again):
    # The two largest: drawn one after the other, without replacement.
    noise = rng.gumbel(size=(len(again), ATTRIBUTES)) + np.log(CARED)
    attribute[again] = np.argsort(-noise, 1)[:, :2]
    ordered = np.sort(attribute[again], 1)
    kind = (ordered[:, None] == np.array(KINDS)).all(-1).any(1)
    again = again[kind != held_out]
  value = rng.choice(VALUES, (count, 2), p=TASTES)
  return People(attribute, value)


def histories(
  rng: np.random.Generator, given: People, topic: np.ndarray
) -> Histories:
  """Returns a history of each person.

  One or two events tell the strong preference and one or two the weak one;
  the others have other markers, and any word of the topic.

  Args:
    rng: of the events.
    given: B.
    topic: `[B]`.
  """
  B, H = len(topic), EVENTS
  shape = (B, H)
  marker = rng.integers(2, len(MARKERS), shape)
  attribute = rng.integers(0, ATTRIBUTES, shape)
  value = rng.integers(0, VALUES, shape)
  count = rng.integers(1, 3, (B, 2))
  first = np.array([0, 2])  # places of strong events, and then of weak ones
  slip = rng.random(shape) < SLIPS
  for kind in (STRONG, WEAK):
    tells = np.arange(H) - first[kind]
    tells = (tells >= 0) & (tells < count[:, kind, None])
    marker = np.where(tells, kind, marker)
    attribute = np.where(tells, given.attribute[:, kind, None], attribute)
    known = tells & ~slip
    value = np.where(known, given.value[:, kind, None], value)
  order = np.argsort(rng.random(shape), 1)
  mixed = (np.take_along_axis(x, order, 1) for x in (marker, attribute, value))
  return Histories(topic, *mixed)


def pair_topics(
  rng: np.random.Generator, topic: np.ndarray, count: int, split: str
) -> np.ndarray:
  """Returns topics `[B, N]` of pairs whose histories have topics `[B]`.

  Of topics 0 to 3 a pair never has the one after its history's in training,
  and always has it in `combo`; in `topic` pairs have the unseen one.

  Args:
    rng: of the draw.
    topic: `[B]` of the histories.
    count: N.
    split: one of `SPLITS`.
  """
  B, known = len(topic), TOPICS - 1
  after = (topic[:, None] + 1) % known
  if split == 'topic':
    return np.full((B, count), UNSEEN)
  if split == 'combo':
    return np.repeat(after, count, 1)
  if split == 'hist':
    return rng.integers(0, known, (B, count))
  return (after + rng.integers(1, known, (B, count))) % known


def utilities(
  given: People, attribute: np.ndarray, value: np.ndarray
) -> np.ndarray:
  """Returns how much people like responses, `[B, ...]`: 0 to 3.

  The sum of the weights of what they prefer and the response has.

  Args:
    given: B.
    attribute: `[B, ..., 4]`.
    value: `[B, ..., 4]`.
  """
  total = np.zeros(attribute.shape[:-1], int)
  lead = (len(attribute), *(1,) * (attribute.ndim - 1))
  for kind, weight in enumerate(WEIGHTS):
    has = attribute == given.attribute[:, kind].reshape(lead)
    has &= value == given.value[:, kind].reshape(lead)
    total += weight * has.any(-1)
  return total


def pairs(rng: np.random.Generator, given: People, topic: np.ndarray) -> Pairs:
  """Returns choices of people between responses that they like differently.

  Args:
    rng: of responses and choices.
    given: B.
    topic: `[B, N]`.
  """
  attribute, value = _responses(
    rng, topic.shape, lambda row, a, v: utilities(given.take(row), a, v)
  )
  liked = utilities(given, attribute, value)
  margin = SLOPE * (liked[..., 0] - liked[..., 1])
  label = rng.random(topic.shape) < 1 / (1 + np.exp(-margin))
  return Pairs(topic, attribute, value, label.astype(np.float32))


def _responses(rng, shape, liked):
  """Returns attributes and values `[B, N, 2, 4]` of pairs that are no ties.

  `liked(rows [R], attribute [R, 2, 4], value) -> [R, 2]`.
  """
  B, N = shape
  attribute, value = np.zeros((2, B * N, 2, WORDS), int)
  again = np.arange(B * N)
  while len(again):
    size = (len(again), 2)
    order = np.argsort(rng.random((*size, ATTRIBUTES)), -1)
    attribute[again] = order[..., :WORDS]
    value[again] = rng.integers(0, VALUES, (*size, WORDS))
    found = liked(again // N, attribute[again], value[again])
    again = again[found[:, 0] == found[:, 1]]
  return (leaf.reshape(B, N, 2, WORDS) for leaf in (attribute, value))


def best_accuracy() -> float:
  """Returns how often who knows every person predicts their choice: .932.

  Exactly, over responses: a response has the one attribute with probability
  4/6, the other then with 3/5 and else with 4/5, and the preferred value of
  each with 1/3.
  """
  has = {(1, 1): 2 / 5, (1, 0): 4 / 15, (0, 1): 4 / 15, (0, 0): 1 / 15}
  chance = np.zeros(sum(WEIGHTS) + 1)
  for (strong, weak), p in has.items():
    for s, w in np.ndindex(2, 2):
      own = [(1 / 3, 2 / 3)[not hit] for hit in (s, w)]
      p_s = own[0] if strong else 1.0 - s
      p_w = own[1] if weak else 1.0 - w
      chance[WEIGHTS[0] * s + WEIGHTS[1] * w] += p * p_s * p_w
  both = np.outer(chance, chance)
  apart = np.abs(np.subtract.outer(range(len(chance)), range(len(chance))))
  both[apart == 0] = 0.0
  return float((both / (1 + np.exp(-SLOPE * apart))).sum() / both.sum())


# --------------------------------------------------------------------- splits


def training(
  rng: np.random.Generator,
  count: int = 600,
  *,
  histories_each: int = 2,
  pairs_each: int = 24,
) -> Contexts:
  """Returns the people who train, each with fixed histories and pairs.

  Args:
    rng: of everything.
    count: U people.
    histories_each: of a person, in any of topics 0 to 3; B = U times this.
    pairs_each: N of each history.
  """
  everybody = people(rng, count)
  user = np.repeat(np.arange(count), histories_each)
  return _contexts(rng, everybody.take(user), user, 'new', pairs_each)


def examined(
  rng: np.random.Generator,
  split: str,
  known: Contexts,
  count: int = 384,
  pairs_each: int = 8,
) -> Contexts:
  """Returns contexts of a split on which learners are examined.

  | split | people | histories | pairs |
  |---|---|---|---|
  | seen | who trained | theirs | new ones |
  | new | new | topics 0 to 3 | combinations as in training |
  | combo | new | topics 0 to 3 | of the topic after the history's |
  | topic | new | topics 0 to 3 | of the unseen topic |
  | hist | new | of the unseen topic | topics 0 to 3 |
  | kind | new, of `KINDS` | topics 0 to 3 | combinations as in training |

  Args:
    rng: of the draw.
    split: one of `SPLITS`.
    known: the contexts that trained, of which `seen` takes some.
    count: B contexts, of as many people but in `seen`.
    pairs_each: N.

  Raises:
    ValueError: unknown split.
  """
  if split not in SPLITS:
    raise ValueError(f'split {split!r}: one of {SPLITS}')
  if split != 'seen':
    given = people(rng, count, held_out=split == 'kind')
    return _contexts(rng, given, np.arange(count), split, pairs_each)
  some = rng.permutation(len(known.user))[:count]
  given = known.people.take(some)
  old = Histories._make(leaf[some] for leaf in known.histories)
  topic = pair_topics(rng, old.topic, pairs_each, split)
  return Contexts(known.user[some], given, old, pairs(rng, given, topic))


def _contexts(rng, given, user, split, count):
  """Returns a context of every row of people."""
  topic = rng.integers(0, TOPICS - 1, len(user))
  if split == 'hist':
    topic = np.full(len(user), UNSEEN)
  chosen = pair_topics(rng, topic, count, split)
  told = histories(rng, given, topic)
  return Contexts(user, given, told, pairs(rng, given, chosen))


# ---------------------------------------------------------------- warm starts


class Shown(NamedTuple):
  """Demonstrations of how histories are summarised.

  Attributes:
    histories: B, of strangers.
    asked: `[B]` what stands behind a history: `ASK`, or the cue of a marker.
    summaries: `[B, S]` statements and perhaps `END`, then `PAD`.
  """

  histories: Histories
  asked: np.ndarray
  summaries: np.ndarray


def shown(
  rng: np.random.Generator, count: int, *, own_words: bool = False
) -> Shown:
  """Returns summaries that tell what to look at, not what matters.

  Strangers' events are all random. A summary states three different ones, later
  ones being likelier. Half of the histories are asked about a marker, whose
  events come first. Of the others some summaries end early, and never because
  a marker's events are told: who learned to look for one marker would have
  learned to stop behind it, and never find the other that matters.

  Args:
    rng: of the draw.
    count: B.
    own_words: whether statements are words of the history's topic.
  """
  shape = (count, EVENTS)
  told = Histories(
    rng.integers(0, TOPICS, count),
    rng.integers(0, len(MARKERS), shape),
    rng.integers(0, ATTRIBUTES, shape),
    rng.integers(0, VALUES, shape),
  )
  cued, cue = rng.random(count) < 0.5, rng.integers(0, len(MARKERS), count)
  asked = cued[:, None] & (told.marker == cue[:, None])
  late = np.log(np.linspace(1.0, 2.0, EVENTS))
  order = np.lexsort((-rng.gumbel(size=shape) - late, ~asked))
  early = ~cued & (rng.random(count) < _EARLY)
  length = np.where(early, rng.integers(0, STATEMENTS, count), STATEMENTS)
  ids = spoken(
    told.attribute, told.value, told.topic[:, None] if own_words else None
  )
  ids = np.take_along_axis(ids, order, 1)
  earlier = np.tril(np.ones((EVENTS, EVENTS), bool), -1)
  stated = ~((ids[:, :, None] == ids[:, None, :]) & earlier).any(-1)
  stated &= np.cumsum(stated, 1) <= length[:, None]
  return Shown(told, np.where(cued, CUE + cue, ASK), _summaries(ids, stated))


def _summaries(ids, kept):
  """Returns the first statements that are kept, and END where there is room."""
  B = len(ids)
  order = np.argsort(~kept, 1, kind='stable')[:, :STATEMENTS]
  there = np.take_along_axis(kept, order, 1)
  found = np.where(there, np.take_along_axis(ids, order, 1), PAD)
  length = there.sum(1)
  short = length < STATEMENTS
  found[np.arange(B)[short], length[short]] = END
  return found


class Strangers(NamedTuple):
  """Choices that follow from summaries alone.

  Attributes:
    summaries: `[B, S]` statements and perhaps `END`, then `PAD`.
    pairs: B times N; the first was chosen where it fits the summary better.
  """

  summaries: np.ndarray
  pairs: Pairs


def strangers(
  rng: np.random.Generator,
  count: int,
  pairs_each: int = 8,
  *,
  own_words: bool = False,
) -> Strangers:
  """Returns one to three random statements, and the choices that fit them.

  All topics occur. Nobody's taste is in them: what a summary states first
  counts most, and every other statement half of the one before.

  Args:
    rng: of the draw.
    count: B.
    pairs_each: N.
    own_words: whether statements are words, of one topic for each summary.
  """
  facts = np.argsort(rng.random((count, _FACTS)), 1)[:, :STATEMENTS]
  attribute, value = np.divmod(facts, VALUES)
  length = rng.integers(1, STATEMENTS + 1, count)
  kept = np.arange(STATEMENTS) < length[:, None]
  said = rng.integers(0, TOPICS, (count, 1)) if own_words else None
  topic = rng.integers(0, TOPICS, (count, pairs_each))
  counts = 0.5 ** np.arange(STATEMENTS)

  def fits(row, a, v):
    same = (a * VALUES + v)[..., None] == facts[row, None, None]
    return ((same & kept[row, None, None]).any(-2) * counts).sum(-1)

  a, v = _responses(rng, topic.shape, fits)
  liked = fits(
    np.arange(count * pairs_each) // pairs_each,
    *(leaf.reshape(-1, 2, WORDS) for leaf in (a, v)),
  )
  label = (liked[:, 0] > liked[:, 1]).reshape(topic.shape)
  return Strangers(
    _summaries(spoken(attribute, value, said), kept),
    Pairs(topic, a, v, label.astype(np.float32)),
  )


# --------------------------------------------------------------------- tokens


def spoken(
  attribute: np.ndarray, value: np.ndarray, topic: np.ndarray | None = None
) -> np.ndarray:
  """Returns the statement of a value `[...]`, or its word in a topic.

  Args:
    attribute: `[...]`.
    value: `[...]`.
    topic: `[...]`; a statement for all topics if None.
  """
  fact = attribute * VALUES + value
  return STATEMENT + fact if topic is None else WORD + topic * _FACTS + fact


def events(given: Histories) -> np.ndarray:
  """Returns histories' tokens `[B, H]`, one an event."""
  word = spoken(given.attribute, given.value, given.topic[:, None]) - WORD
  found = EVENT + given.marker * TOPICS * _FACTS + word
  return found.astype(np.int32)


def responses(given: Pairs) -> np.ndarray:
  """Returns responses' tokens `[B, N, 2, 4]`."""
  topic = given.topic[..., None, None]
  return spoken(given.attribute, given.value, topic).astype(np.int32)


def truths(given: Contexts, *, own_words: bool = False) -> np.ndarray:
  """Returns the summaries of who knows everything, `[B, 3]`.

  The strong preference, the weak one, and `END`.

  Args:
    given: B.
    own_words: whether statements are words of the history's topic.
  """
  topic = given.histories.topic[:, None] if own_words else None
  said = spoken(*given.people, topic)
  ids = np.concatenate([said, np.full((len(said), 1), END)], 1)
  return ids.astype(np.int32)


def statements(*, own_words: bool = False) -> tuple[int, ...]:
  """Returns the tokens that a summary may state."""
  first, last = (WORD, EVENT) if own_words else (STATEMENT, WORD)
  return tuple(range(first, last))


def facts_told(given: People, ids: np.ndarray) -> dict[str, np.ndarray]:
  """Returns which summaries tell what their people like, each `[B]` bool.

  `strong_first`, that the first statement is the strong preference, and
  `both`, that both preferences are stated somewhere. In which topic a word is
  does not matter.

  Args:
    given: B.
    ids: `[B, S]` summaries.
  """
  stated = (ids >= STATEMENT) & (ids < EVENT)
  fact = np.where(stated, (ids - STATEMENT) % _FACTS, -1)
  wanted = given.attribute * VALUES + given.value
  told = fact[:, :, None] == wanted[:, None]
  return {'strong_first': told[:, 0, 0], 'both': told.any(1).all(1)}


def fields() -> np.ndarray:
  """Returns what each token is made of, `[V, 2]` of `ATOMS`, -1 for nothing.

  An event is its word and its marker; every other token is itself.
  """
  table = np.full((len(TOKENS), 2), -1)
  table[:EVENT, 0] = np.arange(EVENT)
  marker, word = np.divmod(np.arange(len(TOKENS) - EVENT), TOPICS * _FACTS)
  table[EVENT:, 0], table[EVENT:, 1] = WORD + word, EVENT + marker
  return table.astype(np.int32)


def read(ids: Sequence[int]) -> str:
  """Returns what tokens say, without padding."""
  return ' '.join(TOKENS[i] for i in ids if i != PAD)
