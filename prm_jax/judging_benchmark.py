"""A language model that writes verdicts, on benchmarks of reward models.

Pairs are shown in both orders, as JudgeBench and LLMBar ask it; prompts with
more answers are tournaments, of which every answer has the share of comparisons
that it wins. A text that says nothing is wrong, and counted.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from prm_jax.audits import benchmarks, both_orders
from prm_jax.data import benchmark_files
from prm_jax.models import chat as chats
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import generative, judge_formats, judge_items

FORMATS: Mapping[str, Callable[[], judge_formats.Format]] = {
  'rm_r1': judge_formats.rm_r1,
  'rrm': judge_formats.rrm,
  'j1': judge_formats.j1,
  'judge_lrm': judge_formats.judge_lrm,
  'br_rm': judge_formats.br_rm,
  'grm': judge_formats.grm,
  'genrm': judge_formats.genrm,
}


class Said(NamedTuple):
  """What a judge says of N prompts.

  Attributes:
    scores: N arrays, of every answer; of pairs the share of texts for each.
    verdicts: `[N, 2]` places as the pair was shown, in its order and in the
      other; None where there are more answers, or they are scored alone.
    invalid: share of texts that say nothing.
  """

  scores: list[np.ndarray]
  verdicts: np.ndarray | None
  invalid: float


def load(
  folder: Path, name: str, *, tokens: int, temperature: float
) -> generative.Judge:
  """Returns a judge that reads and writes as a checkpoint's template does.

  Args:
    folder: of a language model, in Hugging Face's layout.
    name: of `FORMATS`.
    tokens: that each text may have.
    temperature: of the draws.

  Raises:
    ValueError: no such format, or the folder holds no usable language model.
  """
  if name not in FORMATS:
    raise ValueError(f'--judge={name}: one of {sorted(FORMATS)}')
  if tokens < 1 or temperature < 0:
    raise ValueError(
      f'--tokens={tokens}, --temperature={temperature}: at least 1, and 0'
    )
  chat = chats.Chat.load(folder)
  end = chat.special.get('eos_token')
  if end is None or chat.tokenizer.token_to_id(end) is None:
    raise ValueError(
      f'{folder}: tokenizer_config.json names no eos_token that the tokenizer '
      'knows, and so a judge would not end'
    )
  return generative.Judge(
    LanguageModel.load(folder),
    FORMATS[name](),
    chats.speller(chat),
    max_new_tokens=tokens,
    temperature=temperature,
    stop=(end,),
  )


def judged(
  judge: generative.Judge, rows: benchmark_files.Rows, *, k: int, seed: int = 0
) -> Said:
  """Returns what a judge says of a benchmark.

  Args:
    judge: whose format reads two answers, or one.
    rows: N of a benchmark.
    k: texts of an order, or of an answer.
    seed: of orders and draws.

  Raises:
    ValueError: an answer cannot be read, or not within the model's context:
      before anything is written of prompts with as many answers.
  """
  key = jax.random.key(seed)
  items = [
    judge_items.Item(prompt, texts)
    for prompt, texts in zip(rows.prompts, rows.answers, strict=True)
  ]
  sizes = np.array([len(item.responses) for item in items])
  if judge.format.responses == 2 and (sizes == 2).all():
    said = judge.judge(key, items, 2 * k, order='both')
    return Said(_shares(said), _orders(said), said.invalid)
  scores: list[np.ndarray] = [np.zeros(0)] * len(items)
  texts: list[judge_items.Judged] = []
  for n in np.unique(sizes):
    where = np.flatnonzero(sizes == n)
    found = judge.reward(
      jax.random.fold_in(key, int(n)),
      [items[i] for i in where],
      k=k,
      record=texts.append,
    )
    known = found[np.isfinite(found)]
    lowest = float(known.min(initial=0.0)) - 1
    right = [np.isin(np.arange(n), rows.right[i]) for i in where]
    for i, row, good in zip(where, found, right, strict=True):
      # Of whom nothing is said: the right answer is last, a wrong one first.
      missing = np.where(good, lowest, float(known.max(initial=0.0)) + 1)
      scores[i] = np.where(np.isfinite(row), row, missing)
  valid = [said.valid.ravel() for said in texts]
  every = np.concatenate(valid) if valid else np.ones(1, bool)
  return Said(scores, None, float(1 - every.mean()))


def _shares(said: judge_items.Judged) -> list[np.ndarray]:
  """Returns the share of valid texts that prefers each answer of a pair."""
  votes = (said.verdict[..., None] == np.arange(2)).sum(1)
  return list(votes / np.maximum(votes.sum(-1, keepdims=True), 1))


def _orders(said: judge_items.Judged) -> np.ndarray:
  """Returns the majority of each order's texts, as a place shown in it."""
  first = said.order[..., 0] == 0  # texts that read the pair in its order
  found = []
  for place, own in ((0, first), (1, ~first)):
    votes = [((said.verdict == c) & own).sum(1) for c in (0, 1)]
    told = np.where(votes[0] > votes[1], place, 1 - place)
    told = np.where(votes[0] == votes[1], both_orders.TIE, told)
    valid = (said.valid & own).any(1)
    found.append(np.where(valid, told, both_orders.INVALID))
  return np.stack(found, 1)


def parts(
  rows: benchmark_files.Rows, found: Sequence[np.ndarray]
) -> dict[str, float]:
  """Returns figures of a benchmark of pairs, the whole first.

  JudgeBench's and LLMBar's are as released; RewardBench's and those of
  judgements give half of the credit to each order.

  Args:
    rows: N of a benchmark.
    found: N rows of `Said.verdicts`.
  """
  told = np.stack(found)
  right = np.array([places[0] for places in rows.right])
  if rows.name == 'reward_bench':
    both = credit(rows, found)
    given = benchmarks.Credits(both, (told == both_orders.INVALID).all(1))
    sections = benchmarks.reward_bench(given, rows.group)
    known = {'overall': sections.overall, **sections.section}
    return {k: v for k, v in known.items() if v == v} | sections.subset
  rule = (
    both_orders.judge_bench
    if rows.name == 'judge_bench'
    else both_orders.llmbar
  )
  orders = rule(told[:, 0], told[:, 1], right, rows.group)
  return {
    'overall': orders.accuracy,
    'consistent': orders.consistent,
    **orders.group,
  }


def credit(
  rows: benchmark_files.Rows, found: Sequence[np.ndarray]
) -> np.ndarray:
  """Returns the credit `[N]`: the mean of both orders, half for a tie.

  Args:
    rows: N of a benchmark.
    found: N rows of `Said.verdicts`.
  """
  told = np.stack(found)
  right = np.array([places[0] for places in rows.right])
  places = np.stack([right, 1 - right], 1)
  return ((told == places) + 0.5 * (told == both_orders.TIE)).mean(1)
