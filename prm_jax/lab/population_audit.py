"""What personal serving would do to anybody's votes, in a short table."""

from pathlib import Path

import jax

from prm_jax.data import load
from prm_jax.lab import columns, drawn_twice, populations
from prm_jax.worlds import conversations

_SHOWN = ('aggregate', 'personal', 'swapped', 'held', 'bridging')
_HEAD = ('server', 'agrees with it', 'own side', 'own side added')
_NAMES = ('agreement', 'own_side', 'own_side_over_aggregate')


def lines(
  folder: str | Path,
  *,
  halvings: int = 3,
  replicates: int = 200,
  options: populations.Options = populations.Options(),  # noqa: B008
) -> list[str]:
  """Returns what a population's votes say of serving by them.

  Nothing is written, and no figure is over fewer than ten people.

  Args:
    folder: of the votes, see `load.opinions_in`.
    halvings: of everybody's votes, over which figures are means.
    replicates: draws of people and statements, for the limits.
    options: how people are served.

  Raises:
    ValueError: a file is malformed; these are several conversations; or too
      few people have enough votes.
  """
  said = load.opinions_in(folder)
  found = populations.conversation(said)
  draws = drawn_twice.draws(found.people, len(found.texts), replicates, seed=0)
  made, people = [], 0
  for seed in range(halvings):
    some = populations.halved(found, seed=seed, options=options)
    people = len(some.pools.person)
    served = populations.policies(some, options, seed=seed)
    made.append(populations.measured(some, served, draws))
  known = conversations.reliability(jax.random.key(0), found, seed=0)
  rows = populations.rows(populations.averaged(made))
  told = [*found.notes, _axis(known)]
  told.append(
    f'{people} people are measured, each on statements on which they voted and '
    f'of which the server has not seen the vote; limits are over people and '
    'statements.'
  )
  cells = [_HEAD] + [
    (row['server'], *(columns.percent(row, name) for name in _NAMES))
    for row in rows
    if row['server'] in _SHOWN
  ]
  width = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
  for row in cells:
    told.append('  '.join(map(str.ljust, row, width)).rstrip())
  return told


def _axis(known: conversations.Reliability) -> str:
  """Returns whether a stance can be spoken of."""
  text = f'{known.value:.2f} [{known.low:.2f}, {known.high:.2f}]'
  if known.reliable:
    return f'What divides people is reliable: {text} between halves of votes.'
  return (
    f'What divides people is not reliable ({text} between halves of votes, and '
    'the lower limit should be 0.5): read own side as chance.'
  )
