"""What tells policies apart without training, by hand."""

import numpy as np
import pytest

from prm_jax.audits import similarities
from prm_jax.data import schema, triples
from prm_jax.models import ngrams


def outputs(texts, policies=2):
  """Returns texts, in turn of each policy, of one prompt each pair."""
  count = len(texts)
  return schema.PolicyOutputs(
    texts=texts,
    item_prompt=(np.arange(count) // policies).astype(np.int32),
    prompts=[f'p{i}' for i in range(count)],
    prompt_ids=[f'p{i}' for i in range(count)],
    topics=['toy'] * count,
    policies=[f'm{i}' for i in range(policies)],
    item_policy=(np.arange(count) % policies).astype(np.int32),
    judge=np.full(count, np.nan, np.float32),
  )


def triple(reference, positive, negative):
  columns = (reference, positive, negative, [0], [1])
  return triples.Triples(*(np.array(column) for column in columns))


def test_cosines_of_sparse_and_of_dense_rows():
  counted = ngrams.count(['abab', 'ab', 'zz', ''], (2,))
  want = (1 + np.log(2)) / np.hypot(1 + np.log(2), 1)
  first, second = np.array([0, 0, 0, 3]), np.array([1, 0, 2, 3])
  for vectors in (counted, counted.toarray()):
    near = similarities.cosine(vectors, first, second)
    np.testing.assert_allclose(near, [want, 1, 0, 0], atol=1e-12)


def test_length_closeness_is_of_log_lengths():
  made = outputs(['aaa', 'a', 'aaa', ''])
  found = similarities.of_lengths(made, triple([0], [1], [3]))
  np.testing.assert_allclose(found, [np.log(4) - np.log(2)])
  found = similarities.of_lengths(made, triple([0], [2], [1]))
  np.testing.assert_allclose(found, [np.log(2)])


@pytest.fixture
def no_encoder(monkeypatch):
  monkeypatch.setattr(
    similarities, '_minilm', lambda texts, drawn: np.zeros((len(texts), 2))
  )


def test_what_is_chosen_is_chosen_by_training_policies(no_encoder):
  # States share a large direction: raw ones mislead, centred ones do not.
  made = outputs(['aaaa', 'zz'] * 4)
  states = np.tile([[9.0, 1.0, 0.0], [9.0, -1.0, 0.0]], (4, 1))
  states[1:3, 2] = [-2.5, 2.5]
  held = triples.Split(*(np.array(part) for part in ([0, 1], [0], [0, 1], [2])))
  tuning = triple([0], [2], [3])
  sets = {'test': triple([4], [6], [7])}
  found = similarities.margins(
    made, states, sets, held=held, tuning=tuning, seed=3
  )['test']
  assert set(found) == {'random', *similarities.NAMES}
  assert found['frozen'] == pytest.approx(2.0, abs=1e-6)
  assert found['ngrams'] == pytest.approx(1.0)
  assert found['minilm'] == 0.0
  assert found['length'] == pytest.approx(np.log(5) - np.log(3))
  again = similarities.margins(
    made, states, sets, held=held, tuning=tuning, seed=4
  )['test']
  assert found['random'] != again['random']
