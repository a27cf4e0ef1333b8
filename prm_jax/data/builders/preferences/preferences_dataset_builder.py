"""Anybody's JSON lines in the schema of `prm_jax.data.schema`."""

from pathlib import Path

from prm_jax.data import schema
from prm_jax.data.builders import table


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Judgements or ratings in a .jsonl or .jsonl.gz file."""

  name = 'preferences'

  def read(self):
    """Returns the file's rows."""
    (path,) = self.builder_config.files
    return schema.read_jsonl(path)


def config(*, path: str | Path) -> table.SourceConfig:
  """Returns the configuration of one file.

  Raises:
    SchemaError: it is not there.
  """
  path = Path(path)
  if not path.is_file():
    raise schema.SchemaError(f'{path} is not a file')
  return table.source_config([path])
