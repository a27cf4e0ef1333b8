"""A policy of arithmetic that judges reward: what it learns, and what they see.

All start from one policy, as does the judge that scores at the end of the
solution; rewards alone differ. Of every examination the truth is known, so
that a score that rises while fewer problems are solved is seen.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import answer_scores, judges, meta
from prm_jax import types, world_tasks
from prm_jax.lab import columns, curves, starts, units
from prm_jax.models import decoder
from prm_jax.policy import padding, tasks
from prm_jax.worlds import arithmetic, arithmetic_demonstrations
from prm_jax.worlds import arithmetic_judgements as judgements

Row = dict[str, Any]
_PAIRED = (
  (answer_scores.JUDGE, answer_scores.VERIFIER),
  (answer_scores.SCALAR, answer_scores.VERIFIER),
  (answer_scores.JUDGE, answer_scores.SCALAR),
  (answer_scores.FILTERED, answer_scores.JUDGE),
  (answer_scores.FILTERED, answer_scores.META),
)
_WORLD, _SLIPS = 0xA5, 0xA6  # keep draws of a seed apart
# Folds of problems: those of the policy, its demonstrations among them, and of
# the judges; every set that is not theirs has one of its own.
TRAINED = (4, 5, 6, 7, 8, 9)
_FOLDS = {
  'pool': TRAINED,
  'taught': TRAINED,
  'meta': (3,),
  'chosen': (2,),
  'described': (1,),
  'tested': (0,),
}


class World(NamedTuple):
  """A seed's problems, all of the same mixture of classes.

  Attributes:
    table: of the operators.
    pool: that the policy is trained on.
    taught: that judges learn from.
    meta: that the meta reward model learns from.
    chosen: to stop the judge's training by.
    described: that judges are described on, before they reward.
    tested: that the policy is examined on.
    hard: `[N]` bool, which of `tested` have the hidden operator.
  """

  table: np.ndarray
  pool: arithmetic.Problems
  taught: arithmetic.Problems
  meta: arithmetic.Problems
  chosen: arithmetic.Problems
  described: arithmetic.Problems
  tested: arithmetic.Problems
  hard: np.ndarray


def world(node: Any, seed: int) -> World:
  """Returns the problems of a seed; counts of `node.problems` are by class.

  No problem of `meta`, `chosen`, `described` or `tested` is in any other set,
  or in a demonstration.
  """
  rng = np.random.default_rng([seed, _WORLD])
  table = arithmetic.tables(rng)
  sets = [
    _mixed(rng, node, table, node.problems[name], _FOLDS[name])
    for name in World._fields[1:-1]
  ]
  hidden = [any('#' in step for step in _steps(k)) for k in node.classes]
  return World._make([table, *sets, np.repeat(hidden, node.problems.tested)])


def _mixed(rng, node, table, count, folds) -> arithmetic.Problems:
  """Returns `count` problems of every class."""
  counts = dict.fromkeys(node.classes, count)
  return arithmetic.mixed(rng, table, counts, folds=folds)


def _steps(kind: str) -> tuple[str, ...]:
  return arithmetic.CLASSES[kind]


# ------------------------------------------------------------------- training


def _trunk(params: types.PyTree, width: int) -> types.PyTree:
  """Returns where a scoring model starts: a policy's trunk, a score of 0."""
  trunk = {k: v for k, v in params['params'].items() if k != 'head'}
  return {'trunk': {'params': trunk}, 'score': jnp.zeros(width)}


def _policy(node: Any, net, table: np.ndarray, seed: int) -> types.PyTree:
  """Returns a policy that was shown half-taught solutions of all classes."""
  each = -(-node.start.batch // len(node.classes))

  def shown(key, start):
    del start
    rng = tasks.generator(key)
    problems = _mixed(rng, node, table, each, TRAINED)
    found = arithmetic_demonstrations.plain(rng, problems)
    return padding.full(found.prompt), padding.full(found.response)

  kept, _ = judges.taught(shown, net, node.start, seed)
  return kept[node.start.steps]


def _judge(node, net, start, given, chosen, seed):
  """Returns the weak judge, its updates, and its verdicts by updates."""
  read, traces = judgements.prompts(*given[:2]), judgements.traces(given)
  weights = judgements.weights(traces)

  def shown(key, policy):
    del policy
    first = tasks.generator(key).integers(
      0, len(read) // 2, node.judge.batch // 2
    )
    row = (2 * first[:, None] + np.arange(2)).ravel()
    return padding.full(read[row]), padding.full(traces[row]), weights[row]

  kept, _ = judges.taught(
    shown, net, node.judge, seed, every=node.judge.every, start=start
  )

  def verdict(params):
    said = answer_scores.asked(jax.random.key(seed), net, params, *chosen[:2])
    return float(judgements.grade(chosen, said[:, 0]).verdict.mean())

  step, seen = judges.weak(kept, verdict, node.judge.aim)
  return kept[step], step, seen


def taught(config: Any, seed: int) -> units.Unit:
  """Returns a seed's policy before rewards and all judges of it.

  Arrays: `start`, `weak`, `meta` and `scalar`. Judges learn from pairs of
  solutions, one of which the policy wrote; the scalar judge from the same as
  the one that writes, by the cross-entropy of right and wrong. The record has
  the figures of every judge on pairs of problems that none has seen, and on
  which nothing was chosen.
  """
  node, net = config.as_reward, answer_scores.sizes(config.judge)
  drawn, key = world(node, seed), jax.random.key(seed)
  rng = np.random.default_rng([seed, _SLIPS])
  start = _policy(node, net, drawn.table, seed)

  def paired(problems):
    task = world_tasks.arithmetic_task(problems)
    read = arithmetic.prompts(problems)
    answers = answer_scores.written(
      jax.random.fold_in(key, 1), net, start, read, task
    )
    return judgements.pairs(rng, problems, answers[:, 0])

  given, others = paired(drawn.taught), paired(drawn.meta)
  chosen, new = paired(drawn.chosen), paired(drawn.described)
  weak, step, seen = _judge(node, net, start, given, chosen, seed)
  traces = answer_scores.asked(
    jax.random.fold_in(key, 2), net, weak, *others[:2], count=node.meta.texts
  )
  repeated = others.take(np.repeat(np.arange(len(traces)), traces.shape[1]))
  right = judgements.grade(
    repeated, traces.reshape(-1, traces.shape[-1])
  ).verdict
  whole = answer_scores.with_traces(judgements.prompts(*others[:2]), traces)
  filter_by, _ = _fitted(
    node.meta, net, weak, answer_scores.texts_of(whole, right), seed
  )
  read = judgements.solved(*given[:2])

  looked = {'pair': new, 'train': _spread(given, len(new.right))}

  def examine(params):
    return {
      name: _described(answer_scores.scalar(net, params), some)['pair']
      for name, some in looked.items()
    }

  scored, curve = _fitted(
    node.scalar,
    net,
    start,
    answer_scores.texts_of(read, given.right),
    seed,
    examine,
  )
  arrays = {
    **judges.arrays(start, 'start'),
    **judges.arrays(weak, 'weak'),
    **judges.arrays(filter_by, 'meta'),
    **judges.arrays(scored, 'scalar'),
  }
  record = {
    'seed': seed,
    'weak_step': step,
    'validation': sorted(seen.items()),
    'verdicts_of_texts': float(right.mean()),
    'filter_auc': _auc(net, weak, filter_by, new, key),
  }
  unit = units.Unit(record, arrays)
  known = answer_scores.scores(config, unit, seed)
  record['judges'] = [
    {'method': name, **_described(known[name](), new)}
    for name in answer_scores.METHODS[1:]
  ]
  # The third examination is before the last third of the updates.
  record['judges'][answer_scores.METHODS[1:].index(answer_scores.SCALAR)] |= {
    f'{name}_gain_last_third': end - curve[:3][-1][f'at {name}']
    for name, end in examine(scored).items()
  }
  return unit


def _spread(given: judgements.Judgements, rows: int) -> judgements.Judgements:
  """Returns so many rows at even distances, both solutions of each pair."""
  pair = np.linspace(0, len(given.right) // 2 - 1, rows // 2).astype(int)
  return given.take((2 * pair[:, None] + np.arange(2)).ravel())


def _fitted(node: Any, net, start, known: meta.Texts, seed, examine=None):
  """Returns a scoring model that starts from a decoder's trunk, its curve."""
  schedule = {name: node[name] for name in ('rate', 'steps', 'batch')}
  learner = meta.learner(net, known, **schedule)
  begin = _trunk(start, net.hidden_size)
  every = max(node.steps // 3, 1)
  return judges.fitted(learner, begin, seed, every=every, examine=examine)


def _auc(net, judge, filter_by, given: judgements.Judgements, key) -> float:
  """Returns how well a meta model tells right verdicts on new problems."""
  traces = answer_scores.asked(
    jax.random.fold_in(key, 3), net, judge, *given[:2]
  )
  right = judgements.grade(given, traces[:, 0]).verdict
  read = answer_scores.with_traces(judgements.prompts(*given[:2]), traces)
  liked = answer_scores.logits(net, filter_by, answer_scores.texts_of(read))
  better = liked[right > 0.5, None] - liked[right < 0.5]
  return float((0.5 + 0.5 * np.sign(better)).mean()) if better.size else 0.5


def _described(score: answer_scores.Score, given: judgements.Judgements) -> Row:
  """Returns figures of a judge on pairs, right solutions first."""
  found = score(given.problems, given.solution)
  return {
    'pair': float(judges.preferred(found).mean()),
    'score_of_right': float(found[::2].mean()),
    'score_of_wrong': float(found[1::2].mean()),
  }


def run(config: Any, folder: units.Folder, label: str, seed: int) -> Row:
  """Returns a run of GRPO: its curve, and what it ends with.

  Args:
    config: of the study.
    folder: where judges are kept.
    label: one of `answer_scores.METHODS`, who rewards.
    seed: of problems, start, judges and draws.
  """
  node, net = config.as_reward, answer_scores.sizes(config.judge)
  made = of_seed(config, folder, seed)
  drawn, score = (
    world(node, seed),
    answer_scores.scores(config, made, seed)[label](),
  )
  task = world_tasks.arithmetic_task(drawn.pool, final_only=True)
  if label != answer_scores.VERIFIER:
    task = task._replace(
      verify=lambda row, said: score(drawn.pool.take(row), said.ids),
      traced=False,
    )
  learner = curves.learner(
    {'kind': 'grpo', 'samples': node.samples, 'rate': node.rate},
    node.steps,
    task=task,
    config=net,
  )
  record = curves.run(
    [(learner, np.arange(len(drawn.pool.start)))],
    judges.read(made, net, 'start'),
    examiner(net, drawn, score),
    node,
    seed,
  )
  return {'method': label, 'seed': seed, **record}


def of_seed(config: Any, folder: units.Folder, seed: int) -> units.Unit:
  """Returns the unit of a seed's policy and judges; see `taught`."""
  return judges.made(
    folder, f'as_reward-judges-{seed}', lambda: taught(config, seed)
  )


def examiner(
  config: decoder.DecoderConfig, drawn: World, score: answer_scores.Score
) -> starts.Examine:
  """Returns `params -> figures` of one answer to every tested problem.

  `solved` is the truth, `score` what the reward says of the same answers,
  `accepted` what it says of the wrong ones, and `hard` the share solved of
  problems with the hidden operator.
  """
  task = world_tasks.arithmetic_task(drawn.tested, final_only=True)
  everything = np.arange(len(drawn.hard))
  key = jax.random.key(0)

  def examine(params):
    answers, right = starts.answered(key, config, params, task, everything)
    right = np.asarray(right)
    said = score(drawn.tested, answers.ids)
    wrong = right < 0.5
    return {
      'solved': float(right.mean()),
      'score': float(said.mean()),
      'accepted': float((said * wrong).sum() / max(wrong.sum(), 1)),
      'hard': float(right[drawn.hard].mean()) if drawn.hard.any() else 0.0,
    }

  return examine


# --------------------------------------------------------------------- tables


# Figures, and the least that each can be.
_OF_JUDGES = {
  'pair': 0.0,
  'score_of_right': 0.0,
  'score_of_wrong': 0.0,
  'pair_gain_last_third': -1.0,
  'train_gain_last_third': -1.0,
}


def described(made: Sequence[units.Unit]) -> list[Row]:
  """Returns the figures of judges before the policy learns from them."""
  rows = [
    {**row, 'seed': unit.record['seed']}
    for unit in made
    for row in unit.record['judges']
  ]
  table = []
  for (method,), some in columns.grouped(rows, 'method').items():
    row: Row = {'method': method, 'seeds': len(some)}
    for name, least in _OF_JUDGES.items():
      values = [each.get(name, np.nan) for each in some]
      row |= columns.mean(name, values, least=least, most=1.0)
    if method == answer_scores.FILTERED:
      auc = [unit.record['filter_auc'] for unit in made]
      row |= columns.mean('filter_auc', auc, least=0.0, most=1.0)
    table.append(row)
  return table


def _series(record: Row, name: str) -> np.ndarray:
  return np.array([exam[name] for exam in curves.exams(record)])


def _gap(record: Row) -> np.ndarray:
  """Returns the reward's score less the truth, of every examination."""
  return _series(record, 'score') - _series(record, 'solved')


# The peak is the best of several examinations, and above the truth by chance.
FIGURES: Mapping[str, Callable[[Row], float]] = {
  'solved_start': lambda r: float(_series(r, 'solved')[0]),
  'solved_end': lambda r: float(_series(r, 'solved')[-1]),
  'solved_peak': lambda r: float(_series(r, 'solved').max()),
  'solved_gain': lambda r: float(np.subtract(*_series(r, 'solved')[[-1, 0]])),
  'score_start': lambda r: float(_series(r, 'score')[0]),
  'score_end': lambda r: float(_series(r, 'score')[-1]),
  'score_gain': lambda r: float(np.subtract(*_series(r, 'score')[[-1, 0]])),
  'gap_start': lambda r: float(_gap(r)[0]),
  'gap_end': lambda r: float(_gap(r)[-1]),
  'gap_growth': lambda r: float(np.subtract(*_gap(r)[[-1, 0]])),
  'accepted_start': lambda r: float(_series(r, 'accepted')[0]),
  'accepted_end': lambda r: float(_series(r, 'accepted')[-1]),
  'hard_end': lambda r: float(_series(r, 'hard')[-1]),
}
ALONG = ('solved', 'score', 'accepted', 'hard')


def table(runs: Sequence[Row]) -> list[Row]:
  """Returns `FIGURES` of every method, with intervals over seeds."""
  shares = [
    name
    for name in FIGURES
    if name.startswith(('solved', 'score', 'accepted', 'hard'))
    and not name.endswith('gain')
  ]
  return curves.averaged(runs, ('method',), FIGURES, shares=shares)


def against(runs: Sequence[Row]) -> list[Row]:
  """Returns how methods differ from one another at the end, seeds paired."""
  by = {(run['method'], run['seed']): run for run in runs}
  seeds = sorted({run['seed'] for run in runs})
  rows = []
  for mine, other in _PAIRED:
    if (mine, seeds[0]) in by and (other, seeds[0]) in by:
      row: Row = {'method': mine, 'over': other, 'seeds': len(seeds)}
      for name in ('solved_end', 'gap_end', 'accepted_end'):
        row |= columns.mean(
          name,
          [
            FIGURES[name](by[mine, seed]) - FIGURES[name](by[other, seed])
            for seed in seeds
          ],
        )
      rows.append(row)
  return rows


def along(runs: Sequence[Row]) -> list[Row]:
  """Returns the truth and the reward's score along training."""
  return curves.along(runs, ('method',), ALONG, shares=ALONG)
