"""One simulated world of a condition and seed: texts, people, features."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.personalized_vs_aggregate import problems
from prm_jax import types
from prm_jax.lab import fitting
from prm_jax.models import embeddings, reduce
from prm_jax.ops import bayes
from prm_jax.worlds import stances

_VALIDATE = 0.2  # share of judgements by which hyper-parameters are chosen
_PROBE_RIDGE = 3.0
_LAYERS = (1, 3, 5)
_COMPONENTS = 32
FEATURES = (*stances.AXES, 'agrees')


class Condition(NamedTuple):
  """What a world is like.

  Attributes:
    loving: fraction of people who love agreement.
    accuracy: of the stance detector.
    key_error: of the answer key.
    stated: share of training prompts that say the person's stance; where it
      is not 0 the audited prompts say it too.
    text: whether features and detector come from the encoder's reading.
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


@dataclasses.dataclass(frozen=True)
class World:
  """Everything of one condition and seed.

  Attributes:
    condition, seed: which.
    people: the truth about them.
    version: `[U]` row of `features` that a person's audited prompts are.
    features: `[M, D]` of the training texts.
    judged: training judgements, all of them, of `features`.
    twin: `[N]` labels of everybody's twin, whose opinion is the opposite.
    fit: `[N]` 1 for judgements that a search fits, 0 for its validation.
    bias: `[M]` detected stance of the training texts.
    calibration: prompts on which temperatures are set.
    audit: fresh prompts.
    fresh: fresh candidates to the audit's prompts.
    probe_accuracy: of the stance's sign on the audit's answers.
  """

  condition: Condition
  seed: int
  people: stances.People
  version: np.ndarray
  features: np.ndarray
  judged: types.Batch
  twin: np.ndarray
  fit: np.ndarray
  bias: np.ndarray
  calibration: Pool
  audit: Pool
  fresh: Pool
  probe_accuracy: float


def make(sizes: Any, condition: Condition, seed: int) -> World:
  """Returns the world of a condition and seed.

  Args:
    sizes: `train_questions`, `train_answers`, `calibration_questions`,
      `audit_questions`, `answers` (of audited prompts) and `judgements`.
    condition: what it is like.
    seed: of people and answers. Under one seed conditions share people, and
      answers as far as they can.
  """
  # Text costs an encoder's time: there is less, and seeds share it.
  text_seed, share = (0, 2) if condition.text else (seed, 1)

  def write(split, questions, answers, part):
    return stances.write(
      split=split, seed=10 * text_seed + part, questions=questions,
      answers=answers // share, correlation=condition.correlation,
      texts=condition.text,
    )  # fmt: skip

  pools = {
    'train': write('train', sizes.train_questions, sizes.train_answers, 0),
    'calibration': write(
      'calibration', sizes.calibration_questions, sizes.answers, 1
    ),
    'audit': write('audit', sizes.audit_questions, sizes.answers, 2),
    'fresh': write('audit', sizes.audit_questions, sizes.answers, 3),
  }
  plain = _plain_features(pools, condition, text_seed)
  seen = {
    name: _seen(pool, plain[name], condition) for name, pool in pools.items()
  }
  probes = _probes(seen['train'], pools['train'])
  found = {
    name: _pool(pool, seen[name], condition, probes)
    for name, pool in pools.items()
  }
  people = stances.people(
    seed=seed, count=condition.people, loving_fraction=condition.loving
  )
  judged, twin = _judgements(
    people, pools['train'], found['train'], sizes, seed
  )
  rng = np.random.default_rng([seed, 4])
  stated = np.sign(people.opinion).astype(int) if condition.stated else 0
  version = stated + 1 if condition.stated else np.zeros(condition.people, int)
  audit, features = found['audit'], found['train'].features
  contested = audit.kind == 0
  right = np.sign(audit.measures['anchor']) == audit.values[..., stances.STANCE]
  return World(
    condition=condition,
    seed=seed,
    people=people,
    version=np.asarray(version),
    features=features.reshape(-1, features.shape[-1]),
    judged=judged,
    twin=twin,
    fit=(rng.random(len(judged.rows.user)) >= _VALIDATE).astype(np.float32),
    bias=np.broadcast_to(
      found['train'].measures['stance'], features.shape[:3]
    ).reshape(-1),
    calibration=found['calibration'],
    audit=audit,
    fresh=found['fresh'],
    probe_accuracy=float(right[contested].mean()),
  )


def _plain_features(pools, condition, seed) -> dict[str, np.ndarray]:
  """Returns `[S, K, D]` of each pool, without what the prompt says."""
  if condition.text:
    return _encoded({name: pool.texts for name, pool in pools.items()})
  # A question has one key, whichever candidates are read with it.
  part = {'train': 0, 'calibration': 1, 'audit': 2, 'fresh': 2}
  return {
    name: stances.detected(
      pool.values, pool.kind == 1, seed=100 * seed + part[name],
      accuracy=condition.accuracy, key_error=condition.key_error,
    )
    for name, pool in pools.items()
  }  # fmt: skip


_EMBED = problems.Embedder()


def _encoded(texts) -> dict[str, np.ndarray]:
  """Returns the encoder's principal components, fitted on training texts."""
  raw = {}
  for name, rows in texts.items():
    flat = [text for row in rows for text in row]
    columns = _EMBED(flat, 'text', _LAYERS)
    length = embeddings.text_length_features(flat)
    raw[name] = np.concatenate([columns, length], 1)
  train = raw['train']
  reduction = reduce.principal_components(
    train, np.arange(len(train)), _COMPONENTS, whiten=True
  )
  return {
    name: reduction(value).reshape(len(texts[name]), -1, _COMPONENTS)
    for name, value in raw.items()
  }


class _Seen(NamedTuple):
  """What is read off a pool: features `[S, K, D]`, the rest `[S, K]`."""

  plain: np.ndarray
  stance: np.ndarray | None
  truth: np.ndarray | None
  key: np.ndarray


def _seen(pool, plain, condition) -> _Seen:
  """Returns what detector and key say, where they do not need a probe."""
  key = np.broadcast_to(_keys(pool, condition)[:, None], plain.shape[:2])
  if condition.text:
    return _Seen(plain, None, None, key)
  stance = plain[..., stances.STANCE]
  truth = plain[..., stances.TRUTH]
  return _Seen(plain, stance, truth, _sides(stance, truth))


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


def _probes(seen: _Seen, pool) -> _Probes:
  """Returns probes fitted on training answers that were labelled by hand."""
  stance = pool.values[..., stances.STANCE]
  sided = stance != 0
  weights = _probe(seen.plain[sided], stance[sided] > 0)
  if seen.truth is None:
    return _Probes(weights, None)
  factual = np.broadcast_to((pool.kind == 1)[:, None], stance.shape)
  columns = _truth_columns(seen)[factual]
  return _Probes(
    weights, _probe(columns, pool.values[factual][:, stances.TRUTH])
  )


def _truth_columns(seen: _Seen) -> np.ndarray:
  assert seen.truth is not None
  assert seen.stance is not None
  return np.stack([2 * seen.truth - 1, seen.stance * seen.key], -1)


def _probe(features: np.ndarray, label: np.ndarray) -> np.ndarray:
  x = np.concatenate([features, np.ones((len(features), 1))], 1)
  prior = bayes.isotropic_prior(jnp.zeros(x.shape[1]), _PROBE_RIDGE**-0.5)
  wanted, rows = jnp.asarray(label, jnp.float32), jnp.asarray(x, jnp.float32)
  return np.asarray(_fit_probe(prior, rows, wanted, jnp.ones(len(label))))


_fit_probe = jax.jit(functools.partial(bayes.posterior_mode, iterations=15))


def _expected(features: np.ndarray, probe: np.ndarray) -> np.ndarray:
  """Returns E[sign | features] in [-1, 1] of a logistic probe."""
  return np.tanh(0.5 * (features @ probe[:-1] + probe[-1]))


def _pool(pool, seen: _Seen, condition, probes: _Probes) -> Pool:
  """Returns a pool with what detectors say, and features by version."""
  plain = seen.plain
  kind = np.broadcast_to(pool.kind[:, None], plain.shape[:2])
  expected = np.where(kind < 2, _expected(plain, probes.stance), 0.0)
  if probes.truth is None:
    # A question's key says which side is true; the probe reads the side.
    stance = np.sign(expected)
    believed = 0.5 + 0.5 * expected * seen.key
    truth = (stance * seen.key > 0).astype(np.float32)
  else:
    assert seen.stance is not None
    assert seen.truth is not None
    stance, truth = seen.stance, seen.truth
    believed = 0.5 + 0.5 * _expected(_truth_columns(seen), probes.truth)
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


def _judgements(people, pool, found: Pool, sizes, seed: int):
  """Returns judgements of the training texts, and the twins' labels."""
  condition_stated = 0.5 if found.features.shape[0] > 1 else 0.0
  options: dict[str, Any] = {
    'seed': seed, 'pool': pool, 'per_person': sizes.judgements,
    'stated_share': condition_stated,
  }  # fmt: skip
  asked = stances.judgements(people=people, **options)
  mirrored = dataclasses.replace(people, opinion=-people.opinion)
  twin = stances.judgements(people=mirrored, **options)
  V, S, K = found.features.shape[:3]
  version = asked.stated + 1 if V > 1 else np.zeros_like(asked.stated)
  base = (version * S + asked.question) * K
  items = np.stack([base + asked.first, base + asked.second], 1)
  judged = fitting.judgements(asked.user, items, asked.label)
  return judged, twin.label
