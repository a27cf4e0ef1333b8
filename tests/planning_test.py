import json

import pytest

from prm_jax import main, planning
from tests import backbones

REQUEST = planning.Request('config.json')


def test_a_request_that_is_none_is_refused_before_anything_is_started():
  for change, text in (
    ({'people': 0}, 'people=0: at least 1'),
    ({'adapt': 'lora:0'}, 'adapt=lora:0: whole, or lora:RANK'),
    ({'adapt': 'qlora:4'}, 'whole, or lora:RANK'),
    ({'precision': 'int8'}, 'precision=int8: one of'),
    ({'mesh': 'rows:8'}, 'write AXIS:DEVICES'),
    ({'mesh': 'fsdp:2,fsdp:4'}, 'once'),
  ):
    with pytest.raises(ValueError, match=text):
      planning.run(REQUEST._replace(**change))
  with pytest.raises(ValueError, match='device=tpu: one of'):
    planning.run(REQUEST, 'tpu')
  assert planning.rank('whole') is None
  assert planning.rank('lora:4') == 4


def test_what_cannot_be_planned_says_why(tmp_path):
  path = backbones.write(tmp_path, 'toy')
  one = planning.Request(str(path), pairs=4, length=8)
  with pytest.raises(ValueError, match=r'method=pep: .*pref.* take a backbone'):
    planning.plan(one._replace(method='pep'))
  with pytest.raises(ValueError, match='is not a JSON file'):
    planning.plan(one._replace(backbone=str(tmp_path / 'none.json')))
  with pytest.raises(ValueError, match='needs 64 devices'):
    planning.plan(one._replace(mesh='fsdp:64'))


def test_a_plan_of_eight_devices(tmp_path, capsys):
  """The command, as a person calls it, in a process of its own."""
  path, output = backbones.write(tmp_path, 'toy'), tmp_path / 'plan.json'
  status = main.run(
    [
      *('plan', f'--backbone={path}', '--mesh=data:2,fsdp:2,model:2'),
      *('--people=10001', '--pairs=16', '--length=32', '--device=v5e'),
      f'--output={output}',
    ]
  )
  assert status == 0
  report = json.loads(output.read_text())
  assert report['devices'] == 8
  config = backbones.CONFIGS['toy']
  # Parameters and two moments of float32, a quarter each, and some of people.
  parameters = report['parameters']
  assert parameters > config['vocab_size'] * config['hidden_size']
  people = 10004 * (3 * 8 + 1 + 1 + 2) * 4 / 4
  state = 3 * parameters * 4 / 4
  assert report['argument_gb'] * 1e9 == pytest.approx(state + people, rel=0.05)
  _check_collectives(report, 10001, 2 * 16 * 32 * config['hidden_size'])
  # Layers run twice a step, and once more for the gradient: at least 6 times
  # the products of the parameters, 8 but for what needs no second time.
  D, inner = config['hidden_size'], config['intermediate_size']
  kernels = config['num_hidden_layers'] * (4 * D * D + 3 * D * inner)
  products = 2 * kernels * 2 * 16 * 32
  assert 3 * products < report['flops_per_step'] < 5 * products
  told = capsys.readouterr().out
  assert 'on each of 8 devices' in told
  assert 'fits' in told


def _check_collectives(report, people, activations):
  """Asserts that nothing of the size of people or activations is exchanged."""
  assert report['collectives']
  for one in report['collectives']:
    if one['kind'] in ('all-gather', 'all-to-all'):
      assert one['elements'] < activations, one
    for shape in one['shapes']:
      sizes = shape.split('[')[1].rstrip(']').split(',')
      assert not any(size and int(size) >= people // 2 for size in sizes), one
    if one['kind'] == 'all-gather':  # kernels, which were cast before
      half = all(shape[0] != 'f' for shape in one['shapes'])
      assert half or one['elements'] < 9000 or '4,' in shape, one


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'devices', 'adapt'),
  [
    ('qwen3_8b', 32, 'whole'),
    ('qwen3_8b', 32, 'lora:4'),
    ('qwen3_06b', 8, 'whole'),
    ('qwen3_06b', 8, 'lora:4'),
    ('llama31_70b', 64, 'whole'),
    ('llama31_70b', 64, 'lora:4'),
  ],
)
def test_the_plan_of_a_large_model(tmp_path, name, devices, adapt):
  path = backbones.write(tmp_path, name)
  request = planning.Request(
    str(path), mesh=f'fsdp:{devices}', people=1_000_000, adapt=adapt
  )
  report = planning.run(request, 'v5p')
  config = backbones.CONFIGS[name]
  activations = 2 * 64 * 1024 * config['hidden_size']
  _check_collectives(report, 1_000_000, activations)
  assert all(one['elements'] < activations for one in report['collectives'])
  state = 12 if adapt == 'whole' else 4.1
  assert (
    report['argument_gb'] < 1.1 * state * report['parameters'] / devices / 1e9
  )
  assert report['temporary_gb'] <= backbones.TEMPORARY[name]
  if name == 'qwen3_8b':
    assert report['argument_gb'] <= 3.5
