"""What worlds, findings and parts of the study are called."""

WORLDS = {
  'stationary': 'people who do not change',
  'drift': 'people who change',
  'topics': 'tastes of topics',
  'choices': 'choices',
  'short': 'eight events',
}
# Finding -> what it says, and what is held against what.
FINDINGS = {
  'semantic': ('an adapter above recent events', 'task', 'recency'),
  'text': ('counts in words above recent events', 'text', 'recency'),
  'recency': ('recent events above similar ones', 'recency', 'similarity'),
  'task_dpo': ('task fine-tuning above DPO', 'task', 'dpo'),
  'task_simpo': ('task fine-tuning above SimPO', 'task', 'simpo'),
  'input_only': ('input-only above nothing', 'input_only', 'nothing'),
  'naive_dual': ('an adapter above adapter and events', 'task', 'dual'),
  'thinking_dual': ('thinking on top of both', 'dual_trace', 'dual'),
  'thinking_semantic': ('thinking on top of an adapter', 'task_trace', 'task'),
  'thinking_events': (
    'thinking on top of recent events',
    'events_trace',
    'recency',
  ),
  'all_semantic': ('both and thinking above an adapter', 'dual_trace', 'task'),
  'distilled': ('distilled thinking above both', 'distilled', 'dual'),
  'personal': ('own above generic thinking', 'selected', 'generic'),
  'chosen': ('selected above unselected thinking', 'selected', 'unselected'),
}
# Short names above -> nodes.
NODES = {
  'nothing': 'nothing',
  'recency': 'events_recency',
  'similarity': 'events_similarity',
  'text': 'text',
  'task': 'adapter_task',
  'dpo': 'adapter_dpo',
  'simpo': 'adapter_simpo',
  'input_only': 'adapter_input_only',
  'dual': 'dual_task',
  'dual_trace': 'dual_and_trace',
  'task_trace': 'adapter_and_trace',
  'events_trace': 'events_and_trace',
  'distilled': 'distilled',
  'selected': 'trace_selected',
  'unselected': 'trace_unselected',
  'generic': 'trace_generic',
}
# What is another person's -> what is the person's own.
OWN = {
  'another_events': 'events_recency',
  'another_text': 'text',
  'another_adapter': 'adapter_task',
  'another_trace': 'trace_selected',
  'another_dual': 'dual_and_trace',
}
# The findings that five sentences and the picture tell of.
TOLD = ('semantic', 'recency', 'task_simpo', 'naive_dual', 'thinking_dual')
# Real data.
DATA = {
  'prefeval': 'PrefEval',
  'ukp_convarg': 'UKPConvArg1',
  'llmfao': 'LLMFAO',
  'jester': 'Jester',
  'lewidi': 'MD-Agreement',
  'synthetic_persona_chat': 'Synthetic-Persona-Chat',
}
RECALLED = {
  'options': 'options alone',
  'recency': 'the latest',
  'similarity': 'the most similar',
  'three_similar': 'the three most similar',
  'similarity_then_recency': 'the latest of the similar',
  'random': 'any',
  'whole_history': 'all',
  'counts': 'counts',
  'right_preference': 'the right one',
  'question': 'the question',
  'question_few_topics': 'the question, of few topics',
  'all_turns': 'all turns',
  'first_turns': 'the first turns',
  'last_turns': 'the last turns',
  'random_turns': 'any turns',
}
