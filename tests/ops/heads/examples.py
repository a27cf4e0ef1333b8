"""Arguments for every function of the heads, for `contract_test`."""

from typing import Any, NamedTuple

import numpy as np

from prm_jax import types
from prm_jax.ops.heads import (
  choices,
  distributions,
  gating,
  implicit,
  lists,
  ordinal,
  penalties,
  ratings,
  steps,
)

B, K, T, A = 4, 3, 6, 3
RNG = np.random.default_rng(0)
BINS = np.array([0.0, 0.5, 2.0])
SEGMENT = np.tile([0, 0, 0, 1, 1, 1], (B, 1))


def a(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def ones(*shape):
  return np.ones(shape, np.float32)


def told(*shape):
  return RNG.choice([0.0, 0.5, 1.0, 0.8], shape).astype(np.float32)


class Example(NamedTuple):
  """Arguments of a function, and what each of them is.

  Attributes:
    function: what is called.
    args: arrays, or trees of them.
    options: keywords.
    rows: places of arguments with the leading axis B; None: all.
    smooth: of those that have a gradient.
    scores: of those that may have any size.
    label: place of the label.
    mask: place of the mask.
    infinite: place -> a value of which some entries are infinite, and for
      which value and gradient are finite; the label goes with it.
    summary: the result is of all rows together.
  """

  function: Any
  args: tuple
  options: dict = {}  # noqa: RUF012
  rows: tuple | None = None
  smooth: tuple = (0,)
  scores: tuple = (0,)
  label: int | None = None
  mask: int | None = None
  infinite: dict | None = None
  summary: bool = False


def pair(function, *more, scores=(0,), infinite=True, **options):
  """An example of a difference and a label."""
  right = {0: np.array([np.inf, -np.inf, 0.0, 1.0]), 1: np.array([1, 0, 1, 0])}
  return Example(
    function,
    (a(B), told(B), *more),
    options,
    scores=scores,
    label=1,
    infinite=right if infinite else None,
  )


BELIEF = distributions.Evidence(a(B), ones(B), 2 * ones(B), ones(B))
BOTH = types.RewardOutput(
  a(B, 2), np.tile(np.eye(2, dtype=np.float32), (B, 1, 1))
)
RANK = np.array([[1, 2, 3], [2, 1, 1], [3, 1, 2], [1, 1, 1]])
ORDERED = {
  0: np.tile([1.0, np.inf, -np.inf], (B, 1)),
  1: np.tile([2, 1, 3], (B, 1)),
}
EXAMPLES = [
  pair(choices.bradley_terry, margin=0.3, smoothing=0.1, infinite=False),
  Example(
    choices.strength_margin,
    (np.array([0, 1, 2, 1]), np.array([0.0, 0.3, 1.0])),
    rows=(0,),
    smooth=(1,),
    scores=(1,),
  ),
  pair(choices.scaled_bradley_terry, np.array([1.0, 2.0, 3.0, 0.0])),
  pair(choices.conservative, flip=0.1, infinite=False),
  pair(choices.robust, flip=0.1),
  pair(choices.hinge),
  pair(choices.squared, beta=0.5, infinite=False),
  pair(choices.thurstone, 1 + ones(B)),
  Example(choices.log_normal_cdf, (a(B),)),
  Example(
    choices.classifier,
    (a(B, 2), told(B)),
    label=1,
    infinite={0: np.tile([np.inf, -np.inf], (B, 1)), 1: np.ones(B)},
  ),
  Example(
    choices.sampled, (a(B), ones(B), told(B), a(B, 5)), smooth=(0, 1), label=2
  ),
  Example(choices.moderated_probability, (a(B), ones(B)), smooth=(0, 1)),
  Example(choices.pair_margin, (BOTH,), scores=()),
  Example(choices.pair_probability, (BOTH,), scores=()),
  Example(choices.pair_nll, (BOTH, told(B)), scores=(), label=1),
  pair(ordinal.rao_kupper, ones(B)),
  pair(ordinal.davidson, a(B)),
  Example(
    ordinal.cut_points, (a(B, 2),), {'levels': 5}, scores=()
  ),  # of parameters, and no score
  Example(
    ordinal.cumulative,
    (a(B), np.array([0.0, 0.25, 0.75, 1.0]), np.array([-1.5, -0.5, 0.5, 1.5])),
    rows=(0, 1),
    smooth=(0, 2),
    label=1,
    infinite={0: np.array([np.inf, -np.inf, 0, 0]), 1: np.array([1, 0, 1, 0])},
  ),
  Example(ordinal.expected_label, (np.tile([0.2, 0.3, 0.5], (B, 1)),)),
  Example(
    ordinal.level_weights,
    (told(B),),
    {'levels': 3},
    smooth=(),
    scores=(),
    label=0,
  ),
  Example(
    lists.plackett_luce, (a(B, K), RANK, ones(B, K)), mask=2, infinite=ORDERED
  ),
  Example(
    lists.best_of_n, (a(B, K), np.array([0, 1, 2, 1]), ones(B, K)), mask=2
  ),
  Example(
    lists.listnet,
    (a(B, K), a(B, K), ones(B, K)),
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(lists.all_pairs, (a(B, K), RANK, ones(B, K)), mask=2),
  Example(ratings.error, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2),
  Example(
    ratings.squared, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2
  ),
  Example(ratings.huber, (a(B, A), a(B, A), ones(B, A)), smooth=(0, 1), mask=2),
  Example(
    ratings.binned, (a(B, 3), a(B), ones(B), BINS), rows=(0, 1, 2), mask=2
  ),
  Example(
    ratings.two_hot,
    (a(B, 3), a(B), ones(B), BINS),
    rows=(0, 1, 2),
    scores=(0, 1),
    mask=2,
  ),
  Example(
    ratings.two_hot_weights,
    (np.array([0.1, 0.4, 0.9, 1.7], np.float32), BINS),
    rows=(0,),
  ),
  Example(ratings.expected, (a(B, 3), BINS), rows=(0,)),
  Example(
    ratings.ridge,
    (a(B, 2), a(B, A), ones(B, A)),
    {'penalty': 1.0},
    smooth=(0, 1),
    mask=2,
    summary=True,
  ),
  Example(distributions.levels, (5,), rows=(), smooth=(), scores=()),
  Example(
    distributions.pinball,
    (a(B, 4), a(B), ones(B), distributions.levels(4)),
    {'huber': 0.5},
    rows=(0, 1, 2),
    smooth=(0, 1),
    mask=2,
  ),
  Example(distributions.around, (a(B), a(B, 3)), smooth=(0, 1), scores=(0, 1)),
  Example(distributions.lower_mean, (a(B, 5),), {'share': 0.3}),
  Example(distributions.quantile, (a(B, 5),), {'level': 0.3}),
  Example(
    distributions.gaussian_nll,
    (a(B), a(B), a(B), ones(B)),
    smooth=(0, 1, 2),
    scores=(0, 1, 2),
    mask=3,
  ),
  Example(
    distributions.sampled_squared,
    (a(B), a(B), a(B), ones(B), a(B)),
    smooth=(0, 1, 2),
    scores=(0, 1, 2),
    mask=3,
  ),
  Example(
    distributions.overlap,
    (a(B), ones(B), a(B), 2 * ones(B)),
    smooth=(0, 1, 2, 3),
    scores=(0, 2),
  ),
  Example(distributions.evidence, (a(B, 4),)),
  Example(
    distributions.evidential_nll,
    (BELIEF, a(B), ones(B)),
    smooth=(0, 1),
    scores=(1,),
    mask=2,
  ),
  Example(
    distributions.evidence_penalty,
    (BELIEF, a(B), ones(B)),
    smooth=(0, 1),
    scores=(1,),
    mask=2,
  ),
  Example(distributions.evidence_parts, (BELIEF,), scores=()),
  Example(
    steps.step_nll, (a(B, T, 3), told(B, T), ones(B, T)), label=1, mask=2
  ),
  Example(
    steps.placeholder_nll,
    (a(B, T, 7), told(B, T), ones(B, T)),
    {'classes': (2, 5), 'vocabulary': True},
    label=1,
    mask=2,
  ),
  Example(
    steps.rollout_label,
    (told(B, 5), ones(B, 5)),
    {'soft': True},
    scores=(),
    mask=1,
  ),
  *(
    Example(
      steps.aggregated,
      (a(B, T), ones(B, T), SEGMENT),
      {'segments': 2, 'by': by},
      mask=1,
    )
    for by in steps.AGGREGATES
  ),
  Example(
    steps.differences, (a(B, T), ones(B, T), SEGMENT), {'start': 0.5}, mask=1
  ),
  Example(
    implicit.reward,
    (a(B, T), a(B, T), ones(B, T)),
    {'beta': 0.1},
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(implicit.average, (a(B, T), ones(B, T)), {'beta': 2.0}, mask=1),
  Example(
    implicit.step_reward,
    (a(B, T), a(B, T), ones(B, T), SEGMENT),
    {'steps': 2, 'beta': 0.1},
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
  ),
  Example(
    implicit.hybrid,
    (a(B), a(B, 2), told(B)),
    smooth=(0, 1),
    scores=(0, 1),
    label=2,
  ),
  Example(implicit.yes_logit, (a(B, 7),), {'yes': 1, 'no': 4}),
  Example(
    implicit.token_score,
    (a(B, 7),),
    {'tokens': (1, 4), 'values': np.array([1.0, 2.0])},
  ),
  Example(penalties.centring, (a(B, 2),)),
  Example(penalties.barrier, (a(B),)),
  Example(
    penalties.positive,
    (a(B, 2), told(B)),
    label=1,
    infinite={0: np.tile([np.inf, -np.inf], (B, 1)), 1: np.ones(B)},
  ),
  Example(
    penalties.correlation,
    (a(B, 2), a(B, 2), ones(B, 2)),
    smooth=(0, 1),
    scores=(0, 1),
    mask=2,
    summary=True,
  ),
  Example(
    penalties.length_parts,
    (a(B, 2), a(B, 2), a(B, 2), ones(B)),
    smooth=(0, 1),
    scores=(0, 1),
    summary=True,
  ),
  Example(
    penalties.disentangled,
    (a(B, 2), a(B, 2), told(B)),
    smooth=(0, 1),
    scores=(0, 1),
    label=2,
  ),
  Example(gating.gate, (a(B, A),), {'axis': -1, 'objectives': A}),
  Example(
    gating.debiased, (a(B, A), a(A)), {'verbosity': 1}, rows=(0,), smooth=(0, 1)
  ),
  Example(gating.gated_score, (a(B, A), a(B, A)), smooth=(0, 1)),
  Example(gating.gated_quantiles, (a(B, A), a(B, A, 5)), smooth=(0, 1)),
  Example(gating.contributions, (a(B, A), a(B, A)), smooth=(0, 1)),
  Example(
    gating.report, (a(A), ['a', 'b', 'c']), rows=(), smooth=(), scores=()
  ),
  Example(
    gating.rank_correlation, (a(B), a(B)), smooth=(), scores=(), summary=True
  ),
  Example(
    gating.solve_debiasing,
    (a(B, A),),
    {'verbosity': 0},
    smooth=(),
    scores=(),
    summary=True,
  ),
]
