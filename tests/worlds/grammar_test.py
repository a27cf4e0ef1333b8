import numpy as np
import pytest

from prm_jax.worlds import grammar, lexicon


def test_expand_gives_every_combination():
  assert grammar.expand('{A|B} is {x|y}.') == (
    'A is x.',
    'A is y.',
    'B is x.',
    'B is y.',
  )
  assert grammar.expand('No choice.') == ('No choice.',)


def test_levels_have_three_active_attributes():
  levels = grammar.draw_levels(np.random.default_rng(0), 4000)
  np.testing.assert_array_equal((levels != 0).sum(1), 3)
  assert set(np.unique(levels)) == {-2, -1, 0, 1, 2}
  # P(active) = 1/2 and E[level^2 | active] = (1 + 4) / 2.
  np.testing.assert_allclose((levels**2).mean(0), 1.25, atol=0.1)
  np.testing.assert_allclose(levels.mean(0), 0, atol=0.06)


@pytest.mark.parametrize('regime', lexicon.REGIMES)
def test_response_holds_exactly_the_marker_sentences_of_its_levels(regime):
  rng = np.random.default_rng(1)
  words = lexicon.REGIMES[regime]
  owner = {
    sentence: (attribute, pole)
    for attribute in lexicon.MARKED
    for pole in (1, -1)
    for template in words.markers[attribute][pole]
    for sentence in grammar.expand(template)
  }
  topic = words.topics[3]
  content = {c.text for c in grammar.content_sentences(topic, regime)}
  for level in grammar.draw_levels(rng, 50):
    text = grammar.write_response(rng, level, 40, topic, regime)
    found = dict.fromkeys(lexicon.MARKED, 0)
    left = text
    for sentence in sorted((*owner, *content), key=len, reverse=True):
      # Longest first: one sentence may end another.
      if sentence in left:
        left = left.replace(sentence, '', 1)
        if sentence in owner:
          attribute, pole = owner[sentence]
          found[attribute] += pole
    assert not left.strip()
    assert list(found.values()) == list(level)
    assert any(text.startswith(sentence) for sentence in content)


def test_response_fills_up_to_its_target():
  rng = np.random.default_rng(2)
  topic = lexicon.REGIMES['train'].topics[0]
  levels = np.array([1, 0, 0, -1, 0, 1])
  for target in (30, 40, 50):
    lengths = [
      grammar.count_words(
        grammar.write_response(rng, levels, target, topic, 'train')
      )
      for _ in range(50)
    ]
    assert max(lengths) <= target
    assert np.mean(lengths) > target - 3
