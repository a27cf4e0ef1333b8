"""The closed loop of serving and believing: ours, NumPy, a Python loop.

Everybody is served one of K = 8 answers by the policy tilted by the belief
about their J = 9 coefficients, is moved by it, answers a pair, and the belief
learns that answer: by the update of one answer, or by solving again for the
last 20 from the old mode. No neighbours, and no safeguard unless a row says
so. All rows run in turn in the same rounds, compilation apart. The NumPy loops
do the same steps in float32 for all people at once: `NumPy` with people on the
first axis, as one would write it, `NumPy, people last` with their numbers side
by side in memory. Tests hold their updates against ours on the same answers;
the mean utility of what was served tells that the loops are the same.
"""

import functools
import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import program
from prm_jax import types
from prm_jax.audits import echo_chamber
from prm_jax.lab import timing
from prm_jax.ops import bayes
from prm_jax.rewards import factorized
from prm_jax.safeguards import composition, policy_level
from prm_jax.users import gaussian

J, CANDIDATES, CAPACITY, ITERATIONS = 9, 8, 20, 2
PROMPTS, ANSWERS = 60, 64
RULES = echo_chamber.Rules()
DEVICES = 2  # of the host, for the rows that spread blocks over them
# XLA's library for sums costs more than it saves on arrays as small as these.
COMPILER = {'xla_cpu_experimental_ynn_fusion_type': ''}
BLOCK = {'one answer': 2_500, 're-solve': 1_000}  # people; stay in cache
LOOKED_AT = 20  # rounds in which utilities are compared


class Sizes(NamedTuple):
  """How much every row does; people are multiples of `BLOCK`, or fewer."""

  people: int = 100_000
  fewer: int = 10_000
  rounds: int = 100
  loop_people: int = 200
  loop_rounds: int = 20
  repeats: int = 3


class Row(NamedTuple):
  """One way to do it, and how much it does."""

  method: str
  update: str
  people: int
  rounds: int
  compile_seconds: float | None = None


Runs = dict[Row, Callable[[], Any]]


def world(people: int) -> tuple[echo_chamber.People, echo_chamber.Menu]:
  """Returns U people, every tenth of whom wishes to be agreed with."""
  rng: Any = np.random.default_rng(0)
  encoded = rng.standard_normal((PROMPTS, ANSWERS, J), np.float32)
  weights = rng.standard_normal((people, J), np.float32)
  number: Any = np.arange(people)
  love = (number % 10 == 0).astype(np.float32)
  innate = rng.uniform(-1, 1, people).astype(np.float32)
  alone: Any = np.zeros((people, 0), np.int32)
  stance: Any = np.sign(encoded[..., 0])
  return (
    echo_chamber.People(number, weights, love, innate, innate, alone),
    echo_chamber.Menu(encoded, encoded, stance, np.zeros_like(stance), {}),
  )


def user_of(update: str) -> types.UserModel:
  """Returns the belief by the name of its update."""
  if update == 'one answer':
    return gaussian.online(dim=J)
  return gaussian.gaussian(dim=J, capacity=CAPACITY, iterations=ITERATIONS)


def ours(
  update: str, people: int, rounds: int, devices: int = 1, safeguard=None
) -> tuple[Callable[[], Any], float]:
  """Returns our loop, compiled, and the seconds of compiling it.

  Args:
    update: of the belief.
    people: U.
    rounds: of the loop.
    devices: over which blocks are spread.
    safeguard: on the measure `anchor`, or None.
  """
  system = types.System(factorized.identity(), user_of(update), safeguard)
  everybody, menu = jax.tree.map(jnp.asarray, world(people))
  if safeguard is not None:
    menu = menu._replace(measures={'anchor': menu.stance})
  auto, mesh = (jax.sharding.AxisType.Auto,), None
  if devices > 1:
    mesh = jax.make_mesh((devices,), ('people',), axis_types=auto)
  options: dict[str, Any] = {'rounds': rounds, 'pool': CANDIDATES, 'mesh': mesh}
  options['block'] = min(BLOCK[update], people // devices)

  @functools.partial(jax.jit, compiler_options=COMPILER)
  def run(key, *data):
    prior = bayes.isotropic_prior(jnp.zeros(J), 1.0)
    params = {'reward': {}, 'user': prior}
    return echo_chamber.in_blocks(key, system, params, *data, **options)

  data = jax.random.key(0), everybody, menu
  start = time.perf_counter()
  compiled = run.lower(*data).compile()
  seconds = time.perf_counter() - start
  return lambda: jax.block_until_ready(compiled(*data)).utility, seconds


def root(margin, square, label, tanh: Any = np.tanh, clip: Any = np.clip):
  """Returns t = label - sigmoid(margin + square t), and g of `one_answer`."""

  def chance(t):
    return 0.5 + 0.5 * tanh(0.5 * (margin + square * t))

  t = clip(-margin / square, label - 1.0, label)
  for _ in range(6):
    p = chance(t)
    t = t - (t + p - label) / (1.0 + square * p * (1.0 - p))
    t = clip(t, label - 1.0, label)
  p = chance(t)
  return t, (1.0 - 1.0 / (1.0 + p * (1.0 - p) * square) ** 0.5) / square


def moved(opinion, stance, innate):
  """Returns `opinions.served` of NumPy arrays or numbers."""
  heard = 0.5 * (1.0 + opinion * stance) * (stance - opinion)
  return opinion + RULES.rate * heard + RULES.anchor * (innate - opinion)


class OneAnswer:
  """`bayes.one_answer` of U people: `mean` `[U, J]`, `factor` `[U, J, J]`.

  Order 'F' has people side by side in memory, where NumPy's loops are long.
  """

  def __init__(self, people: int, order: Any = 'C'):
    self.order = order
    self.mean = np.zeros((people, J), np.float32, order)
    eye = np.tile(np.eye(J, dtype=np.float32), (people, 1, 1))
    self.factor = np.array(eye, order=order)

  def learn(self, x: np.ndarray, label: np.ndarray) -> None:
    """Learns differences `[U, J]` with labels `[U]`."""
    x = np.asarray(x, order=self.order)
    v = np.einsum('uij,ui->uj', self.factor, x)
    direction = np.einsum('uij,uj->ui', self.factor, v)
    margin = np.einsum('uj,uj->u', x, self.mean)
    t, gain = root(margin, np.einsum('uj,uj->u', v, v), label)
    self.mean += direction * t[:, None]
    direction *= gain[:, None]
    self.factor -= direction[:, :, None] * v[:, None, :]


class OneAnswerOfOne:
  """`bayes.one_answer` of one person, whose numbers are Python's."""

  def __init__(self, people: int):
    self.mean, self.factor = np.zeros((people, J)), np.eye(J)

  def learn(self, x: np.ndarray, label: float) -> None:
    """Learns a difference `[1, J]` with its label."""
    v = x[0] @ self.factor
    direction = self.factor @ v
    margin, square = float(x[0] @ self.mean[0]), float(v @ v)
    t, gain = root(
      margin, square, label, math.tanh, lambda x, a, b: min(max(x, a), b)
    )
    self.mean += direction * t
    self.factor -= np.outer(gain * direction, v)


class Resolve:
  """The mode of the last N answers from the old one, `mean` `[U, J]`."""

  def __init__(self, people: int):
    self.mean = np.zeros((people, J), np.float32)
    self.x = np.zeros((people, CAPACITY, J), np.float32)
    self.label = np.zeros((people, CAPACITY), np.float32)
    self.count = 0

  def learn(self, x: np.ndarray, label: np.ndarray) -> None:
    """Learns differences `[U, J]` with labels `[U]`."""
    slot = self.count % CAPACITY
    self.x[:, slot], self.label[:, slot] = x, label
    self.count += 1
    x, label = self.x[:, : self.count], self.label[:, : self.count]
    z, margin = self.mean, _product(x, self.mean)
    value = _loss(z, margin, label)
    for _ in range(ITERATIONS):
      step = _step(z, margin, x, label)
      change = _product(x, step)
      size, bound = np.ones_like(value), value + 1e-6 * (1.0 + np.abs(value))
      value = _loss(z + step, margin + change, label)
      # Only those whose step was too long try again.
      long = np.flatnonzero(value > bound)
      while len(long) and size[long[0]] > 1e-3:
        size[long] *= 0.5
        wide = size[long, None]
        nearer = margin[long] + wide * change[long]
        value[long] = _loss(z[long] + wide * step[long], nearer, label[long])
        long = long[value[long] > bound[long]]
      z = z + size[:, None] * step
      margin = margin + size[:, None] * change
    self.mean = z


def _product(x, z):
  return (x @ z[:, :, None])[:, :, 0]


def _loss(z, margin, label):
  # log(1 + exp(m)) without overflow.
  soft = np.maximum(margin, 0) + np.log1p(np.exp(-np.abs(margin)))
  return (soft - label * margin).sum(1) + 0.5 * np.einsum('uj,uj->u', z, z)


def _step(z, margin, x, label):
  """Newton's step `[U, J]`."""
  p = 0.5 + 0.5 * np.tanh(0.5 * margin)
  precision = (x * (p * (1.0 - p))[:, :, None]).transpose(0, 2, 1) @ x
  precision += np.eye(J, dtype=np.float32)
  gradient = ((label - p)[:, None] @ x)[:, 0] - z
  return np.linalg.solve(precision, gradient[:, :, None])[:, :, 0]


# Update -> beliefs by the row's name, that of the loop about one person.
BELIEFS: dict[str, dict[str, Callable[[int], Any]]] = {
  'one answer': {
    'NumPy': OneAnswer,
    'NumPy, people last': functools.partial(OneAnswer, order='F'),
    'Python loop': OneAnswerOfOne,
  },
  're-solve': {'NumPy': Resolve, 'Python loop': Resolve},
}


def numpy_loop(belief_of: Callable[[int], Any], given, rounds: int):
  """Returns utilities `[T, U]` of what was served, everybody at once."""
  people, menu = given
  rng = np.random.default_rng(1)
  U = len(people.number)
  belief, opinion, everybody = belief_of(U), people.innate, people.number
  utilities = np.empty((rounds, U), np.float32)
  for t in range(rounds):
    prompt, start = rng.integers(PROMPTS, size=U), rng.integers(ANSWERS, size=U)
    rows = (start[:, None] + np.arange(CANDIDATES)) % ANSWERS
    encoded = menu.encoded[prompt[:, None], rows]
    # A softmax draw: the first of K exponential clocks with rates exp(score).
    clocks = rng.standard_exponential((U, CANDIDATES), np.float32)
    pick = np.argmax(_product(encoded, belief.mean) - np.log(clocks), 1)
    against = (pick + rng.integers(1, CANDIDATES, U)) % CANDIDATES
    stance, other_stance = (
      menu.stance[prompt, rows[everybody, i]] for i in (pick, against)
    )
    # People see the features themselves.
    served = encoded[everybody, pick]
    difference = served - encoded[everybody, against]
    margin = np.einsum('uj,uj->u', difference, people.weights)
    margin += people.love * opinion * (stance - other_stance)
    prefers = 0.5 + 0.5 * np.tanh(0.5 * margin)
    label = (rng.random(U, np.float32) < prefers).astype(np.float32)
    utilities[t] = np.einsum('uj,uj->u', served, people.weights)
    opinion = moved(opinion, stance, people.innate)
    belief.learn(difference, label)
  return utilities


def python_loop(belief_of: Callable[[int], Any], given, rounds: int):
  """Returns utilities `[T, U]`, a person at a time as simulators do it."""
  people, menu = given
  rng = np.random.default_rng(2)
  beliefs = [belief_of(1) for _ in people.number]
  opinion = people.innate.tolist()
  utilities = np.empty((rounds, len(beliefs)))
  for t in range(rounds):
    for u, belief in enumerate(beliefs):
      prompt = rng.integers(PROMPTS)
      rows = (rng.integers(ANSWERS) + np.arange(CANDIDATES)) % ANSWERS
      encoded, stance = menu.encoded[prompt, rows], menu.stance[prompt, rows]
      score = encoded @ belief.mean[0]
      policy = np.exp(score - score.max())
      pick = rng.choice(CANDIDATES, p=policy / policy.sum())
      against = (pick + rng.integers(1, CANDIDATES)) % CANDIDATES
      plain = encoded @ people.weights[u]
      utility = plain + people.love[u] * opinion[u] * stance
      prefers = 1.0 / (1.0 + math.exp(utility[against] - utility[pick]))
      utilities[t, u] = plain[pick]
      opinion[u] = moved(opinion[u], stance[pick], people.innate[u])
      label = float(rng.random() < prefers)
      belief.learn((encoded[pick] - encoded[against])[None], label)
  return utilities


def runs_of(sizes: Sizes, devices: int) -> Runs:
  """Returns what does every row, ours compiled."""
  runs: Runs = {}

  def add(name, update, people, devices, safeguard=None):
    call, seconds = ours(update, people, sizes.rounds, devices, safeguard)
    runs[Row(name, update, people, sizes.rounds, seconds)] = call

  many = numpy_loop, world(sizes.fewer), sizes.rounds
  one = python_loop, world(sizes.loop_people), sizes.loop_rounds
  for update, beliefs in BELIEFS.items():
    add('ours', update, sizes.people, devices)
    add('ours, one device', update, sizes.people, 1)
    add('ours', update, sizes.fewer, devices)
    for name, belief_of in beliefs.items():
      loop, given, rounds = one if name == 'Python loop' else many
      row = Row(name, update, len(given[0].number), rounds)
      runs[row] = functools.partial(loop, belief_of, given, rounds)
  matching = composition.chain(policy_level.matching())
  add('ours, matching', 'one answer', sizes.fewer, devices, matching)
  return runs


def rows_of(runs: Runs, repeats: int) -> list[dict[str, Any]]:
  """Returns the rows; every round goes through all runs in turn."""
  rows: list[dict[str, Any]] = []
  first: dict[str, timing.Timing] = {}
  for row, times in timing.side_by_side(runs, repeats, warm=0).items():
    each = times.per(row.people * row.rounds)
    # Of the first rounds, which all rows have.
    utility = np.mean(np.asarray(times.result)[:LOOKED_AT])
    made = row._asdict() | times.columns()
    made['microseconds_per_person_round'] = 1e6 * each.median
    made['microseconds_of_fastest'] = 1e6 * each.fastest
    made['mean_utility'] = float(utility)
    base = first.setdefault(row.update, each)
    rows.append(made | each.times('times_ours', base))
  return rows


def measure(sizes: Sizes) -> program.Tables:
  """Returns the table."""
  devices = min(DEVICES, os.cpu_count() or 1)
  jax.config.update('jax_num_cpu_devices', devices)
  runs = runs_of(sizes, min(devices, jax.device_count()))
  return {'loops': rows_of(runs, sizes.repeats)}


if __name__ == '__main__':
  program.main(__doc__, measure, Sizes(), Sizes(200, 200, 4, 40, 4, 2))
