import re

import pytest

from prm_jax.report import page, verdicts
from tests.report.made_rows import control_row, gain_row


def answer(gains, controls=()):
  tables = {'gain': gains, 'controls': list(controls)}
  return page.plain_answer({'tables': tables})


PERSONAL = (
  control_row('swapped_people', 0.02, 0.03),
  control_row('population_coefficients', 0.01, 0.02),
)
GAIN = gain_row(0.034, 0.029, 0.04)


def details(gains, controls=()):
  tables = {'gain': gains, 'controls': list(controls)}
  ((_, sentences),) = page.details({'tables': tables})
  return sentences


def words(sentence):
  return len(sentence.split())


def test_a_gain_that_is_personal():
  first, second, third = answer([GAIN], PERSONAL)
  assert first == (
    'It helps: for new people, the personal model (PReF) is right 3.4 points '
    'more often than one model for everyone [+2.9, +4.0] (100 people); the '
    'gain is personal.'
  )
  assert second.startswith('New people gain (+3.4 points [+2.9, +4.0]')
  assert third.startswith('Trust it for new people')
  counts, sentence = details([GAIN], PERSONAL)
  assert counts == '1 of 1 show a gain that is personal.'
  assert sentence.startswith('New people, with all their answers: PReF gains')
  assert '+3.40 points [+2.90, +4.00] over one model for everyone' in sentence
  assert '+2.50 points [+2.00, +3.00]' in sentence


@pytest.mark.parametrize('failing', [0, 1])
def test_a_gain_that_is_not_personal(failing):
  controls = list(PERSONAL)
  nothing = {'value': 0.001, 'value_low': -0.001}
  controls[failing] = controls[failing] | nothing
  first, *_, third = answer([GAIN], controls)
  assert first.startswith('There is a gain, but it is not personal: ')
  name = ("another person's coefficients", "the population's coefficients")
  assert 'it loses +0.1 points [-0.1, ' in first
  assert f'] with {name[failing]}' in first
  assert third.startswith('Trust it no further than one model for everyone')
  assert 'the gain is not personal' in details([GAIN], controls)[1]
  for gain in (gain_row(0, -0.01, 0.01), gain_row(-0.03, -0.04, -0.02)):
    assert 'not personal' in answer([gain], controls)[0]
    assert 'not personal' in details([gain], controls)[1]


def test_no_gain_with_a_control_that_is_too_unsure_to_tell():
  controls = [PERSONAL[0] | {'value': 0.03, 'value_low': -0.01}, PERSONAL[1]]
  first = answer([gain_row(0.02, -0.01, 0.05)], controls)[0]
  assert first.startswith('No gain is shown: ')
  unsure = [control | {'value_low': -0.01} for control in controls]
  assert 'not personal' in answer([gain_row(0, -0.05, 0.05)], unsure)[0]


def test_a_control_that_is_too_unsure_shows_nothing_either_way():
  controls = [PERSONAL[0] | {'value': 0.03, 'value_low': -0.01}, PERSONAL[1]]
  assert 'but it is not shown to be personal' in answer([GAIN], controls)[0]
  assert 'too unsure to tell' in answer([GAIN], controls)[0]
  counts, sentence = details([GAIN], controls)
  assert 'a gain that is not shown to be personal' in counts
  assert 'it is not shown that it is personal' in sentence


def test_a_gain_without_both_controls_is_not_called_personal():
  for controls in ([], PERSONAL[:1]):
    first = answer([GAIN], controls)[0]
    assert 'whether it is personal was not fully tested' in first
    assert 'the gain is personal' not in first
    assert 'is personal (' not in details([GAIN], controls)[1]


def test_a_gain_that_is_no_more_than_habits():
  habits = GAIN | {
    'baseline': 'traits',
    'gain': 0.001,
    'gain_low': -0.004,
    'gain_high': 0.006,
  }
  first, second, third = answer([GAIN, habits], PERSONAL)
  assert 'no gain beyond habits (side, length, ties)' in first
  assert '+0.1 [-0.4, +0.6] against that model with each' in first
  assert 'the gain is personal' not in first
  assert 'no more than by their habits' in second
  assert third.startswith('Trust it no further than one model for everyone')
  counts, sentence = details([GAIN, habits], PERSONAL)
  assert 'no gain beyond habits (side, length, ties)' in counts
  assert '+0.10 points [-0.40, +0.60]' in sentence
  over = habits | {'gain': 0.02, 'gain_low': 0.01, 'gain_high': 0.03}
  first = answer([GAIN, over], PERSONAL)[0]
  assert 'and 2.0 [+1.0, +3.0] more than that model with each person' in first
  assert first.endswith('the gain is personal.')
  # Swapped people decide before habits do.
  swapped = [PERSONAL[0] | {'value': 0.0, 'value_low': -0.01}, PERSONAL[1]]
  assert 'not personal' in answer([GAIN, habits], swapped)[0]


def test_no_gain_says_what_could_have_been_seen():
  gain = gain_row(0.003, -0.002, 0.009)
  first = answer([gain], PERSONAL)[0]
  assert first.startswith('No gain is shown: for new people')
  assert 'by +0.3 points [-0.2, +0.9] (100 people)' in first
  assert 'a gain of 0.8 points would likely have been seen' in first
  counts, sentence = details([gain], PERSONAL)
  assert counts == '1 of 1 show no gain.'
  assert 'at least 0.81 points would have been seen with 80 % power' in sentence


def test_an_interval_that_ends_at_zero_shows_no_gain():
  first = answer([gain_row(0.003, 0.0, 0.009)], PERSONAL)[0]
  assert first.startswith('No gain is shown')


def test_what_is_above_zero_is_not_rounded_to_it():
  first = answer([gain_row(0.003, 0.0002, 0.009)], PERSONAL)[0]
  assert 'right 0.30 points more often' in first
  assert '[+0.02, +0.90]' in first


def test_a_loss_is_called_a_loss():
  loss = gain_row(-0.012, -0.02, -0.004)
  first = answer([loss], PERSONAL)[0]
  assert first.startswith('It is worse: ')
  assert 'by -1.2 points [-2.0, -0.4]' in first
  counts, sentence = details([loss], PERSONAL)
  assert counts == '1 of 1 show a loss.'
  assert 'worse than one model for everyone, -1.20 points' in sentence
  assert 'personal' not in sentence


def test_an_unmeasured_gain_is_not_judged():
  for low in (None, float('nan')):
    first = answer([gain_row(0.01, low, low)])[0]
    assert first.startswith('Nothing can be said of the personal model (PReF)')
    assert 'nothing varies from person to person' in first
    assert (
      'nothing that could be measured' in details([gain_row(0.01, low, low)])[0]
    )
  one = gain_row(0.01, None, None, people=1)
  assert 'one person alone' in answer([one])[0]
  assert 'one person alone' in details([one])[1]
  for row in (one, one | {'gain': None}):
    assert 'nan' not in ' '.join(answer([row]))


def test_only_the_most_answers_are_judged():
  rows = [
    gain_row(0.0, -0.01, 0.01, answers=0),
    gain_row(0.034, 0.029, 0.04, answers=50),
  ]
  controls = [
    control_row(control, low, 0.05, answers=answers)
    for control in ('swapped_people', 'population_coefficients')
    for answers, low in (('all', -0.01), (50, 0.01), (10, -0.01))
  ]
  first, second, _ = answer(rows, controls)
  assert 'for new people with 50 answers' in first
  assert 'the gain is personal' in first
  assert second.startswith('New people gain from 50 answers (')
  assert 'with 50 answers of each' in details(rows, controls)[1]


@pytest.mark.parametrize(
  ('lows', 'said'),
  [
    # A gain counts from where it stays above zero.
    ((-1, 1, 1), 'New people gain from 5 answers on'),
    ((1, -1, 1), 'New people gain from 10 answers ('),
    ((-1, 1, -1), 'For new people no gain is shown'),
    ((1, 1, 1), 'New people gain before they answer anything'),
  ],
)
def test_from_how_many_answers_on_new_people_gain(lows, said):
  rows = [
    gain_row(0.01, low / 100, 0.02, answers=answers)
    for answers, low in zip((0, 5, 10), lows, strict=True)
  ]
  second = answer(rows)[1]
  assert second.startswith(said)
  assert 'with 10 answers' in second


def test_controls_of_another_method_or_split_do_not_count():
  for change in ({'method': 'lore'}, {'split': 'new_pairs'}):
    controls = [row | change for row in PERSONAL]
    assert 'not fully tested' in answer([GAIN], controls)[0]


def test_methods_that_know_nobody_are_not_judged():
  rows = [GAIN | {'role': role} for role in ('aggregate', 'control', None)]
  rows += [GAIN | {'judgements': '50+'}]
  (only,) = answer(rows)
  assert 'no personal model' in only


def test_leaks_and_broken_exchange_are_warned_of():
  probe = control_row('slot_probe', 0.6, 0.7, leak=True)
  exchange = control_row('exchange', 0, 0, value=0.2)
  sentences = answer([GAIN], [probe, exchange])
  assert sentences[2].startswith('Trust nothing of this before the warnings')
  assert sum('leak in Jester jokes' in s for s in sentences) == 1
  assert sum('exchanging the two answers' in s for s in sentences) == 1
  clean = [probe | {'leak': False}, exchange | {'value': 1e-6}]
  assert not any('Warning' in s for s in answer([GAIN], clean))


# --------------------------------------------------------- three, and short


def test_three_sentences_about_one_data_set(compared):
  first, second, third = page.plain_answer(compared)
  assert first.startswith('It helps: on new pairs by people who were seen')
  assert '3.4 points more often than one model for everyone' in first
  assert '(80 people, 340 prompts)' in first
  assert '1.9 [+1.3, +2.5] more than that model with each' in first
  assert second.startswith('New people gain from 5 answers on')
  assert 'on new prompts it gains +2.1 points' in second
  assert 'for new people on new prompts no gain is shown' in second
  assert 'probabilities are off by 2.1 points' in third
  assert 'gains under 0.8 points could have been missed' in third
  said = ' '.join((first, second, third))
  assert all(words(s) <= 50 for s in (first, second, third))
  # No names of the code, and nothing of methods that were not chosen.
  assert not re.search(r'_|\bpref\b|\btraits\b|LoRe', said)


def test_without_a_choice_methods_are_counted(compared):
  for row in compared['tables']['gain']:
    row['chosen'] = False
  first = page.plain_answer(compared)[0]
  assert '1 of 2 personal methods' in first
  assert 'of 8 comparisons 0.2 would gain by chance' in first


def test_few_people_are_said_to_be_few(compared):
  for row in compared['tables']['gain']:
    row['coverage'] = '93.6 to 97.5 of 100'
  assert 'intervals are approximate' in page.plain_answer(compared)[2]


def test_several_data_sets_are_counted():
  gains, controls = [], []
  for data, shift in (('jester', 0.0), ('ukp_convarg', -0.034), ('x_y', 0.1)):
    row = gain_row(0.034 + shift, 0.029 + shift, 0.04 + shift, data=data)
    gains.append(row)
    controls += [control | {'data': data} for control in PERSONAL]
  first, second, third = answer(gains, controls)
  assert first.startswith('On 2 of 3 data sets most comparisons show a gain')
  assert 'from +3.4 points [+2.9, +4.0] on Jester jokes' in first
  assert 'to +13.4 points [+12.9, +14.0] on x y' in first
  assert 'on UKPConvArg1 arguments (items by number) none is shown' in first
  assert 'Of 3 comparisons 0.1 would gain by chance' in first
  assert 'for new people (2 of 3 data sets)' in third
  assert second
  tables = {'gain': gains, 'controls': controls}
  assert [name for name, _ in page.details({'tables': tables})] == [
    'Jester jokes (items by number)',
    'UKPConvArg1 arguments (items by number)',
    'x y (items by number)',
  ]


def test_methods_without_a_role_are_personal_if_that_was_tested():
  old = {name: value for name, value in GAIN.items() if name != 'role'}
  assert 'It helps' in answer([old], PERSONAL)[0]
  assert 'no personal model' in answer([old])[0]


def test_every_kind_has_words():
  assert set(verdicts.GAINS) < set(verdicts.KINDS)
