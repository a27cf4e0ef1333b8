"""Summaries and their reader, against sums over each summary by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import types
from prm_jax.models import decoder
from prm_jax.ops import returns
from prm_jax.policy import examining, summarizing
from prm_jax.users import summaries

END, ASK, V, N = 1, 2, 10, 3
C, G, M, T, H = 3, 4, 2, 2, 4
CONFIG = decoder.DecoderConfig(V, 8, 8, 1, 2, 1, 4, query_key_norm=True)
WRITER = summaries.Writer(CONFIG, N, (END,), (ASK,), tuple(range(4, V)))
KEY = jax.random.key(0)
UPDATE = summarizing.Update(contexts=C, samples=G, pairs=M)


def _score(params, encoded, context):
  """A table of a summary's first token and a text's tokens."""
  each = params['table'][context.ids[:, 0, None, None], encoded.ids]
  return types.RewardOutput((each * encoded.mask).sum(-1))


READER = types.RewardModel(None, None, _score)


@pytest.fixture(scope='module')
def params():
  rng = np.random.default_rng(0)
  start = jax.jit(WRITER.params)(KEY)
  return {
    'user': jax.tree.map(lambda leaf: 1.5 * leaf, start),
    'reward': {'table': jnp.asarray(rng.normal(size=(V, V)))},
    'critic': {'trunk': start, 'weight': jnp.asarray(rng.normal(size=8))},
  }


def contexts(rng, B=C, pairs=M):
  ids = rng.integers(4, V, (B, H)).astype(np.int32)
  mask = np.ones((B, H), np.int32)
  mask[0, :2] = mask[-1, 3:] = 0  # padded on either side
  texts = rng.integers(4, V, (B, pairs, 2, T)).astype(np.int32)
  present = np.ones((B, pairs), np.float32)
  present[0, 1] = 0
  return summarizing.Contexts(
    np.arange(B, dtype=np.int32) // 2,
    types.Tokens(ids, mask),
    types.Tokens(texts, np.ones_like(texts)),
    rng.integers(0, 2, (B, pairs)).astype(np.float32),
    present,
    np.ones(B, np.float32),
    np.arange(B, dtype=np.int32),
  )


# The second ends early, the third is empty, the fourth repeats the first.
SAID = np.array([[4, 5, 9], [6, END, 0], [END, 0, 0], [4, 5, 9]])
LONG = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])


@pytest.fixture(scope='module')
def rows():
  said = np.stack([SAID, np.roll(SAID, 1, 0), SAID[::-1]]).astype(np.int32)
  long = np.stack([LONG, np.roll(LONG, 1, 0), LONG[::-1]]).astype(np.int32)
  made = contexts(np.random.default_rng(1))
  return summarizing.summarized(made, types.Tokens(said, long))


def margin_of(params, rows, c, summary, m):
  table = np.asarray(params['reward']['table'], float)
  scores = [
    sum(table[summary[0], t] for t in rows.texts.ids[c, m, k]) for k in (0, 1)
  ]
  return scores[0] - scores[1]


def by_hand(params, rows):
  """Margins `[C, G, M]`, and rewards of summaries `[C, G]`."""
  margin = np.array(
    [
      [
        [margin_of(params, rows, c, rows.summary.ids[c, g], m) for m in (0, 1)]
        for g in range(G)
      ]
      for c in range(C)
    ]
  )
  sign = 2 * np.asarray(rows.label)[:, None] - 1
  log = -np.log1p(np.exp(-sign * margin))
  there = np.broadcast_to(np.asarray(rows.present)[:, None], log.shape)
  return margin, (log * there).sum(-1) / there.sum(-1), log, there


@pytest.fixture(scope='module')
def alone(rows):
  """Log-probabilities `[C G, N]` of summaries, each behind its own history.

  Without padding, without sharing, and with what may be said as lists.
  """
  ids = np.zeros((C * G, H + 1 + N), np.int32)
  stem, may = np.zeros(C * G, int), np.zeros((C * G, N, V), bool)
  for row, (c, g) in enumerate(np.ndindex(C, G)):
    known = rows.history.ids[c][rows.history.mask[c] > 0]
    said = np.asarray(rows.summary.ids)[c, g]
    stem[row] = len(known) + 1
    ids[row, : stem[row] + N] = [*known, ASK, *said]
    for n in range(N):
      allowed = {END, *WRITER.statements} - {*said[:n]} | {END}
      may[row, n, sorted(allowed)] = True
  real = np.arange(ids.shape[1]) < (stem + N)[:, None]
  at = stem[:, None] + np.arange(N)
  chosen = np.take_along_axis(ids, at, 1)
  mask = np.asarray(rows.summary.mask).reshape(-1, N)
  model = decoder.Decoder(CONFIG)

  @jax.jit
  def found(user):
    places = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    seen = decoder.attended(jnp.asarray(real))
    hidden = model.apply(user, ids, places, seen).hidden
    before = jnp.take_along_axis(hidden, jnp.asarray(at - 1)[..., None], 1)
    logit = model.apply(user, before, method='logits')
    odds = jnp.where(may, jnp.exp(logit), 0.0)
    own = jnp.take_along_axis(jnp.exp(logit), chosen[..., None], -1)[..., 0]
    return mask * jnp.log(own / odds.sum(-1))

  return found


@pytest.fixture(scope='module')
def descend():
  """Gradients of each term of both halves, terms and figures; compiled."""
  of = summarizing.objective(WRITER, READER, UPDATE)
  state = types.TrainState(*(None,) * 10)

  @jax.jit
  def run(params, rows):
    def term(params, name):
      terms, _, figures = of(params, None, state, types.Batch(rows), None)
      return terms[name][0].sum() / terms[name][1].sum(), (terms, figures)

    found = {}
    for name in ('nll', 'surrogate'):
      found[name], (terms, figures) = jax.grad(term, has_aux=True)(params, name)
    return found, terms, figures

  return run


@pytest.fixture(scope='module')
def descended(descend, params, rows):
  return descend(params, rows)


@pytest.fixture(scope='module')
def examine():
  return examining.examiner(WRITER, READER)


def test_terms_and_figures_by_hand(params, rows, descended):
  margin, _, log, there = by_hand(params, rows)
  _, terms, figures = descended
  assert set(terms) == {'nll', 'surrogate'}
  np.testing.assert_allclose(
    terms['nll'][0], -(log * there).sum((1, 2)), rtol=1e-4
  )
  np.testing.assert_allclose(terms['nll'][1], there.sum((1, 2)))
  label = np.asarray(rows.label)
  right = ((margin > 0) == (label[:, None] > 0.5)) * there
  np.testing.assert_allclose(figures['accuracy'][0], right.sum((1, 2)))
  # Another's: the first summary of the context before, if of another person.
  assert list(rows.apart) == [1, 0, 1]
  for c in range(C):
    hits = {'accuracy_other': 0.0, 'accuracy_empty': 0.0}
    for m in range(M):
      for name, text in (
        ('accuracy_other', rows.summary.ids[c - 1, 0]),
        ('accuracy_empty', [END]),
      ):
        hit = (margin_of(params, rows, c, text, m) > 0) == (label[c, m] > 0.5)
        hits[name] += hit * rows.present[c, m]
    apart = rows.apart[c]
    assert figures['accuracy_empty'][0][c] == hits['accuracy_empty']
    assert figures['accuracy_other'][0][c] == apart * hits['accuracy_other']
    assert figures['accuracy_other'][1][c] == apart * rows.present[c].sum()


def test_the_summariser_has_the_gradient_of_the_others_mean_as_baseline(
  params, rows, descended, alone
):
  _, reward, _, _ = by_hand(params, rows)
  total = reward.sum(1, keepdims=True)
  credit = reward - (total - reward) / (G - 1)

  def loss(user):
    return -(credit.ravel() * alone(user).sum(-1)).sum() / (C * G)

  expected = jax.jit(jax.grad(loss))(params['user'])
  found = descended[0]['surrogate']
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
    found['user'],
    expected,
  )
  assert max(float(abs(g).max()) for g in jax.tree.leaves(expected)) > 1e-3
  # Neither half's loss reaches the other half.
  assert not np.any(found['reward']['table'])
  other = descended[0]['nll']
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(other['user']))
  assert np.any(other['reward']['table'])


@pytest.mark.slow
def test_a_critic_s_advantages_are_gae_of_all_summaries(params, rows, alone):
  update = UPDATE._replace(baseline='critic', kl=0.1, limit=0.5)
  shifted = jax.tree.map(lambda leaf: 1.2 * leaf, params['user'])
  written = {'user': params['user'], 'critic': params['critic']}
  state = types.TrainState(
    *(None,) * 7, summarizing.Kept(shifted, written), None, None
  )

  @jax.jit
  def run(params, decay):
    of = summarizing.objective(
      *(WRITER, READER, update._replace(decay=decay)), reader=False, kept=True
    )
    seen = []

    def gather(leaf):
      seen.append(leaf)
      return leaf

    terms, _, _ = of(params, None, state, types.Batch(rows), gather)
    return terms, seen

  terms, seen = run(params, 0.95)
  assert set(terms) == {'value', 'surrogate'}
  raw, mask = (np.asarray(leaf) for leaf in seen)
  # Rewards of tokens: KL everywhere, and at the last what was earned, clipped.
  now, start = (np.asarray(alone(user)) for user in (params['user'], shifted))
  _, reward, _, _ = by_hand(params, rows)
  token = returns.token_rewards(
    jnp.asarray(reward.ravel()),
    jnp.asarray(now - start),
    jnp.asarray(mask),
    kl_weight=0.1,
    limit=0.5,
  )
  # What the critic expects, from what GAE with lambda 1 would leave of it.
  _, (plain, _) = run(params, 1.0)
  earned = np.cumsum(np.asarray(token)[:, ::-1], 1)[:, ::-1]
  value = mask * (earned - np.asarray(plain))
  assert np.abs(value).max() > 0.1
  expected, target = returns.generalized_advantages(
    token, jnp.asarray(value), jnp.asarray(mask), decay=0.95
  )
  np.testing.assert_allclose(raw, expected, atol=1e-4)
  loss = 0.5 * mask * (value - np.asarray(target)) ** 2
  np.testing.assert_allclose(
    terms['value'][0], loss.reshape(C, -1).sum(1), rtol=1e-3
  )
  # The ratio is 1, so that what is left are advantages, whitened over tokens.
  spread = np.sqrt(
    (mask * (raw - raw[mask > 0].mean()) ** 2).sum() / mask.sum()
  )
  white = mask * (raw - raw[mask > 0].mean()) / spread
  np.testing.assert_allclose(
    terms['surrogate'][0], -white.reshape(C, -1).sum(1), atol=1e-3
  )


def test_contexts_and_choices_are_drawn_without_replacement():
  rows = contexts(np.random.default_rng(2), B=6, pairs=5)
  rows.mask[4] = 0
  rows.label[:] = np.arange(30).reshape(6, 5)  # to know them again
  run = jax.jit(summarizing.drawn, static_argnums=(2, 3))
  counts = np.zeros(6)
  for seed in range(20):
    some = run(jax.random.key(seed), rows, 3, 2)
    context = np.asarray(some.example_id)
    counts[context] += 1
    assert len(set(context)) == 3
    assert len(np.unique(some.label)) == 6
    np.testing.assert_array_equal(
      some.label // 5, context[:, None] * np.ones(2)
    )
    pair = (np.asarray(some.label) % 5).astype(int)
    np.testing.assert_array_equal(
      some.texts.ids, rows.texts.ids[context[:, None], pair]
    )
    # Padding of context 0 stays behind; it has four choices left.
    assert np.asarray(some.present).all()
  assert counts[4] == 0
  assert counts[[0, 1, 2, 3, 5]].min() > 5


def test_examinations_read_one_s_own_and_another_s_summary(params, examine):
  rows = contexts(np.random.default_rng(3), B=4)
  rows = rows._replace(user=np.array([0, 1, 1, 2], np.int32))
  said = np.array([[4, END, 0], [5, 6, 7], [8, 9, END], [END, 0, 0]], np.int32)
  text = types.Tokens(said, (said > 0).astype(np.int32))
  found = examine(KEY, params, rows, text)
  for b in range(4):
    for name, ids in (
      ('own', said[b]),
      ('other', said[b - 1]),
      ('empty', [END]),
    ):
      sure = [
        (margin_of(params, rows, b, ids, m), rows.label[b, m])
        for m in range(M)
        if rows.present[b, m]
      ]
      # A margin of 0, of two equal texts, is half right.
      right = np.mean([0.5 * (1 + np.sign(d) * (2 * y - 1)) for d, y in sure])
      nll = np.mean([np.log1p(np.exp(-d * (2 * y - 1))) for d, y in sure])
      if name == 'other' and b == 2:  # of the same person
        right = nll = np.nan
      np.testing.assert_allclose(found.right[name][b], right)
      np.testing.assert_allclose(found.nll[name][b], nll, rtol=1e-4)
  # Without given ones, the likeliest are written, always the same.
  one, two = (examine(jax.random.key(i), params, rows) for i in (1, 2))
  np.testing.assert_array_equal(one.summary.ids, two.summary.ids)


ODD = np.array([[0, 0, 0, 0], [0, 0, 0, 7], [7, 0, 0, 0], [4, 5, 4, 5]])


def test_no_event_one_and_two_people_of_one_history_are_written_about(
  params, examine
):
  rows = contexts(np.random.default_rng(4), B=4)
  history = types.Tokens(ODD.astype(np.int32), (ODD > 0).astype(np.int32))
  rows = rows._replace(user=np.arange(4, dtype=np.int32), history=history)
  found = examine(KEY, params, rows)
  said, there = (np.asarray(leaf) for leaf in found.summary[:2])
  # Padding tells nothing: of one history they read one summary.
  np.testing.assert_array_equal(said[1], said[2])
  assert found.right['other'][2] == found.right['own'][2]
  for ids, mask in zip(said, there, strict=True):
    words = [i for i in ids[mask > 0] if i != END]
    assert set(words) <= set(WRITER.statements)
    assert len(set(words)) == len(words)
  assert np.isfinite(found.nll['own']).all()


def test_odd_histories_leave_gradients_finite(params, rows, descend):
  some = types.Tokens(ODD[:C].astype(np.int32), (ODD[:C] > 0).astype(np.int32))
  found, terms, _ = descend(params, rows._replace(history=some))
  for leaf in jax.tree.leaves((found, terms)):
    assert np.isfinite(leaf).all()
  assert any(np.any(leaf) for leaf in jax.tree.leaves(found['surrogate']))


def test_a_summary_that_ends_at_once_is_silent():
  said = np.array([[END, 0, 0], [4, END, 0], [0, 0, 0]])
  text = types.Tokens(said, np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]]))
  np.testing.assert_array_equal(summarizing.silent(WRITER, text), [1, 0, 1])
  np.testing.assert_array_equal(
    summarizing.nothing(WRITER, 2, 5).ids, [[END, 0, 0, 0, 0]] * 2
  )


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'baseline': 'mean'}, "baseline 'mean'"),
    ({'score': 'margin'}, "score 'margin'"),
    ({'samples': 1}, 'at least 2'),
  ],
)
def test_what_there_is_not_is_refused(given, message):
  update = summarizing.Update(**given)
  with pytest.raises(ValueError, match=message):
    summarizing.objective(WRITER, READER, update)
  summarizing.check(summarizing.Update(samples=1, baseline='critic'))
  with pytest.raises(ValueError, match="reads 'minds'"):
    summarizing.collect(WRITER, UPDATE, reads='minds')
  with pytest.raises(ValueError, match='are made of others'):
    WRITER._replace(
      config=dataclasses.replace(CONFIG, vocab_size=9), fields=np.zeros((3, 1))
    ).params(KEY)
