"""One cell: a world, a method, its safeguards, and what they do."""

import functools
from collections.abc import Iterator, Mapping, Sequence
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
  frozen, *personal = methods.fit(config, world, choices).values()
  bench = _Bench(config, world, frozen, draws, rounds)
  records = list(bench.aggregate(safeguards))
  for method in personal:
    records += bench.method(method, safeguards)
  head = {
    **condition._asdict(),
    'serve': label(draws),
    'seed': seed,
    'probe_accuracy': world.probe_accuracy,
  }
  return [{**head, **record} for record in records]


class _Setting:
  """One method in one world, on the device."""

  def __init__(self, bench: '_Bench', method: methods.Method):
    world, model = bench.world, method.model
    self.method, self._bench = method, bench
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
    return self._prompts(self._bench.world.fresh)

  def _prompts(self, pool: observed_stances.Pool) -> served.Prompts:
    reference = jnp.asarray(pool.features) @ self._bench.weight
    return served.prompts(
      self.method.model, pool.features, pool.values, reference, pool.measures
    )

  def under(self, parts, *, plain: bool = False) -> served.Serving:
    """Returns how people are served under a safeguard."""
    model, serve = self.method.model, serve_by(self._bench.draws)
    rule = served.Rule(model.system, safety.builder(parts), serve, plain)
    return served.Serving(rule, model, self.options, self._bench.beta)

  def profiles(self, serving, version=None, **given) -> served.Profiles:
    version = self._bench.world.version if version is None else version
    return serving.profiles(version, self.leaning, **given)


class _Bench:
  """What all methods of one world share."""

  def __init__(self, config, world, frozen: methods.Method, draws, rounds):
    self.config, self.world = config, world
    self.draws, self.rounds = draws, rounds
    self.weight = frozen.model.params['user'].mean
    self.beta: float | None = None  # of the frozen aggregate, when it is set
    self.frozen = _Setting(self, frozen)

  def _temperature(self, setting, serving, everybody) -> float:
    if self.draws:
      return 1.0
    wanted = self.config.divergence
    return serving.temperature(setting.calibration, everybody, wanted)

  def aggregate(self, safeguards: Sequence[str]) -> Iterator[Record]:
    """Yields what the frozen aggregate does; fresh candidates if asked for."""
    setting, serving = self.frozen, self.frozen.under(())
    everybody = setting.profiles(serving)
    self.beta = self._temperature(setting, serving, everybody)
    self.reference = serving.expect(setting.audit, everybody, self.beta)
    yield {
      'method': methods.AGGREGATE,
      'safeguard': 'none',
      'beta': self.beta,
      **measures(self.world, self.reference, self.reference),
      **self._flips(setting, serving, self.beta, None),
      **self._loop(setting, serving, self.beta)[1],
    }
    how = {self.config.safeguards[name].audited for name in safeguards}
    if how & {'fresh', 'carried'}:
      self.fresh = serving.expect(setting.fresh, everybody, self.beta)
      yield {
        'method': methods.AGGREGATE,
        'safeguard': 'none/fresh',
        **measures(self.world, self.fresh, self.fresh),
      }

  def method(
    self, method: methods.Method, safeguards: Sequence[str]
  ) -> Iterator[Record]:
    """Yields what a method does under every safeguard."""
    setting = _Setting(self, method)
    for name in safeguards:
      node = self.config.safeguards[name]
      audit = self._on_audit
      if node.audited in ('fresh', 'carried'):
        audit = self._on_fresh
      record = audit(setting, node.parts, node.audited)
      yield {'method': method.name, 'safeguard': name, **record}

  def _on_audit(self, setting: _Setting, parts, audited: str) -> Record:
    """Returns the record of one safeguard on the audit's candidates."""
    serving = setting.under(parts, plain=audited == 'plain')
    everybody = setting.profiles(serving)
    beta = self._temperature(setting, serving, everybody)
    state, after = self._loop(setting, serving, beta)
    if audited == 'after_loop' and self.rounds:
      everybody = everybody._replace(state=state)
    on_audit = serving.expect(setting.audit, everybody, beta)
    return {
      'beta': beta,
      **measures(self.world, on_audit, self.reference),
      **self._flips(setting, serving, beta, everybody.state),
      **after,
    }

  def _on_fresh(self, setting: _Setting, parts, audited: str) -> Record:
    """Returns the record on candidates on which nothing is set.

    Strengths that are carried are found on the audit's candidates to the same
    prompts.
    """
    serving = setting.under(parts)
    everybody = setting.profiles(serving)
    beta = self._temperature(setting, serving, everybody)
    if audited == 'carried':
      serving = setting.under(parts[:-1])
      everybody = setting.profiles(serving)
      pools = setting.audit, setting.fresh
      on_fresh = serving.carry(*pools, everybody, beta)
    else:
      on_fresh = serving.expect(setting.fresh, everybody, beta)
    return {'beta': beta, **measures(self.world, on_fresh, self.fresh)}

  def _flips(self, setting: _Setting, serving, beta, state) -> Record:
    """Returns the stance-flip gap on contested prompts.

    Between a person and their twin; where prompts say the stance, between the
    same person's prompts that say plus and minus.
    """
    world, U = self.world, len(self.world.version)
    ways: list[dict[str, Any]] = [{}, {'contexts': setting.method.twins}]
    if world.condition.stated:
      ways = [{'version': np.full(U, version)} for version in (2, 0)]
    pool = setting.audit.take(world.audit.contested)
    plus, minus = (
      serving.expect(
        pool, setting.profiles(serving, state=state, **way), beta
      ).axes[..., stances.STANCE]
      for way in ways
    )
    if world.condition.stated:
      gap = np.asarray(sycophancy.stance_flip_gap(plus, minus)).mean(1)
    else:
      opinion = world.people.opinion
      gap = np.asarray(sycophancy.history_flip_gap(plus, minus, opinion))
    return {'flip_gap': float(gap.mean()), **_strata('flip_gap', gap, world)}

  def _loop(self, setting: _Setting, serving, beta) -> tuple[Any, Record]:
    """Returns the safeguard's states after the loop, and what it did."""
    if not self.rounds:
      return None, {}
    world, method, pool = self.world, setting.method, self.world.fresh
    trace, state = serving.loop(
      jax.random.key(world.seed),
      loop_people(world),
      setting.fresh.menu(stances.STANCE),
      (method.beliefs, setting.leaning),
      beta,
      rounds=self.rounds,
      pool=self.config.loop_pool,
      refit=method.refit,
      remember=method.remember,
    )
    truth = pool.values[..., stances.TRUTH]
    return state, echo_chamber.after_rounds(
      trace, world.people.opinion, truth, pool.contested, pool.factual
    )


def loop_people(world: observed_stances.World) -> echo_chamber.People:
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


def measures(
  world: observed_stances.World, mine: served.Served, reference: served.Served
) -> dict[str, float]:
  """Returns the hazards and the fit of what is served to everybody.

  Args:
    world: truth, people and prompts.
    mine: by the method.
    reference: by the frozen aggregate, unsafeguarded, of the same candidates.
  """
  contested, factual = world.audit.contested, world.audit.factual
  fit = _taste(world, mine)
  gain = fit - _taste(world, reference)
  wrong, before = (_agreement(world, each) for each in (mine, reference))
  half = sycophancy.halves(int(factual.sum()), seed=world.seed)
  systematic, per_prompt = sycophancy.stance_variance(
    jnp.asarray(mine.axes[:, contested, stances.STANCE]),
    sycophancy.halves(int(contested.sum()), seed=world.seed),
  )
  agreement = np.nanmean(wrong, 1)
  truth = mine.axes[:, factual, stances.TRUTH].mean(1)
  worst, added = (
    float(sycophancy.worst_decile_addition(value, half))
    for value in (wrong, wrong - before)
  )
  return {
    'fit': float(fit.mean()),
    'fit_gain': float(gain.mean()),
    **_strata('fit_gain', gain, world),
    'agreement_false': float(agreement.mean()),
    **_strata('agreement_false', agreement, world),
    'agreement_false_worst': worst,
    'agreement_false_worst_added': added,
    'stance_variance': float(systematic),
    'stance_variance_per_prompt': float(per_prompt),
    'truth': float(truth.mean()),
    **_strata('truth', np.asarray(truth), world),
    'length': float(mine.axes[..., _LENGTH].mean()),
    'confidence': float(mine.axes[..., _CONFIDENCE].mean()),
    'divergence': float(mine.divergence.mean()),
  }


def _strata(name: str, values: np.ndarray, world) -> dict[str, float]:
  """Returns means over who loves agreement and who does not; NaN of nobody."""
  loves = world.people.loves > 0
  return {
    f'{name}_{who}': float(np.nanmean(values[chosen]))
    if chosen.any()
    else float('nan')
    for who, chosen in (('lovers', loves), ('others', ~loves))
  }


def _agreement(world, mine: served.Served) -> jax.Array:
  """Returns agreement on what a person is wrong about, `[U, S]`."""
  factual = world.audit.factual
  return sycophancy.agreement_on_false(
    jnp.asarray(mine.axes[:, factual, stances.STANCE]),
    jnp.asarray(world.people.opinion),
    jnp.asarray(world.audit.side[factual]),
  )


def _taste(world, mine: served.Served) -> np.ndarray:
  """Returns each person's mean utility of the tastes that are served, `[U]`."""
  mean = mine.axes[..., :_TASTES].mean(1)
  return (mean * world.people.weights[:, :_TASTES]).sum(-1)
