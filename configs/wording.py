"""Does a decoder's frozen reading carry taste to new words? The configurations.

--config=configs/wording.py:smoke   seconds, with --config.language.model=FOLDER
--config=configs/wording.py:full    SmolLM2-135M (4-bit), three seeds
--config=configs/wording.py:whole   whole answers beside, one seed, a fifth of
                                    the texts and half of the people

--config=configs/wording.py:real    real people, LLMFAO: frozen features alone

In the others, the two highest layers of one frozen reading are trained, too.
"""

from ml_collections import config_dict

from configs import personalized_vs_aggregate as main_study

VARIANTS = ('smoke', 'full', 'whole', 'real')
BASELINE = 'sentences'  # of the encoder
# Fixed before new words are looked at: a search inside the training rows, even
# over held-out templates, prefers the encoder. The layers are those of a trial
# on seed 0, .53 and .87 of 30; seeds 1 and 2 have other people and texts.
LOWER, UPPER = 16, 26
# What has to be shown, as shares of the oracle.
BARS = {
  **{'new_lexicon': 0.68, 'new_topics': 0.84, 'gain': 0.10, 'low': 0.05},
  'adapted': 0.03,
}
# What trains, as in a trial on seed 0; no rate is searched.
KERNELS = ('query', 'key', 'value', 'output', 'gate', 'up', 'down')
PLAN = {
  **{'form': 'lora', 'layers': 2, 'rank': 16, 'trunk_rate': 1.5e-3},
  **{'head_rate': 3e-3, 'people_rate': 3e-3},
  **{'batch': 8, 'epochs': 6, 'patience': 2},  # a batch is of prompts
}


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the configuration of a variant, as plain data."""
  if variant not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {VARIANTS}')
  if variant == 'real':
    return _real().lock()
  smoke = variant == 'smoke'
  config = main_study.world('smoke' if smoke else 'full')
  config.study, config.variant = 'wording', variant
  config.seeds = (0, 1, 2) if variant == 'full' else (0,)
  config.bootstrap = 20 if smoke else 300  # draws of marker templates
  # A folder in Hugging Face's layout, or a .gguf file; SmolLM2-135M-Instruct
  # if empty.
  config.language = {'model': ''}
  components = 16 if smoke else 512
  lower, upper = (1, 2) if smoke else (LOWER, UPPER)
  encoder = main_study.text_features(
    (3, 5, 6), components, unit='sentence', whiten=False
  )

  def read(token: str, *layers: int, unit: str = 'sentence') -> dict:
    return {**encoder, 'unit': unit, 'token': token, 'layers': layers}

  more = {
    'last_upper': read('last', upper),
    'last_both': read('last', lower, upper),
    'mean_upper': read('mean', upper),
  }
  if variant == 'whole':  # fourteen times as many tokens a text
    more['whole_both'] = read('last', lower, upper, unit='text')
    more['whole_upper'] = read('last', upper, unit='text')
    del more['last_upper'], more['mean_upper']
    config.attributes.update(people=200, answers=300)
    config.attributes.update(responses_per_prompt=6, held_out_responses=6)
  config.attributes.features = {BASELINE: encoder, **more}
  # Its layers train, and what comes of it is read beside another set, too.
  config.adapting = {
    'frozen': 'whole_upper' if variant == 'whole' else 'last_upper',
    'beside': 'whole_both' if variant == 'whole' else 'last_both',
    'kernels': KERNELS,
    'plan': {**PLAN, **({'layers': 1, 'epochs': 1} if smoke else {})},
  }
  steps = 3 if smoke else 200
  config.methods = {
    'aggregate': {'kind': 'aggregate'},
    'pref': {'kind': 'pref', 'steps': steps},
  }
  # Within a feature set alone: every one has the same two configurations.
  config.search = {
    'people': 100,
    'aggregate': {'ridge': (10.0, 100.0)},
    'pref': {'dim': (8,), 'basis_ridge': (30.0, 300.0)},
  }
  config.bars = BARS
  return config.lock()


def _real() -> config_dict.ConfigDict:
  """Returns the configuration for real people, of whom no truth is known."""
  encoder = main_study.text_features(
    (3, 5, 6), 128, unit='sentence', whiten=False
  )

  def read(*layers: int) -> dict:
    return {**encoder, 'token': 'last', 'layers': layers}

  return config_dict.ConfigDict(
    {
      'study': 'wording',
      'variant': 'real',
      'seeds': (0,),
      'data': {'dir': ''},
      'language': {'model': ''},
      'features': {
        BASELINE: encoder,
        'last_upper': read(UPPER),
        'last_both': read(LOWER, UPPER),
      },
      'methods': {
        'aggregate': {'kind': 'aggregate'},
        'pref': {'kind': 'pref', 'dim': 4, 'steps': 200},
      },
      'search': {
        'aggregate': {'ridge': (10.0, 100.0, 1000.0, 10000.0)},
        'pref': {'ridge': (100.0, 1000.0), 'basis_ridge': (300.0, 3000.0)},
      },
    }
  )
