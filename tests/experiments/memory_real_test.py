"""Memories of real people, on made-up rows."""

import types

import numpy as np
import pytest

from configs import memories
from experiments.memories import real, real_people, real_recall, real_tables
from prm_jax.data import user_histories
from prm_jax.data.user_histories import AskedPair, TextEvent
from prm_jax.lab import units

WORDS = ('red', 'green', 'blue', 'grey')


def embedded(config, texts):
  """Every word has an axis of its own, and a text the sum of its words'."""
  del config
  known = sorted(set(texts) - {''})
  names = sorted({word for text in known for word in text.split()})
  values = np.zeros((len(known), len(names)), np.float32)
  for row, text in enumerate(known):
    for word in text.split():
      values[row, names.index(word)] += 1
  values /= np.linalg.norm(values, axis=1, keepdims=True)
  row = {text: i for i, text in enumerate(known)}
  return real_recall.Vectors(row, values, 0 * values[0])


def event(first, second, label, time, said=''):
  shown = (first, second) if second else (first,)
  return TextEvent('choice', f'e{time}', time, said, 'ask', shown, label)


# ------------------------------------------------------------------- histories


def test_ratings_become_what_is_above_the_own_mean_of_those_before(monkeypatch):
  rating = [1, 3, 2, 2, 4, 1, 2, 0, 1, 0, 1, 0, 1, 0]
  user = [0] * 7 + [1] * 7
  texts = [f'text {i}' for i in range(7)]
  rated = types.SimpleNamespace(
    user_ids=['ann', 'bob'],
    user=np.array(user),
    item=np.array([*range(7), *range(7)]),
    rating=np.array(rating, np.float32),
    texts=texts,
  )
  monkeypatch.setattr(real_people.load, 'ratings', lambda name, **o: rated)
  options = {'folds': 3, 'people_folds': 3}
  found = real_people.of_ratings('jester', '', least=7, **options)
  # Means before are 2 (of 1, 3, 2, 2), 12 / 5 and 13 / 6.
  assert [pair.label for pair in found.pairs[0]] == [1, 0, 0]
  assert [pair.first for pair in found.pairs[0]] == texts[4:]
  assert found.events[0][0].label == 1.0
  rated.rating = np.array([0, 1] * 7, np.float32)
  found = real_people.of_ratings('lewidi', '', least=7, **options)
  assert [pair.label for pair in found.pairs[0]] == [0, 1, 0, 1, 0, 1, 0]
  few = real_people.of_ratings('lewidi', '', least=8, **options)
  assert few.user_ids == []


# -------------------------------------------------------------------- recalled


def test_what_memories_say_by_hand():
  events = (
    event('red', 'grey', 1.0, 0.0, 'red'),
    event('blue', 'grey', 0.0, 1.0),
    *[event('blue', 'grey', 1.0, t) for t in (2.0, 3.0, 4.0)],
    event('green', 'grey grey', 0.0, 5.0),
  )
  pair = AskedPair('q', 'q', 9.0, 'ask', 'red', 'green green green', 1.0)
  part = real_people.Asked(
    np.zeros(1, int), np.array(['q']), [pair], [events], [events], [events[:1]]
  )
  texts = [t for each in real_recall.texts([*events, pair]) for t in each]
  vectors = embedded(None, texts)
  asked = real_recall.seen([pair], vectors)
  known = real_recall.bank([part], vectors)
  found = real_recall.told([events], asked, known, 8, seed=0, block=2)
  longer = np.log(2) - np.log(4)
  # Of all six two labels are 0. The first direction shares red with the
  # pair's, and the last green, in the other order and not chosen; the last
  # alone is of two lengths.
  whole = found['whole_history'][0]
  np.testing.assert_allclose(whole[0], (4 - 2) / 6, rtol=1e-5)
  np.testing.assert_allclose(whole[1], (1 + 1) / 6, rtol=1e-5)
  last = -(np.log(2) - np.log(3)) / 6
  np.testing.assert_allclose(whole[2], last * longer, rtol=1e-5)
  np.testing.assert_allclose(whole[3], 1 / 6, rtol=1e-5)
  # The four latest: three that were chosen and one that was not.
  np.testing.assert_allclose(found['recency'][0][:2], [2 / 4, 1 / 4], rtol=1e-5)
  # The two that share a word with what is asked, and the latest of the others.
  assert found['similarity'][0][1] == pytest.approx(2 / 4)
  np.testing.assert_array_equal(
    found['counts'], found['whole_history'][:, [0, 2]]
  )
  # With room for two, the latest two.
  few = real_recall.told([events], asked, known, 2, seed=0, block=2)
  np.testing.assert_allclose(few['whole_history'][0][0], 0, atol=1e-6)


@pytest.fixture
def config(monkeypatch):
  """People of whom each likes one word, asked about pairs of words."""
  found = memories.get_config('real')
  node = {'events': 8, 'people': (30, 12, 20), 'pairs': 6, 'source': {}}
  with found.unlocked():
    found.real.update(dim=4, ridges=(1e-2, 1e-1))
    found.real.choices = {'made': {**node, 'folds_used': 1}}
  rng, events, pairs = np.random.default_rng(0), [], []
  fold = {f'q{i}': i % 3 for i in range(12)}
  for user in range(90):
    liked = WORDS[user % 3]
    own, asked = [], []
    for i, name in enumerate(fold):
      sides = [*rng.permutation([liked, *rng.choice(WORDS, 1)])]
      while sides[0] == sides[1]:
        sides = [*rng.permutation([liked, *rng.choice(WORDS, 1)])]
      label = float(sides[0] == liked)
      sides = [str(side) for side in sides]
      own.append(TextEvent('choice', name, i, '', 'ask', tuple(sides), label))
      asked.append(AskedPair(name, name, i, 'ask', *sides, label))
    events.append(tuple(own))
    pairs.append(tuple(asked))
  known = user_histories.Histories(
    [f'u{i}' for i in range(90)],
    events,
    pairs,
    np.arange(90) // 3 % 3,
    fold,
    timed=False,
  )
  monkeypatch.setattr(real_people, 'histories', lambda config, name: known)
  monkeypatch.setattr(real, 'embedded', embedded)
  return found


@pytest.mark.slow
def test_memories_predict_new_people_and_those_of_others_do_not(config):
  unit = real.choices(config, 'made', 0)
  rows = {row['told']: row for row in real_tables.choices('made', [unit])}
  whole = rows['whole_history']
  assert whole['right'] > 0.9
  assert whole['over_swapped_low'] > 0
  assert whole['over_options_low'] > 0
  assert whole['people'] == 20
  assert rows['counts']['right'] < whole['right'] - 0.1
  assert set(rows) == {'options', 'counts', *real_recall.RECALLS}
  assert 'swapped' not in rows['options']
  assert set(unit.record['chosen']) == set(rows)


# ---------------------------------------------------------------- preferences


def test_a_stored_preference_is_recalled_and_follows_the_question(monkeypatch):
  """Four topics of words; who likes a word prefers the option that has it."""
  topics = [f't{i // 12}' for i in range(48)]
  names = [f'word{i}' for i in range(48)]
  source = types.SimpleNamespace(
    topics=topics,
    numbers=np.arange(48),
    preferences=[f'like {name} about{i}' for i, name in enumerate(names)],
    questions=[f'ask about{i}' for i in range(48)],
    options=[
      tuple(f'{names[(i + k) % 48]} yes' for k in range(4)) for i in range(48)
    ],
  )
  events = [
    tuple(
      TextEvent('statement', '', i, preference=f'{topics[i]}/{i}')
      for i in range(6 * user, 6 * user + 6)
    )
    for user in range(8)
  ]
  whole = types.SimpleNamespace(events=events, person_fold=np.arange(8) // 2)
  monkeypatch.setattr(real.load, 'stated_preferences', lambda folder: source)
  monkeypatch.setattr(real, '_stored', lambda config: whole)
  monkeypatch.setattr(
    real, 'embedded', lambda config, texts: _same(texts, names)
  )
  config = memories.get_config('real')
  with config.unlocked():
    config.real.preferences.stored = 5
    config.real.update(ridges=(1e-2,))
  unit = real.preferences(config)
  assert len(unit.arrays['rank']) == 40  # five of six are stored
  assert (unit.arrays['rank'] == 0).all()
  rows = {row['told']: row for row in real_tables.preferences(unit)}
  assert rows['similarity']['right'] == 1
  assert rows['right_preference']['right'] == 1
  # What others like, and the options alone, say nothing of the question.
  assert rows['right_preference']['swapped'] < 0.6
  assert rows['options']['right'] < 0.6
  ranks = {
    'first|own': np.array([0, 0, 2]),
    'first|swapped': np.array([0, 3, 9]),
  }
  persona = units.Unit({'stored': 30}, {'user': np.arange(3), **ranks})
  recalls = real_tables.recalls(unit, persona)
  assert [row['by'] for row in recalls] == [
    *('question', 'question_few_topics', 'first')
  ]
  assert recalls[0]['met']
  assert recalls[0]['n'] == 45  # nine people of five
  assert 'met' not in recalls[1]
  assert recalls[2]['at_1'] == pytest.approx(2 / 3)
  assert recalls[2]['at_3'] == 1
  assert recalls[2]['over_partners_at_1'] == pytest.approx(1 / 3)


def _same(texts, names):
  """One frame for all texts."""
  words = [*names, *(f'about{i}' for i in range(48)), 'like', 'ask', 'yes']
  known = sorted(set(texts))
  values = np.zeros((len(known), len(words)), np.float32)
  for row, text in enumerate(known):
    for word in text.split():
      values[row, words.index(word)] = 1
  values /= np.linalg.norm(values, axis=1, keepdims=True)
  row = {text: i for i, text in enumerate(known)}
  return real_recall.Vectors(row, values, 0 * values[0])


# ------------------------------------------------------------------- personas


def test_a_profile_is_recalled_by_its_own_speaker(monkeypatch):
  def said(person, word):
    return types.SimpleNamespace(person=person, text=f'say {word}')

  profiles = [((f'am a{i}',), (f'am b{i}',)) for i in range(6)]
  turns = [(said(0, f'a{i}'), said(1, f'b{i}')) for i in range(6)]
  found = types.SimpleNamespace(profiles=profiles, texts=['x'] * 6, turns=turns)
  monkeypatch.setattr(
    real.load, 'persona_conversations', lambda folder, split: found
  )
  monkeypatch.setattr(real, 'embedded', embedded)
  config = memories.get_config('real')
  with config.unlocked():
    config.real.personas.update(stored=5, conversations=4)
  unit = real.personas(config)
  assert len(unit.arrays['user']) == 2 * 2 * 4
  assert (unit.arrays['all_turns|own'] == 0).all()
  assert (unit.arrays['all_turns|swapped'] == 4).all()  # ties count against it


def test_nothing_of_the_study_is_read_without_data(monkeypatch):
  monkeypatch.delenv('PRM_DATA_DIR', raising=False)
  config = memories.get_config('real')
  names = list(real.work(config))
  assert names[:2] == ['prefeval', 'synthetic_persona_chat']
  assert len(names) == 14
  with pytest.raises(ValueError, match='PRM_DATA_DIR'):
    real.work(config)['prefeval']()
