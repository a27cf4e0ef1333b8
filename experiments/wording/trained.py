"""The decoder's highest layers, trained on what people say of known wording.

A text's features are a sum over its units, sentences or the text itself, each
read at its last token. Layers, base rewards and coefficients descend together
on all judgements of some prompts a step; of the training prompts a fifth says
when to stop. PReF is then fitted anew to what the changed decoder says.
"""

import dataclasses
import functools
import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_jax import adapting, types
from prm_jax.lab import fitting, units
from prm_jax.models import (
  adapted,
  embeddings,
  features,
  lora,
  packing,
  reduce,
  token_states,
  trunk,
)
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import backbone, scalar
from prm_jax.runtime import checkpoint, early
from prm_jax.systems import states

_ROW = 64  # tokens of packed units, if none is longer
# Rows, texts and judgements of a batch are made up to one of these: few shapes.
_ROWS, _TEXTS, _JUDGED = 16, 64, 1024
HEADS = ('frozen_head', 'adapted_head')  # as they were trained, not refitted
ARMS = (*HEADS, 'adapted', 'adapted_beside')


class Value(NamedTuple):
  """What the features of m texts are made of.

  Attributes:
    tokens: states of their units, packed, with an end a unit.
    units: `[m, S]` which of the ends each text's units are; -1 for none.
    length: `[m, 1]` standardised log length.
  """

  tokens: types.Tokens
  units: types.ArrayLike
  length: types.ArrayLike


def summed(read, reward: types.PyTree, value: Value) -> types.Array:
  """Returns the columns `[m, C + 1]` of texts, their length the last.

  Args:
    read: `features` of a reward on a backbone.
    reward: its params, with columns.
    value: of the texts.
  """
  each = read(reward, types.Inputs(value.tokens, jnp.zeros(0, jnp.int32)))
  index = jnp.asarray(value.units)
  own = (index >= 0)[..., None]
  total = jnp.sum(jnp.where(own, each[index], 0), 1)
  # The mean is of texts, and was taken from every unit.
  columns = reward['columns']
  mean = jnp.matmul(columns['mean'], columns['matrix'], precision='highest')
  return jnp.concatenate([total + (own.sum(1) - 1) * mean, value.length], 1)


class Texts:
  """Texts as units of which the states below some layers are kept.

  Attributes:
    states: of every distinct unit.
    tokens: of all texts that were read in batches.
  """

  def __init__(
    self,
    node: backbone.Backbone,
    params: types.PyTree,
    reader: token_states.States,
    parts: Sequence[Sequence[str]],
    length: np.ndarray,
  ):
    """Computes the states.

    Args:
      node: what reads them.
      params: of its decoder.
      reader: which tokens a unit has.
      parts: M texts' units.
      length: `[M, 1]` standardised log length.
    """
    known = sorted({part for text in parts for part in text})
    number = {part: row for row, part in enumerate(known)}
    ids = reader.ids(known)
    self.states = adapting.States(node, params, ids)
    self.states.compute()
    self.tokens = 0
    self._units = [[number[part] for part in text] for text in parts]
    self._most, self._length = max(map(len, parts)), length
    # A state is found by its number, as a token by its id.
    starts = np.cumsum([0, *map(len, ids)])
    self._pack = packing.Reader(
      [range(*of) for of in itertools.pairwise(starts.tolist())],
      np.zeros(len(ids), int),
      max(_ROW, *map(len, ids)),
      how='packed',
      multiple=_ROWS,
    )

  def __call__(self, chosen: np.ndarray) -> Value:
    """Returns what the features of texts `[m]` are made of."""
    parts = [self._units[text] for text in chosen]
    known: np.ndarray = np.unique(np.concatenate(parts))
    made = self._pack(known[:, None])
    ends = np.asarray(made.index)[:, 0].tolist()
    place = dict(zip(known.tolist(), ends, strict=True))
    units_ = np.full((len(chosen), self._most), -1, np.int32)
    for row, text in enumerate(parts):
      units_[row, : len(text)] = [place[unit] for unit in text]
    self.tokens += int(np.sum(made.value.mask))
    tokens = made.value._replace(ids=self.states.at(made.value.ids))
    return Value(tokens, units_, self._length[chosen])


class Batches:
  """All judgements of some prompts a step, of rows with a role."""

  def __init__(
    self, problem: fitting.Problem, chosen: np.ndarray, prompts: int, read
  ):
    """Groups them.

    Args:
      problem: whose judgements they are.
      chosen: `[n]` rows that count.
      prompts: of a batch.
      read: texts `[m]` -> the value of a batch.
    """
    self._judged, self._read, self._size = problem.judged, read, prompts
    items = np.asarray(problem.judged.inputs.index)[chosen, 0]
    names = np.array(problem.prompt_ids)[items]
    order = np.argsort(names, kind='stable')
    starts = np.unique(names[order], return_index=True)[1]
    self._rows = np.split(np.asarray(chosen)[order], starts[1:])

  def __len__(self) -> int:
    """Returns how many batches hold every prompt once."""
    return -(-len(self._rows) // self._size)

  def batch(self, step: int, *, seed: int = 0) -> types.Batch:
    """Returns a step's batch; the order of prompts is drawn every epoch."""
    epoch, place = divmod(step, len(self))
    order = np.random.default_rng([seed, epoch]).permutation(len(self._rows))
    own = order[place * self._size : (place + 1) * self._size]
    rows = np.concatenate([self._rows[prompt] for prompt in own])
    size = -(-len(rows) // _JUDGED) * _JUDGED
    filled = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
    batch = self._judged.take(filled)
    mask = (np.arange(size) < len(rows)).astype(np.float32)
    texts, where = np.unique(batch.inputs.index, return_inverse=True)
    spare = -len(texts) % _TEXTS
    value = self._read(np.concatenate([texts, np.repeat(texts[:1], spare)]))
    index = where.reshape(-1, 2).astype(np.int32)
    return types.Batch(
      batch.rows._replace(mask=mask), types.Inputs(value, index)
    )


def phase(
  plan: adapting.Plan,
  node: backbone.Backbone | None,
  options: Mapping[str, Any],
  steps: int,
) -> types.Phase:
  """Returns the phase in which layers, if any, and PReF descend together.

  Args:
    plan: rates.
    node: what reads units; None where columns are given.
    options: of PReF.
    steps: at most.
  """
  joint = adapting.phase(plan, node, 'pref', options, steps)
  if node is None:
    return joint
  read = backbone.under(scalar.linear(), node).features
  objective = joint.objective
  assert objective is not None  # of the joint phase

  def loss(params, people, state, batch, gather):
    found = summed(read, params['reward'], batch.inputs.value)
    given = batch._replace(inputs=types.Inputs(found, batch.inputs.index))
    return objective(params, people, state, given, gather)

  return joint._replace(objective=loss)


def lowest(model: LanguageModel, layers: int) -> LanguageModel:
  """Returns the lowest layers of a language model, normalised without a scale.

  Args:
    model: whole.
    layers: that are read.
  """
  return model._replace(
    config=dataclasses.replace(model.config, tie_word_embeddings=True).cut(
      0, layers
    ),
    params=trunk.lower(model.config, model.params, layers),
  )


def unit(
  config,
  source: features.Source,
  problem: fitting.Problem,
  sets: fitting.FeatureSets,
  choice: Mapping[str, Any],
  workdir: Path,
) -> units.Unit:
  """Returns what training changes, and how.

  Arrays are `changes/...` and the base rewards, `basis/ARM` of `HEADS`.

  Args:
    config: of the study.
    source: of the decoder.
    problem: whose training prompts fit, and validate.
    sets: its features.
    choice: of PReF on the frozen features; its numbers are kept.
    workdir: where a killed run is kept.
  """
  started, node = time.process_time(), config.adapting
  frozen = config.attributes.features[node.frozen]
  plan = adapting.Plan(**node.plan.to_dict())
  decoder = source.states(_reading(frozen))
  model = lowest(decoder.model, max(frozen.layers))
  reads = adapting.backbone_of(plan, model.config)
  columns, length = _reductions(source, problem, frozen)
  texts = Texts(
    *(reads, model.params, decoder),
    [_parts(frozen.unit, text) for text in problem.texts],
    length,
  )
  inner, strict = np.asarray(problem.inner), problem.strict
  fits = (inner == fitting.FIT) & strict
  validates = (inner >= fitting.VALIDATE) & strict
  method = config.methods['pref'].to_dict()
  base = fitting.Fitted.fit(
    method, choice, problem, problem.judged.masked(fits), sets
  )
  options = {name: of for name, of in method.items() if name != 'kind'}
  options['dim'] = choice['dim']
  begun = adapting.started(
    *(plan, model.params, base.state, columns), node.kernels or lora.TARGETS
  )
  table = sets[node.frozen]
  arrays, record = {}, {'seed': problem.seed, 'frozen': node.frozen}
  read_once = time.process_time() - started
  for arm, read, state in (
    ('frozen_head', lambda some: table[some], base.state),
    ('adapted_head', texts, begun),
  ):
    started, before = time.process_time(), texts.tokens
    training, asked = (
      Batches(problem, np.flatnonzero(some), plan.batch, read)
      for some in (fits, validates)
    )
    found = _descended(
      phase(
        plan,
        reads if read is texts else None,
        options,
        plan.epochs * len(training),
      ),
      *(state._replace(opt_state={}, average=()), training, asked, plan),
      workdir / arm,
    )
    arrays[f'basis/{arm}'] = np.asarray(found.best['reward']['basis'])
    record[arm] = {
      'steps': len(found.trained),
      'kept_step': found.step,
      'validation_nats': [float(loss) for loss in found.losses],
      'tokens': texts.tokens - before,
      'cpu_seconds': round(time.process_time() - started, 1),
    }
  changes = adapted.Changes(
    plan.form, decoder.fingerprint, adapting.trained(found.best['reward'])
  )
  record |= {'read_cpu_seconds': round(read_once, 1), 'digest': changes.digest}
  flat = {f'changes/{k}': v for k, v in adapted.flat(changes.leaves).items()}
  return units.Unit(record, arrays | flat)


def _descended(training, state, batches, asked, plan, workdir: Path):
  """Returns what `early.fit` does; a killed run goes on."""
  validation = [asked.batch(step) for step in range(len(asked))]
  with checkpoint.Checkpoints(workdir, keep=1) as manager:
    found = early.fit(
      *(training, state, batches.batch, validation),
      stretch=len(batches),
      patience=plan.patience,
      manager=manager,
    )
  shutil.rmtree(workdir)
  return found


def _reading(frozen) -> token_states.Reading:
  return token_states.Reading(frozen.unit, frozen.token, tuple(frozen.layers))


def _parts(unit_: str, text: str) -> list[str]:
  return [text] if unit_ == 'text' else embeddings.sentences(text)


def trains(problem: fitting.Problem) -> np.ndarray:
  """Returns `[M]` which texts are of training, where a reduction may look."""
  return np.array([name.startswith('train/') for name in problem.prompt_ids])


def _reductions(source, problem, frozen):
  """Returns what the frozen set's columns are, and its texts' log length."""
  looked = trains(problem)
  read = source.read(problem.texts, _reading(frozen))
  columns = reduce.principal_components(
    read, looked, frozen.components, whiten=frozen.whiten
  )
  counts = embeddings.text_length_features(problem.texts)
  return columns, reduce.standardisation(counts, looked)(counts)


def makers(
  config,
  source: features.Source,
  texts: Sequence[str],
  train: np.ndarray,
  made: Callable[[], units.Unit],
) -> dict[str, Any]:
  """Returns the makers of the trained feature sets.

  Args:
    config: of the study.
    source: of the decoder.
    texts: M.
    train: `[M]` True where a reduction may look.
    made: returns what `unit` did.
  """
  node = config.adapting
  frozen = config.attributes.features[node.frozen]

  @functools.cache
  def read() -> np.ndarray:
    unit_ = made()
    decoder = source.states(_reading(frozen))
    model = lowest(decoder.model, max(frozen.layers))
    changes = adapted.Changes.of_flat(
      node.plan.form, decoder.fingerprint, unit_.part('changes').arrays
    )
    named = f'{decoder.model.fingerprint} {changes.digest}'.encode()
    changed = model._replace(
      params=adapted.apply(model.params, changes),
      fingerprint=hashlib.sha256(named).hexdigest(),
    )
    return token_states.States.of(changed, _reading(frozen))(
      texts, cache_dir=source.cache_dir
    )

  def columns(found: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Returns some components of `directions`, as `found` has them."""
    counts = embeddings.text_length_features(texts)
    some = reduce.principal_components(
      directions, train, frozen.components, whiten=frozen.whiten
    )
    return np.concatenate(
      [some(found), reduce.standardisation(counts, train)(counts)], 1
    )

  def before() -> np.ndarray:
    return source.read(texts, _reading(frozen))

  def beside() -> np.ndarray:
    other = _reading(config.attributes.features[node.beside])
    both = np.concatenate([source.read(texts, other), read()], 1)
    return columns(both, both)

  return {
    # Heads read the columns that they were trained on.
    'frozen_head': lambda: columns(before(), before()),
    'adapted_head': lambda: columns(read(), before()),
    'adapted': lambda: columns(read(), read()),
    'adapted_beside': beside,
  }


def given(basis: np.ndarray, learner: types.Learner) -> types.Learner:
  """Returns PReF with these base rewards; people's prior is estimated.

  Args:
    basis: `[C + 1, J]`.
    learner: PReF, whose last phase estimates the prior.
  """

  def begin(state, data):
    del data  # nothing is learned
    reward = {**state.params['reward'], 'basis': jnp.asarray(basis)}
    return states.with_reward(state, reward)

  # People are inferred of their answers, not trained: no step is taken.
  joint = next(phase for phase in learner.phases if phase.name == 'joint')
  only = types.Phase('given', begin=begin, people=joint.people)
  return learner._replace(phases=(only, learner.phases[-1]))
