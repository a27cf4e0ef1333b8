"""Crowd workers who stated their own side, and what a personal model prefers.

Special-category data: see `stated_stances`. Rows hold figures over groups.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging
from scipy import special

from experiments.echo_chambers import real_fits as fits
from prm_jax import types
from prm_jax.audits import sides
from prm_jax.data import load, pipelines, schema
from prm_jax.data.builders.ukp_convarg import stated_stances
from prm_jax.lab import fitting
from prm_jax.models import features as text_features

FEWEST_WORKERS = 10  # of whom a figure may be reported
_NODES = (
  {'kind': 'aggregate', 'ridge': 300.0},
  {'kind': 'hierarchical', 'ridge': 300.0, 'spread': 0.05},
)
_COMPONENTS = 32  # of the arguments' embeddings
_GROUPS = {'all workers': 1, 'workers with 20 or more judgements': 20}
_PLANTED = 0.3  # logits between the sides
_SEED = 0  # of fits, permutations and planted answers


def ukp_stances(
  data_dir: str | Path | None = None, *, source: fits.Source = None
) -> list[fits.Row]:
  """Returns rows: whether a personal model prefers its person's side.

      delta = sign (w_u - w) . (mean features of this side - of the other)

  with w_u a worker's and w the aggregate's weights, sign 1 where the worker
  stated to be on this side and -1 where on the other, averaged over a
  worker's stated sides and then over workers.

  What can be learned: judgements compare two arguments on ONE side, so no
  answer says which side a worker prefers. A delta above zero means that what
  a worker found convincing within a side is, in these features, what sets that
  side apart from the other. Finding nothing says nothing of models trained on
  judgements across sides; a worker with few answers stays near the aggregate.

  Two references. 'stances shuffled' permutes the signs among a side's workers.
  'planted' refits on answers of workers whose weights do lean to their side by
  `_PLANTED` logits: what this audit recovers of a true fault.

  The stance is used here and goes nowhere else: it is no feature, and groups
  of fewer than `FEWEST_WORKERS` workers are left out of the rows.

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    source: of features.

  Raises:
    ValueError: fewer than `FEWEST_WORKERS` workers stated a side.
  """
  folder = load.data_folder(data_dir)
  arguments = load.judgements('ukp_convarg', data_dir=folder)
  strict = pipelines.select(arguments, arguments.label != 0.5)
  judged = fitting.judgements(strict.user, strict.items, strict.label)
  source, texts = source or text_features.Source(), arguments.texts
  used = np.isin(np.arange(len(texts)), strict.items)
  read = text_features.fit('response', source, [], texts, used, _COMPONENTS)
  features = read(source, [], texts)
  stated = _stated(strict, features, used, folder)
  people = len(arguments.user_ids)
  leans = _leans(features, judged, stated, people)
  count = np.bincount(judged.rows.user, minlength=people)
  table = []
  for who, least in _GROUPS.items():
    chosen = count[stated.user] >= least
    some = {name: lean[chosen] for name, lean in leans.items()}
    table += rows(stated.take(chosen), some, who)
  if not table:
    raise ValueError(
      f'fewer than {FEWEST_WORKERS} workers stated a side: nothing is reported'
    )
  return table


def _leans(
  features: np.ndarray, judged: types.Batch, stated: sides.Stated, people: int
) -> dict[str, np.ndarray]:
  """Returns by how much workers lean to a side more than everybody, `[n]`."""

  def excess(answered):
    everybody, own = (
      fits.fit(node, features, answered, people=people, seed=_SEED)
      for node in _NODES
    )
    return everybody, stated.lean(own - everybody)

  weight, lean = excess(judged)
  fault = sides.planted_weights(stated, _PLANTED, people)
  first, second = judged.inputs.index.T
  own, apart = weight + fault, features[first] - features[second]
  margin = np.einsum('nd,nd->n', own[judged.rows.user], apart)
  chance = np.random.default_rng([_SEED, 19]).random(len(margin))
  drawn = (chance < special.expit(margin)).astype(np.float32)
  answered = judged._replace(rows=judged.rows._replace(label=drawn))
  return {
    'hierarchical - aggregate': lean,
    'planted': excess(answered)[1],
    'planted, truth': stated.lean(fault),
  }


def _stated(
  judged: schema.Judgements,
  features: np.ndarray,
  used: np.ndarray,
  folder: Path,
) -> sides.Stated:
  """Returns records of workers who are on a side or against it."""
  topics, side_of = np.array(judged.topics), judged.item_prompt
  mean = np.full((len(judged.prompts), features.shape[1]), np.nan)
  for side in np.unique(side_of[used]):
    mean[side] = features[used & (side_of == side)].mean(0)
  users = {name: row for row, name in enumerate(judged.user_ids)}
  prompts = {name: row for row, name in enumerate(judged.prompt_ids)}
  chose = set(zip(judged.user, side_of[judged.items[:, 0]], strict=True))
  signs = {'same': 1, 'opposite': -1}
  records: list[tuple] = []
  for one in stated_stances.read(folder):
    user, side = users[one.user_id], prompts[one.prompt_id]
    other = np.flatnonzero(topics == one.topic)
    other = other[other != side]
    # Both sides must be there, and the worker's choices on this one.
    if one.stance in signs and (user, side) in chose and len(other) == 1:
      apart = mean[side] - mean[other[0]]
      if np.isfinite(apart).all():
        records.append((user, side, signs[one.stance], apart))
  if not records:
    raise ValueError('no worker stated a side: nothing can be reported')
  return sides.Stated(
    *(np.array(column) for column in zip(*records, strict=True))
  )


def rows(
  stated: sides.Stated, leans: Mapping[str, np.ndarray], who: str
) -> list[fits.Row]:
  """Returns rows of one group of workers; none if too small to report.

  Args:
    stated: n records.
    leans: method -> `[n]`, the one that is audited first.
    who: the group in words.
  """
  n = len(np.unique(stated.user))
  if n < FEWEST_WORKERS:
    logging.warning('%s: too few to report, left out', who)
    return []

  def row(method, quantity, values):
    return fits.mean_row(
      'ukp_convarg', method, f'{quantity}, {who}', values, 'workers'
    )

  own = {name: sides.own_side(stated, lean) for name, lean in leans.items()}
  method, *_ = leans
  size = stated.by_person(np.abs(leans[method]))
  chance = sides.shuffled(
    stated, leans[method], replicates=fits.REPLICATES, seed=_SEED
  )
  return [
    *(row(name, 'own_side_excess', values) for name, values in own.items()),
    fits.row(
      'ukp_convarg',
      'stances shuffled',
      f'own_side_excess, {who}',
      np.concatenate([[chance.mean()], chance]),
      n,
      'permutations',
    ),
    row(method, 'share_above_zero', 0.5 + 0.5 * np.sign(own[method])),
    row(method, 'absolute_side_difference', size),
  ]
