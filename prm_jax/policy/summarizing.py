"""Summaries that learn from the reward model that reads them, and it from them.

A row is a context: a history of one person, summaries that were written of it,
and choices of the same person. The reward model's choices behind a summary are
at once its own loss and the summary's reward, from one forward pass.

Axis letters: C contexts, G summaries of one, M pairs, S tokens of a summary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import composed, constraints
from prm_jax.ops import policy_gradient, returns
from prm_jax.ops.heads import choices
from prm_jax.policy import logprobs, outcomes, padding
from prm_jax.users import summaries

BASELINES = {
  'leave_one_out': policy_gradient.leave_one_out,
  'centred': policy_gradient.centred,
  'normalized': policy_gradient.group_normalized,
}
CRITIC = 'critic'
READS = ('summaries', 'histories', 'nothing')
_ROLLOUT = 0x50A  # keeps keys of rollouts that phases share apart from others


class Contexts(NamedTuple):
  """What a learner of summaries is given; leaves lead with B contexts.

  Attributes:
    user: `[B]` int32; nobody's summary is compared with their own other one.
    history: leaves `[B, H]`, padded anywhere.
    texts: leaves `[B, N, 2, T]`, prompt and response together: choices of the
      person, few of which a step draws.
    label: `[B, N]` probability that the first is preferred.
    present: `[B, N]` 1 for a choice, 0 for padding.
    mask: `[B]`.
    example_id: `[B]`.
  """

  user: types.ArrayLike
  history: types.Tokens
  texts: types.Tokens
  label: types.ArrayLike
  present: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike


class Summarized(NamedTuple):
  """Contexts with their summaries, as an update reads them.

  Attributes:
    history: leaves `[C, H]`.
    summary: leaves `[C, G, S]`.
    other: leaves `[C, S]`, a summary of another person.
    apart: `[C]` 1 where it is indeed another's.
    texts: leaves `[C, M, 2, T]`.
    label: `[C, M]`.
    present: `[C, M]`.
    mask: `[C]`.
    example_id: `[C]`.
  """

  history: types.Tokens
  summary: types.Tokens
  other: types.Tokens
  apart: types.ArrayLike
  texts: types.Tokens
  label: types.ArrayLike
  present: types.ArrayLike
  mask: types.ArrayLike
  example_id: types.ArrayLike


class Update(NamedTuple):
  """How a step learns.

  Attributes:
    contexts: C of a step, drawn from the batch; all, if it has no more.
    samples: G summaries of each.
    pairs: M choices, of the person's, that each summary is judged by.
    score: what a summary earns by a choice, see `returns.choice_reward`; the
      mean over the pairs is its reward.
    baseline: one of `BASELINES`, or 'critic': PPO with GAE.
    kl: weight of KL to the summariser at the start: a term, or with a critic
      a part of every token's reward.
    bonus: of the entropy.
    clip: of PPO's ratio, which is 1 where summaries are of this very step.
    decay: lambda of GAE.
    value_clip: of the critic's loss.
    limit: on the reward of a summary, with a critic.
    temperature: of the summaries.
  """

  contexts: int = 16
  samples: int = 8
  pairs: int = 2
  score: str = 'log'
  baseline: str = 'leave_one_out'
  kl: float = 0.0
  bonus: float = 0.0
  clip: float = 0.2
  decay: float = 0.95
  value_clip: float = 0.2
  limit: float = 10.0
  temperature: float = 1.0


class Kept(NamedTuple):
  """Constants of learners of summaries; what nobody reads is ().

  Attributes:
    start: the summariser before its first step, from which KL is measured.
    writer: the summariser, and critic, that write what a round learns from.
  """

  start: types.PyTree = ()
  writer: types.PyTree = ()


def check(update: Update) -> None:
  """Raises ValueError where an update names what there is not."""
  if update.baseline not in (*BASELINES, CRITIC):
    raise ValueError(
      f'baseline {update.baseline!r}: one of {(*BASELINES, CRITIC)}'
    )
  if update.score not in returns.CHOICE_REWARDS:
    raise ValueError(f'score {update.score!r}: one of {returns.CHOICE_REWARDS}')
  if update.baseline != CRITIC and update.samples < 2:
    raise ValueError(
      f'{update.samples} summary of a context has none to be compared with: '
      "draw at least 2, or baseline='critic'"
    )


# ------------------------------------------------------------------ rollouts


def collect(
  writer: summaries.Writer,
  update: Update,
  *,
  reads: str = 'summaries',
  kept: bool = False,
  shared: bool = True,
) -> types.Collect:
  """Returns `Phase.collect`: draws contexts and choices, and writes summaries.

  Args:
    writer: of summaries.
    update: how many of each.
    reads: what stands for a summary: nothing and whole histories are controls.
    kept: whether the writer of the constants writes: of the same batch, a step
      of a round then has the same summaries in all phases.
    shared: whether a history is read once for all of its summaries; the same
      summaries are written anyway.

  Raises:
    ValueError: unknown `reads`.
  """
  if reads not in READS:
    raise ValueError(f'reads {reads!r}: one of {READS}')

  @jax.jit
  def run(key, user, rows):
    keys = jax.random.split(key, 2)
    rows = drawn(keys[0], rows, update.contexts, update.pairs)
    if reads == 'summaries':
      whole, G = composed.composed(user, writer.fields), update.samples
      found = summaries.write(
        keys[1],
        writer,
        whole,
        rows.history if shared else padding.repeat(rows.history, G),
        count=G if shared else 1,
        temperature=update.temperature,
      )
      found = grouped(found, G)
    elif reads == 'histories':
      found = grouped(rows.history, 1)
    else:
      found = grouped(nothing(writer, len(rows.mask)), 1)
    said = found.mask.sum(-1)
    figures = {
      'silent': outcomes.as_mean(silent(writer, found), rows.mask[:, None]),
      'summary_tokens': outcomes.as_mean(said, rows.mask[:, None]),
    }
    return summarized(rows, found), figures

  def of(key, state, batch):
    user = state.params['user']
    if kept:
      user = state.constants.writer['user']
      key = _shared_key(state.key, state.round, state.step)
    rows, figures = run(key, user, batch.rows)
    return types.Batch(rows), figures

  return of


@jax.jit
def _shared_key(key, round_, step):
  for count in (_ROLLOUT, round_, step):
    key = jax.random.fold_in(key, count)
  return key


def drawn(
  key: types.Key, rows: Contexts, contexts: int, pairs: int
) -> Contexts:
  """Returns some of the contexts, each with some of its choices.

  Without replacement; what is masked or padding comes last, and stays so.

  Args:
    key: of the draws.
    rows: B contexts of N choices.
    contexts: C, at most.
    pairs: M, at most.
  """
  keys = jax.random.split(key, 2)
  B, N = rows.label.shape

  def best(key, there, count):
    noise = jax.random.gumbel(key, there.shape)
    return jax.lax.top_k(jnp.where(there > 0, noise, -jnp.inf), count)[1]

  chosen = best(keys[0], jnp.asarray(rows.mask), min(contexts, B))
  rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], rows)
  pair = best(keys[1], rows.present, min(pairs, N))

  def of_pair(leaf):
    index = pair.reshape(*pair.shape, *(1,) * (leaf.ndim - 2))
    return jnp.take_along_axis(leaf, index, 1)

  return rows._replace(
    texts=jax.tree.map(of_pair, rows.texts),
    label=of_pair(rows.label),
    present=of_pair(rows.present),
  )


def summarized(rows: Contexts, summary: types.Tokens) -> Summarized:
  """Returns contexts with summaries `[C, G, S]`, and with each other's.

  Args:
    rows: C contexts.
    summary: of them.
  """

  def next_(leaf):
    return jnp.roll(leaf, 1, 0)

  user = jnp.asarray(rows.user)
  return Summarized(
    rows.history,
    summary,
    jax.tree.map(lambda leaf: next_(leaf[:, 0]), summary),
    ((user != next_(user)) & (next_(rows.mask) > 0)).astype(jnp.float32),
    rows.texts,
    rows.label,
    rows.present,
    rows.mask,
    rows.example_id,
  )


def grouped(tokens: types.Tokens, count: int) -> types.Tokens:
  """Returns texts `[C G, S]` as `[C, G, S]`."""
  return jax.tree.map(
    lambda leaf: jnp.asarray(leaf).reshape(-1, count, leaf.shape[-1]), tokens
  )


def flat(tokens: types.Tokens) -> types.Tokens:
  """Returns texts `[C, G, S]` as `[C G, S]`."""
  return jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), tokens)


def nothing(
  writer: summaries.Writer, count: int, width: int | None = None
) -> types.Tokens:
  """Returns as many empty summaries `[C, S]`, S = N unless there is a width."""
  width = writer.max_new_tokens if width is None else width

  def every(leaf):
    leaf = jnp.pad(leaf[:width], (0, max(width - len(leaf), 0)))
    return jnp.broadcast_to(leaf, (count, width))

  return jax.tree.map(every, writer.empty)


def silent(writer: summaries.Writer, text: types.Tokens) -> types.Array:
  """Returns which summaries `[...]` say nothing, as floats."""
  ends = jnp.isin(text.ids, jnp.asarray(writer.stop_ids))
  return 1.0 * ((text.mask == 0) | ends).all(-1)


# ----------------------------------------------------------------- objective


def margins(
  reward: types.RewardModel,
  params: types.PyTree,
  texts: types.Tokens,
  summary: types.Tokens,
) -> types.Array:
  """Returns score(first) - score(second) `[C, G, M]` behind each summary.

  Args:
    reward: that reads summaries.
    params: of it.
    texts: `[C, M, 2, T]`.
    summary: `[C, G, S]`.
  """
  C, M = texts.ids.shape[:2]
  G = summary.ids.shape[1]
  candidates = jax.tree.map(
    lambda leaf: jnp.repeat(leaf.reshape(C, 2 * M, -1), G, 0), texts
  )
  score = reward.score(params, candidates, flat(summary)).score
  score = score.reshape(C, G, M, 2)
  return score[..., 0] - score[..., 1]


def objective(
  writer: summaries.Writer,
  reward: types.RewardModel,
  update: Update,
  *,
  summarizer: bool = True,
  reader: bool = True,
  kept: bool = False,
  shared: bool = True,
) -> types.Objective:
  """Returns the objective of `Summarized`, of one half or of both.

  Args:
    writer: of summaries.
    reward: that reads them.
    update: how they are learned.
    summarizer: whether the summariser learns; no gradient of its terms
      reaches the reward.
    reader: whether the reward learns: Bradley-Terry behind every summary.
    kept: whether the writer of the constants wrote, see `collect`.
    shared: whether a history is read once for all of its summaries, where that
      costs less.
  """
  check(update)

  def of(params, people, state, batch, gather):
    del people
    rows = jax.tree.map(jnp.asarray, batch.rows)
    margin = margins(reward, params['reward'], rows.texts, rows.summary)
    label = jnp.broadcast_to(rows.label[:, None], margin.shape)
    there = jnp.broadcast_to(rows.present[:, None], margin.shape)
    terms = {}
    if reader:
      nll = choices.bradley_terry(margin, label)
      terms['nll'] = _over(nll, there)
    fixed = jax.lax.stop_gradient(margin)
    figures = _figures(writer, reward, params['reward'], rows, fixed)
    if summarizer:
      earned = returns.choice_reward(fixed, label, kind=update.score)
      count = jnp.maximum(there.sum(-1), 1)
      earned = jnp.where(there > 0, earned, 0.0).sum(-1) / count
      figures['reward'] = _over(earned, jnp.ones_like(earned))
      own, more = _summarizer(
        writer, update, params, state, rows, earned, gather, kept, shared
      )
      terms, figures = {**terms, **own}, {**figures, **more}
    return terms, {}, figures

  return of


def _over(values, there):
  """Returns the term of values `[C, ...]`, of those that are there."""
  axes = tuple(range(1, values.ndim))
  total = jnp.where(there > 0, there * values, 0.0).sum(axes)
  return total, there.sum(axes)


def accuracy(margin: types.Array, label: types.Array) -> types.Array:
  """Returns how right choices `[...]` are; a margin of 0 is half right."""
  return returns.choice_reward(margin, label, kind='right')


def _figures(writer, reward, params, rows, margin):
  """Returns accuracies behind one's own, another's and an empty summary."""
  C, G, M = margin.shape
  blank = nothing(writer, C, rows.summary.ids.shape[-1])
  both = jax.tree.map(
    lambda one, two: jnp.stack([one, two], 1), rows.other, blank
  )
  controls = margins(reward, jax.lax.stop_gradient(params), rows.texts, both)
  there, label = rows.present, rows.label

  def every(margin, there):
    return _over(accuracy(margin, label), there)

  shape = (C, G, M)
  own = accuracy(margin, jnp.broadcast_to(label[:, None], shape))
  return {
    'accuracy': _over(own, jnp.broadcast_to(there[:, None], shape)),
    'accuracy_other': every(controls[:, 0], there * rows.apart[:, None]),
    'accuracy_empty': every(controls[:, 1], there),
  }


def constrained(
  writer: summaries.Writer,
  params: types.PyTree,
  ids: types.Array,
  seen: types.Array,
  group: int,
) -> types.Array:
  """Returns logits `[R, N, V]` of summaries, -inf for what may not be said.

  Args:
    writer: of summaries.
    params: of its decoder, not composed.
    ids: `[R, P + N]` histories, padded on the left, and summaries.
    seen: `[R, P + N]` 1 for tokens.
    group: every so many rows, side by side, have one history.
  """
  N = writer.max_new_tokens
  whole = composed.composed(params, writer.fields)
  found = logprobs.logits(
    writer.config,
    whole,
    ids,
    seen,
    N,
    group=group,
    dtype=writer.dtype,
    remat=writer.remat,
  )
  rule = writer.constraint(len(ids))
  if rule is None:
    return found
  return jnp.where(constraints.allowed(rule, ids[:, -N:]), found, -jnp.inf)


def _summarizer(
  writer, update, params, state, rows, earned, gather, kept, shared
):
  """Returns terms and figures of the summariser, and of its critic."""
  C, G = rows.summary.ids.shape[:2]
  prompts = padding.repeat(summaries.asked(writer, rows.history), G)
  answers = flat(rows.summary)
  ids, seen = padding.follow(prompts, answers)
  mask = answers.mask.astype(jnp.float32)

  def likely(params):
    logit = constrained(writer, params, ids, seen, G if shared else 1)
    return logit, logprobs.at(logit, answers.ids)

  logit, logprob = likely(params['user'])
  spread = policy_gradient.entropy(logit)
  old = jax.lax.stop_gradient(logprob)
  if kept:
    old = jax.lax.stop_gradient(likely(state.constants.writer['user'])[1])
  gap = jnp.zeros_like(logprob)
  if update.kl:
    start = jax.lax.stop_gradient(likely(state.constants.start)[1])
    gap = jnp.where(mask > 0, logprob - start, 0.0)

  def by_context(tokens):
    """The term of values of tokens: summed over them, a mean over summaries."""
    total = jnp.where(mask > 0, tokens, 0.0).sum(-1).reshape(C, G)
    return _over(total, jnp.ones_like(total))

  terms, figures = {}, {'entropy': by_context(spread)}
  if update.baseline == CRITIC:
    credit, terms['value'] = _criticised(
      writer,
      update,
      params,
      state,
      (ids, seen, mask),
      earned,
      gap,
      gather,
      kept,
      rows.mask,
    )
  else:
    credit = BASELINES[update.baseline](earned).reshape(-1, 1)
    if update.kl:
      k2 = by_context(0.5 * gap**2)
      terms['kl'] = update.kl * k2[0], k2[1]
  if update.kl:
    figures['kl_estimate'] = by_context(jax.lax.stop_gradient(gap))
  surrogate = policy_gradient.surrogate(
    logprob,
    old,
    jax.lax.stop_gradient(credit),
    mask,
    clip_low=update.clip,
    clip_high=update.clip,
  )
  terms['surrogate'] = by_context(-surrogate)
  if update.bonus:
    terms['bonus'] = by_context(-update.bonus * spread)
  return terms, figures


def _criticised(
  writer, update, params, state, texts, earned, gap, gather, kept, rows
):
  """Returns PPO's advantages `[C G, N]`, whitened, and the critic's term."""
  ids, seen, mask = texts
  C, G = earned.shape

  def values(critic):
    found = logprobs.states(
      writer.config,
      composed.composed(critic['trunk'], writer.fields),
      ids,
      seen,
      mask.shape[1],
      group=G,
      dtype=writer.dtype,
      remat=writer.remat,
    )
    return found.astype(jnp.float32) @ critic['weight']

  value = values(params['critic'])
  old = value
  if kept:
    old = values(state.constants.writer['critic'])
  old = jax.lax.stop_gradient(old)
  token = returns.token_rewards(
    earned.ravel(),
    jax.lax.stop_gradient(gap),
    mask,
    kl_weight=update.kl,
    limit=update.limit,
  )
  credit, target = returns.generalized_advantages(
    token, old, mask, decay=update.decay
  )
  counts = mask * jnp.repeat(rows > 0, G)[:, None]
  every, weight = gather(credit), gather(counts)
  number = jnp.maximum(weight.sum(), 1)
  mean = (weight * every).sum() / number
  spread = jnp.sqrt((weight * (every - mean) ** 2).sum() / number)
  loss = returns.value_loss(value, old, target, clip=update.value_clip)
  term = _over((loss * mask).reshape(C, -1), mask.reshape(C, -1))
  return (credit - mean) / (spread + 1e-8), term
