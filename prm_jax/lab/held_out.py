"""How good one trained model is: a tenth held out, controls, leaks, copies."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prm_jax import registry
from prm_jax.audits import copies, leaks
from prm_jax.data import schema, splits
from prm_jax.lab import fitting, folds, rows
from prm_jax.models import embeddings

DATA, FEATURES = 'preferences', 'text'  # their names in tables
_HELD = 10  # one in so many judgements is held out
_REPLICATES = 1000
_PERSONAL = ('personal', 'summarizer')  # roles that know the person
_NONE_HELD = fitting.Protocol((), 1)
NOTHING = (
  'No judgement that says which of two is better was held out: the model is '
  'trained and can be used, and how good it is cannot be said. Some hundred '
  'judgements would tell.'
)


def split(
  judged: schema.Judgements,
  found: copies.Copies,
  seed: int,
  *,
  salt: str = 'pairs',
  one_in: int = _HELD,
) -> np.ndarray:
  """Returns 'train' or 'new_pairs' for every judgement `[n]`, by hash.

  What a person, or a copy of theirs, said of two texts, or of nearly the same
  two, is on one side, in either order.

  Args:
    judged: judgements.
    found: which texts and people are copies.
    seed: of the split.
    salt: gives another split.
    one_in: so many judgements one is held out.
  """
  plain = {
    text: splits.plain(judged.texts[text])
    for text in np.unique(found.text[judged.items]).tolist()
  }
  names = [
    '\0'.join([judged.user_ids[user], *sorted((plain[a], plain[b]))])
    for user, (a, b) in zip(
      found.person[judged.user], found.text[judged.items], strict=True
    )
  ]
  held = splits.bucket(names, f'{salt}{seed}', one_in) == 0
  return np.where(held, folds.NEW_PAIRS, fitting.TRAIN)


def evaluate(
  model: fitting.Asked,
  kind: str,
  judged: schema.Judgements,
  features: np.ndarray,
  where: np.ndarray,
  *,
  seed: int,
) -> rows.Cell:
  """Returns what the model, the aggregate, length and controls predict.

  Args:
    model: fitted to the training judgements.
    kind: of its learner.
    judged: all judgements.
    features: `[M, D]` of their texts.
    where: `[n]` from `split`.
    seed: of the run.
  """
  length = embeddings.text_length_features(judged.texts)
  length = (length - length.mean(0)) / (length.std(0) + 1e-6)
  # As wide as the others: nothing is compiled for length alone.
  length = np.pad(length, ((0, 0), (0, features.shape[1] - 1)))
  unit, units = folds.units(judged)
  problem = fitting.Problem(
    data=DATA,
    seed=seed,
    fold=0,
    user_ids=judged.user_ids,
    prompt_ids=[judged.prompt_ids[p] for p in judged.item_prompt],
    texts=judged.texts,
    unit=unit,
    units=units,
    judged=fitting.judgements(judged.user, judged.items, judged.label),
    split=where,
    inner=np.full(len(where), fitting.UNUSED),
    features={
      'model': lambda: features,
      'length': lambda: length.astype(np.float32),
    },
    oracle=np.full(len(where), np.nan),
    features_name=FEATURES,
  )
  made = fitting.rows_unit(problem, _NONE_HELD)
  arrays = dict(made.arrays)
  record = made.record | {'methods': {}}
  sets = fitting.FeatureSets(problem)
  plain = {'kind': fitting.BASELINE}
  for name, choice in (
    (fitting.LENGTH, {'features': 'length'}),
    (fitting.BASELINE, {'features': 'model'}),
    (kind, None),
  ):
    fitted = model
    if choice is not None:
      fitted = fitting.Fitted.fit(
        plain, choice, problem, problem.training, sets
      )
    role = registry.LEARNERS[kind].role if name == kind else 'control'
    record['methods'][name] = {'role': role}
    for key, p in fitting.predictions(
      problem, _NONE_HELD, fitted, role in _PERSONAL
    ):
      arrays[f'{name}|{key}'] = np.asarray(p, np.float32)
  return rows.Cell(
    data=DATA,
    features=FEATURES,
    seed=seed,
    user_ids=arrays.pop('user_ids'),
    prompt_ids=arrays.pop('prompt_ids'),
    unit_names=arrays.pop('unit_names'),
    arrays=arrays,
    record=record,
  )


def results(
  config: Mapping[str, Any],
  judged: schema.Judgements,
  copied: copies.Copies,
  cell: rows.Cell,
) -> dict[str, Any]:
  """Returns the content of results.json, of which the page makes an answer.

  Args:
    config: of the model.
    judged: all judgements.
    copied: which texts and people are the same.
    cell: from `evaluate`.
  """
  groups = rows.group([cell])
  gain, _ = rows.gain_tables(groups, _REPLICATES)
  strict = np.flatnonzero(judged.label != 0.5)
  checks = copies.rows(judged, copied)
  checks += leaks.rows(
    judged.texts,
    judged.items[strict],
    judged.label[strict] > 0.5,
    seed=cell.seed,
  )
  base = {
    'data': DATA,
    'features': FEATURES,
    'split': folds.NEW_PAIRS,
    'answers': 'all',
    'method': 'data',
  }
  accuracy = rows.accuracy_table(groups, _REPLICATES)
  return {
    'study': 'train',
    'config': dict(config),
    'seeds': [cell.seed],
    'tables': {
      'accuracy': accuracy,
      'gain': gain,
      'controls': [
        *rows.control_table(groups, _REPLICATES),
        *({**base, **row} for row in checks),
      ],
      'calibration': rows.calibration_table(groups),
    },
    **({} if accuracy else {'answer': [NOTHING]}),
  }


def lines(cell: rows.Cell) -> Iterator[str]:
  """Yields a JSON line for every prediction of a method."""
  yield from rows.prediction_lines(rows.group([cell]))
