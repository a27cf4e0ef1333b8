"""`prm benchmark`: how often a reward model prefers the right answer.

Figures are as each benchmark's release computes them (`audits.benchmarks`,
`audits.both_orders`); intervals are over prompts, drawn anew within their
groups. Probes say what length and layout have to do with it.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from prm_jax import judging_benchmark, stance_pool, types
from prm_jax.audits import benchmarks, both_orders, trained
from prm_jax.data import benchmark_files
from prm_jax.exported import Exported
from prm_jax.ops import intervals
from prm_jax.rewards import scalar
from prm_jax.runtime import writers
from prm_jax.users import population
from prm_jax.worlds import stances

REPLICATES = 400
_LAYOUT = re.compile(r'\*\*|```|(?m:^\s*(?:[-*\u2022]|\d+[.)]|#+)\s)')
_BATCH = 256  # texts whose template is rendered at once
_NONE = 'no interval: too few prompts'
Parts = Callable[[benchmark_files.Rows, Sequence[np.ndarray]], dict[str, float]]
Credit = Callable[[benchmark_files.Rows, Sequence[np.ndarray]], np.ndarray]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns the results of a benchmark, and writes them where that is asked.

  Args:
    arguments: `model`, `label`, `user`, `data`, `hazards` and `output`; `judge`
      with `samples`, `tokens` and `temperature`.

  Raises:
    KeyError: the model does not know the person.
    ValueError: model or data cannot be used, or the output has something in
      it; nothing is scored then.
  """
  output: Path | None = arguments.output
  if output is not None and output.exists() and any(output.iterdir()):
    raise ValueError(f'--output={output} has something in it: choose another')
  rows = benchmark_files.read(arguments.data)
  benchmarks.check_groups(rows.name, rows.group)
  if arguments.judge:
    return _written(output, _judge(arguments, rows))
  model = Exported.load(arguments.model, label=arguments.label)
  found, cut, alike = scores(model, arguments.user, rows)
  if alike.any():
    if alike.all():
      raise ValueError(
        f'--data={arguments.data}: right and wrong answers are read alike in '
        'every row: they differ behind what the model reads'
      )
    apart = np.flatnonzero(~alike)
    rows, found = rows.take(apart), [found[row] for row in apart]
  results: dict[str, Any] = {
    'study': 'benchmark',
    'config': {
      'benchmark': rows.name,
      'prompts': len(rows.prompts),
      'texts_truncated': cut,
      'read_alike': int(alike.sum()),
    },
    'seeds': [0],
    'tables': {
      'benchmark': table(rows, found),
      'probes': list(probes(rows, found)),
    },
  }
  results['answer'] = answer(results)
  if cut:
    results['answer'].append(
      f'{cut} texts were longer than what the model reads, and truncated.'
    )
  if alike.any():
    results['answer'].append(
      f'In {int(alike.sum())} rows a right answer and a wrong one are read '
      'alike, because they differ behind what is read: these are left out.'
    )
  if rows.name == benchmark_files.OWN:
    results['answer'].append(
      "All people's judgements are scored by one reward, "
      + (f'that of {arguments.user}.' if arguments.user else "everybody's.")
    )
  if arguments.hazards:
    told = hazards(model, arguments.user)
    results['tables']['audit'] = told
    results['answer'] += trained.answer(told)
  return _written(output, results)


def _written(output: Path | None, results: dict[str, Any]) -> dict[str, Any]:
  if output is not None:
    writers.write_json_atomic(output / 'results.json', results)
  return results


def _judge(
  arguments: argparse.Namespace, rows: benchmark_files.Rows
) -> dict[str, Any]:
  """Returns the results of a language model that writes verdicts."""
  for name in ('label', 'user', 'hazards'):
    if getattr(arguments, name):
      raise ValueError(f'--{name}: of scores, and a judge writes verdicts')
  judge = judging_benchmark.load(
    arguments.model,
    arguments.judge,
    tokens=arguments.tokens,
    temperature=arguments.temperature,
  )
  said = judging_benchmark.judged(judge, rows, k=arguments.samples)
  if said.verdicts is None:
    figures = table(rows, said.scores)
  else:
    figures = table(
      rows,
      list(said.verdicts),
      parts=judging_benchmark.parts,
      credit=judging_benchmark.credit,
    )
  results: dict[str, Any] = {
    'study': 'benchmark',
    'config': {
      'benchmark': rows.name,
      'prompts': len(rows.prompts),
      'judge': arguments.judge,
      'samples': arguments.samples,
      'invalid': said.invalid,
    },
    'seeds': [0],
    'tables': {'benchmark': figures, 'probes': list(probes(rows, said.scores))},
  }
  results['answer'] = answer(results)
  results['answer'].append(
    f'{100 * said.invalid:.1f} % of the texts say nothing, and are wrong.'
  )
  return results


def scores(
  model: Exported, user: str | None, rows: benchmark_files.Rows
) -> tuple[list[np.ndarray], int, np.ndarray]:
  """Returns scores of every row's answers, and what could not be read whole.

  That is how many texts were truncated, and in which rows `[N]` a right and a
  wrong answer are then the same tokens.

  Args:
    model: which scores.
    user: for whom.
    rows: of a benchmark.

  Raises:
    KeyError: the model does not know the person.
  """
  each = zip(rows.prompts, rows.answers, strict=True)
  pairs = [(prompt, text) for prompt, texts in each for text in texts]
  known = sorted(set(pairs))
  told, read, cut = [], [], 0
  for first in range(0, len(known), _BATCH):
    some = zip(*known[first : first + _BATCH], strict=True)
    prompts, responses = map(list, some)
    found = model.score(user, prompts, responses)
    told.append(found.scores)
    read.append(found.read)
    cut += int(found.cut.sum())
  number = {pair: at for at, pair in enumerate(known)}
  places = [number[pair] for pair in pairs]
  ends = np.cumsum([len(texts) for texts in rows.answers])[:-1]
  same = np.split(np.concatenate(read)[places], ends)
  alike = [
    bool(np.isin(one[list(right)], np.delete(one, list(right))).any())
    for one, right in zip(same, rows.right, strict=True)
  ]
  flat = np.concatenate(told)[places]
  return np.split(flat, ends), cut, np.array(alike, bool)


def table(
  rows: benchmark_files.Rows,
  found: Sequence[np.ndarray],
  *,
  parts: Parts | None = None,
  credit: Credit | None = None,
  replicates: int = REPLICATES,
  seed: int = 0,
) -> list[dict[str, Any]]:
  """Returns rows of `benchmark`, `part`, `value` with its interval, and `n`.

  Args:
    rows: N of a benchmark.
    found: N arrays of scores, or of what the two functions read.
    parts: the benchmark's figures; of scores if None.
    credit: what each judgement of people counts; of scores if None.
    replicates: of the bootstrap.
    seed: of it.
  """
  if rows.name == benchmark_files.OWN:
    return [_of_people(rows, (credit or _credit)(rows, found))]
  parts = parts or _parts
  values = parts(rows, found)
  drawn: dict[str, list[float]] = {name: [] for name in values}
  rng = np.random.default_rng(seed)
  draw = _drawing(rows)
  for _ in range(replicates):
    index, unit = draw(rng)
    again = rows.take(index)._replace(unit=unit)
    for name, value in parts(again, [found[i] for i in index]).items():
      drawn[name].append(value)
  made = []
  for name, value in values.items():
    some = np.array(drawn[name])
    low, high = np.percentile(some, (2.5, 97.5))
    count, flat = _count(rows, name), not np.ptp(some) > 0
    if flat:  # all right, or all wrong: the exact interval of a share
      hits = min(round(value * count), count)
      low, high = intervals.share(hits, count)[1:]
    made.append(_row(rows, name, (value, low, high), count, 'prompts'))
  return made


def _credit(rows: benchmark_files.Rows, found: Sequence[np.ndarray]):
  """Returns whether scores agree with each judgement; a tie is half."""
  told = np.stack(found)
  right = np.array([places[0] for places in rows.right])
  better = np.sign(np.where(right == 0, 1, -1) * (told[:, 0] - told[:, 1]))
  return (better + 1) / 2


def _of_people(rows: benchmark_files.Rows, credit: np.ndarray):
  """Returns the share of people's judgements that are agreed with."""
  prompts = np.unique(rows.prompts, return_inverse=True)[1]
  people = np.unique(rows.group, return_inverse=True)[1]
  of = intervals.crossed(
    credit, np.ones(len(credit)), intervals.crossing(people, prompts)
  )
  known = (of.value, of.low, of.high)
  return _row(rows, 'overall', known, len(credit), 'people and prompts')


def _row(rows, name, found, n: int, unit: str) -> dict[str, Any]:
  value, low, high = (float(x) for x in found)
  return {
    'benchmark': rows.name,
    'part': name,
    'value': value,
    'value_low': low,
    'value_high': high,
    'n': n,
    'unit': unit,
  }


def _count(rows: benchmark_files.Rows, name: str) -> int:
  """Returns how many prompts a figure is of; all, where it is of no group."""
  if name in benchmarks.SECTIONS and rows.name == 'reward_bench':
    return sum(group in benchmarks.SECTIONS[name] for group in rows.group)
  starts = (name, f'LLMBar/{name}')
  found = sum(group.startswith(starts) for group in rows.group)
  return found or len(rows.group)


def _drawing(rows: benchmark_files.Rows):
  """Returns what draws rows: units of each group anew."""
  members: dict[int, list[int]] = {}
  for row, unit in enumerate(rows.unit.tolist()):
    members.setdefault(unit, []).append(row)
  group: dict[str, list[int]] = {}
  for unit, of in members.items():
    group.setdefault(rows.group[of[0]], []).append(unit)

  def draw(rng) -> tuple[np.ndarray, np.ndarray]:
    index, unit, count = [], [], 0
    for units in group.values():
      for at in rng.integers(0, len(units), len(units)).tolist():
        index += members[units[at]]
        unit += [count] * len(members[units[at]])
        count += 1
    return np.array(index), np.array(unit)

  return draw


def _parts(
  rows: benchmark_files.Rows, found: Sequence[np.ndarray]
) -> dict[str, float]:
  """Returns a benchmark's figures, the whole first."""
  if rows.name == 'reward_bench_2':
    return _reward_bench_2(rows, found, np.array(rows.group))
  told = np.stack(found)
  if rows.name == 'rm_bench':
    wins = benchmarks.style_wins(told[:, :3], told[:, 3:])
    of = benchmarks.rm_bench(wins, rows.group)
    parts = {'overall': of.overall, 'easy': of.easy}
    return {**parts, 'normal': of.normal, 'hard': of.hard, **of.domain}
  if rows.name == 'reward_bench':
    credit = benchmarks.compared(told[:, 0], told[:, 1])
    sections = benchmarks.reward_bench(credit, rows.group)
    parts = {'overall': sections.overall, **sections.section}
    return {k: v for k, v in parts.items() if v == v} | sections.subset
  right = np.array([places[0] for places in rows.right])
  given = both_orders.verdicts(told[:, 0], told[:, 1])
  if rows.name == 'judge_bench':
    orders = both_orders.judge_bench(given, None, right, rows.group)
  else:
    swapped = both_orders.verdicts(told[:, 1], told[:, 0])
    orders = both_orders.llmbar(given, swapped, right, rows.group)
  return {'overall': orders.accuracy, **orders.group}


def _reward_bench_2(rows, found, group) -> dict[str, float]:
  """Returns RewardBench 2's figures of the subsets that are there."""
  plain = np.flatnonzero(group != benchmark_files.TIES).tolist()
  tied = np.flatnonzero(group == benchmark_files.TIES).tolist()
  ties = None
  if tied:
    width = max(len(found[row]) for row in tied)
    padded = np.zeros((len(tied), width))
    for at, row in enumerate(tied):
      padded[at, : len(found[row])] = found[row]
    correct = np.array([len(rows.right[row]) for row in tied])
    ties = benchmarks.ties(
      padded,
      correct,
      np.array([len(found[row]) for row in tied]),
      correct > 1,
      rows.unit[tied],
    )
  if not plain:
    assert ties is not None
    return {'Ties': ties.score}
  told = [np.asarray(found[row], float) for row in plain]
  width = max(map(len, told))
  # What is not there is never the best.
  lowest = min(float(of.min()) for of in told) - 1
  block = np.stack(
    [np.pad(of, (0, width - len(of)), constant_values=lowest) for of in told]
  )
  sections = benchmarks.reward_bench_2(
    benchmarks.best_of(block), [rows.group[row] for row in plain], ties
  )
  parts = {'overall': sections.overall, **sections.section}
  return {name: value for name, value in parts.items() if value == value}


def probes(
  rows: benchmark_files.Rows, found: Sequence[np.ndarray]
) -> Iterable[dict[str, Any]]:
  """Yields what length and layout have to do with what is preferred.

  Of every right answer beside every wrong one of a prompt; a prompt counts as
  one, with Student's interval over prompts.

  Args:
    rows: N of a benchmark.
    found: N arrays of scores.
  """
  for name, measure in (('longer', _words), ('more layout', _marks)):
    parts: dict[str, list[float]] = {
      f'the right one is {name}': [],
      f'the preferred one is {name}': [],
      f'right where the right one is {name}': [],
      f'right where the wrong one is {name}': [],
    }
    columns = list(parts.values())
    for texts, places, told in zip(
      rows.answers, rows.right, found, strict=True
    ):
      size = np.array([measure(text) for text in texts])
      good = np.isin(np.arange(len(texts)), places)
      more = np.sign(size[good][:, None] - size[~good]).ravel()
      wins = np.sign(told[good][:, None] - told[~good]).ravel()
      some = more != 0
      credit = (wins + 1) / 2
      values = (
        (more[some] > 0),
        (wins[some] * more[some] + 1) / 2,
        credit[more > 0],
        credit[more < 0],
      )
      for column, value in zip(columns, values, strict=True):
        if len(value):
          column.append(float(np.mean(value)))
    for quantity, column in parts.items():
      if not column:
        continue
      value, low, high = intervals.mean(column)
      yield {
        'benchmark': rows.name,
        'quantity': quantity,
        'value': value,
        'value_low': low,
        'value_high': high,
        'n': len(column),
        'unit': 'prompts',
      }


def _words(text: str) -> int:
  return len(text.split())


def _marks(text: str) -> int:
  return len(_LAYOUT.findall(text))


def hazards(model: Exported, user: str | None) -> list[dict[str, Any]]:
  """Returns the hazard audit of one reward, on texts of known stance.

  Args:
    model: which scores.
    user: for whom.
  """
  written = stances.write(split='audit', seed=0, questions=20, answers=24)
  texts = [text for row in written.texts for text in row]
  count = len(written.texts[0])
  prompts = [q.text for q in written.questions for _ in range(count)]
  told = model.score(user, prompts, texts).scores
  system = types.System(scalar.linear(), population.population())
  params = {'reward': {'weight': jnp.ones(1)}, 'user': {}}
  served = stance_pool.candidates(written, jnp.asarray(told)[:, None])
  return trained.audit(system, params, (), served, seed=0)


def answer(results: dict[str, Any]) -> list[str]:
  """Returns what the tables say, in plain sentences.

  Args:
    results: of `run`.
  """
  rows = results['tables']['benchmark']
  told = []
  if all(row['part'] != 'overall' for row in rows):
    told = ['Parts of the benchmark are missing: there is no overall figure.']
  told += [
    f'{row["benchmark"]}, {row["part"]}: {row["value"]:.3f} {_limits(row)} of '
    f'{row["n"]} prompts or judgements.'
    for row in rows
  ]
  return told + [
    f'{row["quantity"].capitalize()}: {row["value"]:.3f} {_limits(row)} of '
    f'{row["n"]} prompts.'
    for row in results['tables']['probes']
  ]


def _limits(row: dict[str, Any]) -> str:
  low, high = row['value_low'], row['value_high']
  if low is None or low != low:
    return f'({_NONE})'
  return f'[{low:.3f}, {high:.3f}]'
