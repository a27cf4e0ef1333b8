"""What every registered learner promises that writes about people.

Each compiles a sampler and two decoders.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, types
from prm_jax.runtime import train, trees
from tests.contract import small

pytestmark = pytest.mark.slow
KEY = jax.random.key(0)


class Log:
  """Keeps the figures that a run writes."""

  def __init__(self):
    self.lines = []

  def write(self, step, phase, values):
    self.lines.append((phase, values))

  def truncate(self, step):
    raise AssertionError('nothing is resumed')


@pytest.fixture(scope='module', params=registry.of_role('summarizer'))
def fitted(request):
  learner, world = small.built(request.param)
  start, log = learner.init(KEY, world.spec), Log()
  state = train.fit(
    learner, world.data, key=KEY, spec=world.spec, writer=log, log_every=1
  )
  return learner, world, start, state, log


def test_state_is_arrays_and_both_halves_move(fitted):
  _, _, start, state, _ = fitted
  leaves = jax.tree.leaves(state)
  assert all(isinstance(leaf, jax.Array) for leaf in leaves)
  before, after = (trees.flat(s.params) for s in (start, state))
  assert all(np.isfinite(leaf).all() for leaf in after.values())
  moved = {path for path in after if (before[path] != after[path]).any()}
  # A bias of all keys moves every score of a query alike.
  still = {path for path in after if path not in moved}
  assert all('key/bias' in path for path in still), still


def test_every_step_tells_own_another_s_and_empty_summaries(fitted):
  lines = fitted[-1].lines
  assert lines
  for _, values in lines:
    for name in ('silent', 'accuracy', 'accuracy_other', 'accuracy_empty'):
      assert 0 <= values[name] <= 1, name


def test_what_is_told_of_a_person_is_written_about_and_served(fitted):
  learner, world, _, state, _ = fitted
  user, reward = learner.system.user, learner.system.reward
  events = world.data.rows.history
  H = events.ids.shape[1]
  said = types.Event(
    types.Tokens(events.ids[0][:, None], events.mask[0][:, None]),
    jnp.zeros(H),
    jnp.ones(H),
  )
  params = state.params
  belief, _ = user.update(KEY, params['user'], user.prior(params['user']), said)
  many = jax.tree.map(lambda leaf: leaf[None], belief)
  settled = user.settle(KEY, params['user'], many)
  context = jax.vmap(user.context, (None, 0))(params['user'], settled)
  texts = jax.tree.map(lambda leaf: leaf[:1, 0], world.data.rows.texts)
  encoded = reward.encode(params['reward'], texts)
  score = reward.score(params['reward'], encoded, context).score
  assert score.shape == (1, 2)
  assert np.isfinite(score).all()
