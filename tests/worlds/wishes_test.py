"""Wishes that rules check, and what is said of them."""

import numpy as np

from prm_jax.worlds import wishes


def test_wishes_are_checked_by_rules():
  listed, first, brief = np.eye(3, dtype=bool)
  assert wishes.fits(listed, '- one\n\n* two')
  assert not wishes.fits(listed, '- one\ntwo')
  assert not wishes.fits(listed, ' \n')
  assert wishes.fits(first, '**Answer: 7**, since')
  assert not wishes.fits(first, 'The answer is 7.')
  assert wishes.fits(brief, 'word ' * 40)
  assert not wishes.fits(brief, 'word ' * 41)
  assert not wishes.fits(brief, '')
  assert wishes.fits(listed | first | brief, '- Answer: 7')  # all at once
  assert wishes.fits(listed | brief, '- 7')
  assert not wishes.fits(listed | brief, '7')


def test_somebody_wants_something():
  rng = np.random.default_rng(0)
  drawn = {tuple(wishes.draw(rng)) for _ in range(200)}
  assert len(drawn) == 7
  assert (False, False, False) not in drawn


def test_hints_name_wishes_and_are_wrong_as_often_as_said():
  rng = np.random.default_rng(0)
  wanted = np.array([True, False, True])
  hints = [wish.hint for wish in wishes.WISHES]
  assert wishes.named(wanted) == [hints[0], hints[2]]
  right = [wishes.hint(rng, wanted, 0.0) for _ in range(900)]
  assert not any(hints[1] in said for said in right)
  assert all(hints[0] in said or hints[2] in said for said in right)
  # Two of three are named: 4/9 both, 2/9 each, and none becomes either.
  both = np.mean([hints[0] in said and hints[2] in said for said in right])
  np.testing.assert_allclose(both, 4 / 9, atol=0.05)
  wrong = [wishes.hint(rng, wanted, 1.0) for _ in range(900)]
  # Of the seven sets four have the second wish; it is named 2 times in 3, and
  # where nothing else would be.
  assert 0.3 < np.mean([hints[1] in said for said in wrong]) < 0.55
