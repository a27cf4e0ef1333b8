"""A policy discriminator in closed form, then by the triple loss.

Rows are as for `learners.polar`: the first candidate is closer than the second
to the references, which are the others, and `user` is the policy of all but
the second.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from prm_jax import types
from prm_jax.ops import discrimination
from prm_jax.ops.heads import choices
from prm_jax.rewards import gaussian_likeness, reading
from prm_jax.systems import objectives, optimizers, states
from prm_jax.users import references


def likeness(
  *,
  dim: int = 16,
  shrinkage: float = 0.6,
  start: str = 'discriminant',
  weights: tuple[tuple[int, float], ...] = (),
  learning_rate: float = 1e-3,
  steps: int = 0,
  batch: int = 256,
  prompts: int = 0,
  capacity: int = 16,
) -> types.Learner:
  """Returns the learner of `gaussian_likeness.likeness`.

  Args:
    dim: J.
    shrinkage: of the covariance within policies, 0 to 1.
    start: 'discriminant' of the rows' policies; 'random', of standardised
      features; or 'given', to go on from the state's params.
    weights: (count, weight) of features that follow one another. Standardised
      features are multiplied by their weight; all weigh 1 if empty. Shrinkage
      is towards equal variances, so that heavier features are shrunk less.
    learning_rate: of Adam, decayed to 1 %.
    steps: gradient steps on -log sigma(r(first) - r(second)) after the start.
    batch: rows of a step, drawn anew.
    prompts: how many there are, if all answers of a row are to one; `user` is
      then policy * prompts + prompt. 0 if answers are to different prompts.
    capacity: references kept of a person.

  Raises:
    ValueError: `start` is none of the three; weights do not fit the features.
  """
  if start not in ('discriminant', 'random', 'given'):
    raise ValueError(f'start {start!r}: discriminant, random or given')
  reward = gaussian_likeness.likeness(dim=dim, same_prompt=prompts > 0)
  system = types.System(
    reward, references.references(shape=(dim,), capacity=capacity)
  )

  def begin(state, data):
    params = state.params['reward']
    if start == 'random':
      params = _standard(params, data, weights)
    elif start == 'discriminant':
      params = _discriminant(dim, params, data, shrinkage, weights, prompts)
    return states.with_reward(state, params)

  def objective(params, people, state, batch, gather):
    del people, state, gather
    encoded = reading.encoded(reward, params['reward'], batch.inputs)
    margin = reading.margins(reward, params['reward'], encoded)
    nll = choices.bradley_terry(margin, jnp.asarray(batch.rows.label))
    return {'nll': objectives.mean(nll)}, {}, {}

  phases = [types.Phase('start', begin=begin)]
  if steps:
    phases.append(
      types.Phase(
        'triples',
        objective=objective,
        optimizer=optax.chain(
          optax.clip_by_global_norm(1.0), optimizers.adam(learning_rate, steps)
        ),
        steps=steps,
        collect=functools.partial(_draw, batch),
      )
    )

  def init(key, spec):
    return states.new_state(system, key, spec, hyper={})

  return types.Learner(tuple(phases), init, system)


def _standard(params, data, weights):
  """Returns params that standardise the features of texts that count."""
  mask = np.asarray(data.judgements.mask) > 0
  used = np.unique(np.asarray(data.index)[mask])
  chosen = np.asarray(data.features(params), np.float32)[used]
  mean, scale = chosen.mean(0), chosen.std(0) + 1e-6
  if weights:
    weight = np.concatenate([np.full(n, float(w)) for n, w in weights])
    if len(weight) != len(scale):
      raise ValueError(
        f'weights are of {len(weight)} features, and texts have {len(scale)}'
      )
    # A weight of 0 leaves a feature out.
    scale = np.where(weight > 0, scale / np.maximum(weight, 1e-9), 1e6)
  scale = scale.astype(np.float32)
  return {**params, 'mean': jnp.asarray(mean), 'scale': jnp.asarray(scale)}


def _discriminant(dim, params, data, shrinkage, weights, prompts):
  """Returns params at the discriminant of the policies that rows name."""
  mask = np.asarray(data.judgements.mask) > 0
  items = np.asarray(data.index)[mask]
  user = np.asarray(data.judgements.user)[mask]
  params = _standard(params, data, weights)
  features = np.asarray(data.features(params), np.float32)
  features = np.array((features - params['mean']) / params['scale'])
  if prompts:
    texts, first = np.unique(items.ravel(), return_index=True)
    prompt = np.repeat(user % prompts, items.shape[1])[first]

    features[texts] -= _means(features[texts], prompt, prompts)[prompt]
  own = np.delete(items, 1, axis=1)
  texts, first = np.unique(own.ravel(), return_index=True)
  names, policy = np.unique(
    np.repeat(user, own.shape[1])[first], return_inverse=True
  )
  project, between = jax.jit(
    discrimination.discriminant, static_argnames=('policies', 'dim')
  )(
    features[texts],
    policy,
    jnp.ones(len(texts)),
    policies=len(names),
    dim=dim,
    shrinkage=shrinkage,
  )
  return {**params, 'project': project, 'log_between': jnp.log(between)}


def _means(features, group, groups):
  """Returns the mean `[groups, F]` of every group; 0 of an empty one."""
  total = np.zeros((groups, features.shape[1]), np.float32)
  np.add.at(total, group, features)
  count = np.bincount(group, minlength=groups)
  return total / np.maximum(count, 1)[:, None]


def _draw(size, key, state, batch):
  """Returns a batch of rows drawn from those that count."""
  del state
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
  chosen = np.flatnonzero(np.asarray(batch.rows.mask) > 0)
  return batch.take(rng.choice(chosen, size)), {}
