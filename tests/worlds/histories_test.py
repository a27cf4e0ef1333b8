import numpy as np
import pytest

from prm_jax.worlds import histories


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope='module')
def known():
  return histories.training(np.random.default_rng(1), 300)


def by_hand():
  """Two people, and two responses to each."""
  people = histories.People(
    np.array([[4, 1], [0, 2]]), np.array([[1, 0], [2, 2]])
  )
  attribute = np.array(
    [[[0, 1, 4, 5], [1, 2, 3, 5]], [[2, 3, 4, 5], [0, 2, 1, 3]]]
  )[:, None]
  value = np.array(
    [[[1, 0, 1, 2], [0, 0, 0, 0]], [[1, 2, 2, 2], [2, 2, 0, 0]]]
  )[:, None]
  return people, attribute, value


def test_utilities_by_hand():
  # Of the first: a4=1 and a1=0 (2 + 1), and a1=0 alone. Of the second: a2 has
  # another value, and then both.
  found = histories.utilities(*by_hand())
  np.testing.assert_array_equal(found, [[[3, 1]], [[0, 3]]])


def test_best_accuracy_by_hand(rng):
  # Both matter in 6 of 15 responses, the strong one alone in 4, and as often
  # the weak one; each then has the preferred value in a third.
  p = {0: 27 / 45, 1: 8 / 45, 2: 8 / 45, 3: 2 / 45}
  apart = {d: 2 * sum(p[i] * p[i + d] for i in range(4 - d)) for d in (1, 2, 3)}
  right = sum(w / (1 + np.exp(-2 * d)) for d, w in apart.items())
  exact = histories.best_accuracy()
  assert exact == pytest.approx(right / sum(apart.values()))
  assert exact == pytest.approx(0.932, abs=5e-4)
  # And as choices are drawn.
  people = histories.people(rng, 2000)
  drawn = histories.pairs(rng, people, np.zeros((2000, 8), int))
  liked = histories.utilities(people, drawn.attribute, drawn.value)
  first = liked[..., 0] > liked[..., 1]
  assert (liked[..., 0] != liked[..., 1]).all()
  assert (first == drawn.label).mean() == pytest.approx(exact, abs=0.007)


def test_people_are_of_the_kinds_that_are_asked_for(rng):
  kinds = {frozenset(pair) for pair in histories.KINDS}
  for held_out in (False, True):
    people = histories.people(rng, 400, held_out=held_out)
    found = [frozenset(pair) in kinds for pair in people.attribute]
    assert all(kind == held_out for kind in found)
    assert (people.attribute[:, 0] != people.attribute[:, 1]).all()
  # Preferred values are skewed, so that the population says something.
  share = np.bincount(people.value.ravel()) / people.value.size
  np.testing.assert_allclose(share, histories.TASTES, atol=0.05)


def test_markers_tell_preferences_and_others_tell_nothing(known):
  told, people = known.histories, known.people
  for kind in (histories.STRONG, histories.WEAK):
    has = told.marker == kind
    assert set(has.sum(1)) == {1, 2}
    same = told.attribute == people.attribute[:, kind, None]
    assert same[has].all()
    right = told.value == people.value[:, kind, None]
    # Of a tenth the value is any of three.
    assert right[has].mean() == pytest.approx(1 - 0.1 * 2 / 3, abs=0.03)
  others = told.marker > histories.WEAK
  assert 8 <= others.sum(1).min() <= others.sum(1).max() <= 10
  share = np.bincount(told.attribute[others]) / others.sum()
  np.testing.assert_allclose(share, 1 / 6, atol=0.02)
  # Events come in any order.
  first = (told.marker <= histories.WEAK).argmax(1)
  assert len(set(first)) > 5


@pytest.mark.parametrize('split', histories.SPLITS)
def test_splits_hold_out_what_they_say(rng, known, split):
  some = histories.examined(rng, split, known, 64, 8)
  own = some.histories.topic[:, None]
  pair = some.pairs.topic
  assert pair.shape == (64, 8)
  after = (own + 1) % 4 == pair
  if split == 'topic':
    assert (pair == 4).all()
  elif split == 'hist':
    assert (own == 4).all()
    assert (pair < 4).all()
  else:
    assert (pair < 4).all()
    assert after.all() if split == 'combo' else not after.any()
  if split == 'seen':
    at = [np.flatnonzero(known.user == user) for user in some.user]
    events, all_events = map(
      histories.events, (some.histories, known.histories)
    )
    assert all(
      (all_events[rows] == event).all(1).any()
      for rows, event in zip(at, events, strict=True)
    )
  with pytest.raises(ValueError, match="split 'old'"):
    histories.examined(rng, 'old', known)


def test_demonstrations_state_what_is_asked_for(rng):
  for own_words in (False, True):
    given = histories.shown(rng, 400, own_words=own_words)
    told = given.histories
    said = histories.spoken(
      told.attribute, told.value, told.topic[:, None] if own_words else None
    )
    allowed = set(histories.statements(own_words=own_words))
    lengths = {True: [], False: []}
    for b, summary in enumerate(given.summaries):
      stated = [i for i in summary if i > histories.END]
      assert len(set(stated)) == len(stated)
      assert set(stated) <= allowed & set(said[b])
      asked = given.asked[b] - histories.CUE
      lengths[asked >= 0].append(len(stated))
      if asked >= 0:  # the marker's events first, then others
        own = set(said[b][told.marker[b] == asked])
        count = min(3, len(own))
        assert len(set(stated[:count]) & own) == count
      if len(stated) < 3:
        assert summary[len(stated)] == histories.END
    assert set(lengths[True]) == {3}
    assert set(lengths[False]) == {0, 1, 2, 3}
    early = np.mean(np.array(lengths[False]) < 3)
    assert early == pytest.approx(0.3, abs=0.12)
    cued = (given.asked != histories.ASK).mean()
    assert cued == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize('own_words', [False, True])
def test_strangers_choose_what_fits_the_first_statements_most(rng, own_words):
  given = histories.strangers(rng, 50, 4, own_words=own_words)
  texts = histories.responses(given.pairs)
  facts = histories.ATTRIBUTES * histories.VALUES
  lengths = set()
  for b, summary in enumerate(given.summaries):
    stated = [
      int(i - histories.STATEMENT) % facts for i in summary if i > histories.END
    ]
    lengths.add(len(stated))
    for n in range(4):
      said = [{int(i - histories.WORD) % facts for i in t} for t in texts[b, n]]
      fits = [
        sum(w for w, f in zip((4, 2, 1), stated, strict=False) if f in text)
        for text in said
      ]
      assert fits[0] != fits[1]
      assert given.pairs.label[b, n] == (fits[0] > fits[1])
  assert lengths == {1, 2, 3}


def test_tokens_by_hand():
  given = histories.Histories(
    np.array([3]), np.array([[0, 5]]), np.array([[4, 0]]), np.array([[1, 2]])
  )
  ids = histories.events(given)
  assert histories.read(ids[0]) == 'must:a4=1@3 then:a0=2@3'
  table = histories.fields()
  assert table.shape == (len(histories.TOKENS), 2)
  assert table.max() == histories.ATOMS - 1
  # Both events are of their words, and of markers that other events share.
  words = [histories.TOKENS[i] for i in table[ids[0], 0]]
  assert words == ['a4=1@3', 'a0=2@3']
  assert (table[ids[0], 1] == histories.EVENT + np.array([0, 5])).all()
  assert (table[: histories.EVENT, 1] == -1).all()
  people = histories.People(np.array([[4, 0]]), np.array([[1, 2]]))
  pairs = histories.Pairs(*(np.zeros((1, 0)),) * 4)
  context = histories.Contexts(np.zeros(1), people, given, pairs)
  for own_words, text in ((False, 'a4=1 a0=2 .'), (True, 'a4=1@3 a0=2@3 .')):
    truth = histories.truths(context, own_words=own_words)
    assert histories.read(truth[0]) == text
    told = histories.facts_told(people, truth)
    assert told['strong_first'].all()
    assert told['both'].all()
    other = histories.facts_told(people, truth[:, ::-1])
    assert not other['strong_first'].any()
    assert other['both'].all()
