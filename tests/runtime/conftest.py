import importlib.util
import pathlib

import pytest

_PATH = pathlib.Path(__file__).with_name('bilinear.py')


@pytest.fixture(scope='session')
def bilinear():
  spec = importlib.util.spec_from_file_location('bilinear', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
