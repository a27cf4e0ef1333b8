"""Simulated people who judge texts by seven attributes, with known truth.

After the Attributes set of PReF: a person's utility of a text is linear in
its length, formality, humour, elicitation, politeness, enthusiasm and
confidence, and the answers are Bernoulli draws of a Bradley-Terry choice:

  P(a preferred to b) = sigmoid(scale * w . (z_a - z_b))

where z are the attribute levels, standardised over the training responses.
Learners see `judgement_rows`; tests and the evaluation see `truth`.

References:
  Shenfeld et al. (2025), Language Model Personalization via Reward
  Factorization, arXiv:2503.06358.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from prm_jax.worlds import grammar, lexicon

ATTRIBUTES = lexicon.ATTRIBUTES
REGIMES = tuple(lexicon.REGIMES)
PEOPLE = {'two_attribute': 84, 'gaussian': 400}
POOL = {'train': 6000, 'new_prompts': 2000, 'new_lexicon': 2000}  # pairs
ORACLE = (0.80, 0.95)

_TIE = 1e-9  # utilities closer than this are equal but for rounding


class Prompt(NamedTuple):
  """A question; `id` starts with the regime."""

  id: str
  text: str
  topic: str
  regime: str


@dataclasses.dataclass(frozen=True)
class World:
  """Texts, people and their answers. Levels and weights are the truth.

  Attributes:
    prompts: questions.
    responses: M texts.
    response_prompt: `[M]` index of the prompt.
    levels: `[M, 7]` log words and signed numbers of marker sentences.
    values: `[M, 7]` levels, standardised over the training responses.
    people: U user ids, which say nothing of the weights.
    weights: `[U, 7]`.
    scale: of utilities, in logits; the larger, the less noise.
    pairs: `[P, 2]` the shared pool, rows of `responses` to one prompt.
    pair_regime: `[P]` names.
    user: `[N]` row of `people`.
    item_a: `[N]` row of `responses`.
    item_b: `[N]` row of `responses`.
    label: `[N]` 1 where a was preferred, else 0.
    regime: `[N]` name of the prompt's regime.
    probability: `[N]` true probability that a is preferred.
  """

  prompts: tuple[Prompt, ...]
  responses: tuple[str, ...]
  response_prompt: np.ndarray
  levels: np.ndarray
  values: np.ndarray
  people: tuple[str, ...]
  weights: np.ndarray
  scale: float
  pairs: np.ndarray
  pair_regime: np.ndarray
  user: np.ndarray
  item_a: np.ndarray
  item_b: np.ndarray
  label: np.ndarray
  regime: np.ndarray
  probability: np.ndarray


class Truth(NamedTuple):
  """What no learner may see.

  Attributes:
    attributes: names of the 7 columns.
    weights: user id -> `[7]`.
    levels: text -> `[7]` log words and signed marker counts.
    values: text -> `[7]` standardised levels.
    scale: of utilities, in logits.
    probability: `[N]` that a is preferred, in the order of `judgement_rows`.
  """

  attributes: tuple[str, ...]
  weights: Mapping[str, np.ndarray]
  levels: Mapping[str, np.ndarray]
  values: Mapping[str, np.ndarray]
  scale: float
  probability: np.ndarray

  def of(
    self, texts: Sequence[str], user_ids: Sequence[str]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values `[M, 7]` of texts and the weights `[U, 7]` of people.

    Args:
      texts: M texts of the world.
      user_ids: U people of it.
    """
    values = np.stack([self.values[text] for text in texts])
    return values, np.stack([self.weights[name] for name in user_ids])


def simulate(
  *,
  population: str,
  seed: int,
  people: int | None = None,
  answers: int = 400,
  held_out_answers: int = 60,
  responses_per_prompt: int = 32,
  held_out_responses: int = 12,
  oracle_accuracy: float = 0.88,
) -> World:
  """Returns a world; texts and pairs depend on the seed and sizes only.

  Args:
    population: 'two_attribute' (every pair of poles of two attributes, each
      with weight +-1) or 'gaussian' (w ~ N(mu, I), |mu| = 1).
    seed: of everything.
    people: 84 for 'two_attribute', by default 400 for 'gaussian'.
    answers: of each person in the training regime.
    held_out_answers: of each person in each held-out regime.
    responses_per_prompt: to each of the 210 training prompts.
    held_out_responses: to each of the 54 prompts of a held-out regime.
    oracle_accuracy: expected accuracy of the true utilities on the training
      answers, in 0.80..0.95; sets the noise.

  Raises:
    ValueError: an argument is out of range, or the pool of pairs is smaller
      than the answers asked for.
  """
  people = _checked_people(population, people)
  _check_sizes(
    answers=(answers, 1),
    held_out_answers=(held_out_answers, 1),
    responses_per_prompt=(responses_per_prompt, 2),
    held_out_responses=(held_out_responses, 2),
  )
  _check_oracle(oracle_accuracy)
  text_rng, pair_rng, people_rng, answer_rng = (
    np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
  )
  per_prompt = dict.fromkeys(REGIMES, held_out_responses)
  per_prompt['train'] = responses_per_prompt
  prompts = _write_prompts()
  response_prompt = np.repeat(
    np.arange(len(prompts)), [per_prompt[p.regime] for p in prompts]
  )
  responses, levels = _write_responses(text_rng, prompts, response_prompt)
  training = np.array([p.regime == 'train' for p in prompts])[response_prompt]
  values = (levels - levels[training].mean(0)) / levels[training].std(0)
  pairs, pair_regime = _draw_pairs(pair_rng, prompts, per_prompt)
  weights = _draw_weights(people_rng, population, people)

  gaps = (values[pairs[:, 0]] - values[pairs[:, 1]]) @ weights.T  # [P, U]
  wanted = {r: answers if r == 'train' else held_out_answers for r in REGIMES}
  user, pair = _ask(answer_rng, gaps, pair_regime, wanted)
  regime = pair_regime[pair]
  gap = gaps[pair, user]
  scale = find_scale(np.abs(gap[regime == 'train']), oracle_accuracy)
  slot = answer_rng.integers(0, 2, len(pair))  # which of the pair is a
  probability = special.expit(scale * np.where(slot == 0, gap, -gap))
  return World(
    prompts=prompts,
    responses=responses,
    response_prompt=response_prompt,
    levels=levels,
    values=values,
    people=tuple(f'{population}/{i:05d}' for i in range(people)),
    weights=weights,
    scale=scale,
    pairs=pairs,
    pair_regime=pair_regime,
    user=user,
    item_a=pairs[pair, slot],
    item_b=pairs[pair, 1 - slot],
    label=(answer_rng.random(len(pair)) < probability).astype(np.int8),
    regime=regime,
    probability=probability,
  )


def _check_oracle(accuracy: float) -> None:
  low, high = ORACLE
  if not low <= accuracy <= high:
    raise ValueError(
      f'oracle_accuracy is {accuracy}; it must lie in {low}..{high}'
    )


def judgement_rows(world: World) -> Iterator[dict[str, str]]:
  """Yields the answers in the schema of judgement rows, without the truth."""
  for user, a, b, label in zip(
    world.user, world.item_a, world.item_b, world.label, strict=True
  ):
    prompt = world.prompts[world.response_prompt[a]]
    yield {
      'user_id': world.people[user],
      'prompt_id': prompt.id,
      'prompt': prompt.text,
      'response_a': world.responses[a],
      'response_b': world.responses[b],
      'label': 'a' if label else 'b',
      'topic': prompt.topic,
    }


def truth(world: World) -> Truth:
  """Returns the true weights by user id and the true levels by text."""
  return Truth(
    ATTRIBUTES,
    dict(zip(world.people, world.weights, strict=True)),
    dict(zip(world.responses, world.levels, strict=True)),
    dict(zip(world.responses, world.values, strict=True)),
    world.scale,
    world.probability,
  )


def oracle_probability(
  known: Truth,
  user_ids: Sequence[str],
  responses_a: Sequence[str],
  responses_b: Sequence[str],
) -> np.ndarray:
  """Returns the true probability that a is preferred, `[B]`, for any rows."""
  weights = np.array([known.weights[u] for u in user_ids])
  a = np.array([known.values[text] for text in responses_a])
  b = np.array([known.values[text] for text in responses_b])
  return special.expit(known.scale * ((a - b) * weights).sum(-1))


# ------------------------------------------------------------------ ceilings


def pairwise_ceiling(
  world: World,
  *,
  regime: str | None = None,
  people: Sequence[int] | None = None,
) -> float:
  """Returns the best accuracy of any rule that ignores who is asked.

  Of each pair, the side with the larger mean true probability is predicted;
  accuracy is the expectation over the pool's pairs and people, without the
  pairs that are ties for a person (these are never asked).

  Args:
    world: a world.
    regime: the pairs to count; all by default.
    people: rows of the people to count; all by default.

  Returns:
    Expected accuracy in 0.5..1; 0.5 where poles are balanced.
  """
  _, preferred, asked = _pool_totals(world, regime, people)
  return float(np.maximum(preferred, asked - preferred).sum() / asked.sum())


def ceilings(
  world: World, regime: str, people: Sequence[int]
) -> dict[str, float]:
  """Returns the best accuracy of rules that ignore who is asked.

  Args:
    world: a world.
    regime: the pairs to count.
    people: rows of the people to count.
  """
  return {
    'linear_ceiling': aggregate_ceiling(world, regime=regime, people=people),
    'pairwise_ceiling': pairwise_ceiling(world, regime=regime, people=people),
  }


def aggregate_ceiling(
  world: World,
  *,
  regime: str | None = None,
  people: Sequence[int] | None = None,
) -> float:
  """Returns the accuracy of one weight vector for everyone, fitted to truth.

  The vector is the logistic regression of the true preference probabilities
  on the true differences of levels: the limit of an aggregate Bradley-Terry
  model with the right features and endless answers. `pairwise_ceiling`
  bounds it from above; the two differ little where the population is
  symmetric around its mean weights.

  Args:
    world: a world.
    regime: the pairs to count; all by default.
    people: rows of the people to count; all by default.

  Returns:
    Expected accuracy; exactly 0.5, but for rounding, where poles are
    balanced.
  """
  differences, preferred, asked = _pool_totals(world, regime, people)
  weights = _fit_logistic(differences, preferred, asked)
  first = differences @ weights > 0
  right = np.where(first, preferred, asked - preferred)
  return float(right.sum() / asked.sum())


def ratio(accuracy: float, oracle: float) -> float:
  """Returns (accuracy - 0.5) / (oracle - 0.5): 1 at the oracle, 0 at chance."""
  return (accuracy - 0.5) / (oracle - 0.5)


def _pool_totals(
  world: World, regime: str | None, people: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns `[P, 7]` differences, `[P]` sum of P(first), `[P]` people asked."""
  if regime is not None and regime not in REGIMES:
    raise ValueError(f'no regime {regime!r}; choose from {REGIMES}')
  pairs = world.pairs
  if regime is not None:
    pairs = pairs[world.pair_regime == regime]
  rows = slice(None) if people is None else np.asarray(people)
  differences = world.values[pairs[:, 0]] - world.values[pairs[:, 1]]
  gaps = differences @ world.weights[rows].T
  asked = np.abs(gaps) > _TIE
  preferred = np.where(asked, special.expit(world.scale * gaps), 0.0).sum(1)
  return differences, preferred, asked.sum(1)


def _fit_logistic(
  features: np.ndarray, successes: np.ndarray, trials: np.ndarray
) -> np.ndarray:
  """Returns the maximum-likelihood weights of binomial counts, by Newton."""
  weights = np.zeros(features.shape[1])
  for _ in range(25):
    p = special.expit(features @ weights)
    gradient = features.T @ (successes - trials * p)
    hessian = (features.T * (trials * p * (1 - p))) @ features
    weights = weights + np.linalg.solve(hessian, gradient)
  return weights


# ------------------------------------------------------------------- drawing


def _checked_people(population: str, people: int | None) -> int:
  if population not in PEOPLE:
    raise ValueError(
      f'no population {population!r}; choose from {tuple(PEOPLE)}'
    )
  if people is None:
    return PEOPLE[population]
  _check_sizes(people=(people, 1))
  if population == 'two_attribute' and people != PEOPLE[population]:
    raise ValueError(
      f'two_attribute has exactly {PEOPLE[population]} people, not {people}; '
      'leave `people` out'
    )
  return people


def _check_sizes(**sizes: tuple[int, int]) -> None:
  for name, (size, least) in sizes.items():
    if size < least:
      raise ValueError(f'{name} is {size}; it must be at least {least}')


def _write_prompts() -> tuple[Prompt, ...]:
  prompts = []
  for regime, words in lexicon.REGIMES.items():
    asked = itertools.product(words.topics, words.questions)
    for i, (topic, question) in enumerate(asked):
      text = question.format(topic=topic.name)
      prompts.append(Prompt(f'{regime}/{i:03d}', text, topic.name, regime))
  return tuple(prompts)


def _write_responses(
  rng: np.random.Generator,
  prompts: Sequence[Prompt],
  response_prompt: np.ndarray,
) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns M texts and their levels `[M, 7]`, log words first."""
  topics = {
    topic.name: topic
    for words in lexicon.REGIMES.values()
    for topic in words.topics
  }
  marked = grammar.draw_levels(rng, len(response_prompt))
  targets = grammar.draw_targets(rng, len(response_prompt))
  texts = tuple(
    grammar.write_response(
      rng, row, target, topics[prompts[p].topic], prompts[p].regime
    )
    for row, target, p in zip(marked, targets, response_prompt, strict=True)
  )
  log_words = np.log([grammar.count_words(text) for text in texts])
  return texts, np.column_stack([log_words, marked])


def _draw_pairs(
  rng: np.random.Generator,
  prompts: Sequence[Prompt],
  per_prompt: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray]:
  """Returns pairs of responses to one prompt `[P, 2]`, and their regimes."""
  pairs, regimes = [], []
  first = 0  # responses stand in the order of their prompts
  for regime in REGIMES:
    count = sum(p.regime == regime for p in prompts)
    size = per_prompt[regime]
    one, other = np.triu_indices(size, 1)
    total = count * len(one)
    drawn = rng.choice(total, min(POOL[regime], total), replace=False)
    prompt, which = np.divmod(drawn, len(one))
    start = first + prompt * size
    pairs.append(np.column_stack([start + one[which], start + other[which]]))
    regimes += [regime] * len(drawn)
    first += count * size
  return np.concatenate(pairs), np.array(regimes)


def _draw_weights(
  rng: np.random.Generator, population: str, people: int
) -> np.ndarray:
  """Returns weights `[U, 7]`, in an order that tells nothing."""
  if population == 'gaussian':
    mean = rng.standard_normal(len(ATTRIBUTES))
    mean /= np.linalg.norm(mean)
    return mean + rng.standard_normal((people, len(ATTRIBUTES)))
  rows = []
  for i, j in itertools.combinations(range(len(ATTRIBUTES)), 2):
    for poles in itertools.product([1.0, -1.0], repeat=2):
      row = np.zeros(len(ATTRIBUTES))
      row[[i, j]] = poles
      rows.append(row)
  return rng.permutation(np.array(rows))


def _ask(
  rng: np.random.Generator,
  gaps: np.ndarray,
  pair_regime: np.ndarray,
  wanted: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray]:
  """Returns who is asked about which pair of the pool: `[N]`, `[N]`.

  Each person gets different pairs, none a tie for them.
  """
  untied = np.abs(gaps) > _TIE
  users, pairs = [], []
  for regime, count in wanted.items():
    pool = np.flatnonzero(pair_regime == regime)
    fewest = int(untied[pool].sum(0).min())
    if fewest < count:
      raise ValueError(
        f'{count} answers were asked for in {regime}, but a person has only '
        f'{fewest} pairs without a tie; ask for fewer answers, or for more '
        'responses to each prompt'
      )
    order = np.where(untied[pool], rng.random((len(pool), gaps.shape[1])), 2.0)
    chosen = order.argsort(axis=0)[:count]  # [count, U]; ties come last
    pairs.append(pool[chosen.T.ravel()])
    users.append(np.repeat(np.arange(gaps.shape[1]), count))
  return np.concatenate(users), np.concatenate(pairs)


def find_scale(gaps: np.ndarray, accuracy: float) -> float:
  """Returns the scale at which mean sigmoid(scale * |gap|) is the accuracy."""
  low, high = -12.0, 12.0  # logarithms
  for _ in range(50):
    middle = (low + high) / 2
    if special.expit(np.exp(middle) * gaps).mean() < accuracy:
      low = middle
    else:
      high = middle
  return float(np.exp((low + high) / 2))
