"""From each person's curve to the tables of results.json.

A setting's arrays are `correct|A` and `regret|A` `[U, T + 1]` by acquisition A,
and `[U, 1]` for the aggregate.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prm_jax.lab import asking, bootstrap, columns, units
from prm_jax.ops import statistics

# Their people share no simulated world with those of their seed.
_REAL = ('jester',)
_NAMES = ('data', 'features', 'method')
_AGGREGATE = 'aggregate'

Groups = Mapping[tuple[Any, ...], bootstrap.People]


def groups(cells: Sequence[units.Unit], replicates: int) -> Groups:
  """Returns the people of each data set, kind of features and method.

  Args:
    cells: all settings.
    replicates: of the bootstrap: over people and, where people are simulated,
      over seeds.
  """
  return {
    key: bootstrap.people(members, replicates, by_seed=key[0] not in _REAL)
    for key, members in units.grouped(cells, *_NAMES).items()
  }


def _acquisitions(people: bootstrap.People) -> list[str]:
  names = [name.partition('|') for name in people.cells[0].arrays]
  return [acquire for kind, _, acquire in names if kind == 'correct']


def curve(groups: Groups, answers: Sequence[int]) -> list[columns.Row]:
  """Returns accuracy and regret by number of answers.

  Args:
    groups: of people.
    answers: numbers of answers to show.
  """
  rows = []
  for key, people in groups.items():
    for acquire in _acquisitions(people):
      correct, regret = (
        people.of(f'{kind}|{acquire}') for kind in ('correct', 'regret')
      )
      row = {**dict(zip(_NAMES, key, strict=True)), 'acquisition': acquire}
      if acquire == _AGGREGATE:
        row |= {'method': acquire, 'acquisition': 'none'}
      rows += [
        {
          **row,
          'answers': t,
          **people.counts,
          **people.interval('accuracy', correct[:, t]),
          **people.interval('regret', regret[:, t]),
        }
        for t in ([0] if acquire == _AGGREGATE else answers)
        if t < correct.shape[1]
      ]
  # The aggregate is the same beside every method.
  return list({str(row): row for row in rows}.values())


def answers_needed(
  groups: Groups, targets: Sequence[float]
) -> list[columns.Row]:
  """Returns how many answers reach an accuracy, and against random.

  A target that the mean never reaches counts as one answer more than were
  asked, so that a share of random's is then an upper bound, and
  `random_answers` is null. Acquisitions that ask less than random are left
  out: what they need would be cut off.
  """
  rows: list[columns.Row] = []
  for key, people in groups.items():
    random = people.of('correct|random')
    for acquire in _acquisitions(people):
      correct = people.of(f'correct|{acquire}')
      if correct.shape != random.shape:  # the aggregate; asked too little
        continue
      for target in targets:
        mine, theirs = (
          asking.first_reach(curves.mean(0)[None], target)[0]
          for curves in (correct, random)
        )
        if mine > correct.shape[1] - 1:
          continue
        drawn, other = (
          asking.first_reach(people.means(curves), target)
          for curves in (correct, random)
        )
        rows.append(
          {
            **dict(zip(_NAMES, key, strict=True)),
            'acquisition': acquire,
            'target': target,
            **columns.interval('answers', (mine, *statistics.interval(drawn))),
            'random_answers': (
              float(theirs) if theirs < random.shape[1] else None
            ),
            **columns.interval(
              'share_of_random',
              (mine / theirs, *statistics.interval(drawn / other)),
            ),
            **people.counts,
          }
        )
  return rows


def answer(tables: Mapping[str, list[columns.Row]]) -> list[str]:
  """Returns what the tables say, in plain sentences."""
  sentences = [
    'How many answers does a good reward for one person take, and does it '
    'matter which questions are asked?'
  ]
  sentences += _after_ten(tables['curve'])
  # The highest target that random questions reach as well.
  highest = {
    (row['data'], row['method'], row['acquisition']): row
    for row in tables['answers_needed']
    if row['acquisition'] != 'random' and row['random_answers'] is not None
  }
  for row in highest.values():
    sentences.append(
      f'{row["data"]}, {row["method"]}: {row["acquisition"]} reaches '
      f'{row["target"]:.0%} after {row["answers"]:.1f} answers, '
      f'{row["share_of_random"]:.2f} '
      f'[{row["share_of_random_low"]:.2f}, {row["share_of_random_high"]:.2f}] '
      'of what random questions need.'
    )
  return sentences


def _after_ten(rows: Sequence[columns.Row]) -> Iterator[str]:
  tens = [row for row in rows if row['answers'] == 10]
  for (data, method), some in columns.grouped(tens, 'data', 'method').items():
    said = [
      f'{row["acquisition"]} {columns.percent(row, "accuracy")}' for row in some
    ]
    yield f'{data}, {method}, after ten answers: {", ".join(said)}.'
