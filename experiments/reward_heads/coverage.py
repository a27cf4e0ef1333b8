"""What methods say of margins of people who are held out, and how surely."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from experiments.personalized_vs_aggregate import problems
from prm_jax import registry, types
from prm_jax.data import load
from prm_jax.lab import fitting, units
from prm_jax.models import features
from prm_jax.ops import bayes
from prm_jax.ops.heads import choices
from prm_jax.systems import inference, states
from prm_jax.worlds import attributes

FAMILIAR, NEW = 'familiar', 'new'  # topics
_BLOCK = 1024  # rows of which contexts are gathered at once
_POPULATION = 'gaussian'
_DATA = f'attributes_{_POPULATION}'


def held_out(
  config: Any, kind: str, seed: int, source: features.Source
) -> units.Unit:
  """Returns the margins of held-out people, true and believed.

  A held-out person's first answers are known; asked are others of theirs, on
  topics of the training people (familiar), and on topics that nobody has
  answered (new). `true_prior` is the method 'hierarchical' told the
  population's true mean and covariance. Numbers are searched inside the
  training people's rows.
  Arrays: `TOPICS#truth`, `#label`, `#user` and `#prompt` `[B]`; and
  `TOPICS|METHOD|ANSWERS|mean`, `|deviation` and `|probability` `[B]`, margins
  in logits.

  Args:
    config: of the study.
    kind: of features, 'levels' or 'text'.
    seed: of the world, and of who is held out.
    source: of features of text.
  """
  node = config.coverage
  made = problems.problems(node.world, _DATA, seed, source)
  problem = next(p for p in made if p.features_name == kind)
  sets = fitting.FeatureSets(problem)
  rows = tested(problem, known=max(node.answers), most=node.asked)
  arrays = dict(_truth(problem, rows))
  record: dict[str, Any] = {'features': kind, 'seed': seed, 'methods': {}}
  for name, method in node.methods.items():
    found = fitting.search(
      dict(method),
      [dict(choice) for choice in node.choices[kind][name]],
      problem,
      sets,
      node.people_searched,
    )
    fitted = fitting.Fitted.fit(
      dict(method), found.choice, problem, problem.training, sets
    )
    record['methods'][name] = dict(found.choice)
    own = registry.LEARNERS[method['kind']].role == 'personal'
    answers = tuple(node.answers) if own else (0,)
    for key, array in believed(fitted, problem, rows, answers):
      arrays[key.format(method=name)] = array
    if name == 'hierarchical' and kind == 'levels':
      told = _under(fitted, true_prior(node.world, problem, seed))
      for key, array in believed(told, problem, rows, answers):
        arrays[key.format(method='true_prior')] = array
  return units.Unit(record, arrays)


def true_prior(
  world: Any, problem: fitting.Problem, seed: int
) -> bayes.GaussianPrior:
  """Returns mean and covariance of everybody's true weights of levels.

  Nobody can know them: what intervals miss under them is the approximation's,
  and what they miss besides that is the estimated prior's.

  Args:
    world: configuration of the simulated people.
    problem: made of them.
    seed: of the world.
  """
  options = problems.attributes_options(world, _POPULATION, seed)
  known = attributes.truth(load.attributes_world(**options))
  weights = np.stack([known.weights[name] for name in problem.user_ids])
  weights = known.scale * weights
  covariance = np.cov(weights.T) + 1e-6 * np.eye(weights.shape[1])
  return bayes.GaussianPrior(
    jnp.asarray(weights.mean(0), jnp.float32),
    jnp.asarray(np.linalg.cholesky(covariance), jnp.float32),
  )


def _under(
  fitted: fitting.Fitted, prior: bayes.GaussianPrior
) -> fitting.Fitted:
  """Returns a fit whose people start from another prior."""
  people, key = len(fitted.state.people.weight), jax.random.key(0)
  state = states.with_user(fitted.state, prior)
  return fitting.Fitted(fitted.learner, state, fitted.features, people, key)


def tested(
  problem: fitting.Problem, *, known: int, most: int
) -> dict[str, np.ndarray]:
  """Returns the rows of held-out people that are asked, by topics.

  Args:
    problem: where held-out people's answers come in order.
    known: the first answers of a person, which are never asked.
    most: rows of a person, by topics.
  """
  user = np.asarray(problem.judged.rows.user)
  found = {}
  for topics, split, first in (
    (FAMILIAR, fitting.CALIBRATION, known),
    (NEW, fitting.NEW_PEOPLE, 0),
  ):
    rows = np.flatnonzero((problem.split == split) & problem.strict)
    place = _place(user[rows])
    found[topics] = rows[(place >= first) & (place < first + most)]
  return found


def _place(user: np.ndarray) -> np.ndarray:
  """Returns which of its person's rows each is, `[n]` from 0."""
  order = np.argsort(user, kind='stable')
  start = np.searchsorted(user[order], user[order])
  place = np.empty(len(user), int)
  place[order] = np.arange(len(user)) - start
  return place


def _truth(problem, rows) -> Iterator[tuple[str, np.ndarray]]:
  """Yields what is known of the rows that are asked."""
  judged = problem.judged
  for topics, chosen in rows.items():
    texts = np.asarray(judged.inputs.index)[chosen, 0]
    prompts = np.unique(problem.prompt_ids, return_inverse=True)[1]
    yield f'{topics}#truth', special.logit(problem.oracle[chosen])
    yield f'{topics}#label', np.asarray(judged.rows.label)[chosen]
    yield f'{topics}#user', np.asarray(judged.rows.user)[chosen]
    yield f'{topics}#prompt', prompts[texts]


def believed(
  fitted: fitting.Fitted,
  problem: fitting.Problem,
  rows: Mapping[str, np.ndarray],
  answers: tuple[int, ...],
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields what a method believes of margins, `[B]` each; see `held_out`.

  Args:
    fitted: method.
    problem: that it was fitted to.
    rows: that are asked, by topics.
    answers: how many of a person's first are known.
  """
  given = (problem.split == fitting.CALIBRATION) & problem.strict
  judged = problem.judged
  for count in answers:
    contexts = fitted.contexts(judged.masked(given), limit=count)
    for topics, chosen in rows.items():
      found = margins(
        fitted.learner.system,
        fitted.state.params,
        contexts,
        judged.take(chosen).over(fitted.features),
      )
      for name, array in found.items():
        yield f'{topics}|{{method}}|{count}|{name}', array


def margins(
  system: types.System,
  params: types.PyTree,
  contexts: types.PyTree,
  asked: types.Batch,
) -> dict[str, np.ndarray]:
  """Returns `mean`, `deviation` and `probability` of margins, `[B]` each.

  The deviation is of the difference of both scores, all of whose covariance
  counts; the probability is moderated by it.

  Args:
    system: whose reward has a covariance.
    params: `{'reward': ..., 'user': ...}`.
    contexts: of every person, `[U, ...]`.
    asked: rows of pairs.
  """
  encoded = inference.encode(system, params, asked.inputs.value)
  user, index = np.asarray(asked.rows.user), np.asarray(asked.inputs.index)
  count, parts = len(user), []
  for first in range(0, count, _BLOCK):
    rows = np.minimum(np.arange(first, first + _BLOCK), count - 1)
    chosen = jax.tree.map(lambda leaf: leaf[user[rows]], contexts)  # noqa: B023
    pair = jax.tree.map(lambda leaf: leaf[index[rows]], encoded)  # noqa: B023
    parts.append(_compared(system)(params['reward'], pair, chosen))
  names = ('mean', 'deviation', 'probability')
  return {
    name: np.concatenate([np.asarray(part[i]) for part in parts])[:count]
    for i, name in enumerate(names)
  }


@functools.lru_cache(maxsize=16)
def _compared(system: types.System):
  """The compiled margins of a system whose reward has a covariance."""

  def compare(params, pair, context):
    output = system.reward.score(params, pair, context)
    assert output.covariance is not None
    C = output.covariance
    variance = C[:, 0, 0] + C[:, 1, 1] - C[:, 0, 1] - C[:, 1, 0]
    deviation = jnp.sqrt(jnp.maximum(variance, 0.0))
    apart = output.score[:, 0] - output.score[:, 1]
    return apart, deviation, choices.pair_probability(output)

  return jax.jit(compare)
