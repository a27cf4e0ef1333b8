"""Prints how many examples of a page ran on fake devices, and failed."""

import doctest
import json
import sys

result = doctest.testfile(sys.argv[1], module_relative=False)
print(json.dumps({'attempted': result.attempted, 'failed': result.failed}))
