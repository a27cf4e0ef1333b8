"""Simulated people who judge AlpacaEval's real responses."""

import dataclasses
import functools

import numpy as np

from prm_jax.data import load, splits
from prm_jax.worlds import responses


@dataclasses.dataclass(frozen=True)
class Found:
  """Texts of 52 policies to some prompts, and the people.

  Attributes:
    texts: M, by prompt; item_prompt: `[M]` prompt rows.
    prompts: their texts; prompt_ids: their names.
    held_out: `[M]` True for texts of held-out prompts.
    world: people, weights, measures and answers.
  """

  texts: list[str]
  item_prompt: np.ndarray
  prompts: list[str]
  prompt_ids: list[str]
  held_out: np.ndarray
  world: responses.World


def of(config, seed: int) -> Found:
  """Returns the world of a study's configuration."""
  node = config.alpaca_eval
  return world(
    config.data.dir, seed=seed, people=node.people, answers=node.answers,
    prompt_parts=node.prompt_parts,
  )  # fmt: skip


@functools.lru_cache(maxsize=4)
def world(
  data_dir: str, *, seed: int, people: int, answers: int, prompt_parts: int
) -> Found:
  """Returns the world over one part of the prompts, a third held out.

  Args:
    data_dir: of the real data; PRM_DATA_DIR if empty.
    seed: of people and answers; the texts are the same for all seeds.
    people: U.
    answers: of each person.
    prompt_parts: the prompts are dealt into as many parts; the first is used,
      as far as every policy answered.
  """
  outputs = load.policy_outputs(data_dir or None)
  count = np.bincount(outputs.item_prompt)
  used = splits.bucket(outputs.prompt_ids, 'alpaca_eval', prompt_parts) == 0
  used &= count == len(outputs.policies)
  items = np.flatnonzero(used[outputs.item_prompt])
  items = items[np.argsort(outputs.item_prompt[items], kind='stable')]
  kept, item_prompt = np.unique(outputs.item_prompt[items], return_inverse=True)
  names = [outputs.prompt_ids[p] for p in kept]
  texts = [outputs.texts[i] for i in items]
  held_out = splits.bucket(names, 'held_out', 3) == 0
  return Found(
    texts=texts,
    item_prompt=item_prompt,
    prompts=[outputs.prompts[p] for p in kept],
    prompt_ids=names,
    held_out=held_out[item_prompt],
    world=responses.simulate(
      responses.measure(texts),
      item_prompt,
      seed=seed,
      people=people,
      answers=answers,
    ),
  )
