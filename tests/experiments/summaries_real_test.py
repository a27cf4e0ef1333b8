"""Real histories in small: who is told what, readers by hand, and PLUS itself.

People like hot or cold; their events and choices say so, and their reasons.
"""

import functools
import itertools
import json

import jax
import numpy as np
import pytest
import tokenizers
from scipy import special

from configs import summaries
from experiments.reasoning_rewards import real_fits
from experiments.summaries import (
  experiment,
  real,
  real_people,
  real_reads,
  real_tables,
  real_written,
  tuned,
)
from prm_jax import types
from prm_jax.data import user_histories
from prm_jax.data.user_histories import AskedPair, Episode, TextEvent
from prm_jax.lab import study, units
from prm_jax.learners import plus
from prm_jax.models import decoder, lora
from prm_jax.models.weights import huggingface
from prm_jax.runtime import trees
from prm_jax.users import summaries as summaries_of

WORDS = ['<unk>', '<|im_start|>', '<|im_end|>', 'hot', 'cold', 'tea', 'milk']
WORDS += ['A1', 'A2', 'Chose', 'likes', 'what', 'user', 'assistant', ':', '.']
CONFIG = decoder.DecoderConfig(len(WORDS), 8, 16, 1, 2, 1, 4)
TOPICS = ('tea', 'milk', 'soup', 'rain', 'sun', 'bath')
DIM = 12


def judged(topic, likes, label, time):
  """A judgement with its reason, and the pair that it was."""
  first, second = f'hot {topic}', f'cold {topic}'
  if (likes == 'cold') == (label == 1):
    first, second = second, first
  pair = AskedPair(topic, topic, time, f'what {topic}', first, second, label)
  reason = f'likes {likes}'
  shown = (first, second)
  event = TextEvent('judgement', topic, time, reason, pair.prompt, shown, label)
  return event, pair


@functools.cache
def people():
  """12 people who judge each of six topics four times, one of them a tie."""
  events, pairs = [], []
  for person in range(12):
    rows = [
      judged(topic, ('hot', 'cold')[person % 2], label, time + place / 8)
      for time, topic in enumerate(TOPICS)
      for place, label in enumerate((1.0, 0.0, 0.5, 1.0))
    ]
    events.append(tuple(event for event, _ in rows))
    pairs.append(tuple(pair for _, pair in rows))
  return user_histories.Histories(
    user_ids=[f'person {i}' for i in range(12)],
    events=events,
    pairs=pairs,
    person_fold=np.arange(12) // 2 % 3,
    question_fold={topic: i % 3 for i, topic in enumerate(TOPICS)},
    timed=False,
  )


def vectors(config, texts):
  """A unit vector for every text: the mean of its words'."""
  del config
  known = sorted(set(texts))
  words = sorted({word for text in known for word in text.split()})
  rng = np.random.default_rng(0)
  drawn = dict(zip(words, rng.normal(size=(len(words), DIM)), strict=True))
  drawn |= {'hot': np.eye(DIM)[0] * 4, 'cold': -np.eye(DIM)[0] * 4}
  values = np.array(
    [
      np.mean([drawn[word] for word in text.split()] or [np.ones(DIM)], 0)
      for text in known
    ]
  )
  values /= np.linalg.norm(values, axis=1, keepdims=True)
  return real_written.Embedded({t: i for i, t in enumerate(known)}, values)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A folder in Hugging Face's layout, of a tiny decoder."""
  folder = tmp_path_factory.mktemp('model')
  ids = np.zeros((1, 2), np.int32)
  params = jax.jit(decoder.Decoder(CONFIG).init)(
    jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  huggingface.save_decoder(CONFIG, params, folder)
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
  found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  found.add_special_tokens(WORDS[1:3])
  found.save(str(folder / 'tokenizer.json'))
  return folder


def small(variant, folder, monkeypatch):
  """The config of a variant on these people."""
  monkeypatch.setattr(real_people, 'histories', lambda config, name: people())
  monkeypatch.setattr(real_written, 'embedded', vectors)
  config = summaries.get_config(variant).unlock()
  node = config.real.data.ukp_convarg
  config.real.data = {'ukp_convarg': node}
  node = config.real.data.ukp_convarg
  node.people = dict.fromkeys(node.people, 12)
  node.writes.update(history=16, samples=2, tokens=3, batch=4)
  config.real.update(model=str(folder), ask='what likes', dim=4)
  config.real.update(ridges=(1e-2,), let_in=(1.0,))
  return config


# ------------------------------------------------------------------- people


def test_ties_are_not_asked_about_and_people_stand_once(monkeypatch):
  config = small('real', '', monkeypatch)
  for fold in range(3):
    parts = real_people.parts(config, 'ukp_convarg', fold)
    trained = {one.user for one in parts[real_people.TRAIN]}
    tested = {one.user for one in parts[real_people.NEW]}
    assert trained
    assert tested
    assert not trained & tested
    for episodes in parts.values():
      users = [one.user for one in episodes]
      assert len(set(users)) == len(users)
      for one in episodes:
        assert {pair.label for pair in one.pairs} <= {0.0, 1.0}
  # Of every fold, each history once.
  known = real_people.written_about(config, 'ukp_convarg')
  assert sorted(known.values()) == list(range(len(known)))


def test_another_persons_history_says_nothing_of_what_is_asked():
  tea, _ = judged('tea', 'hot', 1.0, 0.0)
  milk, _ = judged('milk', 'cold', 1.0, 0.0)
  _, asked = judged('tea', 'hot', 1.0, 1.0)
  episodes = [
    Episode(i, (e,), (asked,)) for i, e in enumerate((tea, milk, tea))
  ]
  for seed in range(5):
    giver = real_people.givers(episodes, seed)
    assert giver[0] == giver[2] == 1  # the only history without tea
    assert giver[1] in (0, 2)  # nobody's own
  assert real_people.without((tea, milk), episodes[0]) == (milk,)
  with pytest.raises(ValueError, match='two people'):
    real_people.givers(episodes[:1], 0)


def test_what_events_say_by_hand():
  event, _ = judged('tea', 'hot', 0.0, 0.0)
  assert event.shown == ('cold tea', 'hot tea')
  assert real_people.texts(event) == ('likes hot',)
  silent = event._replace(said='')
  assert real_people.texts(silent) == ('hot tea',)
  assert real_people.texts(silent._replace(label=0.5)) == silent.shown
  cut = real_people.short(event, 1)
  assert (cut.shown, cut.prompt) == (('cold', 'hot'), 'what')
  bare = real_people.short(event, 0)
  assert user_histories.written(bare) == 'Chose A2: likes hot'
  (pair,) = real_people.past([event, event._replace(label=0.5)])
  assert (pair.first, pair.label) == ('cold tea', 0.0)
  # One choice of the second, longer text, and four that say nothing.
  longer = event._replace(shown=('hot', 'cold tea'))
  np.testing.assert_allclose(real_people.habits([longer]), (-0.2, 0.2))
  assert real_people.habits([]) == (0.0, 0.0)


# ------------------------------------------------------------------- readers


def planted(seed, n):
  """Pairs whose better text is the one that what is told resembles."""
  rng = np.random.default_rng(seed)
  texts = rng.normal(size=(n, 2, DIM))
  texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
  told = rng.normal(size=(n, DIM))
  told /= np.linalg.norm(told, axis=-1, keepdims=True)
  lead = np.einsum('nd,nkd->nk', told, texts) @ [1.0, -1.0]
  label = (rng.random(n) < special.expit(12 * lead)).astype(float)
  prompt = np.tile(np.eye(DIM)[0], (n, 1))
  zeros = np.zeros((n, 2))
  return real_reads.Pairs(texts, prompt, zeros, zeros, label), told


NODE = summaries.get_config('real').real.copy_and_resolve_references().unlock()
NODE.update(dim=8, ridges=(1e-3, 1e-2), let_in=(0.3, 1.0))


def test_a_reader_finds_what_is_told_and_misses_it_where_swapped():
  train, validation, test = (planted(seed, 400) for seed in range(3))
  reader, choice = real_reads.fitted('summary', train, validation, NODE)
  pairs, told = test

  def right(some):
    return np.mean((reader.margins(pairs, some) > 0) == (pairs.label > 0.5))

  assert right(told) > 0.8
  assert abs(right(told[::-1]) - 0.5) < 0.1
  assert choice['let_in'] in NODE.let_in
  nothing, _ = real_reads.fitted(
    'nothing', (train[0], None), (validation[0], None), NODE
  )
  margin = nothing.margins(pairs, None)
  assert abs(np.mean((margin > 0) == (pairs.label > 0.5)) - 0.5) < 0.1


def test_readers_see_the_same_whichever_text_is_first_but_for_the_side():
  pairs, told = planted(0, 30)
  by = real_reads.sight(pairs, told, 4)
  turned = pairs._replace(
    texts=pairs.texts[:, ::-1], longer=pairs.longer[:, ::-1]
  )
  for sees in real_reads.SEES.values():
    seen, block = real_reads.features(sees, by, pairs, told)
    other, _ = real_reads.features(sees, by, turned, told)
    assert seen.shape == (60, len(block))
    own = block != 'side'
    if 'habits' in sees:  # whose side is a side, too
      own &= block != 'habits'
    both = seen.reshape(30, 2, -1)[..., own]
    np.testing.assert_allclose(
      both[:, ::-1], other.reshape(30, 2, -1)[..., own]
    )


def test_coordinates_have_unit_variance():
  values = np.random.default_rng(0).normal(size=(50, 6)) * [9, 5, 1, 1, 1, 1]
  found = real_reads.space(values, 2).of(values)
  np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
  np.testing.assert_allclose(np.cov(found.T, ddof=0), np.eye(2), atol=1e-9)


def test_letting_in_half_is_four_times_the_ridge():
  pairs, told = planted(1, 50)
  by = real_reads.sight(pairs, told, 4)
  seen, _ = real_reads.features(('option',), by, pairs, None)
  examples = real_fits.Examples(np.arange(100).reshape(-1, 2), pairs.label)
  half = real_fits.linear(seen, examples, 0.01, 0.5)
  whole = real_fits.linear(seen, examples, 0.04)
  np.testing.assert_allclose(half.weight, whole.weight, rtol=1e-3, atol=1e-5)


def test_the_summary_that_tells_past_choices_is_chosen():
  known = planted(0, 400)
  reader, _ = real_reads.fitted('summary', known, planted(1, 100), NODE)
  event, pair = judged('tea', 'hot', 1.0, 0.0)
  cold, _ = judged('tea', 'cold', 1.0, 0.0)
  texts = vectors(None, [*event.shown, event.prompt])
  hot = texts.of(['hot tea'])[0] - texts.of(['cold tea'])[0]
  events = ((event,), (cold,), ())
  episodes = [Episode(i, one, (pair,)) for i, one in enumerate(events)]
  parts = {'new': real.Asked(episodes, np.arange(3), [pair] * 3, None, ())}
  samples = np.stack([[-hot, hot]] * 3)
  fold = real.Fold(parts, {}, {}, {'new': samples}, texts)
  best, which = real.chosen(fold, 'new', reader)
  # Who says nothing keeps the first.
  assert which.tolist() == [1, 0, 0]
  np.testing.assert_array_equal(best, samples[range(3), which])


# -------------------------------------------------------------------- tables


def unit(fold, user, label, **leads):
  arrays = {'user': user, 'about': np.arange(len(user)) // 3, 'label': label}
  arrays |= {name.replace('_of_', '|'): lead for name, lead in leads.items()}
  new = real_people.NEW
  return units.Unit(
    {'fold': fold},
    {f'{new}|{key}': np.asarray(value) for key, value in arrays.items()},
  )


def test_rows_by_hand():
  label = np.array([1.0, 1, 0, 1, 0, 0])
  made = [
    unit(
      fold,
      np.array([0, 0, 0, 1, 1, 1]) + 2 * fold,
      label,
      nothing_of_own=[1, 1, 1, 1, 1, 0],
      summary_of_own=[1, 1, -1, 1, -1, 1],
      summary_of_swapped=[-1, 1, -1, -1, -1, 1],
      summary_of_population=[1, 1, 1, 1, 1, 0],
    )
    for fold in range(2)
  ]
  rows = {row['told']: row for row in real_tables.predicted({'prefeval': made})}
  assert set(rows) == {'nothing', 'summary'}
  np.testing.assert_allclose(rows['nothing']['own'], 3.5 / 6)
  np.testing.assert_allclose(rows['summary']['own'], 5 / 6)
  np.testing.assert_allclose(rows['summary']['swapped'], 3 / 6)
  # Of two questions, of one all three pairs are right.
  assert rows['summary']['all_right'] == 0.5
  assert rows['nothing']['all_right'] == 0
  assert (rows['summary']['people'], rows['summary']['n']) == (4, 12)
  leads = {
    (row['told'], row['over']): row
    for row in real_tables.gains({'prefeval': made})
  }
  assert set(leads) == {
    ('summary', over) for over in ('swapped', 'population', 'nothing')
  }
  row = leads['summary', 'nothing']
  np.testing.assert_allclose(row['lead'], 1.5 / 6)
  assert row['lead_low'] < row['lead'] < row['lead_high']
  assert row['lead_detectable'] > 0


def words_of(value):
  """Every text in results, but for those of the configuration."""
  if isinstance(value, dict):
    return set().union(*map(words_of, value.values()), value.keys())
  if isinstance(value, list):
    return set().union(*map(words_of, value))
  return {value} if isinstance(value, str) else set()


@pytest.mark.slow
def test_the_study_on_toys(checkpoint, monkeypatch, tmp_path):
  config = small('real', checkpoint, monkeypatch)
  found = study.run(experiment.STUDY, config, tmp_path)
  made = found['tables']
  rows = {(row['split'], row['told']): row for row in made['real']}
  told = set(real_reads.SEES) - {'truth'}
  assert set(rows) == set(itertools.product(('seen', 'new'), told))
  # Reasons say what people like, and another person's may say the other.
  row = rows['new', 'history']
  assert row['own'] > 0.9
  assert row['own'] > row['swapped']
  assert rows['new', 'nothing']['own'] < 0.8
  (row,) = made['real_written']
  assert (row['samples'], row['data']) == (2, 'ukp_convarg')
  assert {row['over'] for row in made['real_gains']} >= {
    'swapped',
    'population',
  }
  said = ' '.join(words_of({**found, 'config': {}})).lower()
  page = (tmp_path / 'report' / 'index.html').read_text()
  for text in ('hot tea', 'likes hot', 'person 0'):
    assert text not in said
    assert text not in page
  assert 'Real histories' in page
  json.dumps(found)


# ---------------------------------------------------------------- PLUS itself


@pytest.mark.slow
def test_two_steps_of_plus_on_a_given_checkpoint(
  checkpoint, monkeypatch, tmp_path
):
  config = small('smollm2', checkpoint, monkeypatch)
  sizes = {
    'vocab_size': CONFIG.vocab_size,
    'hidden_size': 8,
    'intermediate_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'head_dim': 4,
  }
  config.model.update(folder=str(checkpoint), sizes=sizes, rank=2, steps=2)
  config.model.update(folds=(0,), new_tokens=3, examined=2, remat=False)
  config.model.update(dtype='float32', rates={'summarizer': 0.1, 'reward': 0.1})
  config.model.limits.update(history=12, text=6, response=4, pairs=2)
  config.model.draws.update(contexts=2, samples=2, pairs=2)
  states, fit = [], tuned.train.fit
  monkeypatch.setattr(
    tuned.train, 'fit', lambda *a, **k: states.append(fit(*a, **k)) or states[0]
  )
  found = study.run(experiment.STUDY, config, tmp_path)
  start, end = found['tables']['tuned']
  assert (start['when'], end['when'], end['steps']) == ('start', 'end', 2)
  assert start['n'] == end['n'] > 0
  (row,) = found['tables']['tuned_memory']
  weights = tuned.weights(tuned.model_of(config))
  count = sum(leaf.size for leaf in weights.values())
  np.testing.assert_allclose(row['frozen_gb'], 4 * count / 1e9)
  params = states[0].params
  for part in ('user', 'reward'):
    for path, leaf in trees.flat(params[part]['backbone']).items():
      given = weights[f'params/{part}/backbone/{path}']
      np.testing.assert_array_equal(leaf, given)  # frozen
    adapter = params[part]['adapter']
    assert lora.count(adapter) == row['adapter_parameters']
    assert max(float(abs(one.b).max()) for one in adapter.values()) > 0


@pytest.mark.parametrize('baseline', ['leave_one_out', 'critic'])
def test_adapters_alone_learn_in_every_phase(baseline):
  tokens = {'max_new_tokens': 3, 'stop_ids': (2,)}
  learner = plus.plus(
    writer=summaries_of.Writer(CONFIG, **tokens, rank=2),
    backbone={'config': CONFIG, 'trains': 'adapter', 'rank': 2},
    warm={'language': lambda key, state: None},
    order=('summarizer', 'reward'),
    rounds=2,
    steps=1,
    update={'baseline': baseline},
  )
  shapes = jax.eval_shape(
    functools.partial(learner.init, spec=types.Spec(8, 4)), jax.random.key(0)
  )
  trained = {
    phase.name: set(trees.flat(trees.split(shapes.params, phase.train)[0]))
    for phase in learner.phases
  }
  adapters = {
    f'adapter/{kind}/{side}' for kind in ('query', 'value') for side in 'ab'
  }
  user = {f'user/{path}' for path in adapters}
  assert trained['language'] == user
  assert trained['reward'] == {
    *(f'reward/{path}' for path in adapters),
    'reward/weight',
  }
  critic = set()
  if baseline == 'critic':
    critic = {f'critic/trunk/{path}' for path in adapters} | {'critic/weight'}
  assert trained['summarizer'] == user | critic


def test_other_weights_than_those_that_are_named_are_refused(checkpoint):
  config = summaries.get_config('qwen3b')
  with pytest.raises(ValueError, match=r'model\.folder is empty'):
    tuned.model_of(config)
  config = config.unlock()
  config.model.folder = str(checkpoint)
  with pytest.raises(ValueError, match=r'model\.sizes are'):
    tuned.model_of(config)
