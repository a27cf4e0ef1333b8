"""Several objectives, linear in the features, weighed by the prompt's gate."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.models import networks
from prm_jax.ops import precision
from prm_jax.ops.heads import gating
from prm_jax.rewards import reading


def gated(
  *,
  objectives: int,
  prompt_features: int = 0,
  hidden: tuple[int, ...] = (32,),
  temperature: float = 1.0,
  verbosity: int | None = None,
) -> types.RewardModel:
  """Returns sum over k of g_k(prompt) r_k(text), r linear and g from a network.

      r = W x + offset, less what follows verbosity
      g = scale softmax over k of network(prompt) / temperature

  A text is encoded as what each objective adds to its score, `[..., A]`: see
  `explained`. The softmax is over the axis of objectives, the last.

  params `{'regression': [A, D], 'offset': [A], 'penalty': [A],
  'gate': {'network': ..., 'scale': []}}`.

  Args:
    objectives: A.
    prompt_features: how many of the last columns of the features describe the
      prompt, and are all that the gate reads; 0 for one set of weights.
    hidden: widths of the gate's hidden layers.
    temperature: of the softmax, > 0.
    verbosity: its place among the objectives, of which every other one pays
      its penalty; None if there is none.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845.

  Notes:
    As published in form. The published gate has three layers of 1024 with ReLU
    and dropout, and a temperature of 10, which changes its learning rate
    alone; here GELU.
  """
  network: Any = networks.MLP(widths=(*hidden, objectives))

  def prompt(features):
    if not prompt_features:
      return jnp.zeros((*features.shape[:-1], 1))
    return features[..., -prompt_features:]

  def init(key, spec):
    D, A = spec.features, objectives
    return {
      'regression': jnp.zeros((A, D)),
      'offset': jnp.zeros(A),
      'penalty': jnp.zeros(A),
      'gate': {
        'network': network.init(key, prompt(jnp.zeros((1, D)))),
        'scale': jnp.ones(()),
      },
    }

  def encode(params, features):
    gate = params['gate']
    weight = gating.gate(
      network.apply(gate['network'], prompt(features)),
      axis=-1,
      objectives=objectives,
      temperature=temperature,
      scale=gate['scale'],
    )
    return gating.contributions(weight, rewards(params, features, verbosity))

  def score(params, encoded, context):
    del params, context
    return types.RewardOutput(jnp.sum(encoded, -1))

  return types.RewardModel(init, encode, score)


@precision.highest
def rewards(
  params: types.PyTree, features: types.Array, verbosity: int | None = None
) -> types.Array:
  """Returns the objectives of texts, before they are weighed, `[..., A]`.

  Args:
    params: of `gated`.
    features: `[..., D]`.
    verbosity: of which the others pay their penalty; if None, nothing is paid.
  """
  found = features @ params['regression'].T + params['offset']
  if verbosity is None:
    return found
  return gating.debiased(found, params['penalty'], verbosity=verbosity)


def explained(
  reward: types.RewardModel,
  params: types.PyTree,
  inputs: types.Inputs,
  names: Sequence[str],
) -> list[list[list[dict[str, Any]]]]:
  """Returns what drove every candidate's score: rows, candidates, objectives.

  Args:
    reward: of `gated`.
    params: of it.
    inputs: of B rows with K candidates each.
    names: of the A objectives.

  Returns:
    For each row and candidate the rows of `ops.heads.gating.report`, whose
    contributions sum to the score.

  Raises:
    ValueError: names are not as many as objectives.
  """
  parts = jax.device_get(reading.encoded(reward, params, inputs))
  return [[gating.report(part, names) for part in row] for row in parts]
