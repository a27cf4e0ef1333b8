"""Packed texts: the same scores, losses and steps as one text a row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.data import pipelines
from prm_jax.lab import curves
from prm_jax.learners import aggregate
from prm_jax.models import decoder, packing
from prm_jax.rewards import backbone, reading, scalar
from prm_jax.runtime import train

CONFIG = decoder.DecoderConfig(31, 24, 48, 2, 2, 1, 12)
LENGTH = 24
SPEC = types.Spec(CONFIG.hidden_size, 3)


@functools.cache
def texts():
  """Three prompts with four responses each; one goes on from another."""
  rng = np.random.default_rng(0)

  def draw(low, high):
    return rng.integers(1, CONFIG.vocab_size, rng.integers(low, high)).tolist()

  prompts = [draw(3, 9) for _ in range(3)]
  of = np.repeat(np.arange(3), 4)
  found = [prompts[p] + draw(1, 10) for p in of]
  found[1] = [*found[0], 5]
  return found, of


@functools.cache
def rows():
  rng = np.random.default_rng(1)
  index = np.array(
    [
      [4 * p + a, 4 * p + b]
      for p in range(3)
      for a in range(4)
      for b in range(a)
    ]
  )
  count = len(index)
  return types.Batch(
    types.Judgements(
      user=rng.integers(0, 3, count).astype(np.int32),
      label=rng.integers(0, 2, count).astype(np.float32),
      mask=np.ones(count, np.float32),
      example_id=np.arange(count, dtype=np.int32),
    ),
    types.Inputs(None, index.astype(np.int32)),
  )


def reader(how, **options):
  return packing.Reader(*texts(), LENGTH, how, **options)


def alone(index):
  """Every text in a row of its own, without a reader."""
  ids = np.zeros((len(texts()[0]), LENGTH), np.int32)
  for row, text in enumerate(texts()[0]):
    ids[row, : len(text)] = text
  return types.Inputs(types.Tokens(ids, (ids > 0).astype(np.int32)), index)


@pytest.mark.parametrize(
  'how',
  [
    'shared',
    pytest.param('packed', marks=pytest.mark.slow),
    pytest.param('padded', marks=pytest.mark.slow),
  ],
)
def test_scores_and_gradients_are_those_of_texts_alone(how):
  model = backbone.under(scalar.linear(), backbone.Backbone(CONFIG, 'whole'))
  params = model.init(jax.random.key(0), SPEC)
  params['weight'] = jax.random.normal(jax.random.key(1), (24,))
  index = rows().inputs.index

  @jax.jit
  def squares(params, inputs):
    found = reading.encoded(model, params, inputs)
    score = model.score(params, found, ()).score
    return jnp.sum(jnp.tanh(score) ** 2), score

  run = jax.value_and_grad(squares, has_aux=True)
  (_, want), slope = run(params, alone(index))
  (_, found), other = run(params, reader(how)(index))
  np.testing.assert_allclose(found, want, atol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=3e-5 * np.abs(b).max()),
    other,
    slope,
  )


def test_a_prompt_is_read_once_and_rows_are_full():
  index = rows().inputs.index
  tokens = {how: reader(how)(index).value for how in packing.HOW}
  real = {how: int(one.mask.sum()) for how, one in tokens.items()}
  every = sum(map(len, texts()[0]))
  assert real['padded'] == real['packed'] == every > 1.2 * real['shared']
  cells = {how: one.ids.size for how, one in tokens.items()}
  assert cells['padded'] > cells['packed'] > cells['shared']
  # Twelve rows, as long as the longest needs; rows of others are as asked.
  assert tokens['padded'].ids.shape == (12, 16)
  assert tokens['shared'].ids.shape[1] == LENGTH
  assert len(reader('packed', multiple=5)(index).value.ids) % 5 == 0


def test_a_prompt_with_more_than_a_row_of_responses_is_read_again():
  prompt, many = [7] * 10, 9
  given = [[*prompt, n, n, n] for n in range(1, many + 1)]
  read = packing.Reader(given, [0] * many, LENGTH, 'shared')
  found = read(np.arange(many - 1).reshape(4, 2))
  assert found.value.ids.shape == (2, LENGTH)  # four branches of three each
  last = found.value.end.reshape(-1)[found.index]
  row = found.index // found.value.end.shape[1]
  np.testing.assert_array_equal(
    found.value.ids[row, last], np.arange(1, many).reshape(4, 2)
  )


@pytest.mark.slow
@pytest.mark.parametrize('how', ['shared', 'packed'])
def test_training_has_the_losses_of_padded_texts(how):
  learner = aggregate.mlp(
    steps=5, backbone=backbone.Backbone(CONFIG, 'whole'), learning_rate=0.01
  )

  def losses(how):
    stream = pipelines.batches(
      rows(), batch_size=4, seed=3, read=reader(how, multiple=4)
    )
    kept = curves.Curve()
    train.fit(
      learner,
      rows(),
      key=jax.random.key(0),
      spec=SPEC,
      batches=stream,
      writer=kept,
      log_every=1,
    )
    return [row['loss'] for row in kept.rows]

  found, want = losses(how), losses('padded')
  assert len(want) == 5
  assert np.ptp(want) > 0.01
  np.testing.assert_allclose(found, want, rtol=2e-4)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'texts': [[1], []], 'prompts': [0, 0]}, 'text 1 has 0 tokens'),
    ({'texts': [[1] * 9], 'prompts': [0]}, r'text 0 has 9 tokens.* 1 to 8'),
    ({'texts': [[1]], 'prompts': [0, 1]}, '1 texts, 2 prompts'),
    ({'texts': [[1]], 'prompts': [0], 'how': 'tight'}, "how 'tight'"),
  ],
)
def test_what_cannot_be_packed_is_refused(options, message):
  with pytest.raises(ValueError, match=message):
    packing.Reader(**{'length': 8, **options})


def test_an_empty_branch_and_data_without_index_are_refused():
  with pytest.raises(ValueError, match='branch 1 of sequence 0 has no token'):
    packing.pack([packing.Sequences([1], [[]])], 8)
  bare = rows()._replace(inputs=types.Inputs(np.zeros((18, 2, 4))))
  with pytest.raises(ValueError, match='the data have none'):
    pipelines.batches(bare, batch_size=2, seed=0, read=reader('packed'))
