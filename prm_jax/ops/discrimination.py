"""Policy discrimination: losses that tell one policy's answers from another's.

Every score is r(p, reference, candidate), logits: how likely a discriminator
holds it that the candidate to prompt p was written by the policy that wrote
the reference.
"""

import chex
import jax
import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import precision
from prm_jax.ops.heads import choices

# The unit of the laws below: 2^20 parameters and 2^30 tokens.
_PARAMETERS = 2.0**20
_TOKENS = 2.0**30


def triple(
  positive: types.Array,
  negative: types.Array,
  mask: types.Array | None = None,
  *,
  focal: bool = False,
  barrier: float = 0.0,
  bound: float = 5.0,
) -> types.Array:
  """Returns the discrimination loss `[...]` of a reference's candidates.

  The mean over the negatives that are there of

      -w log sigma(r+ - r-) + barrier (b(r+) + b(r-))

  with w = 1 or the `focal_weight` of r+ - r-, and b the `log_barrier`. One
  negative, no focal weight and no barrier are the pre-training loss L_pt.

  Args:
    positive: `[...]` r+, of the candidate by the reference's policy.
    negative: `[..., K]` r-, of candidates by other policies.
    mask: `[..., K]` 1 for a negative, 0 for padding; all are there, if None.
    focal: whether pairs that are told apart already weigh less.
    barrier: weight of the penalty on scores near the bound; 0.01 is InternLM2's
      default, POLAR has none.
    bound: of the barrier, logits.

  Returns:
    `[...]` nats; 0 where no negative is there, the barrier included.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197; focal weight and barrier: Cai et
    al. 2024 (InternLM2), arXiv:2403.17297.

  Notes:
    The paper has one negative a positive; the mean over several is ours.
  """
  chex.assert_rank(negative, positive.ndim + 1)
  chex.assert_equal_shape_prefix([positive, negative], positive.ndim)
  there = _there(mask, negative)
  negative = jnp.where(there, negative, 0.0)
  margin = positive[..., None] - negative
  loss = _nll(margin)
  if focal:
    loss = focal_weight(margin) * loss
  penalty = log_barrier(negative, bound=bound)
  penalty += log_barrier(positive, bound=bound)[..., None]
  return _mean(loss + barrier * penalty, there, -1)


def ranked(
  score: types.Array, rank: types.Array, mask: types.Array | None = None
) -> types.Array:
  """Returns the fine-tuning loss `[...]` of rankings, the best the reference.

      mean over pairs with rank_i < rank_j of -log sigma(r_i - r_j)

  With two candidates, the second and the third of three outputs, it is L_ft.

  Args:
    score: `[..., K]` r(p, best, candidate) of the outputs other than the best.
    rank: `[..., K]` of the same outputs, smaller is better; equal ranks form
      no pair.
    mask: `[..., K]` 1 for an output, 0 for padding; all are there, if None.

  Returns:
    `[...]` nats; 0 where there is no pair.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197.

  Notes:
    The paper ranks three outputs; the mean over the pairs of more is ours.
  """
  chex.assert_equal_shape([score, rank])
  there = _there(mask, score)
  score = jnp.where(there, score, 0.0)
  pair = there[..., :, None] & there[..., None, :]
  pair &= rank[..., :, None] < rank[..., None, :]
  margin = score[..., :, None] - score[..., None, :]
  return _mean(_nll(margin), pair, (-2, -1))


def focal_weight(margin: types.Array) -> types.Array:
  """Returns the weight `[...]` of a pair: less, the better it is told apart.

      (1 - 2 relu(sigma(d) - 1/2))^2

  It is 1 for pairs in the wrong order.

  Args:
    margin: `[...]` d, score of the better minus that of the worse, logits.

  References:
    Cai et al. 2024 (InternLM2), arXiv:2403.17297.

  Notes:
    The paper does not say whether the weight has a gradient. It has one here,
    as in the released code (xtuner), which does not detach it.
  """
  # 1 - 2 (sigma(d) - 1/2) = 2 sigma(-d), which does not cancel at large d.
  return 4.0 * jax.nn.sigmoid(-jax.nn.relu(margin)) ** 2


def log_barrier(
  score: types.Array, *, bound: float = 5.0, slack: float = 1e-3
) -> types.Array:
  """Returns the penalty `[...]` that keeps scores between -bound and bound.

      -log(bound - r) - log(r + bound),

  after clamping r to +-(bound - slack). It is smallest, -2 log bound, at 0.

  Args:
    score: `[...]` r, logits.
    bound: > slack.
    slack: > 0, distance from the bound at which the penalty stops growing.

  References:
    Cai et al. 2024 (InternLM2), arXiv:2403.17297.

  Notes:
    As in the released code (xtuner), the clamp leaves scores beyond the bound
    without a gradient: the barrier keeps them in and does not bring them back.
  """
  # The distances are clamped, not r: bound - (bound - slack) would cancel.
  farthest = 2.0 * bound - slack
  above = jnp.clip(bound - score, slack, farthest)
  below = jnp.clip(score + bound, slack, farthest)
  return -jnp.log(above) - jnp.log(below)


def in_batch(
  score: types.Array,
  policy: types.Array,
  candidate_policy: types.Array,
  positive: types.Array,
  mask: types.Array | None = None,
) -> types.Array:
  """Returns the loss `[B]` of finding the positive among a batch's candidates.

      -log(exp r_bi / sum_c exp r_bc),   i = positive_b,

  where c runs over i and the candidates of policies other than policy_b. The
  other candidates of policy_b would be false negatives.

  Args:
    score: `[B, C]` r of each reference with each candidate, logits.
    policy: `[B]` integer identity of the policy that wrote the reference.
    candidate_policy: `[C]` of the policy that wrote the candidate.
    positive: `[B]` column of the reference's candidate, from 0 to C - 1; of
      candidates that `gather` returns, `offset(B, axis) + arange(B)`.
    mask: `[C]` 1 for a candidate, 0 for padding, which is nobody's negative;
      all are there, if None.

  Returns:
    `[B]` nats; 0 where there is no negative. Rows are not masked.

  References:
    Softmax over the batch: Oord et al. 2018 (CPC), arXiv:1807.03748; policies
    as labels: Dou et al. 2025 (POLAR), arXiv:2507.05197.

  Notes:
    POLAR itself has one negative a positive and none from the batch.
  """
  chex.assert_rank(score, 2)
  chex.assert_shape([policy, positive], (score.shape[0],))
  chex.assert_shape(candidate_policy, (score.shape[1],))
  there = _there(mask, candidate_policy)
  own = jnp.arange(score.shape[1]) == positive[:, None]
  other = policy[:, None] != candidate_policy
  total = jax.nn.logsumexp(score, axis=1, where=own | (other & there))
  return total - jnp.take_along_axis(score, positive[:, None], axis=1)[:, 0]


def gather(
  tree: types.PyTree, axis: str | tuple[str, ...] | None
) -> types.PyTree:
  """Returns the rows of all devices, `[B, ...]` leaves becoming `[C, ...]`.

  C = devices times B, device by device. Gradients flow back to the device
  that a row came from, so that gradients of each device's own sum of losses
  are to be summed over devices, as the runtime does.

  Args:
    tree: arrays with leading axis B, the same on every device.
    axis: mapped axis or axes of `shard_map` or `pmap`; the tree itself, if
      None.
  """
  if axis is None:
    return tree
  return jax.tree.map(lambda x: jax.lax.all_gather(x, axis, tiled=True), tree)


def offset(count: int, axis: str | tuple[str, ...] | None) -> types.Array | int:
  """Returns the row at which `gather` puts this device's first.

  Args:
    count: B, rows of each device.
    axis: as given to `gather`; 0, if None.
  """
  return 0 if axis is None else count * jax.lax.axis_index(axis)


def learning_rate(
  parameters: float, pretraining_tokens: float, reward_tokens: float
) -> float:
  """Returns the best learning rate of discriminative pre-training.

      0.0002306 N^0.01125 Dp^-0.66587 Drm^0.33916

  Args:
    parameters: N, as a plain number: 1.8e9.
    pretraining_tokens: Dp, that the language model was trained on before.
    reward_tokens: Drm, that the discriminator will be trained on.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197, appendix D.

  Notes:
    The law counts N in 2^20 parameters and Dp and Drm in 2^30 tokens: only
    these give the authors' own learning rates and batch sizes. The paper's
    text says millions, with which POLAR-1.8B would have batches of 78,607
    instead of 1,940.
  """
  return (
    0.0002306
    * (parameters / _PARAMETERS) ** 0.01125
    * (pretraining_tokens / _TOKENS) ** -0.66587
    * (reward_tokens / _TOKENS) ** 0.33916
  )


def batch_size(parameters: float, reward_tokens: float) -> float:
  """Returns the best batch of discriminative pre-training, not rounded.

      31.9032 N^0.06944 Drm^0.52997

  Args:
    parameters: N, as a plain number: 1.8e9.
    reward_tokens: Drm, that the discriminator will be trained on.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197, appendix D.

  Notes:
    The units are those of `learning_rate`.
  """
  return (
    31.9032
    * (parameters / _PARAMETERS) ** 0.06944
    * (reward_tokens / _TOKENS) ** 0.52997
  )


def _nll(margin):
  return choices.bradley_terry(margin, jnp.ones_like(margin))


def _there(mask, like):
  if mask is None:
    return jnp.ones(like.shape, bool)
  chex.assert_equal_shape([mask, like])
  return jnp.asarray(mask, bool)


def _mean(value, there, axis):
  """The mean of what is there; 0 where nothing is."""
  total = jnp.sum(jnp.where(there, value, 0.0), axis)
  return total / jnp.maximum(jnp.sum(there, axis), 1)


@precision.highest
def likelihood_ratio(
  candidate: types.Array,
  references: types.Array,
  mask: types.Array,
  between: types.Array,
) -> types.Array:
  """Returns how much likelier the references' policy wrote a candidate.

      r = log p(z | references) - log p(z),   z | y ~ N(y, I),  y ~ N(0, diag b)

  with y of the policy that wrote all references, and z of a text. It is the
  score that no other beats in the triple loss, if texts are such Gaussians.

  Args:
    candidate: `[..., J]` z.
    references: `[..., R, J]` of the same.
    mask: `[..., R]` 1 for a reference, 0 for room that is empty.
    between: `[J]` variance b of policies, in units of that within a policy.

  Returns:
    `[...]` nats; 0 without any reference.

  References:
    Prince and Elder 2007 (probabilistic linear discriminant analysis).
  """
  chex.assert_rank(references, candidate.ndim + 1)
  count = jnp.sum(mask, -1)[..., None]
  total = jnp.sum(jnp.where(mask[..., None] > 0, references, 0.0), -2)
  variance = between / (1.0 + count * between)
  gap = candidate - variance * total
  known = gap**2 / (1.0 + variance) + jnp.log1p(variance)
  unknown = candidate**2 / (1.0 + between) + jnp.log1p(between)
  return 0.5 * jnp.sum(unknown - known, -1)


@precision.highest
def difference_ratio(
  candidate: types.Array,
  references: types.Array,
  mask: types.Array,
  between: types.Array,
) -> types.Array:
  """Returns `likelihood_ratio` of answers to one prompt, whatever the prompt.

      z = u + y + e,   e ~ N(0, I),  y ~ N(0, diag b),  u anything

  What the prompt adds, u, is in the references and the candidate alike, so
  that only their difference says anything.

  Args:
    candidate: `[..., J]` z.
    references: `[..., R, J]`.
    mask: `[..., R]` 1 for a reference, 0 for room that is empty.
    between: `[J]` variance b of policies, in units of that within a policy.

  Returns:
    `[...]` nats; 0 without any reference.
  """
  chex.assert_rank(references, candidate.ndim + 1)
  count = jnp.sum(mask, -1)[..., None]
  total = jnp.sum(jnp.where(mask[..., None] > 0, references, 0.0), -2)
  square = (candidate - total / jnp.maximum(count, 1.0)) ** 2
  same = 1.0 + 1.0 / jnp.maximum(count, 1.0)
  other = same + 2.0 * between
  ratio = square / other - square / same + jnp.log(other / same)
  return jnp.where(count[..., 0] > 0, 0.5 * jnp.sum(ratio, -1), 0.0)


@precision.highest
def discriminant(
  features: types.Array,
  policy: types.Array,
  weight: types.Array,
  *,
  policies: int,
  dim: int,
  shrinkage: float | types.Array,
) -> tuple[types.Array, types.Array]:
  """Returns the projection `[F, dim]` and variances for `likelihood_ratio`.

  Projected texts of one policy have covariance I around their mean, and the
  means have covariance diag(between): linear discriminant analysis.

  Args:
    features: `[n, F]` of texts, centred.
    policy: `[n]` int, who wrote each.
    weight: `[n]` 1 for a text that counts, 0 for padding.
    policies: P, more than which no policy is numbered.
    dim: J.
    shrinkage: of the covariance within policies towards a multiple of I,
      0 to 1: with more features than texts it has to be above 0.

  Returns:
    The projection, and `[dim]` the variance between policies: that of their
    means less what texts' own variance makes of it, at least 1e-3.
  """
  one_hot = jax.nn.one_hot(policy, policies) * weight[:, None]
  count = one_hot.sum(0)
  present = (count > 0).astype(features.dtype)
  means = one_hot.T @ features / jnp.maximum(count, 1.0)[:, None]
  rest = (features - means[policy]) * weight[:, None]
  freedom = jnp.maximum(jnp.sum(count) - present.sum(), 1.0)
  within = rest.T @ rest / freedom
  size = jnp.trace(within) / len(within)
  eye = jnp.eye(len(within))
  within = (1.0 - shrinkage) * within + (shrinkage * size + 1e-6) * eye
  centred = (means - present @ means / present.sum()) * present[:, None]
  spread = centred.T @ centred / jnp.maximum(present.sum() - 1.0, 1.0)
  factor = jnp.linalg.cholesky(within)

  def whiten(matrix):
    return jax.scipy.linalg.solve_triangular(factor, matrix, lower=True)

  values, vectors = jnp.linalg.eigh(whiten(whiten(spread).T))
  chosen = vectors[:, ::-1][:, :dim]
  project = jax.scipy.linalg.solve_triangular(
    factor, chosen, lower=True, trans='T'
  )
  # A mean of m texts has variance 1 / m of its own.
  own = jnp.sum(present / jnp.maximum(count, 1.0)) / present.sum()
  return project, jnp.maximum(values[::-1][:dim] - own, 1e-3)
