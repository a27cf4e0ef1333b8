import jax
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.rewards import backbone, implicit_decoder, scalar, summary_texts
from prm_jax.users.records import SummaryError
from tests.rewards import tiny_reader

TOKENIZER, WORDING = tiny_reader.tokenizer(), tiny_reader.WORDING
NUMBER = {word: i for i, word in enumerate(tiny_reader.WORDS)}


def ids(text):
  return [NUMBER.get(word, 0) for word in text.split()]


def read(words, prompts, responses, wording=WORDING):
  return summary_texts.tokens(TOKENIZER, wording, words, prompts, responses)


def test_a_text_is_the_summary_the_prompt_and_the_response():
  texts = read('short', ['ok ok', 'ok'], ['tables', 'long long'])
  assert texts.ids.shape == (2, 8)
  want = [ids('she likes short : ok ok tables'), ids('she likes short : ok')]
  np.testing.assert_array_equal(texts.ids[0], [*want[0], 0])
  np.testing.assert_array_equal(texts.mask[0], [1] * 7 + [0])
  np.testing.assert_array_equal(texts.branch[0], [0] * 6 + [1, 0])
  np.testing.assert_array_equal(texts.ids[1, :7], want[1] + ids('long long'))
  np.testing.assert_array_equal(texts.branch[1], [0] * 5 + [1, 1, 0])


def test_nothing_is_said_of_somebody_unknown():
  texts = read('', ['ok'], ['long'])
  assert texts.ids.tolist() == [ids('ok long')]


def test_the_prompt_gives_way_and_the_summary_does_not():
  texts = read('short long', ['tables ' * 9 + 'ok ok ok'], ['long ' * 9])
  # 12 in all: 5 before the prompt, 3 of the response, the prompt's last 4.
  want = 'she likes short long : tables ok ok ok long long long'
  np.testing.assert_array_equal(texts.ids[0, :12], ids(want))
  with pytest.raises(
    SummaryError, match=r'5 tokens, and the reward .* reads 4'
  ):
    read('short ' * 5, ['ok'], ['ok'])
  long = WORDING._replace(before='she likes ' * 5 + '{summary}')
  with pytest.raises(ValueError, match='the reader reads 12 in all'):
    read('short', ['ok'], ['ok ok'], long)


def test_a_summary_is_words_whatever_it_spells():
  # A special token is none, and a slot is not filled twice.
  texts = read('<end> {summary}', ['ok'], ['ok'])
  assert texts.ids.tolist()[0][:5] == ids('she likes x x :')
  assert TOKENIZER.token_to_id(tiny_reader.END) not in texts.ids


def test_unknown_tokens_are_counted():
  assert summary_texts.measure(TOKENIZER, WORDING, '短い 返事 short') == (
    3,
    4,
    2,
  )
  assert summary_texts.measure(TOKENIZER, WORDING, '') == (0, 4, 0)


@pytest.mark.parametrize(
  ('wording', 'why'),
  [
    (WORDING._replace(before='nothing'), 'has not one'),
    (WORDING._replace(total=7), 'leave no room of 7'),
    (WORDING._replace(summary=0), 'a token or more'),
  ],
)
def test_a_wording_fits_together(wording, why):
  with pytest.raises(ValueError, match=why):
    summary_texts.check(wording)
  assert summary_texts.check(WORDING) is WORDING


def test_scores_are_those_of_the_words_alone(monkeypatch):
  # A language model: twice the mean log-probability of the response, of one
  # text without padding, by a softmax of its own.
  model = tiny_reader.model()
  reward = implicit_decoder.implicit(
    config=tiny_reader.CONFIG, reference=False, beta=2.0
  )
  reader = summary_texts.Reader(
    reward, {'policy': model.params}, TOKENIZER, WORDING
  )
  found = reader.score('short', ['ok', 'ok ok'], ['long tables', 'ok'])
  text = np.array([ids('she likes short : ok long tables')])
  place = np.arange(text.shape[1])[None]

  @jax.jit
  def predict(params):
    network = decoder.Decoder(tiny_reader.CONFIG)
    seen = decoder.attended(jax.numpy.ones_like(text))
    states = network.apply(params, text, place, seen).hidden
    return network.apply(params, states, method='logits')[0]

  logits = np.asarray(predict(model.params), np.float64)
  logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
  want = 2.0 * (logits[4, NUMBER['long']] + logits[5, NUMBER['tables']]) / 2
  np.testing.assert_allclose(found[0], want, rtol=1e-4)
  # Another summary, another score; the same ones for as many as come.
  other = reader.score('long', ['ok', 'ok ok'], ['long tables', 'ok'])
  assert (found != other).all()
  monkeypatch.setattr(summary_texts, '_TEXTS', 2)  # scored at once
  many = reader.score('short', ['ok', 'ok ok'] * 3, ['long tables', 'ok'] * 3)
  np.testing.assert_allclose(many, np.tile(found, 3), rtol=1e-5)
  assert reader.score('short', [], []).shape == (0,)


def test_a_head_on_a_decoder_reads_the_last_token_of_everything():
  reward = backbone.backbone(scalar.linear(), tiny_reader.CONFIG)
  params = {
    'weight': jax.random.normal(jax.random.key(1), (8,)),
    'backbone': tiny_reader.model().params,
  }
  reader = summary_texts.Reader(reward, params, TOKENIZER, WORDING)
  found = reader.score('tables', ['ok'], ['long'])
  text = np.array([ids('she likes tables : ok long')], np.int32)
  alone = types.Tokens(text, np.ones_like(text))
  features = jax.jit(reward.features)(params, types.Inputs(alone))
  want = np.asarray(features) @ np.asarray(params['weight'])
  np.testing.assert_allclose(found, want, rtol=1e-4)


def test_a_reward_may_be_told_the_summary_apart():
  # How many tokens of a text the summary has, by a reward that counts them.
  def score(params, encoded, told):
    same = encoded.ids[..., None] == told.ids[:, None, None]
    real = encoded.mask[..., None] * told.mask[:, None, None]
    return types.RewardOutput(params * (same & (real > 0)).sum((-1, -2)))

  reward = types.RewardModel(None, lambda _, features: features, score)
  apart = WORDING._replace(apart=True, end=NUMBER['ok'], before='')
  reader = summary_texts.Reader(reward, 0.5, TOKENIZER, apart)
  found = reader.score('short long', ['she', 'she'], ['short short', 'ok'])
  np.testing.assert_allclose(found, [1.0, 0.5])
  # Somebody unknown is the end alone, and a full summary has none.
  empty = summary_texts.context(TOKENIZER, apart, '')
  assert empty.ids.tolist() == [NUMBER['ok'], 0, 0, 0]
  assert empty.mask.tolist() == [1, 0, 0, 0]
  full = summary_texts.context(TOKENIZER, apart, 'short long tables she')
  assert full.ids.tolist() == ids('short long tables she')
  texts = read('short', ['she ' * 9], ['ok'], summary_texts.check(apart))
  assert texts.mask.sum() == 12 - 4  # the room beside the summary's
