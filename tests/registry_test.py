import functools

import jax
import pytest

from prm_jax import registry, types


@pytest.mark.parametrize('room', sorted(registry.ROOMS))
def test_everything_can_be_built(room):
  for kind, entry in registry.ROOMS[room].items():
    built = registry.build(room, {'kind': kind, **entry.small().options})
    assert isinstance(
      built,
      types.Learner
      | types.UserModel
      | types.RewardModel
      | types.Safeguard
      | types.Head,
    )


def test_searched_numbers_live_in_the_state():
  for kind, entry in registry.LEARNERS.items():
    world = entry.small()
    learner = registry.build('learner', {'kind': kind, **world.options})
    state = jax.eval_shape(
      functools.partial(learner.init, spec=world.spec), jax.random.key(0)
    )
    assert set(entry.searched) == set(state.hyper), kind


def test_a_choice_is_split_into_options_and_numbers():
  node, hyper = registry.fitting(
    {'kind': 'lore', 'steps': 3}, {'spread': 0.5, 'ridge': 2.0}
  )
  assert node == {'kind': 'lore', 'steps': 3, 'spread': 0.5}
  assert hyper == {'ridge': 2.0}


def test_unknown_kinds_and_keys_are_named():
  with pytest.raises(ValueError, match=r"unknown learner 'dpo': one of \["):
    registry.build('learner', {'kind': 'dpo'})
  with pytest.raises(ValueError, match="does not take \\['rigde'\\]"):
    registry.build('learner', {'kind': 'pref', 'rigde': 1.0})
