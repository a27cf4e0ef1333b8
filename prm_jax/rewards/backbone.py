"""Rewards that read text with a decoder, whatever their head is."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.models import attention, ends, lora, sharding
from prm_jax.models import decoder as decoders
from prm_jax.rewards import discriminative

# Of a reward's params, beside the head's own.
PARTS = ('backbone', 'adapter', 'top', 'columns')
_TEXTS = 256  # read at once
TRAINS = ('frozen', 'adapter', 'whole')


class Backbone(NamedTuple):
  """What reads the text under a head, and what of it is trained.

  Attributes:
    config: sizes and options of the decoder; or plain data.
    trains: 'frozen', 'adapter' (LoRA) or 'whole'.
    rank: of the adapter.
    learning_rate: of what is trained of it; the head has its own.
    dtype: of the layers' computation.
    remat: whether layers are computed again for the gradient.
    top: how many layers train, the highest; all if None. Those below, and the
      embeddings, are frozen.
    keep: bytes that states below the top may take. They are then computed
      once, and steps run the top alone; None: every step computes them.
    kept: dtype of kept states; that of the computation if None. Where it is
      the wider of the two, layers add to states of that dtype: their sums are
      then float32 while their products are not.
  """

  config: decoders.DecoderConfig | Mapping[str, Any]
  trains: str = 'frozen'
  rank: int = 8
  learning_rate: float = 1e-4
  dtype: Any = jnp.float32
  remat: bool = False
  top: int | None = None
  keep: int | None = None
  kept: Any = None

  @property
  def sizes(self) -> decoders.DecoderConfig:
    """Returns the configuration, which may be plain data."""
    return discriminative.sizes(self.config)

  @property
  def sums(self) -> Any:
    """Returns the dtype of what layers read and add to."""
    if self.kept is None:
      return jnp.dtype(self.dtype)
    return jnp.promote_types(self.dtype, self.kept)

  def bytes_of(self, texts: types.Tokens) -> int:
    """Returns how much the states of texts take that are kept."""
    kind = jnp.dtype(self.dtype if self.kept is None else self.kept)
    return np.size(texts.mask) * self.sizes.hidden_size * kind.itemsize


def backbone(
  head: types.RewardModel,
  decoder: decoders.DecoderConfig,
  *,
  adapter: int | None = None,
  dtype: Any = jnp.float32,
  remat: bool = False,
  top: int | None = None,
  keep: int | None = None,
  kept: Any = None,
) -> types.RewardModel:
  """Returns the head's reward of a decoder's state at each score position.

  The value of the inputs is `types.Tokens` `[..., T]` of prompt and response
  together, padded on any side, packed (`segment`) or with branches of a shared
  prefix; the score position is the last token, or every one of `end`. Values
  that are arrays are features already, and pass.

  params: those of the head for D = `hidden_size` features, `'backbone'`: the
  decoder's, and `'adapter'` where there is one. With a `top` the adapter is of
  its layers; without an adapter they are `'top'` and not in `'backbone'`, as
  `split` has them. Where params have `'columns'`, the head reads (state - mean)
  @ matrix, D of which are then the columns; nothing here makes them.

  Args:
    head: conditions on the person after the text is read.
    decoder: sizes and options.
    adapter: rank of LoRA on queries and values; none if None.
    dtype: of the layers' computation; features are float32.
    remat: whether layers are computed again for the gradient.
    top: see `Backbone`; no gradient reaches what is below.
    keep: see `Backbone`.
    kept: see `Backbone`.

  Raises:
    ValueError: at init, if `spec.features` is not the decoder's hidden size.
  """
  node = Backbone(decoder, dtype=dtype, remat=remat, keep=keep, kept=kept)
  network: Any = decoders.Decoder(decoder, dtype, remat)

  def read(params, texts):
    if top is not None:
      return _read_top(node, top, params, texts)
    trunk = params['backbone']
    if 'adapter' in params:
      trunk = lora.merge(trunk, params['adapter'])
    return _read(network, trunk, texts)

  def features(params, inputs):
    texts = inputs.value
    if not isinstance(texts, types.Tokens):
      return texts
    found = _columns(params, _blocks(functools.partial(read, params), texts))
    if texts.end is not None:
      return found.reshape(-1, found.shape[-1])
    return found.reshape(*texts.mask.shape[:-1], found.shape[-1])

  def encode(params, features):
    return head.encode(own(params), features)

  def score(params, encoded, context):
    return head.score(own(params), encoded, context)

  below = None
  if top is not None and keep is not None:
    below = functools.partial(_kept, node, top)
  return types.RewardModel(
    functools.partial(_init, head, network, adapter, top),
    *(encode, score, features),
    members=_members(head),
    centred=head.centred,
    below=below,
  )


def _init(head, network, adapter, top, key, spec) -> dict[str, types.PyTree]:
  """Returns a reward's params, see `backbone`."""
  width = network.config.hidden_size
  if spec.features != width:
    raise ValueError(
      f'a decoder of hidden_size {width} gives as many features, and the '
      f'spec says {spec.features}'
    )
  keys = jax.random.split(jax.random.fold_in(key, 0xBB), 2)
  ids = jnp.zeros((1, 2), jnp.int32)
  trunk = network.init(keys[0], ids, ids, decoders.attended(ids + 1))
  params = {**head.init(key, spec), 'backbone': trunk}
  if adapter is not None:
    params['adapter'] = adapters(keys[1], trunk, adapter, top)
  elif top is not None:
    params |= split(trunk, top)
  return params


def _members(head: types.RewardModel):
  """Returns what reads the members of a head's reward, None without them."""
  each = head.members
  if each is None:
    return None
  return lambda params, encoded, context: each(own(params), encoded, context)


def own(params: Mapping[str, types.PyTree]) -> dict[str, types.PyTree]:
  """Returns a reward's params without its backbone and adapter."""
  return {name: leaf for name, leaf in params.items() if name not in PARTS}


def given(node: Backbone | Mapping[str, Any]) -> Backbone:
  """Returns a backbone, which may be plain data.

  Raises:
    ValueError: `trains` is none of the three, or there is no such top.
  """
  trunk = node if isinstance(node, Backbone) else Backbone(**node)
  if trunk.trains not in TRAINS:
    raise ValueError(f'trains {trunk.trains!r}: one of {TRAINS}')
  layers = trunk.sizes.num_hidden_layers
  if trunk.top is not None and trunk.trains == 'frozen':
    raise ValueError('a frozen backbone has no top: its features are kept')
  if trunk.top is not None and not 0 < trunk.top < layers:
    raise ValueError(f'top {trunk.top}: some of {layers} layers, not all')
  if trunk.keep is not None and trunk.top is None:
    raise ValueError('keep: of states below the top, and there is no top')
  return trunk


def under(
  head: types.RewardModel, node: Backbone | Mapping[str, Any] | None
) -> types.RewardModel:
  """Returns the head on a backbone, or as it is where there is none.

  Args:
    head: of given features.
    node: the backbone, which may be plain data.
  """
  if node is None:
    return head
  trunk = given(node)
  return backbone(
    head,
    trunk.sizes,
    dtype=trunk.dtype,
    remat=trunk.remat,
    adapter=trunk.rank if trunk.trains == 'adapter' else None,
    top=trunk.top,
    keep=trunk.keep,
    kept=trunk.kept,
  )


def adapters(
  key: types.Key, trunk: types.PyTree, rank: int, top: int | None
) -> dict[str, lora.Adapter]:
  """Returns LoRA of a decoder's layers, or of the `top` highest of them."""
  return lora.init(key, _above(trunk, top) if top else trunk, rank=rank)


def split(trunk: types.PyTree, top: int) -> dict[str, types.PyTree]:
  """Returns a decoder's params in two: what is frozen, and what trains whole.

  `{'backbone': embeddings and lower layers, 'top': the highest, and the last
  normalisation}`, as a reward's params hold them.

  Args:
    trunk: params of a `Decoder`.
    top: layers that train.
  """
  whole = dict(trunk['params'])
  lower = decoders.take_layers(trunk, 0, -top)['params']
  frozen = {**whole, 'layers': lower}
  norm = frozen.pop('norm')
  upper = decoders.take_layers(trunk, -top)['params']
  return {
    'backbone': {'params': frozen},
    'top': {'params': {'layers': upper, 'norm': norm}},
  }


def merged(params: Mapping[str, types.PyTree]) -> types.PyTree:
  """Returns the params of the one `Decoder` that a reward's parts are.

  A top that trained stands above the layers below it, and an adapter is merged
  into the layers that it changes.

  Args:
    params: of a reward on a backbone.
  """
  trunk = dict(params['backbone']['params'])
  if 'top' in params:
    top = params['top']['params']
    layers = jax.tree.map(
      lambda lower, upper: jnp.concatenate([lower, upper]),
      trunk['layers'],
      top['layers'],
    )
    trunk |= {'layers': layers, 'norm': top['norm']}
  whole = {'params': trunk}
  if 'adapter' not in params:
    return whole
  layers = len(jax.tree.leaves(trunk['layers'])[0])
  return lora.merge(whole, lora.raised(params['adapter'], layers))


def states(
  node: Backbone, top: int, trunk: types.PyTree, texts: types.Tokens
) -> types.Tokens:
  """Returns texts whose `ids` are their states `[..., T, D]` below the top.

  Args:
    node: sizes, dtypes, and how much may be kept.
    top: layers that are not run.
    trunk: params of a `Decoder`, whose top layers are not read.
    texts: `[..., T]`.

  Raises:
    ValueError: states take more bytes than may be kept.
  """
  needed = node.bytes_of(texts)
  if node.keep is not None and needed > node.keep:
    raise ValueError(
      f'states below the top take {needed} bytes of {np.shape(texts.mask)} '
      f'tokens, and {node.keep} may be kept: keep more, or half precision, or '
      'nothing'
    )
  run = functools.partial(_below, node, top, trunk)
  kind = node.dtype if node.kept is None else node.kept
  found = _blocks(run, texts).astype(kind)
  return texts._replace(ids=found.reshape(*texts.mask.shape, -1))


def _kept(node, top, params, inputs: types.Inputs) -> types.PyTree:
  """Returns `RewardModel.below` of inputs; features pass."""
  if not isinstance(inputs.value, types.Tokens):
    return inputs.value
  return states(node, top, params['backbone'], inputs.value)


def _blocks(read, texts: types.Tokens) -> jax.Array:
  """Returns what is read of flat texts, some at a time.

  All states of all texts would not fit.
  """
  lead = np.ndim(texts.mask) - 1

  def flat(leaf):
    leaf = jnp.asarray(leaf)
    return leaf.reshape(-1, *leaf.shape[lead:])

  texts = jax.tree.map(flat, texts)
  devices = sharding.row_devices()
  if len(texts.mask) <= _TEXTS * devices:
    return read(texts)
  if devices > 1:
    return _blocks_of_devices(read, texts, devices)
  return jax.lax.map(
    lambda one: read(jax.tree.map(lambda leaf: leaf[None], one))[0],
    texts,
    batch_size=_TEXTS,
  )


def _blocks_of_devices(read, texts: types.Tokens, devices: int) -> jax.Array:
  """Returns what is read of flat texts; a block takes some of every device."""
  count = len(texts.mask)
  own = -(-count // devices)  # texts of a device
  blocks = -(-own // _TEXTS)
  size = -(-own // blocks)
  extra = devices * blocks * size - count

  def dealt(leaf):
    leaf = jnp.pad(leaf, [(0, extra), *[(0, 0)] * (leaf.ndim - 1)])
    leaf = leaf.reshape(devices, blocks, size, *leaf.shape[1:])
    return leaf.swapaxes(0, 1).reshape(blocks, devices * size, *leaf.shape[3:])

  found = jax.lax.map(read, jax.tree.map(dealt, texts))
  found = found.reshape(blocks, devices, size, *found.shape[2:])
  return found.swapaxes(0, 1).reshape(-1, *found.shape[3:])[:count]


def _read(network, trunk, texts: types.Tokens) -> jax.Array:
  """Returns the states at the score positions, `[B, D]`, or `[B, E, D]`."""
  inputs = network.apply(trunk, jnp.asarray(texts.ids), method='inputs')
  return _scored(network, trunk, inputs, texts)


def _read_top(node, top, params, texts: types.Tokens) -> jax.Array:
  """Returns what `_read` does, of tokens or of states below the top."""
  hidden = jnp.asarray(texts.ids)
  if hidden.ndim == np.ndim(texts.mask):
    hidden = _below(node, top, params['backbone'], texts)
  above = params['top'] if 'top' in params else _above(params['backbone'], top)
  if 'adapter' in params:
    above = lora.merge(above, params['adapter'])
  config = node.sizes.cut(-top)
  network: Any = decoders.Decoder(config, node.dtype, node.remat)
  hidden = jax.lax.stop_gradient(hidden).astype(node.sums)
  return _scored(network, above, hidden, texts)


def _columns(params, states: jax.Array) -> jax.Array:
  """Returns what the head reads of states `[..., D]`."""
  if 'columns' not in params:
    return states
  centred = states - params['columns']['mean']
  return jnp.matmul(centred, params['columns']['matrix'], precision='highest')


def _above(trunk, top: int) -> types.PyTree:
  """Returns the params of a `Decoder` of the highest layers alone."""
  layers = decoders.take_layers(trunk, -top)['params']
  return {'params': {'layers': layers, 'norm': trunk['params']['norm']}}


def _below(node, top, trunk, texts: types.Tokens) -> jax.Array:
  """Returns the states `[B, T, D]` that go into the highest layers."""
  count = node.sizes.num_hidden_layers - top
  layers: Any = decoders.Stack(node.sizes, count, node.dtype)
  ids = jnp.asarray(texts.ids)
  hidden = decoders.embedded(node.sizes, trunk, ids).astype(node.sums)
  lower = decoders.take_layers(trunk, 0, count)
  return layers.apply(lower, hidden, *_places(texts))[0]


def _places(texts: types.Tokens) -> tuple[jax.Array, attention.Seen]:
  """Returns positions `[B, T]`, and what every token sees."""
  real = jnp.asarray(texts.mask) > 0
  block = real.astype(jnp.int32)
  if texts.segment is not None:
    block = jnp.where(real, texts.segment + 1, 0)
  branch = None if texts.branch is None else jnp.asarray(texts.branch)
  packed = texts.segment is not None
  seen = decoders.attended(block, branch, packed=packed)
  return seen.places(), seen


def _scored(network, params, inputs, texts: types.Tokens) -> jax.Array:
  """Returns the states at the score positions, of what layers read."""
  at = texts.end
  if at is None:
    real = jnp.asarray(texts.mask) > 0
    at = (real.shape[1] - 1 - jnp.argmax(real[:, ::-1], 1))[:, None]
  places = _places(texts)
  found = ends.read(network, params, inputs, *places, jnp.asarray(at))
  found = found.astype(jnp.float32)
  return found if texts.end is not None else found[:, 0]
