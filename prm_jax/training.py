"""From a file of judgements to a fitted reward model, resumable."""

import dataclasses
import inspect
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import adapting, places, registry, types
from prm_jax import setting as settings
from prm_jax.audits import copies
from prm_jax.data import pipelines, schema, sizes
from prm_jax.elicitation import pool
from prm_jax.heads import assembled
from prm_jax.lab import fitting, held_out
from prm_jax.models import features
from prm_jax.runtime import checkpoint, pace, processes, train, writers
from prm_jax.runtime import mesh as meshes
from prm_jax.runtime.compile import laid_out
from prm_jax.setting import Setting
from prm_jax.systems import inference
from prm_jax.users import bank as banks

COMPONENTS = 63  # with length, columns of a round number
_PAIRS = 200  # of a person's ratings, at most
_START, _ROW, _TEXT = 6e8, 6e2, 1.6e4  # bytes that were measured
MEMORY = 4.0  # gigabytes that a fit may take
_ALIKE = 1e-4  # columns of one text vary less
PREDICTIONS = 'predictions.jsonl.gz'
LOGS = ('jsonl', 'tensorboard')  # where training figures go
_CHECKPOINTS = 'checkpoints'


class Watch(NamedTuple):
  """How a fit is watched, and from where it goes on.

  Attributes:
    progress: whether to show a bar.
    log: 'tensorboard' writes figures to `WORKDIR/tensorboard`, too; they are in
      `WORKDIR/metrics.jsonl` in any case. With it, or a profile, figures say
      how fast steps are.
    profile: a folder for a trace of some steps, see `train.go_on`.
    restore_step: the checkpoint to go on from; the latest, if None. Later ones
      are replaced.
  """

  progress: bool = False
  log: str = 'jsonl'
  profile: Path | None = None
  restore_step: int | None = None

  def check(
    self, method: str, options: Mapping[str, Any], workdir, *, adapts: bool
  ) -> None:
    """Raises ValueError where a fit cannot be watched so, or there.

    Args:
      method: that is fitted.
      options: of its learner.
      workdir: of the fit; None where nothing is written.
      adapts: whether layers of a decoder train, too.
    """
    if workdir is not None and (adapts or self.log == 'tensorboard'):
      places.disk(workdir)  # for what writes there
    if self.log not in LOGS:
      raise ValueError(f'--log={self.log}: one of {list(LOGS)}')
    if workdir is None and self._replace(progress=False) != Watch():
      raise ValueError('log, profile and restore_step need a workdir')
    if self.log == 'tensorboard':
      writers.TensorboardWriter(workdir)  # which says what is not installed
    learner = registry.build('learner', {'kind': method, **options})
    first, steps = pace.Trace.first, train.steps(learner)
    if self.profile is not None:
      places.disk(self.profile)
    if self.profile is not None and steps <= first:
      raise ValueError(
        f'--profile: a trace begins after {first} steps, and {method} takes '
        f'{steps}'
      )
    if self.restore_step is not None:
      checkpoint.check_step(workdir / _CHECKPOINTS, self.restore_step)

  def options(self, workdir: Path) -> dict[str, Any]:
    """Returns options of `train.fit` for a fit that writes to a folder."""
    figures: writers.Writer = writers.JsonlWriter(workdir / 'metrics.jsonl')
    if self.log == 'tensorboard':
      board = writers.TensorboardWriter(workdir / self.log)
      figures = writers.Tee(figures, board)
    return {
      'writer': figures,
      'paced': self.log == 'tensorboard' or self.profile is not None,
      'profile': self.profile,
      'restore_step': self.restore_step,
    }


_UNWATCHED = Watch()


class Fitted(NamedTuple):
  """A fitted model, and what it was made of; see `model.Model`."""

  setting: Setting
  state: types.TrainState
  reader: features.Reader
  source: features.Source
  kept: pool.Kept
  results: dict[str, Any]


def fit(
  data: str | Path | schema.Judgements | schema.Ratings,
  *,
  method: str,
  workdir: Path | None,
  options: Mapping[str, Any] | None = None,
  kind: str = 'response',
  components: int = COMPONENTS,
  encoder: str | None = None,
  own_features: Path | None = None,
  backbone: str | None = None,
  reading: str | None = None,
  adapt: str | None = None,
  precision: str | None = None,
  seed: int = 0,
  evaluate: bool = True,
  memory: float = MEMORY,
  watch: Watch = _UNWATCHED,
) -> Fitted:
  """Returns a model fitted to nine tenths of the judgements.

  Args:
    data: a file of judgements or ratings, or a table of them.
    method: a kind of `registry.LEARNERS`.
    workdir: where everything is written; None: nowhere.
    options: numbers of the learner, such as `basis_ridge`, and of `adapt`; and
      `head`, plain data, of learners that take one: if it says what a tie is,
      ties train, too. What is kept of people are choices, a tie half of each.
    kind: of features, see `models.features.KINDS`.
    components: columns of features, besides length.
    encoder: folder of a BERT checkpoint; the default one if None.
    own_features: .npz of features of one's own, in the encoder's place.
    backbone: folder of a decoder, which takes it, too; `kind` is 'backbone'.
    reading: of the backbone's states, see `token_states`; if None the last.
    adapt: what of it trains with the reward, see `adapting.parse`.
    precision: in which that is computed; 'float32' if None.
    seed: of the split and of the fit.
    evaluate: measure it on the rest, beside the aggregate and controls.
    memory: gigabytes that a file may take.
    watch: the fit's figures, trace and the checkpoint to go on from.

  Raises:
    ValueError: the data or an option cannot be used; nothing is written.
    CheckpointError: the workdir belongs to another setting.
  """
  plan, options = _given(adapt, precision, options or {}, method, backbone)
  watch.check(method, options, workdir, adapts=plan is not None)
  judged, copied, digest = judgements(data, seed, memory)
  where = held_out.split(judged, copied, seed)
  source = settings.source(encoder, own_features, backbone, reading=reading)
  kind = features.BACKBONE if backbone else kind
  says = _trains(judged, where == fitting.TRAIN, options.get('head'))
  read = _read(kind, source, judged, says, components)
  says &= ~_alike(judged, read.table, says)
  begun = plan and _begun(plan, source, judged, copied, says, seed, memory)
  known = Setting(
    method=method,
    options=options,
    people=len(judged.user_ids),
    features=read.table.shape[1],
    seed=seed,
    encoder=encoder,
    kind=kind,
    components=components,
    judgements=len(judged.user),
    source='text' if kind in features.OF_TEXT_ALONE else source.name,
    backbone=backbone,
    reading=reading,
    adapt=plan and plan.described(),
  )
  _begin(workdir, known, digest)
  if begun is not None:
    source = _adapted(known, source, begun, read, workdir)
    read = _read(kind, source, judged, says, components)
  batch = _said(judged, says, read)
  state = _fit(known, batch, judged.user_ids, workdir, watch)
  kept = pool.choose(judged, read.table, where == fitting.TRAIN, seed)
  rest = evaluate and _evaluated(known, state, judged, read.table, where)
  results = _results(known, judged, copied, rest, workdir) if rest else {}
  return Fitted(known, state, read.reader, source, kept, results)


def _results(known: Setting, judged, copied, cell, workdir) -> dict[str, Any]:
  """Returns the content of results.json; writes what was predicted."""
  if workdir is not None and processes.first():
    writers.write_lines(workdir / PREDICTIONS, held_out.lines(cell))
  return held_out.results(dataclasses.asdict(known), judged, copied, cell)


class _Read(NamedTuple):
  """How texts become columns, and the columns `[M, C]` of all of them."""

  reader: features.Reader
  table: np.ndarray


def _read(kind, source, judged, says, components) -> _Read:
  """Returns the columns of all texts, by what those say that train."""
  trained = np.unique(judged.items[says])
  both = judged.prompt_texts, judged.texts
  reader = features.fit(kind, source, *both, trained, components)
  return _Read(reader, reader(source, *both))


def _said(judged: schema.Judgements, says, read: _Read) -> types.Batch:
  """Returns all judgements over their columns; some of them train."""
  batch = fitting.judgements(judged.user, judged.items, judged.label)
  return batch.masked(says).over(read.table)


class _Begun(NamedTuple):
  """What is adapted, on what.

  Attributes:
    plan: what trains, and how.
    texts: of the judgements that train.
    used: `[m]` which of all texts these are.
    rows: judgements of them.
  """

  plan: adapting.Plan
  texts: adapting.Texts
  used: np.ndarray
  rows: adapting.Rows


def _begun(plan, source, judged, copied, says, seed: int, memory: float):
  """Returns a plan, and what it trains and validates on; all is checked.

  Validation is of training judgements alone, split as tests are.
  """
  used = np.unique(judged.items[says])
  texts = adapting.Texts(
    plan,
    source.trunk,
    [judged.prompt_texts[text] for text in used],
    [judged.texts[text] for text in used],
    memory=memory,
  )
  part = held_out.split(
    judged, copied, seed, salt='adapting', one_in=adapting.ONE_IN
  )
  # Rows of other texts neither train nor validate: they point anywhere.
  place = np.minimum(np.searchsorted(used, judged.items), len(used) - 1)
  rows = adapting.Rows(
    fitting.judgements(judged.user, place, judged.label),
    says & (part == fitting.TRAIN),
    says & (part != fitting.TRAIN),
  )
  rows.check()
  return _Begun(plan, texts, used, rows)


def _adapted(
  known: Setting,
  source: features.Source,
  begun: _Begun,
  read: _Read,
  workdir: Path | None,
) -> features.Source:
  """Returns the decoder whose highest layers have trained with a reward."""
  rows = begun.rows
  batch = rows.judged.masked(rows.fits).over(read.table[begun.used])
  changes = adapting.fit(
    begun.plan,
    begun.texts,
    rows,
    train.fit(known.learner(), batch, key=known.key, spec=known.spec),
    read.reader.reductions[features.BACKBONE],
    method=known.method,
    options=known.options,
    seed=known.seed,
    workdir=workdir,
  )
  return source.changed(changes)


def _given(
  adapt, precision, options, method: str, backbone
) -> tuple[adapting.Plan | None, dict[str, Any]]:
  """Returns what trains of a decoder, if any, and the learner's options."""
  asked = adapt, precision, options, method, backbone
  plan, options = adapting.given(*asked)
  check_options(method, options)
  return plan, options


def _begin(workdir: Path | None, known: Setting, digest: str) -> None:
  """Writes what is fitted, or compares it with what was begun there."""
  what = {**known.described(), 'data': digest}
  processes.same('the data or options', json.dumps(what, sort_keys=True))
  if workdir is not None:
    processes.on_first(lambda: checkpoint.check_config(workdir, what))


def read_alike(judged: schema.Judgements, table: np.ndarray) -> np.ndarray:
  """Returns in which judgements `[n]` both responses are read alike.

  Args:
    judged: N judgements of M texts.
    table: `[M, C]` features.
  """
  first, second = (table[judged.items[:, side]] for side in (0, 1))
  # The same text in another batch differs by rounding.
  return np.abs(first - second).max(1) < _ALIKE


def _alike(judged: schema.Judgements, table, says) -> np.ndarray:
  """Returns which pairs `[n]` are read alike; those that train are said.

  Their difference is 0 whatever is learned: longer responses than are read,
  that differ behind, or words that the tokenizer does not know.
  """
  found = read_alike(judged, table)
  if count := int((found & says).sum()):
    print(
      f'{count} of {int(says.sum())} judgements that train compare responses '
      'that are read alike, and are left out',
      file=sys.stderr,
    )
  if says.any() and not (says & ~found).any():
    raise ValueError(
      'in every judgement that trains both responses are read alike: nothing '
      'can be learned of them'
    )
  return found


def _evaluated(known: Setting, state, judged, table, where):
  """Returns what the model and others predict of what was held out."""
  learner = known.learner()
  fitted = fitting.Fitted(learner, state, table, known.people, known.key)
  mesh = meshes.in_use()  # of several processes: each evaluates for itself
  with meshes.use(None if processes.share(mesh) else mesh):
    return held_out.evaluate(
      fitted, known.method, judged, table, where, seed=known.seed
    )


def _trains(
  judged: schema.Judgements,
  training: np.ndarray,
  head: Mapping[str, Any] | None,
) -> np.ndarray:
  """Returns which judgements train, `[n]`: ties where a head says them.

  Args:
    judged: judgements.
    training: `[n]` those that are not held out.
    head: plain data; None for Bradley-Terry.

  Raises:
    ValueError: none says which of two is better.
  """
  says = training & (judged.label != 0.5)
  if not says.any():
    raise ValueError(
      'there is no judgement to train on that says which of two is better'
    )
  made = assembled.given(head)
  return says if made is None or made.classes is None else training


def judgements(
  data: str | Path | schema.Judgements | schema.Ratings,
  seed: int,
  memory: float = MEMORY,
) -> tuple[schema.Judgements, copies.Copies, str]:
  """Returns judgements, what is copied in them, and the file's digest.

  What was left out of a file is said on standard error.

  Args:
    data: a file, or a table.
    seed: of the pairs that are made of ratings.
    memory: gigabytes that a file may take.

  Raises:
    SchemaError: the file cannot be used.
    ValueError: ratings compare nothing.
  """
  digest, where = 'a table', 'the table'
  if isinstance(data, str | Path):
    where = str(data)
    check_memory(Path(data), memory)
    judged, report = schema.read_jsonl(Path(data))
    digest = writers.file_digest(Path(data))
    for line in report.lines():
      print(line, file=sys.stderr)
  else:
    judged = data
  copied = copies.find(judged)
  if isinstance(judged, schema.Judgements):
    return judged, copied, digest
  pairs = pipelines.pairs_from_ratings(
    judged, min_gap=1e-9, scale=None, per_person=_PAIRS, seed=seed
  )
  if not len(pairs.user):
    raise ValueError(
      f'{where}: nobody rated two responses to one prompt differently, so '
      'that there is nothing to compare'
    )
  return pairs, copied, digest


def check_memory(path: Path, gigabytes: float) -> None:
  """Raises ValueError where a file needs more memory than it may take.

  Args:
    path: of judgements or ratings; what is no file is left to its reader.
    gigabytes: that it may take.
  """
  if not path.is_file():
    return
  size = sizes.estimate(path)
  needs = _START + size.rows * _ROW + size.texts * _TEXT
  if needs > gigabytes * 1e9:
    raise ValueError(
      f'{path} has about {size.rows:,} rows and {size.texts:,} texts, which '
      f'need about {needs:,.0f} bytes of memory; it may take '
      f'{gigabytes * 1e9:,.0f} (--memory={math.ceil(needs / 1e9)} lets it)'
    )


def check_options(method: str, options: Mapping[str, Any]) -> None:
  """Raises ValueError where a learner does not take these numbers."""
  methods = registry.of_role('aggregate', 'personal', 'control')
  if method in registry.of_role('summarizer'):
    raise ValueError(
      f'{method} writes about people with a language model: `prm train '
      '--backbone=FOLDER` fits it'
    )
  if method not in methods:
    raise ValueError(f'unknown method {method!r}: one of {sorted(methods)}')
  if beside := registry.LEARNERS[method].needs.beside:
    raise ValueError(
      f'{method} needs {", ".join(beside)} beside the judgements, which the '
      'command does not read'
    )
  takes = {
    name: option.default
    for name, option in inspect.signature(
      registry.LEARNERS[method].factory
    ).parameters.items()
    if isinstance(option.default, int | float)
  }
  check_head(method, options.get('head'))
  for name, number in options.items():
    if name == 'head':
      continue
    if name not in takes:
      raise ValueError(
        f'option {name}={number}: {method} takes {sorted(takes)}'
      )
    if not 0 <= number < float('inf'):
      raise ValueError(
        f'option {name}={number}: give a finite number, not below 0'
      )
    if isinstance(takes[name], int) and number != int(number):
      raise ValueError(
        f'option {name}={number}: it counts, give a whole number'
      )
  registry.build('learner', {'kind': method, **options})


def check_head(method: str, head: Mapping[str, Any] | None) -> None:
  """Raises ValueError where a learner cannot read judgements by a head.

  Args:
    method: a kind of `registry.LEARNERS`.
    head: plain data, 'kind' and options; None for Bradley-Terry.
  """
  if head is None:
    return
  with_heads = sorted(
    name
    for name, entry in registry.LEARNERS.items()
    if 'head' in inspect.signature(entry.factory).parameters
  )
  if method not in with_heads:
    raise ValueError(f'option head: {method} takes none; {with_heads} take one')
  kind = dict(head).get('kind')
  if kind in assembled.FACTORIES and kind not in assembled.OF_TWO:
    raise ValueError(
      f'option head: {kind} does not read choices between two, which '
      f'judgements are: one of {list(assembled.OF_TWO)}'
    )


def _fit(
  setting: Setting,
  data: types.Batch,
  user_ids: list[str],
  workdir: Path | None,
  watch: Watch,
) -> types.TrainState:
  """Returns the fitted state with everybody's belief; goes on where it was.

  The checkpoint after the last step holds the beliefs: a finished run is
  read, not repeated.
  """
  learner = setting.learner()
  common: dict[str, Any] = {
    'key': setting.key,
    'spec': setting.spec,
    'progress': watch.progress,
  }
  if workdir is None:
    state = train.fit(learner, data, **common)
    return _finished(learner, state, data, user_ids)
  last = train.length(learner)
  common |= watch.options(workdir)
  with checkpoint.Checkpoints(workdir / _CHECKPOINTS) as manager:
    step = watch.restore_step or manager.latest() or 0
    mesh = meshes.in_use()
    shared = processes.share(mesh)
    if step > last:
      like = setting.finished()
      like = processes.everywhere(like) if shared else like
      return processes.local(manager.restore(like, step=step))
    state = train.fit(learner, data, manager=manager, save_every=100, **common)
    # What follows is small, and the same in every process.
    state = _finished(learner, processes.local(state), data, user_ids)
    manager.save(last + 1, laid_out(state, mesh) if shared else state)
    manager.wait()
  return state


def _finished(learner, state, data, user_ids) -> types.TrainState:
  state = state._replace(people=banks.with_ids(state.people, user_ids))
  return _remember(learner, state, data)


def _remember(
  learner: types.Learner, state: types.TrainState, data: types.Batch
) -> types.TrainState:
  """Returns the state with everybody's belief from their training answers."""
  user = learner.system.user
  prior = user.prior(state.params['user'])
  people = banks.with_beliefs(state.people, prior)
  beliefs = jax.tree.map(np.array, people.beliefs)
  encoded = inference.encode(learner.system, state.params, data.inputs.value)

  @jax.jit
  def believe(said, index, group):
    evidence = inference.group_evidence(encoded, said, index, group)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, group.people)
    update = jax.vmap(user.update, (0, None, None, 0))
    return update(keys, state.params['user'], prior, evidence)

  dropped: list[np.ndarray] = []
  said, index = jax.tree.map(jnp.asarray, (data.rows, data.inputs.index))
  for group in inference.group_people(data.rows, width=encoded.shape[-1]):
    real = group.people >= 0
    found, info = believe(said, index, group)
    for leaf, new in zip(
      jax.tree.leaves(beliefs), jax.tree.leaves(found), strict=True
    ):
      leaf[group.people[real]] = np.asarray(new)[real]
    if 'dropped' in info:
      dropped.append(np.asarray(info['dropped'])[real])
  _say_dropped(np.concatenate(dropped) if dropped else np.zeros(0, int))
  beliefs = jax.tree.map(jnp.asarray, beliefs)
  return state._replace(people=people._replace(beliefs=beliefs))


def _say_dropped(dropped: np.ndarray) -> None:
  """Says how many answers beliefs have no room for."""
  if dropped.any():
    print(
      f'{(dropped > 0).sum()} people gave more answers than a belief keeps: '
      f'the oldest {dropped.sum()} are dropped (--set=capacity=N keeps N)',
      file=sys.stderr,
    )
