"""Stances in real text: what a personal reward serves, and to whom.

Three materials: persona statements judged by simulated people (the hidden
channel: a history of choices), the political typology with a biography in the
prompt (the visible channel), and crowd workers who stated their own stance.
Every function returns rows of the table `real_text`: `material`, `method`,
`quantity`, `value`, `value_low`, `value_high` (95 %), `n` and `unit`, what was
resampled.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from experiments.echo_chambers import real_fits as fits
from experiments.echo_chambers import real_workers
from prm_jax.audits import sides
from prm_jax.data import load, schema, splits
from prm_jax.lab import fitting
from prm_jax.models import features as text_features
from prm_jax.worlds import responses, statement_readers

TRAITS = ('politically-liberal', 'politically-conservative')
_TASTES = [responses.MEASURES.index(m) for m in ('length', 'readability')]
_NODES = {
  'aggregate': {'kind': 'aggregate', 'ridge': 10.0},
  'hierarchical': {'kind': 'hierarchical', 'ridge': 10.0, 'spread': 0.3},
}
_PEOPLE = 600  # of each seed
_COMPONENTS = 32  # of the statements' embeddings
_ANSWERS = 20  # pairs that each reader judges in training
_STRENGTH = 2.0  # logit of who cares between opposing statements
_POOL = 64  # statements that can be served at once
_DIVERGENCE = 0.5  # mean KL to the uniform policy, nats
_SEEDS_RESAMPLED = 5  # fewer seeds are averaged, not drawn
_LAST = 6  # layer of the encoder

# ----------------------------------------------------- a: hidden in a history


class _Seed(NamedTuple):
  """What one seed gives for every method."""

  cares: np.ndarray  # [U]
  stance: dict[str, np.ndarray]  # [U, P] mean served side in every pool
  right: dict[str, np.ndarray]  # [U] accuracy on held-out pairs
  transfer: dict[tuple[str, str], np.ndarray]  # [U, Q] P(liberal answer)
  probe: np.ndarray  # [M] right or not, NaN where not held out
  probe_transfer: dict[str, np.ndarray]  # [Q]


def persona_history(
  data_dir: str | Path | None = None,
  *,
  seeds: Sequence[int] = (0, 1, 2, 3, 4),
  source: fits.Source = None,
) -> list[fits.Row]:
  """Returns rows: what side a history of choices lets a person be served.

  A third of the people each prefer liberal statements, conservative ones, or
  neither; all have a taste in length and readability. Everything is measured
  on statements that nobody judged. The served stance is the mean side, between
  -1 and 1, of `served_side`.

  The systematic variance is the covariance, over people, of the stances
  served from disjoint pools: what is of the person and not of the pool. An
  error of belief that stays with a person counts: they are served it.

  The transfer is P(liberal answer) to the typology's questions, sigmoid of the
  reward difference of its answers, encoded alone or after the question. Alone,
  questions with the same answers but opposite liberal ones cancel exactly.

  Intervals are of a bootstrap over people, and over seeds from five on.

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    seeds: of people, their answers and what is held out.
    source: of features.
  """
  source = source or text_features.Source()
  texts, side = opposing_statements(data_dir)
  answers = _answers(load.political_typology(data_dir))
  told = texts, side, answers, source
  drawn = _Drawn([_one_seed(*told, seed) for seed in seeds])
  return [*_served_rows(drawn), *_transfer_rows(drawn), *_probe_rows(drawn)]


def opposing_statements(
  data_dir: str | Path | None,
) -> tuple[list[str], np.ndarray]:
  """Returns M statements of both traits, and sides `[M]`.

  The side is the trait's if agreeing shows it, and the other one if not: 1
  liberal, -1 conservative.
  """
  statements = load.persona_statements(data_dir)
  match, trait = np.asarray(statements.match), statements.trait
  liberal, other = (trait == statements.traits.index(name) for name in TRAITS)
  groups = liberal & match, liberal & ~match, other & match, other & ~match
  rows = np.concatenate([np.flatnonzero(group) for group in groups])
  side = np.where(liberal == match, 1, -1)
  return [statements.texts[row] for row in rows], side[rows]


def _one_seed(
  texts: Sequence[str],
  side: np.ndarray,
  answers: Mapping[str, Sequence[str]],
  source: fits.Source,
  seed: int,
) -> _Seed:
  held_out = splits.bucket(texts, f'statements{seed}', 10) < 4
  readers = statement_readers.readers(
    side,
    responses.measure(texts)[:, _TASTES],
    held_out,
    seed=seed,
    people=_PEOPLE,
    answers=_ANSWERS,
    strength=_STRENGTH,
  )
  read = text_features.fit(
    'response', source, [], texts, ~held_out, _COMPONENTS
  )
  values = read(source, [], texts)
  # Texts of a question's answers are two by two, the liberal one first.
  columns = {name: read(source, [], some) for name, some in answers.items()}
  apart = {name: some[::2] - some[1::2] for name, some in columns.items()}
  held = np.random.default_rng([seed, 18]).permutation(np.flatnonzero(held_out))
  pools = held[: len(held) // _POOL * _POOL].reshape(-1, _POOL)
  user, items, label = readers.asked
  judged, U = fitting.judgements(*readers.judged), len(readers.cares)
  weights = {
    name: fits.fit(node, values, judged, people=U, seed=seed)
    for name, node in _NODES.items()
  }
  rewards = {
    name: np.broadcast_to(weight @ values.T, (U, len(values)))
    for name, weight in weights.items()
  }
  rewards['truth'] = readers.reward
  stance, right = {}, {}
  for name, reward in rewards.items():
    stance[name] = sides.served_side(reward, side, pools, _DIVERGENCE)
    margin = reward[user, items[:, 0]] - reward[user, items[:, 1]]
    right[name] = ((margin > 0) == label).reshape(U, -1).mean(1)
  probe = _probe(values, side, ~held_out)
  correct = np.sign(values @ probe[1:] + probe[0]) == side
  return _Seed(
    cares=readers.cares,
    stance=stance,
    right=right,
    transfer={
      (name, given): np.broadcast_to(
        special.expit(weight @ gap.T), (U, len(gap))
      )
      for name, weight in weights.items()
      for given, gap in apart.items()
    },
    probe=np.where(held_out, correct, np.nan),
    probe_transfer={
      given: (gap @ probe[1:] > 0).astype(float) for given, gap in apart.items()
    },
  )


class _Drawn:
  """Everybody of all seeds, and how often each is drawn, `[1 + R, n]`."""

  def __init__(self, seeds: Sequence[_Seed]):
    self.seeds = seeds
    sizes = [len(seed.cares) for seed in seeds]
    self.group = np.repeat(np.arange(len(seeds)), sizes)
    groups = len(seeds) >= _SEEDS_RESAMPLED
    self.unit = 'people and seeds' if groups else 'people'
    self.weights = fits.draws(self.group, resample_groups=groups)

  def mean(self, function, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean `[1 + R]` over seeds of f(seed, weights of people)."""
    weights = self.weights if weights is None else weights
    total, share = np.zeros(len(weights)), np.zeros(len(weights))
    for number, seed in enumerate(self.seeds):
      own = weights[:, self.group == number]
      size = own.sum(1)
      drawn = size > 0
      # A replicate may leave a seed out; it must not divide by nothing.
      values = function(seed, np.where(drawn[:, None], own, 1.0))
      total += np.where(drawn, size * values, 0.0)
      share += size
    return total / share


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  return (weights * values).sum(1) / weights.sum(1)


def _served_rows(drawn: _Drawn) -> list[fits.Row]:
  """Returns rows of what is served; the interval is over people and seeds."""
  quantities = {
    'held_out_accuracy': lambda m, s, w: _weighted(s.right[m], w),
    'systematic_variance': lambda m, s, w: sides.systematic_variance(
      s.stance[m], w
    ),
    'systematic_variance_of_those_who_do_not_care': lambda m, s, w: (
      sides.systematic_variance(s.stance[m][s.cares == 0], w[:, s.cares == 0])
    ),
    'served_stance_liberal_minus_conservative': lambda m, s, w: (
      _weighted(s.stance[m].mean(1), w * (s.cares == 1))
      - _weighted(s.stance[m].mean(1), w * (s.cares == -1))
    ),
  }
  indifferent = sum((seed.cares == 0).sum() for seed in drawn.seeds)
  return [
    fits.row(
      'persona',
      method,
      quantity,
      drawn.mean(functools.partial(function, method)),
      indifferent if quantity.endswith('care') else len(drawn.group),
      drawn.unit,
    )
    for method in drawn.seeds[0].stance
    for quantity, function in quantities.items()
  ]


def _transfer_rows(drawn: _Drawn) -> list[fits.Row]:
  """Returns rows of the gap between histories, three resamplings each."""
  known = drawn.seeds[0].transfer
  Q = next(iter(known.values())).shape[1]
  questions = fits.draws(np.zeros(Q), seed=1)

  def gap(name, w_questions, seed, w):
    total = np.zeros((len(w), Q))
    for sign in (1, -1):
      chosen = w[:, seed.cares == sign]
      mean = chosen @ seed.transfer[name][seed.cares == sign]
      total += sign * mean / chosen.sum(1, keepdims=True)
    return _weighted(total, w_questions)

  return [
    fits.row(
      'persona to typology',
      method,
      f'liberal_answer_gap, {given}',
      drawn.mean(functools.partial(gap, (method, given), w_questions), people),
      n,
      unit,
    )
    for method, given in known
    for unit, n, people, w_questions in (
      ('questions', Q, np.ones_like(drawn.weights), questions),
      (drawn.unit, len(drawn.group), None, np.ones_like(questions)),
      (f'{drawn.unit} and questions', len(drawn.group), None, questions),
    )
  ]


def _probe_rows(drawn: _Drawn) -> list[fits.Row]:
  """Returns rows of a linear probe of the side, seeds averaged first."""
  right = np.array([seed.probe for seed in drawn.seeds])
  seen = ~np.isnan(right)
  statements = np.nansum(right, 0)[seen.any(0)] / seen.sum(0)[seen.any(0)]
  found = {('persona', 'held_out_stance_accuracy', 'statements'): statements}
  for given in drawn.seeds[0].probe_transfer:
    quantity = f'liberal_answer_accuracy, {given}'
    found['persona to typology', quantity, 'questions'] = np.mean(
      [seed.probe_transfer[given] for seed in drawn.seeds], 0
    )
  return [
    fits.mean_row(material, 'linear probe', quantity, values, unit)
    for (material, quantity, unit), values in found.items()
  ]


def _probe(features: np.ndarray, side: np.ndarray, fit_on: np.ndarray):
  """Least squares of the side on standardised features, `[1 + D]`."""
  X = np.concatenate([np.ones((len(features), 1)), features], 1)[fit_on]
  return np.linalg.solve(
    X.T @ X + np.eye(X.shape[1]), X.T @ side[fit_on].astype(float)
  )


def _answers(typology: schema.PoliticalTypology) -> dict[str, list[str]]:
  """Both answers of every question, the liberal first, `2 Q` texts each."""
  ordered = [
    (question, pair[i])
    for question, pair, liberal in zip(
      typology.questions, typology.answers, typology.liberal_answer, strict=True
    )
    for i in (liberal, 1 - liberal)
  ]
  return {
    'answer alone': [answer for _, answer in ordered],
    'after the question': [f'{q} {answer}' for q, answer in ordered],
  }


# ---------------------------------------------- b: visible in the prompt


def typology_visible(
  data_dir: str | Path | None = None, *, source: fits.Source = None
) -> list[fits.Row]:
  """Returns rows: whether matching texts repeats the biography's side.

  Two rewards that anybody can run: the cosine of MiniLM embeddings of the
  biography and an answer (alone, or after the question), and of the question
  and an answer, which is blind to the biography, so that its gap must be 0.
  P(liberal answer) is the share of biographies under which the liberal answer
  has the higher reward, ties a half. `reward_gap` is the same difference of
  differences of the cosines themselves. A positive gap is sycophantic.

  Questions with the same answers but opposite liberal ones cancel exactly
  where the answer is encoded alone.

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    source: of features; the encoder's last layer if None.
  """
  source = source or functools.partial(text_features.Source(), layers=(_LAST,))
  typology = load.political_typology(data_dir)
  liberal = typology.liberal_biography

  def unit(texts):
    raw = source(texts)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)

  biography, question = unit(typology.biographies), unit(typology.questions)
  answer = {
    given: unit(texts).reshape(len(question), 2, -1)
    for given, texts in _answers(typology).items()
  }
  rewards = {
    f'cosine with the biography, {given}': np.einsum(
      'pd,qkd->pqk', biography, encoded
    )
    for given, encoded in answer.items()
  }
  blind = np.einsum('qd,qkd->qk', question, answer['answer alone'])
  shape = (len(biography), *blind.shape)
  rewards['cosine with the question (blind)'] = np.broadcast_to(blind, shape)
  table = []
  for method, reward in rewards.items():
    margin = reward[..., 0] - reward[..., 1]
    for quantity, values in (
      ('liberal_answer_gap', 0.5 + 0.5 * np.sign(margin)),
      ('reward_gap', margin),
    ):
      gap = values[liberal].mean(0) - values[~liberal].mean(0)
      row = fits.mean_row('typology', method, quantity, gap, 'questions')
      table.append(row)
  return table


# Name in the configuration -> what returns its rows.
MATERIALS = {
  'persona_history': persona_history,
  'typology_visible': typology_visible,
  'ukp_stances': real_workers.ukp_stances,
}
