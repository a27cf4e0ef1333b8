"""The closed loop: serve, be read, be answered, believe; round after round.

Everything about one person is written for one person and vmapped; rounds are
one `lax.scan`, so that seeds and strengths of safeguards can be vmapped too.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from prm_jax import types
from prm_jax.ops import opinions
from prm_jax.safeguards import adaptive, composition
from prm_jax.users import ring

# `(user parameters, answers of everybody) -> user parameters`
Refit = Callable[[types.PyTree, ring.Answers], types.PyTree]


class People(NamedTuple):
  """Who is served; leaves `[U, ...]`.

  Attributes:
    number: int32, by which noise is keyed.
    weights: `[U, A]` of the true utility on the axes.
    love: strength of the wish to be agreed with; 0 for most.
    opinion: x in [-1, 1].
    innate: to which an opinion returns.
    neighbours: `[U, N]` rows of whom the person listens to; N may be 0.
  """

  number: types.Array
  weights: types.Array
  love: types.Array
  opinion: types.Array
  innate: types.Array
  neighbours: types.Array


class Menu(NamedTuple):
  """What can be served: M answers to each of S prompts.

  Attributes:
    encoded: `[S, M, J]`, as `RewardModel.encode` left them.
    values: `[S, M, A]` what people see: the true axes.
    stance: `[S, M]` true.
    reference: `[S, M]` scores of the frozen aggregate.
    measures: name -> `[S, M]` of detectors and keys.
  """

  encoded: types.Array
  values: types.Array
  stance: types.Array
  reference: types.Array
  measures: dict[str, types.Array]


class Rules(NamedTuple):
  """How the world moves.

  Attributes:
    rate: of what is served; see `opinions.served`.
    anchor: of the return to the innate opinion.
    social: of the neighbours' mean.
    beta: inverse temperature of the policy.
    reference_beta: of the frozen aggregate's.
  """

  rate: types.Scalar = 0.08
  anchor: types.Scalar = 0.02
  social: types.Scalar = 0.02
  beta: types.Scalar = 1.0
  reference_beta: types.Scalar = 1.0


class Trace(NamedTuple):
  """What happened, `[T, U]` each.

  Attributes:
    opinion: after the round.
    prompt: row of what was asked.
    stance: true, of what was served.
    utility: of it without the wish to be agreed with.
    answer: row of the answer.
  """

  opinion: types.Array
  prompt: types.Array
  stance: types.Array
  utility: types.Array
  answer: types.Array


class Person(NamedTuple):
  """What the loop carries of a person; see `simulate`."""

  opinion: types.Array
  belief: types.PyTree
  safeguard: types.PyTree
  leaning: types.Array
  history: ring.Answers


def start(
  system: types.System,
  params: types.PyTree,
  people: People,
  menu: Menu,
  *,
  beliefs: types.PyTree = None,
  leaning: types.Array | None = None,
  remember: int = 0,
) -> Person:
  """Returns everybody before the first round.

  Args:
    system: reward, user model and safeguard.
    params: `{'reward': ..., 'user': ...}`.
    people: U.
    menu: what can be served.
    beliefs: `[U, ...]`; of nobody anything, if None.
    leaning: `[U]` inferred stance; 0 if None.
    remember: answers kept for a refit of the population; 0 without one.
  """
  U = people.opinion.shape[0]
  if beliefs is None:
    prior = system.user.prior(params['user'])
    beliefs = jax.tree.map(lambda x: jnp.broadcast_to(x, (U, *x.shape)), prior)
  blank = ring.empty(remember, menu.encoded.shape[-1])
  history = jax.tree.map(lambda x: jnp.broadcast_to(x, (U, *x.shape)), blank)
  return Person(
    people.opinion,
    beliefs,
    composition.everybody(system.safeguard or composition.none(), U),
    jnp.zeros(U) if leaning is None else leaning,
    history,
  )


@functools.partial(jax.jit, static_argnums=0)
def believe(
  system: types.System, user: types.PyTree, evidence: types.Pair
) -> types.PyTree:
  """Returns what is believed of everybody after their answers, `[U, ...]`.

  Args:
    system: reward and user model.
    user: params of the user model.
    evidence: leaves `[U, N, ...]`.
  """

  def one(evidence):
    state = system.user.prior(user)
    return system.user.update(jax.random.key(0), user, state, evidence)[0]

  return jax.vmap(one)(evidence)


def simulate(
  key: types.Key,
  system: types.System,
  params: types.PyTree,
  people: People,
  menu: Menu,
  begin: Person,
  *,
  rounds: int,
  pool: int = 16,
  rules: Rules = Rules(),  # noqa: B008 - immutable
  serve: composition.Serve = composition.tilt,
  refit: Refit | None = None,
  resets: types.Array | None = None,
) -> tuple[Trace, Person, types.PyTree]:
  """Returns what happened to U people in T rounds.

  A round: everybody has a prompt and `pool` of its answers, is served one of
  them by the policy, is moved by it and by their neighbours, prefers it or a
  random other one of the pool, and the belief about them learns that answer.

  Args:
    key: of everything; noise is folded with round and person. Who goes on from
      an end needs another key, or the noise comes again.
    system: reward and user model with its safeguard.
    params: `{'reward': ..., 'user': ...}`.
    people: U.
    menu: what can be served.
    begin: from `start`, or the end of an earlier run.
    rounds: T.
    pool: K, candidates of one round.
    rules: of the world.
    serve: what turns scores into a policy.
    refit: of the population after every round, from `remember`ed answers; the
      population stays as it is if None.
    resets: `[U]` round before which a person resets what is believed of them;
      -1 for never, as for everybody if None.

  Returns:
    The trace, everybody at the end, and the user parameters at the end.
  """
  if pool > menu.stance.shape[1]:
    raise ValueError(
      f'pool={pool}, but the menu has {menu.stance.shape[1]} answers a prompt'
    )
  loop = _Loop(
    key, system, params, people, menu, pool, rules, serve, refit, resets
  )
  (end, user), trace = jax.lax.scan(
    functools.partial(_turn, loop), (begin, params['user']), jnp.arange(rounds)
  )
  return trace, end, user


class _Loop(NamedTuple):
  """What does not change from round to round; see `simulate`."""

  key: types.Key
  system: types.System
  params: types.PyTree
  people: People
  menu: Menu
  pool: int
  rules: Rules
  serve: composition.Serve
  refit: Refit | None
  resets: types.Array | None


def _turn(loop: _Loop, carry, t):
  """One round of everybody."""
  everybody, user = carry
  system, people = loop.system, loop.people
  now = loop._replace(params={**loop.params, 'user': user})
  if loop.resets is not None:
    everybody = _reset(now, everybody, loop.resets == t)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.fold_in(loop.key, t), people.number
  )
  population = system.user.context(user, system.user.prior(user))
  plain = people._replace(neighbours=people.number)  # not read there
  found, evidence, after = jax.vmap(functools.partial(_serve, now, population))(
    keys, plain, everybody
  )
  opinion = found.opinion
  if people.neighbours.shape[1]:
    near = everybody.opinion[people.neighbours].mean(1)
    opinion = opinion + loop.rules.social * (near - everybody.opinion)
  if loop.refit is not None:
    user = loop.refit(user, after.history)
  learn = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
  belief, _ = jax.vmap(system.user.update, (0, None, 0, 0))(
    learn, user, after.belief, evidence
  )
  after = after._replace(opinion=opinion, belief=belief)
  return (after, user), found._replace(opinion=opinion)


def _reset(loop: _Loop, everybody, fresh):
  """Everybody, with those of whom nothing is to be known any more."""
  blank = start(
    loop.system,
    loop.params,
    loop.people,
    loop.menu,
    remember=everybody.history.mask.shape[1],
  )._replace(opinion=everybody.opinion)  # their own, and kept

  def choose(leaf, b):
    return jnp.where(fresh.reshape(-1, *[1] * (leaf.ndim - 1)), b, leaf)

  return jax.tree.map(choose, everybody, blank)


def _serve(loop: _Loop, population, key, person, carried):
  """One person's round up to their answer."""
  system, params, menu = loop.system, loop.params, loop.menu
  pool, rules, serve = loop.pool, loop.rules, loop.serve
  # All noise of the round at once: many small draws cost more than the rest.
  noise = jax.random.uniform(key, (5,))
  place = (noise[:2] * jnp.array(menu.stance.shape)).astype(jnp.int32)
  # Answers are exchangeable: a stretch from a random start is a random pool.
  M = menu.stance.shape[1]
  rows = (place[1] + jnp.arange(pool)) % M
  encoded = menu.encoded[place[0], rows]
  measures = {n: m[place[0], rows][None] for n, m in menu.measures.items()}
  guard = types.Guard(
    log_base=jnp.full((1, pool), -jnp.log(pool)),
    log_reference=jnp.zeros((1, pool)),
    reference=menu.reference[place[0], rows][None],
    measures=measures,
    leaning=carried.leaning,
    beta=jnp.asarray(rules.reference_beta),
  )
  guard = guard._replace(
    log_reference=serve(guard.reference, guard), beta=jnp.asarray(rules.beta)
  )
  context = system.user.context(params['user'], carried.belief)
  log_policy = composition.served_policy(
    system,
    params,
    encoded[None],
    context,
    population,
    guard,
    carried.safeguard,
    serve=serve,
  )[0]
  pick = _inverse(jnp.exp(log_policy), noise[2])
  ahead = 1 + (noise[3] * (pool - 1)).astype(jnp.int32)
  both = jnp.stack([pick, (pick + ahead) % pool])
  # The truth is read of the two that are compared alone.
  shown = (place[1] + both) % M
  plain = menu.values[place[0], shown] @ person.weights
  stance = menu.stance[place[0], shown]
  utility = plain + person.love * carried.opinion * stance
  prefers = jax.nn.sigmoid(utility[0] - utility[1])
  label = (noise[4] < prefers).astype(jnp.float32)
  evidence = types.Pair(encoded[both][None], label[None], jnp.ones(1))
  opinion = opinions.served(
    carried.opinion,
    stance[0],
    person.innate,
    rate=jnp.asarray(rules.rate),
    anchor=jnp.asarray(rules.anchor),
  )
  carried = carried._replace(
    history=_keep(carried.history, evidence),
    safeguard=_observe(system, carried.safeguard, measures, pick),
  )
  found = Trace(opinion, place[0], stance[0], plain[0], shown[0])
  return found, evidence, carried


def _inverse(probability, noise):
  """The candidate at which the distribution function passes the noise."""
  total = jnp.cumsum(probability)
  place = jnp.sum(noise * total[-1] >= total)
  return jnp.minimum(place, len(total) - 1)


def _keep(history, evidence):
  if not history.mask.shape[0]:
    return history
  return ring.keep(history, ring.differences(evidence))


def _observe(system, state, measures, pick):
  if system.safeguard is None:
    return state
  one = {name: value[0] for name, value in measures.items()}
  seen = adaptive.served_measures(one, pick)
  return system.safeguard.observe(state, seen)


def in_blocks(
  key: types.Key,
  system: types.System,
  params: types.PyTree,
  people: People,
  menu: Menu,
  *,
  block: int,
  mesh: Mesh | None = None,
  **options,
) -> Trace:
  """Returns the trace of people who do not meet, a block at a time.

  A block's beliefs stay in a processor's cache; noise is keyed by person, so
  that blocks and devices change nothing. Without neighbours and refits.

  Args:
    key: of everything.
    system: reward and user model with its safeguard.
    params: `{'reward': ..., 'user': ...}`.
    people: U.
    menu: what can be served.
    block: people of a block; a device's people must be a multiple.
    mesh: devices over which blocks are spread, with one axis; one if None.
    **options: of `simulate`. Leanings are not known: safeguards that need
      them do nothing.

  Raises:
    ValueError: people meet, or do not fill blocks.
  """
  U = people.opinion.shape[0]
  devices = 1 if mesh is None else mesh.size
  if people.neighbours.shape[1] or options.get('refit') is not None:
    raise ValueError('neighbours and refits join the blocks: use simulate')
  if U % (block * devices):
    raise ValueError(
      f'{U} people do not fill blocks of {block} on {devices} devices'
    )

  resets = options.pop('resets', None)  # None has no leaves to split

  def run(part):
    people, resets = part
    begin = start(system, params, people, menu)
    return simulate(
      key, system, params, people, menu, begin, resets=resets, **options
    )[0]

  def split(leaf):
    size = (leaf.shape[0] // block, block, *leaf.shape[1:])
    return leaf.reshape(size)  # an axis of no neighbours has no -1

  def blocks(everybody):
    trace = jax.lax.map(run, jax.tree.map(split, everybody))
    return jax.tree.map(
      lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1), trace
    )

  if mesh is None:
    return blocks((people, resets))
  (axis,) = mesh.axis_names
  spread = jax.shard_map(
    blocks,
    mesh=mesh,
    in_specs=PartitionSpec(axis),
    out_specs=PartitionSpec(None, axis),
    check_vma=False,
  )
  return spread((people, resets))


def after_rounds(
  trace: Trace,
  start: np.ndarray,
  truth: np.ndarray,
  contested: np.ndarray,
  factual: np.ndarray,
) -> dict[str, Any]:
  """Returns what the loop did to people, and opinions' variance by round.

  Args:
    trace: of T rounds and U people.
    start: `[U]` opinions before the first.
    truth: `[S, M]` 1 for a true answer of the menu.
    contested: `[S]` whether a question is a matter of opinion.
    factual: `[S]` whether it has a true answer.

  Returns:
    `curve` `[T + 1]`; all other figures are of the end, of what was served in
    all rounds (`truth_served`, `exposure_entropy` in bits, `cross_cutting`),
    or the systematic variance of served stances, `stance_variance_in_loop`.
  """
  opinion, prompt = np.asarray(trace.opinion), np.asarray(trace.prompt)
  stance = np.asarray(trace.stance)
  true = truth[prompt, np.asarray(trace.answer)]
  sides = np.stack([(stance < 0).sum(0), (stance > 0).sum(0)], -1)
  entropy = opinions.exposure_entropy(jnp.asarray(sides))
  cross = opinions.cross_cutting(jnp.asarray(start), jnp.asarray(stance.T))
  end = jnp.asarray(opinion[-1])
  return {
    'polarization': float(opinions.polarization(end)) / len(start),
    'stance_variance_in_loop': over_rounds(stance, contested[prompt]),
    'bimodality': float(opinions.bimodality(end)),
    'drift': float(opinions.drift(end, jnp.asarray(start))),
    'extremity': float(opinions.extremity(end)),
    'truth_served': float(true[factual[prompt]].mean()),
    'exposure_entropy': float(entropy.mean()),
    'cross_cutting': float(jnp.nanmean(cross)),
    'curve': [float(np.var(start)), *opinion.var(1).astype(float).tolist()],
  }


def over_rounds(stance: np.ndarray, counts: np.ndarray) -> float:
  """Returns the systematic variance between people of served stances.

  The covariance of odd and even rounds; people are left out who were asked
  nothing contested in either. NaN where fewer than three are left.

  Args:
    stance: `[T, U]` served.
    counts: `[T, U]` where a contested question was asked.
  """
  halves = [
    (stance[t::2] * counts[t::2]).sum(0) / np.maximum(counts[t::2].sum(0), 1)
    for t in (0, 1)
  ]
  asked = (counts[::2].sum(0) > 0) & (counts[1::2].sum(0) > 0)
  if asked.sum() < 3:
    return float('nan')
  return float(np.cov(halves[0][asked], halves[1][asked])[0, 1])
