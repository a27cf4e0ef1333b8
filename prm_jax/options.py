"""Do personal reward models help? Compare, train, score, ask, forget."""

import argparse
from collections.abc import Callable
from pathlib import Path

from prm_jax import places

_IN_BUCKETS = ('train', 'export')  # and score: what --workdir may be there for
_EXPORT = "folder of an export, or of anybody's sequence classifier"
_LABEL = "of anybody's classifier with several labels: which is the reward"


def _typed(kind: Callable[[str], Path]) -> Callable[[str], Path]:
  """Returns what reads a path, and tells argparse what is wrong with it."""

  def read(text: str) -> Path:
    try:
      return kind(text)
    except ValueError as error:
      raise argparse.ArgumentTypeError(str(error)) from error

  return read


_disk, _anywhere = _typed(places.disk), _typed(places.place)


def parser() -> argparse.ArgumentParser:
  """Returns what reads the command line; `command` is what was asked for."""
  parser = argparse.ArgumentParser('prm', description=__doc__)
  commands = parser.add_subparsers(required=True, metavar='COMMAND')

  def command(name, text, *, workdir=True):
    sub = commands.add_parser(name, help=text, description=text)
    if workdir:
      kind = _anywhere if name in _IN_BUCKETS else _disk
      sub.add_argument('--workdir', type=kind, required=True)
    sub.set_defaults(command=name)
    return sub

  sub = command('compare', 'Do personal models help on your data?')
  _features(sub)
  _adapts(sub, 'aggregate, pref and lore, beside them on the frozen model')
  sub.add_argument('--methods', help='personal ones, with commas between')
  sub = command('train', 'Fit a reward model to judgements.')
  _features(sub)
  _train(sub)
  _adapts(sub, 'the reward')
  _score(command('score', 'Score responses for a person.', workdir=False))
  _ask(command('ask', 'Ask a person what they prefer.'))
  sub = command('audit', 'Measure what personal rewards break.', workdir=False)
  which = sub.add_mutually_exclusive_group(required=True)
  which.add_argument('--workdir', type=_disk, help='of `prm train`')
  which.add_argument(
    '--population', type=_disk, help="folder of people's votes on statements"
  )
  _mesh(sub)
  sub.add_argument('--questions', type=int, default=20, help='of each kind')
  sub.add_argument('--answers', type=int, default=24, help='to each question')
  _summary(command('summary', 'Show or edit what is written about a person.'))
  sub = command('forget', 'Forget people.')
  sub.add_argument('--user', action='append', required=True)
  _export(command('export', 'Write all that scores texts elsewhere.'))
  _benchmark(command('benchmark', 'Test a reward model.', workdir=False))
  sub = command('serve', 'Score over HTTP, on this machine.', workdir=False)
  sub.add_argument('--model', type=_disk, required=True, help=_EXPORT)
  sub.add_argument('--label', help=_LABEL)
  sub.add_argument('--user', help='whose, of requests that name nobody')
  sub.add_argument('--port', type=int, default=5000, help='0: a free one')
  _plan(command('plan', 'What would a fit need?', workdir=False))
  _convert(command('convert', 'Write a public set as lines.', workdir=False))
  return parser


def _train(sub: argparse.ArgumentParser) -> None:
  sub.add_argument(
    '--method', help='what a comparison in --workdir chose, or pref'
  )
  sub.add_argument(
    '--processes',
    metavar='N',
    help='share the fit with other processes that run this command, too: auto '
    'where JAX finds them (TPU pods, srun), or how many',
  )
  sub.add_argument(
    '--process', type=int, help="of N, this one's number, from 0"
  )
  sub.add_argument(
    '--coordinator', metavar='HOST:PORT', help='of N, where the first listens'
  )
  sub.add_argument(
    '--log',
    choices=('jsonl', 'tensorboard'),
    help="tensorboard: training figures in --workdir's folder tensorboard, too",
  )
  sub.add_argument(
    '--profile', type=_disk, help='folder for a trace of five steps'
  )
  sub.add_argument(
    '--restore-step',
    type=int,
    metavar='N',
    help='go on from this checkpoint, and replace later ones; the last one if '
    'not given',
  )


def _mesh(sub: argparse.ArgumentParser) -> None:
  sub.add_argument(
    '--mesh',
    default='',
    help='devices that share the work, such as data:8 or data:2,fsdp:4; one if '
    'not given',
  )


def _features(sub: argparse.ArgumentParser) -> None:
  _mesh(sub)
  sub.add_argument('--data', type=_disk, required=True, help='JSON lines')
  sub.add_argument('--components', type=int, help='columns of a text')
  sub.add_argument('--encoder', help='folder of a BERT checkpoint')
  sub.add_argument('--features', type=_disk, help='.npz keyed by text hash')
  sub.add_argument(
    '--backbone', help="folder of a language model, in the encoder's place"
  )
  sub.add_argument(
    '--reading',
    metavar='UNIT:TOKEN[:LAYERS]',
    help='what of --backbone is read, as sentence:last:16,26: units of the '
    'response alone, a token and layers; the last token of prompt and '
    'response together if not given; never searched',
  )
  sub.add_argument('--seed', type=int, default=0)
  sub.add_argument('--memory', type=float, help='gigabytes it may take')
  sub.add_argument(
    '--set',
    action='append',
    default=[],
    metavar='NAME=NUMBER',
    help='an option of the method, such as basis_ridge=100; where several '
    'are compared, of those that tell a language model of people, and of '
    '--adapt',
  )


def _adapts(sub: argparse.ArgumentParser, fitted: str) -> None:
  sub.add_argument(
    '--adapt',
    help=f'layers of --backbone that train with {fitted}: frozen, lora:N, '
    'lora:N:RANK or full:N, the highest N',
  )
  sub.add_argument(
    '--precision', help='in which --adapt computes: float32 or bfloat16'
  )


def _score(sub: argparse.ArgumentParser) -> None:
  which = sub.add_mutually_exclusive_group(required=True)
  which.add_argument('--workdir', type=_anywhere, help='of `prm train`')
  which.add_argument('--model', type=_disk, help=_EXPORT)
  sub.add_argument('--label', help=_LABEL)
  _mesh(sub)
  sub.add_argument(
    '--data', type=_disk, required=True, help='JSON lines; of --model, - too'
  )
  sub.add_argument('--user', help='whose belief; the population if absent')
  sub.add_argument(
    '--reference',
    type=_disk,
    help='JSON lines of prompt and response: score closeness to these by the '
    'policy discriminator in --workdir',
  )
  sub.add_argument(
    '--bound',
    help='adds a pessimistic score: lower_bound, two standard deviations '
    'below; or WCO or UWO of an ensemble',
  )
  sub.add_argument('--output', type=_disk, help='JSON lines; standard output')
  sub.add_argument(
    '--features',
    type=_disk,
    help='.npz keyed by text hash, where training had features of your own',
  )


def _ask(sub: argparse.ArgumentParser) -> None:
  sub.add_argument('--user', default='me', help='whose answers these are')
  sub.add_argument('--questions', type=int, default=10, help='the budget')
  sub.add_argument(
    '--threshold',
    type=float,
    default=0.005,
    help='stop when a question would teach fewer nats',
  )


def _summary(sub: argparse.ArgumentParser) -> None:
  sub.add_argument(
    'action',
    choices=('show', 'edit', 'release', 'forget'),
    help='an edited summary is read until it is released',
  )
  sub.add_argument(
    '--user', action='append', required=True, help='whose; forget takes several'
  )
  sub.add_argument('--text', help='edit: the words')
  sub.add_argument('--file', help='edit: a file with the words; - is the input')
  sub.add_argument(
    '--empty', action='store_true', help='edit: nothing shall be read'
  )
  sub.add_argument(
    '--version',
    type=int,
    help='edit, release: of the summary that you have seen; another is refused',
  )
  sub.add_argument(
    '--model', action='store_true', help='show: what the model wrote last'
  )


def _plan(sub: argparse.ArgumentParser) -> None:
  sub.add_argument(
    '--backbone', type=_disk, required=True, help="a decoder's config.json"
  )
  sub.add_argument('--method', default='pref', help='that takes a backbone')
  sub.add_argument(
    '--mesh', required=True, help='devices, such as data:1,fsdp:32,model:1'
  )
  sub.add_argument('--people', type=int, default=1000)
  sub.add_argument('--dim', type=int, default=8, help='base rewards')
  sub.add_argument('--pairs', type=int, default=64, help='of a step')
  sub.add_argument('--length', type=int, default=1024, help='tokens of a text')
  sub.add_argument(
    '--adapt',
    default='whole',
    help='what trains: whole, or lora:RANK of all layers',
  )
  sub.add_argument(
    '--precision', default='bfloat16', help='of layers; or float32'
  )
  sub.add_argument(
    '--remat',
    choices=('yes', 'no'),
    default='yes',
    help='whether layers are computed again for the gradient',
  )
  sub.add_argument('--device', help='v5p, v5e, h100 or h200: does it fit?')
  sub.add_argument('--output', type=_disk, help='JSON')


def _export(sub: argparse.ArgumentParser) -> None:
  sub.add_argument('--output', type=_disk, required=True, help='a new folder')
  sub.add_argument(
    '--format',
    choices=('orbax', 'hf', 'stablehlo'),
    default='orbax',
    help='orbax: for prm_jax, and nobody is in it; hf: for transformers, of a '
    'linear model with --backbone; stablehlo: programs, of any',
  )
  sub.add_argument(
    '--user',
    help='hf, stablehlo: whose; if absent, hf writes everybody, stablehlo the '
    'population',
  )
  sub.add_argument(
    '--merge',
    action='store_true',
    help='hf: of --adapt=lora, layers with the adapters in them, and not a '
    'folder for peft',
  )
  sub.add_argument(
    '--ids',
    type=_disk,
    help='hf: JSON lines with user_id, such as the training data: people are '
    'named by their ids, and not by hashes',
  )


def _benchmark(sub: argparse.ArgumentParser) -> None:
  sub.add_argument('--model', type=_disk, required=True, help=_EXPORT)
  sub.add_argument('--label', help=_LABEL)
  sub.add_argument('--user', help='whose reward; the population if absent')
  sub.add_argument(
    '--data',
    required=True,
    help='a file or folder: RewardBench 1 or 2, RM-Bench, JudgeBench, LLMBar '
    'as they are published, or judgements; or a name in PRM_DATA_DIR',
  )
  sub.add_argument(
    '--hazards', action='store_true', help='audit it on texts of known stance'
  )
  sub.add_argument(
    '--judge',
    metavar='FORMAT',
    help='--model is a language model that writes verdicts, of pairs in both '
    'orders: rm_r1, rrm, j1, judge_lrm, br_rm, grm or genrm',
  )
  sub.add_argument(
    '--samples', type=int, default=1, help="a judge's texts of each order"
  )
  sub.add_argument(
    '--tokens', type=int, default=1024, help="that a judge's text may have"
  )
  sub.add_argument(
    '--temperature', type=float, default=1.0, help="of a judge's draws"
  )
  sub.add_argument(
    '--output', type=_disk, help='a new folder, for results.json'
  )


def _convert(sub: argparse.ArgumentParser) -> None:
  sub.add_argument('path', type=_disk, help='of the set on disk')
  sub.add_argument(
    '--from',
    dest='name',
    required=True,
    metavar='NAME',
    help='trl, chatbot_arena, prism or columns',
  )
  sub.add_argument('--output', type=_disk, required=True)
  sub.add_argument('--columns', help='OURS=THEIRS, with commas between')
  sub.add_argument('--labels', help='OURS=THEIRS, with commas between')
  sub.add_argument('--user', help='who judged, of a set that does not say')


def number(text: str) -> tuple[str, float | int]:
  """Returns name and value of NAME=NUMBER.

  Raises:
    ValueError: it is not written so.
  """
  name, equals, value = text.partition('=')
  if not equals:
    raise ValueError(f'--set {text}: write NAME=NUMBER')
  try:
    found = float(value)
  except ValueError:
    raise ValueError(f'--set {text}: {value!r} is not a number') from None
  return name, int(found) if found.is_integer() else found
