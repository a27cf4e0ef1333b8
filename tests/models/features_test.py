"""How texts become columns, and come back from disk."""

import numpy as np
import pytest

from prm_jax.models import features, reduce, token_states
from tests import checkpoints

PROMPTS = [f'question {i % 3}' for i in range(12)]
TEXTS = [f'answer {i} ' + 'word ' * (i % 5) + '!' * (i % 2) for i in range(12)]


class Counted(features.Source):
  """Letters of each text, instead of an encoder."""

  name = 'encoder that counts'

  def __init__(self):
    super().__init__()
    self.seen = []

  def __call__(self, texts):
    self.seen += texts
    return np.array(
      [[text.count(c) for c in 'abeqworst 1'] for text in texts], float
    )

  def together(self, prompts, responses):
    return self([a + b for a, b in zip(prompts, responses, strict=True)])


@pytest.mark.parametrize('kind', features.KINDS)
def test_all_kinds_have_the_same_width_but_known_texts(kind):
  train = np.arange(8)
  reader = features.fit(kind, Counted(), PROMPTS, TEXTS, train, 9)
  found = reader(Counted(), PROMPTS, TEXTS)
  known = 8 if kind == 'known_texts' else 0
  assert found.shape == (12, 10 + known)
  assert reader.width == 10 + known
  assert np.isfinite(found).all()


@pytest.mark.parametrize('kind', features.KINDS)
def test_a_reader_comes_back_from_disk(kind, tmp_path):
  reader = features.fit(kind, Counted(), PROMPTS, TEXTS, np.arange(12), 9)
  reader.save(tmp_path / 'reader.npz')
  again = features.Reader.load(tmp_path / 'reader.npz')
  assert again.kind == kind
  np.testing.assert_array_equal(
    again(Counted(), PROMPTS, TEXTS), reader(Counted(), PROMPTS, TEXTS)
  )


def test_columns_are_of_training_texts_alone():
  one = features.fit('response', Counted(), PROMPTS, TEXTS, np.arange(8), 5)
  other = features.fit(
    'response',
    Counted(),
    PROMPTS,
    [*TEXTS[:8], *['z' * 99] * 4],
    np.arange(8),
    5,
  )
  np.testing.assert_array_equal(
    one(Counted(), PROMPTS[:2], TEXTS[:2]),
    other(Counted(), PROMPTS[:2], TEXTS[:2]),
  )


def test_a_prompt_changes_what_is_read_of_both_together():
  both = features.fit(
    'prompt_and_response', Counted(), PROMPTS, TEXTS, np.arange(12), 9
  )
  alone = features.fit('response', Counted(), PROMPTS, TEXTS, np.arange(12), 9)
  other = ['quite another question'] * 12
  assert (
    np.abs(
      both(Counted(), other, TEXTS) - both(Counted(), PROMPTS, TEXTS)
    ).max()
    > 0.1
  )
  np.testing.assert_array_equal(
    alone(Counted(), other, TEXTS), alone(Counted(), PROMPTS, TEXTS)
  )


def test_known_texts_have_a_column_each_and_new_ones_none():
  reader = features.fit(
    'known_texts', Counted(), PROMPTS, TEXTS, np.arange(12), 5
  )
  own = reader(Counted(), PROMPTS, TEXTS)[:, 6:]
  np.testing.assert_array_equal(own.sum(0), 1)
  np.testing.assert_array_equal(own.sum(1), 1)
  new = reader(Counted(), ['another prompt'], [TEXTS[0]])[:, 6:]
  assert not new.any()


def test_surface_reads_no_source():
  source = Counted()
  reader = features.fit('surface', source, PROMPTS, TEXTS, np.arange(12), 5)
  reader(source, PROMPTS, TEXTS)
  assert source.seen == []


def test_an_unknown_kind_and_another_width_are_named(tmp_path):
  with pytest.raises(ValueError, match="unknown features 'sound'"):
    features.fit('sound', Counted(), PROMPTS, TEXTS, np.arange(12), 5)
  reader = features.fit('response', Counted(), PROMPTS, TEXTS, np.arange(12), 5)
  keys = [features.embeddings._digest(text) for text in TEXTS]
  np.savez(tmp_path / 'own.npz', sha256=keys, features=np.ones((12, 3)))
  with pytest.raises(ValueError, match='has 3 features of a text'):
    reader(features.Source(own=tmp_path / 'own.npz'), PROMPTS, TEXTS)


# ------------------------------------------------- sets of a configuration


class Units(features.Source):
  """Letters of each text, times what is asked of the encoder."""

  def __call__(self, texts, unit='text', layers=(1,)):
    counts = [[text.count(c) for c in 'abeqworst 1'] for text in texts]
    whole = 1 if unit == 'text' else 2
    return np.tile(np.array(counts, float) * whole, (1, len(layers)))


def node(**more):
  return {
    'unit': 'text',
    'layers': (1, 3),
    'components': 4,
    'whiten': True,
    'length': False,
  } | more


def configured(texts=TEXTS, **nodes):
  train = np.arange(12) < 8
  made = features.configured(nodes, Units(), texts, train, PROMPTS)
  return {name: make() for name, make in made.items()}


def test_columns_of_configured_sets():
  made = configured(
    plain=node(),
    longer=node(length=True),
    asked=node(prompt_components=2),
    known={'unit': 'identity'},
  )
  widths = {name: columns.shape[1] for name, columns in made.items()}
  one = widths['length']
  assert widths == {
    'plain': 4,
    'longer': 4 + one,
    'asked': 6,
    'known': 12,
    'length': one,
  }
  np.testing.assert_array_equal(made['longer'][:, :4], made['plain'])
  np.testing.assert_array_equal(made['longer'][:, 4:], made['length'])
  np.testing.assert_array_equal(made['known'], np.eye(12))
  # Answers to one prompt have one description of it.
  np.testing.assert_array_equal(made['asked'][0, 4:], made['asked'][3, 4:])


def test_configured_sets_look_at_training_texts_alone():
  other = configured(
    texts=[*TEXTS[:8], *['z' * 99] * 4], plain=node(length=True)
  )
  np.testing.assert_array_equal(
    configured(plain=node(length=True))['plain'][:8], other['plain'][:8]
  )


def test_a_source_reads_a_text_once_for_each_unit_and_layers(monkeypatch):
  asked = []

  def embed(texts, encoder, *, layers, unit, cache_dir):
    asked.append((unit, layers))
    return np.zeros((len(texts), 2))

  monkeypatch.setattr(features.embeddings, 'embed', embed)
  monkeypatch.setattr(features.embeddings.Encoder, 'load', lambda folder: None)
  source = features.Source()
  for unit in ('text', 'sentence'):
    for layers in ((1,), (1, 2)):
      assert source(TEXTS, unit, layers) is source(TEXTS, unit, layers)
  assert asked == [
    ('text', (1,)),
    ('text', (1, 2)),
    ('sentence', (1,)),
    ('sentence', (1, 2)),
  ]


def test_a_set_of_a_decoders_states_stands_in_a_configuration(
  tmp_path, private_cache
):
  (tmp_path / 'model').mkdir()
  folder = checkpoints.write(tmp_path / 'model', ['tea', 'milk', 'hot', '.'])
  texts, train = ['tea hot .', 'milk . hot .', 'tea .'], np.ones(3, bool)
  node = {'unit': 'sentence', 'token': 'last', 'layers': (1,)}
  node |= {'components': 3, 'whiten': False, 'length': True}
  source = features.Source(backbone=folder)
  made = features.configured({'states': node}, source, texts, train, [''] * 3)
  table = made['states']()
  raw = source.read(texts, token_states.Reading('sentence', 'last', (1,)))
  want = reduce.principal_components(raw, train, 3, whiten=False)(raw)
  np.testing.assert_allclose(table[:, :3], want, atol=1e-5)
  np.testing.assert_allclose(table[:, 3:], made['length'](), atol=1e-6)


def test_a_backbone_that_reads_units_reads_no_prompt(tmp_path, private_cache):
  (tmp_path / 'model').mkdir()
  folder = checkpoints.write(tmp_path / 'model', ['tea', 'milk', 'hot', '.'])
  whole = features.Source(backbone=folder)
  source = features.Source(backbone=folder, reading='text:mean:2')
  one, other = (
    source.together([prompt], ['milk .']) for prompt in ('tea', 'hot hot')
  )
  np.testing.assert_array_equal(one, other)
  assert source.name.startswith('backbone ')
  assert source.name.endswith(' text:mean:2')
  assert source.name.split()[1] != whole.name.split()[1]
  with pytest.raises(ValueError, match='no sequence classifier computes'):
    _ = source.trunk
  with pytest.raises(ValueError, match='give its folder as backbone'):
    features.Source(reading='text:mean:2')
  with pytest.raises(ValueError, match='is no folder of a language model'):
    features.Source(backbone=tmp_path / 'none', reading='text:mean:2')
