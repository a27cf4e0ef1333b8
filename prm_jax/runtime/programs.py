"""Compiled programs, and the room that they take."""

from pathlib import Path

import jax

_MAPS = Path('/proc/self/maps')
_LIMIT = Path('/proc/sys/vm/max_map_count')
_SHARE = 0.5  # of the limit; compiling a unit's programs takes the rest


def make_room(share: float = _SHARE) -> bool:
  """Drops all compiled programs if they fill a share of what may be mapped.

  A program takes several memory maps, of which Linux gives a process a fixed
  number (`vm.max_map_count`). Where many shapes are compiled they run out, and
  XLA fails with "Failed to materialize symbols". What is dropped is compiled
  anew when it is called again.

  Args:
    share: of the maps that a process may have.

  Returns:
    Whether programs were dropped; never where the system has no such limit.
  """
  if not (_MAPS.exists() and _LIMIT.exists()):
    return False
  with _MAPS.open('rb') as file:
    maps = sum(1 for _ in file)
  if maps < share * int(_LIMIT.read_text()):
    return False
  jax.clear_caches()
  return True
