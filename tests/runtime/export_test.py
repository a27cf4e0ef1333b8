from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax.runtime import export


class _Prior(NamedTuple):
  mean: jax.Array
  factor: jax.Array


def _params():
  return {
    'reward': {'basis': jnp.arange(6.0).reshape(3, 2)},
    'user': _Prior(jnp.array([1.0, -2.0]), jnp.eye(2, dtype=jnp.bfloat16)),
  }


def test_reload_equals(tmp_path):
  folder = tmp_path / 'model'
  export.export_parameters(_params(), folder, {'data': 'jester', 'dim': 2})
  params, metadata = export.load_parameters(folder, like=_params())
  assert metadata == {'data': 'jester', 'dim': 2}
  assert jax.tree.structure(params) == jax.tree.structure(_params())
  jax.tree.map(np.testing.assert_array_equal, params, _params())
  assert params['user'].factor.dtype == jnp.bfloat16


def test_reload_without_a_template_gives_dicts(tmp_path):
  folder = tmp_path / 'model'
  export.export_parameters(_params(), folder, {})
  params, _ = export.load_parameters(folder)
  np.testing.assert_array_equal(
    params['reward']['basis'], _params()['reward']['basis']
  )
  np.testing.assert_array_equal(params['user']['mean'], [1.0, -2.0])


def test_export_does_not_overwrite(tmp_path):
  (tmp_path / 'other').write_text('mine')
  with pytest.raises(FileExistsError, match='is not empty'):
    export.export_parameters(_params(), tmp_path, {})


def test_folder_without_export_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'metadata\.json is missing'):
    export.load_parameters(tmp_path)
