import xml.etree.ElementTree

from prm_jax.report import lead


def size(picture):
  root = xml.etree.ElementTree.fromstring(picture.svg)
  return tuple(
    float(root.attrib[name].removesuffix('pt')) for name in ('width', 'height')
  )


def test_nothing_compared_has_no_picture():
  assert lead.lead({}) is None
  assert lead.lead({'tables': {'gain': [{'method': 'length_only'}]}}) is None


def test_wide_and_narrow_say_the_same(compared):
  found = lead.lead(compared)
  assert found.wide.alt == found.narrow.alt
  width, height = size(found.wide)
  narrow, tall = size(found.narrow)
  assert narrow < 260 < width  # points: letters of ten are legible on a phone
  assert tall > height  # panels below each other


def test_the_chosen_method_alone_is_drawn(compared):
  found = lead.lead(compared)
  assert 'LoRe' not in found.wide.alt
  for row in compared['tables']['gain']:
    del row['chosen']
  found = lead.lead(compared)
  assert 'LoRe +3.00 [+2.40, +3.60]' in found.wide.alt
  assert 'PReF +3.40 [+2.80, +4.00], personal' in found.wide.alt


def test_new_people_by_number_of_answers(compared):
  assert 'New people by number of answers' in lead.lead(compared).wide.alt
  tables = compared['tables']
  tables['gain'] = [
    row for row in tables['gain'] if row['answers'] in ('all', 50)
  ]
  found = lead.lead(compared)
  assert 'New people by number of answers' not in found.wide.alt
  assert 'Answers:' not in found.caption


def test_no_stroke_without_an_interval_over_people(compared):
  for row in compared['tables']['gain']:
    del row['gain_people_low'], row['gain_people_high']
  assert 'people alone' not in lead.lead(compared).caption


def test_missing_intervals_are_drawn(compared):
  for row in compared['tables']['gain']:
    row['gain_low'] = row['gain_high'] = None
  found = lead.lead(compared)
  assert '+3.40' in found.wide.alt
  assert ', personal' not in found.wide.alt


def test_many_comparisons_are_drawn_on_the_first_split(compared):
  rows = compared['tables']['gain']
  compared['tables']['gain'] = [
    {**row, 'data': f'data{i}', 'method': method, 'chosen': False}
    for i in range(5)
    for method in ('pref', 'lore', 'rfm', 'vpl')
    for row in rows
    if row['baseline'] == 'aggregate' and row['method'] == 'pref'
  ]
  found = lead.lead(compared)
  assert 'seen people, new pairs' in found.wide.alt
  assert 'new prompts' not in found.wide.alt
