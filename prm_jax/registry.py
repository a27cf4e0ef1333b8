"""Explicit tables: kind -> entry."""

import functools
import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from prm_jax import toys
from prm_jax.heads import assembled
from prm_jax.learners import (
  aggregate,
  amortized,
  bayesian,
  cloud,
  critique_grpo,
  directive,
  ensemble,
  grpo,
  hierarchical,
  imitation,
  likeness,
  lore,
  mrm,
  multi_objective,
  pal,
  pep,
  plus,
  polar,
  pref,
  rejective,
  rfm,
  rltf,
  rm_r1,
  sdpo,
  spct,
  vrf,
)
from prm_jax.rewards import (
  conditioned,
  discriminative,
  factorized,
  gated,
  gaussian_likeness,
  ideal_point,
  implicit_decoder,
  last_layer,
  scalar,
  summarized,
)
from prm_jax.safeguards import (
  adaptive,
  coefficients,
  policy_level,
  reward_level,
)
from prm_jax.users import (
  gaussian,
  in_context,
  kept_answers,
  latent,
  meta,
  population,
  references,
  simplex,
  summaries,
  variational,
)


class Needs(NamedTuple):
  """The least data that a learner can bear.

  Attributes:
    people: who train; answers: of each of them, at the median.
    beside: options that hold data beside judgements, without which the
      factory builds nothing. Only who has them builds it: comparisons and the
      command do not.
  """

  people: int = 1
  answers: int = 1
  beside: tuple[str, ...] = ()


class Entry(NamedTuple):
  """What can be built under a name, and what it says of itself.

  Attributes:
    factory: takes the other keys of a node.
    role: of a learner: 'personal' if it reads a person's answers,
      'aggregate', 'control', 'policy', 'discriminator', 'critic' if it writes
      before it scores, or 'summarizer' if it writes about people; None in
      other rooms.
    searched: numbers that live in `TrainState.hyper`: varying them compiles
      nothing. Each with the values that a search tries on data of which
      nothing is known; none where it stays as it is.
    small: the world on which contract tests build and fit it.
    needs: the least data of a learner that reads people's answers.
  """

  factory: Callable[..., Any]
  role: str | None = None
  searched: Mapping[str, tuple[float, ...]] = MappingProxyType({})
  small: Callable[[], toys.World] = toys.options()
  needs: Needs = Needs()


def _personal(factory, searched, needs, **given):
  toy = functools.partial(toys.judgements, **given)
  return Entry(factory, 'personal', searched, toy, needs)


def _policy(factory, *needs, **given):
  given = {'needs': ('task', 'config', *needs), **given}
  return Entry(
    factory, 'policy', small=functools.partial(toys.problems, **given)
  )


def _judge(factory, *needs, **given):
  given = {'needs': ('task', 'config', *needs), **given}
  return Entry(factory, 'policy', small=functools.partial(toys.judged, **given))


def _built(factory, **given):
  return Entry(factory, small=toys.options(**given))


_EPISODES = {'steps': 60, 'dim': 4, 'width': 8}
_PULL = (1.0, 10.0, 100.0, 1e3, 1e4)  # in answers: from hardly to nearly all
_AMORTIZED = {
  'ridge': (),
  'basis_ridge': (),
  'decay': (0.1, 1.0, 10.0, 1e2, 1e3),
}
_FEW = Needs(people=5, answers=3)  # a basis of several people's tastes
_NETWORK = Needs(people=30, answers=5)
# A network that learns to read answers learns it from many people's.
_READER = Needs(people=1000, answers=20)
LEARNERS: dict[str, Entry] = {
  'aggregate': Entry(
    aggregate.linear, 'aggregate', {'ridge': _PULL}, toys.judgements
  ),
  'aggregate_mlp': Entry(
    aggregate.mlp,
    'aggregate',
    {'ridge': _PULL},
    functools.partial(toys.judgements, steps=300, hidden=(8,)),
    Needs(people=30),
  ),
  'cloud': Entry(
    cloud.cloud,
    'critic',
    small=functools.partial(
      toys.criticised,
      distillation={'steps': 2, 'warm_up': 1},
      steps=3,
      learning_rate=0.01,
    ),
    needs=Needs(beside=('shown',)),
  ),
  'critique_grpo': _policy(
    critique_grpo.critique_grpo, 'critic', 'training', samples=3
  ),
  'directive': _policy(directive.directive, 'replies', 'training'),
  'ensemble': Entry(
    ensemble.ensemble,
    'aggregate',
    {'ridge': _PULL, 'pull': ()},
    functools.partial(
      toys.judgements, steps=300, hidden=(8,), members=3, learning_rate=0.03
    ),
    Needs(people=30),
  ),
  'episodic': _personal(
    amortized.episodic, _AMORTIZED, _READER, **_EPISODES, recalled=3
  ),
  'gpo': _personal(amortized.gpo, _AMORTIZED, _READER, **_EPISODES),
  'grpo': _policy(grpo.grpo, 'training', samples=4),
  'hierarchical': _personal(
    hierarchical.hierarchical,
    {'ridge': (), 'spread': (0.01, 0.03, 0.1, 0.3, 1.0)},
    Needs(people=2, answers=3),
  ),
  'imitation': Entry(
    imitation.imitation,
    'policy',
    small=functools.partial(
      toys.problems, needs=('shown', 'config'), steps=2, warm_up=1
    ),
  ),
  'in_context': _personal(
    amortized.in_context, _AMORTIZED, _READER, **_EPISODES
  ),
  'laplace': Entry(
    bayesian.laplace,
    'aggregate',
    {'ridge': _PULL},
    toys.judgements,
    Needs(people=30),
  ),
  'likeness': Entry(
    likeness.likeness,
    'discriminator',
    small=functools.partial(
      toys.judgements, dim=3, start='random', steps=200, learning_rate=0.02
    ),
  ),
  'lore': _personal(
    lore.lore,
    {'ridge': (), 'basis_ridge': _PULL, 'strength': ()},
    _FEW,
    steps=30,
    dim=3,
  ),
  'mrm': _personal(
    mrm.mrm, {'ridge': (), 'decay': _PULL}, _NETWORK, steps=60, dim=3
  ),
  'multi_objective': Entry(
    multi_objective.multi_objective,
    'aggregate',
    {'ridge': _PULL, 'decay': ()},
    functools.partial(
      toys.rated, verbosity=2, hidden=(8,), learning_rate=0.03, steps=100
    ),
    Needs(people=30, beside=('ratings',)),
  ),
  'pal': _personal(
    pal.pal,
    {'ridge': (), 'decay': _PULL, 'strength': ()},
    _NETWORK,
    steps=30,
    dim=3,
  ),
  'pep': _personal(pep.pep, {'ridge': (), 'basis_ridge': _PULL}, _FEW, dim=3),
  'plus': Entry(
    plus.plus,
    'summarizer',
    small=functools.partial(
      toys.summarised,
      steps=2,
      update={'contexts': 4, 'samples': 3, 'pairs': 2},
      rates={'summarizer': 0.01, 'reward': 0.01},
    ),
    needs=Needs(beside=('writer',)),
  ),
  'polar': Entry(
    polar.polar,
    'discriminator',
    small=functools.partial(
      toys.triples, steps=60, learning_rate=0.005, negatives=1
    ),
  ),
  'pref': _personal(
    pref.pref, {'ridge': (), 'basis_ridge': _PULL}, _FEW, steps=30, dim=3
  ),
  'rejective': _judge(rejective.rejective, 'training', warm_up=1),
  'rfm': _personal(
    rfm.rfm, {'ridge': (), 'decay': _PULL}, _NETWORK, steps=30, dim=3
  ),
  'rltf': _policy(rltf.rltf, 'critic', 'training', samples=3),
  'rm_r1': _judge(
    rm_r1.rm_r1,
    'shown',
    'training',
    samples=3,
    distillation={'steps': 2, 'warm_up': 1},
  ),
  'sdpo': _policy(sdpo.sdpo, 'critic', 'training', samples=3),
  'spct': _judge(spct.spct, 'training', samples=3, rejection={'warm_up': 1}),
  'spl': _personal(
    amortized.spl,
    {**_AMORTIZED, 'kl_weight': (), 'guidance_weight': ()},
    _READER,
    **_EPISODES,
    latent=3,
  ),
  'vpl': _personal(
    amortized.vpl,
    {**_AMORTIZED, 'kl_weight': ()},
    _READER,
    **_EPISODES,
    latent=3,
  ),
  'vrf': _personal(
    vrf.vrf,
    {**_AMORTIZED, 'kl_weight': ()},
    _READER,
    **_EPISODES,
    latent=3,
    bases=4,
  ),
}
USERS: dict[str, Entry] = {
  'flow': _built(latent.flow, dim=3, latent=3),
  'gaussian': _built(gaussian.gaussian, dim=3),
  'in_context': _built(in_context.in_context, dim=3),
  'kept_answers': _built(kept_answers.kept_answers, dim=3),
  'latent': _built(latent.latent, dim=3, latent=3),
  'meta': _built(meta.meta, dim=3),
  'online': _built(gaussian.online, dim=3),
  'population': _built(population.population),
  'references': _built(references.references, shape=(3,)),
  'simplex': _built(simplex.simplex, dim=3),
  'summaries': _built(summaries.summaries, writer=toys.WRITER),
  'variational': _built(variational.variational, dim=3, bases=4, latent=3),
}
REWARDS: dict[str, Entry] = {
  'discriminative': _built(discriminative.discriminative, config=toys.DECODER),
  'factorized': _built(factorized.factorized, dim=3),
  'gated': _built(gated.gated, objectives=3),
  'ideal_point': _built(ideal_point.ideal_point, dim=3),
  'identity': _built(factorized.identity),
  'implicit': _built(implicit_decoder.implicit, config=toys.READER),
  'in_context': _built(conditioned.in_context, dim=3),
  'last_layer': _built(last_layer.last_layer),
  'latent': _built(conditioned.latent, dim=3, latent=3),
  'likeness': _built(gaussian_likeness.likeness, dim=3),
  'linear': _built(scalar.linear),
  'mixture': _built(factorized.mixture, dim=3),
  'mlp': _built(scalar.mlp),
  'network': _built(factorized.network, dim=3),
  'recalling': _built(conditioned.recalling, dim=3),
  'summarized': _built(
    summarized.summarized,
    backbone={'config': toys.WRITER.config},
    fields=toys.WRITER.fields,
  ),
  'weighted': _built(conditioned.weighted, dim=3, bases=4),
}
SAFEGUARDS: dict[str, Entry] = {
  'agreement_penalty': _built(reward_level.agreement_penalty),
  'bridging': _built(policy_level.bridging),
  'constitutional_floor': _built(
    adaptive.constitutional_floor, measure='truth', least=0.8
  ),
  'empirical_shrinkage': _built(
    reward_level.empirical_shrinkage, between=1.0, within=2.0, answers=3.0
  ),
  'exposure': _built(adaptive.exposure, strength=2.0),
  'floor': _built(policy_level.floor, measure='quality'),
  'lower_bound': _built(reward_level.lower_bound),
  'matching': _built(policy_level.matching),
  'preference_shift': _built(adaptive.preference_shift),
  'projection': _built(
    coefficients.projection, direction=np.array([1.0, 0.5, 0.0], np.float32)
  ),
  'residual': _built(reward_level.residual),
  'shrinkage': _built(reward_level.shrinkage),
  'trust_region': _built(policy_level.trust_region, radius=0.01),
}


def _said(form, **given):
  return functools.partial(toys.said, form, **given)


_SMALL = {
  'all_pairs': _said('ranks'),
  'best_of_n': _said('ranks'),
  'bins': _said('ratings', personal=True),
  'cumulative': _said('levels', personal=True),
  'davidson': _said('ties', personal=True),
  'disentangled': _said('lengths'),
  'evidential': _said('ratings'),
  'listnet': _said('ranks'),
  'mean_variance': _said('ratings'),
  'plackett_luce': _said('ranks'),
  'quantiles': _said('ratings', count=3, personal=True),
  'rao_kupper': _said('ties', personal=True),
  'regression': _said('attributes', attributes=2, personal=True),
  'steps': _said('steps'),
  'strength_margin': _said('levels'),
  'strength_weight': _said('levels'),
}
# Of choices, where nothing else is said.
HEADS: dict[str, Entry] = {
  kind: Entry(factory, small=_SMALL.get(kind, _said('choices')))
  for kind, factory in assembled.FACTORIES.items()
}
ROOMS = {
  'head': HEADS,
  'learner': LEARNERS,
  'user': USERS,
  'reward': REWARDS,
  'safeguard': SAFEGUARDS,
}


def build(room: str, node: Mapping[str, Any]) -> Any:
  """Returns what `node['kind']` names, made with the node's other keys.

  Args:
    room: 'head', 'learner', 'user', 'reward' or 'safeguard'.
    node: plain data.

  Raises:
    ValueError: the kind or a key is unknown; the known ones are named.

  Examples:
    >>> learner = build('learner', {'kind': 'pref', 'dim': 4})
    >>> [phase.name for phase in learner.phases]
    ['svd', 'joint', 'prior']
  """
  factories = {kind: entry.factory for kind, entry in ROOMS[room].items()}
  return assembled.built(room, factories, node)


def fitting(node: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple:
  """Returns a learner's node and its numbers in `hyper`, of a searched choice.

  Numbers that the entry says live in `hyper` compile nothing when they vary;
  all others are options of the factory.

  Args:
    node: 'kind' and options of a learner.
    choice: what a search tried.
  """
  searched = LEARNERS[node['kind']].searched
  hyper = {name: choice[name] for name in choice if name in searched}
  static = {name: choice[name] for name in choice if name not in searched}
  return {**node, **static}, hyper


def of_role(*roles: str) -> tuple[str, ...]:
  """Returns the kinds of learners that have one of these roles."""
  return tuple(kind for kind, entry in LEARNERS.items() if entry.role in roles)


def grid(kind: str) -> list[dict[str, float]]:
  """Returns the numbers that a search of a learner tries.

  Examples:
    >>> grid('pref')[:2]
    [{'basis_ridge': 1.0}, {'basis_ridge': 10.0}]
  """
  tried = {k: v for k, v in LEARNERS[kind].searched.items() if v}
  rows = itertools.product(*tried.values())
  return [dict(zip(tried, row, strict=True)) for row in rows]
