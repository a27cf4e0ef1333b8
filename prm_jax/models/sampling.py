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
from prm_jax.models import constraints, decoder, filtering, lora, prefixes
from prm_jax.models.language_model import LanguageModel


class Samples(NamedTuple):
  """Drawn continuations.

  Attributes:
    ids: `[R, N]` int32, `pad_id` after the stop token.
    mask: `[R, N]` int32, 1 for a token, the stop token included.
    logprob: `[R, N]` log-probability under the distribution drawn from:
      constrained, tempered and filtered.
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
  allow: constraints.Allow | None
  dtype: Any


class _Rows(NamedTuple):
  source: types.ArrayLike
  row_ids: types.ArrayLike
  temperature: types.ArrayLike
  top_p: types.ArrayLike
  top_k: types.ArrayLike
  active: types.ArrayLike
  allowed: types.PyTree  # data of a constraint


class _Suffix(NamedTuple):
  ids: types.ArrayLike
  mask: types.ArrayLike
  of: types.ArrayLike
  parent: types.ArrayLike  # [Q] the prompt that it continues


class _Before(NamedTuple):
  """What stands before the first token that is drawn, of B prompts or Q.

  Attributes:
    token: `[Q]` the last one, which no cache holds yet.
    cache: of those before it.
    filled: `[Q, slots]` bool, which of its slots hold tokens.
  """

  token: types.Array
  cache: decoder.Cache
  filled: types.Array


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
  suffix: prefixes.Suffix | None = None,
  constraint: constraints.Constraint | None = None,
  active: types.ArrayLike | None = None,
  shift: types.Array | None = None,
  adapters: lora.Adapters | None = None,
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
    prompt_mask: `[B, P]` 0 for padding, on either side; every row has a token,
      there or in its suffix.
    max_new_tokens: N.
    temperature: one, or one a row `[R]`, as `top_p` and `top_k`.
    top_p: see `filtering.filter_logits`.
    top_k: see `filtering.filter_logits`.
    stop_ids: tokens that end a text.
    pad_id: what follows them.
    row_ids: `[R]` integers below 2^32; 0..R-1 if None.
    source: `[R]` the prompt that each row continues, so that a prompt is read
      once for many continuations; 0..B-1 if None.
    suffix: what is read after prompts, before anything is drawn.
    constraint: of every row; what it allows is tempered and filtered. A row
      that it allows no token stops without one.
    active: `[R]` bool, rows that are written: the loop does not wait for
      others, which get no token. All if None.
    shift: `[L, B or 1, D]` steering of every prompt, as `Decoder` takes it;
      continuations are steered as their prompt.
    adapters: of the kernels, applied beside them; of one person, to be mapped
      over people.
    filtered: False is faster where all top_p are 1 and all top_k are 0, which
      are then not looked at.
    dtype: of the computation; logits are float32.

  Raises:
    ValueError: no token is asked for, or rows do not fit their suffixes.
  """
  if max_new_tokens < 1:
    raise ValueError(f'max_new_tokens is {max_new_tokens}: at least 1')
  source = np.arange(len(prompt_ids)) if source is None else source
  row_ids = np.arange(len(source)) if row_ids is None else row_ids
  settings = (temperature, top_p, top_k, True if active is None else active)
  allow, data = (None, None) if constraint is None else constraint
  rows = _Rows._make([*_rows(source, row_ids, *settings), data])
  ends, kind = tuple(sorted(stop_ids)), jnp.dtype(dtype)
  plan = _Plan(max_new_tokens, ends, pad_id, filtered, allow, kind)
  tail = _suffix(suffix, source)
  run = _sampler(config, plan)
  asked = prompt_ids, prompt_mask, tail, rows, shift, adapters
  return run(key, params, *asked)


def _rows(*settings: Any) -> list[types.ArrayLike]:
  """Returns every setting, `[R]`, of its kind."""
  count = len(settings[0])

  def each(value, kind):
    # What is on the host stays there: no program for every setting.
    numpy = jnp if isinstance(value, jax.Array) else np
    return numpy.broadcast_to(numpy.asarray(value, kind), (count,))

  kinds = (np.int32, np.uint32, np.float32, np.float32, np.int32, bool)
  return list(map(each, settings, kinds))


def _suffix(
  suffix: prefixes.Suffix | None, source: types.ArrayLike
) -> _Suffix | None:
  """Returns suffixes with their prompts; None where there are none to read."""
  if suffix is None or not suffix.ids.shape[1]:
    return None
  source, Q = np.asarray(source, np.int32), len(suffix.ids)
  of = np.arange(Q) if suffix.of is None else np.asarray(suffix.of)
  if len(of) != len(source) or (len(of) and not 0 <= of.min() <= of.max() < Q):
    raise ValueError(f'{Q} suffixes: {len(source)} rows have to name one each')
  parent = np.zeros(Q, np.int32)
  parent[of] = source
  if (parent[of] != source).any():
    raise ValueError('rows with one suffix continue different prompts')
  return _Suffix(suffix.ids, suffix.mask, of.astype(np.int32), parent)


@functools.lru_cache(maxsize=16)
def _sampler(config: decoder.DecoderConfig, plan: _Plan) -> Callable:
  model: Any = decoder.Decoder(config, plan.dtype)

  @jax.jit
  def run(key, params, ids, mask, suffix, rows, shift, adapters):
    own = {} if adapters is None else {'adapters': adapters}
    before = _read(model, plan, params, ids, mask, suffix, shift, own)
    of = rows.source if suffix is None else suffix.of
    cache = before.cache.rows(of)
    R, N = of.shape[0], plan.max_new_tokens
    shift = _steered(shift, rows.source)
    filled = before.filled[of]
    lengths = filled.sum(-1)
    usable = jnp.pad(filled, ((0, 0), (0, N)), constant_values=True)

    def unfinished(state):
      return (state.step < N) & ~jnp.all(state.stopped)

    def advance(state):
      seen = usable & (jnp.arange(usable.shape[1]) <= state.cache.slot)
      at, token = (lengths + state.step)[:, None], state.token[:, None]
      options = {'cache': state.cache, 'shift': shift, **own}
      output = model.apply(params, token, at, seen[:, None, None], **options)
      state = state._replace(cache=output.cache)
      return _choose(model, plan, key, params, rows, state, output.hidden[:, 0])

    zeros, blank = jnp.zeros((R, N)), jnp.zeros((R, N), jnp.int32)
    empty = Samples(blank + plan.pad_id, blank, zeros, zeros)
    start = (jnp.int32(0), before.token[of], ~rows.active, cache, empty)
    return jax.lax.while_loop(unfinished, advance, _State(*start)).samples

  return run


def _steered(shift: types.Array | None, rows: types.Array):
  """Returns the steering of some rows."""
  if shift is None or shift.shape[1] == 1:
    return shift
  return shift[:, rows]


def _read(model, plan, params, ids, mask, suffix, shift, own) -> _Before:
  """Returns prompts, or the suffixes behind them, read to their last tokens."""
  ids, real = decoder.left_padded(ids, mask)
  B, P = ids.shape
  S = 0 if suffix is None else suffix.ids.shape[1]
  room = S + plan.max_new_tokens
  cache = decoder.empty_cache(model.config, B, P - 1 + room, plan.dtype)
  filled = real[:, :-1]

  def read(ids, filled, cache, shift, room):
    """Returns the cache with texts that end where its slots are filled."""
    T = ids.shape[1]
    seen = decoder.attended(filled.astype(jnp.int32)).mask()[:, :, -T:]
    seen = jnp.pad(seen, ((0, 0), (0, 0), (0, 0), (0, room)))
    at = decoder.counted(filled)[:, -T:]
    options = {'cache': cache, 'shift': shift, **own}
    return model.apply(params, ids, at, seen, **options).cache

  if P > 1:
    cache = read(ids[:, :-1], filled, cache, shift, room)
  if suffix is None:
    return _Before(ids[:, -1], cache, filled)
  # The prompt's last token is read with the suffix, which may be empty.
  head, tail = ids[suffix.parent, -1:], real[suffix.parent, -1:]
  block, there = decoder.left_padded(
    jnp.concatenate([head, suffix.ids], 1),
    jnp.concatenate([tail, suffix.mask != 0], 1),
  )
  filled = jnp.concatenate([filled[suffix.parent], there[:, :-1]], 1)
  cache, shift = cache.rows(suffix.parent), _steered(shift, suffix.parent)
  cache = read(block[:, :-1], filled, cache, shift, plan.max_new_tokens)
  return _Before(block[:, -1], cache, filled)


def _choose(model, plan, key, params, rows, state, hidden):
  """Returns the state with a token added to each unfinished row."""
  logits = model.apply(params, hidden, method='logits')
  going, possible = ~state.stopped, logits
  if plan.allow is not None:
    allowed = plan.allow(rows.allowed, state.samples.ids, state.step)
    able = jnp.any(allowed, -1)
    going &= able
    possible = jnp.where(allowed | ~able[:, None], logits, -jnp.inf)
  settings = (rows.temperature, rows.top_p, rows.top_k)
  if plan.filtered:
    drawn = filtering.filter_logits(possible, *settings)
  else:
    drawn = filtering.temper(possible, rows.temperature)
  keys = jax.vmap(
    lambda row: jax.random.fold_in(jax.random.fold_in(key, row), state.step)
  )(rows.row_ids)
  token = filtering.draw(jax.vmap(jax.random.uniform)(keys), drawn)

  def score(logits):
    at = jnp.take_along_axis(logits, token[:, None], -1)[:, 0]
    return at - jax.nn.logsumexp(logits, -1)

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
  return _State(state.step + 1, token, ~going | ends, state.cache, samples)


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
  groups: Sequence[int] | None = None,
  least: prefixes.Sizes | None = None,
  constraint: constraints.Constraint | None = None,
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
    top_p: see `filtering.filter_logits`.
    top_k: see `filtering.filter_logits`.
    stop: tokens that end a text.
    row_ids: `[n]` integers below 2^32, that key the noise; 0..n-1 if None.
    groups: `[n]`; the first tokens that all prompts of a group share are read
      once a batch, and then the rest of each. Prompts are tokenised whole.
    least: shapes to which every batch is filled up, so that calls of different
      numbers and lengths of prompts are one program. None: each its own.
    constraint: of the n texts.
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
  split = _split(ids, groups, least)
  texts, finished = [''] * n, np.zeros(n, bool)
  tokens = np.zeros(n, np.int32)
  # Texts that share are side by side, and those of similar length.
  order = sorted(range(n), key=lambda i: (split[i], ids[i][: split[i]], ids[i]))
  bar = tqdm.tqdm(total=n, desc='writing', leave=False, disable=not progress)
  with bar:
    for first in range(0, n, batch):
      chosen = order[first : first + batch]
      asked = (ids, split, np.array(chosen), batch, least)
      drawn = _batch(key, model, *asked, rows, constraint, shift, settings)
      for row, i in enumerate(chosen):
        answer = [int(t) for t in drawn.ids[row][drawn.mask[row] > 0]]
        tokens[i] = len(answer)
        if answer and answer[-1] in settings['stop_ids']:
          finished[i] = True
          answer.pop()
        texts[i] = model.tokenizer.decode(answer)
      bar.update(len(chosen))
  return Written(texts, finished, tokens)


def _batch(
  key,
  model,
  ids,
  split,
  chosen,
  batch,
  least,
  rows,
  constraint,
  shift,
  settings,
) -> Samples:
  """Returns what was drawn for the chosen prompts, and copies of the first."""
  count = len(chosen) if least is None else max(len(chosen), least.rows)
  R = prefixes.rounded(min(count, batch), batch)
  chosen = np.concatenate([chosen, np.full(R - len(chosen), chosen[0])])
  steered = shift is not None and shift.shape[1] > 1
  packed = prefixes.packed(
    [ids[i] for i in chosen],
    [split[i] for i in chosen],
    most=batch,
    kinds=[shift[:, i].tobytes() for i in chosen] if steered else None,
    least=least,
  )
  if shift is not None:
    shift = shift[:, chosen[packed.first]] if steered else shift
    shift = jnp.asarray(shift, jnp.float32)
  drawn = sample(
    key,
    model.config,
    model.params,
    packed.prompts.ids,
    packed.prompts.mask,
    source=packed.source,
    suffix=packed.suffix,
    constraint=None if constraint is None else constraint.take(chosen),
    shift=shift,
    **{name: value[chosen] for name, value in rows.items()},
    **settings,
  )
  return jax.tree.map(np.asarray, drawn)


def _split(ids, groups, least) -> list[int]:
  """Returns where the second part of each prompt begins."""
  split = [*map(len, ids)]
  if groups is not None:
    split = prefixes.shared(ids, groups).tolist()
  return split if least is None else [min(at, least.head) for at in split]


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
