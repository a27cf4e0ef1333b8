"""Anybody's judgements or ratings as problems: folds of people and pairs.

Fold `k` of three keeps a third of the people for the end, who answer and are
then asked; and, of what the others said, a fifth of the pairs (regime `pairs`)
or a third of the prompts (regime `prompts`). Everybody and every prompt is new
once. Splits go by hash of what is the same: a copied person is on one side, a
pair in either order and spacing, a prompt with all of its texts.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from prm_jax.audits import copies
from prm_jax.data import pipelines, schema, splits
from prm_jax.lab import fitting
from prm_jax.models import embeddings, features, reduce

FOLDS, INNER = 3, 5
_ROUNDS, _MANY = 3, 60  # with fewer prompts every one of them validates once
PAIRS, PROMPTS = 'pairs', 'prompts'
FEW_PROMPTS = 5  # with fewer, nothing is said of new ones
NEW_PAIRS, NEW_PROMPTS = 'new_pairs', 'new_prompts'
NEW_PEOPLE_PROMPTS = f'{fitting.NEW_PEOPLE}_{NEW_PROMPTS}'
_TRAINED, _ASKED = 200, 50  # pairs of a person's ratings, at most
_APART = 0.25  # standard deviations: nearer ratings compare nothing
_HELD = 5  # one in so many pairs, or ratings, is held out
_RATED = 3  # parts of ratings: pairs of which both are in one validate
_KNOWN, _OFTEN = 1024, 10  # few texts, each judged often, are known ones


class Case(NamedTuple):
  """A problem, and the folds inside its training rows.

  Attributes:
    problem: the split data.
    folds: `[n]` int; fold 0 validates searches, or each in its turn.
  """

  problem: fitting.Problem
  folds: np.ndarray


@dataclasses.dataclass(frozen=True)
class Data:
  """What a comparison reads.

  Attributes:
    name: of the data in tables.
    judged: judgements or ratings.
    copied: which texts and people are the same.
    source: of features.
    components: columns of a feature set, besides length.
    seed: of all splits.
  """

  name: str
  judged: schema.Judgements | schema.Ratings
  copied: copies.Copies
  source: features.Source
  components: int
  seed: int


def regimes(judged: schema.Texts) -> tuple[str, ...]:
  """Returns the regimes that data have: too few prompts have no new ones."""
  several = len(set(judged.topics)) >= FEW_PROMPTS
  return (PAIRS, PROMPTS) if several else (PAIRS,)


def case(data: Data, regime: str, fold: int) -> Case:
  """Returns one fold of a regime.

  Args:
    data: what is compared on.
    regime: `PAIRS` or `PROMPTS`.
    fold: 0 to 2.
  """
  table = _Table(data)
  out = table.prompt_part == fold if regime == PROMPTS else None
  if isinstance(data.judged, schema.Ratings):
    pairs, held, inner = _rated(data, table, regime, fold, out)
  else:
    pairs, held, inner = _judged(data, table, regime, fold, out)
  new = table.person_part[pairs.user] == fold
  here = np.zeros(len(new), bool) if out is None else out[pairs.items[:, 0]]
  split = np.select(
    [here & new, here, new & held, new, held],
    [
      NEW_PEOPLE_PROMPTS,
      NEW_PROMPTS,
      fitting.NEW_PEOPLE,
      fitting.CALIBRATION,
      NEW_PAIRS,
    ],
    fitting.TRAIN,
  )
  if regime == PROMPTS:
    # New pairs of known prompts are the other regime's.
    other = np.isin(split, [NEW_PAIRS, fitting.NEW_PEOPLE])
    split = np.where(other, fitting.NOT_USED, split)
  order = np.random.default_rng([data.seed, 1]).permutation(len(split))
  training = split == fitting.TRAIN
  role = np.where(inner == 0, fitting.VALIDATE, fitting.FIT)
  if regime == PROMPTS and table.few:
    role = fitting.VALIDATE + inner
  role = np.where(training & (inner != _NEITHER), role, fitting.UNUSED)
  texts = np.zeros(len(table.prompt), bool)
  texts[pairs.items[training]] = True
  unit, name = units(data.judged)
  problem = fitting.of_table(
    pipelines.select(pairs, order),
    data=data.name,
    seed=data.seed,
    fold=fold,
    unit=unit,
    units=name,
    split=split[order],
    inner=role[order],
    features=_makers(data, table, regime, texts),
    features_name='',
  )
  return Case(problem, np.maximum(inner[order], 0))


_NEITHER = -1  # of a pair's ratings one validates and one fits


class _Table:
  """Names of what is the same, and parts by hash."""

  def __init__(self, data: Data):
    judged, copied = data.judged, data.copied
    self.data = data
    self.prompt = np.array(judged.topics)[judged.item_prompt]
    self.text = [splits.plain(judged.texts[t]) for t in copied.text]
    self.person = [judged.user_ids[u] for u in copied.person]
    self.person_part = dealt(self.person, FOLDS, f'people{data.seed}')
    self.few = len(set(judged.topics)) < _MANY
    self.prompt_part = np.zeros(len(self.prompt), int)
    if len(regimes(judged)) > 1:
      self.prompt_part = dealt(
        self.prompt.tolist(), FOLDS, f'prompts{data.seed}'
      )


def units(judged: schema.Texts) -> tuple[list[str], str]:
  """Returns what each text `[M]` is one of, and what these are called.

  Responses themselves, where there are too few prompts to be generalised over.
  """
  if len(regimes(judged)) == 1:
    return [str(t) for t in range(len(judged.texts))], 'responses'
  own = judged.topics == judged.prompt_ids
  names = [judged.topics[p] for p in judged.item_prompt]
  return names, 'prompts' if own else 'topics'


def dealt(names: list[str], parts: int, salt: str) -> np.ndarray:
  """Returns the part `[n]` of every row; parts hold near-equal many names.

  Args:
    names: of each row; equal ones are in one part.
    parts: how many.
    salt: gives another deal.
  """
  known = sorted(set(names))
  order = np.argsort(splits.bucket(known, salt, 1 << 62), kind='stable')
  part = dict(zip([known[i] for i in order], range(len(known)), strict=True))
  return np.array([part[name] % parts for name in names], int)


def _judged(data, table, regime, fold, out):
  """Returns judgements, which are held out, and their inner folds."""
  judged = data.judged
  salt = f'pairs{data.seed}'
  person = [table.person[u] for u in judged.user]
  text = [
    tuple(sorted((table.text[a], table.text[b]))) for a, b in judged.items
  ]
  pair = [f'{u}\0{a}\0{b}' for u, (a, b) in zip(person, text, strict=True)]
  held = splits.bucket(pair, salt, _HELD) == fold
  if out is not None:
    inner = _inner_prompts(table, judged.items[:, 0], out, data.seed)
    return judged, np.zeros(len(held), bool), inner
  return judged, held, splits.bucket(pair, f'inner{data.seed}', INNER)


def _inner_prompts(table, first, out, seed):
  """Deals the prompts that are not held out into inner folds."""
  names = table.prompt[first]
  inner = np.zeros(len(first), int)
  known = ~out[first]
  parts = _ROUNDS if table.few else INNER
  inner[known] = dealt(names[known].tolist(), parts, f'inner{seed}')
  return inner


def _rated(data, table, regime, fold, out):
  """Returns pairs of ratings; ratings are held out before they are paired."""
  ratings = data.judged
  name = [
    f'{table.person[u]}\0{table.text[t]}'
    for u, t in zip(ratings.user, ratings.item, strict=True)
  ]
  held = splits.bucket(name, f'ratings{data.seed}', _HELD) == fold
  if out is not None:
    held = out[ratings.item]
  spread = _within(ratings)
  parts: list[schema.Judgements] = []
  for chosen, most, scale in ((~held, _TRAINED, spread), (held, _ASKED, None)):
    parts.append(
      pipelines.pairs_from_ratings(
        pipelines.select(ratings, chosen),
        min_gap=_APART * spread,
        scale=scale,
        per_person=most,
        seed=data.seed * 10 + len(parts),
      )
    )
  both = pipelines.joined(parts)
  asked = np.arange(len(both.user)) >= len(parts[0].user)
  if out is not None:
    inner = _inner_prompts(table, both.items[:, 0], out, data.seed)
    return both, np.zeros(len(asked), bool), inner
  return both, asked, _inner_ratings(both, table, data.seed)


def _inner_ratings(pairs, table, seed):
  """Returns inner folds of pairs; a rating validates, or trains, not both."""
  parts = np.stack(
    [
      splits.bucket(
        [
          f'{table.person[u]}\0{table.text[t]}'
          for u, t in zip(pairs.user, pairs.items[:, side], strict=True)
        ],
        f'inner{seed}',
        _RATED,
      )
      for side in (0, 1)
    ],
    1,
  )
  first, second = (parts == 0).T
  return np.where(first != second, _NEITHER, parts.max(1))


def _within(ratings: schema.Ratings) -> float:
  """Returns how far a person's ratings lie apart, one standard deviation."""
  count = np.bincount(ratings.user)
  mean = np.bincount(ratings.user, ratings.rating) / np.maximum(count, 1)
  gap = ratings.rating - mean[ratings.user]
  return float(max(np.sqrt(np.mean(gap**2)), 1e-6))


def _makers(data: Data, table: _Table, regime: str, train: np.ndarray):
  """Returns the makers of feature sets, and of `length`.

  Args:
    data: texts and their source.
    table: of the same.
    regime: known texts say nothing of new prompts.
    train: `[M]` True where a reduction may look.
  """
  judged = data.judged

  def make(kind):
    reader = features.fit(
      kind,
      data.source,
      judged.prompt_texts,
      judged.texts,
      train,
      data.components,
    )
    return reader(data.source, judged.prompt_texts, judged.texts)

  def maker(kind):
    return lambda: make(kind)

  length = embeddings.text_length_features(judged.texts)
  made: dict[str, Any] = {kind: maker(kind) for kind in kinds(data, regime)}

  def alone():
    # As wide as the others: nothing is compiled for length alone.
    columns = reduce.standardisation(length, train)(length)
    return np.pad(columns, ((0, 0), (0, data.components)))

  made['length'] = alone
  return made


def kinds(data: Data, regime: str) -> Iterator[str]:
  """Yields the feature sets that a search chooses among."""
  judged = data.judged
  if data.source.backbone is not None:
    yield features.BACKBONE
    return
  yield 'response'
  if not data.source.own and len(judged.prompts) > 1:
    yield 'prompt_and_response'
  yield 'surface'
  often = 2 * len(judged.user) >= _OFTEN * len(judged.texts)
  if regime == PAIRS and often and len(judged.texts) <= _KNOWN:
    yield 'known_texts'
