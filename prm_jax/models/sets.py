"""Networks that read a person's answers as a set.

A pair enters with its label so that exchanging the two texts and the label
changes nothing; masks make padding invisible; nothing knows positions.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from prm_jax.models import networks
from prm_jax.ops import recall


class PairTokens(nn.Module):
  """One token for each answer.

  Attributes:
    width: of a token.
  """

  width: int

  @nn.compact
  def __call__(self, pairs: jax.Array, label: jax.Array) -> jax.Array:
    """Returns tokens `[N, width]`.

    Args:
      pairs: `[N, 2, J]` encoded texts.
      label: `[N]` probability that the first is preferred.
    """
    network = networks.MLP(widths=(self.width, self.width))
    # Difference and mean span what the two texts do, and learn faster.
    difference = pairs[..., 0, :] - pairs[..., 1, :]
    mean = 0.5 * (pairs[..., 0, :] + pairs[..., 1, :])
    one, other = (
      network(jnp.concatenate([sign * difference, mean], -1))
      for sign in (1.0, -1.0)
    )
    weight = label[..., None]
    return weight * one + (1.0 - weight) * other


class Attention(nn.Module):
  """Multi-head attention to a masked set; zero where the set is empty.

  Attributes:
    heads: number of heads, a divisor of the width.
  """

  heads: int = 1

  @nn.compact
  def __call__(
    self, queries: jax.Array, tokens: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Returns `[Q, H]` for queries `[Q, H]`, tokens `[S, H]`, mask `[S]`."""
    width = queries.shape[-1]

    def split(x):
      return x.reshape(*x.shape[:-1], self.heads, width // self.heads)

    q, k, v = (
      split(nn.Dense(width, use_bias=False)(x))
      for x in (queries, tokens, tokens)
    )
    logits = jnp.einsum('...qhd,...shd->...hqs', q, k)
    logits = logits / jnp.sqrt(width // self.heads)
    seen = (mask > 0)[..., None, None, :]
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e9), -1)
    weights = jnp.where(seen, weights, 0.0)
    found = jnp.einsum('...hqs,...shd->...qhd', weights, v)
    return nn.Dense(width, use_bias=False)(found.reshape(queries.shape))


class Block(nn.Module):
  """A transformer block whose queries attend to a masked set.

  Attributes:
    heads: of the attention.
  """

  heads: int = 2

  @nn.compact
  def __call__(
    self, queries: jax.Array, tokens: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Returns `[Q, H]` for queries `[Q, H]`, tokens `[S, H]`, mask `[S]`."""
    attention = Attention(self.heads)
    norm = nn.LayerNorm()
    queries = queries + attention(norm(queries), nn.LayerNorm()(tokens), mask)
    width = queries.shape[-1]
    network = networks.MLP(widths=(2 * width, width))
    return queries + network(nn.LayerNorm()(queries))


class LatentEncoder(nn.Module):
  """A Gaussian over a latent vector from a set of answers.

  Attributes:
    latent: Z, its size.
    width: of the tokens.
  """

  latent: int
  width: int

  @nn.compact
  def __call__(
    self, pairs: jax.Array, label: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns mean `[Z]`, log-variance `[Z]` and the set's summary `[H]`.

    Args:
      pairs: `[N, 2, J]` encoded texts.
      label: `[N]` probability that the first is preferred.
      mask: `[N]` 1 for an answer, 0 for padding, whatever it holds.
    """
    pairs = jnp.where(mask[..., None, None] > 0, pairs, 0.0)
    tokens = PairTokens(self.width)(pairs, jnp.where(mask > 0, label, 0.0))
    tokens = tokens + Attention()(tokens, tokens, mask)
    count = mask.sum(-1, keepdims=True)
    total = jnp.sum(mask[..., None] * tokens, axis=-2)
    # A mean forgets how many there were, and with it how sure to be.
    summary = jnp.concatenate(
      [total / jnp.maximum(count, 1.0), jnp.log1p(count)], -1
    )
    summary = jnp.tanh(nn.Dense(self.width)(summary))
    mean = nn.Dense(self.latent)(summary)
    log_variance = jnp.clip(nn.Dense(self.latent)(summary), -8.0, 2.0)
    return mean, log_variance, summary


class Decoder(nn.Module):
  """A text's score from its encoding and a latent vector (VPL).

  Attributes:
    width: of the hidden layer.
  """

  width: int

  @nn.compact
  def __call__(self, encoded: jax.Array, latent: jax.Array) -> jax.Array:
    """Returns scores `[..., K]` of `[..., K, J]`, latent `[..., Z]`."""
    shape = (*encoded.shape[:-1], latent.shape[-1])
    latent = jnp.broadcast_to(latent[..., None, :], shape)
    hidden = nn.gelu(
      nn.Dense(self.width)(jnp.concatenate([encoded, latent], -1))
    )
    hidden = nn.gelu(nn.Dense(self.width)(hidden))
    return nn.Dense(1, kernel_init=nn.initializers.zeros)(hidden)[..., 0]


class FilmDecoder(nn.Module):
  """A text's score, its hidden layer scaled and shifted by a latent (SPL).

  Attributes:
    width: of the hidden layer.
  """

  width: int

  @nn.compact
  def __call__(self, encoded: jax.Array, latent: jax.Array) -> jax.Array:
    """Returns scores `[..., K]` of `[..., K, J]`, latent `[..., Z]`."""
    scale, shift = jnp.split(nn.Dense(2 * self.width)(latent), 2, -1)
    scale = 1.0 + 0.5 * jnp.tanh(scale)[..., None, :]
    shift = 0.5 * jnp.tanh(shift)[..., None, :]
    hidden = nn.gelu(scale * nn.Dense(self.width)(encoded) + shift)
    hidden = nn.gelu(scale * nn.Dense(self.width)(hidden) + shift)
    return nn.Dense(1, kernel_init=nn.initializers.zeros)(hidden)[..., 0]


class PreferentialFlow(nn.Module):
  """One inverse autoregressive step, odd under exchange of all labels (SPL).

    z'_i = exp(s_i(z_{<i}^2, even)) z_i + t_i(z_{<i}, odd)

  t is odd in (z, odd) and s even, so that a person who answers everything the
  other way round gets -z'.
  """

  @nn.compact
  def __call__(
    self, latent: jax.Array, odd: jax.Array, even: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns z' `[..., Z]` and log |dz'/dz| `[...]`.

    Args:
      latent: z `[..., Z]`.
      odd: `[..., H]` half of summary minus summary of the reversed answers.
      even: `[..., H]` half of their sum.
    """
    Z = latent.shape[-1]
    below = jnp.tril(jnp.ones((Z, Z)), -1).T
    small = nn.initializers.normal(0.01)
    shift = self.param('shift', small, (Z, Z))
    scale = self.param('scale', small, (Z, Z))
    t = latent @ (shift * below)
    t = t + nn.Dense(Z, use_bias=False, kernel_init=small)(odd)
    s = latent**2 @ (scale * below) + nn.Dense(Z, kernel_init=small)(even)
    s = 5.0 * jnp.tanh(s / 5.0)
    return jnp.exp(s) * latent + jnp.tanh(t), s.sum(-1)


class FlowEncoder(nn.Module):
  """A latent's posterior that knows what reversed answers would give (SPL).

  Attributes:
    latent: Z.
    width: of the tokens.
    flows: steps.
  """

  latent: int
  width: int
  flows: int = 2

  @nn.compact
  def __call__(
    self, noise: jax.Array, pairs: jax.Array, label: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
    """Returns z `[Z]`, log q(z) - log N(z; 0, I), and four base moments.

    Args:
      noise: `[Z]` standard normal; zero gives the base mean's image.
      pairs: `[N, 2, J]` encoded texts.
      label: `[N]` probability that the first is preferred.
      mask: `[N]` 1 for an answer, 0 for padding.

    Returns:
      The moments are mean and log-variance, then those of reversed labels.
    """
    encoder = LatentEncoder(self.latent, self.width)
    mean, log_variance, summary = encoder(pairs, label, mask)
    swapped = encoder(pairs, 1.0 - label, mask)
    odd, even = 0.5 * (summary - swapped[2]), 0.5 * (summary + swapped[2])
    z = mean + jnp.exp(0.5 * log_variance) * noise
    density = -0.5 * jnp.sum(noise**2 + log_variance, -1)
    for _ in range(self.flows):
      z, log_slope = PreferentialFlow()(z, odd, even)
      density = density - log_slope
    divergence = density + 0.5 * jnp.sum(z**2, -1)
    return z, divergence, (mean, log_variance, *swapped[:2])


class ContextEncoder(nn.Module):
  """Tokens of a person's answers after each layer of a small transformer.

  Attributes:
    width: of the tokens.
    layers: L.
    points: False gives an answer one token, True one for each of its texts
      with the share by which it was preferred, as a neural process has them.
  """

  width: int
  layers: int
  points: bool

  @nn.compact
  def __call__(
    self, pairs: jax.Array, label: jax.Array, mask: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns tokens `[L, S, width]` and their mask `[S]`.

    Args:
      pairs: `[N, 2, J]` encoded texts.
      label: `[N]` probability that the first is preferred.
      mask: `[N]` 1 for an answer. S = N, or 2 N for points.
    """
    pairs = jnp.where(mask[:, None, None] > 0, pairs, 0.0)
    label = jnp.where(mask > 0, label, 0.0)
    if self.points:
      value = jnp.stack([2.0 * label - 1.0, 1.0 - 2.0 * label], 1)
      points = jnp.concatenate([pairs, value[..., None]], -1)
      points = points.reshape(-1, points.shape[-1])
      tokens = networks.MLP(widths=(self.width, self.width))(points)
      mask = jnp.repeat(mask, 2)
    else:
      tokens = PairTokens(self.width)(pairs, label)
    hidden = [tokens]
    for _ in range(self.layers - 1):
      tokens = Block()(tokens, tokens, mask)
      hidden.append(tokens)
    return jnp.stack(hidden), mask


class ContextReader(nn.Module):
  """Outputs for texts that attend to a person's tokens, not to each other.

  Attributes:
    width: of the tokens.
    outputs: a text.
  """

  width: int
  outputs: int

  @nn.compact
  def __call__(
    self, encoded: jax.Array, tokens: jax.Array, mask: jax.Array
  ) -> jax.Array:
    """Returns `[K, outputs]` of texts `[K, J]`.

    Args:
      encoded: `[K, J]`.
      tokens: `[L, S, width]` of the answers, one layer of the reader each.
      mask: `[S]`.
    """
    queries = networks.MLP(widths=(self.width, self.width))(encoded)
    for layer in tokens:
      queries = Block()(queries, layer, mask)
    last = nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)
    return last(nn.LayerNorm()(queries))


class RecallingReader(nn.Module):
  """Outputs for a text that attends to the answers about the likest pairs.

  Attributes:
    width: of the tokens.
    layers: of encoder and reader.
    count: of answers that are recalled; of equally like ones all.
    outputs: a text.
  """

  width: int
  layers: int
  count: int
  outputs: int

  @nn.compact
  def __call__(
    self,
    encoded: jax.Array,
    pairs: jax.Array,
    label: jax.Array,
    mask: jax.Array,
  ) -> jax.Array:
    """Returns `[outputs]` of one text `[J]`.

    Args:
      encoded: `[J]`.
      pairs: `[N, 2, J]` encoded texts, all of a person's.
      label: `[N]` probability that the first is preferred.
      mask: `[N]` 1 for an answer.
    """
    pairs = jnp.where(mask[:, None, None] > 0, pairs, 0.0)
    keys = recall.unit(pairs.mean(-2))
    known = recall.similar(recall.unit(encoded), keys, mask, count=self.count)
    # Nothing passes through: which are recalled is a choice.
    known = jax.lax.stop_gradient(known)
    encoder = ContextEncoder(self.width, self.layers, points=False)
    tokens, known = encoder(pairs, label, known)
    reader = ContextReader(self.width, self.outputs)
    return reader(encoded[None], tokens, known)[0]
