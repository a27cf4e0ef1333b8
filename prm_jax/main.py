"""The `prm` command: train on judgements, ask, score, audit, forget, export."""

import argparse
import dataclasses
import inspect
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import held_out, registry, types
from prm_jax import setting as settings
from prm_jax.alignment import closeness
from prm_jax.audits import copies, trained
from prm_jax.data import load, pipelines, schema
from prm_jax.elicitation import pool, terminal
from prm_jax.elicitation import session as sessions
from prm_jax.learners import inference
from prm_jax.models import reduce
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops import bayes
from prm_jax.report import page
from prm_jax.runtime import checkpoint, export, train, writers
from prm_jax.runtime import mesh as meshes
from prm_jax.setting import Setting
from prm_jax.users import bank as banks
from prm_jax.users import gaussian
from prm_jax.worlds import stances

_METHODS = registry.of_role('aggregate', 'personal', 'control')
_BLOCK = 4096  # texts scored at once
_PREDICTIONS = 'predictions.jsonl.gz'
_SCORED = ('score', 'standard_deviation')  # what `score` adds to a row


def run(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  arguments = _parser().parse_args(argv)
  try:
    arguments.command(arguments)
    sys.stdout.flush()
  except BrokenPipeError:
    # Who reads has enough; Python would complain again at its own end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  except (ValueError, KeyError, OSError, checkpoint.CheckpointError) as error:
    # What a person can mend is told in a line; a defect keeps its traceback.
    text = error.args[0] if isinstance(error, KeyError) else error
    print(f'prm: {text}', file=sys.stderr)
    return 2
  return 0


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser('prm', description=__doc__)
  commands = parser.add_subparsers(required=True, metavar='COMMAND')

  def command(name, function, text):
    sub = commands.add_parser(name, help=text, description=text)
    sub.add_argument('--workdir', type=Path, required=True)
    sub.set_defaults(command=function)
    return sub

  sub = command('train', train_command, 'Fit a reward model to judgements.')
  sub.add_argument('--data', type=Path, required=True, help='JSON lines')
  sub.add_argument('--method', choices=_METHODS, default='pref')
  sub.add_argument('--components', type=int, default=48)
  sub.add_argument('--encoder', type=Path, help='folder of a BERT checkpoint')
  sub.add_argument('--features', type=Path, help='.npz keyed by text hash')
  sub.add_argument('--seed', type=int, default=0)
  sub.add_argument(
    '--set', action='append', default=[], metavar='NAME=NUMBER',
    help='an option of the method, such as basis_ridge=100',
  )  # fmt: skip
  sub.add_argument(
    '--mesh', default='', help='devices that share the fit, such as data:8'
  )
  sub = command('score', score_command, 'Score responses for a person.')
  sub.add_argument('--data', type=Path, required=True, help='JSON lines')
  sub.add_argument('--user', help='whose belief; the population if absent')
  sub.add_argument(
    '--reference', type=Path,
    help='JSON lines of prompt and response: score closeness to these by the '
    'policy discriminator in --workdir',
  )  # fmt: skip
  sub.add_argument('--output', type=Path, help='JSON lines; standard output')
  sub.add_argument(
    '--features', type=Path,
    help='.npz keyed by text hash, where training had features of your own',
  )  # fmt: skip
  sub = command('ask', ask_command, 'Ask a person what they prefer.')
  sub.add_argument('--user', default='me', help='whose answers these are')
  sub.add_argument('--questions', type=int, default=10, help='the budget')
  sub.add_argument(
    '--threshold', type=float, default=0.005,
    help='stop when a question would teach fewer nats',
  )  # fmt: skip
  sub = command('audit', audit_command, 'Measure what personal rewards break.')
  sub.add_argument('--questions', type=int, default=20, help='of each kind')
  sub.add_argument('--answers', type=int, default=24, help='to each question')
  sub = command('forget', forget_command, 'Forget people.')
  sub.add_argument('--user', action='append', required=True)
  sub = command('export', export_command, 'Write the shared parameters.')
  sub.add_argument('--output', type=Path, required=True)
  return parser


# --------------------------------------------------------------------- train


def train_command(arguments: argparse.Namespace) -> None:
  """Fits a reward model to a file of judgements, and evaluates it."""
  options = dict(_option(arguments.method, text) for text in arguments.set)
  registry.build('learner', {'kind': arguments.method, **options})
  mesh = meshes.parse(arguments.mesh) if arguments.mesh else None
  workdir = writers.make_folder(arguments.workdir)
  judged, malformed = load.load('preferences', path=arguments.data)
  copied = copies.find(judged)
  if isinstance(judged, schema.Ratings):
    judged = pipelines.pairs_from_ratings(
      judged, min_gap=1e-9, scale=None, per_person=200, seed=arguments.seed
    )
    if not len(judged.user):
      raise ValueError(
        f'{arguments.data}: nobody rated two responses to one prompt '
        'differently, so that there is nothing to compare'
      )
  for line in malformed.lines():
    print(line, file=sys.stderr)
  train_rows = held_out.split(judged, copied, arguments.seed) == held_out.TRAIN
  encoder = str(arguments.encoder) if arguments.encoder else None
  raw, source = settings.raw_features(judged.texts, encoder, arguments.features)
  reduction = reduce.principal_components(
    raw, np.unique(judged.items[train_rows]), arguments.components,
    whiten=True,
  )  # fmt: skip
  features = reduction(raw)
  setting = Setting(
    method=arguments.method,
    options=options,
    people=len(judged.user_ids),
    features=features.shape[1],
    seed=arguments.seed,
    encoder=encoder,
    components=arguments.components,
    judgements=len(judged.user),
    source=source,
  )
  digest = schema.file_digest(arguments.data)
  checkpoint.check_config(
    workdir, {**dataclasses.asdict(setting), 'data': digest}
  )
  settings.keep_reduction(workdir, reduction)
  said = types.Judgements(
    judged.user, judged.label, train_rows.astype(np.float32), judged.example_id
  )
  data = types.Batch(said, types.Inputs(features, judged.items))
  pool.write(workdir, judged, features, train_rows, arguments.seed)
  with meshes.use(mesh):
    state = _fit(setting, data, judged.user_ids, workdir)
  told = held_out.predict(setting, state, judged, data, ~train_rows)
  results = held_out.results(setting, told, copied)
  writers.write_lines(workdir / _PREDICTIONS, told.lines())
  writers.write_json_atomic(workdir / 'results.json', results)
  page.write_page(results, workdir / 'report' / 'index.html')
  print('\n'.join(results.get('answer') or page.plain_answer(results)))


def _fit(
  setting: Setting, data: types.Batch, user_ids: list[str], workdir: Path
) -> types.TrainState:
  """Returns the fitted state with everybody's belief; goes on where it was.

  The checkpoint after the last step holds the beliefs: a finished run is
  read, not repeated.
  """
  learner = setting.learner()
  last = train.length(learner)
  metrics = writers.JsonlWriter(workdir / 'metrics.jsonl')
  with checkpoint.Checkpoints(workdir / 'checkpoints') as manager:
    if (manager.latest() or 0) > last:
      return manager.restore(setting.finished())
    state = train.fit(
      learner, data, key=setting.key, spec=setting.spec, manager=manager,
      writer=metrics, save_every=100, progress=True,
    )  # fmt: skip
    state = state._replace(people=banks.with_ids(state.people, user_ids))
    state = _remember(learner, state, data)
    manager.save(last + 1, state)
    manager.wait()
  return state


def _option(method: str, text: str) -> tuple[str, float | int]:
  name, equals, value = text.partition('=')
  if not equals:
    raise ValueError(f'--set {text}: write NAME=NUMBER')
  try:
    number = float(value)
  except ValueError:
    raise ValueError(f'--set {text}: {value!r} is not a number') from None
  takes = inspect.signature(registry.LEARNERS[method].factory).parameters
  numbers = [
    known for known, option in takes.items()
    if isinstance(option.default, int | float)
  ]  # fmt: skip
  if name not in numbers:
    raise ValueError(f'--set {text}: {method} takes the numbers {numbers}')
  if not 0 <= number < float('inf'):
    raise ValueError(f'--set {text}: give a finite number, not below 0')
  if not isinstance(takes[name].default, int):
    return name, number
  if not number.is_integer():
    raise ValueError(f'--set {text}: {name} of {method} counts, give a whole')
  return name, int(number)


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


# ------------------------------------------------------ score, forget, export


def score_command(arguments: argparse.Namespace) -> None:
  """Writes each response's score, and how unsure it is, for a person."""
  _check_output(arguments.output)
  if arguments.reference is not None:
    _score_closeness(arguments)
    return
  setting, state = settings.read(arguments.workdir)
  rows = _rows(arguments.data, 'response')
  texts = [row['response'] for row in rows]
  features = settings.features_of(
    arguments.workdir, setting, texts, arguments.features
  )
  system = setting.learner().system
  user = state.params['user']
  belief = None
  if arguments.user is None:
    belief = system.user.prior(user)
  elif not pool.session_path(arguments.workdir, arguments.user).exists():
    where = banks.rows_of(state.people, [arguments.user])[0]
    belief = jax.tree.map(lambda leaf: leaf[where], state.people.beliefs)
  context = (
    system.user.context(user, belief)
    if belief is not None
    else _asked_context(arguments.workdir, arguments.user, system, state)
  )
  encoded = inference.encode(system, state.params, jnp.asarray(features))
  score, deviation = _scores(system, state.params['reward'], context, encoded)
  lines: list[dict[str, Any]] = []
  for i, row in enumerate(rows):
    known = {**row, 'score': float(score[i])}
    if deviation is not None:
      known['standard_deviation'] = float(deviation[i])
    lines.append(known)
  _write_rows(arguments.output, lines)


def _scores(
  system: types.System,
  reward: types.PyTree,
  context: types.PyTree,
  encoded: types.Array,
) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns scores `[M]` and standard deviations `[M]` of encoded texts.

  Every text is a choice of one, a block at a time: the covariance of all with
  all is never made.
  """

  @jax.jit
  def block(rows):
    known = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (len(rows), *leaf.shape)), context
    )
    output = system.reward.score(reward, rows[:, None], known)
    if output.covariance is None:
      return output.score[:, 0], None
    variance = output.covariance[:, 0, 0]
    return output.score[:, 0], jnp.sqrt(jnp.maximum(variance, 0.0))

  count = len(encoded)
  size = min(count, _BLOCK)
  padded = jnp.pad(
    encoded, [(0, -count % size)] + [(0, 0)] * (encoded.ndim - 1)
  )
  made = [block(padded[i : i + size]) for i in range(0, count, size)]
  score, deviation = zip(*made, strict=True)
  if deviation[0] is None:
    return np.concatenate(score)[:count], None
  return np.concatenate(score)[:count], np.concatenate(deviation)[:count]


def _check_output(output: Path | None) -> None:
  """Raises ValueError where a file cannot be written, before work is done."""
  if output is not None and (output.is_dir() or not output.parent.is_dir()):
    raise ValueError(
      f'--output={output}: is a folder, or its folder does not exist'
    )


def _rows(path: Path, *names: str) -> list[dict[str, Any]]:
  """Returns a file's rows, none of which has what scoring adds."""
  rows = schema.read_texts(path, *names)
  for name in _SCORED:
    own = sum(name in row for row in rows)
    if own:
      raise ValueError(
        f'{path}: {own} rows have a field {name!r} of their own, which would '
        'be overwritten: rename it'
      )
  return rows


def _write_rows(output: Path | None, rows: Sequence[dict[str, Any]]) -> None:
  """Writes JSON lines to a file, or to standard output."""
  lines = [json.dumps(row) + '\n' for row in rows]
  if output is None:
    sys.stdout.writelines(lines)
  else:
    writers.write_text_atomic(output, ''.join(lines))


def _score_closeness(arguments: argparse.Namespace) -> None:
  """Writes how close each response is to the references."""
  params, card = export.load_parameters(arguments.workdir)
  source = card.get('model')
  model = LanguageModel.load(Path(source) if source else None)
  judge = closeness.judge(model, params, card)
  rows = _rows(arguments.data, *closeness.Answer._fields)
  known = schema.read_texts(arguments.reference, *closeness.Answer._fields)
  found = closeness.closeness(judge, _answers(known), _answers(rows))
  _write_rows(
    arguments.output,
    [
      {**row, 'score': float(score)}
      for row, score in zip(rows, found, strict=True)
    ],
  )


def _answers(rows: Sequence[dict[str, Any]]) -> list[closeness.Answer]:
  return [closeness.Answer(row['prompt'], row['response']) for row in rows]


def audit_command(arguments: argparse.Namespace) -> None:
  """Serves everybody texts of a known stance, and reports what they get."""
  setting, state = settings.read(arguments.workdir)
  if setting.own_features:
    raise ValueError(
      f'{arguments.workdir} was trained on features of your own, and an audit '
      'writes texts that have none: train on an encoder to audit'
    )
  written = stances.write(
    split='audit', seed=setting.seed, questions=arguments.questions,
    answers=arguments.answers,
  )  # fmt: skip
  texts = [text for row in written.texts for text in row]
  features = settings.features_of(arguments.workdir, setting, texts)
  system, params = setting.learner().system, state.params
  encoded = inference.encode(system, params, jnp.asarray(features))
  values, axes = written.values, stances.AXES
  candidates = trained.Pool(
    encoded=encoded.reshape(*values.shape[:2], *encoded.shape[1:]),
    stance=values[..., stances.STANCE],
    truth=values[..., stances.TRUTH],
    others={
      name: values[..., axes.index(name)]
      for name in ('length', 'confidence', 'politeness')
    },
    contested=written.kind == 0,
    factual=written.kind == 1,
  )
  contexts = jax.vmap(
    lambda belief: system.user.context(params['user'], belief)
  )(state.people.beliefs)
  rows = trained.audit(system, params, contexts, candidates, seed=setting.seed)
  results: dict[str, Any] = {
    'study': 'audit',
    'config': dataclasses.asdict(setting),
    'seeds': [setting.seed],
    'tables': {'audit': rows},
    'answer': trained.answer(rows),
  }
  folder = arguments.workdir / 'audit'
  writers.write_json_atomic(folder / 'results.json', results)
  page.write_page(results, folder / 'report' / 'index.html')
  print('\n'.join(results['answer']))
  print(f'Read {folder / "report" / "index.html"}')


def ask_command(arguments: argparse.Namespace) -> None:
  """Asks a person, who may stop and go on later, and shows what is believed."""
  setting, state = settings.read(arguments.workdir)
  system = setting.learner().system
  prior = _gaussian_prior(setting, state)
  known = pool.read(arguments.workdir, system, state.params['reward'])
  path = pool.session_path(arguments.workdir, arguments.user)
  names = [question.name for question in known.questions]
  session = sessions.Session(path, arguments.user, names)

  def read(prompt: str) -> str:
    try:
      return input(prompt)
    except EOFError:
      return 'quit'

  terminal.ask(
    session, prior, known, questions=arguments.questions,
    threshold=arguments.threshold, read=read, write=print,
  )  # fmt: skip


def _gaussian_prior(setting, state) -> bayes.GaussianPrior:
  prior = state.params['user']
  if not isinstance(prior, bayes.GaussianPrior):
    raise ValueError(
      f'{setting.method} keeps no Gaussian belief: train pref, hierarchical or '
      'rfm to ask questions'
    )
  return prior


def _asked_context(workdir, user, system, state) -> gaussian.Context:
  """Returns what a session's answers say of a person."""
  known = pool.read(workdir, system, state.params['reward'])
  names = [question.name for question in known.questions]
  session = sessions.Session(pool.session_path(workdir, user), user, names)
  found = session.belief(state.params['user'], known.difference)
  return gaussian.to_context(*found)


def forget_command(arguments: argparse.Namespace) -> None:
  """Forgets people: rows, moments, beliefs, answers, earlier checkpoints."""
  setting, state = settings.read(arguments.workdir)
  asked = [pool.session_path(arguments.workdir, u) for u in arguments.user]
  asked = [path for path in asked if path.exists()]
  trained = [
    user
    for user in arguments.user
    if pool.session_path(arguments.workdir, user) not in asked
    or _in_bank(state, user)
  ]
  banks.rows_of(state.people, trained)  # before anything of anybody is gone
  for path in asked:
    path.unlink()
  if not trained:
    print(f'forgot the answers of {len(asked)} people')
    return
  state = state._replace(people=banks.forget(state.people, trained))
  folder = arguments.workdir / 'checkpoints'
  with checkpoint.Checkpoints(folder, keep=1) as manager:
    # Only the newest is kept: earlier ones hold the people.
    manager.save((manager.latest() or 0) + 1, state)
    manager.wait()
  _forget_predictions(arguments.workdir / _PREDICTIONS, set(trained))
  # The prepared copy of the data holds their answers; it is made anew.
  load.drop_prepared('preferences')
  print(
    f'forgot {len(trained)} of {setting.people} people. The shared '
    'parameters learned from them; delete their rows from the data file and '
    'train anew to undo that too.'
  )


def _forget_predictions(path: Path, users: set[str]) -> None:
  """Takes what was predicted of people's judgements out of a file."""
  if path.exists():
    lines = list(schema.read_lines(path))
    kept = [x for x in lines if json.loads(x)['user_id'] not in users]
    writers.write_lines(path, kept)


def _in_bank(state: types.TrainState, user: str) -> bool:
  try:
    banks.rows_of(state.people, [user])
  except KeyError:
    return False
  return True


def export_command(arguments: argparse.Namespace) -> None:
  """Writes the shared parameters, without anything about a person."""
  setting, state = settings.read(arguments.workdir)
  os.makedirs(arguments.output.parent, exist_ok=True)
  export.export_parameters(
    state.params, arguments.output, dataclasses.asdict(setting)
  )
  print(f'wrote {arguments.output}')


if __name__ == '__main__':
  sys.exit(run())
