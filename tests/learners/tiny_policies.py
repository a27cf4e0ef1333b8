"""A task of three problems and a tiny decoder, for tests of policies."""

import jax
import numpy as np

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.policy import padding, phases, tasks
from prm_jax.runtime import train

CONFIG = decoder.DecoderConfig(12, 16, 32, 1, 2, 1, 8)
PROBLEMS, P, N, SAMPLES = 3, 4, 3, 7
TRAINING = phases.Training(2e-2, 40)
STOP = 11


def full(ids):
  return padding.full(np.asarray(ids))


def prompts(problem):
  ids = np.tile(np.arange(1, P + 1), (len(problem), 1)) + problem[:, None] % 2
  mask = np.ones_like(ids)
  mask[problem == 1, 0] = 0  # one prompt is shorter
  return types.Tokens(ids.astype(np.int32), mask.astype(np.int32))


def task_of(verify, refine=None):
  return tasks.Task(prompts, verify, refine, N, (STOP,))


def right_second(problem, tokens):
  """First answers are wrong; what is written after them is right."""
  value = 0.0 if len(problem) == PROBLEMS * SAMPLES else 1.0
  return np.full(len(tokens.ids), value)


def beside(problem, attempts, critiques):
  parts = (attempts, critiques, prompts(problem))
  return jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *parts)


def critic(key, policy, problem, attempts, reward, needed):
  del key, policy, attempts, reward, needed
  return full(np.full((len(problem), 2), 9)), 0


def rows(count=PROBLEMS):
  return tasks.problems(np.arange(count))


SPEC = types.Spec(1, 1)


def fit(learner, data=None, seed=0, **options):
  """The state of a learner fitted to the problems, or some of them."""
  data = rows() if data is None else data
  return train.fit(
    learner, data, key=jax.random.key(seed), spec=SPEC, **options
  )


def start(learner, seed=0):
  state = learner.init(jax.random.key(seed), SPEC)
  phase = learner.phases[0]
  return phase.begin(state, None) if phase.begin else state


def collected(learner, given=None, seed=1):
  batch = rows() if given is None else given
  found = learner.phases[0].collect(jax.random.key(seed), start(learner), batch)
  made, metrics = found[0].rows, found[1]
  return made, {k: float(v.compute()) for k, v in metrics.items() if v.count}
