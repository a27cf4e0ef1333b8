"""What rewards a policy of arithmetic: the truth, and judges of its answers."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.reasoning_rewards import judges, meta, scalars
from prm_jax import types
from prm_jax.lab import units
from prm_jax.models import decoder
from prm_jax.ops import voting
from prm_jax.policy import padding, rollouts, tasks
from prm_jax.runtime import trees
from prm_jax.worlds import arithmetic
from prm_jax.worlds import arithmetic_judgements as judgements

Row = dict[str, Any]
# `(problems [B], answers [B, N]) -> scores [B]`, 0 to 1.
Score = Callable[[arithmetic.Problems, np.ndarray], np.ndarray]
VERIFIER, JUDGE, FILTERED, META, SCALAR = (
  'verifier',
  'judge',
  'judge_filtered',
  'meta_alone',
  'scalar_judge',
)
METHODS = (VERIFIER, JUDGE, FILTERED, META, SCALAR)
_ROWS = 256  # scored at once, whatever there is: one program
_filtered = jax.jit(voting.filtered)


def sizes(node: Any) -> decoder.DecoderConfig:
  """Returns the sizes of policy and judges alike, over arithmetic's tokens."""
  return dataclasses.replace(
    judges.sizes(node), vocab_size=len(arithmetic.TOKENS)
  )


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


def texts_of(ids: np.ndarray, right: np.ndarray | None = None) -> meta.Texts:
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


def with_traces(read: np.ndarray, traces: np.ndarray) -> np.ndarray:
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


def _told(config, judge, texts, seed):
  """Returns `(problems, answers) -> traces` `[B, texts, N]` of a judge.

  Draws are keyed by what is judged: the same answers have the same traces.
  """

  def told(problems, ids):
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(ids.tobytes()))
    return asked(key, config, judge, problems, ids, count=texts)

  return told


def generative(
  config: decoder.DecoderConfig,
  judge: types.PyTree,
  filter_by: types.PyTree | None,
  *,
  texts: int,
  seed: int,
) -> Score:
  """Returns the share of a judge's texts that say `right`.

  Args:
    config: of the judge.
    judge: its parameters.
    filter_by: a meta reward model, of whose better half of the texts the share
      is; all count if None.
    texts: of each solution, at temperature 1.
    seed: of the draws; the same answers are always judged alike.
  """
  told = _told(config, judge, texts, seed)

  def score(problems, ids):
    traces = told(problems, ids)
    steps = problems.operator.shape[1]
    flat = traces.reshape(-1, traces.shape[-1])
    said = judgements.parse(flat, steps).verdict.reshape(-1, texts) == 1
    kept = np.ones(said.shape)
    if filter_by is not None:
      whole = with_traces(judgements.prompts(problems, ids), traces)
      liked = logits(config, filter_by, texts_of(whole)).reshape(-1, texts)
      kept = np.asarray(_filtered(jnp.asarray(liked), jnp.ones(liked.shape)))
    return (said * kept).sum(1) / kept.sum(1)

  return _readable(score)


def meta_alone(
  config: decoder.DecoderConfig,
  judge: types.PyTree,
  filter_by: types.PyTree,
  *,
  texts: int,
  seed: int,
) -> Score:
  """Returns how likely a meta reward model itself holds solutions to be right.

  It reads each of the judge's texts twice, with either verdict:
  (m(right) + 1 - m(wrong)) / 2, m being the probability that it gives to a
  verdict. What the judge's own verdict was is not told, so that a meta model
  which knows nothing says 1/2 of everything; a text that cannot be read says
  0, as it does where verdicts are counted.

  Args:
    config: of the judge and the meta reward model.
    judge: that writes the chains.
    filter_by: the meta reward model.
    texts: as in `generative`, of which they are the same.
    seed: as in `generative`.
  """
  told = _told(config, judge, texts, seed)

  def score(problems, ids):
    traces = told(problems, ids)
    steps = problems.operator.shape[1]
    flat = traces.reshape(-1, traces.shape[-1])
    read = np.repeat(judgements.prompts(problems, ids), texts, 0)
    right, wrong = (
      special.expit(
        logits(
          config,
          filter_by,
          texts_of(
            np.hstack([read, judgements.with_verdict(flat, steps, verdict)])
          ),
        )
      )
      for verdict in (True, False)
    )
    whole = judgements.parse(flat, steps).whole
    return ((right + 1 - wrong) / 2 * whole).reshape(-1, texts).mean(1)

  return _readable(score)


def scalar(config: decoder.DecoderConfig, judge: types.PyTree) -> Score:
  """Returns the probability that a scalar judge gives a solution."""

  def score(problems, ids):
    read = texts_of(judgements.solved(problems, ids))
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
    META: lambda: meta_alone(net, judge(), scoring('meta'), **options),
    SCALAR: lambda: scalar(net, scoring('scalar')),
  }


def _scoring(unit, config, name) -> types.PyTree:
  """Returns a scoring model that `judges.arrays` put into a unit."""
  shape = jax.eval_shape(scalars.network(config)[0], jax.random.key(0))
  leaves = jax.tree.map(jnp.asarray, unit.part(name).arrays)
  return trees.put(shape, leaves)
