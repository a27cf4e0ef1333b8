"""What crowd workers said their own side of a debate is: for audits only."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from prm_jax.data import schema
from prm_jax.data.builders import table

STANCES = ('same', 'opposite', 'none')


class StatedStance(NamedTuple):
  """One worker's own stance on one side of a debate.

  Attributes:
    user_id: as in `Judgements.user_ids`.
    prompt_id: the side, as in `Judgements.prompt_ids`.
    topic: the debate, as in `Judgements.topics`.
    stance: 'same', 'opposite' or 'none', relative to that side.
  """

  user_id: str
  prompt_id: str
  topic: str
  stance: str


def read(data_dir: Path) -> list[StatedStance]:
  """Returns one record per worker and side, for an audit and nothing else.

  What a person thinks about abortion or religion is special-category data
  (GDPR, article 9). So it is read from the source each time and kept nowhere:
  it does not pass through TFDS or another cache, where it would outlive the
  audit and escape `forget`; it is not a column of `Judgements`, from which
  features are made; and nothing that predicts may see it, for a personal
  reward that reads the stance would be the very fault the audit looks for.
  Report figures over groups of workers, never a worker's.

  A worker was asked with every judgement: the answer given most often counts.
  Judgements without an answer are left out, and so are workers who gave two
  answers equally often, for they stated no one side.

  Args:
    data_dir: holds `ukp_convarg/judgements.jsonl.gz`.

  Raises:
    SchemaError: naming file, line and field.
  """
  path = table.existing(data_dir / 'ukp_convarg' / 'judgements.jsonl.gz')
  given: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
  fields = {'user': str, 'topic': str}
  for number, row in enumerate(table.json_rows(path, fields), 1):
    if 'user_stance' not in row:
      raise schema.SchemaError(f'{path}:{number}: user_stance: is missing')
    stance = row['user_stance']
    if stance is None:
      continue
    if stance not in STANCES:
      # The value is not shown: it would be a person's stance in a log.
      raise schema.SchemaError(
        f'{path}:{number}: user_stance: is none of {STANCES} nor null'
      )
    given[row['user'], row['topic']][stance] += 1
  records = []
  for (user, side), counts in given.items():
    (stance, most), *others = counts.most_common()
    if not others or others[0][1] < most:
      records.append(StatedStance(user, side, side.split('_')[0], stance))
  return records
