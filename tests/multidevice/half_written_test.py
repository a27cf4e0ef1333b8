import warnings

import pytest

from tests.multidevice import devices


def test_a_program_that_is_half_written_is_compiled_again(tmp_path):
  result = devices.report('half_written.py', 1, str(tmp_path))
  assert result['got'] == result['want'] > 2


def test_no_test_fails_of_such_a_program():
  warnings.warn(
    "Error reading persistent compilation cache entry for 'jit_sin': error",
    stacklevel=1,
  )
  with pytest.raises(UserWarning, match='other'):
    warnings.warn('other', stacklevel=1)
