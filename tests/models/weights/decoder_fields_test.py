import dataclasses

import pytest

from prm_jax.models import decoder
from prm_jax.models.weights import decoder_fields
from prm_jax.ops import rotary

KNOWN = {
  'model_type': 'llama',
  'vocab_size': 270,
  'hidden_size': 32,
  'intermediate_size': 64,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
}
LLAMA3 = {
  'rope_type': 'llama3',
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 64,
}
YARN = {'rope_type': 'yarn', 'factor': 4.0}


def read(kind='llama', **changes):
  return decoder_fields.read({**KNOWN, 'model_type': kind, **changes}, 'here')


def test_absent_fields_are_read_as_hugging_face_reads_them():
  plain = decoder.DecoderConfig(
    vocab_size=270,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=8,
    tie_word_embeddings=False,
    rms_norm_eps=1e-6,
  )
  assert read(head_dim=None) == plain
  long = dataclasses.replace(plain, max_position_embeddings=32_768)
  assert read('qwen2') == dataclasses.replace(long, attention_bias=True)
  assert read('qwen3') == dataclasses.replace(
    long, query_key_norm=True, head_dim=128
  )
  mistral = read('mistral', num_key_value_heads=2)
  assert mistral.sliding_window == 4096
  assert mistral.sliding_layers == ()
  assert mistral.max_position_embeddings == 131_072
  # null is none, and absent is not.
  assert not read(
    'mistral', num_key_value_heads=2, sliding_window=None
  ).sliding_window


def test_absent_fields_of_gemma():
  two = read('gemma2')
  assert two.sliding_layers == (True, False, True)
  assert (two.attention_softcap, two.logit_softcap) == (50.0, 30.0)
  assert (two.head_dim, two.query_scale) == (256, 0.0)
  assert two.tie_word_embeddings
  assert two.activation == 'gelu_tanh'
  none = read('gemma2', attn_logit_softcapping=None, query_pre_attn_scalar=144)
  assert (none.attention_softcap, none.query_scale) == (0.0, 144)
  three = read('gemma3_text', num_hidden_layers=7)
  assert three.sliding_layers == (*[True] * 5, False, True)
  assert (three.rope_theta, three.local_rope_theta) == (1e6, 1e4)
  assert three.logit_softcap == three.attention_softcap == 0
  assert three.query_key_norm


@pytest.mark.parametrize('name', ['rope_scaling', 'rope_parameters'])
@pytest.mark.parametrize('key', ['type', 'rope_type'])
def test_both_spellings_of_a_scaling_are_read(name, key):
  scaling = {key if k == 'rope_type' else k: v for k, v in LLAMA3.items()}
  found = read(rope_theta=5e5, **{name: scaling})
  assert found.rope_theta == 5e5
  assert found.rope_scaling == rotary.Scaling('llama3', 8.0, 64, 1.0, 4.0)
  linear = read(**{name: {key: 'linear', 'factor': 2, 'rope_theta': 7.0}})
  assert linear.rope_scaling == rotary.Scaling('linear', 2.0)
  assert linear.rope_theta == 7  # the nested one, as transformers has it


def test_yarn_has_the_papers_constants_where_none_are_given():
  found = read(rope_scaling=YARN, max_position_embeddings=40).rope_scaling
  assert found[:3] == ('yarn', 4.0, 40)
  assert found.attention == pytest.approx(0.1 * 1.3862944 + 1)
  assert (found.slow, found.fast, found.truncate) == (1, 32, True)
  ratio = read(
    rope_scaling={
      **YARN,
      'factor': None,
      'original_max_position_embeddings': 8,
    },
    max_position_embeddings=40,
  )
  assert ratio.rope_scaling.factor == 5
  both = {**YARN, 'mscale': 2.0, 'mscale_all_dim': 1.0}
  found = read(rope_scaling=both, max_position_embeddings=40).rope_scaling
  assert found.attention == pytest.approx((0.27725887 + 1) / (0.13862944 + 1))


def test_two_bases_of_gemma_in_both_spellings():
  old = read(
    'gemma3_text',
    rope_theta=9.0,
    rope_local_base_freq=3.0,
    rope_scaling={'rope_type': 'linear', 'factor': 8},
  )
  new = read(
    'gemma3_text',
    rope_parameters={
      'full_attention': {'rope_type': 'linear', 'factor': 8, 'rope_theta': 9.0},
      'sliding_attention': {'rope_type': 'default', 'rope_theta': 3.0},
    },
  )
  assert old == new
  assert (new.rope_theta, new.local_rope_theta) == (9, 3)
  assert new.rope_scaling.factor == 8


def test_layer_types_are_read():
  sliding, full = 'sliding_attention', 'full_attention'
  found = read('gemma2', layer_types=[full, sliding, full])
  assert found.sliding_layers == (False, True, False)
  window = {'use_sliding_window': True, 'sliding_window': 7}
  found = read('qwen2', **window, max_window_layers=1)
  assert found.sliding_layers == (False, True, True)
  found = read('qwen2', **window, layer_types=[sliding, full, full])
  assert found.sliding_layers == (True, False, False)
  assert found.sliding_window == 7
  alike = read('qwen3', **window, layer_types=[sliding] * 3)
  assert (alike.sliding_window, alike.sliding_layers) == (7, ())
  assert read(layer_types=[full] * 3) == read()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'model_type': 'gemma'}, r"here: model_type is 'gemma'"),
    ({'model_type': 'gemma3'}, 'give its language model, gemma3_text'),
    ({'auto_map': {'AutoModel': 'a.B'}}, 'auto_map names code .* no such'),
    ({'quantization_config': {'bits': 4}}, 'quantization_config: quantised'),
    ({'hidden_act': 'gelu'}, r"hidden_act is 'gelu': one of \('silu'"),
    ({'rope_scaling': {'type': 'dynamic', 'factor': 2}}, "type is 'dynamic'"),
    ({'rope_scaling': {'type': ['a']}}, r"rope_type is \['a'\]"),
    ({'rope_scaling': 'linear'}, "rope_scaling is 'linear', not an object"),
    ({'rope_scaling': {'type': 'linear'}}, "factor of rope_type 'linear' is"),
    (
      {'rope_scaling': {'type': 'linear', 'factor': 'two'}},
      "rope_scaling: factor is 'two'",
    ),
    (
      {'rope_scaling': {**YARN, 'short_factor': [1.0]}},
      'short_factor would change',
    ),
    (
      {'rope_scaling': {**LLAMA3, 'high_freq_factor': 1.0}},
      'high_freq_factor is not above',
    ),
    (
      {'rope_scaling': {**LLAMA3, 'low_freq_factor': None}},
      'low_freq_factor of .* is missing',
    ),
    ({'rope_scaling': LLAMA3, 'rope_parameters': LLAMA3}, 'are both there'),
    ({'partial_rotary_factor': 0.5}, 'partial_rotary_factor is 0.5'),
    ({'use_sliding_window': True}, 'use_sliding_window is True'),
    ({'layer_types': ['full_attention']}, 'layer_types is not a list of 3'),
    ({'layer_types': ['chunked_attention'] * 3}, "has 'chunked_attention'"),
    ({'layer_types': ['sliding_attention'] * 3}, 'layers of llama are alike'),
    (
      {'model_type': 'qwen2', 'layer_types': ['sliding_attention'] * 3},
      'sliding_window is not given',
    ),
    ({'model_type': 'qwen2', 'mlp_bias': True}, 'mlp_bias is True, and of'),
    (
      {
        'model_type': 'gemma3_text',
        'rope_scaling': {'type': 'linear', 'factor': 8.0},
      },
      'says type, which transformers 5 does not read',
    ),
    ({'model_type': 'mistral', 'attention_bias': True}, 'attention_bias is T'),
    (
      {'model_type': 'gemma3_text', 'attn_logit_softcapping': 50.0},
      'attn_logit_softcapping is 50.0',
    ),
    (
      {'model_type': 'gemma2', 'use_bidirectional_attention': True},
      'use_bidirectional_attention is True',
    ),
    (
      {'model_type': 'gemma3_text', 'rope_parameters': YARN},
      'is by kind of layer',
    ),
    (
      {'model_type': 'qwen2', 'use_sliding_window': True, 'sliding_window': -1},
      'sliding_window is -1',
    ),
    ({'mlp_bias': 'yes'}, "mlp_bias is 'yes'"),
    ({'head_dim': 7}, 'head_dim is 7, an odd number'),
    ({'vocab_size': None}, 'here: vocab_size is missing'),
    ({'hidden_size': '32'}, "hidden_size is '32'"),
    ({'num_attention_heads': 0}, 'num_attention_heads is 0'),
    ({'num_hidden_layers': True}, 'num_hidden_layers is True'),
    ({'tie_word_embeddings': 1}, 'tie_word_embeddings is 1'),
    ({'num_key_value_heads': 3}, '4 query heads are no multiple of 3'),
  ],
)
def test_configurations_that_do_not_fit_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    decoder_fields.read({**KNOWN, **change}, 'here')


def test_what_is_written_is_read_again(tiny_decoder, kind):
  config, _ = tiny_decoder(kind)
  known = decoder_fields.write(config)
  assert decoder_fields.read(known, 'here') == config
  family = {
    'llama, untied': 'llama',
    'llama 3': 'llama',
    'gemma3': 'gemma3_text',
  }
  assert known['model_type'] == family.get(kind, kind)


@pytest.mark.parametrize('scaling', [YARN, LLAMA3])
def test_scalings_are_written_as_they_are(scaling):
  scaling = {**scaling, 'factor': 3.0}
  config = read(rope_scaling=scaling, max_position_embeddings=40)
  assert decoder_fields.read(decoder_fields.write(config), 'here') == config
