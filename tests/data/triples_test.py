"""Triples: who may be whose negative, and what is left out."""

import numpy as np
import pytest

from prm_jax.data import load, schema, triples
from prm_jax.data.builders import table

PROMPTS = 7


def outputs(cells, prompts=PROMPTS):
  """Returns outputs of {policy: [its texts to prompt 0, to prompt 1, ...]}."""
  rows = [
    (p, q, text)
    for p, answers in enumerate(cells.values())
    for q, texts in enumerate(answers)
    for text in texts
  ]
  names = [f'p{q}' for q in range(prompts)]
  return schema.PolicyOutputs(
    texts=[text for *_, text in rows],
    item_prompt=np.array([q for _, q, _ in rows], np.int32),
    prompts=names,
    prompt_ids=names,
    topics=names,
    policies=list(cells),
    item_policy=np.array([p for p, *_ in rows], np.int32),
    judge=np.full(len(rows), np.nan, np.float32),
  )


def answers(name, samples=1):
  return [[f'{name}{q}.{s}' for s in range(samples)] for q in range(PROMPTS)]


ONE = outputs({name: answers(name) for name in 'abcde'})
MANY = outputs({name: answers(name, 3) for name in 'abc'})


def drawn(table_, **options):
  defaults = {
    'policies': range(len(table_.policies)),
    'prompts': range(len(table_.prompts)),
    'per_policy': 400,
    'seed': 0,
  }
  return triples.draw(table_, **{**defaults, **options})


def check(table_, found):
  """Asserts what holds of all triples; returns prompts and texts."""
  prompt = [table_.item_prompt[rows] for rows in found[:3]]
  writer = [table_.item_policy[rows] for rows in found[:3]]
  assert all(column.dtype == np.int32 for column in found)
  np.testing.assert_array_equal(writer[0], found.policy)
  np.testing.assert_array_equal(writer[1], found.policy)
  np.testing.assert_array_equal(writer[2], found.other)
  np.testing.assert_array_equal(prompt[1], prompt[2])
  assert (found.other != found.policy).all()
  texts = np.array(table_.texts)
  return prompt, [texts[rows] for rows in found[:3]]


def test_two_prompts():
  found = drawn(ONE, policies=[0, 1, 3], prompts=[1, 2, 4, 6], per_policy=300)
  (reference, positive, _), _ = check(ONE, found)
  assert (reference != positive).all()
  assert set(reference) == set(positive) == {1, 2, 4, 6}
  assert set(found.other) == {0, 1, 3}
  np.testing.assert_array_equal(np.bincount(found.policy), [300, 300, 0, 300])
  for policy in (0, 1, 3):
    rows = found.policy == policy
    assert (np.bincount(positive[rows])[[1, 2, 4, 6]] == 75).all()
    others = np.bincount(found.other[rows], minlength=5)
    assert sorted(others)[-2] > 120  # of 300, two are uniform
    assert sorted(others)[2] == 0


def test_two_samples_of_one_prompt():
  found = drawn(MANY, same_prompt=True)
  prompt, texts = check(MANY, found)
  np.testing.assert_array_equal(prompt[0], prompt[1])
  assert (texts[0] != texts[1]).all()
  assert set(found.positive) == set(found.reference) == set(found.negative)
  np.testing.assert_array_equal(np.bincount(found.policy), [400] * 3)


def test_negatives_are_uniform_over_policies_not_samples():
  cells = {'a': answers('a', 2), 'b': answers('b', 9), 'c': answers('c')}
  table_ = outputs(cells)
  found = drawn(table_, references=[0], per_policy=4000, same_prompt=True)
  check(table_, found)
  assert abs((found.other == 1).mean() - 0.5) < 0.04
  rows = np.bincount(found.negative[found.other == 1], minlength=80)
  assert (rows > 0).sum() == 9 * PROMPTS
  found = drawn(table_, per_policy=70)  # and without
  check(table_, found)
  np.testing.assert_array_equal(np.bincount(found.policy), [70] * 3)


def test_the_seed_decides():
  first, again, other = (drawn(ONE, seed=seed) for seed in (3, 3, 4))
  for one, two in zip(first, again, strict=True):
    np.testing.assert_array_equal(one, two)
  assert (first.negative != other.negative).any()


def test_held_out_policies_and_prompts_do_not_occur():
  fit = drawn(ONE, policies=[0, 1, 2], prompts=[0, 1, 2])
  held = drawn(ONE, policies=[3, 4], prompts=[3, 4, 5, 6])
  assert not np.intersect1d(np.stack(fit[:3]), np.stack(held[:3])).size


def test_two_servings_are_not_each_others_negatives():
  found = drawn(ONE, same=[('b', 'a'), ('d', 'e')])
  check(ONE, found)
  pairs = set(zip(found.policy.tolist(), found.other.tolist(), strict=True))
  assert not pairs & {(0, 1), (1, 0), (3, 4), (4, 3)}
  assert len(pairs) == 5 * 4 - 4


def test_an_equal_answer_is_no_negative():
  b = answers('b')
  for q in range(1, PROMPTS):
    b[q] = [f' a{q}.0\n']  # but for white space, a's
  table_ = outputs({'a': answers('a'), 'b': b})
  found = drawn(table_)
  prompt, texts = check(table_, found)
  assert set(prompt[1]) == {0}  # the only one they answer differently
  assert len(found.policy) == 800
  found = drawn(table_, keep_identical=True)
  prompt, texts = check(table_, found)
  assert set(prompt[1]) == set(range(PROMPTS))
  same = np.char.strip(texts[1]) == np.char.strip(texts[2])
  assert abs(same.mean() - 6 / 7) < 0.01


def test_policies_that_answer_alike_have_no_negative():
  table_ = outputs({'a': answers('a', 2), 'b': answers('a', 2)})
  message = 'a has no possible negative: no other policy'
  with pytest.raises(ValueError, match=message):
    drawn(outputs({'a': answers('a'), 'b': answers('a')}))
  with pytest.raises(ValueError, match='a has no possible negative in any row'):
    drawn(table_, same_prompt=True)
  found = drawn(table_, same_prompt=True, keep_identical=True)
  # At chance: the negative is the positive as often as the reference.
  texts = check(table_, found)[1]
  assert abs((texts[2] == texts[1]).mean() - 0.5) < 0.06
  assert abs((texts[2] == texts[0]).mean() - 0.5) < 0.06


def test_two_equal_samples_are_not_two():
  a = [['same', 'same'] for _ in range(PROMPTS)]
  a[2] = ['same', 'same', 'other']
  table_ = outputs({'a': a, 'b': answers('b', 2)})
  found = drawn(table_, same_prompt=True)
  prompt, texts = check(table_, found)
  assert set(prompt[0][found.policy == 0]) == {2}
  assert (texts[0] != texts[1]).all()


def test_lengths_are_matched():
  rng = np.random.default_rng(0)
  cells = {
    name: [[name * n] for n in rng.integers(20, 60, 200)] for name in 'abcd'
  }
  table_ = outputs(cells, 200)
  plain = drawn(table_)
  found = drawn(table_, length_matched=True)
  prompt, texts = check(table_, found)
  length = [np.char.str_len(column) for column in texts]
  distance = abs(np.log(length[1] / length[2]))
  assert distance.max() <= 0.1
  assert 100 < len(distance) < 1600  # some are left out
  all_lengths = np.array([[len(t[0]) for t in cells[n]] for n in cells])
  want = abs(np.log(all_lengths[:, prompt[1]] / length[1]))
  want[found.policy, np.arange(len(distance))] = np.inf
  np.testing.assert_allclose(distance, want.min(0), atol=1e-12)
  # The other rows are those of the draw that is not matched.
  before = set(zip(*(c.tolist() for c in plain[:2]), strict=True))
  assert set(zip(*(c.tolist() for c in found[:2]), strict=True)) < before


def test_equally_long_negatives_take_turns():
  found = drawn(ONE, length_matched=True)
  check(ONE, found)
  assert len(found.policy) == 2000
  assert np.bincount(found.other[found.policy == 4])[:4].min() > 60


def test_answers_that_are_missing():
  b = [[] for _ in range(PROMPTS)]
  b[2], b[5] = ['b2'], ['b5']
  table_ = outputs({'a': answers('a'), 'b': b})
  found = drawn(table_)
  prompt, _ = check(table_, found)
  assert set(prompt[1]) == {2, 5}
  assert set(prompt[0][found.policy == 0]) == set(range(PROMPTS))
  with pytest.raises(ValueError, match='b answers fewer than two of the promp'):
    drawn(table_, prompts=[0, 1, 2])


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'same_prompt': True}, 'a has no two samples for any prompt'),
    ({'policies': [0]}, 'a has no possible negative'),
    ({'policies': [0, 5]}, r'policies: not all indices are in \[0, 5\)'),
    ({'policies': []}, 'policies: expected at least one index'),
    ({'policies': [0.5, 1]}, 'policies: expected at least one index'),
    ({'prompts': [1, 1]}, 'prompts: an index occurs twice'),
    ({'prompts': [-1, 1]}, 'prompts: not all indices'),
    ({'prompts': [1]}, 'a answers fewer than two of the prompts'),
    ({'per_policy': 0}, 'per_policy: 0 is less than 1'),
    ({'same': [('a', 'x')]}, "same: 'x' is none of the policies"),
    ({'policies': [0, 1], 'references': [2]}, 'references: not all of them'),
  ],
)
def test_faults_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    drawn(ONE, **options)


def test_no_negative_of_the_length_is_said():
  b = [['b' * 50] for _ in range(PROMPTS)]
  table_ = outputs({'a': answers('a'), 'b': b})
  with pytest.raises(ValueError, match='a has no possible negative of its len'):
    drawn(table_, length_matched=True)


def test_second_servings():
  options = {'prompts': range(1, PROMPTS), 'others': [1, 3, 4], 'seed': 1}
  found = triples.second_servings(ONE, ('c', 'a'), per_prompt=2, **options)
  prompt = [ONE.item_prompt[rows] for rows in found[:3]]
  for column in prompt:
    np.testing.assert_array_equal(column, np.repeat(range(1, PROMPTS), 2))
  np.testing.assert_array_equal(found.policy, 2)
  assert set(ONE.item_policy[found.reference]) == {2}
  assert set(ONE.item_policy[found.positive]) == {0}
  np.testing.assert_array_equal(ONE.item_policy[found.negative], found.other)
  assert set(found.other) == {1, 3, 4}
  assert (found.other[::2] != found.other[1::2]).all()
  found = triples.second_servings(ONE, ('c', 'a'), per_prompt=9, **options)
  assert len(found.policy) == 6 * 3  # as many as there are


def test_servings_that_answer_alike_are_left_out():
  a = answers('a')
  a[0], a[1], a[2] = ['b0.0'], ['c1.0'], []
  table_ = outputs({'a': a, 'b': answers('b'), 'c': answers('c')})
  options = {'others': [2], 'seed': 0}
  found = triples.second_servings(
    table_, ('a', 'b'), prompts=range(PROMPTS), **options
  )
  assert set(table_.item_prompt[found.positive]) == {3, 4, 5, 6}
  with pytest.raises(ValueError, match='answer no prompt both and differently'):
    triples.second_servings(table_, ('a', 'b'), prompts=[0, 2], **options)
  with pytest.raises(ValueError, match='must be two policies, not among'):
    triples.second_servings(table_, ('a', 'c'), prompts=[0, 3], **options)
  with pytest.raises(ValueError, match="pair: 'x' is none of the policies"):
    triples.second_servings(table_, ('a', 'x'), prompts=[0, 3], **options)


def test_families_and_folds():
  names = ['gpt4_0613', 'phi-2', 'mine', 'text_davinci_003', 'phi-2-dpo', 'my']
  np.testing.assert_array_equal(triples.families(names), [0, 1, 2, 0, 1, 3])
  for seed in range(5):
    fold = triples.folds(names, 3, seed)
    assert fold[0] == fold[3]
    assert fold[1] == fold[4]
    assert sorted(np.bincount(fold)) == [2, 2, 2]
  assert any((triples.folds(names, 3, seed) != fold).any() for seed in range(5))
  with pytest.raises(ValueError, match='4 families do not make 5 folds'):
    triples.folds(names, 5, 0)
  with pytest.raises(ValueError, match='count: 0 is less than 1'):
    triples.folds(names, 0, 0)


def test_rows_are_taken_and_joined():
  found = drawn(ONE)
  some = found.take(found.policy == 2)
  assert set(some.policy) == {2}
  both = triples.joined(some, found.take(np.arange(3)))
  np.testing.assert_array_equal(
    both.items, np.concatenate([some.items, found.items[:3]])
  )
  np.testing.assert_array_equal(
    found.items[5], [found.positive[5], found.negative[5], found.reference[5]]
  )


def test_policies_and_prompts_are_held_out_together():
  names = ['claude', 'bedrock_claude', 'phi-2', 'mine', 'other', 'more']
  made = outputs({name: answers(name) for name in names})
  held = [triples.split(made, fold, 2) for fold in range(2)]
  for one in held:
    assert not set(one.train) & set(one.test)
    assert not set(one.train_prompts) & set(one.test_prompts)
    assert sorted([*one.train_prompts, *one.test_prompts]) == list(range(7))
    # Variants of one model are on one side.
    assert len({0, 1} & set(one.test)) in (0, 2)
    seen = triples.some(made, one.trains(made))
    assert set(seen.item_policy) == set(one.train)
    assert set(seen.item_prompt) == set(one.train_prompts)
    for inner in triples.inner_splits(made, one, 2):
      assert sorted([*inner.train, *inner.test]) == one.train.tolist()
      prompts = [*inner.train_prompts, *inner.test_prompts]
      assert sorted(prompts) == one.train_prompts.tolist()
      assert len(inner.test)
      assert len(inner.test_prompts)
  assert sorted([*held[0].test, *held[1].test]) == list(range(6))
  some = triples.some(made, made.item_prompt > 0)
  assert [made.texts[i] for i in np.flatnonzero(made.item_prompt > 0)] == (
    some.texts
  )
  part = triples.split(some, 0, 2, without=('mine',))
  assert 0 not in {*part.train_prompts, *part.test_prompts}
  assert 3 not in {*part.train, *part.test}


def test_real_families(real_data):
  folder = real_data / 'alpaca_eval' / 'outputs'
  names = sorted(p.name.removesuffix('.jsonl.gz') for p in folder.iterdir())
  assert len(names) == 52
  size = dict(zip(names, triples.families(names), strict=True))
  assert size['claude'] == size['bedrock_claude']
  assert size['Llama-3-Instruct-8B-SimPO'] == size['Meta-Llama-3-8B-Instruct']
  assert size['llama-2-7b-chat-hf'] != size['Meta-Llama-3-8B-Instruct']
  assert len(set(size.values())) == 25
  assert np.bincount(triples.families(names)).max() == 8
  for seed in range(3):
    fold = triples.folds(names, 4, seed)
    np.testing.assert_array_equal(np.bincount(fold), [13] * 4)
    assert all(len({*fold[triples.families(names) == f]}) == 1 for f in (0, 1))


@pytest.fixture
def servings(real_data):
  """Outputs of three policies, two of which serve one model."""
  rows = []
  names = ('bedrock_claude', 'claude', 'phi-2')
  for number, name in enumerate(names):
    path = real_data / 'alpaca_eval' / 'outputs' / f'{name}.jsonl.gz'
    for row in table.json_rows(path, {'i': int, 'output': str}):
      rows.append((number, row['i'], row['output']))
  policy, prompt, texts = zip(*rows, strict=True)
  prompts = [str(i) for i in range(805)]
  return schema.PolicyOutputs(
    texts=list(texts),
    item_prompt=np.array(prompt, np.int32),
    prompts=prompts,
    prompt_ids=prompts,
    topics=prompts,
    policies=list(names),
    item_policy=np.array(policy, np.int32),
    judge=np.full(len(texts), np.nan, np.float32),
  )


def test_real_servings(servings):
  found = drawn(servings, same=triples.SERVINGS)
  _, texts = check(servings, found)
  assert (texts[1] != texts[2]).all()
  assert set(found.other[found.policy < 2]) == {2}
  second = triples.second_servings(
    servings, triples.SERVINGS[0], prompts=range(805), others=[2], seed=0
  )
  assert 700 < len(second.policy) <= 803


def test_real_samples(real_data, private_cache):
  samples = load.math_samples(real_data)
  with pytest.raises(ValueError, match='written by people has no two samples'):
    drawn(samples, same_prompt=True)
  found = drawn(samples, references=[0], same_prompt=True)
  _, texts = check(samples, found)
  assert len(found.policy) == 400
  assert set(found.other) == {1}
  assert (texts[0] != texts[1]).all()
