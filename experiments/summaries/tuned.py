"""PLUS itself on a language model and real histories: adapters of both halves.

Weights stand in a folder. The decoder is there twice and frozen; what learns
are adapters of its queries and values, in the summariser and in the reward,
and the reward's linear head.
"""

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reasoning_rewards import measured
from experiments.summaries import real_people
from prm_jax import history_texts, types
from prm_jax.lab import units
from prm_jax.learners import plus
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops import intervals
from prm_jax.policy import examining, summarizing
from prm_jax.runtime import start, train, trees

Row = dict[str, Any]
START, END = 'start', 'end'
MEMORY = (
  'parameters',
  'adapter_parameters',
  'frozen_gb',
  'learning_gb',
  'whole_gb',
)
_OF = ('own', 'other', 'empty')
_FLOAT = 4  # bytes


def model_of(config: Any) -> LanguageModel:
  """Returns the decoder of `model.folder`; SmolLM2-135M-Instruct if empty.

  Raises:
    ValueError: it has other sizes than the config says, or the config has
      sizes, and no folder.
  """
  node = config.model
  if node.sizes and not node.folder:
    raise ValueError(
      'model.folder is empty: give the folder of the weights '
      '(--config.model.folder=...), in the layout of Hugging Face'
    )
  model = LanguageModel.load(Path(node.folder) if node.folder else None)
  if node.sizes:
    wanted = decoder.DecoderConfig(**node.sizes.to_dict())
    if wanted != model.config:
      raise ValueError(
        f'{node.folder}: {model.config}, and model.sizes are {wanted}'
      )
  return model


def memory(sizes: decoder.DecoderConfig, rank: int) -> Row:
  """Returns what training holds before activations, by arithmetic.

  The decoder twice in float32; of every parameter of an adapter, the weight,
  its gradient and two moments; beside it, what training whole decoders takes.

  Args:
    sizes: of the decoder.
    rank: of the adapters of queries and values.
  """
  D, head = sizes.hidden_size, sizes.head_dim
  outer = (sizes.num_attention_heads + sizes.num_key_value_heads) * head
  adapter = sizes.num_hidden_layers * rank * (2 * D + outer)
  return {
    'parameters': sizes.parameters,
    'adapter_parameters': adapter,
    'frozen_gb': 2 * _FLOAT * sizes.parameters / 1e9,
    'learning_gb': 2 * 4 * _FLOAT * adapter / 1e9,
    'whole_gb': 2 * 4 * _FLOAT * sizes.parameters / 1e9,
  }


def learner(config: Any, model: LanguageModel) -> types.Learner:
  """Returns PLUS with adapters on a language model."""
  node = config.model
  writer = _writer(config, model)
  return plus.plus(
    writer=writer,
    backbone={
      'config': model.config,
      'trains': 'adapter',
      'rank': node.rank,
      'dtype': writer.dtype,
      'remat': node.remat,
    },
    reader=history_texts.reader(model.tokenizer),
    order=tuple(node.order),
    rounds=node.rounds,
    steps=node.steps,
    update=node.draws.to_dict(),
    rates=node.rates.to_dict(),
  )


def _writer(config, model):
  node = config.model
  return history_texts.writer(
    model,
    max_new_tokens=node.new_tokens,
    dtype=jnp.dtype(node.dtype),
    remat=node.remat,
    rank=node.rank,
  )


def weights(model: LanguageModel) -> dict[str, Any]:
  """Returns the leaves that training starts from, as `train.fit` takes them."""
  known = trees.flat(model.params)
  return {
    f'params/{part}/backbone/{path}': leaf
    for part in ('user', 'reward')
    for path, leaf in known.items()
  }


def run(config: Any, name: str, fold: int) -> units.Unit:
  """Returns how new people's choices are predicted, before and after.

  Arrays: `user` and `choices` `[B]` of the rows of new people, and of `start`
  and `end` `WHEN|own`, `other`, `empty`: the share of a row's choices that is
  predicted; `WHEN|silent`.

  Args:
    config: of the study: `model`, `real` and `seeds`.
    name: of the data.
    fold: of new people and new questions.
  """
  node, began = config.model, time.process_time()
  model, seed = model_of(config), config.seeds[0]
  limits = history_texts.Limits(**node.limits.to_dict())
  parts = real_people.parts(config, name, fold)
  known, new = (
    history_texts.contexts(model.tokenizer, parts[part], limits=limits)
    for part in (real_people.TRAIN, real_people.NEW)
  )
  fitted, rows = learner(config, model), new.data.rows
  people = 1 + max(int(part.data.rows.user.max()) for part in (known, new))
  spec = types.Spec(model.config.hidden_size, people)
  given, key = weights(model), jax.random.key(seed)
  examine = _examiner(config, model, fitted)
  still = start.start(fitted, key=key, spec=spec, given=given)
  arrays = {'user': rows.user, 'choices': rows.present.sum(1)}
  arrays |= examine(START, still.params, rows)
  state = train.fit(fitted, known.data, key=key, spec=spec, given=given)
  arrays |= examine(END, state.params, rows)
  record = {
    'data': name,
    'fold': fold,
    'steps': sum(phase.steps for phase in fitted.phases) * fitted.rounds,
    'cut': known.cut + new.cut,
    'cpu_seconds': time.process_time() - began,
    **memory(model.config, node.rank),
  }
  return units.Unit(record, arrays)


def _examiner(config, model, fitted):
  """Returns `(when, params, rows) -> arrays`, some rows at a time."""
  writer, size = _writer(config, model), config.model.examined
  examine = examining.examiner(writer, fitted.system.reward)

  def of(when, params, rows: summarizing.Contexts):
    found: dict[str, list[np.ndarray]] = {}
    count = len(rows.mask)
    for first in range(0, count, size):
      # The last group is filled with the first rows: one program for all.
      index = np.arange(first, first + size) % count
      some = jax.tree.map(lambda leaf, at=index: leaf[at], rows)
      seen = examine(jax.random.key(0), params, some)
      silent = summarizing.silent(writer, seen.summary)
      kept = min(size, count - first)
      for which, values in (*seen.right.items(), ('silent', silent)):
        found.setdefault(which, []).append(np.asarray(values)[:kept])
    return {f'{when}|{key}': np.concatenate(v) for key, v in found.items()}

  return of


# -------------------------------------------------------------------- tables


def unit_name(name: str, fold: int) -> str:
  """Returns the unit of a data set's fold."""
  return f'tuned-{name}-{fold}'


def work(config: Any) -> dict[str, units.Make]:
  """Returns units by name."""
  return {
    unit_name(name, fold): functools.partial(run, config, name, fold)
    for name in config.real.data
    for fold in config.model.folds
  }


def table(made: Sequence[units.Unit]) -> list[Row]:
  """Returns how choices of new people are predicted, at start and end.

  Args:
    made: units of one data set's folds.
  """
  rows = []
  for when in (START, END):
    row: Row = {'data': made[0].record['data'], 'when': when}

    def of(name):
      return np.concatenate([unit.arrays[name] for unit in made])

    user, choices = of('user'), of('choices')
    for which in _OF:
      right = of(f'{when}|{which}')
      there = np.isfinite(right)
      if there.any():
        shared = intervals.crossing(user[there], user[there])
        count = choices[there]
        row |= measured.share(which, right[there] * count, count, shared)
    row.pop('coverage', None)
    row['silent'] = float(of(f'{when}|silent').mean())
    row['people'], row['n'] = len(np.unique(user)), int(choices.sum())
    rows.append({**row, 'steps': made[0].record['steps']})
  return rows


def tables(config: Any, folder: units.Folder) -> Mapping[str, list[Row]]:
  """Returns the tables, of units that are done."""
  found: dict[str, list[Row]] = {'tuned': [], 'tuned_memory': []}
  for name in config.real.data:
    made = [folder.read(unit_name(name, fold)) for fold in config.model.folds]
    found['tuned'] += table(made)
    record = made[0].record
    kept = ('data', 'steps', 'cut', 'cpu_seconds', *MEMORY)
    found['tuned_memory'].append({key: record[key] for key in kept})
  return found
