"""Language models that are told of people: what it takes, and two steps."""

import jax
import numpy as np
import pytest
import tokenizers

from configs import memories
from experiments.memories import experiment, language, real, real_recall
from prm_jax import memory_texts
from prm_jax.data.user_histories import AskedPair, Episode, TextEvent
from prm_jax.lab import study
from prm_jax.models import decoder, lora
from prm_jax.models.weights import huggingface

WORDS = ['<unk>', 'tea', 'good', 'bad', 'odd', 'why', 'Chose', 'A1', 'A2', ':']
KEEPS = {'smollm2': 0.538, 'qwen': 30.5, 'llama': 32.1}
ADAPTERS = {'smollm2': 1.5, 'qwen': 12.6, 'llama': 12.8}
SCORES = {'smollm2': 4.0, 'qwen': 12.5, 'llama': 10.5}
SIZES = {
  'vocab_size': 49152,
  'hidden_size': 576,
  'intermediate_size': 1536,
  'num_hidden_layers': 30,
  'num_attention_heads': 9,
  'num_key_value_heads': 3,
  'head_dim': 64,
}
LIMITS = memory_texts.Limits(event=6, text=5, response=3, events=2)


def tokenizer():
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
  found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  return found


def event(first, second, label, time=0.0):
  return TextEvent('choice', 'x', time, '', 'why', (first, second), label)


def words(tokens, at):
  ids, mask = np.asarray(tokens.ids[at]), np.asarray(tokens.mask[at]) > 0
  return ' '.join(WORDS[i] for i in ids[mask])


@pytest.mark.parametrize('variant', KEEPS)
def test_memory_is_what_the_config_says(variant):
  sizes = memories.get_config(variant).language.sizes.to_dict() or SIZES
  config = decoder.DecoderConfig(**sizes)
  found = memory_texts.memory_gigabytes(
    config, rank=2, people=1000, together=8, batch=8, tokens=160
  )
  assert found['weights'] == pytest.approx(KEEPS[variant], abs=0.05)
  assert 1e3 * found['adapter'] == pytest.approx(ADAPTERS[variant], abs=0.06)
  assert found['scores'] == pytest.approx(SCORES[variant], abs=0.06)
  assert found['adapters'] == pytest.approx(1000 * found['adapter'])
  # As many bytes as the adapters have that are trained.
  layers = jax.eval_shape(
    decoder.Decoder(config).init,
    jax.random.key(0),
    *[jax.ShapeDtypeStruct((1, 2), np.int32)] * 2,
    decoder.attended(np.ones((1, 2), np.int32)),
  )
  own = jax.eval_shape(
    lambda params: lora.init(
      jax.random.key(0),
      params,
      rank=2,
      targets=('value', 'output', 'up', 'down'),
    ),
    layers,
  )
  size = sum(4 * leaf.size for leaf in jax.tree.leaves(own))
  assert 1e9 * found['adapter'] == pytest.approx(size)


def test_events_are_told_in_order_and_the_latest_are_kept():
  one = [event('good', 'bad', 1.0, t) for t in (0.0, 1.0)]
  histories = [[*one, event('odd', 'tea', 0.0, 2.0)], []]
  keys = [np.eye(3), np.zeros((0, 3))]
  found = memory_texts.kept(tokenizer(), histories, keys, limits=LIMITS)
  np.testing.assert_array_equal(found.events.mask, [[1, 1], [0, 0]])
  latest = int(found.latest[0, 0])
  told = words(found.events.content, (0, latest))
  assert told == 'why A1 : odd A2 :'  # six tokens
  np.testing.assert_array_equal(found.events.embedding[0, latest], [0, 0, 1])
  with pytest.raises(ValueError, match='3 events and 2 embeddings'):
    memory_texts.kept(tokenizer(), [histories[0]], [np.eye(2)])


def test_an_event_of_100000_characters_is_cut_to_its_room():
  long = event('good ' * 20_000, 'bad', 1.0)
  found = memory_texts.kept(
    tokenizer(), [[long]], [np.ones((1, 2))], limits=LIMITS
  )
  assert np.asarray(found.events.content.mask).sum() == 6
  lesson = memory_texts.lessons(tokenizer(), [[long]], limits=LIMITS)
  assert words(lesson.tokens, (0, 0, 0)).endswith('good good good')


def test_lessons_have_what_was_chosen_first_and_no_ties():
  some = [
    event('good', 'bad', 0.5),
    event('good', 'bad', 0.0),
    TextEvent('statement', '', 1.0, 'tea'),
  ]
  found = memory_texts.lessons(tokenizer(), [some], limits=LIMITS)
  np.testing.assert_array_equal(found.mask, [[1, 0]])
  assert words(found.tokens, (0, 0, 0)) == 'why bad'
  assert words(found.tokens, (0, 0, 1)) == 'why good'
  branch = np.asarray(found.tokens.branch[0, 0, 0])
  assert branch.tolist()[:2] == [0, 1]
  assert branch.sum() == 1
  pairs = [[AskedPair('x', 'x', 0, 'why', 'good odd', '', 1.0)], []]
  texts, there = memory_texts.asked(tokenizer(), pairs, limits=LIMITS)
  np.testing.assert_array_equal(there, [[1], [0]])
  assert words(texts, (0, 0, 0)) == 'why good odd'


def made_up(config, name):
  """Three people who like one word, and say so in events of any number."""
  del config, name
  rng, found = np.random.default_rng(0), []
  for user, word in enumerate(('good', 'odd', 'tea')):
    events = [event(word, 'bad', 1.0, float(t)) for t in range(user + 1)]
    pairs = []
    for n in range(2):
      sides = rng.permutation([word, 'bad']).tolist()
      label = float(sides[0] == word)
      pairs.append(AskedPair(f'q{n}', f'q{n}', 9.0, 'why', *sides, label))
    found.append(Episode(user, tuple(events), tuple(pairs)))
  return found


def embedded(config, texts):
  del config
  known = sorted(set(texts) - {''})
  values = np.random.default_rng(0).normal(size=(len(known), 4))
  row = {text: i for i, text in enumerate(known)}
  return real_recall.Vectors(row, values, values.mean(0))


@pytest.mark.slow
@pytest.mark.parametrize('variant', KEEPS)
def test_variants_run_two_steps_on_a_tiny_checkpoint(
  variant, tmp_path, monkeypatch
):
  config = memories.get_config(variant)
  small = {
    'vocab_size': len(WORDS),
    'hidden_size': 16,
    'intermediate_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 4,
  }
  sizes = {**config.language.sizes.to_dict(), **small}
  tiny = decoder.DecoderConfig(**sizes)
  ids = np.zeros((1, 2), np.int32)
  params = jax.jit(decoder.Decoder(tiny).init)(
    jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  folder = tmp_path / 'model'
  huggingface.save_decoder(tiny, params, folder)
  tokenizer().save(str(folder / 'tokenizer.json'))
  with config.unlocked():
    config.language.update(model=str(folder), sizes=sizes)
    config.language.update(steps=2, batch=2, together=2, events=2)
    config.language.limits.update(event=8, text=8, response=4)
    config.language.data = {'llmfao': {}}
  monkeypatch.setattr(language, 'episodes', made_up)
  monkeypatch.setattr(real, 'embedded', embedded)
  found = study.run(experiment.STUDY, config, tmp_path / 'run')
  rows = {row['method']: row for row in found['tables']['language']}
  assert set(rows) == set(language.NODES)
  assert all(row['people'] == 3 and row['n'] == 6 for row in rows.values())
  assert 'over_another' in rows['adapter_task']
  with config.unlocked():
    config.language.sizes.hidden_size = 32
  with pytest.raises(ValueError, match=r'language\.sizes are'):
    language.model_of(config)
