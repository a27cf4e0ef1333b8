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
  'pool', ['sum', 'likelihood', pytest.param('last', marks=pytest.mark.slow)]
)
def test_scores_are_those_of_each_text_alone(pool):
  reward = summarized.summarized(
    backbone={'config': CONFIG, 'trains': 'whole'},
    fields=FIELDS,
    pool=pool,
    beta=0.5,
    before=BEFORE,
    after=AFTER,
  )
  spec = types.Spec(1, 1)  # the width is the decoder's
  params = jax.jit(reward.init, static_argnums=1)(jax.random.key(0), spec)
  assert ('weight' in params) == (pool != 'likelihood')
  weight = jax.random.normal(jax.random.key(1), (8,))
  params |= {'weight': weight} if pool != 'likelihood' else {}
  texts = jax.tree.map(
    lambda *leaves: np.stack(leaves), *(tokens(row, T) for row in TEXTS)
  )
  score = jax.jit(lambda *given: reward.score(*given).score)
  found = score(params, texts, tokens(SUMMARIES, S, left=True))
  model = decoder.Decoder(CONFIG)
  whole = composed.composed(params['backbone'], FIELDS)

  @jax.jit
  def alone(ids, length):
    """Scores of one text's tokens, padded behind, and what is next."""
    real = jnp.arange(ids.shape[1]) < length
    states = model.apply(
      whole, ids, jnp.arange(ids.shape[1])[None], decoder.attended(real[None])
    ).hidden
    table = whole['params']['embed']['embedding']
    return states[0] @ weight, jax.nn.log_softmax(states[0] @ table.T)

  for b, k in np.ndindex(B, K):
    stem = [*BEFORE, *SUMMARIES[b], *AFTER]
    one = [*stem, *TEXTS[b][k]]
    ids = np.zeros((1, 2 + S + T), np.int32)
    ids[0, : len(one)] = one
    each, following = map(np.asarray, alone(ids, len(one)))
    expected = {
      'last': each[len(one) - 1],
      'sum': each[len(stem) : len(one)].sum(),
      'likelihood': 0.5
      * sum(following[t - 1, one[t]] for t in range(len(stem), len(one))),
    }
    np.testing.assert_allclose(found[b, k], expected[pool], atol=1e-5)


@pytest.mark.parametrize(
  ('options', 'said'),
  [
    ({'pool': 'mean'}, "pool 'mean'"),
    ({'pool': 'likelihood', 'beta': 0, 'before': (1,)}, 'beta 0'),
    ({'pool': 'likelihood'}, 'has to stand `before`'),
  ],
)
def test_what_makes_no_reward_is_refused(options, said):
  with pytest.raises(ValueError, match=said):
    summarized.summarized(backbone={'config': CONFIG}, **options)


def test_many_logits_are_made_a_few_at_a_time(monkeypatch):
  reward = summarized.summarized(
    backbone={'config': CONFIG, 'trains': 'whole'},
    fields=FIELDS,
    pool='likelihood',
    before=BEFORE,
  )
  params = reward.init(jax.random.key(0), types.Spec(1, 1))
  texts = jax.tree.map(
    lambda *leaves: np.stack(leaves), *(tokens(row, T) for row in TEXTS)
  )

  def loss(params):
    summary = tokens(SUMMARIES, S)
    return reward.score(params, texts, summary).score.sum()

  whole = jax.jit(jax.value_and_grad(loss))(params)
  monkeypatch.setattr(summarized, '_LOGITS', 5 * CONFIG.vocab_size)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    whole,
    jax.jit(jax.value_and_grad(lambda params: loss(params)))(params),
  )
