"""The same methods with a language model and people's wishes in words.

Sized for one GPU. A person wants replies in a form that a rule can check, and
says so as the people of `worlds.persona_replies` do.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import policies
from experiments.evaluative_and_directive import cells
from prm_jax import types
from prm_jax.learners import directive
from prm_jax.models import sampling
from prm_jax.policy import phases, rollouts, tasks, word_tasks

Row = dict[str, Any]
_BRIEF = 40  # words
_MENTION = 2 / 3


class Wish(NamedTuple):
  """Something that a person may want of replies.

  Attributes:
    hint: as a person says it.
    holds: whether a reply has it.
  """

  hint: str
  holds: Callable[[str], bool]


def _listed(text: str) -> bool:
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return bool(lines) and all(re.match(r'[-*] ', line) for line in lines)


WISHES = (
  Wish('Write a list whose lines all start with a hyphen.', _listed),
  Wish(
    'Give the answer first: start with the word "Answer".',
    lambda text: text.lstrip(' -*').startswith('Answer'),
  ),
  Wish(
    f'Use at most {_BRIEF} words.',
    lambda text: 0 < len(text.split()) <= _BRIEF,
  ),
)


def fits(wanted: np.ndarray, text: str) -> bool:
  """Returns whether a reply has all that is wanted, `[3]` bool."""
  return all(
    wish.holds(text) for wish, want in zip(WISHES, wanted, strict=True) if want
  )


def hint(rng: np.random.Generator, wanted: np.ndarray, error: float) -> str:
  """Returns what somebody says who wants `[3]` bool.

  Args:
    rng: of what is said.
    wanted: at least one wish.
    error: probability that the hint is of other wishes, drawn at random.
  """
  if rng.random() < error:
    wanted = _anybody(rng)
  named = wanted & (rng.random(len(WISHES)) < _MENTION)
  if not named.any():
    named[rng.choice(np.flatnonzero(wanted))] = True
  return ' '.join(WISHES[i].hint for i in np.flatnonzero(named))


def _anybody(rng: np.random.Generator) -> np.ndarray:
  """Returns the wishes of somebody, at least one, `[3]` bool."""
  number = rng.integers(1, 1 << len(WISHES))
  return (number >> np.arange(len(WISHES))) % 2 > 0


def run(config, name: str, seed: int) -> Row:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    name: see `cells.method`.
    seed: of the person and of all draws.
  """
  node, model = config.words, policies.language_model(config)
  questions = policies.word_problems(config, node.longest)
  asked = [text for text, _ in questions[: node.pool + node.held_out]]
  wanted = _anybody(np.random.default_rng([seed, 0xC3]))
  words = word_tasks.words(
    model.tokenizer, asked, lambda row, text: float(fits(wanted, text)),
    max_new_tokens=node.tokens,
  )  # fmt: skip
  error = 1.0 if name.endswith('shuffled') else node.hint_error
  learner = cells.method(
    name, task=words.task, config=model.config,
    replies=_replies(words, asked, wanted, node.hint_rate, error),
    training=phases.Training(node.learning_rate, node.steps, remat=True),
  )  # fmt: skip
  fresh = np.arange(node.pool, len(asked))

  def examine(params):
    said = rollouts.write(
      jax.random.key(0), model.config, params, words.task.prompts(fresh),
      words.task,
    ).tokens  # fmt: skip
    return {'fit': float(words.task.verify(fresh, said).mean())}

  curve = policies.Curve()
  state = policies.fit(
    learner, jax.random.key(seed), model.params,
    np.arange(node.pool), batch=node.batch, seed=seed, every=node.every,
    examine=examine, curve=curve,
  )  # fmt: skip
  return {
    'method': name, 'seed': seed,
    'wanted': [WISHES[i].hint for i in np.flatnonzero(wanted)],
    'curve': curve.rows, 'final': examine(state.params['policy']),
  }  # fmt: skip


def _replies(words, asked, wanted, rate, error) -> directive.Replies:
  """Returns what the person says to replies."""

  def reply(key: types.Key, row, said):
    rng = tasks.generator(key)
    liked = words.task.verify(row, said) > 0.5
    hinted = rng.random(len(row)) < rate
    prompts = [
      f'{asked[i]}\n{hint(rng, wanted, error)}' if with_hint else asked[i]
      for i, with_hint in zip(row, hinted, strict=True)
    ]
    return directive.Reply(
      np.where(liked, 1.0, -1.0).astype(np.float32),
      words.encode([sampling.chatml(text) for text in prompts]),
      hinted,
    )

  return reply
