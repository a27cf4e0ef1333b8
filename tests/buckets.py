"""A bucket in memory, as far as epath and prm_jax use one."""

import importlib.util
import sys
from typing import ClassVar

from fsspec.implementations.memory import MemoryFileSystem

# fsspec.registry is a view of it, under the name of its module.
_REGISTRY = sys.modules['fsspec.registry']._registry


class Bucket(MemoryFileSystem):
  """`gs://` in memory; names that begin with `closed` refuse to be written."""

  protocol = 'gs'
  store: ClassVar[dict] = {}
  pseudo_dirs: ClassVar[list] = ['']
  cachable = False

  def __init__(self, *args, finalize_on_close=False, **options):
    super().__init__(*args, **options)

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(path.removeprefix('gs://'))

  def _open(self, path, mode='rb', **options):
    if 'w' in mode and path.lstrip('/').startswith('closed'):
      raise OSError('403: the account may not write\nand much more')
    return super()._open(path, mode, **options)


def install(monkeypatch) -> type[Bucket]:
  """Has `gs://` mean an empty bucket in memory."""
  Bucket.store, Bucket.pseudo_dirs = {}, ['']
  for protocol in ('gs', 'gcs'):
    monkeypatch.setitem(_REGISTRY, protocol, Bucket)
  found = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name, *more: 'gcsfs' if name == 'gcsfs' else found(name, *more),
  )
  return Bucket
