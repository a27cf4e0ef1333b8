"""What the second ground costs beside the first, and the people's step.

  python -m experiments.benchmarks.ground --output=FILE.json

The first ground runs from a git worktree of its last commit, in a process of
its own, the second from this checkout, in another; both fit the same people
in turn, after one fit that is not counted but for its compilation. The last
part times a step of 1,000 people among 10,000 and among 1,000,000.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# The first ground's last commit.
FIRST = '0060ef5f5647137ecfaace0c893bc70d6f829190'
ROOT = Path(__file__).parents[2]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=Path)
  parser.add_argument('--worker', choices=('first', 'second'))
  parser.add_argument('--people', type=int, default=4000)
  parser.add_argument('--judgements', type=int, default=50, help='of each')
  parser.add_argument('--repeats', type=int, default=3)
  arguments = parser.parse_args()
  if arguments.worker:
    worker(arguments)
    return
  results = compare(arguments)
  print(json.dumps(results, indent=2))
  if arguments.output:
    arguments.output.write_text(json.dumps(results, indent=2) + '\n')


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns a row for each fit, programs and the people's step."""
  rows = []
  with workers(arguments) as ask:
    for name in ('pref', 'lore', 'vpl', 'grpo'):
      first = {side: ask[side](name) for side in ask}
      times: dict[str, list[float]] = {side: [] for side in ask}
      for _ in range(arguments.repeats):
        for side in ask:
          times[side].append(ask[side](name)['seconds'])
      middle = {side: statistics.median(times[side]) for side in ask}
      row = {
        'fit': name,
        **{f'{side}_seconds': round(middle[side], 3) for side in ask},
        **{f'{side}_all': [round(t, 3) for t in times[side]] for side in ask},
        'times': round(middle['second'] / middle['first'], 3),
        **{f'compile_{side}': round(first[side]['compile'], 2) for side in ask},
        **{f'programs_{side}': first[side]['programs'] for side in ask},
      }
      print(row, file=sys.stderr, flush=True)
      rows.append(row)
    people = [ask['second'](f'people {n}') for n in (10_000, 1_000_000)]
  return {
    'fits': rows,
    'people': people,
    'people_times': round(people[1]['seconds'] / people[0]['seconds'], 3),
    'cores': os.cpu_count(),
  }


@contextlib.contextmanager
def workers(arguments) -> Iterator[Mapping[str, Any]]:
  """Yields side -> `ask(what) -> figures` of a process that stays."""
  with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
    tree = Path(folder) / 'first'
    git = ['git', '-C', str(ROOT), 'worktree']
    subprocess.run(
      [*git, 'add', '--detach', '-q', str(tree), FIRST], check=True
    )
    stack.callback(
      subprocess.run, [*git, 'remove', '--force', str(tree)], check=True
    )
    asks = {}
    for side, where in (('first', tree), ('second', ROOT)):
      process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), f'--worker={side}',
         f'--people={arguments.people}',
         f'--judgements={arguments.judgements}'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=where,
        env=os.environ | {'PYTHONPATH': str(where)},
      )  # fmt: skip
      stack.callback(process.kill)

      def ask(what: str, process=process) -> dict[str, Any]:
        print(what, file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

      asks[side] = ask
    yield asks


# --------------------------------------------------------------------- worker


def worker(arguments: argparse.Namespace) -> None:
  """Answers what standard input asks for, a line of JSON each."""
  import jax

  counts = {'compile': 0.0, 'programs': 0}

  def heard(event: str, duration_secs: float, **_: str | int) -> None:
    if event.endswith('backend_compile_duration'):
      counts['compile'] += duration_secs
      counts['programs'] += 1

  jax.monitoring.register_event_duration_secs_listener(heard)
  fits: dict[str, Any] = {}
  for line in sys.stdin:
    what = line.strip()
    if what not in fits:
      fits[what] = made(what, arguments)
    counts.update(compile=0.0, programs=0)
    start = time.perf_counter()
    jax.block_until_ready(fits[what]())
    seconds = time.perf_counter() - start
    if what.startswith('people'):
      start = time.perf_counter()
      jax.block_until_ready(fits[what]())
      seconds = (time.perf_counter() - start) / STEPS
    print(json.dumps({'seconds': seconds, **counts, 'what': what}), flush=True)


def made(what: str, arguments: argparse.Namespace) -> Any:
  """Returns what is timed, as a function without arguments."""
  if what.startswith('people'):
    return people_step(int(what.split()[1]))
  if what == 'grpo':
    return policy(arguments.worker)
  return personal(what, arguments)


def personal(kind: str, arguments: argparse.Namespace) -> Any:
  """Returns a fit of people who rate jokes: every text its own feature."""
  import jax
  import numpy as np

  from prm_jax import registry, types
  from prm_jax.runtime import train

  steps = {'pref': 200, 'lore': 200, 'vpl': 300}[kind]
  learner = registry.build('learner', {'kind': kind, 'steps': steps})
  rng = np.random.default_rng(0)
  U, M = arguments.people, 100
  n = U * arguments.judgements
  table = np.eye(M, dtype=np.float32)
  taste = rng.normal(size=(U, 3)) @ rng.normal(size=(3, M))
  user = rng.permutation(np.repeat(np.arange(U), arguments.judgements))
  index = np.stack([rng.integers(0, M, n), rng.integers(0, M - 1, n)], 1)
  index[:, 1] += index[:, 1] >= index[:, 0]
  gap = taste[user, index[:, 0]] - taste[user, index[:, 1]]
  parts = {
    'user': user.astype(np.int32), 'label': (gap > 0).astype(np.float32),
    'mask': np.ones(n, np.float32), 'example_id': np.arange(n, dtype=np.int32),
  }  # fmt: skip
  spec, key = types.Spec(M, U), jax.random.key(0)
  index = index.astype(np.int32)
  if arguments.worker == 'first':
    rows = types.Rows(items=index, **parts)  # type: ignore[attr-defined]
    source: Any = types.Batch(table, rows)
    fit: Any = train.fit
    return lambda: (
      fit(learner, learner.init(key, spec), rows, source=source).params
    )
  data = types.Batch(types.Judgements(**parts), types.Inputs(table, index))
  return lambda: train.fit(learner, data, key=key, spec=spec).params


def policy(side: str) -> Any:
  """Returns twenty steps of GRPO on arithmetic."""
  import jax
  import numpy as np

  from prm_jax import types
  from prm_jax.learners import grpo, rollouts
  from prm_jax.models import decoder
  from prm_jax.runtime import train
  from prm_jax.worlds import arithmetic

  rng = np.random.default_rng(0)
  world = arithmetic.draw(
    rng, arithmetic.tables(rng), (arithmetic.EASY,) * 2, 32
  )
  task = rollouts.Task(
    lambda problem: rollouts.full(arithmetic.prompts(world.take(problem))),
    lambda problem, said: arithmetic.verify(world.take(problem), said.ids),
    None, 5, (arithmetic.END,),
  )  # fmt: skip
  sizes = decoder.DecoderConfig(
    len(arithmetic.TOKENS), 64, 172, 3, 4, 4, 16, query_key_norm=True
  )
  learner: Any = grpo.grpo(
    task=task, config=sizes, training=rollouts.Training(1e-3, 20)
  )
  key, spec = jax.random.key(0), types.Spec(1, 1)
  given: Any = rollouts.problems(np.arange(32))
  if side == 'first':
    source: Any = types.Batch(np.zeros(1), given)
    fit: Any = train.fit
    return lambda: (
      fit(learner, learner.init(key, spec), given, source=source).params
    )
  return lambda: train.fit(learner, given, key=key, spec=spec).params


STEPS, BATCH = 50, 1000


def people_step(people: int) -> Any:
  """Returns steps of PReF in which 1,000 people answer, of many."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from prm_jax import registry, types
  from prm_jax.runtime import compile as compiling
  from prm_jax.runtime import update

  learner = registry.build('learner', {'kind': 'pref', 'dim': 8})
  phase = learner.phases[1]
  rng = np.random.default_rng(0)
  state = learner.init(jax.random.key(0), types.Spec(100, people))
  state = update.initialize(state, phase)
  user = rng.choice(people, BATCH, replace=False).astype(np.int32)
  ones = np.ones(BATCH, np.float32)
  rows = types.Judgements(user, ones, ones, np.arange(BATCH, dtype=np.int32))
  index = rng.integers(0, 100, (BATCH, 2)).astype(np.int32)
  table = rng.normal(size=(100, 100)).astype(np.float32)
  batch = jax.tree.map(
    jnp.asarray, types.Batch(rows, types.Inputs(table, index))
  )
  step = compiling.compile_update(
    update.make_update(phase, whole_people=False), donate=True
  )
  kept = [state]

  def run():
    for _ in range(STEPS):
      kept[0], _ = step(kept[0], batch)
    return kept[0].params

  return run


if __name__ == '__main__':
  main()
