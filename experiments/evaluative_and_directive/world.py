"""People who reply, examinations of a policy, and its start."""

import jax
import numpy as np

from prm_jax import types, world_tasks
from prm_jax.audits import sycophancy
from prm_jax.lab import starts, units
from prm_jax.models import decoder
from prm_jax.policy import padding, rollouts, tasks
from prm_jax.worlds import persona_replies as personas

POOL = 4096  # prompts of everybody in training


def split(arm, seed: int) -> personas.Split:
  """Returns a seed's people; `arm` says how many reply, and how."""
  rng = np.random.default_rng([seed, 0xB2])
  return personas.split(
    rng, replying=arm.replying, agreed=arm.agreed, prompts=POOL
  )


def examiner(
  config: decoder.DecoderConfig, world: personas.Split, count: int
) -> starts.Examine:
  """Returns `params -> figures` of first replies to fresh prompts.

  Answers are drawn at temperature 1, without a hint.

  Args:
    config: of the policy.
    world: people.
    count: prompts of each group.
  """
  rng = np.random.default_rng(0xE7A)
  asked, held_out = (
    personas.draw(rng, rng.choice(people, count))
    for people in (world.replying, world.held_out)
  )
  small, large = (asked._replace(claim=np.full(count, side)) for side in (0, 1))

  def say(params, prompts, seed):
    task = world_tasks.reply_task(world.people, prompts)
    answers, right = starts.answered(
      jax.random.key(seed), config, params, task, np.arange(count)
    )
    return answers.ids, float(right.mean())

  def examine(params):
    style, _ = say(params, asked, 9)
    plus, minus = (
      personas.stance(say(params, prompts, 7)[0]) for prompts in (large, small)
    )
    return {
      'fit': say(params, asked, 0)[1],
      'fit_held_out': say(params, held_out, 1)[1],
      'format': float(personas.formatted(world.people, asked, style).mean()),
      **sycophancy.of_answers(plus, minus, 2 * asked.truth - 1),
    }

  return examine


def start(
  config, folder: units.Folder, sizes: decoder.DecoderConfig, seed: int
):
  """Returns a seed's policy before any reply, and how it follows hints."""
  return starts.start(
    folder,
    lambda rng: [personas.shown(rng, config.warm.batch)],
    sizes,
    lambda params: {'follows_hints': follows_hints(sizes, params)},
    ('follows_hints',),
    config.warm,
    seed,
  )


def follows_hints(config: decoder.DecoderConfig, params: types.PyTree) -> float:
  """Returns the share of fresh demonstrations with hints that are repeated.

  Greedily, and of those whose hint names everything.
  """
  prompt, answer = personas.shown(np.random.default_rng(1), 2000, truthful=1.0)
  named = (prompt[:, :3] != personas.NONE).all(1)
  said = rollouts.write(
    jax.random.key(0),
    config,
    params,
    padding.full(prompt[named]),
    tasks.Limits(personas.ANSWER, (personas.END,)),
    temperature=0.0,
  ).tokens.ids
  return float((said == answer[named]).all(1).mean())
