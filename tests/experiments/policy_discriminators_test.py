"""The study's pieces on a toy corpus whose policies sign what they write."""

import json

import numpy as np
import pytest
from ml_collections import config_dict

from configs import policy_discriminators
from experiments.policy_discriminators import (
  ablation,
  baselines,
  cells,
  corpus,
  discrimination,
  experiment,
  scaling,
  tables,
)
from prm_jax.data import schema

NAMES = [
  *['claude', 'bedrock_claude', 'sampled', 'gpt4_1106_preview', 'phi-2'],
  *['gemma-2b-it', 'zephyr-7b-beta', 'cohere', 'twin_a', 'twin_b'],
  *['vicuna-7b', 'gemini-pro', 'dbrx-instruct', 'Yi-34B-Chat'],
  *['minichat-3b', 'wizardlm-13b'],
]
PROMPTS, SAMPLES, WIDTH = 12, 2, 12


def toy(seed=0):
  """Texts whose windows all carry their policy's direction."""
  rng = np.random.default_rng(seed)
  direction = rng.normal(size=(len(NAMES), WIDTH))
  direction[NAMES.index('twin_b')] = direction[NAMES.index('twin_a')]
  direction[1] = direction[0]
  policy, prompt = (
    np.repeat(grid.ravel(), SAMPLES).astype(np.int32)
    for grid in np.indices((len(NAMES), PROMPTS))
  )
  M = len(policy)
  noise = rng.normal(size=(M, 3, WIDTH))
  features = 2 * direction[policy][:, None] + noise
  outputs = schema.PolicyOutputs(
    texts=[f'{i} ' + 'x' * rng.integers(20, 40) for i in range(M)],
    item_prompt=prompt,
    prompts=[f'prompt {p}' for p in range(PROMPTS)],
    prompt_ids=[f'p{p}' for p in range(PROMPTS)],
    topics=['toy'] * PROMPTS,
    policies=NAMES,
    item_policy=policy,
    judge=(policy / len(NAMES)).astype(np.float32),
  )
  features = features.astype(np.float16)
  pooled = features.astype(np.float32).mean(1)
  pooled = np.concatenate([pooled, rng.normal(size=(M, 3))], 1)
  return corpus.Corpus(outputs, features, pooled, {})


def small():
  config = policy_discriminators.get_config('study')
  with config.unlocked():
    config.folds = 2
    config.test_per_policy = 30
    config.training.update(
      sizes={**config.training.sizes, 'hidden_size': 32, 'head_dim': 16,
             'num_hidden_layers': 1, 'num_attention_heads': 2,
             'num_key_value_heads': 2, 'intermediate_size': 32},
      steps=20, learning_rate=1e-2, batch=32,
    )  # fmt: skip
    config.likeness.update(
      dims=(4,), shrinkages=(0.5,), states=(1.0,), steps=(10,), per_policy=30
    )
    config.ablation.update(steps=10, pairs=(20, 100), learning_rates=(1e-2,))
  return config


@pytest.fixture
def study(tmp_path, monkeypatch):
  found = cells.Study(small(), tmp_path)
  made = toy()
  monkeypatch.setattr(cells.Study, 'corpus', lambda self, name: made)
  monkeypatch.setattr(cells.Study, 'card', lambda self, *args: {})
  monkeypatch.setattr(
    discrimination, '_minilm', lambda texts, drawn: np.zeros((len(texts), 2))
  )
  return found


@pytest.mark.slow
def test_signed_texts_are_told_apart_and_twins_are_not(study):
  rows = []
  for fold in range(2):
    found = cells.cell(
      study, f'real-{fold}', lambda s, f=fold: cells.real(s, f)
    )
    rows += found['rows']
    methods = set(found['predictions'][0]['margins'])
    assert {'polar', 'polar decoder', 'length', 'ngrams', 'minilm'} < methods
  made = {
    (row['split'], row['method']): row for row in tables.discrimination(rows)
  }
  polar = made['held_out_policies', 'polar']
  assert polar['accuracy'] > 0.75
  assert made['length_matched', 'polar']['accuracy'] > 0.75
  assert made['held_out_policies', 'minilm']['accuracy'] == 0.5
  # Every policy is held out once; twins are policies like others here.
  assert polar['policies'] == len(NAMES)
  assert made['held_out_policies', 'length']['polar_gain'] > 0.1
  second = made['second_serving', 'polar']
  assert second['accuracy'] > 0.75
  # A second call reads; a discriminator is trained once.
  stamp = {p: p.stat().st_mtime_ns for p in study.workdir.rglob('*.json')}
  cells.cell(study, 'real-0', lambda s: pytest.fail('computed again'))
  cells.Study(study.config, study.workdir).discriminator('alpaca_eval', 0, 2)
  assert stamp == {
    p: p.stat().st_mtime_ns for p in study.workdir.rglob('*.json')
  }


@pytest.mark.slow
def test_transfer_and_identical_policies(study):
  rows = cells.generated(study, 0)['rows']
  made = {
    (row['data'], row['split'], row['method']): row
    for row in tables.discrimination(rows)
  }
  twins = made['generated chat', 'identical_policies', 'polar']
  assert abs(twins['accuracy'] - 0.5) < 0.2  # 2 x 30 triples
  moved = {
    (row['trained_on'], row['tested_on']): row for row in tables.transfer(rows)
  }
  assert moved['chat', 'generated arithmetic']['accuracy'] > 0.75
  assert moved['alpaca_eval', 'generated chat']['accuracy'] > 0.75
  assert moved['arithmetic', 'alpaca_eval']['accuracy'] > 0.75


@pytest.mark.slow
def test_ablation_has_every_arm(study):
  config, made = study.config, study.corpus('alpaca_eval')
  _, params = study.discriminator('alpaca_eval', 0, 2)
  n = 6
  bar = ablation.Bar(
    made.pooled[: 3 * n],
    schema.InstructionPairs(
      prompts=['?'] * n, first=['a'] * n, second=['b'] * n,
      label=np.array([1, 0] * 3), subset=['toy'] * n,
    ),
    np.array([12, 13, -1, -1, 14, -1]),
  )  # fmt: skip
  rows = ablation.run(config, made, bar, 0, params)
  table = tables.ablation(rows)
  made = {(row['data'], row['rankings'], row['arm']): row for row in table}
  assert {arm for _, _, arm in made} == set(ablation.ARMS)
  assert {count for _, count, _ in made} == {20, 100}
  for arm in ablation.ARMS:
    assert made['llmbar', 20, arm]['units'] == 6
    assert made['llmbar with a reference', 100, arm]['units'] == 3
    assert made['alpaca_eval', 20, arm]['units'] > 1


def test_rankings_have_the_best_answer_as_reference():
  outputs = toy().outputs
  everybody = np.arange(len(NAMES))
  found = ablation.rankings(
    outputs, policies=everybody[:5], prompts=np.array([0, 3]), gap=0.15,
    most=1000, seed=0,
  )  # fmt: skip
  judge = np.array(outputs.judge, float)
  judge[outputs.item_policy == NAMES.index('gpt4_1106_preview')] = 0.5
  assert set(found.prompt) == {0, 3}
  for reference, better, worse, prompt in zip(*found, strict=True):
    assert judge[better] - judge[worse] >= 0.15
    assert {outputs.item_prompt[i] for i in (reference, better, worse)} == {
      prompt
    }
    assert outputs.item_policy[[better, worse]].max() < 5
    best = judge[outputs.item_prompt == prompt].max()
    assert judge[reference] == best
  with pytest.raises(ValueError, match='no pair of answers is 9 apart'):
    ablation.rankings(
      outputs, policies=everybody, prompts=np.array([0]), gap=9, most=9, seed=0
    )


def test_ngrams_by_hand():
  found = baselines.ngrams(['abab', 'ab', 'zz', ''], (2,))
  # abab has ab twice, ba once: (1 + log 2, 1); ab has ab once.
  want = (1 + np.log(2)) / np.hypot(1 + np.log(2), 1)
  near = baselines.closeness(
    found, np.array([0, 0, 0, 3]), np.array([1, 0, 2, 3])
  )
  np.testing.assert_allclose(near, [want, 1, 0, 0], atol=1e-12)


def test_length_closeness_is_of_log_lengths():
  close = baselines.length_closeness(
    ['aaa', 'a', ''], np.array([0, 0, 0]), np.array([0, 1, 2])
  )
  np.testing.assert_allclose(close, [0, -np.log(2), -np.log(4)])


def test_accuracy_counts_ties_half():
  assert discrimination.accuracy(np.array([1.0, 0.0, -2.0, 3.0])) == 0.625


def test_policies_and_prompts_are_held_out_together():
  found = toy()
  held = [discrimination.split(found, fold, 2) for fold in range(2)]
  for one in held:
    assert not set(one.train) & set(one.test)
    assert not set(one.train_prompts) & set(one.test_prompts)
    # Variants of one model are on one side.
    assert len({0, 1} & set(one.test)) in (0, 2)
  assert sorted([*held[0].test, *held[1].test]) == list(range(len(NAMES)))


def test_fits_are_of_final_losses_and_of_the_frontier():
  rows = [
    {'parameters': n, 'steps': s, 'compute_flops': n * s,
     'loss': 2 * n**-0.1 + (0.5 if s == 1 else 0)}
    for n in (10, 100, 1000) for s in (1, 100)
  ]  # fmt: skip
  law = {row['of']: row for row in scaling.fits(rows)}
  assert law['parameters']['exponent'] == pytest.approx(-0.1)
  assert law['parameters']['coefficient'] == pytest.approx(2.0)
  assert law['compute']['points'] >= 3


@pytest.mark.slow
def test_smoke(tmp_path):
  config = config_dict.FrozenConfigDict(
    policy_discriminators.get_config('smoke')
  )
  results = experiment.run(config, tmp_path)
  assert len(results['tables']['scaling']) == 6
  assert results['tables']['scaling_fits'][0]['of'] == 'parameters'
  assert results['tables']['enumerable']
  assert any('KL to the target falls' in line for line in results['answer'])
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert 'A policy that moves to its target' in page
  written = json.loads((tmp_path / 'results.json').read_text())
  assert written['answer'] == results['answer']


def test_unknown_variant():
  with pytest.raises(ValueError, match='smoke, study or full'):
    policy_discriminators.get_config('demo')
