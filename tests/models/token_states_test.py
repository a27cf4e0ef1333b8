import numpy as np
import pytest

from prm_jax.models import token_states
from prm_jax.models.language_model import LanguageModel
from tests import checkpoints
from tests.models.decoder_test import numpy_decoder

WORDS = ['tea', 'milk', 'hot', 'cold', 'please', '.']


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp('model')
  return LanguageModel.load(
    checkpoints.write(folder, WORDS, num_hidden_layers=3)
  )


def by_hand(model, sentence, layer):
  """States `[T, D]` of a sentence alone after a special token, RMS 1."""
  ids = [1, *model.tokenizer.encode(sentence).ids]
  states = numpy_decoder(model.config, model.params, np.array(ids))[0][layer]
  states = states[1:]
  return states / np.sqrt((states**2).mean(-1, keepdims=True) + 1e-6)


@pytest.mark.parametrize('token', token_states.TOKENS)
def test_a_text_is_the_sum_of_its_sentences_states(model, token, tmp_path):
  reading = token_states.Reading('sentence', token, (3, 1))
  states = token_states.States.of(model, reading)
  sentences = ['tea hot .', 'please cold milk tea .']
  found = states([' '.join(sentences), sentences[0]], cache_dir=tmp_path)
  pick = {'last': lambda s: s[-1], 'mean': lambda s: s.mean(0)}[token]
  each = [
    np.concatenate([pick(by_hand(model, s, layer)) for layer in (3, 1)])
    for s in sentences
  ]
  np.testing.assert_allclose(found[0], each[0] + each[1], atol=5e-5)
  np.testing.assert_allclose(found[1], each[0], atol=5e-5)
  # Read as a whole, a sentence has heard the one before.
  whole = token_states.States.of(model, reading._replace(unit='text'))
  found = whole([' '.join(sentences)], cache_dir=tmp_path)
  want = [pick(by_hand(model, ' '.join(sentences), k)) for k in (3, 1)]
  np.testing.assert_allclose(found[0], np.concatenate(want), atol=5e-5)


def test_units_are_read_once_and_kept_by_model_token_and_layers(
  model, tmp_path, monkeypatch
):
  states = token_states.States.of(model, token_states.Reading())
  assert states.reading.layers == (2, 3)  # .53 and .87 of three
  first = states(['tea . tea .', 'tea .', ''], cache_dir=tmp_path)
  np.testing.assert_array_equal(first[0], 2 * first[1])
  assert not first[2].any()  # no token
  names = {
    token_states.States.of(model, token_states.Reading(*parts)).fingerprint
    for parts in (
      ('sentence', 'last', (2, 3)),
      ('text', 'last', (2, 3)),  # units are units: kept together
      ('sentence', 'last', (3, 2)),
      ('sentence', 'mean', (2, 3)),
      ('sentence', 'last', (3,)),
    )
  }
  assert len(names) == 4
  assert states.fingerprint in names
  monkeypatch.setattr(token_states.States, 'batches', lambda *_: iter(()))
  again = states(['tea .'], cache_dir=tmp_path)
  np.testing.assert_array_equal(again[0], first[1])


def test_lengths_in_a_batch_change_nothing(model, tmp_path):
  states = token_states.States.of(model, token_states.Reading(layers=(2,)))
  long = ' '.join(['milk'] * 15 + ['tea .'])
  alone = dict(zip(*next(states.batches(['tea .'])), strict=True))
  both = [
    pair
    for batch in states.batches([long, 'tea .'])
    for pair in zip(*batch, strict=True)
  ]
  np.testing.assert_allclose(dict(both)['tea .'], alone['tea .'], atol=1e-5)


def test_a_reading_is_written_and_read():
  parse = token_states.Reading.parse
  for text in ('sentence:last', 'text:mean:4', 'sentence_log:last:0,26'):
    assert str(parse(text)) == text
  for wrong in ('sentence', 'sentence:', 'sentence:last:', 'sentence:last:a'):
    with pytest.raises(ValueError, match='write UNIT:TOKEN'):
      parse(wrong)
  with pytest.raises(ValueError, match="unit 'word': choose one of"):
    parse('word:last')
  with pytest.raises(ValueError, match="token 'first': choose one of"):
    parse('sentence:first')


def test_a_layer_that_is_not_there_is_named(model):
  with pytest.raises(ValueError, match=r'layers \(4,\): choose some of 0\.\.3'):
    token_states.States.of(model, token_states.Reading(layers=(4,)))
