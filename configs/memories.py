"""Which findings on memories of people hold in which world.

Variants: `smoke` (seconds: one seed of a few steps), `study` (the default:
five seeds, five worlds, under two hours on two cores), `real` (real people on
frozen features, minutes), `smollm2` (SmolLM2-135M told of real people, with an
adapter of each), and `qwen` and `llama`, the same with a model of 7 to 8
billion parameters in `language.model`, a folder in Hugging Face's layout.
"""

from ml_collections import config_dict

from configs import reasoning_rewards

# In memory, float32: weights of .54 GB (SmolLM2-135M), 30.5 GB (Qwen2.5-7B) or
# 32.1 GB (Llama 3); 1.5, 12.6 or 12.8 MB an adapter of rank 2, three times that
# more while it trains; 4.0, 12.5 or 10.5 GB of scores of a step of 8 people.
LARGE = {
  'qwen': reasoning_rewards.LARGE['real_qwen'],
  'llama': reasoning_rewards.LARGE['real_llama'],
}
_VARIANTS = ('smoke', 'study', 'real', 'smollm2', *LARGE)
PARTS = ('signs', 'lengths', 'planted', 'stances')
# Memories that are examined for what is planted alone: serving costs more.
_NOT_SERVED = ('events_similarity_then_recency', 'events_most_complex')


def get_config(variant: str = 'study') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study, config.seeds = 'memories', (0, 1, 2, 3, 4)
  config.parts = PARTS
  # The world's four switches; see `personal_histories.Setting`.
  config.worlds = {
    'drift': {'drift': 0.06},
    'topics': {'topical': 0.6},
    'stationary': {},
    'choices': {'authored': False},
    'short': {'events': 8},
  }
  config.signs = {
    'worlds': ('drift', 'topics', 'stationary', 'choices', 'short')
  }
  # Blocks of people that are trained and asked at once; one more validates.
  config.people = {'block': 52, 'blocks': 4, 'queries': 16}
  config.decoder = {}  # sizes other than `memory_rows.SIZES`
  config.base = {'steps': 2000, 'batch': 48, 'rate': 3e-3, 'topical': 0.3}
  config.adapter = {'rank': 2, 'steps': 40, 'batch': 8}
  # On validation people: a rate of each objective, a beta where it has one.
  config.search = {
    'rates': (1e-3, 3e-3, 1e-2, 3e-2),
    'betas': {'dpo': (0.03, 0.1, 0.3), 'simpo': (0.5, 2.0, 8.0)},
    'margin': 0.5,  # of beta
  }
  config.latest = 8  # events of the text of the latest
  # Traces of a person, and the share of events, the latest, that chooses.
  config.traces = {'number': 12, 'held_back': 0.25, 'batch': 4}
  config.lengths = {
    'worlds': ('drift', 'topics', 'stationary'),
    'events': (4, 8, 16, 32, 64, 128, 256),
    'nodes': (
      'nothing',
      'events_recency',
      'events_similarity',
      'text',
      'text_latest',
      'adapter_task',
      'dual_task',
    ),
  }
  _audit(config)
  if variant == 'smoke':
    _shrink(config)
  if variant not in ('smoke', 'study'):
    config.seeds, config.parts, config.real = (0,), ('real',), _real()
  if variant in ('smollm2', *LARGE):
    config.parts, config.language = ('language',), _language()
    config.language.sizes = LARGE.get(variant, {})
  return config.lock()


def _audit(config: config_dict.ConfigDict) -> None:
  """Adds what is planted in histories, and opinions that they say."""
  config.planted = {
    'worlds': ('stationary',),
    'nodes': (
      'events_recency',
      'events_similarity',
      'events_similarity_then_recency',
      'events_at_random',
      'events_most_complex',
      'text',
      'text_latest',
      'adapter_task',
      'adapter_dpo',
      'dual_task',
      'trace_selected',
    ),
  }
  config.stances = {
    'worlds': ('stationary',),
    'nodes': tuple(
      node for node in config.planted.nodes if node not in _NOT_SERVED
    ),
    'loving': 0.5,  # share of people who love agreement
    'love': 2.5,  # how much, in logits of a choice
    'questions': 8,
    'pool': 6,  # answers to each
    'accuracy': 0.8,  # of the detector of stances
    'divergence': 0.6,  # mean KL to the uniform choice, nats, of every memory
    # The loop: rounds, of which each serves some answers.
    'loop_nodes': ('events_recency', 'text', 'adapter_task', 'dual_task'),
    'loop_guards': ('none', 'matching'),
    'rounds': 6,
    'served': 4,
  }


# Of data sets: options of the source; events that are kept of a history, the
# latest; people of training, of validation, and new ones, and questions of
# each; folds of questions that are new in turn.
_CHOICES = {
  'llmfao': {
    'source': {'folds': 4, 'people_folds': 4},
    'events': 32,
    'people': (60, 30, 40),
    'pairs': 12,
    'folds_used': 4,
  },
  'jester': {
    'source': {'folds': 4, 'people_folds': 4, 'least': 50},
    'events': 48,
    'people': (100, 40, 80),
    'pairs': 12,
    'folds_used': 2,
  },
  'lewidi': {
    'source': {
      'folds': 4,
      'people_folds': 4,
      'least': 50,
      'subset': 'md_agreement',
    },
    'events': 32,
    'people': (40, 20, 30),
    'pairs': 12,
    'folds_used': 2,
  },
  'ukp_convarg': {
    'source': {'folds': 4, 'people_folds': 4},
    'events': 24,
    'people': (60, 30, 40),
    'pairs': 12,
    'folds_used': 4,
  },
}


def _real() -> dict:
  """Returns what is read of real people, of `real` alone."""
  return {
    'data_dir': '',  # the environment variable PRM_DATA_DIR if empty
    'encoder': '',  # all-MiniLM-L6-v2; or a folder
    'layer': 6,
    'dim': 64,  # coordinates of what stands to choose
    'ridges': (3e-3, 3e-2, 3e-1),
    'choices': _CHOICES,
    'preferences': {'stored': 30, 'folds': 5},
    'personas': {'stored': 30, 'conversations': 100},
  }


def _language() -> dict:
  """Returns what a language model is told; of variants that have one."""
  return {
    'model': '',  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
    'sizes': {},  # that it has to have; none if empty
    'data_dir': '',  # the environment variable PRM_DATA_DIR if empty
    # Of data sets: options of `history_sources.read`.
    'data': {
      'ukp_convarg': {'folds': 4, 'people_folds': 4},
      'llmfao': {'folds': 4, 'people_folds': 4},
    },
    'people': 48,
    'pairs': 8,
    'events': 16,  # that are kept, the latest
    'told': 4,
    'limits': {'event': 96, 'text': 160, 'response': 96},  # tokens
    'rank': 2,
    'steps': 20,
    'batch': 4,
    'rate': 1e-3,
    'beta': 0.1,
    'together': 8,  # people who train in one program
  }


def _shrink(config: config_dict.ConfigDict) -> None:
  """Makes the study a few steps of everything."""
  config.seeds = (0,)
  config.worlds = {'drift': {'drift': 0.06, 'events': 6}}
  config.signs.worlds = ('drift',)
  config.people.update(block=4, blocks=2, queries=3)
  config.decoder = {
    'hidden_size': 8,
    'intermediate_size': 8,
    'num_hidden_layers': 1,
    'num_attention_heads': 1,
    'num_key_value_heads': 1,
    'head_dim': 8,
  }
  config.base.update(steps=2, batch=4)
  config.adapter.update(rank=1, steps=2, batch=2)
  config.search.update(rates=(1e-3, 1e-2))
  config.search.betas = {'dpo': (0.1,), 'simpo': (2.0,)}
  config.traces.update(number=2, batch=2)
  config.lengths.update(worlds=('drift',), events=(4, 5))
  config.planted.worlds = config.stances.worlds = ('drift',)
  config.planted.nodes = ('events_recency', 'text', 'adapter_task')
  config.stances.nodes = config.planted.nodes
  config.stances.update(loop_nodes=('text',), questions=4, pool=3)
  config.stances.update(rounds=2, served=2)
