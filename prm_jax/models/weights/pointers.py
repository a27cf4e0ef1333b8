"""Files that Git LFS has not fetched: a few lines in the place of a file."""

from pathlib import Path

_START = b'version https://git-lfs'


def refuse(path: Path) -> None:
  """Refuses a file that is a pointer of Git LFS; one that is not there is fine.

  Args:
    path: any file of a checkpoint.

  Raises:
    ValueError: it is a pointer.
  """
  if not path.is_file():
    return
  with path.open('rb') as file:
    if file.read(len(_START)) == _START:
      raise ValueError(
        f'{path} is a Git LFS pointer and not the file: fetch it with '
        '`git lfs pull` in its repository'
      )
