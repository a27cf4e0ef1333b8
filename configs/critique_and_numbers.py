"""Critiques beside numbers: what a policy learns from either.

Variants: `smoke` (a minute: two seeds of a few steps), `full` (the default,
two cores, under two hours), `refiners` (who writes refinements: ten seeds),
`rates` (the search of learning rates, on seeds that serve for nothing else),
`smollm2` (SmolLM2 on GSM8K, one GPU).
"""

from ml_collections import config_dict

_CRITIC = 'critique_grpo_step_by_step'
_ALL = (
  'grpo', 'dr_grpo', 'dr_grpo_16', 'dr_grpo_curriculum', _CRITIC,
  f'{_CRITIC}_live', f'{_CRITIC}_always', f'{_CRITIC}_raw', f'{_CRITIC}_log',
  f'{_CRITIC}_50', 'critique_grpo_indicative', 'critique_grpo_with_answer',
  'critique_grpo_located', 'critique_grpo_self', 'critique_grpo_inverted',
  'critique_grpo_inverted_always', 'critique_grpo_wrong_repair',
  'critique_grpo_shuffled', 'refinement_tuning', 'refinement_tuning_8',
  'critique_tuning', 'sdpo', 'rltf', 'rltf_predict', 'dr_grpo_outcome',
  'critique_grpo_with_answer_outcome', f'{_CRITIC}_outcome',
)  # fmt: skip
_FEW = ('grpo', 'dr_grpo', _CRITIC)
_SEARCHED = (
  'dr_grpo', _CRITIC, 'refinement_tuning', 'sdpo', 'rltf', f'{_CRITIC}_live',
  f'{_CRITIC}_log', f'{_CRITIC}_raw', 'critique_tuning', 'refinement_tuning_8',
)  # fmt: skip
# The best of the variant `rates`, where variants of Critique-GRPO and of RLTF
# take the one of their method; what is not named learns best at 5e-4.
_RATES = {
  **{name: 2e-3 for name in _ALL if name.startswith('critique_grpo_')},
  f'{_CRITIC}_raw': 1e-3, 'refinement_tuning': 4e-3,
  'refinement_tuning_8': 4e-3, 'critique_tuning': 1e-3, 'sdpo': 1e-3,
  'rltf': 1e-3, 'rltf_predict': 1e-3,
}  # fmt: skip
_VARIANTS = ('smoke', 'full', 'refiners', 'rates', 'smollm2')


def get_config(variant: str = 'full') -> config_dict.ConfigDict:
  """Returns the study's configuration."""
  if variant not in _VARIANTS:
    raise ValueError(f'unknown variant {variant!r}: one of {_VARIANTS}')
  config = config_dict.ConfigDict()
  config.study = 'critique_and_numbers'
  config.seeds = (0, 1, 2, 3, 4)
  config.shares = (0.0, 0.25, 0.5)
  config.methods = (_FEW, _FEW, _ALL)
  config.policy = {
    'hidden_size': 64, 'intermediate_size': 172, 'num_hidden_layers': 3,
    'num_attention_heads': 4, 'num_key_value_heads': 4, 'head_dim': 16,
  }  # fmt: skip
  config.problems = {'pool': 1024, 'held_out': 256}
  config.warm = {
    'steps': 2000, 'learning_rate': 1e-2, 'plain': 64, 'refined': 144,
    'critiqued': 32, 'trials': 3, 'least': 0.8,
  }  # fmt: skip
  config.training = {
    'steps': 300, 'batch': 32, 'learning_rate': 5e-4, 'every': 20,
    'rates': _RATES, 'tuning_batch': 64,
  }  # fmt: skip
  config.data = {'dir': ''}
  config.model = ''  # SmolLM2-135M-Instruct; or a .gguf file, or a folder
  config.words = {
    'methods': (), 'pool': 4000, 'held_out': 256, 'longest': 300,
    'tokens': 256, 'samples': 7, 'steps': 400, 'batch': 16,
    'learning_rate': 1e-6, 'every': 20,
  }  # fmt: skip
  if variant == 'refiners':
    config.seeds, config.shares = tuple(range(10)), (0.5,)
    config.methods = ((*_FEW, f'{_CRITIC}_live', 'refinement_tuning'),)
  if variant == 'rates':
    config.seeds, config.shares = (101, 102), (0.5,)
    config.methods = (
      tuple(
        f'{name}@{rate}'
        for name in _SEARCHED
        for rate in (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
      )
      + tuple(f'refinement_tuning_8@{rate}' for rate in (8e-3, 1.6e-2)),
    )
  if variant == 'smollm2':
    config.shares, config.methods = (), ()
    config.words.methods = (
      'dr_grpo', 'grpo', _CRITIC, 'critique_grpo_indicative',
      'critique_grpo_with_answer', 'critique_grpo_self',
      'critique_grpo_shuffled', 'refinement_tuning', 'sdpo', 'rltf_predict',
    )  # fmt: skip
  if variant == 'smoke':
    config.seeds = (0, 1)
    config.shares, config.methods = (0.5,), (('dr_grpo', _CRITIC),)
    config.policy.update(hidden_size=16, intermediate_size=16,
                         num_hidden_layers=1, num_attention_heads=1,
                         num_key_value_heads=1)  # fmt: skip
    config.problems = {'pool': 16, 'held_out': 8}
    config.warm.update(steps=3, trials=1, least=0.0)
    config.training.update(steps=4, batch=4, every=2)
  return config
