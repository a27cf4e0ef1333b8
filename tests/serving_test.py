"""A stub client that sends what trainers of policies send."""

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from prm_jax import exported, main, serving
from prm_jax.models import chat
from prm_jax.models.weights import published
from tests import exports_made

TOKEN = 'secret'
PROMPTS, RESPONSES = ['hi', 'What <s>?'], ['there', 'no </s> it is']


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """Of two people, in a template of Qwen's shape."""
  folder = tmp_path_factory.mktemp('source')
  small = exports_made.tiny(num_hidden_layers=1)
  source = exports_made.checkpoint(folder / 'base', *small)
  out = tmp_path_factory.mktemp('out')
  weight = np.random.default_rng(0).normal(size=(2, 32))
  published.write(source, weight, out, labels=['a', 'b'], layers=1)
  read = exported.Exported.load(out, label='a')
  people = {'ann': np.array([1.0, 2.0]), 'bob': np.array([-1.0, 0.5])}
  return read._replace(people=people)


@pytest.fixture(scope='module')
def address(model):
  with serving.server(model, TOKEN) as listening:
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    host, port = listening.server_address
    assert host == '127.0.0.1'
    yield f'http://{host}:{port}'
    listening.shutdown()
    thread.join()


def post(address, body, *, token=TOKEN, path=serving.PATH):
  """What a client of the standard library sends; returns status and answer."""
  data = body if isinstance(body, bytes) else json.dumps(body).encode()
  request = urllib.request.Request(address + path, data)
  if token:
    request.add_header('Authorization', f'Bearer {token}')
  try:
    with urllib.request.urlopen(request, timeout=300) as told:
      return told.status, json.load(told)
  except urllib.error.HTTPError as error:
    with error:
      return error.code, json.load(error)


def close(found, want):
  np.testing.assert_allclose(found, want, atol=1e-4 * np.abs(want).max())


def rendered(prompt):
  return (
    '<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\n'
    f'{prompt}<|im_end|>\n<|im_start|>assistant\n'
  )


def test_every_form_of_a_request_is_served(model, address):
  plain = [RESPONSES[0], RESPONSES[0]]
  for user in (None, 'ann'):
    want = model.score(user, ['hi', 'ho'], plain).scores
    who = {} if user is None else {'user': user}
    words = {'prompts': ['hi', 'ho'], 'responses': plain}
    prompts = [rendered('hi'), rendered('ho')]
    # A policy's text ends with EOS; another one's was cut before it.
    queries = [prompts[0] + plain[0] + '<|im_end|>', prompts[1] + plain[1]]
    for body in (
      words,
      {'query': queries},
      {'query': queries, 'prompts': prompts},
      {'query': queries, 'prompts': prompts, 'labels': ['1', '2']},
    ):
      status, told = post(address, {**body, **who})
      assert status == 200
      assert told['rewards'] == told['scores']
      close(told['rewards'], want)
      logs = {'truncated': [0.0, 0.0]}
      if {'query', 'prompts'} <= set(body):
        logs['read_whole'] = [0.0, 0.0]
      assert told['extra_logs'] == logs
  first = model.score('ann', ['hi'], plain[:1]).scores
  other = model.score('bob', ['hi'], plain[:1]).scores
  assert np.abs(first - other).max() > 0.01


def test_a_response_that_spells_special_tokens_stays_text(model, address):
  prompt = rendered('hi')
  query = prompt + RESPONSES[1] + '<|im_end|></s>'
  status, told = post(address, {'query': [query], 'prompts': [prompt]})
  assert status == 200
  close(told['rewards'], model.score(None, ['hi'], [RESPONSES[1]]).scores)


def test_spelled_ids_are_those_of_the_template(model):
  read = model.model.chat
  for total in (99, 24):
    want = chat.encode(read, ['hi' * 9], [RESPONSES[1]], total=total)
    found = chat.encode_spelled(
      read, [rendered('hi' * 9)], [RESPONSES[1] + '<|im_end|>'], total=total
    )
    assert found.ids == want.ids
    assert found.cut.tolist() == want.cut.tolist() == [total == 24]


@pytest.mark.parametrize(
  ('body', 'status', 'message'),
  [
    (b'{', 400, 'not JSON'),
    ([1], 400, 'is a JSON object'),
    ({}, 400, 'prompts: is no list'),
    ({'query': []}, 400, 'query: is no list of 1 to'),
    ({'prompts': ['a'], 'responses': ['\ud83d']}, 400, 'half of a character'),
    ({'query': ['\ud83d']}, 400, 'half of a character'),
    ({'query': ['a'], 'prompts': ['a', 'b']}, 400, '2 entries, and 1'),
    ({'query': ['a'], 'responses': ['a']}, 400, 'give one of them'),
    ({'query': [3]}, 400, 'an entry is of another kind'),
    ({'prompts': ['a'], 'responses': [[3]]}, 400, 'a message is of role'),
    ({'query': ['a'], 'model': 'x'}, 400, "unknown fields ['model']"),
    ({'query': ['a'], 'user': 'who'}, 404, "'who'"),
    ({'query': ['a'], 'user': 3}, 400, 'user: is no text'),
  ],
)
def test_what_is_no_request_is_told(address, body, status, message):
  found, told = post(address, body)
  assert (found, list(told)) == (status, ['error'])
  assert message in told['error']


def test_who_has_no_token_is_refused(address):
  body = {'prompts': ['hi'], 'responses': ['ho']}
  for token, path in (
    (None, serving.PATH),
    ('wrong', serving.PATH),
    (None, f'{serving.PATH}?token=wrong'),
  ):
    status, told = post(address, body, token=token, path=path)
    assert (status, list(told)) == (401, ['error'])
  # Trainers know an address and nothing else.
  path = f'{serving.PATH}?token={TOKEN}'
  assert post(address, body, token=None, path=path)[0] == 200
  assert post(address, body, path='/other')[0] == 404


def test_the_command_serves_until_it_is_interrupted(model, monkeypatch, capsys):
  monkeypatch.setattr(exported.Exported, 'load', lambda *a, **k: model)
  seen = []

  def forever(listening):
    port = listening.server_address[1]
    seen.append(post(f'http://127.0.0.1:{port}', {}, token='given')[0])
    raise KeyboardInterrupt

  server = serving.http.server.ThreadingHTTPServer

  def answered(listening):
    thread = threading.Thread(target=listening.handle_request, daemon=True)
    thread.start()
    try:
      forever(listening)
    finally:
      thread.join()

  monkeypatch.setattr(server, 'serve_forever', answered)
  monkeypatch.setenv(serving.TOKEN, 'given')
  assert main.run(['serve', '--model=m', '--port=0']) == 0
  assert seen == [400]  # admitted, and no request
  said = capsys.readouterr().err
  assert 'given' not in said
  monkeypatch.delenv(serving.TOKEN)
  assert main.run(['serve', '--model=m', '--port=0']) == 0
  assert seen == [400, 401]  # another token was made up
  assert 'Authorization: Bearer ' in capsys.readouterr().err
  assert main.run(['serve', '--model=m', '--user=who']) == 2
  assert "'who'" in capsys.readouterr().err


def test_a_query_that_does_not_begin_with_its_prompt_is_read_whole(model):
  prompt = rendered('hi')
  body = {
    'query': [prompt + 'ho', ' ' + prompt + 'ho'],
    'prompts': [prompt] * 2,
  }
  told = serving.answer(model, body)
  assert told['extra_logs']['read_whole'] == [0.0, 1.0]
  close(
    told['rewards'][:1],
    serving.answer(model, {'query': [prompt + 'ho']})['rewards'],
  )


def test_a_fault_of_ours_is_an_answer(model, address, monkeypatch):
  def broken(*arguments):
    raise TypeError('not so')

  monkeypatch.setattr(serving, 'answer', broken)
  status, told = post(address, {'prompts': ['a'], 'responses': ['b']})
  assert (status, told) == (500, {'error': 'TypeError: not so'})
