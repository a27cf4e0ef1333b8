"""What `prm compare` says of populations whose truth is planted.

    python -m experiments.benchmarks.planted --output=FILE

Twenty-four people judge thirty pairs each of sixty texts to ten prompts.
`habits`: they go by side and length and tie as they do, and have no taste.
`taste`: they like or dislike polite words, and have habits, too. `swapped`:
those of `taste`, whose ids are dealt anew to the judgements. Leaks of format
and copies are looked for as in `benchmarks.leaks`, by the same functions.
"""

import argparse
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from prm_jax import comparing
from prm_jax.data import schema
from prm_jax.ops import intervals, traits
from prm_jax.runtime import writers

DRAWS = {'habits': 20, 'swapped': 10, 'taste': 5}
METHODS = ('pref',)
_PEOPLE, _EACH, _PROMPTS, _TEXTS = 24, 30, 10, 6
_POLITE = ('please', 'kindly', 'thanks', 'welcome')
_OTHERS = (
  'the a this one that is was will be here there then so but and if it of in '
  'stuff whatever dude anyway maybe quite very rather some more less'
)
_WORDS = (*_POLITE, *_OTHERS.split())


def texts() -> list[list[str]]:
  """Returns the texts of every prompt, of 4 to 60 words."""
  rng = np.random.default_rng(0)
  return [
    [' '.join(rng.choice(_WORDS, rng.integers(4, 60))) for _ in range(_TEXTS)]
    for _ in range(_PROMPTS)
  ]


def population(kind: str, seed: int) -> list[schema.Judgement]:
  """Returns the judgements of a draw.

  Args:
    kind: 'habits', 'taste' or 'swapped'.
    seed: of people and of what they say.
  """
  rng = np.random.default_rng([seed, 1])
  said = texts()
  length = np.log([[len(t.split()) for t in row] for row in said])
  polite = np.array(
    [[sum(w in _POLITE for w in t.split()) for t in row] for row in said]
  ) / np.exp(length)
  rows = []
  for person in range(_PEOPLE):
    side, longer = rng.normal(0.2, 0.7), rng.normal(0.3, 1.0)
    width = rng.normal(-0.5, 0.7)
    taste = 0.0 if kind == 'habits' else rng.choice([-40.0, 40.0])
    for _ in range(_EACH):
      prompt = int(rng.integers(_PROMPTS))
      a, b = rng.choice(_TEXTS, 2, replace=False)
      margin = (
        side
        + longer * (length[prompt, a] - length[prompt, b])
        + taste * (polite[prompt, a] - polite[prompt, b])
      )
      chance = np.exp(
        np.asarray(traits.log_probability(*np.array([margin, width])))
      )
      label = rng.choice([1.0, 0.5, 0.0], p=chance / chance.sum())
      rows.append(
        schema.Judgement(
          user_id=f'u{person}', prompt_id=f'p{prompt}',
          prompt=f'Question {prompt}?', response_a=said[prompt][a],
          response_b=said[prompt][b], label=float(label), topic=f'p{prompt}',
        )
      )  # fmt: skip
  if kind != 'swapped':
    return rows
  names = rng.permutation([row.user_id for row in rows]).tolist()
  return [
    dataclasses.replace(row, user_id=name)
    for row, name in zip(rows, names, strict=True)
  ]


def compared(
  rows: list[schema.Judgement], folder: Path, methods=METHODS
) -> dict[str, Any]:
  """Returns what `prm compare` writes of judgements."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  path = folder / 'made.jsonl'
  with path.open('w', encoding='utf-8') as file:
    file.writelines(schema.judgement_lines(schema.code_judgements(rows)))
  return comparing.run(path, folder / 'run', methods=methods, audit=False)


def verdict(results: dict[str, Any], split: str) -> dict[str, Any]:
  """Returns the chosen method's gains on a split, and what is said of them."""
  found: dict[str, Any] = {}
  for row in results['tables']['gain']:
    if row['split'] == split and row['answers'] == 'all' and row['chosen']:
      name = 'gain' if row['baseline'] == 'aggregate' else 'beyond'
      found |= {
        name: row['gain'],
        f'{name}_low': row['gain_low'],
        f'{name}_high': row['gain_high'],
      }
  return found


def draws(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
  """Yields the verdicts of every draw of a population."""
  for seed in tqdm.trange(DRAWS[kind], desc=kind):
    results = compared(population(kind, seed), folder / 'draw')
    for split in ('new_pairs', 'new_prompts'):
      yield {
        'population': kind,
        'seed': seed,
        'split': split,
        **verdict(results, split),
        'says': results['answer'][0],
      }


def summary(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Yields how many draws show a gain, and one beyond habits."""
  for kind in DRAWS:
    for split in ('new_pairs', 'new_prompts'):
      known = [
        r for r in rows if r['population'] == kind and r['split'] == split
      ]
      for name in ('gain', 'beyond') if known else ():
        shown = sum(r[f'{name}_low'] > 0 for r in known)
        share = intervals.share(shown, len(known))
        yield {
          'population': kind,
          'split': split,
          'what': f'{name} shown',
          'draws': len(known),
          'shown': shown,
          'share_low': share.low,
          'share_high': share.high,
          'mean': float(np.mean([r[name] for r in known])),
        }


def main() -> None:
  """Writes the summary of all draws."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=Path, required=True)
  parser.add_argument('--kinds', default='habits,swapped,taste')
  arguments = parser.parse_args()
  known: dict[str, Any] = {}
  if arguments.output.exists():
    known = json.loads(arguments.output.read_text('utf-8'))
  with tempfile.TemporaryDirectory() as folder:
    for kind in arguments.kinds.split(','):
      if kind not in known:
        known[kind] = list(draws(kind, Path(folder)))
      rows = [row for name in DRAWS for row in known.get(name, [])]
      known['summary'] = list(summary(rows))
      writers.write_json_atomic(arguments.output, known)
  for row in known['summary']:
    print(row)


if __name__ == '__main__':
  main()
