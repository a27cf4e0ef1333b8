"""Our decoder against transformers, on random weights of every family.

Without torch and transformers, which are an extra, these tests are skipped.
"""

import functools
import itertools
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import classifier, decoder, sampling
from prm_jax.models.weights import huggingface

os.environ.setdefault('HF_HUB_OFFLINE', '1')
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

SIZES = {
  'vocab_size': 61,
  'hidden_size': 24,
  'intermediate_size': 40,
  'num_hidden_layers': 4,
  'num_attention_heads': 6,
  'num_key_value_heads': 2,
  'head_dim': 10,  # unequal to D / heads
  'max_position_embeddings': 12,  # texts are longer
  'rms_norm_eps': 3e-5,
  'pad_token_id': 3,
  'bos_token_id': 1,
  'eos_token_id': 3,  # pad is EOS
  'initializer_range': 0.4,
}
LENGTHS = (23, 16, 9, 1)
GEMMA = {'query_pre_attn_scalar': 7, 'sliding_window': 5}
# Nothing is as it is by default: bases, windows, caps, biases.
FAMILIES = {
  'llama': {
    'rope_theta': 300.0,
    'attention_bias': True,
    'mlp_bias': True,
    'rope_scaling': {
      'rope_type': 'llama3',
      'factor': 4.0,
      'low_freq_factor': 0.8,
      'high_freq_factor': 3.0,
      'original_max_position_embeddings': 12,
    },
  },
  'mistral': {
    'sliding_window': 6,
    'num_key_value_heads': 1,
    'rope_theta': 90.0,
  },
  'qwen2': {
    'use_sliding_window': True,
    'sliding_window': 5,
    'max_window_layers': 2,
    'rope_theta': 250.0,
    'rope_scaling': {
      'type': 'yarn',
      'factor': 3.0,
      'original_max_position_embeddings': 10,
    },
  },
  'qwen3': {
    'attention_bias': True,
    'tie_word_embeddings': True,
    'rope_parameters': {
      'rope_type': 'linear',
      'factor': 2.5,
      'rope_theta': 700.0,
    },
  },
  'gemma2': {
    **GEMMA,
    'rope_theta': 200.0,
    'attn_logit_softcapping': 2.0,
    'final_logit_softcapping': 5.0,
  },
  'gemma3_text': {
    **GEMMA,
    'sliding_window_pattern': 3,
    'rope_theta': 5000.0,
    'rope_local_base_freq': 70.0,
    'rope_scaling': {'rope_type': 'linear', 'factor': 8.0},
  },
}


@pytest.fixture(autouse=True, scope='module')
def _quiet():
  """Progress and hints of the library are no part of a test's output."""
  transformers.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  before = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(before)


def config_of(kind, **changes):
  known = {**SIZES, **FAMILIES.get(kind, {}), **changes}
  return transformers.AutoConfig.for_model(kind, **known)


def made(config, task='CausalLM', seed=0):
  """A model of random weights, norms and biases too."""
  torch.manual_seed(seed)
  auto = getattr(transformers, f'AutoModelFor{task}')
  model = auto.from_config(config, attn_implementation='eager').eval()
  with torch.no_grad():
    for name, leaf in model.named_parameters():
      if leaf.ndim == 1:
        scale = 'norm' in name and 'gemma' not in config.model_type
        leaf.copy_(scale + 0.3 * torch.randn_like(leaf))
  return model


def batch(side, lengths=LENGTHS):
  """Ids and mask of texts; padded with EOS, and none ends with it."""
  rng, T = np.random.default_rng(0), max(lengths)
  ids = np.full((len(lengths), T), SIZES['pad_token_id'], np.int64)
  mask = np.zeros_like(ids)
  for row, length in enumerate(lengths):
    place = slice(T - length, T) if side == 'left' else slice(length)
    ids[row, place] = rng.integers(4, SIZES['vocab_size'], length)
    mask[row, place] = 1
  return ids, mask


def theirs(model, ids, mask):
  with torch.no_grad():
    given = torch.tensor(ids), torch.tensor(mask)
    return model(given[0], attention_mask=given[1]).logits.float().numpy()


@functools.cache
def program(config):
  network = decoder.Decoder(config)

  @jax.jit
  def run(params, ids, mask):
    real = mask != 0
    seen = decoder.attended(real.astype(jnp.int32))
    found = network.apply(params, ids, decoder.counted(real), seen).hidden
    return network.apply(params, found, method='logits')

  return run


def close(found, wanted, mask=None, tolerance=2e-5):
  if mask is not None:
    found, wanted = np.asarray(found)[mask > 0], wanted[mask > 0]
  assert np.isfinite(found).all()
  error = np.abs(found - wanted).max() / np.abs(wanted).max()
  assert error < tolerance, error
  return error


@pytest.mark.parametrize('kind', FAMILIES)
def test_logits_are_those_of_transformers(kind, tmp_path):
  model = made(config_of(kind))
  model.save_pretrained(tmp_path)
  config, params = huggingface.load_decoder(tmp_path)
  assert config.num_hidden_layers == 4
  assert config.tie_word_embeddings == ('gemma' in kind or kind == 'qwen3')
  for side in ('left', 'right'):
    ids, mask = batch(side)
    found = program(config)(params, jnp.asarray(ids), mask)
    close(found, theirs(model, ids, mask), mask)
  again = tmp_path / 'again'
  huggingface.save_decoder(config, params, again)
  saved = transformers.AutoModelForCausalLM.from_pretrained(
    again, attn_implementation='eager'
  ).eval()
  for (name, own), (_, other) in zip(
    sorted(model.state_dict().items()),
    sorted(saved.state_dict().items()),
    strict=True,
  ):
    assert torch.equal(own, other), name
  close(theirs(saved, ids, mask), theirs(model, ids, mask), mask, 1e-6)


@pytest.mark.parametrize('kind', ['mistral', 'gemma2', 'gemma3_text'])
def test_greedy_texts_are_those_of_transformers(kind, tmp_path):
  """Through the cache, beyond the window, whichever side is padded."""
  model = made(config_of(kind), seed=1)
  model.save_pretrained(tmp_path)
  config, params = huggingface.load_decoder(tmp_path)
  ids, mask = batch('left', (11, 4))
  with torch.no_grad():
    wanted = model.generate(
      torch.tensor(ids),
      attention_mask=torch.tensor(mask),
      max_new_tokens=9,
      do_sample=False,
      eos_token_id=None,
    )[:, ids.shape[1] :]
  for side in ('left', 'right'):
    ids, mask = batch(side, (11, 4))
    found = sampling.sample(
      jax.random.key(0),
      config,
      params,
      ids.astype(np.int32),
      mask.astype(np.int32),
      max_new_tokens=9,
      temperature=0.0,
      filtered=False,
    )
    np.testing.assert_array_equal(found.ids, wanted.numpy())


@pytest.mark.parametrize(
  'task', ['SequenceClassification', 'TokenClassification']
)
def test_scores_are_those_of_transformers(task, tmp_path):
  config = config_of('qwen3', num_labels=3)
  model = made(config, task)
  model.save_pretrained(tmp_path)
  own = classifier.Classifier.load(tmp_path)
  assert own.every == (task == 'TokenClassification')
  assert own.labels == ('LABEL_0', 'LABEL_1', 'LABEL_2')
  for side in ('left', 'right'):
    ids, mask = batch(side)
    found = classifier.scores(own, ids, mask)
    close(found, theirs(model, ids, mask), mask if own.every else None)


def test_a_text_that_ends_with_pad_is_scored_at_its_end(tmp_path):
  """transformers, where pad is EOS, reads the token before: a batch of one
  without a pad does not."""
  model = made(config_of('llama', num_labels=1), 'SequenceClassification')
  model.save_pretrained(tmp_path)
  own = classifier.Classifier.load(tmp_path)
  ids, mask = batch('right')
  ids = np.concatenate([ids, np.full((len(ids), 1), 3)], 1)
  mask = np.concatenate([mask, np.zeros((len(ids), 1), int)], 1)
  ends = mask.sum(1)
  mask[np.arange(len(ids)), ends] = 1
  found = classifier.scores(own, ids, mask)
  model.config.pad_token_id = None
  wanted = [
    theirs(model, ids[row : row + 1, : end + 1], mask[row : row + 1, : end + 1])
    for row, end in enumerate(ends)
  ]
  close(found, np.concatenate(wanted))


def test_another_head_than_the_tied_one_is_taken(tmp_path, caplog):
  """transformers 5 takes the file's, whatever tie_word_embeddings says."""
  model = made(config_of('llama', tie_word_embeddings=False))
  model.save_pretrained(tmp_path)
  path = tmp_path / 'config.json'
  text = path.read_text()
  assert '"tie_word_embeddings": false' in text
  path.write_text(text.replace('embeddings": false', 'embeddings": true'))
  with caplog.at_level(logging.WARNING):
    config, params = huggingface.load_decoder(tmp_path)
  assert 'lm_head.weight is taken' in caplog.text
  assert not config.tie_word_embeddings
  loaded = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, attn_implementation='eager'
  ).eval()
  ids, mask = batch('left')
  found = program(config)(params, jnp.asarray(ids), mask)
  close(found, theirs(model, ids, mask), mask)
  close(found, theirs(loaded, ids, mask), mask)


def test_sharded_bfloat16_is_read_as_it_is(tmp_path):
  model = made(config_of('gemma2')).to(torch.bfloat16)
  model.save_pretrained(tmp_path, max_shard_size='10KB')
  assert (tmp_path / 'model.safetensors.index.json').exists()
  assert len(list(tmp_path.glob('*.safetensors'))) > 2
  config, params = huggingface.load_decoder(tmp_path)
  ids, mask = batch('left')
  found = program(config)(params, jnp.asarray(ids), mask)
  # Read anew: a model that is made wider keeps what was rounded of it.
  wide = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, dtype=torch.float32, attn_implementation='eager'
  ).eval()
  close(found, theirs(wide, ids, mask), mask)


@pytest.mark.parametrize('kind', ['llama', 'gemma3_text'])
def test_exported_scores_are_those_of_transformers(kind, tmp_path):
  """A reward model of ours, in the library that strangers load it with."""
  made(config_of(kind)).save_pretrained(tmp_path / 'trunk')
  config, params = huggingface.load_decoder(tmp_path / 'trunk')
  weight = np.random.default_rng(5).normal(size=(2, 24)).astype(np.float32)
  out = tmp_path / 'out'
  huggingface.save_classifier(
    config, params, weight, out, labels=['ann', 'bo'], pad=3
  )
  own = classifier.Classifier.load(out)
  loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
    out, attn_implementation='eager'
  ).eval()
  assert loaded.config.id2label == {0: 'ann', 1: 'bo'}
  for side in ('left', 'right'):
    ids, mask = batch(side)
    close(classifier.scores(own, ids, mask), theirs(loaded, ids, mask))


LONGER = {
  'yarn, mscale': {
    'rope_type': 'yarn',
    'factor': 4.0,
    'original_max_position_embeddings': 9,
    'mscale': 0.7,
    'mscale_all_dim': 1.2,
    'beta_fast': 8.0,
    'beta_slow': 0.5,
    'truncate': False,
  },
  'yarn, attention': {
    'rope_type': 'yarn',
    'factor': 4.0,
    'original_max_position_embeddings': 9,
    'attention_factor': 1.3,
  },
  'llama3': FAMILIES['llama']['rope_scaling'],
  'linear': {'type': 'linear', 'factor': 3.0},
  'none': None,
}


@pytest.mark.slow
@pytest.mark.parametrize(
  ('kind', 'tied', 'keys', 'scaling'),
  [*itertools.product(FAMILIES, (True, False), (1, 3, 6), LONGER)],
)
def test_grid_of_options(kind, tied, keys, scaling, tmp_path):
  """Tied and untied; multi-query, grouped, one key a query; every scaling."""
  changes = {'tie_word_embeddings': tied, 'num_key_value_heads': keys}
  FAMILY = {
    k: v for k, v in FAMILIES[kind].items() if not k.startswith('rope_')
  }
  known = {**SIZES, **FAMILY, **changes, 'rope_theta': 400.0}
  if LONGER[scaling]:
    turned = dict(LONGER[scaling])
    if kind == 'gemma3_text' and 'type' in turned:
      turned['rope_type'] = turned.pop('type')  # see decoder_fields_test.py
    known['rope_scaling'] = turned
  types = ['full_attention', 'sliding_attention'] * 2
  if kind not in ('llama', 'mistral') and keys == 3:
    known['layer_types'] = types
    known |= {'use_sliding_window': True, 'sliding_window': 5}
  config = transformers.AutoConfig.for_model(kind, **known)
  model = made(config, seed=keys)
  model.save_pretrained(tmp_path, max_shard_size='20KB')
  config, params = huggingface.load_decoder(tmp_path)
  if kind not in ('llama', 'mistral') and keys == 3:
    assert config.sliding_layers == (False, True, False, True)
  for side in ('left', 'right'):
    ids, mask = batch(side)
    found = program(config)(params, jnp.asarray(ids), mask)
    close(found, theirs(model, ids, mask), mask)
