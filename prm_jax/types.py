"""The vocabulary every room speaks.

Axis letters used in shapes:

  B  batch (rows: judgements)     J  coefficients of one person
  U  people                       D  features of one text
  K  candidates of one judgement  M  texts in a feature table
  N  answers of one person        R  bootstrap replicates
  S  prompts that are served      T  rounds of a loop
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array
ArrayLike = jax.Array | np.ndarray
Scalar = float | ArrayLike  # a number, or one a row
Key = jax.Array  # a typed key, `jax.random.key`
PyTree = Any


# ------------------------------------------------------------------ evidence


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pair:
  """Answers of one person to 'which of these two is better?'.

  Attributes:
    encoded: `[N, 2, ...]` the two answers, as `RewardModel.encode` left them.
    label: `[N]` probability that the first is preferred: 1, 0, 0.5 for a tie.
    mask: `[N]` 1 for an answer, 0 for padding.
  """

  encoded: Array
  label: Array
  mask: Array


Evidence = Pair  # the union grows with the room that reads a new kind


# ------------------------------------------------------------------- rewards


class RewardOutput(NamedTuple):
  """How good the K candidates of every row are.

  Attributes:
    score: `[B, K]`, in logits of a Bradley-Terry choice.
    covariance: `[B, K, K]` of the scores under the belief, or None if the
      belief is a point. A pair's predictive probability needs all of it.
    token_score: `[B, K, T]` where a model scores tokens, else None.
    aux: anything else worth looking at.
  """

  score: Array
  covariance: Array | None = None
  token_score: Array | None = None
  aux: Mapping[str, Array] = {}


class RewardModel(NamedTuple):
  """How good answers are, given what is believed of the person.

  Attributes:
    init: `(key, spec) -> params`.
    encode: `(params, features [..., D]) -> encoded [..., J]`; does not know
      the person, so the result can be cached.
    score: `(params, encoded [B, K, J], context) -> RewardOutput`;
      deterministic. `context` carries one entry a row.
  """

  init: Callable[[Key, Spec], PyTree]
  encode: Callable[[PyTree, Array], Array]
  score: Callable[[PyTree, Array, PyTree], RewardOutput]


class UserModel(NamedTuple):
  """A belief about ONE person; vmap for many.

  Attributes:
    init: `(key, spec) -> params`, shared by everybody: a prior.
    prior: `(params) -> state`, a person of whom nothing is known.
    update: `(key, params, state, evidence) -> (state, info)`; evidence is
      already encoded.
    context: `(params, state, query) -> context`, what the reward is told.
    sample: `(key, params, state, query) -> context`, a posterior draw.
    infer: `(key, params, evidence) -> context`: everything at once and
      nothing kept; what fitting and evaluation call, for any N.
  """

  init: Callable[[Key, Spec], PyTree]
  prior: Callable[[PyTree], PyTree]
  update: Callable[[Key, PyTree, PyTree, Evidence], tuple[PyTree, PyTree]]
  context: Callable[[PyTree, PyTree, PyTree], PyTree]
  sample: Callable[[Key, PyTree, PyTree, PyTree], PyTree]
  infer: Callable[[Key, PyTree, Evidence], PyTree]


class System(NamedTuple):
  """What questions, audits, alignment and export take.

  Attributes:
    reward: how good answers are.
    user: what is believed of a person.
    safeguard: what bounds the reward where answers are served; nothing if
      None. Fitting and prediction do not read it.
  """

  reward: RewardModel
  user: UserModel
  safeguard: Safeguard | None = None


# ---------------------------------------------------------------- safeguards


class Card(NamedTuple):
  """What a safeguard is, in words, for reports.

  Attributes:
    bounds: the quantity that it bounds.
    cost: what it takes away.
    failure: where it is known not to hold.
  """

  bounds: str
  cost: str
  failure: str


class Guard(NamedTuple):
  """What a safeguard is told of K candidates, beside their rewards.

  Leaves are `[..., K]`, one row a prompt, unless said otherwise. Nothing in
  it is the truth: measures come from detectors and answer keys.

  Attributes:
    log_base: log pi_0.
    log_reference: log-policy of the frozen aggregate.
    reference: scores of the population, to which rewards are shrunk.
    measures: name -> what a detector says of each candidate.
    leaning: `[]` the person's stance, as inferred; 0 if unknown.
    beta: `[]` inverse temperature of the policy.
  """

  log_base: Array
  log_reference: Array
  reference: Array
  measures: Mapping[str, Array]
  leaning: Array
  beta: Array


class Safeguard(NamedTuple):
  """What bounds the reward of ONE person; vmap for many.

  A request passes `context`, `reward` and `policy` in this order, and what is
  served passes `observe`. `safeguards.chain` composes them.

  Attributes:
    name: of the factory.
    card: what it bounds, costs, and where it fails.
    init: `() -> state`, of a person to whom nothing was served.
    context: `(state, context, population) -> context`; both are of the user
      model, `population` that of a person of whom nothing is known.
    reward: `(state, RewardOutput, Guard) -> RewardOutput`.
    policy: `(state, log_policy [..., K], Guard) -> log_policy`.
    observe: `(state, served) -> state`; `served` maps a measure to its value
      `[]` for the answer that was served, and `most NAME` to the largest that
      could have been.
  """

  name: str
  card: Card
  init: Callable[[], PyTree]
  context: Callable[[PyTree, PyTree, PyTree], PyTree]
  reward: Callable[[PyTree, RewardOutput, Guard], RewardOutput]
  policy: Callable[[PyTree, Array, Guard], Array]
  observe: Callable[[PyTree, Mapping[str, Array]], PyTree]


# ---------------------------------------------------------------------- data


class Spec(NamedTuple):
  """Sizes that `init` needs: `features` is D, `people` is U."""

  features: int
  people: int


class Rows(NamedTuple):
  """Judgements, one a row; every leaf has the leading axis B.

  Attributes:
    user: `[B]` int32, the person's row in the user bank.
    items: `[B, 2]` int32, rows of the feature table.
    label: `[B]` float32, probability that `items[:, 0]` is preferred.
    mask: `[B]` float32 weight; 0 for padding and for held-out rows.
    example_id: `[B]` int32; noise is keyed by it.
  """

  user: ArrayLike
  items: ArrayLike
  label: ArrayLike
  mask: ArrayLike
  example_id: ArrayLike


class Batch(NamedTuple):
  """A feature table that every device holds, and the rows that are sharded.

  Texts are judged many times: the reward encodes `table` `[M, D]` once a step
  and gathers the result, which costs M rather than 2B encodings.
  """

  table: ArrayLike
  rows: Rows


class Predictions(NamedTuple):
  """Per-row predictions on the host; statistics are computed from them.

  Attributes:
    probability: `[B]` that `items[:, 0]` is preferred.
    label: `[B]` what the person said.
    user: `[B]` int32 row of the person.
    mask: `[B]` 1 where the row counts.
  """

  probability: ArrayLike
  label: ArrayLike
  user: ArrayLike
  mask: ArrayLike


# ------------------------------------------------------------------ training


class UserBank(NamedTuple):
  """What is kept of each person, on a leading axis U.

  Attributes:
    ids: `[U, 2]` uint32, the first 64 bits of the SHA-256 of each user id;
      zero where a row is free.
    rows: pytree of `[U, ...]`: free parameters of each person.
    moments: the optimiser's state of `rows`.
    beliefs: pytree of `[U, ...]`: `UserModel` states (answers included).
    blank: `(rows, beliefs)` of a person of whom nothing is known, without U.
  """

  ids: Array
  rows: PyTree
  moments: PyTree
  beliefs: PyTree
  blank: PyTree


class TrainState(NamedTuple):
  """Everything that a run must not lose; arrays only, so it checkpoints.

  Attributes:
    step: int32, steps taken in the current phase.
    phase: int32, index into `Learner.phases`.
    params: shared parameters: `{'reward': ..., 'user': ...}`.
    opt_state: the current phase's optimiser state of `params`.
    bank: what is kept of each person.
    hyper: numeric hyper-parameters as arrays: a search compiles once.
    key: typed key, the seed; never consumed, always folded with the step.
    frozen: reference or averaged copies of parameters.
    safeguards: safeguard states.
  """

  step: Array
  phase: Array
  params: PyTree
  opt_state: PyTree
  bank: UserBank
  hyper: Mapping[str, Array]
  key: Key
  frozen: PyTree = ()
  safeguards: PyTree = ()


class Objective(Protocol):
  """`(params, rows, state, batch) -> (per_example [B], penalties, aux [B])`.

  `rows` are the bank's free parameters. Penalties are scalars, already
  scaled to one example. Mask, division and collectives are the runtime's.
  """

  def __call__(
    self, params: PyTree, rows: PyTree, state: TrainState, batch: Batch
  ) -> tuple[Array, Mapping[str, Array], Mapping[str, Array]]:
    """Returns the loss of every row, the penalties, and what to look at."""
    ...


class Phase(NamedTuple):
  """One stage of fitting.

  Attributes:
    name: for logs and errors.
    begin: `(state, batch) -> state` on the host, over the whole training data
      and before the first step: SVD start, empirical-Bayes prior.
    objective: what `steps` gradient steps minimise; None if steps is 0.
    optimizer: an optax transformation, applied to params and to rows.
    steps: gradient steps of this phase.
    collect: `(key, state, batch) -> (batch, metrics)`, on the host and
      without gradients: sampling, critics, judges, parsers.
  """

  name: str
  begin: Callable[[TrainState, Batch], TrainState] | None = None
  objective: Objective | None = None
  optimizer: Any = None
  steps: int = 0
  collect: Callable[..., tuple[Batch, Mapping[str, Mean]]] | None = None


class Learner(NamedTuple):
  """An assembled algorithm; the runtime knows nothing else.

  Attributes:
    system: reward and user model.
    phases: in order.
    init: `(key, spec) -> state`.
  """

  system: System
  phases: tuple[Phase, ...]
  init: Callable[[Key, Spec], TrainState]


class PolicyLearner(NamedTuple):
  """An algorithm that fits a policy, which scores nothing.

  Attributes:
    phases: in order.
    init: `(key, spec) -> state`.
  """

  phases: tuple[Phase, ...]
  init: Callable[[Key, Spec], TrainState]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
  """A mean that can still be merged: the type of every training metric."""

  total: Array
  count: Array

  def merge(self, other: Mean) -> Mean:
    """Returns the mean over both."""
    return Mean(self.total + other.total, self.count + other.count)

  def compute(self) -> Array:
    """Returns total / count, NaN over nothing."""
    return self.total / self.count
