"""The same methods on GSM8K, with a language model; sized for one GPU."""

import re
from typing import Any

import jax
import numpy as np

from experiments import policies
from experiments.critique_and_numbers import methods
from prm_jax import types
from prm_jax.data import answers
from prm_jax.learners import critique_grpo, grpo, imitation, rltf, sdpo
from prm_jax.policy import critics, demonstrations, phases, rollouts, word_tasks

Row = dict[str, Any]
_ASK = '{}\nThink step by step and end with "The answer is" and a number.'
_COMPUTED = re.compile(r'<<[^<>]*=([^<>=]*)>>')


def run(config, name: str, seed: int) -> Row:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    name: 'grpo', 'dr_grpo', 'rltf_predict', 'sdpo', 'refinement_tuning', or
      'critique_grpo_CRITIC' with 'indicative', 'with_answer', 'step_by_step',
      'self' or 'shuffled'.
    seed: of the draws.
  """
  node, model = config.words, policies.language_model(config)
  known = policies.word_problems(config, node.longest)
  train = known[: node.pool]
  test = known[node.pool : node.pool + node.held_out]
  words = _words(model, train, node)
  learner = _method(name, node, model, train, words)
  examine = _examiner(model, _words(model, test, node), len(test))
  curve = policies.Curve()
  state = policies.fit(
    learner, jax.random.key(seed), model.params,
    np.arange(len(train)), batch=node.batch, seed=seed, every=node.every,
    examine=examine, curve=curve,
  )  # fmt: skip
  return {
    'method': name, 'seed': seed, 'problems': len(train), 'curve': curve.rows,
    'final': examine(state.params['policy']),
  }  # fmt: skip


def _words(model, known, node) -> word_tasks.Words:
  truth = [answers.final(solution) for _, solution in known]

  def check(problem, text):
    return float(answers.equal(answers.final(text), truth[problem]))

  return word_tasks.words(
    model.tokenizer, [_ASK.format(question) for question, _ in known], check,
    max_new_tokens=node.tokens,
  )  # fmt: skip


def _method(name, node, model, known, words) -> types.Learner:
  training = phases.Training(node.learning_rate, node.steps, remat=True)
  settings: dict[str, Any] = {
    'task': words.task, 'config': model.config, 'training': training
  }  # fmt: skip
  if name in ('grpo', 'dr_grpo'):
    advantage = 'normalized' if name == 'grpo' else 'centred'
    return grpo.grpo(samples=node.samples + 1, advantage=advantage, **settings)
  if name == 'rltf_predict':  # answers and second tries: as many texts
    return rltf.rltf(
      critic=_critic('step_by_step', known, words), requests=words.requests,
      samples=(node.samples + 1) // 2, predict=methods.PREDICT, **settings,
    )  # fmt: skip
  if name == 'sdpo':
    return sdpo.sdpo(
      critic=_critic('step_by_step', known, words), samples=node.samples + 1,
      **settings,
    )  # fmt: skip
  if name == 'refinement_tuning':
    shown = demonstrations.refinements(
      task=words.task, critic=_critic('step_by_step', known, words),
      config=model.config, problems=len(known), batch=2 * node.batch,
    )  # fmt: skip
    return imitation.imitation(
      shown=shown, config=model.config, steps=node.steps, warm_up=10,
      learning_rate=node.learning_rate, remat=True,
    )  # fmt: skip
  kind = name.removeprefix('critique_grpo_')
  if kind == 'self':
    critic = critics.own(
      model.config, words.requests, max_new_tokens=node.tokens,
      stop_ids=words.task.stop_ids,
    )  # fmt: skip
  elif kind == 'shuffled':
    critic = critics.shuffled(_critic('step_by_step', known, words))
  else:
    critic = _critic(kind, known, words)
  return critique_grpo.critique_grpo(
    critic=critic, samples=node.samples, **settings
  )


def _critic(kind, known, words) -> critics.Critic:
  """Returns a rule that knows the solutions."""
  solutions = [solution for _, solution in known]
  return critics.rule(
    lambda row, text, reward: critique(kind, solutions[row], text, reward),
    words.decode, words.encode,
  )  # fmt: skip


def critique(kind: str, solution: str, attempt: str, reward: float) -> str:
  """Returns what a rule says of an attempt, knowing the solution.

  Args:
    kind: 'indicative', 'with_answer' or 'step_by_step': the first value that
      the solution computes and the attempt does not state, and its line.
    solution: of GSM8K, with values in << >>.
    attempt: a text.
    reward: above a half if it is right.

  Raises:
    ValueError: unknown kind.
  """
  if kind not in ('indicative', 'with_answer', 'step_by_step'):
    raise ValueError(f'critic {kind!r}')
  if reward > 0.5:
    return 'The answer is right.'
  said = 'The answer is wrong.'
  if kind == 'with_answer':
    return f'{said} The right answer is {answers.final(solution)}.'
  if kind == 'step_by_step':
    stated = {answers.normalized(n) for n in re.findall(r'[\d.,]*\d', attempt)}
    for line in solution.splitlines():
      values = _COMPUTED.findall(line)
      if values and answers.normalized(values[-1]) not in stated:
        return f'{said} This step is missing: {_COMPUTED.sub("", line)}'
  return said


def _examiner(model, words: word_tasks.Words, count: int) -> policies.Examine:
  """Returns `params -> figures`, greedily, of problems never trained on."""
  asked = words.task.prompts(np.arange(count))

  def examine(params):
    said = rollouts.write(
      jax.random.key(0), model.config, params, asked, words.task,
      temperature=0.0,
    ).tokens  # fmt: skip
    ended = np.isin(said.ids, words.task.stop_ids) & (said.mask > 0)
    return {
      'solved': float(words.task.verify(np.arange(count), said).mean()),
      'finished': float(ended.any(1).mean()),
    }

  return examine
