"""What a pick is worth."""

import numpy as np
import pytest

from configs import choose_for_a_person
from experiments.choose_for_a_person import tables
from prm_jax.lab import units


def test_share_of_the_gap_by_hand():
  rng = np.random.default_rng(0)
  base = rng.normal(size=(60, 10))
  arrays = {
    'oracle|none|0': base + 2.0,
    'aggregate|none|0': base,
    'pref|variance|10': base + 0.5,
  }
  cell = units.Unit({'data': 'd', 'features': 'f', 'seed': 0}, arrays)
  rows = tables.utility([cell], 200)
  found = {(r['method'], r['answers']): r for r in rows}
  mine = found['pref', 10]
  assert mine['recovered'] == pytest.approx(0.25)
  assert mine['gain'] == pytest.approx(0.5)
  assert mine['win_rate'] == 1.0
  assert found['aggregate', 0]['win_rate'] == 0.5
  assert found['oracle', 0]['recovered'] == 1.0


def test_variants_are_checked():
  with pytest.raises(ValueError, match='unknown variant'):
    choose_for_a_person.get_config('demo')
