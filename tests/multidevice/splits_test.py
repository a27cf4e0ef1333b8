import math

import pytest

from tests.multidevice import devices

MESHES = ('2,2,2', '1,8,1', '2,1,4')
# Of a step's program: 16 rows of 2 texts of 8 tokens, a decoder of width 32.
WIDTH = 32


@pytest.fixture(scope='module')
def first_steps():
  return devices.report('splits.py', 8, 'pref@2,2,2', 'plan@2,2,2')


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


def axes_of(shape):
  sizes = shape.split('[')[1].rstrip(']').split(',')
  return [int(size) for size in sizes if size]


def test_a_plan_says_what_a_step_holds_computes_and_exchanges(first_steps):
  report = first_steps['plan@2,2,2']
  # 10,001 people, 16 pairs of 32 tokens, a decoder of 2 layers of width 64.
  assert report['devices'] == 8
  # Parameters and two moments of float32, a quarter each, and some of people.
  state = 3 * report['parameters'] * 4 / 4
  people = 10_004 * (3 * 8 + 4) * 4 / 4
  assert report['argument_gb'] * 1e9 == pytest.approx(state + people, rel=0.05)
  assert report['collectives']
  for one in report['collectives']:
    for shape in one['shapes']:
      # Without a constraint in the layers, more tokens meet on a device than
      # the 256 that it has of 1,024; no axis of a kernel is longer.
      assert max(axes_of(shape), default=0) <= 256, one
      # The smallest kernel has 64 x 64: it is cast before it is gathered.
      gathers = one['kind'] == 'all-gather' and shape.startswith('f')
      assert not gathers or one['elements'] < 64 * 64, one
  # Forward, again for the gradient, and the gradient: 8 operations a
  # parameter of the layers and token, but for what needs no second time.
  kernels = 2 * (4 * 64 * 64 + 3 * 64 * 192)
  products = 2 * kernels * 2 * 16 * 32
  assert 3 * products < report['flops_per_step'] < 5 * products
  assert report['loops_counted_once'] == 0
  assert 'params/reward/basis' in [one['path'] for one in report['replicated']]


@pytest.mark.slow
@pytest.mark.parametrize('mesh', MESHES)
@pytest.mark.parametrize(
  'kind', ['aggregate', 'pref', 'lore', 'polar', 'critique_grpo']
)
def test_a_fit_on_a_mesh_is_that_of_one_device(fits, kind, mesh):
  found = fits[f'{kind}@{mesh}']
  check_split(found, f'{kind}@{mesh}')
  if kind in ('pref', 'lore'):
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
  data, fsdp, _ = map(int, mesh.split(','))
  own = program['tokens'] // (data * fsdp)
  for how, shapes, _ in program['collectives']:
    for shape in shapes:
      axes = axes_of(shape)
      size = math.prod(axes)
      # No bank, and no tokens of other devices; a kernel's axes are shorter.
      assert max(axes, default=0) <= max(own, 64), shape
      assert size < program['parameters'], shape
      if how == 'all-reduce':
        continue  # sums of gradients, and of a layer's halves
      assert size < program['tokens'] * WIDTH, shape  # activations
      # A kernel [32, 32] or larger: cast before it is gathered.
      assert not (
        how == 'all-gather' and shape[:3] == 'f32' and size >= WIDTH**2
      )


@pytest.mark.slow
@pytest.mark.parametrize('other', ['on 8', 'on 1'])
def test_a_state_of_a_mesh_that_splits_everything_goes_on_elsewhere(
  fits, other
):
  found = fits['resume@2,2,2']
  assert found['spread'] > 1e-3
  assert found[other] < 1e-3
