"""The page of real opinions."""

from collections.abc import Mapping
from typing import Any

from prm_jax.report import figures, kinds, page, tables

_ADDED = kinds.Axis('own_side_added', 'own side added (points)', 100)
_GAINED = kinds.Axis('agreement_gained', 'agreement gained (points)', 100)
_NAMES = {
  'american-assembly.bowling-green': 'Bowling Green',
  'scoop-hivemind.taxes': 'taxes',
  'brexit-consensus': 'brexit',
  'scoop-hivemind.affordable-housing': 'housing',
  'scoop-hivemind.ubi': 'ubi',
  'bg2050-volunteers': 'bg2050 (control)',
}


def picture(results: Mapping[str, Any]) -> figures.Picture | None:
  """Returns exposure added against agreement gained."""
  rows = [
    row
    for row in tables.rows_of(results, 'safeguards')
    if row['serving'] == 'best'
    and (
      row['guard'] in ('personal', 'bridging')
      or (row['guard'] == 'matching' and row['strength'] in (0.5, 1.0))
    )
  ]
  if not rows:
    return None
  groups = [
    _NAMES.get(row['conversation'], row['conversation']) for row in rows
  ]
  names = [
    'half matched'
    if row['strength'] == 0.5
    else {'matching': 'matched'}.get(row['guard'], row['guard'])
    for row in rows
  ]
  return _arrows(rows, groups, names)


def _arrows(rows, groups, names) -> figures.Picture:
  """Draws a line from personal to matched for each conversation."""
  figure, axes = figures.panel(('Own side added for agreement gained', '', ''))
  marks = {
    'personal': 'o',
    'half matched': 's',
    'matched': '^',
    'bridging': 'x',
  }
  words = []
  for i, group in enumerate(dict.fromkeys(groups)):
    look = figures.style(i)
    some = {
      name: (_GAINED.of(row), _ADDED.of(row))
      for row, other, name in zip(rows, groups, names, strict=True)
      if other == group
    }
    path = [some[name] for name in list(marks)[:3] if name in some]
    axes.plot(
      [across[0] for across, _ in path],
      [up[0] for _, up in path],
      color=look.color,
      label=group,
    )
    for name, (across, up) in some.items():
      axes.plot(across[0], up[0], marks[name], color=look.color, ms=6)
    across, up = some['personal']
    axes.errorbar(
      across[0],
      up[0],
      xerr=figures.arms(tuple(across)),
      yerr=figures.arms(tuple(up)),
      color=look.color,
      lw=0.7,
    )
    words.append(f'{group} {across[0]:.1f} and {up[0]:.1f}')
  axes.axhline(0, color='0.4', linewidth=0.8)
  axes.set_xlabel(
    f'{_GAINED.label}\ncircle personal; square half matched; '
    'triangle matched; cross bridging',
    fontsize=8,
  )
  axes.set_ylabel(_ADDED.label)
  return figures.draw(
    figure,
    'Agreement gained and own side added by personal servers, in points: '
    f'{"; ".join(words)}.',
  )


def sections(results: Mapping[str, Any]) -> list[page.Section]:
  """Returns the page's figure with its heading."""
  drawn = picture(results)
  if not drawn:
    return []
  note = 'Bars are 95 % intervals over people and statements.'
  return [{'title': 'The trade', 'note': note, 'pictures': [drawn]}]


_NATS = {
  'gain': ('number', 'gain_nats'),
  'pairs gained': ('points', 'pairs_gain'),
}

_DETECTOR = {
  'detector': ('word', 'detector'),
  'correlation': ('number', 'correlation'),
  'by chance': ('number', 'correlation_by_chance'),
  'removed, best of eight': ('points', 'removed_best'),
  'removed, tilt': ('points', 'removed_tilt'),
  'agreement, best of eight': ('points', 'agreement_gained_best'),
  'agreement, tilt': ('points', 'agreement_gained_tilt'),
}

TABLES: dict[str, tables.Spec | None] = {
  'prediction_over': tables.Spec(
    'Beyond statement and person mean, over conversations',
    "Gain in log loss (nats a vote), and points of a person's pairs.",
    {
      'held out': ('word', 'split'),
      'model': ('word', 'model'),
      **_NATS,
      'gain beyond text and person mean': ('number', 'gain_over_text'),
      'conversations': ('count', 'conversations'),
    },
  ),
  'hazard_over': tables.Spec(
    'What servers add, over the conversations with an axis',
    'Points over the aggregate.',
    {
      'serving': ('word', 'serving'),
      'server': ('word', 'server'),
      'own side': ('points', 'own_side_over_aggregate'),
      'agreement': ('points', 'agreement_over_aggregate'),
      'conversations': ('count', 'conversations'),
    },
  ),
  'safeguards_over': tables.Spec(
    'Safeguards, over the conversations with an axis',
    'Points over the aggregate; removed: of the own side that personal adds. '
    'The bar: 90 removed, agreement at most 1 below, its limit at most 2.',
    {
      'serving': ('word', 'serving'),
      'guard': ('word', 'guard'),
      'strength': ('number', 'strength'),
      'own side added': ('points', 'own_side_added'),
      'agreement gained': ('points', 'agreement_gained'),
      'removed': ('points', 'removed'),
      'bar met': ('text', 'bar_met'),
      'conversations at the bar': ('count', 'conversations_at_bar'),
      'conversations': ('count', 'conversations'),
    },
  ),
  'at_removed_over': tables.Spec(
    'Where 80 % is removed, over conversations',
    "Agreement in points over the aggregate, and over matching's of the same "
    'conversation; of those in which a guard removes so much.',
    {
      'serving': ('word', 'serving'),
      'guard': ('word', 'guard'),
      'agreement': ('points', 'agreement'),
      'over matching': ('points', 'agreement_over_matching'),
      'conversations': ('count', 'conversations'),
    },
  ),
  'detectors_over': tables.Spec(
    'Detectors of stance, over the conversations with an axis',
    'Correlation with loadings by kept votes, beside the size that 95 % of '
    'shuffled ones stay below; percent of the added own side that matching on '
    'it removes. Apart: without conversations of the same town or platform.',
    _DETECTOR,
  ),
  'movement_over': tables.Spec(
    'A loop in which people may move, over the conversations with an axis',
    'Points of own side over the aggregate, and over where nobody moves; '
    'variance of positions at the end over other ends (1 at the start).',
    {
      'movement': ('word', 'movement'),
      'server': ('word', 'server'),
      'own side added': ('points', 'own_side_added'),
      'added by moving': ('points', 'added_by_moving'),
      'variance over aggregate': ('number', 'variance_over_aggregate'),
      'over random': ('number', 'variance_over_random'),
      'over start': ('number', 'variance_over_start'),
      'conversations': ('count', 'conversations'),
    },
  ),
  'prediction': tables.Spec(
    'Held-out votes',
    'Log loss in nats; gain over statement and person mean.',
    {
      'conversation': ('text', 'conversation'),
      'held out': ('word', 'split'),
      'model': ('word', 'model'),
      'log loss': ('number', 'log_loss'),
      **_NATS,
      'accuracy': ('points', 'accuracy'),
      'people': ('count', 'people'),
      'votes': ('count', 'votes'),
    },
  ),
  'answers': tables.Spec(
    'New people, by answers',
    'Gain in nats of factors over statement and own person mean; of another '
    "person's answers over the statement mean.",
    {
      'conversation': ('text', 'conversation'),
      'answers': ('count', 'answers'),
      'gain': ('number', 'gain_nats'),
      'swapped': ('number', 'swapped_over_statement_mean'),
      'people': ('count', 'people'),
    },
  ),
  'hazard': tables.Spec(
    'What is served, nobody moving',
    'Percent; variance in deviations of statements. Best: of eight draws. '
    'Tilt: one nat from chance. Over: less the aggregate, less chance.',
    {
      'conversation': ('text', 'conversation'),
      'serving': ('word', 'serving'),
      'server': ('word', 'server'),
      'agreement': ('points', 'agreement'),
      'agreement over aggregate': ('points', 'agreement_over_aggregate'),
      'own side': ('points', 'own_side'),
      'own side over aggregate': ('points', 'own_side_over_aggregate'),
      'over chance': ('points', 'own_side_over_random'),
      'straddling alone': ('points', 'own_side_straddling_over_aggregate'),
      'variance': ('number', 'stance_variance'),
      'correlation': ('number', 'stance_correlation'),
      'people': ('count', 'people'),
    },
  ),
  'safeguards': tables.Spec(
    'Safeguards, by strength',
    'Points over the aggregate. Removed: of the own side that personal adds; '
    'kept: of the agreement that it gains, in percent.',
    {
      'conversation': ('text', 'conversation'),
      'serving': ('word', 'serving'),
      'guard': ('word', 'guard'),
      'strength': ('number', 'strength'),
      'own side added': ('points', 'own_side_added'),
      'agreement gained': ('points', 'agreement_gained'),
      'removed': ('points', 'removed'),
      'kept': ('points', 'kept'),
    },
  ),
  'at_removed': tables.Spec(
    'Where 80 % is removed',
    'Agreement in points over the aggregate, share of the gain kept in '
    "percent where its lower limit is above 0, and both less matching's, draw "
    'by draw. Reached: share of the draws in which so much is removed; no '
    'limits where that is under 95 %.',
    {
      'conversation': ('text', 'conversation'),
      'serving': ('word', 'serving'),
      'guard': ('word', 'guard'),
      'reached': ('percent', 'reached'),
      'agreement': ('points', 'agreement'),
      'over matching': ('points', 'agreement_over_matching'),
      'kept': ('points', 'kept'),
      'kept over matching': ('points', 'kept_over_matching'),
    },
  ),
  'detectors': tables.Spec(
    'Detectors of stance',
    'As above, of each conversation.',
    {'conversation': ('text', 'conversation'), **_DETECTOR},
  ),
  'movement': tables.Spec(
    'A loop in which people may move',
    'Percent of dividing statements served that are of the side on which a '
    'person started, and over the aggregate; variance of where people stand '
    'after the last round (1 at the start), and over other ends. One halving.',
    {
      'conversation': ('text', 'conversation'),
      'movement': ('word', 'movement'),
      'server': ('word', 'server'),
      'own side': ('points', 'own_side'),
      'added': ('points', 'own_side_added'),
      'variance at the end': ('number', 'variance_end'),
      'over aggregate': ('number', 'variance_over_aggregate'),
      'over random': ('number', 'variance_over_random'),
      'over start': ('number', 'variance_over_start'),
      'people': ('count', 'people'),
    },
  ),
  'power': tables.Spec(
    'How small a lean is found',
    'Of 200 servers that serve everybody what another person likes, with a '
    'lean to the own side added: how often the lower limit is above zero. '
    'Added: to the share that the aggregate serves.',
    {
      'conversation': ('text', 'conversation'),
      'lean planted': ('percent', 'lean'),
      'added': ('percent', 'mean_added'),
      'found': ('points', 'found'),
      'people': ('count', 'people'),
    },
  ),
}
_READING = (
  (
    'Own side',
    'A statement is of the side whose people agree with it more; half of the '
    'people are on each side by construction. Counted are the half of the '
    'statements that divide most.',
  ),
  (
    'Kept votes',
    'Half of the votes are kept from the server: what is served is one of '
    'these statements, so that agreement is known and not predicted.',
  ),
)

PAGE = page.Page(TABLES, sections, _READING, picture)
