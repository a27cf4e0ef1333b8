"""The main study's variant with a language model."""

import json

import pytest

from configs import personalized_vs_aggregate
from experiments.personalized_vs_aggregate import experiment
from prm_jax.lab import study, worded
from tests import checkpoints


def config_of(folder):
  config = personalized_vs_aggregate.get_config('backbone').unlock()
  smoke = personalized_vs_aggregate.attributes('smoke')
  for name in ('people', 'answers', 'held_out_answers'):
    config.attributes[name] = smoke[name]
  for name in ('responses_per_prompt', 'held_out_responses'):
    config.attributes[name] = smoke[name]
  config.attributes.features.backbone.components = 16
  config.attributes.features.sentences.components = 16
  config.bootstrap, config.answers, config.panel_answers = 20, (0, 2), 2
  for name in ('pref', 'pref_encoder', 'lore'):
    config.methods[name].steps = 3
  config.language.model = str(folder)
  config.language.options = {
    **{'steps': 2, 'rank': 2, 'contexts': 2, 'samples': 2, 'pairs': 1},
    **{'history': 40, 'text': 24, 'response': 16, 'summary': 3},
    **{'kept': 4, 'event': 24, 'adapter_steps': 2, 'adapter_batch': 2},
  }
  plus = [{'features': 'language model', 'steps': steps} for steps in (1, 2)]
  config.attributes.search.plus = tuple(plus)
  return config


def test_a_folder_is_needed(tmp_path):
  config = config_of('')
  with pytest.raises(ValueError, match=r'language\.model is empty'):
    experiment._worded(config, ['pref', 'plus'])


@pytest.mark.slow
def test_words_and_memories_stand_beside_both_kinds_of_features(tmp_path):
  (tmp_path / 'model').mkdir()
  words = ['the', 'a', 'is', 'it', 'of', 'and', 'to', 'you', 'please', '.']
  folder = checkpoints.write(
    tmp_path / 'model', words, max_position_embeddings=256
  )
  found = study.run(experiment.STUDY, config_of(folder), tmp_path / 'run')
  rows = [row for row in found['tables']['gain'] if row['features'] == 'text']
  methods = {row['method'] for row in rows}
  assert {'pref', 'pref_encoder', 'lore', *worded.METHODS} <= methods
  for method in worded.METHODS:
    splits = {row['split'] for row in rows if row['method'] == method}
    assert splits == {'new_pairs', 'new_topics', 'new_people', 'new_lexicon'}
  read = {
    row['method']: json.loads(row['choice'])['features']
    for row in found['tables']['choices']
    if row['features'] == 'text'
  }
  assert read['pref'] == 'backbone'
  assert read['pref_encoder'] == 'sentences'
