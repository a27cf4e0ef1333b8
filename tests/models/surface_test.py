"""Surface features, by hand."""

import numpy as np

from prm_jax.models import surface


def test_lengths_marks_and_words():
  text = 'Sure! The cat, the dog.\n- one'
  (found,) = surface.measure([text])
  np.testing.assert_allclose(
    found[:3], np.log1p([len(text), 7, len('Sure! The cat, the dog.')])
  )
  np.testing.assert_allclose(found[3], sum(map(len, text.split())) / 7)
  np.testing.assert_allclose(found[4], 6 / 7)  # 'the' twice
  assert found[5] == np.float32(np.sqrt(1 / 7))  # one exclamation mark
  bullets = 5 + len(surface._MARKS) + 2
  assert found[bullets] == np.float32(np.sqrt(1 / 7))
  articles = 5 + len(surface._MARKS) + len(surface._PATTERNS)
  assert found[articles] == np.float32(np.sqrt(2 / 7))
  assert found[-1] == 1  # it begins with 'Sure'


def test_empty_texts_are_finite():
  found = surface.measure(['', ' ', '\n'])
  assert found.shape == (3, len(surface.measure(['a b'])[0]))
  assert np.isfinite(found).all()
  assert surface.measure([]).shape == (0, found.shape[1])
