"""Prints what a step needs a device, with as many pairs and people on each.

Arguments are numbers of devices, on meshes (n, 1, 1); `lower:n` lowers alone.
"""

import json
import pathlib
import sys
import tempfile

import backbones
import jax

from prm_jax import planning
from prm_jax.runtime import plan

PAIRS, PEOPLE = 4, 512  # of a device


def main(names):
  report = {'devices': jax.device_count()}
  with tempfile.TemporaryDirectory() as folder:
    path = backbones.write(pathlib.Path(folder), 'toy')
    for name in names:
      devices = int(name.removeprefix('lower:'))
      request = planning.Request(
        str(path),
        mesh=f'data:{devices}',
        people=PEOPLE * devices,
        pairs=PAIRS * devices,
        length=32,
      )
      if name != str(devices):
        text = plan.lowered(*planning.asked(request)).program.as_text()
        report[name] = {'partitions': f'num_partitions = {devices} ' in text}
        continue
      found = planning.plan(request)
      report[name] = {
        what: found[what]
        for what in (
          *('flops_per_device', 'argument_gb', 'temporary_gb', 'output_gb'),
          'exchanged_gb',
        )
      }
  print(json.dumps(report))


if __name__ == '__main__':
  main(sys.argv[1:])
