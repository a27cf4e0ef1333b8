"""Triples for policy discrimination: reference, positive, negative.

Reference and positive are of one policy, the negative is another policy's
answer to the positive's prompt, so that the topic does not tell them apart.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from prm_jax.data import schema, splits

# Policies of AlpacaEval that are two servings of one model. The source names
# a second pair, but only one of its policies has outputs here.
SERVINGS = (('claude', 'bedrock_claude'),)
_SALT = 'policy_discriminators'  # of the order of prompts
LENGTH_FACTOR = 0.1  # greatest log ratio of matched lengths
_FAMILIES = {
  'openai': ('text_davinci', 'gpt-3.5', 'gpt4', 'gpt-4', 'answer_gpt'),
  'claude': ('claude', 'bedrock_claude'),
  'llama-2': ('llama-2-',),
  'llama-3': ('Meta-Llama-3', 'Llama-3-'),
  'mixtral': ('Mixtral',),
  'alpaca': ('alpaca-',),
  'vicuna': ('vicuna-', 'answer_vicuna'),
  'guanaco': ('guanaco-',),
  'phi': ('phi-2',),
  'gemma': ('gemma-',),
  'zephyr': ('zephyr-',),
  'tulu': ('tulu-',),
  'starling': ('Starling-',),
  'qwen': ('Qwen',),
  'yi': ('Yi-',),
  'falcon': ('falcon-',),
  'oasst': ('oasst-',),
  'chatglm': ('chatglm',),
  'wizardlm': ('wizardlm-',),
  'minichat': ('minichat-',),
  'ultralm': ('ultralm-',),
  'gemini': ('gemini-',),
  'bard': ('answer_bard',),
  'cohere': ('cohere',),
  'dbrx': ('dbrx-',),
}


def some(
  outputs: schema.PolicyOutputs, chosen: np.ndarray
) -> schema.PolicyOutputs:
  """Returns the texts of a mask `[M]`; prompts and policies stay as they are.

  Args:
    outputs: M texts.
    chosen: bool.
  """
  return dataclasses.replace(
    outputs,
    texts=[outputs.texts[i] for i in np.flatnonzero(chosen)],
    item_prompt=outputs.item_prompt[chosen],
    item_policy=outputs.item_policy[chosen],
    judge=outputs.judge[chosen],
  )


class Triples(NamedTuple):
  """Rows of texts, and who wrote them; all `[N]` int32.

  Attributes:
    reference, positive, negative: rows of `outputs.texts`.
    policy: of reference and positive, a row of `outputs.policies`.
    other: policy of the negative.
  """

  reference: np.ndarray
  positive: np.ndarray
  negative: np.ndarray
  policy: np.ndarray
  other: np.ndarray

  @property
  def items(self) -> np.ndarray:
    """Returns positive, negative and reference of every row, `[N, 3]`."""
    return np.stack([self.positive, self.negative, self.reference], 1)

  def take(self, chosen: np.ndarray) -> 'Triples':
    """Returns some rows: by mask or number."""
    return Triples(*(column[chosen] for column in self))


def joined(*parts: Triples) -> Triples:
  """Returns the rows of all, one after another."""
  return Triples(*map(np.concatenate, zip(*parts, strict=True)))


class Split(NamedTuple):
  """Who and what is held out.

  Attributes:
    train, test: rows of `outputs.policies`.
    train_prompts, test_prompts: rows of `outputs.prompts`.
  """

  train: np.ndarray
  test: np.ndarray
  train_prompts: np.ndarray
  test_prompts: np.ndarray

  def trains(self, outputs: schema.PolicyOutputs) -> np.ndarray:
    """Returns which texts may be trained on, `[M]` bool."""
    policy = np.isin(outputs.item_policy, self.train)
    return policy & np.isin(outputs.item_prompt, self.train_prompts)


@dataclasses.dataclass(frozen=True)
class _Pool:
  """Outputs by prompt, and what tells them apart.

  Attributes:
    outputs: all of them.
    items: `[m]` allowed texts.
    by_prompt: `[P, C]` allowed texts of every prompt, -1 where there is none.
    code: `[M]` equal for equal texts; log_length: `[M]` of characters.
    alike: `[A, A]` bool: never each other's negatives.
    keep_identical: equal texts are allowed as positive and negative.
  """

  outputs: schema.PolicyOutputs
  items: np.ndarray
  by_prompt: np.ndarray
  code: np.ndarray
  log_length: np.ndarray
  alike: np.ndarray
  keep_identical: bool

  def of(self, policy: int) -> np.ndarray:
    """Returns the policy's texts by prompt, `[P, S]`, -1 where none is."""
    items = self.items[self.outputs.item_policy[self.items] == policy]
    prompts = len(self.outputs.prompts)
    return _padded(self.outputs.item_prompt[items], items, prompts)

  def differs(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns whether two texts differ, or may be equal."""
    return self.keep_identical | (self.code[first] != self.code[second])

  def possible(self, positive: np.ndarray, policy: int) -> np.ndarray:
    """Returns which of `by_prompt` may be negatives, `[n, C]` bool."""
    found = self.by_prompt[self.outputs.item_prompt[positive]]
    apart = ~self.alike[policy][self.outputs.item_policy[found]]
    return (found >= 0) & apart & self.differs(found, positive[:, None])


def draw(
  outputs: schema.PolicyOutputs,
  *,
  policies: Sequence[int] | np.ndarray,
  prompts: Sequence[int] | np.ndarray,
  per_policy: int,
  seed: int,
  references: Sequence[int] | np.ndarray | None = None,
  same_prompt: bool = False,
  length_matched: bool = False,
  same: Sequence[tuple[str, str]] | None = None,
  keep_identical: bool = False,
) -> Triples:
  """Returns triples, policy by policy.

  Each prompt is the positive's about equally often. The negative's policy is
  uniform over those that may be it. Texts are identical if equal but for
  white space at the ends. The same seed gives the same references and
  positives with and without `length_matched`, but for the rows left out.

  Args:
    outputs: what policies answered.
    policies: rows of `outputs.policies` that may occur.
    prompts: rows of `outputs.prompts` that may occur.
    per_policy: rows for every policy.
    seed: of the draw.
    references: those of `policies` to draw rows for; all if None.
    same_prompt: reference and positive are two different texts of the policy
      to one prompt; else they are to two prompts, and may be equal, as with
      a policy that always says the same.
    length_matched: the negative is the possible one whose length in
      characters is closest to the positive's in log ratio, at most
      LENGTH_FACTOR away. Rows without such a one are left out, so that fewer
      rows come back.
    same: pairs of policies' names that are two servings of one model: never
      one another's negatives.
    keep_identical: a negative may equal the positive, and two samples each
      other. Shows that policies that answer alike are at chance.

  Raises:
    ValueError: an index or name is unknown, or a policy (which is named) has
      too few answers, or no possible negative in any row.
  """
  policies = _indices(policies, len(outputs.policies), 'policies')
  prompts = _indices(prompts, len(outputs.prompts), 'prompts')
  if references is None:
    references = policies
  references = _indices(references, len(outputs.policies), 'references')
  if not np.isin(references, policies).all():
    raise ValueError('references: not all of them are among policies')
  if per_policy < 1:
    raise ValueError(f'per_policy: {per_policy} is less than 1')
  pool = _pool(outputs, policies, prompts, same, keep_identical)
  parts = []
  for policy in references:
    rng = np.random.default_rng((seed, int(policy)))
    pairs = _same_prompt if same_prompt else _two_prompts
    reference, positive = pairs(pool, rng, int(policy), per_policy)
    parts.append(
      _triples(pool, rng, int(policy), reference, positive, 1, length_matched)
    )
  return joined(*parts)


def second_servings(
  outputs: schema.PolicyOutputs,
  pair: tuple[str, str],
  *,
  prompts: Sequence[int] | np.ndarray,
  others: Sequence[int] | np.ndarray,
  seed: int,
  per_prompt: int = 1,
  length_matched: bool = False,
  keep_identical: bool = False,
) -> Triples:
  """Returns triples of two servings of one model, on one prompt each.

  Prompts that not both servings answer, or to which they give identical
  answers, are left out.

  Args:
    outputs: what policies answered.
    pair: names of the servings that give the reference and the positive.
      `policy` is the reference's.
    prompts: rows of `outputs.prompts` that may occur.
    others: rows of `outputs.policies` whose answers may be negatives.
    seed: of the draw.
    per_prompt: different negatives of a prompt, or as many as there are.
    length_matched: as in `draw`.
    keep_identical: as in `draw`.

  Raises:
    ValueError: an index or name is unknown, one of the pair is among
      `others`, or nothing is left.
  """
  prompts = _indices(prompts, len(outputs.prompts), 'prompts')
  others = _indices(others, len(outputs.policies), 'others')
  one, two = (_named(outputs, name, 'pair') for name in pair)
  if one == two or np.isin([one, two], others).any():
    raise ValueError(f'pair: {pair} must be two policies, not among others')
  if per_prompt < 1:
    raise ValueError(f'per_prompt: {per_prompt} is less than 1')
  allowed = np.array([one, two, *others])
  pool = _pool(outputs, allowed, prompts, [pair], keep_identical)
  rng = np.random.default_rng(seed)
  first, second = pool.of(one), pool.of(two)
  both = np.flatnonzero((first >= 0).any(1) & (second >= 0).any(1))
  reference, positive = (
    _pick(rng, texts[both], texts[both] >= 0) for texts in (first, second)
  )
  kept = pool.differs(reference, positive)
  if not kept.any():
    raise ValueError(f'pair: {pair} answer no prompt both and differently')
  return _triples(
    pool, rng, one, reference[kept], positive[kept], per_prompt, length_matched
  )


def split(
  outputs: schema.PolicyOutputs,
  fold: int,
  count: int,
  *,
  without: Sequence[str] = (),
) -> Split:
  """Returns what a fold holds out: policies by family, prompts by hash.

  Args:
    outputs: whose prompts are those that have a text.
    fold: its number.
    count: folds.
    without: names of policies that are on neither side.
  """
  group = folds(outputs.policies, count, 0)
  present = ~np.isin(outputs.policies, without)
  prompts = in_order(outputs, np.unique(outputs.item_prompt))
  held = np.arange(len(prompts)) % count == fold
  return Split(
    np.flatnonzero((group != fold) & present),
    np.flatnonzero((group == fold) & present),
    np.sort(prompts[~held]),
    np.sort(prompts[held]),
  )


def inner_splits(
  outputs: schema.PolicyOutputs, held: Split, count: int
) -> list[Split]:
  """Returns splits of the training policies and prompts alone.

  Args:
    outputs: what policies answered.
    held: what is held out; its test part is on neither side.
    count: folds.
  """
  names = [outputs.policies[policy] for policy in held.train]
  group = folds(names, count, 1)
  part = np.arange(len(held.train_prompts)) % count
  return [
    Split(
      held.train[group != fold],
      held.train[group == fold],
      held.train_prompts[part != fold],
      held.train_prompts[part == fold],
    )
    for fold in range(count)
  ]


def in_order(outputs: schema.PolicyOutputs, prompts: np.ndarray) -> np.ndarray:
  """Returns rows of `outputs.prompts` in the order of a hash of their names."""
  names = [outputs.prompt_ids[prompt] for prompt in prompts]
  return prompts[np.argsort(splits.bucket(names, _SALT, 1 << 30))]


def families(policies: Sequence[str]) -> np.ndarray:
  """Returns the family of every policy, `[P]` int32 by first appearance.

  A family is a line of models, by the prefixes of AlpacaEval's names; a name
  that is not known is a family of its own. Families may share a base model
  (vicuna, guanaco and alpaca are all fine-tuned LLaMA).
  """
  known: dict[str, int] = {}
  names = [known.setdefault(_family(p), len(known)) for p in policies]
  return np.array(names, np.int32)


def folds(policies: Sequence[str], count: int, seed: int) -> np.ndarray:
  """Returns the fold of every policy, `[P]` int32, families kept whole.

  Families are dealt from the largest to the smallest fold; ties by hash.

  Raises:
    ValueError: there are fewer families than folds, or no folds.
  """
  if count < 1:
    raise ValueError(f'count: {count} is less than 1')
  names = [_family(policy) for policy in policies]
  if len(set(names)) < count:
    raise ValueError(f'{len(set(names))} families do not make {count} folds')
  return splits.folds(names, count, f'policies{seed}').astype(np.int32)


def _family(policy: str) -> str:
  for family, prefixes in _FAMILIES.items():
    if policy.startswith(prefixes):
      return family
  return f'={policy}'


def _indices(
  values: Sequence[int] | np.ndarray, size: int, name: str
) -> np.ndarray:
  """Returns sorted indices.

  Raises:
    ValueError: they are not distinct rows of `size`, or there are none.
  """
  indices = np.asarray(values)
  integral = np.issubdtype(indices.dtype, np.integer)
  if indices.ndim != 1 or not indices.size or not integral:
    raise ValueError(f'{name}: expected at least one index, in one dimension')
  if indices.min() < 0 or indices.max() >= size:
    raise ValueError(f'{name}: not all indices are in [0, {size})')
  if len(np.unique(indices)) < len(indices):
    raise ValueError(f'{name}: an index occurs twice')
  return np.sort(indices)


def _named(outputs: schema.PolicyOutputs, policy: str, name: str) -> int:
  if policy not in outputs.policies:
    raise ValueError(f'{name}: {policy!r} is none of the policies')
  return outputs.policies.index(policy)


def _pool(
  outputs: schema.PolicyOutputs,
  policies: np.ndarray,
  prompts: np.ndarray,
  same: Sequence[tuple[str, str]] | None,
  keep_identical: bool,
) -> _Pool:
  alike = np.eye(len(outputs.policies), dtype=bool)
  for pair in same or ():
    one, two = (_named(outputs, name, 'same') for name in pair)
    alike[one, two] = alike[two, one] = True
  allowed = np.isin(outputs.item_policy, policies)
  items = np.flatnonzero(allowed & np.isin(outputs.item_prompt, prompts))
  codes: dict[str, int] = {}
  code = [codes.setdefault(t.strip(), len(codes)) for t in outputs.texts]
  length = np.array([max(len(text), 1) for text in outputs.texts])
  return _Pool(
    outputs=outputs,
    items=items,
    by_prompt=_padded(outputs.item_prompt[items], items, len(outputs.prompts)),
    code=np.array(code),
    log_length=np.log(length),
    alike=alike,
    keep_identical=keep_identical,
  )


def _padded(keys: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
  """Returns the values of every key, `[size, largest group]`, -1 after."""
  order = np.argsort(keys, kind='stable')
  count = np.bincount(keys, minlength=size)
  column = np.arange(len(keys)) - np.repeat(np.cumsum(count) - count, count)
  padded = np.full((size, max(count.max(initial=0), 1)), -1)
  padded[keys[order], column] = values[order]
  return padded


def _two_prompts(
  pool: _Pool, rng: np.random.Generator, policy: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns references and positives `[count]`, on two prompts each."""
  own = pool.of(policy)
  answered = np.flatnonzero((own >= 0).any(1))
  if len(answered) < 2:
    name = pool.outputs.policies[policy]
    raise ValueError(f'{name} answers fewer than two of the prompts')
  usable = _usable(pool, policy, own)
  prompt = _rounds(rng, np.flatnonzero(usable.any(1)), count)
  step = rng.integers(1, len(answered), count)
  place = (np.searchsorted(answered, prompt) + step) % len(answered)
  elsewhere = own[answered[place]]
  reference = _pick(rng, elsewhere, elsewhere >= 0)
  return reference, _pick(rng, own[prompt], usable[prompt])


def _same_prompt(
  pool: _Pool, rng: np.random.Generator, policy: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns references and positives `[count]`, on one prompt each."""
  own = pool.of(policy)
  there, samples = own >= 0, own.shape[1]
  two = there[:, :, None] & there[:, None] & ~np.eye(samples, dtype=bool)
  two &= pool.differs(own[:, :, None], own[:, None])
  name = pool.outputs.policies[policy]
  if not two.any():
    raise ValueError(f'{name} has no two samples for any prompt')
  two &= _usable(pool, policy, own)[:, None]
  if not two.any():
    raise ValueError(f'{name} has a possible negative for no two samples')
  two = two.reshape(len(own), -1)
  prompt = _rounds(rng, np.flatnonzero(two.any(1)), count)
  columns = np.broadcast_to(np.arange(samples**2), (count, samples**2))
  first, second = np.divmod(_pick(rng, columns, two[prompt]), samples)
  return own[prompt, first], own[prompt, second]


def _usable(pool: _Pool, policy: int, own: np.ndarray) -> np.ndarray:
  """Returns which texts have a possible negative, of `[P, S]`.

  Raises:
    ValueError: none has.
  """
  usable = np.zeros(own.shape, bool)
  there = own >= 0
  usable[there] = pool.possible(own[there], policy).any(1)
  if not usable.any():
    name = pool.outputs.policies[policy]
    raise ValueError(
      f'{name} has no possible negative: no other policy that may be one '
      'answers a prompt of its differently'
    )
  return usable


def _rounds(
  rng: np.random.Generator, values: np.ndarray, count: int
) -> np.ndarray:
  """Returns `[count]` values, all of them in random order before any again."""
  rounds = np.tile(values, (-(-count // len(values)), 1))
  return rng.permuted(rounds, axis=1).ravel()[:count]


def _pick(
  rng: np.random.Generator, values: np.ndarray, mask: np.ndarray
) -> np.ndarray:
  """Returns one value of every row, uniform where the mask `[n, C]` is set."""
  column = np.where(mask, rng.random(mask.shape), -1.0).argmax(1)
  return np.take_along_axis(values, column[:, None], 1)[:, 0]


def _triples(
  pool: _Pool,
  rng: np.random.Generator,
  policy: int,
  reference: np.ndarray,
  positive: np.ndarray,
  count: int,
  length_matched: bool,
) -> Triples:
  """Returns the rows with their negatives, at most `count` each.

  Raises:
    ValueError: no row has one.
  """
  mask = pool.possible(positive, policy)
  found = pool.by_prompt[pool.outputs.item_prompt[positive]]
  mask &= pool.differs(found, reference[:, None])
  writer = pool.outputs.item_policy[found]
  # The first arrival of exponential clocks is uniform over policies, then
  # over a policy's samples: a clock's rate is one over their number.
  samples = np.zeros((len(found), len(pool.outputs.policies)))
  row = np.broadcast_to(np.arange(len(found))[:, None], found.shape)
  np.add.at(samples, (row[mask], writer[mask]), 1)
  arrival = rng.exponential(size=mask.shape)
  arrival *= np.take_along_axis(samples, writer, 1)
  distance = np.zeros(mask.shape)
  if length_matched:
    distance = abs(pool.log_length[found] - pool.log_length[positive][:, None])
    mask &= distance <= LENGTH_FACTOR
  order = np.lexsort((arrival, distance, ~mask), axis=1)[:, :count]
  chosen = np.take_along_axis(mask, order, 1)
  if not chosen.any():
    name = pool.outputs.policies[policy]
    length = ' of its length' if length_matched else ''
    raise ValueError(f'{name} has no possible negative{length} in any row')
  negative = np.take_along_axis(found, order, 1)[chosen]
  row = np.broadcast_to(np.arange(len(found))[:, None], order.shape)[chosen]
  columns = (
    reference[row],
    positive[row],
    negative,
    np.full(len(row), policy),
    pool.outputs.item_policy[negative],
  )
  return Triples(*(column.astype(np.int32) for column in columns))
