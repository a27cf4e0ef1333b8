"""Fits the bilinear learner in a process that a test may kill.

python run_fit.py FOLDER [--hang_at=N]: with N, the save of step N says so and
hangs before it gets its name, which is where the test kills it.
"""

import pathlib
import sys
import time

import bilinear
import numpy as np

from prm_jax.runtime import checkpoint, train, writers


class Hanging(checkpoint.Checkpoints):
  """Checkpoints whose save of one step never ends."""

  hang_at = -1

  def _seal(self):
    super()._seal()
    if self._saving == self.hang_at:
      print('saving', flush=True)
      time.sleep(600)


def main(folder: str, hang_at: int):
  path = pathlib.Path(folder)
  batch = bilinear.data()
  Hanging.hang_at = hang_at
  with Hanging(path / 'checkpoints', config={'steps': 12}) as manager:
    state = train.go_on(
      bilinear.learner(steps=12),
      bilinear.state(),
      batch,
      batches=bilinear.iterator(batch),
      manager=manager,
      save_every=3,
      writer=writers.JsonlWriter(path / 'metrics.jsonl'),
      log_every=3,
    )
  leaves = {str(i): x for i, x in enumerate(bilinear.arrays(state))}
  np.savez(path / 'state.npz', **leaves)


if __name__ == '__main__':
  hang = sys.argv[2:] and int(sys.argv[2].removeprefix('--hang_at='))
  main(sys.argv[1], hang or -1)
