"""How the tables of the benchmarks are shown: as they stand, but for these."""

from prm_jax.report import page, tables

_SHARING = (
  'negatives triples shared_row_tokens separate_tokens shared_tokens '
  'separate_fill shared_fill padded_seconds separate_seconds shared_seconds '
  'sharing_speedup token_ratio token_ratio_of_all token_ratio_uncut '
  'formula_ratio formula_ratio_uncut share_of_token_ratio packing_speedup '
  'packing_fill_ratio loss_difference'
)

PAGE = page.Page(
  {
    'sharing': tables.Spec(
      'Sharing',
      'Tokens and seconds of a step.',
      {name.replace('_', ' '): ('text', name) for name in _SHARING.split()},
    ),
    'draws': None,  # long sentences, read in the file
  }
)
