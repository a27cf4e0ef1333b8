"""A weak judge asked many times: votes, filtered by a meta reward model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import judges, measured, problems, reasoning
from prm_jax import judging_tasks
from prm_jax.lab import columns, units
from prm_jax.ops import voting

Row = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
_total, _majority_of = jax.jit(voting.total), jax.jit(voting.majority)
_filtered, _mean_yes = jax.jit(voting.filtered), jax.jit(voting.mean_yes)
_ballots = jax.jit(voting.ballots, static_argnames='answers')


def run(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns what the weak judge says of test pairs, many times each.

  Arrays are by row, right and wrong solutions in turn, and by text.
  """
  node, sizes = config.votes, judges.sizes(config.judge)
  params = reasoning.of_seed(config, folder, seed, 'weak')
  world = problems.world(config.problems, seed)
  given = problems.held_out(
    world, seed, *config.problems.lengths, count=node.pairs
  )
  said, ids = judges.judged(
    jax.random.key(seed), sizes, params, given, count=node.texts
  )
  n = node.texts
  record = {
    'seed': seed,
    'tokens': float(said.tokens.mean()),
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
  }
  return units.Unit(
    record,
    {
      'ids': ids.reshape(-1, n, ids.shape[1]).astype(np.int8),
      **measured.rows_of(given),
      'right': given.right,
      'verdict': said.verdict.reshape(-1, n).astype(np.int8),
      'chain': said.grades.chain.reshape(-1, n).astype(np.int8),
      'margin': said.margin.reshape(-1, n),
    },
  )


def twice(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns what a judge of twice the layers says, taught as long."""
  node = config.votes
  sizes = judges.sizes(
    config.judge, num_hidden_layers=2 * config.judge.num_hidden_layers
  )
  start = reasoning.needed(config, folder, 'start', seed)
  world = problems.world(config.problems, seed)
  stop = start.record['weak_step']
  shown = judging_tasks.traces(
    problems.trained(world, seed),
    batch=config.distillation.batch,
    side_by_side=2,
  )
  kept, _ = judges.taught(shown, sizes, config.distillation, seed, stop=stop)
  given = problems.held_out(
    world, seed, *config.problems.lengths, count=node.pairs
  )
  said, _ = judges.judged(
    jax.random.key(seed), sizes, kept[stop], given, count=node.texts_of_twice
  )
  n = node.texts_of_twice
  record = {
    'seed': seed,
    'tokens': float(said.tokens.mean()),
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(kept[stop])),
  }
  return units.Unit(
    record,
    {
      **measured.rows_of(given),
      'right': given.right,
      'verdict': said.verdict.reshape(-1, n).astype(np.int8),
      'margin': said.margin.reshape(-1, n),
    },
  )


def beside(made: units.Unit, meta: units.Unit) -> units.Unit:
  """Returns what was said, with a meta model's scores of it."""
  return made._replace(arrays={**made.arrays, **meta.arrays})


# ----------------------------------------------------------------------- rules


def blocks(values: np.ndarray, k: int) -> np.ndarray:
  """Returns texts `[B, n]` as `[B, n // k, k]`: draws of k texts, apart."""
  count = values.shape[1] // k
  return values[:, : count * k].reshape(len(values), count, k)


def _scores(verdict: np.ndarray) -> np.ndarray:
  """Returns verdicts as scores of one solution, `[..., 1]`; NaN if none."""
  return np.where(verdict < 0, np.nan, verdict).astype(np.float32)[..., None]


def _filter(arrays: Arrays, k: int) -> np.ndarray:
  """Returns which texts a meta model keeps: the better half."""
  meta = blocks(arrays['meta'], k)
  return np.asarray(_filtered(jnp.asarray(meta), jnp.ones(meta.shape)))


def _all(arrays: Arrays, k: int) -> np.ndarray:
  return np.ones(blocks(arrays['verdict'], k).shape, np.float32)


def _sum(arrays: Arrays, k: int, kept: np.ndarray) -> np.ndarray:
  scores = _scores(blocks(arrays['verdict'], k))
  return np.asarray(_total(jnp.asarray(scores), jnp.asarray(kept)))[..., 0]


def _yes(arrays: Arrays, k: int, kept: np.ndarray) -> np.ndarray:
  yes = 1 / (1 + np.exp(-blocks(arrays['margin'], k)))
  return np.asarray(_mean_yes(jnp.asarray(yes), jnp.asarray(kept)))


def _majority(arrays: Arrays, k: int, kept: np.ndarray) -> np.ndarray:
  verdict = blocks(arrays['verdict'], k).astype(np.int32)
  ballots = _ballots(jnp.asarray(verdict), answers=2)
  won = np.asarray(_majority_of(ballots, jnp.asarray(kept)))
  right = arrays['right'].reshape(-1, 1, 1)
  part = np.take_along_axis(won, right, -1)[..., 0]
  return np.where(np.isnan(part), 0.0, part)  # no verdict is a wrong one


def _pairs(rule: Callable[..., np.ndarray], keep: Callable[..., np.ndarray]):
  """Returns `(arrays, k) -> [P, draws]`, how often pairs are right."""
  return lambda arrays, k: judges.preferred(rule(arrays, k, keep(arrays, k)))


# Rule -> what is right of `(arrays, k)`, and whether it is of pairs.
RULES: dict[str, tuple[Callable[[Arrays, int], np.ndarray], bool]] = {
  'sum': (_pairs(_sum, _all), True),
  'mean_yes': (_pairs(_yes, _all), True),
  'meta_sum': (_pairs(_sum, _filter), True),
  'majority': (lambda a, k: _majority(a, k, _all(a, k)), False),
  'meta_majority': (lambda a, k: _majority(a, k, _filter(a, k)), False),
}


def cells(made: Sequence[units.Unit], rule: str, k: int) -> list[measured.Cell]:
  """Returns how right a rule on k texts is, one cell a seed.

  The draws of one row are averaged: problems and seeds are generalised over.
  """
  right, of_pairs = RULES[rule]
  found = []
  for unit in made:
    problem = unit.arrays['problem'][:: 2 if of_pairs else 1]
    value = right(unit.arrays, k).mean(1)
    found.append(measured.Cell(unit.record['seed'], problem, value))
  return found


def rules(made: Sequence[units.Unit]) -> list[str]:
  """Returns the rules that the units' arrays allow."""
  known = 'meta' in made[0].arrays
  return [rule for rule in RULES if known or not rule.startswith('meta')]


def table(
  made: Sequence[units.Unit],
  larger: Sequence[units.Unit],
  counts: Sequence[int],
) -> list[Row]:
  """Returns how right the rules are by the number of texts.

  Gains: over one text; of a rule with a meta model over the same without.
  Tokens are those written for one solution; `cost` is that times parameters,
  in those of the weak judge. What a meta model reads is not in it.

  Args:
    made: of the weak judge.
    larger: of the judge of twice the size, which is asked once.
    counts: of texts.
  """
  tokens = float(np.mean([unit.record['tokens'] for unit in made]))
  rows = []
  for rule in rules(made):
    one = cells(made, rule, 1)
    for k in counts:
      mine = cells(made, rule, k)
      row: Row = {'judge': 'weak', 'rule': rule, 'texts': k}
      row |= {'tokens_written': k * tokens, 'cost': float(k)}
      row |= measured.mean('right', mine)
      if k > 1:
        row |= measured.gain('gain', mine, one)
      if rule.startswith('meta'):
        plain = cells(made, rule.removeprefix('meta_'), k)
        row |= measured.gain('over_unfiltered', mine, plain)
      rows.append({**row, 'seeds': len(made)})
  if not larger:
    return rows
  ratio = larger[0].record['parameters'] / made[0].record['parameters']
  written = float(np.mean([unit.record['tokens'] for unit in larger]))
  for rule in ('sum', 'mean_yes', 'majority'):
    row = {'judge': 'twice', 'rule': rule, 'texts': 1}
    row |= {'tokens_written': written, 'cost': ratio * written / tokens}
    row |= measured.mean('right', cells(larger, rule, 1))
    rows.append({**row, 'seeds': len(larger)})
  return rows


def single(made: Sequence[units.Unit], auc: Sequence[float]) -> list[Row]:
  """Returns what single texts of the weak judge are like.

  `false_yes` is of wrong solutions, `false_no` of right ones; `lucky` is how
  often a verdict is right though the chain before it is wrong.

  Args:
    made: of the weak judge.
    auc: of the meta model, of each seed: how well it tells right verdicts.
  """
  row: Row = {'judge': 'weak'}
  for name, value in _TEXTS.items():
    row |= measured.mean(name, measured.finite(measured.cells(made, value)))
  auc_row = columns.mean('meta_auc', auc, least=0.0, most=1.0)
  return [{**row, **auc_row, 'seeds': len(made)}]


def _fits(arrays: Arrays) -> np.ndarray:
  return arrays['verdict'] == arrays['right'][:, None]


def _where(counts: np.ndarray, value: np.ndarray) -> np.ndarray:
  """Returns values `[B, n]`; NaN where they do not count."""
  return np.where(np.broadcast_to(counts, value.shape), value, np.nan)


_TEXTS: dict[str, Callable[[Arrays], np.ndarray]] = {
  'verdict': _fits,
  'chain': lambda a: a['chain'],
  'invalid': lambda a: a['verdict'] < 0,
  'false_yes': lambda a: _where(a['right'][:, None] == 0, a['verdict'] == 1),
  'false_no': lambda a: _where(a['right'][:, None] == 1, a['verdict'] == 0),
  'lucky': lambda a: _where((a['chain'] == 0) & (a['verdict'] >= 0), _fits(a)),
}
