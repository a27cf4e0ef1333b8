"""Episodes share nothing that is asked; controls take the person away."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from prm_jax.data import history_sources, splits, user_histories
from prm_jax.data.user_histories import NEW, SEEN, TRAIN, VALIDATION
from tests.data import ukp_convarg_rows


@pytest.fixture(scope='module')
def histories(tmp_path_factory):
  """UKPConvArg1 in small: 5 workers, a day at each of 3 debates."""
  folder = tmp_path_factory.mktemp('ukp')
  ukp_convarg_rows.write(folder)
  # Two workers, two and one are in the three folds.
  found = history_sources.read('ukp_convarg', folder, folds=3, people_folds=3)
  folds = np.array([0, 1, 2, 0, 1])
  return dataclasses.replace(found, person_fold=folds)


def test_parts_by_hand(histories):
  debate = {fold: name for name, fold in histories.question_fold.items()}
  parts = user_histories.split(histories, 0, part=1, least=0)

  def who(part):
    return {
      (histories.user_ids[e.user], pair.about)
      for e in parts[part]
      for pair in e.pairs
    }

  ids = histories.user_ids  # folds 0, 1, 2, 0, 1: 1 is new, 2 validates
  assert who(TRAIN) == {(ids[i], debate[2]) for i in (0, 3)}
  assert who(VALIDATION) == {(ids[2], debate[1])}
  assert who(SEEN) == {(ids[i], debate[0]) for i in (0, 3)}
  assert who(NEW) == {(ids[i], debate[0]) for i in (1, 4)}
  # Nothing else is trained on: not about what is held out, nor the pair.
  assert all(not episode.events for episode in parts[TRAIN])
  with pytest.raises(ValueError, match='train is empty: fold 0, part 1 and'):
    user_histories.split(histories, 0, part=1)


def test_nothing_asked_is_known_by_hand(histories):
  for fold, part in itertools.product(range(3), range(3)):
    parts = user_histories.split(histories, fold, part=part, least=0)
    trained = set()
    for episode in parts[TRAIN]:
      for event in episode.events:
        trained |= {event.said, event.prompt, *event.shown}
      for pair in episode.pairs:
        trained |= {pair.prompt, pair.first, pair.second}
    lengths = []
    for name, episodes in parts.items():
      for episode in episodes:
        user = histories.user_ids[episode.user]
        start = min(pair.time for pair in episode.pairs)
        for event in episode.events:
          assert event in histories.events[episode.user]
          assert f'because {user} ' in event.said
          assert event.time < start
        asked = {
          text
          for pair in episode.pairs
          for text in (pair.prompt, pair.first, pair.second)
        }
        told = {text for e in episode.events for text in e.shown}
        assert not asked & told
        times = [event.time for event in episode.events]
        assert times == sorted(times)
        if name != TRAIN:
          assert not asked & trained
          lengths.append(len(episode.events))
    assert len(lengths) > 2
    shared = user_histories.shared_texts(parts)
    assert all(known[:2] == (0, 0) for known in shared.values())


def test_history_is_all_that_is_past_and_the_latest_of_it(histories):
  parts = user_histories.split(histories, 0, part=0, least=0)
  lengths = {}
  for episode in parts[NEW]:
    place = episode.pairs[0].time  # a day, and four judgements, at each
    lengths[episode.user] = len(episode.events)
    assert len(episode.events) == 4 * place
  assert len(set(lengths.values())) > 1
  short = user_histories.split(histories, 0, part=0, least=0, most=3)
  for full, cut in zip(parts[NEW], short[NEW], strict=True):
    assert cut.events == full.events[-3:]
  # Without times, what is said later counts as well.
  untimed = dataclasses.replace(histories, timed=False)
  for episode in user_histories.split(untimed, 0, part=0, least=0)[NEW]:
    assert len(episode.events) == 8


@pytest.mark.parametrize(
  ('fold', 'options', 'message'),
  [
    (3, {}, 'fold 3 of 3, part 0 of 3: out of range'),
    (0, {'part': -1}, 'part -1 of 3'),
    (0, {'least': -1}, 'least -1'),
    (0, {'least': 3, 'most': 2}, 'least 3, most 2: no history has such'),
    (0, {'least': 0, 'most': 0}, 'most 0'),
    (0, {'least': 9}, 'train is empty'),
  ],
)
def test_what_cannot_be_split_is_refused(histories, fold, options, message):
  with pytest.raises(ValueError, match=message):
    user_histories.split(histories, fold, **options)


def test_planted_leaks_are_counted(histories):
  parts = user_histories.split(histories, 0, part=0, least=0)
  new = parts[NEW]
  asked = new[0].pairs[0]
  event = parts[NEW][-1].events or histories.events[0]
  event = event[0]._replace(said=asked.first.upper(), prompt='\u200b', shown=())
  training = parts[TRAIN][0]._replace(events=(event,))
  leaking = {**parts, TRAIN: [training, *parts[TRAIN][1:]]}
  shared = user_histories.shared_texts(leaking)
  assert (shared[NEW].training, shared[VALIDATION].training) == (1, 0)
  own = new[0]._replace(events=(event,))
  shared = user_histories.shared_texts({**parts, NEW: [own, *new[1:]]})
  assert (shared[NEW].training, shared[NEW].history) == (0, 1)
  told = event._replace(said=parts[TRAIN][0].pairs[0].first)
  own = new[0]._replace(events=(told,))
  assert user_histories.shared_texts({**parts, NEW: [own]})[NEW] == (0, 0, 1)


def test_swapped_people_have_another_history_before_the_same_questions(
  histories,
):
  untimed = dataclasses.replace(histories, timed=False)
  episodes = user_histories.split(untimed, 0, part=1, least=0)[SEEN]
  episodes += user_histories.split(untimed, 1, part=1, least=0)[SEEN]
  found = user_histories.swapped(episodes, seed=0)
  donors = collections.Counter()
  for one, own in zip(found, episodes, strict=True):
    assert (one.user, one.pairs) == (own.user, own.pairs)
    (donor,) = {event.said.split()[1] for event in one.events}
    assert donor != histories.user_ids[one.user]
    assert {event.about for event in one.events}.isdisjoint(
      pair.about for pair in one.pairs
    )
    assert len(one.events) == 8  # before the same questions
    donors[donor, one.pairs[0].about] += 1
  assert set(donors.values()) == {1}  # everybody's is given once
  with pytest.raises(ValueError, match='among two people or more'):
    user_histories.swapped(episodes[:1], seed=0)


def test_swapped_people_alone_with_their_questions(histories):
  parts = user_histories.split(histories, 0, part=1, least=0)
  alone = [parts[NEW][0], parts[VALIDATION][0]]
  found = user_histories.swapped(alone, seed=0)
  for one, other in zip(found, alone[::-1], strict=True):
    asked = {pair.about for pair in one.pairs}
    kept = [event for event in other.events if event.about not in asked]
    assert list(one.events) == kept
  # Whoever comes next may be the same person.
  asks = [
    alone[0]._replace(
      user=user, pairs=(alone[0].pairs[0]._replace(about=f'{user} {n}'),)
    )
    for user, times in ((0, 6), (1, 1))
    for n in range(times)
  ]
  said = [user_histories.TextEvent('turn', '', 0.0, said) for said in 'ab']
  asks = [ask._replace(events=(said[ask.user],)) for ask in asks]
  found = user_histories.swapped(asks, seed=0)
  assert [one.events[0].said for one in found] == [*'bbbbbba']


def test_a_population_has_as_many_events_and_none_of_its_own(histories):
  untimed = dataclasses.replace(histories, timed=False)
  parts = user_histories.split(untimed, 0, part=1, least=0)
  pool = [  # what those of training did in all three debates
    episode._replace(events=untimed.events[episode.user])
    for episode in parts[TRAIN]
  ]
  assert len(pool) == 2
  for part, givers in ((NEW, 2), (SEEN, 1)):  # the latter are of the two
    found = user_histories.population(parts[part], pool, seed=0)
    for one, own in zip(found, parts[part], strict=True):
      assert len(one.events) == len(own.events) == 8
      who = collections.Counter(event.said.split()[1] for event in one.events)
      assert list(who.values()) == [8 // givers] * givers
      assert histories.user_ids[one.user] not in who
      asked = {pair.about for pair in one.pairs}
      assert {event.about for event in one.events}.isdisjoint(asked)
  only = pool[0]._replace(events=pool[0].events[:1])
  episode = parts[NEW][0]
  (again,) = user_histories.population([episode], [only], seed=0)
  shown = only.events[0].about == episode.pairs[0].about
  assert not shown
  assert again.events == only.events * 8
  pair = episode.pairs[0]._replace(about=only.events[0].about)
  for known in ([], [only]):  # nobody, and nobody but of the same debate
    with pytest.raises(ValueError, match='no event of training can be given'):
      user_histories.population(
        [episode._replace(pairs=(pair,))], known, seed=0
      )


def test_options_alone_tell_neither_person_nor_question(histories):
  parts = user_histories.split(histories, 0, part=0, least=0)
  for one, own in zip(
    user_histories.option_only(parts[NEW]), parts[NEW], strict=True
  ):
    assert one.events == ()
    assert [pair._replace(prompt='') for pair in own.pairs] == list(one.pairs)
    assert all(pair.prompt for pair in own.pairs)


@pytest.mark.parametrize(
  ('event', 'text'),
  [
    (('statement', '', 0.0, 'I like tea.'), 'I like tea.'),
    (('judgement', 'a', 0.0, '', 'Q?', ('x', 'y'), 0.5), None),
    (('judgement', 'a', 0.0, 'Eh.', 'Q?', ('x', 'y'), 0.25), None),
    (('turn', '', 0.0, 'Hi.', '', (), None, 'Hello.'), 'Hi.'),
    (('choice', '', 0.0, 'It.', 'Q?', ('1. x',)), 'Q?\n1. x\nIt.'),
  ],
)
def test_events_in_words(event, text):
  chose = {'': 'Chose neither.', 'Eh.': 'Chose A1 with probability 0.25: Eh.'}
  if text is None:
    text = f'Q?\nA1: x\nA2: y\n{chose[event[3]]}'
  assert user_histories.written(user_histories.TextEvent(*event)) == text


def test_rows_are_linked_through_others():
  rows = [['a'], ['b'], [' A', 'c'], ['d', 'B'], ['C', 'e'], [], ['', '\u200b']]
  assert splits.linked(rows).tolist() == [0, 1, 0, 1, 0, 5, 6]
  assert splits.linked([['x'], ['y'], ['y', 'x']]).tolist() == [0, 0, 0]
  assert splits.linked([]).tolist() == []
