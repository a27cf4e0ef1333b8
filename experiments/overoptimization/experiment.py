"""What does selection by a learned reward find? The study."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.overoptimization import arms, page, tables
from prm_jax.lab import study, units
from prm_jax.ops import decoding
from prm_jax.worlds import overdone


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  return {
    f'seed{seed}': units.record(run, config, seed) for seed in config.seeds
  }


def run(config: Any, seed: int) -> dict[str, Any]:
  """Returns what every arm selects and becomes, against the true reward.

  Args:
    config: of the study.
    seed: of the true reward, judgements, starts and answers.
  """
  of = overdone.gold(seed, dim=config.dim, **config.gold)
  rng = np.random.default_rng([seed, 3])
  batch = overdone.judged(of, rng, pairs=config.pairs, flipped=config.flipped)
  shape = config.prompts, config.answers, config.dim
  pool = jnp.asarray(rng.standard_normal(shape), jnp.float32)
  quality = np.asarray(of(pool))
  made: list[dict[str, Any]] = []
  for fit, ridges in config.ridges.items():
    node = {**config, 'ridges': ridges}
    found, chosen = arms.arms(of, batch, seed, node)
    for name, arm in found.items():
      if name == 'gold' and fit != next(iter(config.ridges)):
        continue  # the truth is fitted to nothing
      scores = np.asarray(jax.jit(arm.score)(pool))
      best = decoding.value_of_best(scores, quality, config.counts)
      made.append(
        {
          'fit': fit,
          'arm': name,
          'penalized': arm.penalized,
          'ridges': chosen,
          'accuracy': _accuracy(scores, quality),
          'best': [[n, best[n]] for n in config.counts],
          'policy': policy(config, of, arm.score, seed),
        }
      )
  return {'seed': seed, 'arms': made}


def _accuracy(scores: np.ndarray, quality: np.ndarray) -> float:
  """Returns the share of pairs of answers to a prompt in true order."""
  half = scores.shape[1] // 2
  apart = scores[:, :half] - scores[:, half : 2 * half]
  truth = quality[:, :half] - quality[:, half : 2 * half]
  return float(np.mean(np.sign(apart) == np.sign(truth)))


def policy(
  config: Any, of: overdone.Gold, score: arms.Score, seed: int
) -> list[list[float]]:
  """Returns KL, true and own reward of a policy in training by a score.

  The policy writes features N(mean, diag(deviation^2)), from N(0, I) on. Adam
  climbs the mean score of fresh answers, without a penalty on the KL, and ends
  where that passes `policy.most`: what a score thinks of answers that nobody
  writes has no end.

  Args:
    config: of the study.
    of: the true reward.
    score: that is climbed.
    seed: of answers.
  """
  node = config.policy
  optimizer = optax.adam(node.rate)
  key = jax.random.fold_in(jax.random.key(seed), 7)

  def written(theta, noise):
    return theta[0] + jnp.exp(theta[1]) * noise

  def climbed(theta, noise):
    return -jnp.mean(score(written(theta, noise)))

  @jax.jit
  def stretch(carry, first):
    def step(carry, place):
      theta, state = carry
      draw = jax.random.fold_in(key, place)
      noise = jax.random.normal(draw, (node.batch, config.dim))
      change, state = optimizer.update(jax.grad(climbed)(theta, noise), state)
      return (optax.apply_updates(theta, change), state), None

    return jax.lax.scan(step, carry, first + jnp.arange(node.every))[0]

  fresh = jax.random.normal(
    jax.random.fold_in(key, config.policy.steps), (4096, config.dim)
  )
  theta = jnp.zeros((2, config.dim))  # means, logarithms of deviations
  carry = theta, optimizer.init(theta)
  made = []
  for place in range(0, node.steps + 1, node.every):
    (mean, log), texts = carry[0], written(carry[0], fresh)
    divergence = float(
      0.5 * jnp.sum(jnp.exp(2 * log) + mean**2 - 1.0 - 2 * log)
    )
    if not divergence <= node.most:
      break
    made.append(
      [divergence, float(jnp.mean(of(texts))), float(jnp.mean(score(texts)))]
    )
    carry = stretch(carry, place)
  return made


def _tables(config, folder: units.Folder) -> study.Tables:
  records = [folder.read(f'seed{seed}').record for seed in config.seeds]
  return tables.tables(records)


STUDY = study.Study(_work, _tables, tables.answer, page.PAGE)
