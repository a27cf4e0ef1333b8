"""What judges are asked, and whose answer is meant by what they say.

Items become conversations, each of which shows some answers in some order; the
texts of all of them become what is said of each item's answers.
"""

import collections
import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.ops import voting
from prm_jax.rewards import judge_formats, judge_quotes

_CUT = ' [...]'  # follows what is left of an answer
_ROWS = 256  # that are put back in the answers' order at once


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
    scores: `[N, k, n]` as said, of equal answers their mean, NaN in all n
      where invalid; of a format that says verdicts alone, 1 for the answer
      preferred and 0 for the other.
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
    cut: how many tokens of an answer are left; None: all. Answers that differ
      only behind them are read as equal ones.

  Raises:
    ValueError: a text is none, or no Unicode, the criterion says nothing that
      can be seen, or cut is negative.
  """
  if cut is not None and cut < 0:
    raise ValueError(f'cut is {cut}: tokens that are left, or None')
  special = []
  if quote:
    known = tokenizer.get_added_tokens_decoder().values()
    special = [token.content for token in known if token.special]

  def clean(field: str, text: str, cut: int | None = None) -> str:
    if not isinstance(text, str):
      raise ValueError(f'item {i}: {field} is {type(text).__name__}, no text')
    try:
      text.encode()
    except UnicodeEncodeError as error:
      raise ValueError(f'item {i}: {field} is no Unicode: {error}') from error
    if cut is not None:
      found = tokenizer.encode(text, add_special_tokens=False)
      if len(found.ids) > cut:
        text = text[: found.offsets[cut - 1][1] if cut else 0] + _CUT
    return judge_quotes.without(text, special)

  criterion = item.criterion
  if criterion is not None:
    criterion = clean('the criterion', criterion)
    if not any(map(_seen, criterion)):
      raise ValueError(
        f'item {i}: the criterion is empty: leave it out, or say one'
      )
  responses = tuple(
    clean(f'response {c}', text, cut) for c, text in enumerate(item.responses)
  )
  return Item(clean('the query', item.query), responses, criterion)


def _seen(character: str) -> bool:
  """Whether a character is neither space nor of no width."""
  return not character.isspace() and unicodedata.category(character) != 'Cf'


class Piece(NamedTuple):
  """One conversation with the judge.

  Attributes:
    item: its place among the items.
    sample: of k.
    row: keys the noise.
    asked: query, answers in the order shown, criterion.
    name: of the item, for errors.
  """

  item: int
  sample: int
  row: int
  asked: tuple[str, Sequence[str], str | None]
  name: str


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


def generator(key: types.Key, *more: int) -> np.random.Generator:
  """Returns a generator of NumPy's, of a key and numbers.

  Args:
    key: typed.
    more: what tells it from others of the key.
  """
  return np.random.default_rng([*np.asarray(jax.random.key_data(key)), *more])


def orders(key: types.Key, N: int, k: int, n: int, order: str) -> np.ndarray:
  """Returns which answer stands at each place, `[N, k, n]`.

  Args:
    key: of shuffles.
    N: items.
    k: texts an item.
    n: answers of each.
    order: see `generative.Judge.judge`.
  """
  shown = np.tile(np.arange(n, dtype=np.int32), (N, k, 1))
  if order != 'fixed':
    for i, rows in enumerate(shown):
      shown[i] = generator(key, i).permuted(rows, axis=1)
  if order == 'both':
    shown[:, 1::2] = shown[:, ::2, ::-1]
  return shown


def pieces(
  form: judge_formats.Format,
  items: Sequence[Item],
  shown: np.ndarray,
  names: Sequence[str],
) -> list[Piece]:
  """Returns what is asked of the judge, item by item.

  Args:
    form: of the judge.
    items: N.
    shown: `[N, k, n]` which answer stands at each place.
    names: N, for errors.
  """
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
        found.append(Piece(i, j, row, asked, names[i]))
  return found


def _settled(form, item: Item) -> bool:
  """Whether there is nothing to be preferred."""
  return form.ranks and len(set(item.responses)) == 1


def judged(
  form: judge_formats.Format,
  items: Sequence[Item],
  shown: np.ndarray,
  pieces: Sequence[Piece],
  texts: Sequence[Sequence[str]],
  opened: Sequence[str],
  read: np.ndarray,
  written: np.ndarray,
) -> Judged:
  """Returns what the texts of all pieces say, by answer.

  Args:
    form: of the judge.
    items: N.
    shown: `[N, k, n]` which answer stands at each place.
    pieces: P, of these.
    texts: P, a text a turn.
    opened: P, what of the last text stands in its prompt.
    read: `[P]` tokens before the texts.
    written: `[P]` tokens of the texts.
  """
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
  if not form.ranks:
    scores, chosen = _alike(items, scores, chosen)
  equal = np.array([_settled(form, item) for item in items], bool)
  scores[equal] = 1 / n
  valid = np.asarray(~np.isnan(scores).any(-1))
  return Judged(chosen, scores, valid, shown, kept, read_of, written_of)


def equals(responses: Sequence[str]) -> list[np.ndarray]:
  """Returns places of answers that are equal, of those that have an equal.

  Args:
    responses: n answers.
  """
  places: dict[str, list[int]] = collections.defaultdict(list)
  for place, text in enumerate(responses):
    places[text].append(place)
  return [np.array(each) for each in places.values() if len(each) > 1]


def _alike(items, scores, verdict):
  """Returns scores and verdicts in which equal answers are equally good.

  What a text says apart of them is noise, or who came first.
  """
  scores, verdict = scores.copy(), verdict.copy()
  for i, item in enumerate(items):
    for same in equals(item.responses):
      scores[i][:, same] = scores[i][:, same].mean(-1, keepdims=True)
      best = scores[i] == scores[i].max(-1, keepdims=True)
      verdict[i] = np.where(best.sum(-1) == 1, best.argmax(-1), -1)
  return scores, verdict


def _restored(places, verdict, shown, ranks: bool):
  """Returns scores `[N, k, n]` and verdicts `[N, k]`, of answers, not places.

  A block of rows at a time: one program is compiled.
  """
  n, count = shown.shape[-1], verdict.size
  more = -count % _ROWS
  rows = ((0, more), (0, 0))
  order = np.pad(shown.reshape(-1, n), rows, 'edge')
  filled = np.pad(places.reshape(-1, n), rows)
  said = np.pad(verdict.ravel(), (0, more), constant_values=-1)
  for first in range(0, count, _ROWS):
    block = slice(first, first + _ROWS)
    filled[block], said[block] = jax.device_get(
      _by_answer(filled[block], said[block], order[block], ranks=ranks)
    )
  return (
    filled[:count].reshape(places.shape),
    said[:count].reshape(verdict.shape),
  )


@functools.partial(jax.jit, static_argnames='ranks')
def _by_answer(places, verdict, order, *, ranks):
  if ranks:
    places = voting.ballots(verdict, answers=order.shape[-1])
  scores = voting.restored(places, order)
  return scores, voting.restored_verdict(verdict, order)
