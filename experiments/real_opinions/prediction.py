"""How well votes are predicted: of known people, and of new ones."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.real_opinions import text, votes
from prm_jax.lab import drawn_twice, populations
from prm_jax.ops import collaborative
from prm_jax.worlds import conversations

Row = dict[str, Any]
MODELS = ('statement', 'person', 'factors', 'held')
_BASE = 1  # the statement and person mean, beyond which is told
_TEXT_BASE = 'text_person'  # beyond which a person's taste in texts is told
_MOST = 5  # factors, where their variances are estimated
_TIMES = 2  # votes of a new person, at least, in their answers


def run(config, name: str) -> Row:
  """Returns rows of held-out votes, and of new people."""
  found = votes.of(config, name)
  draws = votes.draws(config, found)
  read = text.read(config.encoder, found.texts) if config.text else None
  parts = {'random': _folds(config, found), 'newest': [_newest(config, found)]}
  rows = [
    _row(found, draws, split, _held_out(config, found, tests, read))
    for split, tests in parts.items()
  ]
  return {
    'prediction': [row for some in rows for row in some],
    'answers': _answers(config, found, draws),
  }


def _folds(config, found) -> list[np.ndarray]:
  """Returns which votes each random fold holds out, `[n]` bool."""
  rng = np.random.default_rng([0, 35])
  fold = rng.integers(config.folds, size=len(found.person))
  return [fold == number for number in range(config.folds)]


def _newest(config, found) -> np.ndarray:
  """Returns each person's votes on the newest statements, `[n]` bool."""
  order = np.lexsort((found.statement, found.person))
  count = np.bincount(found.person, minlength=found.people)
  start = np.cumsum(count) - count
  who = found.person[order]
  place = np.arange(len(order)) - start[who]
  held = np.zeros(len(order), bool)
  held[order] = place >= np.ceil((1 - config.newest) * count[who])
  return held


def _fits(config, train: collaborative.Votes) -> list[collaborative.Fit]:
  """Returns each of `MODELS`, by training votes."""
  key = jax.random.key(0)
  options = votes.options(config)
  shape = {'factors': options.factors}
  variance = populations.chosen_variance(
    key, train, options.variances, held_out=options.held_out, seed=0, **shape
  )
  return [
    populations.fit(key, train, factors=0, agreeing=False),
    populations.fit(key, train, factors=0),
    populations.fit(key, train, factors=_MOST),
    populations.fit(key, train, held=variance, **shape),
  ]


def _held_out(
  config, found, tests, read
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields held-out rows of measured people, and P(agrees) `[n, models]`."""
  measured = found.measured()
  for test in tests:
    train = found.votes(~test)
    fits = _fits(config, train)
    chances = [populations.agreement(fit) for fit in fits]
    if read is not None:
      chances += text.predicted(train, fits[_BASE], fits[-1], read)
    rows = np.flatnonzero(test & measured[found.person])
    where = found.person[rows], found.statement[rows]
    yield rows, np.stack([chance[where] for chance in chances], 1)


def _row(found, draws, split: str, predicted) -> list[Row]:
  """Returns a row for each of `MODELS`, and of `text.MODELS` if read."""
  losses: Any = 0.0
  pairs: Any = 0.0
  people: set[int] = set()
  n = 0
  for rows, chance in predicted:
    who, what, agrees = (
      column[rows] for column in (found.person, found.statement, found.agrees)
    )
    loss = populations.log_loss(chance, agrees[:, None])
    right = (chance > 0.5) == agrees[:, None]
    values = np.concatenate([loss, right, np.ones((len(rows), 1))], 1)
    losses = losses + draws.sums(who, what, values)
    pairs = pairs + _pairs(draws, who, what, agrees, chance)
    people |= set(who.tolist())
    n += len(rows)
  if len(people) < conversations.FEWEST:
    return []
  M = pairs.shape[1] - 1
  models = (*MODELS, *text.MODELS)[:M]
  loss = drawn_twice.ratio(losses[:, :M], losses[:, -1:])
  right = drawn_twice.ratio(losses[:, M:-1], losses[:, -1:])
  won = drawn_twice.ratio(pairs[:, :M], pairs[:, -1:])
  return [
    {'conversation': found.name, 'split': split, 'model': model}
    | drawn_twice.interval('log_loss', loss[:, i])
    | drawn_twice.interval('gain_nats', loss[:, _BASE] - loss[:, i])
    | drawn_twice.interval('accuracy', right[:, i])
    | drawn_twice.interval('pairs', won[:, i])
    | drawn_twice.interval('pairs_gain', won[:, i] - won[:, _BASE])
    | _beyond_text(models, model, loss, won)
    | {'people': len(people), 'votes': n}
    for i, model in enumerate(models)
  ]


def _beyond_text(models, model: str, loss, won) -> Row:
  """Returns what a person's taste in texts adds to everybody's."""
  if model not in text.OF_TEXTS:
    return {}
  own, base = models.index(model), models.index(_TEXT_BASE)
  return {
    **drawn_twice.interval('gain_over_text', loss[:, base] - loss[:, own]),
    **drawn_twice.interval('pairs_over_text', won[:, own] - won[:, base]),
  }


def _pairs(draws, who, what, agrees, chance) -> np.ndarray:
  """Returns sums of pairs of one person's votes that are told apart."""
  total = np.zeros((len(draws.person), chance.shape[1] + 1))
  person, statement, values = [], [], []
  for one in np.unique(who):
    mine = np.flatnonzero(who == one)
    yes, no = mine[agrees[mine]], mine[~agrees[mine]]
    if not (len(yes) and len(no)):
      continue
    first, second = (leaf.ravel() for leaf in np.meshgrid(yes, no))
    ahead = chance[first] - chance[second]
    won = (ahead > 0) + 0.5 * (ahead == 0)
    person.append(np.full(len(first), one))
    statement.append(np.stack([what[first], what[second]], 1))
    values.append(np.concatenate([won, np.ones((len(first), 1))], 1))
  if not person:
    return total
  return draws.sums(
    np.concatenate(person), np.concatenate(statement), np.concatenate(values)
  )


# ------------------------------------------------------------------ new people


def _answers(config, found, draws) -> list[Row]:
  """Returns rows of people who answered some statements, by how many."""
  sums: dict[int, np.ndarray] = {}
  people: dict[int, set[int]] = {}
  count = np.bincount(found.person, minlength=found.people)
  part = np.random.default_rng([0, 36]).integers(3, size=found.people)
  learn = conversations.halves(found, seed=0)
  for number in range(3):
    new = (part == number) & (count >= _TIMES * min(config.answers))
    train = found.votes(~new[found.person])
    _, base, _, held = _fits(config, train)
    for k in config.answers:
      able = new & (count >= _TIMES * k)
      if able.sum() < conversations.FEWEST:
        continue
      rows, chance = _asked(found, able, learn, k, base, held)
      who, what = found.person[rows], found.statement[rows]
      loss = populations.log_loss(chance, found.agrees[rows][:, None])
      values = np.concatenate([loss, np.ones((len(rows), 1))], 1)
      sums[k] = sums.get(k, 0.0) + draws.sums(who, what, values)
      people.setdefault(k, set()).update(who.tolist())
  return [
    _told(found, k, drawn_twice.ratio(sums[k][:, :-1], sums[k][:, -1:]), people)
    for k in sums
  ]


def _told(found, k, loss, people) -> Row:
  interval = drawn_twice.interval
  return {
    'conversation': found.name,
    'answers': k,
    **interval('statement_mean', loss[:, 0]),
    **interval('gain_nats', loss[:, 1] - loss[:, 2]),
    **interval('swapped_over_statement_mean', loss[:, 0] - loss[:, 3]),
    'people': len(people[k]),
  }


def _asked(found, able, learn, k: int, base, held):
  """Returns test rows, and P(agrees) `[n, 4]` after k answers.

  By the statement's mean, that and the person's own, factors, and factors of
  another person's answers.
  """
  mine = able[found.person]
  order = np.lexsort(
    (np.random.default_rng(37).random(len(mine)), found.person)
  )
  order = order[(mine & learn)[order]]
  who = found.person[order]
  start = np.searchsorted(who, who)
  told = np.zeros(len(mine), bool)
  told[order[np.arange(len(who)) - start < k]] = True
  rows = np.flatnonzero(mine & ~learn)
  where = found.person[rows], found.statement[rows]
  known = found.votes(told)
  nobody = known._replace(weight=jnp.zeros_like(known.weight))
  new = np.flatnonzero(able)
  other = np.arange(found.people)
  other[new] = np.roll(new, 1)
  swapped = collaborative.Votes(known.agrees[other], known.weight[other])
  chances = []
  for fitted, answers in (
    (base, nobody),
    (base, known),
    (held, known),
    (held, swapped),
  ):
    belief = populations.infer(answers, fitted.statements, fitted.person)
    chances.append(populations.agreement(fitted._replace(people=belief))[where])
  return rows, np.stack(chances, 1)
