"""Simulated people with tastes and opinions, and answers that take sides.

Questions are contested (a matter of opinion: build or preserve), factual (one
answer is true, and it happens to support a side) or neutral. Answers carry a
stance, truth, and levels of style; some people love to be agreed with:

  utility(person, answer) = w . values + loves * strength * opinion * stance

Judgements are Bernoulli draws of a Bradley-Terry choice. What an encoder reads
is English text of `stance_texts` and `grammar`; the values are the truth.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from prm_jax.worlds import grammar, lexicon, stance_texts
from prm_jax.worlds.topics import Topic

KINDS = ('contested', 'factual', 'neutral')
TASTES = ('formality', 'humour', 'elicitation', 'politeness')
AXES = (*TASTES, 'stance', 'truth', 'length', 'confidence')
SPLITS = ('train', 'calibration', 'audit')
STANCE, TRUTH = AXES.index('stance'), AXES.index('truth')

WORDS = (36, 76)  # targets of an answer, claim included
TRUE = 0.6  # share of true answers to factual questions
TRUE_CONFIDENCE = -0.3  # deviations of confidence in true answers
HUMOUR_LENGTH = 0.3  # correlation

# Moments of `grammar.draw_levels`: active in ACTIVE of 6, strength 1 or 2.
_ACTIVE = grammar.ACTIVE / len(lexicon.MARKED)
_MAGNITUDE = _ACTIVE * 1.5
_DEVIATION = np.sqrt(_ACTIVE * 2.5)
# E|level| / sd: the correlation with the stance if all signs agreed with it.
MOST_CORRELATION = float(_MAGNITUDE / _DEVIATION)  # 0.67
_REGIMES = {
  'train': 'train',
  'calibration': 'new_prompts',
  'audit': 'new_prompts',
}
_COLUMNS = [lexicon.MARKED.index(name) for name in TASTES]
_FORMALITY, _HUMOUR, _CONFIDENCE = (
  lexicon.MARKED.index(name) for name in ('formality', 'humour', 'confidence')
)
_TASTE_MEANS = (0.5, 0.0, -0.5, 0.0)
_OPINION = (0.4, 0.25)  # bumps at +- the first, with the second as deviation
_OPINION_DEVIATION = 0.4701441  # of that mixture clipped to [-1, 1]


class Question(NamedTuple):
  """A question; `side` is the stance that the true answer supports, or 0."""

  id: str
  kind: str
  text: str
  side: int


@dataclasses.dataclass(frozen=True)
class Pool:
  """Questions with K answers each. Values are the truth.

  Attributes:
    questions: S questions, contested first, then factual, then neutral.
    kind: `[S]` index into KINDS.
    side: `[S]` stance that the true answer supports, or 0.
    texts: S x K answers; empty if they were not written.
    values: `[S, K, 8]` float32 on AXES; styles in standard deviations of the
      generating distribution, stance in {-1, 0, 1}, truth in {0, 1}.
  """

  questions: tuple[Question, ...]
  kind: np.ndarray
  side: np.ndarray
  texts: tuple[tuple[str, ...], ...]
  values: np.ndarray


@dataclasses.dataclass(frozen=True)
class People:
  """U people. All but the ids is the truth that no learner may see.

  Attributes:
    ids: say nothing of the person.
    weights: `[U, 8]` on AXES; the stance column is 0.
    opinion: `[U]` in [-1, 1]; positive is for growth.
    loves: `[U]` 1 where the person loves agreement, else 0.
    strength: of agreement in the utility.
  """

  ids: tuple[str, ...]
  weights: np.ndarray
  opinion: np.ndarray
  loves: np.ndarray
  strength: float


class Judgements(NamedTuple):
  """N = U * per_person choices between two answers, sorted by person.

  Attributes:
    user: `[N]` int32 row of `People`.
    question: `[N]` int32 row of `Pool`.
    first: `[N]` int32 answer to the question.
    second: `[N]` int32 another answer to it.
    stated: `[N]` int32 the opinion's sign if the prompt says it, else 0.
    label: `[N]` float32 1 where the first was preferred.
  """

  user: np.ndarray
  question: np.ndarray
  first: np.ndarray
  second: np.ndarray
  stated: np.ndarray
  label: np.ndarray


class _Subject(NamedTuple):
  """What a question is about; project and outcome where it has one."""

  question: Question
  topic: Topic
  town: str = ''
  project: stance_texts.Project | None = None
  outcome: stance_texts.Outcome | None = None


# ---------------------------------------------------------------- questions


def prompt(question: Question, stated: int) -> str:
  """Returns the prompt, opened by the person's stance unless `stated` is 0.

  Args:
    question: a question.
    stated: +1 for growth, -1 for preservation, 0 to say nothing.

  Raises:
    ValueError: another `stated`.
  """
  if stated not in (-1, 0, 1):
    raise ValueError(f'stated is {stated}; it must be -1, 0 or 1')
  if not stated:
    return question.text
  said = stance_texts.STATED[int(stated)]
  chosen = zlib.crc32(question.id.encode()) % len(said)
  return f'{said[chosen]} {question.text}'


def claims(question: Question, stance: int) -> tuple[str, ...]:
  """Returns every claim that an answer of a stance may open with.

  Args:
    question: of a pool.
    stance: +1 or -1.

  Raises:
    ValueError: a neutral question, which has none, or a stance of no side.
  """
  if stance not in (-1, 1):
    raise ValueError(f'stance is {stance}; it must be -1 or 1')
  split, kind, number = question.id.split('/')
  if kind not in KINDS[:2] or split not in SPLITS:
    raise ValueError(
      f'question {question.id} has no claims: give a contested or factual one'
    )
  return _claims(_subjects(split, kind)[int(number)], stance)


def most_questions(split: str) -> int:
  """Returns how many questions per kind a split has."""
  _check_split(split)
  return min(len(_subjects(split, kind)) for kind in KINDS)


def _claims(subject: _Subject, stance: int) -> tuple[str, ...]:
  town, project, outcome = subject.town, subject.project, subject.outcome
  if project is None:
    return ()
  if outcome is None:
    return stance_texts.arguments(town, project, stance)
  return stance_texts.findings(town, project, outcome, stance)


@functools.cache
def _subjects(split: str, kind: str) -> tuple[_Subject, ...]:
  """Returns all subjects; any first part covers the projects evenly."""
  if kind == 'neutral':
    return _neutral(split)
  # Sides, outcomes and wordings must not follow the order of projects.
  rng = np.random.default_rng([7, SPLITS.index(split)])
  projects = stance_texts.PROJECTS[split]
  contested = kind == 'contested'
  towns = (stance_texts.TOWNS if contested else stance_texts.BUILT)[split]
  asks = stance_texts.CONTESTED if contested else stance_texts.FACTUAL
  found = []
  for i in range(len(projects) * len(towns)):
    project, town = projects[i % len(projects)], towns[i // len(projects)]
    if i % 2 == 0:
      pair = rng.permutation([1, -1])
    ask = asks[rng.integers(len(asks))]
    outcome = stance_texts.OUTCOMES[rng.integers(len(stance_texts.OUTCOMES))]
    asked = outcome.asked[int(rng.choice([1, -1]))]
    text = ask.format(town=town, project=project.name, asked=asked)
    side = 0 if contested else int(pair[i % 2])
    question = Question(f'{split}/{kind}/{i:03d}', kind, text, side)
    about = None if contested else outcome
    found.append(_Subject(question, project.topic, town, project, about))
  return tuple(found)


def _neutral(split: str) -> tuple[_Subject, ...]:
  """Returns all neutral subjects; the next topic is asked in other words."""
  asked, asks = stance_texts.NEUTRAL[split]
  found = []
  for i in range(len(asked) * len(asks)):
    turn, row = divmod(i, len(asked))
    text = asks[(turn + row) % len(asks)].format(topic=asked[row].name)
    question = Question(f'{split}/neutral/{i:03d}', 'neutral', text, 0)
    found.append(_Subject(question, asked[row]))
  return tuple(found)


# ------------------------------------------------------------------ answers


def write(
  *,
  split: str,
  seed: int,
  questions: int,
  answers: int,
  correlation: float = 0.3,
  texts: bool = True,
) -> Pool:
  """Returns a pool: the split's first questions, with answers of the seed.

  Answers are independent draws. Splits share no project, town or neutral
  topic. Values do not depend on `texts`.

  Args:
    split: one of SPLITS.
    seed: of the answers; the questions do not depend on it.
    questions: of each kind, so that S is three times as many.
    answers: K, to each question.
    correlation: of formality and stance over contested and factual answers.
    texts: whether to write the answers as English text.

  Raises:
    ValueError: an unknown split, more questions than the split has, too few
      answers, or a correlation that signs of levels cannot reach.
  """
  most = most_questions(split)
  if not 1 <= questions <= most:
    raise ValueError(
      f'questions is {questions}; {split} has 1..{most} of each kind'
    )
  if answers < 1:
    raise ValueError(f'answers is {answers}; it must be at least 1')
  if abs(correlation) > MOST_CORRELATION:
    raise ValueError(
      f'correlation is {correlation}; it must lie within '
      f'+-{MOST_CORRELATION:.2f}'
    )
  subjects = [s for kind in KINDS for s in _subjects(split, kind)[:questions]]
  kind = np.repeat(np.arange(len(KINDS)), questions)
  side = np.array([s.question.side for s in subjects])
  seeds = np.random.SeedSequence([seed, SPLITS.index(split)]).spawn(3)
  value_rng, length_rng, text_rng = map(np.random.default_rng, seeds)
  stance, truth = _draw_sides(value_rng, kind, side, answers)
  levels = _draw_levels(value_rng, stance, truth, correlation)
  place = _draw_length(length_rng, levels[..., _HUMOUR])
  values = np.zeros((*stance.shape, len(AXES)), np.float32)
  values[..., : len(TASTES)] = levels[..., _COLUMNS] / _DEVIATION
  values[..., STANCE], values[..., TRUTH] = stance, truth
  values[..., AXES.index('length')] = (place - 0.5) * np.sqrt(12.0)
  values[..., AXES.index('confidence')] = levels[..., _CONFIDENCE] / _DEVIATION
  low, high = np.log(WORDS)
  targets = np.rint(np.exp(low + (high - low) * place)).astype(int)
  written = (
    tuple(
      _write_answers(text_rng, *drawn, _REGIMES[split])
      for drawn in zip(subjects, stance, levels, targets, strict=True)
    )
    if texts
    else ()
  )
  asked = tuple(s.question for s in subjects)
  return Pool(asked, kind, side, written, values)


def _draw_sides(
  rng: np.random.Generator, kind: np.ndarray, side: np.ndarray, answers: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns stances `[S, K]` in {-1, 0, 1} and truth `[S, K]` in {0, 1}."""
  shape = (len(kind), answers)
  either, true = rng.choice([-1, 1], shape), rng.random(shape) < TRUE
  contested, factual = (kind[:, None] == i for i in range(2))
  supported = np.where(true, 1, -1) * side[:, None]
  stance = np.where(contested, either, np.where(factual, supported, 0))
  return stance, (true & factual).astype(int)


def _draw_levels(
  rng: np.random.Generator,
  stance: np.ndarray,
  truth: np.ndarray,
  correlation: float,
) -> np.ndarray:
  """Returns signed marker counts `[S, K, 6]`, correlated by their signs."""
  count = len(lexicon.MARKED)
  levels = grammar.draw_levels(rng, stance.size).reshape(*stance.shape, count)
  # A level m * s with P(s = t) = p has E[m s t] = E[m] (2 p - 1), so that
  # its correlation with t is (2 p - 1) E[m] / sd: 2 p - 1 is the target over
  # MOST_CORRELATION. Likewise the mean of confidence among true answers.
  for column, toward, target in (
    (_FORMALITY, stance, correlation),
    (_CONFIDENCE, truth, TRUE_CONFIDENCE),
  ):
    agree = (1 + target / MOST_CORRELATION) / 2
    sign = np.where(rng.random(stance.shape) < agree, toward, -toward)
    free = levels[..., column]
    levels[..., column] = np.where(toward, np.abs(free) * sign, free)
  return levels


def _draw_length(rng: np.random.Generator, humour: np.ndarray) -> np.ndarray:
  """Returns where targets lie between log WORDS, `[S, K]`, uniform in 0..1.

  Given a humour level h the density of u is 1 + g (2 u - 1), g = c h. Then
  E[u | h] = 1/2 + c h / 6, and over the symmetric h, u is uniform with
  correlation c sd(h) sqrt(12) / 6.
  """
  slope = HUMOUR_LENGTH * 6 / (np.sqrt(12.0) * _DEVIATION) * humour
  # The inverse of F(u) = g u^2 + (1 - g) u, in the form that allows g = 0.
  at, rest = rng.random(humour.shape), 1 - slope
  return 2 * at / (rest + np.sqrt(rest**2 + 4 * slope * at))


def _write_answers(
  rng: np.random.Generator,
  subject: _Subject,
  stance: np.ndarray,
  levels: np.ndarray,
  targets: np.ndarray,
  regime: str,
) -> tuple[str, ...]:
  """Returns K answers: a claim of the stance if any, markers and content."""
  pools = {t: _claims(subject, t) for t in (-1, 1)}
  texts = []
  for side, row, target in zip(stance, levels, targets, strict=True):
    claim = ''
    if side:
      pool = pools[int(side)]
      claim = pool[rng.integers(len(pool))] + ' '
    left = int(target) - grammar.count_words(claim)
    rest = grammar.write_response(rng, row, left, subject.topic, regime)
    texts.append(claim + rest)
  return tuple(texts)


# ------------------------------------------------------------------- people


def people(
  *,
  seed: int,
  count: int,
  loving_fraction: float,
  strength: float = 2.5,
  taste_opinion: float = 0.0,
) -> People:
  """Returns people; under one seed only the lovers depend on their share.

  Taste weights are N((.5, 0, -.5, 0), I), those of length and confidence
  N(.3, .2^2), that of truth 1, or .5 for lovers. Opinions have bumps at +-.4
  of deviation .25. A larger share adds lovers to those of a smaller.

  Args:
    seed: of everything.
    count: U.
    loving_fraction: share that loves agreement, rounded to whole people, but
      at least one unless it is 0.
    strength: of agreement in their utility.
    taste_opinion: correlation of the humour weight with the opinion.

  Raises:
    ValueError: an argument is out of range.
  """
  if count < 1:
    raise ValueError(f'count is {count}; it must be at least 1')
  _check_share('loving_fraction', loving_fraction)
  if abs(taste_opinion) > 1:
    raise ValueError(f'taste_opinion is {taste_opinion}; choose from -1..1')
  taste_rng, style_rng, opinion_rng, love_rng = (
    np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
  )
  bump, deviation = _OPINION
  opinion = bump * opinion_rng.choice([-1.0, 1.0], count)
  opinion += deviation * opinion_rng.standard_normal(count)
  opinion = np.clip(opinion, -1.0, 1.0)
  lovers = round(loving_fraction * count)
  if loving_fraction > 0:
    lovers = max(lovers, 1)
  loves = np.zeros(count)
  loves[love_rng.permutation(count)[:lovers]] = 1.0

  tastes = taste_rng.standard_normal((count, len(TASTES)))
  humour = TASTES.index('humour')
  tastes[:, humour] *= np.sqrt(1 - taste_opinion**2)
  tastes[:, humour] += taste_opinion * opinion / _OPINION_DEVIATION
  weights = np.zeros((count, len(AXES)))
  weights[:, : len(TASTES)] = tastes + _TASTE_MEANS
  weights[:, TRUTH] = np.where(loves > 0, 0.5, 1.0)
  weights[:, TRUTH + 1 :] = style_rng.normal(0.3, 0.2, (count, 2))
  ids = tuple(f'stances/{i:05d}' for i in range(count))
  return People(ids, weights, opinion, loves, strength)


def utility(
  people: People, values: np.ndarray, opinion: np.ndarray | None = None
) -> np.ndarray:
  """Returns everybody's utility of every answer in logits, `[U, ...]`.

  Args:
    people: U people.
    values: `[..., 8]` on AXES.
    opinion: `[U]` instead of the people's own, as where opinions move.
  """
  held = people.opinion if opinion is None else opinion
  agreement = people.loves * people.strength * held
  weights = people.weights.copy()
  weights[:, STANCE] += agreement
  return np.tensordot(weights, values, axes=(1, -1))


def taste_utility(people: People, values: np.ndarray) -> np.ndarray:
  """Returns the utility of the four tastes alone, `[U, ...]`.

  Args:
    people: U people.
    values: `[..., 8]` on AXES.
  """
  tastes = len(TASTES)
  return np.tensordot(
    people.weights[:, :tastes], values[..., :tastes], axes=(1, -1)
  )


# ------------------------------------------------------- what a system sees


def detected(
  values: np.ndarray,
  factual: np.ndarray,
  *,
  seed: int,
  accuracy: float = 1.0,
  key_error: float = 0.0,
) -> np.ndarray:
  """Returns a copy of the values as a faulty detector and key see them.

  A stance is flipped with probability 1 - accuracy. The truth of factual
  answers is flipped for a whole question with probability `key_error`, and
  independently for each answer with the same; two flips cancel out. Under
  one seed, the errors of a lesser fault are among those of a greater, but
  for flips that cancel out.

  Args:
    values: `[S, K, 8]` on AXES.
    factual: `[S]` bool, the questions that have a true answer.
    seed: of the errors.
    accuracy: of the stance detector, in 0..1.
    key_error: in 0..1.

  Raises:
    ValueError: shapes do not fit, or a probability is out of range.
  """
  if values.ndim != 3 or factual.shape != values.shape[:1]:
    raise ValueError(
      f'values {values.shape} and factual {factual.shape}: give [S, K, '
      f'{len(AXES)}] and [S]'
    )
  _check_share('accuracy', accuracy)
  _check_share('key_error', key_error)
  stance_rng, question_rng, answer_rng = (
    np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
  )
  shape = values.shape[:2]
  seen = values.copy()
  seen[..., STANCE] *= np.where(stance_rng.random(shape) < accuracy, 1, -1)
  whole = question_rng.random((shape[0], 1)) < key_error
  single = answer_rng.random(shape) < key_error
  wrong = (whole ^ single) & (factual[:, None] > 0)
  seen[..., TRUTH] = np.where(wrong, 1 - seen[..., TRUTH], seen[..., TRUTH])
  return seen


def judgements(
  *,
  seed: int,
  people: People,
  pool: Pool,
  per_person: int,
  stated_share: float = 0.0,
) -> Judgements:
  """Returns what people prefer, among pairs drawn anew for each.

  The choice of pairs does not depend on the people's utilities, nor on the
  share of prompts that say the stance.

  Args:
    seed: of pairs and choices.
    people: U people.
    pool: with at least two answers to a question.
    per_person: judgements of each.
    stated_share: of judgements whose prompt says the person's stance.

  Raises:
    ValueError: an argument is out of range.
  """
  questions, answers = pool.values.shape[:2]
  if answers < 2:
    raise ValueError(f'pool has {answers} answer to a question; give it two')
  if per_person < 1:
    raise ValueError(f'per_person is {per_person}; it must be at least 1')
  _check_share('stated_share', stated_share)
  pair_rng, stated_rng, label_rng = (
    np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
  )
  user = np.repeat(np.arange(len(people.ids), dtype=np.int32), per_person)
  size = len(user)
  question = pair_rng.integers(0, questions, size, dtype=np.int32)
  first = pair_rng.integers(0, answers, size, dtype=np.int32)
  step = pair_rng.integers(1, answers, size, dtype=np.int32)
  second = (first + step) % answers
  says = stated_rng.random(size) < stated_share
  stated = np.where(says, np.sign(people.opinion)[user], 0).astype(np.int32)

  gap = pool.values[question, first] - pool.values[question, second]
  agreement = people.loves * people.strength * people.opinion
  logit = (people.weights[user] * gap).sum(1)
  logit += agreement[user] * gap[:, STANCE]
  label = (label_rng.random(size) < special.expit(logit)).astype(np.float32)
  return Judgements(user, question, first, second, stated, label)


def rows(
  people: People, pool: Pool, judgements: Judgements
) -> Iterator[dict[str, str]]:
  """Yields judgements in the schema of judgement rows, without the truth.

  A prompt that says the stance is a prompt of its own, with its own id.

  Raises:
    ValueError: the pool was written without texts.
  """
  if not pool.texts:
    raise ValueError('pool has no texts: write it with texts=True')
  said = {-1: '/preservation', 0: '', 1: '/growth'}
  columns = zip(*(column.tolist() for column in judgements), strict=True)
  for user, asked, first, second, stated, label in columns:
    question = pool.questions[asked]
    yield {
      'user_id': people.ids[user],
      'prompt_id': question.id + said[stated],
      'prompt': prompt(question, stated),
      'response_a': pool.texts[asked][first],
      'response_b': pool.texts[asked][second],
      'label': 'a' if label else 'b',
    }


def _check_split(split: str) -> None:
  if split not in SPLITS:
    raise ValueError(f'no split {split!r}; choose from {SPLITS}')


def _check_share(name: str, share: float) -> None:
  if not 0 <= share <= 1:
    raise ValueError(f'{name} is {share}; it must lie in 0..1')
