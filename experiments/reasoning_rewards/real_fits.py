"""Heads on a decoder's last state, frozen or adapted, of kept lower states."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize, special

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import backbone, scalar
from prm_jax.runtime import writers
from prm_jax.systems import optimizers

_BITS = np.uint16  # of bfloat16, which NumPy's files do not know
_NARROW, _WIDE = 64, 128  # steps of padded lengths, below and above 256 tokens


class Read(NamedTuple):
  """What a frozen decoder makes of M texts.

  Attributes:
    states: `[tokens, D]` below the highest layers, bfloat16 as bits: one text
      after another.
    first: `[M + 1]` where each text begins.
    features: `[M, D]` its last state.
  """

  states: np.ndarray
  first: np.ndarray
  features: np.ndarray

  @property
  def length(self) -> np.ndarray:
    """`[M]` tokens."""
    return np.diff(self.first)

  def texts(self, rows: np.ndarray) -> types.Tokens:
    """Returns some texts' states `[B, T, D]`, padded on the right."""
    width = padded(int(self.length[rows].max()))
    shape = len(rows), width, self.states.shape[1]
    ids, mask = np.zeros(shape, _BITS), np.zeros(shape[:2], np.int32)
    for i, row in enumerate(rows):
      some = self.states[self.first[row] : self.first[row + 1]]
      ids[i, : len(some)], mask[i, : len(some)] = some, 1
    return types.Tokens(ids.view(jnp.bfloat16), mask)


def padded(length: int) -> int:
  """Returns the next of few lengths: each is a program."""
  step = _NARROW if length <= 256 else _WIDE
  return -(-length // step) * step


def trunk(model: LanguageModel, node: Any) -> backbone.Backbone:
  """Returns what of a model trains: LoRA of its highest layers.

  Args:
    model: that reads.
    node: `top`, `rank` and `dtype`.
  """
  return backbone.given(
    backbone.Backbone(
      model.config,
      'adapter',
      rank=node.rank,
      dtype=jnp.dtype(node.dtype),
      top=node.top,
      keep=node.keep,
      kept='bfloat16',
    )
  )


def batches(length: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
  """Yields rows of similar length, the longest first.

  Args:
    length: `[M]` of each.
    tokens: of a batch, with padding.
  """
  order = np.argsort(length, kind='stable')[::-1]
  while order.size:
    size = max(1, tokens // padded(int(length[order[0]])))
    rows, order = order[:size], order[size:]
    yield rows


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
  """Returns rows, the first repeated: a batch's size is a program's."""
  return np.concatenate([rows, np.full(size - len(rows), rows[0])])


def states(
  model: LanguageModel, ids: Sequence[np.ndarray], node: Any, path: Path
) -> np.ndarray:
  """Computes texts' states below the highest layers, and returns features.

  Args:
    model: that reads.
    ids: of M texts.
    node: `top`, `keep` (bytes of all states), `tokens` of a batch, and others.
    path: where states are kept: bfloat16 as bits `[tokens, D]`.

  Returns:
    `[M, D]` float32 last states of the decoder as it is.

  Raises:
    ValueError: a text has no token, or states take more than may be kept.
  """
  own = trunk(model, node)
  length = np.array([len(each) for each in ids])
  if not length.all():
    raise ValueError('a text without a token has no last state')
  whole = types.Tokens(length, np.empty((1, length.sum()), np.int32))
  if own.bytes_of(whole) > node.keep:
    raise ValueError(
      f'states of {length.sum()} tokens take {own.bytes_of(whole)} bytes, and '
      f'real.keep is {node.keep}'
    )
  first = np.concatenate([[0], np.cumsum(length)])
  D = model.config.hidden_size
  found = np.zeros((first[-1], D), _BITS)
  features = np.zeros((len(ids), D), np.float32)
  reward, above = _reward(own), _above(model, own)
  for rows in batches(length, node.tokens):
    width = padded(int(length[rows].max()))
    some = _filled(rows, max(1, node.tokens // width))
    tokens = np.zeros((2, len(some), width), np.int32)
    for i, row in enumerate(some):
      tokens[0, i, : length[row]], tokens[1, i, : length[row]] = ids[row], 1
    kept = _lower(own, model.params, types.Tokens(*tokens))
    last = _features(reward, {'backbone': above}, kept)
    features[rows] = np.asarray(last)[: len(rows)]
    bits = np.asarray(kept.ids).view(_BITS)
    for i, row in enumerate(rows):
      found[first[row] : first[row + 1]] = bits[i, : length[row]]
  writers.make_folder(path.parent)
  part = path.with_suffix('.part')
  with part.open('wb') as file:
    np.save(file, found)
  part.replace(path)
  return features


def load(path: Path, length: np.ndarray, features: np.ndarray) -> Read:
  """Returns what `states` kept.

  Args:
    path: of the states.
    length: `[M]` tokens of each text.
    features: `[M, D]`.

  Raises:
    ValueError: the file is damaged, or of other texts.
  """
  try:
    kept = np.load(path, mmap_mode='r', allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    raise ValueError(f'{path} is damaged: delete its unit, too') from error
  if kept.shape != (length.sum(), features.shape[1]):
    raise ValueError(f'{path} holds {kept.shape} of other texts')
  return Read(kept, np.concatenate([[0], np.cumsum(length)]), features)


@functools.partial(jax.jit, static_argnums=0)
def _lower(own: backbone.Backbone, params, texts: types.Tokens):
  assert own.top is not None
  return backbone.states(own._replace(keep=None), own.top, params, texts)


@functools.lru_cache(maxsize=2)
def _reward(own: backbone.Backbone) -> types.RewardModel:
  return backbone.under(scalar.linear(), own)


def _above(model: LanguageModel, own: backbone.Backbone) -> types.PyTree:
  """Returns the highest layers alone: what a reward reads kept states with."""
  assert own.top is not None
  layers = decoder.take_layers(model.params, -own.top)['params']
  return {'params': {'layers': layers, 'norm': model.params['params']['norm']}}


@functools.partial(jax.jit, static_argnums=0)
def _features(reward: types.RewardModel, params, texts: types.Tokens):
  return reward.features(params, types.Inputs(texts))


def verdict(model: LanguageModel, tokens: tuple[int, int]) -> np.ndarray:
  """Returns the weight `[D]` that makes of a state one token's lead in logits.

  Args:
    model: that writes.
    tokens: the one, and the other.
  """
  inner = model.params['params']
  if model.config.tie_word_embeddings:
    table = inner['embed']['embedding']
    return np.asarray(table[tokens[0]] - table[tokens[1]], np.float32)
  kernel = inner['head']['kernel']
  return np.asarray(kernel[:, tokens[0]] - kernel[:, tokens[1]], np.float32)


# -------------------------------------------------------------------- heads


class Examples(NamedTuple):
  """What a head learns: the logit of the label is sum(sign * score) + bias.

  Attributes:
    text: `[E, P]` texts; of two, the first less the second.
    label: `[E]` probability of 1.
  """

  text: np.ndarray
  label: np.ndarray

  @property
  def sign(self) -> np.ndarray:
    """`[P]` of each text's score."""
    return np.array([1.0, -1.0])[: self.text.shape[1]]


class Head(NamedTuple):
  """A linear reading of the last state.

  Attributes:
    weight: `[D]`.
    bias: of the logit of a single text.
  """

  weight: np.ndarray
  bias: float = 0.0

  def scores(self, features: np.ndarray) -> np.ndarray:
    """Returns the score of every text."""
    return features @ self.weight + self.bias


def log_loss(logit: np.ndarray, label: np.ndarray) -> float:
  """Returns the mean of -log p(label), in nats."""
  return float(np.mean(np.logaddexp(0, logit) - label * logit))


def logits(score: np.ndarray, examples: Examples) -> np.ndarray:
  """Returns the logits `[E]` of scores `[M]`."""
  return score[examples.text] @ examples.sign


def linear(
  features: np.ndarray,
  examples: Examples,
  ridge: float,
  scale: np.ndarray | float = 1.0,
) -> Head:
  """Returns the head of least log loss on frozen features, held by a ridge.

      mean log loss + ridge |w|^2 / 2

  w is of features that are standardised over the texts of the examples, times
  the scale; there is a bias where an example is a single text.

  Args:
    features: `[M, D]`.
    examples: to learn.
    ridge: on w.
    scale: `[D]` how much of each feature is let in; one for all.
  """
  known = features[np.unique(examples.text)].astype(float)
  middle, width = known.mean(0), (known.std(0) + 1e-6) / scale
  inputs = (features[examples.text].astype(float) - middle) / width
  inputs = np.einsum('p,epd->ed', examples.sign, inputs)
  single = examples.text.shape[1] == 1
  E, D = inputs.shape

  def loss(flat):
    w, bias = flat[:D], flat[D] * single
    logit = inputs @ w + bias
    slope = (special.expit(logit) - examples.label) / E
    value = log_loss(logit, examples.label) + ridge * w @ w / 2
    return value, np.append(inputs.T @ slope + ridge * w, slope.sum() * single)

  found = optimize.minimize(
    loss, np.zeros(D + 1), jac=True, method='L-BFGS-B', options={'maxiter': 500}
  ).x
  weight = found[:D] / width
  bias = (found[D] - weight @ middle) if single else 0.0
  return Head(weight.astype(np.float32), float(bias))


def chosen_linear(
  features: np.ndarray,
  train: Examples,
  validation: Examples,
  ridges: Sequence[float],
) -> tuple[Head, dict[str, float]]:
  """Returns the head whose ridge loses least on validation rows, and which.

  Args:
    features: `[M, D]`.
    train: what heads learn.
    validation: what the ridge is chosen on.
    ridges: to choose from.
  """
  heads = [linear(features, train, ridge) for ridge in ridges]
  lost = [
    log_loss(logits(head.scores(features), validation), validation.label)
    for head in heads
  ]
  best = int(np.argmin(lost))
  return heads[best], {'ridge': float(ridges[best]), 'validation': lost[best]}


# ------------------------------------------------------------------- adapters


class Adapted(NamedTuple):
  """What trains: LoRA of the highest layers and, of some heads, the weight."""

  adapter: types.PyTree
  weight: jax.Array
  bias: jax.Array


def adapted(
  model: LanguageModel,
  read: Read,
  train: Examples,
  validation: Examples,
  head: Head,
  node: Any,
  *,
  moves: bool,
  seed: int,
  asked: np.ndarray,
) -> tuple[np.ndarray, dict[str, Any]]:
  """Returns scores `[M]` after training, and how far it went.

  Rate and number of steps are those of the least log loss on validation rows;
  none may be best. The head starts as it is on the frozen decoder.

  Args:
    model: whose highest layers train.
    read: the texts' states below.
    train: what is learned.
    validation: what rate and steps are chosen on.
    head: of the frozen decoder.
    node: `rates`, `head_rate`, `steps`, `looks`, `batch` of examples.
    moves: whether the head trains, too.
    seed: of the start and the order.
    asked: texts whose scores are wanted; the others' are NaN.
  """
  own = trunk(model, node)
  above, best = _above(model, own), None
  key = jax.random.key(seed)
  start = Adapted(
    backbone.adapters(key, model.params, node.rank, node.top),
    jnp.asarray(head.weight),
    jnp.asarray(head.bias, jnp.float32),
  )
  looks = np.unique(np.linspace(0, node.steps, node.looks + 1).astype(int))
  curve = []
  for rate in node.rates:
    rng = np.random.default_rng([seed, 0xADA])
    order = _order(rng, read.length, train, node)
    now, step = start, _step(own, node.head_rate, node.steps, moves)
    state = _optimizer(rate, node.head_rate, node.steps, moves).init(start)
    for i in range(node.steps + 1):
      if i in looks and (i or best is None):  # all rates have one start
        score = scores(own, above, now, read, node, np.unique(validation.text))
        lost = log_loss(logits(score, validation), validation.label)
        curve.append({'rate': rate, 'step': i, 'validation': lost})
        if best is None or lost < best[0]:
          best = lost, now, curve[-1]
      if i < node.steps:
        rows = order[i]
        texts = read.texts(train.text[rows].ravel())
        label = train.label[rows].astype(np.float32)
        now, state = step(rate, above, now, state, texts, train.sign, label)
  assert best is not None
  found = scores(own, above, best[1], read, node, asked)
  return found, {'chosen': best[2], 'curve': curve}


def _order(rng, length, examples: Examples, node) -> list[np.ndarray]:
  """Returns the rows of every step: similar lengths together, all in turn."""
  size = min(node.batch, len(examples.label))
  found: list[np.ndarray] = []
  longest = length[examples.text].max(1)
  while len(found) < node.steps:
    rows = rng.permutation(len(longest))
    rows = rows[np.argsort(longest[rows], kind='stable')]
    whole = len(rows) // size * size
    left_out = rng.permutation(len(rows))[: len(rows) - whole]
    some = np.delete(rows, left_out).reshape(-1, size)
    found += list(rng.permutation(some))
  return found[: node.steps]


def _optimizer(rate, head_rate, steps, moves):
  heads = optimizers.adam(head_rate, steps) if moves else optax.set_to_zero()
  return optimizers.by_path(
    {'adapter': optimizers.adam(rate, steps), '': heads}
  )


@functools.lru_cache(maxsize=8)
def _step(own, head_rate, steps, moves):
  """Returns a compiled step of training, of any rate."""
  reward = _reward(own)

  def loss(now: Adapted, above, texts, sign, label):
    score = _score(reward, above, now, texts)
    logit = score.reshape(-1, len(sign)) @ sign
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logit, label))

  @jax.jit
  def step(rate, above, now, state, texts, sign, label):
    optimizer = _optimizer(rate, head_rate, steps, moves)
    gradient = jax.grad(loss)(now, above, texts, sign, label)
    change, state = optimizer.update(gradient, state, now)
    return optax.apply_updates(now, change), state

  return step


def _score(reward, above, now: Adapted, texts: types.Tokens):
  """Returns a score of each text `[B]`."""
  params = {'weight': now.weight, 'adapter': now.adapter, 'backbone': above}
  features = reward.features(params, types.Inputs(texts))
  return reward.encode(params, features)[..., 0] + now.bias


@functools.lru_cache(maxsize=2)
def _scorer(own):
  return jax.jit(functools.partial(_score, _reward(own)))


def scores(
  own: backbone.Backbone,
  above: types.PyTree,
  now: Adapted,
  read: Read,
  node: Any,
  rows: np.ndarray,
) -> np.ndarray:
  """Returns scores `[M]` of some texts, NaN of the others."""
  found = np.full(len(read.length), np.nan)
  for some in batches(read.length[rows], node.tokens):
    text = rows[some]
    width = padded(int(read.length[text].max()))
    filled = _filled(text, max(1, node.tokens // width))
    score = _scorer(own)(above, now, read.texts(filled))
    found[text] = np.asarray(score)[: len(text)]
  return found
