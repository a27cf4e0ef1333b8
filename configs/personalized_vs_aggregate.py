"""Do personal reward models beat one model for everyone? The configurations.

--config=configs/personalized_vs_aggregate.py:smoke   seconds
--config=configs/personalized_vs_aggregate.py:demo    attributes, 200 people
--config=configs/personalized_vs_aggregate.py:full    all data, three seeds
--config=configs/personalized_vs_aggregate.py:personalizers
                                every method on the same features, one seed
--config=configs/personalized_vs_aggregate.py:backbone
                                a language model in --config.language.model
--config=configs/personalized_vs_aggregate.py:decoder
                                states of a decoder's last tokens beside the
                                encoder's means; SmolLM2-135M, or that model
"""

from ml_collections import config_dict

VARIANTS = (*('smoke', 'demo', 'full', 'personalizers', 'backbone', 'decoder'),)
DATA = {
  'full': (
    'attributes_gaussian',
    'attributes_two_attribute',
    'jester',
    'jester_new_jokes',
    'ukp_convarg',
  ),
  'personalizers': (
    'alpaca_eval',
    'attributes_gaussian',
    'jester',
    'ukp_convarg',
  ),
}


def get_config(variant: str = 'demo') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  config = world(variant)
  config.study = 'personalized_vs_aggregate'
  config.variant = variant
  config.data.names = DATA.get(
    variant, ('attributes_gaussian', 'attributes_two_attribute')
  )
  config.seeds = (0, 1, 2) if variant == 'full' else (0,)
  config.answers = (0, 1, 2, 5, 10, 20, 50)  # of a new person, nested
  config.panel_answers = 50  # a new person of the panel has at least as many
  config.bootstrap = 1000
  config.ukp_convarg = ukp_convarg()
  config.methods = methods(variant)
  if variant == 'personalizers':
    every_method(config)
  # Of the variant `backbone`: a folder in Hugging Face's layout, and what is
  # not as `Options` of `prm_jax.lab.told` and `.remembered` have it.
  config.language = {'model': '', 'options': {}}
  if variant == 'backbone':
    with_a_language_model(config)
  if variant == 'decoder':
    read_by_a_decoder(config)
  return config.lock()


def with_a_language_model(config: config_dict.ConfigDict) -> None:
  """Gives methods what a frozen language model reads, and people in words.

  No search is between its features and the encoder's: it would choose what
  fits the trained wording. PReF stands on both.
  """
  config.data.names = ('attributes_gaussian',)
  steps = 200
  config.language.options = {'steps': steps}
  node = config.attributes
  node.features.backbone = {
    'unit': 'backbone',
    'layers': (),
    'components': 512,
    'whiten': False,
    'length': True,
  }
  beside_the_encoder(config, 'backbone')
  known = ('backbone',)
  node.search.update(
    {
      'plus': grid(('language model',), steps=(steps // 4, steps)),
      'recalled_events': grid(known, events=(2, 4), rate=(0.0,)),
      'personal_adapters': grid(known, events=(0,), rate=(3e-3, 1e-2)),
      'adapters_and_events': grid(known, events=(4,), rate=(3e-3, 1e-2)),
    }
  )
  config.methods.update(
    {
      'plus': {'kind': 'plus'},
      'recalled_events': {'kind': 'recalled_events'},
      'personal_adapters': {'kind': 'personal_adapters'},
      'adapters_and_events': {'kind': 'adapters_and_events'},
    }
  )


def read_by_a_decoder(config: config_dict.ConfigDict) -> None:
  """Gives methods the states of a decoder's last tokens, sentence by sentence.

  Unit, token and layers stand here and in no search, which would choose the
  encoder; see experiments/wording. PReF stands on both.
  """
  config.data.names = ('attributes_gaussian',)
  node = config.attributes
  node.features.states = {
    **node.features.sentences.to_dict(),
    'token': 'last',
    'layers': (),  # `token_states.DEPTHS` of all; 16 and 26 of SmolLM2's
  }
  beside_the_encoder(config, 'states')


def beside_the_encoder(config: config_dict.ConfigDict, name: str) -> None:
  """Has methods read one feature set, and PReF the encoder's, too."""
  known, encoder = (name,), ('sentences',)
  config.attributes.search = {
    'people': 100,
    'aggregate': grid(known, ridge=(10.0, 100.0)),
    'pref': grid(known, dim=(8,), basis_ridge=(30.0, 300.0)),
    'pref_encoder': grid(encoder, dim=(8,), basis_ridge=(30.0, 300.0)),
    'lore': grid(known, dim=(8,), basis_ridge=(1.0, 10.0)),
  }
  own = config.methods
  config.methods = {
    'aggregate': own.aggregate,
    'pref': own.pref,
    'pref_encoder': own.pref,
    'lore': own.lore,
  }


def world(variant: str) -> config_dict.ConfigDict:
  """Returns where data come from and how their people are split."""
  config = config_dict.ConfigDict()
  # People are dealt into this many parts; part `seed` is the new people, so
  # that three seeds hold everybody out once.
  config.people_parts = 3
  # dir: of the real data; PRM_DATA_DIR if empty
  config.data = config_dict.ConfigDict({'dir': '', 'names': ()})
  config.attributes = attributes(variant)
  config.jester = jester()
  return config


def methods(variant: str) -> config_dict.ConfigDict:
  """Returns what every method is built with; searches are by data set."""
  steps = 20 if variant == 'smoke' else 200
  found = {
    'aggregate': {'kind': 'aggregate'},
    'aggregate_mlp': {'kind': 'aggregate_mlp', 'steps': steps},
    'pref': {'kind': 'pref', 'steps': steps},
    'lore': {'kind': 'lore', 'steps': steps},
    'hierarchical': {'kind': 'hierarchical'},
  }
  if variant == 'smoke':
    found['vpl'] = {'kind': 'vpl', 'steps': 5, 'kl_weight': 1e-4}
  if variant == 'personalizers':
    episodes = 600
    found |= {
      'rfm': {'kind': 'rfm', 'steps': steps},
      'mrm': {
        'kind': 'mrm',
        'steps': episodes,
        'dim': 8,
        'inner_steps': 3,
        'rate': 3.0,
        'spread': 1.0,
        'learning_rate': 0.01,
      },
      'pal_a': {'kind': 'pal', 'steps': steps, 'dim': 4},
      'pal_b': {'kind': 'pal', 'steps': steps, 'dim': 4, 'prompt_features': 16},
      'vpl': {'kind': 'vpl', 'steps': episodes, 'kl_weight': 1e-4},
      'vpl_collapsed': {'kind': 'vpl', 'steps': episodes, 'kl_weight': 1.0},
      'spl': {'kind': 'spl', 'steps': episodes, 'kl_weight': 1e-4},
      'gpo': {'kind': 'gpo', 'steps': episodes},
      'in_context': {'kind': 'in_context', 'steps': episodes},
      'episodic': {'kind': 'episodic', 'steps': episodes},
      'pep': {'kind': 'pep'},
      'vrf': {'kind': 'vrf', 'steps': episodes},
    }
  return config_dict.ConfigDict(found)


def every_method(config: config_dict.ConfigDict) -> None:
  """Gives every method one feature set and two configurations a data set.

  PAL-B alone also sees the prompt, which is its point.
  """
  config.seeds = (0,)
  config.alpaca_eval = alpaca_eval()
  nodes = {
    'alpaca_eval': ('sentences', (30.0, 300.0), (30.0, 300.0)),
    'attributes': ('sentences', (100.0, 1000.0), (100.0, 300.0)),
    'jester': ('identity', (1.0, 10.0), (1.0, 10.0)),
    'ukp_convarg': ('middle', (100.0, 300.0), (300.0, 3000.0)),
  }
  config.ukp_convarg.folds_run = 1
  for name, (features, ridge, basis) in nodes.items():
    node = config[name]
    with node.unlocked():
      known = dict(node.features[features])
      if known['unit'] != 'identity':
        node.features['with_prompt'] = {**known, 'prompt_components': 16}
      node.search = same_features(features, ridge, basis, name)


def same_features(
  features: str,
  ridge: tuple[float, float],
  basis_ridge: tuple[float, float],
  name: str,
) -> dict:
  """Returns two configurations of every method on one feature set.

  Args:
    features: of every method.
    ridge: of the aggregates.
    basis_ridge: of the personal bases; the networks' `decay` takes its place
      in methods that have no such basis.
    name: of the data set.
  """
  wide = 'with_prompt'
  own = {'basis_ridge': (basis_ridge[0],), 'decay': (0.1, 1.0)}
  if name == 'alpaca_eval':  # there the larger ridge is what helps
    own = {'basis_ridge': basis_ridge, 'decay': (1.0,)}
  found = {
    'people': {'jester': 400, 'ukp_convarg': 10_000}.get(name, 100),
    'aggregate': grid((features,), ridge=ridge),
    'aggregate_mlp': grid((features,), ridge=basis_ridge),
    'pref': grid((features,), dim=(8,), basis_ridge=basis_ridge),
    'lore': grid((features,), dim=(8,), basis_ridge=(1.0, 10.0)),
    'rfm': grid((features,), decay=basis_ridge),
    'mrm': grid((features,), decay=(1.0, 10.0)),
    'pal_a': grid((features,), decay=basis_ridge),
    'vpl': grid((features,), **own),
    'spl': grid((features,), **own),
    'gpo': grid((features,), **own),
    'in_context': grid((features,), **own),
    'episodic': grid((features,), **own),
    'pep': grid((features,), dim=(8,), basis_ridge=basis_ridge),
    'vrf': grid((features,), **own),
  }
  if name != 'jester':  # its texts answer one prompt
    found['pal_b'] = grid((wide,), decay=basis_ridge)
  if name == 'alpaca_eval':
    found['vpl_collapsed'] = grid((features,), **own)
  if name == 'ukp_convarg':
    found['lore'] = grid(
      (features,), dim=(4,), strength=(10.0,), basis_ridge=(100.0, 1e3)
    )
    found['pref'] = grid((features,), dim=(3,), basis_ridge=basis_ridge)
    found['pep'] = found['pref']
    found['hierarchical'] = grid(
      (features,), ridge=(300.0,), spread=(0.02, 0.05)
    )
  return found


def alpaca_eval() -> config_dict.ConfigDict:
  """Returns simulated people who judge real responses."""
  return config_dict.ConfigDict(
    {
      'people': 300,
      'answers': 300,
      'prompt_parts': 6,
      'features': {
        'sentences': {
          **text_features((3, 5, 6), 256, unit='sentence_log', whiten=False),
          'length': False,  # the encoder alone
        }
      },
    }
  )


def attributes(variant: str) -> config_dict.ConfigDict:
  """Returns the simulated people: sizes, features and search grids."""
  smoke = variant == 'smoke'
  people, answers = {'smoke': (24, 60), 'demo': (200, 300)}.get(
    variant, (400, 400)
  )
  text = ('sentences', 'sentences_whitened', 'final')
  read = grid(text, decay=(1.0, 10.0))
  pref = grid(text, dim=(8,), basis_ridge=(30.0, 300.0))
  return config_dict.ConfigDict(
    {
      'people': people,
      'answers': answers,
      'held_out_answers': 20 if smoke else 60,
      'responses_per_prompt': 4 if smoke else 32,
      'held_out_responses': 4 if smoke else 12,
      'features': {
        'sentences': text_features(
          (3, 5, 6), 32 if smoke else 512, unit='sentence', whiten=False
        ),
        'sentences_whitened': text_features(
          (3, 5, 6), 32 if smoke else 256, unit='sentence'
        ),
        'final': text_features((6,), 32 if smoke else 256, whiten=False),
      },
      # Every method has the same number of configurations.
      'search': {
        'people': 100,
        'aggregate': grid(text, ridge=(10.0, 100.0)),
        'aggregate_mlp': grid(text, ridge=(30.0, 300.0)),
        'pref': pref,
        'lore': grid(text, dim=(8,), basis_ridge=(1.0, 10.0)),
        **({'vpl': read} if smoke else {}),
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
  text = text_features((1, 3, 5), 20)
  return config_dict.ConfigDict(
    {
      'min_gap': 1.0,
      'scale': 4.0,  # of a rating gap in the training labels, in logits
      'pairs_per_person': 200,
      'features': {'identity': {'unit': 'identity'}, 'text': text},
      'search': {
        'people': 400,
        'aggregate': grid(('identity',), ridge=(1.0, 10.0, 100.0, 1000.0)),
        'pref': grid(('identity',), dim=(5, 9), basis_ridge=(1.0, 10.0)),
        'lore': grid(('identity',), dim=(5, 9), basis_ridge=(0.3, 3.0)),
      },
      'search_new_jokes': {
        'people': 400,
        'aggregate': grid(('text',), ridge=(10.0, 100.0, 1000.0, 1e4)),
        'pref': grid(('text',), dim=(5,), basis_ridge=(10.0, 100.0, 1e3, 1e4)),
        'lore': grid(('text',), dim=(5,), basis_ridge=(10.0, 100.0, 1e3, 1e4)),
      },
    }
  )


def ukp_convarg() -> config_dict.ConfigDict:
  """Returns the convincing arguments: folds, features and search grids."""
  features = {
    'final': text_features((6,), 48),
    'upper': text_features((3, 5, 6), 48),
    'middle': text_features((1, 3, 5), 48),
    'middle_wide': text_features((1, 3, 5), 192, whiten=False),
  }
  return config_dict.ConfigDict(
    {
      'folds': 7,
      'features': features,
      'search': {
        'people': 10_000,
        'aggregate': grid(tuple(features), ridge=(300.0,)),
        'aggregate_mlp': grid(tuple(features), ridge=(300.0,)),
        'pref': grid(('middle',), dim=(2, 3), basis_ridge=(300.0, 3000.0)),
        'lore': grid(
          ('middle',), dim=(4,), strength=(3.0, 10.0), basis_ridge=(100.0, 1e3)
        ),
        'hierarchical': grid(
          ('middle',), ridge=(300.0,), spread=(0.01, 0.02, 0.05, 0.1)
        ),
      },
    }
  )


def text_features(
  layers: tuple[int, ...],
  components: int,
  *,
  unit: str = 'text',
  whiten: bool = True,
) -> dict:
  """Returns a feature set: components of an encoder's layers, and length."""
  return {
    'unit': unit,
    'layers': layers,
    'components': components,
    'whiten': whiten,
    'length': True,
  }


def grid(features: tuple[str, ...], **choices) -> tuple[dict, ...]:
  """Returns every combination of feature set and choices."""
  rows: list[dict] = [{'features': name} for name in features]
  for name, values in choices.items():
    rows = [{**row, name: value} for row in rows for value in values]
  return tuple(rows)
