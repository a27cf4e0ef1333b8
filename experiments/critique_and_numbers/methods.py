"""A learner of what a config says of a method, in arithmetic or in words."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prm_jax import types
from prm_jax.lab import curves
from prm_jax.learners import critique_grpo
from prm_jax.models import decoder
from prm_jax.ops import policy_gradient
from prm_jax.policy import critics, demonstrations, tasks
from prm_jax.worlds import arithmetic

_SHOWN: Mapping[str, Callable[..., Any]] = {
  'refinements': demonstrations.refinements,
  'critiques': demonstrations.critiques,
}


class Setting(NamedTuple):
  """What methods are built for.

  Attributes:
    task: what is asked, and what is right.
    config: of the policy.
    problems: rows of the task.
    rule: `(kind, **options) -> Critic` that knows the truth.
    requests: how a critique is asked for.
    limits: of a critique that the policy writes.
  """

  task: tasks.Task
  config: decoder.DecoderConfig
  problems: int
  rule: Callable[..., critics.Critic]
  requests: critics.Requests
  limits: tasks.Limits


def learner(
  node: curves.Node, setting: Setting, steps: int, *, remat: bool = False
) -> types.Learner:
  """Returns the learner of a method.

  Args:
    node: as in configs/critique_and_numbers.py.
    setting: what is asked, and who criticises.
    steps: gradient steps.
    remat: whether layers are computed again for the gradient.

  Raises:
    ValueError: an unknown kind or option.
  """
  options = {k: node[k] for k in node if k not in ('reward', 'curriculum')}
  parts: dict[str, Any] = {'task': setting.task, 'config': setting.config}
  if 'critic' in node:
    parts['critic'] = critic(options.pop('critic'), setting)
  if 'shown' in node:
    shown = _shown(options.pop('shown'), options.pop('batch'), setting, parts)
    parts = {'shown': shown, 'config': setting.config, 'warm_up': 10}
  if 'second' in node:
    second = options.pop('second')
    if second not in policy_gradient.SURROGATES:
      raise ValueError(f'{second!r}: one of {policy_gradient.SURROGATES}')
    parts['loss'] = critique_grpo.loss_of(second)
  if 'predict' in node:
    parts['requests'] = setting.requests
  return curves.learner(options, steps, remat=remat, **parts)


def critic(node: curves.Node, setting: Setting) -> critics.Critic:
  """Returns who criticises: 'self', 'shuffled' of another, or a rule."""
  options = dict(node)
  kind = options.pop('kind')
  if kind == 'self':
    return critics.own(
      setting.config, setting.requests, **setting.limits._asdict(), **options
    )
  if kind == 'shuffled':
    return critics.shuffled(critic(options['of'], setting))
  return setting.rule(kind, **options)


def _shown(kind: str, batch: int, setting: Setting, parts: dict[str, Any]):
  """Returns what supervised learning imitates of the policy at the start."""
  if kind not in _SHOWN:
    raise ValueError(f'shown {kind!r}: one of {sorted(_SHOWN)}')
  if kind == 'critiques':
    parts = {**parts, 'requests': setting.requests}
  return _SHOWN[kind](problems=setting.problems, batch=batch, **parts)


def oracle_digits(node: curves.Node) -> int:
  """Returns how many right digits a critique of a method gives away."""
  return arithmetic.oracle_digits(node.get('critic', {}).get('kind', ''))


def critiques(node: curves.Node, batch: int, criticised: float) -> float:
  """Returns how many critiques a method reads at a step, at most.

  Args:
    node: of the method.
    batch: problems of a step.
    criticised: share of groups that were criticised, as measured.
  """
  if 'critic' not in node:
    return 0.0
  if node['kind'] == 'imitation':
    return float(node['batch'])
  if node['kind'] == 'critique_grpo':
    return batch * criticised
  return float(batch * node['samples'])
