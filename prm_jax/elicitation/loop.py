"""Ask, answer, update, stop: many simulated people at once."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import acquisition, bayes, profiles

# Name -> score of a candidate's margin; 'random' draws instead, and 'profile'
# looks at what an answer tells of the other questions.
SCORES: dict[str, Callable[[types.Array, types.Array], types.Array]] = {
  'variance': acquisition.variance,
  'ellipsoid': functools.partial(acquisition.variance, power=0.0),
  'log_determinant': acquisition.log_determinant,
  'information_gain': acquisition.information_gain,
}
ACQUISITIONS = ('random', *SCORES, 'profile')


class Trace(NamedTuple):
  """What was asked of U people, and what was believed after each answer.

  Attributes:
    asked: `[U, T]` candidate, -1 where nothing was asked any more.
    label: `[U, T]` 1 if the first was preferred.
    mean: `[U, T + 1, J]` of the coefficients, the prior's first.
    factor: `[U, T + 1, J, J]` F, with covariance F F^T.
  """

  asked: types.Array
  label: types.Array
  mean: types.Array
  factor: types.Array


@functools.partial(jax.jit, static_argnames=('acquire', 'questions'))
def simulate(
  key: types.Key,
  prior: bayes.GaussianPrior,
  difference: types.Array,
  probability: types.Array,
  available: types.Array | None = None,
  profile: types.Array | None = None,
  *,
  acquire: str,
  questions: int,
  threshold: float = 0.0,
) -> Trace:
  """Returns the trace of people who are asked from one pool of pairs.

  A person's answer to a candidate is drawn once, so that duplicates of a
  person's answers agree; a candidate is asked once.

  Args:
    key: of answers, and of 'random'.
    prior: over coefficients, `[J]` and `[J, J]`.
    difference: `[J, N]` the pool, encoded first minus second, candidates last.
    probability: `[U, N]` that each person prefers the first.
    available: `[U, N]` False for what a person cannot be asked; all if None.
    profile: `[R]` int32, the candidates whose answers 'profile' wants to know;
      all if None.
    acquire: one of ACQUISITIONS.
    questions: T, the budget.
    threshold: of SCORES: a person is asked no more once the best is below it.

  Raises:
    ValueError: there is no such acquisition.
  """
  if acquire not in ACQUISITIONS:
    raise ValueError(f'acquisition {acquire!r}: one of {list(ACQUISITIONS)}')
  U, N = probability.shape
  J = prior.mean.shape[0]
  answer_key, order_key = jax.random.split(key)
  answers = jax.random.uniform(answer_key, (U, N)) < probability
  if available is None:
    available = jnp.ones((U, N), bool)
  choose = functools.partial(_choose, acquire, difference, profile, threshold)
  people = jnp.arange(U)

  def question(carry, t):
    mean, factor, kept, available = carry
    key = jax.random.fold_in(order_key, t)
    index = choose(key, mean, factor, available)
    there = index >= 0
    place = jnp.maximum(index, 0)
    label = answers[people, place].astype(jnp.float32)
    kept = types.Pair(
      kept.encoded.at[:, t].set(difference.T[place]),
      kept.label.at[:, t].set(label),
      kept.mask.at[:, t].set(there.astype(jnp.float32)),
    )
    available = available.at[people, place].min(~there)
    # Who stopped stays stopped: nothing has changed for them.
    mean, factor = believe(prior, kept)
    return (mean, factor, kept, available), (index, label, mean, factor)

  kept = types.Pair(
    jnp.zeros((U, questions, J)),
    jnp.zeros((U, questions)),
    jnp.zeros((U, questions)),
  )
  mean, factor = believe(prior, kept)
  start = mean, factor, kept, available
  _, (asked, label, means, factors) = jax.lax.scan(
    question, start, jnp.arange(questions)
  )
  means = jnp.concatenate([mean[None], means])
  factors = jnp.concatenate([factor[None], factors])
  return Trace(
    asked.T, label.T, jnp.moveaxis(means, 0, 1), jnp.moveaxis(factors, 0, 1)
  )


def _choose(
  acquire, difference, profile, threshold, key, mean, factor, available
):
  """Everybody's next candidate `[U]`, -1 for none; see `simulate`."""
  if acquire == 'random':
    score = jax.random.uniform(key, available.shape)
    return acquisition.best(score, available)[0]
  if acquire == 'profile':
    places = jnp.arange(difference.shape[1]) if profile is None else profile
    score = profiles.profile_gain_for_people(
      difference, mean, factor, places, available
    )
    return acquisition.best(score, available)[0]
  index, value = acquisition.best_for_people(
    SCORES[acquire], difference, mean, factor, available
  )
  return jnp.where(value >= threshold, index, -1)


def believe(
  prior: bayes.GaussianPrior, kept: types.Pair
) -> tuple[types.Array, types.Array]:
  """Returns everybody's mean `[U, J]` and covariance factor `[U, J, J]`.

  Args:
    prior: over coefficients.
    kept: differences `[U, T, J]`, labels and mask `[U, T]`.
  """
  posterior = jax.vmap(bayes.laplace, (None, 0, 0, 0))(
    prior, kept.encoded, kept.label, kept.mask
  )
  return (
    jax.vmap(bayes.coefficients, (None, 0))(prior, posterior),
    jax.vmap(bayes.covariance_factor, (None, 0))(prior, posterior),
  )
