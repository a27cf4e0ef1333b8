"""New people who judge AlpacaEval's responses, 52 to each prompt."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.personalized_vs_aggregate import problems
from prm_jax.audits import read_outs
from prm_jax.lab import asking, fitting
from prm_jax.models import features
from prm_jax.worlds import responses


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


def settings(config, seed: int, source: features.Source) -> Iterator[Choosing]:
  """Yields settings with true levels as features, and with the encoder's."""
  problem = next(problems.problems(config, 'alpaca_eval', seed, source))
  judged, held_out, world = problems.judged_world(config, seed)
  prompt = judged.item_prompt
  asked = asking.simulated(
    problem,
    world.values,
    world.weights,
    world.scale,
    pool=asking.pairs(problem, fitting.CALIBRATION, config.pool, 6),
    test=asking.pairs(problem, fitting.NEW_PEOPLE, config.test_pairs, 7),
    menus=asking.menus(prompt, prompt[held_out]),
  )
  weights = world.weights[asked.new]
  utility = weights @ world.values.T
  true_levels = dataclasses.replace(
    problem,
    features={'levels': lambda: world.values.astype(np.float32)},
    features_name='levels',
  )

  def limit(columns, targets, mixing):
    x, y = (responses.centre(one, prompt) for one in (columns, targets))
    read = read_outs.within_prompts(x, y, prompt, ~held_out)
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
