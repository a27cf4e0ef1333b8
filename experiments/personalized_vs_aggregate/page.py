"""The page of the main study: tables of the simulated truth, and choices."""

from prm_jax.report import page, tables

PAGE = page.Page(
  specs={
    'ceilings': tables.Spec(
      'What a rule for everyone can reach',
      'Best accuracy of rules that ignore who is asked, from the simulated '
      'truth: linear in the true attributes, and any rule of a pair.',
      {
        'data': ('word', 'data'),
        'features': ('word', 'features'),
        'seed': ('count', 'seed'),
        'people asked': ('word', 'split'),
        'linear': ('points', 'linear_ceiling'),
        'any': ('points', 'pairwise_ceiling'),
      },
    ),
    'decodability': tables.Spec(
      'What text features carry',
      "Correlation of each attribute's true level with its reading by ridge.",
      {
        'data': ('word', 'data'),
        'seed': ('count', 'seed'),
        'attribute': ('word', 'attribute'),
        'new prompts': ('number', 'correlation_new_prompts'),
        'new words too': ('number', 'correlation_new_lexicon'),
      },
    ),
    'choices': tables.Spec(
      'What searches chose, and what they cost',
      'Chosen by the likelihood of validation rows inside the training rows.',
      {
        'data': ('word', 'data'),
        'features': ('word', 'features'),
        'fold': ('text', 'fold'),
        'seed': ('text', 'seed'),
        'method': ('word', 'method'),
        'tried': ('count', 'configurations'),
        'choice': ('text', 'choice'),
        'search, s': ('text', 'search_seconds'),
        'fit, s': ('text', 'fit_seconds'),
        'active units': ('percent', 'active_units'),
        'divergence, nats': ('text', 'kl_nats'),
      },
    ),
  }
)
