"""A server of Google Cloud Storage in memory; prints when it answers."""

import sys
import time

from gcp_storage_emulator import server

if __name__ == '__main__':
  made = server.create_server(
    'localhost', int(sys.argv[1]), in_memory=True, default_bucket='bucket'
  )
  made.start()
  print('ready', flush=True)
  while True:
    time.sleep(60)
