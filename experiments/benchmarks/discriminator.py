"""A shared prefix against separate sequences; our decoder against torch's.

  python -m experiments.benchmarks.discriminator --output=FILE.json

The first part times the training step of the policy discriminator: gradient
of `ops.discriminator.triple` and AdamW, compiled, the old state donated, on a
pre-trained decoder's first layers. Arms: sequences of one candidate each,
packed into rows; the same candidates as branches of one stem, packed into rows
of the same length; and the separate ones padded, one per row. The learning
rate is so small that the parameters stay, so that all arms have one loss,
which is compared. Row length and triples a step are chosen for full rows.

The second part times logits, and loss with its gradient, of the whole decoder
against transformers and torch with the same weights, if they are installed.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.data import load, triples
from prm_jax.models import decoder, language_model
from prm_jax.models.weights import huggingface
from prm_jax.ops import discriminator
from prm_jax.rewards import discriminative, trajectories
from prm_jax.runtime import writers

RATE = 1e-9  # below the parameters' resolution
GRID = 16  # row lengths are multiples of it
TINY = decoder.DecoderConfig(
  vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
  num_attention_heads=4, num_key_value_heads=2, head_dim=8,
)  # fmt: skip
COLUMNS = {
  'sharing': 'negatives triples shared_row_tokens separate_tokens '
  'shared_tokens separate_fill shared_fill separate_seconds shared_seconds '
  'sharing_speedup token_ratio share_of_token_ratio packing_speedup '
  'packing_fill_ratio',
  'torch': 'pass batch tokens ours_tokens_per_second torch_tokens_per_second '
  'times_torch times_torch_of_fastest',
}
# Log-normal lengths where there are no real data: median and log's deviation,
# tokens; those of AlpacaEval's logs.
PROMPT, RESPONSE = (25.0, 0.85), (225.0, 1.04)


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    layers: that are trained.
    cap: tokens of a prompt and its response; at most half are the prompt's.
    tokens: of a step with separate sequences, about.
    batches: of the mean, for every number of negatives.
    tries: random batches that these are chosen from.
    repeats: timed rounds.
    negatives: K, each a row of results.
    shapes: B and T of the second part.
    remat: whether layers are computed again for the gradient, in both parts.
  """

  layers: int = 6
  cap: int = 128
  tokens: int = 3000
  batches: int = 3
  tries: int = 1000
  repeats: int = 5
  negatives: tuple[int, ...] = (1, 2, 4, 8)
  shapes: tuple[tuple[int, int], ...] = ((16, 64), (8, 256))
  remat: bool = False


SMOKE = Sizes(
  layers=1, cap=16, tokens=150, batches=2, tries=20, repeats=2,
  negatives=(2,), shapes=((2, 8),),
)  # fmt: skip


class Task(NamedTuple):
  """A reference and its candidates, the positive first."""

  reference: trajectories.Trajectory
  candidates: list[trajectories.Trajectory]


def count(batches: Sequence[Sequence[trajectories.Sequences]]) -> float:
  """Returns the mean number of tokens in a batch."""
  return sum(len(s) for batch in batches for s in batch) / len(batches)


def real_tasks(tokenizer: Tokenizer, number: int, negatives: int) -> list[Task]:
  """Returns triples of AlpacaEval with more negatives, tokenised, not cut.

  Raises:
    ValueError: there are no real data.
  """
  outputs = load.policy_outputs()
  found = triples.draw(
    outputs,
    policies=range(len(outputs.policies)),
    prompts=range(len(outputs.prompts)),
    per_policy=-(-number // len(outputs.policies)),
    seed=0,
  )
  rng = np.random.default_rng(0)
  items = []
  for row in rng.permutation(len(found.positive))[:number]:
    positive, negative = found.positive[row], found.negative[row]
    others = outputs.item_prompt == outputs.item_prompt[positive]
    others &= outputs.item_policy != found.policy[row]
    others[negative] = False
    more = rng.choice(np.flatnonzero(others), negatives - 1, replace=False)
    items.append([found.reference[row], positive, negative, *more])
  flat = np.concatenate(items)
  prompts = [outputs.prompts[outputs.item_prompt[i]] for i in flat]
  texts = [outputs.texts[i] for i in flat]
  given = trajectories.tokenize(tokenizer, prompts, texts)
  groups = np.split(np.arange(len(flat)), len(items))
  return [Task(given[i], [given[j] for j in rest]) for i, *rest in groups]


def random_tasks(vocabulary: int, number: int, negatives: int) -> list[Task]:
  """Returns tasks of random tokens with log-normal lengths."""
  rng = np.random.default_rng(0)

  def tokens(median, deviation):
    size = max(round(median * np.exp(deviation * rng.standard_normal())), 1)
    return rng.integers(vocabulary, size=size).tolist()

  def trajectory(prompt):
    return trajectories.Trajectory(prompt, [0], tokens(*RESPONSE))

  found = []
  for _ in range(number):
    reference, prompt = trajectory(tokens(*PROMPT)), tokens(*PROMPT)
    candidates = [trajectory(prompt) for _ in range(negatives + 1)]
    found.append(Task(reference, candidates))
  return found


def cut(task: Task, cap: int) -> Task:
  """Returns the task with `cap` tokens a trajectory, half for the prompt."""

  def one(trajectory):
    prompt = list(trajectory.prompt)[-(cap // 2) :]
    room = cap - len(prompt) - len(trajectory.joint)
    response = trajectory.response[:room]
    return trajectory._replace(prompt=prompt, response=response)

  return Task(one(task.reference), [one(c) for c in task.candidates])


def lengths(tasks: Sequence[Task]) -> dict[str, float]:
  """Returns the mean tokens of prompts, references and candidates."""
  candidates = [c for task in tasks for c in task.candidates]
  prompts = [task.reference for task in tasks]
  prompts += [task.candidates[0] for task in tasks]
  return {
    'prompt': float(np.mean([len(t.prompt) + len(t.joint) for t in prompts])),
    'reference': float(np.mean([len(t.reference.response) for t in tasks])),
    'candidate': float(np.mean([len(c.response) for c in candidates])),
  }


def formula(mean: dict[str, float], negatives: int) -> float:
  """Returns (K + 1)(2p + r + c) / (2p + r + (K + 1) c) of mean lengths."""
  p, r, c = mean['prompt'], mean['reference'], mean['candidate']
  branches = negatives + 1
  return branches * (2 * p + r + c) / (2 * p + r + branches * c)


def shared(tasks: Sequence[Task], negatives: int):
  """Returns the shared sequences of tasks, with K negatives each."""
  return trajectories.sequences(
    [task.reference for task in tasks],
    [task.candidates[: negatives + 1] for task in tasks],
  )


def plan(
  sequences: Sequence[trajectories.Sequences], sizes: Sizes
) -> tuple[list[list[trajectories.Sequences]], int]:
  """Returns batches of as many triples and rows, and the length of a row.

  Of random batches with 0.7 to 1.3 times the tokens asked for, in rows of up
  to 832 tokens or a tenth above the longest sequence, those with few
  empty places, as many in both arms, and the ratio of tokens of all sequences.

  Raises:
    ValueError: there are too few sequences.
  """
  rng = np.random.default_rng(0)
  apart = [trajectories.separate([sequence]) for sequence in sequences]
  usual = count(apart) / count([[s] for s in sequences])
  few, many = (
    max(1, round(f * sizes.tokens / count(apart))) for f in (0.7, 1.3)
  )
  found: dict[tuple[int, ...], list[tuple[float, list[int]]]] = {}
  for _ in range(sizes.tries):
    number = int(rng.integers(few, many + 1))
    chosen = rng.choice(len(sequences), number, replace=False).tolist()
    arms = [s for i in chosen for s in apart[i]], [sequences[i] for i in chosen]
    tokens = [count([arm]) for arm in arms]
    odd = abs(tokens[0] / tokens[1] / usual - 1)
    longest = max(map(len, arms[1]))
    last = max(min(832, 3 * longest), round(1.1 * longest))
    for length in range(-(-longest // GRID) * GRID, last + 1, GRID):
      rows = [len(trajectories.pack(arm, length).ids) for arm in arms]
      one, other = (t / (r * length) for t, r in zip(tokens, rows, strict=True))
      known = found.setdefault((number, length, *rows), [])
      known.append((min(one, other) - abs(one - other) - odd, chosen))
  full = [
    (sorted(known, reverse=True)[: sizes.batches], key[1])
    for key, known in found.items()
    if len(known) >= sizes.batches
  ]
  if not full:
    raise ValueError(f'{len(sequences)} sequences are too few')
  best, length = max(full, key=lambda some: some[0][-1][0])
  return [[sequences[i] for i in chosen] for _, chosen in best], length


def pack(
  batch: Sequence[trajectories.Sequences], length: int, longest: int
) -> dict[str, trajectories.Packed]:
  """Returns the batch packed by arm, padded to the longest sequence."""
  apart = trajectories.separate(batch)
  return {
    'separate': trajectories.pack(apart, length),
    'shared': trajectories.pack(batch, length),
    'padded': trajectories.pack(apart, longest, pad=True),
  }


def trainer(
  config: decoder.DecoderConfig, params: types.PyTree, remat: bool
) -> Callable[[trajectories.Packed, int], float]:
  """Returns (packed, negatives) -> loss, after the whole training step.

  Starts from a decoder's params, the head drawn at random.
  """
  params = discriminative.with_markers(params)
  D = config.hidden_size
  params['head'] = jax.random.normal(jax.random.key(0), (D,)) / D**0.5
  params = jax.tree.map(jnp.array, params)  # a copy: steps donate it
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(RATE, b2=0.95)
  )

  def objective(params, packed, negatives):
    score = discriminative.score_packed(
      params, packed, config=config, remat=remat
    ).reshape(-1, negatives + 1)
    return discriminator.triple(score[:, 0], score[:, 1:]).mean()

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


def alternate(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Returns seconds of every run, in turn, after one that is not counted."""
  for run in runs.values():
    jax.block_until_ready(run())
  times: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      start = time.perf_counter()
      jax.block_until_ready(run())
      times[name].append(time.perf_counter() - start)
  return times


def sharing_row(
  step: Callable[[trajectories.Packed, int], float],
  tasks: Sequence[Task],
  negatives: int,
  sizes: Sizes,
) -> dict[str, Any]:
  """Returns tokens and times of the three arms for K negatives."""
  every = shared(tasks, negatives)
  batches, length = plan(every, sizes)
  apart = [trajectories.separate(batch) for batch in batches]
  longest = max(len(s) for some in apart for s in some)
  middle, least, differences = [], [], []
  for batch in batches:
    packed = pack(batch, length, longest)
    losses: dict[str, float] = {}

    def run(name, value, losses=losses):
      losses[name] = step(value, negatives)

    runs = {
      name: functools.partial(run, name, jax.device_put(value))
      for name, value in packed.items()
    }
    times = alternate(runs, sizes.repeats)
    middle.append({k: statistics.median(all_) for k, all_ in times.items()})
    least.append({k: min(all_) for k, all_ in times.items()})
    differences.append(max(losses.values()) - min(losses.values()))
  tokens = {'shared': count(batches)}
  row: dict[str, Any] = {
    'negatives': negatives,
    'triples': len(batches[0]),
    'batches': len(batches),
    'formula_ratio': formula(lengths(tasks), negatives),
    'token_ratio_of_all': count([trajectories.separate(every)])
    / count([every]),
    'token_ratio': count(apart) / tokens['shared'],
  }
  for name, value in packed.items():
    row[f'{name}_rows'], row[f'{name}_row_tokens'] = np.shape(value.ids)
    row[f'{name}_tokens'] = tokens.get(name, count(apart))
    row[f'{name}_fill'] = row[f'{name}_tokens'] / np.size(value.ids)
    row[f'{name}_seconds'] = statistics.mean(t[name] for t in middle)
    row[f'{name}_seconds_fastest'] = statistics.mean(t[name] for t in least)

  def times_of(slow, fast, what):
    return row[f'{slow}_{what}'] / row[f'{fast}_{what}']

  speedup = times_of('separate', 'shared', 'seconds')
  fastest = times_of('separate', 'shared', 'seconds_fastest')
  return row | {
    'sharing_speedup': speedup,
    'sharing_speedup_of_fastest': fastest,
    'share_of_token_ratio': speedup / row['token_ratio'],
    'share_of_token_ratio_of_fastest': fastest / row['token_ratio'],
    'packing_speedup': times_of('padded', 'separate', 'seconds'),
    'packing_fill_ratio': times_of('separate', 'padded', 'fill'),
    'loss_difference': max(differences),
  }


def sharing(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  tasks: Sequence[Task],
  sizes: Sizes,
) -> dict[str, Any]:
  """Returns the first part's results.

  Args:
    config: of the decoder.
    params: of the decoder.
    tasks: not cut, with as many negatives as are asked for.
    sizes: how much is done.
  """
  layers = decoder.take_layers(params, 0, sizes.layers)['params']
  inner = {**params['params'], 'layers': layers}
  config = dataclasses.replace(config, num_hidden_layers=sizes.layers)
  step = trainer(config, {'params': inner}, sizes.remat)
  short = [cut(task, sizes.cap) for task in tasks]
  rows = []
  for negatives in sizes.negatives:
    rows.append(sharing_row(step, short, negatives, sizes))
    print(rows[-1], flush=True)
  whole = lengths(tasks)
  return {
    'layers': sizes.layers,
    'remat': sizes.remat,
    'decoder_parameters': config.parameters,
    'cap': sizes.cap,
    'mean_tokens': lengths(short),
    'mean_tokens_uncut': whole,
    'formula_ratio_uncut': {str(K): formula(whole, K) for K in sizes.negatives},
    'rows': rows,
  }


def logits_and_gradient(config: decoder.DecoderConfig, remat: bool):
  """Returns (params, ids) -> logits, and -> next-token loss and gradient.

  The head is the embedding.
  """
  network: Any = decoder.Decoder(config, remat=remat)

  def states(params, ids):
    place = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    mask = decoder.attended(jnp.ones((1, ids.shape[1]), jnp.int32))
    return network.apply(params, ids, place, mask).hidden

  def logits(params, ids):
    return network.apply(params, states(params, ids), method='logits')

  def loss(params, ids):
    # The target's logit by itself: the logits need no scattered gradient.
    # One axis of tokens: the gradient of the embedding needs no transpose.
    hidden = states(params, ids)[:, :-1].reshape(-1, config.hidden_size)
    target = ids[:, 1:].reshape(-1)
    of_target = params['params']['embed']['embedding'][target] * hidden
    found = network.apply(params, hidden, method='logits')
    return jnp.mean(jax.nn.logsumexp(found, -1) - of_target.sum(-1))

  return jax.jit(logits), jax.jit(jax.value_and_grad(loss))


def torch_model(config: decoder.DecoderConfig, params: types.PyTree) -> Any:
  """Returns transformers' decoder with the same weights, on every core."""
  import torch
  import transformers

  torch.set_num_threads(os.cpu_count() or 1)
  with tempfile.TemporaryDirectory() as folder:
    huggingface.save_decoder(config, params, Path(folder))
    return transformers.AutoModelForCausalLM.from_pretrained(
      folder, attn_implementation='sdpa', dtype=torch.float32
    ).eval()  # torch's mode without dropout; gradients are kept


def against_torch(
  config: decoder.DecoderConfig, params: types.PyTree, sizes: Sizes
) -> dict[str, Any]:
  """Returns the second part's results: tokens a second of ours and torch's.

  Raises:
    ValueError: the two do not compute the same.
  """
  import torch

  model = torch_model(config, params)
  ours_forward, ours_backward = logits_and_gradient(config, sizes.remat)

  def theirs_forward(ids):
    with torch.inference_mode():
      return model(input_ids=ids, use_cache=False).logits

  def theirs_backward(ids):
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.item()

  rows = []
  for B, T in sizes.shapes:
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(B, T))
    ours, theirs = jnp.asarray(ids, jnp.int32), torch.from_numpy(ids)
    logits = theirs_forward(theirs).numpy()
    apart = np.abs(np.asarray(ours_forward(params, ours)) - logits).max()
    # Of random tokens, logits reach tens: rounding goes with their size.
    error = apart / np.abs(logits).max()
    loss = float(ours_backward(params, ours)[0])
    loss_error = abs(loss - theirs_backward(theirs))
    if not (error < 1e-4 and loss_error < 1e-4):
      raise ValueError(f'logits differ by {error}, losses by {loss_error}')
    for what, one, other in (
      ('forward', ours_forward, theirs_forward),
      ('forward and backward', ours_backward, theirs_backward),
    ):
      row = {'pass': what, 'batch': B, 'tokens': T, 'logit_error': float(error)}
      row['loss_error'] = loss_error
      runs = {
        'ours': functools.partial(one, params, ours),
        'torch': functools.partial(other, theirs),
      }
      middle, least = {}, {}
      for name, times in alternate(runs, sizes.repeats).items():
        middle[name], least[name] = statistics.median(times), min(times)
        row[f'{name}_seconds'] = middle[name]
        row[f'{name}_seconds_fastest'] = least[name]
        row[f'{name}_tokens_per_second'] = B * T / middle[name]
      row['times_torch'] = middle['torch'] / middle['ours']
      row['times_torch_of_fastest'] = least['torch'] / least['ours']
      rows.append(row)
      print(row, flush=True)
  return {'remat': sizes.remat, 'rows': rows}


def hardware() -> dict[str, Any]:
  """Returns what the figures depend on."""
  names = ('jax', 'jaxlib', 'flax', 'optax', 'torch', 'transformers')
  there = [name for name in names if importlib.util.find_spec(name)]
  known = Path('/proc/cpuinfo')
  model = known.is_file() and re.search('name\t: (.*)', known.read_text())
  return {
    'cpu': model[1] if model else platform.processor(),
    'cores': os.cpu_count(),
    'device': jax.devices()[0].device_kind,
    'load': os.getloadavg()[0],
    'versions': {name: importlib.metadata.version(name) for name in there},
  }


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
  """Returns columns of rows as a Markdown table."""

  def cell(value):
    if not isinstance(value, float):
      return str(value)
    return f'{value:.0f}' if value >= 100 else f'{value:.2f}'

  lines = [columns, ['---'] * len(columns)]
  lines += [[cell(row[name]) for name in columns] for row in rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def measure(sizes: Sizes, part: str, *, smoke: bool) -> dict[str, Any]:
  """Returns all results; a part that is not asked for, or cannot be, is None.

  Args:
    sizes: how much is done.
    part: 'both', 'sharing' or 'torch'.
    smoke: whether to use a tiny random decoder, and no data.
  """
  wanted = ('torch', 'transformers')
  missing = [name for name in wanted if not importlib.util.find_spec(name)]
  results: dict[str, Any] = {'hardware': hardware(), 'smoke': smoke}
  results |= {'sharing': None, 'torch': None}
  if results['hardware']['load'] > 1:
    print('others are running: times mean little, torch suffers most')
  if smoke:
    ids, mask = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1, 1, 1), bool)
    init = jax.jit(decoder.Decoder(TINY).init)
    params = init(jax.random.key(0), ids, ids, mask)
    config, tokenizer = TINY, None
  else:
    config, params, tokenizer, _ = language_model.LanguageModel.load()
  number, most = 40 * sizes.batches, max(sizes.negatives)
  if part != 'torch' and tokenizer and os.environ.get('PRM_DATA_DIR'):
    tasks = real_tasks(tokenizer, number, most)
    results['lengths'] = 'alpaca_eval'
  else:
    tasks = random_tasks(config.vocab_size, number, most)
    results['lengths'] = f'log-normal {PROMPT}, {RESPONSE}'
  if part != 'torch':
    results['sharing'] = sharing(config, params, tasks, sizes)
  if part != 'sharing' and missing:
    print(f'not compared with torch: {" and ".join(missing)} not installed')
  elif part != 'sharing':
    results['torch'] = against_torch(config, params, sizes)
  results['hardware']['load_after'] = os.getloadavg()[0]
  return results


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  add = parser.add_argument
  add('--output', type=Path, help='JSON file to write')
  add('--smoke', action='store_true', help='a tiny random decoder, no data')
  add('--layers', type=int, default=6, help='that are trained')
  add('--cap', type=int, default=128, help='tokens of prompt and response')
  add('--tokens', type=int, default=3000, help='separate tokens of a step')
  add('--repeats', type=int, default=5, help='timed rounds of every batch')
  add('--remat', action='store_true', help='compute layers twice')
  add('--part', choices=['both', 'sharing', 'torch'], default='both')
  given = parser.parse_args()
  asked = Sizes(
    layers=given.layers, cap=given.cap, tokens=given.tokens,
    repeats=given.repeats, remat=given.remat,
  )  # fmt: skip
  sizes = SMOKE if given.smoke else asked
  results = measure(sizes, given.part, smoke=given.smoke)
  for part, columns in COLUMNS.items():
    if results[part]:
      print(table(results[part]['rows'], columns.split()))
  if given.output:
    writers.write_json_atomic(given.output, results)


if __name__ == '__main__':
  main()
