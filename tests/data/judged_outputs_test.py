"""People who judge real responses: which prompts, and which are held out."""

import numpy as np
import pytest

from prm_jax.data import judged_outputs, load, schema

POLICIES, PROMPTS = 4, 30


@pytest.fixture
def outputs(monkeypatch):
  """Texts of some policies; the last answered every second prompt."""
  judged_outputs.judged_outputs.cache_clear()
  pairs = [
    (policy, prompt)
    for policy in range(POLICIES)
    for prompt in range(PROMPTS)
    if policy < POLICIES - 1 or prompt % 2
  ]
  policy, prompt = np.array(pairs, np.int32).T
  known = schema.PolicyOutputs(
    texts=[f'Answer {b} of {a}. ' + 'word ' * (7 * a + b) for a, b in pairs],
    item_prompt=prompt,
    prompts=[f'question {i}' for i in range(PROMPTS)],
    prompt_ids=[f'p{i}' for i in range(PROMPTS)],
    topics=[f't{i}' for i in range(PROMPTS)],
    policies=[f'policy {i}' for i in range(POLICIES)],
    item_policy=policy,
    judge=np.full(len(pairs), np.nan, np.float32),
  )
  monkeypatch.setattr(load, 'policy_outputs', lambda folder: known)
  yield known
  judged_outputs.judged_outputs.cache_clear()


def made(seed=0, parts=1, **more):
  options = {'people': 5, 'answers': 20, 'prompt_parts': parts} | more
  return judged_outputs.judged_outputs('', seed=seed, **options)


def test_prompts_that_every_policy_answered_are_used(outputs):
  judged, held_out, world = made()
  assert len(judged.prompts) == PROMPTS // 2
  assert all(int(name.removeprefix('p')) % 2 for name in judged.prompt_ids)
  np.testing.assert_array_equal(np.bincount(judged.item_prompt), POLICIES)
  for text, prompt in zip(judged.texts, judged.item_prompt, strict=True):
    number = judged.prompt_ids[prompt].removeprefix('p')
    assert text.startswith(f'Answer {number} of')
    assert judged.topics[prompt] == f't{number}'
  assert len(world.values) == len(judged.texts) == len(held_out)


def test_choices_are_between_texts_of_one_prompt(outputs):
  judged, _, world = made()
  first, second = judged.item_prompt[judged.items].T
  np.testing.assert_array_equal(first, second)
  assert len(judged.user_ids) == 5
  np.testing.assert_array_equal(np.bincount(judged.user), 20)
  np.testing.assert_array_equal(judged.label, world.label)


def test_a_prompt_is_held_out_whole_and_by_its_name_alone(outputs):
  judged, held_out, _ = made()
  by_prompt = [set(held_out[judged.item_prompt == p]) for p in range(15)]
  assert all(len(one) == 1 for one in by_prompt)
  assert 0 < held_out.mean() < 1
  np.testing.assert_array_equal(made(seed=1).held_out, held_out)


def test_parts_of_the_prompts_and_seeds_of_people(outputs):
  assert len(made(parts=3).judged.prompts) < PROMPTS // 2
  assert made(seed=1).judged.texts == made().judged.texts
  assert (made(seed=1).world.weights != made().world.weights).all()
