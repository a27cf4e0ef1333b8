"""Answers on the device: written by a policy, made ready for its update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import constraints, decoder, prefixes, sampling
from prm_jax.policy import logprobs, losses, padding, tasks


class Rollouts(NamedTuple):
  """Prompts with answers, as an update reads them; every leaf is `[B, ...]`.

  Attributes:
    ids: `[B, P + N]` int32: prompts, padded on the left, and answers.
    seen: `[B, P + N]` 1 for tokens.
    answer: `[B, N]` 1 for tokens of the answer.
    advantage: `[B, N]`.
    second: `[B]` 1 for texts of terms of second texts: refinements, texts with
      a teacher.
    weight: `[B]` of the text's objective.
    share: `[B]` of what the text counts for in the mean.
    mask: `[B]` 0 for texts that were dropped.
    example_id: `[B]` int32.
    old_logprob: `[B, N]` under the policy that wrote them, if a term reads it.
    reference: `[B, N]` log-probabilities under a reference, likewise.
    teacher: `[B, N, V]` those of a teacher, likewise.
    sampler_logprob: `[B, N]` what the sampler said of its tokens, to compare
      with; NaN where it read another prompt. None if nothing was sampled.
  """

  ids: types.ArrayLike
  seen: types.ArrayLike
  answer: types.ArrayLike
  advantage: types.ArrayLike
  second: types.ArrayLike
  weight: types.ArrayLike
  share: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike
  old_logprob: types.ArrayLike | None = None
  reference: types.ArrayLike | None = None
  teacher: types.ArrayLike | None = None
  sampler_logprob: types.ArrayLike | None = None


class Written(NamedTuple):
  """Answers to prompts, `[R, N]`.

  Attributes:
    tokens: the answers.
    logprob: what the sampler says of its tokens.
  """

  tokens: types.Tokens
  logprob: types.ArrayLike


def draw(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  prompts: types.Tokens,
  limits: tasks.Limits | tasks.Task,
  *,
  count: int = 1,
  suffix: types.Tokens | None = None,
  source: types.ArrayLike | None = None,
  constraint: constraints.Constraint | None = None,
  active: types.ArrayLike | None = None,
  temperature: float = 1.0,
  dtype: Any = jnp.float32,
) -> Written:
  """Returns `count` answers to every prompt, those of a prompt side by side.

  They stay on the device.

  Args:
    key: of the draws.
    config: of the policy.
    params: of the policy.
    prompts: B.
    limits: where answers end; a task knows.
    count: n; R = Q n.
    suffix: Q texts, each of which is answered behind its prompt, as one; what
      they share is so read once. None: prompts are.
    source: `[Q]` the prompt of each; 0..B-1, Q = B, if None.
    constraint: of the Q texts that are answered.
    active: `[R]` which answers are written; others have no token.
    temperature: of the draws.
    dtype: of the computation.
  """
  source = np.arange(len(prompts.ids)) if source is None else source
  row, tail = np.repeat(np.arange(len(source)), count), None
  if suffix is not None:
    tail = prefixes.Suffix(suffix.ids, suffix.mask, row)
  samples = sampling.sample(
    key,
    config,
    params,
    prompts.ids,
    prompts.mask,
    max_new_tokens=limits.max_new_tokens,
    stop_ids=limits.stop_ids,
    source=np.asarray(source)[row],
    suffix=tail,
    constraint=None if constraint is None else constraint.take(row),
    active=active,
    temperature=temperature,
    filtered=False,
    dtype=dtype,
  )
  return Written(types.Tokens(samples.ids, samples.mask), samples.base_logprob)


def write(*given: Any, **options: Any) -> Written:
  """Returns what `draw` does, of the same arguments, on the host."""
  return jax.device_get(draw(*given, **options))


class Texts(NamedTuple):
  """Answers with what they teach; every leaf has the axis B.

  Attributes:
    prompts: what the update reads before them, whatever they were written on.
    answers: `[B, N]`.
    advantage: `[B]`, or `[B, N]` of every token.
    mask: `[B]` 0 for answers that do not count.
    second: `[B]` 1 for texts of terms of second texts; 0 if None.
    weight: `[B]` of the text's objective; 1 if None.
    share: `[B]` of what it counts for in the mean; 1 if None.
    sampler_logprob: see `Rollouts`.
  """

  prompts: types.Tokens
  answers: types.Tokens
  advantage: types.ArrayLike
  mask: types.ArrayLike
  second: types.ArrayLike | None = None
  weight: types.ArrayLike | None = None
  share: types.ArrayLike | None = None
  sampler_logprob: types.ArrayLike | None = None


follow = jax.jit(padding.follow)


@jax.jit
def arranged(texts: Texts) -> Rollouts:
  """Returns texts as an update reads them, without what terms may read."""
  ids, seen = padding.follow(texts.prompts, texts.answers)
  B, N = texts.answers.mask.shape

  def each(value, default):
    value = default if value is None else value
    return jnp.broadcast_to(jnp.asarray(value, jnp.float32), (B,))

  advantage = jnp.asarray(texts.advantage, jnp.float32)
  if advantage.ndim == 1:
    advantage = advantage[:, None]
  return Rollouts(
    ids,
    seen,
    texts.answers.mask,
    jnp.broadcast_to(advantage, (B, N)),
    each(texts.second, 0.0),
    each(texts.weight, 1.0),
    each(texts.share, 1.0),
    each(texts.mask, 1.0),
    jnp.arange(B),
    sampler_logprob=texts.sampler_logprob,
  )


def preparer(
  config: decoder.DecoderConfig,
  count: int,
  loss: losses.Loss,
  dtype: Any,
  group: int = 1,
) -> Callable[..., Rollouts]:
  """Returns `(state, texts, teacher=None, old_logprob=None) -> rollouts`.

  Log-probabilities of writer and reference are computed by the trainer's
  function, where a term of the loss reads them and they are not known yet.

  Args:
    config: of the policy.
    count: N.
    loss: whose terms read.
    dtype: of the computation.
    group: texts side by side that have one prompt.
  """
  score = logprobs.scorer(config, count, dtype, group)

  def prepare(state, texts, *, teacher=None, old_logprob=None):
    rows = arranged(texts)
    if not losses.reads(loss, losses.WRITER):
      old_logprob = None
    elif old_logprob is None:
      old_logprob = score(state.params['policy'], rows.ids, rows.seen)
    reference = None
    if losses.reads(loss, losses.REFERENCE):
      reference = score(state.constants.start, rows.ids, rows.seen)
    return rows._replace(
      old_logprob=old_logprob, reference=reference, teacher=teacher
    )

  return prepare
