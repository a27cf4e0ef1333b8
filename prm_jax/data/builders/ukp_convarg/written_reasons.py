"""What crowd workers wrote of why an argument convinced them."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.data.builders.ukp_convarg import ukp_convarg_dataset_builder

_TIME = '%Y-%m-%d %H:%M:%S.%f UTC'


class Reasoned(NamedTuple):
  """A judgement and its reason.

  Attributes:
    judgement: as in `load.judgements('ukp_convarg')`; the first response is
      what the reason calls A1.
    reason: in the worker's words.
    time: when it was handed in, without zone, UTC.
  """

  judgement: schema.Judgement
  reason: str
  time: datetime


def read(data_dir: Path) -> list[Reasoned]:
  """Returns every judgement with its reason, in the file's order.

  What a person writes about abortion or religion can say what they believe,
  which is special-category data (GDPR, article 9). So reasons are read from
  the source each time and kept nowhere, and no error shows one. A worker's
  stated stance is not read, see `stated_stances`.

  Args:
    data_dir: holds `ukp_convarg/{arguments,judgements}.jsonl.gz`.

  Raises:
    SchemaError: naming file, line and field.
  """
  names = ('arguments.jsonl.gz', 'judgements.jsonl.gz')
  arguments, judgements = (
    table.existing(data_dir / 'ukp_convarg' / name) for name in names
  )
  rows = ukp_convarg_dataset_builder.compared(
    arguments, judgements, reason=str, time=str
  )
  found = []
  for number, row, judgement in rows:
    try:
      time = datetime.strptime(row['time'], _TIME)
    except ValueError:
      raise schema.SchemaError(
        f'{judgements}:{number}: time: {row["time"]!r} is not like '
        '2016-01-31 16:59:52.0 UTC'
      ) from None
    found.append(Reasoned(judgement, row['reason'], time))
  return found
