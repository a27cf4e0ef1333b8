"""Terms of what people say, by the head of a system: Bradley-Terry if none."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops.heads import choices
from prm_jax.rewards import reading
from prm_jax.systems import objectives

FREE = 'head'  # in `People.free`, and in params


def init(head: types.Head, spec: types.Spec) -> dict[str, types.PyTree]:
  """Returns the parameters of a head: its own, and what reads its outputs.

  Outputs start at zero, so that no candidate differs from another.

  Args:
    head: a likelihood.
    spec: sizes.
  """
  params: dict[str, types.PyTree] = {'own': head.init()}
  if head.outputs:
    params['weight'] = jnp.zeros((spec.features, head.outputs))
    params['bias'] = jnp.zeros(head.outputs)
  return params


def blank(head: types.Head | None) -> dict[str, types.PyTree]:
  """Returns what a person has of their own: no difference from everybody's."""
  if head is None or not head.personal:
    return {}
  own = head.init()
  return {FREE: {name: jnp.zeros_like(own[name]) for name in head.personal}}


def outputs(
  head: types.Head, params: Mapping[str, Any], features: types.Array
) -> types.Array:
  """Returns a head's outputs `[..., O]` of features `[..., D]`."""
  if not head.outputs:
    return jnp.zeros((*features.shape[:-1], 0))
  return features @ params['weight'] + params['bias']


def rows(
  head: types.Head,
  params: Mapping[str, Any],
  free: Mapping[str, Any] | None,
  user: types.Array,
) -> dict[str, types.Array]:
  """Returns a head's own parameters for every row, `[B, ...]`.

  Args:
    head: a likelihood.
    params: of the head.
    free: of people, `[P, ...]`, as `blank` has them; None for everybody's.
    user: `[B]` rows of these people.
  """
  own = {
    name: jnp.broadcast_to(leaf, (len(user), *leaf.shape))
    for name, leaf in params['own'].items()
  }
  if free is not None and FREE in free:
    own |= {name: own[name] + free[FREE][name][user] for name in head.personal}
  return own


class Told(NamedTuple):
  """What a head reads beside encoded texts, for the beliefs of many people.

  Attributes:
    outputs: `[M, O]` of the texts.
    own: the head's own parameters of every judgement, `[N, ...]`.
  """

  outputs: types.Array
  own: Mapping[str, types.Array]


def told(
  head: types.Head,
  params: Mapping[str, Any],
  features: types.Array,
  user: types.Array,
  free: Mapping[str, Any] | None,
) -> Told:
  """Returns what a head reads of texts and judgements.

  Args:
    head: a likelihood.
    params: shared parameters.
    features: `[M, D]` of the texts.
    user: `[N]` whose judgements they are.
    free: people's free parameters `[U, ...]`; everybody's if None.
  """
  own = rows(head, params[FREE], free, jnp.asarray(user))
  return Told(outputs(head, params[FREE], features), own)


def of_state(
  head: types.Head | None, state: types.TrainState, data: types.Data
) -> Told | None:
  """Returns what a head reads of the training data; None without a head."""
  if head is None:
    return None
  features = data.features(state.params['reward'])
  return told(
    head, state.params, features, data.judgements.user, state.people.free
  )


def terms(
  system: types.System,
  params: Mapping[str, Any],
  people: types.Present,
  batch: types.Batch,
  weights: types.Array,
  gather: types.Gather,
) -> dict[str, tuple[types.Array, types.Array]]:
  """Returns the terms of an objective whose scores are linear in encodings.

  `nll` is what was said; `people`, the charge for what people have of their
  own in a head; `whole`, a head's term that looks at other rows.

  Args:
    system: its reward reads the batch; its head says what is likely.
    params: shared parameters.
    people: of the batch.
    batch: rows and what is read of them.
    weights: `[B, J]` of the encoding.
    gather: of all devices' rows.
  """
  read, encoded = reading.read(system.reward, params['reward'], batch.inputs)
  head, label = system.head, jnp.asarray(batch.rows.label)
  if head is None:
    margin = objectives.margins(encoded, weights)
    return {'nll': objectives.mean(choices.bradley_terry(margin, label))}
  user = batch.rows.user
  own = rows(head, params[FREE], people.free, user)
  seen = types.Read(
    jnp.einsum('bkj,bj->bk', encoded, weights),
    outputs(head, params[FREE], read),
    present(batch.inputs.index, encoded.shape[:2])
    * jnp.asarray(batch.rows.mask)[:, None],
  )
  made = {'nll': objectives.mean(head.nll(own, seen, label))}
  if head.term is not None:
    made['whole'] = objectives.mean(head.term(own, seen, label, gather))
  if head.personal:
    made['people'] = _charge(head, people, user)
  return made


def _charge(head, people, user):
  """The term of a normal prior of everybody's differences."""
  penalty = sum(
    jnp.sum((leaf / head.spread) ** 2, tuple(range(1, leaf.ndim)))
    for leaf in people.free[FREE].values()
  )
  share = 0.5 * penalty / jnp.maximum(people.weight, 1e-6)
  return objectives.mean(share[user])


def present(index: Any, shape: tuple[int, ...]) -> types.Array:
  """Returns `[B, K]` 1 for candidates, 0 where an index is negative."""
  if index is None:
    return jnp.ones(shape)
  return (jnp.asarray(index) >= 0).astype(jnp.float32)


def paired(
  head: types.Head | None, judgements: types.Judgements, index: Any
) -> tuple[types.Judgements, Any]:
  """Returns what was said as choices between two, which beliefs read.

  Args:
    head: what the labels are for; choices already if None.
    judgements: `[N]`.
    index: `[N, K]` into the texts.
  """
  if head is None:
    return judgements, index
  index = jnp.asarray(index)
  if head.pairs is None:
    return _neighbours(head, judgements, index)
  pairs = head.pairs(jnp.asarray(judgements.label), index.shape[1])
  count = len(pairs.candidates)
  chosen = index[:, pairs.candidates].reshape(-1, 2)
  there = (chosen >= 0).all(-1)
  user, mask, example = (
    jnp.repeat(jnp.asarray(leaf), count)
    for leaf in (judgements.user, judgements.mask, judgements.example_id)
  )
  said = types.Judgements(
    user,
    pairs.label.reshape(-1).astype(jnp.float32),
    mask * pairs.weight.reshape(-1) * there,
    example,
  )
  return said, jnp.maximum(chosen, 0)


def _neighbours(head, judgements, index):
  """Each judgement beside the person's next: the higher value is preferred."""
  assert head.value is not None
  user, mask = map(jnp.asarray, (judgements.user, judgements.mask))
  value = head.value(jnp.asarray(judgements.label))
  first = jnp.argsort(user, stable=True)
  second = jnp.roll(first, -1)
  apart = value[first] - value[second]
  differ = (user[first] == user[second]) & (jnp.nan_to_num(apart) != 0.0)
  said = types.Judgements(
    user[first],
    (apart > 0).astype(jnp.float32),
    mask[first] * mask[second] * differ,
    jnp.asarray(judgements.example_id)[first],
  )
  return said, jnp.stack([index[first, 0], index[second, 0]], 1)


def begun(head: types.Head | None, data: types.Data) -> types.Data:
  """Returns the data as choices between two, for `Phase.begin`."""
  said, index = paired(head, data.judgements, data.index)
  return data._replace(judgements=said, index=index)


def seen(
  system: types.System,
  params: Mapping[str, Any],
  contexts: types.PyTree,
  inputs: types.Inputs,
) -> types.Read:
  """Returns what a head reads of rows.

  Where a belief has a width, the margin of two is moderated by it.

  Args:
    system: with a head.
    params: shared parameters.
    contexts: one a row, `[B, ...]`.
    inputs: of the rows.
  """
  assert system.head is not None
  features, encoded = reading.read(system.reward, params['reward'], inputs)
  output = system.reward.score(params['reward'], encoded, contexts)
  score = output.score
  if output.covariance is not None and score.shape[1] == 2:
    margin = choices.pair_margin(output)
    score = jnp.stack([margin, jnp.zeros_like(margin)], 1)
  return _read(system.head, params, score, features, inputs.index)


def _read(head, params, score, features, index) -> types.Read:
  return types.Read(
    score, outputs(head, params[FREE], features), present(index, score.shape)
  )


def served(
  system: types.System,
  params: Mapping[str, Any],
  contexts: types.PyTree,
  inputs: types.Inputs,
) -> types.Array:
  """Returns the scores `[B, K]` that a system serves; see `types.Head.score`.

  Args:
    system: with or without a head.
    params: shared parameters.
    contexts: one a row, `[B, ...]`.
    inputs: of the rows.
  """
  features, encoded = reading.read(system.reward, params['reward'], inputs)
  score = system.reward.score(params['reward'], encoded, contexts).score
  return of_scores(system.head, params, score, features, inputs.index)


def of_scores(
  head: types.Head | None,
  params: Mapping[str, Any],
  score: types.Array,
  features: types.Array,
  index: Any = None,
) -> types.Array:
  """Returns what is served `[B, K]` of a reward's scores.

  Args:
    head: the scores are served as they are if None.
    params: shared parameters.
    score: `[B, K]` of the reward.
    features: `[B, K, D]`.
    index: `[B, K]` of the candidates, negative for padding; none is if None.
  """
  if head is None:
    return score
  own = rows(head, params[FREE], None, jnp.zeros(len(score), jnp.int32))
  return head.score(own, _read(head, params, score, features, index))


def whole(head: types.Head | None) -> bool:
  """Returns `Phase.whole` of the phase that trains a head."""
  return head is not None and head.term is not None
