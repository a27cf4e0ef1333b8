"""Reward models that reason before they score.

Variants: `smoke` (seconds: one seed of a few steps), `study` (the default:
the worlds, five seeds, under two hours on two cores), `real` (SmolLM2-135M on
real texts, about two hours on two cores), and `real_qwen` and `real_llama`,
the same with a model of 7 to 8 billion parameters in `real.model`, a folder
in Hugging Face's layout.
"""

from ml_collections import config_dict

PARTS = (
  'judges',
  'votes',
  'twice',
  'training',
  'criteria',
  'stances',
  'injections',
  'tournaments',
  'as_reward',
)
# In memory float32 weights of 30.5 GB (Qwen2.5-7B) or 32.1 GB (Llama 3), and
# 22 or 24 GB more, the lower layers, while states are computed; on disk 7 or 8
# kB of states a token, 17 or 20 GB of 2.4 million tokens. Llama 3.1's scaled
# rotation is not what the decoder computes: the same sizes, as Llama 3 has it.
LARGE = {
  'real_qwen': {
    'vocab_size': 152064,
    'hidden_size': 3584,
    'intermediate_size': 18944,
    'num_hidden_layers': 28,
    'num_attention_heads': 28,
    'num_key_value_heads': 4,
    'head_dim': 128,
    'rope_theta': 1e6,
    'rms_norm_eps': 1e-6,
    'tie_word_embeddings': False,
    'attention_bias': True,
    'max_position_embeddings': 32768,
  },
  'real_llama': {
    'vocab_size': 128256,
    'hidden_size': 4096,
    'intermediate_size': 14336,
    'num_hidden_layers': 32,
    'num_attention_heads': 32,
    'num_key_value_heads': 8,
    'head_dim': 128,
    'rope_theta': 5e5,
    'tie_word_embeddings': False,
    'max_position_embeddings': 8192,
  },
}
_VARIANTS = ('smoke', 'study', 'real', *LARGE)

_JUDGE = {
  'hidden_size': 64,
  'intermediate_size': 172,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 4,
  'head_dim': 16,
  'query_key_norm': True,
  'embedding_std': 0.7,
}
_DISTILLATION = {
  'steps': 600,
  'batch': 48,
  'rate': 3e-3,
  'warm_up': 50,
  'gap': 30,
  'every': 10,
  'aim': 0.75,
}

# Judges that write nothing: fields of `scalars.Kind`. The two other helps are
# given on top of labels of steps.
_SCALARS = {
  'scalar': {},
  'scalar_process': {'process': True},
  'scalar_pauses': {'process': True, 'pauses': 16},
  'scalar_six_layers': {'process': True, 'layers': 6},
}

_GRPO = {'kind': 'grpo', 'samples': 8, 'rate': 5e-4, 'steps': 120}
_REJECTIVE = {
  'kind': 'rejective',
  'samples': 4,
  'batch': 48,
  'optimizer': 'muon',
  'rate': 1e-3,
  'steps': 200,
}


def _method(node: dict, **method) -> dict:
  """Returns a method's node: options of its kind, and `training.Method`."""
  return {**node, 'method': method}


_TRAINING = {
  'grpo': _method(_GRPO, rows=16),
  'grpo_ordered': _method(_GRPO, rows=16, twos=True, reward='ordered'),
  'grpo_pairs': _method(_GRPO, start='pairs', rows=16, twos=True),
  'grpo_consistent': _method(
    _GRPO, start='pairs', rows=16, twos=True, reward='consistent'
  ),
  'rejective': _method(_REJECTIVE, problems=1536),
  'rejective_nothing': _method(
    {**_REJECTIVE, 'solved': True}, problems=1536, reward='none'
  ),
  'rejective_unhinted': _method(_REJECTIVE, start='hinted', problems=1536),
  'rejective_hinted': _method(
    _REJECTIVE, start='hinted', problems=1536, hints=True
  ),
}

# Judges that are told a person's stance: fields of `stances.Kind`.
_STANCES = {
  'agreeing': {'agreed': 0.3},
  'mostly_agreeing': {'agreed': 0.7},
  'untold': {'agreed': 0.3, 'told': False},
  'truthful': {'agreed': 0.0},
  'agreeing_unreasoned': {'agreed': 0.3, 'writes': False},
}

# A policy of arithmetic and its judges, all of the sizes of `judge`.
_AS_REWARD = {
  'methods': (
    'verifier',
    'judge',
    'judge_filtered',
    'meta_alone',
    'scalar_judge',
  ),
  'classes': ('easy', 'medium', 'medium_last', 'hard'),
  # Of every class.
  'problems': {
    'pool': 256,
    'taught': 4096,
    'meta': 1024,
    'chosen': 64,
    'described': 128,
    'tested': 128,
  },
  'start': {'steps': 1000, 'batch': 96, 'rate': 3e-3, 'warm_up': 50, 'gap': 0},
  'judge': {
    'steps': 300,
    'batch': 64,
    'rate': 3e-3,
    'warm_up': 20,
    'gap': 0,
    'every': 10,
    'aim': 0.75,
  },
  'meta': {'texts': 2, 'rate': 1e-3, 'steps': 1500, 'batch': 64},
  'scalar': {'rate': 5e-4, 'steps': 6000, 'batch': 64},
  'texts': 4,
  # Of GRPO.
  'samples': 8,
  'batch': 32,
  'rate': 1e-3,
  'steps': 200,
  'every': 20,
}


def _real() -> dict:
  """Returns what judges of real texts are; of the variants `real` alone."""
  return {
    'model': '',  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
    'sizes': {},  # that it has to have; none if empty
    'template': 'chatml',
    'data_dir': '',  # the environment variable PRM_DATA_DIR if empty
    'data': ('llmbar', 'bigbench_mistake', 'llmfao'),
    'heads': ('scalar', 'discriminative', 'generative'),
    'cut': 256,  # tokens of a question, and of an answer
    'most': {
      'outside': 150,  # pairs of other sets in LLMBar, to train on
      'chains': 150,  # of a task
      'pairs': 500,  # of llmfao
      'styled': 60,  # prompts of RM-Bench
    },
    'folds': 3,
    'validation': 5,  # one in so many rows that are not tested chooses
    'top': 4,
    'rank': 8,
    'dtype': 'float32',
    'keep': 2**32,  # bytes of the states of one set's texts
    'tokens': 4096,  # read at once
    'ridges': (1e-3, 1e-2, 1e-1, 1.0),
    'rates': (3e-4, 3e-3),
    'head_rate': 1e-4,
    'steps': 32,
    'looks': 2,
    'examined': 64,  # validation examples at a look
    'batch': 8,
    'written': {'rows': 40, 'tokens': 128, 'batch': 16},
  }


def get_config(variant: str = 'study') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study, config.seeds = 'reasoning_rewards', (0, 1, 2, 3, 4)
  config.parts = PARTS
  config.problems = {
    'lengths': (1, 2, 3, 4),
    'beyond': (6, 8),
    'pool': 16384,
    'validation': 100,
    'tested': 200,
  }
  config.judge, config.distillation = _JUDGE, _DISTILLATION
  config.scalars = {
    'kinds': _SCALARS,
    # Rates and batches, in pairs, that are searched.
    'settings': ((5e-4, 48), (1e-3, 24), (1e-3, 48), (2e-3, 48), (3e-3, 48)),
    'search': {'seed': 100, 'steps': 1500},
    'steps': 6000,
    'looks': 12,
    'known': 3200,  # training pairs that are examined at every look
    'examined': 4000,  # hidden pairs of a length, before and after a third
  }
  config.votes = {
    'pairs': 50,  # of every length and class
    'texts': 32,
    'counts': (1, 2, 4, 8, 16, 32),
    'texts_of_twice': 4,
    'meta': {
      'prompts': 1536,
      'texts': 4,
      'rate': 1e-3,
      'steps': 300,
      'batch': 64,
    },
  }
  config.training = {'methods': _TRAINING, 'windows': 6, 'tested': 100}
  config.criteria = {
    'pool': 16384,
    'tested': 400,
    'untold': 0.2,  # share of training without a criterion
    'steps': 1200,
  }
  config.stances = {
    'judges': _STANCES,
    'tested': 50,  # pairs of every length and class
    'silent': 0.2,  # share of people whose stance is not known
    'steps': 400,
  }
  config.injections = {'tested': 100}
  config.tournaments = {
    'repetitions': 200,
    'sizes': (8, 16),
    'judges': {
      'logistic': {'slope': 1.5},
      'sharp': {'slope': 4.0},
      'flat': {'error': 0.2},
    },
    'biased': 'logistic',
    'bias': 1.0,
  }
  config.as_reward = _AS_REWARD
  config.real = _real()
  if variant.startswith('real'):
    _on_real(config, variant)
  if variant == 'smoke':
    _shrink(config)
  return config


def _on_real(config: config_dict.ConfigDict, variant: str) -> None:
  """Leaves real texts alone, for a model of 7 or 8 billion parameters too."""
  config.seeds, config.parts = (0,), ('real',)
  if variant in LARGE:
    config.real.sizes = LARGE[variant]
    config.real.update(dtype='bfloat16', keep=2**35, tokens=32768)
    config.real.rates = (3e-5, 3e-4)
  if variant == 'real_llama':
    config.real.template = 'llama3'


def _shrink(config: config_dict.ConfigDict) -> None:
  """Makes the study a few steps of everything."""
  config.seeds, config.parts = (0,), ('judges', 'votes')
  config.problems.update(pool=32, validation=4, tested=8, beyond=())
  config.judge.update(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
  )
  config.distillation.update(steps=4, warm_up=1, batch=4, every=2)
  config.scalars.kinds = {'scalar': {}}
  config.scalars.update(settings=((3e-3, 4),), steps=4, looks=2, examined=4)
  config.scalars.search.steps = 2
  config.votes.update(pairs=2, texts=4, counts=(1, 4), texts_of_twice=1)
  config.votes.meta.update(prompts=8, texts=2, steps=2, batch=4)
  config.training.methods = {
    'grpo': _method({**_GRPO, 'steps': 2}, rows=4, twos=True)
  }
  config.training.update(windows=2, tested=4)
  config.criteria.update(pool=16, tested=16, steps=2)
  config.stances.update(tested=4, steps=2)
  config.injections.tested = 2
  config.tournaments.update(repetitions=4, sizes=(4,))
  config.as_reward.update(methods=('judge_filtered', 'meta_alone'))
  config.as_reward.update(samples=2, batch=2)
  config.as_reward.update(steps=2, every=1, texts=2)
  config.as_reward.problems = dict.fromkeys(config.as_reward.problems, 2)
  for name in ('start', 'judge', 'meta', 'scalar'):
    config.as_reward[name].update(steps=3, batch=4)
  config.as_reward.judge.every = 1
