"""What is compared: learners by name."""

import functools
import re
from typing import Any, NamedTuple

from experiments import policies
from experiments.critique_and_numbers import world as worlds
from prm_jax import types
from prm_jax.learners import critique_grpo, grpo, imitation, rltf, sdpo
from prm_jax.models import decoder
from prm_jax.policy import critics, demonstrations, phases
from prm_jax.worlds import arithmetic

_SECOND = {'raw': 'probability', 'log': 'log', 'clipped': 'shaped_clipped'}
_OUTCOME = '_outcome'
PREDICT = 0.5  # weight of critiques in `rltf_predict`
NUMBERS = ('grpo', 'dr_grpo', 'rloo', 'dr_grpo_16', 'dr_grpo_curriculum')


class Method(NamedTuple):
  """A method as a learner, and the problems it trains on.

  Attributes:
    learner: of the policy.
    easier: of a stage before that, without hard problems; None for no stage.
    oracle_digits: right digits that a critique gives away.
  """

  learner: types.Learner
  easier: types.Learner | None = None
  oracle_digits: int = 0


def make(
  name: str, node, config: decoder.DecoderConfig, world: worlds.World
) -> Method:
  """Returns a method.

  Args:
    name: 'grpo', 'dr_grpo', 'rloo'; 'dr_grpo_16', twice the answers;
      'dr_grpo_curriculum', hard problems in the second half alone;
      'critique_grpo_CRITIC[_OPTION]', where the option is 'live' (the policy
      in training writes refinements), 'always' (of all problems), 'raw',
      'log' or 'clipped' (another surrogate of refinements), or a percentage
      (the critic's accuracy); 'refinement_tuning' and 'critique_tuning', or
      with '_PROBLEMS', how many are criticised at a step; 'sdpo', 'rltf' and
      'rltf_predict', with step-by-step critiques. Any of them with '_outcome'
      at the end: rewards are of the final answer alone; and with '@RATE':
      another learning rate.
    node: `steps`, `every`, `learning_rate`, `rates`, `tuning_batch`.
    config: of the policy.
    world: problems.

  Raises:
    ValueError: unknown name.
  """
  name, rate = policies.at_rate(name, node, node.rates)
  if name.endswith(_OUTCOME):
    name = name.removesuffix(_OUTCOME)
    world = world._replace(task=worlds.task_of(world.pool, final_only=True))
  training = phases.Training(rate, node.steps)
  settings: dict[str, Any] = {
    'task': world.task, 'config': config, 'training': training
  }  # fmt: skip
  if name in NUMBERS:
    samples = 16 if name == 'dr_grpo_16' else 8
    advantage = {'grpo': 'normalized', 'rloo': 'leave_one_out'}.get(
      name, 'centred'
    )
    learner = functools.partial(
      grpo.grpo, samples=samples, advantage=advantage, task=world.task,
      config=config,
    )  # fmt: skip
    if name != 'dr_grpo_curriculum':
      return Method(learner(training=training))
    # No more steps than others; stages end where examinations are.
    first = max(node.steps // 2 // node.every, 1) * node.every
    return Method(
      learner(training=training._replace(steps=node.steps - first)),
      learner(training=training._replace(steps=first)),
    )
  if name.startswith(('refinement_tuning', 'critique_tuning')):
    return _tuning(name, node, rate, config, world)
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
    options['loss'] = critique_grpo.loss_of(_SECOND[option])
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
      predict=PREDICT if name == 'rltf_predict' else 0.0, **settings,
    )  # fmt: skip
  return Method(learner, oracle_digits=arithmetic.DIGITS)


def _tuning(name, node, rate, config, world) -> Method:
  settings: dict[str, Any] = {
    'task': world.task, 'config': config, 'batch': _criticised(name, node),
    'critic': worlds.rule(world.pool, 'step_by_step'),
    'problems': len(world.pool.start),
  }  # fmt: skip
  if name.startswith('critique_tuning'):
    shown = demonstrations.critiques(
      requests=worlds.requests(world.pool), **settings
    )
  else:
    shown = demonstrations.refinements(**settings)
  learner = imitation.imitation(
    shown=shown, config=config, steps=node.steps,
    learning_rate=rate, warm_up=10,
  )  # fmt: skip
  return Method(learner, oracle_digits=arithmetic.DIGITS)


def _criticised(name: str, node) -> int:
  """Returns how many answers tuning criticises at a step."""
  _, _, count = name.partition('_tuning')
  if count and not re.fullmatch('_[1-9][0-9]*', count):
    raise ValueError(f'unknown method {name!r}')
  return int(count[1:]) if count else node.tuning_batch


def critiques(name: str, node, criticised: float) -> float:
  """Returns how many critiques a method reads at a step, at most.

  Args:
    name: of the method.
    node: `batch` and `tuning_batch`.
    criticised: share of groups that were criticised, as measured.
  """
  name = name.partition('@')[0].removesuffix(_OUTCOME)
  if name in NUMBERS:
    return 0.0
  if '_tuning' in name:
    return float(_criticised(name, node))
  if name in ('sdpo', 'rltf', 'rltf_predict'):
    return node.batch * (8.0 if name == 'sdpo' else 4.0)
  return node.batch * criticised
