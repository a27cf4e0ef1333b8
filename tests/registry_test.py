import inspect

import numpy as np
import pytest

from prm_jax import registry, types
from prm_jax.models import decoder

NEEDED = {
  'dim': 3,
  'latent': 3,
  'measure': 'truth',
  'least': 0.5,
  'direction': np.ones(3),
  'between': 1.0,
  'within': 1.0,
  'answers': 5,
  'shape': (3,),
  'config': decoder.DecoderConfig(5, 4, 4, 1, 1, 1, 4),
}


@pytest.mark.parametrize('room', sorted(registry.ROOMS))
def test_everything_can_be_built(room):
  for kind, factory in registry.ROOMS[room].items():
    takes = inspect.signature(factory).parameters
    given = {name: value for name, value in NEEDED.items() if name in takes}
    built = registry.build(room, {'kind': kind, **given})
    assert isinstance(
      built,
      types.Learner | types.UserModel | types.RewardModel | types.Safeguard,
    )


def test_unknown_kinds_and_keys_are_named():
  with pytest.raises(ValueError, match=r"unknown learner 'dpo': one of \["):
    registry.build('learner', {'kind': 'dpo'})
  with pytest.raises(ValueError, match="does not take \\['rigde'\\]"):
    registry.build('learner', {'kind': 'pref', 'rigde': 1.0})
