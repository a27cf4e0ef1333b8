import jax
import jax.numpy as jnp

from prm_jax.runtime import programs


def test_programs_are_dropped_where_maps_run_out():
  traced = []

  @jax.jit
  def double(x):
    traced.append(x.shape)
    return 2 * x

  double(jnp.ones(3))
  assert not programs.make_room(1.0)
  double(jnp.ones(3))
  assert len(traced) == 1
  assert programs.make_room(0.0)
  double(jnp.ones(3))
  assert len(traced) == 2


def test_a_system_without_a_limit_drops_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(programs, '_LIMIT', tmp_path / 'none')
  assert not programs.make_room(0.0)
