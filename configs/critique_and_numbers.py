"""Critiques beside numbers: what a policy learns from either.

Variants: `smoke` (a minute: two seeds of a few steps), `full` (the default,
two cores, under two hours), `refiners` (who writes refinements: ten seeds),
`rates` (the search of learning rates, on seeds that serve for nothing else),
`smollm2` (SmolLM2 on GSM8K, one GPU).
"""

from ml_collections import config_dict

_CRITIC = 'critique_grpo_step_by_step'
_TRUE = {'kind': 'step_by_step'}  # a critic
_BASE = {'kind': 'grpo', 'samples': 8, 'rate': 5e-4}
_TUNING = {'kind': 'imitation', 'critic': _TRUE}
_RLTF = {'kind': 'rltf', 'samples': 4, 'critic': _TRUE, 'rate': 1e-3}


def _criticised(critic, **options) -> dict:
  """Returns Critique-GRPO's node with a critic, which is a node, too."""
  return {'kind': 'critique_grpo', 'critic': critic, 'rate': 2e-3, **options}


# Options are those of the kind in the registry; beside these, `rate` is that
# of learning, `second` the surrogate of refinements, `shown` what is imitated
# and `batch` of how many answers a step, `reward` 'final' where it is of the
# last value alone, and `curriculum` keeps hard problems for the second half.
# Rates are the best of the variant `rates`, where variants of Critique-GRPO and
# of RLTF take the one of their method.
METHODS = {
  'grpo': {**_BASE, 'advantage': 'normalized'},
  'dr_grpo': {**_BASE, 'advantage': 'centred'},
  'dr_grpo_16': {**_BASE, 'advantage': 'centred', 'samples': 16},
  'dr_grpo_curriculum': {**_BASE, 'advantage': 'centred', 'curriculum': True},
  _CRITIC: _criticised(_TRUE),
  f'{_CRITIC}_live': _criticised(_TRUE, refiner='live'),
  f'{_CRITIC}_always': _criticised(_TRUE, gate=False),
  f'{_CRITIC}_raw': _criticised(_TRUE, second='probability', rate=1e-3),
  f'{_CRITIC}_log': _criticised(_TRUE, second='log'),
  f'{_CRITIC}_50': _criticised({**_TRUE, 'accuracy': 0.5}),
  'critique_grpo_indicative': _criticised({'kind': 'indicative'}),
  'critique_grpo_with_answer': _criticised({'kind': 'with_answer'}),
  'critique_grpo_located': _criticised({'kind': 'located'}),
  'critique_grpo_self': _criticised({'kind': 'self'}),
  'critique_grpo_inverted': _criticised({'kind': 'inverted'}),
  'critique_grpo_inverted_always': _criticised(
    {'kind': 'inverted'}, gate=False
  ),
  'critique_grpo_wrong_repair': _criticised({'kind': 'wrong_repair'}),
  'critique_grpo_shuffled': _criticised({'kind': 'shuffled', 'of': _TRUE}),
  'refinement_tuning': {
    **_TUNING,
    'shown': 'refinements',
    'batch': 64,
    'rate': 4e-3,
  },
  'refinement_tuning_8': {
    **_TUNING,
    'shown': 'refinements',
    'batch': 8,
    'rate': 4e-3,
  },
  'critique_tuning': {
    **_TUNING,
    'shown': 'critiques',
    'batch': 64,
    'rate': 1e-3,
  },
  'sdpo': {'kind': 'sdpo', 'samples': 8, 'critic': _TRUE, 'rate': 1e-3},
  'rltf': _RLTF,
  'rltf_predict': {**_RLTF, 'predict': 0.5},  # the weight of critiques
  'dr_grpo_outcome': {**_BASE, 'advantage': 'centred', 'reward': 'final'},
  'critique_grpo_with_answer_outcome': _criticised(
    {'kind': 'with_answer'}, reward='final'
  ),
  f'{_CRITIC}_outcome': _criticised(_TRUE, reward='final'),
}
_ALL, _FEW = tuple(METHODS), ('grpo', 'dr_grpo', _CRITIC)
_SEARCHED = (
  'dr_grpo',
  _CRITIC,
  'refinement_tuning',
  'sdpo',
  'rltf',
  f'{_CRITIC}_live',
  f'{_CRITIC}_log',
  f'{_CRITIC}_raw',
  'critique_tuning',
  'refinement_tuning_8',
)
_RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
_IN_WORDS = (
  'dr_grpo',
  'grpo',
  _CRITIC,
  'critique_grpo_indicative',
  'critique_grpo_with_answer',
  'critique_grpo_self',
  'critique_grpo_shuffled',
  'refinement_tuning',
  'sdpo',
  'rltf_predict',
)
_VARIANTS = ('smoke', 'full', 'refiners', 'rates', 'smollm2')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'critique_and_numbers'
  config.seeds = (0, 1, 2, 3, 4)
  config.methods = METHODS
  # Share of training problems that the start never solves, and methods there.
  config.runs = ((0.0, _FEW), (0.25, _FEW), (0.5, _ALL))
  # Numbers alone, at the budget of all: the best is what others are held to.
  config.baselines = ('grpo', 'dr_grpo', 'dr_grpo_curriculum')
  config.policy = {
    'hidden_size': 64,
    'intermediate_size': 172,
    'num_hidden_layers': 3,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'head_dim': 16,
  }
  config.problems = {'pool': 1024, 'held_out': 256}
  config.warm = {
    'steps': 2000,
    'learning_rate': 1e-2,
    'plain': 64,
    'refined': 144,
    'critiqued': 32,
    'trials': 3,
    'least': 0.8,
  }
  config.training = {'steps': 300, 'batch': 32, 'every': 20}
  config.data = {'dir': ''}
  config.model = ''  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
  config.words = {
    'methods': (),
    'pool': 4000,
    'held_out': 256,
    'longest': 300,
    'tokens': 256,
    'steps': 400,
    'batch': 16,
    'every': 20,
  }
  if variant == 'refiners':
    config.seeds = tuple(range(10))
    config.runs = ((0.5, (*_FEW, f'{_CRITIC}_live', 'refinement_tuning')),)
  if variant == 'rates':
    config.seeds, config.runs = (101, 102), ((0.5, _SEARCHED),)
    config.methods = {n: {**METHODS[n], 'rate': _RATES} for n in _SEARCHED}
    config.methods.refinement_tuning_8.rate = (*_RATES, 8e-3, 1.6e-2)
  if variant == 'smollm2':
    config.runs, config.words.methods = (), _IN_WORDS
    config.methods = {n: {**METHODS[n], 'rate': 1e-6} for n in _IN_WORDS}
    config.methods.refinement_tuning.batch = 2 * config.words.batch
  if variant == 'smoke':
    config.seeds = (0, 1)
    config.runs = ((0.5, ('dr_grpo', _CRITIC)),)
    config.policy.update(
      hidden_size=16,
      intermediate_size=16,
      num_hidden_layers=1,
      num_attention_heads=1,
      num_key_value_heads=1,
    )
    config.problems = {'pool': 16, 'held_out': 8}
    config.warm.update(steps=3, trials=1, least=0.0)
    config.training.update(steps=4, batch=4, every=2)
  return config
