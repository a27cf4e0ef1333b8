"""Names of feature sets and splits, in the study's pictures and sentences."""

SHARED, NEW_WORDING = 'new_topics', 'new_lexicon'
SPLITS = {
  SHARED: 'new prompts, trained wording',
  NEW_WORDING: 'new prompts, new wording',
}
ARMS = {
  'sentences': 'MiniLM, mean token of layers 3, 5 and 6',
  'last_upper': 'SmolLM2, last token of layer 26',
  'last_both': 'SmolLM2, last token of layers 16 and 26',
  'mean_upper': 'SmolLM2, mean token of layer 26',
  'whole_both': 'SmolLM2, last token of whole answers, layers 16 and 26',
  'whole_upper': 'SmolLM2, last token of whole answers, layer 26',
  'adapted': 'SmolLM2, last token of layer 26, the two highest layers trained',
  'adapted_beside': 'the trained layers beside the frozen layers 16 and 26',
}
# In pictures, where there is little room.
NAMES = {
  'sentences': 'MiniLM, mean',
  'last_upper': 'SmolLM2, last token,\nlayer 26',
  'last_both': 'SmolLM2, last token,\nlayers 16 and 26',
  'mean_upper': 'SmolLM2, mean,\nlayer 26',
  'whole_both': 'SmolLM2, last token\nof whole answers',
  'whole_upper': 'whole answers,\nlayer 26',
  'adapted': 'two layers\ntrained',
  'adapted_beside': 'trained beside\nfrozen',
}
