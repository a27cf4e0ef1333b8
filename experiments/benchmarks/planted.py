"""What `prm compare` says of populations whose truth is planted.

Twenty-four people judge thirty pairs each of sixty texts to ten prompts.
`habits`: they go by side and length and tie as they do, and have no taste.
`taste`: they like or dislike polite words, and have habits, too. `swapped`:
those of `taste`, whose ids are dealt anew to the judgements. A draw takes
minutes; with `--folder=DIR` a killed run goes on where it was.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm

from experiments.benchmarks import program
from prm_jax import comparing
from prm_jax.data import schema
from prm_jax.lab import columns
from prm_jax.runtime import writers
from prm_jax.worlds import habitual_people


class Sizes(NamedTuple):
  """Draws of each population, and the folder of comparisons; '' for none."""

  habits: int = 20
  swapped: int = 10
  taste: int = 5
  folder: str = ''


def population(kind: str, seed: int) -> list[schema.Judgement]:
  """Returns the judgements of a draw, by the name of its population."""
  rng = np.random.default_rng([seed, 1])
  taste = 0.0 if kind == 'habits' else 40.0
  texts = habitual_people.texts(np.random.default_rng(0), 10, 6)
  choices = habitual_people.choices(rng, texts, people=24, each=30, taste=taste)
  names = [f'u{choice.person}' for choice in choices]
  if kind == 'swapped':
    names = rng.permutation(names).tolist()
  return [
    schema.Judgement(
      user_id=name,
      prompt_id=f'p{prompt}',
      prompt=f'Question {prompt}?',
      response_a=texts[prompt][first],
      response_b=texts[prompt][second],
      label=label,
      topic=f'p{prompt}',
    )
    for name, (_, prompt, first, second, label) in zip(
      names, choices, strict=True
    )
  ]


def gains(results: dict[str, Any], split: str) -> dict[str, Any]:
  """Returns the chosen method's gains on a split."""
  row: dict[str, Any] = {}
  for line in results['tables']['gain']:
    if line['split'] == split and line['answers'] == 'all' and line['chosen']:
      name = 'gain' if line['baseline'] == 'aggregate' else 'beyond'
      limits = (line[f'gain{end}'] for end in ('', '_low', '_high'))
      row |= columns.interval(name, limits)
  return row


def draws(kind: str, number: int, folder: Path) -> Iterator[dict[str, Any]]:
  """Yields what `prm compare` says of every draw of a population."""
  for seed in tqdm.trange(number, desc=kind):
    own = writers.make_folder(folder / f'{kind}{seed}')
    judged = schema.code_judgements(population(kind, seed))
    path = own / 'made.jsonl'
    path.write_text(''.join(schema.judgement_lines(judged)), 'utf-8')
    results = comparing.run(path, own, methods=('pref',), audit=False)
    for split in ('new_pairs', 'new_prompts'):
      row = {'population': kind, 'seed': seed, 'split': split}
      yield row | gains(results, split) | {'says': results['answer'][0]}


def summary(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Yields how many draws show a gain, and one beyond habits."""
  groups = columns.grouped(rows, 'population', 'split')
  for (kind, split), members in groups.items():
    for name in ('gain', 'beyond'):
      shown = sum(row[f'{name}_low'] > 0 for row in members)
      row = {'population': kind, 'split': split, 'what': f'{name} shown'}
      row |= {'draws': len(members), 'shown': shown}
      row |= columns.share('share', shown, len(members))
      yield row | {'mean': float(np.mean([draw[name] for draw in members]))}


def measure(sizes: Sizes) -> program.Tables:
  """Returns the summary, and all draws."""
  numbers = sizes._asdict()
  with tempfile.TemporaryDirectory() as temporary:
    folder = Path(numbers.pop('folder') or temporary)
    rows: list[dict[str, Any]] = []
    for kind, number in numbers.items():
      rows += draws(kind, number, folder)
  return {'summary': list(summary(rows)), 'draws': rows}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(1, 0, 0))
