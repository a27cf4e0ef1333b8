"""New people who judge AlpacaEval's responses, 52 to each prompt."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from experiments import alpaca_world
from experiments.personalized_vs_aggregate import problems
from prm_jax.lab import asking, fitting
from prm_jax.worlds import responses

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


class Choosing(NamedTuple):
  """One trained setting, and what limits it.

  Attributes:
    setting: new people, questions and menus.
    limits: name -> `[U, S, K]` scores of who knows every weight, but must read
      the texts through something: `best_features`, the best linear reading of
      the features; `best_coefficients`, the person's best coefficients in the
      learned bases.
  """

  setting: asking.Setting
  limits: dict[str, np.ndarray]


def settings(config, seed: int, embed) -> Iterator[Choosing]:
  """Yields settings with true levels as features, and with the encoder's."""
  problem = next(problems.problems(config, 'alpaca_eval', seed, embed))
  found = alpaca_world.of(config, seed)
  world = found.world
  asked = _asked(config, problem, found)
  train = ~found.held_out
  weights = world.weights[asked.new]
  utility = weights @ world.values.T
  true_levels = dataclasses.replace(
    problem,
    features={'levels': lambda: world.values.astype(np.float32)},
    features_name='levels',
  )

  def limit(columns, targets, mixing):
    read = read_out(columns, targets, found.item_prompt, train)
    return np.einsum('ska,ua->usk', read[asked.menus], mixing)

  for kind, chosen in (('levels', true_levels), ('text', problem)):
    name = config.search[kind].pref[0]['features']
    best = limit(chosen.features[name](), world.values, weights)
    everybody = np.eye(len(asked.new))
    grids = config.search[kind]
    for setting in asking.trained(config, chosen, asked, grids):
      bases = limit(setting.encoded, utility.T, everybody)
      yield Choosing(
        setting, {'best_features': best, 'best_coefficients': bases}
      )


def _asked(config, problem, found: alpaca_world.Found) -> asking.Asked:
  world = found.world
  new = np.unique(
    problem.judged.rows.user[problem.split == fitting.CALIBRATION]
  )
  weights = world.weights[new]

  def margins(items):
    gap = world.values[items[:, 0]] - world.values[items[:, 1]]
    return world.scale * weights @ gap.T

  pool = asking.pairs(problem, fitting.CALIBRATION, config.pool, 6)
  test = asking.pairs(problem, 'new_people', config.test_pairs, 7)
  prompts = np.unique(found.item_prompt[found.held_out])
  menus = np.stack([np.flatnonzero(found.item_prompt == p) for p in prompts])
  label = (margins(test) > 0).astype(np.float32)
  return asking.Asked(
    new=new,
    pool=pool,
    probability=special.expit(margins(pool)),
    available=None,
    test=np.broadcast_to(test, (len(new), *test.shape)),
    label=label,
    mask=np.ones(label.shape, np.float32),
    menus=menus,
    utility=np.einsum('ska,ua->usk', world.values[menus], weights),
  )


def read_out(
  features: np.ndarray, values: np.ndarray, prompt: np.ndarray, train
) -> np.ndarray:
  """Returns values `[M, A]` as a ridge reads them from features, by prompt.

  Only differences within a prompt matter, so both are centred there. The
  strength is chosen on a fifth of the training prompts.

  Args:
    features: `[M, D]`.
    values: `[M, A]`.
    prompt: `[M]` rows.
    train: `[M]` True where the ridge may look.
  """
  x, y = (responses.centre(both, prompt) for both in (features, values))
  names = np.unique(prompt[train])
  held = np.random.default_rng(0).permutation(names)[: len(names) // 5]
  validate = train & np.isin(prompt, held)

  def predict(rows, ridge):
    # In units of the features' mean square, so that one grid serves all.
    scale = ridge * rows.sum() * np.mean(x[rows] ** 2)
    gram = x[rows].T @ x[rows] + scale * np.eye(x.shape[1])
    return x @ np.linalg.solve(gram, x[rows].T @ y[rows])

  def error(ridge):
    predicted = predict(train & ~validate, ridge)
    return np.mean((predicted[validate] - y[validate]) ** 2)

  return predict(train, min(_RIDGES, key=error))
