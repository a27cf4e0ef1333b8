"""Data sets, split: who is trained on, who is asked, what is predicted."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy import special

from prm_jax.audits import read_outs
from prm_jax.data import judged_outputs, load, pipelines, schema, splits
from prm_jax.lab import fitting
from prm_jax.lab.fitting import CALIBRATION, FIT, TRAIN, UNUSED, VALIDATE
from prm_jax.models import features
from prm_jax.worlds import attributes

# The regime whose pairs bound what a rule for everyone reaches on a split.
_CEILINGS = {'new_topics': 'new_prompts', 'new_lexicon': 'new_lexicon'}


def problems(
  config, name: str, seed: int, source: features.Source
) -> Iterator[fitting.Problem]:
  """Yields the problems of one data set and seed.

  Raises:
    ValueError: there is no such data set.
  """
  if name.startswith('attributes_'):
    yield from _attributes(config, name, seed, source)
  elif name in ('jester', 'jester_new_jokes'):
    yield _jester(config, seed, source, new_jokes=name != 'jester')
  elif name == 'ukp_convarg':
    yield from _ukp_convarg(config, seed, source)
  elif name == 'alpaca_eval':
    yield _alpaca_eval(config, seed, source)
  else:
    raise ValueError(f'unknown data set {name!r} in data.names')


def _new_people(config, user_ids: list[str], seed: int) -> np.ndarray:
  """Returns `[U]` bool: people in part `seed` are new."""
  parts = splits.bucket(user_ids, 'people', config.people_parts)
  return parts == seed % config.people_parts


def _held_pairs(table, seed: int, *, of_each: bool = False) -> np.ndarray:
  """Returns `[n]` whether a pair is held out, of everybody or of each."""
  names = pipelines.pair_names(table, of_each=of_each)
  return splits.bucket(names, f'pairs{seed}', 10) == 0


def _split(new, held_out, held_pair) -> np.ndarray:
  """Returns what each row is for, of people, texts and pairs that are new."""
  return np.where(
    held_out,
    np.where(new, fitting.NEW_PEOPLE, 'new_topics'),
    np.where(new, CALIBRATION, np.where(held_pair, 'new_pairs', TRAIN)),
  )


def _roles(split: np.ndarray, validates: np.ndarray) -> np.ndarray:
  """Returns the roles of rows in the inner search; who trains has one."""
  return np.where(split == TRAIN, np.where(validates, VALIDATE, FIT), UNUSED)


def _of_prompts(
  config, table: schema.Judgements, split, trained, source, **parts
) -> fitting.Problem:
  """Returns a problem of which a fifth of the prompts validates searches.

  Args:
    config: of the data set: `features`.
    table: judgements.
    split: `[n]` what each is for.
    trained: `[M]` True for texts that a reduction may look at.
    source: of features.
    **parts: of the problem.
  """
  names = [table.prompt_ids[p] for p in table.item_prompt[table.items[:, 0]]]
  inner = splits.bucket(names, f'inner{parts["seed"]}', 5)
  return fitting.of_table(
    table,
    split=split,
    inner=_roles(split, inner == 0),
    features=features.configured(
      config.features, source, table.texts, trained, table.prompt_texts
    ),
    **parts,
  )


# ------------------------------------------- simulated people, simulated texts


def attributes_options(config, population: str, seed: int) -> dict:
  """Returns what a simulated population is made with."""
  sizes = (
    'people',
    'answers',
    'held_out_answers',
    'responses_per_prompt',
    'held_out_responses',
  )
  options = {name: config.attributes[name] for name in sizes}
  if population == 'two_attribute':
    options['people'] = 84
  return {'population': population, 'seed': seed, **options}


def _attributes(
  config, name: str, seed: int, source: features.Source
) -> Iterator[fitting.Problem]:
  """Yields the simulated people, with encoder features and with the truth."""
  options = attributes_options(config, name.removeprefix('attributes_'), seed)
  table = load.judgements('attributes', **options)
  world = load.attributes_world(**options)
  new_people = _new_people(config, table.user_ids, seed)
  regimes = np.array([prompt.split('/')[0] for prompt in table.prompt_ids])
  regimes = regimes[table.item_prompt]
  regime, new = regimes[table.items[:, 0]], new_people[table.user]
  split = np.where(
    regime == 'new_lexicon',
    np.where(new, fitting.NOT_USED, 'new_lexicon'),
    _split(new, regime != 'train', _held_pairs(table, seed)),
  )
  known = attributes.truth(world)
  values, weights = known.of(table.texts, table.user_ids)
  gap = values[table.items[:, 0]] - values[table.items[:, 1]]
  margin = known.scale * np.sum(gap * weights[table.user], 1)
  seen = np.flatnonzero(~_new_people(config, list(world.people), seed))
  cell = {'data': name, 'seed': seed}

  def truth(kind, **tables):
    ceilings = [
      {**cell, 'features': kind, 'split': split}
      | attributes.ceilings(world, of, seen.tolist())
      for split, of in _CEILINGS.items()
    ]
    return {'ceilings': ceilings, **tables}

  def carried():
    topics = np.array(table.topics)[table.item_prompt]
    rows = _decodability(text.features['sentences'](), values, regimes, topics)
    return truth('text', decodability=[{**cell, **row} for row in rows])

  text = _of_prompts(
    config.attributes,
    table,
    split,
    regimes == 'train',
    source,
    oracle=special.expit(margin),
    truth=carried,
    **cell,
  )
  yield text
  levels = {
    'levels': lambda: values.astype(np.float32),
    'length': text.features['length'],
  }
  yield dataclasses.replace(
    text, features=levels, features_name='levels', truth=lambda: truth('levels')
  )


def _decodability(columns, values, regimes, topics) -> list[dict]:
  """Returns how well each attribute's level can be read from features."""
  read = read_outs.across_topics(columns, values, topics, regimes == 'train')
  prompts, words = (
    read_outs.correlations(read[regimes == new], values[regimes == new])
    for new in ('new_prompts', 'new_lexicon')
  )
  return [
    {
      'attribute': attribute,
      'correlation_new_prompts': float(prompts[k]),
      'correlation_new_lexicon': float(words[k]),
    }
    for k, attribute in enumerate(attributes.ATTRIBUTES)
  ]


# -------------------------------------------- simulated people, real responses


def judged_world(config, seed: int) -> judged_outputs.JudgedOutputs:
  """Returns the people who judge AlpacaEval's responses."""
  node = config.alpaca_eval
  return judged_outputs.judged_outputs(
    config.data.dir,
    seed=seed,
    people=node.people,
    answers=node.answers,
    prompt_parts=node.prompt_parts,
  )


def _alpaca_eval(config, seed: int, source: features.Source) -> fitting.Problem:
  table, held_out, world = judged_world(config, seed)
  new = _new_people(config, table.user_ids, seed)[table.user]
  return _of_prompts(
    config.alpaca_eval,
    table,
    _split(new, held_out[table.items[:, 0]], _held_pairs(table, seed)),
    ~held_out,
    source,
    data='alpaca_eval',
    seed=seed,
    oracle=world.probability,
  )


# ----------------------------------------------------------------- real people


def _ukp_convarg(
  config, seed: int, source: features.Source
) -> Iterator[fitting.Problem]:
  """Yields seven folds over debates, both sides of a debate together."""
  node = config.ukp_convarg
  table = load.judgements('ukp_convarg', data_dir=config.data.dir or None)
  table = pipelines.select(table, table.label != 0.5)
  new = _new_people(config, table.user_ids, seed)[table.user]
  topic_of_item = np.array(table.topics)[table.item_prompt]
  topic = topic_of_item[table.items[:, 0]]
  names = sorted(set(topic.tolist()))
  folds = splits.folds(topic.tolist(), node.folds, f'folds{seed}')
  held_pair = _held_pairs(table, seed, of_each=True)
  # Calibration answers are nested: one random order for each person.
  order = np.random.default_rng([seed, 1]).permutation(len(topic))
  for fold in range(node.get('folds_run', node.folds)):
    out = folds == fold
    split = _split(new, out, held_pair)
    others = sorted(set(topic[~out].tolist()))
    drawn = np.random.default_rng([seed, fold]).permutation(others)
    inner = _roles(split, np.isin(topic, drawn[: len(names) // 5]))
    yield fitting.of_table(
      pipelines.select(table, order),
      data='ukp_convarg',
      seed=seed,
      fold=fold,
      unit=topic_of_item.tolist(),
      units='debates',
      split=split[order],
      inner=inner[order],
      features=features.configured(
        node.features,
        source,
        table.texts,
        ~np.isin(topic_of_item, topic[out]),
        table.prompt_texts,
      ),
    )


def jester_ratings(config, seed: int):
  """Returns the ratings, who is new, what is held out, and a generator.

  Returns:
    `(ratings, new [n] bool, held [n] bool, rng)`.
  """
  ratings = load.ratings('jester', data_dir=config.data.dir or None)
  new = _new_people(config, ratings.user_ids, seed)[ratings.user]
  rng = np.random.default_rng([seed, 2])
  return ratings, new, rng.random(len(ratings.user)) < 0.2, rng


def _jester(
  config, seed: int, source: features.Source, *, new_jokes: bool
) -> fitting.Problem:
  """Returns joke ratings as pairs; ratings are held out before pairing."""
  node = config.jester
  ratings, new, held, rng = jester_ratings(config, seed)
  people, jokes = len(ratings.user_ids), len(ratings.texts)
  numbers = [str(joke) for joke in range(jokes)]
  # A second draw splits the training ratings for the inner search.
  inner_held = rng.random(len(ratings.user)) < 0.2
  out, name, usable = (
    np.zeros(jokes, bool),
    'new_pairs',
    np.ones(len(new), bool),
  )
  if new_jokes:
    out = splits.bucket(numbers, f'jokes{seed}', 5) == 0
    held, name, usable = out[ratings.item], 'new_topics', ~new
    inside = splits.bucket(numbers, f'inner{seed}', 5)
    inner_held = (inside == 0)[ratings.item]
  parts = [
    (~new & ~held, node.pairs_per_person, node.scale, TRAIN),
    (~new & held, 50, None, name),
    (new & ~held, 60, None, CALIBRATION),
    (new & held, 50, None, fitting.NEW_PEOPLE),
  ]
  tables = [
    pipelines.pairs_from_ratings(
      pipelines.select(ratings, chosen & usable),
      min_gap=node.min_gap,
      scale=scale,
      per_person=cap,
      seed=seed * 10 + part,
    )
    for part, (chosen, cap, scale, _) in enumerate(parts)
  ]
  table = pipelines.joined(tables)
  split = np.repeat([p[-1] for p in parts], [len(t.user) for t in tables])
  # A pair validates if both of its ratings are held out within training, and
  # fits if neither is: the two share no rating.
  validates = np.zeros((people, jokes), bool)
  validates[ratings.user, ratings.item] = inner_held
  both = validates[table.user[:, None], table.items]
  inner = _roles(split, both.all(1))
  return fitting.of_table(
    table,
    data='jester',
    features_name='text' if new_jokes else 'identity',
    seed=seed,
    unit=numbers,
    units='jokes',
    split=split,
    inner=np.where(both.any(1) & ~both.all(1), UNUSED, inner),
    features=features.configured(
      node.features, source, ratings.texts, ~out, ratings.prompt_texts
    ),
  )
