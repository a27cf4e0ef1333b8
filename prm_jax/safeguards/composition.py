"""What safeguards are made of: composing, serving, inspecting, resetting.

A safeguard is written for one person and vmapped; see `types.Safeguard`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops import decoding

# Scores `[..., K]` and a Guard -> log-policy.
Serve = Callable[[types.Array, types.Guard], types.Array]


def make(
  name: str,
  card: types.Card,
  *,
  init: Callable[[], types.PyTree] = tuple,
  context: Callable[..., types.PyTree] | None = None,
  reward: Callable[..., types.RewardOutput] | None = None,
  policy: Callable[..., types.Array] | None = None,
  observe: Callable[..., types.PyTree] | None = None,
) -> types.Safeguard:
  """Returns a safeguard that leaves alone what it has no function for."""
  return types.Safeguard(
    name,
    card,
    init,
    context or (lambda state, context, population: context),
    reward or (lambda state, output, guard: output),
    policy or (lambda state, log_policy, guard: log_policy),
    observe or (lambda state, served: state),
  )


def none() -> types.Safeguard:
  """Returns the safeguard that does nothing."""
  return make('none', types.Card('nothing', 'nothing', 'everything'))


def chain(*safeguards: types.Safeguard) -> types.Safeguard:
  """Returns safeguards one after the other, at each of their levels.

  All act on the context, then all on the reward, then all on the policy, in
  this order. At different levels their order therefore does not matter; at one
  level it does unless docs/methods/safeguards.md says otherwise.

  Args:
    *safeguards: the first acts first.
  """

  def folded(level):
    def run(states, value, *rest):
      for part, state in zip(safeguards, states, strict=True):
        value = getattr(part, level)(state, value, *rest)
      return value

    return run

  cards = [part.card for part in safeguards]
  return types.Safeguard(
    ' + '.join(part.name for part in safeguards) or 'none',
    types.Card(*('; '.join(words) for words in zip(*cards, strict=True)))
    if cards
    else none().card,
    init=lambda: tuple(part.init() for part in safeguards),
    context=folded('context'),
    reward=folded('reward'),
    policy=folded('policy'),
    observe=lambda states, served: tuple(
      part.observe(state, served)
      for part, state in zip(safeguards, states, strict=True)
    ),
  )


# -------------------------------------------------------------------- serving


def tilt(score: types.Array, guard: types.Guard) -> types.Array:
  """Returns the policy tilted by scores, log pi_0 + beta r, normalised."""
  return decoding.tilted(guard.log_base, score, guard.beta)


def best_of(n: int) -> Serve:
  """Returns the policy of best-of-n: n draws of pi_0, the best is served.

  Args:
    n: draws; beta does not matter.
  """

  def serve(score, guard):
    probability = jnp.exp(guard.log_base)
    flat = [leaf.reshape(-1, leaf.shape[-1]) for leaf in (probability, score)]
    best = jax.vmap(lambda p, r: decoding.best_of_n(p, r, n))(*flat)
    # A draw that is never best keeps a probability that a logarithm has.
    return jnp.log(jnp.maximum(best, 1e-30)).reshape(score.shape)

  return serve


def scores(
  system: types.System,
  params: types.PyTree,
  encoded: types.Array,
  context: types.PyTree,
) -> types.RewardOutput:
  """Returns what ONE person's reward makes of S prompts' candidates.

  Args:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    encoded: `[S, K, J]` candidates, as `RewardModel.encode` left them.
    context: of the person, without S.
  """
  S = encoded.shape[0]
  rows = jax.tree.map(
    lambda leaf: jnp.broadcast_to(leaf, (S, *jnp.shape(leaf))), context
  )
  return system.reward.score(params['reward'], encoded, rows)


def served_policy(
  system: types.System,
  params: types.PyTree,
  encoded: types.Array,
  context: types.PyTree,
  population: types.PyTree,
  guard: types.Guard,
  state: types.PyTree = None,
  *,
  serve: Serve = tilt,
) -> types.Array:
  """Returns the log-policy `[S, K]` by which ONE person is served.

  Args:
    system: reward and user model, and the safeguard that bounds them.
    params: `{'reward': ..., 'user': ...}`.
    encoded: `[S, K, J]` candidates, as `RewardModel.encode` left them.
    context: of the person.
    population: context of a person of whom nothing is known.
    guard: leaves `[S, K]`; its reference scores are filled in here.
    state: of the safeguard; of a person to whom nothing was served, if None.
    serve: what turns scores into a policy.
  """
  safeguard = system.safeguard or none()
  state = safeguard.init() if state is None else state
  context = safeguard.context(state, context, population)
  reference = scores(system, params, encoded, population).score
  guard = guard._replace(reference=reference)
  output = scores(system, params, encoded, context)
  output = safeguard.reward(state, output, guard)
  return safeguard.policy(state, serve(output.score, guard), guard)


# ------------------------------------------------- what is kept of each person


def everybody(safeguard: types.Safeguard, people: int) -> types.PyTree:
  """Returns the states of U people to whom nothing was served, `[U, ...]`."""
  return jax.tree.map(
    lambda leaf: jnp.tile(leaf, (people, *[1] * jnp.ndim(leaf))),
    jax.tree.map(jnp.asarray, safeguard.init()),
  )


def reset(
  safeguard: types.Safeguard, states: types.PyTree, rows: types.ArrayLike
) -> types.PyTree:
  """Returns the states with these people as if nothing was ever served.

  Args:
    safeguard: whose states they are.
    states: leaves `[U, ...]`.
    rows: of the people.
  """
  blank = jax.tree.map(jnp.asarray, safeguard.init())
  where = jnp.asarray(rows)
  return jax.tree.map(lambda leaf, b: leaf.at[where].set(b), states, blank)


def inspect(
  safeguard: types.Safeguard, states: types.PyTree, row: int
) -> dict[str, Any]:
  """Returns what is kept of one person, as plain data, with the card.

  Args:
    safeguard: whose states they are.
    states: leaves `[U, ...]`.
    row: of the person.
  """

  def plain(path):
    return jax.tree_util.keystr(path).lstrip('.') or 'state'

  leaves = jax.tree_util.tree_leaves_with_path(states)
  return {
    'safeguard': safeguard.name,
    **safeguard.card._asdict(),
    'state': {
      plain(path): np.asarray(leaf)[row].tolist() for path, leaf in leaves
    },
  }


def measure_of(guard: types.Guard, name: str) -> types.Array:
  """Returns a measure of the candidates.

  Raises:
    KeyError: nobody measured it; those that were are named.
  """
  measures: Mapping[str, types.Array] = guard.measures
  if name not in measures:
    raise KeyError(
      f'no measure {name!r} of the candidates: one of {sorted(measures)}'
    )
  return measures[name]
