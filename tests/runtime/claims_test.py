import os
import subprocess
import sys

import pytest

from prm_jax.runtime import claims

HOLD = """
import sys
from prm_jax.runtime import claims
with claims.claimed(sys.argv[1]):
  print('held', flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
  """Another process that writes to `run`, until its input ends."""
  with subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path / 'run')],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as held:
    assert held.stdout.readline() == 'held\n'
    yield held
    held.kill()


def test_of_two_runs_the_second_is_refused_until_the_first_ends(
  tmp_path, other
):
  folder = tmp_path / 'run'
  named = rf'run: another run writes there \(process {other.pid} on '
  with pytest.raises(claims.ClaimedError, match=named), claims.claimed(folder):
    raise AssertionError('it was let in')
  other.kill()  # nothing is left behind that has to be removed by hand
  other.wait()
  with claims.claimed(folder):
    (folder / 'model').write_text('new')
  assert sorted(os.listdir(folder)) == ['model']


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path):
  folder = tmp_path / 'run'
  with pytest.raises(KeyError), claims.claimed(folder):
    raise KeyError
  assert not folder.exists()
  folder.mkdir()
  with claims.claimed(folder):
    pass
  assert folder.exists()


def test_a_fit_that_writes_nothing_claims_nothing(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with claims.claimed(None):
    pass
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with (
    pytest.raises(PermissionError, match='cannot make the folder'),
    claims.claimed(tmp_path / 'file' / 'run'),
  ):
    pass
