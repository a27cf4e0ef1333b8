import numpy as np
import pytest

from prm_jax.models import chat, embeddings, features, trunk
from prm_jax.models.language_model import LanguageModel
from tests import checkpoints
from tests.models.decoder_test import numpy_decoder

WORDS = ['tea', 'milk', 'hot', 'cold', 'please']


@pytest.fixture
def folder(tmp_path):
  return checkpoints.write(tmp_path, WORDS, num_hidden_layers=3)


def test_features_are_the_state_at_the_last_token(folder, private_cache):
  found = trunk.Trunk.load(folder, layers=2)
  prompts, responses = ['tea hot', 'milk'], ['please', 'cold milk tea']
  told = found(prompts, responses)
  assert told.shape == (2, 16)
  whole = LanguageModel.load(folder)
  read = chat.encode(chat.Chat.load(folder), prompts, responses, total=64)
  for row, ids in enumerate(read.ids):
    layers = numpy_decoder(whole.config, whole.params, np.array(ids))[0]
    state = layers[2][-1]
    want = state / np.sqrt(np.mean(state**2) + whole.config.rms_norm_eps)
    np.testing.assert_allclose(told[row], want, atol=2e-5)


def test_every_text_is_read_once(folder, private_cache, monkeypatch):
  found = trunk.Trunk.load(folder)
  assert found.layers == 3  # the nearest to .87 of three
  first = found(['tea'] * 3, ['hot', 'cold', 'hot'])
  np.testing.assert_array_equal(first[0], first[2])
  assert np.abs(first[0] - first[1]).max() > 0.01
  monkeypatch.setattr(trunk.Trunk, 'batches', lambda *_: iter(()))
  again = trunk.Trunk.load(folder)(['tea'], ['cold'])
  np.testing.assert_array_equal(again[0], first[1])
  kept = embeddings.Kept(private_cache / 'embeddings')
  assert kept.forget([trunk.unit('tea', 'cold')]) == 1


def test_layers_and_template_are_part_of_the_name(folder):
  def name(**options):
    return trunk.Trunk.load(folder, **options).fingerprint

  first = name()
  assert first == name(layers=3) != name(layers=2)
  path = folder / 'chat_template.jinja'
  path.write_text("{{ messages[0]['content'] }}")
  assert name() != first


def test_what_cannot_be_read_is_named(folder):
  with pytest.raises(ValueError, match='layers 4, and it has 1 to 3'):
    trunk.Trunk.load(folder, layers=4)
  (folder / 'tokenizer.json').unlink()
  with pytest.raises(ValueError, match=r'tokenizer\.json is missing'):
    trunk.Trunk.load(folder)
  with pytest.raises(
    ValueError, match=r"one source: \['encoder', 'backbone'\]"
  ):
    features.Source('here', backbone='there')
