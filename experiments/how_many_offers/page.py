"""The page of the study: how often the best is offered."""

from prm_jax.report import kinds, page, tables

_AMONG = kinds.Axis('among', 'best is among the offers (% of menus)', 100)


def _sections(results) -> list[page.Section]:
  rows = [r for r in tables.rows_of(results, 'offers') if r['offered'] == 3]
  return kinds.by_answers(rows, [('With three offers', _AMONG)])


PAGE = page.Page(
  specs={
    'offers': tables.Spec(
      'How often the best is offered',
      'Share of menus, in points, of which so many answers are offered.',
      {
        'data': ('word', 'data'),
        'method': ('word', 'method'),
        'questions': ('word', 'acquisition'),
        'answers': ('count', 'answers'),
        'offered': ('count', 'offered'),
        'best among them': ('points', 'among'),
        'people': ('count', 'people'),
        'seeds': ('count', 'seeds'),
      },
    )
  },
  sections=_sections,
)
