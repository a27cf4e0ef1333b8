"""Policies before training: drawn, examined, kept on disk; what they answer."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np

from prm_jax import types
from prm_jax.data import load, splits
from prm_jax.lab import units
from prm_jax.learners import imitation
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel
from prm_jax.policy import padding, rollouts, tasks
from prm_jax.runtime import export, train, writers

Row = dict[str, Any]
Examine = Callable[[types.PyTree], dict[str, float]]
# `(rng) -> (prompts, answers)` as whole token ids `[B, T]`, of several kinds.
Demonstrate = Callable[
  [np.random.Generator], Sequence[tuple[np.ndarray, np.ndarray]]
]


def decoder_of(
  node: Mapping[str, Any], tokens: Sequence[str]
) -> decoder.DecoderConfig:
  """Returns the sizes of a policy of a small world, over its tokens."""
  return decoder.DecoderConfig(
    vocab_size=len(tokens),
    attention_bias=True,
    query_key_norm=True,
    rope_theta=100.0,
    **dict(node),
  )


def on_disk(
  folder: Path, make: Callable[[], tuple[types.PyTree, Row]]
) -> tuple[types.PyTree, Row]:
  """Returns a policy's params and what it can do, made if not on disk.

  Args:
    folder: where they are exported.
    make: called if they are not there.

  Raises:
    BusyError: another process is making them.
  """
  whole = folder / 'metadata.json'  # written last
  if not whole.exists():
    writers.make_folder(folder.parent)
    lock = filelock.FileLock(folder.parent / f'.{folder.name}.lock', mode=0o600)
    try:
      lock.acquire(timeout=0)
    except filelock.Timeout as error:
      raise units.BusyError(folder) from error
    try:
      if not whole.exists():
        params, card = make()
        if folder.exists():  # a write that was cut off
          shutil.rmtree(folder)
        export.export_parameters(params, folder, card)
    finally:
      lock.release()
  return export.load_parameters(folder)


def start(
  folder: units.Folder,
  demonstrate: Demonstrate,
  config: decoder.DecoderConfig,
  examine: Examine,
  names: Sequence[str],
  node: Any,
  seed: int,
) -> tuple[types.PyTree, Row]:
  """Returns a seed's policy after demonstrations, and what it can do.

  Args:
    folder: of the study, where starts are kept beside its units.
    demonstrate: what is shown at a step.
    config: of the policy.
    examine: what is measured of a start.
    names: figures that all have to be at least `least`.
    node: `steps` and `learning_rate` of a start, `trials` and `least`.
    seed: of the start.

  Raises:
    BusyError: another process is making it.
    RuntimeError: no start is good enough.
  """

  def draw(trial_seed):
    return demonstrated(demonstrate, config, node, trial_seed)

  return on_disk(
    folder.path / 'starts' / str(seed),
    lambda: good(draw, examine, names, node, seed),
  )


def good(
  draw: Callable[[int], types.PyTree],
  examine: Examine,
  names: Sequence[str],
  node: Any,
  seed: int,
) -> tuple[types.PyTree, Row]:
  """Returns the first of several starts that can do what is asked of it.

  What is not good enough is thrown away before any training. See `start`.

  Raises:
    RuntimeError: no start is good enough.
  """
  figures: dict[str, float] = {}
  for trial in range(node.trials):
    params = draw(seed + 1000 * trial)
    figures = examine(params)
    if min(figures[name] for name in names) >= node.least:
      return params, {'trials': trial + 1, **figures}
  raise RuntimeError(
    f'seed {seed}: no start in {node.trials} has {" and ".join(names)} of at '
    f'least {node.least:.0%}; the last: {figures}'
  )


def demonstrated(
  demonstrate: Demonstrate, config: decoder.DecoderConfig, node: Any, seed: int
) -> types.PyTree:
  """Returns the params of a policy that was shown demonstrations alone.

  See `start`.
  """

  def shown(key, start):
    del start
    prompts, texts = zip(*demonstrate(tasks.generator(key)), strict=True)
    return (
      padding.join(*map(padding.full, prompts)),
      padding.stack(*map(padding.full, texts)),
    )

  learner = imitation.imitation(
    shown=shown,
    config=config,
    steps=node.steps,
    learning_rate=node.learning_rate,
    last=0.02,
  )
  state = train.fit(
    learner,
    tasks.problems(np.zeros(1, np.int32)),
    key=jax.random.key(seed),
    spec=types.Spec(1, 1),
    progress=True,
  )
  return state.params['policy']


def answered(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  task: tasks.Task,
  problem: np.ndarray,
  *,
  prompts: types.Tokens | None = None,
  count: int = 1,
  temperature: float = 1.0,
) -> tuple[types.Tokens, np.ndarray]:
  """Returns answers to problems and their rewards, those of one side by side.

  Args:
    key: of the draws.
    config: of the policy.
    params: of the policy.
    task: what is asked, and what is right.
    problem: `[B]` rows of the task.
    prompts: other than the task's plain ones.
    count: n answers to a problem; `[B n]` in all.
    temperature: of the draws.
  """
  prompts = task.prompts(problem) if prompts is None else prompts
  answers = rollouts.write(
    key, config, params, prompts, task, count=count, temperature=temperature
  ).tokens
  right = task.verify(np.repeat(problem, count), answers)
  return answers, np.asarray(right)


def language_model(config) -> LanguageModel:
  """Returns the policy at `config.model`; SmolLM2-135M-Instruct if empty."""
  return LanguageModel.load(Path(config.model) if config.model else None)


def word_problems(config, longest: int) -> list[tuple[str, str]]:
  """Returns GSM8K's training problems and solutions, in an order by hash.

  Args:
    config: of the study: `data.dir`.
    longest: letters of a problem; longer ones are left out.
  """
  texts = load.word_problems(config.data.dir or None, 'train')
  order = np.argsort(splits.bucket(texts.prompt_ids, 'gsm8k', 1 << 30))
  return [
    (texts.prompts[i], texts.texts[i])
    for i in order
    if len(texts.prompts[i]) <= longest
  ]
