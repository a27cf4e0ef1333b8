"""Pairs of answers that a judge ranked, with the best answer to their prompt.

What a policy discriminator is fine-tuned on: the best output of a prompt is
the reference, of which the better of two others is the closer one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prm_jax.data import schema

_LEAST = 3  # answers to a prompt: a reference and a pair


class Rankings(NamedTuple):
  """Rows of texts, and of prompts; all `[N]`.

  Attributes:
    reference, better, worse: rows of `outputs.texts`.
    prompt: row of `outputs.prompts`.
  """

  reference: np.ndarray
  better: np.ndarray
  worse: np.ndarray
  prompt: np.ndarray

  def items(self, *, reference: bool) -> np.ndarray:
    """Returns better, worse and, if asked, reference: `[N, 2]` or `[N, 3]`."""
    columns = [self.better, self.worse, self.reference]
    return np.stack(columns[: 2 + reference], 1)


def draw(
  outputs: schema.PolicyOutputs,
  *,
  baseline: str,
  policies: Sequence[int] | np.ndarray,
  prompts: Sequence[int] | np.ndarray,
  gap: float,
  most: int,
  seed: int,
) -> Rankings:
  """Returns pairs of some policies' answers to some prompts.

  The reference is the best of all judged answers, whoever wrote it: it is
  what a user of the reward supplies. It is in no pair.

  Args:
    outputs: texts and the judge's preferences.
    baseline: the policy that others were judged against: its own preference is
      1/2.
    policies: of the pairs.
    prompts: of the pairs.
    gap: least difference of preferences.
    most: pairs, at random.
    seed: of the choice.

  Raises:
    ValueError: no pair is that far apart.
  """
  judge = np.array(outputs.judge, float)
  judge[outputs.item_policy == outputs.policies.index(baseline)] = 0.5
  allowed = np.isin(outputs.item_policy, policies)
  pairs: list[tuple[Any, ...]] = []
  for prompt in prompts:
    here = np.flatnonzero((outputs.item_prompt == prompt) & np.isfinite(judge))
    if len(here) < _LEAST:
      continue
    best = here[np.argmax(judge[here])]
    others = [i for i in here if allowed[i] and i != best]
    pairs += [
      (best, a, b, prompt)
      for a in others
      for b in others
      if judge[a] - judge[b] >= gap
    ]
  if not pairs:
    raise ValueError(f'no pair of answers is {gap} apart: give a smaller gap')
  rows = np.array(pairs, int)
  rng = np.random.default_rng(seed)
  return Rankings(*rows[rng.permutation(len(rows))[:most]].T)
