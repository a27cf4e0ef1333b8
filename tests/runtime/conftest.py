import importlib.util
import pathlib
import signal

import pytest

_PATH = pathlib.Path(__file__).with_name('bilinear.py')


@pytest.fixture(scope='session')
def bilinear():
  spec = importlib.util.spec_from_file_location('bilinear', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture
def interruptible():
  """Python's own SIGINT handler: a process in the background ignores it."""
  old = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, old)
