"""The tables that this study has besides those of every comparison."""

from collections.abc import Mapping
from typing import Any

from experiments.personalized_vs_aggregate import truth
from prm_jax.lab import fitting, rows

Groups = Mapping[rows.Key, list[rows.Cell]]


def recovery_table(groups: Groups):
  """Returns (accuracy - 0.5) / (oracle - 0.5) where the truth is known."""
  found = []
  for key, group_ in groups.items():
    if not key[0].startswith(('attributes', 'alpaca_eval')):
      continue
    for name in rows.predictions(group_):
      method, split, _, variant = name.split('|')
      if variant or method == fitting.MAJORITY:
        continue
      paired = rows.paired_runs(group_, name, f'{split}#oracle')
      ratio = truth.recovered(*paired)
      named = rows.named(key, name)
      found.append(
        {
          **named,
          'population': key[0].removeprefix('attributes_'),
          'regime': {
            'new_pairs': 'seen prompts',
            'new_topics': 'new prompts, shared lexicon',
            'new_people': 'new prompts, shared lexicon',
            'new_lexicon': 'everything new',
          }[split],
          **ratio,
        }
      )
  return found


def ceilings(groups: Groups) -> list[dict[str, Any]]:
  """Returns the best that any rule ignoring the person could do.

  On each pair the side with the larger mean true probability over the people
  asked is predicted, and scored by the truth: a bound, not a method.
  """
  found = []
  for (data, features), group_ in groups.items():
    for cell in group_ if data.startswith('attributes') else []:
      for split, bound in cell.record['ceilings'].items():
        found.append(
          {
            'data': data,
            'features': features,
            'seed': cell.seed,
            'split': split,
            **bound,
          }
        )
  return found
