import itertools
import math

import numpy as np
import pytest

from prm_jax.worlds import personal_histories as world

A = world.ATTRIBUTES
RIGHT, WRONG = 11 / 15, 2 / 15  # of an author's word: .6 + .4 / 3, and .4 / 3


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def written(topic, words, queries, topics=None):
  """A history of one person: chosen words are the same for all attributes."""

  def pairs(topic, value):
    value = np.asarray(value).reshape(1, -1, 2, 1) + np.zeros(A, int)
    N = value.shape[1]
    return world.Pairs(
      np.reshape(topic, (1, N)), value, np.zeros((1, N, 8)), value[:, :, 0]
    )

  people = world.People(*np.zeros((2, 1, world.TOPICS, A), int))
  events = pairs(topic, [(word, 0) for word in words])
  return world.World(people, events, pairs(topics or [0], [queries]))


def logit(p):
  return np.log(p / (1 - p))


def test_people_differ_between_topics_as_often_as_is_asked(rng):
  given = world.people(rng, 4000, 0.6)
  assert given.own.mean() == pytest.approx(0.6, abs=0.01)
  same = given.value[:, 0] == given.value[:, 1]
  # Both are shared in .16, else as often equal as any two values.
  assert same.mean() == pytest.approx(0.16 + 0.84 / 3, abs=0.01)
  shared = ~given.own[:, :2].any(1)
  assert same[shared].all()
  plain = world.people(rng, 100, 0.0).value
  assert (plain == plain[:, :1]).all()
  share = np.bincount(given.value.ravel()) / given.value.size
  np.testing.assert_allclose(share, 1 / 3, atol=0.01)


def test_people_change_as_often_as_is_asked(rng):
  given = world.people(rng, 4000, 0.5)
  after = world.later(rng, given, 0.3)
  changed = after.value != given.value
  assert changed.mean() == pytest.approx(0.3 * 2 / 3, abs=0.01)
  np.testing.assert_array_equal(after.own, given.own)
  shared = np.where(after.own, -1, after.value)
  assert (shared.max(1, keepdims=True) == shared)[~after.own].all()
  assert not (world.later(rng, given, 0.0).value != given.value).any()
  moved = world.lived(rng, 300, world.Setting(drift=0.1, events=20)).events
  kept = (moved.liked[:, 0] == moved.liked[:, 19]).mean()
  # 19 steps: unchanged in .9^19, and else equal by chance.
  assert kept == pytest.approx(1 / 3 + 2 / 3 * 0.9**19, abs=0.03)


def test_texts_are_written_or_chosen(rng):
  for events, authored in itertools.product((0, 8), (True, False)):
    setting = world.Setting(authored=authored, events=events)
    made = world.lived(rng, 500, setting, queries=6)
    assert made.events.topic.shape == (500, events)
    for pairs in (made.events, made.queries)[events == 0 :]:
      match = (pairs.value == pairs.liked[:, :, None]).mean((0, 1, 3))
      if authored:
        np.testing.assert_allclose(match, [RIGHT, 1 / 3], atol=0.02)
      else:
        # What is not chosen is rejected: together they are any.
        assert match.mean() == pytest.approx(1 / 3, abs=0.01)
        assert match[0] - match[1] > 0.15
  # Rejected texts are somebody else's, who wrote in that topic.
  with pytest.raises(ValueError, match='two people'):
    world.lived(rng, 1, world.Setting())


def test_best_accuracy_by_hand_and_as_drawn(rng):
  def p(k, chance):
    return math.comb(A, k) * chance**k * (1 - chance) ** (A - k)

  written_right = sum(
    p(i, RIGHT) * p(j, 1 / 3) * (1 if i > j else 0.5)
    for i in range(7)
    for j in range(i + 1)
  )
  chosen_right = sum(
    p(i, 1 / 3) * p(j, 1 / 3) / (1 + math.exp(-1.5 * abs(i - j)))
    for i in range(7)
    for j in range(7)
  )
  for authored, expected in ((True, written_right), (False, chosen_right)):
    setting = world.Setting(0.06, 0.6, authored, 2)
    assert world.best_accuracy(setting) == pytest.approx(expected)
    pairs = world.lived(rng, 1000, setting).queries
    match = (pairs.value == pairs.liked[:, :, None]).sum(-1)
    right = np.sign(match[..., 0] - match[..., 1]) / 2 + 0.5
    assert right.mean() == pytest.approx(expected, abs=0.01)


def test_the_filter_by_hand():
  # Twice 1 and once 2, in one topic or in all: tastes are of no topic.
  history = written([0, 1, 2], [1, 1, 2], (1, 2))
  weight = np.array([WRONG**3, RIGHT**2 * WRONG, WRONG**2 * RIGHT])
  chance = weight @ (np.eye(3) * 0.6 + 0.4 / 3) / weight.sum()
  found = world.predicted(history, world.Setting())
  expected = A * np.log(chance[1] / chance[2])
  np.testing.assert_allclose(logit(found), [[expected]])
  # After one event that says 1, tastes are drawn anew in a quarter.
  found = world.predicted(written([0], [1], (1, 2)), world.Setting(drift=0.25))
  liked = 0.75 * np.array([WRONG, RIGHT]) + 0.25 / 3
  chance = 0.6 * liked + 0.4 / 3
  np.testing.assert_allclose(logit(found), A * np.log(chance[1] / chance[0]))
  # Of another topic it says as much as neither has a taste of its own.
  topical = world.Setting(topical=0.6)
  found = world.predicted(written([0], [1], (1, 2), [2]), topical)
  liked = 0.16 * np.array([WRONG, RIGHT]) + 0.84 / 3
  chance = 0.6 * liked + 0.4 / 3
  np.testing.assert_allclose(logit(found), A * np.log(chance[1] / chance[0]))
  # Nobody is known.
  nothing = written([], [], (1, 2))
  np.testing.assert_allclose(world.predicted(nothing, topical), 0.5)


def test_the_filter_of_choices_sums_over_all_tastes(rng):
  setting = world.Setting(drift=0.2, authored=False, events=2)
  made = world.lived(rng, 2, setting, queries=2)

  def chance(pair, taste):
    gap = (pair[0] == taste).sum() - (pair[1] == taste).sum()
    return 1 / (1 + math.exp(-1.5 * gap))

  # Every way to have changed: of two attributes, the others do not matter.
  made.events.value[..., 2:] = made.queries.value[..., 2:] = 0
  found = world.predicted(made, setting)
  values = list(itertools.product(range(3), repeat=2))

  def step(old, new):
    return math.prod(
      0.8 * (a == b) + 0.2 / 3 for a, b in zip(old, new, strict=True)
    )

  for u, q in itertools.product(range(2), range(2)):
    events, query = made.events.value[u, ..., :2], made.queries.value[u, q]
    total = right = 0.0
    for first, second, last in itertools.product(values, repeat=3):
      weight = chance(events[0], first) * step(first, second)
      weight *= chance(events[1], second) * step(second, last)
      total += weight
      right += weight * chance(query[:, :2], last)
    assert found[u, q] == pytest.approx(right / total)
  with pytest.raises(ValueError, match='not summed'):
    world.predicted(made, setting._replace(topical=0.1))


def test_who_reads_everything_is_right_as_often_as_they_say(rng):
  for setting in (
    world.Setting(0.06, 0.3),
    world.Setting(authored=False, events=8),
  ):
    made = world.lived(rng, 80, setting)
    chance = world.predicted(made, setting)
    right = (chance > 0.5).mean()
    said = np.maximum(chance, 1 - chance).mean()
    assert right == pytest.approx(said, abs=0.04)
    assert 0.6 < right < world.best_accuracy(setting)


def test_prompts_of_one_topic_are_the_nearest_at_any_age(rng):
  made = world.lived(rng, 50, world.Setting())
  kept, asked = map(world.embeddings, (made.events, made.queries))
  score = np.einsum('uqd,ued->uqe', asked, kept)
  same = made.queries.topic[:, :, None] == made.events.topic[:, None]
  nearest = score.argmax(-1)
  enough = same.any(-1)
  assert np.take_along_axis(same, nearest[..., None], -1)[enough].all()
  assert abs(nearest.mean() - 15.5) < 1


def test_demonstrations_tell_the_latest_and_mostly_what_is_right(rng):
  given = world.shown(rng, 3000)
  number = given.given.sum(1)
  assert set(number) == {0, 1, 2, 3, 4}
  assert (np.diff(given.given.astype(int), axis=1) >= 0).all()
  assert given.told.mean() == pytest.approx(0.54, abs=0.02)
  right = given.stated == given.text.liked[:, 0]
  assert right.mean() == pytest.approx(0.8 + 0.2 / 3, abs=0.01)


def test_tokens_by_hand():
  value = np.array([[[[2, 0, 1, 0, 0, 0]] * 2]])
  pairs = world.Pairs(np.array([[1]]), value, np.zeros(0), value[:, :, 0])
  words = world.WORD + 18 + np.array([2, 3, 7, 9, 12, 15])
  np.testing.assert_array_equal(
    world.texts(pairs)[0, 0, 0], [world.TOPIC + 1, *words]
  )
  ids = world.statements(value[0, 0, 0])
  np.testing.assert_array_equal(ids - world.STATEMENT, words - world.WORD - 18)
  np.testing.assert_array_equal(world.stated(ids), value[0, 0, 0])
  assert (world.stated(ids[::-1]) == -1).any()
  allowed = world.choices()
  assert allowed.sum() == 18
  assert allowed[np.arange(A), ids].all()
  assert world.texts(pairs).max() < world.VOCABULARY
  np.testing.assert_array_equal(world.parts(3), [0, 0, 0, 0, 1, 1, 1])
