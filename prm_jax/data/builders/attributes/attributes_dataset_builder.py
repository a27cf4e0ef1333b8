"""Simulated people: `prm_jax.worlds.attributes` as a data set."""

from pathlib import Path
from typing import Any

from prm_jax import worlds
from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.worlds import attributes


class Builder(table.TableBuilder, skip_registration=True):  # type: ignore[call-arg]
  """People who judge texts by seven attributes; the truth is not in it."""

  name = 'attributes'

  def read(self):
    """Returns the simulated judgements."""
    world = attributes.simulate(**self.builder_config.options)
    parsed = map(schema.parse_row, attributes.judgement_rows(world))
    rows = [row for row in parsed if isinstance(row, schema.Judgement)]
    return schema.code_judgements(rows), schema.Report(len(rows), 0)


def config(**options: Any) -> table.SourceConfig:
  """Returns the configuration of `attributes.simulate(**options)`.

  The simulator's own source counts as input: a changed grammar is new data.
  """
  source = sorted(Path(worlds.__path__[0]).glob('*.py'))
  return table.source_config(source, options)
