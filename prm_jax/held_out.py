"""How good a trained model is: what is held out, and what it is set against."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from prm_jax import registry, types
from prm_jax.audits import controls, copies, leaks
from prm_jax.data import schema, splits
from prm_jax.learners import inference
from prm_jax.models import embeddings
from prm_jax.ops import statistics
from prm_jax.report import page
from prm_jax.runtime import train
from prm_jax.setting import Setting

Row = dict[str, Any]
TRAIN, NEW_PAIRS = 'train', 'new_pairs'
_WHERE = {'data': 'preferences', 'features': 'text', 'split': NEW_PAIRS}
_BASELINE = 'aggregate'
_PROMPTS = 5  # with fewer, nothing is said of new ones: people are resampled
_NOTHING = (
  'No judgement that says which of two is better was held out: the model is '
  'trained and can be used, and how good it is cannot be said. Some hundred '
  'judgements would tell.'
)


def split(
  judged: schema.Judgements, found: copies.Copies, seed: int
) -> np.ndarray:
  """Returns TRAIN or NEW_PAIRS for every judgement `[n]`, by hash.

  What a person, or a copy of theirs, said of two texts, or of nearly the same
  two, is on one side, in either order.

  Args:
    judged: judgements.
    found: which texts and people are copies.
    seed: of the split.
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
  ]  # fmt: skip
  held = splits.bucket(names, f'pairs{seed}', 10) == 0
  return np.where(held, NEW_PAIRS, TRAIN)


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Predictions of the judgements that say which is better, by method.

  Attributes:
    judged: all judgements; asked: `[B]` rows of those that are predicted.
    probability: method -> `[B]`; controls are 'METHOD|CONTROL'.
  """

  judged: schema.Judgements
  asked: np.ndarray
  probability: dict[str, np.ndarray]

  def run(self, name: str) -> list[statistics.Run]:
    """Returns a method's predictions; rows that it cannot say are left out."""
    p, judged = self.probability[name], self.judged
    prompt = judged.item_prompt[judged.items[self.asked, 0]]
    few = len(np.unique(prompt)) < _PROMPTS
    run = statistics.Run(
      p,
      judged.label[self.asked] > 0.5,
      judged.user[self.asked],
      None if few else statistics.Units('prompts', prompt),
    )
    return [run.take(np.isfinite(p))] if np.isfinite(p).any() else []

  def lines(self) -> Iterator[str]:
    """Yields a JSON line for every prediction of a method."""
    judged = self.judged
    prompt = judged.item_prompt[judged.items[:, 0]]
    for name, p in self.probability.items():
      for row, value in zip(self.asked, p, strict=True):
        if '|' in name or not np.isfinite(value):
          continue
        yield json.dumps({
          **_WHERE,
          'method': name,
          'user_id': judged.user_ids[judged.user[row]],
          'prompt_id': judged.prompt_ids[prompt[row]],
          'row': int(row) + 1,
          'label': float(judged.label[row]),
          'probability': round(float(value), 4),
        }) + '\n'  # fmt: skip


def predict(
  setting: Setting,
  state: types.TrainState,
  judged: schema.Judgements,
  data: types.Batch,
  held: np.ndarray,
) -> HeldOut:
  """Returns what the model, the aggregate, length and controls predict.

  Args:
    setting: of the model.
    state: of the model.
    judged: all judgements.
    data: the same, of which unmasked rows train.
    held: `[n]` True where a judgement is held out.
  """
  asked = np.flatnonzero(held & (judged.label != 0.5))
  found: dict[str, np.ndarray] = {}
  if not asked.size:
    return HeldOut(judged, asked, found)
  test = data.take(asked)
  length = embeddings.text_length_features(judged.texts)
  length = (length - length.mean(0)) / (length.std(0) + 1e-6)
  plain = registry.build('learner', {'kind': _BASELINE})

  def fitted(over: types.Batch) -> types.TrainState:
    spec = setting.spec._replace(features=over.inputs.value.shape[1])
    return train.fit(plain, over, key=state.key, spec=spec)

  def say(learner, state, over, judged, context=None) -> np.ndarray:
    system = learner.system
    if context is None:
      context = known(learner, state, over)
    return inference.predict(
      system, state.params, context, judged.over(over.inputs.value)
    )

  def known(learner, state, over):
    return inference.infer(
      learner.system, state.params, over, key=state.key, people=setting.people
    )

  short = data.over(length.astype(np.float32))
  found['length_only'] = say(plain, fitted(short), short, test)
  found['majority_of_others'] = controls.majority_of_others(
    test, data.take(np.flatnonzero(np.asarray(data.rows.mask) > 0))
  )
  found[_BASELINE] = say(plain, fitted(data), data, test)
  learner, method = setting.learner(), setting.method
  context = known(learner, state, data)
  found[method] = say(learner, state, data, test, context)
  found[f'{method}|exchange'] = say(
    learner, state, data, controls.exchanged(test), context
  )
  if registry.LEARNERS[method].role == 'personal':
    trained = np.unique(data.rows.user[np.asarray(data.rows.mask) > 0])
    if len(trained) > 1:
      found[f'{method}|swapped_people'] = say(
        learner, state, data, test,
        controls.swapped_people(context, trained, seed=setting.seed),
      )  # fmt: skip
    nobody = data.masked(np.zeros(len(judged.user)))
    found[f'{method}|population_coefficients'] = say(
      learner, state, data, test, known(learner, state, nobody)
    )
  return HeldOut(judged, asked, found)


def results(
  setting: Setting, told: HeldOut, copied: copies.Copies
) -> dict[str, Any]:
  """Returns the content of results.json.

  Args:
    setting: of the model.
    told: predictions.
    copied: which texts and people are the same.
  """
  judged = told.judged
  strict = np.flatnonzero(judged.label != 0.5)
  found: dict[str, Any] = {
    'study': 'train',
    'config': dataclasses.asdict(setting),
    'seeds': [setting.seed],
    'tables': {'accuracy': [], 'gain': []},
  }
  checks = copies.rows(judged, copied)
  if strict.size:
    checks += leaks.rows(
      judged.texts, judged.items[strict], judged.label[strict] > 0.5,
      seed=setting.seed,
    )  # fmt: skip
  base = {**_WHERE, 'answers': 'all'}
  checks = [{**base, 'method': 'data', **row} for row in checks]
  if not told.asked.size:
    found['tables']['controls'] = checks
    return found | {'answer': [_NOTHING, *page.alarms(checks)]}
  accuracy, gain, tested = [], [], []
  for name in told.probability:
    method, _, control = name.partition('|')
    row = {**base, 'method': method}
    if control == 'exchange':
      gap = told.probability[method] + told.probability[name] - 1
      tested.append(
        {
          **row,
          'control': control,
          'quantity': 'largest gap',
          'value': float(np.abs(gap).max()),
        }
      )
    elif control:
      tested.append({**row, 'control': control, **_less(told, method, name)})
    elif run := told.run(name):
      accuracy.append({**row, **statistics.summarize(run)})
      if method in {setting.method, 'length_only'} - {_BASELINE}:
        gain.append({**row, **_gained(told, method)})
  found['tables'] = {
    'accuracy': accuracy,
    'gain': gain,
    'controls': tested + checks,
    'calibration': [
      {**base, 'method': name, **row}
      for name in dict.fromkeys((_BASELINE, setting.method))
      for row in statistics.calibration(told.run(name))
    ],
  }
  return found


def _gained(told: HeldOut, method: str) -> Row:
  role: str | None = 'control'
  if method in registry.LEARNERS:
    role = registry.LEARNERS[method].role
  return {
    'role': role,
    'baseline': _BASELINE,
    'judgements': 'all',
    **statistics.paired_gain(told.run(method), told.run(_BASELINE)),
  }


def _less(told: HeldOut, method: str, control: str) -> Row:
  """Returns the accuracy that is lost with a control's beliefs."""
  row = statistics.paired_gain(told.run(method), told.run(control))
  return {
    'quantity': 'accuracy difference',
    'value': row['gain'],
    'value_low': row['gain_low'],
    'value_high': row['gain_high'],
    **{
      n: row.get(n)
      for n in ('people', 'units', 'pairs', 'resampled', 'coverage')
    },
  }
