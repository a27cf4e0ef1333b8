"""The population: nothing is believed of anyone in particular."""

from prm_jax import types


def population() -> types.UserModel:
  """Returns the user model of the aggregate: every person is the same."""
  return types.UserModel(
    init=_nothing,
    prior=_nothing,
    update=lambda key, params, state, evidence: ((), ()),
    context=_nothing,
    infer=_nothing,
  )


def _nothing(*_) -> tuple[()]:
  return ()
