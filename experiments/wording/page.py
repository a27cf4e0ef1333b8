"""The page of the study: shares of the oracle by wording and feature set."""

from experiments.wording import tables as own
from prm_jax.report import kinds, page, tables

_SET = {'features': ('word', 'set'), 'method': ('word', 'method')}


def _sections(results) -> list[page.Section]:
  return []


PAGE = page.Page(specs={}, sections=_sections)
