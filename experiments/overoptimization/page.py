"""The page of the study: gold against KL."""

from prm_jax.report import kinds, page, tables

_GOLD = kinds.Axis('gold', 'true reward (logits above the base)')
_KL = kinds.Axis('kl', 'KL from the base policy (nats)')


def _curves(rows, heading):
  names = list(dict.fromkeys(str(row['arm']) for row in rows))
  series = {
    name: ([row for row in rows if row['arm'] == name], _GOLD) for name in names
  }
  return kinds.lines(heading, series, _KL, _GOLD.label)


def _parts(rows):
  """Yields networks by their fit, and linear rewards; the truth with none."""
  linear = ('linear mean', 'Laplace lower bound')
  for fit in dict.fromkeys(row['fit'] for row in rows):
    own = [row for row in rows if row['fit'] == fit and row['arm'] != 'gold']
    networks = [row for row in own if row['arm'] not in linear]
    yield f'Networks, {fit}', networks
    yield f'Linear in hinges, {fit}', [r for r in own if r['arm'] in linear]


def _sections(results) -> list[page.Section]:
  made = []
  for name, title, note in (
    (
      'best_of_n',
      'Best of n, up to 1,024',
      'KL is the bound log n - (n - 1) / n.',
    ),
    ('policy', 'A policy in training', 'No penalty on the KL.'),
  ):
    parts = _parts(tables.rows_of(results, name))
    pictures = [_curves(rows, heading) for heading, rows in parts]
    made.append({'title': title, 'note': note, 'pictures': pictures})
  return made


def _picture(results):
  """Draws what penalties keep, where members disagree."""
  shown = ('one network', 'mean', 'lower bound', 'Laplace lower bound')
  rows = [
    row
    for row in tables.rows_of(results, 'best_of_n')
    if row['fit'] == 'weak ridge' and row['arm'] in shown
  ]
  return _curves(rows, 'Best of n, up to 1,024, weak ridge')


_SHOWN = {
  'fit': ('word', 'fit'),
  'arm': ('word', 'arm'),
  'gold': ('number', 'gold'),
}
PAGE = page.Page(
  specs={
    'kept': tables.Spec(
      'What is kept',
      'Gold score at the largest n as a share of the peak over n; and of a '
      'policy trained by the score, at its end and at its peak, in logits.',
      {
        'fit': ('word', 'fit'),
        'arm': ('word', 'arm'),
        'pairs in order': ('points', 'accuracy'),
        'gold at the largest n': ('number', 'gold_at_most'),
        'of its peak': ('points', 'kept'),
        'policy at its peak': ('number', 'policy_peak'),
        'policy at its end': ('number', 'policy_end'),
        'seeds': ('count', 'seeds'),
      },
    ),
    'best_of_n': tables.Spec(
      'Best of n',
      'True reward, in logits above the base policy.',
      {'n': ('count', 'n'), **_SHOWN},
    ),
    'policy': tables.Spec(
      'A policy in training',
      'True reward at a KL, in nats.',
      {'KL': ('number', 'kl'), **_SHOWN},
    ),
  },
  sections=_sections,
  picture=_picture,
)
