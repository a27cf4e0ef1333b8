"""The page of the study: shares of the oracle by wording and features."""

from experiments.wording import words
from prm_jax.report import figures, kinds, page, tables

_SHARE = kinds.Axis('share', 'share of the oracle', 1)


def _picture(results) -> figures.Picture | None:
  rows = [
    {**row, 'named': words.NAMES.get(row['set'], row['set'])}
    for row in tables.rows_of(results, 'shares')
    if row['method'] == 'pref' and row['set'] in words.NAMES
  ]
  if not rows:
    return None
  order = list(words.NAMES)
  rows.sort(key=lambda row: order.index(row['set']))  # stays sorted by split
  return kinds.grouped(
    'Personal models of seen people',
    rows,
    [row['named'] for row in rows],
    [words.SPLITS[row['split']] for row in rows],
    _SHARE,
  )


def _sections(results) -> list[page.Section]:
  picture = _picture(results)
  if picture is None:
    return []
  return [
    {
      'title': 'What carries to new words',
      'note': '0 is a coin, 1 the true probabilities.',
      'pictures': [picture],
    }
  ]


_READ = (
  'Share of the oracle: (accuracy - .5) / (its accuracy - .5), of seen people. '
  'Intervals are over people and prompts, and on new wording over marker '
  'templates too; a row of results.json has both.'
)
PAGE = page.Page(
  specs={
    'bars': tables.Spec(
      'What had to be shown',
      'Of last tokens, by PReF.',
      {
        'features': ('text', 'set'),
        'what': ('text', 'bar'),
        'at least': ('number', 'least'),
        'measured': ('number', 'value'),
        'met': ('text', 'met'),
      },
    ),
    'shares': tables.Spec(
      'Share of the oracle',
      _READ,
      {
        'features': ('text', 'set'),
        'method': ('word', 'method'),
        'wording': ('word', 'split'),
        'share': ('number', 'share'),
        'of templates, one standard error': (
          'number',
          'templates_standard_error',
        ),
        'accuracy': ('percent', 'accuracy'),
        'people': ('count', 'people'),
        'prompts': ('count', 'prompts'),
        'seeds': ('count', 'seeds'),
      },
    ),
    'differences': tables.Spec(
      'Share of the oracle, less that of other features',
      'On the same judgements; intervals as above. What was trained is less '
      'the same layers frozen, too; a head, as it was trained and not fitted '
      'anew, is less one that trained for at most as many epochs on frozen '
      'layers.',
      {
        'features': ('text', 'set'),
        'less': ('text', 'baseline'),
        'method': ('word', 'method'),
        'wording': ('word', 'split'),
        'difference': ('number', 'difference'),
        'of templates, one standard error': (
          'number',
          'templates_standard_error',
        ),
      },
    ),
    'costs': tables.Spec(
      'What features cost, all seeds together',
      'Units are sentences, or whole answers; each is read once. Fits are of '
      'both methods with their search.',
      {
        'features': ('text', 'set'),
        'layers run': ('count', 'layers'),
        'units read': ('count', 'new_units'),
        'tokens': ('count', 'new_tokens'),
        'reading, CPU seconds': ('number', 'read_cpu_seconds'),
        'fits, CPU seconds': ('number', 'fit_cpu_seconds'),
        'configurations a method': ('count', 'configurations'),
      },
    ),
    'real_gains': tables.Spec(
      'Real people: what features and people are worth',
      'LLMFAO: real people chose between answers of some sixty models to '
      'thirteen prompts. Accuracy gained on the same choices, in points; over '
      'people and prompts. Every person, pair and prompt is new once in three '
      'folds. A smallest detectable gain is found in 80 of 100 repetitions '
      'with other people and prompts.',
      {
        'features': ('text', 'set'),
        'method': ('word', 'method'),
        'less': ('text', 'baseline'),
        'by': ('word', 'baseline_method'),
        'asked': ('word', 'split'),
        'gain': ('points', 'gain'),
        'smallest detectable': ('points', 'smallest_detectable_gain'),
        'people': ('count', 'people'),
        'prompts': ('count', 'units'),
        'choices': ('count', 'pairs'),
      },
    ),
    'real_accuracy': tables.Spec(
      'Real people: how often the right one of two is told',
      'Over people and prompts.',
      {
        'features': ('text', 'set'),
        'method': ('word', 'method'),
        'asked': ('word', 'split'),
        'accuracy': ('points', 'accuracy'),
        'people': ('count', 'people'),
        'choices': ('count', 'pairs'),
      },
    ),
    'training': tables.Spec(
      'What training came to',
      'Nats a judgement of held-out training prompts. The frozen head trains '
      'base rewards and people alone. CPU seconds with validation, on one '
      'thread; tokens with those of validation, once each.',
      {
        'trained': ('text', 'set'),
        'seed': ('count', 'seed'),
        'before': ('number', 'before'),
        'at best': ('number', 'best'),
        'steps': ('count', 'steps'),
        'kept after': ('count', 'kept_step'),
        'tokens': ('count', 'tokens'),
        'CPU seconds': ('number', 'cpu_seconds'),
      },
    ),
  },
  sections=_sections,
  picture=_picture,
)
