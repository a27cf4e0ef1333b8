import itertools
import re

from prm_jax.worlds import grammar, lexicon

TRAIN = lexicon.REGIMES['train']
NEW_PROMPTS = lexicon.REGIMES['new_prompts']
NEW_LEXICON = lexicon.REGIMES['new_lexicon']

# Words that carry no cue of an attribute.
TABLE = """
  a an the and or but if so as of in on at to for from with by into about over
  out up off down along through than then that this these those there here it
  its it's i i'm i'd i've i'll me my mine you you're your yours we us our he his
  they them their who whom what which when where why how is are am was were be
  been being do does did done have has had having will would can could should
  must shall may might not no nor never don't won't can't cannot nothing any all
  some one own such more most much many other others another each every only
  just even very too also both few little once ever yet still that's get goes
  take like topic thing step
"""
FUNCTION_WORDS = frozenset(TABLE.split())


def words(texts):
  """Content words of all expansions of templates."""
  sentences = itertools.chain.from_iterable(map(grammar.expand, texts))
  found = itertools.chain.from_iterable(
    re.findall(r"[a-z']+", sentence.lower()) for sentence in sentences
  )
  return set(found) - FUNCTION_WORDS


def pools(markers):
  return {
    (attribute, pole): markers[attribute][pole]
    for attribute in lexicon.MARKED
    for pole in (1, -1)
  }


def topic_words(regime):
  return words(
    phrase
    for topic in regime.topics
    for phrase in (topic.name, *topic.things, *topic.steps)
  )


def test_sizes_of_the_lexicons():
  assert len(TRAIN.topics) == 42
  assert len(TRAIN.questions) == 5
  for held_out in (NEW_PROMPTS, NEW_LEXICON):
    assert len(held_out.topics) == 18
    assert len(held_out.questions) == 3
  assert NEW_PROMPTS.markers is TRAIN.markers
  for markers, least in ((TRAIN.markers, 16), (NEW_LEXICON.markers, 8)):
    assert set(markers) == set(lexicon.MARKED)
    for pool in pools(markers).values():
      assert len(set(pool)) == len(pool) >= least
  for topic in TRAIN.topics + NEW_PROMPTS.topics:
    assert len(topic.things) == len(topic.steps) == 3


def test_a_marker_sentence_belongs_to_one_pole():
  # So that a text determines its levels.
  sentences = [
    sentence
    for regime in (TRAIN, NEW_LEXICON)
    for pool in pools(regime.markers).values()
    for template in pool
    for sentence in grammar.expand(template)
  ]
  assert len(sentences) == len(set(sentences))
  assert max(map(grammar.count_words, sentences)) <= 9


def test_new_lexicon_shares_almost_no_cue_word_with_training():
  train, new = pools(TRAIN.markers), pools(NEW_LEXICON.markers)
  anywhere = set().union(*map(words, train.values()))
  total, shared = set(), set()
  for pole, pool in new.items():
    cues = words(pool)
    assert not cues & words(train[pole]), pole
    total |= cues
    shared |= cues & anywhere
  print('shared with another pole of training:', sorted(shared))
  assert len(shared) <= 0.06 * len(total)


def test_poles_are_of_similar_length():
  # Otherwise log words would give the sign of a level away.
  for markers in (TRAIN.markers, NEW_LEXICON.markers):
    for attribute in lexicon.MARKED:
      mean = {}
      for pole in (1, -1):
        lengths = [
          sum(map(grammar.count_words, s)) / len(s)
          for s in map(grammar.expand, markers[attribute][pole])
        ]
        mean[pole] = sum(lengths) / len(lengths)
      assert abs(mean[1] - mean[-1]) < 2.0, attribute


def test_held_out_topics_content_and_questions_are_new():
  for held_out in (NEW_PROMPTS, NEW_LEXICON):
    assert not topic_words(TRAIN) & topic_words(held_out)
    assert not words(TRAIN.content) & words(held_out.content)
    assert not set(TRAIN.questions) & set(held_out.questions)
  assert not set(NEW_PROMPTS.questions) & set(NEW_LEXICON.questions)
