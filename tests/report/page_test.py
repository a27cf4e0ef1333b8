import html.parser
import re

import pytest

from prm_jax.report import page
from tests.report.made_rows import BASE, control_row, gain_row

PERSONAL = (
  control_row('swapped_people', 0.02, 0.03),
  control_row('population_coefficients', 0.01, 0.02),
)
GAIN = gain_row(0.034, 0.029, 0.04)


# ---------------------------------------------------------------------- page


class Reader(html.parser.HTMLParser):
  """Collects the tags, attributes and text of a page."""

  def __init__(self):
    super().__init__()
    self.tags, self.text, self.open = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ('meta', 'img', 'source'):
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
  assert len(images) == 4  # the lead, and three of the data set
  assert all(len(attrs['alt']) > 40 for attrs in images)
  assert 'PReF +3.40 [+2.90, +4.00], personal' in images[0]['alt'].replace(
    'over one model for everyone', 'PReF'
  )
  assert 'PReF: 60.0 at 0, 70.0 at 50 answers' in images[1]['alt']
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
  assert 'link' not in {tag for tag, _ in reader.tags}
  # One script, of the page itself: it sorts tables and opens folds on paper.
  assert [attrs for tag, attrs in reader.tags if tag == 'script'] == [{}]
  for _, attrs in reader.tags:
    assert 'href' not in attrs
    for source in {'src', 'srcset'} & set(attrs):
      assert attrs[source].startswith('data:image/svg+xml;base64,')
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
  assert [tag for tag, _ in reader.tags].count('script') == 1
  assert text.count('<script') == 1
  assert 'alert("' not in text
  assert name.replace('_', ' ') in ''.join(reader.text)


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


def shown(results, tmp_path):
  page.write_page(results, tmp_path / 'index.html')
  reader, text = read(tmp_path / 'index.html')
  return reader, text, ' '.join(''.join(reader.text).split())


def test_the_order_of_a_page(compared, tmp_path):
  compared['tables']['controls'][-1]['leak'] = True
  _, text, _ = shown(compared, tmp_path)
  order = [
    'aria-label="The answer"',
    '>It helps: ',
    '>Trust nothing of this',
    'class="warning"',
    'Ties are 12 %',
    'class="lead"',
    '>Controls<',
    'All that was measured',
    'class="fold"',
    'your data</h3>',
    'Calibration<',
    'With ties',
    'Methods left out',
    'How people differ in habits',
    'What it would serve',
    'How to read this page',
    'Configuration',
  ]
  places = [text.index(words, text.index('<body>')) for words in order]
  assert places == sorted(places)


def test_three_sentences_are_paragraphs_and_the_rest_is_folded(
  compared, tmp_path
):
  _, text, _ = shown(compared, tmp_path)
  answer = text[text.index('class="answer"') : text.index('</section>')]
  assert answer.count('<p>') == 3
  assert '<li>' not in answer
  fold = text[text.index('<details class="fold">') :]
  fold = fold[: fold.index('How to read')]
  assert 'LoRe gains +3.00 points' in fold
  assert 'open' not in fold[: fold.index('>')]


def test_each_data_set_has_its_fold(tmp_path):
  results = full_results()
  for name in ('accuracy', 'gain', 'controls', 'calibration', 'ceilings'):
    rows = results['tables'][name]
    rows += [row | {'data': 'ukp_convarg'} for row in rows]
  _, text, content = shown(results, tmp_path)
  folds = text.split('<details class="fold">')[1:]
  assert len(folds) == 2
  assert 'Jester jokes (items by number)</h3>' in folds[0]
  assert 'UKPConvArg1 arguments (items by number)</h3>' in folds[1]
  assert 'UKPConvArg1' not in folds[0].partition('<h3>')[0]
  assert 'Data set by data set' in content
  for fold in folds:
    assert fold.count('<img') >= 2
    assert 'Accuracy</h4>' in fold


def test_many_controls_are_counted_and_folded(tmp_path):
  results = full_results()
  results['tables']['controls'] *= 20
  _, text, content = shown(results, tmp_path)
  before, after = text.split('<details class="fold">')
  assert '20 personal' in before
  assert '+2.50 [+2.00, +3.00]' not in before[before.index('>Controls<') :]
  assert after.count('+2.50 [+2.00, +3.00]') == 20
  assert 'All controls' in content


def test_tables_sort_and_open_on_paper(compared, tmp_path):
  _, text, _ = shown(compared, tmp_path)
  script = text[text.index('<script>') :]
  for words in ('ariaSort', "createElement('button')", 'beforeprint', "'n/a'"):
    assert words in script
  assert 'prefers-color-scheme: dark' in text
  assert '@media print' in text


def test_every_picture_has_words(compared, tmp_path):
  reader, _, _ = shown(compared, tmp_path)
  images = [attrs for tag, attrs in reader.tags if tag == 'img']
  assert len(images) == 4
  lead = images[0]['alt']
  assert '+3.40 [+2.80, +4.00], personal' in lead
  assert "over that model with each person's habits +1.90" in lead
  assert '+1.20 [+0.60, +1.80] with 5' in lead
  assert all(len(attrs['alt']) > 40 for attrs in images)


def test_the_lead_says_what_was_resampled(compared, tmp_path):
  _, text, content = shown(compared, tmp_path)
  assert 'people and prompts (80 people, 340 prompts, 2,400' in content
  assert 'intervals over people alone' in content
  assert re.search(r'<source media="[^"]*" srcset="data:image/svg', text)


def test_code_names_stay_in_the_configuration(compared, tmp_path):
  _, _, content = shown(compared, tmp_path)
  content = content[: content.index('Configuration')]
  content = content[content.index('Compare'.lower()) :]
  for name in ('new_pairs', 'new_people', 'swapped_people', 'length_only'):
    assert name not in content


def test_long_answers_of_other_studies_are_folded(tmp_path):
  answer = [f'Sentence {i}.' for i in range(10)]
  _, text, content = shown({'answer': answer, 'tables': {}}, tmp_path)
  assert '4 more' in content
  assert all(sentence in text for sentence in answer)


def test_an_audit_of_a_trained_model_is_a_table(compared, tmp_path):
  audit = {'tables': {'audit': compared['tables']['audit']}, 'answer': ['A.']}
  _, _, content = shown(audit, tmp_path)
  assert 'variance of served stance' in content
  assert '0.004 [0.003, 0.005]' in content
  assert 'Agreement with what is false' not in content
