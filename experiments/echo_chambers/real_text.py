"""Stances in real text: what a personal reward serves, and to whom.

Three materials: persona statements judged by simulated people (the hidden
channel: a history of choices), the political typology with a biography in the
prompt (the visible channel), and crowd workers who stated their own stance.
Every function returns rows of the table `real_text`: `material`, `method`,
`quantity`, `value`, `value_low`, `value_high` (95 %), `n` and `unit`, what was
resampled.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from experiments.echo_chambers import real_fits as fits
from experiments.echo_chambers import real_workers
from prm_jax.audits import sides
from prm_jax.data import load, schema, splits
from prm_jax.lab import fitting
from prm_jax.models import features as text_features
from prm_jax.ops import statistics
from prm_jax.worlds import responses, statement_readers

TRAITS = ('politically-liberal', 'politically-conservative')
_TASTES = [responses.MEASURES.index(m) for m in ('length', 'readability')]
_LAST = 6  # layer of the encoder
_SEEDS_RESAMPLED = 5  # fewer seeds are averaged, not drawn


def rows(
  name: str, options: Mapping[str, Any], data_dir: str | Path | None
) -> list[fits.Row]:
  """Returns rows of the table `real_text`.

  Args:
    name: `persona_history`, `typology_visible` or `ukp_stances`.
    options: keyword arguments of the function of that name.
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.

  Raises:
    ValueError: another name.
  """
  functions: dict[str, Callable[..., list[fits.Row]]] = {
    'persona_history': persona_history,
    'typology_visible': typology_visible,
    'ukp_stances': real_workers.ukp_stances,
  }
  if name not in functions:
    raise ValueError(f'unknown {name!r}: one of {sorted(functions)}')
  return functions[name](data_dir, **options)


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
  people: int = 600,
  answers: int = 20,
  strength: float = 2.0,
  components: int = 32,
  statements: int | None = None,
  pool: int = 64,
  divergence: float = 0.5,
  ridge: float = 10.0,
  spread: float = 0.3,
  replicates: int = 1000,
  source: fits.Source | None = None,
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

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    seeds: of people, their answers and what is held out.
    people: U of each seed.
    answers: pairs that each judges in training.
    strength: logit of somebody who cares between opposing statements.
    components: of the statements' embeddings.
    statements: use the first so many of each trait; all if None.
    pool: statements that can be served.
    divergence: mean KL to the uniform policy, in nats.
    ridge: of the aggregate, in answers.
    spread: of people before it is estimated.
    replicates: of the bootstrap over people, and over seeds from five on.
    source: of features.

  Raises:
    ValueError: fewer statements are held out than two pools take.
  """
  source = source or text_features.Source()
  texts, side = opposing_statements(data_dir, statements)
  typology = load.political_typology(data_dir)
  taste = responses.measure(texts)[:, _TASTES]
  nodes = {
    'aggregate': {'kind': 'aggregate', 'ridge': ridge},
    'hierarchical': {'kind': 'hierarchical', 'ridge': ridge, 'spread': spread},
  }
  draw = functools.partial(
    statement_readers.readers, people=people, answers=answers, strength=strength
  )
  fitted = []
  for seed in seeds:
    held_out = splits.bucket(texts, f'statements{seed}', 10) < 4
    readers = draw(side, taste, held_out, seed=seed)
    read = fits.reader(source, texts, ~held_out, components)
    columns = {given: read(some) for given, some in _answers(typology).items()}
    told = readers, read(texts), columns, nodes, side, held_out
    measured = _one_seed(*told, seed=seed, pool=pool, divergence=divergence)
    fitted.append(measured)
  return [
    *_served_rows(fitted, replicates),
    *_transfer_rows(fitted, replicates),
    *_probe_rows(fitted, replicates),
  ]


def opposing_statements(
  data_dir: str | Path | None, count: int | None = None
) -> tuple[list[str], np.ndarray]:
  """Returns M statements of both traits, and sides `[M]`.

  The side is the trait's if agreeing shows it, and the other one if not: 1
  liberal, -1 conservative.

  Args:
    data_dir: of real data; PRM_DATA_DIR if None.
    count: the first so many of each trait and match, halved; all if None.
  """
  statements = load.persona_statements(data_dir)
  texts: list[str] = []
  sides: list[int] = []
  for sign, name in zip((1, -1), TRAITS, strict=True):
    for match in (True, False):
      chosen = statements.trait == statements.traits.index(name)
      rows_ = np.flatnonzero(chosen & (statements.match == match))
      rows_ = rows_ if count is None else rows_[: count // 2]
      texts += [statements.texts[row] for row in rows_]
      sides += [sign if match else -sign] * len(rows_)
  return texts, np.array(sides)


def _one_seed(
  readers: statement_readers.Readers,
  values: np.ndarray,
  answered: Mapping[str, np.ndarray],
  nodes: Mapping[str, Mapping],
  side: np.ndarray,
  held_out: np.ndarray,
  *,
  seed: int,
  pool: int,
  divergence: float,
) -> _Seed:
  U = len(readers.cares)
  held = np.random.default_rng([seed, 18]).permutation(np.flatnonzero(held_out))
  if len(held) < 2 * pool:
    raise ValueError(
      f'{len(held)} held-out statements do not make two pools of {pool}'
    )
  pools = held[: len(held) // pool * pool].reshape(-1, pool)
  judged, (user, items, label) = readers.judged, readers.asked
  weights = {
    name: fits.fit(
      node, values, fitting.judgements(*judged), people=U, seed=seed
    )
    for name, node in nodes.items()
  }
  rewards = {
    name: np.broadcast_to(weight @ values.T, (U, len(values)))
    for name, weight in weights.items()
  }
  # Texts of a question's answers are two by two, the liberal one first.
  apart = {given: some[::2] - some[1::2] for given, some in answered.items()}
  rewards['truth'] = readers.reward
  stance, right = {}, {}
  for name, reward in rewards.items():
    stance[name] = sides.served_side(reward, side, pools, divergence)
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
  """Everybody of all seeds, and how often each is drawn."""

  def __init__(self, seeds: Sequence[_Seed], replicates: int):
    self.seeds = seeds
    self.group = np.repeat(
      np.arange(len(seeds)), [len(seed.cares) for seed in seeds]
    )
    groups = len(seeds) >= _SEEDS_RESAMPLED
    self.unit = 'people and seeds' if groups else 'people'
    weights = statistics.bootstrap_weights(
      self.group, replicates, resample_groups=groups
    )
    self.weights = np.concatenate([np.ones((1, len(self.group))), weights])

  def mean(self, function, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean `[1 + R]` over seeds of f(seed, weights of people)."""
    return fits.over_seeds(
      [functools.partial(function, seed) for seed in self.seeds],
      self.group,
      self.weights if weights is None else weights,
    )


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  return (weights * values).sum(1) / weights.sum(1)


def _served_rows(seeds: Sequence[_Seed], replicates: int) -> list[fits.Row]:
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
  drawn = _Drawn(seeds, replicates)
  indifferent = sum((seed.cares == 0).sum() for seed in seeds)
  return [
    fits.row(
      'persona',
      method,
      quantity,
      drawn.mean(functools.partial(function, method)),
      indifferent if quantity.endswith('care') else len(drawn.group),
      drawn.unit,
    )
    for method in seeds[0].stance
    for quantity, function in quantities.items()
  ]


def _transfer_rows(seeds: Sequence[_Seed], replicates: int) -> list[fits.Row]:
  """Returns rows of the gap between histories, three resamplings each."""
  drawn = _Drawn(seeds, replicates)
  Q = next(iter(seeds[0].transfer.values())).shape[1]
  multiplicity = np.random.default_rng(1).multinomial(
    Q, np.full(Q, 1 / Q), replicates
  )
  questions = np.concatenate([np.ones((1, Q)), multiplicity])

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
    for method, given in seeds[0].transfer
    for unit, n, people, w_questions in (
      ('questions', Q, np.ones_like(drawn.weights), questions),
      (drawn.unit, len(drawn.group), None, np.ones_like(questions)),
      (f'{drawn.unit} and questions', len(drawn.group), None, questions),
    )
  ]


def _probe_rows(seeds: Sequence[_Seed], replicates: int) -> list[fits.Row]:
  """Returns rows of a linear probe of the side, seeds averaged first."""
  right = np.array([seed.probe for seed in seeds])
  seen = ~np.isnan(right)
  statements = np.nansum(right, 0)[seen.any(0)] / seen.sum(0)[seen.any(0)]
  return [
    fits.mean_row(
      'persona',
      'linear probe',
      'held_out_stance_accuracy',
      statements,
      'statements',
      replicates,
    ),
    *(
      fits.mean_row(
        'persona to typology',
        'linear probe',
        f'liberal_answer_accuracy, {given}',
        np.mean([seed.probe_transfer[given] for seed in seeds], 0),
        'questions',
        replicates,
      )
      for given in seeds[0].probe_transfer
    ),
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
  data_dir: str | Path | None = None,
  *,
  biographies: int | None = None,
  replicates: int = 1000,
  source: fits.Source | None = None,
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
    biographies: the first so many of each side; all if None.
    replicates: of the bootstrap over questions.
    source: of features; the encoder's last layer if None.
  """
  source = source or functools.partial(text_features.Source(), layers=(_LAST,))
  typology = load.political_typology(data_dir)
  count = biographies or len(typology.biographies)
  liberal = np.flatnonzero(typology.liberal_biography)[:count]
  others = np.flatnonzero(~typology.liberal_biography)[:count]

  def unit(texts):
    raw = source(texts)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)

  chosen = [typology.biographies[b] for b in (*liberal, *others)]
  biography, question = unit(chosen), unit(typology.questions)
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
  rewards['cosine with the question (blind)'] = np.broadcast_to(
    np.einsum('qd,qkd->qk', question, answer['answer alone']),
    (len(biography), len(question), 2),
  )
  table = []
  for method, reward in rewards.items():
    margin = reward[..., 0] - reward[..., 1]
    for quantity, values in (
      ('liberal_answer_gap', 0.5 + 0.5 * np.sign(margin)),
      ('reward_gap', margin),
    ):
      gap = values[: len(liberal)].mean(0) - values[len(liberal) :].mean(0)
      table.append(
        fits.mean_row(
          'typology', method, quantity, gap, 'questions', replicates
        )
      )
  return table
