"""Policies that move to a target: the smoke settings, and parts by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.policy_discriminators import enumerable
from prm_jax.worlds import policies

SETTINGS = enumerable.smoke()


@pytest.fixture(scope='module', autouse=True)
def _compiled_quickly():
  """Compiling takes longer than running here."""
  before = jax.config.values['jax_disable_most_optimizations']
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture(scope='module')
def found():
  return enumerable.run(0, SETTINGS)


def test_rows_are_of_every_arm_and_possible(found):
  rows = {
    (row['method'], row['references'], row['optimizer']): row
    for row in found['rows']
  }
  known = {(m, r) for m, r, _ in rows}
  assert len(rows) == len(found['rows']) == 8 * 2 + 2
  assert {('oracle', 0), ('bradley_terry', 0)} < known
  for r in SETTINGS.references:
    names = {m for m, count in known if count == r}
    assert names == {'discriminator', 'ideal', 'fitted', 'likelihood'}
  for row in rows.values():
    for kl in ('kl', 'kl_forward'):
      before, after = row[f'{kl}_before_nats'], row[f'{kl}_after_nats']
      assert before > 0.05
      assert after > -1e-5
      assert row[f'{kl}_fall'] == pytest.approx(1 - after / before)
      assert 0 <= row[f'{kl}_halved'] <= 1
    assert row['targets'] == SETTINGS.test
    assert row['seed'] == 0
  oracle = rows['oracle', 0, 'optimum']
  assert oracle['kl_fall'] == pytest.approx(1.0, abs=1e-4)
  assert oracle['beta'] == 1.0
  assert rows['oracle', 0, 'policy_gradient']['kl_fall'] > 0.9
  assert max(rows.values(), key=lambda row: row['kl_fall']) is oracle


def test_no_loss_is_below_the_best_possible(found):
  losses = found['losses']
  assert losses['ideal'] < np.log(2)
  # Few steps of few triples: by chance, but no further.
  assert losses['discriminator'] > losses['ideal'] - 0.05


def test_a_packed_score_is_that_of_the_pair_alone():
  key = jax.random.key(0)
  params = enumerable.start(key, SETTINGS)
  params['head'] = jax.random.normal(key, params['head'].shape)
  shape = (2, 3, SETTINGS.length)
  candidates = jax.random.randint(key, shape, 0, SETTINGS.words)
  reference = candidates[:, 1]
  score = jax.jit(
    lambda params, *texts: enumerable.scores(params, *texts, SETTINGS)
  )
  together = score(params, reference, candidates)
  one = candidates[:, 2:]
  alone = score(params, reference, one)
  np.testing.assert_allclose(together[:, 2], alone[:, 0], atol=1e-5)
  other = score(params, 1 - reference, candidates)
  assert float(jnp.abs(other - together).min()) > 1e-4
  table = enumerable.reward_table(
    params, reference, candidates[0, :1].repeat(4, 0), SETTINGS
  )
  np.testing.assert_allclose(table[0], together[0, 0], atol=1e-5)


def test_triples_have_the_reference_of_their_positive():
  # Policies that write one word only, each its own.
  logits = 40.0 * jnp.broadcast_to(jnp.eye(2)[:, None], (2, 3, 2))
  for shown in (True, False):
    reference, positive, negative = enumerable.triples(
      jax.random.key(1), logits, SETTINGS, shown
    )
    np.testing.assert_array_equal(negative, 1 - positive)
    expected = positive[:, 0] if shown else np.full_like(reference, -1)
    np.testing.assert_array_equal(reference, expected)
    assert positive.shape == (SETTINGS.batch, SETTINGS.pairs, SETTINGS.length)


def test_the_likeliest_policy_by_hand_and_of_many_texts():
  world = policies.draw(jax.random.key(0), policies=1, words=2, length=4)
  log_start = policies.log_probability(world.base, world.texts)
  found = enumerable.likeliest(
    world.base, log_start, world.texts, jnp.array([[0b0110]]), jnp.array([1e-6])
  )[0, 0]
  # 0 first; after 0 comes 1; after 1 comes 1 or 0, equally often.
  expected = {0b0110: 1 / 4, 0b0111: 1 / 4, 0b0101: 1 / 4 * 2}
  assert np.exp(found[0b0110]) == pytest.approx(expected[0b0110], abs=1e-3)
  assert np.exp(found[0b0111]) == pytest.approx(expected[0b0111], abs=1e-3)
  assert np.exp(found[0b0101]) == pytest.approx(expected[0b0101], abs=1e-3)
  # Nothing but the start's texts: the start.
  kept = enumerable.likeliest(
    world.base, log_start, world.texts, jnp.zeros((1, 0), int), jnp.array([3.0])
  )[0, 0]
  np.testing.assert_allclose(kept, log_start, atol=1e-4)


def test_what_is_chosen_does_not_look_at_the_test_targets():
  away = np.ones((2, 3, 5))
  away[1, 2, :2] = 0.5
  away[0, 0, 2:] = 0.0
  assert enumerable.chosen(away, 2) == (1, 2)


def test_summary_by_hand(found):
  rows = found['rows']
  other = [
    {**row, 'seed': 1, 'kl_after_nats': row['kl_after_nats'] + 0.1}
    for row in rows
  ]
  table = enumerable.summarise([rows, other])
  assert len(table) == len(rows)
  for row, mine in zip(table, rows, strict=True):
    before, after = mine['kl_before_nats'], mine['kl_after_nats'] + 0.05
    assert row['kl_after_nats'] == pytest.approx(after)
    assert row['kl_fall'] == pytest.approx(1 - after / before)
    assert row['kl_fall_low'] <= row['kl_fall'] <= row['kl_fall_high']
    assert row['n'] == 2
  paired = [row for row in table if 'kl_over_discriminator_nats' in row]
  assert {row['method'] for row in paired} == {'ideal', 'fitted'}


def test_settings_are_consistent():
  for settings in (SETTINGS, enumerable.Settings()):
    assert settings.stops[-1] == settings.steps
    assert 1 in settings.betas
    assert list(settings.references) == sorted(settings.references)
    assert dataclasses.replace(settings) == settings
