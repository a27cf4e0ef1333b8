"""What is compared: learners by name."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.critique_and_numbers import world as worlds
from prm_jax import types
from prm_jax.learners import (
  critics,
  critique_grpo,
  grpo,
  imitation,
  rltf,
  rollouts,
  sdpo,
)
from prm_jax.models import decoder
from prm_jax.worlds import arithmetic

_SECOND = {
  'raw': rollouts.Surrogate('probability'),
  'log': rollouts.Surrogate('log'),
  'clipped': rollouts.Surrogate('shaped_clipped'),
}
_PREDICT = 0.5  # weight of critiques in `rltf_predict`
NUMBERS = ('grpo', 'dr_grpo', 'rloo', 'dr_grpo_16', 'dr_grpo_curriculum')


class Method(NamedTuple):
  """A method as a learner, and the problems it trains on.

  Attributes:
    learner: of the policy.
    easier_first: whether hard problems come in a second stage of as many
      steps as the first, of the learner's.
    oracle_digits: right digits that a critique gives away.
  """

  learner: types.PolicyLearner
  easier_first: bool = False
  oracle_digits: int = 0


def make(
  name: str, node, config: decoder.DecoderConfig, world: worlds.World
) -> Method:
  """Returns a method.

  Args:
    name: 'grpo', 'dr_grpo', 'rloo'; 'dr_grpo_16', twice the answers;
      'dr_grpo_curriculum', hard problems in the second half only;
      'critique_grpo_CRITIC[_OPTION]', where the option is 'live' (the policy
      in training writes refinements), 'always' (of all problems), 'raw',
      'log' or 'clipped' (another surrogate of refinements), or a percentage
      (the critic's accuracy); 'refinement_tuning' and 'critique_tuning';
      'sdpo', 'rltf' and 'rltf_predict', with step-by-step critiques.
    node: `steps`, `learning_rate`, `tuning_rate` and `batch`.
    config: of the policy.
    world: problems.

  Raises:
    ValueError: unknown name.
  """
  training = rollouts.Training(node.learning_rate, node.steps)
  settings: dict[str, Any] = {
    'task': world.task, 'config': config, 'training': training
  }  # fmt: skip
  if name in NUMBERS:
    samples = 16 if name == 'dr_grpo_16' else 8
    advantage = {'grpo': 'normalized', 'rloo': 'leave_one_out'}.get(
      name, 'centred'
    )
    easier_first = name.endswith('curriculum')
    if easier_first:  # two stages, and no more steps than others
      settings['training'] = training._replace(steps=node.steps // 2)
    learner = grpo.grpo(samples=samples, advantage=advantage, **settings)
    return Method(learner, easier_first)
  if name in ('refinement_tuning', 'critique_tuning'):
    return _tuning(name, node, config, world)
  if name in ('sdpo', 'rltf', 'rltf_predict'):
    return _other(name, config, world, settings)
  if not name.startswith('critique_grpo_'):
    raise ValueError(f'unknown method {name!r}')
  return _critique(name.removeprefix('critique_grpo_'), config, world, settings)


def _critique(name, config, world, settings) -> Method:
  options = dict(settings)
  digits = 0
  for kind in (*arithmetic.CRITICS, 'self', 'shuffled'):
    if name == kind or name.startswith(f'{kind}_'):
      option = name.removeprefix(kind).removeprefix('_')
      break
  else:
    raise ValueError(f'unknown critic in {name!r}')
  accuracy = 1.0
  if option == 'live':
    options['refiner'] = 'live'
  elif option == 'always':
    options['gate'] = False
  elif option in _SECOND:
    options['loss'] = rollouts.Loss(second=_SECOND[option])
  elif option.isdigit():
    accuracy = int(option) / 100
  elif option:
    raise ValueError(f'unknown option {option!r}')
  if kind == 'self':
    critic = worlds.own(world.pool, config)
  elif kind == 'shuffled':
    critic = critics.shuffled(worlds.rule(world.pool, 'step_by_step'))
  else:
    critic = worlds.rule(world.pool, kind, accuracy)
    digits = arithmetic.oracle_digits(kind)
  learner = critique_grpo.critique_grpo(critic=critic, **options)
  return Method(learner, oracle_digits=digits)


def _other(name, config, world, settings) -> Method:
  """Returns a method whose policy in training reads critiques itself."""
  critic = worlds.rule(world.pool, 'step_by_step')
  if name == 'sdpo':
    learner = sdpo.sdpo(critic=critic, **settings)
  else:  # four answers and their second tries: eight texts
    learner = rltf.rltf(
      critic=critic, samples=4, requests=worlds.requests(world.pool),
      predict=_PREDICT if name == 'rltf_predict' else 0.0, **settings,
    )  # fmt: skip
  return Method(learner, oracle_digits=arithmetic.DIGITS)


def _tuning(name, node, config, world) -> Method:
  """Returns supervised learning of refinements, or of critiques.

  The policy at the start writes answers, which are criticised step by step and
  written again by it. Right refinements are imitated after the plain prompt;
  or the critique, after the answer.
  """
  task = world.task
  critic = worlds.rule(world.pool, 'step_by_step')

  def shown(key, start):
    keys = jax.random.split(key, 4)
    rng = rollouts.generator(keys[3])
    problem = rng.integers(0, len(world.pool.start), node.tuning_batch)
    prompts = task.prompts(problem)
    said = rollouts.write(keys[0], config, start, prompts, task).tokens
    critiques, _ = critic(keys[1], start, problem, said, np.zeros(0))
    if name == 'critique_tuning':
      asked = arithmetic.requests(world.pool.take(problem), said.ids)
      return rollouts.full(asked), critiques
    again = rollouts.write(
      keys[2], config, start, task.refine(problem, said, critiques), task
    ).tokens
    right = task.verify(problem, again) > 0.5
    return prompts, again._replace(mask=again.mask * right[:, None])

  learner = imitation.imitation(
    shown=shown, config=config, steps=node.steps,
    learning_rate=node.tuning_rate, warm_up=10,
  )  # fmt: skip
  return Method(learner, oracle_digits=arithmetic.DIGITS)
