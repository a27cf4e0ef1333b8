"""What writing costs a policy that learns, beside scoring and updating.

The first part times our sampler against transformers' `generate` with the
same weights, batch and lengths, if torch is installed; both draw every token
at temperature 1, neither stops early, and both read the prompts first: of a
group's texts, which share their prompt, ours reads it once. The
second part times the phases of one step of GRPO: writing, scoring by the
trainer's function, and the update, whose groups share a prompt, too; beside it,
with a row for each text.
"""

import functools
import importlib.util
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.benchmarks import against_torch, program
from prm_jax import types
from prm_jax.lab import timing
from prm_jax.models import decoder
from prm_jax.policy import logprobs, losses, padding, phases, rollouts, tasks
from prm_jax.runtime import update


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: 'SmolLM2-135M', or 'tiny' for the small decoder in its place.
    shapes: texts, texts of a prompt, prompt and new tokens, of the sampler.
    steps: texts, prompt and new tokens of a training step of the language
      model, and of the small decoder.
    repeats: timed rounds.
  """

  model: str = 'SmolLM2-135M'
  shapes: tuple[tuple[int, int, int, int], ...] = (
    (16, 1, 64, 64),
    (64, 1, 64, 64),
    (64, 8, 64, 64),
  )
  steps: tuple[tuple[int, int, int], ...] = ((16, 64, 64), (256, 10, 5))
  repeats: int = 3


SMOKE = Sizes('tiny', ((4, 2, 4, 3),), ((4, 4, 3), (4, 4, 3)), 1)


def sampling_rows(
  config: decoder.DecoderConfig, params: types.PyTree, sizes: Sizes
) -> list[dict[str, Any]]:
  """Returns tokens a second of our sampler, and of transformers' if there."""
  torch = importlib.util.find_spec('torch')
  theirs = _generate(config, params) if torch else None
  rows = []
  for B, group, P, N in sizes.shapes:
    rng = np.random.default_rng(0)
    shape = B // group, P
    ids = rng.integers(1, config.vocab_size, size=shape, dtype=np.int32)
    asked, limits = padding.full(ids), tasks.Limits(N, ())
    runs: dict[str, Any] = {
      'ours': functools.partial(
        rollouts.draw,
        jax.random.key(0),
        config,
        params,
        asked,
        limits,
        count=group,
      )
    }
    if theirs is not None:
      runs['torch'] = functools.partial(theirs, ids, N, group)
    times = timing.side_by_side(runs, sizes.repeats)
    row = {'batch': B, 'group': group, 'prompt': P, 'tokens': N}
    rows.append(row | against_torch.against(times, B * N))
  return rows


def _generate(config, params):
  """Returns `(ids, N, group) -> ids`, transformers' with the same weights."""
  import torch

  model = against_torch.torch_model(config, params)

  def generate(ids, count, group):
    given = torch.from_numpy(ids).long()
    with torch.inference_mode():
      written = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=count,
        min_new_tokens=count,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=group,
      )
    return written.numpy()

  return generate


def phase_row(
  name: str,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  shape: tuple[int, int, int],
  repeats: int,
) -> dict[str, Any]:
  """Returns seconds of the phases of one step of GRPO."""
  R, P, N = shape
  rng = np.random.default_rng(0)
  asked = padding.full(rng.integers(1, config.vocab_size, size=(R // 4, P)))
  limits = tasks.Limits(N, ())
  write = functools.partial(
    rollouts.write, jax.random.key(0), config, params, asked, limits, count=4
  )
  written = write()
  answers = written.tokens
  advantage = rng.normal(size=answers.mask.shape)
  prompts = padding.repeat(asked, 4)
  texts = rollouts.Texts(prompts, answers, advantage, np.ones(R))
  rows, scorer = rollouts.arranged(texts), logprobs.scorer(config, N, group=4)
  score = functools.partial(scorer, params, rows.ids, rows.seen)
  old = np.asarray(score())
  batch = types.Batch(rows._replace(old_logprob=old))

  def step(group):
    loss = losses.objective(config, losses.PLAIN, group=group)
    adam = phases.adam(1e-9)
    phase = types.Phase('policy', objective=loss, optimizer=adam, steps=1)
    state = phases.new_state(jax.random.key(0), params)
    state = update.initialize(state, phase)
    return functools.partial(jax.jit(update.make_update(phase)), state, batch)

  arms = {'writing': write, 'scoring': score, 'update': step(4)}
  arms['update_apart'] = step(1)
  times = timing.side_by_side(arms, repeats)
  seconds = {key: value.median for key, value in times.items()}
  apart, update_ = seconds.pop('update_apart'), seconds['update']
  return {
    'model': name,
    'texts': R,
    'tokens': N,
    'prompt': P,
    **{f'{key}_seconds': value for key, value in seconds.items()},
    'update_times_apart': update_ / apart,
    'writing_share': seconds['writing'] / sum(seconds.values()),
    'written_tokens_per_second': R * N / seconds['writing'],
    'trained_tokens_per_second': R * (P + N) / update_,
    'sampler_gap_nats': float(np.abs(old - written.logprob).max()),
  }


def measure(sizes: Sizes) -> program.Tables:
  """Returns both tables."""
  model = against_torch.load(sizes.model)[:2]
  small = against_torch.load('tiny')[:2]
  first, second = sizes.steps
  return {
    'sampling': sampling_rows(*model, sizes),
    'phases': [
      phase_row(sizes.model, *model, first, sizes.repeats),
      phase_row('150,000 parameters', *small, second, sizes.repeats),
    ],
  }


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
