import math

import pytest

from tests.multidevice import devices

MESHES = ('2,2,2', '1,8,1', '2,1,4')
# Of a step's program: 16 rows of 2 texts of 8 tokens, a decoder of width 32.
WIDTH = 32


@pytest.fixture(scope='module')
def first_steps():
  return devices.report('splits.py', 8, 'pref@2,2,2')


@pytest.fixture(scope='module')
def fits():
  names = [
    f'{kind}@{mesh}'
    for kind in ('aggregate', 'pref', 'lore', 'polar', 'critique_grpo')
    for mesh in MESHES
  ]
  return devices.report('splits.py', 8, '--whole', *names, 'resume@2,2,2')


def check_split(found, name):
  """Asserts equality with one device, and that devices hold their part."""
  kind, sizes = name.split('@')
  data, fsdp, model = map(int, sizes.split(','))
  assert found['gradients'] < 1e-5
  assert found['parameters'] <= 1.15 / (fsdp * model)
  if kind in ('aggregate', 'pref', 'lore'):
    assert found['people'] <= 1.15 / (data * fsdp)


def test_the_first_step_on_a_mesh_that_splits_everything(first_steps):
  assert first_steps['devices'] == 8
  check_split(first_steps['pref@2,2,2'], 'pref@2,2,2')


@pytest.mark.slow
@pytest.mark.parametrize('mesh', MESHES)
@pytest.mark.parametrize(
  'kind', ['aggregate', 'pref', 'lore', 'polar', 'critique_grpo']
)
def test_a_fit_on_a_mesh_is_that_of_one_device(fits, kind, mesh):
  found = fits[f'{kind}@{mesh}']
  check_split(found, f'{kind}@{mesh}')
  if 'predictions' in found:
    assert found['spread'] > 1e-3
    assert found['predictions'] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('mesh', MESHES)
@pytest.mark.parametrize('kind', ['aggregate', 'pref', 'lore'])
def test_a_step_gathers_no_bank_no_float_parameters_no_activations(
  fits, kind, mesh
):
  program = fits[f'{kind}@{mesh}']['program']
  assert program['collectives']
  for how, shapes, _ in program['collectives']:
    for shape in shapes:
      kind_of, _, sizes = shape.rstrip(']').partition('[')
      axes = [int(size) for size in sizes.split(',') if size]
      size = math.prod(axes)
      assert max(axes, default=0) < program['people'] // 2, shape  # a bank
      assert size < program['parameters'], shape
      if how == 'all-reduce':
        continue  # sums of gradients, and of a layer's halves
      assert size < program['tokens'] * WIDTH, shape  # activations
      # A kernel [32, 32] or larger: cast before it is gathered.
      assert not (how == 'all-gather' and kind_of == 'f32' and size >= WIDTH**2)


@pytest.mark.slow
@pytest.mark.parametrize('other', ['on 8', 'on 1'])
def test_a_state_of_a_mesh_that_splits_everything_goes_on_elsewhere(
  fits, other
):
  found = fits['resume@2,2,2']
  assert found['spread'] > 1e-3
  assert found[other] < 1e-3
