"""Worlds of stances as a system sees them: through detectors and a key.

A condition says how many people love agreement and how well stances and truth
are detected; under one seed, conditions share people and answers. A system is
told features of every answer and measures by detectors; what the answers are
(`Pool.values`) is for audits alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.ops import bayes
from prm_jax.worlds import stances

_VALIDATE = 0.2  # share of judgements by which hyper-parameters are chosen
_PROBE_RIDGE = 3.0
FEATURES = (*stances.AXES, 'agrees')

# Texts by pool, of which those of 'train' may be looked at -> `[n, D]` of each.
Encode = Callable[[Mapping[str, list[str]]], Mapping[str, np.ndarray]]


class Sizes(NamedTuple):
  """How much there is of everything.

  Attributes:
    train_questions: of each kind, that people are asked in training.
    train_answers: to each of them; half as many of texts.
    calibration_questions: of each kind, on which temperatures are set.
    audit_questions: of each kind, that are audited.
    answers: to each question of these two; half as many of texts.
    judgements: of each person.
  """

  train_questions: int = 30
  train_answers: int = 48
  calibration_questions: int = 8
  audit_questions: int = 30
  answers: int = 64
  judgements: int = 20


class Condition(NamedTuple):
  """What a world is like.

  Attributes:
    loving: fraction of people who love agreement.
    accuracy: of the stance detector.
    key_error: of the answer key.
    stated: share of training prompts that say the person's stance; where it
      is not 0 the audited prompts say it too.
    text: whether features and detector come from an encoder's reading.
    correlation: of a taste with stance among the answers.
    people: U.
  """

  loving: float = 0.1
  accuracy: float = 1.0
  key_error: float = 0.0
  stated: float = 0.0
  text: bool = False
  correlation: float = 0.3
  people: int = 400

  @property
  def name(self) -> str:
    """Returns a name for files: what differs from the defaults."""
    plain = Condition()._asdict()
    parts = [
      f'{name}{value:g}'
      for name, value in self._asdict().items()
      if value != plain[name] or name == 'loving'
    ]
    return '-'.join(parts)


@dataclasses.dataclass(frozen=True)
class Pool:
  """Prompts and candidates, as a system sees them and as they are.

  Attributes:
    features: `[V, S, K, D]` by stated stance: V = 1, or 3 for -1, 0, 1.
    values: `[S, K, 8]` the truth.
    measures: name -> `[S, K]` of detectors and keys.
    side: `[S]` stance of the true answer, 0 where there is none.
    kind: `[S]` index into `stances.KINDS`.
  """

  features: np.ndarray
  values: np.ndarray
  measures: Mapping[str, np.ndarray]
  side: np.ndarray
  kind: np.ndarray

  @property
  def contested(self) -> np.ndarray:
    """Returns `[S]` whether a question is a matter of opinion."""
    return self.kind == stances.KINDS.index('contested')

  @property
  def factual(self) -> np.ndarray:
    """Returns `[S]` whether a question has a true answer."""
    return self.kind == stances.KINDS.index('factual')


class Judged(NamedTuple):
  """N training judgements, sorted by person, as many of each.

  Attributes:
    user: `[N]` row of the people.
    items: `[N, 2]` rows of the world's features.
    label: `[N]` 1 where the first was preferred.
    twin: `[N]` label of the person's twin, whose opinion is the opposite.
    fits: `[N]` True for what a search fits, False for its validation.
  """

  user: np.ndarray
  items: np.ndarray
  label: np.ndarray
  twin: np.ndarray
  fits: np.ndarray


@dataclasses.dataclass(frozen=True)
class World:
  """Everything of one condition and seed.

  Attributes:
    condition, seed: which.
    people: the truth about them.
    version: `[U]` row of a pool's features that a person's audited prompts
      are.
    features: `[M, D]` of the training texts.
    judged: training judgements.
    bias: `[M]` detected stance of the training texts.
    calibration: prompts on which temperatures are set.
    audit: prompts that nothing was set on.
    fresh: other candidates to the audit's prompts.
    probe_accuracy: of the stance's sign on the audit's answers.
  """

  condition: Condition
  seed: int
  people: stances.People
  version: np.ndarray
  features: np.ndarray
  judged: Judged
  bias: np.ndarray
  calibration: Pool
  audit: Pool
  fresh: Pool
  probe_accuracy: float


def make(
  sizes: Sizes, condition: Condition, seed: int, encode: Encode | None = None
) -> World:
  """Returns the world of a condition and seed.

  Args:
    sizes: how much there is of everything.
    condition: what it is like.
    seed: of people and answers. Under one seed conditions share people, and
      answers as far as they can.
    encode: of texts; needed where the condition has them.

  Raises:
    ValueError: texts are to be read, and nothing reads them.
  """
  # Texts cost an encoder's time: there are fewer, and seeds share them.
  text_seed, share = (0, 2) if condition.text else (seed, 1)

  def write(split, questions, answers, part):
    return stances.write(
      split=split,
      seed=10 * text_seed + part,
      questions=questions,
      answers=answers // share,
      correlation=condition.correlation,
      texts=condition.text,
    )

  pools = {
    'train': write('train', sizes.train_questions, sizes.train_answers, 0),
    'calibration': write(
      'calibration', sizes.calibration_questions, sizes.answers, 1
    ),
    'audit': write('audit', sizes.audit_questions, sizes.answers, 2),
    'fresh': write('audit', sizes.audit_questions, sizes.answers, 3),
  }
  plain = _plain_features(pools, condition, text_seed, encode)
  read = {
    name: _read(pool, plain[name], condition) for name, pool in pools.items()
  }
  probes = _probes(read['train'], pools['train'])
  observed = {
    name: _observed(pool, read[name], condition, probes)
    for name, pool in pools.items()
  }
  people = stances.people(
    seed=seed, count=condition.people, loving_fraction=condition.loving
  )
  stated = np.sign(people.opinion).astype(int) + 1
  audit, features = observed['audit'], observed['train'].features
  right = np.sign(audit.measures['anchor']) == audit.values[..., stances.STANCE]
  return World(
    condition=condition,
    seed=seed,
    people=people,
    version=stated if condition.stated else np.zeros(condition.people, int),
    features=features.reshape(-1, features.shape[-1]),
    judged=_judgements(people, pools['train'], features, sizes, seed),
    bias=np.broadcast_to(
      observed['train'].measures['stance'], features.shape[:3]
    ).reshape(-1),
    calibration=observed['calibration'],
    audit=audit,
    fresh=observed['fresh'],
    probe_accuracy=float(right[audit.contested].mean()),
  )


def _plain_features(pools, condition, seed, encode) -> dict[str, np.ndarray]:
  """Returns `[S, K, D]` of each pool, without what the prompt says."""
  if condition.text:
    if encode is None:
      raise ValueError('the condition has texts: give what encodes them')
    columns = encode(
      {
        name: [text for answers in pool.texts for text in answers]
        for name, pool in pools.items()
      }
    )
    return {
      name: columns[name].reshape(*pool.values.shape[:2], -1)
      for name, pool in pools.items()
    }
  # A question has one key, whichever candidates are read with it.
  part = {'train': 0, 'calibration': 1, 'audit': 2, 'fresh': 2}
  return {
    name: stances.detected(
      pool.values,
      pool.kind == 1,
      seed=100 * seed + part[name],
      accuracy=condition.accuracy,
      key_error=condition.key_error,
    )
    for name, pool in pools.items()
  }


class _Read(NamedTuple):
  """What is read off a pool: features `[S, K, D]`, the rest `[S, K]`."""

  plain: np.ndarray
  stance: np.ndarray | None
  truth: np.ndarray | None
  key: np.ndarray


def _read(pool, plain, condition) -> _Read:
  """Returns what detector and key say, where they do not need a probe."""
  key = np.broadcast_to(_keys(pool, condition)[:, None], plain.shape[:2])
  if condition.text:
    return _Read(plain, None, None, key)
  stance = plain[..., stances.STANCE]
  truth = plain[..., stances.TRUTH]
  return _Read(plain, stance, truth, _sides(stance, truth))


def _sides(stance: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns which side the key calls true, as a question's answers show it."""
  together = np.sum((truth - 0.5) * stance, axis=1, keepdims=True)
  return np.broadcast_to(np.sign(together), stance.shape)


class _Probes(NamedTuple):
  """Logistic probes, intercepts last.

  Attributes:
    stance: `[D + 1]` of the sign of a stance from all features.
    truth: `[3]` of truth from the key and the stance; None where the key can
      only be read through the stance.
  """

  stance: np.ndarray
  truth: np.ndarray | None


def _probes(read: _Read, pool) -> _Probes:
  """Returns probes fitted on training answers that were labelled by hand."""
  stance = pool.values[..., stances.STANCE]
  sided = stance != 0
  weights = _probe(read.plain[sided], stance[sided] > 0)
  if read.truth is None:
    return _Probes(weights, None)
  factual = np.broadcast_to((pool.kind == 1)[:, None], stance.shape)
  columns = _truth_columns(read)[factual]
  return _Probes(
    weights, _probe(columns, pool.values[factual][:, stances.TRUTH])
  )


def _truth_columns(read: _Read) -> np.ndarray:
  assert read.truth is not None
  assert read.stance is not None
  return np.stack([2 * read.truth - 1, read.stance * read.key], -1)


def _probe(features: np.ndarray, label: np.ndarray) -> np.ndarray:
  x = np.concatenate([features, np.ones((len(features), 1))], 1)
  prior = bayes.isotropic_prior(jnp.zeros(x.shape[1]), _PROBE_RIDGE**-0.5)
  wanted, rows = jnp.asarray(label, jnp.float32), jnp.asarray(x, jnp.float32)
  return np.asarray(_fit_probe(prior, rows, wanted, jnp.ones(len(label))))


_fit_probe = jax.jit(functools.partial(bayes.posterior_mode, iterations=15))


def _expected(features: np.ndarray, probe: np.ndarray) -> np.ndarray:
  """Returns E[sign | features] in [-1, 1] of a logistic probe."""
  return np.tanh(0.5 * (features @ probe[:-1] + probe[-1]))


def _observed(pool, read: _Read, condition, probes: _Probes) -> Pool:
  """Returns a pool with what detectors say, and features by version."""
  plain = read.plain
  kind = np.broadcast_to(pool.kind[:, None], plain.shape[:2])
  expected = np.where(kind < 2, _expected(plain, probes.stance), 0.0)
  if probes.truth is None:
    # A question's key says which side is true; the probe reads the side.
    stance = np.sign(expected)
    believed = 0.5 + 0.5 * expected * read.key
    truth = (stance * read.key > 0).astype(np.float32)
  else:
    assert read.stance is not None
    assert read.truth is not None
    stance, truth = read.stance, read.truth
    believed = 0.5 + 0.5 * _expected(_truth_columns(read), probes.truth)
  anchor = np.where(kind == 0, expected, np.where(kind == 1, believed, 0.0))
  versions = (-1, 0, 1) if condition.stated else (0,)
  features = np.stack(
    [
      np.concatenate([plain, (stance * said)[..., None]], -1)
      for said in versions
    ]
  )
  measures = {
    'stance': stance,
    'truth': np.where(kind == 1, truth, 1.0),
    'factual': (kind == 1).astype(np.float32),
    'anchor': anchor,
  }
  return Pool(
    features.astype(np.float32),
    pool.values,
    {name: value.astype(np.float32) for name, value in measures.items()},
    pool.side,
    pool.kind,
  )


def _keys(pool, condition) -> np.ndarray:
  """Returns the side that the key calls true, `[S]`, wrong for some."""
  rng = np.random.default_rng([len(pool.questions), 13])
  wrong = rng.random(len(pool.side)) < condition.key_error
  return np.where(wrong, -pool.side, pool.side)


def _judgements(people, pool, features, sizes: Sizes, seed: int) -> Judged:
  """Returns judgements of the training texts, and the twins' labels."""
  V, S, K = features.shape[:3]
  options: dict[str, Any] = {
    'seed': seed,
    'pool': pool,
    'per_person': sizes.judgements,
    'stated_share': 0.5 if V > 1 else 0.0,
  }
  asked = stances.judgements(people=people, **options)
  mirrored = dataclasses.replace(people, opinion=-people.opinion)
  twin = stances.judgements(people=mirrored, **options)
  version = asked.stated + 1 if V > 1 else np.zeros_like(asked.stated)
  base = (version * S + asked.question) * K
  items = np.stack([base + asked.first, base + asked.second], 1)
  rng = np.random.default_rng([seed, 4])
  fits = rng.random(len(asked.user)) >= _VALIDATE
  return Judged(asked.user, items, asked.label, twin.label, fits)
