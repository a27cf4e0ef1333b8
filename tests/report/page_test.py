import html.parser

import pytest

from prm_jax.report import page

BASE = {
  'data': 'jester',
  'features': 'identity',
  'method': 'pref',
  'split': 'new_people',
}


def gain_row(gain, low, high, *, answers='all', **changes):
  row = {
    **BASE,
    'role': 'personal',
    'baseline': 'aggregate',
    'answers': answers,
    'judgements': 'all',
    'gain': gain,
    'gain_low': low,
    'gain_high': high,
    'smallest_detectable_gain': 0.0081,
    'people': 100,
    'pairs': 5000,
    'seeds': 3,
  }
  return row | changes


def control_row(control, low, high, *, answers='all', **changes):
  row = {
    **BASE,
    'answers': answers,
    'control': control,
    'quantity': 'accuracy difference',
    'value': (low + high) / 2,
    'value_low': low,
    'value_high': high,
  }
  return row | changes


def answer(gains, controls=()):
  tables = {'gain': gains, 'controls': list(controls)}
  return page.plain_answer({'tables': tables})


PERSONAL = (
  control_row('swapped_people', 0.02, 0.03),
  control_row('population_coefficients', 0.01, 0.02),
)
GAIN = gain_row(0.034, 0.029, 0.04)


def test_a_gain_that_is_personal():
  first, sentence = answer([GAIN], PERSONAL)
  assert 'jester (identity): 1 of 1 show a gain that is personal' in first
  assert 'pref gains +3.40 points [+2.90, +4.00] over aggregate' in sentence
  assert 'the gain is personal' in sentence
  assert '+2.50 points [+2.00, +3.00]' in sentence
  assert sentence.startswith('jester (identity), new people, with all their')


@pytest.mark.parametrize('failing', [0, 1])
def test_a_gain_that_is_not_personal(failing):
  controls = list(PERSONAL)
  nothing = {'value': 0.001, 'value_low': -0.001}
  controls[failing] = controls[failing] | nothing
  first, sentence = answer([GAIN], controls)
  assert 'a gain that is not personal' in first
  assert 'the gain is not personal' in sentence
  for gain in (gain_row(0, -0.01, 0.01), gain_row(-0.03, -0.04, -0.02)):
    assert 'not personal' in answer([gain], controls)[1]


def test_a_control_that_is_too_unsure_shows_nothing_either_way():
  controls = [PERSONAL[0] | {'value': 0.03, 'value_low': -0.01}, PERSONAL[1]]
  first, sentence = answer([GAIN], controls)
  assert 'a gain that is not shown to be personal' in first
  assert 'it is not shown that it is personal' in sentence


def test_a_gain_without_both_controls_is_not_called_personal():
  for controls in ([], PERSONAL[:1]):
    first, sentence = answer([GAIN], controls)
    assert 'not fully tested' in first
    assert 'was not fully tested' in sentence
    assert 'is personal (' not in sentence


def test_no_gain_says_what_could_have_been_seen():
  first, sentence = answer([gain_row(0.003, -0.002, 0.009)], PERSONAL)
  assert '1 of 1 show no gain' in first
  assert 'no gain is shown over aggregate' in sentence
  assert '+0.30 points [-0.20, +0.90]' in sentence
  assert 'at least 0.81 points would have been seen with 80 % power' in sentence


def test_an_interval_that_ends_at_zero_shows_no_gain():
  _, sentence = answer([gain_row(0.003, 0.0, 0.009)], PERSONAL)
  assert 'no gain is shown' in sentence


def test_no_gain_and_not_personal_says_both():
  controls = [control_row('swapped_people', -0.01, 0.01)]
  _, sentence = answer([gain_row(0.003, -0.002, 0.009)], controls)
  assert 'no gain is shown' in sentence
  assert 'the gain is not personal' in sentence


def test_a_loss_is_called_a_loss():
  first, sentence = answer([gain_row(-0.012, -0.02, -0.004)], PERSONAL)
  assert '1 of 1 show a loss' in first
  assert 'worse than aggregate, -1.20 points [-2.00, -0.40]' in sentence
  assert 'personal' not in sentence


def test_an_unmeasured_gain_is_not_judged():
  for low in (None, float('nan')):
    first, sentence = answer([gain_row(0.01, low, low)])
    assert 'nothing that could be measured' in first
    assert 'nothing can be said: nothing varies' in sentence
  (_, sentence) = answer([gain_row(0.01, None, None, people=1)])
  assert 'one person alone' in sentence


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
  _, sentence = answer(rows, controls)
  assert 'with 50 answers of each' in sentence
  assert 'the gain is personal' in sentence


def test_controls_of_another_method_or_split_do_not_count():
  for change in ({'method': 'lore'}, {'split': 'new_pairs'}):
    controls = [row | change for row in PERSONAL]
    assert 'not fully tested' in answer([GAIN], controls)[1]


def test_methods_that_know_nobody_are_not_judged():
  rows = [GAIN | {'role': role} for role in ('aggregate', 'control', None)]
  rows += [GAIN | {'judgements': '50+'}]
  (only,) = answer(rows)
  assert 'no personal model' in only


def test_leaks_and_broken_exchange_are_warned_of():
  probe = control_row('slot_probe', 0.6, 0.7, leak=True)
  exchange = control_row('exchange', 0, 0, value=0.2)
  sentences = answer([GAIN], [probe, exchange])
  assert sum('leak in jester' in s for s in sentences) == 1
  assert sum('exchanging the two answers' in s for s in sentences) == 1
  clean = [probe | {'leak': False}, exchange | {'value': 1e-6}]
  assert not any('Warning' in s for s in answer([GAIN], clean))


# ---------------------------------------------------------------------- page


class Reader(html.parser.HTMLParser):
  """Collects the tags, attributes and text of a page."""

  def __init__(self):
    super().__init__()
    self.tags, self.text, self.open = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ('meta', 'img'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def read(path):
  reader = Reader()
  text = path.read_text(encoding='utf-8')
  reader.feed(text.removeprefix('<!DOCTYPE html>'))
  assert not reader.open
  return reader, text


def full_results(name='jester'):
  base = BASE | {'data': name}
  accuracy = [
    {
      **base,
      'method': method,
      'answers': answers,
      'accuracy': 0.6 + answers / 500,
      'accuracy_low': 0.59,
      'accuracy_high': 0.75,
      'people': 100,
    }
    for method in ('aggregate', 'pref')
    for answers in (0, 10, 50)
  ]
  calibration = [
    {**base, 'confidence': c, 'accuracy': c, 'pairs': 10.0, 'answers': 'all'}
    for c in (0.55, 0.75, 0.95)
  ]
  person_gain = [
    {**base, 'answers': 50, 'quantile': q, 'gain': q - 0.4}
    for q in (0.0, 0.5, 1.0)
  ]
  recovery = {**base, 'ratio': 0.93, 'ratio_low': 0.9, 'ratio_high': 0.95}
  return {
    'study': f'study_of {name}',
    'config': {'path': name},
    'seeds': [0, 1],
    'notes': [name],
    'tables': {
      'accuracy': accuracy,
      'gain': [GAIN | {'data': name}],
      'controls': [row | {'data': name} for row in PERSONAL],
      'calibration': calibration,
      'person_gain': person_gain,
      'recovery': [recovery],
      'ceilings': [{'data': name, 'ceiling': 0.123456}],
    },
  }


def test_page_holds_answer_figures_and_tables(tmp_path):
  path = tmp_path / 'deep' / 'index.html'
  page.write_page(full_results(), path)
  reader, _ = read(path)
  images = [attrs for tag, attrs in reader.tags if tag == 'img']
  assert len(images) == 3
  assert all(len(attrs['alt']) > 40 for attrs in images)
  assert 'pref: 60.0 at 0, 70.0 at 50 answers' in images[0]['alt']
  content = ''.join(reader.text)
  for words in (
    'the gain is personal',
    '+3.40 [+2.90, +4.00]',
    '0.930 [0.900, 0.950]',
    '0.1235',
    'Seeds: 0, 1',
  ):
    assert words in content, words


def test_page_needs_no_network(tmp_path):
  page.write_page(full_results(), tmp_path / 'index.html')
  reader, text = read(tmp_path / 'index.html')
  assert not [tag for tag, _ in reader.tags if tag in ('script', 'link')]
  for _, attrs in reader.tags:
    assert 'href' not in attrs
    if 'src' in attrs:
      assert attrs['src'].startswith('data:image/svg+xml;base64,')
  assert 'url(' not in text
  assert '@import' not in text
  assert (
    'meta',
    {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'},
  ) in reader.tags


def test_data_cannot_write_html(tmp_path):
  """Names come from anybody's files."""
  name = '<script>alert("x")</script> & $x_$'
  page.write_page(full_results(name), tmp_path / 'index.html')
  reader, text = read(tmp_path / 'index.html')
  assert 'script' not in {tag for tag, _ in reader.tags}
  assert '<script' not in text
  assert name in ''.join(reader.text)


@pytest.mark.parametrize(
  'results',
  [
    {},
    {'tables': {}},
    {'tables': None, 'config': None, 'seeds': None},
    {'tables': {'accuracy': [], 'gain': [], 'odd': []}},
  ],
)
def test_missing_and_empty_tables_are_left_out(tmp_path, results):
  page.write_page(results, tmp_path / 'index.html')
  reader, _ = read(tmp_path / 'index.html')
  assert not [tag for tag, _ in reader.tags if tag in ('table', 'img')]
  assert 'no personal model' in ''.join(reader.text)


def test_every_table_alone_makes_a_page(tmp_path):
  results = full_results()
  for name, rows in results['tables'].items():
    page.write_page({'tables': {name: rows}}, tmp_path / f'{name}.html')
    read(tmp_path / f'{name}.html')


def test_the_same_results_give_the_same_page(tmp_path):
  for name in ('one', 'two'):
    page.write_page(full_results(), tmp_path / name)
  assert (tmp_path / 'one').read_bytes() == (tmp_path / 'two').read_bytes()
