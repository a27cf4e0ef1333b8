"""Simulated people who judge AlpacaEval's real responses."""

import functools
from typing import NamedTuple

import numpy as np

from prm_jax.data import load, schema, splits
from prm_jax.worlds import responses


class JudgedOutputs(NamedTuple):
  """Texts of many policies to some prompts, and simulated people's choices.

  Attributes:
    judged: texts, by prompt, and choices between those of one prompt.
    held_out: `[M]` True for texts of held-out prompts.
    world: people, weights and measures.
  """

  judged: schema.Judgements
  held_out: np.ndarray
  world: responses.World


@functools.lru_cache(maxsize=4)
def judged_outputs(
  data_dir: str, *, seed: int, people: int, answers: int, prompt_parts: int
) -> JudgedOutputs:
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
  prompts, item_prompt = np.unique(
    outputs.item_prompt[items], return_inverse=True
  )
  names = [outputs.prompt_ids[p] for p in prompts]
  texts = [outputs.texts[i] for i in items]
  world = responses.simulate(
    responses.measure(texts),
    item_prompt,
    seed=seed,
    people=people,
    answers=answers,
  )
  judged = schema.Judgements(
    texts=texts,
    item_prompt=item_prompt,
    prompts=[outputs.prompts[p] for p in prompts],
    prompt_ids=names,
    topics=[outputs.topics[p] for p in prompts],
    user_ids=list(world.people),
    attributes=['{}'] * len(world.people),
    user=world.user.astype(np.int32),
    items=world.items.astype(np.int32),
    label=world.label.astype(np.float32),
  )
  held_out = splits.bucket(names, 'held_out', 3) == 0
  return JudgedOutputs(judged, held_out[item_prompt], world)
