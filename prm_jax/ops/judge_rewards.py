"""Rewards of a judge that was right: what one text of it is worth.

Values are parsed already, in one coding. A verdict is the place of the answer
that is preferred, from 0, and -1 where the text says none. Scores and strengths
are numbers, NaN where the text says none, since -1 is one of them. Truth is
coded alike, and where it tells nothing there is no reward: NaN, which
`ops.policy_gradient` leaves out of a group. An invalid text is wrong, as in
every rule that is published.
"""

import chex
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision

INVALID = -1  # a verdict that the text does not say


def correct(
  verdict: types.Array, label: types.Array, *, wrong: float = -1.0
) -> types.Array:
  """Returns 1 `[...]` where a verdict is right, else `wrong`.

  Args:
    verdict: `[...]` int, the place that is preferred; -1 is invalid: wrong.
    label: `[...]` int, the place that should be; -1 where nobody knows: NaN.
    wrong: -1 or 0; a text that says nothing earns it too.

  References:
    -1: Chen et al. 2025 (RM-R1), arXiv:2505.02387; Guo et al. 2025 (RRM),
    arXiv:2505.14674. 0: Whitehouse et al. 2025 (J1), arXiv:2505.10320.
  """
  chex.assert_equal_shape([verdict, label])
  chex.assert_type([verdict, label], int)
  return _reward(verdict == label, label >= 0, wrong)


def consistent(
  verdict: types.Array,
  swapped: types.Array,
  label: types.Array,
  *,
  wrong: float = 0.0,
) -> types.Array:
  """Returns 1 `[...]` where both orders of two answers are judged right.

  A judge that always says the first place never earns it.

  Args:
    verdict: `[...]` int, the place, 0 or 1, that is preferred as the answers
      are given; -1 is invalid: wrong.
    swapped: `[...]` int, the same, shown in the other order: a right one is
      1 - label.
    label: `[...]` int, 0 or 1, the better answer; -1 where nobody knows: NaN.
    wrong: what all else earns.

  References:
    Whitehouse et al. 2025 (J1), arXiv:2505.10320.
  """
  chex.assert_equal_shape([verdict, swapped, label])
  chex.assert_type([verdict, swapped, label], int)
  right = (verdict == label) & (swapped == 1 - label)
  return _reward(right, label >= 0, wrong)


def strict_argmax(
  scores: types.Array,
  truth: types.Array,
  mask: types.Array,
  *,
  wrong: float = -1.0,
) -> types.Array:
  """Returns 1 `[...]` where the best of n answers alone has the best score.

      S_j > S_i for all i != j, j = argmax of r;   S_1 = r_1 where n = 1

  Args:
    scores: `[..., n]` S; one NaN makes the text invalid: wrong.
    truth: `[..., n]` r; NaN where nobody knows, or no single best one of two
      or more, gives NaN.
    mask: `[..., n]` 1 for an answer, 0 for padding, which is not read.
    wrong: what all else earns, a tie of scores too.

  References:
    Liu et al. 2025 (DeepSeek-GRM), arXiv:2504.02495.
  """
  scores, truth, there = _answers(scores, truth, mask)
  best = truth == jnp.max(
    truth, -1, keepdims=True, where=there, initial=-jnp.inf
  )
  best &= there
  own = jnp.max(scores, -1, where=best, initial=-jnp.inf)
  other = jnp.max(scores, -1, where=there & ~best, initial=-jnp.inf)
  equal = jnp.all((scores == truth) | ~there, -1)
  right = jnp.where(jnp.sum(there, -1) == 1, equal, own > other)
  told = jnp.sum(best, -1) == 1
  return _reward(
    right & _whole(scores, there), told & _whole(truth, there), wrong
  )


def ordered(
  scores: types.Array,
  truth: types.Array,
  mask: types.Array,
  *,
  wrong: float = 0.0,
) -> types.Array:
  """Returns 1 `[...]` where scores order n answers as the truth does.

      S_i > S_j for all i, j with r_i > r_j

  Answers that the truth ties may be scored in any order.

  Args:
    scores: `[..., n]` S; one NaN makes the text invalid: wrong.
    truth: `[..., n]` r; with all of them equal, or a NaN, the reward is NaN.
    mask: `[..., n]` 1 for an answer, 0 for padding, which is not read.
    wrong: what all else earns, a tie where there is none too.

  References:
    Two answers: Whitehouse et al. 2025 (J1, pairwise with scores, and
    pointwise with both texts together), arXiv:2505.10320.
  """
  scores, truth, there = _answers(scores, truth, mask)
  both = there[..., :, None] & there[..., None, :]
  above = both & (truth[..., :, None] > truth[..., None, :])
  same = scores[..., :, None] > scores[..., None, :]
  right = jnp.all(same | ~above, (-2, -1)) & _whole(scores, there)
  told = jnp.any(above, (-2, -1)) & _whole(truth, there)
  return _reward(right, told, wrong)


def half_credit(
  strength: types.Array, label: types.Array, *, limit: int = 3
) -> types.Array:
  """Returns 1, 1/2 or 0 `[...]`: the right class, or only the right side.

  Args:
    strength: `[...]` classes from -limit (the first answer is much better) to
      limit, as told; NaN, or one beyond the limit, is invalid: 0.
    label: `[...]` the true class; NaN where nobody knows: NaN.
    limit: the strongest class.

  References:
    Hong et al. 2025 (Think-RM), arXiv:2505.16265.

  Notes:
    The released code never reads a class of 0, and pays 0 where it cannot
    read the label.
  """
  chex.assert_equal_shape([strength, label])
  strength, label = precision.raised(strength), precision.raised(label)
  side = jnp.where(strength * label > 0, 0.5, 0.0)
  reward = jnp.where(strength == label, 1.0, side)
  reward = jnp.where(jnp.abs(strength) <= limit, reward, 0.0)
  return jnp.where(jnp.isnan(label), jnp.nan, reward)


def judge_lrm(
  scores: types.Array, truth: types.Array, formed: types.Array
) -> types.Array:
  """Returns JudgeLRM's reward `[...]` of two scores: form plus content.

      form:     1 | -0.5 bad integers | -1 bad tags
      content:  -2 where the form is bad;  -1.5 where the relation is wrong;
                2 + (1 if e = 0, 0.6 if e <= 2) + (0.2 if |S_0 - S_1| >= gap)

  with the relation S_0 >= S_1, e = |S_0 - r_0| + |S_1 - r_1| and
  gap = |r_0 - r_1|: from -3 to 4.2.

  Args:
    scores: `[..., 2]` S, whole numbers from 0 to 10; NaN or another number is
      a bad integer.
    truth: `[..., 2]` r; a NaN where nobody knows: NaN.
    formed: `[...]` whether the tags are those asked for.

  References:
    Chen et al. 2025 (JudgeLRM), arXiv:2504.00050.

  Notes:
    Of the released code; its `base_reward` also pays 0.2 for texts of more
    than 120 tokens and takes 1 at the limit of length. A tie says 'the first
    is at least as good', in the scores and in the truth. Unreadable truth
    costs -2 there.
  """
  chex.assert_equal_shape([scores, truth])
  chex.assert_axis_dimension(scores, -1, 2)
  chex.assert_shape(formed, scores.shape[:-1])
  scores, truth = precision.raised(scores), precision.raised(truth)
  whole = (scores >= 0) & (scores <= 10) & (scores == jnp.floor(scores))
  error = jnp.sum(jnp.abs(scores - truth), -1)
  content = 2.0 + jnp.where(error == 0, 1.0, jnp.where(error <= 2, 0.6, 0.0))
  gap = jnp.abs(scores[..., 0] - scores[..., 1])
  content += jnp.where(gap >= jnp.abs(truth[..., 0] - truth[..., 1]), 0.2, 0.0)
  same = (scores[..., 0] >= scores[..., 1]) == (truth[..., 0] >= truth[..., 1])
  reward = 1.0 + jnp.where(same, content, -1.5)
  reward = jnp.where(jnp.all(whole, -1), reward, -2.5)
  reward = jnp.where(jnp.asarray(formed) > 0, reward, -3.0)
  return jnp.where(jnp.any(jnp.isnan(truth), -1), jnp.nan, reward)


def _answers(
  scores: types.Array, truth: types.Array, mask: types.Array
) -> tuple[types.Array, types.Array, types.Array]:
  chex.assert_equal_shape([scores, truth, mask])
  there = jnp.asarray(mask) > 0
  return precision.raised(scores), precision.raised(truth), there


def _whole(values: types.Array, there: types.Array) -> types.Array:
  """Returns whether every answer `[..., n]` has a number."""
  return jnp.all(~jnp.isnan(values) | ~there, -1)


def _reward(right: types.Array, told: types.Array, wrong: float) -> types.Array:
  return jnp.where(told, jnp.where(right, 1.0, wrong), jnp.nan)
