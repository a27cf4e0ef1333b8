"""Policies that move to a target: the smoke settings, and parts by hand."""

import jax
import numpy as np
import pytest
from ml_collections import config_dict

from configs import policy_discriminators
from experiments.policy_discriminators import worlds

NODE = config_dict.FrozenConfigDict(
  {
    **policy_discriminators.get_config('smoke').enumerable,
    'pairs': 2,
    'tuning_steps': 100,
  }
)


@pytest.fixture(scope='module', autouse=True)
def _compiled_quickly():
  """Compiling takes longer than running here."""
  before = jax.config.values['jax_disable_most_optimizations']
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture(scope='module')
def found():
  return worlds.run(0, NODE)


@pytest.mark.slow
def test_rows_are_of_every_arm_and_possible(found):
  rows = {
    (row['method'], row['references'], row['optimizer']): row
    for row in found['rows']
  }
  known = {(m, r) for m, r, _ in rows}
  assert len(rows) == len(found['rows']) == 8 * 2 + 2
  assert {('oracle', 0), ('bradley_terry', 0)} < known
  for r in NODE.references:
    names = {m for m, count in known if count == r}
    assert names == {'discriminator', 'ideal', 'fitted', 'likelihood'}
  for row in rows.values():
    for kl in ('kl', 'kl_forward'):
      before, after = row[f'{kl}_before_nats'], row[f'{kl}_after_nats']
      assert before > 0.05
      assert after > -1e-5
      assert row[f'{kl}_fall'] == pytest.approx(1 - after / before)
      assert 0 <= row[f'{kl}_halved'] <= 1
    assert row['targets'] == NODE.test
    assert row['seed'] == 0
  oracle = rows['oracle', 0, 'optimum']
  assert oracle['kl_fall'] == pytest.approx(1.0, abs=1e-4)
  assert oracle['beta'] == 1.0
  assert rows['oracle', 0, 'policy_gradient']['kl_fall'] > 0.9
  assert max(rows.values(), key=lambda row: row['kl_fall']) is oracle


@pytest.mark.slow
def test_no_loss_is_below_the_best_possible(found):
  losses = found['losses']
  assert losses['ideal'] < np.log(2)
  # Few steps of few triples: by chance, but no further.
  assert losses['discriminator'] > losses['ideal'] - 0.05


def test_what_is_chosen_does_not_look_at_the_test_targets():
  away = np.ones((2, 3, 5))
  away[1, 2, :2] = 0.5
  away[0, 0, 2:] = 0.0
  assert worlds.chosen(away, 2) == (1, 2)


@pytest.mark.slow
def test_summary_by_hand(found):
  rows = found['rows']
  other = [
    {**row, 'seed': 1, 'kl_after_nats': row['kl_after_nats'] + 0.1}
    for row in rows
  ]
  table = worlds.summarise([*rows, *other])
  assert len(table) == len(rows)
  for row, mine in zip(table, rows, strict=True):
    before, after = mine['kl_before_nats'], mine['kl_after_nats'] + 0.05
    assert row['kl_after_nats'] == pytest.approx(after)
    assert row['kl_fall'] == pytest.approx(1 - after / before)
    assert row['kl_fall_low'] <= row['kl_fall'] <= row['kl_fall_high']
    assert row['n'] == 2
  paired = [row for row in table if 'kl_over_discriminator_nats' in row]
  assert {row['method'] for row in paired} == {'ideal', 'fitted'}


@pytest.mark.parametrize('variant', ['smoke', 'study', 'full'])
def test_settings_are_consistent(variant):
  node = policy_discriminators.get_config(variant).enumerable
  assert node.stops[-1] == node.steps
  assert 1 in node.betas
  assert list(node.references) == sorted(node.references)
