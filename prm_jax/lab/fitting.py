"""One problem: search inside the training rows, fit, predict, control."""

import dataclasses
import functools
import time
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from prm_jax import registry, types
from prm_jax.audits import controls
from prm_jax.data import schema
from prm_jax.lab import units
from prm_jax.ops import margins
from prm_jax.runtime import train
from prm_jax.systems import amortization, inference
from prm_jax.users import latent

# Splits of rows. A new person answers `calibration` and is scored on splits
# that begin with `new_people`; a seen person is scored on the others.
TRAIN, CALIBRATION, NOT_USED = 'train', 'calibration', 'unused'
NEW_PEOPLE = 'new_people'
# Roles of training rows in the inner search: a row of VALIDATE + k validates in
# round k, and fits in the others.
UNUSED, FIT, VALIDATE = 0, 1, 2
BASELINE, LENGTH, MAJORITY = 'aggregate', 'length_only', 'majority_of_others'

Choice = Mapping[str, Any]


class Protocol(NamedTuple):
  """What is asked of every method.

  Attributes:
    answers: how many a new person has given, nested.
    panel_answers: a new person who is scored gives at least so many.
    controlled: after which of these new people's answers are swapped and
      reversed.
  """

  answers: tuple[int, ...]
  panel_answers: int
  controlled: tuple[int, ...] = (10, 50)


@dataclasses.dataclass(frozen=True)
class Problem:
  """One data set under one split.

  Attributes:
    data: its name in the tables.
    seed: of the split.
    fold: of the cross-fit, 0 where there is none.
    user_ids: U names.
    prompt_ids: M names, of each text's prompt.
    texts: M responses.
    unit: M names, of what each text is one of besides its author: a debate, a
      joke, a prompt. Results are to hold for new ones of these.
    units: what these are called.
    judged: judgements of the texts; a person's calibration answers come in
      order. Ties are scored, where a study scores them, and train nothing.
    split: `[n]` names.
    inner: `[n]` role of each training row in the inner search.
    features: name -> function that makes the table `[M, D]`.
    oracle: `[n]` true probability, or NaN where nobody knows.
    features_name: 'text', 'identity' or 'levels', for the tables.
    truth: makes what the truth says of the cell; empty where nobody knows.
    prompts: M texts, of each text's prompt; none where no method reads words.
  """

  data: str
  seed: int
  fold: int
  user_ids: list[str]
  prompt_ids: list[str]
  texts: list[str]
  unit: list[str]
  units: str
  judged: types.Batch
  split: np.ndarray
  inner: np.ndarray
  features: Mapping[str, Callable[[], np.ndarray]]
  oracle: np.ndarray
  features_name: str = 'text'
  truth: Callable[[], dict] = dict
  prompts: Sequence[str] = ()

  @property
  def name(self) -> str:
    """Returns the cell's name."""
    parts = (self.data, self.features_name, f'seed{self.seed}')
    return '-'.join((*parts, f'fold{self.fold}'))

  @property
  def strict(self) -> np.ndarray:
    """Returns `[n]` whether a row says which of two is better."""
    return np.asarray(self.judged.rows.label) != 0.5

  @property
  def training(self) -> types.Batch:
    """Returns all rows, of which those that train count."""
    return self.judged.masked((self.split == TRAIN) & self.strict)

  def index(self, protocol: Protocol) -> dict[str, np.ndarray]:
    """Returns the rows of every split that is scored; see `Protocol`."""
    known = (NOT_USED, TRAIN, CALIBRATION)
    user = np.asarray(self.judged.rows.user)
    given = (self.split == CALIBRATION) & self.strict
    count = np.bincount(user[given], minlength=len(self.user_ids))
    panel = np.flatnonzero(count >= protocol.panel_answers)
    found = {}
    for split in np.unique(self.split):
      if split in known:
        continue
      rows = np.flatnonzero(self.split == split)
      if str(split).startswith(NEW_PEOPLE):
        rows = rows[np.isin(user[rows], panel)]
      found[str(split)] = rows
    return found


def judgements(user, items, label) -> types.Batch:
  """Returns people's labels of pairs of texts, all of which count.

  Args:
    user: `[n]`, or one person for all.
    items: `[n, 2]`, or more where a pair has references.
    label: `[n]`, or one for all.
  """
  count = len(items)
  rows = types.Judgements(
    user=np.full(count, user, np.int32),
    label=np.full(count, label, np.float32),
    mask=np.ones(count, np.float32),
    example_id=np.arange(count, dtype=np.int32),
  )
  return types.Batch(rows, types.Inputs(None, np.asarray(items, np.int32)))


def of_table(table: schema.Judgements, **parts: Any) -> Problem:
  """Returns the problem of a table, all of whose judgements count.

  Args:
    table: people's judgements of texts.
    **parts: what else a `Problem` is; `fold` is 0, `oracle` unknown, and a
      text is one of its prompt's, unless they say otherwise.
  """
  prompt_ids = [table.prompt_ids[prompt] for prompt in table.item_prompt]
  known: dict[str, Any] = {
    'fold': 0,
    'oracle': np.full(len(table.user), np.nan),
    'unit': prompt_ids,
    'units': 'prompts',
    'prompts': table.prompt_texts,
  }
  return Problem(
    user_ids=table.user_ids,
    prompt_ids=prompt_ids,
    texts=table.texts,
    judged=judgements(table.user, table.items, table.label),
    **(known | parts),
  )


def of_judgements(
  judged: types.Batch,
  features: np.ndarray,
  *,
  people: int,
  seed: int,
  validates: np.ndarray | None = None,
) -> Problem:
  """Returns a problem of judgements alone, all of which train.

  Its features are called 'given'.

  Args:
    judged: N judgements.
    features: `[M, D]` that these point into.
    people: U.
    seed: of the problem.
    validates: `[N]` True for what a search is scored on; nothing if None.
  """
  N, M = len(judged.rows.user), len(features)
  none = np.zeros(N, bool) if validates is None else validates
  names = [''] * M
  return Problem(
    data='',
    seed=seed,
    fold=0,
    user_ids=[str(u) for u in range(people)],
    prompt_ids=names,
    texts=names,
    unit=names,
    units='',
    judged=judged,
    split=np.full(N, TRAIN),
    inner=np.where(none, VALIDATE, FIT),
    features={'given': lambda: features},
    oracle=np.full(N, np.nan),
  )


class FeatureSets:
  """Feature sets of a problem, made when they are asked for."""

  def __init__(self, problem: Problem):
    self._makers, self._made = problem.features, dict[str, np.ndarray]()

  def __getitem__(self, name: str) -> np.ndarray:
    if name not in self._made:
      if name not in self._makers:
        known = ', '.join(self._makers)
        raise ValueError(f'unknown feature set {name!r}: one of {known}')
      self._made[name] = self._makers[name]()
    return self._made[name]


@functools.lru_cache(maxsize=32)
def _learner(options: tuple[tuple[str, Any], ...]) -> types.Learner:
  return registry.build('learner', dict(options))


class Fitted:
  """A learner and its state, and everybody's contexts from their answers."""

  def __init__(
    self,
    learner: types.Learner,
    state: types.TrainState,
    features: np.ndarray,
    people: int,
    key: types.Key,
  ):
    self.learner, self.state, self.features = learner, state, features
    self._people, self._key = people, key

  @classmethod
  def fit(
    cls,
    method: Mapping[str, Any],
    choice: Choice,
    problem: Problem,
    training: types.Batch,
    sets: FeatureSets,
    change: Callable[[types.Learner], types.Learner] = lambda learner: learner,
  ) -> 'Fitted':
    """Returns a method fitted to one problem.

    Args:
      method: what the learner is built with.
      choice: of the features and searched numbers.
      problem: whose people and seed it is fitted with.
      training: judgements.
      sets: the problem's features.
      change: of the learner, such as a penalty on something of the world.
    """
    features = sets[choice['features']]
    node, hyper = registry.fitting(
      method, {k: v for k, v in choice.items() if k != 'features'}
    )
    learner = change(_learner(tuple(sorted(node.items()))))
    people, key = len(problem.user_ids), jax.random.key(problem.seed)
    state = train.fit(
      learner,
      training.over(features),
      key=key,
      spec=types.Spec(features.shape[1], people),
      hyper=hyper,
    )
    return cls(learner, state, features, people, key)

  def contexts(self, judged: types.Batch, limit: int | None = None):
    """Returns everybody's contexts from their unmasked judgements."""
    return inference.infer(
      self.learner.system,
      self.state.params,
      judged.over(self.features),
      key=self._key,
      people=self._people,
      limit=limit,
    )

  def predict(self, contexts, asked: types.Batch) -> np.ndarray:
    """Returns the probability `[B]` of every judgement."""
    return inference.predict(
      self.learner.system,
      self.state.params,
      contexts,
      asked.over(self.features),
    )


class Asked(typing.Protocol):
  """A fitted method, as `predictions` asks it."""

  def contexts(self, judged: types.Batch, limit: int | None = None) -> Any:
    """Returns everybody's contexts `[U, ...]` from unmasked judgements."""

  def predict(self, contexts: Any, asked: types.Batch) -> np.ndarray:
    """Returns the probability `[B]` of every judgement."""


# `(method, choice, problem, training, sets)`, as `Fitted.fit`.
Fit = Callable[..., Asked]


class First(NamedTuple):
  """A first look at all choices, after which a few of them are left.

  Successive halving (Jamieson and Talwalkar 2016). All people look at what is
  left: how strongly a basis of tastes is to be held depends on how many people
  it is learned from.

  Attributes:
    people: who are looked at.
    choices: that are left.
  """

  people: int
  choices: int


class Searched(NamedTuple):
  """What a search inside the training rows found.

  Attributes:
    choice: the best.
    scores: choice, `nll` and `people` of each that was tried; none if there is
      but one. Scores of fewer people are of those that fell out before.
    validate: probability of each validation row under the best, fitted to
      the other training rows; None if nothing was tried.
  """

  choice: Choice
  scores: list[dict]
  validate: np.ndarray | None


def search(
  method: Mapping[str, Any],
  choices: Sequence[Choice],
  problem: Problem,
  sets: FeatureSets,
  people: int,
  first: First | None = None,
  fit: Fit = Fitted.fit,
) -> Searched:
  """Returns the best choice inside the training rows.

  The score is the mean negative log-likelihood of seen people's validation
  rows; the first choice wins a tie.

  Args:
    method: what the learner is built with.
    choices: the grid.
    problem: whose training rows are split once more.
    sets: its features.
    people: at most this many people are searched with.
    first: a look at fewer people before; None to look at all at once.
    fit: of the method.
  """
  if len(choices) == 1:
    return Searched(choices[0], [], None)
  fell_out: list[dict] = []
  training = problem.judged.rows.user[problem.inner != UNUSED]
  known = min(people, len(np.unique(training)))
  if first and first.people < known:
    tried = _tried(method, choices, problem, sets, first.people, fit)
    order = np.argsort([score for score, _ in tried], kind='stable')
    left = np.sort(order[: first.choices])
    fell_out = [
      {**choices[i], 'nll': tried[i][0], 'people': first.people}
      for i in np.setdiff1d(order, left)
    ]
    choices = [choices[i] for i in left]
  tried = _tried(method, choices, problem, sets, people, fit)
  scores = [
    {**choice, 'nll': score, 'people': known}
    for choice, (score, _) in zip(choices, tried, strict=True)
  ]
  best = int(np.argmin([row['nll'] for row in scores]))
  return Searched(choices[best], [*scores, *fell_out], tried[best][1])


def _tried(
  method, choices, problem: Problem, sets, people: int, fit: Fit
) -> list[tuple[float, np.ndarray]]:
  """Returns each choice's score, and its probability of validation rows."""
  inside = searched_rows(problem, people)
  judged = problem.judged.take(inside)
  role, strict = problem.inner[inside], problem.strict[inside]
  validated = (role >= VALIDATE) & strict
  # Hard answers are what is predicted, also where training labels are soft.
  label = judged.rows.label[validated] > 0.5
  tried = []
  for choice in choices:
    p = np.zeros(len(inside))
    for round_ in np.unique(role[role >= VALIDATE]):
      here = role == round_
      fitting = judged.masked((role >= FIT) & ~here & strict)
      fitted = fit(method, choice, problem, fitting, sets)
      asked = judged.masked(here & strict)
      said = fitted.predict(fitted.contexts(fitting), asked)
      p[here] = said[here]
    p = p[validated]
    loss = margins.nll(margins.margin(p, label)) if len(p) else np.zeros(1)
    tried.append((float(np.mean(loss)), p))
  return tried


def searched_rows(problem: Problem, people: int) -> np.ndarray:
  """Returns the rows `[n]` that a search looks at.

  Args:
    problem: of which training rows are split once more.
    people: at most this many.
  """
  training = problem.inner != UNUSED
  user = problem.judged.rows.user
  known = np.unique(user[training])
  chosen = np.random.default_rng(problem.seed).permutation(known)[:people]
  if len(chosen) < len(known):
    return np.flatnonzero(training & np.isin(user, chosen))
  # The shapes of the final fit: nothing is compiled anew.
  return np.arange(len(problem.inner))


def method_unit(
  problem: Problem,
  protocol: Protocol,
  method: Mapping[str, Any],
  choices: Sequence[Choice],
  *,
  people: int,
  first: First | None = None,
  role: str | None = None,
  sets: FeatureSets | None = None,
  fit: Fit = Fitted.fit,
) -> units.Unit:
  """Returns what one method predicts of one problem, and how it was chosen.

  Arrays are `SPLIT|ANSWERS|VARIANT` `[B]`, a variant being '' or a control;
  `validate` as in `Searched`; and `training`, of the rows that train.

  Args:
    problem: the split data.
    protocol: what is asked.
    method: what the learner is built with.
    choices: the grid.
    people: at most this many are searched with.
    first: see `search`.
    role: instead of what the registry says.
    sets: the problem's features, if they are made.
    fit: of the method.
  """
  sets = sets or FeatureSets(problem)
  started = time.time()
  found = search(method, choices, problem, sets, people, first, fit)
  searched = time.time()
  fitted = fit(method, found.choice, problem, problem.training, sets)
  role = role or registry.LEARNERS[method['kind']].role
  record = {
    'role': role,
    'choice': dict(found.choice),
    'scores': found.scores,
    'search_seconds': round(searched - started, 2),
    'fit_seconds': round(time.time() - searched, 2),
    **_collapse(fitted, problem.training),
  }
  arrays = {
    key: np.asarray(p, np.float32)
    for key, p in predictions(problem, protocol, fitted, role == 'personal')
  }
  if found.validate is not None:
    arrays['validate'] = np.asarray(found.validate, np.float32)
  return units.Unit(record, arrays)


def rows_unit(problem: Problem, protocol: Protocol) -> units.Unit:
  """Returns what all methods' predictions of a problem are of.

  Arrays are, for each split `S`: `S#label`, `S#user`, `S#oracle`, `S#prompt`,
  and `S#unit` `[B, 2]`, of both texts; names of people, prompts and units;
  `judgements` `[U]` in training; and the majority's predictions.
  """
  rows, judged = problem.judged.rows, problem.judged
  arrays: dict[str, Any] = {
    'judgements': np.bincount(
      rows.user[problem.split == TRAIN], minlength=len(problem.user_ids)
    )
  }
  prompts, prompt_of = np.unique(problem.prompt_ids, return_inverse=True)
  names, unit_of = np.unique(problem.unit, return_inverse=True)
  training = judged.take(np.flatnonzero(problem.training.rows.mask > 0))
  for split, index in problem.index(protocol).items():
    texts = judged.inputs.index[index]
    arrays |= {
      f'{split}#label': rows.label[index],
      f'{split}#user': rows.user[index],
      f'{split}#oracle': problem.oracle[index].astype(np.float32),
      f'{split}#prompt': prompt_of[texts[:, 0]],
      f'{split}#unit': unit_of[texts].astype(np.int32),
      f'{MAJORITY}|{split}|all|': controls.majority_of_others(
        judged.take(index), training
      ).astype(np.float32),
    }
  arrays['user_ids'] = np.array(problem.user_ids)
  arrays['prompt_ids'], arrays['unit_names'] = prompts, names
  record = {
    'data': problem.data,
    'features': problem.features_name,
    'units': problem.units,
    'seed': problem.seed,
    **problem.truth(),
  }
  return units.Unit(record, arrays)


def predictions(
  problem: Problem, protocol: Protocol, fitted: Asked, personal: bool
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields every prediction of one fitted method; see `method_unit`."""
  judged = problem.judged
  contexts = fitted.contexts(problem.training)
  nobody = fitted.contexts(judged.masked(np.zeros(len(problem.split))))
  trained = np.unique(judged.rows.user[problem.split == TRAIN])
  index = problem.index(protocol)
  for split, chosen in index.items():
    asked = judged.take(chosen)
    if split.startswith(NEW_PEOPLE):
      continue
    yield f'{split}|all|', fitted.predict(contexts, asked)
    if personal and len(trained) > 1:
      swapped = controls.swapped_people(contexts, trained, seed=problem.seed)
      yield f'{split}|all|swapped', fitted.predict(swapped, asked)
    if personal:
      yield f'{split}|all|population', fitted.predict(nobody, asked)
    exchanged = controls.exchanged(asked)
    yield f'{split}|all|exchanged', fitted.predict(contexts, exchanged)
  for split, chosen in index.items():
    if split.startswith(NEW_PEOPLE) and len(chosen):
      yield from _new_people(
        problem, protocol, fitted, personal, split, judged.take(chosen), nobody
      )


def _new_people(problem, protocol, fitted, personal, split, asked, nobody):
  """Yields predictions of people of whom some answers are known."""
  given = (problem.split == CALIBRATION) & problem.strict
  answers = problem.judged.masked(given)
  flipped = controls.flipped(answers)
  panel = np.unique(asked.rows.user)
  if not personal:
    # Nothing is learned from the answers: the same at every count.
    same = fitted.predict(nobody, asked)
    yield from ((f'{split}|{count}|', same) for count in protocol.answers)
    return
  for count in protocol.answers:
    known = fitted.contexts(answers, limit=count)
    yield f'{split}|{count}|', fitted.predict(known, asked)
    if count in protocol.controlled:
      if len(panel) > 1:
        swapped = controls.swapped_people(known, panel, seed=problem.seed)
        yield f'{split}|{count}|swapped', fitted.predict(swapped, asked)
      yield f'{split}|{count}|population', fitted.predict(nobody, asked)
      known = fitted.contexts(flipped, limit=count)
      yield f'{split}|{count}|flipped', fitted.predict(known, asked)


def _collapse(fitted: Asked, training: types.Batch) -> dict[str, float]:
  """Returns the posterior-collapse diagnostics where there is a latent."""
  if not isinstance(fitted, Fitted):
    return {}
  contexts = fitted.contexts(training)
  if not isinstance(contexts, latent.Context):
    return {}
  rows = training.rows
  known = np.unique(rows.user[np.asarray(rows.mask) > 0])
  found = amortization.collapse(
    jax.tree.map(lambda leaf: leaf[known], contexts)
  )
  return found._asdict()
