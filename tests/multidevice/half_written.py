"""Compiles a program, cuts its copy on disk short, and needs it again."""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp

jax.config.update('jax_compilation_cache_dir', sys.argv[1])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)


@jax.jit
def program(x):
  return jnp.sin(x) * 3


want = float(program(1.0))
(entry,) = pathlib.Path(sys.argv[1]).glob('jit_program-*-cache')
entry.write_bytes(entry.read_bytes()[:-40])
jax.clear_caches()
print(json.dumps({'want': want, 'got': float(program(1.0))}))
