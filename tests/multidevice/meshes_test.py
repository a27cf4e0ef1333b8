import pytest

from tests.multidevice import devices


@pytest.fixture(scope='module')
def report():
  return devices.report('meshes.py', 4)


@pytest.mark.parametrize('name', ['four', 'square', 'last'])
def test_a_fit_on_a_mesh_finds_the_same(report, name):
  assert report['devices'] == 4
  assert report['spread'] > 0.1
  assert report[name] < 1e-3
  assert report[f'{name} people'] == 6  # those of the padding are gone


def test_a_mesh_of_one_device_computes_there(report):
  assert report['on'] == ['3']


def test_the_mesh_in_use_reaches_fits_that_are_given_none(report):
  assert report['in use'] == 4


@pytest.mark.parametrize('name', ['4 to 1', '1 to 4'])
def test_a_state_of_one_mesh_goes_on_on_another(report, name):
  assert report[name] < 1e-3


def test_rows_texts_and_people_are_split(report):
  # 299 rows, 30 texts and 6 people, padded to 300, 32 and 8.
  assert report['split'] == {'rows': 75, 'value': 8, 'people': 2}
