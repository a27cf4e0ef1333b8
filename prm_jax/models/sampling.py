"""Texts drawn from a decoder, and the probability it gives to texts.

A row's text depends on the key, its row id and its prompt alone: not on the
batch around it, nor on where its prompt is padded.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from tokenizers import Tokenizer

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel

_NEAR = 256  # likeliest tokens among which a threshold is sought first
_BLOCK = 256  # tokens whose mass is summed before a token is drawn
_INFINITY = 0x7F800000  # its bits in float32


class Samples(NamedTuple):
  """Drawn continuations.

  Attributes:
    ids: `[R, N]` int32, `pad_id` after the stop token.
    mask: `[R, N]` int32, 1 for a token, the stop token included.
    logprob: `[R, N]` log-probability under the distribution drawn from:
      tempered and filtered.
    base_logprob: `[R, N]` under the model's own, at temperature 1.
  """

  ids: types.Array
  mask: types.Array
  logprob: types.Array
  base_logprob: types.Array


class _Plan(NamedTuple):
  max_new_tokens: int
  stop_ids: tuple[int, ...]
  pad_id: int
  filtered: bool
  dtype: Any


class _Rows(NamedTuple):
  source: types.ArrayLike
  row_ids: types.ArrayLike
  temperature: types.ArrayLike
  top_p: types.ArrayLike
  top_k: types.ArrayLike
  active: types.ArrayLike


class _State(NamedTuple):
  step: types.Array
  token: types.Array
  stopped: types.Array
  cache: decoder.Cache
  samples: Samples


def sample(
  key: types.Key,
  config: decoder.DecoderConfig,
  params: types.PyTree,
  prompt_ids: types.ArrayLike,
  prompt_mask: types.ArrayLike,
  *,
  max_new_tokens: int,
  temperature: types.Scalar = 1.0,
  top_p: types.Scalar = 1.0,
  top_k: types.Scalar = 0,
  stop_ids: Sequence[int] = (),
  pad_id: int = 0,
  row_ids: types.ArrayLike | None = None,
  source: types.ArrayLike | None = None,
  active: types.ArrayLike | None = None,
  shift: types.Array | None = None,
  filtered: bool = True,
  dtype: Any = jnp.float32,
) -> Samples:
  """Returns continuations of prompts, drawn token by token.

  The program is compiled once for a configuration, the shapes, and the
  arguments that are not arrays. Its loop ends when every row has stopped.

  Args:
    key: of the draws; row r's noise at a step is keyed by
      fold_in(fold_in(key, row_ids[r]), step).
    config: of the model.
    params: of a `Decoder`.
    prompt_ids: `[B, P]` int32.
    prompt_mask: `[B, P]` 0 for padding, on either side; every row has a token.
    max_new_tokens: N.
    temperature: one, or one a row `[R]`, as `top_p` and `top_k`.
    top_p: see `filter_logits`.
    top_k: see `filter_logits`.
    stop_ids: tokens that end a text.
    pad_id: what follows them.
    row_ids: `[R]` integers below 2^32; 0..R-1 if None.
    source: `[R]` the prompt that each row continues, so that a prompt is read
      once for many continuations; 0..B-1 if None.
    active: `[R]` bool, rows that are written: the loop does not wait for
      others, which get no token. All if None.
    shift: `[L, B or 1, D]` steering of every prompt, as `Decoder` takes it;
      continuations are steered as their prompt.
    filtered: False is faster where all top_p are 1 and all top_k are 0, which
      are then not looked at.
    dtype: of the computation; logits are float32.
  """
  source = np.arange(len(prompt_ids)) if source is None else source
  row_ids = np.arange(len(source)) if row_ids is None else row_ids

  def each(value, kind: Any = np.float32):
    # What is on the host stays there: no program for every setting.
    numpy = jnp if isinstance(value, jax.Array) else np
    return numpy.broadcast_to(numpy.asarray(value, kind), (len(source),))

  rows = _Rows(
    *(each(source, np.int32), each(row_ids, np.uint32)),
    *(each(temperature), each(top_p), each(top_k, np.int32)),
    each(True if active is None else active, bool),
  )
  if max_new_tokens < 1:
    raise ValueError(f'max_new_tokens is {max_new_tokens}: at least 1')
  plan = _Plan(
    *(max_new_tokens, tuple(sorted(stop_ids)), pad_id, filtered),
    jnp.dtype(dtype),
  )
  run = _sampler(config, plan)
  return run(key, params, prompt_ids, prompt_mask, rows, shift)


@functools.lru_cache(maxsize=16)
def _sampler(config: decoder.DecoderConfig, plan: _Plan) -> Callable:
  model: Any = decoder.Decoder(config, plan.dtype)

  @jax.jit
  def run(key, params, ids, mask, rows, shift):
    token, cache, real = _read(model, plan, params, ids, mask, shift)
    R, N = rows.source.shape[0], plan.max_new_tokens
    cache = decoder.Cache(
      cache.key[:, rows.source], cache.value[:, rows.source], cache.slot
    )
    if shift is not None and shift.shape[1] > 1:
      shift = shift[:, rows.source]
    lengths = real.sum(-1)[rows.source]
    usable = jnp.pad(
      real[rows.source], ((0, 0), (0, N - 1)), constant_values=True
    )

    def unfinished(state):
      return (state.step < N) & ~jnp.all(state.stopped)

    def advance(state):
      seen = usable & (jnp.arange(usable.shape[1]) <= state.cache.slot)
      at, token = (lengths + state.step - 1)[:, None], state.token[:, None]
      options = {'cache': state.cache, 'shift': shift}
      output = model.apply(params, token, at, seen[:, None, None], **options)
      state = state._replace(cache=output.cache)
      return _choose(model, plan, key, params, rows, state, output.hidden[:, 0])

    zeros, blank = jnp.zeros((R, N)), jnp.zeros((R, N), jnp.int32)
    empty = Samples(blank + plan.pad_id, blank, zeros, zeros)
    start = (jnp.int32(0), token[rows.source], ~rows.active, cache, empty)
    return jax.lax.while_loop(unfinished, advance, _State(*start)).samples

  return run


def _read(model, plan, params, ids, mask, shift):
  """Returns the last tokens `[B]`, the cache of those before, `[B, P]` bool."""
  ids, real = decoder.left_padded(ids, mask)
  B, P = ids.shape
  N = plan.max_new_tokens
  cache = decoder.empty_cache(model.config, B, P - 1 + N, plan.dtype)
  if P > 1:
    before = real[:, :-1]
    seen = decoder.attended(before.astype(jnp.int32))
    seen = jnp.pad(seen, ((0, 0), (0, 0), (0, 0), (0, N)))
    cache = model.apply(
      params,
      ids[:, :-1],
      decoder.counted(before),
      seen,
      cache=cache,
      shift=shift,
    ).cache
  return ids[:, -1], cache, real


def _choose(model, plan, key, params, rows, state, hidden):
  """Returns the state with a token added to each unfinished row."""
  logits = model.apply(params, hidden, method='logits')
  if plan.filtered:
    drawn = filter_logits(logits, rows.temperature, rows.top_p, rows.top_k)
  else:
    drawn = _temper(logits, rows.temperature)
  keys = jax.vmap(
    lambda row: jax.random.fold_in(jax.random.fold_in(key, row), state.step)
  )(rows.row_ids)
  token = _draw(jax.vmap(jax.random.uniform)(keys), drawn)

  def score(logits):
    at = jnp.take_along_axis(logits, token[:, None], -1)[:, 0]
    return at - jax.nn.logsumexp(logits, -1)

  going = ~state.stopped
  samples = jax.tree.map(
    lambda old, new, none: old.at[:, state.step].set(
      jnp.where(going, new, none).astype(old.dtype)
    ),
    state.samples,
    Samples(token, jnp.ones_like(token), score(drawn), score(logits)),
    Samples(*map(jnp.asarray, (plan.pad_id, 0, 0.0, 0.0))),
  )
  token = jnp.where(going, token, plan.pad_id)
  ends = jnp.isin(token, jnp.array(plan.stop_ids, jnp.int32))
  stopped = state.stopped | ends
  return _State(state.step + 1, token, stopped, state.cache, samples)


def filter_logits(
  logits: types.Array,
  temperature: types.Scalar = 1.0,
  top_p: types.Scalar = 1.0,
  top_k: types.Scalar = 0,
) -> types.Array:
  """Returns logits `[..., V]`, tempered, of the tokens that may be drawn.

  First the temperature, then the `top_k` likeliest tokens, then the nucleus:
  the likeliest of those whose mass, of theirs, is at least `top_p`, as few as
  possible and at least one. Tokens as likely as the last one kept are kept.
  Others are -inf; the likeliest is 0.

  No sorting: the thresholds are looked for among the 256 likeliest tokens,
  and where some row's is not there, by bisection over the bits of all rows'
  distances to their likeliest token. Both are exact.

  Args:
    logits: `[..., V]` float32.
    temperature: one, or `[...]`; 0 leaves the likeliest token, the first of
      equal ones.
    top_p: one, or `[...]`; 1 is off.
    top_k: one, or `[...]`; 0 is off.

  References:
    Holtzman et al. 2019 (nucleus sampling), arXiv:1904.09751.
  """
  V = logits.shape[-1]
  tempered = _temper(logits, temperature)
  top_p = _column(top_p, jnp.float32)
  top_k = _column(top_k, jnp.int32)
  top_k = jnp.where((top_k <= 0) | (top_k >= V), V, top_k)
  distance = jnp.abs(tempered)
  mass = jnp.exp(tempered)
  near = -jax.lax.top_k(tempered, min(V, _NEAR))[0]
  K = near.shape[-1]
  last = jnp.take_along_axis(
    near, jnp.broadcast_to(jnp.minimum(top_k, K) - 1, (*near.shape[:-1], 1)), -1
  )
  last = jnp.where(top_k < V, last, jnp.inf)
  total = jnp.sum(jnp.where(distance <= last, mass, 0), -1, keepdims=True)
  reached = jnp.cumsum(jnp.exp(-near), -1) >= top_p * total
  nucleus = jnp.min(
    jnp.where(reached, near, jnp.inf), -1, keepdims=True, initial=jnp.inf
  )
  nucleus = jnp.where(top_p < 1, nucleus, jnp.inf)
  limit = jnp.minimum(last, nucleus)
  if K < V:
    in_sight = (top_p >= 1) | jnp.any(reached, -1, keepdims=True)
    limit = jax.lax.cond(
      jnp.all((top_k <= K) | ((top_k == V) & in_sight)),
      lambda: limit,
      lambda: _bisect(distance, mass, top_p, top_k),
    )
  return jnp.where(distance <= limit, tempered, -jnp.inf)


def _column(value: types.Scalar, dtype: Any) -> jax.Array:
  return jnp.asarray(value, dtype)[..., None]


def _temper(logits: jax.Array, temperature: types.Scalar) -> jax.Array:
  """Returns tempered logits, less their maximum."""
  heat = _column(temperature, jnp.float32)
  below = logits - jnp.max(logits, -1, keepdims=True)
  first = jnp.arange(logits.shape[-1]) == _first(below == 0)[..., None]
  greedy = jnp.where(first, 0.0, -jnp.inf)
  tempered = below / jnp.where(heat > 0, heat, 1)
  return jnp.where(heat > 0, tempered, greedy)


def _first(is_true: jax.Array) -> jax.Array:
  """Returns the first true place of `[..., V]`; 0 if there is none.

  An argmax over floats takes ten times as long on a processor.
  """
  V = is_true.shape[-1]
  place = jnp.min(jnp.where(is_true, jnp.arange(V), V), -1)
  return jnp.where(place < V, place, 0)


def _bisect(distance, mass, top_p, top_k):
  """Returns the largest distance `[..., 1]` of a token that is kept."""
  bits = jax.lax.bitcast_convert_type(distance, jnp.int32)

  def smallest(measure, wanted):
    def halve(_, bounds):
      low, high = bounds
      middle = low + (high - low) // 2
      measured = jnp.where(bits <= middle, measure, 0).sum(-1, keepdims=True)
      enough = measured >= wanted
      return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    low = jnp.zeros((*bits.shape[:-1], 1), jnp.int32)
    bounds = (low, jnp.full_like(low, _INFINITY))
    return jax.lax.fori_loop(0, 31, halve, bounds)[1]

  last = smallest(1, top_k)
  last = jnp.where(top_k < bits.shape[-1], last, _INFINITY)
  mass = jnp.where(bits <= last, mass, 0)
  nucleus = smallest(mass, top_p * mass.sum(-1, keepdims=True))
  nucleus = jnp.where(top_p < 1, nucleus, _INFINITY)
  limit = jnp.minimum(last, nucleus)
  return jax.lax.bitcast_convert_type(limit, jnp.float32)


def _draw(uniform: jax.Array, logits: jax.Array) -> jax.Array:
  """Returns tokens `[R]` int32: the cumulative mass is inverted.

  One number a row, and cumulative sums over blocks, then within one: the noise
  of a Gumbel maximum over a large vocabulary takes thirty times as long.

  Args:
    uniform: `[R]` in [0, 1).
    logits: `[R, V]`, at most 0, and 0 for the likeliest.
  """
  V = logits.shape[-1]
  mass = jnp.pad(jnp.exp(logits), ((0, 0), (0, -V % _BLOCK)))
  blocks = mass.reshape(len(mass), -1, _BLOCK)
  end = jax.lax.cummax(jnp.cumsum(blocks.sum(-1), -1), axis=1)
  target = uniform[:, None] * end[:, -1:]
  block = jnp.sum(end <= target, -1, keepdims=True)
  block = jnp.minimum(block, blocks.shape[1] - 1)
  start = jnp.take_along_axis(end, jnp.maximum(block - 1, 0), -1)
  rest = target - jnp.where(block > 0, start, 0)
  inside = jnp.take_along_axis(blocks, block[..., None], 1)[:, 0]
  place = jnp.sum(jnp.cumsum(inside, -1) <= rest, -1)
  # Rounding may lead past the last token with any mass, of block or row.
  held = jnp.where(inside > 0, jnp.arange(_BLOCK), 0)
  place = jnp.minimum(place, jnp.max(held, -1))
  token = block[:, 0] * _BLOCK + place
  possible = jnp.take_along_axis(mass, token[:, None], -1)[:, 0] > 0
  return jnp.where(possible, token, _first(logits == 0)).astype(jnp.int32)


def log_probability(
  config: decoder.DecoderConfig,
  params: types.PyTree,
  ids: types.ArrayLike,
  mask: types.ArrayLike,
  *,
  positions: types.Array | None = None,
  shift: types.Array | None = None,
  dtype: Any = jnp.float32,
) -> types.Array:
  """Returns log p(token | the real tokens before it), `[B, T]`, given texts.

  Differentiable; logits are made a few positions at a time, and again for the
  gradient.

  Args:
    config: of the model.
    params: of a `Decoder`.
    ids: `[B, T]` int32.
    mask: `[B, T]` 0 for padding, which may be anywhere.
    positions: `[B, T]` int32; the number of real tokens before if None.
    shift: `[L, B or 1, D]` steering.
    dtype: of the computation; logits are float32.

  Returns:
    0 for padding and for each row's first token.
  """
  run = _scorer(config, jnp.dtype(dtype))
  return run(params, jnp.asarray(ids), jnp.asarray(mask), positions, shift)


@functools.lru_cache(maxsize=4)
def _scorer(config: decoder.DecoderConfig, dtype: Any) -> Callable:
  model: Any = decoder.Decoder(config, dtype)

  @jax.jit
  def run(params, ids, mask, positions, shift):
    real = mask != 0
    if positions is None:
      positions = decoder.counted(real)
    seen = decoder.attended(real.astype(jnp.int32))
    hidden = model.apply(params, ids, positions, seen, shift=shift).hidden
    places = jnp.where(real, jnp.arange(ids.shape[1]), -1)
    before = jnp.roll(jax.lax.cummax(places, axis=1), 1, -1).at[:, 0].set(-1)
    hidden = jnp.take_along_axis(
      hidden, jnp.maximum(before, 0)[..., None], axis=1
    )

    @jax.checkpoint
    def score(at):
      hidden, token = at
      logits = model.apply(params, hidden, method='logits')
      chosen = jnp.take_along_axis(logits, token[:, None], -1)[:, 0]
      return chosen - jax.nn.logsumexp(logits, -1)

    found = jax.lax.map(score, (jnp.swapaxes(hidden, 0, 1), ids.T)).T
    return jnp.where(real & (before >= 0), found, 0.0)

  return run


# ---------------------------------------------------------------------- texts


def chatml(prompt: str, system: str = '') -> str:
  """Returns a prompt in the template of SmolLM2 and Qwen.

  Answers stop at '<|im_end|>'. An empty `system` has no turn.
  """
  turn = '<|im_start|>{}\n{}<|im_end|>\n'
  before = turn.format('system', system) if system else ''
  return before + turn.format('user', prompt) + '<|im_start|>assistant\n'


class Written(NamedTuple):
  """Texts that a model wrote.

  Attributes:
    texts: without their stop tokens.
    finished: `[n]` bool, whether a stop token came before the limit.
    tokens: `[n]` int32, how many were drawn, stop tokens included.
  """

  texts: list[str]
  finished: np.ndarray
  tokens: np.ndarray


def generate(
  key: types.Key, model: LanguageModel, prompts: Sequence[str], **settings: Any
) -> list[str]:
  """Returns a text for every prompt: `write`, and its arguments."""
  return write(key, model, prompts, **settings).texts


def write(
  key: types.Key,
  model: LanguageModel,
  prompts: Sequence[str],
  *,
  max_new_tokens: int,
  temperature: types.Scalar = 1.0,
  top_p: types.Scalar = 1.0,
  top_k: types.Scalar = 0,
  stop: Sequence[str] = ('<|im_end|>',),
  row_ids: types.ArrayLike | None = None,
  shift: np.ndarray | None = None,
  batch: int = 64,
  dtype: Any = jnp.float32,
  progress: bool = True,
) -> Written:
  """Returns a text for each of n prompts, in batches of similar length.

  Args:
    key: of the draws.
    model: config, params and tokenizer.
    prompts: as the model reads them; equal ones are read once a batch.
    max_new_tokens: after which an unfinished text is cut.
    temperature: one, or one a prompt `[n]`, as `top_p` and `top_k`.
    top_p: see `filter_logits`.
    top_k: see `filter_logits`.
    stop: tokens that end a text.
    row_ids: `[n]` integers below 2^32, that key the noise; 0..n-1 if None.
    shift: `[L, n or 1, D]` steering.
    batch: prompts at once.
    dtype: of the computation.
    progress: whether to show a bar.

  Raises:
    ValueError: an empty or too long prompt, an unknown stop token, or a
      setting out of its range.
  """
  n = len(prompts)
  ids = _encode(model, prompts, max_new_tokens)
  rows = {
    'temperature': _per_row(temperature, n, 0, np.inf, 'temperature'),
    'top_p': _per_row(top_p, n, 0, 1, 'top_p'),
    'top_k': _per_row(top_k, n, 0, np.inf, 'top_k').astype(np.int32),
    'row_ids': np.asarray(np.arange(n) if row_ids is None else row_ids),
  }
  settings = {
    'max_new_tokens': max_new_tokens,
    'stop_ids': _stop_ids(model.tokenizer, stop),
    'dtype': dtype,
    'filtered': bool((rows['top_p'] < 1).any() or (rows['top_k'] > 0).any()),
  }
  texts, finished = [''] * n, np.zeros(n, bool)
  tokens = np.zeros(n, np.int32)
  order = sorted(range(n), key=lambda i: (len(ids[i]), ids[i]))
  bar = tqdm.tqdm(total=n, desc='writing', leave=False, disable=not progress)
  with bar:
    for first in range(0, n, batch):
      chosen = order[first : first + batch]
      drawn = _batch(key, model, ids, chosen, batch, rows, shift, settings)
      for row, i in enumerate(chosen):
        answer = [int(t) for t in drawn.ids[row][drawn.mask[row] > 0]]
        tokens[i] = len(answer)
        if answer[-1] in settings['stop_ids']:
          finished[i] = True
          answer.pop()
        texts[i] = model.tokenizer.decode(answer)
      bar.update(len(chosen))
  return Written(texts, finished, tokens)


def _batch(key, model, ids, chosen, batch, rows, shift, settings) -> Samples:
  """Returns what was drawn for the chosen prompts, and copies of the first.

  Shapes are few, since each is compiled: lengths are rounded, and rows filled
  up with copies.
  """
  chosen = np.array(chosen)
  R = _rounded(len(chosen), batch)
  chosen = np.concatenate([chosen, np.full(R - len(chosen), chosen[0])])
  steered = shift is not None and shift.shape[1] > 1
  known: dict[Any, int] = {}  # prompts that differ, and their rows
  source, distinct = np.zeros(R, np.int32), []
  for row, i in enumerate(chosen):
    name = (tuple(ids[i]), shift[:, i].tobytes() if steered else b'')
    if name not in known:
      known[name] = len(known)
      distinct.append(i)
    source[row] = known[name]
  B = _rounded(len(distinct), batch)
  distinct += [distinct[0]] * (B - len(distinct))
  longest = max(len(ids[i]) for i in distinct)
  P = -(-longest // 16) * 16 if longest <= 128 else -(-longest // 64) * 64
  padded, mask = np.zeros((B, P), np.int32), np.zeros((B, P), np.int32)
  for row, i in enumerate(distinct):
    padded[row, P - len(ids[i]) :] = ids[i]
    mask[row, P - len(ids[i]) :] = 1
  if shift is not None:
    shift = jnp.asarray(shift[:, distinct] if steered else shift, jnp.float32)
  by_row = {name: value[chosen] for name, value in rows.items()}
  options = {**by_row, **settings, 'source': source, 'shift': shift}
  drawn = sample(key, model.config, model.params, padded, mask, **options)
  return jax.tree.map(np.asarray, drawn)


def _rounded(count: int, most: int) -> int:
  """Returns the next power of 2, if it is not above `most`."""
  return min(1 << (count - 1).bit_length(), most)


def _encode(model, prompts, max_new_tokens) -> list[list[int]]:
  found = model.tokenizer.encode_batch(list(prompts), add_special_tokens=False)
  ids = [encoding.ids for encoding in found]
  room = model.config.max_position_embeddings - max_new_tokens
  for number, encoding in enumerate(found):
    if not encoding.ids:
      raise ValueError(f'prompt {number} has no token: {prompts[number]!r}')
    if encoding.overflowing or len(encoding.ids) > room:
      raise ValueError(
        f'prompt {number} is longer than {room} tokens, so that '
        f'{max_new_tokens} more do not fit: {prompts[number][:60]!r}...'
      )
  return ids


def _stop_ids(tokenizer: Tokenizer, stop: Sequence[str]) -> tuple[int, ...]:
  ids = {token: tokenizer.token_to_id(token) for token in stop}
  unknown = [token for token, number in ids.items() if number is None]
  if unknown:
    raise ValueError(f'stop tokens {unknown} are not in the vocabulary')
  return tuple(sorted(number for number in ids.values() if number is not None))


def _per_row(value, n, low, high, name) -> np.ndarray:
  found = np.broadcast_to(np.asarray(value, np.float32), (n,))
  if not ((found >= low) & (found <= high)).all():
    raise ValueError(f'{name} {value}: from {low} to {high}')
  return found
