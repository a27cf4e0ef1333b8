"""`prm serve`: scores over HTTP, on this machine, for who has the token.

POST /get_reward, a JSON object, in the form of OpenRLHF's remote reward:

    {"query": [...]}                             whole texts, in the template
    {"query": [...], "prompts": [...]}           each begins with its prompt
    {"query": [...], "prompts": [...], "labels": [...]}   labels are not read

or in words, which the template is put around here:

    {"prompts": [...], "responses": [...]}       texts, or lists of messages

Either may name a person, "user". The answer has `rewards` and `scores`, the
same numbers, and `extra_logs`.
"""

import argparse
import hmac
import http.server
import json
import secrets
import sys
import threading
from collections.abc import Mapping
from typing import Any

from prm_jax.exported import Exported

PATH, HOST = '/get_reward', '127.0.0.1'
TOKEN = 'PRM_TOKEN'
_LARGEST = 64_000_000  # bytes of a request
_MOST = 4096  # texts of a request
_SECONDS = 60.0  # that a client may be silent
_FIELDS = ('query', 'prompts', 'responses', 'labels', 'user')


class RequestError(Exception):
  """A request that cannot be served.

  Attributes:
    status: of HTTP.
  """

  def __init__(self, status: int, text: str):
    super().__init__(text)
    self.status = status


def run(arguments: argparse.Namespace, environment: Mapping[str, str]) -> None:
  """Serves an exported model until it is interrupted.

  Args:
    arguments: `model`, `label`, `user` and `port`.
    environment: may hold the token, `PRM_TOKEN`; one is made up otherwise, and
      said on standard error.

  Raises:
    KeyError: the model does not know the person.
    OSError: the port is taken.
    ValueError: the model cannot be used.
  """
  model = Exported.load(arguments.model, label=arguments.label)
  model.vector(arguments.user)
  token = environment.get(TOKEN) or secrets.token_urlsafe(24)
  with server(
    model, token, user=arguments.user, port=arguments.port
  ) as listening:
    port = listening.server_address[1]
    print(f'http://{HOST}:{port}{PATH}', file=sys.stderr)
    if not environment.get(TOKEN):
      print(f'Authorization: Bearer {token}', file=sys.stderr, flush=True)
    try:
      listening.serve_forever()
    except KeyboardInterrupt:
      print('stopped', file=sys.stderr)


def server(
  model: Exported, token: str, *, user: str | None = None, port: int = 0
) -> http.server.ThreadingHTTPServer:
  """Returns a server that listens on this machine alone.

  Args:
    model: which scores.
    token: that a request has to bring, 'Authorization: Bearer TOKEN', or
      '?token=TOKEN' for clients that know an address and nothing else.
    user: whose reward, of requests that name nobody.
    port: of it; a free one if 0.

  Raises:
    OSError: the port is taken.
    ValueError: there is no token.
  """
  if not token:
    raise ValueError('a server needs a token')
  busy = threading.Lock()  # one program at a time

  class Handler(http.server.BaseHTTPRequestHandler):
    timeout = _SECONDS

    def do_POST(self):
      try:
        path, _, query = self.path.partition('?')
        _admit(token, self.headers.get('Authorization', ''), query)
        if path != PATH:
          raise RequestError(404, f'{path}: post to {PATH}')
        request = self._request()
        with busy:
          told = answer(model, request, user)
        status = 200
      except RequestError as refusal:
        told, status = {'error': str(refusal)}, refusal.status
      except Exception as error:  # of ours: who asks gets an answer
        told, status = {'error': f'{type(error).__name__}: {error}'}, 500
      data = json.dumps(told).encode()
      self.send_response(status)
      self.send_header('Content-Type', 'application/json')
      self.send_header('Content-Length', str(len(data)))
      self.end_headers()
      self.wfile.write(data)

    def _request(self):
      size = self.headers.get('Content-Length', '')
      if not size.isdecimal() or int(size) > _LARGEST:
        self.close_connection = True  # what it sends is not read
        raise RequestError(413, f'Content-Length is needed, up to {_LARGEST}')
      try:
        return json.loads(self.rfile.read(int(size)))
      except (ValueError, RecursionError) as error:
        raise RequestError(400, f'not JSON: {error}') from error

    def log_message(self, format, *arguments):
      """Logs nothing: texts and people are nobody's business."""

  return http.server.ThreadingHTTPServer((HOST, port), Handler)


def _admit(token: str, header: str, query: str) -> None:
  """Refuses who has not the token."""
  given = [header.removeprefix('Bearer ').strip()]
  given += [
    part.removeprefix('token=')
    for part in query.split('&')
    if part.startswith('token=')
  ]
  if not any(hmac.compare_digest(g.encode(), token.encode()) for g in given):
    raise RequestError(401, 'the token is missing or wrong')


def answer(
  model: Exported, request: Any, user: str | None = None
) -> dict[str, Any]:
  """Returns the answer to a request, plain data.

  Args:
    model: which scores.
    request: as the module says.
    user: whose reward, where the request names nobody.

  Raises:
    RequestError: the request is none, or names a person who is not known.
  """
  if not isinstance(request, dict):
    raise RequestError(400, 'a request is a JSON object')
  if unknown := sorted(set(request) - set(_FIELDS)):
    raise RequestError(
      400, f'unknown fields {unknown}: {list(_FIELDS)} are read'
    )
  spelled: tuple[list[str], list[str]] = ([], [])
  who = request.get('user', user)
  if who is not None and not isinstance(who, str):
    raise RequestError(400, 'user: is no text')
  try:
    if 'query' in request:
      if 'responses' in request:
        raise RequestError(400, 'query or responses: give one of them')
      spelled = _spelled(request)
      told = model.score_spelled(who, *spelled)
    else:
      prompts = _list(request, 'prompts', str | list)
      responses = _list(request, 'responses', str | list, len(prompts))
      told = model.score(who, prompts, responses)
  except KeyError as error:
    raise RequestError(404, str(error.args[0])) from error
  except ValueError as error:
    raise RequestError(400, str(error)) from error
  scores = told.scores.tolist()
  logs = {'truncated': told.cut.astype(float).tolist()}
  if request.get('query') and request.get('prompts'):
    # Whether a query does not begin with its prompt, letter by letter.
    logs['read_whole'] = [float(not prompt) for prompt in spelled[0]]
  return {'rewards': scores, 'scores': scores, 'extra_logs': logs}


def _spelled(request: Mapping[str, Any]) -> tuple[list[str], list[str]]:
  """Returns prompts and responses of texts that are in the template."""
  texts = _list(request, 'query', str)
  if request.get('prompts') is None:
    return [''] * len(texts), texts
  prompts = _list(request, 'prompts', str, len(texts))
  # What a decoder made of the tokens may begin with BOS or a space: such a text
  # is read whole, and its special tokens are special.
  both = [
    (prompt, text[len(prompt) :]) if text.startswith(prompt) else ('', text)
    for prompt, text in zip(prompts, texts, strict=True)
  ]
  return [prompt for prompt, _ in both], [text for _, text in both]


def _list(
  request: Mapping[str, Any], name: str, kind: Any, count: int | None = None
) -> list[Any]:
  """Returns a field that is a list of as many of a kind."""
  found = request.get(name)
  if not isinstance(found, list) or not 1 <= len(found) <= _MOST:
    raise RequestError(400, f'{name}: is no list of 1 to {_MOST}')
  if not all(isinstance(of, kind) for of in found):
    raise RequestError(400, f'{name}: an entry is of another kind')
  if count is not None and len(found) != count:
    raise RequestError(
      400, f'{name}: {len(found)} entries, and {count} of others'
    )
  return found
