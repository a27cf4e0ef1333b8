"""Loading a data set by name: prepared once, read without TensorFlow."""

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import platformdirs
from absl import logging

from prm_jax.data import schema
from prm_jax.data.builders import table
from prm_jax.data.builders.alpaca_eval import alpaca_eval_dataset_builder
from prm_jax.data.builders.anthropic_evals import (
  anthropic_evals_dataset_builder,
)
from prm_jax.data.builders.attributes import attributes_dataset_builder
from prm_jax.data.builders.bigbench_mistake import (
  bigbench_mistake_dataset_builder,
)
from prm_jax.data.builders.gsm8k import gsm8k_dataset_builder
from prm_jax.data.builders.jester import jester_dataset_builder
from prm_jax.data.builders.lewidi import lewidi_dataset_builder
from prm_jax.data.builders.llmbar import llmbar_dataset_builder
from prm_jax.data.builders.llmfao import llmfao_dataset_builder
from prm_jax.data.builders.math_small import math_small_dataset_builder
from prm_jax.data.builders.polis import votes
from prm_jax.data.builders.preferences import preferences_dataset_builder
from prm_jax.data.builders.prefeval import prefeval_dataset_builder
from prm_jax.data.builders.qlora_vicuna import qlora_vicuna_dataset_builder
from prm_jax.data.builders.rm_bench import rm_bench_dataset_builder
from prm_jax.data.builders.synthetic_persona_chat import (
  synthetic_persona_chat_dataset_builder,
)
from prm_jax.data.builders.ukp_convarg import ukp_convarg_dataset_builder
from prm_jax.worlds import attributes

# Name -> builder, and what makes its configuration.
BUILDERS: dict[
  str, tuple[type[table.TableBuilder], Callable[..., table.SourceConfig]]
] = {
  module.Builder.name: (module.Builder, module.config)
  for module in (
    attributes_dataset_builder,
    jester_dataset_builder,
    lewidi_dataset_builder,
    llmfao_dataset_builder,
    preferences_dataset_builder,
    ukp_convarg_dataset_builder,
  )
}
_FROM_FOLDER = ('jester', 'lewidi', 'llmfao', 'ukp_convarg')


def load(
  name: str, **options: Any
) -> tuple[schema.Judgements | schema.Ratings, schema.Report]:
  """Returns a data set's coded table, and how reading its source went.

  Args:
    name: one of BUILDERS.
    **options: `path` for 'preferences'; `data_dir` for real data (the
      environment variable PRM_DATA_DIR if None); `subset` and `language` for
      'lewidi'; the simulation's own for 'attributes'.

  Raises:
    ValueError: the name is unknown, or the source is missing or malformed.
  """
  if name not in BUILDERS:
    raise ValueError(f'unknown data set {name!r}: one of {sorted(BUILDERS)}')
  builder_class, make_config = BUILDERS[name]
  if name in _FROM_FOLDER:
    options['data_dir'] = data_folder(options.get('data_dir'))
  return table.read_prepared(_prepared(builder_class, make_config(**options)))


def policy_outputs(data_dir: str | Path | None = None) -> schema.PolicyOutputs:
  """Returns AlpacaEval's outputs.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = alpaca_eval_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def persona_statements(
  data_dir: str | Path | None = None,
) -> schema.PersonaStatements:
  """Returns statements and the traits they show.

  A label says which trait agreeing shows; it is not right or wrong.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = anthropic_evals_dataset_builder
  return builder.read_persona(_from_folder(builder, data_dir))


def political_typology(
  data_dir: str | Path | None = None,
) -> schema.PoliticalTypology:
  """Returns political questions, their two answers, and biographies.

  The label is the liberal answer, not the right one and, after a conservative
  biography, not the sycophantic one.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = anthropic_evals_dataset_builder
  return builder.read_typology(_from_folder(builder, data_dir))


def vicuna_outputs(data_dir: str | Path | None = None) -> schema.PolicyOutputs:
  """Returns what several policies answered to the 80 Vicuna questions.

  The topic is the question's category; `judge` is NaN. Policies without any
  generated text, and copies of an earlier one, are in `dropped`.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = qlora_vicuna_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def math_samples(data_dir: str | Path | None = None) -> schema.PolicyOutputs:
  """Returns sampled and people's solutions of problems of mathematics.

  The policies are 'sampled', with several texts a prompt, and 'written by
  people', with one. `judge` is 1 where the final answer is right, 0 where it
  is wrong, and NaN for people.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = _from_folder(math_small_dataset_builder, data_dir)
  return alpaca_eval_dataset_builder.read_prepared(builder)


def arithmetic_problems(data_dir: str | Path | None = None) -> list[str]:
  """Returns arithmetic problems in words, each once, in the files' order.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = math_small_dataset_builder
  return builder.read_problems(_from_folder(builder, data_dir))


def word_problems(
  data_dir: str | Path | None = None, split: str = 'train'
) -> schema.PolicyOutputs:
  """Returns GSM8K's problems and solutions.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.
    split: 'train' or 'test', with people's solutions, whose final answer
      `answers.final` reads; or 'outputs', four policies' solutions of the test
      problems, `judge` being 1 where the final answer is right.

  Raises:
    ValueError: the source is missing or malformed, or the split unknown.
  """
  if split not in ('train', 'test', 'outputs'):
    raise ValueError(f'split {split!r}: train, test or outputs')
  builder = _from_folder(gsm8k_dataset_builder, data_dir)
  return alpaca_eval_dataset_builder.read_prepared(builder, split)


def instruction_pairs(
  data_dir: str | Path | None = None,
) -> schema.InstructionPairs:
  """Returns pairs of answers, of which one follows the instruction better.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = llmbar_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def reasoning_chains(
  data_dir: str | Path | None = None,
) -> bigbench_mistake_dataset_builder.Chains:
  """Returns BIG-Bench Mistake's chains of thought and their first mistakes.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = bigbench_mistake_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def styled_answers(
  data_dir: str | Path | None = None,
) -> rm_bench_dataset_builder.StyledAnswers:
  """Returns RM-Bench's right and wrong answers, each in three styles.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = rm_bench_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def llmfao_judges(
  data_dir: str | Path | None = None,
) -> llmfao_dataset_builder.Judges:
  """Returns two language models' choices on the pairs people judged in llmfao.

  Its numbers of texts and of rows are those of `judgements('llmfao')`.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = llmfao_dataset_builder
  return builder.read_judges(_from_folder(builder, data_dir))


def stated_preferences(
  data_dir: str | Path | None = None,
) -> prefeval_dataset_builder.StatedPreferences:
  """Returns PrefEval's preferences and the questions that test them.

  The first of four options is the one that follows the preference; the options
  alone tell much of which it is (see `user_histories.option_only`).

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing or malformed.
  """
  builder = prefeval_dataset_builder
  return builder.read_prepared(_from_folder(builder, data_dir))


def persona_conversations(
  data_dir: str | Path | None = None, split: str = 'valid'
) -> synthetic_persona_chat_dataset_builder.Conversations:
  """Returns Synthetic-Persona-Chat's profiles and conversations.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.
    split: 'valid' or 'test', whose profiles differ; there is no training
      split.

  Raises:
    ValueError: the source is missing or malformed, or the split unknown.
  """
  builder = synthetic_persona_chat_dataset_builder
  if split not in builder.SPLITS:
    raise ValueError(f'split {split!r}: one of {builder.SPLITS}')
  return builder.read_prepared(_from_folder(builder, data_dir), split)


def polis_conversations(data_dir: str | Path | None = None) -> list[str]:
  """Returns the names that `opinions` knows, sorted.

  Args:
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the source is missing.
  """
  return votes.conversations(data_folder(data_dir))


def opinions(
  conversation: str, data_dir: str | Path | None = None
) -> schema.Opinions:
  """Returns what people of a Polis conversation think: for audits and worlds.

  Special-category data: read from the source each time and kept nowhere.

  Args:
    conversation: one of `polis_conversations`.
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: the conversation is unknown, or the source is missing or
      malformed.
  """
  return votes.read(data_folder(data_dir), conversation)


def opinions_in(folder: str | Path) -> schema.Opinions:
  """Returns what people of anybody's conversation think, as `opinions` does.

  Args:
    folder: holds `statements.jsonl.gz` and `people.jsonl.gz`, as Polis's
      conversations here do; the folder's name is the conversation's.

  Raises:
    ValueError: a file is missing or malformed, naming file, line and field.
  """
  return votes.read_folder(Path(folder))


def _from_folder(module: Any, data_dir: str | Path | None) -> Any:
  """Returns the module's builder after its data are on disk."""
  config = module.config(data_dir=data_folder(data_dir))
  return _prepared(module.Builder, config)


def _prepared(builder_class: Any, config: table.SourceConfig) -> Any:
  """Returns the builder after its data are on disk."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # one line for every custom config
  try:
    builder = builder_class(
      data_dir=str(prepared_folder()), config=config, file_format='array_record'
    )
    folder = prepared_folder()
    folder.mkdir(parents=True, exist_ok=True)
    # Two processes would move the same finished folder to one place.
    with filelock.FileLock(folder / f'{builder.name}.lock'):
      builder.download_and_prepare()
    return builder
  finally:
    logging.set_verbosity(verbosity)


def judgements(name: str, **options: Any) -> schema.Judgements:
  """Returns the judgements of a data set; arguments as in `load`."""
  table_, _ = load(name, **options)
  if not isinstance(table_, schema.Judgements):
    raise schema.SchemaError(f'{name} holds ratings, not judgements')
  return table_


def ratings(name: str, **options: Any) -> schema.Ratings:
  """Returns the ratings of a data set; arguments as in `load`."""
  table_, _ = load(name, **options)
  if not isinstance(table_, schema.Ratings):
    raise schema.SchemaError(f'{name} holds judgements, not ratings')
  return table_


@functools.lru_cache(maxsize=2)
def attributes_world(**options: Any) -> attributes.World:
  """Returns the world behind the data set 'attributes': not for learners."""
  return attributes.simulate(**options)


def data_folder(chosen: str | Path | None) -> Path:
  """Returns the folder of the real data.

  Raises:
    ValueError: none was given, or it is not there.
  """
  folder = chosen or os.environ.get('PRM_DATA_DIR')
  if not folder:
    raise ValueError(
      'this needs real data: set --config.data.dir or PRM_DATA_DIR to the '
      'folder that holds ukp_convarg, jester5k, llmfao and the other sets'
    )
  if not Path(folder).is_dir():
    raise ValueError(f'{folder} is not a folder (data.dir or PRM_DATA_DIR)')
  return Path(folder)


def drop_prepared(name: str) -> None:
  """Deletes what was prepared of a data set; `load` prepares it anew."""
  shutil.rmtree(prepared_folder() / name, ignore_errors=True)


def prepared_folder() -> Path:
  """Returns where prepared data are kept."""
  base = os.environ.get('PRM_CACHE_DIR') or platformdirs.user_cache_dir(
    'prm_jax'
  )
  return Path(base) / 'tfds'
