"""The answer on anybody's data: compare, audit what was chosen, and draw."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prm_jax import (
  adapting,
  kept_memories,
  kept_summaries,
  places,
  registry,
  training,
)
from prm_jax import setting as settings
from prm_jax.audits import copies
from prm_jax.data import pipelines, schema
from prm_jax.lab import adapted_fits, compare, folds, told, units, worded
from prm_jax.model import Model
from prm_jax.models import features
from prm_jax.runtime import checkpoint, writers

FOLDER = 'compare'
_CHOICE = 'choice.json'
_AUDITED = 10  # people; of fewer an audit says nothing


def run(
  data: str | Path,
  workdir: str | Path,
  *,
  methods: Sequence[str] | None = None,
  options: Mapping[str, float] | None = None,
  encoder: str | None = None,
  own_features: Path | None = None,
  backbone: str | None = None,
  reading: str | None = None,
  components: int = training.COMPONENTS,
  seed: int = 0,
  memory: float = training.MEMORY,
  audit: bool = True,
  adapt: str | None = None,
  precision: str | None = None,
) -> dict[str, Any]:
  """Returns what personal reward models gain on somebody's judgements.

  Writes results.json, predictions, choice.json and the page to
  `WORKDIR/compare`. What is there already is not done again, and several
  processes may share the folder.

  Args:
    data: a file of judgements or ratings.
    workdir: of the comparison, and of the model that is trained after it.
    methods: personal ones; all that the data can bear if None.
    options: of methods that tell a language model, see `lab.worded`; and of
      `adapt`.
    encoder: folder of a BERT checkpoint; the default one if None.
    own_features: .npz of features of one's own, in the encoder's place.
    backbone: folder of a frozen decoder, whose features take the encoder's
      place for every method: there is no search between the two.
    reading: of the backbone's states, see `token_states`; if None the last.
    components: columns of features, besides length.
    seed: of all splits.
    memory: gigabytes that the file may take.
    audit: whether to fit the best personal model to all data, and to measure
      what it breaks.
    adapt: layers of the backbone that train with methods linear in a person's
      vector, in fits beside those on the frozen one; see `adapting.parse`.
    precision: in which that is computed; 'float32' if None.

  Raises:
    ValueError: the data or an option cannot be used, or the data have changed
      since the comparison was begun.
    CheckpointError: the folder is of another comparison.
  """
  plan, options = adapting.given(
    *(adapt, precision, options or {}), None, backbone
  )
  path, folder = Path(data), places.disk(workdir) / FOLDER
  digest = writers.file_digest(path) if path.is_file() else ''
  _check_data(path, digest, folder)
  training.check_memory(path, memory)
  source = settings.source(encoder, own_features, backbone, reading=reading)
  given, said = _data(path, source, components, seed)
  found = compare.run(
    *(given, folder),
    digest=digest,
    methods=methods,
    options=options,
    plan=plan,
    memory=memory,
  )
  chosen = chosen_model(found.choice, components, reading)
  writers.write_json_atomic(folder / _CHOICE, chosen)
  read = {'encoder': encoder, 'backbone': backbone, 'reading': reading}
  audited = _audit(found, given, folder, read) if audit else []
  if writers.file_digest(path) != digest:
    raise ValueError(f'{path} changed while it was compared: begin anew')
  config = {'data': path.name, 'digest': digest, 'choice': chosen}
  if plan is not None:
    config['adapt'] = plan.described()
  notes = [*found.notes, *said]
  return _written(folder, given, found, config, notes, audited)


def _data(
  path: Path, source: features.Source, components: int, seed: int
) -> tuple[folds.Data, list[str]]:
  """Returns what is compared on, and notes of what was left out."""
  judged, report = schema.read_jsonl(path)
  judged, alike = _read_apart(judged, source)
  name, same = path.name.partition('.')[0], copies.find(judged)
  data = folds.Data(name, judged, same, source, components, seed)
  return data, [*report.lines(), *alike]


def _read_apart(judged, source: features.Source):
  """Returns judgements of which a language model reads two texts, and a note.

  Responses may differ behind what it reads: which is better cannot be told.
  """
  if source.backbone is None or isinstance(judged, schema.Ratings):
    return judged, []
  table = source.together(judged.prompt_texts, judged.texts)
  alike = training.read_alike(judged, table)
  if alike.all():
    raise ValueError('in every judgement both responses are read alike')
  if not alike.any():
    return judged, []
  note = (
    f'{int(alike.sum())} judgements are left out: the language model reads '
    'both responses alike.'
  )
  return pipelines.select(judged, ~alike), [note]


def _written(
  folder: Path,
  given: folds.Data,
  found: compare.Comparison,
  config,
  notes,
  audited,
) -> dict[str, Any]:
  """Returns results, and writes them, predictions and the page."""
  from prm_jax.report import page  # draws: heavy, and only needed here

  results: dict[str, Any] = {
    'study': 'compare',
    'config': {
      **config,
      'features': given.source.name,
      'components': given.components,
      'seed': given.seed,
    },
    'seeds': [given.seed],
    'notes': notes,
    'tables': found.tables,
  }
  if audited:
    results['tables']['audit'] = audited
  results['answer'] = [*page.plain_answer(results), *_trained(results)]
  writers.write_lines(folder / training.PREDICTIONS, found.predictions)
  writers.write_json_atomic(folder / 'results.json', results)
  page.write_page(results, folder / 'report' / 'index.html', _page())
  return results


def _page():
  """Returns what the page shows beside what every page knows."""
  from prm_jax.report import page, tables

  trained = tables.Spec(
    'What training layers of the language model gained',
    'Points, on the same judgements: a method whose own training went on in '
    'the layers, less itself on the frozen model; a personal one also less the '
    'model for everyone whose layers trained.',
    {
      'method': ('word', 'method'),
      'less': ('word', 'baseline'),
      'people asked': ('word', 'split'),
      'answers': ('text', 'answers'),
      'gain': ('points', 'gain'),
      'people': ('count', 'people'),
      'units': ('count', 'units'),
      'pairs': ('count', 'pairs'),
      'resampled': ('text', 'resampled'),
    },
  )
  return page.Page(specs={'adapted': trained})


def _trained(results: Mapping[str, Any]) -> list[str]:
  """Returns what layers gained for people who were seen, in sentences."""
  from prm_jax.report import phrases, tables

  said = []
  for row in results['tables'].get('adapted', ()):
    if row['answers'] == 'all' and row['split'] == folds.NEW_PAIRS:
      name = row['method'].removesuffix(adapted_fits.SUFFIX)
      less = row['baseline'].removesuffix(adapted_fits.SUFFIX)
      over = 'itself on the frozen language model'
      if less != row['baseline']:
        over = f'{tables.word(less)} with layers that trained, too'
      gain = phrases.interval(row, 'gain')
      said.append(
        f'With layers that train, {tables.word(name)} gains {gain} over {over} '
        '(new pairs of people who were seen).'
      )
  return said


def _check_data(path: Path, digest: str, folder: Path) -> None:
  """Raises ValueError where a comparison was begun with other data."""
  config = folder / 'config.json'
  if digest and config.exists():
    old = json.loads(config.read_text('utf-8')).get('data')
    if old != digest:
      raise ValueError(
        f'{path} is not what {folder} was begun with (SHA-256 {digest[:12]}, '
        f'and {str(old)[:12]} then): give back the file, or choose another '
        'folder'
      )


def chosen_model(
  choice: dict[str, Any], components: int, reading: str | None = None
) -> dict[str, Any]:
  """Returns what `training.fit` is called with, of a comparison's choice.

  Known texts say nothing of new ones: the response's own features take their
  place.

  Args:
    choice: 'method', 'features' and numbers.
    components: columns of features, besides length.
    reading: of a backbone's states, which a model trained after it reads, too.
  """
  kind = choice['features']
  if choice['method'] == told.METHOD:
    return {
      'method': choice['method'],
      'components': components,
      'options': {'steps': choice['steps']},
    }
  searched = registry.LEARNERS[choice['method']].searched
  return {
    'method': choice['method'],
    'kind': 'response' if kind == 'known_texts' else kind,
    'components': components,
    'options': {k: float(v) for k, v in choice.items() if k in searched},
    **({'reading': reading} if reading else {}),
  }


def chosen(workdir: str | Path) -> dict[str, Any] | None:
  """Returns what a comparison in this folder chose; None if there was none."""
  path = places.place(workdir) / FOLDER / _CHOICE
  return json.loads(path.read_text('utf-8')) if path.exists() else None


def _audit(
  found: compare.Comparison, given: folds.Data, folder: Path, read
) -> list[dict[str, Any]]:
  """Returns the hazard audit of the best personal model, fitted to all data."""
  if found.personal is None or given.source.own:
    return []
  if len(given.judged.user_ids) < _AUDITED:
    return []
  if found.personal['method'] in worded.METHODS:
    return []  # its people are texts: no vector of theirs is served

  def make() -> units.Unit:
    chosen = chosen_model(found.personal or {}, given.components)
    model = Model.fit(
      given.judged, seed=given.seed, evaluate=False, **read, **chosen
    )
    return units.Unit({'rows': model.audit()['tables']['audit']}, {})

  kept = units.Folder(folder / 'units')
  kept.make('audit', make)
  return kept.read('audit').record['rows']


def forget(workdir: Path, users: Sequence[str]) -> str:
  """Takes people out of a comparison; returns what was done, in words.

  Its predictions lose their lines. Pieces of work hold everybody's answers,
  so that all of them go: a comparison that goes on begins anew.

  Args:
    workdir: in which a comparison may have run.
    users: who is forgotten.
  """
  folder = places.disk(workdir) / FOLDER
  kept = sorted((folder / 'units').glob('*.*'))
  for path in kept:
    path.unlink()
  forget_predictions(folder / training.PREDICTIONS, set(users))
  return f'deleted {len(kept)} files of the comparison' if kept else ''


def forget_predictions(path: Path, users: set[str]) -> None:
  """Takes what was predicted of people's judgements out of a file."""
  if path.exists():
    lines = list(schema.read_lines(path))
    left = [x for x in lines if json.loads(x)['user_id'] not in users]
    writers.write_lines(path, left)


def forget_on_disk(workdir: str | Path, users: Sequence[str]) -> str:
  """Forgets people in the folder of a model; returns what was done.

  Rows, moments, beliefs, answers, summaries, memories, predictions and earlier
  checkpoints.

  Args:
    workdir: of `prm train`.
    users: who is forgotten.

  Raises:
    KeyError: nothing is known of one of them; then nobody is forgotten.
  """
  from prm_jax.data import load  # TFDS: only here
  from prm_jax.elicitation import pool

  workdir = places.disk(workdir)
  memories = kept_memories.opened(workdir)
  if memories is not None:
    memories.forget(*users)  # with what is written about them
    for user in users:
      pool.session_path(workdir, user).unlink(missing_ok=True)
    said = forget(workdir, users)
    forget_predictions(workdir / training.PREDICTIONS, set(users))
    rest = f'; {said}' if said else ''
    return f'forgot the memories of {len(users)} people{rest}'
  written = kept_summaries.Folder(workdir)
  if kept_summaries.card(workdir) is not None:
    written.forget(*users)
    return f'forgot the summaries of {len(users)} people'
  old = Model.load(workdir)
  new = old.forget(*users)  # before anything of anybody is gone
  if written.path.exists():
    written.forget(*users, strangers=True)
  for user in users:
    path = pool.session_path(workdir, user)
    path.unlink(missing_ok=True)
  said = forget(workdir, users)
  if new.state.people is old.state.people:
    return f'forgot the answers of {len(users)} people'
  with checkpoint.Checkpoints(workdir / 'checkpoints', keep=1) as manager:
    # Only the newest is kept: earlier ones hold the people.
    manager.save((manager.latest() or 0) + 1, new.state)
    manager.wait()
  forget_predictions(workdir / training.PREDICTIONS, set(users))
  # A prepared copy of the data holds their answers; it is made anew.
  load.drop_prepared('preferences')
  rest = f' ({said})' if said else ''
  return (
    f'forgot {len(users)} of {old.setting.people} people{rest}. The shared '
    'parameters learned from them; delete their rows from the data file and '
    'train anew to undo that too.'
  )
