"""The same methods with a language model and people's wishes in words.

Sized for one GPU. A person wants replies in a form that a rule can check, and
says so: see `worlds.wishes`.
"""

from typing import Any

import jax
import numpy as np

from experiments.evaluative_and_directive import methods
from prm_jax import types
from prm_jax.lab import curves, starts
from prm_jax.learners import directive
from prm_jax.models import sampling
from prm_jax.policy import tasks, word_tasks
from prm_jax.worlds import wishes


def run(config, label: str, node: curves.Node, seed: int) -> dict[str, Any]:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    label: of the method.
    node: of the method.
    seed: of the person and of all draws.
  """
  sizes, model = config.words, starts.language_model(config)
  questions = starts.word_problems(config, sizes.longest)
  asked = [text for text, _ in questions[: sizes.pool + sizes.held_out]]
  wanted = wishes.draw(np.random.default_rng([seed, 0xC3]))
  words = word_tasks.words(
    model.tokenizer,
    asked,
    lambda row, text: float(wishes.fits(wanted, text)),
    max_new_tokens=sizes.tokens,
  )
  error = node.get('hint_error', sizes.hint_error)
  learner = methods.learner(
    node,
    sizes.steps,
    remat=True,
    task=words.task,
    replies=_replies(words, asked, wanted, sizes.hint_rate, error),
    config=model.config,
  )
  fresh = np.arange(sizes.pool, len(asked))

  def examine(params):
    _, right = starts.answered(
      jax.random.key(0), model.config, params, words.task, fresh
    )
    return {'fit': float(right.mean())}

  named = {'method': label, 'seed': seed, 'wanted': wishes.named(wanted)}
  stages = [(learner, np.arange(sizes.pool))]
  return named | curves.run(stages, model.params, examine, sizes, seed)


def _replies(words, asked, wanted, rate, error) -> directive.Replies:
  """Returns what the person says to replies."""

  def reply(key: types.Key, row, said):
    rng = tasks.generator(key)
    liked = words.task.verify(row, said) > 0.5
    hinted = rng.random(len(row)) < rate
    told = [
      f'{asked[i]}\n{wishes.hint(rng, wanted, error)}' if hints else asked[i]
      for i, hints in zip(row, hinted, strict=True)
    ]
    return directive.Reply(
      np.where(liked, 1.0, -1.0).astype(np.float32),
      words.encode([sampling.chatml(text) for text in told]),
      hinted,
    )

  return reply
