"""Summarisers and reward models in training, and their examinations."""

import functools
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import judges
from experiments.summaries import people
from prm_jax import history_rows, types
from prm_jax.lab import units
from prm_jax.learners import plus
from prm_jax.models import decoder
from prm_jax.policy import examining, summarizing
from prm_jax.runtime import train, trees
from prm_jax.users import summaries
from prm_jax.worlds import histories

Arrays = dict[str, np.ndarray]
Row = dict[str, Any]
OF = ('own', 'other', 'empty')  # whose summary is read


def name(label: str, world: str, seed: int) -> str:
  """Returns what a unit is called."""
  return f'{label}-{world}-{seed}'


# ------------------------------------------------------------------- learners


def learner(world: people.World, **options: Any) -> types.Learner:
  """Returns PLUS or a control of it, which nothing warms up.

  Args:
    world: of the writer.
    **options: of `plus.plus`.
  """
  return of_writer(world.writer, **options)


def of_writer(
  writer: summaries.Writer,
  reader: Mapping[str, Any] | None = None,
  **options: Any,
) -> types.Learner:
  """Returns `learner` of a writer."""
  reader = {'before': (histories.ASK,), **(reader or {})}
  return plus.plus(writer=writer, reader=reader, **options)


def params_of(world: people.World, unit: units.Unit) -> types.PyTree:
  """Returns the summariser and the reward model that a unit holds."""
  made = learner(world)
  spec = types.Spec(world.writer.config.hidden_size, 1)
  shapes = jax.eval_shape(
    lambda key: made.init(key, spec).params, jax.random.key(0)
  )
  leaves = {
    path.removeprefix('params/'): jnp.asarray(leaf)
    for path, leaf in unit.arrays.items()
    if path.startswith('params/')
  }
  return trees.put(shapes, leaves)


def _spec(config, world) -> types.Spec:
  return types.Spec(world.writer.config.hidden_size, config.people.training)


def start(
  config: Any, place: str, seed: int, label: str = 'start'
) -> units.Unit:
  """Returns a summariser that was shown, and a reward model that reads.

  Nobody's choices are in either: demonstrations and choices are strangers'.
  The reward model starts from the summariser; the label says how it reads.
  """
  world, node = people.world(config, place, seed), config.start
  own_words, began = world.own_words, time.process_time()
  language, strangers = node.language.to_dict(), node.strangers.to_dict()
  warm = plus.Warm(
    history_rows.language(language.pop('batch'), own_words=own_words),
    history_rows.strangers(
      strangers.pop('batch'), strangers.pop('pairs'), own_words=own_words
    ),
    language,
    strangers,
  )
  reads = config.readers.get(label)
  made = learner(world, warm=warm, steps=0, reader=reads)
  state = train.fit(
    made._replace(phases=made.phases[:2], first=0),
    history_rows.contexts(world.training),
    key=jax.random.key(seed),
    spec=_spec(config, world),
  )
  record = {
    'label': label,
    'world': place,
    'seed': seed,
    'parameters': sum(
      leaf.size for leaf in jax.tree.leaves(state.params['user'])
    ),
    'cpu_seconds': time.process_time() - began,
  }
  return units.Unit(record, _kept(state.params))


def _kept(params) -> Arrays:
  some = {part: params[part] for part in ('user', 'reward')}
  return judges.arrays(some, 'params')


# --------------------------------------------------------------- examinations


Reader = Callable[..., Arrays]


def reader(world: people.World, pool: str = 'sum') -> Reader:
  """Returns `(params, contexts, reads, given=None, history=None) -> arrays`.

  Arrays are `own`, `other` and `empty`, the share of a context's choices that
  is predicted behind such a summary, `nll`, behind one's own, `person`, and of
  summaries `summary`, `strong_first`, `both` and `silent`, of every context.
  The likeliest summaries are written, unless they are `given`, of the contexts'
  histories or of others. The pool is of the reward, `rewards.summarized`.
  """
  examine = _examiner(world.writer.config, world.own_words, pool)

  def read(
    params, contexts, reads='summaries', given=None, history=None
  ) -> Arrays:
    rows = history_rows.contexts(contexts).rows
    if history is not None:
      rows = rows._replace(history=history)
    if reads == 'histories':
      given = rows.history
    elif reads == 'nothing':
      given = summarizing.nothing(world.writer, len(rows.mask))
    found = examine(jax.random.key(0), params, rows, given)
    arrays = {which: np.asarray(found.right[which]) for which in OF}
    arrays |= {'nll': np.asarray(found.nll['own'])}
    arrays |= {'person': np.asarray(contexts.user)}
    if reads != 'summaries':
      return arrays
    ids = np.where(found.summary.mask > 0, found.summary.ids, histories.PAD)
    said = types.Tokens(ids, found.summary.mask)
    return {
      **arrays,
      'summary': ids,
      **histories.facts_told(contexts.people, ids),
      'silent': np.asarray(summarizing.silent(world.writer, said)) > 0,
    }

  return read


@functools.cache
def _examiner(sizes: decoder.DecoderConfig, own_words: bool, pool: str) -> Any:
  """Returns what examines, compiled once for all units of a process."""
  writer = history_rows.writer(sizes, own_words=own_words)
  made = of_writer(writer, {'pool': pool})
  return examining.examiner(writer, made.system.reward)


def of_splits(
  read: Reader, world: people.World, params: types.PyTree, reads: str
) -> Arrays:
  """Returns `read`'s arrays of all splits, as `SPLIT|NAME`."""
  return {
    f'{split}|{key}': value
    for split, contexts in world.tests.items()
    for key, value in read(params, contexts, reads).items()
  }


def told(ids: np.ndarray) -> types.Tokens:
  """Returns summaries `[B, S]` that were written, as they are read."""
  return history_rows.told(ids)


def figures(arrays: Arrays) -> Row:
  """Returns means of an examination."""
  known = (*OF, 'nll', 'strong_first', 'both', 'silent')
  return {
    key: None if np.isnan(arrays[key]).all() else float(np.nanmean(arrays[key]))
    for key in known
    if key in arrays
  }


class Watch:
  """Examines validation people in training, and takes the time between."""

  def __init__(self, read: Reader, world: people.World, reads: str, every: int):
    """Watches what `read` says every so many steps."""
    self._look = functools.partial(read, contexts=world.validation, reads=reads)
    self._every, self._steps = every, itertools.count()
    self.rows: list[Row] = []
    self.windows: list[float] = []  # CPU seconds, without examinations
    self._began: float | None = None

  def look(self, step: int, params: types.PyTree) -> None:
    """Examines now."""
    jax.block_until_ready(params)
    if self._began is not None:
      self.windows.append(time.process_time() - self._began)
    self.rows.append({'step': step, **figures(self._look(params))})
    self._began = time.process_time()

  def of(self, made: types.Learner) -> types.Learner:
    """Returns the learner, which is examined before every window of steps."""

    def watched(phase):
      inner: Any = phase.collect

      def collect(key, state, batch):
        step = next(self._steps)
        if step % self._every == 0:
          self.look(step, state.params)
        return inner(key, state, batch)

      return phase._replace(collect=collect)

    return made._replace(phases=tuple(map(watched, made.phases)))

  @property
  def seconds_per_step(self) -> float:
    """CPU seconds of a step; the median window has compiled nothing."""
    return float(np.median(self.windows)) / self._every


# -------------------------------------------------------------------- methods


def run(
  config: Any, folder: units.Folder, label: str, place: str, seed: int
) -> units.Unit:
  """Returns a method that learned from the start, and its examinations.

  Where a method is `read_by` another one's reward model nothing learns:
  `summaries_of` says whose summaries it reads, a method's, the start's or
  those of who knows everything (`truth`).
  """
  node, began = config.methods[label].to_dict(), time.process_time()
  world = people.world(config, place, seed)
  reads, first = node.get('reads', 'summaries'), node.pop('start', 'start')
  scores = config.readers.get(first, {})
  read = reader(world, scores.get('pool', 'sum'))
  record: Row = {'label': label, 'world': place, 'seed': seed}
  if 'read_by' in node:
    arrays = _given(config, folder, world, read, node, place, seed)
  else:
    made = needed(config, folder, first, place, seed)
    node['reader'] = scores
    params, more = _learned(config, world, read, node, made, seed)
    arrays = of_splits(read, world, params, reads) | _kept(params)
    record |= more
  record['cpu_seconds'] = time.process_time() - began
  return units.Unit(record, arrays)


def _learned(config, world, read, node, made, seed):
  """Returns parameters, and what is known of the training."""
  fitted = learner(world, **node)
  steps = sum(phase.steps for phase in fitted.phases) * fitted.rounds
  watch = Watch(
    read, world, node.get('reads', 'summaries'), min(config.every, steps)
  )
  state = train.fit(
    watch.of(fitted),
    history_rows.contexts(world.training),
    key=jax.random.key(seed),
    spec=_spec(config, world),
    given={k: v for k, v in made.arrays.items() if k.startswith('params/')},
  )
  watch.look(steps, state.params)
  update = summarizing.Update(**node.get('update', {}))
  # In turns, both halves learn from the same choices.
  draws = steps // (len(node['order']) if fitted.rounds > 1 else 1)
  return state.params, {
    'curve': watch.rows,
    'steps': steps,
    'pairs_drawn': draws * update.contexts * update.pairs,
    'cpu_seconds_per_step': watch.seconds_per_step,
    'training_cpu_seconds': watch.seconds_per_step * steps,
  }


def needed(
  config: Any, folder: units.Folder, label: str, place: str, seed: int
) -> units.Unit:
  """Returns a unit that another one is made of.

  Raises:
    BusyError: another process is making it.
  """
  if label.startswith('start'):
    make: units.Make = functools.partial(start, config, place, seed, label)
  else:
    make = functools.partial(run, config, folder, label, place, seed)
  return judges.made(folder, name(label, place, seed), make)


def _given(
  config, folder, world, read, node: Mapping[str, str], place, seed
) -> Arrays:
  """Returns arrays of some summaries before some reward model."""
  reward = params_of(
    world, needed(config, folder, node['read_by'], place, seed)
  )
  arrays: Arrays = {}
  whose = node['summaries_of']
  writes = None
  if whose != 'truth':
    writes = params_of(world, needed(config, folder, whose, place, seed))
    reward = {**reward, 'user': writes['user']}
  for split, contexts in world.tests.items():
    truth = None
    if writes is None:
      ids = histories.truths(contexts, own_words=world.own_words)
      truth = told(ids)
    for key, value in read(reward, contexts, given=truth).items():
      arrays[f'{split}|{key}'] = value
  return arrays
