"""Attributes that were rated, and a gate that learns which of them counts.

Ratings are of texts and not labels of judgements: a text is rated once,
whoever chose it in however many pairs, and the paper rates other texts than it
compares. So they are given beside the data, `[M, A]` in the order of its
texts. Judgements' masks do not reach them: leave out (NaN) what is held out.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax import types
from prm_jax.ops.heads import choices, gating
from prm_jax.ops.heads import ratings as rated
from prm_jax.rewards import gated, reading
from prm_jax.systems import objectives, optimizers, states
from prm_jax.users import population


def multi_objective(
  *,
  ratings: Any,
  verbosity: int | None = None,
  prompt_features: int = 0,
  hidden: tuple[int, ...] = (32,),
  temperature: float = 1.0,
  bound: float = 0.03,
  ridge: float = 1.0,
  decay: float = 1.0,
  learning_rate: float = 0.01,
  steps: int = 300,
) -> types.Learner:
  """Returns ArmoRM: regression of A attributes, then a gate over them.

      1  w_a = argmin sum over rated m of (w_a x_m + mean_a - t_ma)^2
                      + ridge |w_a|^2
      2  min over the gate of mean_n NLL(label_n | s_first - s_second)
                      + decay |gate|^2 / (2 N),    s = sum_k g_k(prompt) r_k

  The first is solved exactly, and stays. Penalties of verbosity are solved
  between them, on texts that were rated or are of a training judgement.

  Args:
    ratings: `[M, A]` t, of the texts that judgements point into, in any unit;
      NaN where nobody rated.
    verbosity: its place among the attributes, whose influence on the others
      is taken out; None if there is none.
    prompt_features: how many of the last columns of the features describe the
      prompt, which the gate reads; 0 for one gate for all prompts.
    hidden: widths of the gate's hidden layers.
    temperature: of the gate's softmax.
    bound: of the rank correlation with verbosity that may be left.
    ridge: of the regression, in units of squared features.
    decay: precision of the gate's weights' prior, in answers.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps of the gate.

  Raises:
    ValueError: ratings are no matrix, or at the start not as many as texts.

  References:
    Wang et al. 2024 (ArmoRM), arXiv:2406.12845.

  Notes:
    The released code of the gate's training takes the softmax over chosen and
    rejected, so that every weight is a half, and trains on rewards that are
    not debiased; this is the paper. The regression has no intercept, as
    published, but ratings are centred first; features should be, too.
  """
  table = np.asarray(ratings, np.float32)
  if table.ndim != 2:
    raise ValueError(f'ratings {table.shape}: a matrix, texts x attributes')
  reward = gated.gated(
    objectives=table.shape[1],
    prompt_features=prompt_features,
    hidden=hidden,
    temperature=temperature,
    verbosity=verbosity,
  )
  system = types.System(reward, population.population())

  def init(key, spec):
    return states.new_state(
      system,
      key,
      spec,
      constants=states.Examples(jnp.ones(())),
      hyper={'ridge': ridge, 'decay': decay},
    )

  phase = types.Phase(
    'gate',
    functools.partial(_begin, table, verbosity, bound),
    functools.partial(_objective, reward),
    optimizer=optimizers.adam(learning_rate, steps),
    train='reward/gate',
    steps=steps,
  )
  return types.Learner((phase,), init, system)


def _begin(ratings, verbosity, bound, state, data):
  """Returns the state after the regression, and what length is taken out."""
  own = state.params['reward']
  features = data.features(own)
  if len(features) != len(ratings):
    raise ValueError(f'{len(ratings)} texts are rated of {len(features)}')
  own = {**own, **_regressed(features, ratings, state.hyper['ridge'])}
  if verbosity is not None:
    found = np.asarray(gated.rewards(own, features))[_seen(ratings, data)]
    solved = gating.solve_debiasing(found, verbosity=verbosity, bound=bound)
    own['penalty'] = jnp.asarray(solved.penalty, jnp.float32)
  count = objectives.examples(data.judgements)
  state = states.with_reward(state, own)
  return state._replace(constants=states.Examples(count))


@jax.jit
def _regressed(features, ratings, penalty) -> dict[str, types.Array]:
  """Returns the first stage's parameters."""
  known = jnp.isfinite(ratings)
  count = jnp.maximum(known.sum(0), 1)
  offset = jnp.where(known, ratings, 0.0).sum(0) / count
  weight = rated.ridge(
    features, ratings - offset, known.astype(jnp.float32), penalty=penalty
  )
  return {'regression': weight, 'offset': offset}


def _seen(ratings, data) -> np.ndarray:
  """Returns `[M]` whether a text was rated or is of a training judgement."""
  seen = np.isfinite(ratings).any(1)
  mask = np.asarray(data.judgements.mask) > 0
  seen[np.asarray(data.index)[mask].reshape(-1)] = True
  return seen


def _objective(reward, params, people, state, batch, gather):
  """Bradley-Terry of gated scores, with a ridge on the gate's network."""
  del people, gather
  pair = reading.encoded(reward, params['reward'], batch.inputs)
  margin = objectives.margins(pair, jnp.ones_like(pair[:, 0]))
  nll = choices.bradley_terry(margin, jnp.asarray(batch.rows.label))
  leaves = jax.tree.leaves(params['reward']['gate']['network'])
  squares = sum(jnp.sum(leaf**2) for leaf in leaves)
  decay = 0.5 * state.hyper['decay'] * squares / state.constants.examples
  return {'nll': objectives.mean(nll)}, {'decay': decay}, {}
