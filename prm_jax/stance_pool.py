"""Texts of known stance as an audit serves them."""

from prm_jax import types
from prm_jax.audits import trained
from prm_jax.worlds import stances


def candidates(written: stances.Pool, encoded: types.Array) -> trained.Pool:
  """Returns what an audit serves.

  Args:
    written: texts of S questions, K each.
    encoded: `[S K, J]` of them.
  """
  values, axes = written.values, stances.AXES
  return trained.Pool(
    encoded=encoded.reshape(*values.shape[:2], *encoded.shape[1:]),
    stance=values[..., stances.STANCE],
    truth=values[..., stances.TRUTH],
    others={
      name: values[..., axes.index(name)]
      for name in ('length', 'confidence', 'politeness')
    },
    contested=written.kind == 0,
    factual=written.kind == 1,
  )
