"""Data sets, split: who is trained on, who is asked, what is predicted."""

from collections.abc import Callable, Iterator

import numpy as np

from experiments import alpaca_world as alpaca
from experiments.personalized_vs_aggregate import truth
from prm_jax.data import load, pipelines, splits
from prm_jax.lab import fitting
from prm_jax.lab.fitting import CALIBRATION, FIT, TRAIN, UNUSED, VALIDATE
from prm_jax.models import embeddings, reduce
from prm_jax.worlds import attributes


class Embedder:
  """Text features by unit and layers, embedded once."""

  def __init__(self) -> None:
    self._known: dict[tuple, np.ndarray] = {}
    self._encoder: embeddings.Encoder | None = None

  def __call__(
    self, texts: list[str], unit: str, layers: tuple[int, ...]
  ) -> np.ndarray:
    """Returns `[M, len(layers) * D]`."""
    key = (unit, layers, hash(tuple(texts)))
    if key not in self._known:
      if self._encoder is None:
        self._encoder = embeddings.Encoder.load()
      self._known[key] = embeddings.embed(
        texts, self._encoder, layers=layers, unit=unit
      )
    return self._known[key]


def problems(
  config, name: str, seed: int, embed: Embedder
) -> Iterator[fitting.Problem]:
  """Yields the problems of one data set and seed."""
  if name.startswith('attributes_'):
    population = name.removeprefix('attributes_')
    yield from _attributes_problems(config, population, seed, embed)
  elif name == 'jester':
    yield _jester(config, seed, embed, held_out_jokes=False)
  elif name == 'jester_new_jokes':
    yield _jester(config, seed, embed, held_out_jokes=True)
  elif name == 'ukp_convarg':
    yield from _ukp_convarg(config, seed, embed)
  elif name == 'alpaca_eval':
    yield _alpaca_eval(config, seed, embed)
  else:
    raise ValueError(f'unknown data set {name!r} in data.names')


def _new_people(config, user_ids: list[str], seed: int) -> np.ndarray:
  """Returns `[U]` bool: people in part `seed` are new."""
  parts = splits.bucket(user_ids, 'people', config.people_parts)
  return parts == seed % config.people_parts


def _text_features(
  nodes,
  embed: Embedder,
  texts: list[str],
  train: np.ndarray,
  prompts: list[str] | None = None,
) -> dict[str, Callable[[], np.ndarray]]:
  """Returns the makers of the configured feature tables, and of `length`.

  Args:
    nodes: name -> plain data.
    embed: of texts.
    texts: M responses.
    train: `[M]` True where a reduction may look.
    prompts: M prompts, for features that end in a description of them.
  """
  length = embeddings.text_length_features(texts)

  def lengths():
    return reduce.standardisation(length, train)(length)

  def maker(node):
    def make():
      if node['unit'] == 'identity':
        return np.eye(len(texts), dtype=np.float32)
      raw = embed(texts, node['unit'], tuple(node['layers']))
      columns = reduce.principal_components(
        raw, train, node['components'], whiten=node['whiten']
      )(raw)
      if node['length']:
        columns = np.concatenate([columns, lengths()], 1)
      if node.get('prompt_components'):
        asked = embed(prompts or [], 'text', tuple(node['layers']))
        described = reduce.principal_components(
          asked, train, node['prompt_components'], whiten=True
        )(asked)
        columns = np.concatenate([columns, described], 1)
      return columns

    return make

  makers = {name: maker(dict(node)) for name, node in nodes.items()}
  return {**makers, 'length': lengths}


def _inner_by_group(groups: list[str], train: np.ndarray, seed: int):
  """A fifth of the groups validates; rows that do not train are unused."""
  part = splits.bucket(groups, f'inner{seed}', 5)
  return np.where(train, np.where(part == 0, VALIDATE, FIT), UNUSED)


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


def _attributes_problems(
  config, population: str, seed: int, embed: Embedder
) -> Iterator[fitting.Problem]:
  """Yields the simulated people, with encoder features and with the truth."""
  node = config.attributes
  options = attributes_options(config, population, seed)
  table = load.judgements('attributes', **options)
  world = load.attributes_world(**options)
  new = _new_people(config, table.user_ids, seed)[table.user]
  prompt = table.item_prompt[table.items[:, 0]]
  regimes = np.array([name.split('/')[0] for name in table.prompt_ids])
  regime = regimes[prompt]
  pairs = [f'{a}|{b}' for a, b in np.sort(table.items, 1)]
  held_pair = splits.bucket(pairs, f'pairs{seed}', 10) == 0
  split = np.where(
    regime == 'train',
    np.where(new, CALIBRATION, np.where(held_pair, 'new_pairs', TRAIN)),
    np.where(
      new,
      np.where(regime == 'new_prompts', 'new_people', 'unused'),
      np.where(regime == 'new_prompts', 'new_topics', 'new_lexicon'),
    ),
  )
  names = [table.prompt_ids[p] for p in prompt]
  inner = _inner_by_group(names, split == TRAIN, seed)
  trained = regimes[table.item_prompt] == 'train'
  values, oracle = truth.of_table(attributes.truth(world), table)
  common = {
    'seed': seed,
    'fold': 0,
    'user_ids': table.user_ids,
    'prompt_ids': [table.prompt_ids[p] for p in table.item_prompt],
    'texts': table.texts,
    'unit': [table.prompt_ids[p] for p in table.item_prompt],
    'units': 'prompts',
    'judged': fitting.judgements(table.user, table.items, table.label),
    'split': split,
    'inner': inner,
    'oracle': oracle,
  }
  features = _text_features(
    node.features, embed, table.texts, trained,
    [table.prompts[p] for p in table.item_prompt],
  )  # fmt: skip
  seen = ~_new_people(config, list(world.people), seed)
  bounds = truth.ceilings(world, np.flatnonzero(seen))
  item_topic = np.array(table.topics)[table.item_prompt]

  def what_text_carries():
    widest = features['sentences']()
    carried = truth.decodability(
      widest, values, regimes[table.item_prompt], item_topic
    )
    same = {'data': f'attributes_{population}', 'seed': seed}
    return {
      'ceilings': bounds,
      'decodability': [{**same, **row} for row in carried],
    }

  data = f'attributes_{population}'
  yield fitting.Problem(
    data=data, features=features, truth=what_text_carries, **common
  )
  levels = {
    'levels': lambda: values.astype(np.float32),
    'length': features['length'],
  }
  yield fitting.Problem(
    data=data,
    features=levels,
    features_name='levels',
    truth=lambda: {'ceilings': bounds},
    **common,
  )


def _ukp_convarg(
  config, seed: int, embed: Embedder
) -> Iterator[fitting.Problem]:
  """Yields seven folds over debates, both sides of a debate together."""
  node = config.ukp_convarg
  table = load.judgements('ukp_convarg', data_dir=config.data.dir or None)
  strict = table.label != 0.5
  user, items = table.user[strict], table.items[strict]
  label = table.label[strict]
  new = _new_people(config, table.user_ids, seed)[user]
  topic_of_item = np.array(table.topics)[table.item_prompt]
  topic = topic_of_item[items[:, 0]]
  names = sorted(set(topic.tolist()))
  folds = splits.folds(topic.tolist(), node.folds, f'folds{seed}')
  pair = [
    f'{table.user_ids[u]}|{a}|{b}'
    for u, (a, b) in zip(user, np.sort(items, 1), strict=True)
  ]
  held_pair = splits.bucket(pair, f'pairs{seed}', 10) == 0
  # Calibration answers are nested: one random order for each person.
  order = np.random.default_rng([seed, 1]).permutation(len(user))
  for fold in range(node.get('folds_run', node.folds)):
    out = folds == fold
    split = np.where(
      out,
      np.where(new, 'new_people', 'new_topics'),
      np.where(new, CALIBRATION, np.where(held_pair, 'new_pairs', TRAIN)),
    )
    validated = set(
      np.random.default_rng([seed, fold])
      .permutation(sorted(set(topic[~out].tolist())))[: len(names) // 5]
      .tolist()
    )
    inside = np.isin(topic, list(validated))
    inner = np.where(split == TRAIN, np.where(inside, VALIDATE, FIT), UNUSED)
    trained = ~np.isin(topic_of_item, sorted(set(topic[out].tolist())))
    yield fitting.Problem(
      data='ukp_convarg',
      seed=seed,
      fold=fold,
      user_ids=table.user_ids,
      prompt_ids=[table.prompt_ids[p] for p in table.item_prompt],
      texts=table.texts,
      unit=topic_of_item.tolist(),
      units='debates',
      judged=fitting.judgements(user[order], items[order], label[order]),
      split=split[order],
      inner=inner[order],
      features=_text_features(
        node.features,
        embed,
        table.texts,
        trained,
        [table.prompts[p] for p in table.item_prompt],
      ),
      oracle=np.full(len(user), np.nan),
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
  config, seed: int, embed: Embedder, *, held_out_jokes: bool
) -> fitting.Problem:
  """Returns joke ratings as pairs; ratings are held out before pairing."""
  node = config.jester
  ratings, new, random_held, rng = jester_ratings(config, seed)
  people, jokes = len(ratings.user_ids), len(ratings.texts)
  if held_out_jokes:
    out = splits.bucket([str(j) for j in range(jokes)], f'jokes{seed}', 5) == 0
    held = out[ratings.item]
    name = 'new_topics'
    usable = ~new
  else:
    out = np.zeros(jokes, bool)
    held, name = random_held, 'new_pairs'
    usable = np.ones(len(new), bool)
  # A second draw splits the training ratings for the inner search.
  inner_held = rng.random(len(ratings.user)) < 0.2
  if held_out_jokes:
    inside = splits.bucket([str(j) for j in range(jokes)], f'inner{seed}', 5)
    inner_held = (inside == 0)[ratings.item]

  def pairs(chosen, cap, scale, part):
    return pipelines.pairs_from_ratings(
      pipelines.select(ratings, chosen & usable),
      min_gap=node.min_gap,
      scale=scale,
      per_person=cap,
      seed=seed * 10 + part,
    )

  cap = node.pairs_per_person
  # A pair validates if both of its ratings are held out within training, and
  # fits if neither is: the two share no rating.
  parts = [
    (pairs(~new & ~held, cap, node.scale, 0), TRAIN),
    (pairs(~new & held, 50, None, 1), name),
    (pairs(new & ~held, 60, None, 2), CALIBRATION),
    (pairs(new & held, 50, None, 3), 'new_people'),
  ]
  user = np.concatenate([p.user for p, _ in parts])
  items = np.concatenate([p.items for p, _ in parts])
  split = np.concatenate([np.full(len(p.user), s) for p, s in parts])
  validates = np.zeros((people, jokes), bool)
  validates[ratings.user, ratings.item] = inner_held
  both = validates[user[:, None], items]
  inner = np.where(both.all(1), VALIDATE, np.where(both.any(1), UNUSED, FIT))
  return fitting.Problem(
    data='jester',
    features_name='text' if held_out_jokes else 'identity',
    seed=seed,
    fold=0,
    user_ids=ratings.user_ids,
    prompt_ids=['joke'] * jokes,
    texts=ratings.texts,
    unit=[str(joke) for joke in range(jokes)],
    units='jokes',
    judged=fitting.judgements(
      user, items, np.concatenate([p.label for p, _ in parts])
    ),
    split=split,
    inner=np.where(split == TRAIN, inner, UNUSED),
    features=_text_features(node.features, embed, ratings.texts, ~out),
    oracle=np.full(len(user), np.nan),
  )


def _alpaca_eval(config, seed: int, embed: Embedder) -> fitting.Problem:
  """Returns simulated people who judge real responses; see `alpaca_world`."""
  node = config.alpaca_eval
  found = alpaca.of(config, seed)
  people, new = found.world, _new_people(config, list(found.world.people), seed)
  held_out = found.held_out[people.items[:, 0]]
  new = new[people.user]
  pairs = [f'{a}|{b}' for a, b in np.sort(people.items, 1)]
  held_pair = splits.bucket(pairs, f'pairs{seed}', 10) == 0
  split = np.where(
    held_out,
    np.where(new, 'new_people', 'new_topics'),
    np.where(new, CALIBRATION, np.where(held_pair, 'new_pairs', TRAIN)),
  )
  names = [found.prompt_ids[p] for p in found.item_prompt[people.items[:, 0]]]
  return fitting.Problem(
    data='alpaca_eval',
    seed=seed,
    fold=0,
    user_ids=list(people.people),
    prompt_ids=[found.prompt_ids[p] for p in found.item_prompt],
    texts=found.texts,
    unit=[found.prompt_ids[p] for p in found.item_prompt],
    units='prompts',
    judged=fitting.judgements(people.user, people.items, people.label),
    split=split,
    inner=_inner_by_group(names, split == TRAIN, seed),
    features=_text_features(
      node.features,
      embed,
      found.texts,
      ~found.held_out,
      [found.prompts[p] for p in found.item_prompt],
    ),
    oracle=people.probability,
  )
