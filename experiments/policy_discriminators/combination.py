"""A discriminator beside plain similarities, weighed by training policies.

Where all answers are to one prompt, what a policy repeats is content, which
similarities of the texts see and a discriminant of styles does not.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.policy_discriminators import corpus, discrimination
from prm_jax.ops import bayes

OWN, NAME = 'polar', 'polar and similarities'
SIMILARITIES = ('ngrams', 'minilm', 'frozen', 'length')
_PRECISION = 1.0  # of the weights of margins in standard deviations


class Weights(NamedTuple):
  """What margins are multiplied by before they are summed, by method."""

  value: dict[str, float]


def fit(
  config, found: corpus.Corpus, held: discrimination.Split,
  options: Mapping[str, Any],
) -> Weights:  # fmt: skip
  """Returns weights that tell held-out training policies apart.

  The posterior mode of a logistic regression on the margins of inner test
  triples: discriminators that were fitted to the other training policies, so
  that what one remembers earns no weight.

  Args:
    config: of the study.
    found: texts.
    held: what is held out; its test part is not looked at.
    options: of the discriminator, as chosen on the same inner splits.
  """
  names, rows = (OWN, *SIMILARITIES), []
  for inner in discrimination.inner_splits(
    found.outputs, held, config.likeness.inner_folds
  ):
    params = discrimination.fitted(config, found, inner, options, 1)
    tuning = discrimination.tuning_triples(config, found, inner)
    sets = discrimination.held_out_triples(config, found, inner)
    plain = discrimination.baseline_margins(config, found, inner, sets, tuning)
    for split, drawn in sets.items():
      own = discrimination.margins_of(params, found, drawn)
      margins = {OWN: own, **plain[split]}
      rows.append(np.stack([margins[name] for name in names], 1))
  margins_ = np.concatenate(rows)
  scale = margins_.std(0) + 1e-9
  ones = jnp.ones(len(margins_))
  prior = bayes.isotropic_prior(jnp.zeros(len(names)), _PRECISION**-0.5)
  mode = bayes.posterior_mode(prior, jnp.asarray(margins_ / scale), ones, ones)
  return Weights(
    dict(zip(names, (np.asarray(mode) / scale).tolist(), strict=True))
  )


def margins(
  weights: Weights, own: np.ndarray, plain: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Returns combined margins `[n]`.

  Args:
    weights: see `fit`.
    own: the discriminator's.
    plain: the similarities', by name.
  """
  known = {OWN: own, **plain}
  total = sum(value * known[name] for name, value in weights.value.items())
  return np.asarray(total)
