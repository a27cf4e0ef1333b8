"""What accelerators can do, by their makers' public sheets, beside a plan."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Sheet(NamedTuple):
  """One accelerator, as its maker advertises it.

  Attributes:
    name: in full.
    memory_gb: of the device.
    tflops: of dense bfloat16 products, at peak.
    exchange_gb: a second between devices of one pod or host, all links.
  """

  name: str
  memory_gb: float
  tflops: float
  exchange_gb: float


# cloud.google.com/tpu/docs/{v5p,v5e}; NVIDIA's data sheets of the SXM forms.
SHEETS: Mapping[str, Sheet] = {
  'v5p': Sheet('TPU v5p', 95.0, 459.0, 600.0),
  'v5e': Sheet('TPU v5e', 16.0, 197.0, 200.0),
  'h100': Sheet('H100 SXM', 80.0, 989.0, 900.0),
  'h200': Sheet('H200 SXM', 141.0, 989.0, 900.0),
}


# How a device names itself.
_KINDS = {
  'tpu v5p': 'v5p',
  'tpu v5': 'v5p',
  'tpu v5 lite': 'v5e',
  'tpu v5e': 'v5e',
}


def of(kind: str) -> Sheet | None:
  """Returns the sheet of a device by the name that it has; None if unknown.

  Args:
    kind: `jax.Device.device_kind`.
  """
  name = kind.lower()
  for gpu in ('h100', 'h200'):
    if gpu in name.split():
      return SHEETS[gpu]
  return SHEETS.get(_KINDS.get(name, ''))


def on(device: str, report: Mapping[str, Any]) -> dict[str, Any]:
  """Returns how a planned step fits a device, and what it takes longest.

  Seconds are at peak: a real step takes more. Where the step does not fit,
  memory is the nearer wall.

  Args:
    device: a name of `SHEETS`.
    report: from `plan.report`, with its request.
  """
  sheet = SHEETS[device]
  needed = (
    report['argument_gb']
    + report['temporary_gb']
    + max(report['output_gb'] - report['reused_gb'], 0.0)
  )
  seconds = {
    'arithmetic': report['flops_per_device'] / (sheet.tflops * 1e12),
    'exchange': report['exchanged_gb'] / sheet.exchange_gb,
  }
  short = needed - sheet.memory_gb
  wall = max(seconds, key=lambda name: seconds[name])
  return {
    'device': device,
    'memory_gb': sheet.memory_gb,
    'needed_gb': needed,
    'short_gb': max(short, 0.0),
    'arithmetic_seconds': seconds['arithmetic'],
    'exchange_seconds': seconds['exchange'],
    'nearer_wall': 'memory' if short > 0 else wall,
    'turn': options(report) if short > 0 else [],
  }


def options(report: Mapping[str, Any]) -> list[str]:
  """Returns which options make a step smaller, what helps most first.

  Args:
    report: from `plan.report`, with its request.
  """
  asked, mesh = report['request'], report['mesh']
  rows = mesh['data'] * mesh['fsdp']
  state = [
    f'{_mesh(mesh["data"], 2 * mesh["fsdp"], mesh["model"])}: twice the '
    'devices hold half the state each'
  ]
  if mesh['data'] > 1:
    state.insert(
      0,
      f'{_mesh(1, rows, mesh["model"])}: the same devices, and no two hold '
      'the same parameters',
    )
  if asked['adapt'] == 'whole':
    state.append('--adapt=lora:8: moments of the adapter alone')
  step = []
  if not asked['remat']:
    step.append('--remat=yes: layers are computed again for the gradient')
  if asked['pairs'] > rows:
    half = max(asked['pairs'] // 2 // rows, 1) * rows
    step.append(f'--pairs={half}: and batches of a step are added up')
  if asked['precision'] == 'float32':
    step.append('--precision=bfloat16: half the activations')
  if asked['length'] > 128:
    step.append(f'--length={asked["length"] // 2}: shorter texts')
  larger = report['argument_gb'] > report['temporary_gb']
  return state + step if larger else step + state


def _mesh(data: int, fsdp: int, model: int) -> str:
  return f'--mesh=data:{data},fsdp:{fsdp},model:{model}'


def words(report: Mapping[str, Any]) -> list[str]:
  """Returns what `on` found, in lines that a person reads.

  Args:
    report: with what `on` returns as `on`.
  """
  found = report['on']
  sheet = SHEETS[found['device']]
  share = found['needed_gb'] / sheet.memory_gb
  lines = [
    f'on {sheet.name} ({sheet.memory_gb:g} GB, {sheet.tflops:g} TFLOP/s of '
    'bfloat16 by its sheet)'
  ]
  if found['short_gb']:
    lines.append(
      f'  does not fit: {found["needed_gb"]:.1f} GB are needed, '
      f'{found["short_gb"]:.1f} GB more than there are. Turn one of'
    )
    return lines + [f'    {line}' for line in found['turn']]
  lines.append(
    f'  fits: {found["needed_gb"]:.3g} GB, {share:.0%} of the memory'
  )
  lines.append(
    f'  at peak {found["arithmetic_seconds"]:.3g} s of arithmetic and '
    f'{found["exchange_seconds"]:.3g} s of exchange a step; '
    f'{found["nearer_wall"]} is the nearer wall'
  )
  return lines
