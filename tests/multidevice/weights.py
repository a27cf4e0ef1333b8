"""Reads a checkpoint in one of two processes, and prints what memory it took.

weights.py FOLDER DTYPE --coordinator=HOST:PORT --process=N
"""

import argparse
import json
import pathlib
import threading

import jax
import jax.numpy as jnp

from prm_jax.models.weights import slices
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime import processes


def anonymous():
  """Bytes of this process that no file backs."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('RssAnon'):
      return int(line.split()[1]) * 1024
  raise ValueError('/proc/self/status has no RssAnon')


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('dtype')
  parser.add_argument('--coordinator')
  parser.add_argument('--process', type=int)
  given = parser.parse_args()
  processes.start(2, coordinator=given.coordinator, process=given.process)
  mesh = meshes.make_mesh(data=1, fsdp=2)
  # What the runtime takes is not the checkpoint's, nor are collectives.
  jax.block_until_ready(processes.put(jnp.ones(4), meshes.whole(mesh)) + 1)
  _, leaves = slices.leaves(given.folder)
  shapes = slices.shapes(leaves, jnp.dtype(given.dtype))
  # Paths as in a state, which the rules of a mesh know.
  where = meshes.shardings({'backbone': shapes}, mesh)['backbone']
  before, most, done = anonymous(), [0], threading.Event()

  def watch():
    while not done.wait(0.002):
      most[0] = max(most[0], anonymous())

  watcher = threading.Thread(target=watch)
  watcher.start()
  params = slices.load(leaves, where, dtype=jnp.dtype(given.dtype))
  jax.block_until_ready(params)
  done.set()
  watcher.join()
  held = [
    shard.data.nbytes
    for leaf in jax.tree.leaves(params)
    for shard in leaf.addressable_shards
  ]
  report = {
    'devices': jax.device_count(),
    'held': sum(held),
    'taken': max(most[0], anonymous()) - before,
  }
  print(json.dumps(report))


if __name__ == '__main__':
  main()
