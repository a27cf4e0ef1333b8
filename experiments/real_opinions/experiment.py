"""The study: what personal rewards do to real opinions."""

from experiments.real_opinions import movement, page, power, prediction, serving
from prm_jax.lab import columns, study, units

_NOTES = (
  'Intervals are over people and statements, both drawn again, and of one set '
  'of conversations; where a row is over conversations, Student over them.',
  'Settings were fixed before kept votes were read; variances of factors are '
  'chosen on held-out votes of what a model learns from.',
  'No figure is over fewer than ten people.',
)
_BEYOND_TEXT = ('gain_over_text', 'pairs_over_text')
_PARTS = {
  'predicted': (prediction.run, 'predicted'),
  'served': (serving.run, 'served'),
  'power': (power.run, 'served'),
  'movement': (movement.run, 'served'),
}


def _work(config, folder: units.Folder) -> dict[str, units.Make]:
  del folder
  return {
    f'{part}-{name}': units.record(make, config, name)
    for part, (make, which) in _PARTS.items()
    for name in config[which]
  }


def _tables(config, folder: units.Folder) -> study.Tables:
  made: study.Tables = {}
  for part, (_, which) in _PARTS.items():
    for name in config[which]:
      for table, rows in folder.read(f'{part}-{name}').record.items():
        made.setdefault(table, []).extend(rows)
  over = _over(made['prediction'])
  hazard = _hazard_over(made['hazard'], config.control)
  return {'prediction_over': over, 'hazard_over': hazard, **made}


def _over(rows) -> list[study.Row]:
  """Returns gains beyond both means, over conversations."""
  found = []
  for (split, model), some in columns.grouped(rows, 'split', 'model').items():
    if model != 'person':
      row = {'split': split, 'model': model, 'conversations': len(some)}
      names = ['gain_nats', 'pairs_gain']
      names += [name for name in _BEYOND_TEXT if name in some[0]]
      for name in names:
        row |= columns.mean(name, [one[name] for one in some])
      found.append(row)
  return found


def _hazard_over(rows, control: str) -> list[study.Row]:
  """Returns what servers add to own-side exposure, over conversations."""
  some = [row for row in rows if row['conversation'] != control]
  names = ('own_side_over_aggregate', 'agreement_over_aggregate')
  found = []
  for (kind, server), each in columns.grouped(
    some, 'serving', 'server'
  ).items():
    row = {'serving': kind, 'server': server, 'conversations': len(each)}
    for name in names:
      row |= columns.mean(name, [one[name] for one in each])
    found.append(row)
  return found


def answer(made: study.Tables) -> list[str]:
  """Returns what votes of others tell, and what serving by them does."""
  said = []
  for row in made['prediction_over']:
    if row['model'] == 'held':
      said.append(
        f'Held out {row["split"]}: factors of votes gain '
        f'{_number(row, "gain_nats")} nats a vote beyond statement and person '
        f'means, over {row["conversations"]} conversations.'
      )
  for row in made['hazard']:
    if row['server'] == 'personal' and row['serving'] == 'best':
      added = columns.percent(row, 'own_side_over_aggregate')
      gained = columns.percent(row, 'agreement_over_aggregate')
      said.append(
        f'{row["conversation"]}: a personal server adds {added} of own side '
        f'for {gained} of agreement, and nobody moves.'
      )
  return said


def _number(row, name: str) -> str:
  value, low, high = (row[name + end] for end in ('', '_low', '_high'))
  text = f'{value:.3f}'
  return text if low is None else f'{text} [{low:.3f}, {high:.3f}]'


STUDY = study.Study(_work, _tables, answer, page.PAGE, _NOTES)
