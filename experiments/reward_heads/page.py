"""The page of the study: what each head gains on each kind of data."""

from prm_jax.report import kinds, page, tables

_GAIN = kinds.Axis('gain', 'new pairs in true order, gain (points)', 100)
_NATS = kinds.Axis('gain', 'log loss saved by keeping ties (nats)')


def _bars(rows):
  """Draws every head over plain Bradley-Terry, a picture a world."""
  worlds = list(dict.fromkeys(row['world'] for row in rows))
  pictures = []
  for world in worlds:
    shown = [r for r in rows if r['world'] == world and r['head'] != 'plain']
    names = [str(row['head']).replace('_', ' ') for row in shown]
    ours = [bool(row['made_for']) for row in shown]
    heading = str(world).replace('_', ' ')
    pictures.append(kinds.bars(heading, shown, names, _GAIN, at=0, ours=ours))
  return pictures


def _sections(results) -> list[page.Section]:
  rows = tables.rows_of(results, 'heads')
  made = [
    {
      'title': 'What a head gains over plain Bradley-Terry',
      'note': 'Dark: the head that the data are drawn from.',
      'pictures': _bars(rows),
    }
  ]
  ties = tables.rows_of(results, 'ties')
  if ties:
    names = [f'{row["data"]}, {row["head"]}' for row in ties]
    made.append(
      {
        'title': 'Ties that real people call',
        'note': 'Over people and prompts at once.',
        'pictures': [
          kinds.bars(
            'Keeping ties over dropping them',
            ties,
            names,
            _NATS,
            at=0,
            ours=[True] * len(ties),
          )
        ],
      }
    )
  return made


def _picture(results):
  """Draws the heads made for each world over plain Bradley-Terry."""
  rows = [
    row
    for row in tables.rows_of(results, 'heads')
    if row['made_for'] and row['head'] != 'plain'
  ]
  names = [f'{row["world"]}: {row["head"]}'.replace('_', ' ') for row in rows]
  heading = 'The head that the data are drawn from, over plain Bradley-Terry'
  ours = [True] * len(rows)
  return kinds.bars(heading, rows, names, _GAIN, at=0, ours=ours)


PAGE = page.Page(
  specs={
    'heads': tables.Spec(
      'Heads on data of known truth',
      'Percent of pairs of new candidates in their true order; gains over '
      'plain Bradley-Terry are paired over seeds.',
      {
        'data': ('word', 'world'),
        'head': ('word', 'head'),
        'in order': ('points', 'order'),
        'gain': ('points', 'gain'),
        'behind the best': ('points', 'behind'),
        'made for it': ('word', 'made_for'),
        'seeds': ('count', 'seeds'),
      },
    ),
    'ties': tables.Spec(
      'Ties that real people call',
      'Nats a held-out judgement (first, second or tie) that keeping ties '
      'saves over dropping them and saying their share; intervals over people '
      'and prompts.',
      {
        'data': ('word', 'data'),
        'head': ('word', 'head'),
        'gain': ('number', 'gain'),
        "over people's own share": ('number', 'gain_over_habits'),
        'on choices alone': ('number', 'gain_strict'),
        'ties': ('points', 'tie_share'),
        'people': ('count', 'people'),
        'prompts or texts': ('count', 'units'),
        'judgements': ('count', 'judgements'),
      },
    ),
  },
  sections=_sections,
  picture=_picture,
)
