"""Do personal reward models beat one model for everyone? The configurations.

--config=configs/personalized_vs_aggregate.py:smoke   seconds
--config=configs/personalized_vs_aggregate.py:demo    attributes only
--config=configs/personalized_vs_aggregate.py:full    all data, three seeds
"""

from ml_collections import config_dict


def get_config(variant: str = 'demo') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in ('smoke', 'demo', 'full'):
    raise ValueError(f'unknown variant {variant!r}: smoke, demo or full')
  config = config_dict.ConfigDict()
  config.study = 'personalized_vs_aggregate'
  config.variant = variant
  config.seeds = (0, 1, 2) if variant == 'full' else (0,)
  config.answers = (0, 1, 2, 5, 10, 20, 50)  # of a new person, nested
  config.panel_answers = 50  # a new person of the panel has at least as many
  config.bootstrap = 1000
  # People are dealt into this many parts; part `seed` is the new people, so
  # that three seeds hold everybody out once.
  config.people_parts = 3
  config.data = config_dict.ConfigDict(
    {
      'dir': '',  # of the real data; PRM_DATA_DIR if empty
      'names': (
        'attributes_gaussian',
        'attributes_two_attribute',
        'jester',
        'jester_new_jokes',
        'ukp_convarg',
      )
      if variant == 'full'
      else ('attributes_gaussian', 'attributes_two_attribute'),
    }
  )
  config.attributes = attributes(variant)
  config.jester = jester()
  config.ukp_convarg = ukp_convarg()
  config.methods = methods(variant)
  return config.lock()


def methods(variant: str) -> config_dict.ConfigDict:
  """Returns what every method is built with; searches are by data set."""
  steps = 20 if variant == 'smoke' else 300
  return config_dict.ConfigDict(
    {
      'aggregate': {'kind': 'aggregate'},
      'aggregate_mlp': {'kind': 'aggregate_mlp', 'steps': steps},
      'pref': {'kind': 'pref', 'steps': steps},
      'lore': {'kind': 'lore', 'steps': steps},
      'hierarchical': {'kind': 'hierarchical'},
    }
  )


def attributes(variant: str) -> config_dict.ConfigDict:
  """Returns the simulated people: sizes, features and search grids."""
  smoke = variant == 'smoke'
  return config_dict.ConfigDict(
    {
      'people': 24 if smoke else 400,
      'answers': 60 if smoke else 400,
      'held_out_answers': 20 if smoke else 60,
      'responses_per_prompt': 4 if smoke else 32,
      'held_out_responses': 4 if smoke else 12,
      'features': {
        'sentences': {
          'unit': 'sentence',
          'layers': (3, 5, 6),
          'components': 32 if smoke else 256,
          'length': True,
        },
        'final': {
          'unit': 'text',
          'layers': (6,),
          'components': 32 if smoke else 256,
          'length': True,
        },
      },
      # Every method has the same number of configurations.
      'search': {
        'people': 100,
        'aggregate': grid(('sentences', 'final'), ridge=(10.0, 100.0, 1000.0)),
        'aggregate_mlp': grid(('sentences', 'final'), ridge=(3.0, 30.0, 300.0)),
        'pref': grid(
          ('sentences', 'final'), dim=(8,), basis_ridge=(10.0, 30.0, 100.0)
        ),
        'lore': grid(
          ('sentences', 'final'), dim=(8,), basis_ridge=(1.0, 3.0, 10.0)
        ),
      },
      # The true levels as features: is the learner right?
      'levels': {
        'people': 100,
        'aggregate': grid(('levels',), ridge=(1.0, 10.0, 100.0)),
        'pref': grid(('levels',), dim=(8,), basis_ridge=(0.3, 3.0, 30.0)),
        'lore': grid(('levels',), dim=(8,), basis_ridge=(0.1, 1.0, 10.0)),
      },
    }
  )


def jester() -> config_dict.ConfigDict:
  """Returns the joke ratings: pairs, features and search grids."""
  text = {
    'unit': 'text',
    'layers': (1, 3, 5),
    'components': 20,
    'length': True,
  }
  return config_dict.ConfigDict(
    {
      'min_gap': 1.0,
      'scale': 4.0,  # of a rating gap in the training labels, in logits
      'pairs_per_person': 200,
      'features': {'identity': {'unit': 'identity'}, 'text': text},
      'search': {
        'people': 800,
        'aggregate': grid(('identity',), ridge=(1.0, 10.0, 100.0, 1000.0)),
        'pref': grid(('identity',), dim=(5, 9), basis_ridge=(1.0, 10.0)),
        'lore': grid(('identity',), dim=(5, 9), basis_ridge=(0.3, 3.0)),
      },
      'search_new_jokes': {
        'people': 800,
        'aggregate': grid(('text',), ridge=(10.0, 100.0, 1000.0, 1e4)),
        'pref': grid(('text',), dim=(5,), basis_ridge=(10.0, 100.0, 1e3, 1e4)),
        'lore': grid(('text',), dim=(5,), basis_ridge=(10.0, 100.0, 1e3, 1e4)),
      },
    }
  )


def ukp_convarg() -> config_dict.ConfigDict:
  """Returns the convincing arguments: folds, features and search grids."""
  names = {
    'final': (6,),
    'upper': (3, 5, 6),
    'middle': (1, 3, 5),
  }
  features = {
    name: {'unit': 'text', 'layers': layers, 'components': 48, 'length': True}
    for name, layers in names.items()
  }
  return config_dict.ConfigDict(
    {
      'folds': 7,
      'features': features,
      'search': {
        'people': 10_000,
        'aggregate': grid(tuple(features), ridge=(30.0, 300.0)),
        'aggregate_mlp': grid(tuple(features), ridge=(100.0, 1000.0)),
        'pref': grid(('middle',), dim=(2, 3, 4), basis_ridge=(300.0, 3000.0)),
        'lore': grid(
          ('middle',),
          dim=(4,),
          strength=(3.0, 10.0),
          basis_ridge=(100.0, 300.0, 1000.0),
        ),
        'hierarchical': grid(
          ('middle',), ridge=(100.0, 300.0), spread=(0.01, 0.02, 0.05)
        ),
      },
    }
  )


def grid(features: tuple[str, ...], **choices) -> tuple[dict, ...]:
  """Returns every combination of feature set and choices."""
  rows: list[dict] = [{'features': name} for name in features]
  for name, values in choices.items():
    rows = [{**row, name: value} for row in rows for value in values]
  return tuple(rows)
