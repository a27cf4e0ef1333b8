"""From units to the tables of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from experiments.reward_heads import coverage, real
from prm_jax.lab import columns, units
from prm_jax.ops import intervals, statistics

Row = dict[str, Any]
_NEAR = 0.03  # of nominal: an interval is then called what it says
_SHOWN = 0.9  # nominal, of sentences
_SPLITS = 20  # of a person's ratings into halves


def heads(
  rows: Sequence[Row], worlds: Mapping[str, Any], plain: str
) -> list[Row]:
  """Returns how well each head orders new candidates, by world.

  A gain over plain Bradley-Terry, and what a head is behind the best one, are
  paired over seeds; `among_best` says whether it is inside the best one's
  interval.

  Args:
    rows: one a world, seed and head.
    worlds: with `made_for`.
    plain: label of Bradley-Terry on choices.
  """
  made = []
  for (world,), members in columns.grouped(rows, 'world').items():
    order = {
      head: {row['seed']: row['order'] for row in of}
      for (head,), of in columns.grouped(members, 'head').items()
    }
    best = columns.best(order, order)
    least = columns.mean('order', order[best].values())['order_low']
    lengths = {
      head: [row['length'] for row in of]
      for (head,), of in columns.grouped(members, 'head').items()
    }
    for head, values in order.items():
      gain = columns.gain('gain', values, order[plain])
      behind = columns.gain('behind', order[best], values)
      made.append(
        {
          'world': world,
          'head': head,
          'made_for': head in worlds[world].made_for,
          **columns.mean('order', values.values()),
          **gain,
          **behind,
          'among_best': head == best or np.mean([*values.values()]) >= least,
          'length_correlation': float(np.mean(lengths[head])),
          'seeds': len(values),
        }
      )
  return made


def ties(kept: Sequence[units.Unit]) -> list[Row]:
  """Returns what keeping ties gains in log loss, by data and head.

  Over dropping them with everybody's share, with people's own shares, and on
  held-out choices alone. Intervals are over people and prompts at once.

  Args:
    kept: units of `real.kept`.
  """
  made = []
  for unit in kept:
    arrays, record = unit.arrays, unit.record
    shared = intervals.crossing(arrays['user'], arrays['unit'])
    every = np.ones(len(arrays['user']))
    for head in record['chosen']:
      if head == real.DROPPED:
        continue
      row = {'data': record['data'], 'head': head}
      for name, base, rows in (
        ('gain', real.DROPPED, every),
        ('gain_over_habits', real.DROPPED_OWN, every),
        ('gain_strict', real.DROPPED, 1.0 - arrays['tie']),
      ):
        apart = rows * (arrays[base] - arrays[head])
        mean = intervals.crossed(apart, rows, shared)
        row |= columns.crossed(name, mean)
      row |= {
        'nll': float(arrays[head].mean()),
        'nll_dropped': float(arrays[real.DROPPED].mean()),
        **{
          name: record[name]
          for name in ('tie_share', 'people', 'units', 'unit', 'judgements')
        },
      }
      made.append(row)
  return made


def covered(kept: Sequence[units.Unit], levels: Sequence[float]) -> list[Row]:
  """Returns how many true margins of held-out people intervals hold.

  Seeds have people and prompts of their own; intervals of the share are over
  both at once.

  Args:
    kept: units of `coverage.held_out`.
    levels: that intervals are to cover.
  """
  made = []
  for (kind,), members in units.grouped(kept, 'features').items():
    for topics in (coverage.FAMILIAR, coverage.NEW):
      truth = _joined(members, f'{topics}#truth')
      user, prompt = (
        _keys(members, f'{topics}#{name}') for name in ('user', 'prompt')
      )
      shared = intervals.crossing(user, prompt)
      ones = np.ones(len(truth))
      for method, answers in _methods(members[0], topics):
        key = f'{topics}|{method}|{answers}'
        mean = _joined(members, f'{key}|mean')
        deviation = _joined(members, f'{key}|deviation')
        for level in levels:
          width = special.ndtri(0.5 + 0.5 * level) * deviation
          inside = (np.abs(truth - mean) <= width).astype(float)
          share = intervals.crossed(inside, ones, shared)
          made.append(
            {
              'features': kind,
              'topics': topics,
              'method': method,
              'answers': answers,
              'level': level,
              **columns.crossed('covered', share, least=0, most=1),
              'off': share.value - level,
              'near': bool(abs(share.value - level) <= _NEAR),
              'mean_half_width_logits': float(width.mean()),
              'error_logits': float(np.sqrt(np.mean((truth - mean) ** 2))),
              'people': share.first,
              'prompts': share.second,
              'pairs': len(truth),
              'seeds': len(members),
            }
          )
  return made


def calibrated(kept: Sequence[units.Unit]) -> list[Row]:
  """Returns how well probabilities of held-out people's choices are calibrated.

  Args:
    kept: units of `coverage.held_out`.
  """
  made = []
  for (kind,), members in units.grouped(kept, 'features').items():
    for topics in (coverage.FAMILIAR, coverage.NEW):
      for method, answers in _methods(members[0], topics):
        runs = []
        for seed, unit in enumerate(members):
          arrays = unit.arrays
          names = [f'{topics}#{name}' for name in ('user', 'prompt')]
          user, prompt = (seed * _SEED + arrays[name] for name in names)
          runs.append(
            statistics.Run(
              arrays[f'{topics}|{method}|{answers}|probability'],
              arrays[f'{topics}#label'],
              user,
              statistics.Units('prompts', prompt),
            )
          )
        found = statistics.summarize(runs, replicates=100)
        row = {'features': kind, 'topics': topics}
        row |= {'method': method, 'answers': answers}
        for name in ('ece', 'nll', 'accuracy'):
          limits = [found[name + end] for end in ('', '_low', '_high')]
          row |= columns.interval(name, limits)
        row |= {name: found[name] for name in ('people', 'pairs', 'seeds')}
        made.append(row)
  return made


_SEED = 1 << 20  # apart: people and prompts of another seed are others


def _keys(members: Sequence[units.Unit], name: str) -> np.ndarray:
  """Returns the numbers of all units, none of which is in two."""
  return np.concatenate(
    [seed * _SEED + unit.arrays[name] for seed, unit in enumerate(members)]
  )


def _joined(members: Sequence[units.Unit], name: str) -> np.ndarray:
  """Returns an array of all units, in float64."""
  return np.concatenate(
    [np.asarray(unit.arrays[name], np.float64) for unit in members]
  )


def _methods(unit: units.Unit, topics: str) -> list[tuple[str, int]]:
  """Returns methods, each with the numbers of answers that it was told."""
  names = [name.split('|') for name in unit.arrays]
  found = [
    (name[1], int(name[2]))
    for name in names
    if name[0] == topics and name[-1] == 'mean'
  ]
  return sorted(found)


def covered_ratings(kept: Sequence[units.Unit]) -> list[Row]:
  """Returns how many ratings to come intervals hold, by kind of interval.

  Intervals of the share are over people and jokes at once. The worst decile of
  people is chosen on a random half of everybody's ratings and measured on the
  other, so that chance in the choice does not lower it.

  Args:
    kept: units of `predicted.intervals_of`, of different people.
  """
  rating, user, item = (
    _joined(kept, name) for name in ('rating', 'user', 'item')
  )
  shared, ones = intervals.crossing(user, item), np.ones(len(rating))
  made = []
  names = [n[: -len('|low')] for n in kept[0].arrays if n.endswith('|low')]
  for name in names:
    method, level = name.split('|')
    low, high, infinite = (
      _joined(kept, f'{name}|{end}') for end in ('low', 'high', 'infinite')
    )
    inside = ((rating >= low) & (rating <= high)).astype(float)
    share = intervals.crossed(inside, ones, shared)
    made.append(
      {
        'method': method,
        'level': float(level),
        **columns.crossed('covered', share, least=0, most=1),
        'off': share.value - float(level),
        'near': bool(abs(share.value - float(level)) <= _NEAR),
        **columns.interval('worst_decile', _worst_decile(user, inside)),
        'mean_width_points': float((high - low).mean()),
        'infinite': float(infinite.mean()),
        'people': share.first,
        'jokes': share.second,
        'ratings': len(rating),
        'seeds': len(kept),
      }
    )
  return made


def _worst_decile(user: np.ndarray, inside: np.ndarray) -> intervals.Interval:
  """Returns the share inside of the people for whom it is least.

  The limits are 1.96 standard errors of as many people as a decile has, each
  counted with the mean over the splits that chose them.
  """
  number = np.unique(user, return_inverse=True)[1]
  people = int(number.max()) + 1
  chosen, measured = np.zeros(people), np.zeros(people)
  means = []
  for split in range(_SPLITS):
    rng = np.random.default_rng(split)
    half = rng.random(len(user)) < 0.5
    shares = []
    for part in (half, ~half):
      count = np.bincount(number[part], minlength=people)
      total = np.bincount(number[part], inside[part], people)
      shares.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    # Equal shares are put in a random order.
    order = np.lexsort((rng.random(people), shares[0]))
    worst = order[: max(1, people // 10)]
    known = worst[np.isfinite(shares[1][worst])]
    chosen[known] += 1
    measured[known] += shares[1][known]
    means.append(float(shares[1][known].mean()))
  often = chosen > 0
  each = measured[often] / chosen[often]
  error = float(np.std(each, ddof=1)) / np.sqrt(people // 10 or 1)
  value = float(np.mean(means))
  return intervals.Interval(value, value - 1.96 * error, value + 1.96 * error)


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  said = _of_heads(made['heads']) if made['heads'] else []
  said += _of_ties(made.get('ties', ()))
  said += _of_margins(made.get('coverage', ()))
  said += _of_ratings(made.get('coverage_ratings', ()))
  return said


_TOPICS = {
  coverage.FAMILIAR: 'familiar topics',
  coverage.NEW: 'topics that nobody has answered',
}
_KINDS = {
  'levels': 'Where features hold the truth',
  'text': 'Where features are read off text',
}
_RATED = {
  'gaussian': 'The head and the belief together',
  'predicted_alone': 'The head alone',
  'belief_alone': 'The belief alone',
  'conformal': "Everybody's conformal threshold",
}


def _of_margins(rows: Sequence[Row]) -> list[str]:
  """Returns what intervals of margins hold of held-out people's, in words."""
  said = []
  for (kind, topics), group in columns.grouped(
    rows, 'features', 'topics'
  ).items():
    most = max(row['answers'] for row in group)
    last = [row for row in group if row['answers'] in (0, most)]
    parts = [
      f'{row["method"]} {columns.percent(row, "covered")}'
      for row in last
      if row['level'] == _SHOWN
    ]
    said.append(
      f'{_KINDS[kind]}, on {_TOPICS[topics]}, intervals that are to hold '
      f'{100 * _SHOWN:.0f} % of the true margins of people held out, after '
      f'{most} answers of theirs, hold: {"; ".join(parts)}.'
    )
  near = columns.grouped(rows, 'features', 'topics', 'method', 'answers')
  good = [
    f'{method} ({kind}, {topics} topics'
    + (f', {answers} answers)' if answers else ')')
    for (kind, topics, method, answers), group in near.items()
    if all(row['near'] for row in group)
  ]
  if near:
    said.append(
      f'Within {100 * _NEAR:.0f} points of nominal at every level: '
      + ('; '.join(good) if good else 'none')
      + f'; {len(near) - len(good)} of {len(near)} are not.'
    )
    said.append(
      "true_prior starts a person's belief from the population's true mean and "
      'covariance: what it misses is the normal approximation, and what '
      'hierarchical misses besides is the prior that it estimates.'
    )
    said.append(
      "Everybody's reward is unsure of the average person alone: its intervals "
      'say nothing of how far one person is from that.'
    )
  return said


def _of_ratings(rows: Sequence[Row]) -> list[str]:
  """Returns what intervals of ratings hold, in words."""
  said = []
  for row in rows:
    if row['level'] != _SHOWN:
      continue
    method, name = row['method'], _RATED.get(row['method'])
    kind, _, own = method.rpartition('_')
    if name is None:
      name = f"A person's own threshold, of {own} ratings"
      if kind == 'fallback':
        name += ", everybody's where that is infinite"
    line = (
      f'Jester, {100 * _SHOWN:.0f} %: {name}: '
      f'{columns.percent(row, "covered")} of ratings to come, '
      f'{columns.percent(row, "worst_decile")} of those of the worst tenth of '
      f'people, {row["mean_width_points"]:.1f} points wide'
    )
    if row['infinite']:
      line += f' ({100 * row["infinite"]:.0f} % the whole scale)'
    said.append(line + '.')
  if rows:
    said.append(
      "A person's own threshold holds what it says on average over what it is "
      'calibrated on; of n ratings with the largest as the threshold its '
      'coverage itself scatters as Beta(n, 1), of which the lowest tenth is on '
      f'average {100 * _lowest_tenth(10):.0f} % at n = 10.'
    )
  return said


def _lowest_tenth(n: int) -> float:
  """Returns the mean of the lowest tenth of Beta(n, 1)."""
  return float(n / (n + 1) * 0.1 ** (1 / n))


def _of_heads(rows: Sequence[Row]) -> list[str]:
  """Returns which heads are best on which data, in words."""
  own = [row for row in rows if row['made_for']]
  best = [row for row in own if row['among_best']]
  beaten = {row['world'] for row in own if row['gain_low'] > 0}
  worlds = {row['world'] for row in own}
  return [
    f"{len(best)} of {len(own)} heads are best, or inside the best one's "
    'interval, on the data that they are made for.',
    f'Plain Bradley-Terry is significantly worse than they on {len(beaten)} '
    f'of {len(worlds)} kinds of data: {", ".join(sorted(beaten))}.',
  ]


def _of_ties(rows: Sequence[Row]) -> list[str]:
  """Returns what keeping ties saves over what it is to be held to, in words."""
  said = []
  for row in rows:
    if row['head'] == real.DROPPED_OWN:
      continue
    base = 'over_habits' if row['head'].endswith('_own') else ''
    name = f'gain_{base}'.rstrip('_')
    if row[f'{name}_low'] is None:
      continue
    said.append(
      f'{row["data"]}: keeping ties by {row["head"]} saves {row[name]:.3f} '
      f'nats a judgement [{row[f"{name}_low"]:.3f}, '
      f'{row[f"{name}_high"]:.3f}] over dropping them and saying '
      + ("a person's share." if base else "everybody's share.")
    )
  return said
