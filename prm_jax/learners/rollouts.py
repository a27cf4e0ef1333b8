"""What policies write and how likely it is: the ground of policy learners.

A task speaks token ids, on the host. Log-probabilities of actor, writer,
reference and teacher all come from one function, `logits`; what the sampler
says of its own tokens is only compared with it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.learners import common
from prm_jax.models import decoder, sampling
from prm_jax.ops import distillation, policy_gradient
from prm_jax.users import bank as banks


class Limits(NamedTuple):
  """Where a text ends.

  Attributes:
    max_new_tokens: N.
    stop_ids: tokens that end it.
  """

  max_new_tokens: int
  stop_ids: tuple[int, ...]


class Training(NamedTuple):
  """How a policy is trained, whatever it learns from.

  Attributes:
    learning_rate: of Adam; gradients are clipped at a norm of 1.
    steps: gradient steps.
    accumulate: batches of a step.
    temperature: of the draws.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
  """

  learning_rate: float = 5e-4
  steps: int = 200
  accumulate: int = 1
  temperature: float = 1.0
  dtype: Any = jnp.float32
  remat: bool = False

  @property
  def writing(self) -> dict[str, Any]:
    """The arguments of `write` that are set here."""
    return {'temperature': self.temperature, 'dtype': self.dtype}


DEFAULT = Training()


class Task(NamedTuple):
  """What a policy is asked, and what is made of its answers.

  Problems are rows `[B]` of the task's own table.

  Attributes:
    prompts: `(problem) -> Tokens`.
    verify: `(problem, Tokens) -> [B]` rewards; NaN where it fails, and the
      answer is dropped.
    refine: `(problem, attempts, critiques) -> Tokens`: prompts that ask again.
    max_new_tokens: N of an answer.
    stop_ids: tokens that end an answer.
  """

  prompts: Callable[[np.ndarray], types.Tokens]
  verify: Callable[[np.ndarray, types.Tokens], np.ndarray]
  refine: (
    Callable[[np.ndarray, types.Tokens, types.Tokens], types.Tokens] | None
  )
  max_new_tokens: int
  stop_ids: tuple[int, ...]


class Rollouts(NamedTuple):
  """Prompts with answers, as an update reads them; every leaf is `[B, ...]`.

  Attributes:
    ids: `[B, P + N]` int32: prompts, padded on the left, and answers.
    seen: `[B, P + N]` 1 for tokens.
    answer: `[B, N]` 1 for tokens of the answer.
    old_logprob: `[B, N]` under the policy that wrote them.
    advantage: `[B, N]`.
    second: `[B]` 1 for texts of the second surrogate (refinements).
    weight: `[B]` of the text's objective.
    share: `[B]` of what the text counts for in the mean.
    mask: `[B]` 0 for texts that were dropped.
    teacher: `[B, N]` log-probabilities under a reference, or `[B, N, V]` those
      of a teacher.
    example_id: `[B]` int32.
  """

  ids: types.ArrayLike
  seen: types.ArrayLike
  answer: types.ArrayLike
  old_logprob: types.ArrayLike
  advantage: types.ArrayLike
  second: types.ArrayLike
  weight: types.ArrayLike
  share: types.ArrayLike
  mask: types.ArrayLike
  teacher: types.ArrayLike
  example_id: types.ArrayLike


class Written(NamedTuple):
  """Answers to prompts, `[R, N]`.

  Attributes:
    tokens: the answers.
    logprob: what the sampler says of its tokens.
  """

  tokens: types.Tokens
  logprob: np.ndarray


def write(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  prompts: types.Tokens,
  limits: Limits | Task,
  *,
  count: int = 1,
  temperature: float = 1.0,
  dtype: Any = jnp.float32,
) -> Written:
  """Returns `count` answers to every prompt, those of a prompt side by side.

  Args:
    key: of the draws.
    config: of the policy.
    params: of the policy.
    prompts: B.
    limits: where answers end; a task knows.
    count: n; R = B n.
    temperature: of the draws.
    dtype: of the computation.
  """
  B = len(prompts.ids)
  found = sampling.sample(
    key, config, params, prompts.ids, prompts.mask,
    max_new_tokens=limits.max_new_tokens, stop_ids=limits.stop_ids,
    source=np.repeat(np.arange(B), count), temperature=temperature,
    filtered=False, dtype=dtype,
  )  # fmt: skip
  ids, mask, logprob = jax.device_get(
    (found.ids, found.mask, found.base_logprob)
  )
  return Written(types.Tokens(ids, mask), logprob)


def full(ids: np.ndarray) -> types.Tokens:
  """Returns texts without padding."""
  return types.Tokens(np.asarray(ids, np.int32), np.ones(ids.shape, np.int32))


class Problems(NamedTuple):
  """Problems of a batch: rows `[B]` of a task's table."""

  problem: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike


def problems(row: np.ndarray) -> types.Batch:
  """Returns problems `[B]`, rows of a task's table, as a batch."""
  row = np.asarray(row, np.int32)
  ones = np.ones(len(row), np.float32)
  return types.Batch(Problems(row, ones, np.arange(len(row), dtype=np.int32)))


def take(tokens: types.Tokens, rows: Any) -> types.Tokens:
  """Returns some of the texts, by an index, a slice or a bool array."""
  return jax.tree.map(lambda leaf: leaf[rows], tokens)


def generator(key: types.Key) -> np.random.Generator:
  """Returns NumPy's generator of a key, for what happens on the host."""
  return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def repeat(tokens: types.Tokens, count: int) -> types.Tokens:
  """Returns every text `count` times, side by side."""
  return jax.tree.map(lambda leaf: np.repeat(leaf, count, 0), tokens)


def join(*given: types.Tokens) -> types.Tokens:
  """Returns the texts of all, padded on the left to one length."""
  T = max(tokens.ids.shape[1] for tokens in given)

  def wide(leaf):
    return np.pad(leaf, ((0, 0), (T - leaf.shape[1], 0)))

  return types.Tokens(
    np.concatenate([wide(tokens.ids) for tokens in given]),
    np.concatenate([wide(tokens.mask) for tokens in given]),
  )


def stack(*given: types.Tokens) -> types.Tokens:
  """Returns the answers of all, tokens first, padded to one length."""
  N = max(tokens.ids.shape[1] for tokens in given)

  def tight(tokens):
    order = np.argsort(tokens.mask == 0, -1, kind='stable')
    pad = ((0, 0), (0, N - order.shape[1]))
    return [
      np.pad(np.take_along_axis(leaf, order, -1), pad)
      for leaf in (tokens.ids, tokens.mask)
    ]

  leaves = zip(*map(tight, given), strict=True)
  return types.Tokens(*(np.concatenate(leaf) for leaf in leaves))


def follow(
  prompts: types.Tokens, answers: types.Tokens
) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids and tokens seen `[B, P + N]`, prompts padded on the left."""
  order = np.argsort(prompts.mask, -1, kind='stable')
  ids, mask = (
    np.take_along_axis(leaf, order, -1) for leaf in (prompts.ids, prompts.mask)
  )
  return (
    np.concatenate([ids, answers.ids], 1).astype(np.int32),
    np.concatenate([mask, answers.mask], 1).astype(np.int32),
  )


# ------------------------------------------------------------- probabilities


def logits(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  ids: types.Array,
  seen: types.Array,
  count: int,
  *,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Array:
  """Returns logits `[B, N, V]` of the last N tokens, given those before.

  Args:
    config: of the policy.
    params: of the policy.
    ids: `[B, T]`.
    seen: `[B, T]` 1 for tokens.
    count: N.
    dtype: of the computation; logits are float32.
    remat: see `Decoder`.
  """
  model: Any = decoder.Decoder(config, dtype, remat)
  output = model.apply(
    params, ids, decoder.counted(seen), decoder.attended(seen)
  )
  T = ids.shape[1]
  return model.apply(
    params, output.hidden[:, T - count - 1 : T - 1], method='logits'
  )


def at(logit: types.Array, ids: types.Array) -> types.Array:
  """Returns log-probabilities `[B, N]` of tokens `[B, N]`."""
  chosen = jnp.take_along_axis(logit, ids[..., None], -1)[..., 0]
  return chosen - jax.nn.logsumexp(logit, -1)


@functools.lru_cache(maxsize=16)
def teller(
  config: decoder.DecoderConfig, count: int, dtype: Any = jnp.float32
) -> Callable[..., types.Array]:
  """Returns the compiled `(params, ids, seen) -> log-softmax [B, N, V]`."""

  @jax.jit
  def tell(params, ids, seen):
    logit = logits(config, params, ids, seen, count, dtype=dtype)
    return jax.nn.log_softmax(logit)

  return tell


@functools.lru_cache(maxsize=16)
def scorer(
  config: decoder.DecoderConfig, count: int, dtype: Any = jnp.float32
) -> Callable[..., types.Array]:
  """Returns the compiled `(params, ids, seen) -> log-probabilities [B, N]`."""

  @jax.jit
  def score(params, ids, seen):
    logit = logits(config, params, ids, seen, count, dtype=dtype)
    return at(logit, ids[:, -count:])

  return score


# ------------------------------------------------------------------ objective


class Surrogate(NamedTuple):
  """How a token's advantage becomes an objective; see `ops.policy_gradient`.

  Attributes:
    kind: of the ratio.
    clip_low, clip_high: of the clipped kinds.
    gamma: of the shaped ones.
  """

  kind: str = 'clipped'
  clip_low: float = 0.2
  clip_high: float = 0.2
  gamma: float = 0.1


class Loss(NamedTuple):
  """What an update descends, beside advantages.

  Attributes:
    first: surrogate of texts.
    second: surrogate of the texts marked so (refinements); none if None.
    by: see `policy_gradient.summed`.
    kl: weight of k2 to the reference, whose gradient is the divergence's.
    entropy: weight of the entropy, which is raised.
    distill: weight of the divergence from a teacher, of texts marked as second.
    alpha: of the divergence; see `distillation.divergence`.
    apart: whether texts marked as second have a mean of their own, which is
      added to that of the others.
  """

  first: Surrogate = Surrogate()
  second: Surrogate | None = None
  by: str = 'sum'
  kl: float = 0.0
  entropy: float = 0.0
  distill: float = 0.0
  alpha: float = 1.0
  apart: bool = False


PLAIN = Loss()


def objective(
  config: decoder.DecoderConfig,
  loss: Loss,
  *,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Objective:
  """Returns the objective of `Rollouts`: a surrogate of every text.

  Args:
    config: of the policy.
    loss: what is descended. With `kl`, `teacher` of the rollouts is the
      reference's log-probabilities `[B, N]`; with `distill`, the teacher's of
      all tokens, `[B, N, V]`.
    dtype: of the computation.
    remat: see `Decoder`.

  Raises:
    ValueError: the loss has both `kl` and `distill`.
  """
  if loss.kl and loss.distill:
    raise ValueError('a loss has a reference or a teacher, not both')

  def valued(part, now, rows):
    return policy_gradient.surrogate(
      now, jnp.asarray(rows.old_logprob), jnp.asarray(rows.advantage),
      jnp.asarray(rows.answer), kind=part.kind, clip_low=part.clip_low,
      clip_high=part.clip_high, gamma=part.gamma,
    )  # fmt: skip

  def of(params, people, state, batch, gather):
    del people, state, gather
    rows = batch.rows
    ids, answer = jnp.asarray(rows.ids), jnp.asarray(rows.answer)
    width = answer.shape[1]
    logit = logits(
      config, params['policy'], ids, jnp.asarray(rows.seen), width,
      dtype=dtype, remat=remat,
    )  # fmt: skip
    now = at(logit, ids[:, -width:])
    value = valued(loss.first, now, rows)
    if loss.second is not None:
      chosen = jnp.asarray(rows.second)[:, None] > 0
      value = jnp.where(chosen, valued(loss.second, now, rows), value)
    spread = jnp.where(answer > 0, policy_gradient.entropy(logit), 0.0)
    if loss.entropy:
      value = value + loss.entropy * spread
    if loss.kl:
      apart = policy_gradient.kl_estimate(now, jnp.asarray(rows.teacher), 'k2')
      value = value - loss.kl * jnp.where(answer > 0, apart, 0.0)
    if loss.distill:
      apart = distillation.divergence(
        jax.nn.log_softmax(logit), jnp.asarray(rows.teacher), alpha=loss.alpha
      )
      told = (answer > 0) & (jnp.asarray(rows.second)[:, None] > 0)
      value = value - loss.distill * jnp.where(told, apart, 0.0)
    total, count = policy_gradient.summed(
      value, answer.astype(value.dtype), by=loss.by, length=width
    )
    total = -jnp.asarray(rows.weight) * total
    count = jnp.asarray(rows.share) * count
    terms = {'surrogate': (total, count)}
    if loss.apart:
      second = jnp.asarray(rows.second)
      first = 1.0 - second
      terms = {
        'first': (first * total, first * count),
        'second': (second * total, second * count),
      }
    each = spread.sum(-1) / jnp.maximum(answer.sum(-1), 1)
    return terms, {}, {'entropy': (each, jnp.ones_like(each))}

  return of


class Kept(NamedTuple):
  """Constants of learners that keep the policy at the start.

  Attributes:
    start: its parameters: a reference, a teacher or a refiner.
  """

  start: types.PyTree


def new_state(
  key: types.Key, params: types.PyTree, *, keep: bool = False
) -> types.TrainState:
  """Returns the state of a policy before the first step.

  Args:
    key: the run's seed.
    params: of the policy.
    keep: whether the policy at the start stays, in `state.constants`.
  """
  nobody = banks.empty(1, (), ())  # a checkpoint holds no empty array
  return common.state_of(
    key, {'policy': params}, nobody, constants=Kept(params) if keep else ()
  )


def as_mean(values: Any, mask: Any = None) -> types.Mean:
  """Returns the mean of host values, of those that count."""
  values = np.asarray(values, np.float32)
  mask = np.ones_like(values) if mask is None else np.asarray(mask, np.float32)
  sums = np.where(mask > 0, values * mask, 0).sum(), mask.sum()
  return types.Mean(*(jnp.asarray(value, jnp.float32) for value in sums))
