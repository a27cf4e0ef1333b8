"""The page of the study: curves by number of answers, and their tables."""

from prm_jax.report import kinds, page, tables

_CELL = {
  'data': ('word', 'data'),
  'features': ('word', 'features'),
  'method': ('word', 'method'),
  'questions': ('word', 'acquisition'),
}


def _sections(results) -> list[page.Section]:
  return kinds.by_answers(
    tables.rows_of(results, 'curve'),
    [
      (
        'Accuracy, question by question',
        kinds.Axis('accuracy', 'accuracy (%)', 100),
      ),
      (
        'What choosing loses',
        kinds.Axis('regret', 'regret (share of the gap)'),
      ),
    ],
  )


PAGE = page.Page(
  specs={
    'answers_needed': tables.Spec(
      'Answers needed',
      'Until the mean accuracy reaches a target, and as a share of what random '
      'questions need: an upper bound where those never reach it.',
      {
        **_CELL,
        'target': ('percent', 'target'),
        'answers': ('number', 'answers'),
        'random questions': ('number', 'random_answers'),
        'share of random': ('number', 'share_of_random'),
        'people': ('count', 'people'),
      },
    ),
    'curve': tables.Spec(
      'Accuracy and regret',
      'Accuracy in points, on pairs that are never asked. Regret: 0 is the '
      'best of a menu, 1 a random pick.',
      {
        **_CELL,
        'answers': ('count', 'answers'),
        'accuracy': ('points', 'accuracy'),
        'regret': ('number', 'regret'),
        'people': ('count', 'people'),
        'seeds': ('count', 'seeds'),
      },
    ),
  },
  sections=_sections,
)
