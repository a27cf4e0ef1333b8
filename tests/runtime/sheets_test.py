import pytest

from prm_jax.runtime import sheets

ASKED = {
  'adapt': 'whole',
  'pairs': 64,
  'length': 1024,
  'precision': 'bfloat16',
  'remat': True,
}
REPORT = {
  'request': ASKED,
  'mesh': {'data': 1, 'fsdp': 32, 'model': 1},
  'argument_gb': 3.0,
  'temporary_gb': 10.0,
  'output_gb': 3.5,
  'reused_gb': 3.0,
  'flops_per_device': 459e12,
  'exchanged_gb': 60.0,
}


def test_memory_and_time_by_the_sheet():
  found = sheets.on('v5p', REPORT)
  assert found['needed_gb'] == pytest.approx(13.5)
  assert found['short_gb'] == 0
  assert found['arithmetic_seconds'] == pytest.approx(1.0)
  assert found['exchange_seconds'] == pytest.approx(0.1)
  assert found['nearer_wall'] == 'arithmetic'
  lines = '\n'.join(sheets.words({**REPORT, 'on': found}))
  assert 'fits: 13.5 GB, 14% of the memory' in lines
  assert 'arithmetic is the nearer wall' in lines
  slow = sheets.on('v5e', {**REPORT, 'exchanged_gb': 600.0})
  assert slow['nearer_wall'] == 'exchange'


def test_what_does_not_fit_says_by_how_much_and_what_to_turn():
  found = sheets.on('v5e', {**REPORT, 'temporary_gb': 40.0})
  assert found['nearer_wall'] == 'memory'
  assert found['short_gb'] == pytest.approx(27.5)
  # Temporaries are the larger part: fewer pairs a step come first.
  assert found['turn'][0].startswith('--pairs=32')
  lines = sheets.words({**REPORT, 'on': found})
  assert '43.5 GB are needed, 27.5 GB more than there are' in lines[1]
  assert len(lines) == 2 + len(found['turn'])


def test_what_helps_most_comes_first():
  whole = {**REPORT, 'argument_gb': 90.0}
  assert sheets.options(whole)[0].startswith('--mesh=data:1,fsdp:64,model:1')
  spread = {**whole, 'mesh': {'data': 8, 'fsdp': 4, 'model': 1}}
  assert sheets.options(spread)[0].startswith('--mesh=data:1,fsdp:32,model:1')
  adapted = {**REPORT, 'request': {**ASKED, 'adapt': 'lora:8'}}
  assert not any('lora' in line for line in sheets.options(adapted))
  asked = {**ASKED, 'remat': False, 'precision': 'float32'}
  plain = sheets.options({**REPORT, 'request': asked})
  assert plain[0].startswith('--remat=yes')
  assert any('bfloat16' in line for line in plain)
