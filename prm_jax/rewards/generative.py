"""A language model that reasons, and then says how good answers are.

A judge is a model and a format (`judge_formats`). It reads a question and
answers, perhaps with a criterion, writes k texts, and what they say is put back
in the answers' order, for votes (`ops.voting`); or it compares two at a time
for a tournament (`ops.tournaments`), which makes a reward of every answer.
"""

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import prefixes, sampling
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops import tournaments, voting
from prm_jax.rewards import (
  judge_choices,
  judge_formats,
  judge_items,
  judge_readings,
)
from prm_jax.rewards.judge_items import Item, Judged, first_wins, readable

ORDERS = ('shuffled', 'both', 'fixed')
_NEAR = 8  # tokens that two texts may make more or less where they meet


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
      its cue, and then ends; a cue that did not come is written in time, and
      ends a thought that is open. What is reasoned before is free, a cue in it
      does not count, and a text may end there, invalid. Nor is one held that
      has the cue in other tokens than the tokenizer makes of it.
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
    items = self._readable(items)
    self._answers([len(item.responses) for item in items])
    return self._judged(key, items, k, order, _named(items))

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

    Every round is filled up to the largest before, and to the longest pair, so
    that a tournament is one compiled program for a turn of the format; a small
    `batch` costs small rounds less.

    Args:
      key: of the draws; every round draws anew.
      query: the question.
      answers: n of them.
      criterion: see `Item`.
      k: texts a pair.
      record: is told what each round's texts said, such as a list's `append`.

    Raises:
      ValueError: the format does not read two answers, cannot read these, or
        not within the model's context, or k is not positive: before anything
        is written.
    """
    if k < 1:
      raise ValueError(f'k is {k}: at least 1')
    items = self._readable([Item(query, answers, criterion)])
    return self._comparer(items, k, record)(key, 0)

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
    k texts' scores; one at a time, a text that is invalid costs no other
    answer. Equal answers have one reward. Where it reads two, it is a
    tournament's (`ops.tournaments.scalars`) within each item; a single answer
    then has 0, and equal answers tie unasked. All tournaments are one compiled
    program, as of `compare`.

    Args:
      key: of orders and draws.
      items: N, with equal numbers of answers.
      k: texts an answer, or a comparison.
      how: of a tournament.
      budget: comparisons of a tournament; one round robin if None.
      order: of a tournament.
      record: is told what the texts said; of a format that reads one answer at
        a time, of N n items with one answer.

    Returns:
      NaN where nothing valid was said: no reward, as policies' learners take
      it.

    Raises:
      ValueError: as `judge`, `compare` and `ops.tournaments.scalars`, of any
        item, before anything is written of the first.
    """
    items, form = self._readable(items), self.format
    if k < 1:
      raise ValueError(f'k is {k}: at least 1')
    tournaments.check(1, budget=0, how=how, order=order)
    sizes = [len(item.responses) for item in items]
    if len(set(sizes)) > 1 or not all(sizes):
      raise ValueError(
        f'items have {sorted(set(sizes))} answers: not equally many, or none'
      )
    if not items:
      return np.zeros((0, 0))
    n = sizes[0]
    alone, names = form.responses == 1, _named(items)
    if not alone and (form.ranks or n != form.responses):
      return self._tournaments(key, items, k, n, how, budget, order, record)
    asked, drawn = items, 'shuffled'
    if alone:  # texts of one answer are none of another's
      names = [f'{name}, response {c}' for name in names for c in range(n)]
      asked = [
        item._replace(responses=(text,))
        for item in items
        for text in item.responses
      ]
      drawn = 'fixed'
    judged = self._judged(key, asked, k, drawn, names)
    if record is not None:
      record(judged)
    found = np.array(_mean(judged.scores, judged.valid)).reshape(-1, n)
    for i, item in enumerate(items if alone else ()):
      for same in judge_items.equals(item.responses):
        found[i, same] = _known_mean(found[i, same])
    return found

  def expected(self, items: Sequence[Item], judged: Judged) -> np.ndarray:
    """Returns scores by the model's probability of them, `[N, k, n]`.

        sum over s of s p(s | prompt, text before its verdict)

    Of GenRM it is the probability of 'Yes', against 'No', whose mean over the
    k texts is GenRM's score (`ops.voting.mean_yes`). What was reasoned is
    read, and what was drawn behind it does not matter. Texts are read once for
    each verdict, at temperature 1, and nothing is written.

    Args:
      items: as judged.
      judged: by this judge.

    Returns:
      NaN where an answer's text is invalid, or goes on behind its verdict.

    Raises:
      ValueError: the format does not read one answer at a time, with two
        verdicts to choose from.

    References:
      Zhang et al. 2024 (GenRM-CoT), arXiv:2408.15240.
    """
    form = self.format
    if form.responses != 1 or len(form.choices) != 2:
      raise ValueError(f'{form.name}: no single answer with two verdicts')
    items, shape = self._readable(items), judged.order.shape
    asked = judge_items.pieces(form, items, judged.order, _named(items))
    texts = [text for item in judged.texts for each in item for text in each]
    first: list[int] = []
    whole: list[list[int]] = []
    rows = []
    for row, (piece, text) in enumerate(zip(asked, texts, strict=True)):
      prompt = self._prompt(piece.asked, ())
      said = form.parse(judge_readings.opened(prompt) + text)
      before = judge_choices.before(form, text)
      if not said.valid or before is None:
        continue
      both = self._ids([prompt + before + choice for choice in form.choices])
      first += prefixes.shared(both, [0, 0]).tolist()
      whole += both
      rows.append(row)
    chance = self._logprobs(whole, first).reshape(-1, 2)
    low, high = (form.parse(form.cue + each).scores[0] for each in form.choices)
    scores = np.full(len(asked), np.nan)
    yes = 1 / (1 + np.exp(chance[:, 0] - chance[:, 1]))
    scores[rows] = low + (high - low) * yes
    found = np.empty(shape)
    np.put_along_axis(found, judged.order, scores.reshape(shape), -1)
    return found

  def _logprobs(self, ids, first) -> np.ndarray:
    """Returns log-probabilities of texts `[R]`, from a place of each on."""
    found = np.zeros(len(ids))
    T = -(-max(map(len, ids), default=1) // 64) * 64
    for start in range(0, len(ids), self.batch):
      block = range(start, min(start + self.batch, len(ids)))
      size = prefixes.rounded(len(block), self.batch)
      tokens, mask, told = np.zeros((3, size, T), np.int32)
      for row, i in enumerate(block):
        tokens[row, : len(ids[i])], mask[row, : len(ids[i])] = ids[i], 1
        told[row, first[i] : len(ids[i])] = 1
      mask[len(block) :, 0] = 1  # rows without a text
      given = (self.model.config, self.model.params, tokens, mask)
      each = sampling.log_probability(*given, dtype=self.dtype)
      found[list(block)] = (np.asarray(each) * told).sum(1)[: len(block)]
    return found

  def _tournaments(self, key, items, k, n, how, budget, order, record):
    if budget is None:
      budget = n * (n - 1) // (1 if order == 'both' else 2)
    tournaments.check(max(n, 1), budget=budget, how=how, order=order)
    compare = self._comparer(items, k, record)
    found = []
    for i in range(len(items)):
      own, drawn = jax.random.split(jax.random.fold_in(key, i))
      asked = (judge_items.generator(own), compare(drawn, i), n)
      given = {'budget': budget, 'how': how, 'order': order}
      found.append(tournaments.scalars(*asked, **given))
    return np.stack(found)

  def _comparer(self, items, k: int, record) -> Callable[..., Any]:
    """Returns `(key, item's number) -> Compare`, all of them one program."""
    if self.format.responses != 2:
      raise ValueError(
        f'{self.format.name} reads {self.format.responses} answers at once: '
        'pairs take a format that reads two'
      )
    sizes, rows = self._sizes(items), 0

    def outcomes(key, i, rounds, pairs):
      nonlocal rows
      rows = prefixes.rounded(max(rows, len(pairs) * k), self.batch)
      tails = -(-rows // k) + (rows % k > 0)
      least = [each._replace(rows=rows, tails=tails) for each in sizes]
      query, answers, criterion = items[i]
      differ = [p for p, (a, b) in enumerate(pairs) if answers[a] != answers[b]]
      found = np.full(len(pairs), 0.5)
      asked = [
        Item(query, [answers[c] for c in pairs[p]], criterion) for p in differ
      ]
      names = [f'item {i}, responses {a} and {b},' for a, b in pairs[differ]]
      if asked:
        own = jax.random.fold_in(key, rounds)
        judged = self._judged(own, asked, k, 'fixed', names, least)
        found[differ] = first_wins(judged)
        if record is not None:
          record(judged)
      return found

    def compare(key, i):
      rounds = itertools.count()
      return lambda pairs: outcomes(key, i, next(rounds), pairs)

    return compare

  def _sizes(self, items) -> list[prefixes.Sizes]:
    """Returns the shapes of any two answers' prompts, turn by turn.

    Refuses an item of which a pair would not fit.
    """
    turns = self.format.turns
    head, tail = np.zeros((2, turns), int)
    for i, item in enumerate(items):
      answers = list(dict.fromkeys(item.responses))
      if len(answers) < 2:
        continue
      lengths = self._lengths(answers)
      answers = [answers[c] for c in np.argsort(-lengths, kind='stable')]
      # Each comes first once, and the two longest meet.
      ring = list(zip(answers, answers[1:] + answers[:1], strict=True))
      for turn in range(turns):
        ids = self._ids(self._prompts(item, ring, turn))
        longest = max(map(len, ids))
        if turn == turns - 1:
          if 0 <= self._room - longest < _NEAR:
            every = [(a, b) for a in answers for b in answers if a != b]
            longest = max(map(len, self._ids(self._prompts(item, every, turn))))
          self._refuse(f'item {i}', longest)
        shared = prefixes.shared(ids, [0] * len(ids))[0]
        rest = longest - shared + turn * self.max_new_tokens
        head[turn] = max(head[turn], shared)
        tail[turn] = max(tail[turn], rest)
    return [
      prefixes.Sizes(0, *map(int, (h, 0, t)))
      for h, t in zip(head, tail, strict=True)
    ]

  def _prompts(self, item, pairs, turn: int) -> list[str]:
    query, _, criterion = item
    said = [''] * turn
    return [self._prompt((query, pair, criterion), said) for pair in pairs]

  def _readable(self, items: Sequence[Item]) -> list[Item]:
    tokenizer, quote = self.model.tokenizer, self.format.quote
    return [
      readable(i, item, tokenizer, quote=quote, cut=self.cut)
      for i, item in enumerate(items)
    ]

  def _judged(self, key, items, k, order, names, least=None) -> Judged:
    """Returns what texts say of items that can be read."""
    n = len(items[0].responses) if items else self.format.responses
    shown = judge_items.orders(key, len(items), k, n, order)
    pieces = judge_items.pieces(self.format, items, shown, names)
    said = self._write(key, pieces, least)
    return judge_items.judged(self.format, items, shown, pieces, *said)

  def _answers(self, sizes: Sequence[int]) -> None:
    """Refuses numbers of answers that the format does not read."""
    n = self.format.responses
    if n == 1 and sizes:
      n = max(1, sizes[0])
    for i, size in enumerate(sizes):
      if size != n or not size:
        one = ', or one at a time' if self.format.responses == 1 else ''
        raise ValueError(
          f'item {i} has {size} answers: {self.format.name} reads {n}{one}'
        )

  @property
  def _room(self) -> int:
    """How long the last prompt may be."""
    context = self.model.config.max_position_embeddings
    return context - self.format.turns * self.max_new_tokens

  def _refuse(self, name: str, length: int) -> None:
    if length > self._room:
      raise ValueError(
        f'{name} is {length} tokens long in {self.format.name}, and '
        f'{self.format.turns} x {self.max_new_tokens} more do not fit into a '
        f'context of {self.model.config.max_position_embeddings}: cut answers, '
        'or write fewer'
      )

  def _write(self, key, pieces, least=None):
    """Returns what is written of each piece, and what was opened before it.

    Texts, beginnings of the last ones in their prompts, tokens read, written.
    """
    turns = self.format.turns
    rows = np.array([piece.row for piece in pieces], np.uint32)
    texts: list[list[str]] = [[] for _ in pieces]
    read, written = np.zeros((2, len(pieces)), np.int32)
    group = _groups([(piece.asked[0], piece.asked[2]) for piece in pieces])
    blank = [''] * (turns - 1)
    prompts = [self._prompt(piece.asked, blank) for piece in pieces]
    lengths = self._lengths(prompts)
    context = self.model.config.max_position_embeddings
    for piece, length in zip(pieces, lengths, strict=True):
      self._refuse(piece.name, length)
    choices = self._held() if self.constrained else None
    for turn in range(turns if pieces else 0):
      last = turn == turns - 1
      if turns > 1:
        prompts = [
          self._prompt(piece.asked, said)
          for piece, said in zip(pieces, texts, strict=True)
        ]
        lengths = self._lengths(prompts)
      # What was written may be longer as it is read again; such a text, which
      # leaves no room, is invalid.
      fits = np.flatnonzero(lengths <= context - self.max_new_tokens)
      begun = np.array([bool(judge_readings.opened(each)) for each in prompts])
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
        least=None if least is None else least[turn],
        constraint=choices(begun[fits].tolist()) if choices and last else None,
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

  def _held(self) -> judge_choices.Held:
    return judge_choices.held(
      self.format,
      self.model.tokenizer,
      stop=self.stop,
      max_new_tokens=self.max_new_tokens,
      vocabulary=self.model.config.vocab_size,
    )

  def _prompt(self, asked, said) -> str:
    messages = self.format.messages(*asked, said=said)
    last = len(said) == self.format.turns - 1
    return self.template(messages) + (self.format.opening if last else '')

  def _ids(self, texts: Sequence[str]) -> list[list[int]]:
    known = list(dict.fromkeys(texts))
    found = self.model.tokenizer.encode_batch(known, add_special_tokens=False)
    ids = dict(zip(known, (each.ids for each in found), strict=True))
    return [ids[text] for text in texts]

  def _lengths(self, texts: Sequence[str]) -> np.ndarray:
    return np.array([len(ids) for ids in self._ids(texts)], np.int32)


def _groups(names: Sequence[Hashable]) -> np.ndarray:
  """Returns a number for each name, the same for equal ones."""
  known: dict[Hashable, int] = {}
  found = [known.setdefault(name, len(known)) for name in names]
  return np.array(found, np.int32)


def _named(items: Sequence[Item]) -> list[str]:
  return [f'item {i}' for i in range(len(items))]


def _known_mean(values: np.ndarray) -> float:
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else np.nan


_mean = jax.jit(voting.mean)
