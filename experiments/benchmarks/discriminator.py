"""A training step with a prefix that candidates share, without, and padded.

A step of the policy discriminator: loss of a positive against K negatives,
gradient, clipping and AdamW, compiled, the old state donated, on a pre-trained
decoder's first layers and its embedding in float32. `separate` reads prompt,
reference, prompt and candidate for every candidate, packed into rows; `shared`
reads all but the candidates once, packed into rows of the same length;
`padded` is `separate` with one sequence a row, as long as the longest. The
learning rate is so small that the parameters stay, so that all arms have one
loss, which is compared. Rows have the length at which both arms fill them best.
Triples are AlpacaEval's; without PRM_DATA_DIR random tokens of such lengths.

The ratio of tokens is what sharing could save at most if time went by tokens;
for mean lengths p, r, c of prompt, reference and candidate it is about
(K + 1)(2p + r + c) / (2p + r + (K + 1)c).
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from experiments.benchmarks import against_torch, program
from prm_jax import types
from prm_jax.data import load, triples
from prm_jax.lab import timing
from prm_jax.models import decoder, packing
from prm_jax.ops import discrimination
from prm_jax.rewards import discriminative, trajectories

RATE = 1e-9  # below the parameters' resolution
TASKS = 120  # of the mean lengths; a step has the first of them
MOST, GRID = 832, 16  # tokens of a row, and what they are a multiple of
# Log-normal lengths where there are no real data: median and log's deviation,
# tokens; those of AlpacaEval's logs.
PROMPT, RESPONSE = (25.0, 0.85), (225.0, 1.04)


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: 'SmolLM2-135M', or 'tiny' for a random one and no data.
    layers: that are trained.
    cap: tokens of a prompt and its response; at most half are the prompt's.
    tokens: of a step with separate sequences, about.
    repeats: timed rounds.
    negatives: K, each a row of results.
  """

  model: str = 'SmolLM2-135M'
  layers: int = 6
  cap: int = 128
  tokens: int = 9000
  repeats: int = 5
  negatives: tuple[int, ...] = (1, 2, 4, 8)


SMOKE = Sizes('tiny', 1, 16, 300, 2, (2,))
# A reference and its candidates, the positive first.
Task = list[trajectories.Trajectory]


def real_tasks(tokenizer: Tokenizer, negatives: int) -> list[Task]:
  """Returns triples of AlpacaEval with more negatives, tokenised, not cut.

  Raises:
    ValueError: there are no real data.
  """
  outputs = load.policy_outputs()
  policies, prompts = range(len(outputs.policies)), range(len(outputs.prompts))
  each = -(-TASKS // len(policies))
  drawn = triples.draw(
    outputs, policies=policies, prompts=prompts, per_policy=each, seed=0
  )
  rng = np.random.default_rng(0)
  items = []
  for row in rng.permutation(len(drawn.positive))[:TASKS]:
    positive = drawn.positive[row]
    others = outputs.item_prompt == outputs.item_prompt[positive]
    others &= outputs.item_policy != drawn.policy[row]
    negative = rng.choice(np.flatnonzero(others), negatives, replace=False)
    items.append([drawn.reference[row], positive, *negative])
  flat = np.concatenate(items)
  asked = [outputs.prompts[prompt] for prompt in outputs.item_prompt[flat]]
  written = [outputs.texts[i] for i in flat]
  read = iter(trajectories.tokenize(tokenizer, asked, written))
  return [[next(read) for _ in task] for task in items]


def random_tasks(vocabulary: int, negatives: int) -> list[Task]:
  """Returns tasks of random tokens with log-normal lengths."""
  rng = np.random.default_rng(0)

  def tokens(median, deviation):
    size = 1 + int(median * rng.lognormal(sigma=deviation))
    return rng.integers(vocabulary, size=size).tolist()

  def task():
    first, prompt = tokens(*PROMPT), tokens(*PROMPT)
    prompts = [first, *[prompt] * (negatives + 1)]
    return [trajectories.Trajectory(p, [0], tokens(*RESPONSE)) for p in prompts]

  return [task() for _ in range(TASKS)]


def cut(
  trajectory: trajectories.Trajectory, cap: int
) -> trajectories.Trajectory:
  """Returns the trajectory with `cap` tokens, at most half of the prompt."""
  prompt = list(trajectory.prompt)[-(cap // 2) :]
  room = cap - len(prompt) - len(trajectory.joint)
  return trajectory._replace(prompt=prompt, response=trajectory.response[:room])


def shared_sequences(tasks: Sequence[Task], negatives: int):
  """Returns what is read with K negatives and a shared prefix."""
  references = [reference for reference, *_ in tasks]
  candidates = [others[: negatives + 1] for _, *others in tasks]
  return trajectories.sequences(references, candidates)


def count(sequences: Sequence[packing.Sequences]) -> int:
  """Returns the number of tokens."""
  return sum(map(len, sequences))


def token_ratio(sequences: Sequence[packing.Sequences]) -> float:
  """Returns how many times as many tokens are read without sharing."""
  return count(packing.separate(sequences)) / count(sequences)


def row_length(arms: Sequence[Sequence[packing.Sequences]]) -> int:
  """Returns the length of rows that all arms fill well, and equally well."""

  def quality(length):
    rows = [len(trajectories.pack(arm, length).ids) for arm in arms]
    fill = [count(arm) / n / length for arm, n in zip(arms, rows, strict=True)]
    return 2 * min(fill) - max(fill)

  longest = max(len(sequence) for arm in arms for sequence in arm)
  first = -(-longest // GRID) * GRID
  return max(range(first, max(MOST, first) + 1, GRID), key=quality)


def trainer(
  config: decoder.DecoderConfig, params: types.PyTree
) -> Callable[[packing.Packed, int], float]:
  """Returns (packed, negatives) -> loss, after the whole training step.

  Starts from a decoder's params, the head drawn at random.
  """
  params = discriminative.with_markers(params)
  D = config.hidden_size
  params['head'] = jax.random.normal(jax.random.key(0), (D,)) / D**0.5
  params = jax.tree.map(jnp.array, params)  # a copy: steps donate it
  clip, adam = optax.clip_by_global_norm(1.0), optax.adamw(RATE, b2=0.95)
  optimizer = optax.chain(clip, adam)

  def objective(params, packed, negatives):
    score = discriminative.score_packed(params, packed, config=config)
    score = score.reshape(-1, negatives + 1)
    return discrimination.triple(score[:, 0], score[:, 1:]).mean()

  @functools.partial(jax.jit, static_argnums=2, donate_argnums=0)
  def update(state, packed, negatives):
    params, moments = state
    loss, gradient = jax.value_and_grad(objective)(params, packed, negatives)
    change, moments = optimizer.update(gradient, moments, params)
    return (optax.apply_updates(params, change), moments), loss

  state = params, jax.jit(optimizer.init)(params)

  def step(packed, negatives):
    nonlocal state
    state, loss = update(state, packed, negatives)
    jax.block_until_ready(state)
    return float(loss)

  return step


def sharing_row(
  step: Callable[[packing.Packed, int], float],
  tasks: Sequence[Task],
  negatives: int,
  sizes: Sizes,
) -> dict[str, Any]:
  """Returns tokens and times of the three arms for K negatives."""
  short = [[cut(t, sizes.cap) for t in task] for task in tasks]
  every = shared_sequences(short, negatives)
  part = sizes.tokens / count(packing.separate(every))
  shared = every[: round(part * len(every))]
  apart = packing.separate(shared)
  length = row_length([apart, shared])
  packed = {
    'separate': trajectories.pack(apart, length),
    'shared': trajectories.pack(shared, length),
    'padded': trajectories.pack(apart, max(map(len, apart)), pad=True),
  }
  arms = {}
  for name, value in packed.items():
    arms[name] = functools.partial(step, jax.device_put(value), negatives)
  times = timing.side_by_side(arms, sizes.repeats)
  row: dict[str, Any] = {
    'negatives': negatives,
    'triples': len(shared),
    'token_ratio_uncut': token_ratio(shared_sequences(tasks, negatives)),
    'token_ratio_of_all': token_ratio(every),
    'token_ratio': token_ratio(shared),
    **timing.seconds(times),
  }
  for name, value in packed.items():
    row[f'{name}_rows'], row[f'{name}_row_tokens'] = np.shape(value.ids)
    row[f'{name}_tokens'] = count(shared if name == 'shared' else apart)
    row[f'{name}_fill'] = row[f'{name}_tokens'] / np.size(value.ids)
  row |= times['separate'].times('sharing_speedup', times['shared'])
  losses = [time.result for time in times.values()]
  fastest = row['sharing_speedup_of_fastest']
  return row | {
    'share_of_token_ratio': row['sharing_speedup'] / row['token_ratio'],
    'share_of_token_ratio_of_fastest': fastest / row['token_ratio'],
    'packing_speedup': times['padded'].median / times['separate'].median,
    'packing_fill_ratio': row['separate_fill'] / row['padded_fill'],
    'loss_difference': max(losses) - min(losses),
  }


def measure(sizes: Sizes) -> program.Tables:
  """Returns a row for each number of negatives."""
  config, params, tokenizer = against_torch.load(sizes.model)
  real, most = os.environ.get('PRM_DATA_DIR'), max(sizes.negatives)
  if tokenizer and real:
    tasks = real_tasks(tokenizer, most)
  else:
    tasks = random_tasks(config.vocab_size, most)
  layers = decoder.take_layers(params, 0, sizes.layers)['params']
  params = {'params': {**params['params'], 'layers': layers}}
  config = config.cut(0, sizes.layers)
  step = trainer(config, params)
  rows = [sharing_row(step, tasks, K, sizes) for K in sizes.negatives]
  return {'sharing': rows}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), SMOKE)
