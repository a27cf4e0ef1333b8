"""Training of a reward model: our trainer against TRL's, with the same weights.

Pairs of LLMBar, in the tokens of SmolLM2, on the decoder of SmolLM2 cut to its
lowest layers; Bradley-Terry on the last token of prompt and answer, Adam,
float32, all weights trained. Ours reads a text a row (padded), many texts a row
(packed), or each prompt once before both its answers (shared); TRL's
RewardTrainer runs with gradient checkpointing, its default, and without. All
arms see the same pairs in the same order; before anything is timed the losses
of the first steps must agree to 1e-4. Packing and padding are timed, reading
weights and tokenizing are not.

One core: `taskset -c 0 python -m ...`. Run it on an idle machine.

  pip install '.[torch]' trl
"""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import against_torch, program
from prm_jax import types
from prm_jax.data import load
from prm_jax.lab import curves, timing
from prm_jax.learners import aggregate
from prm_jax.models import decoder, packing
from prm_jax.models.weights import huggingface
from prm_jax.rewards import backbone
from prm_jax.runtime import start as starts
from prm_jax.runtime import train

_RATE, _PAD, _AGREE = 1e-5, 0, 1e-4


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: 'SmolLM2-135M', or 'tiny' for a random one.
    layers: of it, the lowest.
    texts: 'llmbar', which reads PRM_DATA_DIR, or 'random'.
    pairs: of a step.
    checked: first steps, whose losses are compared.
    steps: of a timed round, the first again.
    row: tokens of a packed row.
    multiple: rows are made up to one.
    repeats: timed rounds.
  """

  model: str = 'SmolLM2-135M'
  layers: int = 4
  texts: str = 'llmbar'
  pairs: int = 8
  checked: int = 20
  steps: int = 4
  row: int = 512
  multiple: int = 1
  repeats: int = 5


class Pairs(NamedTuple):
  """Texts `2 n`, the first of a pair preferred, and the prompt of each."""

  texts: list[list[int]]
  prompts: np.ndarray


def pairs(sizes: Sizes, tokenizer: Any) -> Pairs:
  """Returns as many pairs as are trained on, as token ids."""
  count = sizes.pairs * max(sizes.checked, sizes.steps)
  if sizes.texts == 'random':
    rng = np.random.default_rng(0)

    def draw():
      return rng.integers(1, 30, rng.integers(2, sizes.row // 4)).tolist()

    prompts = [draw() for _ in range(count)]
    both = [[prompt + draw() for _ in range(2)] for prompt in prompts]
  else:
    known = load.instruction_pairs(None)
    order = np.random.default_rng(0).permutation(len(known.prompts))
    both = []
    for row in order[:count]:
      answers = [known.first[row], known.second[row]]
      if not known.label[row]:
        answers.reverse()
      texts = [f'{known.prompts[row]}\n{answer}' for answer in answers]
      both.append([tokenizer.encode(t).ids[: sizes.row] for t in texts])
  every = [text for pair in both for text in pair]
  return Pairs(every, np.repeat(np.arange(len(both)), 2))


def ours(
  sizes: Sizes, config: decoder.DecoderConfig, start: types.PyTree, data: Pairs
) -> dict[str, Callable[[int], list[float]]]:
  """Returns arm -> what trains so many steps and returns their losses."""
  count = len(data.texts) // 2
  index = np.arange(2 * count, dtype=np.int32).reshape(-1, 2)
  rows = types.Batch(
    types.Judgements(
      np.zeros(count, np.int32),
      np.ones(count, np.float32),
      np.ones(count, np.float32),
      np.arange(count, dtype=np.int32),
    ),
    types.Inputs(None, index),
  )
  given = {
    'params/reward/' + jax.tree_util.keystr(path, simple=True, separator='/'): x
    for path, x in jax.tree_util.tree_leaves_with_path(start)
  }
  whole = aggregate.linear(backbone=backbone.Backbone(config, 'whole'))
  phase = whole.phases[-1]._replace(optimizer=optax.adam(_RATE))

  @functools.cache
  def begun(steps):
    learner = whole._replace(phases=(phase._replace(steps=steps),))
    state = starts.start(
      learner,
      key=jax.random.key(0),
      spec=types.Spec(config.hidden_size, 1, count),
      hyper={'ridge': 0.0},
      given=given,
    )
    return learner, state

  def run(how, steps):
    curve = curves.Curve()
    reader = packing.Reader(*data, sizes.row, how, sizes.multiple)
    stream = _Ordered(rows, sizes.pairs, reader)
    learner, state = begun(steps)
    train.go_on(learner, state, rows, batches=stream, writer=curve, log_every=1)
    return [row['loss'] for row in curve.rows]

  return {how: functools.partial(run, how) for how in packing.HOW}


class _Ordered:
  """Batches in the order of the rows, as TRL's sampler deals them."""

  def __init__(self, rows: types.Batch, size: int, read: packing.Reader):
    self.rows, self.size, self.read, self.next = rows, size, read, 0

  def __iter__(self):
    return self

  def __next__(self) -> types.Batch:
    chosen = np.arange(self.next, self.next + self.size)
    self.next += self.size
    some = self.rows.take(chosen)
    return types.Batch(some.rows, self.read(np.asarray(some.inputs.index)))


def theirs(
  sizes: Sizes, folder: Path, data: Pairs, *, checkpointing: bool
) -> Callable[[int], list[float]]:
  """Returns what trains TRL's RewardTrainer and returns the losses."""
  import datasets
  import pyarrow
  import torch
  import transformers
  import trl
  from tokenizers import Tokenizer, models

  torch.set_num_threads(cores())
  known = {'[PAD]': _PAD, '[UNK]': 1}
  words = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(known, '[UNK]')),
    **{'pad_token': '[PAD]', 'eos_token': '[PAD]', 'unk_token': '[UNK]'},
  )
  texts = {'chosen_ids': data.texts[::2], 'rejected_ids': data.texts[1::2]}
  # A fingerprint of one's own: theirs is made of what cannot be pickled.
  rows = datasets.Dataset(pyarrow.table(texts), fingerprint='pairs')

  class InOrder(trl.RewardTrainer):
    def _get_train_sampler(self, *_):
      return torch.utils.data.SequentialSampler(self.train_dataset)

  @functools.cache
  def trainer():
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
      folder, attn_implementation='sdpa', dtype=torch.float32
    )
    return InOrder(
      model,
      trl.RewardConfig(
        output_dir=str(folder / 'trl'),
        per_device_train_batch_size=sizes.pairs,
        max_steps=1,
        learning_rate=_RATE,
        lr_scheduler_type='constant',
        weight_decay=0.0,
        max_grad_norm=0.0,
        max_length=None,
        gradient_checkpointing=checkpointing,
        logging_steps=1,
        save_strategy='no',
        report_to='none',
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
      ),
      train_dataset=rows,
      processing_class=words,
    )

  def run(steps):
    made = trainer()
    made.args.max_steps = steps
    made.train()
    return [row['loss'] for row in made.state.log_history if 'loss' in row]

  return run


def cores() -> int:
  """Returns how many cores this process may use."""
  return len(os.sched_getaffinity(0))


def measure(sizes: Sizes) -> program.Tables:
  """Returns pairs and tokens a second of ours and TRL's.

  Raises:
    ValueError: the two do not train alike.
  """
  config, params, tokenizer = against_torch.load(sizes.model)
  config = config.cut(0, sizes.layers)
  lower = decoder.take_layers(params, 0, sizes.layers)['params']
  params = {'params': {**params['params'], 'layers': lower}}
  data = pairs(sizes, tokenizer)
  rng = np.random.default_rng(1)
  weight = rng.normal(size=config.hidden_size).astype(np.float32) * 0.02
  start = {'weight': jnp.asarray(weight), 'backbone': params}
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name) / 'model'
    huggingface.save_classifier(
      config, params, weight[None], folder, labels=('reward',), pad=_PAD
    )
    arms = ours(sizes, config, start, data)
    arms |= {
      'trl': theirs(sizes, folder, data, checkpointing=False),
      'trl_checkpointing': theirs(sizes, folder, data, checkpointing=True),
    }
    losses = {name: np.array(run(sizes.checked)) for name, run in arms.items()}
    gaps = {
      name: float(np.abs(found - losses['trl']).max())
      for name, found in losses.items()
    }
    if max(gaps.values()) > _AGREE:
      raise ValueError(f'losses of {sizes.checked} steps differ by {gaps}')
    times = timing.side_by_side(
      {name: functools.partial(run, sizes.steps) for name, run in arms.items()},
      sizes.repeats,
    )
  return {'training': _rows(sizes, data, times, gaps)}


def _rows(sizes, data, times, gaps) -> list[program.Row]:
  """Returns a row of every arm."""
  some = data.texts[: 2 * sizes.pairs * sizes.steps]
  tokens = sum(map(len, some))
  return [
    {
      'arm': name,
      'cores': cores(),
      'layers': sizes.layers,
      'pairs': sizes.pairs,
      'tokens_of_a_text': tokens / len(some),
      'largest_loss_gap': gaps[name],
      **time.per(sizes.steps).columns('seconds_of_a_step'),
      'tokens_per_second': tokens / time.median,
      **times['trl'].times('times_trl', time),
      **times['trl_checkpointing'].times('times_trl_checkpointing', time),
    }
    for name, time in times.items()
  ]


if __name__ == '__main__':
  program.main(
    __doc__,
    measure,
    Sizes(),
    Sizes('tiny', 2, 'random', 2, checked=3, steps=2, row=32, repeats=2),
  )
