"""Results as Markdown: every table, its notes and its columns."""

from prm_jax.report import markdown, page, tables

OWN = page.Page(
  specs={
    'squares': tables.Spec(
      'All squares',
      'Of whole numbers.',
      {'number': ('count', 'n'), 'square': ('number', 'square')},
    ),
    'drawn': None,
  }
)


def written(own=page.PLAIN, notes=(), **made):
  results = {'tables': made, 'notes': list(notes)}
  return markdown.written('full.json', results, own)


def test_a_table_with_its_heading_and_note():
  rows = [{'n': n, 'square': n * n, 'unused': 1} for n in (2, 3)]
  assert written(OWN, squares=rows) == (
    '## full.json\n'
    '\n'
    '\n'
    '### All squares\n'
    '\n'
    'Of whole numbers.\n'
    '\n'
    '| number | square |\n'
    '| --- | --- |\n'
    '| 2 | 4.000 |\n'
    '| 3 | 9.000 |\n'
  )


def test_notes_come_first():
  lines = written(notes=('One.', 'Two.'), t=[{'a': 1}]).splitlines()
  assert lines[:4] == ['## full.json', '', '* One.', '* Two.']


def test_a_table_that_the_study_does_not_know_is_shown_as_it_stands():
  text = written(OWN, other_rows=[{'method': 'pref', 'loss': 0.25}])
  assert '### Other rows\n' in text
  assert '| PReF | 0.25 |' in text


def test_what_is_drawn_alone_and_what_is_empty_are_left_out():
  text = written(OWN, drawn=[{'a': 1}], squares=[])
  assert '###' not in text


def test_a_stroke_in_a_cell_does_not_end_it():
  text = written(t=[{'name': 'a|b'}])
  assert '| a\\|b |' in text


def test_long_tables_are_counted():
  many = [{'n': n} for n in range(301)]
  text = written(t=many)
  assert '301 rows: see `results/full.json`.' in text
  assert '| 17 |' not in text
  assert '| 17 |' in written(t=many[:300])


def test_controls_are_a_table_of_their_own():
  control = {'control': 'slot_probe', 'value': 0.5, 'quantity': 'accuracy'}
  assert 'format tells the slot' in written(controls=[control])
