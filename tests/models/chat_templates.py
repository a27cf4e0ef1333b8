"""Small templates of the shapes that published checkpoints have.

Written here: of each family's turns, BOS, system prompt and refusals.
"""

import json

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

SPECIAL = (
  *('<s>', '</s>', '<|im_start|>', '<|im_end|>', '<|start_header_id|>'),
  *('<|end_header_id|>', '<|eot_id|>', '[INST]', '[/INST]'),
  *('<start_of_turn>', '<end_of_turn>'),
)
TEMPLATES = {
  'llama3': """{{- bos_token }}
{%- if tools is not none %}{{- raise_exception('tools') }}{%- endif %}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
  'qwen': """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nHelp.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != 'system' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content }}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
  'smollm2': (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] "
    "!= 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif "
    "%}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
  ),
  'mistral': """{%- set ns = namespace(first=true) %}
{{- bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + message['content'] + '[/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}
""",
  'gemma': """{{ bos_token }}
{%- for message in messages %}
    {%- set role = 'model' if message.role == 'assistant' else message.role -%}
    {{ '<start_of_turn>' + role + '\\n' + message.content | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}
""",
}


def byte_tokenizer() -> tokenizers.Tokenizer:
  """A token a byte, whose id is the byte, a few pairs, and special tokens."""
  plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
  others = [byte for byte in range(256) if byte not in plain]
  words = {chr(byte): byte for byte in plain}
  words |= {chr(256 + at): byte for at, byte in enumerate(others)}
  line = chr(256 + 10)  # how byte-level BPE writes a line break
  merges = [(line, line), ('h', 'i'), ('hi', line)]
  words |= {''.join(pair): 256 + at for at, pair in enumerate(merges)}
  found = tokenizers.Tokenizer(models.BPE(words, merges))
  found.pre_tokenizer = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=True
  )
  found.decoder = decoders.ByteLevel()
  added = [
    tokenizers.AddedToken(word, normalized=False, special=True)
    for word in SPECIAL
  ]
  found.add_special_tokens(added)
  found.post_processor = processors.TemplateProcessing(
    single='<s> $A', special_tokens=[('<s>', found.token_to_id('<s>'))]
  )
  return found


def save(folder, template, **known):
  """Writes tokenizer.json and tokenizer_config.json of a template's name."""
  byte_tokenizer().save(str(folder / 'tokenizer.json'))
  settings = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'bos_token': '<s>',
    'eos_token': '</s>',
    'pad_token': '</s>',
    **({'chat_template': TEMPLATES[template]} if template else {}),
    **known,
  }
  (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
