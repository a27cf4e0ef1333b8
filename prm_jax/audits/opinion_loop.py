"""A closed loop of statements: people are served, answer, and may move.

Every round everybody meets K statements, is served one by a tilt of a server's
scores, and answers. Bounded confidence: who is served a statement within a
radius of where they stand goes a step towards it. The server learns where
people stand along its own axis from their answers, one Newton step an answer.
Positions and statements are on one scale because somebody put them there: how
far people go together depends on it.

References:
  Deffuant et al. 2000 (bounded confidence).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from prm_jax.ops import tilting

_PRECISION = 20.0  # of what a server knows of a position to begin with
_match = jax.jit(tilting.match)


class World(NamedTuple):
  """U people and S statements, in truth and as a server sees them.

  Attributes:
    position: `[U]` where people stand.
    stance: `[S]` of statements, on the same scale.
    logit: `[U, S]` of agreeing, where people stand at first.
    slope: `[S]` what a step of 1 adds to it.
    score: `[U, S]` the server's, in logits.
    loading: `[S]` of statements on the server's axis.
    base: `[U, S]` the aggregate's scores.
  """

  position: np.ndarray
  stance: np.ndarray
  logit: np.ndarray
  slope: np.ndarray
  score: np.ndarray
  loading: np.ndarray
  base: np.ndarray


class Loop(NamedTuple):
  """What became of people.

  Attributes:
    position: `[U]` at the end.
    own, dividing: `[U, S]` how often somebody was served a statement of the
      side on which they started, and any that divides.
  """

  position: np.ndarray
  own: np.ndarray
  dividing: np.ndarray


SERVERS = ('random', 'aggregate', 'personal', 'held')


def simulate(
  world: World,
  server: str,
  *,
  seed: int,
  rounds: int,
  step: float,
  radius: float,
  divergence: float = 1.0,
  candidates: int = 8,
) -> Loop:
  """Returns what people were served, and where they end.

  Args:
    world: people and statements.
    server: one of `SERVERS`; held is personal with everybody's mean stance of
      each set of candidates as the aggregate's, by the server's stances.
    seed: of candidates, choices and answers; the same candidates for all
      servers.
    rounds: how many.
    step: share of the way that somebody goes; 0 for nobody moves.
    radius: from how far.
    divergence: mean nats from chance, in the first round.
    candidates: K.

  Raises:
    ValueError: there is no such server.
  """
  if server not in SERVERS:
    raise ValueError(f'no server {server!r}: one of {SERVERS}')
  rng = np.random.default_rng([seed, 38])
  U, S = world.score.shape
  x, known = world.position.copy(), np.zeros(U)
  precision = np.full(U, _PRECISION)
  large = np.abs(world.stance) >= np.median(np.abs(world.stance))
  side = np.where(world.position > np.median(world.position), 1, -1)
  own, dividing = np.zeros((U, S)), np.zeros((U, S))
  everybody, betas = np.arange(U), None
  for _ in range(rounds):
    met = np.argpartition(rng.random((U, S)), candidates, 1)[:, :candidates]
    mine = np.take_along_axis(world.score, met, 1)
    mine = mine + known[:, None] * world.loading[met]
    plain = np.take_along_axis(world.base, met, 1)
    if betas is None:
      betas = [_beta(scores, divergence) for scores in (plain, mine)]
    policy = _policy(server, plain, mine, betas, world.loading[met])
    pick = (policy.cumsum(1) < rng.random((U, 1))).sum(1)
    served = met[everybody, np.minimum(pick, candidates - 1)]
    np.add.at(
      own,
      (everybody, served),
      large[served] & (world.stance[served] * side > 0),
    )
    np.add.at(dividing, (everybody, served), large[served])
    moved = (x - world.position) * world.slope[served]
    agrees = rng.random(U) < special.expit(
      world.logit[everybody, served] + moved
    )
    loading = world.loading[served]
    chance = special.expit(world.score[everybody, served] + known * loading)
    precision = precision + chance * (1 - chance) * loading**2
    known = known + loading * (agrees - chance) / precision
    apart = world.stance[served] - x
    x = x + step * apart * (np.abs(apart) < radius)
  return Loop(x, own, dividing)


def _beta(score: np.ndarray, divergence: float) -> float:
  def far(beta):
    policy = special.softmax(beta * score, axis=1)
    return (
      special.xlogy(policy, policy).sum(1) + np.log(score.shape[1])
    ).mean()

  return tilting.inverse_temperature(
    far, divergence, least=0.02, most=200.0, steps=24
  )


def _policy(server, plain, mine, betas, stance) -> np.ndarray:
  """Returns what is served of the candidates, `[U, K]`."""
  if server == 'random':
    return np.full(mine.shape, 1 / mine.shape[1])
  everybody = special.softmax(betas[0] * plain, axis=1)
  if server == 'aggregate':
    return everybody
  personal = special.log_softmax(betas[1] * mine, axis=1)
  if server == 'personal':
    return np.exp(personal)
  held, _ = _match(
    jnp.asarray(personal, jnp.float32),
    jnp.asarray(stance, jnp.float32),
    jnp.asarray((everybody * stance).sum(1), jnp.float32),
  )
  return np.exp(np.asarray(held, np.float64))
