"""Layers and refusals, read from the source with `ast`."""

import ast
import collections
from pathlib import Path

import pytest

from prm_jax import registry

ROOT = Path(__file__).parents[1]
ROOMS = (
  'ops',
  'heads',
  'models',
  'users',
  'rewards',
  'safeguards',
  'systems',
  'policy',
  'learners',
)
USES = ('elicitation', 'alignment', 'audits')  # of a fitted system, in parallel
_FIRST = {'types', 'places'}  # of which everything may know
ALLOWED = {room: {*_FIRST, *ROOMS[: i + 1]} for i, room in enumerate(ROOMS)}
ALLOWED |= {room: {*_FIRST, *ROOMS, room} for room in USES}
ALLOWED['audits'] |= {'data'}  # texts and people of judgements
ALLOWED |= {'report': {*_FIRST, 'ops', 'report'}}
ALLOWED |= {
  'types': set(),
  'places': set(),
  'runtime': {*_FIRST, 'runtime'},
  'worlds': {'types', 'ops', 'worlds'},
  'data': {'types', 'ops', 'worlds', 'data'},
  'registry': {
    'types',
    'heads',
    'learners',
    'rewards',
    'safeguards',
    'toys',
    'users',
  },
  'toys': {
    'types',
    'history_rows',
    'judging_rows',
    'judging_tasks',
    'learners',
    'models',
    'policy',
    'worlds',
    'world_tasks',
  },
  'world_tasks': {'learners', 'policy', 'worlds'},
  'memory_rows': {
    *('types', 'ops', 'models', 'users', 'rewards', 'systems', 'worlds')
  },
  'history_rows': {'types', 'models', 'policy', 'users', 'worlds'},
  'history_texts': {'types', 'data', 'models', 'policy', 'rewards', 'users'},
  'memory_texts': {'types', 'data', 'models', 'rewards', 'systems', 'users'},
  'judging_tasks': {'types', 'ops', 'policy', 'worlds'},
  'judging_rows': {'types', 'policy', 'worlds'},
}
_BELOW = {*_FIRST, *ROOMS, *USES, 'data', 'worlds', 'runtime', 'registry'}
ALLOWED |= {
  'lab': {
    *_BELOW,
    'adapting',
    'history_texts',
    'lab',
    'memory_texts',
    'report',
  },
  'kept_summaries': {'places', 'runtime', 'users'},
  'kept_memories': {
    *('types', 'runtime', 'models', 'systems', 'users', 'kept_summaries')
  },
  'summary_model': {*_BELOW, 'kept_summaries'},
  'summary_training': {
    *(*_BELOW, 'history_texts', 'lab', 'summary_model', 'training')
  },
  'summary_command': {'users', 'kept_summaries', 'summary_model'},
  'setting': _BELOW,
  'planning': _BELOW,
  'adapting': _BELOW,
  'training': {*_BELOW, 'adapting', 'lab', 'setting'},
  'stance_pool': {'types', 'audits', 'worlds'},
  'model': {
    *(*_BELOW, 'adapting', 'lab', 'setting', 'stance_pool', 'training'),
    'comparing',
  },
  'model_card': {'data', 'ops', 'training'},
  'exported': {'models', 'runtime', 'systems'},
  'exported_programs': {*_BELOW, '__version__', 'model'},
  'exporting': {
    *(*_BELOW, '__version__', 'exported', 'exported_programs'),
    *('kept_summaries', 'model', 'model_card'),
  },
  'streaming': {'data', 'exported'},
  'serving': {'exported'},
  'benchmarking': {*_BELOW, 'exported', 'judging_benchmark', 'stance_pool'},
  'judging_benchmark': {'audits', 'data', 'models', 'rewards'},
  'comparing': {
    *(*_BELOW, 'adapting', 'kept_memories', 'kept_summaries', 'lab'),
    *('setting', 'training', 'model', 'report'),
  },
}
# Package -> where it may be imported.
ONLY = {
  'flax': ('prm_jax/models/',),
  'gguf': ('prm_jax/models/weights/',),
  'orbax': ('prm_jax/runtime/checkpoint.py', 'prm_jax/runtime/export.py'),
  'grain': ('prm_jax/data/', 'prm_jax/runtime/checkpoint.py'),
  # Lazily, both.
  'pyarrow': ('prm_jax/data/convert/files.py', 'experiments/benchmarks/'),
  'tensorflow_datasets': ('prm_jax/data/',),
  'matplotlib': ('prm_jax/report/',),
  'jinja2': ('prm_jax/report/', 'prm_jax/models/chat_rendering.py'),
  'ml_collections': ('configs/', 'experiments/'),
  'tensorflow': (),
  'torch': ('experiments/benchmarks/',),  # to compare with; lazily
  'pickle': (),
}
OPS = {'jax', 'optax', 'chex', 'numpy', 'scipy', 'prm_jax'}
STANDARD = {'collections', 'dataclasses', 'functools', 'statistics', 'typing'}


def imported(tree):
  """Yields (line, module) of every import; members count as modules."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for name in node.names:
        yield node.lineno, name.name
    elif isinstance(node, ast.ImportFrom) and node.module:
      for name in node.names:
        yield node.lineno, f'{node.module}.{name.name}'


def import_faults(path, tree):
  for line, module in imported(tree):
    package, *inner = module.split('.')
    where = f'{path}:{line}: {module}'
    if package in ONLY and not path.startswith(ONLY[package]):
      yield f'{where}: only in {ONLY[package]}'
    if not path.startswith('prm_jax/'):
      continue
    if package in ('experiments', 'configs', 'scripts'):
      yield f'{where}: nothing imports the leaves'
    room = path.removeprefix('prm_jax/').split('/')[0].removesuffix('.py')
    if room == 'ops' and package not in OPS | STANDARD:
      yield f'{where}: not in ops/'
    ours = package == 'prm_jax' and inner and room in ALLOWED
    if ours and inner[0] not in ALLOWED[room]:
      yield f'{where}: {room} must not know {inner[0]}'


def refused(path, tree, source):
  # Named here to be refused; nothing imports them.
  words = ('PRNGKey', 'experimental.shard_map', 'experimental.pjit')
  for word in words:
    if word in source:
      yield f'{path}: {word} is deprecated'
  lines = len(source.splitlines())
  if lines > 600:
    yield f'{path}: {lines} lines'
  for node in ast.walk(tree):
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Name) and called.id in ('eval', 'exec'):
      yield f'{path}:{called.lineno}: {called.id}'
    if isinstance(node, ast.ExceptHandler) and node.type is None:
      yield f'{path}:{node.lineno}: bare except'
    if isinstance(node, ast.FunctionDef):
      length = (node.end_lineno or 0) - node.lineno + 1
      if length > 80:
        yield f'{path}:{node.lineno}: {node.name} has {length} lines'
      for decorator in node.decorator_list:
        if path.startswith('prm_jax/ops/') and 'jit' in ast.dump(decorator):
          yield f'{path}:{node.lineno}: jit in ops/'
  for node in tree.body if path.startswith('prm_jax/') else ():
    named = isinstance(node, ast.FunctionDef | ast.ClassDef)
    public = named and not node.name.startswith('_')
    if public and not ast.get_docstring(node):
      yield f'{path}:{node.lineno}: {node.name} has no docstring'


def faults(path, source):
  tree = ast.parse(source)
  return [*import_faults(path, tree), *refused(path, tree, source)]


def sources():
  for folder in ('prm_jax', 'experiments', 'configs'):
    for path in sorted((ROOT / folder).rglob('*.py')):
      yield str(path.relative_to(ROOT))


@pytest.mark.parametrize('name', list(sources()))
def test_source(name):
  assert faults(name, (ROOT / name).read_text()) == []


def test_module_names_are_unique():
  names = collections.Counter(
    path.stem
    for path in (ROOT / 'prm_jax').rglob('*.py')
    if path.name != '__init__.py'
  )
  assert [name for name, count in names.items() if count > 1] == []


def test_learners_are_learners_alone():
  modules = {
    path.stem
    for path in (ROOT / 'prm_jax/learners').glob('*.py')
    if path.name != '__init__.py'
  }
  factories = (entry.factory for entry in registry.LEARNERS.values())
  assert modules == {
    getattr(factory, 'func', factory).__module__.rpartition('.')[2]
    for factory in factories
  }


@pytest.mark.parametrize(
  ('path', 'source', 'fault'),
  [
    # Faults planted as text, which is parsed and never run.
    ('prm_jax/ops/a.py', 'from prm_jax import users', 'must not know users'),
    ('prm_jax/runtime/a.py', 'from prm_jax.learners import pref', 'learners'),
    ('prm_jax/systems/a.py', 'from prm_jax import policy', 'not know policy'),
    ('prm_jax/report/a.py', 'from prm_jax import lab', 'must not know lab'),
    ('prm_jax/users/a.py', 'import flax', 'only in'),
    ('prm_jax/ops/a.py', 'import os', 'not in ops/'),
    ('prm_jax/data/a.py', 'import pickle', 'only in ()'),
    ('prm_jax/data/a.py', 'import experiments.run', 'leaves'),
    ('prm_jax/data/a.py', 'def f():\n  pass', 'no docstring'),
    ('prm_jax/data/a.py', 'eval("1")', 'eval'),
    ('prm_jax/data/a.py', 'try:\n  x\nexcept:\n  y', 'bare except'),
    ('prm_jax/data/a.py', 'x = 1\n' * 601, '601 lines'),
    ('prm_jax/ops/a.py', '@jax.jit\ndef _f():\n  pass', 'jit in ops'),
    ('experiments/a.py', 'import torch', 'only in'),
    ('experiments/a.py', 'def f():\n' + '  x = 1\n' * 80, '81 lines'),
  ],
)
def test_planted_fault_is_caught(path, source, fault):
  assert any(fault in found for found in faults(path, source))
