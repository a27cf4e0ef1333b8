"""A discriminator of policies at work: how close texts are to references."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import hidden_states, surface
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import gaussian_likeness, trajectories
from prm_jax.users import references


class Answer(NamedTuple):
  """A response to a prompt."""

  prompt: str
  response: str


class Judge(NamedTuple):
  """A trained discriminator and the frozen layers that read for it.

  Attributes:
    model: whose lower layers read.
    reward: see `rewards.gaussian_likeness`.
    params: of the reward.
    reading: `layers`, `stride`, `prompt` and `length` of a text, in tokens.
  """

  model: LanguageModel
  reward: types.RewardModel
  params: types.PyTree
  reading: Mapping[str, int]


def judge(
  model: LanguageModel, params: types.PyTree, card: Mapping[str, Any]
) -> Judge:
  """Returns a discriminator from what its training exported.

  Args:
    model: the frozen one.
    params: of the reward.
    card: `kind`, `reading`, `same_prompt` and `fingerprint`, as exported.

  Raises:
    ValueError: the parameters are of something else, or the model is not the
      one that read for them in training.
  """
  if card.get('kind') != 'likeness':
    raise ValueError(
      'these are no parameters of a policy discriminator: give a folder '
      '`discriminators/NAME` of a run of policy_discriminators'
    )
  if card['fingerprint'] != model.fingerprint:
    raise ValueError(
      f'the discriminator was trained on hidden states of another model '
      f'({card["fingerprint"][:12]}, this one is {model.fingerprint[:12]})'
    )
  params = jax.tree.map(jnp.asarray, params)
  reward = gaussian_likeness.likeness(
    dim=len(params['taste']), same_prompt=card['same_prompt']
  )
  return Judge(model, reward, params, card['reading'])


def read(
  model: LanguageModel,
  reading: Mapping[str, int],
  answers: Sequence[Answer],
  folder: Path | None = None,
) -> np.ndarray:
  """Returns hidden states of answers and their prompts, `[M, T, F]`.

  Args:
    model: the frozen one.
    reading: `layers`, `stride`, `prompt` and `length`, in tokens.
    answers: M.
    folder: where states are kept; they are not if None.
  """
  given = trajectories.tokenize(
    model.tokenizer,
    [a.prompt for a in answers],
    [a.response for a in answers],
    answer=reading['length'],
  )
  ids = trajectories.table(
    given, prompt=reading['prompt'], length=reading['length']
  )
  return hidden_states.encode(
    model,
    ids,
    layers=reading['layers'],
    stride=reading['stride'],
    folder=folder,
  )


def pool(states: np.ndarray, responses: Sequence[str]) -> np.ndarray:
  """Returns mean states and surface features, `[M, F + G]`."""
  looks = surface.measure(responses)
  return np.concatenate([hidden_states.pool(states), looks], 1)


def encode(judge: Judge, answers: Sequence[Answer]) -> types.Array:
  """Returns answers `[M, J]` as the reward reads them."""
  states = read(judge.model, judge.reading, answers)
  pooled = pool(states, [a.response for a in answers])
  return judge.reward.encode(judge.params, jnp.asarray(pooled))


def closeness(
  judge: Judge, known: Sequence[Answer], candidates: Sequence[Answer]
) -> np.ndarray:
  """Returns how close candidates `[N]` are to the references.

  A candidate is compared with the references to its own prompt where there
  are any, else with all. The score is in nats: above zero, the policy of the
  references is likelier to have written it than any other.

  Args:
    judge: the discriminator.
    known: references; without any, scores are the taste that fine-tuning
      taught, or 0.
    candidates: N answers.
  """
  encoded, own = encode(judge, candidates), encode(judge, known)
  mask = np.ones((len(candidates), len(known)), np.float32)
  for row, candidate in enumerate(candidates):
    same = [candidate.prompt == reference.prompt for reference in known]
    if any(same):
      mask[row] = same
  context = references.References(
    jnp.broadcast_to(own, (len(candidates), *own.shape)), jnp.asarray(mask)
  )
  score = jax.jit(judge.reward.score)
  found = score(judge.params, encoded[:, None], context).score
  return np.asarray(found[:, 0])
