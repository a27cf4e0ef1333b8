"""Which tournament finds the best, and what a judge's habit of place costs.

Candidates have true strengths, standard normal. A judge of two draws from a
model, so that the truth is known and thousands of tournaments are cheap. One
run of comparisons serves all budgets: a smaller one is its beginning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from prm_jax.lab import columns, units
from prm_jax.ops import tournaments

Row = dict[str, Any]
METHODS = tournaments.METHODS
RANDOM, BOTH, FIXED = tournaments.ORDERS
_MEASURES = ('spearman', 'best_first')


class Setting(NamedTuple):
  """Who judges, and in which order answers are shown.

  Attributes:
    judge: its name.
    bias: for the first place, in logits.
    order: one of `ops.tournaments.ORDERS`.
  """

  judge: str
  bias: float
  order: str


def settings(config: Any) -> list[Setting]:
  """Returns every judge in random order, and one with a bias in all orders.

  Args:
    config: of the study; `tournaments.judges` are names with what `judge`
      reads, `biased` is one of them and `bias` its preference.
  """
  node = config.tournaments
  return [
    *(Setting(name, 0.0, RANDOM) for name in node.judges),
    *(Setting(node.biased, node.bias, order) for order in tournaments.ORDERS),
  ]


def budgets(n: int) -> list[int]:
  """Returns numbers of comparisons: n - 1, doubled up to four round robins."""
  doubled = [(n - 1) * 2**k for k in range(2 * n)]
  return [budget for budget in doubled if budget <= 2 * n * (n - 1)]


def judge(
  rng: np.random.Generator,
  strength: np.ndarray,
  node: Mapping[str, float],
  bias: float,
) -> tournaments.Compare:
  """Returns a judge that draws who is better of two.

  The first place wins with probability sigma(slope (s_i - s_j) + bias), or
  sigma(+-logit(error) + bias) where it errs as often of every pair.

  Args:
    rng: of draws.
    strength: `[n]` s.
    node: `slope`, per unit of strength, or `error`, a probability.
    bias: for the first place, in logits.
  """

  def compare(pairs):
    first, second = strength[pairs].T
    if 'slope' in node:
      logit = node['slope'] * (first - second)
    else:
      logit = -special.logit(node['error']) * np.sign(first - second)
    return (rng.random(len(pairs)) < special.expit(logit + bias)).astype(float)

  return compare


def rewards(
  key: Sequence[int], compare: tournaments.Compare, n: int, order: str
) -> np.ndarray:
  """Returns what `ops.tournaments.scalars` does, `[budgets, METHODS, n]`.

  All of `budgets(n)` at once; NaN where one does not connect everybody.

  Args:
    key: of schedule and brackets.
    compare: the judge.
    n: number of candidates.
    order: who is shown first.
  """
  cost = 2 if order == BOTH else 1
  asked = {
    RANDOM: compare,
    BOTH: tournaments.both_orders(compare),
    FIXED: tournaments.fixed_order(compare),
  }[order]
  most = max(budgets(n)) // cost
  rows = np.tile(np.arange(n), (most // (n - 1), 1))
  shuffled = np.random.default_rng(key).permuted(rows, axis=1)
  brackets = tournaments.knockout(asked, shuffled)
  pairs = tournaments.schedule(np.random.default_rng(key), n, most)
  outcome = asked(pairs)
  found = np.full((len(budgets(n)), len(METHODS), n), np.nan)
  for row, budget in zip(found, budgets(n), strict=True):
    count = budget // cost
    if count < n - 1:
      continue
    some = [part[: count // (n - 1)] for part in brackets]
    row[0] = tournaments.mean_rounds(tournaments.Brackets(*some))
    for column, how in enumerate(METHODS[1:], 1):
      row[column] = tournaments.rated(
        pairs[:count], outcome[:count], n, how=how
      )
  return found


def measures(reward: np.ndarray, strength: np.ndarray) -> np.ndarray:
  """Returns Spearman's rank correlation and the best one's lead, `[..., 2]`.

  Rewards that are all equal say nothing: 0. The best one leads where it has
  the highest reward, by 1 / m where m have it.

  Args:
    reward: `[..., n]`, NaN in all n where there is none.
    strength: `[n]`, the truth.
  """
  ranks = stats.rankdata(reward, axis=-1)
  ranks = ranks - ranks.mean(-1, keepdims=True)
  truth = stats.rankdata(strength)
  truth = truth - truth.mean()
  size = np.sqrt((ranks**2).sum(-1) * (truth**2).sum())
  spearman = ranks @ truth / np.where(size > 0, size, 1.0)
  top = reward == reward.max(-1, keepdims=True)
  lead = top[..., strength.argmax()] / np.maximum(top.sum(-1), 1)
  there = ~np.isnan(reward).any(-1)
  pair = np.stack([np.where(size > 0, spearman, 0.0), lead], -1)
  return np.where(there[..., None], pair, np.nan)


def run(config: Any, seed: int) -> units.Unit:
  """Returns a seed's tournaments: measures by setting, budget and method.

  Arrays, one for each n and measure, are `[settings, budgets, METHODS, R]`,
  of R repetitions; strengths and schedule are the same in all settings.

  Args:
    config: of the study; `tournaments` has `repetitions`, of a seed, `sizes`
      n, `judges`, `biased` and `bias`.
    seed: of strengths, schedules and draws.
  """
  node, arrays = config.tournaments, {}
  of = {name: dict(node.judges[name]) for name in node.judges}
  for n in node.sizes:
    measured = []
    for repetition in range(node.repetitions):
      key = [seed, n, repetition]
      strength = np.random.default_rng([*key, 0]).normal(size=n)
      rows = []
      for number, (name, bias, order) in enumerate(settings(config), 2):
        draws = np.random.default_rng([*key, number])
        compare = judge(draws, strength, of[name], bias)
        reward = rewards([*key, 1], compare, n, order)
        rows.append(measures(reward, strength))
      measured.append(rows)
    found = np.moveaxis(np.array(measured), 0, -1)
    for place, measure in enumerate(_MEASURES):
      arrays[f'{measure}-{n}'] = found[:, :, :, place]
  return units.Unit({'seed': seed, 'repetitions': node.repetitions}, arrays)


def table(config: Any, made: Sequence[units.Unit]) -> list[Row]:
  """Returns what every tournament finds, by number of comparisons.

  Intervals are Student's over repetitions of all seeds.

  Args:
    config: of the study.
    made: of every seed, by `run`.
  """
  return [
    {**row, **_means(values)} for row, values in _cells(config, made, METHODS)
  ]


def knockouts(config: Any, made: Sequence[units.Unit]) -> list[Row]:
  """Returns what a knockout adds to each other method, repetitions paired.

  Args:
    config: of the study.
    made: of every seed, by `run`.
  """
  cells = {_named(row): (row, v) for row, v in _cells(config, made, METHODS)}
  rows = []
  for row, values in cells.values():
    if row['method'] != METHODS[0]:
      _, own = cells[_named({**row, 'method': METHODS[0]})]
      rows.append({**row, **_means(_less(own, values))})
  return rows


def orders(config: Any, made: Sequence[units.Unit]) -> list[Row]:
  """Returns what random and both orders add to a fixed one under a bias.

  Args:
    config: of the study.
    made: of every seed, by `run`.
  """
  cells = {_named(row): (row, v) for row, v in _cells(config, made, METHODS)}
  rows = []
  for row, values in cells.values():
    if row['bias'] and row['order'] != FIXED:
      _, fixed = cells[_named({**row, 'order': FIXED})]
      rows.append({**row, **_means(_less(values, fixed))})
  return rows


def answer(made: Mapping[str, Sequence[Row]]) -> list[str]:
  """Returns what the tables say, in sentences on the least gains of all rows.

  Args:
    made: tables; `tournament_knockouts` of `knockouts` and `tournament_orders`
      of `orders`, and others.
  """
  few = [
    row
    for row in made.get('tournament_knockouts', ())
    if not row['bias'] and row['comparisons'] == row['candidates'] - 1
  ]
  many = [
    row
    for row in made.get('tournament_orders', ())
    if row['comparisons'] == max(budgets(row['candidates']))
    and row['order'] == RANDOM
    and row['method'] != METHODS[0]
  ]
  others = 'win rate, Elo and maximum likelihood'
  return [
    *_least(
      few,
      'best_first_gain',
      'With n - 1 comparisons of n answers, a knockout {} the best one first '
      f'more often than {others}, whoever judges',
      'has',
    ),
    *_least(
      many,
      'spearman_gain',
      'Under a bonus of the first place, random order {} the ranks of '
      f'{others} nearer to the truth than a fixed one, after four round robins',
      'brings',
    ),
  ]


def _least(
  rows: Sequence[Row], name: str, sentence: str, verb: str
) -> Iterator[str]:
  """Yields a sentence on the row that gains least, as its interval allows."""
  if rows:
    row = min(rows, key=lambda row: row[name])
    value, low, high = (row[f'{name}{end}'] for end in ('', '_low', '_high'))
    shown = verb if low > 0 else f'is not shown to {_PLAIN[verb]}'
    yield (
      f'{sentence.format(shown)}: {row["method"]} gains least, '
      f'{value:+.3f} [{low:+.3f}, {high:+.3f}].'
    )


_PLAIN = {'has': 'have', 'brings': 'bring'}


def _named(row: Mapping[str, Any]) -> tuple:
  return tuple(row.values())


def _cells(
  config: Any, made: Sequence[units.Unit], methods: Sequence[str]
) -> Iterator[tuple[Row, dict[str, np.ndarray]]]:
  """Yields rows' names and measures of all repetitions, where there are any."""
  for n in config.tournaments.sizes:
    found = {
      measure: np.concatenate([u.arrays[f'{measure}-{n}'] for u in made], -1)
      for measure in _MEASURES
    }
    for place, setting in enumerate(settings(config)):
      for step, budget in enumerate(budgets(n)):
        for column, method in enumerate(methods):
          values = {m: found[m][place, step, column] for m in _MEASURES}
          if np.isnan(values['spearman']).all():
            continue
          yield (
            {
              **setting._asdict(),
              'candidates': n,
              'comparisons': budget,
              'method': method,
            },
            values,
          )


def _less(
  values: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  return {f'{m}_gain': values[m] - others[m] for m in _MEASURES}


def _means(values: Mapping[str, np.ndarray]) -> Row:
  row: Row = {}
  for name, each in values.items():
    row |= columns.mean(name, each)
  return {**row, 'repetitions': len(each)}
