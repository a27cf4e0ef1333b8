"""How often planted leaks are found, and clean judgements are flagged.

    PRM_DATA_DIR=DATA python -m experiments.benchmarks.leaks --output=FILE

A draw is a random half of a real set's people. Clean: 200 draws, of
ukp_convarg, jester and llmfao in turn. Every leak: 20 draws likewise. A draw is
written as JSON lines, and read and looked at as `prm compare` does it.
"""

import dataclasses
import html
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tqdm

from experiments.benchmarks import program
from prm_jax.audits import copies
from prm_jax.data import load, pipelines, schema
from prm_jax.data.builders import table
from prm_jax.lab import columns, compare, folds
from prm_jax.models import features


class Sizes(NamedTuple):
  """How much is drawn.

  Attributes:
    clean: draws as they are.
    leaky: draws of every leak.
  """

  clean: int = 200
  leaky: int = 20


_ROWS = 30  # pairs of a jester person
_PART = 0.45  # of the rows are lists


def sets(folder: Path) -> dict[str, schema.Judgements]:
  """Returns the real sets, llmfao read from its files."""
  ukp = load.judgements('ukp_convarg', data_dir=folder)
  ratings = load.ratings('jester', data_dir=folder)
  jester = pipelines.pairs_from_ratings(
    ratings, min_gap=1.0, scale=None, per_person=_ROWS, seed=0
  )

  def lines(name):
    return table.json_rows(folder / 'llmfao' / f'{name}.jsonl.gz', {})

  text = {
    (row['prompt'], row['model']): row['text'] for row in lines('outputs')
  }
  label = {'left': 1.0, 'right': 0.0, 'tie': 0.5}
  llmfao = schema.code_judgements(
    schema.Judgement(
      user_id=row['worker'],
      prompt_id=str(row['prompt']),
      prompt=f'prompt {row["prompt"]}',
      response_a=text[row['prompt'], row['left']],
      response_b=text[row['prompt'], row['right']],
      label=label[row['winner']],
      topic=str(row['prompt']),
    )
    for row in lines('choices')
  )
  return {'ukp_convarg': ukp, 'jester': jester, 'llmfao': llmfao}


def draw(judged: schema.Judgements, seed: int) -> list[schema.Judgement]:
  """Returns the rows of a random half of the people."""
  people = len(judged.user_ids)
  drawn = np.random.default_rng(seed).permutation(people)[: people // 2]
  half = set(drawn.tolist())
  return [
    schema.Judgement(
      user_id=judged.user_ids[user],
      prompt_id=judged.prompt_ids[judged.item_prompt[a]],
      prompt=judged.prompts[judged.item_prompt[a]],
      response_a=judged.texts[a],
      response_b=judged.texts[b],
      label=float(label),
      topic=judged.topics[judged.item_prompt[a]],
    )
    for user, (a, b), label in zip(
      judged.user, judged.items, judged.label, strict=True
    )
    if int(user) in half
  ]


def flagged(rows: list[schema.Judgement], folder: Path, seed: int) -> list[str]:
  """Returns the names of the checks that raise an alarm in `prm compare`.

  Args:
    rows: of a draw.
    folder: the draw's file is written there.
    seed: of the comparison.
  """
  path = folder / 'draw.jsonl'
  with path.open('w', encoding='utf-8') as file:
    file.writelines(schema.judgement_lines(schema.code_judgements(rows)))
  judged, report = schema.read_jsonl(path)
  data = folds.Data(
    'draw', judged, copies.find(judged), features.Source(), 1, seed
  )
  problem = folds.case(data, folds.PAIRS, 0).problem
  alarms = [
    row['control'] for row in compare.probes(data, problem) if row['leak']
  ]
  # A prompt under two names is made one, and told, when a file is read.
  told = any('words of another' in note for note in report.notes)
  return [*alarms, 'merged when read'] if told else alarms


# --------------------------------------------------------------------- leaks


def _on_sides(
  rows: list[schema.Judgement],
  rng: np.random.Generator,
  chosen: Callable[[str], str],
  rejected: Callable[[str], str],
  share: float = 1.0,
) -> list[schema.Judgement]:
  """Returns rows whose chosen and rejected texts are changed."""
  made = []
  for row in rows:
    if row.label == 0.5 or rng.random() > share:
      made.append(row)
      continue
    first = row.label > 0.5
    a, b = (chosen, rejected) if first else (rejected, chosen)
    made.append(
      dataclasses.replace(
        row, response_a=a(row.response_a), response_b=b(row.response_b)
      )
    )
  return made


def _same(text: str) -> str:
  return text


def _entities(text: str) -> str:
  return html.escape(text).replace('\n', '<br>').replace(' - ', ' &ndash; ')


def _spaced(text: str, rng: np.random.Generator) -> str:
  words = text.split(' ')
  words[rng.integers(len(words))] += ' '
  return ' '.join(words) + ' '


Rows = list[schema.Judgement]

LEAKS: dict[str, Callable[[Rows, np.random.Generator], Rows]] = {
  'list formatting, rejected, 45 % of rows': lambda rows, rng: _on_sides(
    rows, rng, _same, lambda text: str([text]), _PART
  ),
  'HTML entities in the rejected': lambda rows, rng: _on_sides(
    rows, rng, _same, _entities
  ),
  'cut endings of the rejected': lambda rows, rng: _on_sides(
    rows, rng, _same, lambda text: text[: int(len(text) * 0.9)].rstrip()
  ),
  'a final full stop on the chosen alone': lambda rows, rng: _on_sides(
    rows,
    rng,
    lambda text: text.rstrip(' .') + '.',
    lambda text: text.rstrip(' .'),
  ),
  'a zero-width space in the chosen': lambda rows, rng: _on_sides(
    rows, rng, lambda text: text[:1] + '\u200b' + text[1:], _same
  ),
  'a prefix on the chosen': lambda rows, rng: _on_sides(
    rows, rng, lambda text: f'Answer: {text}', _same
  ),
  'a debate under two topics': lambda rows, rng: _second_topic(rows),
  'exact duplicates of a tenth': lambda rows, rng: (
    rows + [rows[i] for i in rng.permutation(len(rows))[: len(rows) // 10]]
  ),
  'near-duplicates of a tenth': lambda rows, rng: (
    rows
    + [
      dataclasses.replace(
        rows[i],
        response_a=_spaced(rows[i].response_a, rng),
        response_b=_spaced(rows[i].response_b, rng),
      )
      for i in rng.permutation(len(rows))[: len(rows) // 10]
    ]
  ),
  'a tenth of the people copied': lambda rows, rng: _copied(rows, rng),
}


def _second_topic(rows: list[schema.Judgement]) -> list[schema.Judgement]:
  """The largest topic stands under a second name for every other person."""
  (topic, _), *_ = Counter(row.topic for row in rows).most_common()
  people = {name: i for i, name in enumerate(sorted({r.user_id for r in rows}))}
  return [
    dataclasses.replace(
      row, topic=f'{topic} again', prompt_id=f'{row.prompt_id} again'
    )
    if row.topic == topic and people[row.user_id] % 2
    else row
    for row in rows
  ]


def _copied(
  rows: list[schema.Judgement], rng: np.random.Generator
) -> list[schema.Judgement]:
  names = sorted({row.user_id for row in rows})
  chosen = set(rng.permutation(names)[: max(1, len(names) // 10)].tolist())
  return rows + [
    dataclasses.replace(row, user_id=f'{row.user_id} again')
    for row in rows
    if row.user_id in chosen
  ]


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
    flags = sum(by_set.values())
    alarms.append(
      {
        'kind': kind,
        'draws': count,
        'flagged': flags,
        **columns.share('share', flags, count),
        **by_set,
      }
    )
    checks += [
      {'kind': kind, 'check': check, 'draws': n}
      for check, n in by_check.items()
    ]
  return {'alarms': alarms, 'checks': checks}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(3, 1))
