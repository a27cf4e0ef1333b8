import json

import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

from prm_jax.models import chat, classifier
from prm_jax.models.language_model import LanguageModel
from prm_jax.models.weights import huggingface
from tests.models import chat_templates
from tests.models.decoder_test import IDS, numpy_decoder

RNG = np.random.default_rng(3)
WEIGHT = RNG.normal(size=(3, 32)).astype(np.float32)
BIAS = RNG.normal(size=3).astype(np.float32)
NAMES = {'0': 'bad', '1': 'so so', '2': 'good'}


@pytest.fixture
def saved(tmp_path, tiny_decoder):
  """A function that saves a classifier; returns folder, config and params."""

  def make(kind='llama', task='SequenceClassification', bias=True, **changes):
    config, params = tiny_decoder(kind)
    huggingface.save_decoder(config, params, tmp_path)
    path, settings = tmp_path / 'model.safetensors', tmp_path / 'config.json'
    tensors = {**load_file(path), 'score.weight': WEIGHT}
    if bias:
      tensors['score.bias'] = BIAS
    save_file(tensors, path)
    known = json.loads(settings.read_text())
    known |= {'architectures': [f'LlamaFor{task}'], 'id2label': NAMES}
    known = {k: v for k, v in {**known, **changes}.items() if v is not None}
    settings.write_text(json.dumps(known))
    return tmp_path, config, params

  return make


def texts(side):
  """Texts of unequal lengths, padded with a token that is in them."""
  ids, mask = np.full((3, 14), IDS[2]), np.zeros((3, 14), int)
  for row, length in enumerate((11, 3, 1)):
    place = slice(14 - length, 14) if side == 'left' else slice(length)
    ids[row, place], mask[row, place] = IDS[:length], 1
  return ids, mask


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('side', ['left', 'right'])
def test_scores_are_read_at_the_last_real_token(saved, side, bias):
  folder, config, params = saved(bias=bias)
  model = classifier.Classifier.load(folder)
  assert model.labels == ('bad', 'so so', 'good')
  found = classifier.scores(model, *texts(side))
  for row, length in enumerate((11, 3, 1)):
    _, hidden, _ = numpy_decoder(config, params, IDS[:length])
    want = hidden[-1] @ WEIGHT.T + bias * BIAS
    np.testing.assert_allclose(found[row], want, atol=2e-5)


def test_every_token_has_scores(saved):
  folder, config, params = saved('gemma2', 'TokenClassification')
  model = classifier.Classifier.load(folder)
  ids, mask = texts('left')
  found = classifier.scores(model, ids, mask)
  assert found.shape == (3, 14, 3)
  _, hidden, _ = numpy_decoder(config, params, IDS)
  np.testing.assert_allclose(found[0, 3:], hidden @ WEIGHT.T + BIAS, atol=5e-5)


def test_labels_are_as_many_as_config_says(saved):
  folder, *_ = saved(id2label=None, num_labels=3)
  found = classifier.Classifier.load(folder).labels
  assert found == ('LABEL_0', 'LABEL_1', 'LABEL_2')
  for change, message in (
    ({'id2label': None}, r'num_labels: tensor score.weight is \(3, 32\)'),
    ({'num_labels': 2}, 'num_labels is 2, and id2label has 3'),
    ({'id2label': {'1': 'a', '2': 'b'}}, 'id2label does not number'),
    ({'id2label': None, 'num_labels': 0}, 'num_labels is 0'),
  ):
    folder, *_ = saved(**change)
    with pytest.raises(ValueError, match=message):
      classifier.Classifier.load(folder)


def test_token_scores_have_a_bias_unless_config_says(saved):
  options = {'task': 'TokenClassification', 'bias': False}
  folder, *_ = saved(**options)
  with pytest.raises(ValueError, match=r'score\.bias is missing'):
    classifier.Classifier.load(folder)
  folder, *_ = saved(**options, token_classification_bias=False)
  assert not classifier.Classifier.load(folder).score['bias'].any()


def test_kinds_of_checkpoint_are_not_mixed_up(saved):
  folder, *_ = saved()
  with pytest.raises(ValueError, match=r'scores texts .* `classifier\.Class'):
    LanguageModel.load(folder)
  folder, *_ = saved(task='CausalLM')
  with pytest.raises(
    ValueError, match=r'LlamaForCausalLM.*, and ends with none'
  ):
    classifier.Classifier.load(folder)
  folder, *_ = saved(architectures=None)
  with pytest.raises(ValueError, match="architectures is ''"):
    classifier.Classifier.load(folder)


def test_texts_are_scored_as_the_checkpoint_reads_them(saved):
  folder, config, params = saved()
  chat_templates.save(folder, 'mistral')
  model = classifier.Classifier.load(folder)
  prompts = ['hi', [{'role': 'user', 'content': 'What?' * 9}], 'hi']
  responses = ['there', 'er', [{'role': 'assistant', 'content': 'no'}]]
  found = classifier.score_texts(model, prompts, responses, batch=2)
  assert found.cut.tolist() == [False, False, False]
  for row, text in enumerate(
    chat.encode(model.chat, prompts, responses, total=64).ids
  ):
    _, hidden, _ = numpy_decoder(config, params, text)
    want = hidden[-1] @ WEIGHT.T + BIAS
    np.testing.assert_allclose(found.scores[row], want, atol=5e-5)
  cut = classifier.score_texts(model, prompts, responses, total=9).cut
  assert cut.tolist() == [True, True, False]


def test_what_texts_need_is_said(saved):
  folder, *_ = saved()
  model = classifier.Classifier.load(folder)
  with pytest.raises(ValueError, match=r'no tokenizer\.json'):
    classifier.score_texts(model, ['a'], ['b'])
  chat_templates.save(folder, 'mistral')
  model = classifier.Classifier.load(folder)
  with pytest.raises(ValueError, match=r'max_position_embeddings .* is 64'):
    classifier.score_texts(model, ['a'], ['b'], total=65)
  with pytest.raises(ValueError, match='scores every token'):
    classifier.score_texts(model._replace(every=True), ['a'], ['b'])


def test_ids_that_the_weights_do_not_know_are_refused(saved):
  folder, *_ = saved()
  model = classifier.Classifier.load(folder)
  ids, mask = texts('left')
  with pytest.raises(ValueError, match='from 5 to 270'):
    classifier.scores(model, [[5, 270]], [[1, 1]])
  mask[1] = 0
  with pytest.raises(ValueError, match='row 1 has no token'):
    classifier.scores(model, ids, mask)
  words = {f'w{at}': at for at in range(300)}
  own = tokenizers.models.WordLevel(words, unk_token='w0')
  tokenizers.Tokenizer(own).save(str(folder / 'tokenizer.json'))
  with pytest.raises(ValueError, match='ids up to 299, they know 270 tokens'):
    classifier.Classifier.load(folder)
