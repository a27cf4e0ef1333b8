"""The vocabulary every room speaks.

Axis letters used in shapes:

  B  batch (rows: judgements)     J  coefficients of one person
  U  people                       D  features of one text
  P  people of a batch            M  texts that judgements point into
  K  candidates of one judgement  R  references, or bootstrap replicates
  N  answers of one person        T  tokens, or rounds of a loop
  S  prompts that are served      V  vocabulary
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array
ArrayLike = jax.Array | np.ndarray
Scalar = float | ArrayLike  # a number, or one a row
Key = jax.Array  # a typed key, `jax.random.key`
PyTree = Any


def namespace(array: ArrayLike) -> Any:
  """Returns numpy or jax.numpy, whichever made an array: on the host or not.

  What is written with it, and given arrays of jax, can be traced.
  """
  return array.__array_namespace__()


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Event:
  """Things that one person wrote or did, in words.

  Attributes:
    tokens: of N texts, leaves `[N, T]`.
    time: `[N]` float32, days since the first of them.
    mask: `[N]` 1 for an event, 0 for padding.
  """

  tokens: Tokens
  time: Array
  mask: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Said:
  """What one person said of N rows of candidates `[N, K, ...]`, as heads read.

  `own` are the head's parameters, `[N, ...]`; `present` is the mask of `Read`.
  """

  encoded: Array
  outputs: Array
  present: Array
  own: Mapping[str, Array]
  label: Array
  mask: Array
  head: Head = dataclasses.field(metadata={'static': True})

  def nll(self, score: Array) -> Array:
    """Returns the nats `[]` of everything said, given scores `[N, K]`."""
    read = Read(score, self.outputs, self.present)
    each = self.head.nll(self.own, read, self.label)
    return jax.numpy.sum(jax.numpy.where(self.mask > 0, each * self.mask, 0.0))


Evidence = Pair | Event | Said


# ------------------------------------------------------------------- rewards


class RewardOutput(NamedTuple):
  """How good the K candidates of every row are.

  Attributes:
    score: `[B, K]`, in logits of a Bradley-Terry choice.
    covariance: `[B, K, K]` of the scores under the belief, or None if the
      belief is a point. A pair's predictive probability needs all of it.
  """

  score: Array
  covariance: Array | None = None


def given_features(params: PyTree, inputs: Inputs) -> PyTree:
  """Returns the inputs' value: `RewardModel.features` where it is given."""
  del params
  return inputs.value


class RewardModel(NamedTuple):
  """How good answers are, given what is believed of the person.

  A text is read in two steps, neither of which knows the person, so that both
  results can be cached: `features`, which a backbone replaces, and `encode`.

  Attributes:
    init: `(key, spec) -> params`.
    encode: `(params, features [..., D]) -> encoded [..., J]`.
    score: `(params, encoded [B, K, J], context) -> RewardOutput`;
      deterministic. `context` carries one entry a row.
    features: `(params, inputs) -> features [..., D]` of the inputs' value.
    deliberate: `(key, params, inputs, context) -> inputs`, on the host: what
      has to be written before anything is scored, appended to `Tokens`.
    members: `(params, encoded, context) -> [B, K, E]` scores of an ensemble's
      members, each with an offset of its own.
    centred: scores are linear, and covariances of scores less the mean of K.
    below: `(params, inputs) -> value`, read as far as `params['backbone']` is.
  """

  init: Callable[[Key, Spec], PyTree]
  encode: Callable[[PyTree, PyTree], PyTree]
  score: Callable[[PyTree, PyTree, PyTree], RewardOutput]
  features: Callable[[PyTree, Inputs], PyTree] = given_features
  deliberate: Callable[[Key, PyTree, Inputs, PyTree], Inputs] | None = None
  members: Callable[[PyTree, PyTree, PyTree], Array] | None = None
  centred: bool = False
  below: Callable[[PyTree, Inputs], PyTree] | None = None


class UserModel(NamedTuple):
  """A belief about ONE person; vmap for many.

  Attributes:
    init: `(key, spec) -> params`, shared by everybody: a prior.
    prior: `(params) -> state`, a person of whom nothing is known.
    update: `(key, params, state, evidence) -> (state, info)`; evidence is
      already encoded.
    context: `(params, state) -> context`, what the reward is told.
    infer: `(key, params, evidence) -> context`: everything at once and
      nothing kept; what fitting and evaluation call, for any N. None where
      there is `settle`.
    settle: `(key, params, states) -> states`, on the host and for many people
      at once: what has to be written about them, such as a summary. A state
      that says that it was edited is left alone. `context` then only reads.
  """

  init: Callable[[Key, Spec], PyTree]
  prior: Callable[[PyTree], PyTree]
  update: Callable[[Key, PyTree, PyTree, Any], tuple[PyTree, PyTree]]
  context: Callable[[PyTree, PyTree], PyTree]
  infer: Any
  settle: Callable[[Key, PyTree, PyTree], PyTree] | None = None


class Read(NamedTuple):
  """What a head reads: scores `[B, K]`, and 1 for a candidate, 0 for padding.

  `outputs` `[B, K, O]` are further numbers, linear in the features and the same
  for everybody: log-variances, offsets of quantiles, attributes.
  """

  score: Array
  outputs: Array
  mask: Array


class Head(NamedTuple):
  """How scores become what people say: a likelihood, and how to serve it.

  What is said of a row is its label, `[B, ...]`. Parameters are few and every
  function receives them with a leading axis B: a person may have their own.

  Attributes:
    init: `() -> params`, a mapping of arrays without B; empty if none.
    nll: `(params, read, said) -> [B]` nats.
    predict: `(params, read) -> [B, ...]` what is expected to be said: that the
      first of two is preferred, ties half, or values in the label's form.
    score: `(params, read) -> [B, K]` what is served.
    pairs: `(said [N, ...], K) -> heads.paired.Pairs`, which learners start
      from; None where one candidate is judged by itself.
    value: `(said [N, ...]) -> [N]`, what is compared where pairs are None.
    classes: `(params, read) -> [B, C]` probabilities of all labels, in order.
    outputs: O, see `Read`.
    term: `(params, read, said, gather) -> [B]`, which looks at other rows.
    personal: parameters that people have as differences from everybody's.
    spread: standard deviation of those, beforehand.
  """

  init: Callable[[], dict[str, Array]]
  nll: Callable[[Mapping[str, Array], Read, Array], Array]
  predict: Callable[[Mapping[str, Array], Read], Array]
  score: Callable[[Mapping[str, Array], Read], Array]
  pairs: Callable[[Array, int], Any] | None = None
  value: Callable[[Array], Array] | None = None
  classes: Callable[[Mapping[str, Array], Read], Array] | None = None
  outputs: int = 0
  term: Callable[..., Array] | None = None
  personal: tuple[str, ...] = ()
  spread: float = 0.5


class System(NamedTuple):
  """What questions, audits, alignment and export take.

  Attributes:
    reward: how good answers are.
    user: what is believed of a person.
    safeguard: what bounds the reward where answers are served; nothing if
      None. Fitting and prediction do not read it.
    head: how scores become what people say; Bradley-Terry if None.
  """

  reward: RewardModel
  user: UserModel
  safeguard: Safeguard | None = None
  head: Head | None = None


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
  """Sizes that `init` needs.

  Attributes:
    features: D.
    people: U.
    judgements: N, rows of the whole training data; `fit` knows.
  """

  features: int
  people: int
  judgements: int = 0


class Tokens(NamedTuple):
  """Texts as a decoder reads them.

  Attributes:
    ids: `[..., T]` int32, or their states `[..., T, D]` below a backbone's top.
    mask: `[..., T]` 1 for tokens, 0 for padding, on any side.
    segment: `[..., T]` int32, which of the packed sequences a token is of.
    branch: `[..., T]` int32, which continuation of a shared prefix a token
      belongs to; 0 is the prefix.
    end: `[..., E]` int32, positions that are scored; the last token if None.
  """

  ids: Any
  mask: Any
  segment: ArrayLike | None = None
  branch: ArrayLike | None = None
  end: ArrayLike | None = None


class Inputs(NamedTuple):
  """What a reward reads.

  Attributes:
    value: leaves `[M, ...]` that `index` points into, or `[B, K, ...]`:
      features, hidden states, or `Tokens` of prompt and response together.
    index: `[B, K]` int32 into M (of packed tokens into flat `[M * E]`), so that
      what is judged often is read once; None where `value` is beside its rows.
  """

  value: PyTree
  index: Any = None


class Judgements(NamedTuple):
  """What people said, one judgement a row; every leaf has the axis B.

  The K candidates of a row are in the batch's inputs: two, the first preferred
  with probability `label`, then references, if any; or what a head reads.

  Attributes:
    user: `[B]` int32, the person's row in the table of people.
    label: `[B]` float32, probability that the first is preferred; or a head's.
    mask: `[B]` float32 weight; 0 for padding and for held-out rows.
    example_id: `[B]` int32; noise is keyed by it.
  """

  user: ArrayLike
  label: ArrayLike
  mask: ArrayLike
  example_id: ArrayLike


class Batch(NamedTuple):
  """Rows, which are sharded, and what a reward reads of them.

  Attributes:
    rows: `Judgements`, `Episodes`, `Rollouts`: each a NamedTuple of its own
      with `mask` and `example_id`, every leaf with the leading axis B.
    inputs: `Inputs`, or None where nothing is scored; its value is None where
      it is that of the whole data.
  """

  rows: Any
  inputs: Any = None

  def take(self, chosen: np.ndarray) -> Batch:
    """Returns the rows of an index or bool array, on the host.

    Values that an index points into stay whole.
    """
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], self.rows)
    if self.inputs is None:
      return Batch(rows)
    if self.inputs.index is None:
      value = jax.tree.map(
        lambda leaf: np.asarray(leaf)[chosen], self.inputs.value
      )
      return Batch(rows, Inputs(value))
    index = np.asarray(self.inputs.index)[chosen]
    return Batch(rows, self.inputs._replace(index=index))

  def masked(self, keep: np.ndarray) -> Batch:
    """Returns all rows under another mask: shapes stay, nothing recompiles."""
    mask = np.asarray(keep, np.float32)
    return self._replace(rows=self.rows._replace(mask=mask))

  def over(self, value: PyTree) -> Batch:
    """Returns the same rows over other values `[M, ...]`."""
    inputs = self.inputs or Inputs(None)
    return self._replace(inputs=inputs._replace(value=value))


class Data(NamedTuple):
  """The whole training data, as `Phase.begin` sees it.

  Attributes:
    judgements: or other rows, N of them.
    index: `[N, K]` into the M texts.
    people: U.
    features: `(params of the reward) -> [M, D]` of all texts.
    encoded: `(params of the reward) -> [M, J]` likewise.
  """

  judgements: Any
  index: Any
  people: int
  features: Callable[[PyTree], PyTree]
  encoded: Callable[[PyTree], PyTree]


# ------------------------------------------------------------------ training


class People(NamedTuple):
  """What is kept of each person, on a leading axis U.

  Attributes:
    ids: `[U, 2]` uint32, the first 64 bits of the SHA-256 of each user id;
      zero where a row is free.
    free: pytree of `[U, ...]`: free parameters of each person.
    weight: `[U]` float32, the weight of each person's training rows.
    moments: phase's name -> the optimiser's state of `free`, `[U, ...]`.
    beliefs: pytree of `[U, ...]`: `UserModel` states (answers included).
    blank: `(free, beliefs)` of a person of whom nothing is known, without U.
  """

  ids: Array
  free: PyTree
  weight: Array
  moments: Mapping[str, PyTree]
  beliefs: PyTree
  blank: PyTree


class Present(NamedTuple):
  """The people of a batch: `free` and `weight` as in `People`, `[P, ...]`."""

  free: PyTree
  weight: Array


class TrainState(NamedTuple):
  """Everything that a run must not lose; arrays only, so it checkpoints.

  Attributes:
    step: int32, steps taken in the current phase, and round.
    round: int32, of the phases that are repeated.
    phase: int32, index into `Learner.phases`.
    params: shared parameters: `{'reward': ..., 'user': ...}`, or a policy's.
    people: what is kept of each person.
    key: typed key, the seed; never consumed, always folded with the step.
    opt_state: phase's name -> its optimiser's state of what it trains.
    constants: a NamedTuple of the learner's own: what phases leave for later
      steps and phases, and no gradient reaches.
    average: moving average of what the phase trains, if it keeps one.
    hyper: searched numbers as arrays: a search compiles once.
  """

  step: Array
  round: Array
  phase: Array
  params: PyTree
  people: People
  key: Key
  opt_state: Mapping[str, PyTree]
  constants: PyTree
  average: PyTree
  hyper: Mapping[str, Array]


Gather = Callable[[Any], Any]  # `[B, ...]` of a device -> of all devices
Terms = Mapping[str, tuple[Array, Array]]  # name -> total [B], count [B]
Collect = Callable[..., tuple[Batch, Mapping[str, 'Mean']]]


class Objective(Protocol):
  """`(params, people, state, batch, gather) -> (terms, penalties, aux)`.

  The loss is the sum over terms of

      sum(mask total) / sum(mask count)

  with each sum over all devices and all accumulated batches, plus penalties:
  scalars, functions of shared parameters. Counts are functions of the batch,
  never of parameters. `aux` has the form of terms, and is only reported. An
  objective neither masks nor divides. `people` are those of the batch, and
  `batch.rows.user` their rows; what a person is charged stands in the terms.
  `gather` returns an array of this device's rows for the rows of all, and is
  the identity where arrays are global; only phases that say `whole` call it.
  """

  def __call__(
    self,
    params: PyTree,
    people: Present,
    state: TrainState,
    batch: Batch,
    gather: Gather,
  ) -> tuple[Terms, Mapping[str, Array], Terms]:
    """Returns terms, penalties, and what to look at."""
    ...


class Phase(NamedTuple):
  """One stage of fitting.

  Attributes:
    name: for logs, errors and `TrainState.opt_state`.
    begin: `(state, data) -> state` on the host, at every start of the phase:
      SVD start, empirical-Bayes prior. The structure of the state stays.
    objective: what gradient steps minimise; None if there are none.
    optimizer: optax transformation of the shared leaves that `train` names;
      `optimizers.by_path` gives a rate to each.
    people: optax transformation of the free parameters of ONE person, applied
      to those in the batch; its `update` is told `step`, that of the phase.
      None: they do not train.
    train: whole components of paths in `params`, such as 'reward/network',
      several with '|' between them; those after '-' do not train; '' is all.
    average: decay of a copy of what `train` names, kept as `state.average`.
    steps: gradient steps.
    accumulate: batches of a step.
    whole: the objective gathers: it looks at other rows.
    collect: `(key, state, batch) -> (batch, metrics)`, on the host and
      without gradients: sampling, critics, judges, parsers.
  """

  name: str
  begin: Callable[[TrainState, Data], TrainState] | None = None
  objective: Objective | None = None
  optimizer: Any = None
  people: Any = None
  train: str = ''
  average: float | None = None
  steps: int = 0
  accumulate: int = 1
  whole: bool = False
  collect: Collect | None = None


class Learner(NamedTuple):
  """An assembled algorithm; the runtime knows nothing else.

  Attributes:
    phases: in order.
    init: `(key, spec) -> state`; traceable.
    system: `System`: reward and user model; None where nothing scores.
    first: of the phases that are repeated.
    rounds: how often `phases[first:]` run.
    rules: `(pattern of paths, mesh axes)` of parameters; plain data.
  """

  phases: tuple[Phase, ...]
  init: Callable[[Key, Spec], TrainState]
  system: Any = None
  first: int = 0
  rounds: int = 1
  rules: Rules = ()


Rules = Sequence[tuple[str, tuple]]


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
