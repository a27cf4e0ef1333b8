"""Policy discriminators: can a reward tell who wrote an answer.

Variants: `smoke` (seconds; a random tiny decoder, no real data), `study` (two
cores, under two hours: frozen lower layers of SmolLM2 read texts once, a small
decoder compares them), `full` (one GPU: more prompts, all tokens, larger).
"""

from ml_collections import config_dict

# What the same weights are told, so that they write in other ways.
_SYSTEMS = (
  ('brief', 'Answer in as few words as possible.'),
  ('child', 'You explain everything to a child of five, with simple words.'),
  ('formal', 'You are a formal academic. Write long, precise sentences.'),
  ('lists', 'Always answer with a numbered list.'),
  ('pirate', 'You are a pirate and talk like one.'),
  (
    'excited',
    'You are wildly excited about everything! Use exclamation marks!',
  ),
  ('questions', 'Answer every question with further questions.'),
  ('story', 'Answer by telling a short story.'),
)
_ENUMERABLE = {
  'words': 2,
  'length': 10,
  'deviation': 1.0,  # of policies from their base, in logits
  'train': 1024,  # policies that the discriminator sees
  'validation': 6,  # targets on which everything is chosen
  'test': 8,  # targets that are reported
  'references': (1, 16),  # texts by which a target is known, rising
  'hidden': 32,
  'layers': 3,
  'rotary_base': 30.0,
  'steps': 800,  # of training, of every network
  'batch': 128,
  'pairs': 1,
  'fitted_pairs': 4,  # a step of `fitted`, whose data are few texts
  'learning_rate': 3e-3,
  'stops': (25, 100, 300, 800),  # at which `fitted` may stop; the last: steps
  # Inverse temperatures, the same for every reward.
  'betas': (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16),
  # Texts of the base that `likelihood` may add.
  'added': (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32),
  'tuning_steps': 300,  # of the policy gradient
  'tuning_rate': 0.05,
}
_SCALING = {
  'widths': (8, 16, 32, 64, 96),
  'seeds': (0,),
  'words': 4,
  'length': 16,
  'deviation': 1.5,
  'policies': 1024,
  'held_out': 256,
  'rotary_base': 100.0,
  'steps': 1000,
  'batch': 128,
  'pairs': 1,
  'learning_rate': 3e-3,
  'stops': (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
}


def get_config(variant: str = 'study') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in ('smoke', 'study', 'full'):
    raise ValueError(f'unknown variant {variant!r}: smoke, study or full')
  config = config_dict.ConfigDict()
  config.study = 'policy_discriminators'
  config.data = {'dir': ''}
  config.model = ''  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
  config.seed = 0
  config.seeds = (0, 1, 2, 3, 4)  # of the enumerable world
  config.real = True  # reads real data and SmolLM2
  config.folds = 3
  config.prompts = 100
  config.test_per_policy = 300
  # What the frozen layers make of a text: windows of `stride` tokens.
  config.reading = {'layers': 3, 'stride': 16, 'prompt': 64, 'length': 512}
  config.likeness = {  # the discriminator, fitted in closed form
    'dims': (8, 16, 24),
    'shrinkages': (0.1, 0.3, 0.6, 0.9),
    'states': (0.1, 0.3, 1.0),  # weight of hidden states, surface's being 1
    'steps': (200,),
    'per_policy': 300,
    'inner_folds': 2,
  }
  config.training = {  # the published form, a decoder from scratch
    'learner': {
      'kind': 'polar',
      'config': _sizes(128, 3),
      'embedded': True,
      'steps': 300,
      'learning_rate': 1e-3,
      'weight_decay': 0.01,
    },
    'batch': 64,
  }
  config.generated = {
    'seed': 0,
    'prompts': 24,
    'samples': 2,
    'tokens': 64,
    'batch': 48,
    'longest': 200,  # characters of a prompt
    'temperatures': (0.2, 0.6, 1.0, 1.5),
    'top_k': (5, 500),
    'systems': _SYSTEMS,
    'steered': ((15, 0.35, 6), (22, 0.5, 6)),  # layer, size, policies
    'adapted': ((0.13, 12),),  # size, policies
    'folds': 3,
  }
  config.ablation = {
    'prompts': 300,  # others than the discriminators'
    'gap': 0.02,  # of the judge's preferences, that makes a pair
    'pairs': (100, 8000),  # few rankings to fine-tune on, and many
    'states_weight': 0.3,
    'steps': 200,
    'learning_rates': (1e-3, 3e-3, 1e-2, 3e-2),
    'arms': tuple(
      {'arm': arm, 'pretrained': pretrained, 'reference': reference}
      for arm, pretrained, reference in (
        ('pretrained, reference', True, True),
        ('not pretrained, reference', False, True),
        ('not pretrained, no reference', False, False),
        ('pretrained, no reference', True, False),
      )
    ),
  }
  config.enumerable = _ENUMERABLE
  config.scaling = _SCALING
  if variant == 'smoke':
    _shrink(config)
  if variant == 'full':
    _grow(config)
  return config


def _shrink(config: config_dict.ConfigDict) -> None:
  """Seconds: the simulated parts alone, which need no data."""
  config.real = False
  config.seeds = (0, 1)
  config.enumerable.update(
    length=4,
    train=32,
    validation=2,
    test=2,
    references=(1, 2),
    hidden=16,
    layers=1,
    steps=20,
    batch=8,
    stops=(5, 20),
    betas=(0.5, 1.0),
    added=(1.0, 4.0),
    tuning_steps=50,
  )
  config.scaling.update(
    widths=(16, 32, 48),
    steps=20,
    policies=32,
    held_out=16,
    words=8,
    length=6,
    stops=(0.5, 1.0),
  )


def _grow(config: config_dict.ConfigDict) -> None:
  """One GPU: every token, more layers, prompts and policies' texts."""
  config.prompts = 400
  config.reading.update(layers=15, stride=4, length=1024)
  config.training.learner.update(
    config=_sizes(576, 8), steps=6000, learning_rate=3e-4
  )
  config.generated.update(prompts=200, samples=4, tokens=256, batch=512)
  config.ablation.update(steps=1500, prompts=397, pairs=(100, 40_000))
  config.scaling.update(
    widths=(8, 16, 32, 64, 96, 160, 256, 384),
    seeds=(0, 1, 2),
    steps=20_000,
    batch=512,
  )


def _sizes(width: int, layers: int) -> dict:
  """Returns the sizes of the decoder that compares."""
  return {
    'vocab_size': 1,
    'hidden_size': width,
    'intermediate_size': 2 * width,
    'num_hidden_layers': layers,
    'num_attention_heads': max(1, width // 32),
    'num_key_value_heads': max(1, width // 32),
    'head_dim': 32,
  }
