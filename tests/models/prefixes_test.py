import numpy as np

from prm_jax.models import prefixes

TEXTS = [[1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 4], [1, 2], [9, 8, 7]]


def unpacked(found):
  """The texts that the arrays hold, padding and all taken away."""
  texts = []
  for row, prompt in enumerate(found.source):
    ids, mask = found.prompts[:2]
    text = ids[prompt][mask[prompt] > 0].tolist()
    if found.suffix is not None:
      of = found.suffix.of[row]
      text += found.suffix.ids[of][found.suffix.mask[of] > 0].tolist()
    texts.append(text)
  return texts


def test_shared_is_the_longest_common_beginning():
  found = prefixes.shared(TEXTS, [0, 0, 1, 1, 2])
  np.testing.assert_array_equal(found, [2, 2, 2, 2, 3])
  found = prefixes.shared([*TEXTS, [1, 2, 3]], [0, 0, 0, 0, 0, 1])
  np.testing.assert_array_equal(found, [0, 0, 0, 0, 0, 3])


def test_packed_holds_every_part_once():
  found = prefixes.packed(TEXTS, [2, 2, 2, 2, 3], most=8)
  assert unpacked(found) == TEXTS
  np.testing.assert_array_equal(found.source, [0, 0, 0, 0, 1])
  np.testing.assert_array_equal(found.suffix.of, [0, 1, 0, 2, 3])
  np.testing.assert_array_equal(found.first, [0, 4])
  assert found.prompts.ids.shape == (2, 16)
  assert found.suffix.ids.shape == (4, 16)
  # Whole texts, of which two are equal but of two kinds; three are padded to 4.
  whole = prefixes.packed(TEXTS, [*map(len, TEXTS)], most=8)
  assert unpacked(whole) == TEXTS
  assert whole.suffix is None
  assert len(whole.prompts.ids) == 4
  apart = prefixes.packed(TEXTS, [4, 3, 4, 2, 3], most=8, kinds='aabaa')
  assert unpacked(apart) == TEXTS
  np.testing.assert_array_equal(apart.first, [0, 1, 2, 3, 4, 0, 0, 0])
