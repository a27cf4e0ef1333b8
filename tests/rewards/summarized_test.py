"""The reward behind a summary, against a decoder that reads each text alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import composed, decoder
from prm_jax.rewards import summarized

FIELDS = np.array([[i, -1] for i in range(8)] + [[0, 3], [2, 5]])
CONFIG = decoder.DecoderConfig(len(FIELDS), 8, 8, 2, 2, 1, 4)
BEFORE, AFTER = (1,), (2,)
B, K, T, S = 2, 3, 4, 3


def tokens(lists, width, left=False):
  ids, mask = np.zeros((2, len(lists), width), np.int32)
  for row, text in enumerate(lists):
    at = slice(width - len(text), None) if left else slice(len(text))
    ids[row, at], mask[row, at] = text, 1
  return types.Tokens(ids, mask)


TEXTS = [[[8, 3], [4, 9, 5, 6], [7]], [[5], [6, 6, 3], [9, 8, 3, 4]]]
SUMMARIES = [[4, 8], []]


@pytest.mark.parametrize(
  'pool', ['sum', pytest.param('last', marks=pytest.mark.slow)]
)
def test_scores_are_those_of_each_text_alone(pool):
  reward = summarized.summarized(
    backbone={'config': CONFIG, 'trains': 'whole'},
    fields=FIELDS,
    pool=pool,
    before=BEFORE,
    after=AFTER,
  )
  spec = types.Spec(1, 1)  # the width is the decoder's
  params = jax.jit(reward.init, static_argnums=1)(jax.random.key(0), spec)
  params |= {'weight': jax.random.normal(jax.random.key(1), (8,))}
  texts = jax.tree.map(
    lambda *leaves: np.stack(leaves), *(tokens(row, T) for row in TEXTS)
  )
  score = jax.jit(lambda *given: reward.score(*given).score)
  found = score(params, texts, tokens(SUMMARIES, S, left=True))
  model = decoder.Decoder(CONFIG)
  whole = composed.composed(params['backbone'], FIELDS)

  @jax.jit
  def alone(ids, length):
    """The scores of one text's tokens, padded behind."""
    real = jnp.arange(ids.shape[1]) < length
    states = model.apply(
      whole, ids, jnp.arange(ids.shape[1])[None], decoder.attended(real[None])
    ).hidden
    return states[0] @ params['weight']

  for b, k in np.ndindex(B, K):
    stem = [*BEFORE, *SUMMARIES[b], *AFTER]
    one = [*stem, *TEXTS[b][k]]
    ids = np.zeros((1, 2 + S + T), np.int32)
    ids[0, : len(one)] = one
    each = np.asarray(alone(ids, len(one)))[: len(one)]
    expected = each[-1] if pool == 'last' else each[len(stem) :].sum()
    np.testing.assert_allclose(found[b, k], expected, atol=1e-5)


def test_an_unknown_pool_is_refused():
  with pytest.raises(ValueError, match="pool 'mean'"):
    summarized.summarized(backbone={'config': CONFIG}, pool='mean')
