import os
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prm_jax import types
from prm_jax.runtime import checkpoint, train
from prm_jax.runtime import update as updates

_SCRIPT = pathlib.Path(__file__).with_name('run_fit.py')


class Record:
  """A writer that remembers."""

  def __init__(self):
    self.rows, self.truncated = [], []

  def write(self, step, phase, values):
    self.rows.append((step, phase, dict(values)))

  def truncate(self, step):
    self.truncated.append(step)


def _equal(bilinear, a, b):
  for x, y in zip(bilinear.arrays(a), bilinear.arrays(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_phases_run_in_order_and_the_loss_falls(bilinear):
  batch, state, writer = bilinear.data(), bilinear.state(), Record()
  before = bilinear.arrays(state)
  final = train.go_on(
    bilinear.learner(30), state, batch, writer=writer, log_every=10
  )
  assert int(final.phase) == 2
  assert [(step, phase) for step, phase, _ in writer.rows] == [
    (10, 'joint'),  # the beginning counts one step
    (20, 'joint'),
    (30, 'joint'),
    (31, 'joint'),
  ]
  losses = [values['loss'] for _, _, values in writer.rows]
  assert losses == sorted(losses, reverse=True)
  np.testing.assert_allclose(
    final.params['user']['mean'],
    np.mean(final.people.free['coefficients'], 0),
    rtol=1e-6,
  )
  # The caller's state is as it was, although updates overwrite their own.
  for a, b in zip(before, bilinear.arrays(state), strict=True):
    np.testing.assert_array_equal(a, b)


def test_fit_is_the_plain_loop(bilinear):
  batch, learner = bilinear.data(), bilinear.learner(5)
  data = bilinear.seen(batch)
  weight = np.bincount(batch.rows.user, batch.rows.mask, bilinear.U)
  state = bilinear.state()
  people = state.people._replace(weight=jnp.asarray(weight, jnp.float32))
  state = state._replace(people=people)
  state = updates.start_phase(state, learner.phases[0], data)
  state = updates.start_phase(state, learner.phases[1], data)
  update = jax.jit(updates.make_update(learner.phases[1], whole_people=False))
  batches, losses = bilinear.iterator(batch), []
  for _ in range(5):
    state, metrics = update(state, next(batches).over(batch.inputs.value))
    losses.append(metrics['nll'])
  writer = Record()
  final = train.go_on(
    learner,
    bilinear.state(),
    batch,
    batches=bilinear.iterator(batch),
    writer=writer,
    log_every=2,
  )
  np.testing.assert_allclose(
    final.people.free['coefficients'],
    state.people.free['coefficients'],
    atol=1e-6,
  )
  # Steps 2-3 of the run (the beginning was the first), weighted by rows.
  total = sum(float(m.total) for m in losses[1:3])
  count = sum(float(m.count) for m in losses[1:3])
  assert [step for step, _, _ in writer.rows] == [2, 4, 6]
  np.testing.assert_allclose(writer.rows[1][2]['nll'], total / count, rtol=1e-6)


def test_a_second_fit_of_the_same_shapes_compiles_nothing(bilinear):
  traces = []

  def objective(*args):
    traces.append(1)
    return bilinear.objective(*args)

  phases = list(bilinear.learner(4).phases)
  phases[1] = phases[1]._replace(objective=objective)
  learner = bilinear.learner(4)._replace(phases=tuple(phases))
  results = []
  for seed in (0, 1, 0):
    batch = bilinear.data(seed=seed)
    state = bilinear.state(seed)
    state = state._replace(hyper={'ridge': jnp.float32(0.1 * seed)})
    results.append(train.go_on(learner, state, batch))
    if seed == 0 and len(results) == 1:
      first = len(traces)
  assert len(traces) == first
  _equal(bilinear, results[0], results[2])
  assert not np.allclose(
    results[0].people.free['coefficients'],
    results[1].people.free['coefficients'],
  )


def test_nan_loss_names_phase_and_step(bilinear):
  def objective(params, people, state, batch, gather):
    terms, penalties, aux = bilinear.objective(
      params, people, state, batch, gather
    )
    total, count = terms['nll']
    total = jnp.where(state.step == 3, jnp.nan, total)
    return {'nll': (total, count)}, penalties, aux

  sgd = optax.sgd(0.1)
  learner = types.Learner(
    (types.Phase('joint', None, objective, sgd, sgd, steps=6),), bilinear.init
  )
  batch = bilinear.data()
  for batches in (None, bilinear.iterator(batch)):
    with pytest.raises(FloatingPointError, match="phase 'joint' at step 3"):
      train.go_on(learner, bilinear.state(), batch, batches=batches)


def test_batches_that_end_are_named(bilinear):
  batch = bilinear.data()
  with pytest.raises(ValueError, match="step 2 of 5 of phase 'joint'"):
    train.go_on(
      bilinear.learner(5), bilinear.state(), batch, batches=iter([batch] * 2)
    )


def test_collect_changes_the_batch_and_reports(bilinear):
  keys = []

  def collect(key, state, batch):
    keys.append(tuple(np.asarray(jax.random.key_data(key))))
    rows = batch.rows._replace(label=jnp.ones_like(batch.rows.label))
    value = types.Mean(jnp.float32(int(state.step)), jnp.float32(1))
    return batch._replace(rows=rows), {'asked': value}

  phases = list(bilinear.learner(4).phases)
  phases[1] = phases[1]._replace(collect=collect)
  learner = bilinear.learner(4)._replace(phases=tuple(phases))
  batch, writer = bilinear.data(), Record()
  final = train.go_on(
    learner, bilinear.state(), batch, writer=writer, log_every=100
  )
  assert len(set(keys)) == 4
  assert writer.rows[0][2]['asked'] == 1.5  # of the steps 0, 1, 2, 3
  ones = batch._replace(rows=batch.rows._replace(label=np.ones(96, np.float32)))
  plain = train.go_on(bilinear.learner(4), bilinear.state(), ones)
  np.testing.assert_allclose(
    final.params['reward']['basis'], plain.params['reward']['basis'], atol=1e-6
  )


def test_position_counts_a_beginning_as_one_step(bilinear):
  learner = bilinear.learner(12)
  assert train.position(learner, 1) == (0, 0, 0)
  assert train.position(learner, 2) == (0, 1, 1)
  assert train.position(learner, 13) == (0, 1, 12)
  assert train.position(learner, 14) == (0, 2, 0)
  with pytest.raises(ValueError, match='1 steps less'):
    train.position(learner, 15)


class Stop(Record):
  """A writer that sends a signal at a step."""

  def __init__(self, step, number):
    super().__init__()
    self.step, self.number = step, number

  def write(self, step, phase, values):
    super().write(step, phase, values)
    if step == self.step:
      signal.raise_signal(self.number)


@pytest.mark.parametrize(
  'constant', [pytest.param(True, marks=pytest.mark.slow), False]
)
def test_interrupted_and_resumed_is_uninterrupted_bitwise(
  bilinear, tmp_path, interruptible, constant
):
  batch, learner = bilinear.data(), bilinear.learner(12)

  def batches():
    return None if constant else bilinear.iterator(batch)

  def fit(folder, writer):
    with checkpoint.Checkpoints(folder) as manager:
      return train.go_on(
        learner,
        bilinear.state(),
        batch,
        batches=batches(),
        manager=manager,
        save_every=6,
        writer=writer,
        log_every=3,
      )

  whole = Record()
  expected = fit(tmp_path / 'whole', whole)
  stopped = Stop(6, signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    fit(tmp_path / 'halves', stopped)
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
  resumed = Record()
  final = fit(tmp_path / 'halves', resumed)
  _equal(bilinear, expected, final)
  last = stopped.rows[-1][0]
  assert resumed.truncated == [last]
  assert 0 < last < 12
  assert stopped.rows + resumed.rows == whole.rows
  # A finished run is given back as it is.
  again = Record()
  _equal(bilinear, expected, fit(tmp_path / 'halves', again))
  assert again.rows == []


def test_sigterm_saves_and_goes_on_to_the_old_handler(bilinear, tmp_path):
  batch, seen = bilinear.data(), []
  old = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
  try:
    with (
      checkpoint.Checkpoints(tmp_path) as manager,
      pytest.raises(SystemExit) as exit_,
    ):
      train.go_on(
        bilinear.learner(12),
        bilinear.state(),
        batch,
        batches=bilinear.iterator(batch),
        manager=manager,
        writer=Stop(2, signal.SIGTERM),
        log_every=2,
      )
    assert exit_.value.code == 143
    assert seen == [1]
    with checkpoint.Checkpoints(tmp_path) as manager:
      assert len(manager.steps()) == 2  # the beginning, and where it stopped
  finally:
    signal.signal(signal.SIGTERM, old)


def test_iterator_without_position_cannot_be_checkpointed(bilinear, tmp_path):
  batch = bilinear.data()
  with (
    checkpoint.Checkpoints(tmp_path) as manager,
    pytest.raises(ValueError, match='has no get_state'),
  ):
    train.go_on(
      bilinear.learner(),
      bilinear.state(),
      batch,
      batches=iter([batch]),
      manager=manager,
    )


def _run(folder, *arguments):
  return subprocess.Popen(
    [sys.executable, str(_SCRIPT), str(folder), *arguments],
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )


def test_killed_during_a_save_resumes_without_loss(bilinear, tmp_path):
  folder = tmp_path / 'killed'
  folder.mkdir()
  process = _run(folder, '--hang_at=9')
  assert process.stdout.readline() == 'saving\n'
  process.kill()
  process.communicate()
  names = sorted(path.name for path in (folder / 'checkpoints').iterdir())
  assert '6' in names
  assert '9' not in names
  process = _run(folder)
  process.communicate()
  assert process.returncode == 0
  assert not list((folder / 'checkpoints').glob('*tmp*'))
  with np.load(folder / 'state.npz', allow_pickle=False) as file:
    resumed = [file[str(i)] for i in range(len(file.files))]
  batch = bilinear.data()
  expected = train.go_on(
    bilinear.learner(12),
    bilinear.state(),
    batch,
    batches=bilinear.iterator(batch),
  )
  expected = bilinear.arrays(expected)
  assert len(resumed) == len(expected)
  for a, b in zip(resumed, expected, strict=True):
    np.testing.assert_array_equal(a, b)
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == 5  # steps 3, 6, 9, 12 and the last, 13: each once
