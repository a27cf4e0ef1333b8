"""Judging texts as a task: what a policy writes of answers is right or wrong.

A problem is a question with answers, shown in one order; an answer to it is a
judge's text, and its reward a rule of `ops.judge_rewards` on what it says. So
every learner of policies trains a judge.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.ops import judge_rewards
from prm_jax.policy import tasks, word_tasks
from prm_jax.rewards import (
  generative,
  judge_formats,
  judge_items,
  judge_readings,
)

REWARDS = ('verdict', 'argmax', 'ordered', 'judge_lrm')
ORDERS = ('shuffled', 'both', 'fixed')


class Judging(NamedTuple):
  """Judging as a task, and how its tokens are read and written.

  Attributes:
    words: task, decode, encode; its requests are none of a judge.
    truth: `[M, n]` how good the answers are, by the place shown.
    order: `[M, n]` which answer of the item stands at each place.
    item: `[M]` the item of each problem.
  """

  words: word_tasks.Words
  truth: np.ndarray
  order: np.ndarray
  item: np.ndarray


def judging(
  key: types.Key,
  tokenizer: Tokenizer,
  form: judge_formats.Format,
  items: Sequence[generative.Item],
  truth: np.ndarray,
  *,
  max_new_tokens: int,
  context: int,
  reward: str | None = None,
  wrong: float = -1.0,
  order: str = 'shuffled',
  cut: int | None = None,
  stop: Sequence[str] = ('<|im_end|>',),
  template: Callable[[judge_formats.Messages], str] = judge_formats.chatml,
) -> Judging:
  """Returns the task of judging items in a format.

  Where the truth of an item does not say what is right, or two answers that are
  read as equal are not equally good, rewards are NaN, which drops the text.

  Args:
    key: of orders.
    tokenizer: of the model.
    form: of one turn, that reads n answers.
    items: N, each with n answers.
    truth: `[N, n]` how good they are, in any unit; for one answer and `argmax`
      in the format's own, as 1 or 0.
    max_new_tokens: of a text.
    context: tokens that the decoder reads, `max_position_embeddings` of its
      configuration: every prompt has room in it for the text.
    reward: `verdict`, the best answer is preferred; `argmax`, it alone has the
      best score, and a single answer has exactly its score (DeepSeek-GRM);
      `ordered`, scores order answers as the truth does; or `judge_lrm`, with
      JudgeLRM's own numbers, where a bad number is a bad form, too. If None,
      `verdict`, and `argmax` where n is 1.
    wrong: what a wrong or invalid text earns: -1 or 0.
    order: in which answers are shown: `shuffled`, once an item; `both`, where
      problem N + i is item i with the answers of problem i in reverse; `fixed`.
    cut: how many tokens of an answer are read; None: all.
    stop: tokens that end a text.
    template: what the model reads of messages.

  Raises:
    ValueError: the format has two turns, cannot read an item or does not say
      what is rewarded; a prompt and its text do not fit into the context; truth
      is not `[N, n]`; no items; unknown reward, order or stop token.

  References:
    -1: Chen et al. 2025 (RM-R1), arXiv:2505.02387; Guo et al. 2025 (RRM),
    arXiv:2505.14674; Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495. 0:
    Whitehouse et al. 2025 (J1), arXiv:2505.10320.
  """
  reward = _rule(form, reward)
  n, truth = form.responses, np.asarray(truth, np.float32)
  if truth.shape != (len(items), n):
    raise ValueError(f'truth {truth.shape} of {len(items)} items of {n}')
  item, shown = _shown(key, len(items), n, order)
  read = [
    generative.readable(i, each, tokenizer, quote=form.quote, cut=cut)
    for i, each in enumerate(items)
  ]
  questions = [
    template(_messages(form, i, read[i], places)) + form.opening
    for i, places in zip(item, shown, strict=True)
  ]
  _fits(tokenizer, questions, item, max_new_tokens, context)
  words = word_tasks.words(
    tokenizer,
    questions,
    lambda row, text: 0.0,
    max_new_tokens=max_new_tokens,
    stop=stop,
    template=str,
  )
  truth = np.take_along_axis(_told_apart(read, truth)[item], shown, 1)
  opened = [judge_readings.opened(question) for question in questions]
  verify = _verify(form, words.decode, _rewarded(reward, wrong), truth, opened)
  task = words.task._replace(verify=verify, refine=None)
  return Judging(words._replace(task=task), truth, shown, item)


def _told_apart(items, truth: np.ndarray) -> np.ndarray:
  """Returns truth `[N, n]`, NaN of items whose equal answers differ in it."""
  truth = truth.copy()
  for i, item in enumerate(items):
    if any(
      np.ptp(truth[i, s]) != 0 for s in judge_items.equals(item.responses)
    ):
      truth[i] = np.nan
  return truth


def _fits(tokenizer, questions, item, max_new_tokens: int, context: int):
  """Refuses problems that the decoder cannot read to the end of a text."""
  if max_new_tokens < 1:
    raise ValueError(f'max_new_tokens is {max_new_tokens}: at least 1')
  found = tokenizer.encode_batch(questions, add_special_tokens=False)
  lengths = np.array([len(each.ids) for each in found], int)
  long = np.flatnonzero(lengths + max_new_tokens > context)
  if long.size:
    row = long[0]
    raise ValueError(
      f'problem {row}, of item {item[row]}, is {lengths[row]} tokens long, and '
      f'{max_new_tokens} more do not fit into a context of {context}, as of '
      f'{long.size} problems of {len(item)}: cut answers, or write fewer'
    )


def _verify(form, decode, rule, truth, opened):
  """Returns `(problem [R], Tokens) -> rewards [R]` of judges' texts."""

  def verify(problem, tokens):
    said = [
      form.parse(opened[row] + text)
      for row, text in zip(problem, decode(tokens), strict=True)
    ]
    verdict = np.array([each.verdict for each in said], np.int32)
    scores = np.array([each.scores for each in said], np.float32)
    scores = scores.reshape(-1, form.responses)
    return np.asarray(rule(verdict, scores, truth[problem]))

  return verify


def _rule(form: judge_formats.Format, reward: str | None) -> str:
  """Returns the rule, if the format has one turn, and says what it rewards."""
  if form.turns > 1:
    raise ValueError(f'{form.name} has {form.turns} turns: a task has one')
  alone = form.responses == 1
  if reward is None:
    reward = 'argmax' if alone else 'verdict'
  if reward not in REWARDS:
    raise ValueError(f'reward {reward!r}: one of {REWARDS}')
  silent = form.ranks and reward != 'verdict'
  silent |= alone and reward != 'argmax'
  silent |= form.responses != 2 and reward == 'judge_lrm'
  if silent:
    raise ValueError(
      f'{form.name} of {form.responses} answers says nothing for {reward!r}'
    )
  return reward


def _messages(form, i, item, places) -> judge_formats.Messages:
  answers = item.responses
  try:
    if len(answers) == len(places):
      answers = [answers[c] for c in places]
    return form.messages(item.query, answers, item.criterion)
  except ValueError as error:
    raise ValueError(f'item {i}: {error}') from error


def _shown(key, N: int, n: int, order: str):
  """Returns the item of each problem, and which answer stands at each place."""
  if order not in ORDERS:
    raise ValueError(f'order {order!r}: one of {ORDERS}')
  shown = np.tile(np.arange(n), (N, 1))
  if order != 'fixed':
    shown = tasks.generator(key).permuted(shown, axis=1)
  item = np.arange(N)
  if order == 'both':
    return np.tile(item, 2), np.concatenate([shown, shown[:, ::-1]])
  return item, shown


@functools.lru_cache(maxsize=16)
def _rewarded(reward: str, wrong: float) -> Callable[..., jax.Array]:
  """Returns `(verdict [R], scores [R, n], truth [R, n]) -> rewards [R]`."""

  @jax.jit
  def rule(verdict, scores, truth):
    there = jnp.ones_like(truth)
    if reward == 'verdict':
      best = truth == truth.max(-1, keepdims=True)
      known = (best.sum(-1) == 1) & ~jnp.isnan(truth).any(-1)
      label = jnp.where(known, best.argmax(-1), judge_rewards.INVALID)
      return judge_rewards.correct(verdict, label, wrong=wrong)
    if reward == 'argmax':
      return judge_rewards.strict_argmax(scores, truth, there, wrong=wrong)
    if reward == 'ordered':
      return judge_rewards.ordered(scores, truth, there, wrong=wrong)
    formed = ~jnp.isnan(scores).any(-1)
    return judge_rewards.judge_lrm(scores, truth, formed)

  return rule
