"""Rows of the real texts: arithmetic, planted faults, and small runs."""

import numpy as np
import pytest

from experiments.echo_chambers import real_fits as fits
from experiments.echo_chambers import real_text, real_workers
from prm_jax.audits import sides
from prm_jax.data import load

COLUMNS = {
  'material',
  'method',
  'quantity',
  'value',
  'value_low',
  'value_high',
  'n',
  'unit',
}


def embed(texts):
  """Random features, the same for the same text: no checkpoint is needed."""
  found = {
    text: np.random.default_rng(list(text.encode())).normal(size=40)
    for text in set(texts)
  }
  return np.stack([found[text] for text in texts]).astype(np.float32)


@pytest.fixture
def quick_fit(monkeypatch):
  """No learner, which takes a minute to compile: summed differences."""

  def fit(choice, table, judged, *, people, seed):
    sign = 2 * np.asarray(judged.rows.label)[:, None] - 1
    moved = sign * (
      table[judged.inputs.index[:, 0]] - table[judged.inputs.index[:, 1]]
    )
    own = np.zeros((people, table.shape[1]))
    np.add.at(own, judged.rows.user, moved)
    everybody = own.sum(0, keepdims=True) / len(moved)
    if choice['kind'] == 'aggregate':
      return everybody
    return everybody + 0.1 * own

  monkeypatch.setattr(fits, 'fit', fit)


@pytest.fixture
def few(monkeypatch):
  """Fewer people, components and draws than the study has."""
  monkeypatch.setattr(real_text, '_PEOPLE', 90)
  monkeypatch.setattr(real_text, '_COMPONENTS', 2)
  monkeypatch.setattr(real_workers, '_COMPONENTS', 4)
  monkeypatch.setattr(fits, 'REPLICATES', 20)


def check(rows):
  assert all(set(row) == COLUMNS for row in rows)
  names = ('material', 'method', 'quantity', 'unit')
  assert len({tuple(row[n] for n in names) for row in rows}) == len(rows)
  found = {(r['method'], r['quantity'], r['unit']): r for r in rows}
  blind = 'cosine with the question (blind)'
  for quantity in ('liberal_answer_gap', 'reward_gap'):
    row = found[blind, quantity, 'questions']
    assert row['value'] == row['value_low'] == row['value_high'] == 0
    assert row['n'] == 17
  one = found['aggregate', 'systematic_variance', 'people']
  assert one['value'] == pytest.approx(0, abs=1e-12)
  assert found['truth', 'systematic_variance', 'people']['value_low'] > 0.05
  for row in rows:
    assert row['value_low'] <= row['value_high'], row
    if row['material'] == 'ukp_convarg':
      assert row['n'] >= real_workers.FEWEST_WORKERS


def all_rows(folder):
  small = {'persona_history': {'seeds': (0,)}}
  return [
    row
    for name, rows in real_text.MATERIALS.items()
    for row in rows(folder, source=embed, **small.get(name, {}))
  ]


@pytest.mark.slow
def test_all_rows(real_data, private_cache, quick_fit, few):
  check(all_rows(real_data))


@pytest.mark.slow
def test_all_rows_with_the_learners(real_data, private_cache, few):
  check(all_rows(real_data))


@pytest.mark.slow
def test_biographies_that_match_answers_are_found(
  real_data, private_cache, few
):
  # A planted fault: embeddings that say the side.
  table = load.political_typology(real_data)
  said = dict(zip(table.biographies, table.liberal_biography, strict=True))
  for answers in real_text._answers(table).values():
    for i, text in enumerate(answers):
      said.setdefault(text, i % 2 == 0)

  def telling(texts):
    sides = np.array([2.0 * said.get(text, 0) - 1 for text in texts])
    return np.stack([np.ones(len(texts)), sides], 1)

  rows = real_text.typology_visible(real_data, source=telling)
  found = {
    r['method']: r for r in rows if r['quantity'] == 'liberal_answer_gap'
  }
  assert found['cosine with the biography, after the question']['value'] == 1
  assert found['cosine with the question (blind)']['value'] == 0
  # Questions that share answers, such as 'how much?', do not all count.
  alone = found['cosine with the biography, answer alone']['value']
  assert 0.5 < alone < 0.9


@pytest.mark.slow
def test_a_side_that_features_tell_is_served(
  real_data, private_cache, quick_fit, few
):
  texts, side = real_text.opposing_statements(real_data)
  known = dict(zip(texts, side, strict=True))
  for answers in real_text._answers(
    load.political_typology(real_data)
  ).values():
    for i, text in enumerate(answers):
      known.setdefault(text, 1 - 2 * (i % 2))

  def telling(texts):
    sides = np.array([known[text] for text in texts], np.float32)
    return 0.1 * embed(texts) + sides[:, None]

  rows = real_text.persona_history(real_data, seeds=(0,), source=telling)
  found = {(r['method'], r['quantity'], r['unit']): r['value'] for r in rows}
  gap = 'liberal_answer_gap, after the question'
  assert found['linear probe', 'held_out_stance_accuracy', 'statements'] > 0.98
  assert found['hierarchical', 'systematic_variance', 'people'] > 0.05
  assert found['hierarchical', gap, 'questions'] > 0.15
  assert found['aggregate', gap, 'questions'] == 0


def test_small_groups_are_not_reported():
  n = real_workers.FEWEST_WORKERS
  stated = sides.Stated(
    np.arange(n), np.zeros(n, int), np.ones(n, int), np.ones((n, 2))
  )
  lean = np.random.default_rng(0).normal(size=n)

  def rows(chosen):
    return real_workers.rows(stated.take(chosen), {'own': lean[chosen]}, 'all')

  assert rows(np.arange(n) >= 0)
  assert rows(np.arange(n) >= 1) == []


def test_rows_of_workers_by_hand():
  n = 12
  stated = sides.Stated(
    np.repeat(np.arange(n), 2),
    np.tile([0, 1], n),
    np.tile([1, -1], n),
    np.ones((2 * n, 2)),
  )
  leans = {'own': np.tile([3.0, 1.0], n)}
  rows = real_workers.rows(stated, leans, 'all')
  found = {(r['method'], r['quantity']): r for r in rows}
  assert found['own', 'own_side_excess, all']['value'] == 1.0
  assert found['own', 'absolute_side_difference, all']['value'] == 2.0
  # All of a side say the same: shuffling changes nothing.
  assert found['stances shuffled', 'own_side_excess, all']['value'] == 1.0


def test_seeds_are_weighed_by_their_people():
  blank = real_text._Seed(*[np.zeros(2)] * 6)
  drawn = real_text._Drawn([blank, blank._replace(cares=np.zeros(1))])
  weights = np.array([[1.0, 1, 1], [0, 0, 3]])
  found = drawn.mean(
    lambda seed, w: np.full(len(w), 4.0 if len(seed.cares) == 1 else 1.0),
    weights,
  )
  np.testing.assert_allclose(found, [2.0, 4.0])
