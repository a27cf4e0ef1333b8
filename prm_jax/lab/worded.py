"""Methods that a language model is told about people, by their names.

They read words, not columns; each is fitted by what has the signature of
`fitting.Fitted.fit`, with the choices of its search.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prm_jax.lab import remembered, told

METHODS = (told.METHOD, *remembered.METHODS)
_SEARCHED = {told.METHOD: ('steps',)}

Fitter = told.Plus | remembered.Prime


def searched(method: str) -> tuple[str, ...]:
  """Returns what a search of a method varies."""
  return _SEARCHED.get(method, ('events', 'rate'))


def fitters(
  folder: Path, methods: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Fitter]:
  """Returns what fits each of some methods.

  Args:
    folder: of the language model, in Hugging Face's layout.
    methods: of `METHODS`.
    options: of `told.Options` and `remembered.Options`.

  Raises:
    ValueError: the model cannot be used, or an option is unknown or out of
      range.
  """
  own = {
    name: value
    for name, value in options.items()
    if name in remembered.Options._fields
  }
  kept = remembered.options(own)
  given = told.options({k: v for k, v in options.items() if k not in own})
  language = told.Language.load(folder)
  return {
    method: told.Plus(language, given)
    if method == told.METHOD
    else remembered.Prime(method, language, given, kept)
    for method in methods
  }
