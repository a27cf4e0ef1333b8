"""Rewards that a language model has without a head of its own, and hybrids.

Log-probabilities are `[..., T]` of the tokens of an answer, nats; tokens where
the mask is 0 may hold anything.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices

REGULARIZERS = ('sft', 'dpo', 'nll')


def reward(
  logprob: types.Array,
  reference_logprob: types.Array,
  mask: types.Array,
  *,
  beta: float,
) -> types.Array:
  """Returns DPO's implicit reward of an answer, `[...]`.

      beta sum over t of log pi(t) - log pi_ref(t)

  Args:
    logprob: `[..., T]` of the answer's tokens under pi.
    reference_logprob: `[..., T]` under the reference.
    mask: `[..., T]` 1 for a token of the answer.
    beta: > 0.

  References:
    Rafailov et al. 2023 (DPO), arXiv:2305.18290.
  """
  return beta * jnp.sum(_gap(logprob, reference_logprob, mask), -1)


def average(
  logprob: types.Array, mask: types.Array, *, beta: float
) -> types.Array:
  """Returns SimPO's reward of an answer, `[...]`: no reference, no length.

      beta / |y| sum over t of log pi(t)

  Its loss is `choices.bradley_terry` with a margin, gamma.

  Args:
    logprob: `[..., T]`.
    mask: `[..., T]` 1 for a token of the answer.
    beta: > 0.

  Returns:
    0 for an answer without tokens.

  References:
    Meng et al. 2024 (SimPO), arXiv:2405.14734.
  """
  chex.assert_equal_shape([logprob, mask])
  real = jnp.asarray(mask) > 0
  total = jnp.sum(jnp.where(real, precision.raised(logprob), 0.0), -1)
  return beta * total / jnp.maximum(jnp.sum(real, -1), 1)


def step_reward(
  logprob: types.Array,
  reference_logprob: types.Array,
  mask: types.Array,
  step: types.Array,
  *,
  steps: int,
  beta: float,
) -> types.Array:
  """Returns the implicit reward of every step of an answer, `[..., S]`.

      beta sum over the tokens t of a step of log pi(t) - log pi_ref(t);

  over all steps they sum to `reward`.

  Args:
    logprob: `[..., T]`.
    reference_logprob: `[..., T]`.
    mask: `[..., T]` 1 for a token of the answer.
    step: `[..., T]` int, from 0 to S - 1; of packed answers, counted on.
    steps: S.
    beta: > 0.

  References:
    Yuan et al. 2024, Free process rewards without process labels,
    arXiv:2412.01981; Cui et al. 2025 (PRIME), arXiv:2502.01456.
  """
  chex.assert_equal_shape([logprob, step])
  gap = _gap(logprob, reference_logprob, mask)[..., None]
  own = step[..., None] == jnp.arange(steps)
  return beta * jnp.sum(jnp.where(own, gap, 0.0), -2)


def hybrid(
  difference: types.Array,
  logprob: types.Array,
  label: types.Array,
  *,
  weight: float = 0.01,
  beta: float = 0.1,
  regularizer: str = 'sft',
) -> types.Array:
  """Returns GRM's losses `[...]`: a head's, regularised by the text's.

      (1 - w) L(d, y) + w R

      sft  R = -log sigma(beta log pi(preferred))
      dpo  R = -log sigma(beta (log pi(preferred) - log pi(other)))
      nll  R = -log pi(preferred)

  where a label between 0 and 1 weighs both answers as the preferred one.

  Args:
    difference: `[...]` d, of the head's scores, logits.
    logprob: `[..., 2]` of both answers, summed over tokens; for DPO with a
      reference, less the reference's. 'nll' may take means over tokens.
    label: `[...]` y, probability that the first is preferred.
    weight: w, in [0, 1].
    beta: > 0.
    regularizer: one of `REGULARIZERS`.

  References:
    Yang et al. 2024 (GRM), arXiv:2406.10216.

  Notes:
    Defaults are the released code's; the paper calls w alpha.

  Raises:
    ValueError: unknown regulariser.
  """
  if regularizer not in REGULARIZERS:
    raise ValueError(f'regularizer {regularizer!r}: one of {REGULARIZERS}')
  chex.assert_equal_shape([difference, label])
  chex.assert_shape(logprob, (*label.shape, 2))
  logprob, label = precision.raised(logprob), precision.raised(label)
  if regularizer == 'dpo':
    gap = beta * (logprob[..., 0] - logprob[..., 1])
    rest = choices.bradley_terry(gap, label)
  else:
    own = -logprob if regularizer == 'nll' else jax.nn.softplus(-beta * logprob)
    rest = label * own[..., 0] + (1.0 - label) * own[..., 1]
  loss = choices.bradley_terry(difference, label)
  return (1.0 - weight) * loss + weight * rest


def yes_logit(logits: types.Array, *, yes: int, no: int) -> types.Array:
  """Returns the score `[...]` of a verdict: logit of yes against no.

  Args:
    logits: `[..., V]` of the next token.
    yes: the token's id.
    no: the token's id.

  References:
    Zhang et al. 2024 (generative verifiers), arXiv:2408.15240.

  Raises:
    ValueError: both are one token.
  """
  if yes == no:
    raise ValueError(f'yes and no are one token, {yes}')
  logits = _vocabulary(logits, (yes, no))
  return logits[..., yes] - logits[..., no]


def token_score(
  logits: types.Array, *, tokens: tuple[int, ...], values: types.ArrayLike
) -> types.Array:
  """Returns the mean of a score that is said as a token, `[...]`.

      sum over s of s p(s),   p over the tokens that say a score

  Args:
    logits: `[..., V]` of the next token.
    tokens: ids of the C tokens that say a score.
    values: `[C]` what each says.

  References:
    Liu et al. 2023 (G-Eval), arXiv:2303.16634; as votes by probability, Liu
    et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.

  Raises:
    ValueError: tokens and values are not as many.
  """
  values = precision.raised(values)
  if values.shape != (len(tokens),):
    raise ValueError(f'{len(tokens)} tokens and values {values.shape}')
  said = _vocabulary(logits, tokens)[..., jnp.asarray(tokens)]
  return jnp.sum(jax.nn.softmax(said, -1) * values, -1)


def _gap(logprob, reference_logprob, mask):
  """Returns the difference at every token of the answer, 0 at others."""
  chex.assert_equal_shape([logprob, reference_logprob, mask])
  real = jnp.asarray(mask) > 0
  return jnp.where(real, precision.raised(logprob), 0.0) - jnp.where(
    real, precision.raised(reference_logprob), 0.0
  )


def _vocabulary(logits, tokens):
  """Returns the logits, which have to have these tokens."""
  if max(tokens) >= logits.shape[-1] or min(tokens) < 0:
    raise ValueError(f'tokens {tokens} of {logits.shape[-1]}')
  return precision.raised(logits)
