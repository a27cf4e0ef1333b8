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
DROPPED, DROPPED_OWN = 'dropped', 'dropped_own'
_PULLS = (1.0, 3.0, 10.0, 30.0)  # answers that everybody's share is worth


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
    table = pipelines.pairs_from_ratings(
      load.ratings(node.loaded, **options),
      min_gap=0.0,
      tie=node.tie,
      scale=None,
      per_person=node.per_person,
      seed=0,
    )
  most = int(node.get('people', 0))
  if most and most < len(table.user_ids):
    drawn = np.random.default_rng(0).permutation(len(table.user_ids))[:most]
    table = pipelines.select(table, np.isin(table.user, drawn))
  return table


def kept(config: Any, name: str, source: features.Source) -> units.Unit:
  """Returns log losses of held-out judgements with ties kept and dropped.

  A fifth of the pairs is held out, of everybody at once; ridges are chosen on
  a fifth of the others. Who drops ties says them with their share in training,
  everybody's (`dropped`) or a person's own, pulled towards it (`dropped_own`):
  a habit, that a personal head is to beat.

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
  asked = [table.prompts[p] for p in table.item_prompt]
  reader = features.fit(
    config.real.sets[name].get('features', 'response'),
    source,
    asked,
    table.texts,
    texts,
    config.real.components,
  )
  columns = reader(source, asked, table.texts)
  said = candidates.Said(
    table.user.astype(np.int32),
    table.items.astype(np.int32),
    table.label.astype(np.float32),
  )
  parts = [said.take(np.flatnonzero(rows)) for rows in (~out & ~inner, inner)]
  test = said.take(np.flatnonzero(out))
  # Where all texts answer one prompt, what is generalised over is texts.
  one = len(table.prompts) == 1
  first = test.items[:, 0]
  arrays: dict[str, np.ndarray] = {
    'user': test.user,
    'unit': first if one else table.item_prompt[first],
    'tie': test.label == 0.5,
  }
  heads: Mapping[str, Any] = {
    DROPPED: None,
    DROPPED_OWN: None,
    **config.real.heads,
  }
  chosen = {}
  for label, head in heads.items():
    arrays[label], chosen[label] = _best(
      label, head, parts, test, columns, len(table.user_ids), config
    )
  record = {
    'data': name,
    'chosen': chosen,
    'people': len(np.unique(test.user)),
    'units': len(np.unique(arrays['unit'])),
    'unit': 'texts' if one else 'prompts',
    'judgements': len(test.user),
    'tie_share': float(np.mean(said.label == 0.5)),
  }
  return units.Unit(record, arrays)


def _best(label, head, parts, test, columns, people, config):
  """Returns the losses of test rows by what validation chose, and that."""
  made = []
  train, inner = parts
  strict = train.take(np.flatnonzero(train.label != 0.5))
  for ridge in config.sizes.ridges:
    if head is not None:
      steps = config.sizes.steps
      fit = fits.fitted(
        dict(head), train, columns, people=people, ridge=ridge, steps=steps
      )
      losses = [
        _loss(fit.classes(said, columns), said.label) for said in (inner, test)
      ]
      made.append((losses[0].mean(), [ridge], losses[1]))
      continue
    fit = fits.fitted(
      None, strict, columns, people=people, ridge=ridge, steps=1
    )
    for pull in _PULLS if label == DROPPED_OWN else (np.inf,):
      share = tie_share(train, people, pull)
      losses = [
        _dropped(fit, said, columns, share[said.user]) for said in (inner, test)
      ]
      made.append((losses[0].mean(), [ridge, pull], losses[1]))
  best = min(made, key=lambda row: row[0])
  chosen = [value for value in best[1] if np.isfinite(value)]
  return best[2], chosen


def tie_share(said, people, pull):
  """Returns everybody's share of ties `[U]`, their own pulled to the mean.

  Args:
    said: judgements.
    people: U.
    pull: answers that everybody's share is worth; infinite for that alone.
  """
  tie = said.label == 0.5
  shared = tie.mean()
  if not np.isfinite(pull):
    return np.full(people, shared)
  count = np.bincount(said.user, minlength=people)
  own = np.bincount(said.user, tie, minlength=people)
  return (own + pull * shared) / (count + pull)


def _dropped(fit, said, columns, share):
  """Log losses where ties are dropped: their share is all that is known."""
  score = fit.scores(columns)
  apart = score[said.items[:, 0]] - score[said.items[:, 1]]
  first = (1 - share) / (1 + np.exp(-apart))
  classes = np.stack([1 - share - first, share, first], 1)
  return _loss(classes, said.label)


def _loss(classes: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Returns nats `[N]` of second, tie and first."""
  place = np.where(label == 0.5, _TIE, np.where(label > 0.5, _FIRST, _SECOND))
  chosen = np.take_along_axis(classes, place[:, None], 1)[:, 0]
  return -np.log(np.clip(chosen, 1e-7, 1.0))
