"""Files that Git LFS has not fetched are named, whichever they are."""

import re

import pytest

from prm_jax.models import encoder, tokenizers
from prm_jax.models.weights import gguf, huggingface, pointers, shards

POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n'


def decoder(path):
  huggingface.load_decoder(path.parent)


def tokenizer(path):
  tokenizers.load(path.parent, None)


@pytest.mark.parametrize(
  ('name', 'read'),
  [
    ('model.safetensors', decoder),
    ('model.safetensors', shards.read),
    ('model.safetensors.index.json', decoder),
    ('config.json', decoder),
    ('config.json', encoder.BertConfig.read),
    ('tokenizer.json', tokenizer),
    ('vocab.txt', tokenizer),
    ('model.gguf', gguf.load_decoder),
  ],
)
def test_pointers_are_named(name, read, tiny_decoder, tmp_path):
  huggingface.save_decoder(*tiny_decoder(), tmp_path)
  path = tmp_path / name
  pointers.refuse(path)  # another file, or none
  if name.endswith('.index.json'):
    (tmp_path / 'model.safetensors').unlink()
  path.write_text(POINTER)
  with pytest.raises(
    ValueError, match=rf'{re.escape(str(path))} is a Git LFS.*git lfs pull'
  ):
    read(path)
