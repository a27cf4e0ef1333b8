"""Judges of real texts, on made-up rows with a tiny decoder."""

import functools

import jax
import numpy as np
import pytest
import tokenizers
from scipy import optimize, special, stats

from configs import reasoning_rewards
from experiments.reasoning_rewards import (
  experiment,
  real,
  real_fits,
  real_rows,
  real_tables,
)
from prm_jax.audits import both_orders
from prm_jax.lab import study, units
from prm_jax.models import decoder, language_model
from prm_jax.models.weights import huggingface
from prm_jax.ops import intervals
from prm_jax.rewards import generative, judge_formats

END = '<|im_end|>'
WORDS = ['<unk>', END, 'A', 'B', 'Yes', 'No', 'good', 'bad', 'odd', 'why']
WORDS += ['<|eot_id|>']
CONFIG = decoder.DecoderConfig(len(WORDS), 16, 32, 3, 2, 1, 8)


@functools.cache
def tokenizer():
  vocabulary = {word: i for i, word in enumerate(WORDS)}
  found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
  found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  found.add_special_tokens([END, WORDS[-1]])
  return found


@functools.cache
def model():
  ids = np.zeros((1, 2), np.int32)
  params = jax.jit(decoder.Decoder(CONFIG).init)(
    jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  return language_model.LanguageModel(CONFIG, params, tokenizer(), '')


def rows(name):
  """Answers of which 'good' ones are better; people who mostly see it."""
  rng = np.random.default_rng(0)
  n, single = 36, name == real_rows.MISTAKE
  words = rng.permuted(np.tile([['good', 'bad']], (n, 1)), axis=1)
  texts = [
    [f'{word} {" ".join(rng.choice(["odd", "why"], 3))}' for word in each]
    for each in words[:, : 1 if single else 2]
  ]
  label = (words[:, 0] == 'good').astype(float)
  queries = [f'why {"odd " * (i // 3)}' for i in range(n)]
  people = None
  if name == real_rows.LLMFAO:
    row = np.tile(np.arange(n), 3)
    own = np.where(rng.random(len(row)) < 0.8, label[row], 1 - label[row])
    people = real_rows.People(
      np.repeat([0, 1, 2], n),
      row,
      own,
      {'gpt4': label, 'gpt3': 0 * label + 0.5},
    )
  return real_rows.Rows(
    name,
    real_rows.items(queries, texts, tokenizer(), 256),
    label,
    [f'LLMBar/Adversarial/{"xy"[i % 2]}' for i in range(n)],
    np.arange(n) % 6 != 5,
    np.array([[len(text) for text in each] for each in texts]),
    people,
  )


@pytest.fixture
def tiny(monkeypatch):
  monkeypatch.setattr(real, 'model_of', lambda config: model())
  monkeypatch.setattr(real, 'rows_of', lambda config, name: rows(name))
  monkeypatch.setattr(real_fits, '_NARROW', 256)  # one length for all texts
  config = reasoning_rewards.get_config('real')
  config.real.update(top=1, rank=2, tokens=1024, folds=2, steps=2, looks=1)
  config.real.update(data=('llmfao',), batch=4, ridges=(1e-2,), rates=(1e-2,))
  config.real.heads = ('scalar', 'generative')
  config.real.most.styled = config.real.written.rows = 0
  return config


def test_no_question_is_in_two_parts_and_each_is_tested_once():
  known = rows(real_rows.LLMBAR)
  tested = np.zeros(len(known.label), int)
  for part in real_rows.parts(known, 3, 4, 0):
    sets = [set(known.prompt[rows]) for rows in part]
    assert sets[0]
    assert sets[1]
    assert not sets[0] & sets[1]
    # Rows that are not tested stay out of a fold, too.
    out = ~(part.train | part.validation)
    assert not (sets[0] | sets[1]) & set(known.prompt[out])
    assert not (part.test & ~known.tested).any()
    tested += part.test
  np.testing.assert_array_equal(tested, known.tested)


def test_prompts_end_where_a_verdict_would_follow():
  items = [generative.Item('why', ('good odd', 'bad'))]
  form = judge_formats.rm_r1(distilled=True)
  found = real_rows.judged(items, tokenizer(), form, 'chatml')
  assert found.verdict == (WORDS.index('A'), WORDS.index('B'))
  assert found.which.tolist() == [[0, 1]]
  ids = found.ids[0].tolist()
  good, bad = (WORDS.index(word) for word in ('good', 'bad'))
  assert ids.index(good) < ids.index(bad)
  swapped = found.ids[1].tolist()
  assert swapped.index(bad) < swapped.index(good)
  whole = tokenizer().encode(
    judge_formats.chatml(form.messages('why', items[0].responses))
    + '<answer>[[A]]</answer>'
  )
  assert whole.ids[: len(ids)] == ids
  assert whole.tokens[len(ids)] == 'A'
  alone = real_rows.alone(items, tokenizer(), 'chatml')
  assert [each[-1] for each in alone.ids] == [1, 1]
  genrm = [generative.Item('why', ('good',))]
  found = real_rows.judged(genrm, tokenizer(), judge_formats.genrm(), 'chatml')
  assert found.verdict == (WORDS.index('Yes'), WORDS.index('No'))
  assert found.which.tolist() == [[0]]


def test_chains_are_shown_as_far_as_they_fit():
  steps = ['good odd', 'bad', 'why why why']
  counts = [real_rows.shown(steps, tokenizer(), cut) for cut in (1, 2, 3, 6)]
  assert counts == [0, 1, 2, 3]


def test_heads_learn_leads_and_verdicts():
  known = rows(real_rows.LLMBAR)
  chosen = np.arange(36) < 4
  index = np.arange(72).reshape(36, 2)
  rng = np.random.default_rng(0)
  lead = real.examples(known, index, 'scalar', chosen, rng)
  assert lead.text.tolist() == index[:4].tolist()
  np.testing.assert_array_equal(lead.label, known.label[:4])
  verdicts = real.examples(known, index, 'generative', chosen, rng)
  assert verdicts.text.ravel().tolist() == list(range(8))
  np.testing.assert_array_equal(verdicts.label[::2], known.label[:4])
  np.testing.assert_array_equal(verdicts.label[1::2], 1 - known.label[:4])
  chains = rows(real_rows.MISTAKE)
  pairs = real.examples(chains, index[:, :1], 'scalar', chosen, rng)
  group, label = np.array(chains.group), chains.label
  first, second = pairs.text.T // 2
  assert len(first) == sum(
    (label[:4] == x)[group[:4] == task].sum()
    * (label[:4] != x)[group[:4] == task].sum()
    for task in set(group)
    for x in (1,)
  )
  assert (label[first] == 1).all()
  assert (label[second] == 0).all()
  assert (group[first] == group[second]).all()


def test_a_linear_head_is_the_ridge_regression():
  rng = np.random.default_rng(0)
  features = rng.normal(3, [1, 2, 5], (40, 3))
  for P in (1, 2):
    text = rng.permutation(40)[: 20 * P].reshape(20, P)
    label = rng.integers(0, 2, 20).astype(float)
    head = real_fits.linear(
      features, real_fits.Examples(text, label), ridge := 0.05
    )
    known = features[np.unique(text)]
    z = (features - known.mean(0)) / known.std(0)
    x = z[text[:, 0]] - (z[text[:, 1]] if P == 2 else 0)

    def loss(flat, x=x, label=label, P=P):
      p = special.expit(x @ flat[:3] + flat[3] * (P == 1))
      nats = -np.mean(np.log(np.where(label == 1, p, 1 - p)))
      return nats + ridge / 2 * flat[:3] @ flat[:3]

    want = optimize.minimize(loss, np.zeros(4), method='BFGS').x
    logit = real_fits.logits(
      head.scores(features), real_fits.Examples(text, label)
    )
    np.testing.assert_allclose(
      logit, x @ want[:3] + want[3] * (P == 1), atol=1e-3
    )


def test_states_are_those_of_the_whole_decoder(tiny, tmp_path):
  ids = [np.array(each, np.int32) for each in ([6, 3], [4, 4, 7], [8])]
  node, path = tiny.real, tmp_path / 'states' / 'some.npy'
  features = real_fits.states(model(), ids, node, path)
  row = np.zeros((1, 3), np.int32)
  row[0] = ids[1]
  place = np.arange(3)[None]
  found = jax.jit(decoder.Decoder(CONFIG).apply)(
    model().params, row, place, decoder.attended(row * 0 + 1)
  )
  # Kept states have eight bits of mantissa.
  np.testing.assert_allclose(features[1], found.hidden[0, -1], atol=0.05)
  read = real_fits.load(path, np.array([2, 3, 1]), features)
  assert read.states.shape == (6, 16)
  padded = read.texts(np.array([0, 1]))
  assert padded.mask.sum(1).tolist() == [2, 3]
  lead = real_fits.verdict(model(), (2, 3))
  logits = decoder.Decoder(CONFIG).apply(
    model().params, found.hidden[0, -1], method='logits'
  )
  np.testing.assert_allclose(
    lead @ np.asarray(found.hidden[0, -1]), logits[2] - logits[3], atol=1e-4
  )
  node.keep = 6 * 16 * 2 - 1
  with pytest.raises(
    ValueError, match=r'take 192 bytes, and real\.keep is 191'
  ):
    real_fits.states(model(), ids, node, path)
  with pytest.raises(ValueError, match='of other texts'):
    real_fits.load(path, np.array([2, 3]), features[:2])


def said(lead, shown=None, asked=None):
  asked = np.ones(len(lead), bool) if asked is None else asked
  return real_tables.Said('j', 's', np.array(lead, float), shown, asked)


def test_ties_are_half_right_and_what_says_nothing_is_wrong():
  lead, label = np.array([1, -1, 0, np.nan]), np.array([1, 1, 1, 0])
  assert real_tables.credit(lead, label).tolist() == [1, 0, 0.5, 0]


def test_a_judge_that_writes_nothing_readable_is_wrong():
  known = rows(real_rows.LLMBAR)
  groups, group = np.unique(known.group, return_inverse=True)
  arrays = {
    'label': known.label,
    'prompt': known.prompt,
    'group': group,
    'fold': np.zeros(36, int),
    'length': known.length,
  }
  described = units.Unit({'groups': groups.tolist(), 'judges': []}, arrays)
  asked = np.arange(36) < 6
  score = np.full((36, 2), np.nan)
  score[0] = [1, np.nan]  # one order says that the first is better
  record = {'data': 'llmbar', 'head': 'generative', 'state': 'written'}
  made = units.Unit({**record, 'folds': []}, {'score': score, 'asked': asked})
  *_, row = real_tables.table({'llmbar': described}, {'llmbar': [made]})
  assert row['right'] == pytest.approx(known.label[0] / 6)
  assert row['n'] == 6
  assert row['invalid'] == pytest.approx(11 / 12)
  assert row['says_first'] == 1
  assert row['consistent'] is None


@pytest.mark.parametrize('single', [False, True])
def test_length_is_tuned_on_other_folds(single):
  """The longer one is better in fold 0, and not in 1 and 2."""
  n = 24
  fold = np.arange(n) % 3
  label = (np.arange(n) // 3 % 2).astype(float)
  longer = np.where(fold == 0, 2 * label - 1, 1 - 2 * label)
  length = longer if single else np.stack([5 + longer, np.full(n, 5.0)], 1)
  arrays = {
    **{'label': label, 'prompt': np.arange(n), 'fold': fold},
    **{'group': np.zeros(n, int), 'length': length.reshape(n, -1)},
  }
  described = units.Unit({'groups': ['x'], 'judges': []}, arrays)
  score = label[:, None] if single else np.stack([label, 1 - label], 1)
  made = units.Unit({'head': 'scalar', 'state': 'adapted'}, {'score': score})
  plain, tuned, judge = real_tables.table(
    {'llmbar': described}, {'llmbar': [made]}
  )
  assert plain['right'] == pytest.approx(1 / 3)
  # For fold 0 the others say shorter; for each of them, neither wins.
  assert tuned['right'] == pytest.approx((0 + 0.5 + 0.5) / 3)
  assert (judge['right'], plain['over_length']) == (1, None)
  assert judge['over_length'] == pytest.approx(2 / 3)
  assert judge['over_length_low'] < 2 / 3 < judge['over_length_high']


def test_an_interval_over_prompts_alone_is_students_and_a_little_more():
  value = np.random.default_rng(0).random(30)
  every = np.arange(30)
  found = intervals.crossed(
    value, np.ones(30), intervals.crossing(every, every)
  )
  half = stats.t.ppf(0.975, 29) * stats.sem(value)
  # Both kinds are the same: what they share is taken off once too little.
  half *= np.sqrt(31 / 30)
  np.testing.assert_allclose(found.high - found.value, half, rtol=1e-6)


def test_both_orders_of_a_question_stay_together():
  prompt = np.repeat(np.arange(6), 2)
  # Of the four judgements of each question so many prefer the first place.
  first = np.array([4, 2, 2, 0, 3, 1])
  shown = np.where(np.arange(4) < first[:, None], 1.0, -1.0).reshape(12, 2)
  described = units.Unit(
    {'groups': ['x'], 'judges': []},
    {
      **{'label': np.ones(12), 'prompt': prompt, 'fold': np.zeros(12, int)},
      'length': np.zeros((12, 2)),
    },
  )
  record = {'head': 'generative', 'state': 'untrained'}
  made = units.Unit(record, {'score': shown})
  *_, row = real_tables.table({'llmbar': described}, {'llmbar': [made]})
  half = stats.t.ppf(0.975, 5) * stats.sem(first / 4) * np.sqrt(7 / 6)
  assert row['says_first'] == pytest.approx(0.5)
  assert row['says_first_n'] == 24
  np.testing.assert_allclose(
    (row['says_first_low'], row['says_first_high']), (0.5 - half, 0.5 + half)
  )
  # Both orders agree in one pair of each of the last two questions.
  agreed = np.array([0, 0, 0, 0, 1, 1]) / 2
  assert row['consistent'] == pytest.approx(agreed.mean())
  assert row['consistent_n'] == 12
  # Nothing is invalid: of six questions, not of 24 judgements.
  assert row['invalid'] == 0
  assert row['invalid_high'] == pytest.approx(1 - 0.025 ** (1 / 6))


def test_chains_are_compared_within_task_and_fold():
  arrays = {
    'label': np.array([1, 0, 0, 1, 0, 1]),
    'group': np.array([0, 0, 0, 0, 1, 1]),
    'fold': np.array([0, 0, 1, 1, 0, -1]),
  }
  unit = units.Unit({}, arrays)
  right, wrong = real_tables.chains(unit, arrays['fold'] >= 0)
  assert list(zip(right, wrong, strict=True)) == [(0, 1), (3, 2)]


def test_rows_of_llmbar_are_its_scorers():
  known = rows(real_rows.LLMBAR)
  groups, group = np.unique(known.group, return_inverse=True)
  arrays = {
    'label': known.label,
    'prompt': known.prompt,
    'group': group,
    'fold': np.where(known.tested, 0, -1),
    'length': known.length,
  }
  described = units.Unit({'groups': groups.tolist(), 'judges': []}, arrays)
  shown = np.random.default_rng(1).normal(size=(36, 2))
  record = {'head': 'generative', 'state': 'untrained'}
  made = units.Unit(record, {'score': shown})
  found = {
    (row['judge'], row['subset']): row
    for row in real_tables.llmbar(described, [made])
  }
  some = known.tested
  label = np.where(known.label[some] == 1, 0, 1)
  given, swapped = np.where(shown[some] > 0, 0, 1).T
  subset = [
    name for name, there in zip(known.group, some, strict=True) if there
  ]
  want = both_orders.llmbar(given, swapped, label, subset)
  row = found['generative', 'Adversarial']
  assert row['accuracy'] == pytest.approx(want.group['Adversarial'])
  assert row['accuracy_low'] < row['accuracy'] < row['accuracy_high']
  assert {subset for _, subset in found} == {
    *('Adversarial', 'Adversarial/x', 'Adversarial/y')
  }
  (main,) = (
    row
    for row in real_tables.table({'llmbar': described}, {'llmbar': [made]})
    if row['judge'] == 'generative'
  )
  agreed = np.mean((shown[some, 0] > 0) == (shown[some, 1] < 0))
  assert main['consistent'] == pytest.approx(agreed)
  assert main['n'] == 30
  assert main['prompts'] == 12


def test_rm_bench_rows_are_its_scorers():
  score = np.random.default_rng(0).normal(size=(8, 6))
  unit = units.Unit({'domains': ['chat'] * 3 + ['code'] * 5}, {'length': score})
  (row,) = real_tables.rm_bench(unit)
  wins = score[:, :3, None] > score[:, None, 3:]
  by = wins.mean((1, 2))
  assert row['right'] == pytest.approx((by[:3].mean() + by[3:].mean()) / 2)
  hard = wins[:, [0, 0, 1], [1, 2, 2]].mean(1)
  assert row['hard'] == pytest.approx((hard[:3].mean() + hard[3:].mean()) / 2)
  assert row['right_low'] < row['right'] < row['right_high']


def test_smoke(tiny, tmp_path):
  made = study.run(experiment.STUDY, tiny, tmp_path)
  rows = {
    (row['target'], row['judge'], row['state']): row
    for row in made['tables']['real']
  }
  assert len(rows) == 2 * 8 + 1
  assert rows['majority', 'gpt4', '-']['right'] == 1
  assert rows['majority', 'gpt3', '-']['right'] == 0.5
  # A frozen decoder's last state knows the words that it has read.
  assert rows['majority', 'scalar', 'untrained']['right'] > 0.8
  assert rows['own choices', 'scalar', 'untrained']['people'] == 3
  (sentence,) = made['answer']
  assert "people's majority: scalar, adapted" in sentence
  training = made['tables']['real_training']
  assert {row['steps'] for row in training} <= {0, 2, None}
  before = (tmp_path / 'cells' / 'real-llmfao-alone.json').stat().st_mtime_ns
  (tmp_path / 'cells' / 'real-llmfao-scalar-adapted.json').unlink()
  again = study.run(experiment.STUDY, tiny, tmp_path)
  after = (tmp_path / 'cells' / 'real-llmfao-alone.json').stat().st_mtime_ns
  assert before == after
  assert again['tables'] == made['tables']


def saved(folder, config):
  """A random checkpoint of some sizes, with a tokenizer, on disk."""
  ids = np.zeros((1, 2), np.int32)
  params = jax.jit(decoder.Decoder(config).init)(
    jax.random.key(0), ids, ids, decoder.attended(ids + 1)
  )
  huggingface.save_decoder(config, params, folder)
  tokenizer().save(str(folder / 'tokenizer.json'))
  return config


@pytest.mark.slow
@pytest.mark.parametrize('variant', reasoning_rewards.LARGE)
def test_large_variants_run_on_a_tiny_checkpoint(
  variant, tiny, tmp_path, monkeypatch
):
  small = {
    'vocab_size': len(WORDS),
    'hidden_size': 16,
    'intermediate_size': 32,
    'num_hidden_layers': 5,
    'num_attention_heads': 4,
    'num_key_value_heads': 2,
    'head_dim': 4,
  }
  config = reasoning_rewards.get_config(variant)
  sizes = {**config.real.sizes.to_dict(), **small}
  saved(tmp_path / 'model', decoder.DecoderConfig(**sizes))
  config.real.update(model=str(tmp_path / 'model'), sizes=sizes)
  config.real.update(steps=2, looks=1, folds=2, tokens=1024, rates=(1e-3,))
  config.real.data = ('llmbar', 'bigbench_mistake')
  config.real.written.update(rows=4, tokens=4)
  monkeypatch.undo()
  monkeypatch.setattr(real_fits, '_NARROW', 256)
  monkeypatch.setattr(real, 'rows_of', lambda config, name: rows(name))
  chains = rows(real_rows.MISTAKE)
  styles = chains._replace(group=['chat'] * 36)
  monkeypatch.setattr(real, 'styled', lambda config: styles)
  found = study.run(experiment.STUDY, config, tmp_path / 'run')['tables']
  heads = {(row['judge'], row['state']) for row in found['real']}
  assert {
    (head, state)
    for head in config.real.heads
    for state in ('untrained', 'adapted')
  } | {('generative', 'written')} <= heads
  assert {row['data'] for row in found['real']} == {
    *('llmbar', 'bigbench_mistake', 'rm_bench')
  }
  adapted = [row for row in found['real_training'] if row['rate']]
  assert {row['steps'] for row in adapted} <= {0, 2}
  config.real.sizes.hidden_size = 32
  with pytest.raises(ValueError, match=r'real\.sizes are'):
    real.model_of(config)


def test_memory_of_large_variants_is_what_the_config_says():
  said = [(30.5, 17.2), (32.1, 19.7)]
  for sizes, (weights, states) in zip(
    reasoning_rewards.LARGE.values(), said, strict=True
  ):
    found = real.memory(decoder.DecoderConfig(**sizes), 2_400_000)
    assert found['weights'] == pytest.approx(weights, abs=0.06)
    assert found['states'] == pytest.approx(states, abs=0.06)


@pytest.mark.slow
def test_rows_of_real_data(real_data, private_cache):
  node = reasoning_rewards.get_config('real').real
  node.data_dir = str(real_data)
  node.most.update(outside=10, chains=30, pairs=50)
  found = {
    name: real_rows.read(name, node, tokenizer(), 0) for name in node.data
  }
  bar = found['llmbar']
  assert (len(bar.label), bar.tested.sum()) == (429, 419)
  assert all(len(item.responses) == 2 for item in bar.items)
  chains = found['bigbench_mistake']
  assert set(chains.label) == {0, 1}
  fao = found['llmfao']
  strict = fao.label != 0.5
  for label in fao.people.judges.values():
    agreed = np.mean(label[strict] == fao.label[strict])
    ties = np.mean(label[strict] == 0.5)
    assert agreed + ties / 2 > 0.5
  votes = np.zeros(50)
  for row, label in zip(fao.people.row, fao.people.label, strict=True):
    votes[row] += 2 * label - 1
  np.testing.assert_array_equal(fao.label, (np.sign(votes) + 1) / 2)
