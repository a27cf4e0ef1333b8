import json
import subprocess

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
  with pytest.raises(ValueError, match='cannot be read: No such file'):
    planning.plan(one._replace(backbone=str(tmp_path / 'none.json')))
  with pytest.raises(ValueError, match='needs 64 devices'):
    planning.plan(one._replace(mesh='fsdp:64'))


REPORT = {
  'devices': 8,
  'mesh': {'data': 2, 'fsdp': 2, 'model': 2},
  'argument_gb': 3.079,
  'temporary_gb': 20.0,
  'output_gb': 3.0,
  'reused_gb': 3.0,
  'parameters': 8_190_768_200,
  'flops_per_device': 2.5e14,
  'exchanged_gb': 55.6,
  'collectives': [
    {'kind': 'all-gather', 'shapes': {'bf16[4096,128]': 1}, 'times': 144}
  ],
  'replicated_gb': 0.0041,
  'compiling_seconds': 7.2,
}


def test_the_command_starts_devices_and_tells_what_they_need(
  tmp_path, capsys, monkeypatch
):
  path, output = backbones.write(tmp_path, 'toy'), tmp_path / 'plan.json'
  asked = {}

  def stand_in(command, *, input, env, **_):
    asked.update(json.loads(input), flags=env['XLA_FLAGS'])
    line = f'a warning\nprm-plan: {json.dumps(REPORT)}\n'
    return subprocess.CompletedProcess(command, 0, line, '')

  monkeypatch.setattr(planning.subprocess, 'run', stand_in)
  call = ('plan', f'--backbone={path}', '--mesh=data:2,fsdp:2,model:2')
  more = ('--people=10001', '--adapt=lora:4', '--remat=no', '--device=v5e')
  assert main.run([*call, *more, f'--output={output}']) == 0
  assert '--xla_force_host_platform_device_count=8' in asked['flags']
  assert asked['people'] == 10001
  assert asked['adapt'] == 'lora:4'
  assert asked['remat'] is False
  told = capsys.readouterr().out
  for text in (
    '8,190,768,200 parameters, 10,001 people',
    'held between steps  3.08 GB',
    'all-gather of bf16[4096,128], 144 times',
    'does not fit: 23.1 GB are needed, 7.1 GB more than there are',
    '--remat=yes',
  ):
    assert text in told
  report = json.loads(output.read_text())
  assert report['request']['mesh'] == 'data:2,fsdp:2,model:2'
  assert report['on']['nearer_wall'] == 'memory'


def test_what_goes_wrong_in_the_other_process_is_told(monkeypatch):
  def answers(status, line):
    def stand_in(command, **_):
      return subprocess.CompletedProcess(command, status, line, 'no room')

    monkeypatch.setattr(planning.subprocess, 'run', stand_in)

  answers(0, 'prm-plan: {"error": "config.json: head_dim is missing"}')
  with pytest.raises(ValueError, match='head_dim is missing'):
    planning.run(REQUEST)
  for status, line in ((-9, ''), (0, 'nothing of the kind')):
    answers(status, line)
    with pytest.raises(ValueError, match=r'status .* no room'):
      planning.run(REQUEST)


def test_a_folder_that_is_not_there_is_told_before_anything(tmp_path, capsys):
  output = tmp_path / 'none' / 'plan.json'
  call = ['plan', '--backbone=x', '--mesh=data:1', f'--output={output}']
  assert main.run(call) == 2
  assert 'its folder does not exist' in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_plans_in_a_process_of_its_own(tmp_path, capsys):
  path = backbones.write(tmp_path, 'toy')
  call = ['plan', f'--backbone={path}', '--mesh=data:2,fsdp:2,model:2']
  call += ['--people=10001', '--pairs=16', '--length=32', '--device=v5e']
  assert main.run(call) == 0
  told = capsys.readouterr().out
  assert 'on each of 8 devices' in told
  assert 'fits' in told


def check_large(report, people, activations):
  """Asserts that nothing of the size of people or activations is exchanged."""
  assert report['collectives']
  for one in report['collectives']:
    assert one['elements'] < activations, one
    for shape in one['shapes']:
      sizes = shape.split('[')[1].rstrip(']').split(',')
      assert not any(size and int(size) >= people // 2 for size in sizes), one
      # Adapters are smaller; kernels are cast before they are gathered.
      if one['kind'] == 'all-gather':
        assert shape[0] != 'f' or one['elements'] < 3_000_000, one


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
  check_large(report, 1_000_000, activations)
  state = 12 if adapt == 'whole' else 4.1
  assert (
    report['argument_gb'] < 1.1 * state * report['parameters'] / devices / 1e9
  )
  assert report['temporary_gb'] <= backbones.TEMPORARY[name]
  if name == 'qwen3_8b':
    assert report['argument_gb'] <= 3.5
