"""One problem: search inside the training rows, fit, predict, control."""

import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tqdm

from experiments.personalized_vs_aggregate import problems
from prm_jax import registry, types
from prm_jax.audits import controls
from prm_jax.learners import amortized, inference
from prm_jax.runtime import train
from prm_jax.users import latent

_FLIPPED = (10, 50)

Choice = Mapping[str, Any]


@functools.lru_cache(maxsize=32)
def _learner(options: tuple[tuple[str, Any], ...]) -> types.Learner:
  return registry.build('learner', dict(options))


class Fitted:
  """A method fitted to one problem."""

  def __init__(
    self,
    method: Mapping[str, Any],
    choice: Choice,
    problem: problems.Problem,
    training: types.Batch,
    sets: 'FeatureSets',
  ):
    features = sets[choice['features']]
    node, hyper = registry.fitting(
      method, {k: v for k, v in choice.items() if k != 'features'}
    )
    self.learner = _learner(tuple(sorted(node.items())))
    self.people = len(problem.user_ids)
    self.key = jax.random.key(problem.seed)
    self.features = features
    self.state = train.fit(
      self.learner, training.over(features), key=self.key,
      spec=types.Spec(features.shape[1], self.people), hyper=hyper,
    )  # fmt: skip

  def contexts(self, judged: types.Batch, limit: int | None = None):
    """Returns everybody's contexts from their unmasked judgements."""
    return inference.infer(
      self.learner.system,
      self.state.params,
      judged.over(self.features),
      key=self.key,
      people=self.people,
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


class FeatureSets:
  """Feature sets of a problem, made when they are asked for."""

  def __init__(self, problem: problems.Problem):
    self._makers, self._made = problem.features, dict[str, np.ndarray]()

  def __getitem__(self, name: str) -> np.ndarray:
    if name not in self._made:
      if name not in self._makers:
        known = ', '.join(self._makers)
        raise ValueError(f'unknown feature set {name!r}: one of {known}')
      self._made[name] = self._makers[name]()
    return self._made[name]


def role(node: Mapping[str, Any]) -> str | None:
  """Returns what the learner of a node says it is; see `registry.Entry`."""
  return registry.LEARNERS[node['kind']].role


def search(
  method: Mapping[str, Any],
  choices: tuple[Choice, ...],
  problem: problems.Problem,
  sets: FeatureSets,
  people: int,
) -> tuple[Choice, list[dict]]:
  """Returns the best choice inside the training rows, and all scores.

  The score is the mean negative log-likelihood of seen people's validation
  rows; the first choice wins a tie.

  Args:
    method: what the learner is built with.
    choices: the grid.
    problem: whose training rows are split once more.
    sets: its features.
    people: at most this many people are searched with.
  """
  if len(choices) == 1:
    return choices[0], []
  training = problem.inner != problems.UNUSED
  judged = problem.judged
  known = np.unique(judged.rows.user[training])
  chosen = np.random.default_rng(problem.seed).permutation(known)[:people]
  if len(chosen) < len(known):
    inside = np.flatnonzero(training & np.isin(judged.rows.user, chosen))
  else:  # the shapes of the final fit: nothing is compiled anew
    inside = np.arange(len(problem.inner))
  judged, role = judged.take(inside), problem.inner[inside]
  fitting = judged.masked(role == problems.FIT)
  validate = judged.take(role == problems.VALIDATE)
  # Hard answers are what is predicted, also where training labels are soft.
  label = validate.rows.label > 0.5
  scores = []
  for choice in choices:
    fitted = Fitted(method, choice, problem, fitting, sets)
    p = fitted.predict(fitted.contexts(fitting), validate)
    p = np.clip(np.where(label, p, 1 - p), 1e-7, 1)
    scores.append({**choice, 'nll': float(-np.mean(np.log(p)))})
  best = int(np.argmin([row['nll'] for row in scores]))
  return choices[best], scores


def run(config, problem: problems.Problem, grids) -> dict[str, Any]:
  """Returns what a problem's tables need: arrays and a JSON record.

  Args:
    config: the study's.
    problem: the split data.
    grids: method -> choices, and `people` for the search.

  Returns:
    `{'predictions': {key: [B]}, 'index': {split: rows}, 'record': {...}}`;
    keys are `method|split|answers|variant`.
  """
  sets, judged = FeatureSets(problem), problem.judged
  out: dict[str, np.ndarray] = {}
  record: dict[str, Any] = {}
  index = {
    split: np.flatnonzero(problem.split == split)
    for split in np.unique(problem.split)
    if split not in ('unused', problems.TRAIN, problems.CALIBRATION)
  }
  panel = _panel(config, problem)
  if 'new_people' in index:
    inside = np.isin(judged.rows.user[index['new_people']], panel)
    index['new_people'] = index['new_people'][inside]
  training = judged.masked(problem.split == problems.TRAIN)
  names = [name for name in config.methods if name in grids]
  plain = {'kind': 'aggregate'}
  for name in tqdm.tqdm([*names, 'length_only'], desc=problem.name):
    started = time.time()
    if name == 'length_only':
      method = plain
      choice: Choice = {'features': 'length', 'ridge': 1.0}
      scores: list[dict] = []
    else:
      method = config.methods[name].to_dict()
      choice, scores = search(
        method, grids[name], problem, sets, grids['people']
      )
    searched = time.time()
    fitted = Fitted(method, choice, problem, training, sets)
    record[name] = {
      'role': 'control' if name == 'length_only' else role(method),
      'choice': dict(choice),
      'scores': scores,
      'search_seconds': round(searched - started, 2),
      'fit_seconds': round(time.time() - searched, 2),
      **_collapse(fitted, training),
    }
    personal = record[name]['role'] == 'personal'
    for key, value in _predictions(
      config, problem, fitted, index, name, personal
    ):
      out[key] = value
  for split, chosen in index.items():
    out[f'majority_of_others|{split}|all|'] = controls.majority_of_others(
      judged.take(chosen), judged.take(problem.split == problems.TRAIN)
    )
  return {'predictions': out, 'index': index, 'record': record}


def _collapse(fitted: Fitted, training: types.Batch) -> dict[str, float]:
  """Returns the posterior-collapse diagnostics where there is a latent."""
  contexts = fitted.contexts(training)
  if not isinstance(contexts, latent.Context):
    return {}
  rows = training.rows
  known = np.unique(rows.user[np.asarray(rows.mask) > 0])
  found = amortized.collapse(jax.tree.map(lambda leaf: leaf[known], contexts))
  return found._asdict()


def _panel(config, problem: problems.Problem) -> np.ndarray:
  """Returns the new people with enough calibration answers."""
  calibration = problem.split == problems.CALIBRATION
  count = np.bincount(
    problem.judged.rows.user[calibration], minlength=len(problem.user_ids)
  )
  return np.flatnonzero(count >= config.panel_answers)


def _predictions(
  config, problem, fitted: Fitted, index, name: str, personal: bool
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields every prediction of one fitted method."""
  judged, user = problem.judged, problem.judged.rows.user
  contexts = fitted.contexts(judged.masked(problem.split == problems.TRAIN))
  nobody = fitted.contexts(judged.masked(np.zeros(len(user))))
  trained = np.unique(user[problem.split == problems.TRAIN])
  for split, chosen in index.items():
    asked = judged.take(chosen)
    if split == 'new_people':
      continue
    yield f'{name}|{split}|all|', fitted.predict(contexts, asked)
    if personal:
      swapped = controls.swapped_people(contexts, trained, seed=problem.seed)
      yield f'{name}|{split}|all|swapped', fitted.predict(swapped, asked)
      yield f'{name}|{split}|all|population', fitted.predict(nobody, asked)
    exchanged = controls.exchanged(asked)
    yield f'{name}|{split}|all|exchanged', fitted.predict(contexts, exchanged)
  if 'new_people' not in index:
    return
  asked = judged.take(index['new_people'])
  calibration = problem.split == problems.CALIBRATION
  answers = judged.masked(calibration)
  flipped = controls.flipped(answers)
  panel = np.unique(asked.rows.user)
  for count in config.answers:
    if not personal:
      # Nothing is learned from the answers: the same at every count.
      yield f'{name}|new_people|{count}|', fitted.predict(contexts, asked)
      continue
    known = fitted.contexts(answers, limit=count)
    yield f'{name}|new_people|{count}|', fitted.predict(known, asked)
    if count in _FLIPPED:
      swapped = controls.swapped_people(known, panel, seed=problem.seed)
      yield (
        f'{name}|new_people|{count}|swapped',
        fitted.predict(swapped, asked),
      )
      yield (
        f'{name}|new_people|{count}|population',
        fitted.predict(nobody, asked),
      )
      known = fitted.contexts(flipped, limit=count)
      yield f'{name}|new_people|{count}|flipped', fitted.predict(known, asked)
