"""Strangers' templates: what they may do, and that they end."""

import pytest

from prm_jax.models import chat_rendering

ASKED = [
  {'messages': [{'role': 'user', 'content': ' <hi> '}], 'bos_token': '<s>'}
]
LIMITS = chat_rendering.Limits(seconds=1, wall=60, memory=2**28)


def render(text, **changes):
  limits = LIMITS._replace(**changes)
  return chat_rendering.render(text, ASKED, where='folder', limits=limits)


def test_templates_have_what_transformers_gives_them():
  template = """{{ bos_token }}
  {%- for m in messages %}
    {%- if m.role == 'none' %}{% break %}{% endif %}
{% generation %}{{ m.content | trim }}{% endgeneration %}
  {%- endfor %}
{{ messages | tojson }}{{ add_generation_prompt is defined }}"""
  assert render(template) == [
    '<s><hi>[{"role": "user", "content": " <hi> "}]False'
  ]
  assert chat_rendering.render('x', [], where='folder') == []


@pytest.mark.parametrize(
  ('template', 'message'),
  [
    (
      "{{ raise_exception('roles must alternate') }}",
      'refuses conversation 0: ',
    ),
    ('{% for x in %}', 'is no template, line 1'),
    ('{{ messages[0].content + 1 }}', 'fails at conversation 0: TypeError'),
    ('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'itself without end'),
    ("{{ ''.__class__.__mro__ }}", 'refuses conversation 0: .*unsafe'),
    ("{{ messages.append('x') }}", 'refuses conversation 0: .*unsafe'),
    ("{% include '/etc/passwd' %}", 'fails|refuses'),
    ("{{ 'x' * 5000 }}", 'writes more than 1000 characters'),
  ],
)
def test_templates_that_fail_are_named(template, message):
  with pytest.raises(chat_rendering.TemplateError, match=message) as caught:
    render(template, characters=1000)
  assert str(caught.value).startswith('folder: the chat template ')


@pytest.mark.parametrize(
  'loop',
  [
    # Between two outputs, and inside one operation, which nothing interrupts.
    '{% for a in range(99999) %}{% for b in range(99999) %}'
    '{% endfor %}{% endfor %}',
    '{{ 99999 ** 9999999 }}',
  ],
)
def test_templates_that_never_end_are_stopped(loop):
  with pytest.raises(
    chat_rendering.TemplateError, match='did not end within 1'
  ):
    render(loop)


def test_templates_that_take_all_memory_are_stopped():
  with pytest.raises(chat_rendering.TemplateError, match='bytes of memory'):
    render("{{ ('x' * 10 ** 10) | length }}")


def test_long_templates_are_not_read():
  with pytest.raises(chat_rendering.TemplateError, match='has 9 characters'):
    render('x' * 9, template=8)
