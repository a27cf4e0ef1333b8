"""Stances in real text: what a personal reward serves, and to whom.

Three materials: persona statements judged by simulated people (the hidden
channel: a history of choices), the political typology with a biography in the
prompt (the visible channel), and crowd workers who stated their own stance.
Every function returns rows of the table `real_text`: `material`, `method`,
`quantity`, `value`, `value_low`, `value_high` (95 %), `n` and `unit`, what was
resampled.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from experiments.echo_chambers import real_fits as fits
from experiments.echo_chambers import real_workers
from experiments.personalized_vs_aggregate import problems
from prm_jax import types
from prm_jax.data import load, schema, splits
from prm_jax.lab import fitting
from prm_jax.ops import statistics
from prm_jax.worlds import responses

TRAITS = ('politically-liberal', 'politically-conservative')
ukp_stances = real_workers.ukp_stances
_TASTES = [responses.MEASURES.index(m) for m in ('length', 'readability')]
_SEEDS_RESAMPLED = 5  # fewer seeds are averaged, not drawn
_BISECTIONS = 60


def rows(
  config_node: Mapping[str, Any], data_dir: str | Path | None
) -> list[dict]:
  """Returns the table `real_text`.

  Args:
    config_node: `persona_history`, `typology_visible` and `ukp_stances`: the
      keyword arguments of each function; defaults where a name is absent.
    data_dir: of real data; the environment variable PRM_DATA_DIR if None.
  """
  functions: dict[str, Callable[..., list[dict]]] = {
    'persona_history': persona_history,
    'typology_visible': typology_visible,
    'ukp_stances': real_workers.ukp_stances,
  }
  if unknown := sorted(set(config_node) - set(functions)):
    raise ValueError(f'unknown {unknown}: only {sorted(functions)}')
  embed = problems.Embedder()
  return [
    row
    for name, function in functions.items()
    for row in function(data_dir, embed=embed, **config_node.get(name, {}))
  ]


# ----------------------------------------------------- a: hidden in a history


@dataclasses.dataclass(frozen=True)
class Readers:
  """Simulated people who judge statements; the last four are the truth.

  Attributes:
    judged: training judgements; asked: of the same people, held out.
    cares: `[U]` 1 prefers liberal statements, -1 conservative, 0 neither.
    reward: `[U, M]` in logits.
    side: `[M]` 1 liberal, -1 conservative.
    held_out: `[M]` bool, statements that nobody judged in training.
  """

  judged: types.Batch
  asked: types.Batch
  cares: np.ndarray
  reward: np.ndarray
  side: np.ndarray
  held_out: np.ndarray


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
  layers: tuple[int, ...] = fits.MIDDLE,
  embed: problems.Embedder | None = None,
) -> list[dict]:
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
    layers: of the encoder.
    embed: of texts.
  """
  embed = embed or problems.Embedder()
  texts, side = opposing_statements(data_dir, statements)
  typology = load.political_typology(data_dir)
  raw = embed(texts, 'text', layers)
  taste = responses.measure(texts)[:, _TASTES]
  choices = {
    'aggregate': {'kind': 'aggregate', 'ridge': ridge},
    'hierarchical': {
      'kind': 'hierarchical', 'ridge': ridge, 'spread': spread,
    },
  }  # fmt: skip
  answered = {
    given: (kind, embed(kind, 'text', layers))
    for given, kind in _answers(typology).items()
  }
  found = []
  for seed in seeds:
    held_out = splits.bucket(texts, f'statements{seed}', 10) < 4
    readers = simulate_readers(
      side, taste, held_out, seed=seed, people=people, answers=answers,
      strength=strength,
    )  # fmt: skip
    features = fits.Features(texts, raw, ~held_out, components)
    found.append(
      _one_seed(readers, features, choices, answered, seed, pool, divergence)
    )
  return [
    *_served_rows(found, replicates),
    *_transfer_rows(found, replicates),
    *_probe_rows(found, replicates),
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


def simulate_readers(
  side: np.ndarray,
  taste: np.ndarray,
  held_out: np.ndarray,
  *,
  seed: int,
  people: int,
  answers: int,
  strength: float,
) -> Readers:
  """Returns people who judge statements by stance and by taste.

      r_i(x) = cares_i strength side(x) / 2 + taste_i . measures(x)

  Args:
    side: `[M]` 1 or -1.
    taste: `[M, T]` measures, standardised here; weights are N(0, 1).
    held_out: `[M]` bool.
    seed: of everything.
    people: U.
    answers: pairs of each, and as many held-out ones.
    strength: logit between opposing statements, of those who care.
  """
  rng = np.random.default_rng([seed, 17])
  cares = np.arange(people) % 3 - 1
  scaled = (taste - taste.mean(0)) / taste.std(0)
  weights = rng.normal(size=(people, taste.shape[1]))
  reward = strength * cares[:, None] * side / 2 + weights @ scaled.T

  def judge(allowed):
    items = np.flatnonzero(allowed)
    n = people * answers
    first = rng.integers(len(items), size=n)
    second = (first + rng.integers(1, len(items), size=n)) % len(items)
    pair = items[np.stack([first, second], 1)]
    user = np.repeat(np.arange(people), answers)
    margin = reward[user, pair[:, 0]] - reward[user, pair[:, 1]]
    return fitting.judgements(user, pair, rng.random(n) < special.expit(margin))

  judged, asked = judge(~held_out), judge(held_out)
  return Readers(judged, asked, cares, reward, side, held_out)


def served_side(
  reward: np.ndarray, side: np.ndarray, pools: np.ndarray, divergence: float
) -> np.ndarray:
  """Returns the mean side `[U, P]` of what is served from every pool.

  pi proportional to exp(beta r) over a pool, with the beta at which the mean
  of KL(pi | uniform) over people and pools is `divergence`.

  Args:
    reward: `[U, M]`.
    side: `[M]`.
    pools: `[P, K]` rows of statements.
    divergence: in nats, below log K.
  """
  rewards = reward[:, pools]
  rewards = rewards - rewards.max(-1, keepdims=True)
  scale = rewards.std() + 1e-12

  def policy(beta):
    return special.softmax(beta * rewards, axis=-1)

  def far(beta):
    pi = policy(beta)
    return (special.xlogy(pi, pi).sum(-1) + np.log(pools.shape[1])).mean()

  low, high = 0.0, 100.0 / scale
  for _ in range(_BISECTIONS):
    middle = 0.5 * (low + high)
    low, high = (middle, high) if far(middle) < divergence else (low, middle)
  return (policy(low) * side[pools]).sum(-1)


def systematic_variance(stance: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Returns the mean covariance over people between pools, `[R]`.

  Args:
    stance: `[U, P]` of every person and pool, P at least 2.
    weights: `[R, U]` of the people.
  """
  total = weights.sum(1, keepdims=True)
  # Centred first: a bootstrap of numbers near each other stays exact.
  centred = stance - stance.mean(0)

  def variance(x):
    mean = weights @ x / total
    return weights @ x**2 / total - mean**2

  P = stance.shape[1]
  of_sum = variance(centred.sum(1, keepdims=True))[:, 0]
  return (of_sum - variance(centred).sum(1)) / (P * (P - 1))


def _one_seed(
  readers: Readers,
  features: 'fits.Features',
  choices: Mapping[str, Mapping],
  answered: Mapping[str, tuple[list[str], np.ndarray]],
  seed: int,
  pool: int,
  divergence: float,
) -> _Seed:
  values, U = features.values, len(readers.cares)
  held = np.random.default_rng([seed, 18]).permutation(
    np.flatnonzero(readers.held_out)
  )
  if len(held) < 2 * pool:
    raise ValueError(
      f'{len(held)} held-out statements do not make two pools of {pool}'
    )
  pools = held[: len(held) // pool * pool].reshape(-1, pool)
  first, second = readers.asked.inputs.index.T
  user = np.asarray(readers.asked.rows.user)
  label = np.asarray(readers.asked.rows.label)
  stance, right, transfer = {}, {}, {}
  sets = {
    given: features(texts, raw).reshape(-1, 2, values.shape[1])
    for given, (texts, raw) in answered.items()
  }
  for name, choice in choices.items():
    weights = fits.fit(choice, values, readers.judged, people=U, seed=seed)
    reward = np.broadcast_to(weights @ values.T, (U, len(values)))
    stance[name] = served_side(reward, readers.side, pools, divergence)
    margin = reward[user, first] - reward[user, second]
    right[name] = fits.by_person(user, (margin > 0) == label, U)
    for given, encoded in sets.items():
      p = special.expit(weights @ (encoded[:, 0] - encoded[:, 1]).T)
      transfer[name, given] = np.broadcast_to(p, (U, p.shape[1]))
  stance['truth'] = served_side(readers.reward, readers.side, pools, divergence)
  margin = readers.reward[user, first] - readers.reward[user, second]
  right['truth'] = fits.by_person(user, (margin > 0) == label, U)
  probe = _probe(values, readers.side, ~readers.held_out)
  correct = np.sign(values @ probe[1:] + probe[0]) == readers.side
  return _Seed(
    cares=readers.cares,
    stance=stance,
    right=right,
    transfer=transfer,
    probe=np.where(readers.held_out, correct, np.nan),
    probe_transfer={
      given: ((encoded[:, 0] - encoded[:, 1]) @ probe[1:] > 0).astype(float)
      for given, encoded in sets.items()
    },
  )


def _served_rows(found: Sequence[_Seed], replicates: int) -> list[dict]:
  """Rows of what is served; the interval is over people and seeds."""
  group = np.repeat(np.arange(len(found)), [len(s.cares) for s in found])
  drawn = len(found) >= _SEEDS_RESAMPLED
  weights = statistics.bootstrap_weights(
    group, replicates, resample_groups=drawn
  )
  weights = np.concatenate([np.ones((1, len(group))), weights])
  unit = 'people and seeds' if drawn else 'people'

  def mean(x, w):
    return (w * x).sum(1) / w.sum(1)

  quantities = {
    'held_out_accuracy': lambda s, m, w: mean(s.right[m], w),
    'systematic_variance': lambda s, m, w: systematic_variance(s.stance[m], w),
    'systematic_variance_of_those_who_do_not_care': lambda s, m, w: (
      systematic_variance(s.stance[m][s.cares == 0], w[:, s.cares == 0])
    ),
    'served_stance_liberal_minus_conservative': lambda s, m, w: (
      mean(s.stance[m].mean(1), w * (s.cares == 1))
      - mean(s.stance[m].mean(1), w * (s.cares == -1))
    ),
  }
  out = []
  for method in found[0].stance:
    for quantity, function in quantities.items():
      values = fits.over_seeds(
        [functools.partial(function, s, method) for s in found], group, weights
      )
      n = int(sum((s.cares == 0).sum() for s in found))
      n = n if quantity.endswith('care') else len(group)
      out.append(fits.row('persona', method, quantity, values, n, unit))
  return out


def _transfer_rows(found: Sequence[_Seed], replicates: int) -> list[dict]:
  """Rows of the gap between the two histories, three resamplings each."""
  group = np.repeat(np.arange(len(found)), [len(s.cares) for s in found])
  drawn = len(found) >= _SEEDS_RESAMPLED
  Q = next(iter(found[0].transfer.values())).shape[1]
  ones = [np.ones((1 + replicates, size)) for size in (len(group), Q)]
  people, questions = (one.copy() for one in ones)
  people[1:] = statistics.bootstrap_weights(
    group, replicates, resample_groups=drawn
  )
  questions[1:] = np.random.default_rng(1).multinomial(
    Q, np.full(Q, 1 / Q), replicates
  )

  def gap(seed, name, w_questions, w):
    total = np.zeros((len(w), Q))
    for sign in (1, -1):
      chosen = w[:, seed.cares == sign]
      mean = chosen @ seed.transfer[name][seed.cares == sign]
      total += sign * mean / chosen.sum(1, keepdims=True)
    return (total * w_questions).sum(1) / w_questions.sum(1)

  out = []
  who = 'people and seeds' if drawn else 'people'
  for name in found[0].transfer:
    method, given = name
    for unit, n, w_people, w_questions in (
      ('questions', Q, ones[0], questions),
      (who, len(group), people, ones[1]),
      (f'{who} and questions', len(group), people, questions),
    ):
      values = fits.over_seeds(
        [functools.partial(gap, s, name, w_questions) for s in found],
        group,
        w_people,
      )
      quantity = f'liberal_answer_gap, {given}'
      out.append(
        fits.row('persona to typology', method, quantity, values, n, unit)
      )
  return out


def _probe_rows(found: Sequence[_Seed], replicates: int) -> list[dict]:
  """Rows of a linear probe of the side, seeds averaged before resampling."""
  right = np.array([s.probe for s in found])
  seen = ~np.isnan(right)
  statements = np.nansum(right, 0)[seen.any(0)] / seen.sum(0)[seen.any(0)]
  out = [
    fits.mean_row(
      'persona', 'linear probe', 'held_out_stance_accuracy', statements,
      'statements', replicates,
    )
  ]  # fmt: skip
  for given in found[0].probe_transfer:
    values = np.mean([s.probe_transfer[given] for s in found], 0)
    quantity = f'liberal_answer_accuracy, {given}'
    out.append(
      fits.mean_row(
        'persona to typology', 'linear probe', quantity, values, 'questions',
        replicates,
      )
    )  # fmt: skip
  return out


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
  embed: problems.Embedder | None = None,
) -> list[dict]:
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
    embed: of texts.
  """
  embed = embed or problems.Embedder()
  typology = load.political_typology(data_dir)
  count = biographies or len(typology.biographies)
  liberal = np.flatnonzero(typology.liberal_biography)[:count]
  others = np.flatnonzero(~typology.liberal_biography)[:count]

  def unit(texts):
    raw = embed(texts, 'text', (6,))
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
  out = []
  for method, reward in rewards.items():
    margin = reward[..., 0] - reward[..., 1]
    prefers = 0.5 + 0.5 * np.sign(margin)
    for quantity, values in (
      ('liberal_answer_gap', prefers),
      ('reward_gap', margin),
    ):
      gap = values[: len(liberal)].mean(0) - values[len(liberal) :].mean(0)
      out.append(
        fits.mean_row(
          'typology', method, quantity, gap, 'questions', replicates
        )
      )
  return out
