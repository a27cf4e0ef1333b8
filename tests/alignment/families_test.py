import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from prm_jax.alignment import families
from prm_jax.models import decoder, language_model, lora, sampling

CONFIG = decoder.DecoderConfig(40, 16, 24, 2, 4, 2, 4)
KEY = jax.random.key(5)
PROMPTS = ['w1 w2', 'w3']


@pytest.fixture(autouse=True, scope='module')
def _compiled_quickly():
  """Compiling the sampler is most of these tests: a third of it is spared."""
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


INIT = jax.jit(decoder.Decoder(CONFIG).init)


def tiny(seed=0):
  words = [f'w{i}' for i in range(37)]
  vocabulary = {
    name: i for i, name in enumerate(['[UNK]', '<stop>', 'told', *words])
  }
  tokenizer = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(vocabulary, '[UNK]')
  )
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  ids = jnp.ones((1, 3), jnp.int32)
  params = INIT(jax.random.key(seed), ids, ids, decoder.attended(ids))
  return language_model.LanguageModel(CONFIG, params, tokenizer, 'tiny')


MODEL = tiny()


def write(family, prompts=PROMPTS, key=KEY, model=MODEL, **settings):
  return families.trajectories(
    key,
    model,
    family,
    prompts,
    template=lambda p, s: f'{s} {p}',
    stop=['<stop>'],
    **{'samples': 2, 'max_new_tokens': 4, **settings},
  )


@pytest.fixture
def calls(monkeypatch):
  """Counts the batches that are written, by their number of prompts."""
  found, write = [], sampling.write

  def counted(key, model, prompts, **settings):
    found.append(len(prompts))
    return write(key, model, prompts, **settings)

  monkeypatch.setattr(sampling, 'write', counted)
  return found


# ------------------------------------------------------------------- families


def test_a_mixed_family_differs_in_every_way():
  options = {
    'temperatures': (0.5,),
    'top_k': (5, 50),
    'systems': {'a': 'told'},
    'names': ('plain', 'again'),
    'temperature': 0.8,
  }
  found = families.mixed(
    KEY,
    MODEL,
    steered=[(0, 0.5, 1), (1, 0.5, 2)],
    adapted=[(0.1, 2)],
    rank=2,
    **options,
  )
  names = [policy.name for policy in found]
  assert len(set(names)) == len(names) == 2 + 1 + 2 + 3 + 2
  assert [policy.temperature for policy in found] == [0.5] * 2 + [0.8] * 8
  assert names[3:5] == ['plain', 'again']
  norms = families.hidden_norms(MODEL, ['The answer is as follows.'])
  for policy, layer in zip(found[5:8], (0, 1, 1), strict=True):
    length = np.linalg.norm(policy.steering, axis=1)
    assert length[layer] == pytest.approx(0.5 * norms[layer], rel=1e-4)
    assert length[1 - layer] == 0
  for policy in found[8:]:
    assert set(policy.adapters) == set(lora.kernels(MODEL.params))
  assert len(families.mixed(KEY, MODEL, **options)) == 5


def test_families_of_settings():
  decoding = families.by_decoding([0.5, 1.0], top_k=(0, 50))
  assert [(p.temperature, p.top_p, p.top_k) for p in decoding] == [
    (0.5, 0.9, 0),
    (0.5, 0.9, 50),
    (1.0, 0.9, 0),
    (1.0, 0.9, 50),
  ]
  assert len({p.name for p in decoding}) == 4
  told = families.by_system({'a': 'told', 'none': ''}, temperature=0.0)
  assert [(p.name, p.system, p.temperature) for p in told] == [
    ('system=a', 'told', 0.0),
    ('system=none', '', 0.0),
  ]


def test_steering_has_its_length_in_its_layer():
  family = families.by_steering(KEY, CONFIG, 3, layer=1, size=0.5, norm=8.0)
  for policy in family:
    assert not policy.steering[0].any()
    assert np.linalg.norm(policy.steering[1]) == pytest.approx(4.0, rel=1e-5)
  assert np.abs(family[0].steering - family[1].steering).max() > 0.1
  with pytest.raises(ValueError, match='from 0 to 1'):
    families.by_steering(KEY, CONFIG, 1, layer=2, size=0.5)


def test_adapters_change_kernels_by_their_size():
  family = families.by_adapters(
    KEY, MODEL.params, 2, rank=3, size=0.2, targets=('query', 'down')
  )
  assert set(family[0].adapters) == {'query', 'down'}
  for policy in family:
    merged = lora.kernels(lora.merge(MODEL.params, policy.adapters))
    for name, kernel in lora.kernels(MODEL.params).items():
      change = np.asarray(merged[name] - kernel)
      size = np.linalg.norm(change, axis=(1, 2))
      expected = 0.2 if name in policy.adapters else 0.0
      np.testing.assert_allclose(
        size / np.linalg.norm(kernel, axis=(1, 2)), expected, rtol=1e-3
      )
  first, second = (policy.adapters['query'].a for policy in family)
  assert (first != second).any()


def test_hidden_norms_are_medians_of_all_but_first_tokens():
  texts = ['w1 w2 w3', 'w4 w5 w6']
  found = families.hidden_norms(MODEL, texts)
  norms = []
  apply = jax.jit(decoder.Decoder(CONFIG).apply, static_argnames='collect')
  for text in texts:
    ids = jnp.array([MODEL.tokenizer.encode(text).ids])
    layers = apply(
      MODEL.params,
      ids,
      jnp.arange(ids.size)[None],
      decoder.attended(jnp.ones_like(ids)),
      collect=True,
    ).layers
    norms.append(np.linalg.norm(layers[1:, 0, 1:], axis=-1))
  expected = np.median(np.concatenate(norms, 1), 1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
  'settings', [{'temperature': -1}, {'top_p': 0}, {'top_p': 2}, {'top_k': -1}]
)
def test_impossible_settings_are_refused(settings):
  with pytest.raises(ValueError, match='p: '):
    families.Policy('p', **settings)


# --------------------------------------------------------------- trajectories


def test_every_policy_writes_to_every_prompt(calls):
  steered = families.by_steering(KEY, CONFIG, 1, layer=0, size=50.0)
  told = families.by_system({'told': 'told'}, temperature=0.0)
  other = families.by_checkpoints({'other': tiny(1).params}, temperature=0.0)
  adapted = families.by_adapters(
    KEY, MODEL.params, 1, rank=2, size=3.0, temperature=0.0
  )
  plain = [families.Policy('hot', 1.5), families.Policy('cold', 0.0)]
  family = [plain[0], *steered, *told, *other, *adapted, plain[1]]
  found = write(family)
  assert calls == [16, 4, 4]  # shared weights, then a checkpoint, an adapter
  assert len(found.texts) == len(found.finished) == 24
  assert found.item_policy.tolist() == [m for m in range(6) for _ in range(4)]
  assert found.item_prompt.tolist() == [0, 0, 1, 1] * 6
  assert found.policies == [policy.name for policy in family]
  texts = np.array(found.texts).reshape(6, 2, 2)
  for greedy in (2, 3, 4, 5):
    assert (texts[greedy, :, 0] == texts[greedy, :, 1]).all()
  assert (texts[0, :, 0] != texts[0, :, 1]).any()
  assert len({tuple(text.ravel()) for text in texts}) == 6
  # Every policy writes the same without the others.
  alone = [write([policy], samples=2).texts for policy in (family[0], other[0])]
  assert alone == [texts[0].ravel().tolist(), texts[3].ravel().tolist()]
  merged = MODEL._replace(params=lora.merge(MODEL.params, adapted[0].adapters))
  merged = write([families.Policy('cold', 0.0)], model=merged)
  assert merged.texts == texts[4].ravel().tolist()


def test_equal_policies_have_equal_distributions_and_their_own_noise():
  family = [families.Policy(name, top_p=1.0, top_k=0) for name in 'ab']
  found = write(family, ['w1'], samples=400, max_new_tokens=1, batch=1024)
  counts = np.zeros((2, 38))
  for text, policy in zip(found.texts, found.item_policy, strict=True):
    counts[policy, int(text[1:]) if text.startswith('w') else 37] += 1
  assert (counts[0] != counts[1]).any()
  common = counts.sum(0) > 10
  difference = (counts[0] - counts[1])[common] ** 2 / counts.sum(0)[common]
  degrees = common.sum()
  assert difference.sum() < degrees + 4 * (2 * degrees) ** 0.5
  half = len(found.texts) // 2
  assert found.texts[:half] != found.texts[half:]


def test_finished_chunks_are_not_written_again(tmp_path, calls):
  family = [families.Policy('hot', 1.5), families.Policy('cold', 0.1)]
  first = write(family, folder=tmp_path, batch=4)
  assert calls == [4, 4]
  files = sorted(tmp_path.iterdir())
  assert len(files) == 2
  again = write(family, folder=tmp_path, batch=4)
  assert calls == [4, 4]
  assert again.texts == first.texts
  np.testing.assert_array_equal(again.finished, first.finished)
  files[0].unlink()
  assert write(family, folder=tmp_path, batch=4).texts == first.texts
  assert calls == [4, 4, 4]
  assert sorted(tmp_path.iterdir()) == files
  assert write(family, batch=4).texts == first.texts


def test_a_chunks_name_hashes_all_it_depends_on(tmp_path, monkeypatch):
  def empty(key, model, prompts, **settings):
    n = len(prompts)
    return sampling.Written([''] * n, np.ones(n, bool), np.zeros(n, np.int32))

  monkeypatch.setattr(sampling, 'write', empty)
  plain = families.Policy('p')
  steered = families.by_steering(KEY, CONFIG, 1, layer=0, size=1.0)[0].steering
  adapters = families.by_adapters(KEY, MODEL.params, 1, rank=1, size=0.1)
  changes = [
    {},
    {'family': [families.Policy('q')]},
    {'key': jax.random.key(6)},
    {'model': tiny(1)},
    {'prompts': ['w1 w2', 'w4']},
    {'samples': 3},
    {'max_new_tokens': 5},
    {'dtype': jnp.bfloat16},
    *(
      {'family': [families.Policy('p', **change)]}
      for change in (
        {'temperature': 0.9},
        {'top_p': 0.8},
        {'top_k': 4},
        {'system': 'w9'},
        {'steering': steered},
        {'adapters': adapters[0].adapters},
      )
    ),
  ]
  for number, change in enumerate(changes, 1):
    write(**{'family': [plain], 'folder': tmp_path, **change})
    assert len(list(tmp_path.iterdir())) == number, change
  # Other weights that are the model's own are the same weights.
  copy = jax.tree.map(jnp.array, MODEL.params)
  write([families.Policy('p', params=copy)], folder=tmp_path)
  assert len(list(tmp_path.iterdir())) == len(changes)


@pytest.mark.parametrize(
  'damage',
  [
    '{"texts": ["a"',
    '[]',
    json.dumps({'texts': ['a'] * 4}),
    json.dumps({'texts': ['a'] * 3, 'finished': [True] * 3}),
    json.dumps({'texts': ['a'] * 4, 'finished': [1] * 4}),
  ],
)
def test_a_damaged_chunk_is_named(tmp_path, monkeypatch, damage):
  monkeypatch.setattr(
    sampling,
    'write',
    lambda *_, **__: sampling.Written([''] * 4, np.ones(4, bool), np.ones(4)),
  )
  write([families.Policy('p')], folder=tmp_path)
  (path,) = tmp_path.iterdir()
  path.write_text(damage)
  with pytest.raises(ValueError, match=f'{path.name} is damaged'):
    write([families.Policy('p')], folder=tmp_path)


def test_what_repeats_or_does_not_fit_is_refused():
  plain = families.Policy('p')
  with pytest.raises(ValueError, match=r"policies repeat: \['p'\]"):
    write([plain, plain])
  with pytest.raises(ValueError, match='prompts repeat'):
    write([plain], ['w1', 'w1'])
  with pytest.raises(ValueError, match='steering is'):
    write([families.Policy('p', steering=np.zeros((3, 16)))])


# ----------------------------------------------------------------------- tidy


@pytest.mark.parametrize(
  ('text', 'finished', 'expected'),
  [
    (' All done', True, 'All done'),
    ('One. Two is cut', False, 'One.'),
    ('He said "no." Then', False, 'He said "no."'),
    ('One! Two?', False, 'One! Two?'),
    ('No end here', False, 'No end here'),
    ('Fruit:\n1. apples\n2. oran', False, 'Fruit:\n1. apples'),
    ('It costs 3.50 and', False, 'It costs 3.50 and'),
    ('So very very very', True, 'So very very very'),
    ('So very very very very', True, 'So very very'),
    ('So very very very very ve', False, 'So very very'),
    ('A b. ' + 'I see it. ' * 5 + 'I s', False, 'A b. I see it. I see it.'),
    ('no no no no. ' * 4, True, 'no no no no. no no no no.'),
    ('x x x x then y', True, 'x x x x then y'),
    ('', False, ''),
  ],
)
def test_tidy(text, finished, expected):
  assert families.tidy(text, finished) == expected
