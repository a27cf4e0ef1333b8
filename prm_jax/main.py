"""The `prm` command: compare, train, ask, score, audit, forget, plan, ..."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prm_jax import options

# What computes is imported where it is needed: help is there at once.

_SCORED = ('score', 'standard_deviation', 'lower')  # what `score` adds to a row


def run(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  arguments = options.parser().parse_args(argv)
  try:
    COMMANDS[arguments.command](arguments)
    sys.stdout.flush()
  except BrokenPipeError:
    # Who reads has enough; Python would complain again at its own end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  except (ValueError, KeyError, OSError) as error:
    # What a person can mend is told in a line; a defect keeps its traceback.
    text = error.args[0] if isinstance(error, KeyError) else error
    print(f'prm: {text}', file=sys.stderr)
    return 2
  return 0


def compare(arguments: argparse.Namespace) -> None:
  """Compares personal models with one for everyone; writes the page."""
  from prm_jax import comparing
  from prm_jax.lab import worded

  methods = arguments.methods.split(',') if arguments.methods else None
  told = sorted(set(methods or ()) & set(worded.METHODS))
  if arguments.mesh and told:
    raise ValueError(
      f'--mesh: {told} are on one device: leave it, or them, out'
    )
  with _mesh(arguments):
    results = comparing.run(
      arguments.data,
      arguments.workdir,
      methods=methods,
      options=dict(options.number(text) for text in arguments.set),
      **_given(arguments),
    )
  print('\n'.join(results['answer']))
  folder = arguments.workdir / comparing.FOLDER
  print(f'Read {folder / "report" / "index.html"}')


def _mesh(arguments: argparse.Namespace) -> contextlib.AbstractContextManager:
  """Returns a context in which fits and decoders share the given devices."""
  from prm_jax.runtime import mesh

  return mesh.use(mesh.parse(arguments.mesh) if arguments.mesh else None)


def train(arguments: argparse.Namespace) -> None:
  """Fits a reward model to a file of judgements, and evaluates it."""
  if arguments.processes is None:
    for name in ('coordinator', 'process'):
      if getattr(arguments, name) is not None:
        raise ValueError(f'--{name}: of a fit of several, with --processes')
    _trained(arguments)
    return
  from prm_jax.runtime import processes

  processes.start(  # before anything looks for devices
    arguments.processes,
    coordinator=arguments.coordinator,
    process=arguments.process,
  )
  with processes.together():
    _trained(arguments)


def _trained(arguments: argparse.Namespace) -> None:
  from prm_jax import comparing, training
  from prm_jax.model import Model
  from prm_jax.report import page
  from prm_jax.runtime import mesh, processes

  settings = _given(arguments)
  chosen = comparing.chosen(arguments.workdir)
  if chosen is not None and arguments.method is None:
    print(f'{chosen["method"]}: what the comparison here chose.')
    settings = {**chosen, **settings}
  elif arguments.method is not None:
    settings['method'] = arguments.method
  own = dict(options.number(text) for text in arguments.set)
  settings['options'] = {**settings.get('options', {}), **own}
  if settings.get('method') == 'plus':
    _tell(_told(arguments, settings), arguments.workdir)
    return
  watch = training.Watch(progress=True, **_watched(arguments))
  if settings.get('adapt') not in (None, 'frozen'):
    _refuse(
      {'processes': arguments.processes, **_watched(arguments)},
      '--adapt trains in one process, and stops by itself',
    )
  devices = mesh.parse(arguments.mesh) if arguments.mesh else None
  if arguments.processes is not None:
    devices = devices or mesh.make_mesh()
    processes.check(devices)
  with mesh.use(devices):
    model = Model.fit(
      arguments.data, workdir=arguments.workdir, watch=watch, **settings
    )
  if not processes.first():
    return
  results = dict(model.results)
  if 'answer' not in results:
    results['answer'] = page.plain_answer(results)
  _tell(results, arguments.workdir)


def _watched(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns the given fields of `training.Watch`."""
  names = 'log', 'profile', 'restore_step'
  known = {name: getattr(arguments, name) for name in names}
  return {name: value for name, value in known.items() if value is not None}


def _refuse(given: dict[str, Any], why: str) -> None:
  """Raises ValueError where an option is given that a fit does not take."""
  for name, value in given.items():
    if value not in (None, ''):
      raise ValueError(f'--{name.replace("_", "-")}: {why}: leave it out')


def _told(arguments, settings: dict[str, Any]) -> dict[str, Any]:
  """Returns the results of PLUS, which a language model writes and reads."""
  from prm_jax import summary_training
  from prm_jax.report import page

  own = 'encoder', 'own_features', 'adapt', 'precision', 'reading'
  for name in own:
    if name in settings:
      raise ValueError(f'plus reads texts with --backbone, and has no {name}')
  if 'backbone' not in settings:
    raise ValueError(
      'plus writes about people with a language model: give --backbone=FOLDER'
    )
  shared = {'mesh': arguments.mesh, 'processes': arguments.processes}
  _refuse(
    {**shared, **_watched(arguments)},
    'plus trains on one device, and writes its own figures',
  )
  known = {k: v for k, v in settings.items() if k not in ('method', 'kind')}
  results = summary_training.fit(arguments.data, arguments.workdir, **known)
  return {'answer': page.plain_answer(results), **results}


def _tell(results: dict[str, Any], folder: Path) -> None:
  """Writes results and their page, and prints what they say."""
  from prm_jax.report import page
  from prm_jax.runtime import writers

  writers.write_json_atomic(folder / 'results.json', results)
  page.write_page(results, folder / 'report' / 'index.html')
  print('\n'.join(results['answer']))
  print(f'Read {folder / "report" / "index.html"}')


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns the options that both `train` and `compare` take."""
  known = {
    'encoder': arguments.encoder,
    'own_features': arguments.features,
    'backbone': arguments.backbone,
    'reading': arguments.reading,
    'components': arguments.components,
    'memory': arguments.memory,
    'adapt': arguments.adapt,
    'precision': arguments.precision,
  }
  known = {name: value for name, value in known.items() if value is not None}
  return {**known, 'seed': arguments.seed}


def score(arguments: argparse.Namespace) -> None:
  """Writes each response's score, and how unsure it is, for a person."""
  from prm_jax import kept_summaries
  from prm_jax.data import schema

  output = arguments.output
  if output is not None and (output.is_dir() or not output.parent.is_dir()):
    raise ValueError(
      f'--output={output}: is a folder, or its folder does not exist'
    )
  fitted = arguments.model is None and arguments.reference is None
  if fitted and kept_summaries.card(arguments.workdir) is not None:
    fitted = False  # summaries are written and read on one device
  if arguments.mesh and not fitted:
    raise ValueError('--mesh: of a language model that `prm train` read')
  if arguments.model is not None:
    from prm_jax import streaming

    streaming.run(arguments)
    return
  if arguments.label is not None:
    raise ValueError('--label: of --model alone')
  if arguments.reference is not None:
    rows, columns = _closeness(arguments)
  elif kept_summaries.card(arguments.workdir) is not None:
    rows, columns = _summarized(arguments)
  else:
    from prm_jax.model import Model

    with _mesh(arguments):
      model = Model.load(arguments.workdir, own_features=arguments.features)
    names = ('prompt', 'response')[not model.reads_prompts :]
    rows = _rows(schema.read_texts(arguments.data, *names), arguments.data)
    found = model.score_rows(
      arguments.user,
      [str(row.get('prompt', '')) for row in rows],
      [row['response'] for row in rows],
      bound=arguments.bound,
    )
    columns = {name: getattr(found, name) for name in _SCORED}
  _write(output, rows, columns)


def _closeness(arguments) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  from prm_jax import discriminator
  from prm_jax.alignment import closeness
  from prm_jax.data import schema

  def answers(path):
    rows = schema.read_texts(path, *closeness.Answer._fields)
    return rows, [closeness.Answer(r['prompt'], r['response']) for r in rows]

  rows, texts = answers(arguments.data)
  known = answers(arguments.reference)[1]
  found = discriminator.score(arguments.workdir, known, texts)
  return _rows(rows, arguments.data), {'score': found}


def _summarized(arguments) -> tuple[list[dict[str, Any]], dict[str, Any]]:
  """Returns rows and their scores, of a model that reads summaries."""
  from prm_jax import summary_model
  from prm_jax.data import schema

  for name in ('bound', 'features'):
    if getattr(arguments, name) is not None:
      raise ValueError(f'--{name}: a model that reads summaries has none')
  rows = schema.read_texts(arguments.data, 'prompt', 'response')
  rows = _rows(rows, arguments.data)
  found = summary_model.load(arguments.workdir).score_rows(
    arguments.user,
    [row['prompt'] for row in rows],
    [row['response'] for row in rows],
  )
  return rows, {'score': found}


def _rows(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
  """Returns a file's rows, none of which has what scoring adds."""
  for name in _SCORED:
    own = sum(name in row for row in rows)
    if own:
      raise ValueError(
        f'{path}: {own} rows have a field {name!r} of their own, which would '
        'be overwritten: rename it'
      )
  return rows


def _write(output: Path | None, rows, columns: dict[str, Any]) -> None:
  """Writes rows with more columns, to a file or to standard output."""

  def lines() -> Iterator[str]:
    for i, row in enumerate(rows):
      more = {k: float(v[i]) for k, v in columns.items() if v is not None}
      yield json.dumps({**row, **more}) + '\n'

  if output is None:
    sys.stdout.writelines(lines())
  else:
    from prm_jax.runtime import writers

    writers.write_text_atomic(output, ''.join(lines()))


def ask(arguments: argparse.Namespace) -> None:
  """Asks a person, who may stop and go on later, and shows what is believed."""
  from prm_jax.elicitation import terminal
  from prm_jax.model import Model

  model = Model.load(arguments.workdir)

  def read(prompt: str) -> str:
    try:
      return input(prompt)
    except EOFError:
      return 'quit'

  terminal.ask(
    model.session(arguments.workdir, arguments.user),
    model.prior,
    model.questions(),
    questions=arguments.questions,
    threshold=arguments.threshold,
    read=read,
    write=print,
  )


def summary(arguments: argparse.Namespace) -> None:
  """Shows, edits, releases or forgets what is written about a person."""
  from prm_jax import summary_command

  summary_command.run(arguments)


def audit(arguments: argparse.Namespace) -> None:
  """Serves everybody texts of a known stance, and reports what they get."""
  if arguments.population:
    from prm_jax.lab import population_audit

    print('\n'.join(population_audit.lines(arguments.population)))
    return
  from prm_jax.model import Model

  with _mesh(arguments):
    model = Model.load(arguments.workdir)
  results = model.audit(
    questions=arguments.questions, answers=arguments.answers
  )
  _tell(results, arguments.workdir / 'audit')


def forget(arguments: argparse.Namespace) -> None:
  """Forgets people: rows, moments, beliefs, answers, earlier checkpoints."""
  from prm_jax import comparing

  print(comparing.forget_on_disk(arguments.workdir, arguments.user))


def export(arguments: argparse.Namespace) -> None:
  """Writes all that scores texts; of a person only where that is asked."""
  from prm_jax import kept_summaries

  if arguments.format != 'orbax':
    from prm_jax import exporting

    exporting.run(
      arguments.format,
      arguments.workdir,
      arguments.output,
      user=arguments.user,
      ids=arguments.ids,
      merge=arguments.merge,
    )
  elif arguments.merge:
    raise ValueError('--merge: of --format=hf alone')
  elif arguments.user is not None or arguments.ids is not None:
    raise ValueError('--user, --ids: nobody is in an export of orbax')
  elif kept_summaries.card(arguments.workdir) is not None:
    from prm_jax import summary_model

    summary_model.export(arguments.workdir, arguments.output)
  else:
    from prm_jax.model import Model

    Model.load(arguments.workdir).export(arguments.output)
  print(f'wrote {arguments.output}')


def plan(arguments: argparse.Namespace) -> None:
  """Says what a fit would need on devices that nobody has booked yet."""
  from prm_jax import planning
  from prm_jax.runtime import writers

  output = arguments.output
  if output is not None and (output.is_dir() or not output.parent.is_dir()):
    raise ValueError(
      f'--output={output}: is a folder, or its folder does not exist'
    )
  given = {name: getattr(arguments, name) for name in planning.Request._fields}
  given |= {'backbone': str(arguments.backbone)}
  given |= {'remat': arguments.remat == 'yes'}
  report = planning.run(planning.Request(**given), arguments.device)
  print('\n'.join(planning.words(report)))
  if output is not None:
    writers.write_json_atomic(output, report)


def benchmark(arguments: argparse.Namespace) -> None:
  """Says how often a reward model prefers the right answer."""
  from prm_jax import benchmarking

  print('\n'.join(benchmarking.run(arguments)['answer']))


def serve(arguments: argparse.Namespace) -> None:
  """Scores over HTTP, for who has the token in PRM_TOKEN."""
  from prm_jax import serving

  serving.run(arguments, os.environ)


def convert(arguments: argparse.Namespace) -> None:
  """Writes a public set as JSON lines that the other commands read."""
  from prm_jax.data import convert as converting
  from prm_jax.runtime import writers

  if arguments.output.exists():
    raise ValueError(f'{arguments.output} exists: choose another file')
  given = {
    name: converting.parse_columns(text) if text else None
    for name, text in (
      ('columns', arguments.columns),
      ('labels', arguments.labels),
    )
  }
  rows, report = converting.convert(
    arguments.name, arguments.path, user=arguments.user, **given
  )
  lines = (json.dumps(row) + '\n' for row in rows)
  if arguments.output.suffix == '.gz':
    writers.write_lines(arguments.output, lines)
  else:
    writers.write_text_atomic(arguments.output, ''.join(lines))
  for line in report.lines():
    print(line, file=sys.stderr)
  print(f'wrote {len(rows):,} rows to {arguments.output}')


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
  command.__name__: command
  for command in (
    *(compare, train, score, ask, summary),
    *(audit, forget, export, benchmark, serve, plan, convert),
  )
}

if __name__ == '__main__':
  sys.exit(run())
