"""UKPConvArg1: crowd workers compared two arguments on one side of a debate.

Reads the public archive's XML and a JSON-lines form of it. A worker's own
stance is special-category data: it is never read here, see `stated_stances`.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from prm_jax.data import schema
from prm_jax.data.builders import table

_CHOICES = {'a1': 1.0, 'a2': 0.0, 'equal': 0.5}


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Convincing arguments (Habernal and Gurevych, ACL 2016), CC-BY 4.0."""

  name = 'ukp_convarg'

  def read(self):
    """Returns the judgements; a debate's two sides share a topic."""
    files = self.builder_config.files
    lines = [path for path in files if '.xml' not in path.name]
    if lines:
      rows = [row for _, _, row in compared(*lines)]
    else:
      rows = [row for path in files for row in _from_xml(path)]
    return schema.code_judgements(rows), schema.Report(len(rows), 0)


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files under `data_dir`.

  Args:
    data_dir: holds `ukp_convarg` in JSON lines, or is itself a folder of the
      archive's .xml or .xml.gz files.
  """
  archive = sorted([*data_dir.glob('*.xml'), *data_dir.glob('*.xml.gz')])
  if archive:
    return table.source_config(archive)
  folder = data_dir / 'ukp_convarg'
  names = ('arguments.jsonl.gz', 'judgements.jsonl.gz')
  return table.source_config([table.existing(folder / n) for n in names])


def _judgement(user, side, prompt, a, b, choice, where):
  if choice not in _CHOICES:
    raise schema.SchemaError(f'{where}: choice: {choice!r} is unknown')
  return schema.Judgement(
    user_id=user,
    prompt_id=side,
    prompt=prompt,
    response_a=a,
    response_b=b,
    label=_CHOICES[choice],
    topic=side.split('_')[0],
  )


def compared(
  arguments: Path, judgements: Path, **more: type
) -> Iterator[tuple[int, dict, schema.Judgement]]:
  """Yields line, row and judgement of everybody's comparisons.

  Args:
    arguments: the file of arguments, in JSON lines.
    judgements: the file of judgements.
    **more: name -> type of further fields that every judgement has.

  Raises:
    SchemaError: naming file, line and field.
  """
  fields = dict.fromkeys(('arg', 'topic', 'title', 'stance', 'text'), str)
  known = {
    (row['topic'], row['arg']): row
    for row in table.json_rows(arguments, fields)
  }
  names = ('user', 'topic', 'a1', 'a2', 'choice')
  given = {**dict.fromkeys(names, str), **more}
  for number, row in enumerate(table.json_rows(judgements, given), 1):
    where = f'{judgements}:{number}'
    try:
      a, b = (known[row['topic'], row[name]] for name in ('a1', 'a2'))
    except KeyError as error:
      raise schema.SchemaError(f'{where}: no argument {error}') from error
    prompt = f'{a["title"]} {a["stance"]}'
    judgement = _judgement(
      row['user'],
      row['topic'],
      prompt,
      a['text'],
      b['text'],
      row['choice'],
      where,
    )
    yield number, row, judgement


def _from_xml(path: Path) -> Iterator[schema.Judgement]:
  side = path.name.removesuffix('.gz').removesuffix('.xml')
  opener = gzip.open if path.suffix == '.gz' else open
  with opener(path, 'rb') as file:
    content = file.read()
  # Entities can read files and fill memory; the archive has none.
  if b'<!DOCTYPE' in content or b'<!ENTITY' in content:
    raise schema.SchemaError(f'{path}: document types are refused')
  try:
    root = ElementTree.fromstring(content)
  except ElementTree.ParseError as error:
    raise schema.SchemaError(f'{path}: not XML: {error}') from error

  def text(node, name):
    found = node.findtext(name)
    if found is None:
      raise schema.SchemaError(f'{path}: {node.tag} has no {name}')
    return found

  for pair in root.iter('annotatedArgumentPair'):
    a, b = (text(pair, f'{name}/text') for name in ('arg1', 'arg2'))
    prompt = f'{text(pair, "debateMetaData/title")} {text(pair, "arg1/stance")}'
    for answer in pair.iter('mTurkAssignment'):
      yield _judgement(
        text(answer, 'turkID'),
        side,
        prompt,
        a,
        b,
        text(answer, 'value'),
        f'{path}: {text(pair, "id")}',
      )
