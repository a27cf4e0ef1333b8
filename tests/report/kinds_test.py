"""Kinds of pictures: what is drawn, and the words that replace it."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest

from prm_jax.report import figures, kinds

X = kinds.Axis('answers', 'answers')
Y = kinds.Axis('share', 'share (%)', 100)


def rows(*values, **more):
  """A row for 0, 1, 2 ... answers, with an interval of a tenth."""
  return [
    {'answers': i, 'share': v, 'share_low': v - 0.1, 'share_high': v + 0.1}
    | more
    for i, v in enumerate(values)
  ]


def texts(picture):
  """Returns the words in a picture: SVG keeps them as comments."""
  xml.etree.ElementTree.fromstring(picture.svg)
  return re.findall(r'<!-- (.*?) -->', picture.svg)


def drawn(monkeypatch):
  """Returns where figures are kept before they become pictures."""
  seen = []
  monkeypatch.setattr(
    figures, 'svg', lambda figure: seen.append(figure) or '<svg/>'
  )
  return seen


def test_an_axis_scales_value_and_interval():
  (row,) = rows(0.5)
  np.testing.assert_allclose(Y.of(row), [50, 40, 60])
  np.testing.assert_array_equal(X.of({'answers': 3}), [3, np.nan, np.nan])


def test_lines_say_where_they_begin_and_end():
  series = {'one': (rows(0.5, 0.75), Y), 'two': (rows(0.25, 0.5), Y)}
  picture = kinds.lines('Head', series, X, 'share (%)', at=50, limits=(0, 100))
  assert picture.alt == (
    'share (%) by answers; Head. one 50 at 0, 75 at 1; two 25 at 0, 50 at 1.'
  )
  assert {'Head', 'answers', 'share (%)', 'one', 'two'} <= set(texts(picture))


def test_lines_are_drawn_in_order_with_their_bands(monkeypatch):
  seen = drawn(monkeypatch)
  kinds.lines('h', {'one': (rows(0.5, 0.75)[::-1], Y)}, X, 'y', at=50)
  (axes,) = seen[0].axes
  line, across = axes.lines
  np.testing.assert_allclose(line.get_xdata(), [0, 1])
  np.testing.assert_allclose(line.get_ydata(), [50, 75])
  np.testing.assert_allclose(across.get_ydata(), 50)
  (band,) = axes.collections
  corners = band.get_paths()[0].vertices
  assert {(0, 40), (0, 60), (1, 65), (1, 85)} <= {
    (round(x), round(y)) for x, y in corners
  }


def test_lines_without_an_interval_are_drawn(monkeypatch):
  seen = drawn(monkeypatch)
  bare = [{'answers': i, 'share': 0.5} for i in range(2)]
  kinds.lines('h', {'one': (bare, Y)}, X, 'y')
  np.testing.assert_allclose(seen[0].axes[0].lines[0].get_ydata(), 50)


def test_many_lines_are_several_pictures_and_groups_are_apart():
  table, groups, names = [], [], []
  for group, count in (('a', 9), ('b', 1)):
    for i in range(count):
      table += rows(0.1, 0.2)
      groups += [group] * 2
      names += [f'm{i}'] * 2
  pictures = kinds.curves(table, groups, names, X, Y)
  assert [p.alt.count(' at 0,') for p in pictures] == [8, 1, 1]
  assert ['; a.' in p.alt for p in pictures] == [True, True, False]


def test_a_scatter_has_arms_along_both_axes(monkeypatch):
  seen = drawn(monkeypatch)
  table = [
    {'cost': 2.0, 'cost_low': 1.0, 'cost_high': 4.0, **row} for row in rows(0.5)
  ]
  cost = kinds.Axis('cost', 'cost')
  picture = kinds.scatter('h', table, ['mine'], cost, Y)
  assert picture.alt == 'cost and share (%); h. mine 2 and 50.'
  along, up = seen[0].axes[0].collections
  np.testing.assert_allclose(along.get_segments()[0], [[1, 50], [4, 50]])
  np.testing.assert_allclose(up.get_segments()[0], [[2, 40], [2, 60]])


def test_bars_stand_from_the_top_and_ours_look_unlike(monkeypatch):
  seen = drawn(monkeypatch)
  picture = kinds.bars(
    'h', rows(0.5, 0.25), ['a', 'b'], Y, at=30, ours=[True, False]
  )
  assert picture.alt == 'share (%); h. a 50.0; b 25.0.'
  first, second, at = seen[0].axes[0].lines
  assert (first.get_ydata(), second.get_ydata()) == ([0], [-1])
  assert first.get_color() != second.get_color()
  np.testing.assert_allclose(at.get_xdata(), 30)


def test_groups_stand_under_each_other_and_names_apart(monkeypatch):
  seen = drawn(monkeypatch)
  picture = kinds.grouped(
    'h', rows(0.5, -0.25, 0.1), ['a', 'b', 'a'], ['x', 'x', 'y'], Y
  )
  (axes,) = seen[0].axes
  assert [tick.get_text() for tick in axes.get_yticklabels()] == ['a', 'b']
  first, second = (bar.lines[0] for bar in axes.containers)
  np.testing.assert_allclose(first.get_xdata(), [50, -25])
  np.testing.assert_allclose(first.get_ydata(), [0.2, -0.8])
  np.testing.assert_allclose(second.get_xdata(), [10])
  np.testing.assert_allclose(second.get_ydata(), [-0.2])
  arms = axes.containers[0].lines[2][0].get_segments()
  np.testing.assert_allclose(arms[1][:, 0], [-35, -15])
  assert 'a, x 50.0; b, x -25.0; a, y 10.0' in picture.alt


def test_training_is_a_section_a_figure_that_some_row_has():
  table = [
    {'step': step, 'method': method, 'group': method[:1], 'right': 0.5}
    for method in ('a_one', 'b_two')
    for step in (0, 10)
  ]
  sections = kinds.training(
    table,
    [
      ('Right', 'How often.', kinds.Axis('right', 'right (%)', 100)),
      ('Other', 'Nothing.', kinds.Axis('other', 'other')),
    ],
    lambda row: row['group'],
  )
  (section,) = sections
  assert section['title'] == 'Right'
  assert section['note'].startswith('How often. Bands are')
  assert [p.alt for p in section['pictures']] == [
    'right (%) by updates; a. a one 50 at 0, 50 at 10.',
    'right (%) by updates; b. b two 50 at 0, 50 at 10.',
  ]


def test_a_line_for_each_acquisition_by_answers():
  cell = {'data': 'jester', 'features': 'identity', 'method': 'pref'}
  table = [
    *rows(0.0, 0.4, acquisition='random', **cell),
    *rows(0.0, 0.6, acquisition='variance', **cell),
    *rows(0.1, acquisition='none', **cell | {'method': 'aggregate'}),
  ]
  (section,) = kinds.by_answers(table, [('Gain', Y)])
  assert section['title'] == 'Gain'
  (picture,) = section['pictures']
  assert picture.alt == (
    'share (%) by answers of the person; Jester jokes (items by number), PReF. '
    'random 0 at 0, 40 at 1; variance 0 at 0, 60 at 1.'
  )


def test_the_same_rows_give_the_same_picture():
  one, other = (
    kinds.lines('h', {'a': (rows(0.5, 0.6), Y)}, X, 'y') for _ in range(2)
  )
  assert one.svg == other.svg


@pytest.mark.parametrize('value', [None, float('nan')])
def test_a_missing_value_leaves_a_gap(value, monkeypatch):
  seen = drawn(monkeypatch)
  table = rows(0.5, 0.6)
  table[1]['share'] = value
  kinds.lines('h', {'a': (table, Y)}, X, 'y')
  known = seen[0].axes[0].lines[0].get_ydata()
  np.testing.assert_array_equal(known, [50, np.nan])
