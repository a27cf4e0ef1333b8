"""How often planted leaks are found, and clean judgements are flagged.

    PRM_DATA_DIR=DATA python -m experiments.benchmarks.leaks --output=FILE

A draw is a random half of a real set's people. Clean: 200 draws, of
ukp_convarg, jester and llmfao in turn. Every leak: 20 draws likewise. A draw is
written as JSON lines, and read and looked at as `prm compare` does it.
"""

import dataclasses
import html
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm

from experiments.benchmarks import program
from prm_jax.audits import copies
from prm_jax.data import load, pipelines, schema
from prm_jax.lab import columns, compare, folds
from prm_jax.models import features


class Sizes(NamedTuple):
  """Draws as they are, and draws of every leak."""

  clean: int = 200
  leaky: int = 20


Rows = list[schema.Judgement]
Leak = Callable[[Rows, np.random.Generator], Rows]


def sets(folder: Path) -> dict[str, schema.Judgements]:
  """Returns the real sets."""
  ratings = load.ratings('jester', data_dir=folder)
  jester = pipelines.pairs_from_ratings(
    ratings, min_gap=1.0, scale=None, per_person=30, seed=0
  )
  return {
    'ukp_convarg': load.judgements('ukp_convarg', data_dir=folder),
    'jester': jester,
    'llmfao': load.judgements('llmfao', data_dir=folder),
  }


def draw(judged: schema.Judgements, seed: int) -> Rows:
  """Returns the rows of a random half of the people."""
  people = len(judged.user_ids)
  drawn = np.random.default_rng(seed).permutation(people)[: people // 2]
  half = pipelines.select(judged, np.isin(judged.user, drawn))
  rows = map(json.loads, schema.judgement_lines(half))
  read = map(schema.parse_row, rows)
  return [row for row in read if isinstance(row, schema.Judgement)]


def flagged(rows: Rows, folder: Path, seed: int) -> list[str]:
  """Returns the names of the checks that raise an alarm in `prm compare`.

  Args:
    rows: of a draw.
    folder: the draw's file is written there.
    seed: of the comparison.
  """
  path = folder / 'draw.jsonl'
  lines = schema.judgement_lines(schema.code_judgements(rows))
  path.write_text(''.join(lines), 'utf-8')
  judged, report = schema.read_jsonl(path)
  found, source = copies.find(judged), features.Source()
  data = folds.Data('draw', judged, found, source, 1, seed)
  probes = compare.probes(data, folds.case(data, folds.PAIRS, 0).problem)
  alarms = [row['control'] for row in probes if row['leak']]
  # A prompt under two names is made one, and told, when a file is read.
  told = any('words of another' in note for note in report.notes)
  return [*alarms, 'merged when read'] if told else alarms


def _edited(
  chosen: Callable[[str], str] = str,
  rejected: Callable[[str], str] = str,
  share: float = 1.0,
) -> Leak:
  """Returns what edits chosen and rejected texts of a share of the rows."""

  def edit(row, rng):
    if row.label == 0.5 or rng.random() > share:
      return row
    a, b = (chosen, rejected) if row.label > 0.5 else (rejected, chosen)
    texts = {'response_a': a(row.response_a), 'response_b': b(row.response_b)}
    return dataclasses.replace(row, **texts)

  return lambda rows, rng: [edit(row, rng) for row in rows]


def _entities(text: str) -> str:
  return html.escape(text).replace('\n', '<br>').replace(' - ', ' &ndash; ')


def _open(text: str) -> str:
  return text.rstrip(' .')


def _tenth(rows: Rows, rng: np.random.Generator) -> Rows:
  return [rows[i] for i in rng.permutation(len(rows))[: len(rows) // 10]]


def _spaced(row: schema.Judgement, rng: np.random.Generator):
  texts: dict[str, Any] = {}
  for side in ('response_a', 'response_b'):
    words = getattr(row, side).split(' ')
    words[rng.integers(len(words))] += ' '
    texts[side] = ' '.join(words) + ' '
  return dataclasses.replace(row, **texts)


def _again(row: schema.Judgement, *names: str) -> schema.Judgement:
  """Returns the row under other names."""
  others: Any = {name: f'{getattr(row, name)} again' for name in names}
  return dataclasses.replace(row, **others)


def _second_topic(rows: Rows, rng: np.random.Generator) -> Rows:
  """The largest topic stands under a second name for every other person."""
  ((topic, _),) = Counter(row.topic for row in rows).most_common(1)
  half = set(sorted({row.user_id for row in rows})[1::2])
  return [
    _again(row, 'topic', 'prompt_id')
    if row.topic == topic and row.user_id in half
    else row
    for row in rows
  ]


def _copied(rows: Rows, rng: np.random.Generator) -> Rows:
  names = sorted({row.user_id for row in rows})
  chosen = set(rng.permutation(names)[: max(1, len(names) // 10)].tolist())
  return rows + [
    _again(row, 'user_id') for row in rows if row.user_id in chosen
  ]


LEAKS: dict[str, Leak] = {
  'list formatting, rejected, 45 % of rows': _edited(
    rejected=lambda text: str([text]), share=0.45
  ),
  'HTML entities in the rejected': _edited(rejected=_entities),
  'cut endings of the rejected': _edited(
    rejected=lambda text: text[: int(len(text) * 0.9)].rstrip()
  ),
  'a final full stop on the chosen alone': _edited(
    lambda text: _open(text) + '.', _open
  ),
  'a zero-width space in the chosen': _edited(
    lambda text: text[:1] + '\u200b' + text[1:]
  ),
  'a prefix on the chosen': _edited('Answer: {}'.format),
  'a debate under two topics': _second_topic,
  'exact duplicates of a tenth': lambda rows, rng: rows + _tenth(rows, rng),
  'near-duplicates of a tenth': lambda rows, rng: (
    rows + [_spaced(row, rng) for row in _tenth(rows, rng)]
  ),
  'a tenth of the people copied': _copied,
}


def measure(sizes: Sizes) -> program.Tables:
  """Returns how many draws of every kind raise an alarm, and by which check."""
  known = sets(load.data_folder(None))
  names = list(known)
  alarms, checks = [], []
  kinds = {'clean': sizes.clean, **dict.fromkeys(LEAKS, sizes.leaky)}
  for kind, count in kinds.items():
    by_set, by_check = Counter[str](), Counter[str]()
    for seed in tqdm.tqdm(range(count), desc=kind):
      name = names[seed % len(names)]
      rows = draw(known[name], seed)
      if kind in LEAKS:
        rows = LEAKS[kind](rows, np.random.default_rng([seed, 1]))
      with tempfile.TemporaryDirectory() as folder:
        found = flagged(rows, Path(folder), seed)
      by_set[name] += bool(found)
      by_check.update(found)
    flags, row = by_set.total(), {'kind': kind, 'draws': count}
    share = columns.share('share', flags, count)
    alarms.append({**row, 'flagged': flags, **share, **by_set})
    for check, n in by_check.items():
      checks.append({'kind': kind, 'check': check, 'draws': n})
  return {'alarms': alarms, 'checks': checks}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(3, 1))
