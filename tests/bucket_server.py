"""A server of Google Cloud Storage in memory; prints when it answers.

What TensorStore relies on and the emulator lacks is added: the generation of
what is read, and writes that are refused where it is another than was read.
"""

import sys
import time
from http import HTTPStatus

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects


def generation(storage, bucket: str, name: str) -> str:
  """The number of an object's last write, '0' if it is not there."""
  try:
    return storage.get_file_obj(bucket, name)['generation']
  except NotFound:
    return '0'


def read(request, response, storage, *rest, **more):
  """A read, with the generation among its headers."""
  bucket, name = (request.params[key] for key in ('bucket_name', 'object_id'))
  response['x-goog-generation'] = generation(storage, bucket, name)
  return objects.get(request, response, storage, *rest, **more)


def write(request, response, storage, *rest, **more):
  """A write, refused where the object has changed since it was read."""
  expected = request.query.get('ifGenerationMatch')
  if expected is not None:
    bucket = request.params['bucket_name']
    if generation(storage, bucket, request.query['name'][0]) != expected[0]:
      response.status = HTTPStatus.PRECONDITION_FAILED
      return None
  return objects.insert(request, response, storage, *rest, **more)


if __name__ == '__main__':
  for _, handlers in server.HANDLERS:
    for verb, handler in handlers.items():
      own = {objects.get: read, objects.insert: write}
      handlers[verb] = own.get(handler, handler)
  made = server.create_server(
    'localhost', int(sys.argv[1]), in_memory=True, default_bucket='bucket'
  )
  made.start()
  print('ready', flush=True)
  while True:
    time.sleep(60)
