"""The page of the study: what each head gains on each kind of data."""

from prm_jax.report import kinds, page, tables

_GAIN = kinds.Axis('gain', 'gain (points)', 100)
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
      'note': 'Points of new pairs in true order. Dark: drawn from this head.',
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
  return made + _covered(results)


_OFF = kinds.Axis('covered', 'true values inside 90 % intervals (%)', 100)


def _covered(results) -> list[page.Section]:
  """Draws what 90 % intervals hold, a picture a table."""
  made = []
  for table, names, title in (
    (
      'coverage',
      ('features', 'topics', 'method', 'answers'),
      'Margins of people who are held out',
    ),
    ('coverage_ratings', ('method',), 'Ratings that are to come'),
  ):
    rows = [
      row for row in tables.rows_of(results, table) if row['level'] == 0.9
    ]
    if not rows:
      continue
    labels = [
      ', '.join(str(row[n]).replace('_', ' ') for n in names) for row in rows
    ]
    near = [bool(row['near']) for row in rows]
    drawn = kinds.bars(title, rows, labels, _OFF, at=90, ours=near)
    note = 'Dark: within 3 points of 90, where the dashed line stands.'
    made.append({'title': title, 'note': note, 'pictures': [drawn]})
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
    'coverage': tables.Spec(
      'Are intervals of margins what they say?',
      'Percent of true margins of held-out people that are inside, with '
      'intervals over people and prompts. Answers: of the person, that are '
      'known; 0 of methods that learn nothing from them.',
      {
        'features': ('word', 'features'),
        'topics': ('word', 'topics'),
        'method': ('word', 'method'),
        'answers': ('count', 'answers'),
        'to hold': ('points', 'level'),
        'inside': ('points', 'covered'),
        'half width (logits)': ('number', 'mean_half_width_logits'),
        'people': ('count', 'people'),
        'prompts': ('count', 'prompts'),
        'pairs': ('count', 'pairs'),
      },
    ),
    'coverage_choices': tables.Spec(
      'Are probabilities of choices calibrated?',
      'Expected calibration error of held-out people, which is never below 0 '
      'and of few rows never 0.',
      {
        'features': ('word', 'features'),
        'topics': ('word', 'topics'),
        'method': ('word', 'method'),
        'answers': ('count', 'answers'),
        'calibration error': ('points', 'ece'),
        'log loss': ('number', 'nll'),
        'right': ('points', 'accuracy'),
        'people': ('count', 'people'),
        'pairs a seed': ('count', 'pairs'),
      },
    ),
    'coverage_ratings': tables.Spec(
      'Are intervals of ratings what they say?',
      'Percent of ratings to come of held-out people (Jester) that are inside, '
      'with intervals over people and jokes; the worst tenth of people is '
      'chosen on one half of the ratings and measured on the other.',
      {
        'interval': ('word', 'method'),
        'to hold': ('points', 'level'),
        'inside': ('points', 'covered'),
        'of the worst tenth': ('points', 'worst_decile'),
        'width (points)': ('number', 'mean_width_points'),
        'the whole scale': ('points', 'infinite'),
        'people': ('count', 'people'),
        'jokes': ('count', 'jokes'),
        'ratings': ('count', 'ratings'),
      },
    ),
  },
  sections=_sections,
  picture=_picture,
)
