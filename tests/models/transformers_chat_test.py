"""Token ids against transformers' apply_chat_template; skipped without it."""

import os

import pytest

from prm_jax.models import chat
from tests.models import chat_templates

os.environ.setdefault('HF_HUB_OFFLINE', '1')
pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

CONVERSATIONS = [
  [('user', 'hi there'), ('assistant', '\n\nhi\n')],
  [
    ('user', ' what?\n'),
    ('assistant', 'er'),
    ('user', 'hi'),
    ('assistant', ''),
  ],
  [('user', 'Grüße, 你好 👋'), ('assistant', '  naïve\n\n\n')],
  [('system', 'Be brief.'), ('user', 'hi'), ('assistant', 'hi\n')],
]


def messages(said):
  return [{'role': role, 'content': text} for role, text in said]


@pytest.fixture(params=chat_templates.TEMPLATES)
def both(request, tmp_path):
  """A template's name, ours and theirs."""
  chat_templates.save(tmp_path, request.param)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  return request.param, chat.Chat.load(tmp_path), theirs


def test_ids_are_those_of_transformers(both):
  name, own, theirs = both
  # A system prompt is what Mistral's refuses.
  known = CONVERSATIONS[: 3 if name == 'mistral' else 4]
  wanted = [
    theirs.apply_chat_template(messages(said), return_dict=False)
    for said in known
  ]
  for split in (1, -1):
    prompts = [messages(said[:split]) for said in known]
    responses = [messages(said[split:]) for said in known]
    assert chat.encode(own, prompts, responses, total=999).ids == wanted


def test_what_a_template_refuses_both_refuse(tmp_path):
  chat_templates.save(tmp_path, 'mistral')
  own = chat.Chat.load(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  said = messages([('user', 'a'), ('user', 'b')])
  with pytest.raises(chat.TemplateError, match='roles must alternate'):
    chat.encode(own, [said[:1]], [said[1:]], total=99)
  with pytest.raises(Exception, match='roles must alternate'):
    theirs.apply_chat_template(said)


def test_texts_without_a_template_have_their_bos(tmp_path):
  chat_templates.save(tmp_path, None)
  own = chat.Chat.load(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  found = chat.encode(own, ['hi'], ['there\n\n'], total=99)
  assert found.ids[0] == theirs('hi\nthere\n\n')['input_ids']
