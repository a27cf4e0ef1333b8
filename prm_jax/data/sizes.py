"""How large a file of judgements is, from a sample of its lines."""

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

_LINES = 20_000  # that are looked at
_PARTS = 20  # of the file, spread over it


class Size(NamedTuple):
  """What a file holds, about.

  Attributes:
    rows: lines.
    texts: different responses to prompts.
  """

  rows: int
  texts: int


def estimate(path: Path) -> Size:
  """Returns a file's size, in a second whatever it holds.

  The different texts T among n that were drawn evenly are T (1 - exp(-n / T)),
  which is solved for T.

  Args:
    path: .jsonl or .jsonl.gz; what cannot be read counts as nothing.
  """
  lines, share = _sample(path)
  said: set[tuple[Any, ...]] = set()
  drawn = 0
  for line in lines:
    try:
      row = json.loads(line)
    except ValueError:
      continue
    if not isinstance(row, dict):
      continue
    for name in ('response_a', 'response_b', 'response'):
      if name in row:
        said.add((str(row.get('prompt_id')), str(row[name])))
        drawn += 1
  rows = round(len(lines) / share)
  each = drawn / max(len(lines), 1)
  return Size(rows, min(_different(len(said), drawn), round(each * rows)))


def _sample(path: Path) -> tuple[list[bytes], float]:
  """Returns some lines, and the share of the file that they are."""
  size = path.stat().st_size
  lines: list[bytes] = []
  read = 0
  if path.suffix == '.gz':
    with path.open('rb') as raw, gzip.open(raw) as packed:
      for line in packed:
        lines.append(line)
        if len(lines) == _LINES:
          return lines, min(1.0, raw.tell() / size)
    return lines, 1.0
  with path.open('rb') as file:
    # Not evenly: a file that repeats itself would show the same lines.
    starts = sorted(random.Random(0).sample(range(max(size, _PARTS)), _PARTS))
    for start in (0, *starts):
      if lines and start < file.tell():
        continue  # read already
      file.seek(start)
      if start:
        file.readline()  # from the middle of a line
      for _ in range(_LINES // _PARTS):
        line = file.readline()
        if not line:
          break
        lines.append(line)
        read += len(line)
  return lines, max(read / max(size, 1), 1e-9)


def _different(found: int, drawn: int) -> int:
  """Returns T of which `drawn` draws hold `found` different ones."""
  if found >= drawn:
    return 1 << 62
  low, high = float(found), 1e15
  for _ in range(200):
    middle = math.sqrt(low * high)
    if middle * -math.expm1(-drawn / middle) < found:
      low = middle
    else:
      high = middle
  return round(high)
