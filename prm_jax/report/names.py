"""Names that people use, for the names that code and results.json use."""

from typing import Any

MISSING = 'n/a'

_METHODS = {
  'aggregate': 'one model for everyone',
  'aggregate_mlp': 'one network for everyone',
  'ensemble': 'several networks for everyone',
  'laplace': 'one model for everyone, with its uncertainty',
  'multi_objective': 'rated attributes, weighed by the prompt',
  'shared_habits': "everyone's model with everyone's shared habits",
  'aggregate_adapted': 'one model for everyone, with layers that trained',
  'pref_adapted': 'PReF, with layers that trained',
  'lore_adapted': 'LoRe, with layers that trained',
  'traits': "everyone's model with each person's habits",
  'hierarchical': 'hierarchical weights',
  'pref': 'PReF',
  'pref_debiased': 'PReF, debiased',
  'pref_encoder': 'PReF on the encoder',
  'plus': 'PLUS',
  'recalled_events': 'recalled judgements, told to a language model',
  'personal_adapters': "a language model with each person's adapter",
  'adapters_and_events': 'adapters and recalled judgements',
  'lore': 'LoRe',
  'pal': 'PAL',
  'pal_a': 'PAL',
  'pal_b': 'PAL (second form)',
  'rfm': 'RFM',
  'mrm': 'MRM',
  'vpl': 'VPL',
  'vpl_collapsed': 'VPL, collapsed',
  'spl': 'SPL',
  'vrf': 'VRF',
  'pep': 'Pep',
  'episodic': 'episodic memory',
  'gpo': 'GPO',
  'in_context': 'in-context transformer',
  'p_ttt': 'P-TTT',
  'polar': 'POLAR',
  'minilm': 'MiniLM',
  'grpo': 'GRPO',
  'dr_grpo': 'Dr.GRPO',
  'sdpo': 'SDPO',
  'rltf': 'RLTF',
  'rejective': 'rejective fine-tuning',
  'rm_r1': 'RM-R1',
  'spct': 'SPCT',
  'cloud': 'CLoud',
  'bradley_terry': 'Bradley-Terry',
}
_DATA = {
  'preferences': 'your data',
  'jester': 'Jester jokes',
  'jester_new_jokes': 'Jester, new jokes',
  'ukp_convarg': 'UKPConvArg1 arguments',
  'alpaca_eval': 'AlpacaEval answers',
  'llmfao': 'LLMFAO answers',
  'llmbar': 'LLMBar',
  'bigbench_mistake': 'BIG-Bench Mistake',
  'rm_bench': 'RM-Bench',
  'prefeval': 'PrefEval',
  'synthetic_persona_chat': 'Synthetic-Persona-Chat',
  'attributes_gaussian': 'simulated people, many tastes',
  'attributes_two_attribute': 'simulated people, two tastes',
}
_FEATURES = {
  'levels': 'true attributes',
  'identity': 'items by number',
  'known': 'known features',
}
_SPLITS = {
  'new_pairs': 'seen people, new pairs',
  'new_prompts': 'seen people, new prompts',
  'new_topics': 'new topics',
  'new_lexicon': 'new topics, new words',
  'new_people': 'new people',
  'new_people_new_prompts': 'new people, new prompts',
  'train': 'training rows',
}
_CONTROLS = {
  'swapped_people': "another person's coefficients",
  'population_coefficients': "the population's coefficients",
  'label_flip': 'reversed answers',
  'length_only': 'length only',
  'majority_of_others': 'majority of others',
  'slot_probe': 'format tells the slot',
  'preference_probe': 'format tells the choice',
  'mark_probe': 'a mark is on one side',
  'exchange': 'answers exchanged',
  'repeated_judgements': 'texts judged again',
  'copied_people': 'answers of somebody else',
  'shared_topics': 'topics that share texts',
}
_WORDS = _METHODS | _DATA | _FEATURES | _SPLITS | _CONTROLS


def word(name: Any) -> str:
  """Returns the plain name of a method, data set, split or control.

  A name that is not known stays as it is, with spaces for underscores.
  """
  if name is None:
    return MISSING
  return _WORDS.get(str(name), str(name).replace('_', ' '))


def place(data: Any, features: Any = '') -> str:
  """Returns a data set and what is read of it, such as `Jester jokes (text)`.

  Args:
    data: name in results.json.
    features: name in results.json; of your own data it is always the text.
  """
  shown = word(data)
  plain = not features or (data == 'preferences' and features == 'text')
  return shown if plain else f'{shown} ({word(features)})'
