"""What every registered learner promises whose reward writes before it scores.

Each compiles a sampler and a decoder.
"""

import jax
import numpy as np
import pytest

from prm_jax import registry, types
from prm_jax.models import decoder
from prm_jax.rewards import reading
from prm_jax.runtime import train, trees
from prm_jax.systems import inference
from tests.contract import small

pytestmark = pytest.mark.slow
KEY = jax.random.key(0)


@pytest.fixture(scope='module', params=registry.of_role('critic'))
def fitted(request):
  learner, world = small.built(request.param)
  start = learner.init(KEY, world.spec)
  state = train.fit(learner, world.data, key=KEY, spec=world.spec)
  return learner, world, start, state


def test_state_is_arrays_and_everything_moves(fitted):
  _, _, start, state = fitted
  leaves = jax.tree.leaves(state)
  assert all(isinstance(leaf, jax.Array) for leaf in leaves)
  before, after = (trees.flat(s.params['reward']) for s in (start, state))
  assert all(np.isfinite(leaf).all() for leaf in after.values())
  still = {path for path in after if (before[path] == after[path]).all()}
  # A bias of all scores, which no choice sees.
  assert all('backbone' not in path and 'bias' in path for path in still)


def test_what_is_served_is_scored_behind_what_was_written(fitted):
  learner, world, _, state = fitted
  system, data = learner.system, world.data
  p = inference.predict(system, state.params, (), data, key=KEY)
  assert p.shape == (len(data.rows.mask),)
  params = state.params['reward']
  inputs = system.reward.deliberate(KEY, params, data.inputs, ())
  texts, before = inputs.value, np.asarray(data.inputs.value.ids)
  T, lead = before.shape[1], data.inputs.index.shape
  assert texts.ids.shape == (*lead, T + world.options['max_new_tokens'])
  np.testing.assert_array_equal(texts.ids[..., :T], before[data.inputs.index])
  # Greedy, as the decoder says; and the score is of the last token's state.
  network = decoder.Decoder(world.options['backbone']['config'])
  ids = np.asarray(texts.ids).reshape(-1, texts.ids.shape[-1])
  seen = np.asarray(texts.mask).reshape(ids.shape)
  hidden = network.apply(
    params['backbone'], ids, decoder.counted(seen), decoder.attended(seen)
  ).hidden
  logit = network.apply(params['backbone'], hidden, method='logits')
  said = np.argmax(logit, -1)[:, T - 1 : -1]
  np.testing.assert_array_equal(
    ids[:, T:][seen[:, T:] > 0], said[seen[:, T:] > 0]
  )
  last = seen.shape[1] - 1 - seen[:, ::-1].argmax(1)
  at = np.asarray(hidden)[np.arange(len(ids)), last]
  score = np.asarray(system.reward.encode(params, at))[:, 0].reshape(lead)
  np.testing.assert_allclose(
    p, 1 / (1 + np.exp(score[:, 1] - score[:, 0])), atol=1e-5
  )
  again = reading.encoded(system.reward, params, types.Inputs(texts))
  np.testing.assert_allclose(again[..., 0], score, atol=1e-5)
