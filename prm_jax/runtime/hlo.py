"""What a compiled program computes and exchanges, read from its text.

XLA's own cost analysis counts the body of a loop once; here it counts as often
as it runs.
"""

import functools
import math
import re
from typing import NamedTuple

KINDS = (
  *('all-reduce', 'all-gather', 'all-to-all', 'reduce-scatter'),
  'collective-permute',
)
_HEADER = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_LINE = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$')
_OPERATION = re.compile(r'\s([a-z][\w\-]*)\(')
_SHAPE = re.compile(r'([a-z]+\d*\w*)\[([\d,]*)\]')
_CALLED = re.compile(
  r'(?:body|condition|calls|to_apply|true_computation|false_computation)='
  r'%?([\w.\-]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CONTRACTED = re.compile(r'lhs_contracting_dims=\{([\d,]*)\}')
# An operation's first operand, behind its type where that is written.
_FIRST = re.compile(
  r'\s[a-z][\w\-]*\((?:([a-z]\w*\[[\d,]*\])(?:\{[^}]*\})? )?%?([\w.\-]+)'
)
_MOVES = ('bitcast', 'copy', 'reshape', 'slice', 'transpose')


class Collective(NamedTuple):
  """An exchange between devices.

  Attributes:
    kind: one of `KINDS`.
    shapes: what a device has afterwards, as `bf16[4096,128]`.
    times: how often it runs in one call of the program.
  """

  kind: str
  shapes: tuple[str, ...]
  times: int

  @property
  def elements(self) -> int:
    """The elements of the largest array, once."""
    return max((_elements(shape) for shape in self.shapes), default=0)

  @property
  def bytes(self) -> int:
    """The bytes of all arrays, once."""
    return sum(_elements(s) * _width(s) for s in self.shapes)


class Program(NamedTuple):
  """What one device does in one call.

  Attributes:
    flops: of matrix products; a loop's body as often as it runs.
    collectives: every one; equal ones together.
    unknown: loops whose number of runs the text does not say, counted once.
  """

  flops: float
  collectives: tuple[Collective, ...]
  unknown: int


def read(text: str) -> Program:
  """Returns what a compiled program does.

  Args:
    text: of the optimised program, as `compiled.as_text()`.

  Raises:
    ValueError: the text has no entry.
  """
  blocks, entry = _blocks(text)
  if entry is None:
    raise ValueError('the text is no compiled program: it has no ENTRY')

  @functools.cache
  def total(name: str) -> tuple[float, dict[tuple, int], int]:
    flops, unknown = 0.0, 0
    found: dict[tuple, int] = {}
    shapes = {own: line.split(' ')[0] for own, line in blocks[name]}
    for _, line in blocks[name]:
      operation = _operation(line)
      kind = operation.removesuffix('-start')
      if kind in KINDS:
        moved = _moved(line, operation)
        if kind != 'all-reduce' and _widened(line, blocks, name):
          moved = tuple(shape.replace('f32[', 'bf16[') for shape in moved)
        key = (kind, moved)
        found[key] = found.get(key, 0) + 1
      if operation == 'dot':
        flops += _dot(line, shapes)
      runs = 1
      if operation == 'while':
        trips = _TRIPS.search(line)
        runs, unknown = (int(trips[1]), unknown) if trips else (1, unknown + 1)
      for inner in _called(line):
        if inner in blocks:
          more, exchanged, open_ = total(inner)
          flops += runs * more
          unknown += open_
          for key, times in exchanged.items():
            found[key] = found.get(key, 0) + runs * times
    return flops, found, unknown

  flops, found, unknown = total(entry)
  collectives = (
    Collective(kind, shapes, times) for (kind, shapes), times in found.items()
  )
  ordered = sorted(collectives, key=lambda one: -one.bytes * one.times)
  return Program(flops, tuple(ordered), unknown)


def _blocks(text) -> tuple[dict[str, list[tuple[str, str]]], str | None]:
  """Returns (name, right side) of every line of every computation."""
  blocks: dict[str, list[tuple[str, str]]] = {}
  entry, lines = None, None
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header:
      lines = blocks.setdefault(header[2], [])
      entry = header[2] if header[1] else entry
    elif line.startswith('}'):
      lines = None
    elif lines is not None and (found := _LINE.match(line)):
      lines.append((found[1], found[2]))
  return blocks, entry


def _operation(line: str) -> str:
  found = _OPERATION.search(line)
  return found[1] if found else ''


def _called(line: str) -> list[str]:
  found = _CALLED.findall(line)
  for names in _BRANCHES.findall(line):
    found += [name.strip().removeprefix('%') for name in names.split(',')]
  return found


def _moved(line: str, operation: str) -> tuple[str, ...]:
  """Returns the shapes that a collective leaves on a device."""
  kind = line[: line.index(f' {operation}(')]
  shapes = [f'{t}[{dims}]' for t, dims in _SHAPE.findall(kind)]
  if operation.endswith('-start') and len(shapes) > 1:
    shapes = shapes[len(shapes) // 2 :]  # what was given stands before
  return tuple(shapes)


def _widened(line: str, blocks: dict, name: str) -> bool:
  """Returns whether what moves was half precision, and a processor widened it.

  A processor computes in float32 what a program says in bfloat16, and widens
  before it exchanges; an accelerator does not.
  """
  by_name, source = dict(blocks[name]), line
  for _ in range(8):  # steps back, over what moves elements and no more
    first = _FIRST.search(source)
    source = by_name.get(first[2], '') if first else ''
    kind = _operation(source)
    if kind == 'fusion' and (called := _called(source)):
      by_name = dict(blocks[called[0]])
      source = blocks[called[0]][-1][1]  # its root stands last
      kind = _operation(source)
    if kind == 'convert':
      first = _FIRST.search(source)
      given = (first[1] or by_name.get(first[2], '')) if first else ''
      return given.startswith('bf16[')
    if kind not in _MOVES:
      return False
  return False


def _dot(line: str, shapes: dict[str, str]) -> float:
  """Returns 2 x the multiplications of a matrix product."""
  first = _FIRST.search(line)
  contracted = _CONTRACTED.search(line)
  if first is None or contracted is None:
    return 0.0
  given = _SHAPE.search(first[1] or '') or _SHAPE.search(
    shapes.get(first[2], '')
  )
  if given is None:
    return 0.0
  sizes = [int(size) for size in given[2].split(',') if size]
  inner = [sizes[int(axis)] for axis in contracted[1].split(',') if axis]
  return 2.0 * _elements(line) * math.prod(inner)


def _elements(shape: str) -> int:
  found = _SHAPE.search(shape)
  dims = found[2] if found else ''
  return math.prod(int(size) for size in dims.split(',') if size)


def _width(shape: str) -> int:
  """Returns the bytes of an element; bits below eight take a byte."""
  kind = shape.split('[')[0]
  if kind.startswith('f8'):
    return 1
  bits = re.search(r'\d+', kind)
  return max(int(bits[0]) // 8, 1) if bits else 1
