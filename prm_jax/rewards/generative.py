"""A language model that reasons, and then says how good answers are.

A judge is a model and a format (`judge_formats`). It reads a question and
answers, perhaps with a criterion, writes k texts, and what they say is put back
in the answers' order, for votes (`ops.voting`); or it compares two at a time
for a tournament (`ops.tournaments`), which makes a reward of every answer.
"""

import collections
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.models import constraints, sampling
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops import tournaments, voting
from prm_jax.rewards import judge_formats, judge_quotes, judge_readings

ORDERS = ('shuffled', 'both', 'fixed')
_CUT = ' [...]'  # follows what is left of an answer
_ROUND = 64


class Item(NamedTuple):
  """What is judged.

  Attributes:
    query: the question, or a conversation in words.
    responses: n answers.
    criterion: what counts: a principle, a rubric, or what somebody wants; None
      where the judge may decide.
  """

  query: str
  responses: Sequence[str]
  criterion: str | None = None


class Judged(NamedTuple):
  """What k texts a judge wrote of each of N items say, by answer.

  Attributes:
    verdict: `[N, k]` int32, the answer that is preferred; -1 where none is:
      the text is invalid, scores tie, or there is one answer.
    scores: `[N, k, n]` as said, NaN in all n where invalid; of a format that
      says verdicts alone, 1 for the answer preferred and 0 for the other.
    valid: `[N, k]` bool, whether a text says anything.
    order: `[N, k, n]` int32, which answer stood at each place.
    texts: `texts[i][j]` what was written: a text a turn; of a format that reads
      one answer at a time, a text an answer.
    read: `[N, k]` int32, tokens before the texts, each prompt counted whole.
    written: `[N, k]` int32, tokens of the texts.
  """

  verdict: np.ndarray
  scores: np.ndarray
  valid: np.ndarray
  order: np.ndarray
  texts: list[list[tuple[str, ...]]]
  read: np.ndarray
  written: np.ndarray

  @property
  def invalid(self) -> float:
    """Share of texts that say nothing; NaN where there are none."""
    return float(1 - self.valid.mean()) if self.valid.size else float('nan')


class Judge(NamedTuple):
  """A judge of texts.

  Attributes:
    model: that writes.
    format: what it reads, and how it answers.
    template: what the model reads of messages.
    max_new_tokens: of each text.
    temperature: of the draws; 0 is greedy, and k texts of one order are equal.
    top_p: see `filtering.filter_logits`.
    stop: tokens that end a text.
    cut: how many tokens of an answer are read; None: all, and an error where
      they do not fit.
    constrained: whether the last text is held to the format's choices behind
      its cue, and then ends; a cue that did not come is written in time. What
      is reasoned before is free, and a text may end there, invalid. Nor is one
      held that has the cue in other tokens than the tokenizer makes of it.
    batch: prompts at once.
    dtype: of the computation.
  """

  model: LanguageModel
  format: judge_formats.Format
  template: Callable[[judge_formats.Messages], str] = judge_formats.chatml
  max_new_tokens: int = 1024
  temperature: float = 1.0
  top_p: float = 1.0
  stop: tuple[str, ...] = ('<|im_end|>',)
  cut: int | None = None
  constrained: bool = False
  batch: int = 64
  dtype: Any = jnp.float32

  def judge(
    self,
    key: types.Key,
    items: Sequence[Item],
    k: int = 1,
    *,
    order: str = 'shuffled',
  ) -> Judged:
    """Returns what k texts of each item say.

    Texts of an item depend on the key, its place among the items and k alone.
    What prompts of one question begin with is read once a batch.

    A format that reads one answer at a time judges each in a prompt of its
    own, and a text is valid where all n are. Answers that are all equal are
    not shown to a format of verdicts alone: there is nothing to be preferred,
    the texts are empty, and each answer has 1 / n of the vote.

    Args:
      key: of orders and draws.
      items: N, with equal numbers of answers.
      k: texts an item.
      order: in which answers are shown: `shuffled` for every text; `both`,
        where text 2j + 1 reads the answers of text 2j in reverse; or `fixed`.

    Raises:
      ValueError: an item cannot be read by the format, or not within the
        model's context, before anything is written; unknown `order`; or k is
        not positive, or not even for `both`.
    """
    if order not in ORDERS or k < 1 or (order == 'both' and k % 2):
      raise ValueError(
        f'order {order!r} with k = {k}: one of {ORDERS}, k is at least 1, and '
        'even for both'
      )
    items = [self._readable(i, item) for i, item in enumerate(items)]
    n = self._answers(items)
    shown = _orders(key, len(items), k, n, order)
    pieces = _pieces(self.format, items, shown)
    return _judged(self.format, items, shown, pieces, *self._write(key, pieces))

  def compare(
    self,
    key: types.Key,
    query: str,
    answers: Sequence[str],
    criterion: str | None = None,
    *,
    k: int = 1,
    record: Callable[[Judged], None] | None = None,
  ) -> tournaments.Compare:
    """Returns the judge of pairs of one question's answers, for tournaments.

    An outcome is the share of k texts that prefer the first of a pair, a tie
    of scores counting half, and NaN where no text is valid. Pairs are shown
    in the order given. Equal answers are a tie, of which nothing is asked.

    Args:
      key: of the draws; every round draws anew.
      query: the question.
      answers: n of them.
      criterion: see `Item`.
      k: texts a pair.
      record: is told what each round's texts said, such as a list's `append`.

    Raises:
      ValueError: the format does not read two answers.
    """
    if self.format.responses != 2:
      raise ValueError(
        f'{self.format.name} reads {self.format.responses} answers at once: '
        'pairs take a format that reads two'
      )
    rounds = 0

    def outcomes(pairs: np.ndarray) -> np.ndarray:
      nonlocal rounds
      differ = [p for p, (a, b) in enumerate(pairs) if answers[a] != answers[b]]
      found = np.full(len(pairs), 0.5)
      items = [
        Item(query, [answers[c] for c in pairs[p]], criterion) for p in differ
      ]
      if items:
        own = jax.random.fold_in(key, rounds)
        judged = self.judge(own, items, k, order='fixed')
        found[differ] = first_wins(judged)
        if record is not None:
          record(judged)
      rounds += 1
      return found

    return outcomes

  def reward(
    self,
    key: types.Key,
    items: Sequence[Item],
    *,
    k: int = 1,
    how: str = 'win_rate',
    budget: int | None = None,
    order: str = 'both',
    record: Callable[[Judged], None] | None = None,
  ) -> np.ndarray:
    """Returns a reward of every answer `[N, n]`: of rollouts, with n a prompt.

    Where the format scores all n answers, or one at a time, it is the mean of
    k texts' scores. Where it reads two, it is a tournament's
    (`ops.tournaments.scalars`) within each item; a single answer then has 0,
    and equal answers tie unasked.

    Args:
      key: of orders and draws.
      items: N, with equal numbers of answers.
      k: texts an answer, or a comparison.
      how: of a tournament.
      budget: comparisons of a tournament; one round robin if None.
      order: of a tournament.
      record: is told what the texts said.

    Returns:
      NaN where nothing valid was said: no reward, as policies' learners take
      it.

    Raises:
      ValueError: as `judge`, `compare` and `ops.tournaments.scalars`.
    """
    sizes = {len(item.responses) for item in items}
    form = self.format
    alone = form.responses == 1
    if alone or (not form.ranks and sizes <= {form.responses}):
      judged = self.judge(key, items, k)
      if record is not None:
        record(judged)
      return np.asarray(_mean(judged.scores, judged.valid))
    if len(sizes) > 1:
      raise ValueError(f'items have {sorted(sizes)} answers: not equally many')
    found = [
      self._tournament(
        jax.random.fold_in(key, i), item, k, how, budget, order, record
      )
      for i, item in enumerate(items)
    ]
    return np.stack(found) if found else np.zeros((0, 0))

  def _tournament(self, key, item, k, how, budget, order, record):
    n = len(item.responses)
    own, drawn = jax.random.split(key)
    each = (item.query, item.responses, item.criterion)
    if budget is None:
      budget = n * (n - 1) // (1 if order == 'both' else 2)
    return tournaments.scalars(
      _generator(own),
      self.compare(drawn, *each, k=k, record=record),
      n,
      budget=budget,
      how=how,
      order=order,
    )

  def _readable(self, i: int, item: Item) -> Item:
    quote = self.format.quote
    return readable(i, item, self.model.tokenizer, quote=quote, cut=self.cut)

  def _answers(self, items: Sequence[Item]) -> int:
    """Returns n, if the format reads it."""
    sizes = [len(item.responses) for item in items]
    n = self.format.responses
    if n == 1 and sizes:
      n = max(1, sizes[0])
    for i, size in enumerate(sizes):
      if size != n or not size:
        one = ', or one at a time' if self.format.responses == 1 else ''
        raise ValueError(
          f'item {i} has {size} answers: {self.format.name} reads {n}{one}'
        )
    return n

  def _write(self, key, pieces):
    """Returns what is written of each piece, and what was opened before it.

    Texts, beginnings of the last ones in their prompts, tokens read, written.
    """
    turns = self.format.turns
    rows = np.array([piece.row for piece in pieces], np.uint32)
    texts: list[list[str]] = [[] for _ in pieces]
    read, written = np.zeros((2, len(pieces)), np.int32)
    group = _groups([(piece.asked[0], piece.asked[2]) for piece in pieces])
    prompts = [self._prompt(piece, [''] * (turns - 1)) for piece in pieces]
    lengths = self._lengths(prompts)
    context = self.model.config.max_position_embeddings
    room = context - turns * self.max_new_tokens
    for piece, length in zip(pieces, lengths, strict=True):
      if length > room:
        raise ValueError(
          f'item {piece.item} is {length} tokens long in {self.format.name}, '
          f'and {turns} x {self.max_new_tokens} more do not fit into a context '
          f'of {context}: cut answers, or write fewer'
        )
    choices = self._choices() if self.constrained else None
    for turn in range(turns if pieces else 0):
      last = turn == turns - 1
      if turns > 1:
        prompts = [
          self._prompt(piece, said)
          for piece, said in zip(pieces, texts, strict=True)
        ]
        lengths = self._lengths(prompts)
      # What was written may be longer as it is read again; such a text, which
      # leaves no room, is invalid.
      fits = np.flatnonzero(lengths <= context - self.max_new_tokens)
      if not fits.size:
        texts = [[*text, ''] for text in texts]
        continue
      found = sampling.write(
        jax.random.fold_in(key, turn),
        self.model,
        [prompts[p] for p in fits],
        max_new_tokens=self.max_new_tokens,
        temperature=self.temperature,
        top_p=self.top_p,
        stop=self.stop,
        row_ids=rows[fits],
        groups=group[fits].tolist(),
        constraint=choices(len(fits)) if choices and last else None,
        batch=self.batch,
        dtype=self.dtype,
        progress=False,
      )
      said = dict(zip(fits.tolist(), found.texts, strict=True))
      for p, text in enumerate(texts):
        text.append(said.get(p, ''))
      read[fits] += lengths[fits]
      written[fits] += found.tokens
    opened = [judge_readings.opened(prompt) for prompt in prompts]
    return texts, opened, read, written

  def _choices(self) -> Callable[[int], constraints.Constraint]:
    """Returns what holds a number of texts to the format's choices."""
    form, tokenizer = self.format, self.model.tokenizer
    if not self.stop:
      raise ValueError('constrained texts end with a stop token: none is given')

    def ids(text: str) -> list[int]:
      return tokenizer.encode(text, add_special_tokens=False).ids

    cue, end = ids(form.cue), tokenizer.token_to_id(self.stop[0])
    every = []
    for choice in form.choices:
      found = ids(form.cue + choice)
      own = found[: len(cue)] == cue
      every.append(found[len(cue) :] if own else ids(choice))
      text = tokenizer.decode(cue + every[-1])
      if not form.parse(text).valid:
        raise ValueError(f'{form.name}: {text!r} of this tokenizer is invalid')
    if not every or end is None:
      raise ValueError(
        f'{form.name}: too many scores to choose from'
        if end is not None
        else f'stop token {self.stop[0]!r} is not in the vocabulary'
      )
    by = self.max_new_tokens - len(cue) - max(map(len, every)) - 1
    if by < 0:
      raise ValueError(
        f'max_new_tokens {self.max_new_tokens}: {form.name} takes '
        f'{self.max_new_tokens - by} to say what it decides'
      )
    ended = [[*each, end] for each in every]
    size = self.model.config.vocab_size

    def choices(rows: int) -> constraints.Constraint:
      return constraints.begins(
        [ended] * rows, vocabulary=size, after=cue, by=by
      )

    return choices

  def _prompt(self, piece, said) -> str:
    messages = self.format.messages(*piece.asked, said=said)
    last = len(said) == self.format.turns - 1
    return self.template(messages) + (self.format.opening if last else '')

  def _lengths(self, prompts: Sequence[str]) -> np.ndarray:
    known = list(dict.fromkeys(prompts))
    found = self.model.tokenizer.encode_batch(known, add_special_tokens=False)
    length = dict(zip(known, (len(each.ids) for each in found), strict=True))
    return np.array([length[prompt] for prompt in prompts], np.int32)


def readable(
  i: int,
  item: Item,
  tokenizer: Tokenizer,
  *,
  quote: bool = True,
  cut: int | None = None,
) -> Item:
  """Returns an item as a judge reads it: answers cut, no special tokens in it.

  Args:
    i: its number, for errors.
    item: as given.
    tokenizer: of the judge.
    quote: whether its special tokens are changed where a text holds them.
    cut: how many tokens of an answer are left; None: all.

  Raises:
    ValueError: a text is no Unicode, or the criterion is empty.
  """
  if item.criterion is not None and not item.criterion.strip():
    raise ValueError(
      f'item {i}: the criterion is empty: leave it out, or say one'
    )
  special = []
  if quote:
    known = tokenizer.get_added_tokens_decoder().values()
    special = [token.content for token in known if token.special]

  def clean(text: str, cut: int | None = None) -> str:
    try:
      text.encode()
    except UnicodeEncodeError as error:
      raise ValueError(f'item {i}: no Unicode text: {error}') from error
    if cut is not None:
      found = tokenizer.encode(text, add_special_tokens=False)
      if len(found.ids) > cut:
        text = text[: found.offsets[cut - 1][1] if cut else 0] + _CUT
    return judge_quotes.without(text, special)

  criterion = None if item.criterion is None else clean(item.criterion)
  responses = tuple(clean(text, cut) for text in item.responses)
  return Item(clean(item.query), responses, criterion)


def _groups(names: Sequence[Hashable]) -> np.ndarray:
  """Returns a number for each name, the same for equal ones."""
  known: dict[Hashable, int] = {}
  found = [known.setdefault(name, len(known)) for name in names]
  return np.array(found, np.int32)


class _Piece(NamedTuple):
  """One conversation with the judge.

  Attributes:
    item: its place among the items.
    sample: of k.
    row: keys the noise.
    asked: query, answers in the order shown, criterion.
  """

  item: int
  sample: int
  row: int
  asked: tuple[str, Sequence[str], str | None]


def first_wins(judged: Judged) -> np.ndarray:
  """Returns how often the first of two answers is preferred, `[N]`.

  The share of valid texts; half for a tie of scores. NaN where none is valid.

  Args:
    judged: of items with two answers.
  """
  first, second = np.moveaxis(judged.scores, -1, 0)
  wins = np.where(first == second, 0.5, first > second)
  count = judged.valid.sum(-1)
  total = np.where(judged.valid, wins, 0.0).sum(-1)
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _generator(key: types.Key, *more: int) -> np.random.Generator:
  return np.random.default_rng([*np.asarray(jax.random.key_data(key)), *more])


def _orders(key, N: int, k: int, n: int, order: str) -> np.ndarray:
  """Returns which answer stands at each place, `[N, k, n]`."""
  shown = np.tile(np.arange(n, dtype=np.int32), (N, k, 1))
  if order != 'fixed':
    for i, rows in enumerate(shown):
      shown[i] = _generator(key, i).permuted(rows, axis=1)
  if order == 'both':
    shown[:, 1::2] = shown[:, ::2, ::-1]
  return shown


def _pieces(form, items, shown) -> list[_Piece]:
  """Returns what is asked of the judge, item by item."""
  found = []
  k = shown.shape[1]
  for i, item in enumerate(items):
    if _settled(form, item):
      continue
    for j in range(k):
      answers = [item.responses[c] for c in shown[i, j]]
      groups = [[a] for a in answers] if form.responses == 1 else [answers]
      for p, group in enumerate(groups):
        asked = (item.query, group, item.criterion)
        row = (i * k + j) * len(groups) + p
        found.append(_Piece(i, j, row, asked))
  return found


def _settled(form, item: Item) -> bool:
  """Whether there is nothing to be preferred."""
  return form.ranks and len(set(item.responses)) == 1


def _judged(form, items, shown, pieces, texts, opened, read, written) -> Judged:
  """Returns what the texts of all pieces say, by answer."""
  N, k, n = shown.shape
  places = np.full((N, k, n), np.nan, np.float32)
  verdict = np.full((N, k), -1, np.int32)
  read_of, written_of = np.zeros((2, N, k), np.int32)
  said: dict[tuple[int, int], list] = collections.defaultdict(list)
  kept: list[list[tuple[str, ...]]] = [[()] * k for _ in items]
  for p, piece in enumerate(pieces):
    at = (piece.item, piece.sample)
    said[at].append(form.parse(opened[p] + texts[p][-1]))
    kept[piece.item][piece.sample] += tuple(texts[p])
    read_of[at] += read[p]
    written_of[at] += written[p]
  for at, each in said.items():
    if form.responses == 1:
      scores = [one.scores[0] for one in each]
      if not np.isnan(scores).any():
        places[at] = scores
        best = np.flatnonzero(np.array(scores) == max(scores))
        verdict[at] = best[0] if len(best) == 1 < n else -1
    else:
      places[at], verdict[at] = each[0].scores, each[0].verdict
  scores, chosen = _restored(places, verdict, shown, form.ranks)
  settled = np.array([_settled(form, item) for item in items], bool)
  scores[settled] = 1 / n
  valid = np.asarray(~np.isnan(scores).any(-1))
  return Judged(chosen, scores, valid, shown, kept, read_of, written_of)


def _restored(places, verdict, shown, ranks: bool):
  """Returns scores `[N, k, n]` and verdicts `[N, k]`, of answers, not places.

  Rows are filled up to a multiple of `_ROUND`: few programs are compiled.
  """
  n, count = shown.shape[-1], verdict.size
  more = -count % _ROUND
  rows = ((0, more), (0, 0))
  order = np.pad(shown.reshape(-1, n), rows, 'edge')
  filled = np.pad(places.reshape(-1, n), rows)
  said = np.pad(verdict.ravel(), (0, more), constant_values=-1)
  scores, chosen = jax.device_get(_by_answer(filled, said, order, ranks=ranks))
  return (
    scores[:count].reshape(places.shape).copy(),
    chosen[:count].reshape(verdict.shape),
  )


@functools.partial(jax.jit, static_argnames='ranks')
def _by_answer(places, verdict, order, *, ranks):
  if ranks:
    places = voting.ballots(verdict, answers=order.shape[-1])
  scores = voting.restored(places, order)
  return scores, voting.restored_verdict(verdict, order)


_mean = jax.jit(voting.mean)
