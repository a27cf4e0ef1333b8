import jax
import numpy as np
import pytest
import tokenizers as package
from tokenizers import models, pre_tokenizers

from prm_jax.models import language_model, tokenizers
from prm_jax.models.weights import huggingface


def words(size):
  """A tokenizer of the words w0, w1, ..., padding and truncating."""
  known = {f'w{index}': index for index in range(size)}
  tokenizer = package.Tokenizer(models.WordLevel(known, unk_token='w0'))
  tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer.enable_truncation(3)
  tokenizer.enable_padding(length=5)
  return tokenizer


@pytest.fixture
def folder(tmp_path, tiny_decoder):
  config, params = tiny_decoder()
  huggingface.save_decoder(config, params, tmp_path)
  words(270).save(str(tmp_path / 'tokenizer.json'))
  return tmp_path


def test_folder_is_loaded_whole(folder, tiny_decoder):
  config, params = tiny_decoder()
  found = language_model.LanguageModel.load(folder)
  assert found.config == config
  jax.tree.map(np.testing.assert_array_equal, found.params, params)
  assert all(isinstance(t, jax.Array) for t in jax.tree.leaves(found.params))
  text = ' '.join(f'w{index}' for index in range(9))
  assert found.tokenizer.encode(text).ids == list(range(9))


def test_fingerprint_follows_every_file(folder, tiny_decoder):
  def fingerprint():
    return language_model.LanguageModel.load(folder).fingerprint

  first = fingerprint()
  assert fingerprint() == first
  words(269).save(str(folder / 'tokenizer.json'))
  second = fingerprint()
  huggingface.save_decoder(*tiny_decoder(seed=1), folder)
  assert len({first, second, fingerprint()}) == 3


def test_tokenizer_of_other_weights_is_refused(folder):
  words(271).save(str(folder / 'tokenizer.json'))
  with pytest.raises(
    ValueError, match=r'does not match the weights.* 270, they know 270 tokens'
  ):
    language_model.LanguageModel.load(folder)
  tokenizer = words(270)
  tokenizers.check_vocabulary(tokenizer, 270, 'here')
  tokenizer.add_special_tokens(['<end>'])
  with pytest.raises(ValueError, match=r'here: .* ids up to 270'):
    tokenizers.check_vocabulary(tokenizer, 270, 'here')


def test_missing_tokenizer_is_named(folder):
  (folder / 'tokenizer.json').unlink()
  with pytest.raises(ValueError, match='neither tokenizer'):
    language_model.LanguageModel.load(folder)


def test_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match=r'absent\.gguf cannot be read'):
    language_model.LanguageModel.load(tmp_path / 'absent.gguf')
