"""Judges of real texts: a decoder with three kinds of heads, two states.

`alone` is what reads one answer, `judged` a judge's prompt up to its verdict.
The scalar head reads the former: Bradley-Terry on the last token. On the
latter, the discriminative head is a linear classifier of verdicts, and the
generative one the lead of one verdict's token over the other's in logits.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from experiments.reasoning_rewards import judges, real_fits, real_rows
from prm_jax.data import load
from prm_jax.lab import units
from prm_jax.models import decoder
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import generative, judge_formats

UNTRAINED, ADAPTED, WRITTEN = 'untrained', 'adapted', 'written'
SCALAR, GENERATIVE = 'scalar', 'generative'
DISCRIMINATIVE = 'discriminative'
ALONE, JUDGED = 'alone', 'judged'
STYLED = 'rm_bench'
_OF_A_RIGHT_ONE = 4  # wrong chains that a right one of its task is held to


@functools.lru_cache(maxsize=1)
def _loaded(path: str) -> LanguageModel:
  return LanguageModel.load(Path(path) if path else None)


def model_of(config) -> LanguageModel:
  """Returns the decoder.

  Raises:
    ValueError: it has other sizes than the config says.
  """
  model = _loaded(config.real.model)
  if config.real.sizes:
    wanted = decoder.DecoderConfig(**config.real.sizes.to_dict())
    if wanted != model.config:
      raise ValueError(
        f'{config.real.model}: {model.config}, and real.sizes are {wanted}'
      )
  return model


def memory(sizes: decoder.DecoderConfig, tokens: int) -> dict[str, float]:
  """Returns gigabytes of what is held: weights, and states that are kept.

  Args:
    sizes: of the decoder, whose weights are float32.
    tokens: of all texts, whose states are bfloat16, on disk.
  """
  return {
    'weights': sizes.parameters * 4 / 1e9,
    'states': tokens * sizes.hidden_size * 2 / 1e9,
  }


@functools.lru_cache(maxsize=4)
def _known(name: str, node: str, seed: int) -> real_rows.Rows:
  own = config_dict.ConfigDict(json.loads(node))
  return real_rows.read(name, own, _loaded(own.model).tokenizer, seed)


def rows_of(config, name: str) -> real_rows.Rows:
  """Returns the rows of a data set."""
  return _known(name, config.real.to_json(), config.seeds[0])


def format_of(rows: real_rows.Rows) -> judge_formats.Format:
  """Returns what a judge reads: RM-R1's short prompt of two, GenRM's of one."""
  if rows.pairs:
    return judge_formats.rm_r1(distilled=True)
  return judge_formats.genrm()


# -------------------------------------------------------------------- reading


def described(config, name: str) -> units.Unit:
  """Returns what tables have to know of rows; no text, and nobody's name."""
  rows = rows_of(config, name)
  groups, group = np.unique(rows.group, return_inverse=True)
  fold = np.full(len(rows.label), -1)
  for k, part in enumerate(_parts(config, rows)):
    fold[part.test] = k
  arrays = {
    'label': rows.label,
    'prompt': rows.prompt,
    'group': group,
    'fold': fold,
    'length': rows.length,
  }
  said = []
  if rows.people is not None:
    people = rows.people
    said = list(people.judges)
    arrays |= {
      'choice_user': people.user,
      'choice_row': people.row,
      'choice_label': people.label,
      'judges': np.stack([people.judges[name] for name in said]),
    }
  record = {'data': name, 'groups': groups.tolist(), 'judges': said}
  return units.Unit(record, arrays)


def _parts(config, rows: real_rows.Rows):
  node = config.real
  return real_rows.parts(rows, node.folds, node.validation, config.seeds[0])


def _texts(config, rows: real_rows.Rows, form: str) -> real_rows.Texts:
  tokenizer = model_of(config).tokenizer
  template = config.real.template
  if form == ALONE:
    return real_rows.alone(rows.items, tokenizer, template)
  return real_rows.judged(rows.items, tokenizer, format_of(rows), template)


def _file(folder: units.Folder, name: str, form: str) -> Path:
  return folder.path / 'states' / f'{name}-{form}.npy'


def states(config, folder: units.Folder, name: str, form: str) -> units.Unit:
  """Returns last states of a data set's texts; those below lie beside it."""
  texts = _texts(config, rows_of(config, name), form)
  features = real_fits.states(
    model_of(config), texts.ids, config.real, _file(folder, name, form)
  )
  length = np.array([len(each) for each in texts.ids])
  record = {
    'data': name,
    'form': form,
    'verdict': texts.verdict,
    'tokens': int(length.sum()),
  }
  arrays = {'features': features, 'length': length, 'index': texts.which}
  return units.Unit(record, arrays)


def _of(head: str) -> str:
  return ALONE if head == SCALAR else JUDGED


def _read(config, folder, name, head):
  """Returns a head's texts, made if they are not there: unit, and states."""
  form = _of(head)
  unit = judges.made(
    folder,
    states_name(name, form),
    functools.partial(states, config, folder, name, form),
  )
  arrays = unit.arrays
  return unit, real_fits.load(
    _file(folder, name, form), arrays['length'], arrays['features']
  )


# ----------------------------------------------------------- what heads learn


def examples(
  rows: real_rows.Rows,
  index: np.ndarray,
  head: str,
  chosen: np.ndarray,
  rng: np.random.Generator,
) -> real_fits.Examples:
  """Returns what a head learns of some rows; those without a label are none.

  Of a pair, a scalar head has the lead of the first answer, others verdicts in
  both orders. Of chains, a scalar head has leads of right ones over wrong ones
  of the same task, others verdicts.

  Args:
    rows: n.
    index: `[n, K]` of their texts.
    head: what learns.
    chosen: `[n]` bool.
    rng: draws wrong chains.
  """
  row = np.flatnonzero(chosen & (rows.label != 0.5))
  label = rows.label[row]
  if head != SCALAR:
    swapped = label if not rows.pairs else np.stack([label, 1 - label], 1)
    return real_fits.Examples(index[row].reshape(-1, 1), swapped.ravel())
  if rows.pairs:
    return real_fits.Examples(index[row], label)
  found, group = [], np.array(rows.group)[row]
  for task in np.unique(group):
    right, wrong = (
      index[row[(group == task) & (label == x)], 0] for x in (1, 0)
    )
    count = min(_OF_A_RIGHT_ONE, len(wrong))
    for text in right:
      others = rng.choice(wrong, count, replace=False)
      found += [(text, other) for other in others]
  return real_fits.Examples(
    np.array(found, int).reshape(-1, 2), np.ones(len(found))
  )


def judge(
  config, folder: units.Folder, name: str, head: str, state: str
) -> units.Unit:
  """Returns scores of the texts of all tested rows, each in its own fold.

  The record says what was chosen on validation rows in every fold.
  """
  node, rows, model = config.real, rows_of(config, name), model_of(config)
  unit, read = _read(config, folder, name, head)
  index, seed = unit.arrays['index'], config.seeds[0]
  score = np.full(len(read.length), np.nan)
  found = np.full(index.shape, np.nan)
  record: dict[str, Any] = {'data': name, 'head': head, 'state': state}
  record['folds'] = []
  for k, part in enumerate(_parts(config, rows)):
    rng = np.random.default_rng([seed, k])
    train, validation = (
      examples(rows, index, head, chosen, rng)
      for chosen in (part.train, part.validation)
    )
    fold: dict[str, Any] = {
      'fold': k,
      'train': len(train.label),
      'test': int(part.test.sum()),
    }
    if head == GENERATIVE:
      first = real_fits.Head(real_fits.verdict(model, unit.record['verdict']))
      score = first.scores(read.features)
    else:
      first, chosen = real_fits.chosen_linear(
        read.features, train, validation, node.ridges
      )
      score, fold['linear'] = first.scores(read.features), chosen
    if state == ADAPTED:
      some = rng.permutation(len(validation.label))[: node.examined]
      validation = real_fits.Examples(*(leaf[some] for leaf in validation))
      score, made = real_fits.adapted(
        model,
        read,
        train,
        validation,
        first,
        node,
        moves=head != GENERATIVE,
        seed=seed,
        asked=np.unique(index[part.test]),
      )
      fold |= made
    found[part.test] = score[index[part.test]]
    record['folds'].append(fold)
  return units.Unit(record, {'score': found})


# ------------------------------------------------------------- what is written


def written(config, name: str) -> units.Unit:
  """Returns verdicts that the untrained judge writes on some tested rows.

  Pairs are shown in both orders. Greedy; invalid texts are NaN.
  """
  node, rows = config.real, rows_of(config, name)
  rng = np.random.default_rng([config.seeds[0], 0x3717])
  some = rng.permutation(np.flatnonzero(rows.tested))[: node.written.rows]
  template, end = real_rows.TEMPLATES[node.template]
  judge_ = generative.Judge(
    model_of(config),
    format_of(rows),
    template,
    max_new_tokens=node.written.tokens,
    temperature=0.0,
    stop=(end,),
    batch=node.written.batch,
    dtype=jnp.dtype(node.dtype),
  )
  order, k = ('both', 2) if rows.pairs else ('fixed', 1)
  key = jax.random.key(config.seeds[0])
  said = judge_.judge(key, [rows.items[i] for i in some], k, order=order)
  score = np.full((len(rows.label), k), np.nan)
  if rows.pairs:  # for what was shown first, as other judges' scores are
    lead = said.scores[..., 0] - said.scores[..., 1]
    given = said.order[..., 0] == 0
    score[some] = np.stack([lead[given], -lead[~given]], 1)
  else:  # Yes is 1, and No 0
    score[some] = said.scores[..., 0] - 0.5
  asked = np.zeros(len(rows.label), bool)
  asked[some] = True
  record = {
    'data': name,
    'head': GENERATIVE,
    'state': WRITTEN,
    'folds': [],
    'tokens_written': float(said.written.mean()),
  }
  return units.Unit(record, {'score': score, 'asked': asked})


# ------------------------------------------------------------------- RM-Bench


def styled(config) -> real_rows.Rows:
  """Returns RM-Bench's answers as single ones: six to a prompt, right first."""
  node = config.real
  known = load.styled_answers(node.data_dir or None)
  rng = np.random.default_rng([config.seeds[0], 0x57])
  some = np.sort(rng.permutation(len(known.prompts))[: node.most.styled])
  texts = [[text] for i in some for text in known.chosen[i] + known.rejected[i]]
  prompts = [known.prompts[i] for i in some for _ in range(6)]
  tokenizer = model_of(config).tokenizer
  return real_rows.Rows(
    STYLED,
    real_rows.items(prompts, texts, tokenizer, node.cut),
    np.tile([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], len(some)),
    [known.domains[i] for i in some for _ in range(6)],
    np.ones(len(texts), bool),
    np.array([[len(text)] for (text,) in texts]),
  )


def styled_scores(config, folder: units.Folder) -> units.Unit:
  """Returns scores of RM-Bench's answers, `[n, 6]`, of the untrained decoder.

  The scalar head has learned from all of LLMBar, with the ridge that most of
  its folds chose.
  """
  model, node, rows = model_of(config), config.real, styled(config)
  found = {'length': rows.length[:, 0].astype(float)}
  path = folder.path / 'states'
  for head in (SCALAR, GENERATIVE):
    texts = _texts(config, rows, _of(head))
    features = real_fits.states(
      model, texts.ids, node, path / f'{STYLED}-{_of(head)}.npy'
    )
    if texts.verdict is not None:
      own = real_fits.Head(real_fits.verdict(model, texts.verdict))
    else:
      own = _of_all(config, folder, real_rows.LLMBAR)
    found[head] = own.scores(features)[texts.which[:, 0]]
  arrays = {name: score.reshape(-1, 6) for name, score in found.items()}
  return units.Unit({'domains': rows.group[::6]}, arrays)


def _of_all(config, folder, name: str) -> real_fits.Head:
  """Returns a scalar head of all rows of a data set."""
  made = judges.made(
    folder,
    judge_name(name, SCALAR, UNTRAINED),
    functools.partial(judge, config, folder, name, SCALAR, UNTRAINED),
  )
  ridges = [fold['linear']['ridge'] for fold in made.record['folds']]
  values, counts = np.unique(ridges, return_counts=True)
  rows = rows_of(config, name)
  unit, read = _read(config, folder, name, SCALAR)
  everything = np.ones(len(rows.label), bool)
  known = examples(
    rows,
    unit.arrays['index'],
    SCALAR,
    everything,
    np.random.default_rng(config.seeds[0]),
  )
  return real_fits.linear(
    read.features, known, float(values[np.argmax(counts)])
  )


# ---------------------------------------------------------------------- units


def states_name(name: str, form: str) -> str:
  """Returns the unit of texts' states."""
  return f'real-{name}-{form}'


def judge_name(name: str, head: str, state: str) -> str:
  """Returns the unit of a head's scores."""
  return f'real-{name}-{head}-{state}'


def rows_name(name: str) -> str:
  """Returns the unit that describes rows."""
  return f'real-{name}-rows'


def work(config, folder: units.Folder) -> dict[str, units.Make]:
  """Returns units by name: of rows, states, heads and what is written."""
  node = config.real
  found: dict[str, Callable[[], units.Unit]] = {}
  for name in node.data:
    found[rows_name(name)] = functools.partial(described, config, name)
  for name in node.data:
    for form in dict.fromkeys(map(_of, node.heads)):
      found[states_name(name, form)] = functools.partial(
        states, config, folder, name, form
      )
  for state in (UNTRAINED, ADAPTED):
    for name in node.data:
      for head in node.heads:
        found[judge_name(name, head, state)] = functools.partial(
          judge, config, folder, name, head, state
        )
  if node.written.rows:
    for name in node.data:
      found[judge_name(name, GENERATIVE, WRITTEN)] = functools.partial(
        written, config, name
      )
  if node.most.styled:
    found[f'real-{STYLED}'] = functools.partial(styled_scores, config, folder)
  return found


def made(config, folder: units.Folder) -> Mapping[str, list[units.Unit]]:
  """Returns the units of scores that are done, by data set."""
  found: dict[str, list[units.Unit]] = {}
  for name in work(config, folder):
    unit = folder.read(name)
    if 'head' in unit.record:
      found.setdefault(unit.record['data'], []).append(unit)
  return found
