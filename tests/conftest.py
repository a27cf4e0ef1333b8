import os
from pathlib import Path

import pytest

_NEAR = Path(__file__).parents[2] / 'shared' / 'data'


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
