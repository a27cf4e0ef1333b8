"""The benchmark of the loop of statements, at its smallest."""

from experiments.benchmarks import opinions
from prm_jax.audits import opinion_loop


def test_every_server_is_timed_and_held_against_what_is_asked():
  sizes = opinions.Sizes(people=30, statements=16, rounds=2, repeats=2)
  rows = opinions.measure(sizes)['loop']
  assert [row['server'] for row in rows] == list(opinion_loop.SERVERS)
  for row in rows:
    assert 0 < row['fastest'] <= row['seconds'] <= row['slowest']
    assert row['core_seconds'] > 0
    assert row['met'] is True
  late = sizes._replace(required_seconds=0.0)
  assert not any(row['met'] for row in opinions.measure(late)['loop'])
