"""One run of one method in one arm, a file each; a killed study goes on."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import policies
from experiments.evaluative_and_directive import world as worlds
from prm_jax import types
from prm_jax.learners import directive
from prm_jax.models import decoder
from prm_jax.policy import losses, phases
from prm_jax.worlds import persona_replies

Row = dict[str, Any]
_FULL = (*directive.PUBLISHED, losses.distilled(1.0))


def decoder_of(node) -> decoder.DecoderConfig:
  """Returns the sizes of the policy."""
  return decoder.DecoderConfig(
    vocab_size=len(persona_replies.TOKENS), attention_bias=True,
    query_key_norm=True, rope_theta=100.0, **dict(node),
  )  # fmt: skip


def method(name: str, **settings: Any) -> types.Learner:
  """Returns a method.

  Args:
    name: 'evaluative[_baseline]', or 'directive' or 'combined' followed by
      '_baseline' (of verdicts), '_full' (the whole vocabulary rather than
      sampled tokens) and the teacher: '_live', '_average' or '_frozen'.
      'directive_shuffled' has a moving average's.
    **settings: of the learner.

  Raises:
    ValueError: unknown name.
  """
  kind, *options = name.split('_')
  weights = {
    'evaluative': (1.0, 0.0), 'directive': (0.0, 1.0), 'combined': (1.0, 1.0),
  }  # fmt: skip
  known = {'baseline', 'full', 'shuffled', *directive.TEACHERS}
  if kind not in weights or not set(options) <= known:
    raise ValueError(f'unknown method {name!r}')
  evaluative, directed = weights[kind]
  teachers = [word for word in options if word in directive.TEACHERS]
  return directive.directive(
    evaluative=evaluative, directed=directed,
    baseline='batch' if 'baseline' in options else 'none',
    teacher=teachers[0] if teachers else 'average',
    loss=_FULL if 'full' in options else directive.PUBLISHED, **settings,
  )  # fmt: skip


def start(config, workdir: Path, seed: int) -> tuple[types.PyTree, Row]:
  """Returns a seed's policy before any reply, kept on disk.

  Raises:
    RuntimeError: it does not follow hints, however often it is drawn.
  """

  def make():
    node, sizes = config.warm, decoder_of(config.policy)
    for trial in range(node.trials):
      params = worlds.warm_start(sizes, node, seed + 1000 * trial)
      follows = worlds.follows_hints(sizes, params)
      if follows >= node.least:
        return params, {'trials': trial + 1, 'follows_hints': follows}
    raise RuntimeError(
      f'seed {seed}: no warm start in {node.trials} follows {node.least:.0%} '
      f'of hints; the last {follows:.0%}'
    )

  return policies.kept(workdir / 'warm' / str(seed), make)


def run(config, workdir: Path, arm: str, name: str, seed: int) -> Row:
  """Returns one run: its curve, and what it ends with.

  Args:
    config: of the study.
    workdir: where starts are kept.
    arm: of `config.arms`.
    name: of the method; with '@RATE', at another learning rate.
    seed: of people, prompts, start and draws.
  """
  sizes, node = decoder_of(config.policy), config.training
  params, card = start(config, workdir, seed)
  options, world = config.arms[arm], worlds.make(arm, seed)
  rates = options.get('rates', node.rates)
  kind, rate = policies.at_rate(name, node, rates)
  replies = worlds.replies(
    world, hint_rate=options.hint_rate, hint_error=options.hint_error,
    shuffled=kind.endswith('shuffled'),
  )  # fmt: skip
  learner = method(
    kind, task=world.task, replies=replies, config=sizes,
    training=phases.Training(rate, options.get('steps', node.steps)),
  )  # fmt: skip
  examine = worlds.examiner(sizes, world, node.examined)
  curve = policies.Curve()
  state = policies.fit(
    learner, jax.random.key(seed), params,
    np.arange(worlds.POOL), batch=node.batch, seed=seed, every=node.every,
    examine=examine, curve=curve,
  )  # fmt: skip
  return {
    'arm': arm, 'method': name, 'seed': seed, 'start': card,
    'hint_rate': options.hint_rate, 'hint_error': options.hint_error,
    'curve': curve.rows, 'final': examine(state.params['policy']),
  }  # fmt: skip


def jobs(config) -> list[tuple[str, str, int]]:
  """Returns arm, method and seed of every run."""
  return [
    (arm, name, seed)
    for seed in config.seeds
    for arm, node in config.arms.items()
    for name in node.methods
  ]
