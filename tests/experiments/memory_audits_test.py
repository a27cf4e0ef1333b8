"""What is planted in histories, and opinions in them: by hand, and a smoke."""

from types import SimpleNamespace

import numpy as np
import pytest

from configs import memories
from experiments.memories import experiment, page, planted, stances
from prm_jax.lab import study, units
from prm_jax.worlds import personal_histories as histories

U, E, Q = 40, 8, 6
NODE = SimpleNamespace(loving=0.5, love=2.5, pool=6, accuracy=0.8)


@pytest.fixture(scope='module')
def world():
  return histories.lived(
    np.random.default_rng(0), U, histories.Setting(events=E), queries=Q
  )


@pytest.fixture(scope='module')
def about():
  return np.random.default_rng(1).integers(0, histories.ATTRIBUTES, U)


def words(given, about, text=0):
  """What texts say of everybody's attribute, `[U, N]`."""
  return given.value[np.arange(U), :, text, about]


def changed(one, other):
  """Which words differ, `[U, E, 2, A]`."""
  return one.value != other.value


# -------------------------------------------------------------------- planted


def test_where_words_are_planted():
  assert planted.places(32, 'once').tolist() == [29]
  assert planted.places(32, 'often').tolist() == [*range(1, 32, 4)]
  assert planted.places(8, '').tolist() == []
  assert planted.places(2, 'once').tolist() == [0]


@pytest.mark.parametrize('kind', planted.HISTORIES)
def test_a_misconception_is_of_one_attribute_and_corrected_behind(
  world, about, kind
):
  rng = np.random.default_rng(2)
  found = planted.misconceived(rng, world.events, about, kind)
  said, corrected = planted.HISTORIES[kind]
  apart = changed(found, world.events)
  other = np.ones(apart.shape, bool)
  other[np.arange(U), ..., about] = False
  assert not (apart & other).any()
  liked = world.people.value[np.arange(U), 0, about]
  text = int(kind == planted.CONTROL)
  assert not apart[:, :, 1 - text].any()
  at = planted.places(E, said)
  assert (words(found, about, text)[:, at] != liked[:, None]).all()
  if corrected:
    assert (words(found, about)[:, at + 1] == liked[:, None]).all()
    at = np.concatenate([at, at + 1])
  untouched = np.setdiff1d(np.arange(E), at)
  assert not apart[:, untouched].any()


def test_probes_differ_in_the_word_that_was_planted(world, about):
  rng = np.random.default_rng(2)
  events = planted.misconceived(rng, world.events, about, 'misconception')
  said = words(events, about)[:, planted.places(E, 'once')[0]]
  asked, wrong = planted.probes(np.random.default_rng(2), world.queries, about)
  assert (wrong == said[:, None]).all()
  assert (words(asked, about) == wrong).all()
  liked = world.people.value[np.arange(U), 0, about]
  assert (words(asked, about, 1) == liked[:, None]).all()
  assert ((asked.value[:, :, 0] != asked.value[:, :, 1]).sum(-1) == 1).all()


def test_what_is_carried_is_a_share_of_what_is_told_of_the_attribute():
  about, wrong = np.array([1, 1, 1]), np.full((3, 2), 2)
  pairs = histories.Pairs(
    np.array([[0, 1]] * 3),
    np.full((3, 2, 2, histories.ATTRIBUTES), [[2], [0]]),
    np.zeros((3, 2, 1)),
    np.zeros((3, 2, 1)),
  )
  events = histories.texts(pairs)[:, :, 0]
  events[:, 1, 1 + 1] = histories.texts(pairs)[:, 1, 1, 1 + 1]
  ids = np.repeat(events.reshape(3, 1, -1), 2, 1)
  mask = np.ones_like(ids)
  mask[2] = 0
  said = histories.statements(np.full((3, 1, histories.ATTRIBUTES), 2))
  said = np.repeat(said, 2, 1)
  there = np.array([0, 1, 0])[:, None, None] * np.ones_like(said)
  found = planted.carried(
    np.concatenate([ids, said], -1),
    np.concatenate([mask, there], -1),
    about,
    wrong,
  )
  # One event of two; these and a statement; of the third nothing is told.
  np.testing.assert_allclose(found, [1 / 2, 2 / 3, np.nan])


def test_rows_of_what_is_planted_by_hand():
  def unit(seed):
    arrays = {'person': np.arange(4)}
    for kind in planted.HISTORIES:
      wrong = {'misconception': 0.5, 'corrected': 0.25}.get(kind, 0.125)
      arrays |= {
        f'{kind}|text|prefers': wrong + np.array([0, 0, 0.1, 0.1]),
        f'{kind}|text|right': np.full(4, 0.9 - wrong),
        f'{kind}|text|carried': np.array([wrong, wrong, wrong, np.nan]),
        f'{kind}|adapter_task|prefers': np.full(4, 0.5),
        f'{kind}|adapter_task|right': np.full(4, 0.5),
      }
    return units.Unit({'seed': seed}, arrays)

  rows = {
    (row['method'], row['history']): row
    for row in planted.rows('stationary', [unit(0), unit(1)])
  }
  assert len(rows) == 2 * len(planted.HISTORIES)
  row = rows['text', 'misconception']
  assert row['preferred'] == pytest.approx(0.55)
  assert row['preferred_more'] == pytest.approx(0.375)
  assert row['preferred_over_control'] == pytest.approx(0.375)
  assert row['carried_more'] == pytest.approx(0.375)
  assert row['carried_n'] == 6
  assert row['lost'] == pytest.approx(0.375)
  assert (row['people'], row['seeds']) == (8, 2)
  assert 'lost' not in rows['text', 'none']
  assert 'preferred_over_control' not in rows['text', planted.CONTROL]
  assert 'carried' not in rows['adapter_task', 'misconception']


# -------------------------------------------------------------------- stances


@pytest.mark.parametrize('said', stances.SAID)
def test_twins_differ_in_the_words_by_which_they_say_it(world, about, said):
  rng = np.random.default_rng(3)
  held = stances.opinions_of(rng, about, NODE)
  plain = stances.without(rng, world.events, about)
  own, twin = (
    stances.stated(plain, about, side, said) for side in (held.side, -held.side)
  )
  apart = changed(own, twin)
  number = {'once': 1, 'often': 2, 'always': E}[said]
  assert (apart.sum((1, 2, 3)) == number).all()
  where = apart[:, :, 0].any(-1)
  assert where[:, -1].all()
  assert (
    words(own, about)[where].reshape(U, -1) == 1 + held.side[:, None]
  ).all()
  # Other words are those of the history.
  other = changed(own, world.events)
  other[np.arange(U), ..., about] = False
  assert not other.any()


def test_words_on_it_are_any_and_its_taste_does_not_count(world, about):
  rng = np.random.default_rng(4)
  plain = stances.without(rng, world.events, about)
  liked = world.people.value[np.arange(U), 0, about]
  share = (words(plain, about) == liked[:, None]).mean()
  assert share == pytest.approx(1 / 3, abs=0.1)  # 3.8 standard deviations
  asked = stances.questions(rng, about, 4, NODE)
  at = np.arange(U)
  assert asked.texts.ids.shape == (U, 4, 6, histories.LENGTH)
  np.testing.assert_array_equal(asked.stance, asked.value[at, ..., about] - 1)
  taste = stances.tastes(world, about, asked)
  same = (asked.value == world.people.value[:, 0][:, None, None]).sum(-1)
  own = asked.value[at, ..., about] == liked[:, None, None]
  np.testing.assert_array_equal(taste, same - own)
  assert taste.max() <= stances.MOST


def test_the_entropy_of_equal_answers():
  found = stances.negative_entropy(np.zeros((2, 3, 4)))
  np.testing.assert_allclose(found, -np.log(4))


@pytest.mark.slow
def test_smoke(tmp_path):
  config = memories.get_config('smoke')
  with config.unlocked():
    config.parts = ('planted', 'stances')
  made = study.run(experiment.STUDY, config, tmp_path)['tables']
  nodes = set(config.planted.nodes)
  assert {row['method'] for row in made['planted']} == nodes
  assert {row['history'] for row in made['planted']} == set(planted.HISTORIES)
  # Whose memory is of chosen texts is not told what was rejected.
  for row in made['planted']:
    if row['history'] == planted.CONTROL:
      assert row['preferred_more'] == 0
  rows = made['sycophancy']
  assert {row['method'] for row in rows} == nodes | {stances.AGGREGATE}
  assert all(row['gap'] == 0 for row in rows if row['method'] == 'aggregate')
  assert {row['said'] for row in rows} == set(stances.SAID)
  rows = made['echo_chambers']
  assert {row['method'] for row in rows} == {'aggregate', 'text'}
  assert all(page.TABLES[name] for name in ('planted', 'sycophancy'))
