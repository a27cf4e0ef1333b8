import inspect

import pytest

from prm_jax import registry, types


@pytest.mark.parametrize('room', sorted(registry.ROOMS))
def test_everything_can_be_built(room):
  for kind, factory in registry.ROOMS[room].items():
    takes = inspect.signature(factory).parameters
    sizes = {name: 3 for name in ('dim', 'latent') if name in takes}
    built = registry.build(room, {'kind': kind, **sizes})
    assert isinstance(
      built, types.Learner | types.UserModel | types.RewardModel
    )


def test_unknown_kinds_and_keys_are_named():
  with pytest.raises(ValueError, match=r"unknown learner 'dpo': one of \["):
    registry.build('learner', {'kind': 'dpo'})
  with pytest.raises(ValueError, match="does not take \\['rigde'\\]"):
    registry.build('learner', {'kind': 'pref', 'rigde': 1.0})
