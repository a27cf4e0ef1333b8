import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from prm_jax.models import embeddings, tokenizers

TEXTS = ['the cat sat.', 'a dog ran! very good dog?', 'old mat', 'the cat sat.']


@pytest.fixture
def loaded(tiny):
  return embeddings.Encoder.load(tiny)


def embed(texts, loaded, folder, **options):
  options = {'layers': (1, 2), **options}
  return embeddings.embed(texts, loaded, cache_dir=folder, **options)


def test_rows_follow_the_texts(loaded, tmp_path):
  found = embed(TEXTS, loaded, tmp_path)
  assert found.shape == (4, 24)
  np.testing.assert_array_equal(found[0], found[3])
  alone = embed([TEXTS[1]], loaded, tmp_path / 'other')
  np.testing.assert_allclose(found[1], alone[0], atol=1e-5)
  assert embed([], loaded, tmp_path).shape == (0, 24)


def test_sentences_are_encoded_alone_and_summed(loaded, tmp_path):
  summed = embed([TEXTS[1]], loaded, tmp_path, unit='sentence')
  parts = embed(['a dog ran!', 'very good dog?'], loaded, tmp_path)
  np.testing.assert_allclose(summed[0], parts.sum(0), atol=1e-5)


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('One. Two!  Three?', ['One.', 'Two!', 'Three?']),
    ('He said "no." Then left', ['He said "no."', 'Then left']),
    ('a\n\nb', ['a', 'b']),
    ('pi is 3.14 now', ['pi is 3.14 now']),
    ('', ['']),
  ],
)
def test_sentence_splitting(text, parts):
  found = embeddings.sentences(text)
  assert [p.strip('"') for p in found] == [p.strip('"') for p in parts]


def test_interrupted_run_continues(loaded, tmp_path, monkeypatch):
  real, done = embeddings.encode_batches, []

  def interrupted(encoder, texts):
    for text in texts:
      if len(done) == 2:
        raise KeyboardInterrupt
      done.append(text)
      yield from real(encoder, [text])

  monkeypatch.setattr(embeddings, 'encode_batches', interrupted)
  with pytest.raises(KeyboardInterrupt):
    embed(TEXTS, loaded, tmp_path)
  encoded = []

  def counting(encoder, texts):
    encoded.extend(texts)
    return real(encoder, texts)

  monkeypatch.setattr(embeddings, 'encode_batches', counting)
  found = embed(TEXTS, loaded, tmp_path)
  assert len(encoded) == 1  # of three different texts, two were kept
  encoded.clear()
  np.testing.assert_array_equal(embed(TEXTS, loaded, tmp_path), found)
  assert not encoded


def test_damaged_shard_is_named(loaded, tmp_path):
  embed(TEXTS, loaded, tmp_path)
  (shard,) = tmp_path.rglob('*.npz')
  shard.write_bytes(shard.read_bytes()[:-100])
  with pytest.raises(ValueError, match=rf'{shard.name} is damaged'):
    embed(TEXTS, loaded, tmp_path)


def test_forgotten_texts_are_gone(loaded, tmp_path):
  embed(TEXTS, loaded, tmp_path)
  store = embeddings.Store(tmp_path, loaded)
  assert store.forget(['old mat', 'never seen']) == 1
  (shard,) = tmp_path.rglob('*.npz')
  with np.load(shard) as file:
    assert hashlib.sha256(b'old mat').hexdigest() not in file['sha256']
    assert len(file['sha256']) == 2


def test_bad_layers_and_units(loaded, tmp_path):
  with pytest.raises(ValueError, match=r'choose some of 0\.\.2'):
    embed(TEXTS, loaded, tmp_path, layers=(3,))
  with pytest.raises(ValueError, match="unit 'word'"):
    embed(TEXTS, loaded, tmp_path, unit='word')


def test_long_texts_are_truncated_and_counted(loaded, tmp_path, capsys):
  embed(['cat ' * 100], loaded, tmp_path)
  assert '1 of 1 texts truncated' in capsys.readouterr().out


def write(path, texts, features, **more):
  keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
  np.savez(path, **{'sha256': keys, 'features': features, **more})
  return path


def test_features_computed_elsewhere(tmp_path):
  features = np.arange(6.0).reshape(3, 2)
  path = write(tmp_path / 'f.npz', ['a', 'b', 'c'], features)
  found = embeddings.embed_from_file(['c', 'a'], path)
  np.testing.assert_array_equal(found, [[4, 5], [0, 1]])
  with pytest.raises(ValueError, match='1 of 2 texts are missing'):
    embeddings.embed_from_file(['a', 'z'], path)
  features[1, 1] = np.nan
  path = write(path, ['a', 'b', 'c'], features)
  with pytest.raises(ValueError, match='row 1 are not finite'):
    embeddings.embed_from_file(['a'], path)
  path = write(path, ['a'], features)
  with pytest.raises(ValueError, match='do not match'):
    embeddings.embed_from_file(['a'], path)
  np.savez(path, other=features)
  with pytest.raises(ValueError, match='expected an'):
    embeddings.embed_from_file(['a'], path)


def test_length_is_log_words():
  found = embeddings.text_length_features(['', 'one', 'a b c'])
  np.testing.assert_allclose(found[:, 0], np.log([1, 2, 4]), rtol=1e-6)


# ------------------------------------------------- faults that people reported


def test_a_text_that_spells_a_special_token_is_a_text(loaded, tmp_path):
  ids = tokenizers.encode(loaded.tokenizer, ['good [SEP] dog', '[PAD] dog'])[0]
  special = set(range(5)) - {1}  # what is not known, [UNK], may be there
  for text in ids:
    assert not special & set(text[1:-1])


def test_a_tokenizer_of_other_weights_is_refused(tiny):
  with (tiny / 'vocab.txt').open('a') as file:
    file.writelines(f'\nmore{n}' for n in range(100))
  with pytest.raises(ValueError, match='tokenizer does not match the weights'):
    embeddings.Encoder.load(tiny)


def test_weights_that_are_not_there_yet_are_named(tiny):
  (tiny / 'model.safetensors').write_text(
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440449\n'
  )
  with pytest.raises(ValueError, match='a Git LFS pointer'):
    embeddings.Encoder.load(tiny)


def test_norms_of_the_first_berts_are_read(loaded, tiny, tmp_path):
  new = embed(TEXTS, loaded, tmp_path / 'new')
  old = {
    name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
      'LayerNorm.bias', 'LayerNorm.beta'
    ): tensor
    for name, tensor in load_file(tiny / 'model.safetensors').items()
  }
  assert any('gamma' in name for name in old)
  save_file(old, tiny / 'model.safetensors')
  found = embed(TEXTS, embeddings.Encoder.load(tiny), tmp_path / 'old')
  np.testing.assert_array_equal(found, new)
