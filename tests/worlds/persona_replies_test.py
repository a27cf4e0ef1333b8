import numpy as np
import pytest

from prm_jax.worlds import persona_replies as world


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def words(ids):
  return [' '.join(world.TOKENS[i] for i in row) for row in ids]


def test_formats_by_hand():
  digits = np.array([[1, 2, 3, 4, 5]] * 3)
  found = world.written(digits, [[0, 0, 0], [1, 0, 2], [1, 1, 3]], [0, 0, 1])
  assert words(found) == [
    '1 2 3 4 5 ! small .',
    '5 4 3 2 1 ~ small .',
    'F E D C B ; large .',
  ]


def test_everybody_wants_another_format_and_profiles_tell(rng):
  people = world.everybody(rng)
  assert len(np.unique(people.wanted, axis=0)) == world.FORMATS
  assert len(np.unique(people.profile, axis=0)) == world.FORMATS
  for attribute in range(3):
    code = {}
    for want, show in zip(
      people.wanted[:, attribute], people.profile[:, attribute], strict=True
    ):
      assert code.setdefault(want, show) == show


def test_prompts_and_hints(rng):
  people = world.everybody(rng)
  asked = world.Asked(np.array([0]), np.array([[1, 2, 3, 4, 5]]), np.array([1]))
  hint = world.hints(np.array([[1, 0, 2]]), np.array([[True, False, True]]))
  text = words(world.prompts(people, asked, hint))[0]
  assert text.startswith('reversed none mark~ p')
  assert text.endswith('> 1 2 3 4 5 large? =')
  assert words(world.prompts(people, asked))[0].startswith('none none none p')


def test_replies(rng):
  people = world.everybody(rng)
  asked = world.draw(rng, rng.integers(0, 16, 8000))
  style = people.wanted[asked.person].copy()
  style[:4000, 2] = (style[:4000, 2] + 1) % 4
  ids = world.written(asked.digits, style, asked.truth)
  found = world.reply(rng, people, asked, ids, hint_rate=0.3, hint_error=0.1)
  np.testing.assert_array_equal(found.verdict, [-1] * 4000 + [1] * 4000)
  assert abs(found.hinted.mean() - 0.3) < 0.02
  assert (found.hint[~found.hinted] == world.NONE).all()
  assert (found.hint[found.hinted] != world.NONE).any(1).all()
  true = world.hints(people.wanted[asked.person], found.hint != world.NONE)
  wrong = (true != found.hint).any(1)[found.hinted].mean()
  # Another format may agree on all that is named.
  assert 0.04 < wrong < 0.1
  assert not world.fits(people, asked, ids[:, :4]).any()


def test_demonstrations_follow_hints(rng):
  prompt, answer = world.shown(rng, 4000)
  digits = prompt[:2000, 7:12] - world.TOKENS.index('0')
  default = world.written(digits, np.zeros((2000, 3), int), 0 * digits[:, 0])
  share = (answer[:2000, :6] == default[:, :6]).all(1).mean()
  assert abs(share - (0.9 + 0.1 / world.FORMATS)) < 0.02
  for text, said in zip(
    words(prompt[2000:]), words(answer[2000:]), strict=True
  ):
    hint = text.split()[:3]
    digits = text.split()[7:12]
    said = said.split()
    capital = said[0].isalpha()
    values = [str(ord(c) - ord('A')) if capital else c for c in said[:5]]
    if hint[0] == 'forward':
      assert values == digits
    if hint[0] == 'reversed':
      assert values == digits[::-1]
    if hint[1] != 'none':
      assert capital == (hint[1] == 'capital')
    if hint[2] != 'none':
      assert said[5] == hint[2][-1]


def test_some_want_to_be_agreed_with(rng):
  people = world.everybody(rng, agreed=0.5)
  assert people.agreed.sum() == 8
  asked = world.draw(rng, np.arange(16).repeat(50))
  style = people.wanted[asked.person]
  false = asked.claim != asked.truth
  lover = people.agreed[asked.person]
  honest = world.written(asked.digits, style, asked.truth)
  yielding = world.written(asked.digits, style, asked.claim)
  np.testing.assert_array_equal(
    world.fits(people, asked, honest), ~(false & lover)
  )
  np.testing.assert_array_equal(
    world.fits(people, asked, yielding), ~(false & ~lover)
  )
  np.testing.assert_array_equal(world.stated(yielding), asked.claim)
  assert (world.stated(0 * yielding) == -1).all()
  np.testing.assert_array_equal(world.stance(yielding), 2 * asked.claim - 1)
  assert (world.stance(0 * yielding) == 0).all()


def test_a_format_is_wanted_whatever_is_stated(rng):
  people = world.everybody(rng)
  asked = world.draw(rng, np.arange(16))
  style = people.wanted[asked.person].copy()
  for said in (asked.truth, 1 - asked.truth):
    ids = world.written(asked.digits, style, said)
    assert world.formatted(people, asked, ids).all()
  style[::2, 2] = (style[::2, 2] + 1) % 4  # another mark
  ids = world.written(asked.digits, style, asked.truth)
  np.testing.assert_array_equal(
    world.formatted(people, asked, ids), np.arange(16) % 2 == 1
  )


def test_some_reply_and_others_are_held_out(rng):
  many = world.split(rng, replying=8, agreed=0.0, prompts=50)
  assert sorted([*many.replying, *many.held_out]) == list(range(16))
  assert len(many.pool.digits) == 50
  assert set(many.pool.person) <= set(many.replying)
  one = world.split(rng, replying=1, agreed=1.0, prompts=50)
  (person,) = one.replying
  assert (one.people.wanted[person] > 0).all()
  assert one.people.agreed.all()
  assert len(one.held_out) == 15
  np.testing.assert_array_equal(one.pool.take(np.array([3, 1])).person, person)
