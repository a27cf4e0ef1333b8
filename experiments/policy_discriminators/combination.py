"""A discriminator beside plain similarities, weighed by training policies.

Where all answers are to one prompt, what a policy repeats is content, which
similarities of the texts see and a discriminant of styles does not.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.policy_discriminators import discrimination
from experiments.policy_discriminators.corpus import Corpus
from prm_jax.audits import similarities
from prm_jax.data import triples
from prm_jax.ops import bayes

NAME = 'polar and similarities'
_PRECISION = 1.0  # of the weights of margins in standard deviations
_TUNING = 50  # triples of every training policy


def similar(
  config,
  corpus: Corpus,
  held: triples.Split,
  sets: Mapping[str, triples.Triples],
) -> dict[str, dict[str, np.ndarray]]:
  """Returns split -> method -> margins `[n]`; see `audits.similarities`."""
  tuning = discrimination.training_triples(
    corpus, held, per_policy=_TUNING, seed=config.seed + _TUNING
  )
  return similarities.margins(
    corpus.outputs,
    corpus.states,
    sets,
    held=held,
    tuning=tuning,
    seed=config.seed,
  )


def fit(
  config, corpus: Corpus, held: triples.Split, options: Mapping[str, Any]
) -> dict[str, float]:
  """Returns weights of margins, by method, that tell training policies apart.

  The posterior mode of a logistic regression on the margins of inner test
  triples: discriminators that were fitted to the other training policies, so
  that what one remembers earns no weight.

  Args:
    config: of the study.
    corpus: texts.
    held: what is held out; its test part is not looked at.
    options: of the discriminator, as chosen on the same inner splits.
  """
  names, rows = (discrimination.OWN, *similarities.NAMES), []
  for inner in triples.inner_splits(
    corpus.outputs, held, config.likeness.inner_folds
  ):
    params = discrimination.fitted(config, corpus, inner, options, 1)
    sets = discrimination.held_out_triples(config, corpus, inner)
    plain = similar(config, corpus, inner, sets)
    for split, drawn in sets.items():
      own = discrimination.margins(params, corpus, drawn.items)
      columns = [own, *(plain[split][name] for name in names[1:])]
      rows.append(np.stack(columns, 1))
  margins = np.concatenate(rows)
  scale = margins.std(0) + 1e-9
  ones = jnp.ones(len(margins))
  prior = bayes.isotropic_prior(jnp.zeros(len(names)), _PRECISION**-0.5)
  mode = bayes.posterior_mode(prior, jnp.asarray(margins / scale), ones, ones)
  return dict(zip(names, (np.asarray(mode) / scale).tolist(), strict=True))


def summed(
  weights: Mapping[str, float], margins: Mapping[str, np.ndarray]
) -> np.ndarray:
  """Returns the weighed sum `[n]` of the margins of some methods."""
  return np.asarray(sum(w * margins[name] for name, w in weights.items()))
