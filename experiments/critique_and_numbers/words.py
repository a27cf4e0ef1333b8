"""The same methods on GSM8K, with a language model; sized for one GPU."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.critique_and_numbers import methods
from prm_jax.data import answers, solutions
from prm_jax.lab import curves, starts
from prm_jax.policy import critics, tasks, word_tasks

_ASK = '{}\nThink step by step and end with "The answer is" and a number.'


def run(config, label: str, node: curves.Node, seed: int) -> dict[str, Any]:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    label: of the method.
    node: of the method.
    seed: of the draws.
  """
  sizes, model = config.words, starts.language_model(config)
  problems = starts.word_problems(config, sizes.longest)
  train = problems[: sizes.pool]
  test = problems[sizes.pool : sizes.pool + sizes.held_out]
  words = _words(model, train, sizes.tokens)
  setting = methods.Setting(
    task=words.task,
    config=model.config,
    problems=len(train),
    rule=functools.partial(_rule, train, words),
    requests=words.requests,
    limits=tasks.Limits(sizes.tokens, words.task.stop_ids),
  )
  learner = methods.learner(node, setting, sizes.steps, remat=True)
  test_task = _words(model, test, sizes.tokens).task
  examine = _examiner(model, test_task, len(test))
  stages = [(learner, np.arange(len(train)))]
  named = {'method': label, 'seed': seed, 'problems': len(train)}
  return named | curves.run(stages, model.params, examine, sizes, seed)


def _words(model, problems, tokens: int) -> word_tasks.Words:
  truth = [answers.final(solution) for _, solution in problems]

  def check(problem, text):
    return float(answers.equal(answers.final(text), truth[problem]))

  asked = [_ASK.format(question) for question, _ in problems]
  return word_tasks.words(model.tokenizer, asked, check, max_new_tokens=tokens)


def _rule(problems, words: word_tasks.Words, kind: str) -> critics.Critic:
  """Returns a rule that knows the solutions."""

  def says(row, text, reward):
    return solutions.critique(kind, problems[row][1], text, reward)

  return critics.rule(says, words.decode, words.encode)


def _examiner(model, task: tasks.Task, count: int) -> starts.Examine:
  """Returns `params -> figures`, greedily, of problems never trained on."""

  def examine(params):
    said, right = starts.answered(
      jax.random.key(0),
      model.config,
      params,
      task,
      np.arange(count),
      temperature=0.0,
    )
    ended = np.isin(said.ids, task.stop_ids) & (said.mask > 0)
    return {
      'solved': float(right.mean()),
      'finished': float(ended.any(1).mean()),
    }

  return examine
