"""Episodes as rows by hand; two steps on a tiny language model."""

import jax
import numpy as np
import pytest
import tokenizers

from prm_jax import history_texts, types
from prm_jax.data.user_histories import AskedPair, Episode, TextEvent
from prm_jax.learners import plus
from prm_jax.models import decoder, language_model
from prm_jax.policy import summarizing
from prm_jax.runtime import train

WORDS = [
  *('<unk>', '[', ']', '|', 'ask', 'tea', 'milk', 'hot', 'cold', 'Chose'),
  *('A1:', 'A2:', 'A1.', 'no', 'why', 'yes', '<end>'),
]
NUMBER = {word: i for i, word in enumerate(WORDS)}
CONFIG = decoder.DecoderConfig(len(WORDS), 8, 16, 1, 2, 1, 4)
TEMPLATE = history_texts.Template('[ ', ' | ', ' ]<end>', '<end>')
LIMITS = history_texts.Limits(history=12, text=4, response=2, pairs=2)


@pytest.fixture(scope='module')
def tokenizer():
  words = {word: i for word, i in NUMBER.items() if word != '<end>'}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
  found.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  found.add_special_tokens(['<end>'])
  assert found.token_to_id('<end>') == NUMBER['<end>']
  return found


def pair(first, second, label, prompt='ask tea'):
  return AskedPair('tea', 'tea', 1.0, prompt, first, second, label)


EVENT = TextEvent('statement', '', 0.0, 'hot milk')
CHOICE = TextEvent('choice', 'milk', 0.5, '', 'milk', ('hot', 'cold'), 1.0)
EPISODES = [
  Episode(
    3,
    (EVENT, CHOICE),
    (
      pair('hot', 'cold', 1.0),
      pair('hot tea no', '', 0.5, 'why why why yes'),
      pair('yes', 'no', 0.0),
    ),
  ),
  Episode(5, (), (pair('yes', '<end>', 1.0),)),
  Episode(7, (EVENT,) * 6, (pair('no', 'yes', 1.0),)),
]


def ids(text):
  return [NUMBER[word] for word in text.split()]


def said(tokens, *at):
  kept = np.asarray(tokens.ids)[at][np.asarray(tokens.mask)[at] > 0]
  return ' '.join(WORDS[i] for i in kept)


def test_rows_by_hand(tokenizer):
  read = history_texts.contexts(
    tokenizer, EPISODES, limits=LIMITS, template=TEMPLATE
  )
  rows = read.data.rows
  # The first has three pairs, and so two rows of one history.
  assert rows.user.tolist() == [3, 3, 5, 7]
  told = 'hot milk | milk A1: hot A2: cold Chose A1.'
  assert said(rows.history, 0) == said(rows.history, 1) == f'[ {told}'
  assert said(rows.history, 2) == '['
  # The third is longer than is read, and keeps its latest.
  assert read.cut == 1
  whole = ' | '.join(['hot milk'] * 6).split()
  assert said(rows.history, 3) == ' '.join(['[', *whole[-12:]])
  np.testing.assert_array_equal(rows.label, [[1, 0.5], [0, 0], [1, 0], [1, 0]])
  np.testing.assert_array_equal(rows.present, [[1, 1], [1, 0], [1, 0], [1, 0]])
  assert said(rows.texts, 0, 0, 0) == 'ask tea hot'
  # A response keeps its beginning, and a prompt its end.
  assert said(rows.texts, 0, 1, 0) == 'why yes hot tea'
  assert said(rows.texts, 0, 1, 1) == 'why why why yes'
  # What a person's text spells is a text.
  assert said(rows.texts, 2, 0, 1) == 'ask tea <unk>'


def test_what_asks_and_what_stands_around_a_summary(tokenizer):
  model = language_model.LanguageModel(CONFIG, {}, tokenizer, '')
  writer = history_texts.writer(model, ask='ask', template=TEMPLATE)
  assert writer.ask == tuple(ids('| ask ] <end>'))
  assert writer.stop_ids == (NUMBER['<end>'],)
  with pytest.raises(ValueError, match='no token'):
    history_texts.writer(model)
  options = history_texts.reader(tokenizer)
  assert options['pool'] == 'last'
  assert len(options['before']) == 11
  assert len(options['after']) == 12


def test_what_cannot_be_read_is_refused(tokenizer):
  with pytest.raises(ValueError, match='no episodes'):
    history_texts.contexts(tokenizer, [])
  with pytest.raises(ValueError, match='a response of 9 tokens'):
    history_texts.contexts(
      tokenizer, EPISODES, limits=LIMITS._replace(response=9)
    )


@pytest.mark.slow
def test_two_steps_on_a_tiny_language_model(tokenizer):
  model = language_model.LanguageModel(CONFIG, {}, tokenizer, '')
  writer = history_texts.writer(
    model, ask='ask', template=TEMPLATE, max_new_tokens=3
  )
  learner = plus.plus(
    writer=writer,
    steps=2,
    update=summarizing.Update(contexts=4, samples=2, pairs=2),
    reader=history_texts.reader(tokenizer),
    rates={'summarizer': 1e-2, 'reward': 1e-2},
  )
  learner = learner._replace(init=jax.jit(learner.init, static_argnums=1))
  read = history_texts.contexts(
    tokenizer, EPISODES, limits=LIMITS, template=TEMPLATE
  )
  spec = types.Spec(CONFIG.hidden_size, 8)
  start = learner.init(jax.random.key(0), spec).params
  state = train.fit(learner, read.data, key=jax.random.key(0), spec=spec)
  moved = jax.tree.map(
    lambda a, b: float(abs(a - b).max()), start, state.params
  )
  for part in ('user', 'reward'):
    assert max(jax.tree.leaves(moved[part])) > 0
  for leaf in jax.tree.leaves(state.params):
    assert np.isfinite(leaf).all()
