"""PRIME's memories on anybody's judgements, with a frozen language model.

What is kept of a person stands before a pair in words (the judgements most
like it), or is an adapter of the model that learned to write what they chose.
A response's score is its log-probability, and one slope for everybody makes a
probability of two: p = sigmoid(slope (score_a - score_b)).

Judgements in a file have no time, so that recency is no method here.

Axis letters: U people, B judgements, C events, R groups of pairs, Q pairs.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from prm_jax import memory_texts, types
from prm_jax.data import user_histories
from prm_jax.lab import fitting, told
from prm_jax.models import adapters as banks
from prm_jax.models import features
from prm_jax.systems import personal_adapters, personal_memories
from prm_jax.users import episodic

# Name -> what a scorer is told of a person.
METHODS: Mapping[str, personal_memories.Parts] = {
  'recalled_events': personal_memories.NODES['events_similarity'],
  'personal_adapters': personal_memories.NODES['adapter_task'],
  'adapters_and_events': personal_memories.Parts(
    recall='similarity', adapter='task'
  ),
}
_PAIRS = 4  # of a person, scored together
_GROUPS = 8  # of them at once
_CALIBRATED = 400  # training judgements that the slope is fitted to, at most
_EVENTS, _RATES = (2, 4), (3e-3, 1e-2)  # what a search tries


class Options(NamedTuple):
  """What is kept of people, and how adapters learn.

  Attributes:
    kept: events of a person.
    event: tokens of one as it is told. Prompt and responses get a fifth of them
      in words each, so that what was chosen, at the end, is told too.
    adapter_steps, adapter_rank, adapter_batch: of each person's adapter.
    together: people whose adapters train in one program.
  """

  kept: int = 64
  event: int = 160
  adapter_steps: int = 40
  adapter_rank: int = 2
  adapter_batch: int = 4
  together: int = 16


def options(given: Mapping[str, Any]) -> Options:
  """Returns options, of those that are given.

  Raises:
    ValueError: there is no such option, or its number is out of range.
  """
  return told.changed(Options(), given, {})


class People(NamedTuple):
  """What is kept of U people; leaves lead with U.

  Attributes:
    events: of a memory that recalls; () where none does.
    adapters: of everybody; () where there is none.
  """

  events: episodic.Memory | tuple
  adapters: types.PyTree


class Prime:
  """Fits one of `METHODS` to problems; see `fitting.method_unit`."""

  def __init__(
    self,
    method: str,
    language: told.Language,
    limits: told.Options,
    given: Options,
  ):
    """Names what is fitted.

    Args:
      method: of `METHODS`.
      language: frozen.
      limits: tokens of texts and responses.
      given: what is kept, and how adapters learn.
    """
    self.method, self.parts = method, METHODS[method]
    self.language, self.given = language, given
    self.limits = memory_texts.Limits(
      event=given.event,
      text=limits.text,
      response=limits.response,
      events=given.kept,
    )

  def choices(self) -> list[dict[str, Any]]:
    """Returns what a search tries: events that are told, and a rate."""
    events = _EVENTS if self.parts.recall else (0,)
    rates = _RATES if self.parts.adapter else (0.0,)
    if self.parts.recall and self.parts.adapter:
      events = events[-1:]
    return [
      {'features': features.BACKBONE, 'events': count, 'rate': rate}
      for count in events
      for rate in rates
    ]

  @property
  def settings(self) -> dict[str, Any]:
    """Returns what it is, as plain data."""
    return {**self.given._asdict(), **self.limits._asdict()}

  def operations(self, judged: int) -> float:
    """Returns about how many operations so many predictions take.

    Args:
      judged: pairs that are scored, in all.
    """
    told_ = max(_EVENTS) * self.given.event if self.parts.recall else 0
    tokens = judged * 2 * (told_ + self.limits.text)
    return 2.0 * tokens * self.language.model.config.parameters

  def __call__(
    self,
    method: Mapping[str, Any],
    choice: Mapping[str, Any],
    problem: fitting.Problem,
    training: types.Batch,
    sets: fitting.FeatureSets,
  ) -> 'Remembered':
    """Returns the method with its slope fitted to training rows.

    Half of everybody's judgements are kept while the others are asked, so that
    no pair is asked that is remembered.

    Args:
      method: names nothing more.
      choice: 'events' and 'rate'.
      problem: whose texts and people they are.
      training: judgements.
      sets: of features; `features.BACKBONE` says which events are alike.
    """
    del method
    found = Remembered(self, choice, problem, sets[features.BACKBONE])
    counts = np.asarray(training.rows.mask) > 0
    rows = np.random.default_rng([problem.seed, 7]).permutation(len(counts))
    half = np.zeros(len(counts), bool)
    half[rows[::2]] = True
    asked = np.flatnonzero(counts & ~half)[:_CALIBRATED]
    kept = found.contexts(training.masked(half))
    some = training.take(asked)
    margin = found.margins(kept, some)
    found.slope = slope(margin, np.asarray(some.rows.label))
    return found


def slope(margin: np.ndarray, label: np.ndarray) -> float:
  """Returns the slope, 0 or above, under which labels are likeliest.

  With one judgement's worth of doubt, so that it is finite where all are right.

  Args:
    margin: `[B]`.
    label: `[B]` probability of the first.
  """
  scale = float(np.std(margin)) if len(margin) else 0.0
  if not scale:
    return 0.0

  def loss(log_slope):
    steep = np.exp(log_slope) * margin / scale
    nll = np.logaddexp(0, steep) - label * steep
    doubt = np.logaddexp(0, np.exp(log_slope)) - np.exp(log_slope) / 2
    return float(nll.sum() + doubt)

  found = optimize.minimize_scalar(loss, bounds=(-8, 5), method='bounded')
  return float(np.exp(found.x)) / scale


class Remembered:
  """A method, fitted: what is kept of people, and what it predicts.

  Attributes:
    slope: of a probability in a margin; 0 until one is fitted.
  """

  slope = 0.0

  def __init__(self, prime: Prime, choice, problem, table: np.ndarray):
    self.prime, self.choice, self.problem = prime, choice, problem
    # Centred, for cosines of what all texts share tell nothing.
    self._table = np.asarray(table - table.mean(0), np.float32)
    self._model = prime.language.model

  @functools.cached_property
  def _start(self) -> banks.Bank:
    """Adapters of as many as train together, of whom nothing is known."""
    return banks.init(
      jax.random.key(self.problem.seed),
      self._model.config,
      self._model.params,
      people=self.prime.given.together,
      rank=self.prime.given.adapter_rank,
    )

  def contexts(self, judged: types.Batch, limit: int | None = None) -> People:
    """Returns what is kept of everybody, of their unmasked judgements.

    Args:
      judged: judgements.
      limit: of each person's, the first.
    """
    rows = told.rows_of(judged, limit)
    pairs = [
      told.pairs_of(self.problem, judged, rows.get(user, ()))
      for user in range(len(self.problem.user_ids))
    ]
    parts = self.prime.parts
    events: Any = ()
    if parts.recall:
      index = np.asarray(judged.inputs.index)
      keys = [
        self._keys(index[np.asarray(rows.get(user, ()), int)])
        for user in range(len(pairs))
      ]
      events = memory_texts.kept(
        self._model.tokenizer,
        [[told.event_of(self._short(pair)) for pair in own] for own in pairs],
        keys,
        limits=self.prime.limits,
      )
      events = jax.tree.map(np.asarray, events)
    adapters: Any = ()
    if parts.adapter:
      adapters = self._adapted([list(map(told.event_of, own)) for own in pairs])
    return People(events, adapters)

  def _short(self, pair: user_histories.AskedPair) -> user_histories.AskedPair:
    """Returns a pair of which every text leaves room for the choice."""
    words = max(self.prime.given.event // 5, 1)
    return pair._replace(
      prompt=' '.join(pair.prompt.split()[-words:]),
      first=' '.join(pair.first.split()[:words]),
      second=' '.join(pair.second.split()[:words]),
    )

  def _keys(self, index: np.ndarray) -> np.ndarray:
    """Returns what events and queries are alike by, `[n, D]`."""
    return self._table[index[:, :2]].mean(1)

  def _adapted(self, histories) -> types.PyTree:
    """Returns adapters of everybody; of whom nothing is known, the start."""
    start, given = self._start, self.prime.given
    nobody = jax.tree.map(lambda leaf: np.asarray(leaf[:1]), start.people)
    found = jax.tree.map(
      lambda leaf: np.repeat(leaf, len(histories), 0), nobody
    )
    known = [user for user, own in enumerate(histories) if own]
    for first in range(0, len(known), given.together):
      users = known[first : first + given.together]
      filled = [*users, *users[:1] * (given.together - len(users))]
      lessons = memory_texts.lessons(
        self._model.tokenizer,
        [histories[user] for user in filled],
        limits=self.prime.limits,
      )
      bank, _ = personal_adapters.fit(
        jax.random.key(self.problem.seed),
        self._model.config,
        self._model.params,
        start,
        lessons,
        objective='task',
        steps=given.adapter_steps,
        batch=given.adapter_batch,
        hyper=personal_adapters.Hyper(jnp.float32(self.choice['rate'])),
      )
      jax.tree.map(
        lambda leaf, new, users=users: leaf.__setitem__(
          users, np.asarray(new)[: len(users)]
        ),
        found,
        bank.people,
      )
    return found

  def predict(self, contexts: People, asked: types.Batch) -> np.ndarray:
    """Returns the probability `[B]` that the first of each pair is preferred.

    Args:
      contexts: what is kept of everybody.
      asked: judgements.
    """
    return special.expit(self.slope * self.margins(contexts, asked))

  def margins(self, contexts: People, asked: types.Batch) -> np.ndarray:
    """Returns how much likelier each first response is, `[B]` nats.

    Args:
      contexts: what is kept of everybody.
      asked: judgements.
    """
    user = np.asarray(asked.rows.user)
    index = np.asarray(asked.inputs.index)
    found = np.zeros(len(user))
    groups = _grouped(user)
    for first in range(0, len(groups), _GROUPS):
      some = groups[first : first + _GROUPS]
      filled = [*some, *some[:1] * (_GROUPS - len(some))]
      owners = np.array([user[rows[0]] for rows in filled])
      own = jax.tree.map(lambda leaf, at=owners: leaf[at], contexts)
      lead = self._scored(own, [index[rows] for rows in filled])
      for rows, values in zip(some, lead, strict=False):
        found[rows] = values[: len(rows)]
    return found

  def _scored(self, own: People, pairs: list[np.ndarray]) -> np.ndarray:
    """Returns score_a - score_b `[R, Q]` of each person's pairs."""
    query = np.zeros((len(pairs), _PAIRS, self._table.shape[1]), np.float32)
    asked = []
    for row, items in enumerate(pairs):
      query[row, : len(items)] = self._keys(items)
      asked.append(
        [told.pair_of(self.problem, each.tolist(), 1.0) for each in items]
      )
    texts, _ = memory_texts.asked(
      self._model.tokenizer, asked, size=_PAIRS, limits=self.prime.limits
    )
    longest = max(int(np.asarray(texts.mask).sum(-1).max()), 1)
    size = 1 << (longest - 1).bit_length()  # of few shapes; padding is behind
    texts = jax.tree.map(lambda leaf: leaf[..., :size], texts)
    parts = self.prime.parts._replace(events=self.choice['events'], adapter='')
    known: Any = own.events
    before = personal_memories.context(
      jax.random.key(0),
      personal_memories.Memories(known, {}, {}, {}),
      parts,
      jnp.asarray(query),
    )
    scores = personal_memories.scores(
      self._model.config,
      self._model.params,
      own.adapters if self.prime.parts.adapter else None,
      before,
      texts,
    )
    both = np.asarray(scores, np.float64)
    return both[..., 0] - both[..., 1]


def _grouped(user: np.ndarray) -> list[np.ndarray]:
  """Returns rows, a few of one person together."""
  order = np.argsort(user, kind='stable')
  starts = np.flatnonzero(np.diff(user[order], prepend=-1))
  return [
    rows[first : first + _PAIRS]
    for rows in np.split(order, starts[1:])
    for first in range(0, len(rows), _PAIRS)
  ]
