"""Renders a checkpoint's chat template in a process of its own, with limits.

A template is a program of a stranger. It runs in jinja2's immutable sandbox,
which knows no file and no attribute of Python, and in a process that has so
much time and memory and no more: what the sandbox cannot stop (a loop without
end, a text as long as memory) ends with the process.

The file is run by its path and reads no module of ours, so that the process
starts quickly.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple


class TemplateError(ValueError):
  """A chat template that cannot be rendered, or does not end."""


class Limits(NamedTuple):
  """What rendering may take.

  Attributes:
    seconds: of the processor, for every 1,000 conversations.
    wall: times as long, by the clock, on a machine that does other things.
    memory: bytes of the process.
    characters: of one rendered conversation.
    template: characters of the template.
  """

  seconds: int = 10
  wall: int = 30
  memory: int = 2**30
  characters: int = 2**22
  template: int = 2**18


# What templates that ask for the date are told, whatever the day: scores, and
# features that are kept, do not change overnight. Llama 3's own templates name
# it where no date is given.
DAY = datetime.datetime(2024, 7, 26)


def render(
  template: str,
  conversations: Sequence[dict[str, Any]],
  *,
  where: str,
  now: datetime.datetime | None = None,
  limits: Limits | None = None,
) -> list[str]:
  """Returns each conversation as the template spells it.

  Args:
    template: in jinja2's language, as transformers renders it.
    conversations: what the template reads by name: messages, whether to add a
      prompt to generate, special tokens.
    where: the template's file, for errors.
    now: the time that the template is told; `DAY` if None.
    limits: what rendering may take.

  Raises:
    TemplateError: the template is too long, is no template, raises (its words
      are given), recurses, takes too much, or does not end.
  """
  limits = Limits() if limits is None else limits
  if len(template) > limits.template:
    raise TemplateError(
      f'{where}: the chat template has {len(template)} characters, and at most '
      f'{limits.template} are read'
    )
  if not conversations:
    return []
  seconds = limits.seconds * -(-len(conversations) // 1000)
  now = DAY if now is None else now
  asked = {
    'template': template,
    'conversations': list(conversations),
    'now': now.isoformat(),
    'limits': limits._replace(seconds=seconds),
  }
  try:
    ended = subprocess.run(
      [sys.executable, '-I', __file__],
      input=json.dumps(asked).encode(),
      capture_output=True,
      timeout=seconds * limits.wall,
      check=False,
    )
  except subprocess.TimeoutExpired:
    ended = None
  if ended is None or ended.returncode < 0:
    raise TemplateError(
      f'{where}: the chat template did not end within {seconds} seconds: it '
      'loops, or the conversations are too many or too long'
    )
  try:
    found = json.loads(ended.stdout)
  except ValueError:
    said = ended.stderr.decode(errors='replace').strip().splitlines()[-1:]
    raise TemplateError(
      f'{where}: the chat template ended its process: {" ".join(said)}'
    ) from None
  if 'error' in found:
    raise TemplateError(f'{where}: the chat template {found["error"]}')
  return found['rendered']


def _environment(now: datetime.datetime) -> Any:
  """Returns jinja2's sandbox with what transformers gives templates."""
  import jinja2
  import jinja2.ext
  import jinja2.sandbox

  class Generation(jinja2.ext.Extension):
    """The tag of what an assistant wrote; what it holds is rendered."""

    tags = {'generation'}  # noqa: RUF012 (jinja2 names it so)

    def parse(self, parser):
      line = next(parser.stream).lineno
      body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
      return jinja2.nodes.Scope(body, lineno=line)

  def fail(message):
    raise jinja2.TemplateError(message)

  def dump(value, ensure_ascii=False, **options):
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)

  found = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[Generation, jinja2.ext.loopcontrols],
  )
  found.filters['tojson'] = dump  # jinja2's own escapes HTML
  found.globals['raise_exception'] = fail
  found.globals['strftime_now'] = now.strftime
  return found


def _all(asked: dict[str, Any]) -> dict[str, Any]:
  """Returns what was rendered, or the error in words."""
  import jinja2

  limits = Limits(*asked['limits'])
  environment = _environment(datetime.datetime.fromisoformat(asked['now']))
  rendered = []
  try:
    template = environment.from_string(asked['template'])
    for known in asked['conversations']:
      parts, size = [], 0
      for part in template.generate(**known):
        size += len(part)
        if size > limits.characters:
          return {'error': f'writes more than {limits.characters} characters'}
        parts.append(part)
      rendered.append(''.join(parts))
  except jinja2.TemplateSyntaxError as error:
    return {'error': f'is no template, line {error.lineno}: {error.message}'}
  except RecursionError:
    return {'error': 'calls itself without end'}
  except MemoryError:
    return {'error': f'takes more than {limits.memory} bytes of memory'}
  except jinja2.TemplateError as error:
    return {'error': f'refuses conversation {len(rendered)}: {error.message}'}
  except Exception as error:  # of its own operations: a stranger's program
    said = f'{type(error).__name__}: {error}'
    return {'error': f'fails at conversation {len(rendered)}: {said}'}
  return {'rendered': rendered}


def _serve() -> None:
  """Reads what is asked, and writes what was rendered, as JSON."""
  import resource  # not on every system; here alone it is needed

  asked = json.load(sys.stdin)
  limits = Limits(*asked['limits'])
  resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds,) * 2)
  resource.setrlimit(resource.RLIMIT_AS, (limits.memory,) * 2)
  json.dump(_all(asked), sys.stdout)


if __name__ == '__main__':
  _serve()
