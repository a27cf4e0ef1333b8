"""What a fit would need on machines that nobody has booked yet: `prm plan`.

The step is compiled for devices that a processor pretends to have. XLA reads
their number once, when it starts, hence a process of its own:
`python -m prm_jax.planning` reads a request from its standard input, and
writes the report, JSON, in the last line of its output.
"""

import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from prm_jax.runtime import sheets

PRECISIONS = ('bfloat16', 'float32')
_SAID = 'prm-plan: '  # what the last line begins with


class Request(NamedTuple):
  """What is planned; plain data.

  Attributes:
    backbone: a config.json in Hugging Face's fields, of a decoder.
    method: a kind of `registry.LEARNERS` that takes a backbone.
    mesh: as `data:1,fsdp:32,model:1`.
    people: U.
    dim: J, of methods that have one.
    pairs: judgements of a step.
    length: tokens of a text, prompt and response together.
    adapt: what of the backbone trains: 'whole', or 'lora:RANK'.
    precision: of the layers' computation; parameters are float32.
    remat: whether layers are computed again for the gradient.
  """

  backbone: str
  method: str = 'pref'
  mesh: str = 'data:1'
  people: int = 1000
  dim: int = 8
  pairs: int = 64
  length: int = 1024
  adapt: str = 'whole'
  precision: str = 'bfloat16'
  remat: bool = True


def run(request: Request, device: str | None = None) -> dict[str, Any]:
  """Returns the report on a request, made in a process of its own.

  Args:
    request: what is planned.
    device: a name of `sheets.SHEETS`, for what fits and what takes long.

  Raises:
    ValueError: the request cannot be planned.
  """
  from prm_jax.runtime import mesh as meshes

  check(request)
  if device is not None and device not in sheets.SHEETS:
    raise ValueError(f'--device={device}: one of {sorted(sheets.SHEETS)}')
  devices = math.prod(meshes.sizes(request.mesh).values())
  flags = (
    f'--xla_force_host_platform_device_count={devices}'
    # What LLVM would make faster is never run.
    ' --xla_backend_optimization_level=0'
  )
  environment = os.environ | {
    'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {flags}'.strip(),
    'JAX_PLATFORMS': 'cpu',
    # The package that this process reads, wherever it was started.
    'PYTHONPATH': os.pathsep.join(
      [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH', '')]
    ).rstrip(os.pathsep),
  }
  done = subprocess.run(
    [sys.executable, '-m', 'prm_jax.planning'],
    input=json.dumps(request._asdict()),
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  lines = done.stdout.splitlines()
  if done.returncode or not lines or not lines[-1].startswith(_SAID):
    raise ValueError(
      f'the plan ended with status {done.returncode} (-9: no memory was left '
      f'to compile in): {done.stderr[-2000:]}'
    )
  report = json.loads(lines[-1].removeprefix(_SAID))
  if 'error' in report:
    raise ValueError(report['error'])
  report = {'request': request._asdict(), **report}
  if device is not None:
    report['on'] = sheets.on(device, report)
  return report


def check(request: Request) -> None:
  """Raises ValueError where a request is none, before anything is started."""
  from prm_jax.runtime import mesh as meshes

  meshes.sizes(request.mesh)
  for name in ('people', 'dim', 'pairs', 'length'):
    if getattr(request, name) < 1:
      raise ValueError(f'--{name}={getattr(request, name)}: at least 1')
  rank(request.adapt)
  if request.precision not in PRECISIONS:
    raise ValueError(f'--precision={request.precision}: one of {PRECISIONS}')


def rank(adapt: str) -> int | None:
  """Returns the rank of `lora:RANK`, and None of `whole`.

  Raises:
    ValueError: it is neither.
  """
  kind, _, number = adapt.partition(':')
  if adapt == 'whole':
    return None
  if kind != 'lora' or not number.isdecimal() or not int(number):
    raise ValueError(f'--adapt={adapt}: whole, or lora:RANK such as lora:4')
  return int(number)


def plan(request: Request) -> dict[str, Any]:
  """Returns the report on a request, of this process's devices.

  Raises:
    ValueError: the request cannot be planned, or there are fewer devices.
  """
  from prm_jax.runtime import plan as planned

  what = asked(request)
  return planned.report(planned.step(*what), what[-1])


def asked(request: Request) -> tuple[Any, Any, Any, Any]:
  """Returns learner, sizes, shapes of a batch and mesh of a request.

  They are what `runtime.plan.step` takes.

  Raises:
    ValueError: the request cannot be planned, or there are fewer devices.
  """
  import jax
  import jax.numpy as jnp

  from prm_jax import registry, types
  from prm_jax.models.weights import decoder_fields, huggingface
  from prm_jax.rewards import backbone as trunks
  from prm_jax.runtime import mesh as meshes

  check(request)
  mesh = meshes.parse(request.mesh)
  path = Path(request.backbone)
  config = decoder_fields.read(huggingface.read_json(path), str(path))
  adapter = rank(request.adapt)
  trunk = trunks.Backbone(
    config,
    trains='whole' if adapter is None else 'adapter',
    rank=adapter or 1,
    dtype=jnp.dtype(request.precision),
    remat=request.remat,
  )
  options: dict[str, Any] = {'backbone': trunk}
  takes = _takes(request.method, registry)
  if 'dim' in takes:
    options['dim'] = request.dim
  learner = registry.build('learner', {'kind': request.method, **options})

  def of(kind, *more):
    return jax.ShapeDtypeStruct((request.pairs, *more), kind)

  texts = types.Tokens(
    of(jnp.int32, 2, request.length), of(jnp.float32, 2, request.length)
  )
  rows = types.Judgements(
    of(jnp.int32), of(jnp.float32), of(jnp.float32), of(jnp.int32)
  )
  spec = types.Spec(config.hidden_size, request.people, request.pairs)
  return learner, spec, types.Batch(rows, types.Inputs(texts)), mesh


def _takes(method: str, registry: Any) -> set[str]:
  """Returns the options of a method that takes a backbone."""
  able = {
    name: set(inspect.signature(entry.factory).parameters)
    for name, entry in registry.LEARNERS.items()
  }
  able = {name: takes for name, takes in able.items() if 'backbone' in takes}
  if method not in able:
    raise ValueError(
      f'--method={method}: {sorted(able)} take a backbone, and are planned'
    )
  return able[method]


def words(report: dict[str, Any]) -> list[str]:
  """Returns what a report says, in lines that a person reads.

  Args:
    report: from `run`.
  """
  asked = Request(**report['request'])
  mesh = ','.join(f'{axis}:{size}' for axis, size in report['mesh'].items())
  largest = report['collectives'][0] if report['collectives'] else None
  lines = [
    f'{asked.method} on {asked.backbone}, {asked.adapt}: '
    f'{report["parameters"]:,} parameters, {asked.people:,} people',
    f'a step of {asked.pairs} pairs of {asked.length:,} tokens, {mesh}',
    '',
    f'on each of {report["devices"]} devices',
    _line('held between steps', f'{report["argument_gb"]:.3g} GB'),
    _line('besides, in a step', f'{report["temporary_gb"]:.3g} GB'),
    _line('arithmetic', f'{report["flops_per_device"] / 1e12:,.4g} TFLOP'),
    _line('exchanged', f'{report["exchanged_gb"]:.3g} GB'),
  ]
  if largest is not None:
    lines.append(
      _line(
        'most of it',
        f'{largest["kind"]} of {", ".join(list(largest["shapes"])[:2])}, '
        f'{largest["times"]} times',
      )
    )
  whole = report['replicated_gb']
  lines.append(_line('held by all alike', f'{whole:.3g} GB'))
  lines.append(_line('compiled in', f'{report["compiling_seconds"]:.0f} s'))
  return lines + (['', *sheets.words(report)] if 'on' in report else [])


def _line(name: str, value: str) -> str:
  return f'  {name:<20}{value}'


def main() -> None:
  """Reads a request, and writes its report or what is wrong with it."""
  request = Request(**json.load(sys.stdin))
  try:
    report = plan(request)
  except ValueError as error:
    report = {'error': str(error)}
  print(_SAID + json.dumps(report))


if __name__ == '__main__':
  main()
