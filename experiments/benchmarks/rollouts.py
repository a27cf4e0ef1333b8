"""What writing costs a policy that learns, beside scoring and updating.

  python -m experiments.benchmarks.rollouts --output=FILE.json

The first part times our sampler against transformers' `generate` with the
same weights, batch and lengths, if torch is installed; both draw every token
at temperature 1, neither stops early, and both read the prompts first: of a
group's texts, which share their prompt, ours reads it once. The
second part times the phases of one step of GRPO: writing, scoring by the
trainer's function, and the update.
"""

import argparse
import functools
import importlib.util
import os
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import discriminator
from prm_jax import types
from prm_jax.learners import grpo, rollouts
from prm_jax.models import decoder, language_model, sampling
from prm_jax.runtime import update, writers

COLUMNS = {
  'sampling': 'batch group prompt tokens ours_tokens_per_second '
  'torch_tokens_per_second times_torch times_torch_of_fastest',
  'phases': 'model texts tokens writing_seconds scoring_seconds '
  'update_seconds writing_share written_tokens_per_second '
  'trained_tokens_per_second sampler_gap_nats',
}
WORLD = decoder.DecoderConfig(
  31, 64, 172, 3, 4, 4, 16, rope_theta=100.0, attention_bias=True,
  query_key_norm=True,
)  # fmt: skip


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    shapes: texts, texts of a prompt, prompt and new tokens, of the sampler.
    steps: texts, prompt and new tokens of a training step of the language
      model, and of the small decoder.
    repeats: timed rounds.
  """

  shapes: tuple[tuple[int, int, int, int], ...] = (
    (16, 1, 64, 64), (64, 1, 64, 64), (64, 8, 64, 64)
  )  # fmt: skip
  steps: tuple[tuple[int, int, int], ...] = ((16, 64, 64), (256, 10, 5))
  repeats: int = 3


SMOKE = Sizes(((4, 2, 4, 3),), ((4, 4, 3), (4, 4, 3)), 1)


def sampling_rows(
  config: decoder.DecoderConfig, params: types.PyTree, sizes: Sizes
) -> list[dict[str, Any]]:
  """Returns tokens a second of our sampler, and of transformers' if there."""
  wanted = ('torch', 'transformers')
  there = all(importlib.util.find_spec(name) for name in wanted)
  theirs = _generate(config, params) if there else None
  rows = []
  for B, group, P, N in sizes.shapes:
    ids = np.random.default_rng(0).integers(
      1, config.vocab_size, size=(B // group, P), dtype=np.int32
    )
    ours = functools.partial(
      sampling.sample, jax.random.key(0), config, params, ids,
      np.ones_like(ids), max_new_tokens=N, filtered=False,
      source=np.repeat(np.arange(B // group), group),
    )  # fmt: skip
    runs: dict[str, Any] = {'ours': ours}
    if theirs is not None:
      runs['torch'] = functools.partial(theirs, ids, N, group)
    times = discriminator.alternate(runs, sizes.repeats)
    row: dict[str, Any] = {
      'batch': B, 'group': group, 'prompt': P, 'tokens': N
    }  # fmt: skip
    for name in ('ours', 'torch'):
      known = times.get(name)
      middle = statistics.median(known) if known else None
      row[f'{name}_seconds'] = middle
      row[f'{name}_seconds_fastest'] = min(known) if known else None
      row[f'{name}_tokens_per_second'] = B * N / middle if middle else None
    row['times_torch'] = row['times_torch_of_fastest'] = None
    if 'torch' in times:
      row['times_torch'] = row['torch_seconds'] / row['ours_seconds']
      row['times_torch_of_fastest'] = (
        row['torch_seconds_fastest'] / row['ours_seconds_fastest']
      )
    rows.append(row)
    print(row, flush=True)
  return rows


def _generate(config, params):
  """Returns `(ids, N, group) -> ids`, transformers' with the same weights."""
  import torch

  model = discriminator.torch_model(config, params)

  def generate(ids, count, group):
    given = torch.from_numpy(ids).long()
    with torch.inference_mode():
      found = model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=True,
        temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=count,
        min_new_tokens=count, pad_token_id=0, use_cache=True,
        num_return_sequences=group,
      )  # fmt: skip
    return found.numpy()

  return generate


def phase_row(
  name: str, config: decoder.DecoderConfig, params: types.PyTree,
  shape: tuple[int, int, int], repeats: int,
) -> dict[str, Any]:  # fmt: skip
  """Returns seconds of the phases of one step of GRPO."""
  R, P, N = shape
  rng = np.random.default_rng(0)
  asked = rollouts.full(rng.integers(1, config.vocab_size, size=(R // 4, P)))
  limits = rollouts.Limits(N, ())
  write = functools.partial(
    rollouts.write, jax.random.key(0), config, params, asked, limits, count=4
  )
  written = write()
  ids, seen = rollouts.follow(rollouts.repeat(asked, 4), written.tokens)
  score = functools.partial(rollouts.scorer(config, N), params, ids, seen)
  old = np.asarray(score())
  batch = _batch(ids, seen, written.tokens.mask, old, rng)
  phase = types.Phase(
    'policy', objective=rollouts.objective(config, rollouts.PLAIN),
    optimizer=grpo.adam(1e-9), steps=1,
  )  # fmt: skip
  step = jax.jit(update.make_update(phase))
  state = update.initialize(
    rollouts.new_state(jax.random.key(0), params), phase
  )
  times = discriminator.alternate(
    {'writing': write, 'scoring': score,
     'update': functools.partial(step, state, batch)},
    repeats,
  )  # fmt: skip
  middle = {key: statistics.median(value) for key, value in times.items()}
  row: dict[str, Any] = {'model': name, 'texts': R, 'tokens': N, 'prompt': P}
  row |= {f'{key}_seconds': value for key, value in middle.items()}
  row['writing_share'] = middle['writing'] / sum(middle.values())
  row['written_tokens_per_second'] = R * N / middle['writing']
  row['trained_tokens_per_second'] = R * (P + N) / middle['update']
  row['sampler_gap_nats'] = float(np.abs(old - written.logprob).max())
  print(row, flush=True)
  return row


def _batch(ids, seen, answer, old, rng) -> types.Batch:
  B = len(ids)
  ones = np.ones(B, np.float32)
  made = rollouts.Rollouts(
    ids, seen, answer, old,
    rng.normal(size=old.shape).astype(np.float32), 0 * ones, ones, ones,
    ones, np.zeros_like(old), np.arange(B, dtype=np.int32),
  )  # fmt: skip
  return types.Batch(made)


def measure(sizes: Sizes, *, smoke: bool) -> dict[str, Any]:
  """Returns all results.

  Args:
    sizes: how much is done.
    smoke: whether to use a tiny random decoder in place of SmolLM2.
  """
  found: dict[str, Any] = {'hardware': discriminator.hardware(), 'smoke': smoke}
  small = _random(WORLD)
  if smoke:
    name, config, params = 'tiny', WORLD, small
  else:
    name = 'SmolLM2-135M'
    config, params, *_ = language_model.LanguageModel.load()
  found['sampling'] = sampling_rows(config, params, sizes)
  found['phases'] = [
    phase_row(*given, shape, sizes.repeats)
    for given, shape in zip(
      ((name, config, params), ('150,000 parameters', WORLD, small)),
      sizes.steps, strict=True,
    )
  ]  # fmt: skip
  found['hardware']['load_after'] = os.getloadavg()[0]
  return found


def _random(config: decoder.DecoderConfig) -> types.PyTree:
  ids = jnp.zeros((1, 2), jnp.int32)
  init = jax.jit(decoder.Decoder(config).init)
  return init(jax.random.key(0), ids, ids, decoder.attended(ids + 1))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--output', type=Path, help='JSON file to write')
  parser.add_argument('--smoke', action='store_true', help='a tiny decoder')
  given = parser.parse_args()
  results = measure(SMOKE if given.smoke else Sizes(), smoke=given.smoke)
  for part, columns in COLUMNS.items():
    print(discriminator.table(results[part], columns.split()))
  if given.output:
    writers.write_json_atomic(given.output, results)


if __name__ == '__main__':
  main()
