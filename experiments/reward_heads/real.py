"""Whether ties that real people call are worth keeping."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.reward_heads import fits
from prm_jax.data import load, pipelines, schema, splits
from prm_jax.lab import units
from prm_jax.models import features
from prm_jax.worlds import candidates

_SECOND, _TIE, _FIRST = 0, 1, 2


def _of_ratings(ratings: schema.Ratings, node, seed: int) -> schema.Judgements:
  """Returns pairs of texts that one person rated: a small gap is a tie."""
  rng = np.random.default_rng(seed)
  order = np.lexsort((rng.random(len(ratings.user)), ratings.user))
  per_person = 2 * int(node['per_person'])
  person = ratings.user[order]
  first = np.r_[0, np.flatnonzero(np.diff(person)) + 1]
  counts = np.diff(np.r_[first, len(person)])
  place = np.arange(len(person)) - np.repeat(first, counts)
  paired = np.repeat(counts // 2 * 2, counts)
  use = order[(place < per_person) & (place < paired)]
  a, b = use[::2], use[1::2]
  gap = ratings.rating[a] - ratings.rating[b]
  label = np.where(np.abs(gap) <= node['tie'], 0.5, gap > 0)
  return schema.Judgements(
    **{
      name: getattr(ratings, name) for name in schema.Texts.__dataclass_fields__
    },
    user=ratings.user[a],
    items=np.stack([ratings.item[a], ratings.item[b]], 1),
    label=label.astype(np.float32),
  )


def judged(config: Any, name: str) -> schema.Judgements:
  """Returns the judgements of a real set, with the ties that people called.

  Args:
    config: of the study.
    name: of the set.
  """
  node = config.real.sets[name]
  options = {'data_dir': config.data.dir or None, **dict(node.options)}
  if node.form == 'judgements':
    table = load.judgements(node.loaded, **options)
  else:
    table = _of_ratings(load.ratings(node.loaded, **options), node, 0)
  most = int(node.get('people', 0))
  if most and most < len(table.user_ids):
    drawn = np.random.default_rng(0).permutation(len(table.user_ids))[:most]
    table = pipelines.select(table, np.isin(table.user, drawn))
  return table


def kept(config: Any, name: str, source: features.Source) -> units.Unit:
  """Returns log losses of held-out judgements with ties kept and dropped.

  A fifth of the pairs is held out, of everybody at once; ridges are chosen on
  a fifth of the others. Who drops ties says them with their training share.

  Args:
    config: of the study.
    name: of the set.
    source: of features.
  """
  table = judged(config, name)
  fold = splits.bucket(
    pipelines.pair_names(table, of_each=False), f'heads-{name}', 25
  )
  out, inner = fold < 5, (fold >= 5) & (fold < 9)
  texts = np.unique(table.items[~out])
  reader = features.fit(
    'response',
    source,
    [table.prompts[p] for p in table.item_prompt],
    table.texts,
    texts,
    config.real.components,
  )
  columns = reader(
    source, [table.prompts[p] for p in table.item_prompt], table.texts
  )
  said = candidates.Said(
    table.user.astype(np.int32),
    table.items.astype(np.int32),
    table.label.astype(np.float32),
  )
  parts = [said.take(np.flatnonzero(rows)) for rows in (~out & ~inner, inner)]
  test = said.take(np.flatnonzero(out))
  arrays: dict[str, np.ndarray] = {
    'user': test.user,
    'unit': table.item_prompt[test.index[:, 0]],
    'tie': test.label == 0.5,
  }
  heads: Mapping[str, Any] = {'dropped': None, **config.real.heads}
  chosen = {}
  for label, head in heads.items():
    node = dict(head) if head else None
    losses, ridge = _best(
      node, parts, test, columns, len(table.user_ids), config
    )
    arrays[label], chosen[label] = losses, ridge
  record = {
    'data': name,
    'ridge': chosen,
    'people': len(np.unique(test.user)),
    'prompts': len(np.unique(arrays['unit'])),
    'judgements': len(test.user),
    'tie_share': float(np.mean(said.label == 0.5)),
  }
  return units.Unit(record, arrays)


def _best(head, parts, test, columns, people, config):
  """Returns the losses of test rows at the ridge that validation chose."""
  made = []
  for ridge in config.sizes.ridges:
    train, inner = parts
    if head is None:
      strict = train.take(np.flatnonzero(train.label != 0.5))
      fit = fits.fitted(
        None, strict, columns, people=people, ridge=ridge, steps=1
      )
      share = float(np.mean(train.label == 0.5))
      losses = [_dropped(fit, said, columns, share) for said in (inner, test)]
    else:
      fit = fits.fitted(
        head,
        train,
        columns,
        people=people,
        ridge=ridge,
        steps=config.sizes.steps,
      )
      losses = [
        _loss(fit.classes(said, columns), said.label) for said in (inner, test)
      ]
    made.append((losses[0].mean(), ridge, losses[1]))
  best = min(made, key=lambda row: row[0])
  return best[2], best[1]


def _dropped(fit, said, columns, share):
  """Log losses where ties are dropped: their share is all that is known."""
  score = fit.scores(columns)
  apart = score[said.index[:, 0]] - score[said.index[:, 1]]
  first = (1 - share) / (1 + np.exp(-apart))
  classes = np.stack([1 - share - first, np.full(len(apart), share), first], 1)
  return _loss(classes, said.label)


def _loss(classes: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Returns nats `[N]` of second, tie and first."""
  place = np.where(label == 0.5, _TIE, np.where(label > 0.5, _FIRST, _SECOND))
  chosen = np.take_along_axis(classes, place[:, None], 1)[:, 0]
  return -np.log(np.clip(chosen, 1e-7, 1.0))
