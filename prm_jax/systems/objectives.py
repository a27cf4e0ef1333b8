"""Terms that the objectives of several learners share."""

import jax.numpy as jnp

from prm_jax import types


def mean(values: types.Array) -> tuple[types.Array, types.Array]:
  """Returns the term whose mean over rows is that of `values` `[B]`."""
  return values, jnp.ones_like(values)


def examples(judgements: types.Judgements) -> types.Array:
  """Returns the number of judgements that count, at least 1."""
  return jnp.maximum(jnp.sum(jnp.asarray(judgements.mask)), 1.0)


def margins(pair: types.Array, weights: types.Array) -> types.Array:
  """Returns the score differences `[B]` of encoded pairs.

  Args:
    pair: `[B, 2, J]`.
    weights: `[B, J]` of each row's person.
  """
  return jnp.sum((pair[:, 0] - pair[:, 1]) * weights, axis=-1)


def charged(
  people: types.Present,
  user: types.Array,
  free: types.Array,
  penalty: types.Array,
) -> tuple[types.Array, tuple[types.Array, types.Array]]:
  """Returns each row's free parameters, and the term that charges for them.

      sum_u penalty_u / examples

  Every row of a person carries penalty_u / n_u, n_u the weight of their rows
  in the whole data: all rows give the sum, a batch an unbiased estimate, and
  who is absent is not charged.

  Args:
    people: of the batch.
    user: `[B]` rows of these people.
    free: `[P, J]` free parameters.
    penalty: `[P]` nats.

  Returns:
    `[B, J]`, and the term.
  """
  share = penalty / jnp.maximum(people.weight, 1e-6)
  # Looked up together: each lookup's gradient is a scatter over the rows.
  both = jnp.concatenate([free, share[:, None]], 1)[user]
  return both[:, :-1], mean(both[:, -1])
