"""Adapters of all people, trained side by side: what a person did, as weights.

A person's loss is a mean over their own events and reads no other person, so
that one mapped program trains everybody. What is learned of an event, its
first text chosen and its second rejected:

  input_only  the prompt: what the person was concerned with
  task        the chosen answer, given the prompt (task fine-tuning, T-FT)
  dpo         the chosen answer above the rejected, against the base model
  simpo       the same by means over tokens, without a reference, by a margin
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import adapters as banks
from prm_jax.models import decoder, lora
from prm_jax.ops import recall
from prm_jax.ops.heads import choices, implicit
from prm_jax.rewards import implicit_decoder

OBJECTIVES = ('input_only', 'task', 'dpo', 'simpo')
PAIRED = ('dpo', 'simpo')  # they read rejected answers


class Events(NamedTuple):
  """E events of one person; of many, every leaf leads with U.

  Attributes:
    tokens: leaves `[E, K, T]`, prompt and answer together; K = 2, the chosen
      answer and the rejected one, or 1 where nothing is rejected. `branch` is
      0 for the prompt and 1 for the answer.
    mask: `[E]` 1 for an event, 0 for padding.
  """

  tokens: types.Tokens
  mask: types.Array


class Hyper(NamedTuple):
  """Numbers that may be searched: none is compiled in.

  Attributes:
    rate: of Adam.
    beta: of DPO and SimPO; usual are 0.1 and 2.
    margin: gamma of SimPO, logits; usual is half of beta.
  """

  rate: types.Scalar = 1e-2
  beta: types.Scalar = 0.1
  margin: types.Scalar = 0.0


def loss(
  objective: str,
  logprob: types.Array,
  part: types.Array,
  reference: types.Array,
  hyper: Hyper,
) -> tuple[types.Array, types.Array]:
  """Returns total and count `[E]` of the loss of every event.

  Of `input_only` and `task` a total over tokens and their number, nats; of the
  others the loss of the pair and 1.

  Args:
    objective: one of `OBJECTIVES`.
    logprob: `[E, K, T]` of tokens.
    part: `[E, K, T]` 0 for the prompt, above 0 for the answer, -1 for nothing.
    reference: `[E, K, T]` of tokens under the base model; DPO alone reads it.
    hyper: beta and margin.

  References:
    Zhang et al. 2025 (PRIME), arXiv:2507.04607; Rafailov et al. 2023 (DPO),
    arXiv:2305.18290; Meng et al. 2024 (SimPO), arXiv:2405.14734.

  Raises:
    ValueError: unknown objective, or nothing is rejected.
  """
  _known(objective, logprob.shape[1])
  answer = part > 0
  if objective not in PAIRED:
    read = answer[:, 0] if objective == 'task' else part[:, 0] == 0
    total = jnp.sum(jnp.where(read, -logprob[:, 0], 0.0), -1)
    return total, jnp.sum(read, -1).astype(total.dtype)
  beta: Any = hyper.beta
  if objective == 'dpo':
    reward = implicit.reward(logprob, reference, answer, beta=beta)
  else:
    reward = implicit.average(logprob, answer, beta=beta)
  ones = jnp.ones(len(reward))
  margin = hyper.margin if objective == 'simpo' else 0.0
  difference = reward[:, 0] - reward[:, 1]
  return choices.bradley_terry(difference, ones, margin=margin), ones


def trainer(
  config: decoder.DecoderConfig,
  *,
  objective: str,
  steps: int,
  batch: int,
  dtype: Any = jnp.float32,
) -> Callable[..., tuple[lora.Adapters, types.Array]]:
  """Returns the training of ONE person, to be mapped over people.

      (key, params, adapters, events, hyper) -> adapters, losses [steps]

  Every step is one of Adam on up to `batch` events, drawn without replacement
  by the key alone: who has the same events gets the same adapter, trained
  alone or beside others. Without events the adapter stays as it is.

  Args:
    config: of the base model.
    objective: one of `OBJECTIVES`.
    steps: of Adam.
    batch: events of a step.
    dtype: of the layers' computation.

  Raises:
    ValueError: unknown objective; or, when it is called, events of which
      nothing is rejected, or without `branch`.
  """
  _known(objective, 2)
  network = decoder.Decoder(config, dtype)

  def read(params, tokens, own):
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), tokens)
    found = implicit_decoder.token_logprobs(network, params, flat, own)
    E, K, _ = tokens.ids.shape
    return tuple(leaf.reshape(E, K, -1) for leaf in found)

  def person(key, params, own, events, hyper):
    events = jax.tree.map(jnp.asarray, events)
    tokens = events.tokens
    if tokens.branch is None:
      raise ValueError('events need `branch`: what is prompt, what is answer')
    _known(objective, tokens.ids.shape[1])
    if objective not in PAIRED:  # what is rejected is not read
      tokens = jax.tree.map(lambda leaf: leaf[:, :1], tokens)
    base = jnp.zeros((*tokens.ids.shape[:2], tokens.ids.shape[2] - 1))
    if objective == 'dpo':
      base, _ = read(params, tokens, None)
    optimizer = optax.scale_by_adam()

    def mean(own, chosen):
      texts, reference = jax.tree.map(
        lambda leaf: leaf[chosen.place], (tokens, base)
      )
      logprob, part = read(params, texts, own)
      total, count = loss(objective, logprob, part, reference, hyper)
      total = jnp.where(chosen.mask > 0, total, 0.0)
      return total.sum() / jnp.maximum((count * chosen.mask).sum(), 1.0)

    def step(carry, index):
      own, moments = carry
      draw = jax.random.fold_in(key, index)
      chosen = recall.at_random(draw, events.mask, count=batch)
      value, gradient = jax.value_and_grad(mean)(own, chosen)
      change, moments = optimizer.update(gradient, moments)
      own = jax.tree.map(lambda x, dx: x - hyper.rate * dx, own, change)
      return (own, moments), value

    start = own, optimizer.init(own)
    (own, _), losses = jax.lax.scan(step, start, jnp.arange(steps))
    return own, losses

  return person


@functools.lru_cache(maxsize=16)
def _compiled(config, objective, steps, batch, dtype):
  """Returns the compiled training of everybody."""
  person = trainer(
    config, objective=objective, steps=steps, batch=batch, dtype=dtype
  )
  return jax.jit(jax.vmap(person, (None, None, 0, 0, None)))


def fit(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  bank: banks.Bank,
  events: Events,
  *,
  objective: str,
  steps: int,
  batch: int,
  hyper: Hyper | None = None,
  dtype: Any = jnp.float32,
) -> tuple[banks.Bank, types.Array]:
  """Returns the bank with everybody's adapters trained on, and losses.

  One program for all people; where bank and events are split over devices by
  people, so is the work, and nothing is exchanged.

  Args:
    key: of the events of every step.
    config: of the base model.
    params: of the base model, which stays as it is.
    bank: of U people.
    events: of everybody, leaves `[U, E, ...]`.
    objective: one of `OBJECTIVES`.
    steps: of Adam.
    batch: events of a person and step.
    hyper: searched numbers.
    dtype: of the layers' computation.

  Returns:
    The bank, and losses `[U, steps]`, before each step.

  Raises:
    OtherBaseError: the adapters are of another base model.
    ValueError: unknown objective, or events that it cannot read.
  """
  banks.check(bank, config, params)
  run = _compiled(config, objective, steps, batch, dtype)
  people, losses = run(key, params, bank.people, events, hyper or Hyper())
  return bank._replace(people=people), losses


def scores(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  adapters: lora.Adapters | None,
  texts: types.Tokens,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns log-probabilities `[...]` of answers, for ONE person, nats.

      sum over t of log p(y_t | prompt, y before t)

  Args:
    config: of the base model.
    params: of the base model.
    adapters: the person's; the base model alone if None.
    texts: leaves `[..., T]`, prompt and answer.
    dtype: of the layers' computation.
  """
  flat = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), texts)
  logprob, answer = implicit_decoder.answer_logprobs(
    decoder.Decoder(config, dtype), params, flat, adapters
  )
  total = jnp.sum(jnp.where(answer, logprob, 0.0), -1)
  return total.reshape(texts.ids.shape[:-1])


def _known(objective: str, texts: int) -> None:
  if objective not in OBJECTIVES:
    raise ValueError(f'objective {objective!r}: one of {OBJECTIVES}')
  if objective in PAIRED and texts != 2:
    raise ValueError(
      f'{objective} reads a chosen and a rejected answer: events have {texts}'
    )
