"""Pairs that a judge ranked, with the best answer as reference."""

import numpy as np
import pytest

from prm_jax.data import rankings, schema

POLICIES, PROMPTS = 6, 4
NAMES = [f'm{i}' for i in range(POLICIES)]


def outputs():
  """Returns a text of every policy to every prompt, later ones better."""
  policy, prompt = (g.ravel() for g in np.indices((POLICIES, PROMPTS)))
  return schema.PolicyOutputs(
    texts=[f'{i}' for i in range(len(policy))],
    item_prompt=prompt.astype(np.int32),
    prompts=[f'p{i}' for i in range(PROMPTS)],
    prompt_ids=[f'p{i}' for i in range(PROMPTS)],
    topics=['toy'] * PROMPTS,
    policies=NAMES,
    item_policy=policy.astype(np.int32),
    judge=(policy / POLICIES).astype(np.float32),
  )


def draw(made, **options):
  defaults = {
    'baseline': 'm1',
    'policies': [0, 1, 2, 3],
    'prompts': [0, 3],
    'gap': 0.15,
    'most': 1000,
    'seed': 0,
  }
  return rankings.draw(made, **{**defaults, **options})


def test_rankings_have_the_best_answer_as_reference():
  made = outputs()
  found = draw(made)
  judge = np.array(made.judge, float)
  judge[made.item_policy == 1] = 0.5
  assert set(found.prompt) == {0, 3}
  # Of 0, 1/2, 1/3 and 1/2 all pairs but the equal one, to either prompt.
  assert len(found.prompt) == 2 * 5
  for reference, better, worse, prompt in zip(*found, strict=True):
    assert judge[better] - judge[worse] >= 0.15
    assert {made.item_prompt[i] for i in (reference, better, worse)} == {prompt}
    assert made.item_policy[[better, worse]].max() < 4
    assert judge[reference] == judge[made.item_prompt == prompt].max()
  np.testing.assert_array_equal(
    found.items(reference=True),
    np.stack([found.better, found.worse, found.reference], 1),
  )
  assert found.items(reference=False).shape == (10, 2)


def test_some_of_many_are_drawn_by_seed():
  made = outputs()
  few = draw(made, most=4)
  assert len(few.prompt) == 4
  np.testing.assert_array_equal(few.better, draw(made).better[:4])
  assert (draw(made, seed=1).better != draw(made).better).any()


def test_what_is_not_judged_or_has_no_rival_is_left_out():
  made = outputs()
  made.judge[made.item_prompt == 0] = np.nan
  assert set(draw(made).prompt) == {3}
  with pytest.raises(ValueError, match='no pair of answers is 9 apart'):
    draw(made, gap=9)
