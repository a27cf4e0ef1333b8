"""The hazard page: sections and tables from results.json alone."""

import pytest

from experiments.echo_chambers import page as hazard
from prm_jax.report import page

SAFEGUARDS = ('none', 'shrinkage', 'residual', 'floor', 'chain', 'matching')


def columns(name, value):
  return {name: value, f'{name}_low': value - 0.1, f'{name}_high': value + 0.1}


def results():
  rows = []
  for q in (0.1, 0.5):
    for i, safeguard in enumerate(SAFEGUARDS):
      row = {
        'method': 'hierarchical',
        'safeguard': safeguard,
        'loving_fraction': q,
        'seeds': 5,
      }
      row |= columns('fit_gain', 1.0 - 0.1 * i)
      row |= columns('stance_variance', 0.05 - 0.01 * i)
      row |= columns('agreement_false_worst_decile_added', 0.2)
      rows.append(row)
    rows.append({**rows[-1], 'method': 'pref', 'safeguard': 'none'})
    rows.append({**rows[-1], 'method': 'aggregate'})
  curve = [
    {
      'method': 'hierarchical',
      'safeguard': s,
      'loving_fraction': 0.1,
      'round': t,
      **columns('polarization', 0.05 + 0.001 * t),
    }
    for s in ('none', 'matching')
    for t in range(4)
  ]
  certificate = [
    {
      'loving': 0.1,
      'accuracy': a,
      'key_error': 0.05,
      'stated': 0.0,
      'text': False,
      'correlation': 0.3,
      'people': 400,
      'serve': 'tilt',
      'method': 'hierarchical',
      'safeguard': 'matching',
      'verdict': 'holds',
      'seeds': 5,
      **columns('fit_kept', 0.9),
      **columns('stance_variance_removed', a),
      # At a blind detector nothing is shown to be added: there is no ratio.
      **(columns('agreement_false_worst_removed', a) if a > 0.5 else {}),
    }
    for a in (0.5, 0.8, 1.0)
  ]
  planted = [
    {
      'fault': 'neutral',
      'is_fault': False,
      'measure': 'stance-flip gap',
      'detector_accuracy': 0.9,
      'seeds': 200,
      **columns('flagged', 0.02),
    }
  ]
  return {
    'study': 'echo_chambers',
    'seeds': [0, 1],
    'config': {},
    'answer': ['What holds?'],
    'tables': {
      'hazard': rows,
      'rounds': curve,
      'certificate': certificate,
      'planted': planted,
    },
  }


def test_every_section_is_drawn_with_words_for_it():
  found = {s['title']: s['pictures'] for s in hazard.sections(results())}
  # Two hazards at two shares of lovers.
  assert len(found['Personal fit against each hazard']) == 4
  assert len(found['Methods without a safeguard']) == 4
  assert len(found['Opinions, round by round']) == 1
  assert len(found['How good the detector has to be']) == 1
  for pictures in found.values():
    for picture in pictures:
      assert picture.svg.lstrip().startswith('<?xml')
      assert len(picture.alt) > 40
  frontier = found['Personal fit against each hazard'][0].alt
  assert 'matching 0.5 and 0' in frontier


def test_methods_with_few_safeguards_have_no_frontier():
  few = results()
  few['tables']['hazard'] = few['tables']['hazard'][:3]
  found = {s['title']: s['pictures'] for s in hazard.sections(few)}
  assert found['Personal fit against each hazard'] == []


def test_page_holds_tables_and_how_to_read_them(tmp_path):
  path = tmp_path / 'index.html'
  page.write_page(results(), path, hazard.PAGE)
  text = path.read_text()
  for words in ('Certificate', 'Hazards', 'Planted faults', 'Stance-flip gap'):
    assert words in text
  assert 'AUC: how often' not in text  # another study's legend
  assert '10%' in text


@pytest.mark.parametrize('name', hazard.TABLES)
def test_a_missing_table_is_left_out(tmp_path, name):
  some = results()
  some['tables'].pop(name, None)
  page.write_page(some, tmp_path / 'index.html', hazard.PAGE)
  assert (tmp_path / 'index.html').exists()


def test_other_studies_keep_their_legend(tmp_path):
  path = tmp_path / 'index.html'
  page.write_page({'study': 'x', 'tables': {}, 'answer': ['y']}, path)
  assert 'AUC: how often' in path.read_text()
