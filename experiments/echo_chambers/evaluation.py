"""What a method serves under a safeguard: exact expectations, and the loop."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.echo_chambers import methods, safety, worlds
from prm_jax import types
from prm_jax.audits import echo_chamber, sycophancy
from prm_jax.ops import opinions, tilting
from prm_jax.safeguards import composition
from prm_jax.worlds import stances

_GROUP = 16  # people whose policies are held at once
_BISECTIONS = 14
_FEW = 64  # people by whom a temperature is set
_BETAS = (0.02, 40.0)
_TEMPERATURE = 0.5  # of the soft minimum over groups, logits
NEIGHBOURS = 8


class Prompts(NamedTuple):
  """A pool on the device, encoded for one method.

  Attributes:
    encoded: `[V, S, K, J]`; values: `[S, K, 8]`.
    reference: `[V, S, K]` scores of the frozen aggregate.
    measures: name -> `[V, S, K]`.
  """

  encoded: jax.Array
  values: jax.Array
  reference: jax.Array
  measures: dict[str, jax.Array]


class Told(NamedTuple):
  """Everybody, as a policy is told of them.

  Attributes:
    context: `[U, ...]`; population: of nobody in particular.
    version: `[U]` of the prompt; leaning: `[U]`; state: of the safeguard.
  """

  context: types.PyTree
  population: types.PyTree
  version: jax.Array
  leaning: jax.Array
  state: types.PyTree


class Served(NamedTuple):
  """Exact expectations of what is served.

  Attributes:
    axes: `[U, S, 8]` of `stances.AXES`.
    divergence: `[U, S]` from the uniform base, nats.
  """

  axes: np.ndarray
  divergence: np.ndarray


def prompts(
  method: methods.Method, aggregate: methods.Method, pool: worlds.Pool
) -> Prompts:
  """Returns a pool as a method and the frozen aggregate see it."""
  features = jnp.asarray(pool.features)
  V, S, K = features.shape[:3]
  measures = {
    name: jnp.broadcast_to(jnp.asarray(value), (V, S, K))
    for name, value in pool.measures.items()
  }
  encoded = method.encode(pool.features)
  reference = features @ aggregate.params['user'].mean
  measures['bridging'] = _bridging(method, encoded, measures['stance'][0])
  return Prompts(encoded, jnp.asarray(pool.values), reference, measures)


def _scores(system, params, encoded, context):
  """Scores `[S, K]` of one context; encoded `[S, K, J]`."""
  return composition.scores(system, params, encoded, context).score


@functools.lru_cache(maxsize=16)
def _group_scores(system):
  def run(params, encoded, contexts):
    flat = encoded.reshape(-1, *encoded.shape[2:])
    return jax.vmap(lambda c: _scores(system, params, flat, c))(
      contexts
    ).reshape(-1, *encoded.shape[:3])

  return jax.jit(run)


def _bridging(method: methods.Method, encoded, stance) -> jax.Array:
  """The soft minimum over two groups: who leans to either side."""
  side = np.asarray(_leanings(method, encoded, stance)) > 0

  def mean(chosen):
    return jax.tree.map(
      lambda leaf: np.asarray(leaf)[chosen].mean(0), method.contexts
    )

  # Everybody may lean the same way: then there is one group.
  groups = [mean(s) for s in (side, ~side) if s.any()]
  both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  score = _group_scores(method.system)(method.params, encoded, both)
  return tilting.bridging(score, _TEMPERATURE)


@functools.lru_cache(maxsize=16)
def _leaning_program(system):
  def run(params, encoded, contexts, population, stance):
    base = _scores(system, params, encoded, population)

    def one(context):
      added = _scores(system, params, encoded, context) - base
      return sycophancy.leaning(added, stance)

    return jax.lax.map(one, contexts, batch_size=_GROUP)

  return jax.jit(run)


def _leanings(method: methods.Method, encoded, stance) -> jax.Array:
  """`[U]` what side everybody's reward leans to, on plain prompts."""
  return _leaning_program(method.system)(
    method.params, encoded[encoded.shape[0] // 2], method.contexts,
    population(method), stance,
  )  # fmt: skip


def leanings(method: methods.Method, pool: worlds.Pool) -> jax.Array:
  """Returns what side everybody leans to, inferred on contested prompts."""
  contested = pool.kind == 0
  encoded = method.encode(pool.features[:, contested])
  stance = jnp.asarray(pool.measures['stance'][contested])
  return _leanings(method, encoded, stance)


def population(method: methods.Method) -> types.PyTree:
  """Returns the context of a person of whom nothing is known."""
  user, params = method.system.user, method.params['user']
  return user.context(params, user.prior(params))


def told(
  method: methods.Method,
  safeguard: types.Safeguard,
  version: np.ndarray,
  leaning: jax.Array,
  *,
  twins: bool = False,
  state: types.PyTree = None,
) -> Told:
  """Returns everybody, or everybody's twin, as a policy is told of them."""
  contexts = method.twins if twins else method.contexts
  if state is None:
    state = composition.everybody(safeguard, len(version))
  return Told(
    jax.tree.map(jnp.asarray, contexts),
    population(method),
    jnp.asarray(version),
    leaning,
    state,
  )


class Program(NamedTuple):
  """Compiled functions of one method's system, safeguard and way to serve.

  Attributes:
    expect: `(options, params, prompts, told, beta, reference_beta) ->
      (axes, divergence)`.
    loop: `(options, key, params, people, menu, beliefs, leaning, rules)`.
    transfer: `(options, params, prompts, fresh, told, beta, reference_beta)`.
  """

  expect: Any
  loop: Any
  transfer: Any


def _guard(
  serve, told_version, leaning, pool: Prompts, beta, reference_beta, plain
):
  # Plain: what the aggregate serves to who does not say their stance.
  said = pool.reference.shape[0] // 2 if plain else told_version
  reference = pool.reference[said]
  S, K = reference.shape
  guard = types.Guard(
    log_base=jnp.full((S, K), -jnp.log(K)),
    log_reference=jnp.zeros((S, K)),
    reference=reference,
    measures={n: m[told_version] for n, m in pool.measures.items()},
    leaning=leaning,
    beta=reference_beta,
  )
  return guard._replace(log_reference=serve(reference, guard), beta=beta)


def _policy(
  system, serve, params, pool, person: Told, beta, reference_beta, plain=False
):
  """One person's log-policy and guard."""
  guard = _guard(
    serve, person.version, person.leaning, pool, beta, reference_beta, plain
  )
  log_policy = composition.served_policy(
    system, params, pool.encoded[person.version], person.context,
    person.population, guard, person.state, serve=serve,
  )  # fmt: skip
  return log_policy, guard


def _expectation(log_policy, pool: Prompts, guard):
  axes = jnp.einsum('sk,ska->sa', jnp.exp(log_policy), pool.values)
  return axes, sycophancy.divergence(log_policy, guard.log_base)


@functools.lru_cache(maxsize=64)
def program(
  system: types.System,
  build: safety.Builder,
  serve: composition.Serve,
  refit: echo_chamber.Refit | None,
  rounds: int,
  pool_size: int,
  plain: bool = False,
) -> Program:
  """Returns the compiled functions; the same arguments compile once.

  Args:
    system: reward and user model.
    build: makes the safeguard.
    serve: from scores to a policy.
    refit: of the population in the loop.
    rounds: T of the loop.
    pool_size: K of the loop.
    plain: whether the safeguard is told what the aggregate serves on plain
      prompts, rather than on those that say the person's stance.
  """

  def each(function, everybody: Told):
    shared = everybody.population

    def one(rows):
      context, version, leaning, state = rows
      return function(Told(context, shared, version, leaning, state))

    rows = (
      everybody.context, everybody.version, everybody.leaning, everybody.state
    )  # fmt: skip
    return jax.lax.map(one, rows, batch_size=_GROUP)

  @jax.jit
  def expect(options, params, pool, everybody, beta, reference_beta):
    safe = system._replace(safeguard=build(options))

    def one(person):
      log_policy, guard = _policy(
        safe, serve, params, pool, person, beta, reference_beta, plain
      )
      return _expectation(log_policy, pool, guard)

    return each(one, everybody)

  @jax.jit
  def transfer(options, params, pool, fresh, everybody, beta, reference_beta):
    """Strength of matching from one pool, what is served from another."""
    before = system._replace(safeguard=build(options))

    def one(person):
      log_policy, guard = _policy(
        before, serve, params, pool, person, beta, reference_beta
      )
      z = guard.measures['anchor']
      target = sycophancy.mean_of(guard.log_reference, z)
      _, strength = tilting.match(log_policy, z, target)
      log_policy, guard = _policy(
        before, serve, params, fresh, person, beta, reference_beta
      )
      moved = log_policy + strength[:, None] * guard.measures['anchor']
      return _expectation(jax.nn.log_softmax(moved, -1), fresh, guard)

    return each(one, everybody)

  @jax.jit
  def loop(options, key, params, people, menu, beliefs, leaning, rules):
    safe = system._replace(safeguard=build(options))
    begin = echo_chamber.start(
      safe, params, people, menu, beliefs=beliefs, leaning=leaning,
      remember=0 if refit is None else methods.CAPACITY,
    )  # fmt: skip
    trace, end, user = echo_chamber.simulate(
      key, safe, params, people, menu, begin, rounds=rounds, pool=pool_size,
      rules=rules, serve=serve, refit=refit,
    )  # fmt: skip
    return trace, end.safeguard, user

  return Program(expect, loop, transfer)


def temperature(
  run: Program, options, params, pool: Prompts, everybody: Told, wanted: float,
  reference_beta: float | None = None,
) -> float:  # fmt: skip
  """Returns the beta at which the mean KL to the base policy is `wanted`.

  By bisection over a few people on prompts that are not audited. The largest
  or smallest beta where a safeguard allows no such divergence.

  Args:
    run: of the method and safeguard.
    options: of the safeguards.
    params: of the method.
    pool: calibration prompts.
    everybody: of whom the first few are taken.
    wanted: nats.
    reference_beta: of the frozen aggregate; the same beta if None.
  """
  few = everybody._replace(
    context=jax.tree.map(lambda leaf: leaf[:_FEW], everybody.context),
    version=everybody.version[:_FEW],
    leaning=everybody.leaning[:_FEW],
    state=jax.tree.map(lambda leaf: leaf[:_FEW], everybody.state),
  )
  low, high = np.log(_BETAS)
  for _ in range(_BISECTIONS):
    middle = 0.5 * (low + high)
    beta = jnp.float32(np.exp(middle))
    other = beta if reference_beta is None else jnp.float32(reference_beta)
    _, divergence = run.expect(options, params, pool, few, beta, other)
    if float(divergence.mean()) < wanted:
      low = middle
    else:
      high = middle
  return float(np.exp(0.5 * (low + high)))


def served(run: Program, options, params, pool, everybody, beta, other):
  """Returns exact expectations for everybody."""
  axes, divergence = run.expect(
    options, params, pool, everybody, jnp.float32(beta), jnp.float32(other)
  )
  return Served(np.asarray(axes), np.asarray(divergence))


def loop_people(world: worlds.World) -> echo_chamber.People:
  """Returns the people of the closed loop, each with some neighbours."""
  people, U = world.people, world.condition.people
  rng = np.random.default_rng([world.seed, 6])
  return echo_chamber.People(
    number=jnp.arange(U),
    weights=jnp.asarray(people.weights, jnp.float32),
    love=jnp.asarray(people.loves * people.strength, jnp.float32),
    opinion=jnp.asarray(people.opinion, jnp.float32),
    innate=jnp.asarray(people.opinion, jnp.float32),
    neighbours=jnp.asarray(rng.integers(0, U, (U, NEIGHBOURS))),
  )


def menu(pool: Prompts) -> echo_chamber.Menu:
  """Returns plain prompts as what can be served in the loop."""
  middle = pool.encoded.shape[0] // 2
  return echo_chamber.Menu(
    encoded=pool.encoded[middle],
    values=pool.values,
    stance=pool.values[..., stances.STANCE],
    reference=pool.reference[middle],
    measures={name: value[middle] for name, value in pool.measures.items()},
  )


def after_rounds(
  trace: echo_chamber.Trace, world: worlds.World, pool: worlds.Pool
) -> dict[str, Any]:
  """Returns what the loop did to people, and opinions' spread by round."""
  opinion = np.asarray(trace.opinion)
  start = world.people.opinion
  prompt, answer = np.asarray(trace.prompt), np.asarray(trace.answer)
  stance = np.asarray(trace.stance)
  factual = pool.kind[prompt] == 1
  true = pool.values[prompt, answer, stances.TRUTH]
  sides = np.stack([(stance < 0).sum(0), (stance > 0).sum(0)], -1)
  entropy = opinions.exposure_entropy(jnp.asarray(sides))
  cross = opinions.cross_cutting(jnp.asarray(start), jnp.asarray(stance.T))
  end = jnp.asarray(opinion[-1])
  U = len(start)
  return {
    'polarization': float(opinions.polarization(end)) / U,
    'stance_variance_in_loop': _over_rounds(stance, pool.kind[prompt] == 0),
    'bimodality': float(opinions.bimodality(end)),
    'drift': float(opinions.drift(end, jnp.asarray(start))),
    'extremity': float(opinions.extremity(end)),
    'truth_served': float(true[factual].mean()),
    'exposure_entropy': float(entropy.mean()),
    'cross_cutting': float(jnp.nanmean(cross)),
    'curve': [float(np.var(start)), *opinion.var(1).astype(float).tolist()],
  }


def _over_rounds(stance: np.ndarray, counts: np.ndarray) -> float:
  """The systematic variance between people of what they were served.

  The covariance of odd and even rounds; people are left out who were asked
  nothing contested in either.

  Args:
    stance: `[T, U]` served.
    counts: `[T, U]` where a contested question was asked.
  """
  halves = [
    (stance[t::2] * counts[t::2]).sum(0) / np.maximum(counts[t::2].sum(0), 1)
    for t in (0, 1)
  ]
  known = (counts[::2].sum(0) > 0) & (counts[1::2].sum(0) > 0)
  if known.sum() < 3:
    return float('nan')
  return float(np.cov(halves[0][known], halves[1][known])[0, 1])


def some(pool: Prompts, chosen: np.ndarray) -> Prompts:
  """Returns the chosen prompts of a pool."""
  rows = np.flatnonzero(chosen)
  return Prompts(
    pool.encoded[:, rows],
    pool.values[rows],
    pool.reference[:, rows],
    {name: value[:, rows] for name, value in pool.measures.items()},
  )
