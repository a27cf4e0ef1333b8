"""UKPConvArg1 in small: three debates of two sides, five workers."""

import gzip
import json

DEBATES = ('tea', 'tram', 'attic')
SIDES = ('yes', 'no')
ARGUMENTS = [
  {
    'arg': f'{side}{number}',
    'topic': f'{debate}_{side}',
    'title': f'{debate}?',
    'stance': side,
    'text': f'{debate} {side} since {number}',
  }
  for debate in DEBATES
  for side in SIDES
  for number in (1, 2, 3)
]


def _judgement(worker, place, debate, side, a1, a2, choice):
  return {
    'user': f'u{worker}',
    'topic': f'{debate}_{side}',
    'a1': f'{side}{a1}',
    'a2': f'{side}{a2}',
    'choice': choice,
    'reason': f'because u{worker} {debate} {side} {a1}',
    'time': f'2016-01-{2 + place:02} 12:00:00.0 UTC',
  }


# Every worker begins with another debate, and works a day at each; two
# judgements a side. The file goes by side, not by time.
JUDGEMENTS = [
  _judgement(
    worker,
    (place - worker) % len(DEBATES),
    debate,
    side,
    1,
    2 + (worker + again) % 2,
    ('a1', 'a2', 'equal')[(worker + place + again) % 3],
  )
  for place, debate in enumerate(DEBATES)
  for side in SIDES
  for worker in range(5)
  for again in range(2)
]


def write(folder, changed=None):
  """Writes the files into `folder/ukp_convarg`.

  Args:
    folder: of the data.
    changed: row of `JUDGEMENTS` -> changed fields.
  """
  changed = changed or {}
  folder = folder / 'ukp_convarg'
  folder.mkdir(exist_ok=True)
  judgements = [
    row | changed.get(number, {}) for number, row in enumerate(JUDGEMENTS)
  ]
  for name, rows in (('arguments', ARGUMENTS), ('judgements', judgements)):
    with gzip.open(folder / f'{name}.jsonl.gz', 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)
