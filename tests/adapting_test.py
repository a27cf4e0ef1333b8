"""The highest layers of a decoder, trained with a reward that reads it."""

import dataclasses

import jax
import numpy as np
import pytest

from prm_jax import adapting, setting, types
from prm_jax.lab import fitting
from prm_jax.models import adapted, decoder, features, reduce, trunk
from prm_jax.models.weights import huggingface
from prm_jax.rewards import backbone, scalar
from prm_jax.runtime import early, train
from prm_jax.setting import Setting
from tests import checkpoints

WORDS = ['tea', 'milk', 'hot', 'cold', 'please', 'dude', 'sir', 'whatever']
COLUMNS = 3  # too few for what people like


@pytest.fixture(scope='module')
def read(tmp_path_factory):
  """A trunk of three layers, texts, and columns of what it says of them."""
  folder = checkpoints.write(
    tmp_path_factory.mktemp('model'), WORDS, num_hidden_layers=3
  )
  rng = np.random.default_rng(0)
  texts = [' '.join(rng.choice(WORDS, rng.integers(3, 7))) for _ in range(60)]
  prompts = ['say it'] * len(texts)
  source = features.Source(backbone=folder)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('PRM_CACHE_DIR', str(tmp_path_factory.mktemp('cache')))
    reader = features.fit(
      features.BACKBONE, source, prompts, texts, np.arange(60), COLUMNS - 1
    )
    table = reader(source, prompts, texts)
  return source.trunk, prompts, texts, reader, table


def judged(texts, count=160):
  """Judgements of everybody, who like what has few of a word."""
  rng = np.random.default_rng(1)
  items = np.stack([rng.permutation(len(texts))[:2] for _ in range(count)])
  like = np.array([-text.split().count('whatever') for text in texts])
  noise = rng.logistic(size=count) * 0.2
  label = like[items[:, 0]] - like[items[:, 1]] + noise > 0
  batch = fitting.judgements(rng.integers(0, 4, count), items, label)
  part = np.arange(count) % 4 == 0
  return adapting.Rows(batch, ~part, part)


def fitted(read, plan, *, workdir=None, method='aggregate', **options):
  """Returns changes, and what they are made of."""
  base, prompts, texts, reader, table = read
  rows = judged(texts)
  states = adapting.Texts(plan, base, prompts, texts, memory=1.0)
  known = Setting(
    *(method, options, 4, COLUMNS, 0, None),
    *(features.BACKBONE, COLUMNS - 1, len(rows.fits), 'backbone', None),
  )
  batch = rows.judged.masked(rows.fits).over(table)
  state = train.fit(known.learner(), batch, key=known.key, spec=known.spec)
  changes = adapting.fit(
    plan,
    states,
    rows,
    state,
    reader.reductions[features.BACKBONE],
    method=method,
    options=options,
    seed=0,
    workdir=workdir,
  )
  return changes, states, state, rows


def test_the_start_reads_what_the_frozen_fit_reads(read):
  base, prompts, texts, reader, table = read
  plan, some = adapting.parse('lora:1:2'), np.array([5, 0, 41])
  chosen = [texts[text] for text in some]
  states = adapting.Texts(plan, base, prompts[:3], chosen, memory=1.0)
  states.compute()
  state = Setting(
    *('aggregate', {}, 4, COLUMNS, 0, None),
    *(features.BACKBONE, COLUMNS - 1, 9, 'backbone', None),
  ).learner()
  key, spec = jax.random.key(0), types.Spec(COLUMNS, 4)
  begun = adapting.started(
    *(plan, base.model.params, state.init(key, spec)),
    reader.reductions['backbone'],
  )
  reward = backbone.under(scalar.linear(), states.node)
  found = reward.features(
    begun.params['reward'], types.Inputs(states.tokens(np.arange(3)))
  )
  np.testing.assert_allclose(found, table[some], atol=2e-4)


@pytest.mark.slow
def test_training_gains_where_the_frozen_columns_say_too_little(
  read, tmp_path, capsys
):
  plan = adapting.parse('lora:2:4', {'trunk_rate': 0.1, 'epochs': 20})
  changes, states, _, _ = fitted(read, plan, workdir=tmp_path)
  said = capsys.readouterr().err
  before, after = (
    float(said.split(what)[0].split()[-1])
    for what in (' nats a judgement', ' at best')
  )
  assert after < before - 0.04, said
  assert (changes.form, changes.layers, changes.rank) == ('lora', 2, 4)
  assert all(np.abs(of.b).max() > 0 for of in changes.leaves.values())
  # What is finished is read, and its run, which holds people, is gone.
  assert [path.name for path in tmp_path.iterdir()] == [adapting.FOLDER]
  kept = adapted.Changes.load(tmp_path / adapting.FOLDER)
  assert kept.digest == changes.digest
  moved = states.trunk.changed(kept)
  assert moved.base == states.trunk.fingerprint != moved.fingerprint
  with pytest.raises(ValueError, match='changes another checkpoint'):
    moved.changed(kept)


@pytest.mark.slow
def test_whole_layers_train_but_not_the_last_normalisation(read):
  plan = adapting.parse('full:2', {'trunk_rate': 0.01, 'epochs': 3})
  changes, states, _, _ = fitted(read, plan)
  own = trunk.decoder.take_layers(states.trunk.model.params, -2)['params']
  old, new = own['layer'], changes.leaves['layer']
  assert sorted(new) == sorted(old)
  for name in ('query', 'down', 'gate'):
    assert np.abs(new[name]['kernel'] - old[name]['kernel']).max() > 1e-3
  moved = states.trunk.changed(changes).model.params['params']
  before = states.trunk.model.params['params']
  np.testing.assert_array_equal(moved['norm']['scale'], before['norm']['scale'])
  first = next(iter(moved['layers']['layer']['query'].values()))[0]
  same = next(iter(before['layers']['layer']['query'].values()))[0]
  np.testing.assert_array_equal(first, same)


@pytest.mark.slow
@pytest.mark.parametrize('method', ['pref', 'lore'])
def test_personal_methods_train_people_beside_layers(read, method):
  plan = adapting.parse('lora:2', {'trunk_rate': 0.02, 'epochs': 2})
  changes, states, _, _ = fitted(read, plan, method=method, dim=2)
  assert changes.layers == 2
  training = adapting.phase(plan, states.node, method, {'dim': 2}, 4)
  assert training.people is not None
  again, *_ = fitted(read, plan, method=method, dim=2)
  assert again.digest == changes.digest  # nothing is drawn anew


def test_what_adapt_takes():
  made = adapting.parse('lora:2')
  assert (made.form, made.layers, made.rank) == ('lora', 2, 8)
  assert adapting.parse('lora:3:16').rank == 16
  assert adapting.parse('full:4')._replace(trunk_rate=0).rank == 0
  assert adapting.parse('frozen') is None
  plan, rest = adapting.given(
    'full:1',
    'bfloat16',
    {'batch': 4, 'people_rate': 0.5, 'dim': 3},
    'pref',
    'x',
  )
  assert rest == {'dim': 3}
  assert (plan.batch, plan.people_rate, plan.precision) == (4, 0.5, 'bfloat16')
  for text in ('lora', 'lora:0', 'full:1:8', 'full:x', 'top:1', 'frozen:1', ''):
    with pytest.raises(ValueError, match='write frozen, lora:N, lora:N:RANK'):
      adapting.parse(text)
  common = {'method': 'pref', 'backbone': 'x'}
  for changed, message in (
    ({'backbone': None}, 'give its folder with --backbone'),
    ({'method': 'rfm'}, 'rfm is not fitted together with a language model'),
    ({'options': {'head': {'kind': 'ties'}}}, 'with a head the language model'),
    ({'options': {'batch': 0.5}}, r'option batch=0\.5: give a whole number'),
    ({'options': {'trunk_rate': -1}}, 'option trunk_rate=-1: give a rate'),
    ({'precision': 'int8'}, '--precision=int8: one of'),
    ({'text': 'frozen', 'options': {'batch': 4}}, r"leave out \['batch'\]"),
    ({'text': None, 'precision': 'float32'}, '--precision: of what --adapt'),
  ):
    known = {'text': 'lora:1', 'precision': None, 'options': {}, **common}
    known |= changed
    with pytest.raises(ValueError, match=message):
      adapting.given(
        known.pop('text'), known.pop('precision'), known.pop('options'), **known
      )


def test_a_setting_without_adapt_is_what_it_was():
  plain = Setting(*('pref', {}, 4, 3, 0, None, 'surface', 2, 9, 'text'))
  assert 'adapt' not in plain.described()
  assert setting.parse(plain.described(), 'config.json') == plain
  plan = adapting.parse('full:1').described()
  changed = dataclasses.replace(plain, adapt=plan)
  assert setting.parse(changed.described(), 'config.json').adapt == plan


def test_layers_and_memory_are_bounded(read):
  base, prompts, texts, *_ = read
  some = base, prompts[:4], texts[:4]
  with pytest.raises(ValueError, match=r'lowest 3 layers .* train 1 to 2'):
    adapting.Texts(adapting.parse('full:3'), *some, memory=1.0)
  with pytest.raises(ValueError, match=r'they may take 1,000 \(--memory=1 '):
    adapting.Texts(adapting.parse('full:1'), *some, memory=1e-6)
  none = np.zeros(2, bool)
  with pytest.raises(ValueError, match='0 to validate on: some hundred'):
    adapting.Rows(fitting.judgements(0, [[0, 1]] * 2, 1), ~none, none).check()


# SmolLM2-135M's layers, four of them; the vocabulary is looked up, no more.
SMOL = decoder.DecoderConfig(
  vocab_size=512,
  hidden_size=576,
  intermediate_size=1536,
  num_hidden_layers=4,
  num_attention_heads=9,
  num_key_value_heads=3,
  head_dim=64,
  rope_theta=100_000.0,
  max_position_embeddings=64,
  tie_word_embeddings=True,
)


@pytest.mark.slow
def test_half_precision_loses_as_much_as_single():
  """100 steps of two layers: every loss within 1 % of float32's."""
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: (
      np.ones(leaf.shape, np.float32)
      if len(leaf.shape) < 3 and leaf.shape[0] != SMOL.vocab_size
      else (rng.normal(size=leaf.shape) / 24).astype(np.float32)
    ),
    huggingface.decoder_shapes(SMOL),
  )
  ids = [rng.integers(0, 512, rng.integers(5, 9)).tolist() for _ in range(24)]
  like = np.array([sum(number < 99 for number in text) for text in ids])
  items = np.stack([rng.permutation(24)[:2] for _ in range(40)])
  batch = fitting.judgements(
    rng.integers(0, 4, 40), items, like[items[:, 0]] > like[items[:, 1]]
  )
  learner = Setting(
    *('pref', {'dim': 2}, 4, 16, 0, None, 'backbone', 15, 40, 'backbone')
  ).learner()
  state = learner.init(jax.random.key(0), types.Spec(16, 4))
  state = state._replace(
    people=state.people._replace(weight=np.full(4, 10, np.float32)),
    constants=state.constants._replace(examples=np.float32(40)),
  )
  columns = reduce.Reduction(
    np.zeros(576), rng.normal(size=(576, 16)) / 24, np.ones(16)
  )
  losses = {}
  for precision in adapting.PRECISIONS:
    plan = adapting.parse('lora:2:4', {'batch': 8}, precision)
    node = adapting.backbone_of(plan, SMOL)
    texts = adapting.States(node, params, ids)
    texts.compute()
    assert texts.tokens(np.arange(2)).ids.dtype == precision
    steps = adapting.phase(plan, node, 'pref', {'dim': 2}, 100)
    start = adapting.started(plan, params, state, columns)

    def rows(step, texts=texts):
      some = np.random.default_rng(step).permutation(40)[:8]
      return next(adapting.batches(texts, batch, some, 8))

    found = early.fit(steps, start, rows, [rows(0)], stretch=100, patience=1)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(found.best))
    losses[precision] = found.trained
  single, half = losses.values()
  assert single[-20:].mean() < 0.9 * single[:20].mean()  # something is learned
  assert not np.array_equal(single, half)
  np.testing.assert_allclose(half, single, rtol=0.01)
