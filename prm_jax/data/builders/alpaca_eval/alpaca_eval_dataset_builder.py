"""AlpacaEval: outputs of many policies on the same instructions.

Nobody judged these as a person: the only labels are a language model's, and
they are kept apart, one number an output.
"""

import math
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from prm_jax.data import schema
from prm_jax.data.builders import table

_FIELDS = ('prompt_id', 'prompt', 'topic', 'policy', 'response')


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
  """Policies' outputs (Dubois et al. 2024), CC BY-NC 4.0."""

  name = 'alpaca_eval'
  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: list = []  # noqa: RUF012 - as TFDS declares it

  def _info(self) -> tfds.core.DatasetInfo:
    features = {name: tfds.features.Text() for name in _FIELDS}
    return tfds.core.DatasetInfo(
      builder=self,
      description=str(self.__doc__),
      features=tfds.features.FeaturesDict({**features, 'judge': np.float32}),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'outputs': self._generate_examples()}

  def _generate_examples(self):
    instructions, preferences, *outputs = self.builder_config.files
    fields = {'i': int, 'dataset': str, 'instruction': str}
    prompts = {row['i']: row for row in table.json_rows(instructions, fields)}
    fields = {'model': str, 'i': int, 'preference': float}
    judged = {
      (row['model'], row['i']): row['preference'] - 1.0
      for row in table.json_rows(preferences, fields)
    }
    number = 0
    for path in outputs:
      policy = path.name.removesuffix('.jsonl.gz')
      rows = table.json_rows(path, {'i': int, 'output': str})
      for line, row in enumerate(rows, 1):
        if row['i'] not in prompts:
          raise schema.SchemaError(f'{path}:{line}: i: no instruction')
        prompt = prompts[row['i']]
        yield (
          number,
          {
            'prompt_id': f'alpaca{row["i"]:03d}',
            'prompt': prompt['instruction'],
            'topic': prompt['dataset'],
            'policy': policy,
            'response': row['output'],
            'judge': judged.get((policy, row['i']), math.nan),
          },
        )
        number += 1


def config(*, data_dir: Path) -> table.SourceConfig:
  """Returns the configuration of the files in `data_dir/alpaca_eval`."""
  folder = data_dir / 'alpaca_eval'
  names = ('instructions.jsonl.gz', 'preferences_vs_gpt4_1106.jsonl.gz')
  outputs = sorted((folder / 'outputs').glob('*.jsonl.gz'))
  if not outputs:
    raise schema.SchemaError(f'{folder / "outputs"} holds no .jsonl.gz file')
  return table.source_config(
    [*(table.existing(folder / name) for name in names), *outputs]
  )


def read_prepared(
  builder: Builder, split: str = 'outputs'
) -> schema.PolicyOutputs:
  """Returns what a split of a prepared builder holds."""
  prompts: dict[str, tuple[int, str, str]] = {}
  policies: dict[str, int] = {}
  texts, item_prompt, item_policy, judge = [], [], [], []
  for record in builder.as_data_source(split):
    prompt_id, prompt, topic, policy, response = (
      record[name].decode() for name in _FIELDS
    )
    row = prompts.setdefault(prompt_id, (len(prompts), prompt, topic))
    texts.append(response)
    item_prompt.append(row[0])
    item_policy.append(policies.setdefault(policy, len(policies)))
    judge.append(float(record['judge']))
  return schema.PolicyOutputs(
    texts=texts,
    item_prompt=np.array(item_prompt, np.int32),
    prompts=[prompt for _, prompt, _ in prompts.values()],
    prompt_ids=list(prompts),
    topics=[topic for _, _, topic in prompts.values()],
    policies=list(policies),
    item_policy=np.array(item_policy, np.int32),
    judge=np.array(judge, np.float32),
  )
