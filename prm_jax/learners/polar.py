"""POLAR: a reward that tells which policy wrote an answer.

Pre-training takes triples of two answers of one policy and one of another;
fine-tuning takes rankings, the best answer being the reference. Both are
judgements here: the first candidate is closer than the second to the
references, which are the others, if there are any; the label is not read.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import discrimination
from prm_jax.rewards import discriminative, reading
from prm_jax.systems import objectives, states
from prm_jax.users import references

_WARM_UP, _LAST = 0.03, 0.1  # as published for fine-tuning


def polar(
  *,
  config: decoder.DecoderConfig | Mapping[str, Any],
  length: int,
  embedded: bool = False,
  learning_rate: float = 3e-4,
  steps: int = 1000,
  negatives: int = 0,
  weight_decay: float = 0.0,
  capacity: int = 8,
  dtype: Any = jnp.float32,
  remat: bool = False,
) -> types.Learner:
  """Returns the policy discriminator's learner.

      -log sigma(r(reference, same policy) - r(reference, other policy))

  The rows' `user` is the policy of reference and first answer. With
  `negatives`, the second answers of other rows of the batch are negatives
  too, unless their row is of the same policy.

  Args:
    config: sizes of the decoder, as in `rewards.discriminative`.
    length: T of a text.
    embedded: whether features are hidden states rather than token ids.
    learning_rate: of AdamW, warmed up over 3 % and decayed to 10 % by a
      cosine, as published for fine-tuning.
    steps: gradient steps.
    negatives: taken from other rows of the batch, for each row.
    weight_decay: of AdamW.
    capacity: references kept of a person.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197.
  """
  sizes = discriminative.sizes(config)
  reward = discriminative.discriminative(
    config=sizes, embedded=embedded, dtype=dtype, remat=remat
  )
  user = references.references(
    shape=(length, sizes.hidden_size), capacity=capacity
  )
  system = types.System(reward, user)

  def objective(params, people, state, batch, gather):
    del people, state
    encoded = reading.encoded(reward, params['reward'], batch.inputs)
    candidates, counts = _with_negatives(encoded, batch.rows, negatives, gather)
    context = references.given(encoded)
    score = reward.score(params['reward'], candidates, context).score
    loss = discrimination.triple(score[:, 0], score[:, 1:], counts)
    margin = score[:, 0] - score[:, 1]
    right = jnp.where(margin == 0, 0.5, margin > 0).astype(jnp.float32)
    accuracy = {'accuracy': objectives.mean(right)}
    return {'triple': objectives.mean(loss)}, {}, accuracy

  warm_up, last = max(1, round(_WARM_UP * steps)), _LAST * learning_rate
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, warm_up, max(steps, 2), last
  )
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(schedule, b2=0.95, weight_decay=weight_decay),
  )
  phase = types.Phase(
    'triples',
    objective=objective,
    optimizer=optimizer,
    steps=steps,
    whole=negatives > 0,
  )

  def init(key, spec):
    return states.new_state(system, key, spec, hyper={})

  return types.Learner((phase,), init, system)


def _with_negatives(encoded, rows, count, gather):
  """Returns candidates `[B, 2 + count, T, D]`, and which negatives count.

  Negatives are the second answers of the rows before it, going round, of rows
  that count, on all devices: padding changes nothing.
  """
  policy, mask = jnp.asarray(rows.user), jnp.asarray(rows.mask) > 0
  candidates, counts = [encoded[:, :2]], [jnp.ones_like(mask)]
  if count:
    everybody, real = gather(policy), gather(mask)
    second, ids = gather(encoded[:, 1:2]), gather(jnp.asarray(rows.example_id))
    order = jnp.argsort(~real, stable=True)
    # A row's place among all, also where this device holds some of them.
    by_id = jnp.argsort(ids[order], stable=True)
    place = by_id[jnp.searchsorted(ids[order][by_id], rows.example_id)]
  for shift in range(1, count + 1):
    other = order[(place - shift) % jnp.maximum(real.sum(), 1)]
    candidates.append(second[other])
    counts.append(everybody[other] != policy)
  return jnp.concatenate(candidates, 1), jnp.stack(counts, 1)
