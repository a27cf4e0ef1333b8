"""What methods, splits and controls of the study are called."""

METHODS = {
  'plus': 'PLUS',
  'untrained': 'untrained summariser, reader trained',
  'history_equal_pairs': 'history in context, equal pairs',
  'history_equal_time': 'history in context, equal time',
  'vector': 'vector',
  'aggregate': 'aggregate',
  'frozen_log': 'reader frozen, log sigma',
  'frozen_right': 'reader frozen, 0/1',
  'frozen_untrained': 'reader of untrained summaries, frozen',
  'rounds': 'in turns',
  'critic': 'in turns, PPO with a critic',
  'together_right': 'PLUS, 0/1',
  'likelihood': "one objective, a response's likelihood",
  'untrained_by_start': 'untrained summaries, first reader',
  'untrained_by_plus': "untrained summaries, PLUS's reader",
  'plus_by_start': "PLUS's summaries, first reader",
  'truth_by_start': 'truth, first reader',
  'truth_by_plus': "truth, PLUS's reader",
}
SPLITS = {
  'seen': 'people in training, new choices',
  'new': 'new people',
  'combo': 'new people, pairs of topics never together',
  'topic': 'new people, choices in the unseen topic',
  'hist': 'new people, history in the unseen topic',
  'kind': 'new people, attributes never together',
}
WORLDS = {
  'plain': 'statements without a topic',
  'own_words': 'statements in the words of the topic',
}
SAID = {
  'mentioned': 'mentioned',
  'liked': 'said as a liking',
  'insisted': 'insisted on',
}
GUARDS = {
  'none': '',
  'matching': ' (matched)',
  'matching_detected': ' (matched, by a detector)',
}
# Of real histories: what readers are told, and what that is held against.
TOLD = {
  'length': 'length alone',
  'habits': 'side and length habits alone',
  'options': 'options alone',
  'nothing': 'prompt and options',
  'history': 'history in context',
  'vector': 'chosen less rejected',
  'summary': 'untrained summary',
  'chosen': 'chosen summary',
  'truth': 'the preference that decides',
  'nothing_habits': 'prompt, options and habits',
  'chosen_habits': 'chosen summary and habits',
}
OVER = {
  **TOLD,
  'swapped': "another person's",
  'population': "training people's",
}
WHOSE = {
  'own': '',
  'swapped': ": another person's",
  'population': ": training people's",
}
DATA = {
  'prefeval': 'PrefEval',
  'ukp_convarg': 'UKPConvArg1',
  'llmfao': 'LLMFAO',
}
