import pytest

from tests.multidevice import devices

# The process and its fits take a minute and a half; of gradients and one step
# on several devices the tests beside these tell.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
  """The folder where XLA writes the programs that the script compiles."""
  return tmp_path_factory.mktemp('programs')


@pytest.fixture(scope='module')
def report(programs):
  names = 'jit_(constrained|_bases)'
  flags = f'--xla_dump_to={programs} --xla_dump_hlo_module_re={names}'
  return devices.report('meshes.py', 4, flags=flags)


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


def moved(programs, name):
  """What devices exchange in a program, of those that really do."""
  texts = [
    devices.collectives(path.read_text())
    for path in programs.glob(f'*{name}*after_optimizations.txt')
  ]
  return [kinds for kinds in texts if kinds]


def test_a_step_moves_encoded_texts_and_sums(report, programs):
  del report
  steps = moved(programs, 'jit_constrained')
  assert steps
  for kinds in steps:
    # People of 3 coefficients and their weight, and texts as 3 numbers each:
    # of the 8 people and 32 texts there are, and never a text's features.
    assert kinds['all-gather'] <= {'f32[8,4]', 'f32[32,3]'}
    # Of 5 features and 3 base rewards: the gradient of the basis.
    assert {'f32[3,5]', 'f32[5,3]'} & kinds['all-reduce']
    assert set(kinds) == {'all-gather', 'all-reduce'}


def test_a_whole_data_start_adds_up_sums_of_devices(report, programs):
  del report
  starts = moved(programs, 'jit__bases')
  assert starts
  for kinds in starts:
    assert 'f32[5,5]' in kinds['all-reduce']  # sums over pairs
    assert 'f32[32,5]' not in kinds['all-gather']  # features
    assert set(kinds) == {'all-gather', 'all-reduce'}
