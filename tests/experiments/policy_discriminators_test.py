"""The study's pieces on a toy corpus whose policies sign what they write."""

import json
import types
from pathlib import Path

import numpy as np
import pytest

from configs import policy_discriminators
from experiments.policy_discriminators import (
  ablation,
  corpus,
  experiment,
  page,
  tables,
  worlds,
)
from prm_jax.audits import similarities
from prm_jax.data import schema
from prm_jax.lab import study as studies
from prm_jax.lab import units
from prm_jax.report import page as pages

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
    learner = config.training.learner
    learner.config.update(
      hidden_size=32,
      head_dim=16,
      num_hidden_layers=1,
      num_attention_heads=2,
      num_key_value_heads=2,
      intermediate_size=32,
    )
    learner.update(steps=20, learning_rate=1e-2)
    config.training.batch = 32
    config.likeness.update(
      dims=(4,), shrinkages=(0.5,), states=(1.0,), steps=(10,), per_policy=30
    )
    config.ablation.update(steps=10, pairs=(20, 100), learning_rates=(1e-2,))
  return config


@pytest.fixture
def inputs(tmp_path, monkeypatch):
  made = toy()
  monkeypatch.setattr(corpus, 'load_by_name', lambda config, model, name: made)
  monkeypatch.setattr(
    similarities, '_minilm', lambda texts, drawn: np.zeros((len(texts), 2))
  )
  found = experiment.Inputs(small(), tmp_path)
  found.model = lambda: types.SimpleNamespace(fingerprint='toy')
  return found


@pytest.mark.slow
def test_signed_texts_are_told_apart_and_twins_are_not(inputs):
  rows = []
  for fold in range(2):
    rows += experiment.real(inputs, fold)
    methods = set(rows[0]['margins'])
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
  # A discriminator is trained once, also by runs after another.
  stamp = {p: p.stat().st_mtime_ns for p in inputs.workdir.rglob('*.json')}
  again = experiment.Inputs(inputs.config, inputs.workdir)
  again.model = None
  again.discriminator('alpaca_eval', 0)
  assert stamp == {
    p: p.stat().st_mtime_ns for p in inputs.workdir.rglob('*.json')
  }


@pytest.mark.slow
def test_transfer_and_identical_policies(inputs):
  rows = experiment.generated(inputs, 0)
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
def test_ablation_has_every_arm(inputs):
  config, made, n = inputs.config, inputs.corpus('judged'), 6
  items = np.stack([np.arange(n), n + np.arange(n), np.full(n, -1)], 1)
  items[1::2, :2] = items[1::2, 1::-1]
  has = [0, 1, 4]
  items[has, 2] = 12, 13, 14
  names = {'llmbar': range(n), 'llmbar with a reference': has}
  every, some = (
    [{'data': data, 'unit': i} for i in rows] for data, rows in names.items()
  )
  inputs.llmbar = lambda: [
    ablation.Asked(made.pooled, items[:, :2], every),
    ablation.Asked(made.pooled, items[has], some),
  ]
  table = tables.ablation(ablation.run(inputs, 0))
  made = {(row['data'], row['rankings'], row['arm']): row for row in table}
  arms = {arm['arm'] for arm in config.ablation.arms}
  assert len(arms) == 4
  assert {arm for _, _, arm in made} == arms
  assert {count for _, count, _ in made} == {20, 100}
  for arm in arms:
    assert made['llmbar', 20, arm]['units'] == 6
    assert made['llmbar with a reference', 100, arm]['units'] == 3
    row = made['alpaca_eval', 20, arm]
    assert row['units'] > 1
    full = arm == 'pretrained, reference'
    assert ('full_method_gain' in row) == (not full)


def told(policy, prompt, **margins):
  """Returns a row of a triple."""
  where = {'data': 'toy', 'split': 'held_out_policies', 'fold': 0}
  return {**where, 'policy': policy, 'prompt': prompt, 'margins': margins}


def test_policies_weigh_the_same_and_gaps_are_of_the_same_triples():
  rows = [
    told('b', 'q', polar=1.0, length=-1.0),
    told('a', 'q', polar=1.0, length=1.0),
    told('b', 'p', polar=-1.0, length=-1.0),
    told('b', 'q', polar=0.0, length=-1.0),
    told('a', 'p', polar=1.0, length=-1.0),
  ]
  polar, length = tables.discrimination(rows)
  assert (polar['policies'], polar['prompts'], polar['triples']) == (2, 2, 5)
  assert polar['accuracy'] == pytest.approx((1 + 0.5) / 2)
  assert length['accuracy'] == pytest.approx(0.5 / 2)
  assert length['polar_gain'] == pytest.approx(0.5)
  best, worst = tables.policies(rows)
  assert (best['policy'], best['polar'], best['length']) == ('a', 1.0, 0.5)
  assert (worst['policy'], worst['polar'], worst['length']) == ('b', 0.5, 0.0)
  moved = [
    told(policy, 'p', **{'length': 0.0, 'polar from chat': margin})
    for policy, margin in (('a', 2.0), ('b', -2.0))
  ]
  (other,) = tables.transfer(moved)
  assert (other['trained_on'], other['tested_on']) == ('chat', 'toy')
  assert other['over_chance'] == pytest.approx(0.0)


def test_fits_are_of_final_losses_and_of_the_frontier():
  rows = [
    {
      'parameters': n,
      'steps': s,
      'compute_flops': n * s,
      'loss': 2 * n**-0.1 + (0.5 if s == 1 else 0),
    }
    for n in (10, 100, 1000)
    for s in (1, 100)
  ]
  law = {row['of']: row for row in worlds.fits(rows)}
  assert law['parameters']['exponent'] == pytest.approx(-0.1)
  assert law['parameters']['coefficient'] == pytest.approx(2.0)
  assert law['compute']['points'] >= 3


@pytest.mark.slow
def test_smoke(tmp_path):
  config = policy_discriminators.get_config('smoke')
  results = studies.run(experiment.STUDY, config, tmp_path)
  assert len(results['tables']['scaling']) == 6
  assert results['tables']['scaling_fits'][0]['of'] == 'parameters'
  assert results['tables']['enumerable']
  assert any('KL to the target falls' in line for line in results['answer'])
  text = (tmp_path / 'report' / 'index.html').read_text()
  assert 'A policy that moves to its target' in text
  written = json.loads((tmp_path / 'results.json').read_text())
  assert written['answer'] == results['answer']


def test_units_are_folds_seeds_and_sizes(tmp_path):
  config = small()
  folder = units.Folder(tmp_path / 'cells')
  work = list(experiment.STUDY.work(config, folder))
  assert work[:4] == ['real-0', 'real-1', 'ablation-0', 'ablation-1']
  assert work[4:7] == [f'generated-{i}' for i in range(3)]
  assert work[-1] == 'scaling-96-0'
  smoke = policy_discriminators.get_config('smoke')
  work = list(experiment.STUDY.work(smoke, folder))
  assert work[:3] == ['enumerable-0', 'enumerable-1', 'scaling-16-0']


def test_the_page_draws_what_is_committed():
  path = Path(experiment.__file__).parent / 'results' / 'full.json'
  results = json.loads(path.read_text())
  assert set(results['tables']) == set(page.PAGE.specs)
  found = {s['title']: s['pictures'] for s in page.sections(results)}
  policies = found['Each held-out policy']
  assert len(policies) == 3
  assert 'NullModel to gpt-4o-2024-05-13' in policies[0].alt
  compute = found['Scaling'][1].alt
  assert 'exponent -0.071, R squared 0.97' in compute
  assert 'width 96' in compute
  answer = pages.picture(results, page.PAGE)
  assert answer in found['Policies told apart']
  for words in ('AlpacaEval answers, held out policies', 'POLAR 70.0'):
    assert words in answer.alt


def test_transfers_are_not_among_the_rivals_of_the_answer():
  path = Path(experiment.__file__).parent / 'results' / 'full.json'
  results = json.loads(path.read_text())
  lines = tables.answer(results['tables'])
  assert lines == results['answer']
  assert not any(' over polar from ' in line for line in lines)


def test_unknown_variant():
  with pytest.raises(ValueError, match='smoke, study or full'):
    policy_discriminators.get_config('demo')
