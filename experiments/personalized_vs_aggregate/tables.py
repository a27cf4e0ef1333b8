"""The tables that this study has besides those of every comparison."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.personalized_vs_aggregate import truth
from prm_jax.lab import fitting, rows

Groups = Mapping[rows.Key, list[rows.Cell]]
# A person's training judgements, for the gain by how much is known of them.
_BANDS = ((1, 10), (10, 50), (50, 200), (200, 10**9))


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


def gains_by_judgements(
  groups: Groups, replicates: int
) -> Iterator[dict[str, Any]]:
  """Yields the gain for people with few and with many judgements.

  On UKPConvArg1's unseen debates, where people differ most in how many they
  gave.
  """
  for key, group_ in groups.items():
    if key[0] != 'ukp_convarg':
      continue
    for name in rows.predictions(group_):
      _, split, answers, variant = name.split('|')
      if split != 'new_topics' or variant or name.startswith(fitting.MAJORITY):
        continue
      base = rows.gain_base(group_, key, name)
      if base['role'] == 'personal':
        other = f'{fitting.BASELINE}|{split}|{answers}|'
        paired = rows.paired_runs(group_, name, other)
        yield from _by_judgements(group_, paired, base, replicates)


def _by_judgements(group_, paired, base, replicates):
  count: dict[str, int] = {}
  for cell in group_:
    known = zip(cell.user_ids, cell.arrays['judgements'], strict=True)
    for person, judged in known:
      count[person] = max(count.get(person, 0), int(judged))
  for low, high in (*_BANDS, (50, 10**9)):
    inside = [
      np.array([low <= count[p] < high for p in run.person], bool)
      for run in paired[0]
    ]
    cut = [
      [
        run.take(chosen)
        for run, chosen in zip(side, inside, strict=True)
        if chosen.any()
      ]
      for side in paired
    ]
    if cut[0]:
      label = f'{low}+' if high == 10**9 else f'{low}-{high - 1}'
      row = rows.gained(cut, replicates)
      yield {**base, 'judgements': label, **row}


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
