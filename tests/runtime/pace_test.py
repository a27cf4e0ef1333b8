"""How fast steps are, on a clock of the test's own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, toys, types
from prm_jax.data import pipelines
from prm_jax.models import decoder
from prm_jax.runtime import pace, sheets, train, writers

H100 = 'NVIDIA H100 80GB HBM3'


class Device:
  device_kind = H100


@pytest.fixture
def clock(monkeypatch):
  """A clock that stands still but for `clock.now += seconds`."""

  class Time:
    now = 100.0

  monkeypatch.setattr(pace.time, 'perf_counter', lambda: Time.now)
  found = pace.Clock()
  found.time = Time
  return found


def texts():
  mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
  return types.Batch(None, types.Inputs(types.Tokens(mask, mask)))


def test_figures_are_of_the_time_between_two_fetches(clock, monkeypatch):
  monkeypatch.setattr(pace.jax, 'devices', lambda: [Device()])

  def slow():
    clock.time.now += 0.5
    yield texts()

  batch = clock.wait(slow())
  clock.step(batch, weights=3e12)
  clock.step(batch, weights=3e12)
  clock.time.now += 1.5
  found = {k: float(v.compute()) for k, v in clock.fetched(2).items()}
  assert found == {
    'seconds_per_step': 1.0,
    'input_wait': 0.25,
    'tokens_per_second': 4.0,  # four tokens, twice, in two seconds
    'utilization': pytest.approx(12e12 / 989e12 / jax.device_count()),
  }
  clock.time.now += 3
  assert set(clock.fetched(1)) == {'seconds_per_step', 'input_wait'}


def test_tokens_are_those_that_a_step_reads():
  mask = np.tri(5, 6, dtype=np.int32)  # texts of 1 to 5 tokens
  few = types.Inputs(types.Tokens(mask, mask), np.array([[4, 1]]))
  assert pace.tokens(types.Batch(None, few)) == 5 + 2
  many = few._replace(index=np.array([[4, 1], [4, 0], [4, 2]]))
  assert pace.tokens(types.Batch(None, many)) == 15  # all, each once
  packed = few.value._replace(end=np.zeros((5, 2), np.int32))
  assert pace.tokens(types.Batch(None, few._replace(value=packed))) == 15


def test_sheets_are_found_by_the_name_of_the_device():
  assert sheets.of(H100) == sheets.of('NVIDIA H100') == sheets.SHEETS['h100']
  assert sheets.of('NVIDIA H200') == sheets.SHEETS['h200']
  assert sheets.of('TPU v5 lite') == sheets.SHEETS['v5e']
  assert sheets.of('cpu') is None


def test_products_are_of_the_layers_kernels():
  config = decoder.DecoderConfig(31, 48, 96, 2, 4, 2, 12)
  ids = jnp.zeros((1, 2), jnp.int32)
  init = decoder.Decoder(config).init
  params = jax.eval_shape(
    init, jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  known = {'reward': {'backbone': params, 'weight': jnp.zeros(48)}}
  kernels = 2 * (2 * 48 * 48 + 2 * 48 * 24 + 3 * 48 * 96)
  assert pace.products(known, {'backbone'}) == 6 * kernels
  assert pace.products(known, {'adapter'}) == 4 * kernels
  assert pace.products(known, set()) == 2 * kernels
  assert pace.products(known, {'top'}) == pace.products({}, set()) == 0


def test_a_fit_writes_its_pace_and_a_trace(tmp_path):
  world = toys.judgements()
  learner = registry.build('learner', {'kind': 'aggregate_mlp', 'steps': 12})
  batches = pipelines.batches(world.data, batch_size=4, seed=0)
  train.fit(
    learner,
    world.data,
    key=jax.random.key(0),
    spec=world.spec,
    batches=batches,
    writer=writers.JsonlWriter(tmp_path / 'metrics.jsonl'),
    **{'log_every': 4, 'paced': True, 'profile': tmp_path / 'trace'},
  )
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  assert [row['step'] for row in rows] == [4, 8, 12]
  for row in rows:
    assert row['seconds_per_step'] > 0
    assert 0 <= row['input_wait'] <= 1
    assert 'tokens_per_second' not in row  # features, no texts
  assert list((tmp_path / 'trace').rglob('*.xplane.pb'))


def test_a_step_of_several_batches_counts_them_all(tmp_path, monkeypatch):
  monkeypatch.setattr(pace, 'tokens', lambda batch: len(batch.rows.mask))
  world = toys.judgements()
  learner = registry.build('learner', {'kind': 'aggregate_mlp', 'steps': 5})
  learner = learner._replace(
    phases=tuple(phase._replace(accumulate=3) for phase in learner.phases)
  )
  train.fit(
    learner,
    world.data,
    key=jax.random.key(0),
    spec=world.spec,
    batches=pipelines.batches(world.data, batch_size=4, seed=0),
    writer=writers.JsonlWriter(tmp_path / 'metrics.jsonl'),
    **{'log_every': 5, 'paced': True, 'profile': tmp_path / 'trace'},
  )
  row = json.loads((tmp_path / 'metrics.jsonl').read_text())
  read = row['tokens_per_second'] * row['seconds_per_step']
  assert read == pytest.approx(3 * 4)  # of a step
  assert list((tmp_path / 'trace').rglob('*.xplane.pb'))
