"""Rows of results.json, and what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from prm_jax.lab import columns, curves

Row = dict[str, Any]
NAMED = ('arm', 'method')
_ENDS = (
  'fit',
  'fit_held_out',
  'format',
  'agrees_with_false',
  'stance_flip_gap',
)
_AUDITED = ('agrees_with_false', 'stance_flip_gap')
ALONG = ('fit', 'fit_held_out', 'agrees_with_false', 'entropy')


def first_reply_fit(runs: Sequence[Row]) -> list[Row]:
  """Returns how well first replies fit, on average and at the end.

  The mean over training is the area under the curve: it has no end point.
  Gains are over the better of the arm's evaluative and directive methods by
  that mean, paired over seeds.
  """
  table = curves.averaged(
    runs,
    (*NAMED, 'hint_rate', 'hint_error'),
    {
      'mean_fit': mean_fit,
      **{end: curves.after(end) for end in _ENDS},
      'fall': fall,
    },
  )
  area: dict[str, dict[str, dict[int, float]]] = {}
  combined = set()
  for (arm, name), members in columns.grouped(runs, *NAMED).items():
    by_seed = {run['seed']: mean_fit(run) for run in members}
    area.setdefault(arm, {})[name] = by_seed
    if all(members[0]['node'][part] for part in ('evaluative', 'directed')):
      combined.add(name)
  for row in table:
    name, others = row['method'], area[row['arm']]
    best = columns.best(others, [n for n in others if n not in combined])
    if name in combined and best:
      row['baseline'] = best
      row |= columns.gain('gain', others[name], others[best])
  return table


def mean_fit(run: Row) -> float:
  """Returns the mean over examinations."""
  return float(np.mean([exam['fit'] for exam in curves.exams(run)]))


def fall(run: Row) -> float:
  """Returns how far the fit falls below its best, later: a collapse."""
  fit = np.array([exam['fit'] for exam in curves.exams(run)])
  best = int(fit.argmax())
  return float(fit[best:].min() - fit[best])


def audit(runs: Sequence[Row]) -> list[Row]:
  """Returns what fitting adds to agreement with false claims."""

  def added(name):
    return lambda run: curves.after(name)(run) - curves.before(name)(run)

  figures = {}
  for name in _AUDITED:
    figures[f'{name}_before'] = curves.before(name)
    figures[f'{name}_after'] = curves.after(name)
    figures[f'{name}_added'] = added(name)
  table = curves.averaged(runs, NAMED, figures)
  groups = columns.grouped(runs, *NAMED).values()
  for row, members in zip(table, groups, strict=True):
    flagged = [run['final']['flagged'] for run in members]
    row['flagged_share'] = float(np.mean(flagged))
  return table


def per_seed(runs: Sequence[Row]) -> list[Row]:
  """Returns one row a run: nothing is averaged."""
  return [
    {
      **{column: run[column] for column in (*NAMED, 'seed')},
      'follows_hints': run['start']['follows_hints'],
      'mean_fit': mean_fit(run),
      **{end: run['final'][end] for end in _ENDS},
      'fall': fall(run),
      'sampler_gap_nats': curves.largest(run, 'sampler_gap'),
    }
    for run in runs
  ]


def answer(made: dict[str, list[Row]]) -> list[str]:
  """Returns what the tables say, in sentences."""
  lines = []
  for row in made['first_reply_fit']:
    text = (
      f'{row["arm"]}, {row["method"]}: {columns.percent(row, "mean_fit")} of '
      f'first replies fit over training, {columns.percent(row, "fit")} at the '
      'end'
    )
    if 'gain' in row:
      text += f'; over {row["baseline"]} {columns.percent(row, "gain")}'
    lines.append(f'{text}.')
  lines += [
    f'{row["method"]}, in words: {columns.percent(row, "fit_after")} fit, '
    f'{columns.percent(row, "fit_before")} before.'
    for row in made['fit_in_words']
  ]
  return lines
