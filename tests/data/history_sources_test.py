"""Histories of the three sources, in small."""

import datetime

import numpy as np
import pytest

from prm_jax.data import history_sources, load, schema, user_histories
from prm_jax.data.builders.ukp_convarg import written_reasons
from tests.data import prefeval_rows, ukp_convarg_rows


def preferences(tmp_path, **changed):
  rows = prefeval_rows.files()
  for name, (row, fields) in changed.items():
    rows[name][row] |= fields
  prefeval_rows.write(tmp_path, rows)
  return load.stated_preferences(tmp_path)


def test_a_preference_is_told_and_then_tested(tmp_path, private_cache):
  source = preferences(tmp_path)
  found = history_sources.of_preferences(source, folds=3)
  assert sorted(found.user_ids) == ['drinks/0', 'drinks/1', 'home/0']
  person = found.user_ids.index('drinks/1')
  said, choice, *turns = found.events[person]
  assert (said.kind, said.said) == ('statement', 'I like tram.')
  assert user_histories.written(choice, replies=True) == (
    'And now, tram?\n1. now tram left\n2. now tram kept\nThe second tram.\n'
    'Assistant: Well.'
  )
  assert [(turn.said, turn.reply) for turn in turns] == list(source.turns[1])
  times = [event.time for event in found.events[person]]
  assert times == list(range(len(times)))
  # Which one follows the preference is the first in the source alone.
  names = {'drinks/0': 'tea', 'drinks/1': 'tram', 'home/0': 'attic'}
  for user, pairs in zip(found.user_ids, found.pairs, strict=True):
    better = [(p.first, p.second)[:: 1 if p.label else -1] for p in pairs]
    assert better == [
      (f'{names[user]} kept', f'{names[user]} {way}')
      for way in ('left', 'sold', 'cut')
    ]
  labels = [pair.label for own in found.pairs for pair in own]
  assert 0 < sum(labels) < len(labels)
  pairs = found.pairs[person]
  assert {pair.prompt for pair in pairs} == {'Which tram?'}
  told = {event.preference for event in found.events[person]}
  assert told == {pair.preference for pair in pairs} == {'drinks/1'}


def test_people_are_made_of_rows_that_share_no_text_with_others(
  tmp_path, private_cache
):
  # The first two have one option in common, written otherwise.
  four = ['TEA  kept', 'b', 'c', 'd']
  changed = {'mcq': (1, {'classification_task_options': four})}
  source = preferences(tmp_path, **changed)
  with pytest.raises(ValueError, match='2 topics do not make 3 folds'):
    history_sources.of_preferences(source, folds=3)
  source = preferences(tmp_path)
  with pytest.raises(ValueError, match='2 topics do not make 3 folds'):
    history_sources.of_preferences(source, folds=3, by_topic=True)
  # Turns may link what statements do not.
  source.turns[0] = source.turns[2]
  only = {'folds': 3, 'kinds': ('statement',)}
  found = history_sources.of_preferences(source, **only)
  assert [len(events) for events in found.events] == [1, 1, 1]
  with pytest.raises(ValueError, match='2 topics do not make 3 folds'):
    history_sources.of_preferences(source, folds=3)


def test_a_choice_that_shows_an_answer_is_left_out(tmp_path, private_cache):
  four = ['TEA  kept.', 'b', 'c', 'd']
  changed = {
    'implicit_choice': (0, {'options': four, 'aligned_op': four[0]}),
    'mcq': (0, {'classification_task_options': ['tea kept.', 'x', 'y', 'z']}),
  }
  source = preferences(tmp_path, **changed)
  found = history_sources.of_preferences(source, folds=3)
  kinds = [[event.kind for event in events] for events in found.events]
  assert sum('choice' in own for own in kinds) == 2
  assert found.notes == (
    '1 choices show an answer that is asked about and are left out',
  )


def test_several_preferences_a_person():
  """Everybody has at least as many as are asked for, of one fold."""
  rows = 20
  none, four = [''] * rows, [('', '', '', '')] * rows
  source = history_sources.prefeval_dataset_builder.StatedPreferences(
    topics=['t'] * rows,
    numbers=np.arange(rows),
    preferences=[f'I like {n}.' for n in range(rows)],
    questions=[f'{n}?' for n in range(rows)],
    explanations=none,
    options=[tuple(f'{n} {i}' for i in range(4)) for n in range(rows)],
    violation=np.zeros(rows, np.float32),
    personas=none,
    turns=[()] * rows,
    choice_queries=none,
    choice_options=four,
    choice_offers=none,
    choice_said=none,
    choice_replies=none,
  )
  make = history_sources.of_preferences
  options = {'preferences': 3, 'folds': 3, 'kinds': ('statement',)}
  found = make(source, **options)
  assert [len(events) for events in found.events] == [4, 3, 4, 3, 3, 3]
  names = [name for user in found.user_ids for name in user.split('+')]
  assert sorted(names) == sorted(f't/{n}' for n in range(rows))
  for own, fold in zip(found.pairs, found.person_fold, strict=True):
    assert {found.question_fold[pair.about] for pair in own} == {fold}
  for part in range(3):
    parts = user_histories.split(found, part)
    assert not parts[user_histories.SEEN]
    known = user_histories.shared_texts(parts)
    assert known[user_histories.NEW] == (0, 0, 0)
  assert make(source, **options, salt='b').user_ids != found.user_ids
  assert make(source, **options | {'preferences': 99}).user_ids
  for wrong in ({'kinds': ()}, {'kinds': ('mood',)}, {'preferences': 0}):
    with pytest.raises(ValueError, match=next(iter(wrong))):
      make(source, **options | wrong)
  with pytest.raises(ValueError, match='folds: 2, fewer than 3'):
    make(source, folds=2)


def test_reasons_go_by_time_and_debates_are_whole(tmp_path):
  same = {'a2': 'yes1'}
  ukp_convarg_rows.write(tmp_path, {0: same, 7: {'choice': 'equal'}})
  found = history_sources.read('ukp_convarg', tmp_path, folds=3, people_folds=3)
  assert found.timed
  assert sorted(found.user_ids) == [f'u{n}' for n in range(5)]
  assert set(found.question_fold) == set(ukp_convarg_rows.DEBATES)
  assert sorted(found.question_fold.values()) == [0, 1, 2]
  assert found.notes == (
    '1 rows compare a response with itself and are left out',
  )
  person = found.user_ids.index('u1')
  days = [(event.about, event.time) for event in found.events[person]]
  assert days == [  # begins with the second debate, two sides twice a day
    (about, float(day))
    for day, about in enumerate(('tram', 'attic', 'tea'))
    for _ in range(4)
  ]
  event = found.events[person][0]
  source = [
    row
    for row in ukp_convarg_rows.JUDGEMENTS
    if row['user'] == 'u1' and row['topic'].startswith('tram')
  ]
  first = source[0]
  assert event.said == first['reason'] == 'because u1 tram yes 1'
  assert event.prompt == 'tram? yes'
  assert event.shown[0] == 'tram yes since 1'
  assert event.label == {'a1': 1, 'a2': 0, 'equal': 0.5}[first['choice']]
  pair = found.pairs[person][0]
  assert (pair.first, pair.second) == event.shown
  assert (pair.label, pair.about) == (event.label, event.about)


def test_reasons_of_any_order_give_the_same_times(tmp_path):
  ukp_convarg_rows.write(tmp_path)
  rows = written_reasons.read(tmp_path)
  rows.append(rows[0]._replace(time=datetime.datetime(2015, 12, 31, 0)))
  found = history_sources.of_reasons(rows[::-1], folds=3, people_folds=3)
  events = found.events[found.user_ids.index(rows[0].judgement.user_id)]
  assert [event.time for event in events[:2]] == [0, 2.5]


def judged(*rows):
  return schema.code_judgements(
    schema.Judgement(user, topic, f'{topic}?', a, b, label, topic)
    for user, topic, a, b, label in rows
  )


def test_choices_without_time_and_topics_that_share_words():
  rows = [
    ('ann', 'x', 'x1', 'same words', 1.0),
    ('bob', 'y', 'y1', 'Same  words', 0.0),
    ('ann', 'z', 'z1', '\u200b', 0.5),
    ('ann', 'w', 'w1', ' ', 0.0),  # blank texts link nothing
    ('ann', 'y', 'y1', 'y2', 1.0),
  ]
  make = history_sources.of_judgements
  found = make(judged(*rows), folds=3, people_folds=3)
  assert not found.timed
  assert set(found.question_fold) == {'x', 'z', 'w'}  # y is under x
  ann = found.user_ids.index('ann')
  assert [event.about for event in found.events[ann]] == ['x', 'z', 'w', 'x']
  assert [event.time for event in found.events[ann]] == [0, 1, 2, 3]
  assert [pair.label for pair in found.pairs[ann]] == [1, 0.5, 0, 1]
  assert user_histories.written(found.events[ann][0]) == (
    'x?\nA1: x1\nA2: same words\nChose A1.'
  )
  with pytest.raises(ValueError, match='people_folds: 2, fewer than 3'):
    make(judged(*rows), folds=3, people_folds=2)
  with pytest.raises(ValueError, match='3 topics do not make 4 folds'):
    make(judged(*rows))


def test_unknown_sets_are_named(tmp_path):
  with pytest.raises(ValueError, match=r"'jester': one of .'llmfao', 'pref"):
    history_sources.read('jester', tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'people', 'events', 'pairs', 'told'),
  [
    ('prefeval', 1000, 7299, 3000, False),
    ('ukp_convarg', 3425, 62822, 62822, True),
    ('llmfao', 108, 7475, 7475, True),
  ],
)
def test_real_histories(
  real_data, private_cache, name, people, events, pairs, told
):
  found = history_sources.read(name, real_data)
  assert len(found.user_ids) == people
  assert sum(map(len, found.events)) == events
  assert sum(map(len, found.pairs)) == pairs
  for fold in range(2):
    parts = user_histories.split(found, fold, least=3)
    for known in user_histories.shared_texts(parts).values():
      assert (known.training, known.history) == (0, 0)
    new = user_histories.shared_texts(parts)[user_histories.NEW]
    assert bool(new.told) == told
