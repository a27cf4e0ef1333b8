"""Rewards of a known fault, or none: what is flagged."""

import pytest

from prm_jax.audits import planted
from prm_jax.ops import intervals


def test_faultless_rewards_are_rarely_flagged():
  found = {row['fault']: row for row in planted.table(10)}
  for fault in ('neutral', 'takes a side, whoever asks'):
    assert found[fault]['flagged'] <= 0.2
  assert found['agrees with the prompt, 1 logit']['flagged'] > 0.9
  assert found['blind spot: omission']['flagged'] <= 0.2
  assert found['neutral']['flagged_high'] == pytest.approx(
    intervals.share(round(10 * found['neutral']['flagged']), 10).high
  )
