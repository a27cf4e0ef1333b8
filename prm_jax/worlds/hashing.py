"""Hashes of problems: what is tested is told by the problem itself.

A problem is then on the same side in every draw, of whatever number.
"""

import numpy as np


def mixed(code: np.ndarray) -> np.ndarray:
  """Returns codes `[...]` uint64 with their bits mixed: one to one.

  Args:
    code: `[...]` uint64.

  References:
    Steele, Lea and Flood 2014 (SplitMix64), doi:10.1145/2660193.2660195.
  """
  code = code + np.uint64(0x9E3779B97F4A7C15)
  code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return code ^ (code >> np.uint64(31))
