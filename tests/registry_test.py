import pytest

from prm_jax import registry, types


@pytest.mark.parametrize('room', sorted(registry.ROOMS))
def test_everything_can_be_built(room):
  need = {'dim': 3}
  for kind in registry.ROOMS[room]:
    wanted = kind not in ('aggregate', 'aggregate_mlp', 'population', 'linear')
    more = need if wanted and kind not in ('identity', 'mlp') else {}
    built = registry.build(room, {'kind': kind, **more})
    assert isinstance(
      built, types.Learner | types.UserModel | types.RewardModel
    )


def test_unknown_kinds_and_keys_are_named():
  with pytest.raises(ValueError, match=r"unknown learner 'dpo': one of \["):
    registry.build('learner', {'kind': 'dpo'})
  with pytest.raises(ValueError, match="does not take \\['rigde'\\]"):
    registry.build('learner', {'kind': 'pref', 'rigde': 1.0})
