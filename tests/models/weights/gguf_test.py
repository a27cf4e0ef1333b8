import gguf as package
import jax
import numpy as np
import pytest
from tokenizers import pre_tokenizers

from prm_jax.models.weights import gguf

WORDS = ['<|end|>', '<tool>', *sorted(pre_tokenizers.ByteLevel.alphabet())]
WORDS += ['Ġt', 'he', 'Ġthe', '12', 'xx']
MERGES = ['Ġ t', 'h e', 'Ġt he', '1 2']
TYPES = [3, 4, *[1] * (len(WORDS) - 2)]
QUERY = 'blk.1.attn_q.weight'
NAMES = {
  'embed': 'token_embd',
  'norm': 'output_norm',
  'head': 'output',
  'attention_norm': 'attn_norm',
  'mlp_norm': 'ffn_norm',
  'query': 'attn_q',
  'key': 'attn_k',
  'value': 'attn_v',
  'output': 'attn_output',
  'query_norm': 'attn_q_norm',
  'key_norm': 'attn_k_norm',
  'gate': 'ffn_gate',
  'up': 'ffn_up',
  'down': 'ffn_down',
}


def tensors(config, params, arch):
  """Parameters as llama.cpp's converter names and lays them out."""
  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    keys = [entry.key for entry in path[1:]]
    stacked, kind = keys[0] == 'layers', keys[-1]
    module = NAMES[keys[-2]]
    for index, value in enumerate(leaf if stacked else leaf[None]):
      value = value.T if kind == 'kernel' else value
      heads = {
        'attn_q': config.num_attention_heads,
        'attn_k': config.num_key_value_heads,
      }.get(module)
      if arch == 'llama' and heads:
        value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2)
        value = value.reshape(-1, value.shape[-1])
      prefix = f'blk.{index}.' if stacked else ''
      suffix = 'bias' if kind == 'bias' else 'weight'
      found[f'{prefix}{module}.{suffix}'] = np.ascontiguousarray(value)
  return found


def fields(config, arch):
  """The fields of a file, as NumPy scalars of their types."""
  found = {
    'block_count': config.num_hidden_layers,
    'context_length': config.max_position_embeddings,
    'embedding_length': config.hidden_size,
    'feed_forward_length': config.intermediate_size,
    'attention.head_count': config.num_attention_heads,
    'attention.head_count_kv': config.num_key_value_heads,
    'attention.key_length': config.head_dim,
    'attention.value_length': config.head_dim,
    'rope.dimension_count': config.head_dim,
    'rope.freq_base': float(config.rope_theta),
    'attention.layer_norm_rms_epsilon': float(config.rms_norm_eps),
  }
  found = {f'{arch}.{name}': value for name, value in found.items()}
  return found | {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'smollm',
    'tokenizer.ggml.tokens': WORDS,
    'tokenizer.ggml.token_type': TYPES,
    'tokenizer.ggml.merges': MERGES,
  }


@pytest.fixture
def write(tmp_path, tiny_decoder):
  """A function that writes a tiny file and returns it and what is in it."""

  def make(kind='llama', change=None, change_tensors=None, quantised=()):
    arch = kind.split(',')[0]
    config, params = tiny_decoder(kind)
    arch_written = (change or {}).get('general.architecture', arch)
    writer = package.GGUFWriter(tmp_path / 'tiny.gguf', arch_written)
    known = {**fields(config, arch), **(change or {})}
    for name, value in known.items():
      if value is None or name == 'general.architecture':
        continue
      add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        str: writer.add_string,
        float: writer.add_float32,
        list: writer.add_array,
      }[type(value)]
      add(name, value)
    known = {**tensors(config, params, arch), **(change_tensors or {})}
    for name, value in known.items():
      quantisation = dict(quantised).get(name)
      if quantisation is not None:
        value = package.quantize(value, quantisation)
        writer.add_tensor(name, value, raw_dtype=quantisation)
      elif value is not None:
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / 'tiny.gguf', config, params

  return make


@pytest.mark.parametrize('kind', ['llama', 'llama, untied', 'qwen2', 'qwen3'])
def test_parameters_come_back(write, kind):
  path, config, params = write(kind)
  found_config, found = gguf.load_decoder(path)
  assert found_config == config
  jax.tree.map(np.testing.assert_array_equal, found, params)
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize('name', ['F16', 'BF16', 'Q8_0', 'Q4_1', 'Q5_0'])
def test_quantised_tensors_are_dequantised(write, name):
  kind = package.GGMLQuantizationType[name]
  path, _, params = write(quantised={'blk.1.ffn_up.weight': kind})
  _, found = gguf.load_decoder(path)
  layer = found['params']['layers']['layer']['up']['kernel']
  want = params['params']['layers']['layer']['up']['kernel']
  np.testing.assert_array_equal(layer[0], want[0])
  packed = package.quantize(np.ascontiguousarray(want[1].T), kind)
  np.testing.assert_array_equal(layer[1].T, package.dequantize(packed, kind))
  assert 0 < np.abs(layer[1] - want[1]).max() < 0.1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'general.architecture': 'gemma'}, "general.architecture is 'gemma'"),
    ({'llama.block_count': None}, r'tiny\.gguf: llama\.block_count is missing'),
    ({'llama.block_count': 3}, r'blk\.2\.\w+\.weight is missing'),
    ({'llama.block_count': 1}, r'does not use the tensors blk\.1\.'),
    ({'llama.block_count': 2.0}, 'llama.block_count is float, not int'),
    ({'llama.embedding_length': 64}, r'weight is \(\S+ 32\), its fields say'),
    ({'llama.attention.head_count': 3}, '3 query heads are no multiple of 2'),
    ({'llama.rope.freq_base': 0.0}, r'rope\.freq_base is 0\.0, not above 0'),
    ({'llama.rope.dimension_count': 4}, 'dimension_count is 4, and only'),
    ({'llama.rope.scaling.type': 'yarn'}, r"scaling\.type is 'yarn'"),
    ({'llama.rope.scaling.factor': 4.0}, r'scaling\.factor \(4\.0\) is not a'),
    ({'llama.expert_count': 8}, r'llama\.expert_count \(8\) is not a field'),
    ({'llama.vocab_size': 271}, r'token_embd\.weight is \(270, 32\)'),
    ({'general.alignment': 0}, 'general.alignment is 0'),
  ],
)
def test_fields_that_do_not_fit_are_named(write, change, message):
  path, *_ = write(change=change)
  with pytest.raises(ValueError, match=message):
    gguf.load_decoder(path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({QUERY: None}, f'tensor {QUERY} is missing'),
    ({'token_embd.weight': None}, r'tensor token_embd\.weight is missing'),
    ({QUERY: np.zeros((3, 5), np.float32)}, rf'{QUERY} is \(3, 5\), its'),
    ({QUERY: np.zeros((32, 32), np.int8)}, f'{QUERY} is stored as I8, which'),
    ({QUERY: np.full((32, 32), np.inf, np.float32)}, f'{QUERY} holds values'),
    ({'rope_freqs.weight': np.ones(4, np.float32)}, 'not use the tensors rope'),
    (
      {'blk.0.attn_q.bias': np.ones(32, np.float32)},
      'the tensors blk.0.attn_q',
    ),
  ],
)
def test_tensors_that_do_not_fit_are_named(write, change, message):
  path, *_ = write(change_tensors=change)
  with pytest.raises(ValueError, match=message) as caught:
    gguf.load_decoder(path)
  assert str(path) in str(caught.value)


def test_flipped_scale_is_named(write):
  name = 'blk.0.ffn_down.weight'
  kind = package.GGMLQuantizationType.Q4_1
  path, *_ = write(quantised={name: kind})
  start = gguf._read(path).tensors[name].start
  raw = bytearray(path.read_bytes())
  raw[start + 1] |= 0x7C  # the exponent of the first block's scale
  path.write_bytes(raw)
  with pytest.raises(ValueError, match=f'tensor {name} holds values'):
    gguf.load_decoder(path)


def test_other_files_are_refused(tmp_path):
  path = tmp_path / 'other.gguf'
  with pytest.raises(ValueError, match=r'other\.gguf cannot be read'):
    gguf.load_decoder(path)
  for content in (b'', b'GG', b'PK\x03\x04 a zip'):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='is not a GGUF file'):
      gguf.load_decoder(path)
  path.write_bytes(b'GGUF\x09\0\0\0')
  with pytest.raises(ValueError, match='has version 9 of GGUF'):
    gguf.load_decoder(path)


def test_truncated_file_says_where(write):
  path, *_ = write()
  whole = path.read_bytes()
  for length in range(4, len(whole) - 64, len(whole) // 40):
    path.write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r'truncated or damaged.*byte'):
      gguf.load_decoder(path)
  path.write_bytes(whole[:-200])
  with pytest.raises(ValueError, match=r'tensor \S+ needs bytes \d+ to \d+'):
    gguf.load_decoder(path)


def test_flipped_bits_of_the_header_end_in_a_value_error(write):
  path, *_ = write()
  whole = path.read_bytes()
  end = min(place.start for place in gguf._read(path).tensors.values())
  words = whole.index(b'tokenizer.ggml.tokens')
  rng, refused = np.random.default_rng(0), 0
  places = rng.choice(
    np.r_[0 : words + 40, end - 1500 : end], 60, replace=False
  )
  for place in places:
    raw = bytearray(whole)
    raw[place] ^= 1 << rng.integers(8)
    path.write_bytes(raw)
    message = ''
    try:
      gguf.load_decoder(path)
    except ValueError as error:
      message = str(error)
    assert not message or str(path) in message
    refused += bool(message)
  assert refused > 45  # the others are in numbers, or what nothing reads


@pytest.mark.parametrize(
  ('old', 'new', 'message'),
  [
    (b'llama.block_count\x04', b'llama.block_count\x63', 'unknown type 99'),
    (b'llama.block_count', b'llama.block_c\xffunt', 'is not UTF-8'),
    (b'llama.rope.freq_base', b'llama.rope.freq_bare', 'freq_bare'),
    (b'attention.value_length', b'attention.key_length\0\0', 'key_length'),
    (b'blk.1.attn_q.weight', b'blk.0.attn_q.weight', 'is there twice'),
  ],
)
def test_damaged_headers_are_named(write, old, new, message):
  path, *_ = write()
  whole = path.read_bytes()
  assert whole.count(old) == 1
  path.write_bytes(whole.replace(old, new))
  with pytest.raises(ValueError, match=message):
    gguf.load_decoder(path)


def test_tensors_that_overlap_are_named(write):
  path, *_ = write()
  raw = bytearray(path.read_bytes())
  name = b'blk.1.attn_q.weight'
  offset = raw.index(name) + len(name) + 4 + 2 * 8 + 4
  for byte, start in ((offset, 1), (offset + 1, 0)):
    broken = bytearray(raw)
    broken[byte] ^= 1 << start
    path.write_bytes(broken)
    with pytest.raises(ValueError, match='inside another, or not aligned'):
      gguf.load_decoder(path)


def test_tokenizer_by_hand(write):
  path, *_ = write()
  tokenizer = gguf.load_tokenizer(path)

  def words(text):
    return tokenizer.encode(text).tokens

  assert words('the the') == ['t', 'he', 'Ġthe']
  assert words('x 12') == ['x', 'Ġ', '1', '2']  # never merged: digits are split
  assert words('a<|end|>the') == ['a', '<|end|>', 't', 'he']
  assert words('<tool>a') == ['<tool>', 'a']
  assert words('') == []
  ids = tokenizer.encode('thé<|end|>\n<tool>').ids
  assert [WORDS[i] for i in ids[-3:]] == ['<|end|>', 'Ċ', '<tool>']
  assert tokenizer.decode(ids) == 'thé\n<tool>'
  assert tokenizer.decode(ids, False) == 'thé<|end|>\n<tool>'
  assert tokenizer.get_vocab_size() == len(WORDS)
  long = tokenizer.encode_batch(['x' * 5000, 'x'])
  assert [len(encoding.ids) for encoding in long] == [5000, 1]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'model': 'llama'}, r"tokenizer\.ggml\.model is 'llama', and only 'gpt2'"),
    ({'model': None}, r'tokenizer\.ggml\.model is missing'),
    ({'pre': 'qwen2'}, r"ggml\.pre is 'qwen2': one of \('smollm',\)"),
    ({'add_bos_token': True}, 'add_bos_token is not supported'),
    ({'tokens': [*WORDS, 'he']}, 'tokens repeats a token'),
    ({'tokens': 'he'}, 'tokens is str, not list'),
    ({'token_type': TYPES[:-1]}, f'{len(TYPES) - 1} entries, there are'),
    ({'merges': [*MERGES, 'q q']}, "'q q' needs the token 'qq', which is"),
  ],
)
def test_tokenizers_that_do_not_fit_are_named(write, change, message):
  changed = {f'tokenizer.ggml.{name}': v for name, v in change.items()}
  path, *_ = write(change=changed)
  with pytest.raises(ValueError, match=message):
    gguf.load_tokenizer(path)
