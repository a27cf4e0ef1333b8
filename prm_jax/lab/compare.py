"""Does a personal reward model work better on these judgements? The protocol.

Every method that the data can bear is searched, fitted and asked in each fold
of `folds`, beside the aggregate, length and people's habits. A piece of work is
a unit on disk: a killed comparison goes on, and several processes share one.
"""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from prm_jax import adapting, registry, types
from prm_jax.audits import copies
from prm_jax.data import schema
from prm_jax.lab import (
  adapted_fits,
  fitting,
  folds,
  habits,
  rows,
  told,
  units,
  worded,
)
from prm_jax.runtime import checkpoint

_ANSWERS = (0, 1, 2, 5, 10, 20, 50)  # of a new person, nested
_PANEL = (50, 20, 10, 5)  # the most that half of the new people have given
# People that a search looks at: first, and for the choices that are left. Of
# methods that believe something of every column, one choice is left.
_FIRST, _SEARCHED, _LEFT = 150, 1000, 5
_REPLICATES = 1000
_TRIED = len(registry.grid(fitting.BASELINE))  # numbers of every method
_FLOATS, _MANY = 4e7, 1e7  # of everybody's beliefs
# Seconds on two cores: to compile a method, of a fit for every 10,000
# judgements, and of any fit.
_SECONDS = {'aggregate': (4.0, 0.05), 'aggregate_mlp': (4.0, 0.4)}
_PERSONAL_SECONDS = (6.0, 0.5)
_FIT = 0.15
_OPERATIONS = 5e10  # a second, of a language model


class Comparison(NamedTuple):
  """What was compared.

  Attributes:
    tables: of results.json.
    choice: 'method', 'features' and numbers of the model that validation rows
      chose, the aggregate among them.
    personal: the same of the best personal method, None if none was borne.
    notes: sentences.
    predictions: lines of predictions.jsonl.gz.
  """

  tables: dict[str, list[dict[str, Any]]]
  choice: dict[str, Any]
  personal: dict[str, Any] | None
  notes: list[str]
  predictions: Any


def run(
  data: folds.Data,
  folder: Path,
  *,
  digest: str,
  methods: Sequence[str] | None = None,
  options: Mapping[str, float] | None = None,
  plan: adapting.Plan | None = None,
  memory: float = math.inf,
) -> Comparison:
  """Returns the comparison, of which what is in `folder` is not done again.

  Args:
    data: what is compared on.
    folder: of units and of the configuration.
    digest: of the data file, and what else must not change meanwhile.
    methods: personal ones to compare, whatever data they need; all that the
      data can bear if None. Those of `worded` are compared where they are
      named, and the source of features is a language model.
    options: of methods of `worded`.
    plan: what trains of the language model, in fits beside those of the
      methods that are linear in a person's vector; None if it stays frozen.
    memory: gigabytes that the plan's states may take.

  Raises:
    ValueError: a method or an option is unknown, or there is nothing to train
      on, or no method that the plan is of.
    CheckpointError: the folder is of other data or another setting.
  """
  work = _Work(data, methods, options or {})
  if plan is not None:
    work.adapt(plan, memory)
  checkpoint.check_config(
    folder,
    {
      'data': digest,
      'features': data.source.name,
      'components': data.components,
      'seed': data.seed,
      'methods': sorted(work.methods),
      **{name: fit.settings for name, fit in work.worded.items()},
      **({'adapt': plan.described()} if plan else {}),
    },
  )
  work.folder = units.Folder(folder / 'units')
  made = work.all()
  print(work.estimate(len(made)), file=sys.stderr)
  work.folder.make_all(made, 'comparing')
  return work.results()


def _beside(name: str) -> str:
  """Returns what a method needs that a file of judgements does not hold."""
  if name in worded.METHODS:
    return 'tells a language model of people: give --backbone=FOLDER'
  beside = registry.LEARNERS[name].needs.beside
  return f'needs {", ".join(beside)} beside the judgements'


class _Work:
  """The cases of a comparison, and what is made of each."""

  folder: units.Folder  # where the work is kept, when all is checked

  def __init__(self, data: folds.Data, methods, options):
    people = len(data.judged.user_ids)
    if people < folds.FOLDS:
      said = 'one person' if people == 1 else f'{people} people'
      raise ValueError(
        f'{said} judged, and a comparison learns from some people and asks '
        f'others: it needs {folds.FOLDS} at least (prm train needs one)'
      )
    self.data = data
    self.regimes = folds.regimes(data.judged)
    self.cases = {
      f'{regime}-fold{fold}': folds.case(data, regime, fold)
      for regime in self.regimes
      for fold in range(folds.FOLDS)
    }
    self.sets = {
      name: fitting.FeatureSets(case.problem)
      for name, case in self.cases.items()
    }
    training = [case.problem.training.rows for case in self.cases.values()]
    self._counts = [np.bincount(said.user[said.mask > 0]) for said in training]
    if not all(count.sum() for count in self._counts):
      raise ValueError(
        'there is no judgement to train on that says which of two is better'
      )
    self.methods, self.left_out = self._borne(methods)
    self.worded = self._worded(options)
    self.protocol = self._protocol()
    self.adapted: list[str] = []  # methods that layers train with, too

  def _borne(self, asked) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns the methods that are compared, and who is left out and why."""
    known = registry.of_role('personal')
    reads = self.data.source.backbone is not None
    for name in asked or ():
      if name in worded.METHODS and not reads:
        raise ValueError(f'{name} {_beside(name)}')
      if name not in (*known, *worded.METHODS):
        raise ValueError(
          f'unknown method {name!r}: one of {sorted(known)}, and with '
          f'--backbone of {sorted(worded.METHODS)}'
        )
    left: list[dict[str, Any]] = [
      {'method': name, 'reason': 'not asked for' if reads else _beside(name)}
      for name in worded.METHODS
      if name not in (asked or ())
    ]
    if asked:
      left += [
        {'method': name, 'reason': 'not asked for'}
        for name in known
        if name not in asked
      ]
      return list(dict.fromkeys(asked)), left
    people = min(int((count > 0).sum()) for count in self._counts)
    answers = min(float(np.median(c[c > 0])) for c in self._counts)
    borne: list[str] = []
    for name in (*registry.of_role('aggregate'), *known):
      needs = registry.LEARNERS[name].needs
      if name == fitting.BASELINE:
        continue
      if needs.beside:
        left.append({'method': name, 'reason': _beside(name)})
        continue
      if people >= needs.people and answers >= needs.answers:
        borne.append(name)
        continue
      left.append(
        {
          'method': name,
          'reason': (
            f'needs {needs.people} people with {needs.answers} answers each '
            f'at the median to train on; {people} with {answers:g} are here'
          ),
        }
      )
    return borne, left

  def _worded(self, options) -> dict[str, worded.Fitter]:
    """Returns what fits the methods that a language model is told."""
    named = [name for name in self.methods if name in worded.METHODS]
    if not named:
      if options:
        raise ValueError(
          f'options {sorted(options)} are of {list(worded.METHODS)}, none of '
          'which is compared'
        )
      return {}
    assert self.data.source.backbone is not None  # `_borne` refuses
    return worded.fitters(self.data.source.backbone, named, options)

  def adapt(self, plan: adapting.Plan, memory: float) -> None:
    """Adds fits together with layers of the language model; see `run`."""
    self.adapted = adapted_fits.check(self.methods)
    data = self.data
    self._adapts = adapted_fits.Adapted(
      *(plan, data.source, data.judged, data.components, memory)
    )

  def _protocol(self) -> fitting.Protocol:
    """Returns how many answers of new people are asked for."""
    least = _PANEL[-1]
    for count in _PANEL:
      shares = []
      for case in self.cases.values():
        problem = case.problem
        given = (problem.split == fitting.CALIBRATION) & problem.strict
        user = problem.judged.rows.user
        said = np.bincount(user[given])
        many = said[said > 0] >= count
        shares.append(float(many.mean()) if many.size else 0.0)
      if np.mean(shares) >= 0.5:
        least = count
        break
    answers = tuple(a for a in _ANSWERS if a <= least)
    return fitting.Protocol(answers, least, (least,))

  # ------------------------------------------------------------------- units

  def all(self) -> dict[str, units.Make]:
    """Returns everything that is to be made, the aggregates first."""
    early: dict[str, units.Make] = {}
    late: dict[str, units.Make] = {}
    for name in self.cases:
      early[name] = functools.partial(self._rows, name)
      early[f'{name}.{fitting.BASELINE}'] = functools.partial(
        self._method, name, fitting.BASELINE
      )
    for method in (rows.TRAITS, fitting.LENGTH, *self.methods):
      for name in self.cases:
        make = functools.partial(self._method, name, method)
        if method == rows.TRAITS:
          make = functools.partial(self._habits, name)
        late[f'{name}.{method}'] = make
    for method in self.adapted:
      for name in self.cases:
        unit = f'{name}.{adapted_fits.name(method)}'
        late[unit] = functools.partial(self._adapted, name, method)
    return {**early, **late}

  def _rows(self, name: str) -> units.Unit:
    case = self.cases[name]
    unit = fitting.rows_unit(case.problem, self.protocol)
    regime, _, fold = name.partition('-fold')
    unit.record.update(regime=regime, fold=int(fold))
    return unit

  def _kinds(self, name: str, method: str = fitting.BASELINE) -> list[str]:
    """Returns the feature sets that a method chooses among.

    Known texts make beliefs as wide as there are texts, of methods that
    believe something of every column: too much to hold for many people.
    """
    found = list(folds.kinds(self.data, name.partition('-')[0]))
    if 'known_texts' in found and self._floats(method, found) > _FLOATS:
      found.remove('known_texts')
    return found

  def _floats(self, method: str, kinds: Sequence[str]) -> int:
    """Returns how many numbers everybody's beliefs are of, at most."""
    width = self.data.components + 1
    if 'known_texts' in kinds:
      width += len(self.data.judged.texts)
    return len(self.data.judged.user_ids) * _belief(method, width)

  def _first(self, name: str, method: str) -> fitting.First | None:
    """Returns how a search begins; the aggregate costs too little to save."""
    if method not in self.methods or method in self.worded:
      return None
    wide = self._floats(method, self._kinds(name, method)) > _MANY
    return fitting.First(_FIRST, 1 if wide else _LEFT)

  def _aggregate(self, name: str) -> units.Unit:
    """Returns the aggregate's unit, which others build on."""
    unit = f'{name}.{fitting.BASELINE}'
    make = functools.partial(self._method, name, fitting.BASELINE)
    self.folder.make(unit, make)
    return self.folder.read(unit)

  def _method(self, name: str, method: str) -> units.Unit:
    """Returns a method's unit; it starts from the best aggregate's ridge."""
    node, role = {'kind': method}, None
    choices: list[dict[str, Any]] = []
    if method in self.worded:
      role, choices = 'personal', self.worded[method].choices()
    elif method == fitting.LENGTH:
      node, role = {'kind': fitting.BASELINE}, 'control'
      choices = [
        {'features': 'length', **row} for row in registry.grid(fitting.BASELINE)
      ]
    else:
      ridges: dict[str, float] = {}
      if 'ridge' not in registry.grid(method)[0]:
        ridges = _best_ridges(self._aggregate(name).record['scores'])
      choices = [
        {
          'features': kind,
          **({'ridge': ridges[kind]} if ridges else {}),
          **numbers,
        }
        for kind in self._kinds(name, method)
        for numbers in registry.grid(method)
      ]
    return fitting.method_unit(
      self.cases[name].problem,
      self.protocol,
      node,
      choices,
      people=_SEARCHED,
      sets=self.sets[name],
      first=self._first(name, method),
      role=role,
      fit=self.worded.get(method, fitting.Fitted.fit),
    )

  def _adapted(self, name: str, method: str) -> units.Unit:
    """Returns the unit of a method with layers, of its frozen choice."""
    frozen = f'{name}.{method}'
    self.folder.make(frozen, functools.partial(self._method, name, method))
    return fitting.method_unit(
      self.cases[name].problem,
      self.protocol,
      {'kind': method},
      [self.folder.read(frozen).record['choice']],
      people=_SEARCHED,
      sets=self.sets[name],
      fit=self._adapts,
    )

  def _habits(self, name: str) -> units.Unit:
    case = self.cases[name]
    choice = self._aggregate(name).record['choice']
    return habits.unit(
      case.problem,
      self.protocol,
      choice,
      case.folds,
      people=_SEARCHED,
      sets=self.sets[name],
    )

  def estimate(self, count: int) -> str:
    """Returns about how long everything takes."""
    judged = np.mean([c.sum() for c in self._counts]) / 1e4
    people = max(len(self._counts[0]), 1)
    searched = min(1.0, _FIRST / people)
    if people > _FIRST:
      searched += min(1.0, _SEARCHED / people) * _LEFT / (3 * _TRIED)
    seconds = 0.0
    for name, case in self.cases.items():
      rounds = len(
        np.unique(case.problem.inner[case.problem.inner >= fitting.VALIDATE])
      )
      configurations = _TRIED * len(self._kinds(name)) * rounds
      for method in (fitting.BASELINE, *self.methods):
        start, each = _SECONDS.get(method, _PERSONAL_SECONDS)
        fits = 1 + configurations * searched
        if method in self.worded:
          seconds += self._worded_seconds(case.problem, method, rounds)
          continue
        seconds += start / len(self.cases) + each * judged * fits
        seconds += _FIT * (1 + configurations)
    left = sum(not self.folder.done(name) for name in self.all())
    minutes = max(1, round(seconds * left / count / 60))
    return (
      f'{left} of {count} pieces of work are left, about {minutes} minutes on '
      f'two cores: {len(self.methods)} methods, {len(self.cases)} folds'
      + (f'; beside {len(self.adapted)} with layers' if self.adapted else '')
    )

  def _worded_seconds(self, problem, method: str, rounds: int) -> float:
    fit = self.worded[method]
    if isinstance(fit, told.Plus):
      # A search tries a quarter of the steps, and all.
      return fit.operations(1 + 1.25 * rounds) / _OPERATIONS
    asked = sum(len(rows) for rows in problem.index(self.protocol).values())
    # Everybody's own, three controls, and new people at every count.
    each = asked * (3 + len(self.protocol.answers))
    each += 2 * int((problem.inner >= fitting.VALIDATE).sum())
    return fit.operations(each) / _OPERATIONS

  # ----------------------------------------------------------------- results

  def results(self) -> Comparison:
    """Returns tables of everything that was made."""
    names = [fitting.BASELINE, rows.TRAITS, fitting.LENGTH, *self.methods]
    cells = []
    for name in self.cases:
      cell = rows.read(self.folder, name, names)
      said = self.folder.read(f'{name}.{rows.TRAITS}').arrays
      both = dict(cell.arrays)
      for key in [k for k in said if k.endswith(f'|{rows.SHARED}')]:
        both[f'{rows.SHARED}|{key.removesuffix(rows.SHARED)}'] = said[key]
      cell.record['methods'][rows.SHARED] = {'role': 'control'}
      for method in self.methods:
        made = self.folder.read(f'{name}.{method}').arrays
        for key, values in habits.beside(made, said).items():
          both[f'{method}|{key}'] = values
      cells.append(cell._replace(arrays=both))
    groups = rows.group(cells)
    gain, person_gain = rows.gain_tables(groups, _REPLICATES)
    seen = (folds.NEW_PAIRS, folds.NEW_PROMPTS)
    gain += rows.gains_by_judgements(groups, seen, _REPLICATES)
    best = {regime: self._best(cells, regime) for regime in self.regimes}
    for row in gain:
      regime = folds.PROMPTS if 'prompts' in row['split'] else folds.PAIRS
      found = best[regime]['personal']
      row['chosen'] = bool(found and found['method'] == row['method'])
    problem = self.cases[f'{folds.PAIRS}-fold0'].problem
    base = {
      'data': self.data.name,
      'features': '',
      'method': 'data',
      'split': 'all',
      'answers': 'all',
    }
    tables = {
      'accuracy': rows.accuracy_table(groups, _REPLICATES),
      'gain': gain,
      'controls': [
        *rows.control_table(groups, _REPLICATES),
        *({**base, **row} for row in probes(self.data, problem)),
      ],
      'person_gain': person_gain,
      'calibration': rows.calibration_table(groups),
      'ties': habits.tie_table(groups),
      'traits': habits.trait_table(groups),
      'left_out': self.left_out,
      'choices': rows.choice_table(cells),
    }
    if self.adapted:
      tables['adapted'] = self._adapted_gains()
    last = best[self.regimes[-1]]
    return Comparison(
      tables,
      last['any'],
      last['personal'],
      self._notes(cells),
      rows.prediction_lines(groups),
    )

  def _adapted_gains(self) -> list[dict[str, Any]]:
    """Returns what layers gained, apart from the tables of the frozen model."""
    both = [*self.adapted, *map(adapted_fits.name, self.adapted)]
    groups = rows.group(
      [rows.read(self.folder, name, both) for name in self.cases]
    )
    return adapted_fits.table(groups, self.adapted, _REPLICATES)

  def _best(self, cells, regime: str) -> dict[str, Any]:
    """Returns what validation rows chose, of all and of personal methods."""
    records = [
      c.record['methods'] for c in cells if c.record['regime'] == regime
    ]
    chosen = sorted(
      (
        _choice(method, [record[method] for record in records])
        for method in (fitting.BASELINE, *self.methods)
      ),
      key=lambda choice: choice['nll'],
    )
    personal = (*registry.of_role('personal'), *worded.METHODS)
    # Memories are compared, and nothing trains them afterwards.
    return {
      'any': next(c for c in chosen if c['method'] in registry.LEARNERS),
      'personal': next((c for c in chosen if c['method'] in personal), None),
    }

  def _notes(self, cells) -> list[str]:
    problem = self.cases[f'{folds.PAIRS}-fold0'].problem
    judged = self.data.judged
    rated = isinstance(judged, schema.Ratings)
    said = 'ratings' if rated else 'judgements'
    notes = [
      f'{len(judged.user):,} {said} of {len(judged.texts):,} texts to '
      f'{len(judged.prompts):,} prompts by {len(judged.user_ids):,} people'
      + ('.' if rated else f'; {np.mean(~problem.strict):.0%} are ties.'),
      'Intervals resample everything that results are to hold for, people and '
      f'{cells[0].record["units"]} at once; choices were made on validation '
      'rows inside the training rows.',
    ]
    if self.regimes == (folds.PAIRS,):
      notes.append('There are too few prompts to say anything of new ones.')
    return notes


def _choice(
  method: str, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Returns a method's numbers, of scores that are averaged over folds.

  Where numbers fell out of a fold's search, the method's best there takes
  their place; those are chosen that fell out of the fewest.
  """
  # The aggregate's ridge, which others start from, varies by fold.
  told_ = method in worded.METHODS
  varied = worded.searched(method) if told_ else registry.grid(method)[0]
  own = sorted({'features', *varied})
  tried: dict[tuple, dict[int, dict[str, Any]]] = {}
  best: list[float] = []
  for fold, record in enumerate(records):
    most = max(row['people'] for row in record['scores'])
    last = [row for row in record['scores'] if row['people'] == most]
    best.append(min(row['nll'] for row in last))
    for row in last:
      tried.setdefault(tuple(row[name] for name in own), {})[fold] = row

  def score(rows) -> float:
    return float(
      np.mean([rows[f]['nll'] if f in rows else b for f, b in enumerate(best)])
    )

  rows = min(tried.values(), key=lambda rows: (-len(rows), score(rows)))
  choice = {'method': method, **next(iter(rows.values())), 'nll': score(rows)}
  if 'ridge' in choice:
    choice['ridge'] = float(np.median([row['ridge'] for row in rows.values()]))
  return choice


def probes(data: folds.Data, problem: fitting.Problem) -> list[dict[str, Any]]:
  """Returns leaks and copies of the data themselves, a row each.

  Args:
    data: what is compared on.
    problem: any of its folds.
  """
  found = rows.probes(problem, np.flatnonzero(problem.strict))
  if isinstance(data.judged, schema.Judgements):
    found += copies.rows(data.judged, data.copied)
  return found


@functools.cache
def _belief(method: str, width: int) -> int:
  """Returns how many numbers a context is of, with features of a width."""
  learner = registry.build('learner', {'kind': method})
  spec = types.Spec(width, 1)

  def context(key):
    user = learner.system.user
    params = learner.init(key, spec).params['user']
    return user.context(params, user.prior(params))

  found = jax.eval_shape(context, jax.random.key(0))
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(found))


def _best_ridges(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
  """Returns the aggregate's best ridge of every feature set."""
  found: dict[str, tuple[float, float]] = {}
  for row in scores:
    new = (row['nll'], row['ridge'])
    found[row['features']] = min(found.get(row['features'], new), new)
  return {name: ridge for name, (_, ridge) in found.items()}
