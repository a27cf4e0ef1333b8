"""Judges that score a solution as they read it, without writing anything.

All learn from the same pairs as the judge that writes. Some are helped: by a
label for every shown step beside the pair, by tokens behind the solution at
which they may go on computing, or by twice the layers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reasoning_rewards import judges, measured, problems
from prm_jax import types
from prm_jax.lab import units
from prm_jax.models import decoder
from prm_jax.policy import phases, tasks
from prm_jax.worlds import judging

Row = dict[str, Any]
_WARM_UP = 100
SIDES = ('train', 'test')  # of which a plateau is asked
_SLOWER = 0.2  # share of the updates at the end in which the rate falls


class Kind(NamedTuple):
  """A scalar judge.

  Attributes:
    process: whether every shown step has a label beside the pair's.
    pauses: tokens behind the solution, at the last of which its last value is
      scored.
    layers: of the decoder.
  """

  process: bool = False
  pauses: int = 0
  layers: int = 3


class Texts(NamedTuple):
  """B solutions as they are read, each with K places that are scored.

  Attributes:
    ids: `[B, T]`, padded on the left.
    at: `[B, K]` places.
    label: `[B, K]` 1 for a right step.
    labelled: `[B, K]` which places count; where steps have no labels, the last
      token alone.
  """

  ids: np.ndarray
  at: np.ndarray
  label: np.ndarray
  labelled: np.ndarray


class Pairs(NamedTuple):
  """A step's rows: pairs, of which the first solution is right.

  Leaves of `texts` lead with `[B, 2]`.
  """

  texts: Texts
  mask: types.ArrayLike
  example_id: types.ArrayLike


def texts(kind: Kind, given: judging.Judgements) -> Texts:
  """Returns solutions as a judge reads them, with labels of their steps.

  A shown step is right if it follows from the value before it, so that it can
  be checked by itself; a value behind hidden ones is right if the true one is.

  Args:
    kind: of the judge.
    given: B rows of one solution.
  """
  ids = judging.paused(judging.prompts(given), kind.pauses)
  end = ids.shape[1] - 1
  if not kind.process:
    B = len(ids)
    last = np.full((B, 1), end)
    return Texts(ids, last, given.right[:, None], np.ones((B, 1), bool))
  label = judging.step_labels(given)
  left = given.problems.length[:, None] - 1 - np.arange(label.shape[1])
  at = np.where(left >= 0, end - kind.pauses - 1 - 3 * left, 0)
  if kind.pauses:
    at = np.where(left == 0, end, at)
  return Texts(ids, at, label == 1, ~np.isnan(label))


def network(config: decoder.DecoderConfig):
  """Returns `init(key)` and `(params, ids, at) -> scores [B, K]`."""
  model: Any = decoder.Decoder(config)

  def init(key):
    ids = jnp.zeros((1, 2), jnp.int32)
    trunk = model.init(key, ids, ids, decoder.attended(ids + 1))
    # The head of tokens is not needed; that of scores starts at zero.
    trunk['params'].pop('head')
    return {'trunk': trunk, 'score': jnp.zeros(config.hidden_size)}

  def score(params, ids, at):
    seen = (ids != judging.PAD).astype(jnp.int32)
    hidden = model.apply(
      params['trunk'], ids, decoder.counted(seen), decoder.attended(seen)
    ).hidden
    at = jnp.take_along_axis(hidden, at[..., None], 1)
    return at @ params['score']

  return init, score


def _worst(score, labelled):
  """Returns a solution's score `[...]`: that of its worst place."""
  return jnp.min(jnp.where(labelled, score, jnp.inf), -1)


def learner(
  kind: Kind,
  config: decoder.DecoderConfig,
  given: judging.Judgements,
  *,
  rate: float,
  steps: int,
  batch: int,
) -> types.Learner:
  """Returns the learner of a scalar judge.

  It descends -log sigmoid(s_right - s_wrong), and with labels the mean
  cross-entropy of a solution's labelled steps too, summed over both.

  Args:
    kind: of the judge.
    config: sizes.
    given: rows of one solution, right and wrong ones in turn.
    rate: of Adam; constant after a warm-up, and falling in the last fifth.
    steps: updates.
    batch: pairs of an update.
  """
  init, score = network(config)
  everything = texts(kind, given)
  pairs = len(given.right) // 2

  def collect(key, state, rows):
    del state, rows
    row = 2 * tasks.generator(key).integers(0, pairs, batch)[:, None]
    some = jax.tree.map(lambda leaf: leaf[row + np.arange(2)], everything)
    number = np.arange(batch, dtype=np.int32)
    return types.Batch(Pairs(some, np.ones(batch, np.float32), number)), {}

  def objective(params, people, state, rows, gather):
    del people, state, gather
    some = rows.rows.texts
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), some)
    found = score(params['policy'], flat.ids, flat.at).reshape(some.at.shape)
    worst = _worst(found, some.labelled)
    margin = worst[:, 0] - worst[:, 1]
    total = jax.nn.softplus(-margin)
    if kind.process:
      each = optax.sigmoid_binary_cross_entropy(found, some.label)
      # Every solution counts alike: hidden ones have one label of many steps.
      labels = jnp.maximum(some.labelled.sum(2), 1)
      mean = jnp.where(some.labelled, each, 0.0).sum(2) / labels
      total += mean.sum(1)
    count = jnp.ones_like(total)
    right = jnp.where(margin == 0, 0.5, margin > 0)
    return {'nll': (total, count)}, {}, {'right': (right, count)}

  return judge(init, collect, objective, rate, steps)


def judge(
  init: Callable[[types.Key], types.PyTree],
  collect: Callable[..., Any],
  objective: types.Objective,
  rate: float,
  steps: int,
) -> types.Learner:
  """Returns the learner of a judge with one phase.

  Args:
    init: draws its parameters.
    collect: `Phase.collect`: draws a step's rows.
    objective: of these rows.
    rate: of Adam; see `learner`.
    steps: updates.
  """
  late, early = int(_SLOWER * steps), min(_WARM_UP, steps // 4)
  schedule = optax.join_schedules(
    [
      optax.linear_schedule(0.0, rate, max(early, 1)),
      optax.constant_schedule(rate),
      optax.linear_schedule(rate, 0.05 * rate, max(late, 1)),
    ],
    [early, steps - late],
  )
  phase = types.Phase(
    'scalar',
    steps=steps,
    collect=collect,
    optimizer=optax.chain(
      optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.98)
    ),
    train='policy',
    objective=objective,
  )

  def start(key, spec):
    del spec
    return phases.new_state(key, init(jax.random.fold_in(key, 0)))

  return types.Learner((phase,), start)


class Scored:
  """Scores of one set of solutions by judges of one kind, compiled once."""

  def __init__(
    self, kind: Kind, config: decoder.DecoderConfig, given: judging.Judgements
  ):
    """Keeps what is read.

    Args:
      kind: of the judges.
      config: sizes.
      given: B rows of one solution.
    """
    self.given, self._texts = given, texts(kind, given)
    _, score = network(config)
    self._score = jax.jit(
      lambda params, some: _worst(
        score(params, some.ids, some.at), some.labelled
      )
    )

  def __call__(self, params: types.PyTree) -> np.ndarray:
    """Returns the scores `[B]`."""
    count = len(self._texts.ids)
    found = []
    for _, place in judges.blocks(count):
      found.append(
        self._score(params, Texts(*(leaf[place] for leaf in self._texts)))
      )
    return np.concatenate(found)[:count]


def run(
  config: Any,
  label: str,
  *,
  rate: float,
  batch: int,
  steps: int,
  seed: int,
  many: bool = True,
) -> units.Unit:
  """Returns a scalar judge of a seed: its curve, and scores of all tests.

  Arrays `SIDE/before` and `SIDE/after` are pairs before and after the last
  third of the updates, of many problems, with those of `measured.rows_of`.

  Args:
    config: of the study.
    label: of the judge.
    rate: of Adam.
    batch: pairs of an update.
    steps: updates.
    seed: of the world.
    many: whether many problems are examined; a search needs none of it.
  """
  kind = Kind(**config.scalars.kinds[label])
  sizes = judges.sizes(config.judge, num_hidden_layers=kind.layers)
  world = problems.world(config.problems, seed)
  given = problems.trained(world, seed)
  lengths = tuple(config.problems.lengths)
  looked = {
    'train': Scored(
      kind, sizes, problems.spread(given, 2 * config.scalars.known)
    ),
    'validation': Scored(kind, sizes, problems.chosen(world, seed)),
    'test': Scored(kind, sizes, problems.held_out(world, seed, *lengths)),
  }
  drawn = {}
  if many:
    drawn = problems.many(world, seed, lengths, config.scalars.examined)
  last = {side: Scored(kind, sizes, some) for side, some in drawn.items()}
  seen: dict[str, list[np.ndarray]] = {name: [] for name in looked}
  late: dict[str, list[np.ndarray]] = {side: [] for side in last}
  every = max(steps // config.scalars.looks, 1)
  looks = -(-steps // every)

  def examine(params):
    look = len(seen['test'])
    for name, score in looked.items():
      seen[name].append(judges.preferred(score(params)).astype(np.float32))
    if look in (2 * looks // 3, looks):  # before and after the last third
      for side, score in last.items():
        late[side].append(judges.preferred(score(params)).astype(np.float32))
    return {name: float(pairs[-1].mean()) for name, pairs in seen.items()}

  made = learner(kind, sizes, given, rate=rate, steps=steps, batch=batch)
  params, curve = judges.fitted(made, None, seed, every=every, examine=examine)
  final = examine(params)
  test = looked['test'].given
  found = [{**measured.rows_of(test, 2), 'pair': seen['test'][-1]}]
  if config.problems.beyond:
    longer = problems.held_out(world, seed, *config.problems.beyond)
    pair = judges.preferred(Scored(kind, sizes, longer)(params))
    found.append({**measured.rows_of(longer, 2), 'pair': pair})
  record = {
    'judge': label,
    'seed': seed,
    **{'rate': rate, 'batch': batch, 'steps': steps},
    'curve': curve,
    'final': final,
  }
  arrays = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
  for side, (before, after) in late.items():
    values = measured.rows_of(drawn[side], 2)
    values |= {'before': before, 'after': after}
    arrays |= {f'{side}/{name}': value for name, value in values.items()}
  return units.Unit(record, arrays)


def chosen(folder: units.Folder, names: Sequence[str]) -> Row:
  """Returns the rate and batch of the search that validation prefers.

  Args:
    folder: of the study.
    names: of the search's units, of one kind.
  """
  found = [folder.read(name).record for name in names]
  best = max(found, key=lambda record: record['final']['validation'])
  return {name: best[name] for name in ('rate', 'batch')}
