"""The highest layers of a decoder, trained with a reward that reads it.

The reward is fitted to the frozen decoder first; then layers, reward and people
descend together, on batches of pairs, from the states below those layers, which
are computed once. Judgements that nothing trains on say when to stop. What
comes of it are `models.adapted.Changes`: the reward is then fitted anew to what
the changed decoder says, as it would be to any other.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import registry, types
from prm_jax.models import adapted, decoder_config, lora, reduce, sharding
from prm_jax.models import chat as chats
from prm_jax.models import trunk as trunks
from prm_jax.rewards import backbone
from prm_jax.runtime import checkpoint, early
from prm_jax.systems import optimizers

FROZEN = 'frozen'
FOLDER = 'adapted'  # of a model
METHODS = ('aggregate', 'lore', 'pref')  # linear in a person's vector
PRECISIONS = ('float32', 'bfloat16')
ONE_IN = 5  # training judgements validates
_RUNNING = 'adapting'  # checkpoints, until it is done
_RANK = 8
_RATES = {adapted.LORA: 1e-3, adapted.FULL: 1e-4}
_CHUNK = 16  # texts whose states a device computes at once
_KEY = 0xADA9


class Plan(NamedTuple):
  """What is trained of a decoder, and how.

  Attributes:
    form: 'lora' or 'full'.
    layers: how many, the highest of those that are read.
    rank: of LORA; 0 of whole layers.
    trunk_rate, head_rate, people_rate: Adam's, of the layers, of the reward and
      of people's coefficients; each decays to 1 %.
    batch: pairs of a step.
    epochs: at most.
    patience: epochs in a row that may be no better on validation rows.
    precision: of the layers' computation; masters, sums, normalisations and
      scores are float32.
  """

  form: str
  layers: int
  rank: int
  trunk_rate: float
  head_rate: float = 3e-3
  people_rate: float = 1e-2
  batch: int = 32
  epochs: int = 10
  patience: int = 2
  precision: str = 'float32'

  def described(self) -> dict[str, Any]:
    """Returns plain data, as a model's setting keeps it."""
    return dict(self._asdict())


_RATE_NAMES = ('trunk_rate', 'head_rate', 'people_rate')
_COUNT_NAMES = ('batch', 'epochs', 'patience')
NUMBERS = (*_RATE_NAMES, *_COUNT_NAMES)  # that `--set` gives


def parse(
  text: str, options: Mapping[str, Any] | None = None, precision: str = ''
) -> Plan | None:
  """Returns the plan that `--adapt` names; None of 'frozen'.

  Args:
    text: 'frozen', 'lora:N', 'lora:N:RANK' or 'full:N'.
    options: of `NUMBERS`, in place of the usual ones.
    precision: one of `PRECISIONS`, float32 if empty.

  Raises:
    ValueError: it is none of these, or a number is out of bounds.
  """
  said = f'--adapt={text}'
  form, *counts = text.split(':')
  if form == FROZEN and not counts:
    if options or precision not in ('', PRECISIONS[0]):
      told = [*(options or {}), *(['precision'] if precision else [])]
      raise ValueError(f'{said}: nothing trains in it, so leave out {told}')
    return None
  most = {adapted.LORA: 2, adapted.FULL: 1}.get(form, 0)
  whole = all(count.isdecimal() and int(count) > 0 for count in counts)
  if not 1 <= len(counts) <= most or not whole:
    raise ValueError(
      f'{said}: write frozen, lora:N, lora:N:RANK or full:N, with N layers, '
      'the highest, and numbers of 1 or more'
    )
  if precision not in ('', *PRECISIONS):
    raise ValueError(f'--precision={precision}: one of {PRECISIONS}')
  rank = _RANK if form == adapted.LORA else 0
  rank = int(counts[1]) if len(counts) > 1 else rank
  made = Plan(form, int(counts[0]), rank, _RATES[form])
  for name, number in (options or {}).items():
    least = 1 if name in _COUNT_NAMES else 0
    if not least <= number < float('inf') or (least and number != int(number)):
      needed = 'a whole number, 1 or more' if least else 'a rate, not below 0'
      raise ValueError(f'option {name}={number}: give {needed}')
  return made._replace(**(options or {}), precision=precision or PRECISIONS[0])


def given(
  text: str | None,
  precision: str | None,
  options: Mapping[str, Any],
  method: str | None,
  backbone: str | None,
) -> tuple[Plan | None, dict[str, Any]]:
  """Returns the plan and the options that are the learner's own.

  Args:
    text: of `--adapt`; None where it was not given.
    precision: of `--precision`; None where it was not given.
    options: of both.
    method: that is fitted; None of several that are compared.
    backbone: folder of the decoder; None where an encoder reads.

  Raises:
    ValueError: there is nothing to adapt, or no way to; or as of `parse`.
  """
  if text is None:
    if precision is not None:
      raise ValueError('--precision: of what --adapt trains')
    return None, dict(options)
  if backbone is None:
    raise ValueError(
      f'--adapt={text}: layers of a language model are trained: give its '
      'folder with --backbone (an encoder stays as it is)'
    )
  own = {name: options[name] for name in NUMBERS if name in options}
  found = parse(text, own, precision or '')
  rest = {name: of for name, of in options.items() if name not in own}
  if found is not None and method not in (None, *METHODS):
    raise ValueError(
      f'--adapt={text}: {method} is not fitted together with a language '
      f'model: one of {list(METHODS)} is, or leave it frozen'
    )
  if found is not None and rest.get('head'):
    raise ValueError(
      f'--adapt={text}: with a head the language model stays frozen: leave '
      'out one of the two'
    )
  return found, rest


def backbone_of(
  plan: Plan, config: decoder_config.DecoderConfig
) -> backbone.Backbone:
  """Returns what reads a decoder's states below the layers that train.

  Args:
    plan: what trains.
    config: of the layers that are read, those that train the highest.
  """
  return backbone.Backbone(
    config,
    'adapter' if plan.form == adapted.LORA else 'whole',
    rank=plan.rank,
    dtype=jnp.dtype(plan.precision),
    top=plan.layers,
    kept=jnp.float32,  # what layers add up; it is stored as they compute
  )


class States:
  """Texts' states below the layers that train, of all tokens in one array.

  They are kept in the dtype of the computation.

  Attributes:
    node: what reads them.
    lengths: `[M]` tokens of each text.
  """

  def __init__(
    self,
    node: backbone.Backbone,
    params: types.PyTree,
    ids: Sequence[Sequence[int]],
  ):
    """Names them; `compute` runs the layers.

    Args:
      node: from `backbone_of`.
      params: of its decoder.
      ids: M texts' token ids.
    """
    self.node, self._params, self._ids = node, params, ids
    self.lengths = np.array([*map(len, ids)], int)
    self._start = np.concatenate([[0], np.cumsum(self.lengths)])
    self._states = np.zeros((0, 0))

  @property
  def bytes(self) -> int:
    """Returns how much all of them take."""
    width = self.node.sizes.hidden_size
    return int(self._start[-1]) * width * jnp.dtype(self.node.dtype).itemsize

  def compute(self) -> None:
    """Runs the layers that do not train, once over every text."""
    if len(self._states):
      return
    node, params, top = self.node, self._params, self.node.top
    assert top is not None  # of `backbone_of`
    shape = int(self._start[-1]), node.sizes.hidden_size
    self._states = np.zeros(shape, node.dtype)

    @jax.jit
    def below(params, texts):
      return backbone.states(node, top, params, texts).ids

    order = np.argsort(self.lengths, kind='stable')
    mesh = sharding.mesh_of(params)
    chunk = _CHUNK * sharding.rows_of(mesh)
    for first in range(0, len(order), chunk):
      rows = order[first : first + chunk].tolist()
      filled = [*rows, *rows[:1] * (chunk - len(rows))]
      ids = [list(self._ids[row]) for row in filled]
      block = chats.Texts(ids, np.zeros(len(ids), bool)).tokens()
      with sharding.traced_on(mesh):
        states = np.asarray(below(params, block))
      for place, row in enumerate(rows):
        own = slice(self._start[row], self._start[row + 1])
        self._states[own] = states[place, : own.stop - own.start]

  def at(self, tokens: np.ndarray) -> np.ndarray:
    """Returns states `[..., D]` by their number, counted through all texts."""
    return self._states[tokens]

  def tokens(self, rows: np.ndarray) -> types.Tokens:
    """Returns the states `[n, T, D]` of some texts; T is a power of two."""
    lengths = self.lengths[rows]
    T = 1 << max(int(lengths.max()) - 1, 0).bit_length()
    ids = np.zeros((len(rows), T, self._states.shape[1]), self._states.dtype)
    for place, row in enumerate(rows.tolist()):
      own = self._states[self._start[row] : self._start[row + 1]]
      ids[place, : len(own)] = own
    mask = np.arange(T) < lengths[:, None]
    return types.Tokens(ids, mask.astype(np.int32))


class Texts(States):
  """Responses to prompts as a trunk reads them, and their states."""

  def __init__(
    self,
    plan: Plan,
    trunk: trunks.Trunk,
    prompts: list[str],
    responses: list[str],
    *,
    memory: float,
  ):
    """Reads texts; their states are computed by `compute`.

    Args:
      plan: how many layers are not computed.
      trunk: frozen.
      prompts: M.
      responses: M.
      memory: gigabytes that states may take.

    Raises:
      ValueError: the trunk has no such layers, or states take more.
    """
    if not plan.layers < trunk.layers:
      raise ValueError(
        f'--adapt={plan.form}:{plan.layers}: of {trunk.folder} the lowest '
        f'{trunk.layers} layers are read, and the first stays as it is: train '
        f'1 to {trunk.layers - 1}'
        if trunk.layers > 1
        else f'--adapt: of {trunk.folder} one layer is read, which stays as it '
        'is: leave it frozen'
      )
    model, chat = trunk.model, trunk.model.chat
    assert chat is not None  # of every trunk
    self.trunk = trunk
    super().__init__(
      backbone_of(plan, model.config),
      model.params,
      chats.encode(chat, prompts, responses, total=trunk.total).ids,
    )
    if self.bytes > memory * 1e9:
      raise ValueError(
        f'--adapt: states of {self.lengths.sum():,} tokens below the layers '
        f'that train take {self.bytes:,} bytes; they may take '
        f'{memory * 1e9:,.0f} (--memory={-(-self.bytes // 10**9)} lets them, '
        '--precision=bfloat16 halves them)'
      )


class Rows(NamedTuple):
  """Judgements, of which some train and some validate.

  Attributes:
    judged: `[N]`, whose index points into the texts.
    fits: `[N]` bool.
    validates: `[N]` bool.
  """

  judged: types.Batch
  fits: np.ndarray
  validates: np.ndarray

  def check(self) -> None:
    """Raises ValueError where nothing is left to train or to validate on."""
    if not (self.fits.any() and self.validates.any()):
      raise ValueError(
        f'--adapt: of the judgements that train, {int(self.fits.sum())} are '
        f'left to train on and {int(self.validates.sum())} to validate on: '
        'some hundred are needed'
      )


def batches(
  texts: Texts, rows: types.Batch, chosen: np.ndarray, size: int
) -> Iterator[types.Batch]:
  """Yields rows with the states of their texts beside them.

  Args:
    texts: whose states are computed.
    rows: judgements.
    chosen: `[n]` which of them, in order.
    size: rows of a batch; the last is filled up with rows of mask 0.
  """
  for first in range(0, len(chosen), size):
    some = chosen[first : first + size]
    filled = np.concatenate([some, np.repeat(some[:1], size - len(some))])
    batch = rows.take(filled)
    told = batch.rows._replace(
      mask=(np.arange(size) < len(some)).astype(np.float32)
    )
    index = np.arange(2 * size, dtype=np.int32).reshape(size, 2)
    value = texts.tokens(batch.inputs.index.reshape(-1))
    yield types.Batch(told, types.Inputs(value, index))


def phase(
  plan: Plan,
  node: backbone.Backbone | None,
  method: str,
  options: Mapping[str, Any],
  steps: int,
) -> types.Phase:
  """Returns the phase in which layers, reward and people descend together.

  Args:
    plan: what trains, at which rates.
    node: what reads the texts; None where the reward and people train alone,
      on columns that are given.
    method: a kind of `METHODS`.
    options: of its learner.
    steps: at most.
  """
  learner = registry.build(
    'learner', {'kind': method, **options, 'backbone': node}
  )
  (joint,) = (of for of in learner.phases if of.name == 'joint')
  head = optimizers.adam(plan.head_rate, steps)
  people = optimizers.people_adam(plan.people_rate, steps)
  joint = joint._replace(
    optimizer=head, people=None if joint.people is None else people, steps=steps
  )
  if node is None:
    return joint
  low_rank = plan.form == adapted.LORA
  rate = optimizers.adam(plan.trunk_rate, steps)
  return joint._replace(
    optimizer=optimizers.by_path(
      {'adapter' if low_rank else 'top': rate, '': head}
    ),
    # The last normalisation has no scale, and a published one has none.
    train='-columns|-backbone' if low_rank else '-columns|-norm',
  )


def started(
  plan: Plan,
  trunk: types.PyTree,
  state: types.TrainState,
  columns: reduce.Reduction,
  targets: Sequence[str] = lora.TARGETS,
) -> types.TrainState:
  """Returns the state in which the frozen fit reads states below the layers.

  Args:
    plan: what trains.
    trunk: params of the decoder whose highest layers train.
    state: of the learner, fitted to the frozen trunk's columns.
    columns: what it read of the trunk's state.
    targets: kernels that LoRA changes.
  """
  top = backbone.split(trunk, plan.layers)['top']
  read: dict[str, Any] = {
    'columns': {
      'mean': jnp.asarray(columns.mean, jnp.float32),
      'matrix': jnp.asarray(columns.directions / columns.scale, jnp.float32),
    }
  }
  if plan.form == adapted.LORA:
    key = jax.random.fold_in(state.key, _KEY)
    factors = lora.init(key, top, rank=plan.rank, targets=targets)
    read |= {'backbone': top, 'adapter': factors}
  else:
    read['top'] = top
  params = {**state.params, 'reward': {**state.params['reward'], **read}}
  return state._replace(params=params, opt_state={}, average=())


def trained(reward: Mapping[str, types.PyTree]) -> types.PyTree:
  """Returns what `adapted.Changes` keep of a reward's trained params."""
  return reward.get('adapter') or reward['top']['params']['layers']


def fit(
  plan: Plan,
  texts: Texts,
  rows: Rows,
  state: types.TrainState,
  columns: reduce.Reduction,
  *,
  method: str,
  options: Mapping[str, Any],
  seed: int,
  workdir: Path | None,
) -> adapted.Changes:
  """Returns what training changed in a trunk's highest layers.

  Args:
    plan: what trains, and how.
    texts: of the trunk.
    rows: of these texts.
    state: of the learner, fitted to the frozen trunk's columns of `rows.fits`.
    columns: what it read of the trunk's state.
    method: a kind of `METHODS`.
    options: of its learner.
    seed: of the batches.
    workdir: of the model: a killed run goes on there, and what is finished is
      read and not repeated; None: nothing is written.

  Raises:
    FloatingPointError: the loss is not finite.
    CheckpointError: a checkpoint is damaged.
  """
  folder = None if workdir is None else workdir / FOLDER
  if folder is not None and (folder / adapted.CARD).is_file():
    return adapted.Changes.load(folder)
  texts.compute()
  trains = np.flatnonzero(rows.fits)
  each = -(-len(trains) // plan.batch)
  training = phase(plan, texts.node, method, options, plan.epochs * each)

  def batch(step: int) -> types.Batch:
    epoch, place = divmod(step, each)
    order = np.random.default_rng([seed, epoch]).permutation(trains)
    own = order[place * plan.batch : (place + 1) * plan.batch]
    return next(batches(texts, rows.judged, own, plan.batch))

  validation = [
    *batches(texts, rows.judged, np.flatnonzero(rows.validates), plan.batch)
  ]
  common: dict[str, Any] = {'stretch': each, 'patience': plan.patience}
  state = started(plan, texts.trunk.model.params, state, columns)
  if workdir is None:
    found = early.fit(training, state, batch, validation, **common)
  else:
    with checkpoint.Checkpoints(workdir / _RUNNING, keep=1) as manager:
      found = early.fit(
        training, state, batch, validation, manager=manager, **common
      )
  own = found.best['reward']
  changes = adapted.rounded(
    adapted.Changes(plan.form, texts.trunk.fingerprint, trained(own)),
    texts.trunk.dtype,
  )
  _tell(found, each)
  if workdir is not None and folder is not None:
    losses = [float(loss) for loss in found.losses]
    told = {'step': found.step, 'validation_nats': losses}
    changes.save(folder, plan=plan.described(), **told)
    shutil.rmtree(workdir / _RUNNING)  # which holds people
  return changes


def _tell(found: early.Stopped, each: int) -> None:
  """Says on standard error what was gained on validation rows."""
  start, best = found.losses[0], found.losses.min()
  said = f'epoch {found.step // each} of {len(found.losses) - 1} is kept'
  if not found.step:
    said = 'no epoch was better, and the language model stays as it was'
  print(
    f'adapting: {start:.4f} nats a judgement of validation before, '
    f'{best:.4f} at best: {said}',
    file=sys.stderr,
  )
