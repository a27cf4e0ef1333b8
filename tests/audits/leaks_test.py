import numpy as np

from prm_jax.audits import leaks

WORDS = [
  *['so', 'the', '(old)', 'dog', 'said', '"no"', 'and', 'ran,', 'then', 'it'],
  'slept\nwell',
]


def texts_and_pairs(seed, n=400):
  rng = np.random.default_rng(seed)
  texts = [' '.join(rng.choice(WORDS, 12)) for _ in range(2 * n)]
  return texts, np.arange(2 * n).reshape(n, 2), rng


def test_clean_pairs_are_not_flagged():
  flagged = 0
  for seed in range(20):
    texts, items, rng = texts_and_pairs(seed)
    features = leaks.format_features(texts)
    slot = leaks.probe(features, items, np.ones(len(items)))
    taste = leaks.probe(features, items, rng.integers(0, 2, len(items)))
    flagged += slot.low > leaks.LIMITS['slot_probe']
    flagged += taste.low > leaks.LIMITS['preference_probe']
  assert flagged <= 1


def test_planted_stringified_list_is_caught():
  """LoRe's PRISM pipeline: the rejected text is str([text])."""
  texts, items, rng = texts_and_pairs(0)
  label = rng.integers(0, 2, len(items))
  for row, first in zip(items, label, strict=True):
    rejected = row[1] if first else row[0]
    texts[rejected] = str([texts[rejected]])
  features = leaks.format_features(texts)
  taste = leaks.probe(features, items, label)
  assert taste.low > leaks.LIMITS['preference_probe']
  # With the chosen text always first, the slots give it away as well.
  fixed = np.where(label[:, None] == 1, items, items[:, ::-1])
  slot = leaks.probe(features, fixed, np.ones(len(items)))
  assert slot.low > leaks.LIMITS['slot_probe']


def test_length_is_not_a_format():
  short, long = 'a b c', ' '.join(['a b c'] * 50)
  np.testing.assert_array_equal(*leaks.format_features([short, long]))


def test_a_pair_judged_many_times_tells_nothing_of_itself():
  accuracy = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(40, 30))  # enough to know 20 pairs by heart
    items = np.repeat(np.arange(40).reshape(20, 2), 50, axis=0)
    label = np.repeat(rng.integers(0, 2, 20), 50)  # a coin for every pair
    swap = rng.random(len(items)) < 0.5  # in either order
    items[swap] = items[swap, ::-1]
    label = np.where(swap, 1 - label, label)
    accuracy.append(leaks.probe(features, items, label, seed=seed).accuracy)
  assert abs(np.mean(accuracy) - 0.5) < 0.12
