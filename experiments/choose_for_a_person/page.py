"""The page of the study: what picks are worth, by number of answers."""

from prm_jax.report import figures, kinds, page, tables

_RECOVERED = kinds.Axis('recovered', 'share of the gap recovered (%)', 100)


def _picture(results) -> figures.Picture:
  """Draws levels and text, active and random questions, in one picture."""
  rows = [
    row
    for row in tables.rows_of(results, 'utility')
    if row['acquisition'] in ('random', 'variance')
  ]
  names = [
    f'{tables.word(row["features"])}, {tables.word(row["acquisition"])}'
    for row in rows
  ]
  heading = "From everybody's pick (0) to the best of the menu (100)"
  answers = kinds.Axis('answers', 'answers of the person')
  groups = [heading] * len(rows)
  return kinds.curves(rows, groups, names, answers, _RECOVERED)[0]


PAGE = page.Page(
  specs={
    'utility': tables.Spec(
      'What a pick is worth',
      "Utility, and its gain over the aggregate's pick; share of the gap from "
      "that pick to the oracle's, and how often the pick is better, in points.",
      {
        'data': ('word', 'data'),
        'features': ('word', 'features'),
        'pick': ('word', 'method'),
        'questions': ('word', 'acquisition'),
        'answers': ('count', 'answers'),
        'utility': ('number', 'utility'),
        'gain': ('number', 'gain'),
        'recovered': ('points', 'recovered'),
        'win rate': ('points', 'win_rate'),
        'people': ('count', 'people'),
        'prompts': ('count', 'prompts'),
        'seeds': ('count', 'seeds'),
      },
    )
  },
  sections=lambda results: kinds.by_answers(
    tables.rows_of(results, 'utility'), [('What choosing gains', _RECOVERED)]
  ),
  picture=_picture,
)
