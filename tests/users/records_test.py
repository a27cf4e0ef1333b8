import pytest

from prm_jax.users import records
from prm_jax.users.records import Measured, Summary, SummaryError, Text

NEW = Summary('ann', 'k')


def test_a_persons_words_stand_before_the_models_until_released():
  assert NEW.words == ''
  assert NEW.present is None
  model = records.written(NEW, 'likes long answers', 't1')
  assert (model.words, model.locked, model.version) == (
    'likes long answers',
    False,
    2,
  )
  own = records.edited(model, 'keep it short', 't2')
  assert (own.words, own.locked, own.version) == ('keep it short', True, 3)
  # What is read stays, and so does its version.
  later = records.written(own, 'likes tables', 't3')
  assert (later.words, later.version) == ('keep it short', 3)
  free = records.released(later)
  assert free == Summary('ann', 'k', 4, None, Text('likes tables', 't3'))
  with pytest.raises(SummaryError, match="'ann' has edited nothing"):
    records.released(free)


def test_the_same_words_again_change_nothing():
  model = records.written(NEW, 'likes tables', 't1')
  assert records.written(model, 'likes tables', 't2') is model
  # That nothing is to be said is something else than nothing said yet.
  assert records.written(NEW, '', 't1').present == Text('', 't1')


def test_that_nothing_shall_be_read_is_an_edit():
  own = records.edited(records.written(NEW, 'x', 't1'), '', 't2')
  assert own.locked
  assert own.words == ''


@pytest.mark.parametrize(
  'words',
  [
    '簡潔な返事が好きです。',
    'يفضل الإجابات القصيرة',
    'Ich mag es kurz, naïve, e\u0301, 👩\u200d🔬',
    'two\nlines\tand a tab',
  ],
)
def test_words_of_any_language_are_kept_as_they_are(words):
  assert records.typed(words) == words
  assert records.decoded(words) == words


def test_what_other_systems_add_to_a_file_goes():
  assert records.typed('\ufeffone\r\ntwo\rthree \n') == 'one\ntwo\nthree'
  assert records.typed(' \n') == ''


@pytest.mark.parametrize(
  ('stray', 'named'),
  [('\x1b', 'U+001B'), ('\0', 'U+0000'), ('\ud83d', 'U+D83D')],
)
def test_what_is_no_text_is_named_or_a_space(stray, named):
  with pytest.raises(SummaryError, match=rf'character 3 .* U\+{named[2:]}'):
    records.typed(f'ab{stray}c')
  assert records.decoded(f'ab{stray}c{stray}') == 'ab c'


def test_a_long_summary_is_refused_and_not_cut():
  with pytest.raises(SummaryError, match=r'100,000 characters, .* 20,000'):
    records.check('x' * 100_000)
  assert records.check('x' * 20_000) is None

  def measure(words):
    return Measured(len(words.split()), 3)

  assert records.check('a b c', measure=measure).tokens == 3
  with pytest.raises(
    SummaryError, match=r'4 tokens, and the reward .* reads 3'
  ):
    records.check('a b c d', measure=measure)
