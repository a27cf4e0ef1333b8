"""The closed loop of serving and believing: ours, NumPy, a Python loop.

  python -m experiments.benchmarks.echo_chamber --output=FILE.json

Everybody is served one of K = 8 answers by the policy tilted by the belief
about their J = 9 coefficients, is moved by it, answers a pair, and the belief
learns that answer: by the update of one answer, or by solving again for the
last 20 from the old mode. No neighbours, and no safeguard unless a row says
so. All rows run in turn in the same rounds, compilation apart. The NumPy loops
do the same steps in float32 for all people at once: `NumPy` with people on the
first axis, as one would write it, `NumPy, people last` where that is faster.
Their updates are held against ours on the same answers, and the mean utility
of what was served tells that the loops are the same.
"""

import functools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from prm_jax import types
from prm_jax.audits import echo_chamber
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.runtime import writers
from prm_jax.safeguards import composition, policies
from prm_jax.users import gaussian

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.')
_ROUNDS = flags.DEFINE_integer('repeats', 3, 'Timed rounds of all rows.')

COEFFICIENTS, CANDIDATES, CAPACITY, ITERATIONS = 9, 8, 20, 2
PROMPTS, ANSWERS = 60, 64
RATE, ANCHOR = echo_chamber.Rules().rate, echo_chamber.Rules().anchor
DEVICES = 2  # of the host, for the rows that spread blocks over them
# XLA's library for sums costs more than it saves on arrays as small as these.
COMPILER = {'xla_cpu_experimental_ynn_fusion_type': ''}
BLOCK = {'one answer': 2_500, 're-solve': 1_000}  # people; stay in cache
REQUIRED = {'one answer': 30.0, 're-solve': 120.0}  # seconds, `Sizes()`
LOOKED_AT = 20  # rounds in which utilities are compared


class Sizes(NamedTuple):
  """How much every row does; people are multiples of `BLOCK`."""

  people: int = 100_000
  fewer: int = 10_000
  rounds: int = 100
  loop_people: int = 200
  loop_rounds: int = 20


class World(NamedTuple):
  """NumPy's copy of who is served and what: `People` and `Menu`."""

  encoded: np.ndarray  # [S, M, J], also what people see
  stance: np.ndarray  # [S, M]
  weights: np.ndarray  # [U, J]
  love: np.ndarray  # [U]
  innate: np.ndarray  # [U], also the first opinion


class Run(NamedTuple):
  """One row: `call` does it and returns utilities of what was served."""

  method: str
  update: str
  people: int
  rounds: int
  call: Callable[[], Any]
  compile_seconds: float | None = None


def world(people: int) -> World:
  """Returns U people, every tenth of whom wishes to be agreed with."""
  rng = np.random.default_rng(0)
  encoded = rng.standard_normal((PROMPTS, ANSWERS, COEFFICIENTS), np.float32)
  weights = rng.standard_normal((people, COEFFICIENTS), np.float32)
  love = (np.arange(people) % 10 == 0).astype(np.float32)
  innate = rng.uniform(-1, 1, people).astype(np.float32)
  return World(encoded, np.sign(encoded[..., 0]), weights, love, innate)


# ----------------------------------------------------------------------- ours


def user_of(update: str) -> types.UserModel:
  """Returns the belief by the name of its update."""
  if update == 'one answer':
    return gaussian.online(dim=COEFFICIENTS)
  return gaussian.gaussian(
    dim=COEFFICIENTS, capacity=CAPACITY, iterations=ITERATIONS
  )


def prior() -> bayes.GaussianPrior:
  """Returns N(0, I)."""
  return bayes.isotropic_prior(jnp.zeros(COEFFICIENTS), 1.0)


def ours(
  update: str,
  people: int,
  sizes: Sizes,
  *,
  name: str = 'ours',
  safeguard: types.Safeguard | None = None,
  devices: int = 1,
) -> Run:
  """Returns our loop, compiled.

  Args:
    update: of the belief.
    people: U.
    sizes: rounds and people of a block.
    name: of the row.
    safeguard: on the measure `anchor`, or None.
    devices: over which blocks are spread.
  """
  made = world(people)
  system = types.System(factorized.identity(), user_of(update), safeguard)
  measures = {} if safeguard is None else {'anchor': jnp.asarray(made.stance)}
  encoded = jnp.asarray(made.encoded)
  blank = jnp.zeros((PROMPTS, ANSWERS))
  menu = echo_chamber.Menu(
    encoded, encoded, jnp.asarray(made.stance), blank, measures
  )
  everybody = echo_chamber.People(
    jnp.arange(people), jnp.asarray(made.weights), jnp.asarray(made.love),
    jnp.asarray(made.innate), jnp.asarray(made.innate),
    jnp.zeros((people, 0), jnp.int32),
  )  # fmt: skip

  mesh = None
  if devices > 1:
    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ('people',), axis_types=auto)

  def run(key, everybody, menu):
    params = {'reward': {}, 'user': prior()}
    return echo_chamber.in_blocks(
      key, system, params, everybody, menu, mesh=mesh,
      block=min(BLOCK[update], people // devices),
      rounds=sizes.rounds, pool=CANDIDATES,
    )  # fmt: skip

  data = jax.random.key(0), everybody, menu
  start = time.perf_counter()
  compiled = jax.jit(run, compiler_options=COMPILER).lower(*data).compile()
  seconds = time.perf_counter() - start
  return Run(
    name, update, people, sizes.rounds,
    lambda: jax.block_until_ready(compiled(*data)).utility, seconds,
  )  # fmt: skip


# ---------------------------------------------------------------------- NumPy


def sigmoid(x: np.ndarray) -> np.ndarray:
  """Returns 1 / (1 + exp(-x)), which does not overflow."""
  return 0.5 + 0.5 * np.tanh(0.5 * x)


def moved(opinion, stance, innate):
  """Returns `opinions.served` of NumPy arrays or numbers."""
  heard = 0.5 * (1.0 + opinion * stance) * (stance - opinion)
  return opinion + RATE * heard + ANCHOR * (innate - opinion)


def line(margin, square, label, iterations: int = 6):
  """Returns the root t of t = label - sigmoid(margin + square t), and p."""
  t = np.clip(-margin / np.maximum(square, 1e-30), label - 1.0, label)
  for _ in range(iterations):
    p = sigmoid(margin + square * t)
    t = t - (t + p - label) / (1.0 + square * p * (1.0 - p))
    t = np.clip(t, label - 1.0, label)
  return t, sigmoid(margin + square * t)


def gain_of(square, p):
  """Returns g of `bayes.one_answer`."""
  shrunk = 1.0 - 1.0 / np.sqrt(1.0 + p * (1.0 - p) * square)
  return shrunk / np.maximum(square, 1e-30)


class OneAnswer:
  """`bayes.one_answer` of U people: `mean` `[U, J]`, `factor` `[U, J, J]`."""

  def __init__(self, people: int):
    self.mean = np.zeros((people, COEFFICIENTS), np.float32)
    eye = np.eye(COEFFICIENTS, dtype=np.float32)
    self.factor = np.tile(eye, (people, 1, 1))

  def learn(self, x: np.ndarray, label: np.ndarray) -> None:
    """Learns differences `[U, J]` with labels `[U]`."""
    v = np.einsum('uij,ui->uj', self.factor, x)
    direction = np.einsum('uij,uj->ui', self.factor, v)
    square = np.einsum('uj,uj->u', v, v)
    t, p = line(np.einsum('uj,uj->u', x, self.mean), square, label)
    self.mean += direction * t[:, None]
    direction *= gain_of(square, p)[:, None]
    self.factor -= direction[:, :, None] * v[:, None, :]


class OneAnswerLast:
  """The same with people on the last axis, where NumPy's loops are long."""

  def __init__(self, people: int):
    self._mean = np.zeros((COEFFICIENTS, people), np.float32)
    eye = np.eye(COEFFICIENTS, dtype=np.float32)
    self.factor = np.repeat(eye[:, :, None], people, 2)

  @property
  def mean(self) -> np.ndarray:
    """Means `[U, J]`."""
    return self._mean.T

  def learn(self, x: np.ndarray, label: np.ndarray) -> None:
    """Learns differences `[U, J]` with labels `[U]`."""
    x = np.ascontiguousarray(x.T)
    v = np.einsum('iju,iu->ju', self.factor, x)
    direction = np.einsum('iju,ju->iu', self.factor, v)
    square = np.einsum('ju,ju->u', v, v)
    t, p = line(np.einsum('ju,ju->u', x, self._mean), square, label)
    self._mean += direction * t
    direction *= gain_of(square, p)
    for row, scale in zip(self.factor, direction, strict=True):
      row -= scale * v  # a row at a time stays in the cache


class Resolve:
  """The mode of the last N answers from the old one, `mean` `[U, J]`."""

  def __init__(self, people: int):
    self.mean = np.zeros((people, COEFFICIENTS), np.float32)
    self.x = np.zeros((people, CAPACITY, COEFFICIENTS), np.float32)
    self.label = np.zeros((people, CAPACITY), np.float32)
    self.mask = np.zeros((people, CAPACITY), np.float32)
    self.kept = 0

  def learn(self, x: np.ndarray, label: np.ndarray) -> None:
    """Learns differences `[U, J]` with labels `[U]`."""
    slot = self.kept % CAPACITY
    self.kept += 1
    self.x[:, slot], self.label[:, slot], self.mask[:, slot] = x, label, 1.0
    z, margin = self.mean, self._margin(self.mean)
    value = self._loss(z, margin)
    for _ in range(ITERATIONS):
      step = self._step(z, margin)
      change = self._margin(step)
      size = np.ones_like(value)
      new = self._loss(z + step, margin + change)
      bound = value + 1e-6 * (1.0 + np.abs(value))
      # Only those whose step was too long try again.
      rows = np.flatnonzero(new > bound)
      while len(rows) and size[rows[0]] > 1e-3:
        size[rows] *= 0.5
        wide = size[rows, None]
        new[rows] = self._loss(
          z[rows] + wide * step[rows], margin[rows] + wide * change[rows], rows
        )
        rows = rows[new[rows] > bound[rows]]
      z = z + size[:, None] * step
      margin, value = margin + size[:, None] * change, new
    self.mean = z

  def _margin(self, z):
    return (self.x @ z[:, :, None])[:, :, 0]

  def _loss(self, z, margin, rows=slice(None)):
    # log(1 + exp(m)) without overflow.
    soft = np.maximum(margin, 0) + np.log1p(np.exp(-np.abs(margin)))
    fit = self.mask[rows] * (soft - self.label[rows] * margin)
    return fit.sum(1) + 0.5 * np.einsum('uj,uj->u', z, z)

  def _step(self, z, margin):
    p = sigmoid(margin)
    slope = self.mask * p * (1.0 - p)
    precision = (self.x * slope[:, :, None]).transpose(0, 2, 1) @ self.x
    diagonal = np.arange(COEFFICIENTS)
    precision[:, diagonal, diagonal] += 1.0
    residual = self.mask * (self.label - p)
    gradient = (residual[:, None] @ self.x)[:, 0] - z
    return np.linalg.solve(precision, gradient[:, :, None])[:, :, 0]


def numpy_loop(
  belief_of: Callable[[int], Any], made: World, rounds: int
) -> np.ndarray:
  """Returns utilities `[T, U]` of what was served, everybody at once."""
  rng = np.random.default_rng(1)
  U = len(made.innate)
  belief, opinion, everybody = belief_of(U), made.innate, np.arange(U)
  utilities = np.empty((rounds, U), np.float32)
  for t in range(rounds):
    prompt, start = rng.integers(PROMPTS, size=U), rng.integers(ANSWERS, size=U)
    rows = (start[:, None] + np.arange(CANDIDATES)) % ANSWERS
    encoded = made.encoded[prompt[:, None], rows]
    score = (encoded @ belief.mean[:, :, None])[:, :, 0]
    # A softmax draw: the first of K exponential clocks with rates exp(score).
    clocks = rng.standard_exponential((U, CANDIDATES), np.float32)
    pick = np.argmax(score - np.log(clocks), 1)
    against = (pick + rng.integers(1, CANDIDATES, U)) % CANDIDATES
    served, other = encoded[everybody, pick], encoded[everybody, against]
    stance = made.stance[prompt, rows[everybody, pick]]
    against_stance = made.stance[prompt, rows[everybody, against]]
    # People see the features themselves.
    difference = served - other
    margin = np.einsum('uj,uj->u', difference, made.weights)
    margin += made.love * opinion * (stance - against_stance)
    label = (rng.random(U, np.float32) < sigmoid(margin)).astype(np.float32)
    utilities[t] = np.einsum('uj,uj->u', served, made.weights)
    opinion = moved(opinion, stance, made.innate)
    belief.learn(difference, label)
  return utilities


# ---------------------------------------------------------------- Python loop


class OneAnswerOfOne:
  """`bayes.one_answer` of one person."""

  def __init__(self):
    self.mean = np.zeros(COEFFICIENTS)
    self.factor = np.eye(COEFFICIENTS)

  def learn(self, x: np.ndarray, label: float) -> None:
    """Learns a difference `[J]` with its label."""
    v = x @ self.factor
    direction = self.factor @ v
    square, margin = float(v @ v), float(x @ self.mean)
    t = min(max(-margin / max(square, 1e-30), label - 1.0), label)
    for _ in range(6):
      p = 1.0 / (1.0 + math.exp(-margin - square * t))
      t -= (t + p - label) / (1.0 + square * p * (1.0 - p))
      t = min(max(t, label - 1.0), label)
    p = 1.0 / (1.0 + math.exp(-margin - square * t))
    self.mean = self.mean + direction * t
    self.factor = self.factor - np.outer(gain_of(square, p) * direction, v)


class ResolveOfOne:
  """The mode of the last N answers of one person from the old one."""

  def __init__(self):
    self.mean = np.zeros(COEFFICIENTS)
    self.answers: list[tuple[np.ndarray, float]] = []

  def learn(self, x: np.ndarray, label: float) -> None:
    """Learns a difference `[J]` with its label."""
    self.answers = [*self.answers, (x, label)][-CAPACITY:]
    xs = np.array([x for x, _ in self.answers])
    labels = np.array([label for _, label in self.answers])

    def loss(z):
      margin = xs @ z
      return np.sum(np.logaddexp(0, margin) - labels * margin) + 0.5 * z @ z

    z = self.mean
    for _ in range(ITERATIONS):
      p = sigmoid(xs @ z)
      precision = (xs.T * (p * (1.0 - p))) @ xs + np.eye(COEFFICIENTS)
      step = np.linalg.solve(precision, xs.T @ (labels - p) - z)
      size, value = 1.0, loss(z)
      bound = value + 1e-6 * (1.0 + abs(value))
      while loss(z + size * step) > bound and size > 1e-3:
        size *= 0.5
      z = z + size * step
    self.mean = z


def python_loop(
  belief_of: Callable[[], Any], made: World, rounds: int
) -> np.ndarray:
  """Returns utilities `[T, U]`, a person at a time as simulators do it."""
  rng = np.random.default_rng(2)
  U = len(made.innate)
  beliefs, opinion = [belief_of() for _ in range(U)], made.innate.tolist()
  utilities = np.empty((rounds, U))
  for t in range(rounds):
    for u, belief in enumerate(beliefs):
      prompt = rng.integers(PROMPTS)
      rows = (rng.integers(ANSWERS) + np.arange(CANDIDATES)) % ANSWERS
      encoded, stance = made.encoded[prompt, rows], made.stance[prompt, rows]
      score = encoded @ belief.mean
      policy = np.exp(score - score.max())
      policy /= policy.sum()
      pick = rng.choice(CANDIDATES, p=policy)
      against = (pick + rng.integers(1, CANDIDATES)) % CANDIDATES
      plain = encoded @ made.weights[u]
      utility = plain + made.love[u] * opinion[u] * stance
      prefers = 1.0 / (1.0 + math.exp(utility[against] - utility[pick]))
      utilities[t, u] = plain[pick]
      opinion[u] = moved(opinion[u], stance[pick], made.innate[u])
      belief.learn(
        encoded[pick] - encoded[against], float(rng.random() < prefers)
      )
  return utilities


# update -> NumPy's beliefs about everybody, and the Python loop's about one
METHODS: dict[str, tuple[tuple[Any, ...], Any]] = {
  'one answer': ((OneAnswer, OneAnswerLast), OneAnswerOfOne),
  're-solve': ((Resolve,), ResolveOfOne),
}


# --------------------------------------------------------------- what is equal


def differences(people: int = 50, answers: int = 25) -> dict[str, float]:
  """Returns each update's largest difference to ours, in coefficients.

  Args:
    people: U.
    answers: after each of which means are compared; more than are kept.
  """
  rng = np.random.default_rng(3)
  shape = (answers, people, COEFFICIENTS)
  x = rng.standard_normal(shape, np.float32)
  labels = (rng.random(shape[:2]) < 0.5).astype(np.float32)
  found = {}
  for update, (vectorised, single) in METHODS.items():
    truth = _means(update, jnp.asarray(x), jnp.asarray(labels))
    after = {made: _learnt(made(people), x, labels) for made in vectorised}
    everybody = [
      _learnt(single(), x[:, u], labels[:, u].tolist()) for u in range(people)
    ]
    after[single] = np.stack(everybody, 1)
    for method, means in after.items():
      gap = np.abs(means - truth).max()
      found[f'{update}: {method.__name__}'] = float(gap)
  return found


def _learnt(belief, x, labels):
  """Means `[N, ...]` after each answer."""
  after = []
  for one, label in zip(x, labels, strict=True):
    belief.learn(one, label)
    after.append(np.array(belief.mean))
  return np.stack(after)


@functools.partial(jax.jit, static_argnums=0)
def _means(update, x, labels):
  """Means `[N, U, J]` of our belief after each answer."""
  user, params = user_of(update), prior()
  blank = user.prior(params)
  people = x.shape[1]
  beliefs = jax.tree.map(
    lambda leaf: jnp.broadcast_to(leaf, (people, *leaf.shape)), blank
  )

  def learn(belief, x, label):
    # The pair is the difference and nothing.
    pair = types.Pair(
      jnp.stack([x, jnp.zeros_like(x)])[None], label[None], jnp.ones(1)
    )
    belief, _ = user.update(jax.random.key(0), params, belief, pair)
    return belief, user.context(params, belief).mean

  def answer(beliefs, data):
    return jax.vmap(learn)(beliefs, *data)

  return jax.lax.scan(answer, beliefs, (x, labels))[1]


# ------------------------------------------------------------------ the rounds


def runs_of(sizes: Sizes, devices: int) -> list[Run]:
  """Returns every row, ours compiled."""
  runs, few = [], world(sizes.fewer)
  some = world(sizes.loop_people)
  for update, (vectorised, single) in METHODS.items():
    print('compiling', update, flush=True)
    runs.append(ours(update, sizes.people, sizes, devices=devices))
    name = 'ours, one device'
    runs.append(ours(update, sizes.people, sizes, name=name))
    runs.append(ours(update, sizes.fewer, sizes, devices=devices))
    for belief_of in vectorised:
      last = ', people last' if belief_of is OneAnswerLast else ''
      loop = functools.partial(numpy_loop, belief_of, few, sizes.rounds)
      runs.append(Run('NumPy' + last, update, sizes.fewer, sizes.rounds, loop))
    loop = functools.partial(python_loop, single, some, sizes.loop_rounds)
    runs.append(
      Run('Python loop', update, sizes.loop_people, sizes.loop_rounds, loop)
    )
  matching = composition.chain(policies.matching())
  runs.append(
    ours(
      'one answer', sizes.fewer, sizes,
      name='ours, matching', safeguard=matching, devices=devices,
    )
  )  # fmt: skip
  return runs


def rows_of(runs: list[Run], repeats: int) -> list[dict[str, Any]]:
  """Returns the rows; every round goes through all runs in turn."""
  times: list[list[float]] = [[] for _ in runs]
  utility = [0.0] * len(runs)
  for i in range(repeats):
    for j, run in enumerate(runs):
      start = time.perf_counter()
      result = run.call()
      times[j].append(time.perf_counter() - start)
      # The first rounds, which all rows have.
      utility[j] = float(np.mean(np.asarray(result)[:LOOKED_AT]))
      print(i, run.method, run.update, f'{times[j][-1]:.3g} s', flush=True)
  rows: list[dict[str, Any]] = []
  for run, found, mean in zip(runs, times, utility, strict=True):
    scale = 1e6 / (run.people * run.rounds)
    rows.append(
      {
        'method': run.method,
        'update': run.update,
        'people': run.people,
        'rounds': run.rounds,
        'seconds': statistics.median(found),
        'fastest': min(found),
        'slowest': max(found),
        'microseconds_per_person_round': scale * statistics.median(found),
        'microseconds_of_fastest': scale * min(found),
        'compile_seconds': run.compile_seconds,
        'mean_utility': mean,
      }
    )
  for row in rows:
    base = next(r for r in rows if r['update'] == row['update'])
    for name, key in (
      ('times_ours', 'microseconds_per_person_round'),
      ('times_ours_of_fastest', 'microseconds_of_fastest'),
    ):
      row[name] = row[key] / base[key]
  return rows


def main(argv) -> None:
  del argv
  devices = min(DEVICES, os.cpu_count() or 1)
  jax.config.update('jax_num_cpu_devices', devices)
  load = os.getloadavg()
  largest = differences()
  print('largest differences of coefficients', largest, flush=True)
  runs = runs_of(Sizes(), min(devices, jax.device_count()))
  rows = rows_of(runs, _ROUNDS.value)
  print(*rows, sep='\n')
  if _OUTPUT.value:
    results: dict[str, Any] = {
      'machine': f'{os.cpu_count()} x {platform.processor() or "cpu"}',
      'devices': [str(device) for device in jax.devices()],
      'load_before_and_after': [*load[:1], *os.getloadavg()[:1]],
      'coefficients': COEFFICIENTS,
      'candidates': CANDIDATES,
      'block': BLOCK,
      'required_seconds': REQUIRED,
      'rows': rows,
      'largest_differences': largest,
    }
    writers.write_json_atomic(Path(_OUTPUT.value), results)


if __name__ == '__main__':
  app.run(main)
