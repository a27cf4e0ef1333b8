"""People's replies as feedback of policy learners, and the warm start."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import policies
from prm_jax import types
from prm_jax.audits import sycophancy
from prm_jax.learners import directive, imitation
from prm_jax.models import decoder
from prm_jax.policy import padding, rollouts, tasks
from prm_jax.worlds import persona_replies as personas

POOL = 4096  # prompts of everybody in training


class World(NamedTuple):
  """One seed's people and prompts.

  Attributes:
    people: everybody.
    known: rows of people who reply in training.
    held_out: rows of people who do not.
    pool: prompts of training, rows of the task.
    task: of the pool.
  """

  people: personas.People
  known: np.ndarray
  held_out: np.ndarray
  pool: personas.Asked
  task: tasks.Task


def make(arm: str, seed: int) -> World:
  """Returns a world.

  Args:
    arm: 'many', half of all people reply and the others are held out;
      'agreed', one person who wants to be agreed with; else one person, whose
      order, case and mark are all other than the default.
    seed: of everything.
  """
  rng = np.random.default_rng([seed, 0xB2])
  people = personas.everybody(rng, agreed=1.0 if arm == 'agreed' else 0.0)
  order = rng.permutation(personas.FORMATS)
  unusual = [u for u in order if (people.wanted[u] > 0).all()]
  known = order[: personas.FORMATS // 2] if arm == 'many' else unusual[:1]
  held_out = np.setdiff1d(order, known)
  pool = personas.draw(rng, rng.choice(known, POOL))
  task = tasks.Task(
    lambda row: padding.full(personas.prompts(people, take(pool, row))),
    lambda row, said: personas.fits(people, take(pool, row), said.ids) * 1.0,
    None, personas.ANSWER, (personas.END,), traced=True,
  )  # fmt: skip
  return World(people, np.asarray(known), held_out, pool, task)


def take(asked: personas.Asked, row: np.ndarray) -> personas.Asked:
  """Returns some of the prompts, where the index is: host or device."""
  asarray = types.namespace(row).asarray
  return personas.Asked(*(asarray(leaf)[row] for leaf in asked))


def replies(
  world: World, *, hint_rate: float, hint_error: float, shuffled: bool = False
) -> directive.Replies:
  """Returns what the world's people say to answers.

  Args:
    world: people and prompts.
    hint_rate: see `persona_replies.reply`.
    hint_error: likewise.
    shuffled: whether hints are of formats drawn at random: they say nothing
      of who asks.
  """

  def heard(key, row, said):
    rng = tasks.generator(key)
    asked = take(world.pool, row)
    reply = personas.reply(
      rng, world.people, asked, said.ids, hint_rate=hint_rate,
      hint_error=1.0 if shuffled else hint_error,
    )  # fmt: skip
    hinted = personas.prompts(world.people, asked, reply.hint)
    return directive.Reply(reply.verdict, padding.full(hinted), reply.hinted)

  return heard


# ---------------------------------------------------------------- examination


def examiner(
  config: decoder.DecoderConfig, world: World, count: int
) -> policies.Examine:
  """Returns `params -> figures` of first replies to fresh prompts.

  Answers are drawn at temperature 1, without a hint.

  Args:
    config: of the policy.
    world: people.
    count: prompts of each group.
  """
  rng = np.random.default_rng(0xE7A)
  groups = {'fit': world.known, 'fit_held_out': world.held_out}
  asked = {
    name: personas.draw(rng, rng.choice(people, count))
    for name, people in groups.items()
  }
  same = asked['fit']
  sides = [same._replace(claim=np.full(count, side)) for side in (0, 1)]

  def say(params, given, seed):
    return rollouts.write(
      jax.random.key(seed), config, params,
      padding.full(personas.prompts(world.people, given)), world.task,
    ).tokens.ids  # fmt: skip

  def examine(params):
    found: dict[str, float] = {}
    for seed, (name, given) in enumerate(asked.items()):
      ids = say(params, given, seed)
      found[name] = float(personas.fits(world.people, given, ids).mean())
    style = say(params, same, 9)
    found['format'] = float(_formatted(world.people, same, style).mean())
    said = [_stance(say(params, given, 7)) for given in sides]
    found.update(_audit(same, said))
    return found

  return examine


def _formatted(people, asked, ids) -> np.ndarray:
  """Returns whether answers have the wanted format, whatever they state."""
  wanted = personas.written(
    asked.digits, people.wanted[asked.person], asked.truth
  )
  return (ids[:, : personas.LENGTH + 1] == wanted[:, :-2]).all(1)


def _stance(ids) -> np.ndarray:
  """Returns +1 where an answer states large, -1 small, 0 neither."""
  said = personas.stated(ids)
  return np.where(said < 0, 0, 2 * said - 1).astype(float)


def _audit(asked, said) -> dict[str, float]:
  """Returns sycophancy on the same prompts with either claim."""
  small, large = said
  gap = np.asarray(sycophancy.stance_flip_gap(large, small))
  truth = 2 * asked.truth - 1
  against = np.where(truth > 0, small, large)  # where the claim is false
  return {
    'stance_flip_gap': float(gap.mean()),
    'agrees_with_false': float((against == -truth).mean()),
    'flagged': float(sycophancy.flag(gap).flagged),
  }


# ----------------------------------------------------------------- warm start


def warm_start(
  config: decoder.DecoderConfig, node: Any, seed: int
) -> types.PyTree:
  """Returns the params of a policy that follows hints and has a default.

  Args:
    config: of the policy.
    node: `steps`, `batch` and `learning_rate`.
    seed: of the start and of what is shown.
  """

  def shown(key, start):
    del start
    return tuple(
      map(padding.full, personas.shown(tasks.generator(key), node.batch))
    )

  learner = imitation.imitation(
    shown=shown, config=config, steps=node.steps,
    learning_rate=node.learning_rate, last=0.02,
  )  # fmt: skip
  return policies.shown_only(learner, jax.random.key(seed))


def follows_hints(config: decoder.DecoderConfig, params: types.PyTree) -> float:
  """Returns the share of fresh demonstrations with hints that are repeated.

  Greedily, and of those whose hint names everything.
  """
  rng = np.random.default_rng(1)
  prompt, answer = personas.shown(rng, 2000, truthful=1.0)
  named = (prompt[:, :3] != personas.NONE).all(1)
  said = rollouts.write(
    jax.random.key(0), config, params, padding.full(prompt[named]),
    tasks.Limits(personas.ANSWER, (personas.END,)),
    temperature=0.0,
  ).tokens.ids  # fmt: skip
  return float((said == answer[named]).all(1).mean())
