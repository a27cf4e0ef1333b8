"""What judges' texts say, and that nothing else is taken for it."""

import math

import numpy as np
import pytest

from prm_jax.rewards import judge_readings as readings
from tests.rewards import judged_texts

FORMS = judged_texts.forms()
NAN = math.nan
SAID = {
  **dict.fromkeys(FORMS, (1, (NAN, NAN), NAN)),
  'j1, scores': (1, (2.5, 9.0), 6.5),
  'j1, score': (-1, (7.5,), NAN),
  'judge_lrm': (1, (2.0, 9.0), 7.0),
  'grm': (1, (3.0, 9.0), 6.0),
  'grm of three': (-1, (3.0, 9.0, 9.0), NAN),  # a tie
  'grm of one': (-1, (1.0,), NAN),
  'genrm': (-1, (1.0,), NAN),
}


@pytest.mark.parametrize('name', FORMS)
def test_what_is_written_is_read(name):
  said = FORMS[name].parse(judged_texts.WRITTEN[name])
  assert said.valid
  found = (said.verdict, said.scores, said.strength)
  np.testing.assert_equal(found, SAID[name])


INVALID = {
  'rm_r1': [
    *['<answer>[[C]]</answer>', '<answer>A</answer>', '[[A]]', '<answer>[[A]]'],
    *['<answer> [[A]] </answer>', '<ANSWER>[[A]]</ANSWER>'],
    '<answer>[[A]]</answer><answer>[[B]]</answer>',
    '<answer>[[A]]</answer> or <answer>[[A]]</answer>',
    '<answer><answer>[[A]]</answer></answer>',
    '<answer>[[A]]</answer>' + ' ' * 80,  # not at the end
    '<answer>[[A]]</answer>' + 'x' * 59,
    '<think> it may be <answer>[[A]]</answer>',
    # A second one, however far before, the other or the same.
    *(
      f'<answer>[[{first}]]</answer>{"x" * 80}<answer>[[B]]</answer>'
      for first in 'AB'
    ),
    f'<answer>{"x" * 80}<answer>[[B]]</answer>',
    # Nor one in no tag.
    *['[[A]] wins. <answer>[[B]]</answer>', '<answer>[[B]]</answer> [[B]]'],
  ],
  'rrm': [
    *[r'\boxed{Assistant 3}', r'\boxed{1}', 'Assistant 1', r'\boxed{assistant'],
    r'\boxed{Assistant 1} \boxed{Assistant 2}',
    r'\boxed{Assistant 1} \boxed{Assistant 1}',
    r'\boxed{\text{Assistant 1}}',
    r'<think> \boxed{Assistant 1} </think> So the first.',
    r'\boxed{Assistant ' + '\u0661' + '}',
  ],
  'j1': [
    *['<answer>[[A]]</answer></answer>', '<answer>[[A]] [[B]]</answer>'],
    *['[[A]] <answer>[[B]]</answer>', '<answer>[[B]]</answer> and [[A]]'],
    *['</answer>[[A]]<answer>', '<answer>[[A]]</answer> <answer> </answer>'],
    '[[A]] <answer> it is the first </answer>',
    '<think> <answer>[[A]]</answer>',
  ],
  'j1, scores': [
    *['<score_A>3</score_A>', '<score>3</score><score>4</score>'],
    '<score_A>3</score_A><score_B>11</score_B>',
    '<score_A>-3</score_A><score_B>1</score_B>',
    '<score_A>nan</score_A><score_B>1</score_B>',
    '<score_A>inf</score_A><score_B>1</score_B>',
    '<score_A>1e1</score_A><score_B>1</score_B>',
    '<score_A>3.14</score_A><score_B>1</score_B>',
    '<score_A>3<score_A>3</score_A></score_A><score_B>1</score_B>',
    '<score_A>3</score_A><score_A>4</score_A><score_B>1</score_B>',
    f'<score_A>7{" " * 99}and more</score_A><score_B>1</score_B>',
  ],
  'j1, score': ['7', '<score></score>', '<score>7', f'<score>{9**999}</score>'],
  'judge_lrm': [
    '<answer>3</answer><answer>4</answer>',  # thoughts that do not end
    '</think><answer>3</answer>',
    '</think><answer>3</answer><answer>4</answer><answer>5</answer>',
    '</think><answer>3</answer><answer>4.5</answer>',
    '</think><answer>3</answer><answer>11</answer>',
  ],
  'br_rm': [
    *[r'\boxed{1}', '[The Begin of Ranking Score]\n\\boxed{1}'],
    *(
      f'[The Begin of Ranking Score]{text}[The End of Ranking Score]'
      for text in ('\n1\n', '\n\\boxed{1 or 2}\n', '\\boxed{3}', '')
    ),
    '[The Begin of Ranking Score]\\boxed{1}[The End of Ranking Score]' * 2,
  ],
  'grm': [
    *[r'\boxed{3, 9}', r'Analysis: Scores: \boxed{3, 9}', 'Scores: 3, 9'],
    *[r'Scores: \boxed{3}', r'Scores: \boxed{3, 9, 1}', r'Scores: \boxed{}'],
    *[
      r'Scores: \boxed{0, 9}',
      r'Scores: \boxed{3, 11}',
      r'Scores: \boxed{3, }',
    ],
    *[
      r'Scores: \boxed{3, 9.5}',
      r'Scores: \boxed{3, -9}',
      r'\boxed{3, 9} Scores:',
    ],
    *[r'Scores: \boxed{3, \boxed{9}}', r'Scores: \boxed{3, 9} \boxed{9, 3}'],
    'Scores: \\boxed{3, 9}\nScores: \\boxed{9, 3}',
    'Analysis: Scores: \\boxed{9, 3}\nScores: \\boxed{3, 9}',
    'Scores: so the Scores: \\boxed{3, 9}',
    'Scores: the second is better.\nSo \\boxed{3, 9}',
    'Scores: \\boxed{3, 9}\nor the other way round',
    ' Scores: \\boxed{3, 9}',
    'Scores: \\boxed{3, \u0669}',
    f'Scores: \\boxed{{3, {10**400}}}',
    'Scores: \\boxed{3, 9',
  ],
  'grm of one': [r'Scores: \boxed{2}', r'Scores: \boxed{1, 1}'],
  'genrm': [
    *['Yes', 'Is the answer correct (Yes/No)?', 'Verification: Yes'],
    'Is the answer correct (Yes/No)? Yes or No',
    'Is the answer correct (Yes/No)? Yes\nIt is.',
    'Is the answer correct (Yes/No)? No\nIs the answer correct (Yes/No)? Yes',
  ],
}


@pytest.mark.parametrize(
  ('name', 'text'), [(name, text) for name in INVALID for text in INVALID[name]]
)
def test_what_says_nothing_or_two_things_is_invalid(name, text):
  said = FORMS[name].parse(text)
  assert not said.valid
  assert said.verdict == -1
  assert np.isnan([*said.scores, said.strength]).all()
  assert len(said.scores) == FORMS[name].responses


def test_the_last_thought_is_the_end_of_thoughts():
  text = '<think> <answer>[[A]]</answer> </think> {} <answer>[[B]]</answer>'
  assert FORMS['j1'].parse(text.format('')).verdict == 1
  assert not FORMS['j1'].parse(text.format('<think>')).valid
  # A verdict within the last 80 characters, and one in the thoughts.
  assert FORMS['rm_r1'].parse(text.format('')).verdict == 1
  assert FORMS['rm_r1'].parse('<answer>[[A]]</answer>' + 'x' * 58).verdict == 0


@pytest.mark.parametrize('name', FORMS)
def test_what_a_text_may_end_with_is_read(name):
  form = FORMS[name]
  said = {form.parse(f'So it is.{form.cue}{end}') for end in form.choices}
  assert len(said) == len(form.choices)
  assert all(each.valid for each in said)
  count = {'grm of three': 0, 'grm': 100, 'j1, score': 101}
  scores = dict.fromkeys(['j1, scores', 'judge_lrm'], 121)
  assert len(said) == {**count, **scores}.get(name, 2)


FRAGMENTS = [
  *['<answer>', '</answer>', '[[A]]', '[[B]]', '<think>', '</think>', '\n'],
  *[r'\boxed{', '}', 'Assistant 1', 'Assistant 2', 'Scores:', ',', '3', '10'],
  *[
    '<score>',
    '</score>',
    '<score_A>',
    '</score_A>',
    '<score_B>',
    '</score_B>',
  ],
  '[The Begin of Ranking Score]',
  '[The End of Ranking Score]',
  *['Is the answer correct (Yes/No)?', ' Yes', ' No', '/10', '.5', ' ', '-1'],
  *['\x00', '\ud800', '\u0663', '\u2028', '9' * 5000, 'nan', 'inf', '1e308'],
]


def test_any_string_is_read_and_what_it_says_is_in_range():
  rng = np.random.default_rng(0)
  valid = dict.fromkeys(FORMS, 0)
  for _ in range(2000):
    count = rng.integers(0, 12)
    text = ''.join(
      FRAGMENTS[i] for i in rng.integers(len(FRAGMENTS), size=count)
    )
    if rng.random() < 0.3:
      text += ''.join(map(chr, rng.integers(1, 0xD800, size=8)))
    if rng.random() < 0.5:  # a whole text with something in it
      whole = judged_texts.WRITTEN[rng.choice(list(FORMS))]
      place = rng.integers(len(whole))
      text = whole[:place] + text[: rng.integers(9)] + whole[place:]
    for name, form in FORMS.items():
      said = form.parse(text)
      n = form.responses
      assert -1 <= said.verdict < n
      assert len(said.scores) == n
      scores = np.array(said.scores)
      assert np.isnan(scores).all() or ((scores >= 0) & (scores <= 10)).all()
      valid[name] += said.valid
  assert all(count > 10 for count in valid.values()), valid


def twice(text, form):
  """A text with what it decides once more, behind it or long before it."""
  thought, close, rest = text.rpartition('</think>')
  said = rest[rest.rindex(form.cue.strip()) :].strip()
  before = f'{thought}{close}\n{said}\n{"x" * 200}\n{rest}'
  return [f'{text.rstrip()}\n{said}', before]


def test_two_verdicts_are_none():
  """Of all formats: the same one twice, and two that differ."""
  for name, form in FORMS.items():
    text = judged_texts.WRITTEN[name]
    cue = form.cue.removeprefix('</think>')
    both = twice(text, form._replace(cue=cue))
    for old, new in (('B]]', 'A]]'), ('Assistant 2}', 'Assistant 1}')):
      both += [other.replace(old, new, 1) for other in both]
    assert form.parse(text).valid
    for other in both:
      assert not form.parse(other).valid, (name, other)


def test_long_texts_take_no_longer_than_they_are_long():
  for text in (
    *('<answer>' * 50_000, ' ' * 200_000 + '<', r'\boxed{' * 50_000),
    *('Scores:' * 50_000, 'Scores:\n' * 50_000, 'Scores:' + ' ' * 200_000),
  ):
    for form in FORMS.values():
      assert not form.parse(text).valid


def test_scores_and_their_best():
  assert readings.scored([1, 3, 2]).verdict == 1
  assert readings.scored([3, 3, 2]).verdict == -1
  assert readings.scored([4, 1]).strength == -3
  assert not readings.scored([4, NAN]).valid
  assert not readings.nothing(2).valid
  assert readings.preferred(1).valid


def test_a_thought_that_the_prompt_opens_has_to_end():
  text = 'maybe \\boxed{Assistant 2}? let me'
  start = readings.opened('<|assistant|><think>\n')
  assert not readings.rrm(start + text).valid
  ended = readings.rrm(f'{start}{text}</think>\\boxed{{Assistant 1}}')
  assert ended.verdict == 0
  assert readings.opened('say <think> or not') == ''


def test_a_box_has_no_more_space_than_is_quoted():
  assert readings.rrm('\\boxed{    Assistant 1}').verdict == 0
  assert not readings.rrm('\\boxed{     Assistant 1}').valid
