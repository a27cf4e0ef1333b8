"""One cell: a world, a method, its safeguards, and what they do."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.echo_chambers import methods, safety
from prm_jax.audits import echo_chamber, served, sycophancy
from prm_jax.lab import fitting
from prm_jax.safeguards import composition
from prm_jax.worlds import observed_stances, stances

NEIGHBOURS = 8  # of each person in the loop
_FRESH = {'fresh', 'carried'}  # audits on candidates on which nothing is set
_TASTES = len(stances.TASTES)
_LENGTH, _CONFIDENCE = map(stances.AXES.index, ('length', 'confidence'))

Record = dict[str, Any]


@functools.cache
def serve_by(draws: int) -> composition.Serve:
  """Returns best-of-n, or a tilt if there are no draws; one object each."""
  return composition.best_of(draws) if draws else composition.tilt


def label(draws: int) -> str:
  """Returns the name of a way to serve in tables."""
  return f'best_of_{draws}' if draws else 'tilt'


def run(
  config,
  condition: observed_stances.Condition,
  seed: int,
  choices: Mapping[str, fitting.Choice],
  safeguards: Sequence[str],
  *,
  draws: int = 0,
  rounds: int = 0,
) -> list[Record]:
  """Returns a record for each method and safeguard of one world.

  Args:
    config: of the study.
    condition: of the world.
    seed: of the world.
    choices: method -> what was chosen, the aggregate first.
    safeguards: of all but the aggregate.
    draws: of best-of-n; a tilt if 0.
    rounds: T of the closed loop; none if 0.
  """
  world = methods.world(config, condition, seed)
  fitted = methods.fit(config, world, choices)
  weight = fitted[methods.AGGREGATE].model.params['user'].mean
  bench = _Bench(config, world, weight, draws, rounds)
  audited = {config.safeguards[name].audited for name in safeguards}
  bare = ('none', 'none/fresh') if audited & _FRESH else ('none',)
  records = []
  for name, method in fitted.items():
    setting = _Setting(bench, method)
    for safeguard in bare if name == methods.AGGREGATE else safeguards:
      record = setting.record(config.safeguards[safeguard])
      records.append({'method': name, 'safeguard': safeguard, **record})
  head = {
    **condition._asdict(),
    'serve': label(draws),
    'seed': seed,
    'probe_accuracy': world.probe_accuracy,
  }
  return [{**head, **record} for record in records]


@dataclasses.dataclass
class _Bench:
  """What all methods of one world share.

  Attributes:
    config, world: of the cell.
    weight: of the frozen aggregate.
    draws, rounds: see `run`.
    beta: of the frozen aggregate, once it is set.
    reference: what the frozen aggregate serves, of the audit's candidates and
      of fresh ones, once it has served them.
  """

  config: Any
  world: observed_stances.World
  weight: jax.Array
  draws: int
  rounds: int
  beta: float | None = None
  reference: dict[bool, served.Served] = dataclasses.field(default_factory=dict)


class _Setting:
  """One method in one world, on the device; the aggregate comes first."""

  def __init__(self, bench: _Bench, method: methods.Method):
    world, model = bench.world, method.model
    self.method, self.bench = method, bench
    self.options = safety.options(model, world)
    self.calibration = self._prompts(world.calibration)
    self.audit = self._prompts(world.audit)
    contested = world.calibration.contested
    self.leaning = served.leanings(
      model,
      model.encode(world.calibration.features[:, contested]),
      world.calibration.measures['stance'][contested],
    )

  @functools.cached_property
  def fresh(self) -> served.Prompts:
    return self._prompts(self.bench.world.fresh)

  def _prompts(self, pool: observed_stances.Pool) -> served.Prompts:
    reference = jnp.asarray(pool.features) @ self.bench.weight
    return served.prompts(
      self.method.model, pool.features, pool.values, reference, pool.measures
    )

  def _under(self, parts, **how) -> tuple[served.Serving, served.Profiles]:
    """Returns how people are served under a safeguard, and everybody."""
    model, serve = self.method.model, serve_by(self.bench.draws)
    rule = served.Rule(model.system, safety.builder(parts), serve, **how)
    serving = served.Serving(rule, model, self.options, self.bench.beta)
    return serving, serving.profiles(self.bench.world.version, self.leaning)

  def record(self, safeguard) -> Record:
    """Returns what the method does under a safeguard of the configuration.

    On candidates on which nothing is set, if it is audited so. Strengths that
    are carried are found on the audit's candidates to the same prompts.
    """
    bench, parts, audited = self.bench, safeguard.parts, safeguard.audited
    fresh = audited in _FRESH
    after: Record = {}
    serving, everybody = self._under(parts, plain=audited == 'plain')
    beta = 1.0
    if not bench.draws:
      beta = serving.temperature(
        self.calibration, everybody, bench.config.divergence
      )
    if audited == 'carried':
      serving, everybody = self._under(parts[:-1])
      shown = serving.carry(self.audit, self.fresh, everybody, beta)
    elif fresh:
      shown = serving.expect(self.fresh, everybody, beta)
    else:
      state, after = self._loop(serving, beta)
      if audited == 'after_loop' and bench.rounds:
        everybody = everybody._replace(state=state)
      shown = serving.expect(self.audit, everybody, beta)
      after |= self._flips(serving, beta, everybody.state)
    bench.beta = beta if bench.beta is None else bench.beta
    reference = bench.reference.setdefault(fresh, shown)
    return {'beta': beta, **measures(bench.world, shown, reference), **after}

  def _flips(self, serving, beta: float, state) -> Record:
    """Returns the stance-flip gap on contested prompts.

    Between a person and their twin; where prompts say the stance, between the
    same person's prompts that say plus and minus.
    """
    world, leaning = self.bench.world, self.leaning
    said, twins = np.ones_like(world.version), self.method.twins
    ways = (world.version, None), (world.version, twins)
    if world.condition.stated:
      ways = (2 * said, None), (0 * said, None)
    pool = self.audit.take(world.audit.contested)
    plus, minus = (
      serving.expect(
        pool,
        serving.profiles(version, leaning, state=state, contexts=who),
        beta,
      ).axes[..., stances.STANCE]
      for version, who in ways
    )
    if world.condition.stated:
      gap = np.asarray(sycophancy.stance_flip_gap(plus, minus)).mean(1)
    else:
      opinion: Any = world.people.opinion
      gap = np.asarray(sycophancy.history_flip_gap(plus, minus, opinion))
    return _by_stratum('flip_gap', gap, world)

  def _loop(self, serving: served.Serving, beta: float) -> tuple[Any, Record]:
    """Returns the safeguard's states after the loop, and what it did."""
    bench, method = self.bench, self.method
    if not bench.rounds:
      return None, {}
    world, pool = bench.world, bench.world.fresh
    people, U = world.people, world.condition.people
    rng = np.random.default_rng([world.seed, 6])
    opinion = jnp.asarray(people.opinion, jnp.float32)
    everybody = echo_chamber.People(
      number=jnp.arange(U),
      weights=jnp.asarray(people.weights, jnp.float32),
      love=jnp.asarray(people.loves * people.strength, jnp.float32),
      opinion=opinion,
      innate=opinion,
      neighbours=jnp.asarray(rng.integers(0, U, (U, NEIGHBOURS))),
    )
    trace, state = serving.loop(
      jax.random.key(world.seed),
      everybody,
      self.fresh.menu(stances.STANCE),
      (method.beliefs, self.leaning),
      beta,
      rounds=bench.rounds,
      pool=bench.config.loop_pool,
      refit=method.refit,
      remember=method.remember,
    )
    truth = pool.values[..., stances.TRUTH]
    return state, echo_chamber.after_rounds(
      trace, people.opinion, truth, pool.contested, pool.factual
    )


def measures(
  world: observed_stances.World, mine: served.Served, reference: served.Served
) -> dict[str, float]:
  """Returns the hazards and the fit of what is served to everybody.

  Args:
    world: truth, people and prompts.
    mine: by the method.
    reference: by the frozen aggregate, unsafeguarded, of the same candidates.
  """
  people, pool, both = world.people, world.audit, (mine, reference)
  contested, factual = pool.contested, pool.factual
  fit, base = (
    (each.axes[..., :_TASTES].mean(1) * people.weights[:, :_TASTES]).sum(-1)
    for each in both
  )
  wrong, before = (
    sycophancy.agreement_on_false(
      jnp.asarray(each.axes[:, factual, stances.STANCE]),
      jnp.asarray(people.opinion),
      jnp.asarray(pool.side[factual]),
    )
    for each in both
  )
  half = sycophancy.halves(int(factual.sum()), seed=world.seed)
  systematic, per_prompt = sycophancy.stance_variance(
    jnp.asarray(mine.axes[:, contested, stances.STANCE]),
    sycophancy.halves(int(contested.sum()), seed=world.seed),
  )
  truth = np.asarray(mine.axes[:, factual, stances.TRUTH].mean(1))
  worst, added = (
    float(sycophancy.worst_decile_addition(value, half))
    for value in (wrong, wrong - before)
  )
  return {
    'fit': float(fit.mean()),
    **_by_stratum('fit_gain', fit - base, world),
    **_by_stratum('agreement_false', np.nanmean(wrong, 1), world),
    'agreement_false_worst': worst,
    'agreement_false_worst_added': added,
    'stance_variance': float(systematic),
    'stance_variance_per_prompt': float(per_prompt),
    **_by_stratum('truth', truth, world),
    'length': float(mine.axes[..., _LENGTH].mean()),
    'confidence': float(mine.axes[..., _CONFIDENCE].mean()),
    'divergence': float(mine.divergence.mean()),
  }


def _by_stratum(name: str, values: Any, world) -> dict[str, float]:
  """Returns the mean `[U]`, and of who loves agreement and who does not.

  NaN of nobody.
  """
  loves, found = world.people.loves > 0, {name: float(values.mean())}
  for who, chosen in (('lovers', loves), ('others', ~loves)):
    mean = np.nanmean(values[chosen]) if chosen.any() else np.nan
    found[f'{name}_{who}'] = float(mean)
  return found
