"""A disk that is full, without one."""

import resource
import signal


def limit(size: int | None) -> None:
  """Has no file of this process grow above a size; None: as large as it may."""
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(
    resource.RLIMIT_FSIZE, (most if size is None else size, most)
  )
