"""A policy of arithmetic that judges reward: what it learns, and what they see.

All start from one policy, as does the judge that scores at the end of the
solution; rewards alone differ. Of every examination the truth is known, so
that a score that rises while fewer problems are solved is seen.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.reasoning_rewards import judges, meta, scalars
from prm_jax import types, world_tasks
from prm_jax.lab import columns, curves, starts, units
from prm_jax.models import decoder
from prm_jax.ops import voting
from prm_jax.policy import padding, rollouts, tasks
from prm_jax.runtime import trees
from prm_jax.worlds import arithmetic, arithmetic_demonstrations
from prm_jax.worlds import arithmetic_judgements as judgements

Row = dict[str, Any]
# `(problems [B], answers [B, N]) -> scores [B]`, 0 to 1.
Score = Callable[[arithmetic.Problems, np.ndarray], np.ndarray]
VERIFIER, JUDGE, FILTERED, SCALAR = (
  'verifier',
  'judge',
  'judge_filtered',
  'scalar_judge',
)
METHODS = (VERIFIER, JUDGE, FILTERED, SCALAR)
_PAIRED = (
  (JUDGE, VERIFIER),
  (SCALAR, VERIFIER),
  (JUDGE, SCALAR),
  (FILTERED, JUDGE),
)
_ROWS = 256  # scored at once, whatever there is: one program
_WORLD, _SLIPS = 0xA5, 0xA6  # keep draws of a seed apart
_filtered = jax.jit(voting.filtered)


class World(NamedTuple):
  """A seed's problems, all of the same mixture of classes.

  Attributes:
    table: of the operators.
    pool: that the policy is trained on.
    taught: that judges learn from.
    meta: that the meta reward model learns from.
    chosen: to stop the judge's training by, and to describe judges.
    tested: that the policy is examined on.
    hard: `[N]` bool, which of `tested` have the hidden operator.
  """

  table: np.ndarray
  pool: arithmetic.Problems
  taught: arithmetic.Problems
  meta: arithmetic.Problems
  chosen: arithmetic.Problems
  tested: arithmetic.Problems
  hard: np.ndarray


def world(node: Any, seed: int) -> World:
  """Returns the problems of a seed; counts of `node.problems` are by class."""
  rng = np.random.default_rng([seed, _WORLD])
  table = arithmetic.tables(rng)
  sets = [
    arithmetic.mixed(rng, table, dict.fromkeys(node.classes, count))
    for count in (node.problems[name] for name in World._fields[1:-1])
  ]
  hidden = [any('#' in step for step in _steps(k)) for k in node.classes]
  return World._make([table, *sets, np.repeat(hidden, node.problems.tested)])


def _steps(kind: str) -> tuple[str, ...]:
  return arithmetic.CLASSES[kind]


def sizes(node: Any) -> decoder.DecoderConfig:
  """Returns the sizes of policy and judges alike, over arithmetic's tokens."""
  return dataclasses.replace(
    judges.sizes(node), vocab_size=len(arithmetic.TOKENS)
  )


# -------------------------------------------------------------- who is asked


def written(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  read: np.ndarray,
  limits: tasks.Limits | tasks.Task,
  *,
  count: int = 1,
) -> np.ndarray:
  """Returns what is written behind prompts `[B, P]`, `[B, count, N]`."""
  found = []
  for first, place in judges.blocks(len(read), _ROWS):
    said = rollouts.write(
      jax.random.fold_in(key, first),
      config,
      params,
      padding.full(read[place]),
      limits,
      count=count,
    ).tokens
    ids = np.where(said.mask > 0, said.ids, arithmetic.PAD)
    found.append(ids.reshape(len(place), count, -1))
  return np.concatenate(found)[: len(read)]


def asked(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  problems: arithmetic.Problems,
  solution: np.ndarray,
  *,
  count: int = 1,
) -> np.ndarray:
  """Returns the traces `[B, count, N]` of a judge of B solutions."""
  steps = problems.operator.shape[1]
  limits = tasks.Limits(judgements.tokens(steps), (arithmetic.END,))
  read = judgements.prompts(problems, solution)
  return written(key, config, params, read, limits, count=count)


def _texts(ids: np.ndarray, right: np.ndarray | None = None) -> meta.Texts:
  """Returns texts `[B, T]`, padded on the right, to score at their end."""
  B, T = ids.shape
  last = T - 1 - (ids != arithmetic.PAD)[:, ::-1].argmax(1)
  right = np.zeros(B) if right is None else right
  return meta.Texts(
    ids.astype(np.int32),
    last,
    right.astype(np.float32),
    np.ones(B, np.float32),
    np.arange(B, dtype=np.int32),
  )


@functools.lru_cache(maxsize=4)
def _network(config: decoder.DecoderConfig):
  return jax.jit(scalars.network(config)[1])


def logits(config, params, some: meta.Texts) -> np.ndarray:
  """Returns the log-odds `[B]` that a scoring model gives to texts."""
  found = []
  for _, place in judges.blocks(len(some.ids), _ROWS):
    part = some.take(place)
    score = _network(config)(params, part.ids, part.last[:, None])
    found.append(np.asarray(score)[:, 0])
  return np.concatenate(found)[: len(some.ids)]


def _with_traces(read: np.ndarray, traces: np.ndarray) -> np.ndarray:
  """Returns prompts `[B, P]` with their traces `[B, k, N]`, `[B k, P + N]`."""
  B, k, N = traces.shape
  return np.hstack([np.repeat(read, k, 0), traces.reshape(B * k, N)])


def verifier(problems: arithmetic.Problems, ids: np.ndarray) -> np.ndarray:
  """Returns whether the last value is right, `[B]`."""
  return arithmetic.verify(problems, ids, final_only=True)


def _readable(score: Score) -> Score:
  """Returns a score that is 0 of answers that are no K values and an end."""

  def readable(problems, ids):
    whole = arithmetic.parse(ids, problems.operator.shape[1]).whole
    return np.where(whole, score(problems, ids), 0.0)

  return readable


def generative(
  config: decoder.DecoderConfig,
  judge: types.PyTree,
  filter_by: types.PyTree | None,
  *,
  texts: int,
  seed: int,
) -> Score:
  """Returns the share of a judge's texts that say `right`.

  Draws are keyed by what is judged: the same answers have the same score.

  Args:
    config: of the judge.
    judge: its parameters.
    filter_by: a meta reward model, of whose better half of the texts the share
      is; all count if None.
    texts: of each solution, at temperature 1.
    seed: of the draws.
  """

  def score(problems, ids):
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(ids.tobytes()))
    traces = asked(key, config, judge, problems, ids, count=texts)
    steps = problems.operator.shape[1]
    flat = traces.reshape(-1, traces.shape[-1])
    said = judgements.parse(flat, steps).verdict.reshape(-1, texts) == 1
    kept = np.ones(said.shape)
    if filter_by is not None:
      whole = _with_traces(judgements.prompts(problems, ids), traces)
      liked = logits(config, filter_by, _texts(whole)).reshape(-1, texts)
      kept = np.asarray(_filtered(jnp.asarray(liked), jnp.ones(liked.shape)))
    return (said * kept).sum(1) / kept.sum(1)

  return _readable(score)


def scalar(config: decoder.DecoderConfig, judge: types.PyTree) -> Score:
  """Returns the probability that a scalar judge gives a solution."""

  def score(problems, ids):
    read = _texts(judgements.solved(problems, ids))
    return special.expit(logits(config, judge, read))

  return _readable(score)


def scores(
  config: Any, made: units.Unit, seed: int
) -> dict[str, Callable[[], Score]]:
  """Returns what makes the reward of each method, of a unit of judges."""
  net, texts = sizes(config.judge), config.as_reward.texts
  judge = functools.partial(judges.read, made, net, 'weak')
  scoring = functools.partial(_scoring, made, net)
  options: Row = {'texts': texts, 'seed': seed}
  return {
    VERIFIER: lambda: verifier,
    JUDGE: lambda: generative(net, judge(), None, **options),
    FILTERED: lambda: generative(net, judge(), scoring('meta'), **options),
    SCALAR: lambda: scalar(net, scoring('scalar')),
  }


def _scoring(unit, config, name) -> types.PyTree:
  """Returns a scoring model that `judges.arrays` put into a unit."""
  shape = jax.eval_shape(scalars.network(config)[0], jax.random.key(0))
  leaves = {
    path.removeprefix(f'{name}/'): jnp.asarray(leaf)
    for path, leaf in unit.arrays.items()
    if path.startswith(f'{name}/')
  }
  return trees.put(shape, leaves)


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
    problems = arithmetic.mixed(rng, table, dict.fromkeys(node.classes, each))
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
    said = asked(jax.random.key(seed), net, params, *chosen[:2])
    return float(judgements.grade(chosen, said[:, 0]).verdict.mean())

  step, seen = judges.weak(kept, verdict, node.judge.aim)
  return kept[step], step, seen


def taught(config: Any, seed: int) -> units.Unit:
  """Returns a seed's policy before rewards and all judges of it.

  Arrays: `start`, `weak`, `meta` and `scalar`. Judges learn from pairs of
  solutions, one of which the policy wrote; the scalar judge from the same as
  the one that writes, by the cross-entropy of right and wrong. The record has
  the figures of every judge on pairs of problems that none has seen.
  """
  node, net = config.as_reward, sizes(config.judge)
  drawn, key = world(node, seed), jax.random.key(seed)
  rng = np.random.default_rng([seed, _SLIPS])
  start = _policy(node, net, drawn.table, seed)

  def paired(problems):
    task = world_tasks.arithmetic_task(problems)
    read = arithmetic.prompts(problems)
    answers = written(jax.random.fold_in(key, 1), net, start, read, task)
    return judgements.pairs(rng, problems, answers[:, 0])

  given, others = paired(drawn.taught), paired(drawn.meta)
  chosen = paired(drawn.chosen)
  weak, step, seen = _judge(node, net, start, given, chosen, seed)
  traces = asked(
    jax.random.fold_in(key, 2), net, weak, *others[:2], count=node.meta.texts
  )
  repeated = others.take(np.repeat(np.arange(len(traces)), traces.shape[1]))
  right = judgements.grade(
    repeated, traces.reshape(-1, traces.shape[-1])
  ).verdict
  whole = _with_traces(judgements.prompts(*others[:2]), traces)
  filter_by, _ = _fitted(node.meta, net, weak, _texts(whole, right), seed)
  read = judgements.solved(*given[:2])

  def examine(params):
    found = scalar(net, params)(chosen.problems, chosen.solution)
    return {'pair': float(judges.preferred(found).mean())}

  scored, curve = _fitted(
    node.scalar, net, start, _texts(read, given.right), seed, examine
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
    'filter_auc': _auc(net, weak, filter_by, chosen, key),
  }
  unit = units.Unit(record, arrays)
  known = scores(config, unit, seed)
  record['judges'] = [
    {'method': name, **_described(known[name](), chosen)}
    for name in METHODS[1:]
  ]
  # Of the curve's three examinations the last is before the last third.
  last = record['judges'][-1]
  last['gain_last_third'] = last['pair'] - curve[-1]['at pair']
  return unit


def _fitted(node: Any, net, start, known: meta.Texts, seed, examine=None):
  """Returns a scoring model that starts from a decoder's trunk, its curve."""
  schedule = {name: node[name] for name in ('rate', 'steps', 'batch')}
  learner = meta.learner(net, known, **schedule)
  begin = _trunk(start, net.hidden_size)
  every = max(node.steps // 3, 1)
  return judges.fitted(learner, begin, seed, every=every, examine=examine)


def _auc(net, judge, filter_by, given: judgements.Judgements, key) -> float:
  """Returns how well a meta model tells right verdicts on new problems."""
  traces = asked(jax.random.fold_in(key, 3), net, judge, *given[:2])
  right = judgements.grade(given, traces[:, 0]).verdict
  read = _with_traces(judgements.prompts(*given[:2]), traces)
  liked = logits(net, filter_by, _texts(read))
  better = liked[right > 0.5, None] - liked[right < 0.5]
  return float((0.5 + 0.5 * np.sign(better)).mean()) if better.size else 0.5


def _described(score: Score, given: judgements.Judgements) -> Row:
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
    label: one of `METHODS`, who rewards.
    seed: of problems, start, judges and draws.
  """
  node, net = config.as_reward, sizes(config.judge)
  made = of_seed(config, folder, seed)
  drawn, score = world(node, seed), scores(config, made, seed)[label]()
  task = world_tasks.arithmetic_task(drawn.pool, final_only=True)
  if label != VERIFIER:
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
  config: decoder.DecoderConfig, drawn: World, score: Score
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
    for name in ('pair', 'score_of_right', 'score_of_wrong', 'gain_last_third'):
      row |= columns.mean(name, [each.get(name, np.nan) for each in some])
    if method == FILTERED:
      auc = [unit.record['filter_auc'] for unit in made]
      row |= columns.mean('filter_auc', auc)
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
  return curves.averaged(runs, ('method',), FIGURES)


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
  return curves.along(runs, ('method',), ALONG)
