"""What a system serves to everybody under a safeguard: exact expectations.

Candidates are K answers to each of S prompts, in V versions of what the prompt
says of the person; the middle version says nothing. Expectations are sums over
candidates, weighted by the policy, of what the candidates truly are.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.audits import echo_chamber, sycophancy
from prm_jax.ops import tilting
from prm_jax.safeguards import composition

_GROUP = 16  # people whose policies are held at once
_FEW = 64  # people by whom a temperature is set
_BETAS: dict[str, Any] = {'least': 0.02, 'most': 40.0, 'steps': 14}
_TEMPERATURE = 0.5  # of the soft minimum over groups, logits

# What safeguards need of a world, as arrays -> the safeguard.
Builder = Callable[[types.PyTree], types.Safeguard]


class Model(NamedTuple):
  """A fitted reward model, and everybody as it knows them.

  Attributes:
    system: reward and user model.
    params: `{'reward': ..., 'user': ...}`.
    contexts: `[U, ...]`.
  """

  system: types.System
  params: types.PyTree
  contexts: types.PyTree

  @property
  def population(self) -> types.PyTree:
    """Returns the context of a person of whom nothing is known."""
    user = self.params['user']
    return self.system.user.context(user, self.system.user.prior(user))

  def encode(self, features: types.ArrayLike) -> types.Array:
    """Returns encoded features `[..., J]`."""
    reward = self.params['reward']
    return self.system.reward.encode(reward, jnp.asarray(features))


class Prompts(NamedTuple):
  """Candidates on the device, encoded for one model.

  Attributes:
    encoded: `[V, S, K, J]`.
    values: `[S, K, A]` of true axes.
    reference: `[V, S, K]` scores of the frozen aggregate.
    measures: name -> `[V, S, K]` of detectors and keys.
  """

  encoded: types.Array
  values: types.Array
  reference: types.Array
  measures: dict[str, types.Array]

  def take(self, chosen: np.ndarray) -> 'Prompts':
    """Returns some of the prompts, `[S]` bool."""
    rows = np.flatnonzero(chosen)
    return Prompts(
      self.encoded[:, rows],
      self.values[rows],
      self.reference[:, rows],
      {name: value[:, rows] for name, value in self.measures.items()},
    )

  def menu(self, stance: int) -> echo_chamber.Menu:
    """Returns plain prompts as what is served in the closed loop.

    Args:
      stance: which of the axes it is.
    """
    plain = self.encoded.shape[0] // 2
    return echo_chamber.Menu(
      encoded=self.encoded[plain],
      values=self.values,
      stance=self.values[..., stance],
      reference=self.reference[plain],
      measures={name: value[plain] for name, value in self.measures.items()},
    )


class Profiles(NamedTuple):
  """What a policy reads of everybody.

  Attributes:
    context: `[U, ...]`.
    population: of nobody in particular.
    version: `[U]` of the prompts.
    leaning: `[U]` inferred stance.
    state: `[U, ...]` of the safeguard.
  """

  context: types.PyTree
  population: types.PyTree
  version: types.Array
  leaning: types.Array
  state: types.PyTree


class Served(NamedTuple):
  """Exact expectations of what is served.

  Attributes:
    axes: `[U, S, A]`.
    divergence: `[U, S]` from the uniform choice, nats.
  """

  axes: types.ArrayLike
  divergence: types.ArrayLike


class Rule(NamedTuple):
  """How people are served; the same rule is compiled once.

  Attributes:
    system: reward and user model.
    build: makes the safeguard.
    serve: from scores to a policy.
    plain: whether the safeguard is told what the aggregate serves on plain
      prompts, rather than on those that say the person's stance.
  """

  system: types.System
  build: Builder
  serve: composition.Serve = composition.tilt
  plain: bool = False

  def safe(self, options: types.PyTree) -> types.System:
    """Returns the system with its safeguard."""
    return self.system._replace(safeguard=self.build(options))


# ------------------------------------------------------------ what is encoded


def prompts(
  model: Model,
  features: np.ndarray,
  values: np.ndarray,
  reference: types.ArrayLike,
  measures: Mapping[str, np.ndarray],
) -> Prompts:
  """Returns candidates as a model sees them.

  Args:
    model: by whose rewards groups of people are told apart, for the measure
      `bridging`.
    features: `[V, S, K, D]`.
    values: `[S, K, A]`.
    reference: `[V, S, K]` scores of the frozen aggregate.
    measures: name -> `[S, K]`, `stance` among them.
  """
  shape = features.shape[:3]
  wide = {
    name: jnp.broadcast_to(jnp.asarray(value), shape)
    for name, value in measures.items()
  }
  encoded = model.encode(features)
  wide['bridging'] = _bridging(model, encoded, wide['stance'][0])
  return Prompts(encoded, jnp.asarray(values), jnp.asarray(reference), wide)


def leanings(
  model: Model, encoded: types.Array, stance: types.ArrayLike
) -> types.Array:
  """Returns what side everybody's reward leans to on plain prompts, `[U]`.

  Args:
    model: of everybody.
    encoded: `[V, S, K, J]`.
    stance: `[S, K]` detected.
  """
  plain = encoded[encoded.shape[0] // 2]
  return _lean(
    model.system,
    model.params,
    plain,
    model.contexts,
    model.population,
    jnp.asarray(stance),
  )


def _score(system, params, encoded, context) -> jax.Array:
  """Returns scores `[S, K]` of one context; encoded `[S, K, J]`."""
  return composition.scores(system, params, encoded, context).score


@functools.partial(jax.jit, static_argnums=0)
def _lean(system, params, encoded, contexts, population, stance):
  base = _score(system, params, encoded, population)

  def one(context):
    added = _score(system, params, encoded, context) - base
    return sycophancy.leaning(added, stance)

  return jax.lax.map(one, contexts, batch_size=_GROUP)


@functools.partial(jax.jit, static_argnums=0)
def _group_scores(system, params, encoded, contexts):
  flat = encoded.reshape(-1, *encoded.shape[2:])
  return jax.vmap(lambda context: _score(system, params, flat, context))(
    contexts
  ).reshape(-1, *encoded.shape[:3])


def _bridging(model: Model, encoded, stance) -> jax.Array:
  """Returns the soft minimum over two groups: who leans to either side."""
  right = np.asarray(leanings(model, encoded, stance)) > 0
  # Everybody may lean the same way: then there is one group.
  groups = [
    jax.tree.map(
      lambda leaf, side=side: np.asarray(leaf)[side].mean(0), model.contexts
    )
    for side in (right, ~right)
    if side.any()
  ]
  both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
  score = _group_scores(model.system, model.params, encoded, both)
  return tilting.bridging(score, _TEMPERATURE)


# ------------------------------------------------------------- what is served


class Serving(NamedTuple):
  """A model that serves everybody by a rule.

  Attributes:
    rule: of its system.
    model: with everybody's contexts.
    options: of the safeguard.
    reference_beta: inverse temperature of the frozen aggregate; None for the
      aggregate itself, whose own it is.
  """

  rule: Rule
  model: Model
  options: types.PyTree = None
  reference_beta: float | None = None

  def profiles(
    self,
    version: np.ndarray,
    leaning: types.Array,
    *,
    state: types.PyTree = None,
    contexts: types.PyTree = None,
  ) -> Profiles:
    """Returns everybody as a policy reads them.

    Args:
      version: `[U]` of the prompts.
      leaning: `[U]`.
      state: of the safeguard, `[U, ...]`; of people to whom nothing was
        served, if None.
      contexts: in place of the model's, such as of everybody's twin.
    """
    if state is None:
      safeguard = self.rule.build(self.options)
      state = composition.everybody(safeguard, len(version))
    contexts = self.model.contexts if contexts is None else contexts
    return Profiles(
      jax.tree.map(jnp.asarray, contexts),
      self.model.population,
      jnp.asarray(version),
      leaning,
      state,
    )

  def expect(self, pool: Prompts, everybody: Profiles, beta: float) -> Served:
    """Returns what everybody is served of every prompt.

    Args:
      pool: candidates.
      everybody: who is served.
      beta: inverse temperature.
    """
    served = self._expect(pool, everybody, beta)
    return Served(*map(np.asarray, served))

  def _expect(self, pool, everybody, beta) -> Served:
    return _expectations(self.rule, *self._given(beta), pool, everybody)

  def _given(self, beta):
    other = beta if self.reference_beta is None else self.reference_beta
    return self.options, self.model.params, beta, other

  def carry(
    self, pool: Prompts, fresh: Prompts, everybody: Profiles, beta: float
  ) -> Served:
    """Returns what is served of fresh candidates, matched by others' strength.

    As under `safeguards.policies.matching`, but that the strength on a prompt
    is the one found on other candidates to it. The rule is without it.

    Args:
      pool: candidates on which strengths are found.
      fresh: candidates that are served, to the same prompts.
      everybody: who is served.
      beta: inverse temperature.
    """
    served = _carry(self.rule, *self._given(beta), pool, fresh, everybody)
    return Served(*map(np.asarray, served))

  def temperature(
    self, pool: Prompts, everybody: Profiles, wanted: float
  ) -> float:
    """Returns the beta at which the mean KL to the uniform choice is `wanted`.

    By a few people. The largest or smallest beta where a safeguard allows no
    such divergence.

    Args:
      pool: candidates, better not those that are audited.
      everybody: of whom the first few are taken.
      wanted: nats.
    """
    few = jax.tree.map(
      lambda leaf: leaf[:_FEW], everybody._replace(population=None)
    )._replace(population=everybody.population)
    return tilting.inverse_temperature(
      lambda beta: self._expect(pool, few, beta).divergence.mean(),
      wanted,
      **_BETAS,
    )

  def loop(
    self,
    key: types.Key,
    people: echo_chamber.People,
    menu: echo_chamber.Menu,
    begin: tuple[types.PyTree, types.Array],
    beta: float,
    **how: Any,
  ) -> tuple[echo_chamber.Trace, types.PyTree]:
    """Returns what happened in the loop, and the safeguard's states after it.

    Args:
      key: of the loop.
      people: U.
      menu: what can be served.
      begin: everybody's beliefs `[U, ...]` and leanings `[U]` at the start.
      beta: inverse temperature.
      **how: `rounds` and `pool`, and perhaps `refit`, of
        `echo_chamber.simulate`, and `remember` of `start`.
    """
    options, params, *betas = self._given(beta)
    rules = echo_chamber.Rules(beta=betas[0], reference_beta=betas[1])
    return _loop(
      self.rule, options, params, rules, key, people, menu, begin, **how
    )


@functools.partial(
  jax.jit,
  static_argnums=0,
  static_argnames=('rounds', 'pool', 'refit', 'remember'),
)
def _loop(
  rule,
  options,
  params,
  rules,
  key,
  people,
  menu,
  begin,
  *,
  rounds,
  pool,
  refit=None,
  remember=0,
):
  safe = rule.safe(options)
  beliefs, leaning = begin
  remember = 0 if refit is None else remember
  start = echo_chamber.start(
    safe,
    params,
    people,
    menu,
    beliefs=beliefs,
    leaning=leaning,
    remember=remember,
  )
  trace, end, _ = echo_chamber.simulate(
    key,
    safe,
    params,
    people,
    menu,
    start,
    rounds=rounds,
    pool=pool,
    rules=rules,
    serve=rule.serve,
    refit=refit,
  )
  return trace, end.safeguard


def _guard(rule: Rule, person: Profiles, pool: Prompts, beta, reference_beta):
  # Plain: what the aggregate serves to who does not say their stance.
  said = pool.reference.shape[0] // 2 if rule.plain else person.version
  reference = pool.reference[said]
  S, K = reference.shape
  guard = types.Guard(
    log_base=jnp.full((S, K), -jnp.log(K)),
    log_reference=jnp.zeros((S, K)),
    reference=reference,
    measures={name: m[person.version] for name, m in pool.measures.items()},
    leaning=person.leaning,
    beta=reference_beta,
  )
  return guard._replace(log_reference=rule.serve(reference, guard), beta=beta)


def _policy(rule: Rule, safe, params, pool, person, beta, reference_beta):
  """Returns one person's log-policy `[S, K]` and guard."""
  guard = _guard(rule, person, pool, beta, reference_beta)
  log_policy = composition.served_policy(
    safe,
    params,
    pool.encoded[person.version],
    person.context,
    person.population,
    guard,
    person.state,
    serve=rule.serve,
  )
  return log_policy, guard


def _expectation(log_policy, pool: Prompts, guard):
  axes = jnp.einsum('sk,ska->sa', jnp.exp(log_policy), pool.values)
  return Served(axes, sycophancy.divergence(log_policy, guard.log_base))


def _each(function, everybody: Profiles):
  """Returns a function of every person, some people at a time."""
  population = everybody.population

  def one(rows):
    return function(rows._replace(population=population))

  rows = everybody._replace(population=None)
  return jax.lax.map(one, rows, batch_size=_GROUP)


@functools.partial(jax.jit, static_argnums=0)
def _expectations(
  rule, options, params, beta, reference_beta, pool, everybody
) -> Served:
  safe = rule.safe(options)

  def one(person):
    log_policy, guard = _policy(
      rule, safe, params, pool, person, beta, reference_beta
    )
    return _expectation(log_policy, pool, guard)

  return _each(one, everybody)


@functools.partial(jax.jit, static_argnums=0)
def _carry(
  rule, options, params, beta, reference_beta, pool, fresh, everybody
) -> Served:
  safe = rule.safe(options)

  def one(person):
    log_policy, guard = _policy(
      rule, safe, params, pool, person, beta, reference_beta
    )
    z = guard.measures['anchor']
    target = sycophancy.mean_of(guard.log_reference, z)
    _, strength = tilting.match(log_policy, z, target)
    log_policy, guard = _policy(
      rule, safe, params, fresh, person, beta, reference_beta
    )
    moved = log_policy + strength[:, None] * guard.measures['anchor']
    return _expectation(jax.nn.log_softmax(moved, -1), fresh, guard)

  return _each(one, everybody)
