import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.users import records, summaries

END, V = 1, 12
CONFIG = decoder.DecoderConfig(V, 8, 8, 1, 2, 1, 4)
WRITER = summaries.Writer(CONFIG, 3, (END,), (2,), tuple(range(5, V)))
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def user():
  return summaries.summaries(writer=WRITER, capacity=4, width=2)


@pytest.fixture(scope='module')
def params():
  found = jax.jit(WRITER.params)(KEY)
  table = found['params']['embed']['embedding']
  found['params']['embed']['embedding'] = 5 * table  # far from uniform
  return found


def event(*texts, mask=None):
  ids = np.array([[*text, 0, 0, 0][:3] for text in texts], np.int32)
  real = np.array([[1] * len(t) + [0] * (3 - len(t)) for t in texts], np.int32)
  mask = np.ones(len(texts)) if mask is None else np.array(mask)
  return types.Event(
    types.Tokens(ids, real), jnp.zeros(len(texts)), jnp.asarray(mask)
  )


def told(user, *texts, state=None, mask=None):
  state = user.prior(None) if state is None else state
  return user.update(KEY, None, state, event(*texts, mask=mask))


def many(*states):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def one(states, i):
  return jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), states)


def test_the_last_events_are_kept_in_order(user):
  state, info = told(user, [5], [6, 7, 8], [9], mask=[1, 1, 0])
  np.testing.assert_array_equal(
    state.events.ids, [[0, 0], [0, 0], [5, 0], [6, 7]]
  )
  assert info['dropped'] == 0
  state, info = told(user, [10], [11], [5], state=state)
  np.testing.assert_array_equal(
    state.events.ids, [[6, 7], [10, 0], [11, 0], [5, 0]]
  )
  np.testing.assert_array_equal(
    state.events.mask, [[1, 1], [1, 0], [1, 0], [1, 0]]
  )
  assert (info['dropped'], state.told) == (1, 5)


def test_summaries_are_written_of_whom_something_is_new(user, params):
  nobody = user.prior(None)
  states = many(nobody, told(user, [5], [6])[0], told(user, [9, 8])[0])
  settled = user.settle(KEY, params, states)
  # Of whom nothing is known the summary is empty, and nobody wrote it.
  empty = user.context(params, one(settled, 0))
  np.testing.assert_array_equal(empty.ids, [END, 0, 0])
  np.testing.assert_array_equal(empty.mask, [1, 0, 0])
  assert not np.any(settled.due)
  for row in (1, 2):
    text = user.context(params, one(settled, row))
    said = np.asarray(text.ids)[np.asarray(text.mask) > 0]
    said = said[said != END]
    assert set(said) <= set(WRITER.statements)
    assert len(set(said)) == len(said)
  # Alone, it is the same; and nothing is written twice.
  alone = user.settle(KEY, params, many(told(user, [9, 8])[0]))
  np.testing.assert_array_equal(alone.text.ids[0], settled.text.ids[2])
  again = settled._replace(text=jax.tree.map(np.zeros_like, settled.text))
  assert not np.any(user.settle(KEY, params, again).text.ids)


def test_an_edited_summary_stays_until_it_is_released(user, params):
  state, _ = told(user, [5], [6])
  written = one(user.settle(KEY, params, many(state)), 0)
  padded = types.Tokens(np.array([0, 7, 8, 0, 9]), np.array([0, 1, 1, 0, 1]))
  mine = summaries.edited(written, padded)
  np.testing.assert_array_equal(mine.text.ids, [7, 8, 9])
  mine, _ = told(user, [11], state=mine)
  kept = one(user.settle(KEY, params, many(mine)), 0)
  np.testing.assert_array_equal(user.context(params, kept).ids, [7, 8, 9])
  free = summaries.released(kept)
  np.testing.assert_array_equal(free.text.ids, [7, 8, 9])
  anew = one(user.settle(KEY, params, many(free)), 0)
  other, _ = told(user, [5], [6], [11])
  expected = one(user.settle(KEY, params, many(other)), 0)
  np.testing.assert_array_equal(anew.text.ids, expected.text.ids)
  assert list(anew.text.ids) != [7, 8, 9]


@pytest.mark.parametrize('length', [4, 100_000])
def test_a_summary_that_is_too_long_is_refused(user, length):
  text = types.Tokens(np.full(length, 7), np.ones(length))
  with pytest.raises(records.SummaryError, match=f'{length:,} tokens, and 3'):
    summaries.edited(user.prior(None), text)


def test_an_edit_may_say_nothing(user):
  mine = summaries.edited(user.prior(None), types.Tokens([], []))
  assert not np.any(mine.text.mask)


def test_what_may_be_said_is_anything_without_statements():
  free = WRITER._replace(statements=())
  assert free.constraint(3) is None
