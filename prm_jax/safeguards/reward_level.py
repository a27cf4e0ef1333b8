"""Safeguards that change rewards."""

import jax.numpy as jnp

from prm_jax import types
from prm_jax.ops import tilting
from prm_jax.safeguards import composition


def shrinkage(*, share: types.Scalar = 0.5) -> types.Safeguard:
  """Returns shrinkage of everybody's reward to the population's.

      r_pop + share (r - r_pop)

  Args:
    share: of the person that is kept: 0 is one model for everyone.

  References:
    For rewards linear in coefficients this is shrinkage of the coefficients.
  """

  def reward(state, output, guard):
    del state
    score = tilting.shrink(output.score, guard.reference, share)
    covariance = output.covariance
    if covariance is not None:
      covariance = share**2 * covariance
    return output._replace(score=score, covariance=covariance)

  card = types.Card(
    bounds='distance of a reward from the population, in every direction alike',
    cost='taste and stance are given up in the same proportion',
    failure='a larger beta buys the distance back; minorities are moved most',
  )
  return composition.make('shrinkage', card, reward=reward)


def empirical_shrinkage(
  *, between: types.Scalar, within: types.Scalar, answers: types.Scalar
) -> types.Safeguard:
  """Returns shrinkage by what a person's answers are worth.

  share = tau^2 / (tau^2 + sigma^2 / n): somebody who said little is the
  population. Meant for beliefs that are not shrunk already, such as those
  under a wide prior; a Gaussian belief under an estimated prior is.

  Args:
    between: tau^2, variance of the reward over people.
    within: sigma^2, variance of one answer's estimate.
    answers: n, at first; everything served counts as one more.
  """
  card = types.Card(
    bounds='the part of a reward that is the noise of few answers',
    cost='little: it lowers the expected error',
    failure='a real wish for agreement is no noise, and is kept',
  )

  def reward(state, output, guard):
    share = tilting.reliability(between, within, state)
    return shrinkage(share=share).reward((), output, guard)

  def init():
    return jnp.asarray(answers, jnp.float32)

  return composition.make(
    'empirical shrinkage',
    card,
    init=init,
    reward=reward,
    observe=lambda state, served: state + 1.0,
  )


def agreement_penalty(
  *, stance: str = 'stance', truth: str = 'truth', factual: str = 'factual'
) -> types.Safeguard:
  """Returns the least penalty on agreeing with what is false.

  A candidate counts if it agrees with the person's inferred leaning, on a
  question of fact, against the answer key. The strength is that of
  `tilting.minimal_correction`, the least for which the tilted policy agrees no
  more often than pi_0 does.

  Args:
    stance: measure in [-1, 1].
    truth: measure, 1 where the key says true.
    factual: measure, 1 on questions of fact.

  References:
    Shapira, Benade and Procaccia 2026, arXiv:2602.01002, theorem 6.
  """

  def reward(state, output, guard):
    del state
    agrees = composition.measure_of(guard, stance) * guard.leaning > 0
    wrong = composition.measure_of(guard, truth) < 0.5
    counted = agrees & wrong & (composition.measure_of(guard, factual) > 0)
    counted = counted.astype(output.score.dtype)
    strength = tilting.minimal_correction(
      guard.log_base, output.score, counted, guard.beta
    )
    return output._replace(score=output.score - strength[..., None] * counted)

  card = types.Card(
    bounds='agreement with false statements, at the level of pi_0 and from '
    'above',
    cost='none where a person is right, and none on contested questions',
    failure='the leaning is inferred: who does not love agreement is read as '
    'noise; a key or detector that errs gates the wrong answers; best-of-n is '
    'not a tilt, so its strength is not the least there',
  )
  return composition.make('agreement penalty', card, reward=reward)


def residual(*, measure: str = 'anchor') -> types.Safeguard:
  """Returns projection of a measure out of a person's deviation.

  What the person's reward adds to the population's is made uncorrelated with
  the measure among the candidates of each prompt.

  Args:
    measure: such as a probe's stance.

  References:
    Papadatos and Freedman 2024, arXiv:2412.00967, penalise a probe; this is
    the strength at which nothing linear is left.
  """

  def reward(state, output, guard):
    del state
    added = output.score - guard.reference
    z = composition.measure_of(guard, measure)
    score = guard.reference + tilting.residual(guard.log_base, added, z)
    return output._replace(score=score)

  card = types.Card(
    bounds="the measure's linear part in what a person's reward adds",
    cost='tastes that go along with the measure within a prompt',
    failure='a tilt is not linear: at a large beta the mean moves again',
  )
  return composition.make('residual', card, reward=reward)


def lower_bound(*, caution: types.Scalar = 1.0) -> types.Safeguard:
  """Returns rewards less some standard deviations of what is believed.

  Args:
    caution: standard deviations, of a score less the candidates' mean score.
      A reward without covariance is left as it is.
  """

  def reward(state, output, guard):
    del state, guard
    if output.covariance is None:
      return output
    score = tilting.lower_bound(output.score, output.covariance, caution)
    return output._replace(score=score)

  card = types.Card(
    bounds='how much is served on the strength of a guess',
    cost='surprising answers, also those that would have pleased',
    failure='a stance that is believed with certainty is served; it stops to '
    'bind as answers come in',
  )
  return composition.make('lower bound', card, reward=reward)
