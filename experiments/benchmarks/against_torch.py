"""Our decoder against torch's, with the same weights.

Logits, and mean next-token cross-entropy with its gradient, of the whole
decoder in float32 against transformers' (sdpa, as many threads as cores). Both
must agree to 1e-4, logits relative to the largest, before anything is timed.
Run it on an idle machine: torch's threads wait for each other by spinning, and
a second program on the same cores makes it many times slower.
"""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import program
from prm_jax import types
from prm_jax.lab import timing
from prm_jax.models import decoder, language_model
from prm_jax.models.weights import huggingface

TINY = decoder.DecoderConfig(
  31, 64, 172, 3, 4, 4, 16, rope_theta=100.0, query_key_norm=True
)


class Sizes(NamedTuple):
  """How much is done.

  Attributes:
    model: 'SmolLM2-135M', or 'tiny' for a random one.
    shapes: texts, and tokens of each.
    repeats: timed rounds.
  """

  model: str = 'SmolLM2-135M'
  shapes: tuple[tuple[int, int], ...] = ((16, 64), (8, 256))
  repeats: int = 5


def load(name: str) -> tuple[decoder.DecoderConfig, types.PyTree, Any]:
  """Returns a decoder with its tokenizer; the random tiny one has none."""
  if name != 'tiny':
    return language_model.LanguageModel.load()[:3]
  ids = jnp.zeros((1, 2), jnp.int32)
  mask = decoder.attended(ids + 1)
  init = jax.jit(decoder.Decoder(TINY).init)
  return TINY, init(jax.random.key(0), ids, ids, mask), None


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


def ours(config: decoder.DecoderConfig):
  """Returns (params, ids) -> logits, and -> next-token loss and gradient.

  The head is the embedding.
  """
  network: Any = decoder.Decoder(config)

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
    all_logits = network.apply(params, hidden, method='logits')
    return jnp.mean(jax.nn.logsumexp(all_logits, -1) - of_target.sum(-1))

  return jax.jit(logits), jax.jit(jax.value_and_grad(loss))


def theirs(model):
  """Returns ids -> logits, and -> loss, after the backward pass."""
  import torch

  def logits(ids):
    with torch.inference_mode():
      return model(input_ids=ids, use_cache=False).logits

  def loss(ids):
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    return loss.item()

  return logits, loss


def measure(sizes: Sizes) -> program.Tables:
  """Returns tokens a second of ours and torch's.

  Raises:
    ValueError: the two do not compute the same.
  """
  import torch

  config, params, _ = load(sizes.model)
  logits, loss = ours(config)
  their_logits, their_loss = theirs(torch_model(config, params))
  rows = []
  for B, T in sizes.shapes:
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(B, T))
    x, y = jnp.asarray(ids, jnp.int32), torch.from_numpy(ids)
    expected = their_logits(y).numpy()
    # Of random tokens, logits reach tens: rounding goes with their size.
    gap = np.abs(np.asarray(logits(params, x)) - expected).max()
    error = float(gap / np.abs(expected).max())
    loss_error = abs(float(loss(params, x)[0]) - their_loss(y))
    if not (error < 1e-4 and loss_error < 1e-4):
      raise ValueError(f'logits differ by {error}, losses by {loss_error}')
    for what, one, other in (
      ('forward', logits, their_logits),
      ('forward and backward', loss, their_loss),
    ):
      mine = functools.partial(one, params, x)
      arms = {'ours': mine, 'torch': functools.partial(other, y)}
      row = {'pass': what, 'batch': B, 'tokens': T, 'logit_error': error}
      row['loss_error'] = loss_error
      times = timing.side_by_side(arms, sizes.repeats)
      rows.append(row | against(times, B * T))
  return {'passes': rows}


def against(times: dict[str, timing.Timing], tokens: int) -> dict[str, Any]:
  """Returns columns of `ours`, and of `torch` if it was timed.

  Args:
    times: of both.
    tokens: of a round.
  """
  row: dict[str, Any] = timing.seconds(times)
  for name, time in times.items():
    row[f'{name}_tokens_per_second'] = tokens / time.median
  if 'torch' in times:
    row |= times['torch'].times('times_torch', times['ours'])
  return row


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes('tiny', ((2, 8),), 2))
