"""One cell: a world, a method, its safeguards, and what they do."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from experiments.echo_chambers import evaluation, methods, safety, worlds
from prm_jax.audits import echo_chamber, sycophancy
from prm_jax.safeguards import composition
from prm_jax.worlds import stances

_TASTES = len(stances.TASTES)
_LENGTH, _CONFIDENCE = map(stances.AXES.index, ('length', 'confidence'))
# One object each, so that a program is compiled once.
SERVES: dict[str, composition.Serve] = {'tilt': composition.tilt}


def serve_of(name: str) -> composition.Serve:
  """Returns a way to serve: 'tilt', or 'best_of_N'."""
  if name not in SERVES:
    SERVES[name] = composition.best_of(int(name.removeprefix('best_of_')))
  return SERVES[name]


def run(
  config: Any,
  condition: worlds.Condition,
  seed: int,
  names: dict[str, Sequence[str]],
  *,
  serve: str = 'tilt',
  rounds: int = 0,
) -> list[dict[str, Any]]:
  """Returns a record for each method and safeguard of one world.

  Args:
    config: of the study.
    condition: of the world.
    seed: of the world.
    names: method -> safeguards; the aggregate comes by itself.
    serve: 'tilt' or 'best_of_N'.
    rounds: T of the closed loop; none if 0.
  """
  world = worlds.make(config.sizes, condition, seed)
  fitted = methods.fit(config, world, tuple(names))
  builders = safety.builders(config.safeguards)
  aggregate = fitted['aggregate']
  bench = _Bench(config, world, aggregate, serve, rounds, builders)
  reference, record = bench.aggregate()
  records = [record]
  for name, safeguards in tqdm.tqdm(
    names.items(), desc=f'{condition.name} seed {seed} {serve}', leave=False
  ):
    records += bench.method(fitted[name], safeguards, reference)
  if any(s.endswith('/fresh') for row in names.values() for s in row):
    fresh = bench.fresh_reference
    found = measures(world, fresh, fresh)
    records.append({'method': 'aggregate', 'safeguard': 'none/fresh', **found})
  head = {
    **condition._asdict(), 'serve': serve, 'seed': seed,
    'probe_accuracy': world.probe_accuracy,
  }  # fmt: skip
  return [{**head, **record} for record in records]


class _Bench:
  """What all methods of one world share."""

  def __init__(self, config, world, aggregate, serve, rounds, builders):
    self.config, self.world, self.rounds = config, world, rounds
    self.builders, self.serve = builders, serve_of(serve)
    self.best_of_n = serve != 'tilt'
    self.frozen = aggregate
    self.beta = 1.0  # of the frozen aggregate

  def program(self, method, build, how=''):
    return evaluation.program(
      method.system, build, self.serve, method.refit, self.rounds,
      self.config.loop_pool, plain=how == 'plain',
    )  # fmt: skip

  def aggregate(self):
    """Returns what the frozen aggregate serves, and its record."""
    method, build = self.frozen, self.builders['none']
    setting = _Setting(self, method)
    run = self.program(method, build)
    everybody = setting.told(composition.none())
    if not self.best_of_n:
      self.beta = evaluation.temperature(
        run, setting.options, method.params, setting.calibration, everybody,
        self.config.divergence,
      )  # fmt: skip
    served = setting.serve(run, everybody, self.beta)
    record = {
      'method': 'aggregate', 'safeguard': 'none', 'beta': self.beta,
      **measures(self.world, served, served),
      **self.flips(setting, run, composition.none(), self.beta, None),
    }  # fmt: skip
    if self.rounds:
      _, after = self.loop(setting, run, self.beta)
      record |= after
    return served, record

  def method(self, method, safeguards, reference):
    setting = _Setting(self, method)
    for name in safeguards:
      kind, _, how = name.partition('/')
      if how == 'carried':
        found = self.carried(setting, kind)
      elif how == 'fresh':
        found = self.unprotected(setting, kind)
      else:
        found = self.protected(setting, kind, how, reference)
      yield {'method': method.name, 'safeguard': name, **found}

  def protected(self, setting, name, how, reference):
    """Returns the record of one safeguard.

    Args:
      setting: the method's.
      name: of the safeguard.
      how: 'plain' to hold it to the aggregate on plain prompts, or ''.
      reference: what the frozen aggregate serves.
    """
    method, build = setting.method, self.builders[name]
    run, safe = self.program(method, build, how), build(setting.options)
    everybody = setting.told(safe)
    beta, after = self.fitting_beta(setting, run, everybody), {}
    if self.rounds:
      state, after = self.loop(setting, run, beta)
      if name in safety.ADAPTIVE:
        everybody = everybody._replace(state=state)
    served = setting.serve(run, everybody, beta)
    return {
      'beta': beta,
      **measures(self.world, served, reference),
      **self.flips(setting, run, safe, beta, everybody.state),
      **after,
    }

  def fitting_beta(self, setting, run, everybody):
    if self.best_of_n:
      return 1.0
    return evaluation.temperature(
      run, setting.options, setting.method.params, setting.calibration,
      everybody, self.config.divergence, self.beta,
    )  # fmt: skip

  @functools.cached_property
  def fresh_reference(self):
    """Returns what the frozen aggregate serves of the fresh candidates."""
    setting = _Setting(self, self.frozen)
    run = self.program(self.frozen, self.builders['none'])
    everybody = setting.told(composition.none())
    return setting.serve(run, everybody, self.beta, setting.fresh)

  def unprotected(self, setting, name):
    """Returns the record on fresh candidates, of which no strength is set."""
    method, build = setting.method, self.builders[name]
    run = self.program(method, build)
    everybody = setting.told(build(setting.options))
    beta = self.fitting_beta(setting, run, everybody)
    served = setting.serve(run, everybody, beta, setting.fresh)
    return {'beta': beta, **measures(self.world, served, self.fresh_reference)}

  def carried(self, setting, name):
    """Returns the record of matching whose strength comes from other answers.

    The strength is found on the audit's candidates and applied to fresh ones
    to the same prompts, on which everything is measured.
    """
    method, params = setting.method, setting.method.params
    full = self.builders[name]
    everybody = setting.told(full(setting.options))
    beta = self.fitting_beta(setting, self.program(method, full), everybody)
    build = self.builders[safety.unprotected(name)]
    run = self.program(method, build)
    axes, divergence = run.transfer(
      setting.options, params, setting.audit, setting.fresh,
      setting.told(build(setting.options)),
      jnp.float32(beta), jnp.float32(self.beta),
    )  # fmt: skip
    served = evaluation.Served(np.asarray(axes), np.asarray(divergence))
    return {'beta': beta, **measures(self.world, served, self.fresh_reference)}

  def flips(self, setting, run, safe, beta, state):
    """Returns the stance-flip gap on contested prompts.

    Between a person and their twin; where prompts say the stance, between the
    same person's prompts that say plus and minus.
    """
    world, contested = self.world, self.world.audit.kind == 0
    if world.condition.stated:
      sides = [
        setting.told(safe, version=np.full(len(world.version), v), state=state)
        for v in (2, 0)
      ]
    else:
      sides = [
        setting.told(safe, twins=twins, state=state) for twins in (False, True)
      ]
    pool = evaluation.some(setting.audit, contested)
    plus, minus = (
      setting.serve(run, side, beta, pool).axes[..., stances.STANCE]
      for side in sides
    )
    if world.condition.stated:
      gap = 0.5 * (plus - minus).mean(1)
    else:
      gap = np.asarray(
        sycophancy.history_flip_gap(plus, minus, world.people.opinion)
      )
    loves = world.people.loves > 0
    return {'flip_gap': float(gap.mean()), **_strata('flip_gap', gap, loves)}

  def loop(self, setting, run, beta):
    """Returns the safeguards' states after the loop, and what it did."""
    world, method = self.world, setting.method
    rules = echo_chamber.Rules(
      beta=jnp.float32(beta), reference_beta=jnp.float32(self.beta)
    )
    trace, state, _ = run.loop(
      setting.options, jax.random.key(world.seed), method.params,
      evaluation.loop_people(world), evaluation.menu(setting.fresh),
      method.beliefs,
      setting.leaning, rules,
    )  # fmt: skip
    return state, evaluation.after_rounds(trace, world, world.fresh)


class _Setting:
  """One method in one world, on the device."""

  def __init__(self, bench: _Bench, method: methods.Method):
    self.bench, self.method = bench, method
    world, frozen = bench.world, bench.frozen
    self.options = safety.options(method, world)
    self.calibration = evaluation.prompts(method, frozen, world.calibration)
    self.audit = evaluation.prompts(method, frozen, world.audit)
    self.leaning = evaluation.leanings(method, world.calibration)

  @functools.cached_property
  def fresh(self):
    return evaluation.prompts(
      self.method, self.bench.frozen, self.bench.world.fresh
    )

  def told(self, safe, *, version=None, twins=False, state=None):
    version = self.bench.world.version if version is None else version
    return evaluation.told(
      self.method, safe, version, self.leaning, twins=twins, state=state
    )

  def serve(self, run, everybody, beta, pool=None):
    pool = self.audit if pool is None else pool
    return evaluation.served(
      run, self.options, self.method.params, pool, everybody, beta,
      self.bench.beta,
    )  # fmt: skip


def _strata(name: str, values: np.ndarray, loves: np.ndarray) -> dict:
  """Returns means over who loves agreement and who does not; NaN of nobody."""
  return {
    f'{name}_{who}': float(np.nanmean(values[chosen]))
    if chosen.any()
    else float('nan')
    for who, chosen in (('lovers', loves), ('others', ~loves))
  }


def measures(
  world: worlds.World,
  served: evaluation.Served,
  reference: evaluation.Served,
) -> dict[str, float]:
  """Returns the hazards and the fit of what is served to everybody.

  Args:
    world: truth, people and prompts.
    served: by the method.
    reference: by the frozen aggregate, unsafeguarded, of the same candidates.
  """
  people, pool = world.people, world.audit
  contested, factual = pool.kind == 0, pool.kind == 1
  loves = people.loves > 0
  gain = _taste(world, served) - _taste(world, reference)
  wrong, before = (_agreement(world, each) for each in (served, reference))
  half = sycophancy.halves(int(factual.sum()), seed=world.seed)
  systematic, per_prompt = sycophancy.stance_variance(
    jnp.asarray(served.axes[:, contested, stances.STANCE]),
    sycophancy.halves(int(contested.sum()), seed=world.seed),
  )
  mine = np.nanmean(wrong, 1)
  truth = served.axes[:, factual, stances.TRUTH].mean(1)
  worst, added = (
    float(sycophancy.worst_decile_addition(value, half))
    for value in (wrong, wrong - before)
  )
  return {
    'fit': float(_taste(world, served).mean()),
    'fit_gain': float(gain.mean()),
    **_strata('fit_gain', gain, loves),
    'agreement_false': float(mine.mean()),
    **_strata('agreement_false', mine, loves),
    'agreement_false_worst': worst,
    'agreement_false_worst_added': added,
    'stance_variance': float(systematic),
    'stance_variance_per_prompt': float(per_prompt),
    'truth': float(truth.mean()),
    **_strata('truth', truth, loves),
    'length': float(served.axes[..., _LENGTH].mean()),
    'confidence': float(served.axes[..., _CONFIDENCE].mean()),
    'divergence': float(served.divergence.mean()),
  }


def _agreement(world, served) -> jax.Array:
  """Returns agreement on what a person is wrong about, `[U, S]`."""
  factual = world.audit.kind == 1
  return sycophancy.agreement_on_false(
    jnp.asarray(served.axes[:, factual, stances.STANCE]),
    jnp.asarray(world.people.opinion),
    jnp.asarray(world.audit.side[factual]),
  )


def _taste(world, served) -> np.ndarray:
  """Returns each person's mean utility of the tastes that are served, `[U]`."""
  mean = served.axes[..., :_TASTES].mean(1)
  return (mean * world.people.weights[:, :_TASTES]).sum(-1)
