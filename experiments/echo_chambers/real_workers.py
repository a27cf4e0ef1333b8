"""Crowd workers who stated their own side, and what a personal model prefers.

Special-category data: see `stated_stances`. Rows hold figures over groups.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from scipy import special

from experiments.echo_chambers import real_fits as fits
from experiments.personalized_vs_aggregate import problems
from prm_jax import types
from prm_jax.data import load, schema
from prm_jax.data.builders.ukp_convarg import stated_stances
from prm_jax.lab import fitting

FEWEST_WORKERS = 10  # of whom a figure may be reported


def ukp_stances(
  data_dir: str | Path | None = None,
  *,
  seed: int = 0,
  components: int = 32,
  ridge: float = 300.0,
  spread: float = 0.05,
  answers: int = 20,
  planted: float = 0.3,
  topics: int | None = None,
  replicates: int = 1000,
  embed: problems.Embedder | None = None,
) -> list[dict]:
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

  Two references. 'stances shuffled' permutes the signs among a side's workers,
  for more say 'same' than 'opposite' and chance need not be zero. 'planted'
  refits on answers of workers whose weights do lean to their side by `planted`
  logits (averaged over stated sides): what this audit recovers of a true fault.

  The stance is used here and goes nowhere else: it is no feature, and groups
  of fewer than `FEWEST_WORKERS` workers are left out of the rows.

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    seed: of permutations and planted answers.
    components: of the arguments' embeddings.
    ridge: of the aggregate, in answers.
    spread: of people before it is estimated.
    answers: workers with at least so many judgements are a group.
    planted: logits between the sides.
    topics: the first so many debates; all if None.
    replicates: of bootstrap and permutations.
    embed: of texts.

  Raises:
    ValueError: fewer than `FEWEST_WORKERS` workers stated a side.
  """
  embed = embed or problems.Embedder()
  folder = load.data_folder(data_dir)
  arguments = load.judgements('ukp_convarg', data_dir=folder)
  judged = _judged(arguments, topics)
  used = np.isin(np.arange(len(arguments.texts)), judged.inputs.index)
  raw = embed(arguments.texts, 'text', fits.MIDDLE)
  features = fits.Features(arguments.texts, raw, used, components).values
  stated = _stated(arguments, features, used, judged, folder)
  plain = {'kind': 'aggregate', 'ridge': ridge}
  own = {'kind': 'hierarchical'}
  choices = (plain, {**own, 'ridge': ridge, 'spread': spread})
  U = len(arguments.user_ids)
  leans = _leans(
    choices, features, judged, stated, planted, people=U, seed=seed
  )
  count = np.bincount(judged.rows.user, minlength=U)
  out = []
  for who, least in (
    ('all workers', 1),
    (f'workers with {answers} or more judgements', answers),
  ):
    chosen = count[stated.user] >= least
    out += _stance_rows(
      stated, chosen, leans, who, seed=seed, replicates=replicates
    )
  if not out:
    raise ValueError(
      f'fewer than {FEWEST_WORKERS} workers stated a side: nothing is reported'
    )
  return out


def _judged(arguments: schema.Judgements, topics: int | None) -> types.Batch:
  """The strict choices, in some of the debates."""
  strict = arguments.label != 0.5
  if topics is not None:
    kept = sorted(set(arguments.topics))[:topics]
    topic = np.array(arguments.topics)[
      arguments.item_prompt[arguments.items[:, 0]]
    ]
    strict &= np.isin(topic, kept)
  return fitting.judgements(
    arguments.user[strict], arguments.items[strict], arguments.label[strict]
  )


def _leans(
  choices: Sequence[Mapping[str, Any]],
  features: np.ndarray,
  judged: types.Batch,
  stated: '_Stated',
  planted: float,
  *,
  people: int,
  seed: int,
) -> dict[str, np.ndarray]:
  """By how much a worker's rewards lean to a side more than everybody's."""

  def excess(answered):
    everybody, own = (
      fits.fit(choice, features, answered, people=people, seed=seed)
      for choice in choices
    )
    away = (own - everybody)[stated.user]
    return everybody, np.einsum('nd,nd->n', away, stated.apart)

  weight, lean = excess(judged)
  fault = _planted_weights(stated, planted, people)
  first, second = judged.inputs.index.T
  margin = np.einsum(
    'nd,nd->n',
    (weight + fault)[judged.rows.user],
    features[first] - features[second],
  )
  chance = np.random.default_rng([seed, 19]).random(len(margin))
  drawn = (chance < special.expit(margin)).astype(np.float32)
  return {
    'hierarchical - aggregate': lean,
    'planted': excess(judged._replace(rows=judged.rows._replace(label=drawn)))[
      1
    ],
    'planted, truth': np.einsum('nd,nd->n', fault[stated.user], stated.apart),
  }


class _Stated(NamedTuple):
  """Records of workers who are on a side or against it."""

  user: np.ndarray  # [n]
  side: np.ndarray  # [n] row of the prompt
  sign: np.ndarray  # [n] 1 same, -1 opposite
  apart: np.ndarray  # [n, D] mean features of this side minus the other


def _stated(
  arguments: schema.Judgements,
  features: np.ndarray,
  used: np.ndarray,
  judged: types.Batch,
  folder: Path,
) -> _Stated:
  topics = np.array(arguments.topics)
  mean = np.full((len(arguments.prompts), features.shape[1]), np.nan)
  for side in np.unique(arguments.item_prompt[used]):
    mean[side] = features[used & (arguments.item_prompt == side)].mean(0)
  users = {name: row for row, name in enumerate(arguments.user_ids)}
  sides = {name: row for row, name in enumerate(arguments.prompt_ids)}
  judged_by = set(
    zip(
      judged.rows.user,
      arguments.item_prompt[judged.inputs.index[:, 0]],
      strict=True,
    )
  )
  signs = {'same': 1, 'opposite': -1}
  records: list[tuple] = []
  for one in stated_stances.read(folder):
    user, side = users[one.user_id], sides[one.prompt_id]
    other = np.flatnonzero(topics == one.topic)
    other = other[other != side]
    # Both sides must be there, and the worker's choices on this one.
    if one.stance in signs and (user, side) in judged_by and len(other) == 1:
      apart = mean[side] - mean[other[0]]
      if np.isfinite(apart).all():
        records.append((user, side, signs[one.stance], apart))
  if not records:
    raise ValueError('no worker stated a side: nothing can be reported')
  return _Stated(*(np.array(column) for column in zip(*records, strict=True)))


def _planted_weights(stated: _Stated, planted: float, U: int) -> np.ndarray:
  """What makes every worker lean to their sides by `planted`, `[U, D]`."""
  size = (stated.apart**2).sum(1, keepdims=True)
  own = np.zeros((U, stated.apart.shape[1]))
  lean = planted * stated.sign[:, None] * stated.apart / size
  np.add.at(own, stated.user, lean)
  sides = np.bincount(stated.user, minlength=U)
  return own / np.maximum(sides, 1)[:, None]


def _stance_rows(
  stated: _Stated,
  chosen: np.ndarray,
  leans: dict[str, np.ndarray],
  who: str,
  *,
  seed: int,
  replicates: int,
) -> list[dict]:
  """Rows of one group of workers; none if it is too small to report."""
  names, user = np.unique(stated.user[chosen], return_inverse=True)
  n = len(names)
  if n < FEWEST_WORKERS:
    logging.warning('%s: too few to report, left out', who)
    return []
  sign, side = stated.sign[chosen], stated.side[chosen]

  def by_worker(values):
    return fits.by_person(user, values, n)

  def row(method, quantity, values):
    return fits.mean_row(
      'ukp_convarg', method, f'{quantity}, {who}', values, 'workers', replicates
    )

  delta = {name: by_worker(sign * lean[chosen]) for name, lean in leans.items()}
  method, *_ = leans
  lean = leans[method][chosen]
  rng = np.random.default_rng([seed, 20])
  by_side = np.argsort(side, kind='stable')
  mixed, shuffled = np.empty_like(sign), np.zeros(replicates)
  for r in range(replicates):
    mixed[by_side] = sign[np.lexsort((rng.random(len(side)), side))]
    shuffled[r] = by_worker(mixed * lean).mean()
  null = np.concatenate([[shuffled.mean()], shuffled])
  quantity = f'own_side_excess, {who}'
  return [
    *(row(name, 'own_side_excess', values) for name, values in delta.items()),
    fits.row(
      'ukp_convarg', 'stances shuffled', quantity, null, n, 'permutations'
    ),
    row(method, 'share_above_zero', 0.5 + 0.5 * np.sign(delta[method])),
    row(method, 'absolute_side_difference', by_worker(np.abs(lean))),
  ]
