"""Real sets as JSON lines, as somebody would have them who asks `prm compare`.

    PRM_DATA_DIR=DATA python -m experiments.comparisons.data --output=FOLDER

`llmfao.jsonl`, all of it; `jester1000.jsonl`, ratings of 1,000 people; and
`ukp10000.jsonl`, judgements of UKPConvArg1 by people drawn until there are
10,000. Rows of people: they stay on this machine.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prm_jax.data import load, pipelines, schema

_PEOPLE, _JUDGEMENTS = 1000, 10_000


def llmfao() -> Iterator[str]:
  """Yields people's choices between models' outputs."""
  yield from schema.judgement_lines(load.judgements('llmfao'))


def jester1000() -> Iterator[str]:
  """Yields the ratings of some people."""
  ratings = load.ratings('jester')
  order = np.random.default_rng(0).permutation(len(ratings.user_ids))
  drawn = np.isin(ratings.user, order[:_PEOPLE])
  for user, item, rating in zip(
    ratings.user[drawn], ratings.item[drawn], ratings.rating[drawn], strict=True
  ):
    yield (
      json.dumps(
        {
          'user_id': ratings.user_ids[user],
          'prompt_id': 'joke',
          'prompt': 'Tell me a joke.',
          'response': ratings.texts[item],
          'rating': float(rating),
        }
      )
      + '\n'
    )


def ukp10000() -> Iterator[str]:
  """Yields the judgements of people who are drawn until there are enough."""
  judged = load.judgements('ukp_convarg')
  people = len(judged.user_ids)
  order = np.random.default_rng(0).permutation(people)
  total = np.cumsum(np.bincount(judged.user, minlength=people)[order])
  drawn = np.isin(judged.user, order[total <= _JUDGEMENTS])
  yield from schema.judgement_lines(pipelines.select(judged, drawn))


def main() -> None:
  """Writes the files."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=Path, required=True)
  folder = parser.parse_args().output
  folder.mkdir(parents=True, exist_ok=True)
  for make in (llmfao, jester1000, ukp10000):
    with (folder / f'{make.__name__}.jsonl').open('w', encoding='utf-8') as to:
      to.writelines(make())


if __name__ == '__main__':
  main()
