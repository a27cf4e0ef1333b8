"""What readers of statements tell: of other conversations, and of a person."""

import types as python

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.real_opinions import bases, others, recalled
from prm_jax.ops import collaborative, recall


def conversations_of(rng, direction, sizes=(60, 40, 50)):
  """Returns texts and loadings that one direction tells, signs at random."""
  known = []
  for number, size in enumerate(sizes):
    x = rng.normal(size=(size, len(direction)))
    sign = 1 if number % 2 else -1
    loading = sign * (x @ direction) + rng.normal(size=size)
    known.append((x - x.mean(0), others.standard(loading)))
  return known


def test_signs_are_aligned_and_a_direction_is_read_into_new_texts():
  rng = np.random.default_rng(0)
  direction = rng.normal(size=6)
  known = conversations_of(rng, direction)
  x = rng.normal(size=(80, 6))
  told = others.told(x, known)
  assert abs(others.correlated(told, x @ direction)) > 0.95
  # Without turning, two of one sign and one of the other would cancel.
  plain = sum(part.T @ loading for part, loading in known)
  turned = others.turned(known, 1.0)
  assert abs(others.correlated(x @ turned, x @ direction)) > abs(
    others.correlated(x @ plain, x @ direction)
  )


def test_a_detector_of_nothing_is_at_chance():
  rng = np.random.default_rng(1)
  loading, weights = rng.normal(size=50), np.ones((3, 50))
  noise, chance = others.seen(rng.normal(size=50), loading, weights, seed=0)
  assert 0 <= noise[0] < 2 * chance
  assert 0.2 < chance < 0.4
  found, _ = others.seen(-loading, loading, weights, seed=0)
  np.testing.assert_allclose(found, 1)  # an axis has no sign
  assert others.correlated(np.zeros(50), loading) == 0
  drawn = np.array([[1.0, 1, 0, 1], [0, 2, 1, 1]])
  a, b = np.array([1.0, 2, 4, 3]), np.array([0.0, 1, 5, 5])
  wanted = [
    np.corrcoef(np.repeat(a, w.astype(int)), np.repeat(b, w.astype(int)))[0, 1]
    for w in drawn
  ]
  np.testing.assert_allclose(others.correlated(a, b, drawn), wanted)


def test_who_is_read_is_in_no_training(monkeypatch):
  trained = {}
  names = ('a.x', 'b.one', 'b.two', 'c')
  parts = [np.full((3, 2), float(i)) for i in range(4)]
  monkeypatch.setattr(others, '_known', lambda *_: (parts, parts))

  def told(x, known):
    trained.setdefault(x[0, 0], []).append([int(p[0, 0]) for p, _ in known])
    return x[:, 0]

  monkeypatch.setattr(others, 'told', told)
  config = python.SimpleNamespace(
    text=True,
    encoder='',
    predicted=names,
    sisters=(('b.one', 'b.two'),),
    data=python.SimpleNamespace(dir=''),
  )
  assert set(others.stances(config, 'b.one')) == set(others.READERS)
  assert set(others.stances(config, 'c')) == {others.READERS[0]}
  assert trained == {1: [[0, 2, 3], [0, 3]], 3: [[0, 1, 2]]}
  config.text = False
  assert others.stances(config, 'c') == {}


def votes_of(rng, logit, seen=0.6):
  agrees = rng.random(logit.shape) < 1 / (1 + np.exp(-logit))
  there = rng.random(logit.shape) < seen
  return collaborative.Votes(
    jnp.asarray(agrees, jnp.float32), jnp.asarray(there, jnp.float32)
  )


def test_functions_of_texts_are_learned_and_noise_is_none():
  rng = np.random.default_rng(2)
  x = rng.normal(size=(60, 4))
  weights = np.array([1.5, -1.0, 0.0, 0.0])
  logit = np.outer(rng.normal(size=50), x @ weights)
  level, start = np.zeros(60), 0.1 * rng.normal(size=(60, 1))
  found = bases.learned(votes_of(rng, logit), level, x, start)
  assert abs(np.corrcoef(found[:, 0], x @ weights)[0, 1]) > 0.95
  alike = rng.normal(size=(50, 1)) + 0 * logit
  nothing = bases.learned(votes_of(rng, alike), level, x, start)
  assert nothing.std() < 0.3 * found.std()


def test_the_nearest_answers_are_those_of_ops():
  rng = np.random.default_rng(3)
  read = rng.normal(size=(20, 5))
  votes = votes_of(rng, np.zeros((3, 20)))
  chance = np.full((3, 20), 0.4)
  found = recalled.surprise(votes, chance, recalled.likeness(read))
  vectors = recall.unit(jnp.asarray(read - read.mean(0)))
  most_similar = jax.jit(recall.most_similar, static_argnames=('count',))
  for person in range(3):
    for statement in (0, 7):
      there = votes.weight[person].at[statement].set(0.0)
      near = most_similar(
        vectors[statement], vectors, there, count=recalled.NEAREST
      )
      own = np.asarray(votes.agrees)[person, near.place] - 0.4
      wanted = (own * near.mask).sum() / max(near.mask.sum(), 1)
      assert found[person, statement] == pytest.approx(float(wanted), abs=1e-6)
  silent = votes._replace(weight=jnp.zeros_like(votes.weight))
  assert not recalled.surprise(silent, chance, recalled.likeness(read)).any()


def test_what_is_recalled_weighs_where_it_predicts():
  rng = np.random.default_rng(4)
  read = np.repeat(rng.normal(size=(10, 5)), 6, 0)  # six wordings of a matter
  read = read + 0.01 * rng.normal(size=read.shape)
  taste = np.repeat(2 * rng.normal(size=(40, 10)), 6, 1)
  like, chance = recalled.likeness(read), np.full((40, 60), 0.5)
  weights = []
  for logit in (taste, np.zeros_like(taste)):
    known, asked = recalled.parts(votes_of(rng, logit, 1.0), 0)
    assert not (np.asarray(known.weight) * np.asarray(asked.weight)).any()
    more = recalled.surprise(known, chance, like)
    weights.append(recalled.weighed(asked, chance, more))
  assert weights[0] > 2
  assert abs(weights[1]) < 1
  said = recalled.predicted(chance, np.ones((40, 60)), 2.0)
  np.testing.assert_allclose(said, 1 / (1 + np.exp(-2.0)))
