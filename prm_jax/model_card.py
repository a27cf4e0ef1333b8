"""README.md of an export: what it is, what was measured, what was not."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from prm_jax import training
from prm_jax.data import schema
from prm_jax.ops import calibration

RESULTS, AUDIT = 'results.json', 'audit'
_FEWEST = 20  # held-out judgements of a temperature
_HOTTEST = 20.0


class Calibration(NamedTuple):
  """What a score is worth.

  Attributes:
    mean, standard_deviation: of scores of training responses; None if there
      are none at hand.
    temperature: held-out judgements fit best where differences of scores are
      divided by it; None where fewer than 20 were held out, or none says.
    judgements: that it was fitted to.
    right: of these, how many the model predicts.
  """

  mean: float | None
  standard_deviation: float | None
  temperature: float | None
  judgements: int
  right: int


def calibrate(
  workdir: Path | None,
  method: str,
  scores: np.ndarray | None,
  person: str | None = None,
) -> Calibration:
  """Returns the calibration of what is exported.

  Args:
    workdir: of `prm train`, with its predictions; None: nothing is known.
    method: whose predictions.
    scores: of training responses, in the export's units.
    person: whose; everybody's if None.

  Raises:
    SchemaError: the predictions cannot be read.
  """
  mean = deviation = None
  if scores is not None and len(scores):
    mean, deviation = float(scores.mean()), float(scores.std())
  path = None if workdir is None else workdir / training.PREDICTIONS
  rows = []
  if path is not None and path.is_file():
    rows = [json.loads(line) for line in schema.read_lines(path)]
  rows = [
    row
    for row in rows
    if row['method'] == method
    and row['answers'] == 'all'
    and row['label'] in (0, 1)
    and person in (None, row['user_id'])
  ]
  p = np.array([row['probability'] for row in rows], float)
  label = np.array([row['label'] for row in rows], float)
  right = int(((p > 0.5) == (label > 0.5)).sum())
  told = temperature(p, label) if len(rows) >= _FEWEST else None
  return Calibration(mean, deviation, told, len(rows), right)


def temperature(p: np.ndarray, label: np.ndarray) -> float | None:
  """Returns T at which sigmoid(logit(p) / T) is likeliest.

  Args:
    p: `[n]` predicted probabilities.
    label: `[n]` 0 or 1.

  Returns:
    T; None where no T is better than the largest or the smallest, of
    predictions that say nothing, or are all right.
  """
  odds = np.clip(p, 1e-6, 1 - 1e-6)
  odds = np.log(odds) - np.log1p(-odds)

  def loss(log_t):
    return np.logaddexp(0, np.where(label > 0.5, -1, 1) * odds / np.exp(log_t))

  bound = math.log(_HOTTEST)
  found = optimize.minimize_scalar(
    lambda x: loss(x).mean(), bounds=(-bound, bound), method='bounded'
  )
  return None if abs(found.x) > 0.98 * bound else float(np.exp(found.x))


def write(
  path: Path,
  *,
  title: str,
  holds: Sequence[str],
  setting: Mapping[str, Any],
  found: Calibration,
  workdir: Path | None,
) -> None:
  """Writes the card.

  Args:
    path: README.md of the export.
    title: one line.
    holds: paragraphs that say what is in the folder and how it is read.
    setting: of the model, plain data.
    found: calibration.
    workdir: of `prm train`, whose results are told; None of an export.
  """
  blocks = [
    '---\nlibrary_name: transformers\npipeline_tag: text-classification\n---',
    f'# {title}',
    *holds,
    '## What a score is',
    _SCORE,
    *_calibrated(found),
    '## What it was trained on',
    _DATA.format(**setting),
    '## How good it is',
    *_measured(workdir, str(setting['method'])),
    '## Hazards',
    *_hazards(workdir),
    '## Limits',
    _LIMITS,
  ]
  path.write_text('\n\n'.join(blocks) + '\n', encoding='utf-8')


def _calibrated(found: Calibration) -> list[str]:
  told = []
  if found.mean is not None:
    told.append(
      'Of the training responses that the model kept, scores have mean '
      f'{found.mean:.4g} and standard deviation {found.standard_deviation:.4g}.'
    )
  if found.temperature is not None:
    told.append(
      f'Temperature: {found.temperature:.3g}, fitted to {found.judgements} '
      'held-out judgements: divide differences of scores by it before they '
      'are read as log-odds.'
    )
  else:
    told.append(
      f'No temperature: {found.judgements} held-out judgements are too few, '
      'or their likelihood has no maximum.'
    )
  return told


def _measured(workdir: Path | None, method: str) -> list[str]:
  """Returns what results.json says."""
  known = _json(workdir / RESULTS) if workdir is not None else None
  if known is None:
    return [
      'Not measured: the export was made without the results of training.'
    ]
  told = list(known.get('answer') or [])
  rows = known.get('tables', {}).get('accuracy', [])
  for row in rows:
    if row.get('method') in (method, 'aggregate') and row['answers'] == 'all':
      told.append(
        f'- {row["method"]}, {row["split"]}: accuracy {row["accuracy"]:.3f} '
        f'[{row["accuracy_low"]:.3f}, {row["accuracy_high"]:.3f}]'
      )
  return [*told, _SPLIT]


def _hazards(workdir: Path | None) -> list[str]:
  """Returns what the audit found, or that none was run."""
  path = None if workdir is None else workdir / AUDIT / RESULTS
  known = None if path is None else _json(path)
  if known is None:
    return [
      '**No hazard audit was run** (`prm audit`): whether people are served '
      'different sides of contested questions, or less truth, is not known.'
    ]
  return list(known['answer'])


def _json(path: Path) -> dict[str, Any] | None:
  return (
    json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None
  )


def of_person(found: Calibration) -> str:
  """Returns how often the model is right about one person, in a sentence."""
  n, right = found.judgements, found.right
  if not n:
    return (
      'No judgement of this person was held out: how well it knows them '
      'is not measured.'
    )
  hits = np.arange(n) < right
  share = calibration.coverage(np.zeros(n), np.zeros(n), np.where(hits, 0.0, 1))
  return (
    f'Of {n} judgements of this person that were held out it predicts {right}: '
    f'{share.value:.3f} [{share.low:.3f}, {share.high:.3f}].'
  )


_SCORE = """\
A score is how much a response is expected to be liked, in logits: the
difference of two responses to one prompt is the log-odds that the first is
preferred. Scores of responses to two prompts do not compare, and neither do
scores of two people."""
_DATA = """\
{judgements} judgements of {people} people, by the method `{method}` (prm_jax,
seed {seed}). The data are not here, and no licence of theirs is known: who
publishes this has to say both."""
_SPLIT = """\
One judgement in ten was held out, whole pairs of a person, by a hash;
intervals are at 95 %, over what the results say was resampled."""
_LIMITS = """\
Measured on people and texts like those of training alone. A reward that is
optimised against is found out: bound it (best of few, a KL penalty). Texts
that are longer than what is read are cut: the prompt keeps its end, the
response its start."""
