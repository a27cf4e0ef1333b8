import base64
import xml.etree.ElementTree

from prm_jax.report import figures

BASE = {'data': 'jester', 'features': 'identity', 'split': 'new_people'}


def accuracy(method, answers, value=0.6, **changes):
  return {
    **BASE,
    'method': method,
    'answers': answers,
    'accuracy': value,
    'accuracy_low': value - 0.01,
    'accuracy_high': value + 0.01,
    **changes,
  }


def results(**tables):
  return {'tables': tables}


def test_a_method_looks_the_same_in_every_figure():
  look = figures.styles(
    results(
      accuracy=[accuracy(m, 0) for m in ('pref', 'aggregate', 'lore')],
      gain=[{'method': 'pref'}],
      calibration=[{'method': 'hierarchical'}],
    )
  )
  assert list(look) == ['aggregate', 'hierarchical', 'lore', 'pref']
  assert len({style.color for style in look.values()}) == 4
  assert len({style.marker for style in look.values()}) == 4


def test_accuracy_is_drawn_against_answers_in_order():
  rows = [accuracy('pref', n, v) for n, v in ((50, 0.7), (2, 0.62), (0, 0.6))]
  rows += [accuracy('majority_of_others', 0, 0.65)]
  (picture,) = figures.answers_pictures(results(accuracy=rows))
  assert 'PReF: 60.0 at 0, 70.0 at 50 answers' in picture.alt
  assert 'majority of others: 65.0' in picture.alt
  assert 'Jester jokes (items by number), new people' in picture.alt


def test_one_number_of_answers_is_no_curve():
  rows = [accuracy('pref', 'all'), accuracy('pref', 10)]
  assert figures.answers_pictures(results(accuracy=rows)) == []


def test_pictures_are_svg_and_split_by_group():
  rows = [
    accuracy('pref', n, split=split)
    for n in (0, 10)
    for split in ('new_people', 'new_topics')
  ]
  pictures = figures.answers_pictures(results(accuracy=rows))
  assert len(pictures) == 2
  for picture in pictures:
    code = picture.uri.removeprefix('data:image/svg+xml;base64,')
    root = xml.etree.ElementTree.fromstring(base64.b64decode(code))
    assert root.tag.endswith('svg')


def test_missing_intervals_are_drawn_without_a_band():
  rows = [
    accuracy('pref', n, accuracy_low=None, accuracy_high=None) for n in (0, 10)
  ]
  assert len(figures.answers_pictures(results(accuracy=rows))) == 1


def test_people_who_gain_and_lose_are_counted():
  rows = [
    {**BASE, 'method': 'pref', 'quantile': q / 4, 'gain': (q - 1) / 10}
    for q in range(5)
  ]
  (picture,) = figures.gain_pictures(results(person_gain=rows))
  assert '60% of people gain, 20% lose, median +10.0 points' in picture.alt


def test_gap_of_calibration_is_weighted_by_pairs():
  rows = [
    {**BASE, 'method': 'pref', 'confidence': c, 'accuracy': a, 'pairs': n}
    for c, a, n in ((0.6, 0.6, 30), (0.9, 0.8, 10))
  ]
  (picture,) = figures.calibration_pictures(results(calibration=rows))
  assert 'PReF: mean gap 2.5 points' in picture.alt


def test_most_answers_are_chosen_by_method_and_group():
  rows = [
    accuracy('pref', 0),
    accuracy('pref', 50),
    accuracy('lore', 20),
    accuracy('pref', 10, split='new_topics'),
    accuracy('pref', 'all', split='new_topics'),
  ]
  chosen = figures.most_answers(rows)
  assert chosen == [rows[1], rows[2], rows[4]]


def test_many_methods_still_look_different():
  rows = [{**BASE, 'method': f'm{i:02d}'} for i in range(30)]
  look = figures.styles(results(accuracy=rows))
  assert len({(s.color, s.marker) for s in look.values()}) == 30


def test_long_names_stand_below_each_other_in_the_legend():
  heights = []
  for length in (20, 40):
    figure, axes = figures.panel(('data', '', ''))
    for i in range(4):
      axes.plot([0, 1], [i, i], label=f'{i}' * length)
    svg = figures.draw(figure, '').svg
    root = xml.etree.ElementTree.fromstring(svg)
    heights.append(float(root.attrib['height'].removesuffix('pt')))
  assert heights[1] > heights[0]
