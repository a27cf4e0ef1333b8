import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Tests compile much and compute little: what LLVM would make faster is not
# worth its time, nor are threads that compile one program in many parts. HLO,
# and so what devices exchange, stays as it is. Set before anything starts XLA;
# processes that tests start inherit it.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    os.environ.get('XLA_FLAGS', ''),
    '--xla_backend_optimization_level=0',
    '--xla_cpu_parallel_codegen_split_count=1',
  ]
)
# Programs that another worker, module or process has compiled are read from a
# folder of this run. Workers, too, inherit what is set here.
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
  _CACHE = tempfile.mkdtemp(prefix='prm-jax-tests-')
  atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
  os.environ |= {
    'JAX_COMPILATION_CACHE_DIR': _CACHE,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
  }

import jax
import pytest

_NEAR = Path(__file__).parents[2] / 'shared' / 'data'


@pytest.fixture(autouse=True, scope='module')
def _programs_are_dropped():
  """Drops what a module compiled.

  Every program holds memory maps, and a process may have 65,530: the whole
  suite in one process ended in a segmentation fault of the compiler.
  """
  yield
  jax.clear_caches()


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
  """A cache folder of the test's own."""
  monkeypatch.setenv('PRM_CACHE_DIR', str(tmp_path / 'cache'))
  return tmp_path / 'cache'


@pytest.fixture
def real_data():
  """The folder of the real data; skips where it is absent."""
  folder = Path(os.environ.get('PRM_DATA_DIR') or _NEAR)
  if not folder.is_dir():
    pytest.skip('no real data: set PRM_DATA_DIR to their folder')
  return folder
