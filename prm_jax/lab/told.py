"""PLUS on anybody's judgements: people told to a language model in words.

A person's judgements are events that a language model reads and summarises, and
a reward reads the summary beside a pair. What is fitted here is asked as
`fitting.Fitted` is, so that its predictions stand in the same tables:

    fit = Plus(Language.load(folder), Options())
    fitting.method_unit(problem, protocol, node, choices, fit=fit, ...)

Axis letters: U people, B judgements, S tokens of a summary.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import history_texts, types
from prm_jax.data import user_histories
from prm_jax.lab import fitting
from prm_jax.learners import plus
from prm_jax.models import chat as chats
from prm_jax.models import composed
from prm_jax.models.language_model import LanguageModel
from prm_jax.policy import summarizing
from prm_jax.runtime import train, trees
from prm_jax.users import summaries

METHOD, FEATURES = 'plus', 'language model'  # in the tables
_PARTS = 4  # of a person's judgements: one is asked after the others
_READ = 16  # judgements, and summaries, at once


class Options(NamedTuple):
  """How PLUS learns on a language model.

  Attributes:
    steps: of both halves together. A search tries a quarter of them, too.
    rank: of LoRA on queries and values, of the summariser and of the reward.
    contexts: histories of a step; samples: summaries of each; pairs: choices
      that each is judged by.
    rate: of the summariser and of the reward.
    history, text, response, summary: tokens, at most; longer histories keep
      their latest, prompts their end, responses their beginning.
    half: 1 for bfloat16 layers, 0 for float32.
  """

  steps: int = 200
  rank: int = 8
  contexts: int = 8
  samples: int = 4
  pairs: int = 2
  rate: float = 1e-4
  history: int = 1024
  text: int = 512
  response: int = 256
  summary: int = 64
  half: int = 0


def options(given: Mapping[str, Any]) -> Options:
  """Returns options, of those that are given.

  Raises:
    ValueError: there is no such option, or its number is out of range.
  """
  found = changed(Options(), given, {'samples': 2, 'half': 0, 'rate': 0})
  if found.response > found.text:
    raise ValueError(
      f'option response={found.response}: more than text={found.text}'
    )
  return found


def changed(usual: Any, given: Mapping[str, Any], least: Mapping[str, int]):
  """Returns options of which some are given.

  Args:
    usual: a NamedTuple of numbers, those that are int whole.
    given: instead of the usual ones.
    least: of options whose least is not 1.

  Raises:
    ValueError: there is no such option, or its number is out of range.
  """
  for name, value in given.items():
    if name not in usual._fields:
      raise ValueError(f'option {name}={value}: one of {usual._fields}')
    whole, low = isinstance(getattr(usual, name), int), least.get(name, 1)
    if value < low or (whole and value != int(value)):
      raise ValueError(f'option {name}={value}: a number of at least {low}')
  return usual._replace(**given)


class Language(NamedTuple):
  """A language model, and how it asks and is asked.

  Attributes:
    model: weights and tokenizer.
    template: around a history.
  """

  model: LanguageModel
  template: history_texts.Template

  @classmethod
  def load(cls, folder: Path) -> 'Language':
    """Returns the language model of a folder in Hugging Face's layout."""
    template = history_texts.template_of(chats.Chat.load(folder))
    return cls(LanguageModel.load(folder), template)

  def writer(self, given: Options) -> summaries.Writer:
    """Returns what writes summaries.

    Raises:
      ValueError: history, question and summary are longer than the model
        reads.
    """
    writer = history_texts.writer(
      self.model,
      max_new_tokens=given.summary,
      template=self.template,
      dtype=jnp.bfloat16 if given.half else jnp.float32,
      rank=given.rank,
    )
    around = len(writer.ask) + given.summary
    longest = self.model.config.max_position_embeddings
    if given.history + around > longest:
      raise ValueError(
        f'history={given.history} and {around} tokens around it, and the '
        f'language model reads {longest}: give a smaller history, at most '
        f'{max(longest - around, 0)} (--set=history=N)'
      )
    return writer

  def learner(self, given: Options) -> types.Learner:
    """Returns PLUS with adapters on the frozen model."""
    return plus.plus(
      writer=self.writer(given),
      backbone=self.backbone(given),
      reader=history_texts.reader(self.model.tokenizer),
      steps=given.steps,
      update={
        'contexts': given.contexts,
        'samples': given.samples,
        'pairs': given.pairs,
      },
      rates={'summarizer': given.rate, 'reward': given.rate},
    )

  def backbone(self, given: Options) -> dict[str, Any]:
    """Returns the decoder of the reward, as plain data."""
    return {
      'config': self.model.config,
      'trains': 'adapter',
      'rank': given.rank,
      'dtype': jnp.bfloat16 if given.half else jnp.float32,
    }

  def weights(self) -> dict[str, Any]:
    """Returns the leaves that training starts from, for `train.fit`."""
    known = trees.flat(self.model.params)
    return {
      f'params/{part}/backbone/{path}': leaf
      for part in ('user', 'reward')
      for path, leaf in known.items()
    }


class Plus:
  """Fits PLUS to problems of one table of texts; see `fitting.method_unit`."""

  def __init__(self, language: Language, given: Options):
    """Names what is fitted.

    Args:
      language: that is told.
      given: how it learns.
    """
    self.language, self.options = language, given
    language.writer(given)  # refuses what it cannot read, before any work
    self._learners: dict[int, types.Learner] = {}

  def choices(self) -> list[dict[str, Any]]:
    """Returns what a search tries: to stop early, or not."""
    steps = self.options.steps
    tried = sorted({max(steps // 4, 1), steps})
    return [{'features': FEATURES, 'steps': count} for count in tried]

  @property
  def settings(self) -> dict[str, Any]:
    """Returns what it is, as plain data."""
    return self.options._asdict()

  def operations(self, fits: float) -> float:
    """Returns about how many operations so many fits of all steps take.

    Args:
      fits: of `Options.steps` steps each.
    """
    given = self.options
    wrote = given.contexts * given.samples * given.summary
    read = given.contexts * given.history
    # What a summary is judged by, also behind another's and an empty one.
    texts = 2 * given.text * given.pairs * given.contexts
    texts *= given.samples + 2
    # Two a weight and token to read it, three times that to learn from it.
    tokens = 2 * (read + wrote) + 6 * (read + wrote + texts)
    return fits * given.steps * tokens * self.language.model.config.parameters

  def __call__(
    self,
    method: Mapping[str, Any],
    choice: Mapping[str, Any],
    problem: fitting.Problem,
    training: types.Batch,
    sets: Any = None,
  ) -> 'Told':
    """Returns PLUS fitted to the training rows.

    Args:
      method: names nothing more.
      choice: 'steps'.
      problem: whose texts, people and seed it is fitted with.
      training: judgements.
      sets: of features, which are not read.

    Raises:
      ValueError: nobody judged twice, so that nothing can be asked after a
        history.
    """
    del method, sets
    given = self.options._replace(steps=choice['steps'])
    known = episodes(problem, training)
    if not known:
      raise ValueError(
        'nobody made two judgements that train: a summary of one cannot be '
        'asked about another'
      )
    limits = _limits(given)
    read = history_texts.contexts(
      self.language.model.tokenizer,
      known,
      limits=limits,
      template=self.language.template,
    )
    learner = self._learners.setdefault(
      given.steps, self.language.learner(given)
    )
    people = len(problem.user_ids)
    key = jax.random.key(problem.seed)
    state = train.fit(
      learner,
      read.data,
      key=key,
      spec=types.Spec(self.language.model.config.hidden_size, people),
      given=self.language.weights(),
    )
    return Told(self, given, learner, state, problem)


class Told:
  """PLUS, fitted: summaries of people, and what it predicts behind them."""

  def __init__(self, plus_: Plus, given: Options, learner, state, problem):
    self.plus, self.options, self.problem = plus_, given, problem
    self.learner, self.state = learner, state
    self._writer = plus_.language.writer(given)

  @functools.cached_property
  def _whole(self) -> types.PyTree:
    """The summariser's parameters, its adapter merged."""
    user = self.state.params['user']
    return jax.jit(lambda p: composed.composed(p, self._writer.fields))(user)

  @functools.cached_property
  def _margins(self):
    reward = self.learner.system.reward
    return jax.jit(functools.partial(summarizing.margins, reward))

  def contexts(
    self, judged: types.Batch, limit: int | None = None
  ) -> types.Tokens:
    """Returns everybody's summary `[U, S]`, of their unmasked judgements.

    Args:
      judged: judgements; of whom there is none the summary is empty.
      limit: of each person's, the first.
    """
    known = told(self.problem, judged, limit)
    nothing = self._writer.empty
    U = len(self.problem.user_ids)
    ids, mask = (np.tile(leaf, (U, 1)) for leaf in nothing[:2])
    users = sorted(known)
    if users:
      found = self._written([known[user] for user in users])
      ids[users], mask[users] = found.ids, found.mask
    return types.Tokens(ids, mask)

  def _written(self, events) -> types.Tokens:
    """Returns the likeliest summaries `[n, S]` of n lists of events."""
    history = self.history(events)
    found: list[types.Tokens] = []
    for rows in _groups(len(events)):
      some = jax.tree.map(lambda leaf, rows=rows: leaf[rows], history)
      wrote = summaries.write(
        jax.random.key(0),
        self._writer,
        self._whole,
        some,
        row_ids=rows,
        temperature=0.0,
      )
      found.append(jax.tree.map(np.asarray, wrote))
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    return jax.tree.map(lambda leaf: leaf[: len(events)], whole)

  def history(self, events) -> types.Tokens:
    """Returns n lists of events as the summariser reads them, `[n, H]`."""
    blank = user_histories.AskedPair('', '', 0.0, '', '', '', 1.0)
    some = [
      user_histories.Episode(row, tuple(own), (blank,))
      for row, own in enumerate(events)
    ]
    read = history_texts.contexts(
      self.plus.language.model.tokenizer,
      some,
      limits=_limits(self.options)._replace(pairs=1, text=2, response=1),
      template=self.plus.language.template,
    )
    return read.data.rows.history

  def predict(self, contexts: types.Tokens, asked: types.Batch) -> np.ndarray:
    """Returns the probability `[B]` that the first of each pair is preferred.

    Args:
      contexts: everybody's summary.
      asked: judgements.
    """
    user = np.asarray(asked.rows.user)
    texts = self._texts(asked)
    found = np.zeros(len(user), np.float32)
    for rows in _groups(len(user)):
      some = jax.tree.map(lambda leaf, rows=rows: leaf[rows][:, None], texts)
      own = jax.tree.map(
        lambda leaf, rows=rows: np.asarray(leaf)[user[rows]][:, None], contexts
      )
      margin = self._margins(self.state.params['reward'], some, own)
      found[rows] = np.asarray(jax.nn.sigmoid(margin[:, 0, 0]))
    return found

  def _texts(self, asked: types.Batch) -> types.Tokens:
    """Returns both texts of every judgement, `[B, 2, T]`."""
    pairs = [
      pair_of(self.problem, items, 1.0)
      for items in np.asarray(asked.inputs.index)[:, :2].tolist()
    ]
    some = [user_histories.Episode(0, (), tuple(pairs))]
    limits = _limits(self.options)._replace(history=1, pairs=1)
    read = history_texts.contexts(
      self.plus.language.model.tokenizer, some, limits=limits
    )
    return jax.tree.map(lambda leaf: leaf[:, 0], read.data.rows.texts)


def _limits(given: Options) -> history_texts.Limits:
  return history_texts.Limits(
    history=given.history, text=given.text, response=given.response
  )


def _groups(count: int) -> list[np.ndarray]:
  """Returns rows, some at a time; the last group begins again, to be full."""
  return [
    np.arange(first, first + _READ) % count for first in range(0, count, _READ)
  ]


# ------------------------------------------------------------------ histories


def pair_of(
  problem: fitting.Problem, items: Sequence[int], label: float
) -> user_histories.AskedPair:
  """Returns a judgement in words, about what results generalise over.

  Args:
    problem: of the texts.
    items: of two texts.
    label: probability that the first is preferred.
  """
  first, second = items[:2]
  about = problem.unit[first]
  return user_histories.AskedPair(
    about,
    about,
    0.0,
    problem.prompts[first],
    problem.texts[first],
    problem.texts[second],
    label,
  )


def event_of(pair: user_histories.AskedPair) -> user_histories.TextEvent:
  """Returns a judgement as an event of a history."""
  return user_histories.TextEvent(
    'choice',
    pair.about,
    pair.time,
    prompt=pair.prompt,
    shown=(pair.first, pair.second),
    label=pair.label,
  )


def rows_of(
  judged: types.Batch, limit: int | None = None
) -> dict[int, list[int]]:
  """Returns person -> rows of their judgements that count, the first ones.

  Args:
    judged: judgements.
    limit: of each person's; all if None. Whose limit is 0 is left out.
  """
  found: dict[int, list[int]] = {}
  user = np.asarray(judged.rows.user)
  for row in np.flatnonzero(np.asarray(judged.rows.mask) > 0).tolist():
    found.setdefault(int(user[row]), []).append(row)
  return {user: rows[:limit] for user, rows in found.items() if rows[:limit]}


def pairs_of(
  problem: fitting.Problem, judged: types.Batch, rows: Sequence[int]
) -> list[user_histories.AskedPair]:
  """Returns some judgements in words.

  Args:
    problem: of the texts.
    judged: judgements.
    rows: of them.
  """
  index, label = np.asarray(judged.inputs.index), judged.rows.label
  return [
    pair_of(problem, index[row].tolist(), float(label[row])) for row in rows
  ]


def told(
  problem: fitting.Problem, judged: types.Batch, limit: int | None = None
) -> dict[int, list[user_histories.TextEvent]]:
  """Returns person -> the events that their unmasked judgements are.

  Args:
    problem: of the texts.
    judged: judgements.
    limit: of each person's, the first.
  """
  return {
    user: [event_of(pair) for pair in pairs_of(problem, judged, rows)]
    for user, rows in rows_of(judged, limit).items()
  }


def episodes(
  problem: fitting.Problem, judged: types.Batch
) -> list[user_histories.Episode]:
  """Returns what people judged after a history of what else they judged.

  A person's judgements are dealt into four parts by what they are about (a
  prompt, or whatever results generalise over), or one by one where they are
  about one thing; each part is asked after all the others.

  Args:
    problem: of the texts.
    judged: judgements, of which those count that are not masked.
  """
  found = []
  for user, rows in sorted(rows_of(judged).items()):
    own = pairs_of(problem, judged, rows)
    names = {
      name: i for i, name in enumerate(dict.fromkeys(p.about for p in own))
    }
    alone = len(names) < 2
    part = [
      (row if alone else names[pair.about]) % _PARTS
      for row, pair in enumerate(own)
    ]
    for which in sorted(set(part)):
      asked = [p for p, of in zip(own, part, strict=True) if of == which]
      past = [p for p, of in zip(own, part, strict=True) if of != which]
      if past:
        events = tuple(map(event_of, past))
        found.append(user_histories.Episode(user, events, tuple(asked)))
  return found
