"""How fast steps are: waiting for batches, tokens, and use of the device."""

import time
from collections.abc import Set
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from prm_jax import types
from prm_jax.runtime import sheets

# Multiplications and additions a token and weight: forwards, the gradient of
# what is read, the gradient of the weight.
_FORWARD, _READ, _WEIGHT = 2.0, 2.0, 2.0


class Clock:
  """Seconds of steps, with what they read and waited for.

  Steps run behind the host. So seconds are counted between two times at which
  figures were fetched, and spread over the steps that were fetched.
  """

  def __init__(self) -> None:
    self.waited, self._tokens, self._products = 0.0, 0.0, 0.0
    self._since = time.perf_counter()

  def wait(self, batches: Any) -> types.Batch:
    """Returns the next batch, and counts the seconds until it is there."""
    start = time.perf_counter()
    batch = next(batches)
    self.waited += time.perf_counter() - start
    return batch

  def step(self, batch: types.Batch, weights: float = 0.0, count: int = 1):
    """Counts steps.

    Args:
      batch: that each reads.
      weights: from `products`.
      count: steps.
    """
    found = tokens(batch)
    self._tokens += found * count
    self._products += found * weights * count

  def fetched(self, steps: int) -> dict[str, types.Mean]:
    """Returns figures of the steps since the last call, as means.

    `seconds_per_step`; `input_wait`, the share of time in which the host waited
    for a batch; where texts are tokens `tokens_per_second`; on a device with a
    known sheet `utilization`, of its bfloat16 peak.

    Args:
      steps: whose figures are on the host now.
    """
    now = time.perf_counter()
    seconds, self._since = now - self._since, now
    waited, self.waited = self.waited, 0.0
    read, self._tokens = self._tokens, 0.0
    done, self._products = self._products, 0.0
    found = {
      'seconds_per_step': _mean(seconds, steps),
      'input_wait': _mean(min(waited, seconds), seconds),
    }
    if read:
      found['tokens_per_second'] = _mean(read, seconds)
    sheet = sheets.of(jax.devices()[0].device_kind)
    if done and sheet is not None:
      peak = sheet.tflops * 1e12 * jax.device_count()
      found['utilization'] = _mean(done, seconds * peak)
    return found


def _mean(total: float, count: float) -> types.Mean:
  both: Any = np.float64(total), np.float64(count)
  return types.Mean(*both)


def tokens(batch: types.Batch) -> float:
  """Returns how many tokens a step reads, padding left out.

  As `rewards.reading` has it: of texts that an index points into, fewer are
  read, all or those that are pointed at; packed rows are read whole. Of texts
  that other processes hold, as many tokens as of this one's.

  Args:
    batch: rows; 0 where what they read is no text.
  """
  value = None if batch.inputs is None else batch.inputs.value
  if not isinstance(value, types.Tokens):
    return 0.0
  real, index, texts = (
    _held(value.mask) > 0,
    batch.inputs.index,
    len(value.mask),
  )
  if index is not None and value.end is None and np.size(index) < texts:
    if len(real) == texts:
      return float(real[np.asarray(index)].sum())
    texts = np.size(index)
  return float(real.sum() / max(len(real), 1) * texts)


def _held(leaf: Any) -> np.ndarray:
  """Returns the rows of an array that this process holds, all if it can."""
  if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
    return np.asarray(leaf)
  parts = {
    shard.index[0].start or 0: shard for shard in leaf.addressable_shards
  }
  return np.concatenate([np.asarray(parts[at].data) for at in sorted(parts)])


def products(params: types.PyTree, moved: Set[str]) -> float:
  """Returns the operations of a token in the layers of a reward's backbone.

  Attention's own products, which grow with the text, are left out, as is usual
  for the utilization of a model. 0 where there is no backbone, or it has a top
  that trains apart, whose lower layers may be kept.

  Args:
    params: of a state.
    moved: which of 'backbone', 'adapter' and 'top' train.
  """
  reward = params.get('reward', {})
  if 'backbone' not in reward or 'top' in moved:
    return 0.0
  layers = reward['backbone']['params']['layers']
  weights = sum(
    leaf.size for leaf in jax.tree.leaves(layers) if np.ndim(leaf) > 2
  )
  each = _FORWARD
  if moved:
    each += _READ
  if 'backbone' in moved:
    each += _WEIGHT
  return each * weights


class Trace:
  """A profiler's trace of a few steps, once they are compiled."""

  first, last = 3, 8  # steps of this call

  def __init__(self, folder: Path | None, *, writes: bool = True):
    """Names the folder; nothing is traced if None.

    Args:
      folder: of the trace.
      writes: whether this process makes it; the others of a shared fit take the
        same steps.
    """
    self.folder, self.on, self._seen = folder, False, 0
    self._writes = writes

  def __enter__(self) -> 'Trace':
    return self

  def __exit__(self, *_: object) -> None:
    """Ends the trace, of a run that ended before the last step, too."""
    self._stop()
    if self.folder is not None and self._seen <= self.first:
      logging.warning(
        '%s: no trace, for this run took %d steps and one begins after %d',
        *(self.folder, self._seen, self.first),
      )

  @property
  def wanted(self) -> bool:
    """Returns whether the trace is not complete: steps are to come alone."""
    return self.folder is not None and self._seen <= self.last

  def step(self) -> None:
    """Begins or ends the trace before a program runs."""
    if self.folder is None:
      return
    if self._seen == self.first and self._writes:
      jax.profiler.start_trace(str(self.folder))
      self.on = True
    elif self._seen == self.last:
      self._stop()
    self._seen += 1

  def _stop(self) -> None:
    if self.on:
      jax.profiler.stop_trace()
      self.on = False
