import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from scipy import special, stats

from prm_jax.models import (
  constraints,
  decoder,
  language_model,
  prefixes,
  sampling,
)
from tests.models.filtering_test import reference_filter

CONFIG = decoder.DecoderConfig(40, 16, 24, 2, 4, 2, 4)
KEY = jax.random.key(7)
PROMPTS = [[3, 9, 4], [5], [1, 2, 30, 6, 7, 39], [8, 8]]


@pytest.fixture(autouse=True, scope='module')
def _compiled_quickly():
  """Compiling the sampler is most of these tests: a third of it is spared."""
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@functools.cache
def params(seed=0, config=CONFIG, scale=2.0):
  """Random weights whose next-token distributions are far from uniform."""
  ids = jnp.ones((1, 3), jnp.int32)
  found = jax.jit(decoder.Decoder(config).init)(
    jax.random.key(seed), ids, ids, decoder.attended(ids)
  )
  table = found['params']['embed']['embedding']
  found['params']['embed']['embedding'] = table * scale
  return found


def padded(prompts, side='left', length=6):
  ids = np.full((len(prompts), length), 11, np.int32)
  mask = np.zeros((len(prompts), length), np.int32)
  for row, prompt in enumerate(prompts):
    place = slice(length - len(prompt), None)
    if side == 'right':
      place = slice(0, len(prompt))
    ids[row, place], mask[row, place] = prompt, 1
  return ids, mask


def draw(prompts=PROMPTS, side='left', length=6, **settings):
  ids, mask = padded(prompts, side, length)
  settings = {'max_new_tokens': 5, 'pad_id': 38, **settings}
  return sampling.sample(KEY, CONFIG, params(), ids, mask, **settings)


@functools.cache
def _forward(config=CONFIG):
  model = decoder.Decoder(config)

  @jax.jit
  def forward(params, ids, shift):
    positions = jnp.arange(ids.shape[1])[None]
    seen = decoder.attended(jnp.ones_like(ids))
    hidden = model.apply(params, ids, positions, seen, shift=shift).hidden
    return model.apply(params, hidden[0], method='logits')

  return forward


def logits(ids, shift=None, length=12):
  """Next-token logits after every token of one text, without a cache."""
  full = jnp.array([[*ids, *[0] * (length - len(ids))]])
  return np.asarray(_forward()(params(), full, shift))[: len(ids)]


# ----------------------------------------------------------------------- draws


def test_samples_follow_the_exact_distribution():
  """Two tokens: their joint law, filtered, by chi-square."""
  n, settings = 6000, {'temperature': 1.5, 'top_p': 0.9, 'top_k': 6}
  ids, mask = padded([PROMPTS[0]])
  found = sampling.sample(
    KEY,
    CONFIG,
    params(),
    ids,
    mask,
    max_new_tokens=2,
    source=np.zeros(n, np.int32),
    **settings,
  )
  first = reference_filter(logits(PROMPTS[0])[-1], 1.5, 0.9, 6)
  expected = np.zeros((40, 40))
  for token in np.flatnonzero(first):
    then = logits([*PROMPTS[0], int(token)])[-1]
    expected[token] = first[token] * reference_filter(then, 1.5, 0.9, 6)
  observed = np.zeros((40, 40))
  np.add.at(observed, tuple(np.asarray(found.ids).T), 1)
  possible = expected > 0
  assert 6 < possible.sum() <= 36
  assert observed[~possible].sum() == 0
  total = ((observed - n * expected)[possible] ** 2 / expected[possible]).sum()
  assert total / n < stats.chi2.ppf(0.999, possible.sum() - 1)
  np.testing.assert_allclose(
    found.logprob.sum(-1),
    np.log(expected[tuple(np.asarray(found.ids).T)]),
    rtol=1e-3,
    atol=1e-3,
  )


def test_unfiltered_samples_follow_softmax():
  n = 6000
  ids, mask = padded([PROMPTS[1]])
  found = sampling.sample(
    KEY,
    CONFIG,
    params(),
    ids,
    mask,
    max_new_tokens=1,
    filtered=False,
    source=np.zeros(n, np.int32),
  )
  p = np.asarray(jax.nn.softmax(logits(PROMPTS[1])[-1]))
  observed = np.bincount(np.asarray(found.ids)[:, 0], minlength=40)
  common = n * p > 5
  total = ((observed - n * p)[common] ** 2 / (n * p)[common]).sum()
  assert total < stats.chi2.ppf(0.999, common.sum())
  np.testing.assert_allclose(found.logprob, found.base_logprob, atol=1e-5)


def test_greedy_is_the_full_forward_passs_argmax():
  found = draw(temperature=0.0)
  for prompt, new, log_p in zip(
    PROMPTS, found.ids, found.base_logprob, strict=True
  ):
    text = list(prompt)
    for token, logprob in zip(new, log_p, strict=True):
      after = logits(text)[-1]
      assert int(token) == after.argmax()
      expected = jax.nn.log_softmax(after)[int(token)]
      np.testing.assert_allclose(logprob, expected, atol=1e-4)
      text.append(int(token))
  np.testing.assert_array_equal(found.logprob, 0)


@pytest.mark.slow
def test_sliding_layers_and_caps_hold_in_the_cache():
  """Prompts and suffixes longer than the window, on either side of padding."""
  config = dataclasses.replace(
    CONFIG,
    sliding_window=3,
    sliding_layers=(True, False),
    local_rope_theta=9.0,
    attention_softcap=1.5,
    logit_softcap=4.0,
    scale_embeddings=True,
  )
  weights = params(config=config)
  ids, mask = padded(PROMPTS[2:])
  tails = prefixes.Suffix(
    np.array([[4, 9], [3, 0]]), np.array([[1, 1], [1, 0]])
  )
  found = sampling.sample(
    KEY,
    config,
    weights,
    ids,
    mask,
    max_new_tokens=5,
    temperature=0.0,
    filtered=False,
    suffix=tails,
  )
  for row, tail in enumerate(([4, 9], [3])):
    text = [*PROMPTS[2 + row], *tail]
    for token, logprob in zip(
      found.ids[row], found.base_logprob[row], strict=True
    ):
      full = jnp.array([[*text, *[0] * (14 - len(text))]])
      told = np.asarray(_forward(config)(weights, full, None))[len(text) - 1]
      assert token == told.argmax()
      assert np.abs(told).max() < 4
      np.testing.assert_allclose(
        logprob, told[token] - special.logsumexp(told), atol=1e-5
      )
      text.append(int(token))


def test_padding_batch_and_source_do_not_matter():
  settings = {'temperature': 1.2, 'top_p': 0.95, 'top_k': 20}
  left = draw(**settings)
  assert len({tuple(row) for row in np.asarray(left.ids)}) == 4
  right = draw(side='right', **settings)
  jax.tree.map(np.testing.assert_array_equal, left, right)
  alone = draw([PROMPTS[2]], row_ids=[2], length=9, **settings)
  np.testing.assert_array_equal(left.ids[2], alone.ids[0])
  np.testing.assert_allclose(left.logprob[2], alone.logprob[0], atol=1e-4)
  again = draw(source=[2, 2, 0, 1], row_ids=[2, 5, 0, 1], **settings)
  np.testing.assert_array_equal(again.ids[0], left.ids[2])
  np.testing.assert_array_equal(again.ids[2:], left.ids[:2])
  assert (again.ids[1] != left.ids[2]).any()


def test_rows_have_their_own_settings():
  together = draw(
    temperature=[0.0, 1.0, 0.5, 2.0],
    top_p=[1.0, 0.5, 1.0, 1.0],
    top_k=[0, 0, 3, 0],
  )
  for row, (temperature, top_p, top_k) in enumerate(
    [(0.0, 1.0, 0), (1.0, 0.5, 0), (0.5, 1.0, 3), (2.0, 1.0, 0)]
  ):
    alone = draw(temperature=temperature, top_p=top_p, top_k=top_k)
    np.testing.assert_array_equal(together.ids[row], alone.ids[row])


def test_stop_tokens_end_rows_and_the_loop():
  plain = np.asarray(draw(temperature=1.5).ids)
  stop = (int(plain[0, 1]), int(plain[1, 3]))
  found = draw(temperature=1.5, stop_ids=stop)
  for row in range(4):
    ends = np.flatnonzero(np.isin(plain[row], stop))
    count = ends[0] + 1 if len(ends) else 5
    np.testing.assert_array_equal(found.ids[row, :count], plain[row, :count])
    np.testing.assert_array_equal(found.ids[row, count:], 38)
    assert found.mask[row].tolist() == [1] * count + [0] * (5 - count)
    assert not np.asarray(found.logprob)[row, count:].any()
  assert found.mask.sum(-1)[0] <= 2


def test_steering_is_the_decoders():
  shift = np.zeros((2, 4, 16), np.float32)
  shift[0, 1], shift[1, 2] = 3.0, np.arange(16)
  found = draw(temperature=0.0, shift=jnp.asarray(shift))
  plain = draw(temperature=0.0)
  np.testing.assert_array_equal(found.ids[::3], plain.ids[::3])
  for row in (1, 2):
    text = list(PROMPTS[row])
    for token in found.ids[row]:
      after = logits(text, jnp.asarray(shift[:, row : row + 1]))[-1]
      assert int(token) == after.argmax()
      text.append(int(token))
  source = jnp.array([2, 1, 1, 0])
  swapped = draw(temperature=0.0, shift=jnp.asarray(shift), source=source)
  np.testing.assert_array_equal(swapped.ids, found.ids[source])


def test_programs_are_compiled_once():
  plan = sampling._Plan(5, (), 38, True, None, jnp.dtype(jnp.float32))
  program = sampling._sampler(CONFIG, plan)
  draw(temperature=0.3)
  count = program._cache_size()
  draw(temperature=[0.1, 2.0, 1.0, 0.0], top_k=9, side='right')
  assert program is sampling._sampler(CONFIG, plan)
  assert program._cache_size() == count > 0


# ------------------------------------------------------- prompts in two parts


def test_a_prompt_in_two_parts_is_the_whole_one():
  """Padding on either side, no suffix, and no prompt, steered."""
  heads, tails = [[3, 9, 4], [], [1, 2, 30, 6]], [[8, 8], [], [7, 1], [5], [9]]
  source = np.array([0, 0, 1, 2, 2])
  shift = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 16)))
  settings = {'temperature': 1.3, 'max_new_tokens': 4, 'filtered': False}
  whole = [[*heads[s], *t] for s, t in zip(source, tails, strict=True)]
  expected = draw(whole, shift=shift[:, source], **settings)
  assert len({tuple(row) for row in np.asarray(expected.ids)}) == 5

  def split(side, other, source, of, rows=None):
    ids, mask = padded(heads, other, 5)
    tail = prefixes.Suffix(*padded(tails, side, 3), of)
    options = {'source': source, 'row_ids': rows, 'shift': shift, **settings}
    return sampling.sample(
      KEY, CONFIG, params(), ids, mask, pad_id=38, suffix=tail, **options
    )

  of = np.array([4, 2, 0, 0, 3])
  for side, other in (('left', 'right'), ('right', 'left')):
    found = split(side, other, source, None)
    np.testing.assert_array_equal(found.ids, expected.ids)
    for name in ('logprob', 'base_logprob'):
      np.testing.assert_allclose(
        getattr(found, name), getattr(expected, name), atol=1e-4
      )
    again = split(side, other, source[of], of, rows=[4, 2, 0, 1, 3])
    np.testing.assert_array_equal(
      np.delete(again.ids, 3, 0), expected.ids[np.delete(of, 3)]
    )
  with pytest.raises(ValueError, match='different prompts'):
    split('left', 'left', source, [0, 1, 2, 2, 2])
  with pytest.raises(ValueError, match='5 suffixes: 5 rows'):
    split('left', 'left', source, [0, 1, 2, 3, 5])


# ------------------------------------------------------------------ constraints


def listed(data, ids, step):
  """A token may come if the row's table says so, and as often as it says."""
  table, most = data
  count = (ids[:, :, None] == jnp.arange(40)) & (
    jnp.arange(ids.shape[1])[:, None] < step
  )
  return table[:, step] & (count.sum(1) < most[:, None])


def test_constrained_draws_are_of_the_allowed_and_score_as_such():
  rng = np.random.default_rng(3)
  table = rng.random((4, 5, 40)) < 0.3
  table[1, 2:] = False  # nothing may follow two tokens
  table[2, 0] = False
  table[3] = np.arange(40) == 6
  most = np.array([1, 5, 5, 3])
  given = constraints.Constraint(listed, (table, most))
  heat, top_k = np.array([0.7, 1.0, 1.0, 2.0]), np.array([3, 0, 0, 0])
  found = draw(temperature=heat, top_k=top_k, constraint=given)
  np.testing.assert_array_equal(found.mask.sum(1), [5, 2, 0, 3])
  for row, prompt in enumerate(PROMPTS):
    text, count = list(prompt), int(found.mask[row].sum())
    assert (np.asarray(found.ids)[row, count:] == 38).all()
    for at, token in enumerate(np.asarray(found.ids)[row, :count]):
      own = logits(text)[-1]
      allowed = table[row, at].copy()
      said = text[len(prompt) :]
      allowed[[t for t in said if said.count(t) >= most[row]]] = False
      assert allowed[token]
      law = reference_filter(
        np.where(allowed, own, -np.inf), heat[row], 1.0, top_k[row]
      )
      np.testing.assert_allclose(
        found.logprob[row, at], np.log(law[token]), atol=1e-3
      )
      base = jax.nn.log_softmax(own)[token]
      np.testing.assert_allclose(found.base_logprob[row, at], base, atol=1e-4)
      text.append(int(token))
  plan = sampling._Plan(5, (), 38, True, listed, jnp.dtype(jnp.float32))
  program = sampling._sampler(CONFIG, plan)
  free = constraints.Constraint(listed, (table | True, most + 9))
  plain = draw(temperature=heat, top_k=top_k)
  jax.tree.map(
    np.testing.assert_array_equal,
    draw(temperature=heat, top_k=top_k, constraint=free),
    plain,
  )
  assert program._cache_size() == 1


# ------------------------------------------------------------- log-probability


def test_log_probability_is_the_full_forward_passs():
  texts = [[3, 9, 4, 1, 22], [5, 6], [1, 2, 30, 6, 7, 39]]
  for side in ('left', 'right'):
    ids, mask = padded(texts, side, 8)
    found = np.asarray(sampling.log_probability(CONFIG, params(), ids, mask))
    assert not found[mask == 0].any()
    for row, text in enumerate(texts):
      log_p = np.asarray(jax.nn.log_softmax(logits(text)))
      expected = [0, *log_p[np.arange(len(text) - 1), text[1:]]]
      np.testing.assert_allclose(found[row][mask[row] > 0], expected, atol=1e-4)


def test_log_probability_is_the_samplers():
  """Prompts padded on the right leave padding inside the text."""
  found = draw(side='right', temperature=1.0, top_p=0.9)
  ids, mask = padded(PROMPTS, 'right')
  ids = np.concatenate([ids, found.ids], 1)
  mask = np.concatenate([mask, found.mask], 1)
  scored = sampling.log_probability(CONFIG, params(), ids, mask)
  np.testing.assert_allclose(scored[:, 6:], found.base_logprob, atol=1e-4)


@pytest.mark.slow
def test_log_probability_has_a_gradient():
  ids, mask = padded(PROMPTS)

  def total(weights):
    return sampling.log_probability(CONFIG, weights, ids, mask).sum()

  gradient = jax.grad(total)(params())
  small = 1e-4
  moved = jax.tree.map(lambda p, g: p + small * g, params(), gradient)
  lowered = jax.tree.map(lambda p, g: p - small * g, params(), gradient)
  squares = sum(float((g**2).sum()) for g in jax.tree.leaves(gradient))
  rise = float(total(moved) - total(lowered)) / (2 * small)
  assert rise == pytest.approx(squares, rel=0.02)


# ----------------------------------------------------------------------- texts


def model():
  words = [f'w{i}' for i in range(37)]
  vocabulary = {
    name: i for i, name in enumerate(['[UNK]', '<stop>', *words, '<end>'])
  }
  tokenizer = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(vocabulary, '[UNK]')
  )
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return language_model.LanguageModel(CONFIG, params(), tokenizer, 'tiny')


WRITE = {'max_new_tokens': 5, 'stop': ['<stop>'], 'progress': False}


@pytest.mark.slow
def test_written_texts_do_not_depend_on_batches():
  prompts = ['w1 w2 w3', 'w4', 'w1 w2 w3', 'w5 w6 ' * 7]
  one = sampling.write(KEY, model(), prompts, batch=64, **WRITE)
  few = sampling.write(KEY, model(), prompts, batch=2, **WRITE)
  assert one.texts == few.texts
  assert one.texts[0] != one.texts[2]
  assert one.texts == sampling.generate(KEY, model(), prompts, **WRITE)
  np.testing.assert_array_equal(one.finished, few.finished)
  words = [len(text.split()) for text in one.texts]
  np.testing.assert_array_equal(one.tokens, words + one.finished)
  # A text ends before its stop token.
  second = one.texts[0].split()[1]
  found = sampling.write(KEY, model(), prompts, **{**WRITE, 'stop': [second]})
  assert found.finished[0]
  assert second not in found.texts[0].split()
  assert one.texts[0].startswith(found.texts[0])


def test_written_texts_share_prompts_and_are_constrained():
  """The tokens of a prompt's words may come; one has stopped, one has none."""
  prompts = ['w1 w2 w3', 'w4', 'w1 w2 w5 w6', 'w1 w2', 'w4 w7']
  table = np.zeros((5, 5, 40), bool)
  table[:3, :, 3:8] = True
  table[3, :2, [4, 1]] = [[True, False], [False, True]]
  given = {
    **{**WRITE, 'temperature': 2.0},
    'constraint': constraints.Constraint(listed, (table, np.full(5, 9))),
  }
  one = sampling.write(KEY, model(), prompts, **given)
  two = sampling.write(KEY, model(), prompts, groups=[0, 1, 0, 0, 1], **given)
  assert one.texts == two.texts
  assert {*' '.join(one.texts[:3]).split()} <= {f'w{i}' for i in range(1, 6)}
  assert one.texts[3:] == ['w2', '']
  np.testing.assert_array_equal(one.tokens, [5, 5, 5, 2, 0])
  np.testing.assert_array_equal(one.finished, [False] * 3 + [True, False])


@pytest.mark.parametrize(
  ('prompts', 'settings', 'message'),
  [
    (['w1', ''], {}, 'prompt 1 has no token'),
    (['w1 ' * 2047], {}, 'prompt 0 is longer than 2043 tokens'),
    (['w1'], {'stop': ['<none>']}, '<none>'),
    (['w1'], {'temperature': -1.0}, 'temperature'),
    (['w1'], {'top_p': 1.5}, 'top_p'),
    (['w1'], {'max_new_tokens': 0}, 'max_new_tokens'),
  ],
)
def test_what_cannot_be_written_is_refused(prompts, settings, message):
  with pytest.raises(ValueError, match=message):
    sampling.write(KEY, model(), prompts, **{**WRITE, **settings})


def test_chatml():
  assert sampling.chatml('Hi', 'Be brief.') == (
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n'
    '<|im_start|>assistant\n'
  )
  assert 'system' not in sampling.chatml('Hi')
