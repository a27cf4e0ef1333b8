"""The study: what personal rewards do to real opinions."""

from experiments.real_opinions import (
  movement,
  over,
  page,
  power,
  prediction,
  serving,
)
from prm_jax.lab import columns, study, units

_NOTES = (
  'Intervals are over people and statements, both drawn again, and of one set '
  'of conversations; where a row is over conversations, Student over them.',
  'Settings were fixed before kept votes were read; variances of factors are '
  'chosen on held-out votes of what a model learns from.',
  'No figure is over fewer than ten people.',
)
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
  control = config.control
  made['detectors'] = over.joined(made['detectors'], made['safeguards'])
  return {
    'prediction_over': over.prediction(made['prediction']),
    'hazard_over': over.hazard(made['hazard'], control),
    'safeguards_over': over.safeguards(made['safeguards'], control),
    'at_removed_over': over.at_removed(made['at_removed']),
    'detectors_over': over.detectors(made['detectors'], control),
    'movement_over': over.movement(made['movement'], control),
    **made,
  }


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
  for row in made['safeguards_over']:
    if row['guard'] == 'matching' and row['strength'] == 1.0:
      met = 'is met' if row['bar_met'] else 'is missed'
      removed = columns.percent(row, 'removed')
      gained = columns.percent(row, 'agreement_gained')
      said.append(
        f'Matching, {row["serving"]}: {removed} of what is added is removed, '
        f'at {gained} of agreement over the aggregate, over '
        f'{row["conversations"]} conversations; the bar {met}.'
      )
  return said


def _number(row, name: str) -> str:
  value, low, high = (row[name + end] for end in ('', '_low', '_high'))
  text = f'{value:.3f}'
  return text if low is None else f'{text} [{low:.3f}, {high:.3f}]'


STUDY = study.Study(_work, _tables, answer, page.PAGE, _NOTES)
